//! What happens to the requests of one match: Envoy's routes with their actions.

mod sticky;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteAction, WeightedCluster, route, route_action, weighted_cluster,
};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::pb::google::protobuf::{BoolValue, UInt64Value};

use super::cors::Cors;
use super::filters::{Answer, Filters, Mirror, PathChange};
use super::headers::HeaderModifier;
use super::matches::{Match, preflight};
use super::redirect::redirect;
use super::retry::{self, Retry};
use crate::backend::config::balancing::{HashBy, Hashed};
use crate::backend::{ClusterId, HostName};
use crate::envoy::scope::CORS_FILTER;
use crate::envoy::slot;
use crate::envoy::{Any, INVALID_CLUSTER, any, duration, per_million, regex_matcher, u32_value};
use crate::external_auth;
use crate::gateway::Protocol;
use crate::gateway_extension::Extensions;
use crate::session::{self, Session};

const RUNTIME_KEY: &str = "postern.split";
const MILLION: u64 = 1_000_000;

/// One backendRef with a weight above zero.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) weight: u32,
    /// `None`: the reference does not resolve, its share answers 500.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) filters: Arc<Filters>,
    /// Sessions with the backend, whatever rule they come from.
    pub(crate) session: Option<Session>,
    /// What of a request decides which endpoint gets it.
    pub(crate) hashed: Vec<HashBy>,
    /// The name of the backend; `None` if there is no backend.
    pub(crate) host: Option<HostName>,
}

/// A rule with everything merged that has a say in it.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) filters: Filters,
    pub(crate) shares: Vec<Share>,
    /// Backends with the weight 0, which only get the sessions that they had before.
    pub(crate) retired: Vec<Share>,
    pub(crate) session: Option<Session>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) backend_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) cors: Option<Cors>,
    pub(crate) extensions: Extensions,
    /// The Host header becomes the name of the backend, unless the rule says another.
    pub(crate) auto_host: bool,
    /// The filters that policies bring, by the slot of the listener that they go into.
    pub(crate) slots: BTreeMap<&'static str, Any>,
    /// The size of bodies up to which messages can be held back, where it is not that of the listener.
    pub(crate) body_limit: Option<u64>,
    /// The status where there is no valid backend.
    pub(crate) without_backend: u16,
    /// The rule must not be served: everything it matches answers 500.
    pub(crate) refused: bool,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            filters: Filters::default(),
            shares: Vec::new(),
            retired: Vec::new(),
            session: None,
            request_timeout: None,
            backend_timeout: None,
            idle_timeout: None,
            retry: None,
            cors: None,
            extensions: Extensions::default(),
            auto_host: false,
            slots: BTreeMap::new(),
            body_limit: None,
            without_backend: 500,
            refused: false,
        }
    }
}

/// Where the rule is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// The Envoy routes of one match, in order, all named `name`.
pub(crate) fn routes(rule: &Rule, matching: &Match, place: Place, name: &str) -> Vec<Route> {
    let mut out = Vec::new();
    if !rule.refused && rule.cors.as_ref().is_some_and(Cors::allows_origins) {
        out.extend(preflight_route(rule, matching, name));
    }
    out.extend(actions(rule, matching, place, name));
    out
}

/// A route for the preflights of a match. A preflight is an OPTIONS request without the headers of the request that it
/// asks for, so it would miss a match on a method or on headers; and Envoy's CORS filter answers only where the
/// action is a route. The cluster is never reached: the filter answers first.
fn preflight_route(rule: &Rule, matching: &Match, name: &str) -> Option<Route> {
    let seen_by_the_match = matching.envoy.headers.is_empty();
    let forwards = rule.filters.redirect.is_none() && rule.filters.answer.is_none();
    if (seen_by_the_match && forwards) || matching.method.as_deref() == Some("OPTIONS") {
        return None;
    }
    let mut companion = matching.clone();
    companion.envoy.headers = preflight(matching.method.as_deref());
    let action = route::Action::Route(RouteAction {
        cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(INVALID_CLUSTER.to_owned())),
        cluster_not_found_response_code: route_action::ClusterNotFoundResponseCode::NotFound.into(),
        ..RouteAction::default()
    });
    Some(finish(rule, &companion, action, name))
}

