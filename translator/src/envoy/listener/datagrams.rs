//! UDP listeners.
//!
//! A listener has one cluster of its own name, with the endpoints of all backends of its route, each with its part of the
//! weight of its backend. So nothing but endpoints changes when routes do: Envoy cannot change a UDP listener without
//! forgetting its sessions, and its other means to split datagrams decides by the client's port, which for many protocols
//! is always the same ([ADR 8]).
//!
//! [ADR 8]: ../../../../docs/adr/0008-connections-and-datagrams.md

mod weights;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, UdpSocketConfig};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::listener::v3::{
    Listener as EnvoyListener, ListenerFilter, UdpListenerConfig, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::udp::udp_proxy::v3::{
    Route, UdpProxyConfig, udp_proxy_config::RouteSpecifier,
};
use envoy_types::pb::google::protobuf::UInt64Value;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{OnMatch, on_match};

use self::weights::{Share, weights};
use super::{envoy_listener, name, server_name};
use crate::backend::{ClusterId, service};
use crate::envoy::{any, cluster, duration, u32_value};
use crate::infrastructure::Port;
use crate::resource::{Resource, ResourceType};
use crate::route::stream::{StreamShare, Target};

/// A session ends when no datagram went either way for so long; Envoy's default.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The largest datagram there is. Envoy drops those that are larger than it was told, by default than 1500 bytes.
const MAX_DATAGRAM_BYTES: u64 = 65_535;
/// The endpoints of a backend that take new sessions, as far as they are known.
pub(crate) type Endpoints<'a> = &'a dyn Fn(&ClusterId) -> BTreeSet<SocketAddr>;

/// Listener, cluster and endpoints of a UDP port.
pub(super) fn resources(
    port: Port,
    addresses: &[IpAddr],
    winner: Option<&StreamShare>,
    endpoints: Endpoints<'_>,
) -> Vec<Arc<Resource>> {
    let targets = winner.map_or(&[][..], |share| &share.targets);
    vec![
        Resource::new(ResourceType::Listener, name(port), &listener(port, addresses)),
        Resource::new(ResourceType::Cluster, name(port), &cluster::weighted_by_endpoint(&name(port))),
        Resource::new(ResourceType::ClusterLoadAssignment, name(port), &assignment(port, targets, endpoints)),
    ]
}

fn listener(port: Port, addresses: &[IpAddr]) -> EnvoyListener {
    let proxy = UdpProxyConfig {
        stat_prefix: format!("udp.{}", port.port),
        route_specifier: Some(RouteSpecifier::Matcher(always(&name(port)))),
        idle_timeout: duration(IDLE_TIMEOUT),
        upstream_socket_config: Some(socket_config()),
        ..UdpProxyConfig::default()
    };
    let filter = ListenerFilter {
        name: "envoy.filters.udp_listener.udp_proxy".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(any(proxy))),
        ..ListenerFilter::default()
    };
    EnvoyListener {
        udp_listener_config: Some(UdpListenerConfig {
            downstream_socket_config: Some(socket_config()),
            ..UdpListenerConfig::default()
        }),
        per_connection_buffer_limit_bytes: None,
        ..envoy_listener(port, addresses, vec![filter], vec![])
    }
}

fn socket_config() -> UdpSocketConfig {
    UdpSocketConfig {
        max_rx_datagram_size: Some(UInt64Value { value: MAX_DATAGRAM_BYTES }),
        ..UdpSocketConfig::default()
    }
}

/// Every datagram to the cluster. The field that says this directly is deprecated.
fn always(cluster: &str) -> Matcher {
    let action = server_name::extension("route", Route { cluster: cluster.to_owned() });
    Matcher {
        on_no_match: Some(Box::new(OnMatch {
            on_match: Some(on_match::OnMatch::Action(action)),
            ..OnMatch::default()
        })),
        matcher_type: None,
    }
}

fn assignment(port: Port, targets: &[Target], endpoints: Endpoints<'_>) -> ClusterLoadAssignment {
    let shares: Vec<Share> = targets
        .iter()
        .map(|target| Share {
            weight: target.weight,
            endpoints: target.cluster.as_ref().map(endpoints).unwrap_or_default(),
        })
        .collect();
    let lb_endpoints = weights(&shares).into_iter().map(|(address, weight)| LbEndpoint {
        load_balancing_weight: u32_value(weight),
        ..service::endpoint(&address.ip().to_string(), address.port(), HealthStatus::Healthy)
    });
    let lb_endpoints: Vec<LbEndpoint> = lb_endpoints.collect();
    ClusterLoadAssignment {
        cluster_name: name(port),
        endpoints: (!lb_endpoints.is_empty())
            .then(|| LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() })
            .into_iter()
            .collect(),
        ..ClusterLoadAssignment::default()
    }
}

#[cfg(test)]
mod tests;
