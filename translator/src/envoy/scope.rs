//! Scoped routes: how a request finds its routes.
//!
//! Each exact host of a port is a scope of its own with its RouteConfiguration inside, so that a change of one
//! host costs Envoy the same among ten hosts and among ten thousand. All wildcard hosts of a port share the
//! scope `*`. A request whose host has no scope of its own runs a small Lua filter that looks there. Requests
//! that found their scope never run it: it is switched off in the scope's RouteConfiguration.
//!
//! Envoy decides which HTTP filters a request gets before the Lua filter runs, by the first look-up. A filter
//! that is `disabled` in the listener and enabled by a route is therefore silently skipped after the fallback,
//! for wildcard hosts and for upper-case ones. Filters of policies must never be `disabled` in the listener; see
//! `docs/adr/0002-scoped-routes.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, FilterConfig, Route, RouteConfiguration, RouteMatch, ScopedRouteConfiguration,
    route, route_match, scoped_route_configuration,
};
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::Buffer;
use envoy_types::pb::envoy::r#type::matcher::v3::{FilterStateMatcher, filter_state_matcher};

use prost::Message;

use super::{Any, any, bool_value, exact, slot, u32_value};
use crate::external_auth::{self, ExternalAuth};
use crate::hostname::Hostname;
use crate::listener_policy::{HostSettings, basic_auth, cel_rules};
use crate::resource::{Resource, ResourceType};

/// The private request header from which the scope key is cut; removed before the request leaves Envoy.
pub(crate) const SCOPE_HEADER: &str = "x-postern-scope";
/// The filter state that names the listener whose TLS hostname the connection was made for.
pub(crate) const OWNER_KEY: &str = "postern.listener";
/// The name of the Lua filter in the chain.
pub(crate) const FALLBACK_FILTER: &str = "postern.scope_fallback";
/// The name of the CORS filter in the chain.
pub(crate) const CORS_FILTER: &str = "envoy.filters.http.cors";

/// Finds the scope of a request whose host, as sent, has none: first the host in lower case, then `*`.
/// `metadata()` makes Envoy resolve the route, once per request, hence the order.
pub(crate) const FALLBACK_LUA: &str = r#"function envoy_on_request(request)
  local headers = request:headers()
  local port, host = string.match(headers:get("x-postern-scope") or "", "^(%d+):([^:]*)")
  if port == nil then return end
  local lower = string.lower(host)
  if lower ~= host then
    headers:replace("x-postern-scope", port .. ":" .. lower)
    request:clearRouteCache()
  end
  request:metadata()
  if request:streamInfo():routeName() == "" then
    headers:replace("x-postern-scope", port .. ":*")
    request:clearRouteCache()
  end
end
"#;

/// The scope that answers for a host of a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ScopeId {
    /// One exact host.
    Host(u16, String),
    /// All wildcard hosts.
    Wildcards(u16),
}

impl ScopeId {
    pub(crate) fn of(port: u16, host: &Hostname) -> Self {
        match host {
            Hostname::Exact(host) => Self::Host(port, host.clone()),
            Hostname::Wildcard(_) | Hostname::Any => Self::Wildcards(port),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Host(port, _) | Self::Wildcards(port) => *port,
        }
    }

    fn host(&self) -> &str {
        match self {
            Self::Host(_, host) => host,
            Self::Wildcards(_) => "*",
        }
    }

    /// The xDS name of the scope.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.port(), self.host())
    }

    /// The scope with this xDS name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (port, host) = name.split_once('/')?;
        let port = port.parse().ok()?;
        Some(if host == "*" { Self::Wildcards(port) } else { Self::Host(port, host.to_owned()) })
    }
}

/// The routes of one hostname inside a scope, in order of precedence.
pub(crate) struct Host<'a> {
    pub(crate) hostname: &'a Hostname,
    /// The owner of the hostname where connections belong to listeners (TLS); `None` on cleartext ports.
    pub(crate) owner: Option<String>,
    /// Whom every request has to pass before its route is chosen.
    pub(crate) filters: &'a [ExternalAuth],
    /// What HTTPListenerPolicies say.
    pub(crate) policy: &'a HostSettings,
    /// Encoded `envoy.config.route.v3.Route` messages.
    pub(crate) routes: Vec<Bytes>,
}

/// `VirtualHost` with routes that are encoded already: on the wire an embedded message is a field of bytes.
#[derive(Clone, PartialEq, Message)]
struct VirtualHostOfEncoded {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    domains: Vec<String>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    routes: Vec<Bytes>,
    #[prost(btree_map = "string, message", tag = "15")]
    typed_per_filter_config: BTreeMap<String, Any>,
}

/// The field `virtual_hosts` of `RouteConfiguration`.
#[derive(Clone, PartialEq, Message)]
struct VirtualHosts {
    #[prost(message, repeated, tag = "2")]
    virtual_hosts: Vec<VirtualHostOfEncoded>,
}