fn actions(rule: &Rule, matching: &Match, place: Place, name: &str) -> Vec<Route> {
    let filters = &rule.filters;
    if rule.refused {
        return vec![bare(matching, direct(500, None), name)];
    }
    if let Some(redirection) = &filters.redirect {
        return vec![finish(rule, matching, redirect(redirection, matching, place), name)];
    }
    if let Some(Answer { status, body }) = &filters.answer {
        return vec![finish(rule, matching, direct(*status, body.as_deref()), name)];
    }
    let Some(cookie) = sticky::cookie(rule) else { return backends(rule, matching, place, name) };
    let mut out = sticky::pinned(rule, cookie, matching, place, name);
    out.extend(backends(&sticky::marking(rule, cookie), matching, place, name));
    out
}

fn backends(rule: &Rule, matching: &Match, place: Place, name: &str) -> Vec<Route> {
    if rule.shares.iter().all(|share| share.cluster.is_none()) && !rule.shares.iter().any(needs_split) {
        return vec![finish(rule, matching, direct(rule.without_backend, None), name)];
    }
    if let [share] = rule.shares.as_slice() {
        return vec![share_route(rule, share, matching, place, name)];
    }
    // What a policy says about hosts is about each backend.
    if rule.auto_host || rule.shares.iter().any(needs_split) {
        return split(rule, matching, place, name);
    }
    // Envoy applies the mutations of a cluster before those of the route, but a backendRef has the last word: where
    // one says something about headers or hosts, what the rule says moves into the clusters.
    let mut outer = rule.clone();
    let headers = if rule.shares.iter().any(changes_headers) {
        take_headers(&mut outer.filters)
    } else {
        Filters::default()
    };
    let clusters: Vec<_> = rule.shares.iter().map(|share| weighted(share, &headers)).collect();
    let any_invalid = rule.shares.iter().any(|s| s.cluster.is_none());
    let action = RouteAction {
        cluster_specifier: Some(route_action::ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters,
            ..WeightedCluster::default()
        })),
        cluster_not_found_response_code: if any_invalid && rule.without_backend == 500 {
            route_action::ClusterNotFoundResponseCode::InternalServerError.into()
        } else {
            route_action::ClusterNotFoundResponseCode::ServiceUnavailable.into()
        },
        ..route_action(&outer, &outer.filters, matching)
    };
    vec![finish(&outer, matching, route::Action::Route(action), name)]
}

fn changes_headers(share: &Share) -> bool {
    let filters = &share.filters;
    filters.request_headers.is_some() || filters.response_headers.is_some() || filters.host_rewrite.is_some()
}

fn take_headers(filters: &mut Filters) -> Filters {
    Filters {
        request_headers: filters.request_headers.take(),
        response_headers: filters.response_headers.take(),
        host_rewrite: filters.host_rewrite.take(),
        ..Filters::default()
    }
}

/// True if Envoy cannot do the filters of the share inside `weighted_clusters`.
fn needs_split(share: &Share) -> bool {
    let filters = &share.filters;
    filters.path_rewrite.is_some()
        || filters.redirect.is_some()
        || filters.answer.is_some()
        || filters.cors.is_some()
        || !filters.mirrors.is_empty()
        // What is hashed belongs to a route, and those of two backends would become one hash.
        || !share.hashed.is_empty()
}

/// One route per share with the same match and cumulative fractions. Envoy draws one random number per request
/// and compares it with each in turn, so the shares are exact.
fn split(rule: &Rule, matching: &Match, place: Place, name: &str) -> Vec<Route> {
    let total: u64 = rule.shares.iter().map(|s| u64::from(s.weight)).sum();
    let mut sum = 0;
    let mut out = Vec::new();
    for (index, share) in rule.shares.iter().enumerate() {
        sum += u64::from(share.weight);
        let mut route = share_route(rule, share, matching, place, name);
        if index + 1 < rule.shares.len()
            && let Some(matching) = &mut route.r#match
        {
            let numerator = u32::try_from(sum * MILLION / total.max(1)).unwrap_or(u32::MAX);
            matching.runtime_fraction = Some(per_million(numerator, RUNTIME_KEY));
        }
        out.push(route);
    }
    out
}

