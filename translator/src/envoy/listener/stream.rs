//! Filter chains whose connections are carried as they are, and where they go.
//!
//! Where they go is not part of the listener: the TCP proxy of a chain is discovered (ECDS), so a changed route changes no
//! listener. Envoy gives new connections the new configuration and leaves those that it has where they are, however long
//! they live; a changed chain would be drained and its connections cut ([ADR 8]).
//!
//! [ADR 8]: ../../../../docs/adr/0008-connections-and-datagrams.md

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::ExtensionConfigSource;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, filter};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy,
    tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
};
use prost::Name;

use super::{name, tls};
use crate::backend::ClusterId;
use crate::envoy::{INVALID_CLUSTER, ads, duration, extension, u32_value};
use crate::gateway::{Protocol, ServedListener};
use crate::infrastructure::Port;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::resource::{Resource, ResourceType};
use crate::route::stream::{StreamShare, Target};

/// Connections on which nobody says anything for so long are closed; Envoy's default, as everywhere in the field.
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);
/// A backend that does not take the connection has seen nothing of it, so another one is tried.
const CONNECT_ATTEMPTS: u32 = 5;

/// The only chain of a TCP listener.
const TCP: &str = "tcp";
/// The chain of connections that nobody takes.
pub(super) const CLOSED: &str = "closed";

/// The name under which the TCP proxy of a chain is discovered.
fn extension_name(port: Port, chain: &str) -> String {
    format!("{}/{chain}", port.port)
}

/// The chain of a TCP listener.
pub(super) fn tcp_chain(port: Port) -> FilterChain {
    FilterChain { name: TCP.to_owned(), filters: vec![discovered(port, TCP)], ..FilterChain::default() }
}

/// Where the connections of a TCP listener go; nowhere if no route has it.
pub(super) fn tcp_target(port: Port, winner: Option<&StreamShare>) -> Arc<Resource> {
    let targets = winner.map_or(&[][..], |share| &share.targets);
    proxy(port, TCP, &format!("tcp.{}", port.port), targets)
}

/// The name of the chain of the connections that a route has of a TLS listener. Server names are no part of it: they may
/// come and go while connections live.
pub(super) fn tls_chain_name(served: &ServedListener, share: &StreamShare) -> String {
    let route = share.route();
    let kind = route.kind.as_str().to_ascii_lowercase();
    format!("tls/{}/{kind}/{}", served.listener.owner_id(), route.namespaced_name())
}

/// The chain of the connections that a route has of a TLS listener.
pub(super) fn tls_chain(port: Port, served: &ServedListener, share: &StreamShare) -> FilterChain {
    let name = tls_chain_name(served, share);
    FilterChain {
        filters: vec![discovered(port, &name)],
        transport_socket: (served.listener.protocol == Protocol::TlsTerminate)
            .then(|| tls::transport_socket(&served.tls, &[])),
        name,
        ..FilterChain::default()
    }
}

/// Where the connections go that a route has of a TLS listener.
pub(super) fn tls_target(port: Port, served: &ServedListener, share: &StreamShare) -> Arc<Resource> {
    let name = tls_chain_name(served, share);
    proxy(port, &name, &format!("tls.{}", port.port), &share.targets)
}

/// Closes connections at once: it has no filter.
pub(super) fn closed_chain() -> FilterChain {
    FilterChain { name: CLOSED.to_owned(), ..FilterChain::default() }
}

fn discovered(port: Port, chain: &str) -> Filter {
    Filter {
        name: extension_name(port, chain),
        config_type: Some(filter::ConfigType::ConfigDiscovery(ExtensionConfigSource {
            config_source: Some(ads()),
            type_urls: vec![TcpProxy::type_url()],
            ..ExtensionConfigSource::default()
        })),
    }
}

fn proxy(port: Port, chain: &str, stat_prefix: &str, targets: &[Target]) -> Arc<Resource> {
    let name = extension_name(port, chain);
    let proxy = TcpProxy {
        stat_prefix: stat_prefix.to_owned(),
        cluster_specifier: Some(destination(targets)),
        idle_timeout: duration(IDLE_TIMEOUT),
        max_connect_attempts: u32_value(CONNECT_ATTEMPTS),
        ..TcpProxy::default()
    };
    Resource::new(ResourceType::ExtensionConfig, name.clone(), &extension(&name, proxy))
}

/// Envoy closes connections for which it picks a cluster that does not exist.
fn destination(targets: &[Target]) -> ClusterSpecifier {
    let cluster =
        |target: &Target| target.cluster.as_ref().map_or_else(|| INVALID_CLUSTER.to_owned(), ClusterId::name);
    match targets {
        [] => ClusterSpecifier::Cluster(INVALID_CLUSTER.to_owned()),
        [target] => ClusterSpecifier::Cluster(cluster(target)),
        _ => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: targets
                .iter()
                .map(|target| ClusterWeight {
                    name: cluster(target),
                    weight: target.weight,
                    ..ClusterWeight::default()
                })
                .collect(),
        }),
    }
}

/// What the configuration of a chain of this name was made of: a route of TLS connections, or whatever has the port.
pub(crate) fn made_of(extension: &str) -> Option<(Port, Option<ObjectKey>)> {
    let (port, chain) = extension.split_once('/')?;
    let port = Port::tcp(port.parse().ok()?);
    if chain == TCP {
        return Some((port, None));
    }
    let mut parts = chain.strip_prefix("tls/")?.splitn(4, '/');
    let (_, kind, namespace, route) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let kind = [Kind::TlsRoute, Kind::TcpRoute]
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(kind))?;
    let NamespacedName { namespace, name } = NamespacedName::new(namespace, route);
    Some((port, Some(ObjectKey::new(kind, namespace, name))))
}

/// The port of an Envoy listener, or of the cluster of a UDP listener, from its name.
pub(crate) fn port_of(envoy: &str) -> Option<Port> {
    let number = envoy.split_once('/')?.0.parse().ok()?;
    [Port::tcp(number), Port::udp(number)].into_iter().find(|port| name(*port) == envoy)
}
