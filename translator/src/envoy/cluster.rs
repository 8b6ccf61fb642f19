//! Envoy clusters.

pub(crate) mod forward_proxy;
pub(crate) mod options;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster,
    circuit_breakers::{Thresholds, thresholds},
    cluster,
};
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, HealthStatusSet, Metadata, RoutingPriority};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, TlsCertificate, UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{Struct, Value, value};

use super::{DataSource, TransportSocket, ads, any, data_source, duration, tls, u32_value};
use crate::Options;
use crate::backend::ClusterId;
use crate::backend::config::Fields;
use crate::backend::forward_proxy as denied_addresses;
use crate::backend::static_backend::StaticHost;
use crate::backend::tls_policy::{BackendTls, Trust};
use crate::backend::traffic_policy::RetryBudget;
use crate::resource::{Resource, ResourceType};
use crate::tls::names::SubjectName;
use crate::tls::options::TlsOptions;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BUFFER_BYTES: u32 = 32 * 1024;
/// "No limit": Envoy's defaults (1024 connections, 3 retries at once) fail requests without a word.
const UNLIMITED: u32 = 1_000_000_000;
/// The name of [`HttpProtocolOptions`] in a cluster.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// The endpoint metadata by which Envoy picks the TLS settings of one host of several.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// The certificate that a cluster shows to its backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Identity {
    /// There is none.
    #[default]
    None,
    /// That of the secret with this SDS name.
    Secret(String),
    /// That in these files of the proxy.
    Files { certificate: String, key: String },
}

/// What a cluster is besides where it leads and how its connections are protected.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) budget: Option<RetryBudget>,
    pub(crate) config: Fields,
}

/// How the connections of a cluster are protected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Protection {
    /// Not at all.
    None,
    /// By TLS of which nothing more is said than that it is TLS.
    Unspecified { identity: Identity },
    /// As a policy says.
    Policy { tls: Box<BackendTls>, identity: Identity },
    /// The policy is not valid: there are no connections.
    Refused,
}

/// A cluster whose endpoints travel by EDS.
pub(crate) fn eds_cluster(
    id: &ClusterId,
    protection: &Protection,
    settings: &Settings,
    system_ca: &str,
) -> Arc<Resource> {
    let mut message = base(id, settings);
    message.transport_socket = match protection {
        Protection::None => None,
        Protection::Unspecified { identity } => Some(tls_socket(None, identity, system_ca)),
        Protection::Policy { tls, identity } => Some(policy_socket(tls, identity, system_ca)),
        Protection::Refused => return refusing(message),
    };
    message.cluster_discovery_type =
        Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into()));
    message.eds_cluster_config =
        Some(cluster::EdsClusterConfig { eds_config: Some(ads()), ..cluster::EdsClusterConfig::default() });
    Resource::new(ResourceType::Cluster, id.name(), &message)
}

/// A cluster without endpoints: Envoy answers 503, and closes what is not HTTP.
fn refusing(mut message: Cluster) -> Arc<Resource> {
    message.cluster_discovery_type =
        Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Static.into()));
    Resource::new(ResourceType::Cluster, message.name.clone(), &message)
}

