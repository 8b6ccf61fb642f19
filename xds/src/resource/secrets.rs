//! Which secrets a cluster needs before it can serve.
//!
//! Only the fields on the way to their names are decoded: of `envoy.config.cluster.v3.Cluster`, of the transport sockets in it, and of
//! the `UpstreamTlsContext` in those.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::Source;

/// `envoy.config.cluster.v3.Cluster`.
#[derive(Clone, PartialEq, Message)]
struct Cluster {
    #[prost(message, optional, tag = "24")]
    transport_socket: Option<TransportSocket>,
    #[prost(message, repeated, tag = "43")]
    transport_socket_matches: Vec<TransportSocketMatch>,
}

/// `envoy.config.cluster.v3.Cluster.TransportSocketMatch`.
#[derive(Clone, PartialEq, Message)]
struct TransportSocketMatch {
    #[prost(message, optional, tag = "3")]
    transport_socket: Option<TransportSocket>,
}

/// `envoy.config.core.v3.TransportSocket`.
#[derive(Clone, PartialEq, Message)]
struct TransportSocket {
    #[prost(message, optional, tag = "3")]
    typed_config: Option<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

const UPSTREAM_TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`.
#[derive(Clone, PartialEq, Message)]
struct UpstreamTlsContext {
    #[prost(message, optional, tag = "1")]
    common_tls_context: Option<CommonTlsContext>,
}

/// `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`.
#[derive(Clone, PartialEq, Message)]
struct CommonTlsContext {
    #[prost(message, repeated, tag = "6")]
    tls_certificate_sds_secret_configs: Vec<SdsSecretConfig>,
    #[prost(message, optional, tag = "7")]
    validation_context_sds_secret_config: Option<SdsSecretConfig>,
    #[prost(message, optional, tag = "8")]
    combined_validation_context: Option<CombinedValidationContext>,
}

/// `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext`.
#[derive(Clone, PartialEq, Message)]
struct CombinedValidationContext {
    #[prost(message, optional, tag = "2")]
    validation_context_sds_secret_config: Option<SdsSecretConfig>,
}

/// `envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig`.
#[derive(Clone, PartialEq, Message)]
struct SdsSecretConfig {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    sds_config: Option<Source>,
}

/// The names of the secrets that the encoded cluster gets from this stream.
pub(super) fn of_cluster(body: &Bytes) -> Vec<Arc<str>> {
    let Ok(cluster) = Cluster::decode(body.clone()) else { return Vec::new() };
    let matches = cluster.transport_socket_matches.into_iter().filter_map(|it| it.transport_socket);
    let sockets = cluster.transport_socket.into_iter().chain(matches);
    let mut names: Vec<Arc<str>> =
        sockets.filter_map(|socket| tls(&socket.typed_config?)).flatten().collect();
    names.sort();
    names.dedup();
    names
}

fn tls(config: &Any) -> Option<Vec<Arc<str>>> {
    if config.type_url != UPSTREAM_TLS {
        return None;
    }
    let common = UpstreamTlsContext::decode(config.value.clone()).ok()?.common_tls_context?;
    let combined = common.combined_validation_context.and_then(|it| it.validation_context_sds_secret_config);
    let configs = common.tls_certificate_sds_secret_configs.into_iter();
    let configs = configs.chain(common.validation_context_sds_secret_config).chain(combined);
    // Without a source, a secret is one of the bootstrap's.
    let ours = configs.filter(|it| it.sds_config.as_ref().is_some_and(|source| !source.is_elsewhere()));
    Some(ours.map(|it| it.name.into()).collect())
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
    use envoy_types::pb::envoy::config::core::v3::{
        AggregatedConfigSource, ConfigSource, PathConfigSource, TransportSocket,
        config_source::ConfigSourceSpecifier, transport_socket,
    };
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
        CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
        common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    };
    use envoy_types::util::pack_any;

    use super::*;

    fn secret(name: &str, source: Option<ConfigSourceSpecifier>) -> SdsSecretConfig {
        let sds_config =
            source.map(|it| ConfigSource { config_source_specifier: Some(it), ..Default::default() });
        SdsSecretConfig { name: name.to_owned(), sds_config }
    }

    fn ads(name: &str) -> SdsSecretConfig {
        secret(name, Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})))
    }

    fn socket(
        certificates: Vec<SdsSecretConfig>,
        validation: Option<ValidationContextType>,
    ) -> TransportSocket {
        let common = CommonTlsContext {
            tls_certificate_sds_secret_configs: certificates,
            validation_context_type: validation,
            ..Default::default()
        };
        let context = UpstreamTlsContext { common_tls_context: Some(common), ..Default::default() };
        TransportSocket {
            name: "tls".to_owned(),
            config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(context))),
        }
    }

    fn names(cluster: &Cluster) -> Vec<String> {
        of_cluster(&cluster.encode_to_vec().into()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        let combined =
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                validation_context_sds_secret_config: Some(ads("ca")),
                ..Default::default()
            });
        let plain = ValidationContextType::ValidationContextSdsSecretConfig(ads("other-ca"));
        let matching = cluster::TransportSocketMatch {
            transport_socket: Some(socket(vec![ads("own")], Some(plain))),
            ..Default::default()
        };
        let cluster = Cluster {
            name: "c".to_owned(),
            transport_socket: Some(socket(vec![ads("own")], Some(combined))),
            transport_socket_matches: vec![matching],
            ..Default::default()
        };
        assert_eq!(names(&cluster), ["ca", "other-ca", "own"]);
    }

    #[test]
    fn secrets_of_others_are_not_waited_for() {
        let file = ConfigSourceSpecifier::PathConfigSource(PathConfigSource::default());
        let elsewhere = vec![secret("file", Some(file)), secret("bootstrap", None)];
        let cluster = Cluster { transport_socket: Some(socket(elsewhere, None)), ..Default::default() };
        assert_eq!(names(&cluster), [""; 0]);
        assert_eq!(names(&Cluster::default()), [""; 0]);
        let raw = TransportSocket {
            config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(Cluster::default()))),
            ..Default::default()
        };
        assert_eq!(names(&Cluster { transport_socket: Some(raw), ..Default::default() }), [""; 0]);
        assert!(of_cluster(&Bytes::from_static(b"\xff\xff")).is_empty());
    }
}
