//! TLS towards clients.

use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters, tls_parameters::TlsProtocol,
};

use crate::envoy::{TransportSocket, ads, any};
use crate::gateway::ListenerTls;

/// The application protocols of a listener that takes requests.
pub(super) const HTTP: [&str; 2] = ["h2", "http/1.1"];

/// TLS that ends here; `alpn` are the application protocols on offer, none for those that are unknown.
pub(super) fn transport_socket(tls: &ListenerTls, alpn: &[&str]) -> TransportSocket {
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                ..TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: tls
                .certificates
                .iter()
                .map(|name| SdsSecretConfig { name: name.clone(), sds_config: Some(ads()) })
                .collect(),
            alpn_protocols: alpn.iter().map(ToString::to_string).collect(),
            ..CommonTlsContext::default()
        }),
        ..DownstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(context))),
    }
}