/// The route of a share that has it all to itself: its filters are lifted to the route.
fn share_route(rule: &Rule, share: &Share, matching: &Match, place: Place, name: &str) -> Route {
    let own = &share.filters;
    let mut lifted = rule.clone();
    let filters = &mut lifted.filters;
    filters.request_headers = both(filters.request_headers.take(), own.request_headers.as_ref());
    filters.response_headers = both(filters.response_headers.take(), own.response_headers.as_ref());
    if own.host_rewrite.is_some() {
        filters.host_rewrite.clone_from(&own.host_rewrite);
    }
    if own.path_rewrite.is_some() {
        filters.path_rewrite.clone_from(&own.path_rewrite);
    }
    filters.mirrors.extend(own.mirrors.iter().cloned());
    if lifted.session.is_none() {
        lifted.session.clone_from(&share.session);
    }
    if own.cors.is_some() {
        lifted.cors.clone_from(&own.cors);
    }
    let action = match (&own.redirect, &own.answer, &share.cluster) {
        (Some(redirection), _, _) => redirect(redirection, matching, place),
        (None, Some(Answer { status, body }), _) => direct(*status, body.as_deref()),
        (None, None, None) => direct(rule.without_backend, None),
        (None, None, Some(cluster)) => {
            let mut action = RouteAction {
                cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.name())),
                hash_policy: share.hashed.iter().map(hash_policy).collect(),
                ..route_action(&lifted, &lifted.filters, matching)
            };
            if rule.auto_host && action.host_rewrite_specifier.is_none() {
                action.host_rewrite_specifier = share.host.as_ref().and_then(host_rewrite);
            }
            route::Action::Route(action)
        }
    };
    finish(&lifted, matching, action, name)
}

fn both(outer: Option<HeaderModifier>, inner: Option<&HeaderModifier>) -> Option<HeaderModifier> {
    match (outer, inner) {
        (Some(outer), Some(inner)) => Some(outer.then(inner)),
        (outer, inner) => outer.or_else(|| inner.cloned()),
    }
}

fn weighted(share: &Share, outer: &Filters) -> weighted_cluster::ClusterWeight {
    let own = &share.filters;
    let request = both(outer.request_headers.clone(), own.request_headers.as_ref()).unwrap_or_default();
    let response = both(outer.response_headers.clone(), own.response_headers.as_ref()).unwrap_or_default();
    let host = own.host_rewrite.as_ref().or(outer.host_rewrite.as_ref()).or(request.host.as_ref()).cloned();
    weighted_cluster::ClusterWeight {
        name: share.cluster.as_ref().map_or_else(|| INVALID_CLUSTER.to_owned(), ClusterId::name),
        weight: u32_value(share.weight),
        request_headers_to_add: request.mutations(),
        request_headers_to_remove: request.removals(),
        response_headers_to_add: response.mutations(),
        response_headers_to_remove: response.removals(),
        typed_per_filter_config: share
            .session
            .iter()
            .map(|it| (session::FILTER.to_owned(), it.envoy()))
            .collect(),
        host_rewrite_specifier: host
            .map(weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..weighted_cluster::ClusterWeight::default()
    }
}

/// Timeouts, retries, mirrors and rewrites; the caller adds the cluster.
fn route_action(rule: &Rule, filters: &Filters, matching: &Match) -> RouteAction {
    let host = filters.host_rewrite.clone().or_else(|| filters.request_headers.as_ref()?.host.clone());
    let backend_timeout = rule.backend_timeout.filter(|t| !t.is_zero());
    let mut action = RouteAction {
        // Without a timeout of ours Envoy would use 15 seconds of its own.
        timeout: duration(rule.request_timeout.unwrap_or_default()),
        idle_timeout: rule.idle_timeout.and_then(duration),
        retry_policy: match (&rule.retry, backend_timeout) {
            (Some(retry), per_try) => Some(retry.envoy(per_try)),
            (None, Some(timeout)) => Some(retry::single_try(timeout)),
            (None, None) => None,
        },
        request_mirror_policies: filters.mirrors.iter().map(mirror).collect(),
        host_rewrite_specifier: host.map(route_action::HostRewriteSpecifier::HostRewriteLiteral),
        append_x_forwarded_host: false,
        ..RouteAction::default()
    };
    match &filters.path_rewrite {
        Some(PathChange::Full(path)) => action.regex_rewrite = Some(substitute("^/[^?]*", path)),
        Some(PathChange::Prefix(prefix)) => match (matching.path_prefix.as_deref(), prefix.as_str()) {
            // The prefix `/`: everything gets the new prefix in front.
            (None | Some(""), "") => {}
            (None | Some(""), prefix) => action.prefix_rewrite = format!("{prefix}/"),
            // A plain prefix rewrite would leave `//`.
            (Some(old), "") => {
                action.regex_rewrite = Some(substitute(&format!("^{}/*", regex::escape(old)), "/"));
            }
            (Some(_), prefix) => prefix.clone_into(&mut action.prefix_rewrite),
        },
        Some(PathChange::Beginning { old, new }) => action.regex_rewrite = beginning(old, new),
        None => {}
    }
    action
}

/// Replaces the beginning of a path, whatever the match asks for behind it; `None` if nothing changes.
pub(crate) fn beginning(old: &str, new: &str) -> Option<RegexMatchAndSubstitute> {
    match (old, new) {
        ("", "") => None,
        ("", new) => Some(substitute("^/", &format!("{new}/"))),
        (old, "") => Some(substitute(&format!("^{}/*", regex::escape(old)), "/")),
        (old, new) => Some(substitute(&format!("^{}", regex::escape(old)), new)),
    }
}

fn host_rewrite(host: &HostName) -> Option<route_action::HostRewriteSpecifier> {
    use route_action::HostRewriteSpecifier::{AutoHostRewrite, HostRewriteLiteral};
    match host {
        HostName::Known(name) => Some(HostRewriteLiteral(name.clone())),
        HostName::OfEndpoint => Some(AutoHostRewrite(BoolValue { value: true })),
        HostName::OfRequest => None,
    }
}

fn hash_policy(by: &HashBy) -> route_action::HashPolicy {
    use route_action::hash_policy::{ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier};
    let what = match &by.what {
        Hashed::Header(name) => {
            PolicySpecifier::Header(Header { header_name: name.clone(), ..Header::default() })
        }
        Hashed::Cookie { name, path, ttl, attributes } => PolicySpecifier::Cookie(Cookie {
            name: name.clone(),
            ttl: ttl.and_then(duration),
            path: path.clone(),
            attributes: attributes
                .iter()
                .map(|(name, value)| CookieAttribute { name: (*name).to_owned(), value: value.clone() })
                .collect(),
        }),
        Hashed::SourceIp => PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }),
    };
    route_action::HashPolicy { policy_specifier: Some(what), terminal: by.terminal }
}