/// The cluster of hosts that are known by address or DNS name, endpoints included.
pub(crate) fn hosts_cluster(
    id: &ClusterId,
    hosts: &[StaticHost],
    protection: &Protection,
    settings: &Settings,
    options: &Options,
) -> Arc<Resource> {
    let system_ca = &options.system_ca_file;
    let mut message = base(id, settings);
    let addresses_only = hosts.iter().all(StaticHost::is_address);
    let kind =
        if addresses_only { cluster::DiscoveryType::Static } else { cluster::DiscoveryType::StrictDns };
    message.cluster_discovery_type = Some(cluster::ClusterDiscoveryType::Type(kind.into()));
    if !addresses_only {
        message.dns_lookup_family = cluster::DnsLookupFamily::V4Preferred.into();
        if options.provision {
            // Whoever has the name may let it lead to the proxy itself.
            let protocol = HttpProtocolOptions {
                http_filters: forward_proxy::connecting_elsewhere(&denied_addresses::own()),
                ..options::protocol(id.upstream, &settings.config)
            };
            message.typed_extension_protocol_options = [(HTTP_OPTIONS.to_owned(), any(protocol))].into();
        }
        if settings.config.load_balancer.as_ref().is_some_and(|balancer| balancer.by_name()) {
            options::hash_host_names(&mut message);
        }
    }
    // What a policy says about TLS holds for all hosts, whatever they say themselves; where it has no server name, each host has one.
    let (whole, by_name) = match protection {
        Protection::Refused => return refusing(message),
        Protection::None => (None, None),
        Protection::Unspecified { identity } => (None, Some((None, identity))),
        Protection::Policy { tls, identity } if tls.server_name.is_some() => {
            (Some(policy_socket(tls, identity, system_ca)), None)
        }
        Protection::Policy { tls, identity } => (None, Some((Some(tls), identity))),
    };
    message.transport_socket = whole;
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let lb_endpoints = hosts
        .iter()
        .map(|host| {
            let mut endpoint = host.endpoint();
            let name = match &by_name {
                None => None,
                Some((None, _)) => host.sni.as_deref(),
                Some((Some(_), _)) => Some(host.sni.as_deref().unwrap_or(&host.host)),
            };
            if let Some(name) = name {
                names.insert(name);
                endpoint.metadata = Some(socket_match_metadata(name));
            }
            endpoint
        })
        .collect();
    let socket = |name: &str| match &by_name {
        Some((Some(tls), identity)) => policy_socket(&tls.of_host(name), identity, system_ca),
        Some((None, identity)) => tls_socket(Some(name), identity, system_ca),
        None => tls_socket(Some(name), &Identity::None, system_ca),
    };
    message.transport_socket_matches = names
        .iter()
        .map(|name| cluster::TransportSocketMatch {
            name: (*name).to_owned(),
            r#match: Some(socket_match(name)),
            transport_socket: Some(socket(name)),
        })
        .collect();
    let mut endpoints = LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() };
    if settings.config.load_balancer.as_ref().is_some_and(|balancer| balancer.by_zone) {
        options::weighed(&mut endpoints);
    }
    message.load_assignment = Some(ClusterLoadAssignment {
        cluster_name: id.name(),
        endpoints: vec![endpoints],
        ..ClusterLoadAssignment::default()
    });
    Resource::new(ResourceType::Cluster, id.name(), &message)
}

/// A cluster whose endpoints get the shares that their weights say. They travel by EDS.
pub(crate) fn weighted_by_endpoint(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        connect_timeout: duration(CONNECT_TIMEOUT),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(ads()),
            ..cluster::EdsClusterConfig::default()
        }),
        lb_policy: cluster::LbPolicy::RoundRobin.into(),
        circuit_breakers: Some(circuit_breakers(None)),
        common_lb_config: Some(cluster::CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            ..cluster::CommonLbConfig::default()
        }),
        ignore_health_on_host_removal: true,
        ..Cluster::default()
    }
}

fn circuit_breakers(budget: Option<RetryBudget>) -> CircuitBreakers {
    let thresholds = |priority: RoutingPriority| Thresholds {
        priority: priority.into(),
        max_connections: u32_value(UNLIMITED),
        max_pending_requests: u32_value(UNLIMITED),
        max_requests: u32_value(UNLIMITED),
        max_retries: u32_value(UNLIMITED),
        retry_budget: budget.map(|budget| thresholds::RetryBudget {
            budget_percent: Some(Percent { value: budget.percent.into() }),
            min_retry_concurrency: u32_value(budget.at_least),
            ..thresholds::RetryBudget::default()
        }),
        ..Thresholds::default()
    };
    CircuitBreakers {
        thresholds: vec![thresholds(RoutingPriority::Default), thresholds(RoutingPriority::High)],
        ..CircuitBreakers::default()
    }
}

