//! Envoy listeners: one per port, with one filter chain for cleartext HTTP or one per TLS hostname.
//!
//! Nothing in a listener depends on routes, policies or certificates' content, so none of them ever
//! replaces a listener and drains its connections. Routes are found by scope (see [`super::scope`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{
    HeaderMutation as HeaderMutationRule, header_mutation::Action as MutationAction,
};
use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, SubstitutionFormatString, substitution_format_string,
};
use envoy_types::pb::envoy::config::listener::v3::{
    AdditionalAddress, Filter, FilterChain, FilterChainMatch, Listener as EnvoyListener, ListenerFilter,
    filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::{
    FilterStateValue, filter_state_value,
};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::lua::v3::Lua;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, ScopedRds, ScopedRoutes, http_connection_manager, http_filter,
    scoped_routes::{
        self, ScopeKeyBuilder,
        scope_key_builder::{
            FragmentBuilder,
            fragment_builder::{self, HeaderValueExtractor, header_value_extractor},
        },
    },
};
use envoy_types::pb::envoy::extensions::filters::network::set_filter_state::v3::Config as SetFilterState;
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters, tls_parameters::TlsProtocol,
};
use prost::{Message, Name};

use super::scope::{self, FALLBACK_FILTER, OWNER_KEY, SCOPE_HEADER};
use super::{
    HeaderAppendAction, HeaderValue, HeaderValueOption, TransportSocket, ads, any, bool_value, extension,
    socket, u32_value,
};
use crate::gateway::{Listener, Protocol};
use crate::hostname::Hostname;
use crate::resource::{Resource, ResourceType};

/// Envoy's guide for edge proxies: one connection may hold this much before it is asked to wait.
const CONNECTION_BUFFER_BYTES: u32 = 32 * 1024;
/// Same guide, HTTP/2: streams of a connection, and the flow-control windows of a stream and of a connection.
const HTTP2_STREAMS: u32 = 100;
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// The xDS name of the listener of a TCP port.
pub(crate) fn name(port: u16) -> String {
    format!("{port}/tcp")
}

/// The Envoy listeners for the serving listeners of a Gateway, each with the SDS names of its certificates.
pub(crate) fn listeners(serving: &[(Listener, Vec<String>)], addresses: &[IpAddr]) -> Vec<Arc<Resource>> {
    let mut ports: BTreeMap<u16, Vec<&(Listener, Vec<String>)>> = BTreeMap::new();
    for entry in serving {
        ports.entry(entry.0.port).or_default().push(entry);
    }
    ports
        .into_iter()
        .filter_map(|(port, mut listeners)| {
            listeners.sort_by(|a, b| a.0.hostname.cmp(&b.0.hostname));
            let protocol = listeners.first()?.0.protocol;
            let message = match protocol {
                Protocol::Http => listener(port, addresses, vec![], vec![http_chain(port)]),
                Protocol::Https => {
                    let chains = listeners.iter().map(|(l, secrets)| tls_chain(l, secrets)).collect();
                    listener(port, addresses, vec![tls_inspector()], chains)
                }
            };
            Some(Resource::new(ResourceType::Listener, name(port), &message))
        })
        .collect()
}

fn listener(
    port: u16,
    addresses: &[IpAddr],
    listener_filters: Vec<ListenerFilter>,
    filter_chains: Vec<FilterChain>,
) -> EnvoyListener {
    let mut sockets = addresses.iter().map(|address| socket(&address.to_string(), port));
    EnvoyListener {
        name: name(port),
        address: sockets.next(),
        additional_addresses: sockets
            .map(|address| AdditionalAddress { address: Some(address), ..AdditionalAddress::default() })
            .collect(),
        stat_prefix: port.to_string(),
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

fn http_chain(port: u16) -> FilterChain {
    FilterChain {
        name: "http".to_owned(),
        filters: vec![connection_manager(port, "http")],
        ..FilterChain::default()
    }
}

/// The chain of one TLS hostname. It marks its connections with the owner of the hostname, so that routes can
/// tell a request that belongs to another listener (GEP-3567).
fn tls_chain(listener: &Listener, secrets: &[String]) -> FilterChain {
    let owner = listener.owner_id();
    FilterChain {
        name: format!("https/{owner}"),
        filter_chain_match: (listener.hostname != Hostname::Any)
            .then(|| FilterChainMatch { server_names: vec![owner.clone()], ..FilterChainMatch::default() }),
        filters: vec![set_owner(&owner), connection_manager(listener.port, "https")],
        transport_socket: Some(TransportSocket {
            name: "envoy.transport_sockets.tls".to_owned(),
            config_type: Some(
                envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType::TypedConfig(any(
                    tls_context(secrets),
                )),
            ),
        }),
        ..FilterChain::default()
    }
}

fn tls_context(secrets: &[String]) -> DownstreamTlsContext {
    DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                ..TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: secrets
                .iter()
                .map(|name| SdsSecretConfig { name: name.clone(), sds_config: Some(ads()) })
                .collect(),
            alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            ..CommonTlsContext::default()
        }),
        ..DownstreamTlsContext::default()
    }
}

