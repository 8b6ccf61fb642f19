//! The filters of a connection that carries requests: its mark and the HTTP connection manager.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{
    HeaderMutation as HeaderMutationRule, header_mutation::Action as MutationAction,
};
use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions, SubstitutionFormatString,
    http1_protocol_options::{HeaderKeyFormat, header_key_format::HeaderFormat},
    substitution_format_string,
};
use envoy_types::pb::envoy::config::listener::v3::Filter;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::{
    FilterStateValue, filter_state_value,
};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::health_check::v3::HealthCheck;
use envoy_types::pb::envoy::extensions::filters::http::lua::v3::Lua;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, ScopedRds, ScopedRoutes,
    http_connection_manager::{self, ForwardClientCertDetails, SetCurrentClientCertDetails},
    http_filter,
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
use envoy_types::pb::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use prost::{Message, Name};

use super::network_filter;
use crate::envoy::scope::{self, FALLBACK_FILTER, OWNER_KEY, SCOPE_HEADER};
use crate::envoy::slot;
use crate::envoy::{
    HeaderAppendAction, HeaderValue, HeaderValueOption, ads, any, bool_value, duration, exact, extension,
    inline_string, u32_value,
};
use crate::listener_policy::access_log::AccessLog;
use crate::listener_policy::{ConnectionSettings, ServerHeader, TracingSetting};
use crate::session;
use crate::telemetry::Tracing;

/// Envoy's guide for edge proxies, HTTP/2: streams of a connection, and the flow-control windows of a stream and of a
/// connection.
const HTTP2_STREAMS: u32 = 100;
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Marks connections with the owner of the server name they were made for, so that routes can tell a request that belongs
/// to another listener (GEP-3567).
pub(super) fn set_owner(owner: &str) -> Filter {
    network_filter(
        "envoy.filters.network.set_filter_state",
        SetFilterState {
            on_new_connection: vec![FilterStateValue {
                key: Some(filter_state_value::Key::ObjectKey(OWNER_KEY.to_owned())),
                factory_key: "envoy.string".to_owned(),
                value: Some(filter_state_value::Value::FormatString(SubstitutionFormatString {
                    format: Some(substitution_format_string::Format::TextFormatSource(inline_string(owner))),
                    ..SubstitutionFormatString::default()
                })),
                ..FilterStateValue::default()
            }],
            ..SetFilterState::default()
        },
    )
}

fn http_filter<M: Message + Name>(name: &str, config: M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(config))),
        ..HttpFilter::default()
    }
}

/// What is known of the clients of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clients {
    /// Nothing, or nothing that can be relied on.
    Unknown,
    /// They have shown a valid certificate.
    Validated,
}

/// The HTTP connection manager of a port.
pub(super) fn connection_manager(
    port: u16,
    stat_prefix: &str,
    clients: Clients,
    tracing: Option<&Tracing>,
    settings: &ConnectionSettings,
) -> Filter {
    let manager = HttpConnectionManager {
        stat_prefix: format!("{stat_prefix}.{port}"),
        route_specifier: Some(http_connection_manager::RouteSpecifier::ScopedRoutes(scoped_routes())),
        early_header_mutation_extensions: vec![extension(
            "envoy.http.early_header_mutation.header_mutation",
            HeaderMutation { mutations: vec![set_scope(port)] },
        )],
        http_filters: http_filters(settings),
        access_log: settings.access_logs.iter().flatten().map(AccessLog::envoy).collect(),
        common_http_protocol_options: settings.idle_timeout.map(|timeout| HttpProtocolOptions {
            idle_timeout: duration(timeout),
            ..HttpProtocolOptions::default()
        }),
        http_protocol_options: Some(http1(settings)),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: u32_value(HTTP2_STREAMS),
            initial_stream_window_size: u32_value(HTTP2_STREAM_WINDOW_BYTES),
            initial_connection_window_size: u32_value(HTTP2_CONNECTION_WINDOW_BYTES),
            ..Http2ProtocolOptions::default()
        }),
        // Not by route: Envoy reads which upgrades are possible before the route of a wildcard host is found.
        upgrade_configs: settings
            .upgrades
            .clone()
            .unwrap_or_else(|| vec!["websocket".to_owned()])
            .into_iter()
            .map(|upgrade_type| http_connection_manager::UpgradeConfig {
                upgrade_type,
                ..http_connection_manager::UpgradeConfig::default()
            })
            .collect(),
        // What clients say under that name is removed in any case. Backends hear of a certificate only if it is valid, because
        // they have no way to tell.
        forward_client_cert_details: match clients {
            Clients::Unknown => ForwardClientCertDetails::Sanitize,
            Clients::Validated => ForwardClientCertDetails::SanitizeSet,
        }
        .into(),
        set_current_client_cert_details: (clients == Clients::Validated).then(|| {
            SetCurrentClientCertDetails {
                subject: bool_value(true),
                dns: true,
                uri: true,
                ..SetCurrentClientCertDetails::default()
            }
        }),
        server_header_transformation: server_header(settings).into(),
        tracing: tracing.map(Tracing::envoy).or_else(|| match &settings.tracing {
            Some(TracingSetting::On(tracing)) => Some(tracing.envoy()),
            Some(TracingSetting::Waiting) | None => None,
        }),
        use_remote_address: bool_value(settings.use_remote_address.unwrap_or(true)),
        xff_num_trusted_hops: settings.xff_num_trusted_hops.unwrap_or_default(),
        normalize_path: bool_value(true),
        merge_slashes: true,
        path_with_escaped_slashes_action:
            http_connection_manager::PathWithEscapedSlashesAction::UnescapeAndRedirect.into(),
        ..HttpConnectionManager::default()
    };
    network_filter("envoy.filters.network.http_connection_manager", manager)
}