fn base(id: &ClusterId, settings: &Settings) -> Cluster {
    let mut message = Cluster {
        name: id.name(),
        connect_timeout: duration(CONNECT_TIMEOUT),
        per_connection_buffer_limit_bytes: u32_value(BUFFER_BYTES),
        lb_policy: cluster::LbPolicy::LeastRequest.into(),
        circuit_breakers: Some(circuit_breakers(settings.budget)),
        // Endpoints that are shutting down are used only when the translator says so, never in a panic.
        common_lb_config: Some(cluster::CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            // Sessions stay with an endpoint that is shutting down, as long as it serves.
            override_host_status: Some(HealthStatusSet {
                statuses: [
                    HealthStatus::Unknown,
                    HealthStatus::Healthy,
                    HealthStatus::Draining,
                    HealthStatus::Degraded,
                ]
                .map(Into::into)
                .to_vec(),
            }),
            ..cluster::CommonLbConfig::default()
        }),
        ignore_health_on_host_removal: true,
        typed_extension_protocol_options: [(
            HTTP_OPTIONS.to_owned(),
            any(options::protocol(id.upstream, &settings.config)),
        )]
        .into(),
        ..Cluster::default()
    };
    options::apply(&mut message, id, &settings.config);
    message
}

/// TLS to a backend: certificate checked against the system's authorities and against `sni`; without an `sni`,
/// against the host of the request.
fn tls_socket(sni: Option<&str>, identity: &Identity, system_ca: &str) -> TransportSocket {
    let name = sni.and_then(SubjectName::any);
    let validation = CertificateValidationContext {
        match_typed_subject_alt_names: name.iter().map(tls::subject_name).collect(),
        ..CertificateValidationContext::default()
    };
    let server_name = sni.filter(|_| !matches!(name, Some(SubjectName::Ip(_)))).unwrap_or_default();
    tls::socket(UpstreamTlsContext {
        sni: server_name.to_owned(),
        auto_host_sni: sni.is_none(),
        auto_sni_san_validation: sni.is_none(),
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(tls::validated_by_file(system_ca, validation)),
            ..common(&TlsOptions::default(), identity)
        }),
        ..UpstreamTlsContext::default()
    })
}

/// TLS to a backend as a policy says.
fn policy_socket(policy: &BackendTls, identity: &Identity, system_ca: &str) -> TransportSocket {
    let validation = CertificateValidationContext {
        match_typed_subject_alt_names: policy.names.iter().map(tls::subject_name).collect(),
        verify_certificate_hash: policy.options.certificate_hashes.clone(),
        ..CertificateValidationContext::default()
    };
    tls::socket(UpstreamTlsContext {
        sni: policy.server_name.clone().unwrap_or_default(),
        allow_renegotiation: policy.renegotiation,
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: match &policy.trust {
                Trust::System => Some(tls::validated_by_file(system_ca, validation)),
                Trust::File(path) => Some(tls::validated_by_file(path, validation)),
                Trust::Bundle(bundle) => Some(tls::validated_by(&bundle.name(), validation)),
                Trust::Anybody => None,
            },
            ..common(&policy.options, identity)
        }),
        ..UpstreamTlsContext::default()
    })
}

/// What does not depend on whose certificates are trusted. The application protocol is left to the connection pool: it offers what
/// it is going to speak.
fn common(options: &TlsOptions, identity: &Identity) -> CommonTlsContext {
    let (secrets, files) = match identity {
        Identity::None => (Vec::new(), Vec::new()),
        Identity::Secret(name) => (vec![tls::by_name(name)], Vec::new()),
        Identity::Files { certificate, key } => {
            let file = |path: &str| DataSource {
                specifier: Some(data_source::Specifier::Filename(path.to_owned())),
                ..DataSource::default()
            };
            let shown = TlsCertificate {
                certificate_chain: Some(file(certificate)),
                private_key: Some(file(key)),
                ..TlsCertificate::default()
            };
            (Vec::new(), vec![shown])
        }
    };
    CommonTlsContext {
        tls_params: Some(tls::parameters(options)),
        alpn_protocols: options.alpn.clone().unwrap_or_default(),
        tls_certificate_sds_secret_configs: secrets,
        tls_certificates: files,
        ..CommonTlsContext::default()
    }
}

fn socket_match(sni: &str) -> Struct {
    let value = Value { kind: Some(value::Kind::StringValue(sni.to_owned())) };
    Struct { fields: [("sni".to_owned(), value)].into() }
}

fn socket_match_metadata(sni: &str) -> Metadata {
    Metadata { filter_metadata: [(SOCKET_MATCH.to_owned(), socket_match(sni))].into(), ..Metadata::default() }
}