/// The field `route_configuration` of `ScopedRouteConfiguration`.
#[derive(Clone, PartialEq, Message)]
struct InlineRouteConfiguration {
    #[prost(bytes = "bytes", tag = "5")]
    route_configuration: Bytes,
}

/// Builds a scope.
pub(crate) fn scope(id: &ScopeId, hosts: Vec<Host<'_>>) -> Arc<Resource> {
    let exact_host = matches!(id, ScopeId::Host(..));
    let mut configuration = RouteConfiguration {
        name: id.name(),
        request_headers_to_remove: vec![SCOPE_HEADER.to_owned()],
        ignore_port_in_host_matching: !exact_host,
        validate_clusters: bool_value(false),
        ..RouteConfiguration::default()
    };
    if exact_host {
        configuration.typed_per_filter_config.insert(
            FALLBACK_FILTER.to_owned(),
            any(FilterConfig { disabled: true, ..FilterConfig::default() }),
        );
    }
    let fragment = |value: &str| scoped_route_configuration::key::Fragment {
        r#type: Some(scoped_route_configuration::key::fragment::Type::StringKey(value.to_owned())),
    };
    let key = scoped_route_configuration::Key {
        fragments: vec![fragment(&id.port().to_string()), fragment(id.host())],
    };
    let message =
        ScopedRouteConfiguration { name: id.name(), key: Some(key), ..ScopedRouteConfiguration::default() };
    // Encodings of parts of one message, one after the other, are an encoding of the whole.
    let virtual_hosts = hosts.into_iter().map(|host| virtual_host(host, exact_host)).collect();
    let mut inline = configuration.encode_to_vec();
    inline.extend(VirtualHosts { virtual_hosts }.encode_to_vec());
    let mut encoded = message.encode_to_vec();
    encoded.extend(InlineRouteConfiguration { route_configuration: inline.into() }.encode_to_vec());
    Resource::encoded(ResourceType::ScopedRouteConfiguration, id.name(), &encoded)
}

fn virtual_host(host: Host<'_>, exact_host: bool) -> VirtualHostOfEncoded {
    let mut routes = host.routes;
    let policy = host.policy;
    if policy.closed.is_some() {
        routes = vec![tail("closed", 500, vec![])];
    } else if let Some(owner) = &host.owner {
        routes.push(tail("not-found", 404, vec![owned_by(owner)]));
        routes.push(tail("misdirected", 421, vec![]));
    } else if exact_host || !host.filters.is_empty() || !slots(policy).is_empty() {
        // Filters run only where there is a route, and they may change what it is. Besides, without it a request that matches no route here would go on to the wildcard hosts.
        routes.push(tail("not-found", 404, vec![]));
    }
    let filters = slot::BEFORE_ROUTING.iter().zip(host.filters);
    let filters = filters
        .map(|(slot, auth)| ((*slot).to_owned(), slot::filled(external_auth::FILTER, auth.envoy(true))));
    VirtualHostOfEncoded {
        name: host.hostname.domain(),
        domains: vec![if exact_host { "*".to_owned() } else { host.hostname.domain() }],
        routes,
        // A host that is closed asks nobody.
        typed_per_filter_config: if policy.closed.is_some() {
            BTreeMap::new()
        } else {
            filters.chain(slots(policy)).collect()
        },
    }
}

/// The slots that policies on listeners fill.
fn slots(policy: &HostSettings) -> BTreeMap<String, Any> {
    let auth = policy
        .basic_auth
        .as_ref()
        .map(|users| (slot::BASIC_AUTH.to_owned(), slot::filled(basic_auth::FILTER, users.envoy())));
    let cel = policy
        .cel
        .as_ref()
        .map(|rules| (slot::CEL_VALIDATION.to_owned(), slot::filled(cel_rules::FILTER, rules.envoy())));
    let buffer = policy.buffer.map(|bytes| {
        let filter = Buffer { max_request_bytes: u32_value(bytes) };
        (slot::BUFFER.to_owned(), slot::filled("envoy.filters.http.buffer", filter))
    });
    auth.into_iter().chain(cel).chain(buffer).collect()
}

/// Matches connections that were made for the listener `owner`.
pub(crate) fn owned_by(owner: &str) -> FilterStateMatcher {
    FilterStateMatcher {
        key: OWNER_KEY.to_owned(),
        matcher: Some(filter_state_matcher::Matcher::StringMatch(exact(owner))),
    }
}

fn tail(name: &str, status: u32, filter_state: Vec<FilterStateMatcher>) -> Bytes {
    let route = Route {
        name: name.to_owned(),
        r#match: Some(RouteMatch {
            filter_state,
            path_specifier: Some(route_match::PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::DirectResponse(DirectResponseAction {
            status,
            ..DirectResponseAction::default()
        })),
        ..Route::default()
    };
    Bytes::from(route.encode_to_vec())
}
