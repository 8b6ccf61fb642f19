//! Envoy listeners: one per port, with one filter chain for cleartext HTTP or one per TLS hostname.
//!
//! Where requests are routed, nothing in a listener depends on routes, policies or certificates' content, so none of them
//! ever replaces a listener and drains its connections. Routes are found by scope (see [`super::scope`]). Where connections
//! are routed, Envoy knows no such indirection: their routes are part of the listener.

mod http;
mod tls;

use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::{
    AdditionalAddress, Filter, FilterChain, FilterChainMatch, Listener as EnvoyListener, ListenerFilter,
    filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use prost::{Message, Name};

use self::http::Clients;
use super::{any, socket, u32_value};
use crate::gateway::frontend::Mode;
use crate::gateway::{ListenerPlan, Protocol, ServedListener};
use crate::hostname::Hostname;
use crate::infrastructure::{Port, PortProtocol};
use crate::resource::{Resource, ResourceType};
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

/// The Envoy listener of a port; `None` if nothing is served there.
pub(crate) fn listener(port: Port, plan: &ListenerPlan) -> Option<Arc<Resource>> {
    let mut served: Vec<&ServedListener> =
        plan.serving.iter().filter(|it| it.listener.socket() == port).collect();
    served.sort_by(|a, b| a.listener.hostname.cmp(&b.listener.hostname));
    let protocol = served.first()?.listener.protocol;
    let tracing = plan.tracing.as_ref();
    let message = match protocol {
        Protocol::Http => envoy_listener(port, &plan.addresses, vec![], vec![http_chain(port.port, tracing)]),
        _ => {
            let chains = served.iter().map(|it| https_chain(it, tracing)).collect();
            envoy_listener(port, &plan.addresses, vec![tls_inspector()], chains)
        }
    };
    Some(Resource::new(ResourceType::Listener, name(port), &message))
}

fn envoy_listener(
    port: Port,
    addresses: &[IpAddr],
    listener_filters: Vec<ListenerFilter>,
    filter_chains: Vec<FilterChain>,
) -> EnvoyListener {
    let mut sockets = addresses.iter().map(|address| socket(&address.to_string(), port.port));
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

fn http_chain(port: u16, tracing: Option<&Tracing>) -> FilterChain {
    FilterChain {
        name: "http".to_owned(),
        filters: vec![http::connection_manager(port, "http", Clients::Unknown, tracing)],
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
            http::connection_manager(listener.port, "https", clients, tracing),
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