fn set_owner(owner: &str) -> Filter {
    network_filter(
        "envoy.filters.network.set_filter_state",
        SetFilterState {
            on_new_connection: vec![FilterStateValue {
                key: Some(filter_state_value::Key::ObjectKey(OWNER_KEY.to_owned())),
                factory_key: "envoy.string".to_owned(),
                value: Some(filter_state_value::Value::FormatString(SubstitutionFormatString {
                    format: Some(substitution_format_string::Format::TextFormatSource(super::inline_string(
                        owner,
                    ))),
                    ..SubstitutionFormatString::default()
                })),
                ..FilterStateValue::default()
            }],
            ..SetFilterState::default()
        },
    )
}

fn network_filter<M: Message + Name>(name: &str, config: M) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(any(config))) }
}

fn http_filter<M: Message + Name>(name: &str, config: M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(config))),
        ..HttpFilter::default()
    }
}

fn connection_manager(port: u16, stat_prefix: &str) -> Filter {
    let fallback = Lua {
        default_source_code: Some(super::inline_string(scope::FALLBACK_LUA)),
        // The script clears the cache itself, when it has changed the scope.
        clear_route_cache: bool_value(false),
        ..Lua::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: format!("{stat_prefix}.{port}"),
        route_specifier: Some(http_connection_manager::RouteSpecifier::ScopedRoutes(scoped_routes())),
        early_header_mutation_extensions: vec![extension(
            "envoy.http.early_header_mutation.header_mutation",
            HeaderMutation { mutations: vec![set_scope(port)] },
        )],
        http_filters: vec![
            http_filter(FALLBACK_FILTER, fallback),
            http_filter(scope::CORS_FILTER, Cors::default()),
            http_filter("envoy.filters.http.router", Router::default()),
        ],
        http_protocol_options: Some(Http1ProtocolOptions::default()),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: u32_value(HTTP2_STREAMS),
            initial_stream_window_size: u32_value(HTTP2_STREAM_WINDOW_BYTES),
            initial_connection_window_size: u32_value(HTTP2_CONNECTION_WINDOW_BYTES),
            ..Http2ProtocolOptions::default()
        }),
        upgrade_configs: vec![http_connection_manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..http_connection_manager::UpgradeConfig::default()
        }],
        server_header_transformation: http_connection_manager::ServerHeaderTransformation::PassThrough.into(),
        use_remote_address: bool_value(true),
        normalize_path: bool_value(true),
        merge_slashes: true,
        path_with_escaped_slashes_action:
            http_connection_manager::PathWithEscapedSlashesAction::UnescapeAndRedirect.into(),
        ..HttpConnectionManager::default()
    };
    network_filter("envoy.filters.network.http_connection_manager", manager)
}

/// Writes `<port>:<authority>` into the private header from which the scope key is cut. It overwrites whatever
/// the client sent under that name.
fn set_scope(port: u16) -> HeaderMutationRule {
    HeaderMutationRule {
        action: Some(MutationAction::Append(HeaderValueOption {
            header: Some(HeaderValue {
                key: SCOPE_HEADER.to_owned(),
                value: format!("{port}:%REQ(:authority)%"),
                ..HeaderValue::default()
            }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
            ..HeaderValueOption::default()
        })),
    }
}

fn scoped_routes() -> ScopedRoutes {
    let fragment = |index| FragmentBuilder {
        r#type: Some(fragment_builder::Type::HeaderValueExtractor(HeaderValueExtractor {
            name: SCOPE_HEADER.to_owned(),
            element_separator: ":".to_owned(),
            extract_type: Some(header_value_extractor::ExtractType::Index(index)),
        })),
    };
    ScopedRoutes {
        name: "postern".to_owned(),
        scope_key_builder: Some(ScopeKeyBuilder { fragments: vec![fragment(0), fragment(1)] }),
        rds_config_source: Some(ads()),
        config_specifier: Some(scoped_routes::ConfigSpecifier::ScopedRds(ScopedRds {
            scoped_rds_config_source: Some(ads()),
            ..ScopedRds::default()
        })),
    }
}
