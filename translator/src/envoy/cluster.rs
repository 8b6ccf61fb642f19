//! Envoy clusters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, circuit_breakers::Thresholds, cluster,
};
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, HealthStatus, Http1ProtocolOptions, Http2ProtocolOptions, Metadata, RoutingPriority,
    data_source, transport_socket::ConfigType,
};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, UpstreamTlsContext,
    common_tls_context, subject_alt_name_matcher::SanType,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    },
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{Struct, Value, value};

use super::{TransportSocket, ads, any, duration, exact, u32_value};
use crate::backend::static_backend::{StaticBackend, StaticHost};
use crate::backend::{ClusterId, Upstream, service};
use crate::resource::{Resource, ResourceType};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BUFFER_BYTES: u32 = 32 * 1024;
/// "No limit": Envoy's defaults (1024 connections, 3 retries at once) fail requests without a word.
const UNLIMITED: u32 = 1_000_000_000;
const TLS_SOCKET: &str = "envoy.transport_sockets.tls";
/// The endpoint metadata by which Envoy picks the TLS settings of one host of several.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// The cluster of a Service port; its endpoints travel by EDS.
pub(crate) fn service_cluster(id: &ClusterId, system_ca: &str) -> Arc<Resource> {
    let mut message = base(id);
    message.cluster_discovery_type =
        Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into()));
    message.eds_cluster_config =
        Some(cluster::EdsClusterConfig { eds_config: Some(ads()), ..cluster::EdsClusterConfig::default() });
    if id.upstream == Upstream::Http1OverTls {
        message.transport_socket = Some(tls_socket(None, system_ca));
    }
    Resource::new(ResourceType::Cluster, id.name(), &message)
}

/// The cluster of a static backend, endpoints included.
pub(crate) fn static_cluster(id: &ClusterId, backend: &StaticBackend, system_ca: &str) -> Arc<Resource> {
    let mut message = base(id);
    let addresses_only = backend.hosts.iter().all(StaticHost::is_address);
    let kind =
        if addresses_only { cluster::DiscoveryType::Static } else { cluster::DiscoveryType::StrictDns };
    message.cluster_discovery_type = Some(cluster::ClusterDiscoveryType::Type(kind.into()));
    if !addresses_only {
        message.dns_lookup_family = cluster::DnsLookupFamily::V4Preferred.into();
    }
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let lb_endpoints = backend
        .hosts
        .iter()
        .map(|host| {
            let mut endpoint = service::endpoint(&host.host, host.port, HealthStatus::Unknown);
            if let Some(sni) = &host.sni {
                names.insert(sni);
                endpoint.metadata = Some(socket_match_metadata(sni));
            }
            endpoint
        })
        .collect();
    message.transport_socket_matches = names
        .iter()
        .map(|sni| cluster::TransportSocketMatch {
            name: (*sni).to_owned(),
            r#match: Some(socket_match(sni)),
            transport_socket: Some(tls_socket(Some(sni), system_ca)),
        })
        .collect();
    message.load_assignment = Some(ClusterLoadAssignment {
        cluster_name: id.name(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    });
    Resource::new(ResourceType::Cluster, id.name(), &message)
}

fn base(id: &ClusterId) -> Cluster {
    let thresholds = |priority: RoutingPriority| Thresholds {
        priority: priority.into(),
        max_connections: u32_value(UNLIMITED),
        max_pending_requests: u32_value(UNLIMITED),
        max_requests: u32_value(UNLIMITED),
        max_retries: u32_value(UNLIMITED),
        ..Thresholds::default()
    };
    Cluster {
        name: id.name(),
        connect_timeout: duration(CONNECT_TIMEOUT),
        per_connection_buffer_limit_bytes: u32_value(BUFFER_BYTES),
        lb_policy: cluster::LbPolicy::LeastRequest.into(),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![thresholds(RoutingPriority::Default), thresholds(RoutingPriority::High)],
            ..CircuitBreakers::default()
        }),
        // Endpoints that are shutting down are used only when the translator says so, never in a panic.
        common_lb_config: Some(cluster::CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            ..cluster::CommonLbConfig::default()
        }),
        ignore_health_on_host_removal: true,
        typed_extension_protocol_options: [(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any(protocol(id.upstream)),
        )]
        .into(),
        ..Cluster::default()
    }
}

fn protocol(upstream: Upstream) -> HttpProtocolOptions {
    let config = match upstream {
        Upstream::Http1 | Upstream::Http1OverTls => {
            ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())
        }
        Upstream::Http2 => ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default()),
    };
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })),
        ..HttpProtocolOptions::default()
    }
}

/// TLS to a backend: certificate checked against the system's authorities and against `sni`; without an `sni`,
/// against the host of the request.
fn tls_socket(sni: Option<&str>, system_ca: &str) -> TransportSocket {
    let name = sni.map(|sni| SubjectAltNameMatcher {
        san_type: if sni.parse::<std::net::IpAddr>().is_ok() { SanType::IpAddress } else { SanType::Dns }
            .into(),
        matcher: Some(exact(sni)),
        ..SubjectAltNameMatcher::default()
    });
    let context = UpstreamTlsContext {
        sni: sni.filter(|s| s.parse::<std::net::IpAddr>().is_err()).unwrap_or_default().to_owned(),
        auto_host_sni: sni.is_none(),
        auto_sni_san_validation: sni.is_none(),
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(common_tls_context::ValidationContextType::ValidationContext(
                CertificateValidationContext {
                    trusted_ca: Some(DataSource {
                        specifier: Some(data_source::Specifier::Filename(system_ca.to_owned())),
                        ..DataSource::default()
                    }),
                    match_typed_subject_alt_names: name.into_iter().collect(),
                    ..CertificateValidationContext::default()
                },
            )),
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    TransportSocket { name: TLS_SOCKET.to_owned(), config_type: Some(ConfigType::TypedConfig(any(context))) }
}

fn socket_match(sni: &str) -> Struct {
    let value = Value { kind: Some(value::Kind::StringValue(sni.to_owned())) };
    Struct { fields: [("sni".to_owned(), value)].into() }
}

fn socket_match_metadata(sni: &str) -> Metadata {
    Metadata { filter_metadata: [(SOCKET_MATCH.to_owned(), socket_match(sni))].into(), ..Metadata::default() }
}
