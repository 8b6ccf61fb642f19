//! Messages of TLS that clients and backends have in common.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, SdsSecretConfig, Secret, SubjectAltNameMatcher, TlsParameters,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    secret,
    subject_alt_name_matcher::SanType,
    tls_parameters::TlsProtocol,
};
use prost::{Message, Name};

use super::{DataSource, TransportSocket, ads, any, data_source, exact, safe_regex};
use crate::resource::{Resource, ResourceType};
use crate::tls::names::SubjectName;
use crate::tls::options::{TlsOptions, Version};

/// A transport socket of TLS.
pub(crate) fn socket<M: Message + Name>(context: M) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(context))),
    }
}

/// A secret that Envoy gets over the stream that this message came by.
pub(crate) fn by_name(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads()) }
}

/// Versions and algorithms.
pub(crate) fn parameters(options: &TlsOptions) -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: protocol(options.minimum).into(),
        tls_maximum_protocol_version: protocol(options.maximum).into(),
        cipher_suites: options.cipher_suites.clone(),
        ecdh_curves: options.curves.clone(),
        signature_algorithms: options.signature_algorithms.clone(),
        ..TlsParameters::default()
    }
}

const fn protocol(version: Version) -> TlsProtocol {
    match version {
        Version::V1_0 => TlsProtocol::TlSv10,
        Version::V1_1 => TlsProtocol::TlSv11,
        Version::V1_2 => TlsProtocol::TlSv12,
        Version::V1_3 => TlsProtocol::TlSv13,
    }
}

/// `context`, with the authorities of the secret `bundle`.
pub(crate) fn validated_by(bundle: &str, context: CertificateValidationContext) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(by_name(bundle)),
        ..CombinedCertificateValidationContext::default()
    })
}

/// `context`, with the authorities in the file `path`, as Envoy sees it.
pub(crate) fn validated_by_file(
    path: &str,
    mut context: CertificateValidationContext,
) -> ValidationContextType {
    context.trusted_ca = Some(DataSource {
        specifier: Some(data_source::Specifier::Filename(path.to_owned())),
        ..DataSource::default()
    });
    ValidationContextType::ValidationContext(context)
}

/// The secret with certificates of authorities.
pub(crate) fn bundle(name: &str, pem: Vec<u8>) -> Arc<Resource> {
    let context = CertificateValidationContext {
        trusted_ca: Some(DataSource {
            specifier: Some(data_source::Specifier::InlineBytes(pem)),
            ..DataSource::default()
        }),
        ..CertificateValidationContext::default()
    };
    let message = Secret { name: name.to_owned(), r#type: Some(secret::Type::ValidationContext(context)) };
    Resource::new(ResourceType::Secret, name, &message)
}

/// Matches certificates that have this name.
pub(crate) fn subject_name(name: &SubjectName) -> SubjectAltNameMatcher {
    let (san_type, matcher) = match name {
        SubjectName::Dns(name) => (SanType::Dns, exact(name)),
        // Names in certificates are in any case, and only exact matchers know that.
        SubjectName::DnsBelow(domain) => {
            (SanType::Dns, safe_regex(&format!("(?i)[^.]+\\.{}", regex::escape(domain))))
        }
        SubjectName::Uri(uri) => (SanType::Uri, exact(uri)),
        SubjectName::Ip(address) => (SanType::IpAddress, exact(address)),
    };
    SubjectAltNameMatcher {
        san_type: san_type.into(),
        matcher: Some(matcher),
        ..SubjectAltNameMatcher::default()
    }
}
