//! Clusters whose hosts are those that requests name, and the filter that looks them up.
//!
//! Without TLS, what a request is worth depends on the address alone, so each host becomes a cluster of Envoy's own making in which each address is
//! an endpoint: the filter of the cluster sees exactly the address that would be connected to. With TLS, hosts stand in a cache of the
//! DNS. There the filter sees the first address of a host, and Envoy may try its others; who answers there has to prove
//! the name of the host.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DnsLookupFamily, LbPolicy,
};
use envoy_types::pb::envoy::config::core::v3::{
    CidrRange, Http1ProtocolOptions, Http2ProtocolOptions, UpstreamHttpProtocolOptions,
};
use envoy_types::pb::envoy::config::rbac::v3::{
    Permission, Policy, Principal, Rbac as Rules, permission, principal, rbac,
};
use envoy_types::pb::envoy::extensions::clusters::dynamic_forward_proxy::v3::{
    ClusterConfig, SubClustersConfig, cluster_config::ClusterImplementationSpecifier,
};
use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3::{
    FilterConfig, filter_config::ImplementationSpecifier,
};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as EnvoyRbac;
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::envoy::extensions::rbac::matchers::upstream_ip_port::v3::UpstreamIpPortMatcher;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{
        AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    },
};
use ipnet::IpNet;

use super::{HTTP_OPTIONS, Identity, Settings, base, common};
use crate::backend::{ClusterId, Security};
use crate::envoy::{Any, TransportSocket, any, extension, slot, tls, u32_value};
use crate::resource::{Resource, ResourceType};
use crate::tls::options::TlsOptions;

/// The name of the filter in Envoy.
const FILTER: &str = "envoy.filters.http.dynamic_forward_proxy";

/// What fills the slot of a route to such a cluster, with TLS or without.
pub(crate) fn filter() -> Any {
    slot::filled(
        FILTER,
        FilterConfig {
            implementation_specifier: Some(ImplementationSpecifier::DnsCacheConfig(cache())),
            ..FilterConfig::default()
        },
    )
}

/// The cache of the DNS; Envoy wants it the same wherever it is named.
fn cache() -> DnsCacheConfig {
    DnsCacheConfig {
        name: "dynamic_forward_proxy".to_owned(),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        ..DnsCacheConfig::default()
    }
}

/// The cluster `id`, which connects to no address of `denied`.
pub(crate) fn forward_proxy_cluster(
    id: &ClusterId,
    identity: &Identity,
    denied: &[IpNet],
    system_ca: &str,
) -> Arc<Resource> {
    let secure = id.security != Security::Cleartext;
    let mut message = base(id, &Settings::default());
    let implementation = if secure {
        message.transport_socket = Some(verified(identity, system_ca));
        ClusterImplementationSpecifier::DnsCacheConfig(cache())
    } else {
        ClusterImplementationSpecifier::SubClustersConfig(SubClustersConfig {
            lb_policy: LbPolicy::LeastRequest.into(),
            ..SubClustersConfig::default()
        })
    };
    message.lb_policy = LbPolicy::ClusterProvided.into();
    message.dns_lookup_family = DnsLookupFamily::V4Preferred.into();
    message.cluster_discovery_type = Some(ClusterDiscoveryType::ClusterType(CustomClusterType {
        name: "envoy.clusters.dynamic_forward_proxy".to_owned(),
        typed_config: Some(any(ClusterConfig {
            cluster_implementation_specifier: Some(implementation),
            ..ClusterConfig::default()
        })),
    }));
    message.typed_extension_protocol_options =
        [(HTTP_OPTIONS.to_owned(), any(protocol(secure, denied)))].into();
    Resource::new(ResourceType::Cluster, id.name(), &message)
}

/// TLS with the authorities of the system; the name that is asked for and has to be shown comes from the request.
fn verified(identity: &Identity, system_ca: &str) -> TransportSocket {
    tls::socket(UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(tls::validated_by_file(
                system_ca,
                CertificateValidationContext::default(),
            )),
            ..common(&TlsOptions::default(), identity)
        }),
        ..UpstreamTlsContext::default()
    })
}

fn protocol(secure: bool, denied: &[IpNet]) -> HttpProtocolOptions {
    let http1 = Http1ProtocolOptions::default();
    let spoken = if secure {
        // Hosts say by ALPN whether they speak HTTP/2.
        UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(http1),
            http2_protocol_options: Some(Http2ProtocolOptions::default()),
            ..AutoHttpConfig::default()
        })
    } else {
        let protocol_config = Some(ProtocolConfig::HttpProtocolOptions(http1));
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config })
    };
    HttpProtocolOptions {
        upstream_http_protocol_options: Some(UpstreamHttpProtocolOptions {
            auto_sni: true,
            auto_san_validation: true,
            ..UpstreamHttpProtocolOptions::default()
        }),
        http_filters: connecting_elsewhere(denied),
        upstream_protocol_options: Some(spoken),
        ..HttpProtocolOptions::default()
    }
}

/// The filters of a cluster that connects to no address of `denied`.
pub(super) fn connecting_elsewhere(denied: &[IpNet]) -> Vec<HttpFilter> {
    let filter = |name: &str, config: Any| HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    };
    vec![
        filter("envoy.filters.http.upstream_rbac", any(refusing(denied))),
        filter("envoy.filters.http.upstream_codec", any(UpstreamCodec {})),
    ]
}

/// Answers 403 instead of connecting to an address in `ranges`.
fn refusing(ranges: &[IpNet]) -> EnvoyRbac {
    let within = |range: &IpNet| Permission {
        rule: Some(permission::Rule::Matcher(extension(
            "envoy.rbac.matchers.upstream_ip_port",
            UpstreamIpPortMatcher {
                upstream_ip: Some(CidrRange {
                    address_prefix: range.addr().to_string(),
                    prefix_len: u32_value(range.prefix_len().into()),
                }),
                ..UpstreamIpPortMatcher::default()
            },
        ))),
    };
    let policy = Policy {
        permissions: ranges.iter().map(within).collect(),
        principals: vec![Principal { identifier: Some(principal::Identifier::Any(true)) }],
        ..Policy::default()
    };
    EnvoyRbac {
        rules: Some(Rules {
            action: rbac::Action::Deny.into(),
            policies: [("denied_address".to_owned(), policy)].into(),
            ..Rules::default()
        }),
        ..EnvoyRbac::default()
    }
}