/// The filters of requests, in their order. Those that routes configure do nothing by themselves.
fn http_filters(settings: &ConnectionSettings) -> Vec<HttpFilter> {
    let fallback = Lua {
        default_source_code: Some(inline_string(scope::FALLBACK_LUA)),
        // The script clears the cache itself, when it has changed the scope.
        clear_route_cache: bool_value(false),
        ..Lua::default()
    };
    let empty = |name: &&str| http_filter(name, slot::empty());
    // First of all, so that the answer depends on no route.
    let health_check = settings.health_check.as_deref().map(health_check);
    let mut filters: Vec<HttpFilter> = health_check.into_iter().collect();
    filters.push(http_filter(FALLBACK_FILTER, fallback));
    filters.extend(slot::BEFORE_ROUTING.iter().map(empty));
    filters.push(http_filter(scope::CORS_FILTER, Cors::default()));
    filters.extend(slot::OF_ROUTES.iter().map(empty));
    filters.push(http_filter(session::FILTER, StatefulSession::default()));
    filters.push(http_filter("envoy.filters.http.router", Router::default()));
    filters
}

/// Answers requests for a path, whatever their host is.
fn health_check(path: &str) -> HttpFilter {
    let config = HealthCheck {
        pass_through_mode: bool_value(false),
        headers: vec![HeaderMatcher {
            name: ":path".to_owned(),
            header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(exact(path))),
            ..HeaderMatcher::default()
        }],
        ..HealthCheck::default()
    };
    http_filter("envoy.filters.http.health_check", config)
}

fn http1(settings: &ConnectionSettings) -> Http1ProtocolOptions {
    let keeps_case = settings.preserve_header_case == Some(true);
    let header_key_format = keeps_case.then(|| HeaderKeyFormat {
        header_format: Some(HeaderFormat::StatefulFormatter(extension(
            "envoy.http.stateful_header_formatters.preserve_case",
            PreserveCaseFormatterConfig::default(),
        ))),
    });
    Http1ProtocolOptions {
        accept_http_10: settings.accept_http10 == Some(true),
        default_host_for_http_10: settings.default_host_for_http10.clone().unwrap_or_default(),
        header_key_format,
        ..Http1ProtocolOptions::default()
    }
}

fn server_header(settings: &ConnectionSettings) -> http_connection_manager::ServerHeaderTransformation {
    use http_connection_manager::ServerHeaderTransformation as Envoy;
    match settings.server_header {
        Some(ServerHeader::Overwrite) => Envoy::Overwrite,
        Some(ServerHeader::AppendIfAbsent) => Envoy::AppendIfAbsent,
        Some(ServerHeader::PassThrough) | None => Envoy::PassThrough,
    }
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
