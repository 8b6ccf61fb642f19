//! TLS towards clients.

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, TlsParameters,
    certificate_validation_context::TrustChainVerification, downstream_tls_context::SessionTicketKeysType,
    tls_parameters::TlsProtocol,
};

use crate::envoy::{TransportSocket, bool_value, tls};
use crate::gateway::ListenerTls;
use crate::gateway::frontend::{ClientValidation, Mode};
use crate::tls::options::Version;

/// The application protocols of a listener that takes requests.
pub(super) const HTTP: [&str; 2] = ["h2", "http/1.1"];

/// TLS that ends here; `alpn` are the application protocols on offer if the options do not say otherwise, none for those that
/// are unknown.
pub(super) fn transport_socket(listener: &ListenerTls, alpn: &[&str]) -> TransportSocket {
    let options = &listener.options;
    let parameters = tls::parameters(options);
    let alpn = || alpn.iter().map(ToString::to_string).collect();
    let certificates = listener.certificates.iter().map(|name| tls::by_name(name)).collect();
    let mut context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                // What servers speak by themselves need not be said.
                tls_maximum_protocol_version: if options.maximum == Version::V1_3 {
                    TlsProtocol::TlsAuto.into()
                } else {
                    parameters.tls_maximum_protocol_version
                },
                ..parameters
            }),
            tls_certificate_sds_secret_configs: certificates,
            alpn_protocols: options.alpn.clone().unwrap_or_else(alpn),
            validation_context_type: listener
                .clients
                .as_ref()
                .map(|clients| tls::validated_by(&clients.bundle.name(), validation(listener, clients))),
            ..CommonTlsContext::default()
        }),
        ..DownstreamTlsContext::default()
    };
    if listener.clients.as_ref().is_some_and(|clients| clients.mode == Mode::ValidOnly) {
        context.require_client_certificate = bool_value(true);
        // A resumed session would bring a certificate that nobody looks at again.
        context.session_ticket_keys_type =
            Some(SessionTicketKeysType::DisableStatelessSessionResumption(true));
        context.disable_stateful_session_resumption = true;
    }
    tls::socket(context)
}

fn validation(listener: &ListenerTls, clients: &ClientValidation) -> CertificateValidationContext {
    let verification = match clients.mode {
        Mode::ValidOnly => TrustChainVerification::VerifyTrustChain,
        Mode::InsecureFallback => TrustChainVerification::AcceptUntrusted,
    };
    CertificateValidationContext {
        match_typed_subject_alt_names: listener.options.subject_names.iter().map(tls::subject_name).collect(),
        verify_certificate_hash: listener.options.certificate_hashes.clone(),
        trust_chain_verification: verification.into(),
        ..CertificateValidationContext::default()
    }
}