pub(crate) fn substitute(pattern: &str, substitution: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(regex_matcher(pattern)),
        // A backslash would start a back-reference.
        substitution: substitution.replace('\\', "\\\\"),
    }
}

fn mirror(mirror: &Mirror) -> route_action::RequestMirrorPolicy {
    route_action::RequestMirrorPolicy {
        cluster: mirror.cluster.name(),
        runtime_fraction: Some(per_million(mirror.millionths, "")),
        disable_shadow_host_suffix_append: true,
        ..route_action::RequestMirrorPolicy::default()
    }
}

fn direct(status: u16, body: Option<&str>) -> route::Action {
    route::Action::DirectResponse(DirectResponseAction {
        status: status.into(),
        body: body.map(|body| DataSource {
            specifier: Some(data_source::Specifier::InlineString(body.to_owned())),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    })
}

fn bare(matching: &Match, action: route::Action, name: &str) -> Route {
    Route {
        name: name.to_owned(),
        r#match: Some(matching.envoy.clone()),
        action: Some(action),
        ..Route::default()
    }
}

/// Adds what every kind of action can have: header modifiers and CORS.
fn finish(rule: &Rule, matching: &Match, action: route::Action, name: &str) -> Route {
    let mut route = bare(matching, action, name);
    if let Some(headers) = &rule.filters.request_headers {
        route.request_headers_to_add = headers.mutations();
        route.request_headers_to_remove = headers.removals();
    }
    if let Some(headers) = &rule.filters.response_headers {
        route.response_headers_to_add = headers.mutations();
        route.response_headers_to_remove = headers.removals();
    }
    if let Some(auth) = &rule.filters.external_auth {
        let filter = slot::filled(external_auth::FILTER, auth.envoy(false));
        route.typed_per_filter_config.insert(slot::EXTERNAL_AUTH.to_owned(), filter);
    }
    route.request_body_buffer_limit = rule.body_limit.map(|value| UInt64Value { value });
    for (slot, filter) in &rule.slots {
        route.typed_per_filter_config.insert((*slot).to_owned(), filter.clone());
    }
    if let Some(session) = &rule.session {
        route.typed_per_filter_config.insert(session::FILTER.to_owned(), session.envoy());
    }
    rule.extensions.fill(&mut route);
    if let Some(cors) = &rule.cors {
        route.typed_per_filter_config.insert(CORS_FILTER.to_owned(), any(cors.envoy()));
    }
    route
}

#[cfg(test)]
mod tests;
