//! Envoy listeners: one per port.
//!
//! Nothing in a listener depends on what routes say, on policies of routes or on certificates' content, so none of them ever
//! replaces a filter chain and drains its connections. What an HTTPListenerPolicy says of connections does. Requests find their routes by scope (see [`super::scope`]), connections by a
//! discovered TCP proxy (see [`stream`]), datagrams by endpoints (see [`datagrams`]). What comes and goes with routes are the
//! chains of TLS connections, one for each route of each listener, and the server names that choose them.

pub(crate) mod datagrams;
mod http;
mod server_name;
pub(crate) mod stream;
mod tls;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::{
    AdditionalAddress, Filter, FilterChain, FilterChainMatch, Listener as EnvoyListener, ListenerFilter,
    filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use prost::{Message, Name};

use self::datagrams::Endpoints;
use self::http::Clients;
use super::{any, socket_of, u32_value};
use crate::gateway::frontend::Mode;
use crate::gateway::{ListenerPlan, Protocol, ServedListener};
use crate::hostname::Hostname;
use crate::infrastructure::{Port, PortProtocol};
use crate::resource::{Resource, ResourceType};
use crate::route::stream::precedence::Precedence;
use crate::telemetry::Tracing;

/// Envoy's guide for edge proxies: one connection may hold this much before it is asked to wait.
const CONNECTION_BUFFER_BYTES: u32 = 32 * 1024;

/// The xDS name of the listener of a port.
pub(crate) fn name(port: Port) -> String {
    let protocol = match port.protocol {
        PortProtocol::Tcp => "tcp",
        PortProtocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.port)
}

/// The Envoy listener of a port and what belongs to it alone; empty if nothing is served there.
pub(crate) fn resources(
    port: Port,
    plan: &ListenerPlan,
    streams: &Precedence<'_>,
    endpoints: Endpoints<'_>,
) -> Vec<Arc<Resource>> {
    let mut served: Vec<&ServedListener> =
        plan.serving.iter().filter(|it| it.listener.socket() == port).collect();
    served.sort_by(|a, b| a.listener.hostname.cmp(&b.listener.hostname));
    let Some(first) = served.first() else { return Vec::new() };
    let winner = || streams.of_listener(&first.listener.id).map(|(_, share)| share).next();
    let tracing = plan.tracing.as_ref();
    let mut others = Vec::new();
    let mut message = match first.listener.protocol {
        Protocol::Http => {
            envoy_listener(port, &plan.addresses, vec![], vec![http_chain(port.port, first, tracing)])
        }
        Protocol::Https | Protocol::TlsTerminate | Protocol::TlsPassthrough => {
            let inspector = vec![tls_inspector()];
            if served.iter().all(|it| it.listener.protocol == Protocol::Https) {
                let chains = served.iter().map(|it| https_chain(it, tracing)).collect();
                envoy_listener(port, &plan.addresses, inspector, chains)
            } else {
                let tls = tls_port(port, &served, streams, tracing);
                others = tls.targets;
                EnvoyListener {
                    filter_chain_matcher: Some(server_name::matcher(&tls.hosts)),
                    ..envoy_listener(port, &plan.addresses, inspector, tls.chains)
                }
            }
        }
        Protocol::Tcp => {
            others.push(stream::tcp_target(port, winner()));
            envoy_listener(port, &plan.addresses, vec![], vec![stream::tcp_chain(port)])
        }
        Protocol::Udp => return datagrams::resources(port, &plan.addresses, winner(), endpoints),
    };
    if let Some(bytes) = plan.buffer_bytes {
        message.per_connection_buffer_limit_bytes = u32_value(bytes);
    }
    others.push(Resource::new(ResourceType::Listener, name(port), &message));
    others
}

/// A port on which TLS connections are routed, perhaps beside others that carry requests.
struct TlsPort {
    chains: Vec<FilterChain>,
    /// The chain of each host.
    hosts: BTreeMap<Hostname, String>,
    targets: Vec<Arc<Resource>>,
}

fn tls_port(
    port: Port,
    served: &[&ServedListener],
    streams: &Precedence<'_>,
    tracing: Option<&Tracing>,
) -> TlsPort {
    let mut chains = BTreeMap::from([(stream::CLOSED.to_owned(), stream::closed_chain())]);
    let mut hosts = BTreeMap::new();
    let mut targets = Vec::new();
    for served in served {
        let listener = &served.listener;
        if listener.protocol == Protocol::Https {
            // The matcher finds it.
            let chain = FilterChain { filter_chain_match: None, ..https_chain(served, tracing) };
            hosts.insert(listener.hostname.clone(), chain.name.clone());
            chains.insert(chain.name.clone(), chain);
            continue;
        }
        for (host, share) in streams.of_listener(&listener.id) {
            let name = stream::tls_chain_name(served, share);
            hosts.insert(host.clone(), name.clone());
            chains.entry(name).or_insert_with(|| {
                targets.push(stream::tls_target(port, served, share));
                stream::tls_chain(port, served, share)
            });
        }
        // What no route has of the listener is closed, and does not go to a less specific one.
        hosts.entry(listener.hostname.clone()).or_insert_with(|| stream::CLOSED.to_owned());
    }
    TlsPort { chains: chains.into_values().collect(), hosts, targets }
}

fn envoy_listener(
    port: Port,
    addresses: &[IpAddr],
    listener_filters: Vec<ListenerFilter>,
    filter_chains: Vec<FilterChain>,
) -> EnvoyListener {
    let mut sockets = addresses.iter().map(|address| socket_of(&address.to_string(), port));
    EnvoyListener {
        name: name(port),
        address: sockets.next(),
        additional_addresses: sockets
            .map(|address| AdditionalAddress { address: Some(address), ..AdditionalAddress::default() })
            .collect(),
        stat_prefix: port.port.to_string(),
        per_connection_buffer_limit_bytes: u32_value(CONNECTION_BUFFER_BYTES),
        listener_filters,
        filter_chains,
        ..EnvoyListener::default()
    }
}

fn tls_inspector() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(any(TlsInspector::default()))),
        ..ListenerFilter::default()
    }
}

fn http_chain(port: u16, served: &ServedListener, tracing: Option<&Tracing>) -> FilterChain {
    FilterChain {
        name: "http".to_owned(),
        filters: vec![http::connection_manager(port, "http", Clients::Unknown, tracing, &served.connection)],
        ..FilterChain::default()
    }
}

/// The chain of one HTTPS listener.
fn https_chain(served: &ServedListener, tracing: Option<&Tracing>) -> FilterChain {
    let listener = &served.listener;
    let owner = listener.owner_id();
    let clients = match &served.tls.clients {
        Some(clients) if clients.mode == Mode::ValidOnly => Clients::Validated,
        _ => Clients::Unknown,
    };
    FilterChain {
        name: format!("https/{owner}"),
        filter_chain_match: server_names(&listener.hostname),
        filters: vec![
            http::set_owner(&owner),
            http::connection_manager(listener.port, "https", clients, tracing, &served.connection),
        ],
        transport_socket: Some(tls::transport_socket(&served.tls, &tls::HTTP)),
        ..FilterChain::default()
    }
}

/// Matches connections for a server name; those for any need no match.
fn server_names(hostname: &Hostname) -> Option<FilterChainMatch> {
    (*hostname != Hostname::Any)
        .then(|| FilterChainMatch { server_names: vec![hostname.domain()], ..FilterChainMatch::default() })
}

fn network_filter<M: Message + Name>(name: &str, config: M) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(any(config))) }
}
