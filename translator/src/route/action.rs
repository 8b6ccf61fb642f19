//! What happens to the requests of one match: Envoy's routes with their actions.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, HeaderMatcher, RedirectAction, Route, RouteAction, WeightedCluster, header_matcher,
    redirect_action, route, route_action, weighted_cluster,
};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;

use super::cors::Cors;
use super::filters::{Answer, Filters, Mirror, PathChange, Redirect};
use super::headers::HeaderModifier;
use super::matches::{Match, preflight};
use super::retry::{self, Retry};
use crate::backend::ClusterId;
use crate::envoy::scope::CORS_FILTER;
use crate::envoy::{any, duration, per_million, regex_matcher, safe_regex, u32_value};
use crate::gateway::Protocol;
use crate::hostname::Hostname;

/// The cluster of shares that have no valid backend. It is never defined, so Envoy answers 500 for them.
const INVALID_CLUSTER: &str = "postern/invalid-backend";
const RUNTIME_KEY: &str = "postern.split";
const MILLION: u64 = 1_000_000;

/// One backendRef with a weight above zero.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) weight: u32,
    /// `None`: the reference does not resolve, its share answers 500.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) filters: Arc<Filters>,
}

/// A rule with everything merged that has a say in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    pub(crate) filters: Filters,
    pub(crate) shares: Vec<Share>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) backend_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) cors: Option<Cors>,
    /// The rule must not be served: everything it matches answers 500.
    pub(crate) refused: bool,
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
    if rule.shares.iter().all(|share| share.cluster.is_none()) && !rule.shares.iter().any(needs_split) {
        return vec![finish(rule, matching, direct(500, None), name)];
    }
    if let [share] = rule.shares.as_slice() {
        return vec![share_route(rule, share, matching, place, name)];
    }
    if rule.shares.iter().any(needs_split) {
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
        cluster_not_found_response_code: if any_invalid {
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
    if own.cors.is_some() {
        lifted.cors.clone_from(&own.cors);
    }
    let action = match (&own.redirect, &own.answer, &share.cluster) {
        (Some(redirection), _, _) => redirect(redirection, matching, place),
        (None, Some(Answer { status, body }), _) => direct(*status, body.as_deref()),
        (None, None, None) => direct(500, None),
        (None, None, Some(cluster)) => route::Action::Route(RouteAction {
            cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.name())),
            ..route_action(&lifted, &lifted.filters, matching)
        }),
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
        None => {}
    }
    action
}

fn substitute(pattern: &str, substitution: &str) -> RegexMatchAndSubstitute {
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

fn redirect(redirect: &Redirect, matching: &Match, place: Place) -> route::Action {
    let scheme = redirect.scheme.as_deref();
    let default_port = |scheme: &str| if scheme == "https" { 443 } else { 80 };
    let served = match place.protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
    };
    // HTTPRequestRedirectFilter.port: the given port, else the well-known port of a given scheme, else the port of
    // the listener; the port that the resulting scheme implies is left out of Location.
    let port = redirect.port.unwrap_or_else(|| scheme.map_or(place.port, default_port));
    let implied = port == default_port(scheme.unwrap_or(served));
    let path_rewrite_specifier = redirect.path.as_ref().map(|path| match path {
        PathChange::Full(path) => redirect_action::PathRewriteSpecifier::PathRedirect(path.clone()),
        PathChange::Prefix(prefix) => match (matching.path_prefix.as_deref(), prefix.as_str()) {
            (None | Some(""), prefix) => {
                redirect_action::PathRewriteSpecifier::PrefixRewrite(format!("{prefix}/"))
            }
            (Some(old), "") => redirect_action::PathRewriteSpecifier::RegexRewrite(substitute(
                &format!("^{}/*", regex::escape(old)),
                "/",
            )),
            (Some(_), prefix) => redirect_action::PathRewriteSpecifier::PrefixRewrite(prefix.to_owned()),
        },
    });
    let code = match redirect.status {
        301 => redirect_action::RedirectResponseCode::MovedPermanently,
        303 => redirect_action::RedirectResponseCode::SeeOther,
        307 => redirect_action::RedirectResponseCode::TemporaryRedirect,
        308 => redirect_action::RedirectResponseCode::PermanentRedirect,
        _ => redirect_action::RedirectResponseCode::Found,
    };
    route::Action::Redirect(RedirectAction {
        host_redirect: redirect.host.clone().unwrap_or_default(),
        // 0 is "unset": see `on_host`.
        port_redirect: if implied { 0 } else { port.into() },
        response_code: code.into(),
        scheme_rewrite_specifier: scheme
            .map(|scheme| redirect_action::SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier,
        ..RedirectAction::default()
    })
}

/// The routes that stand for `route` on one host. Only redirects differ: Envoy would keep a port in the request's
/// Host where the redirect implies another one, unless it is told the host, or the port.
pub(crate) fn on_host(route: &Route, host: &Hostname, place: Place) -> Vec<Route> {
    let Some(route::Action::Redirect(redirect)) = &route.action else { return vec![route.clone()] };
    if !redirect.host_redirect.is_empty() || redirect.port_redirect != 0 {
        return vec![route.clone()];
    }
    let with = |change: &dyn Fn(&mut RedirectAction)| {
        let mut copy = route.clone();
        if let Some(route::Action::Redirect(redirect)) = &mut copy.action {
            change(redirect);
        }
        copy
    };
    if let Hostname::Exact(host) = host {
        return vec![with(&|redirect| redirect.host_redirect.clone_from(host))];
    }
    let https = match &redirect.scheme_rewrite_specifier {
        Some(redirect_action::SchemeRewriteSpecifier::SchemeRedirect(scheme)) => scheme == "https",
        _ => place.protocol == Protocol::Https,
    };
    let mut with_port = with(&|redirect| redirect.port_redirect = if https { 443 } else { 80 });
    if let Some(matching) = &mut with_port.r#match {
        matching.headers.push(HeaderMatcher {
            name: ":authority".to_owned(),
            header_match_specifier: Some(header_matcher::HeaderMatchSpecifier::StringMatch(safe_regex(
                ".*:[0-9]+",
            ))),
            ..HeaderMatcher::default()
        });
    }
    vec![with_port, route.clone()]
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
    if let Some(cors) = &rule.cors {
        route.typed_per_filter_config.insert(CORS_FILTER.to_owned(), any(cors.envoy()));
    }
    route
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{BackendObject, Upstream};
    use crate::dependency::tests::{named, yaml};
    use crate::route::matches;

    const HTTP: Place = Place { protocol: Protocol::Http, port: 80 };

    fn share(weight: u32, name: &str) -> Share {
        let backend = BackendObject::Service(named(name), 80);
        let cluster = ClusterId { backend, upstream: Upstream::Http1 };
        Share { weight, cluster: Some(cluster), filters: Arc::default() }
    }

    fn filtered(weight: u32, name: &str, filters: Filters) -> Share {
        Share { filters: Arc::new(filters), ..share(weight, name) }
    }

    fn rule(shares: Vec<Share>) -> Rule {
        Rule { shares, ..Rule::default() }
    }

    fn matching(spec: &str) -> Match {
        matches::translate(&yaml(spec)).unwrap()
    }

    fn all(rule: &Rule) -> Vec<Route> {
        routes(rule, &matching("{}"), HTTP, "n")
    }

    fn forward(route: &Route) -> &RouteAction {
        match &route.action {
            Some(route::Action::Route(action)) => action,
            other => panic!("{other:?}"),
        }
    }

    fn status(route: &Route) -> u32 {
        match &route.action {
            Some(route::Action::DirectResponse(answer)) => answer.status,
            other => panic!("{other:?}"),
        }
    }

    fn single(route: &Route) -> &str {
        match &forward(route).cluster_specifier {
            Some(route_action::ClusterSpecifier::Cluster(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    fn weights(route: &Route) -> Vec<(String, u32)> {
        match &forward(route).cluster_specifier {
            Some(route_action::ClusterSpecifier::WeightedClusters(clusters)) => {
                clusters.clusters.iter().map(|c| (c.name.clone(), c.weight.unwrap().value)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn backends_with_weights() {
        assert_eq!(single(&all(&rule(vec![share(7, "a/s")]))[0]), "a/s:80");
        let routes = all(&rule(vec![share(7, "a/s"), share(3, "a/t")]));
        assert_eq!(routes.len(), 1);
        assert_eq!(weights(&routes[0]), [("a/s:80".to_owned(), 7), ("a/t:80".to_owned(), 3)]);
    }

    /// A share without a backend answers 500 for its part of the requests; a rule with nothing else, for all.
    #[test]
    fn shares_without_a_backend() {
        let lost = Share { cluster: None, ..share(1, "a/lost") };
        let routes = all(&rule(vec![share(1, "a/s"), lost.clone()]));
        assert_eq!(weights(&routes[0])[1], (INVALID_CLUSTER.to_owned(), 1));
        let code = forward(&routes[0]).cluster_not_found_response_code();
        assert_eq!(code, route_action::ClusterNotFoundResponseCode::InternalServerError);
        for shares in [vec![], vec![lost.clone()], vec![lost.clone(), lost]] {
            let routes = all(&rule(shares));
            assert_eq!((routes.len(), status(&routes[0])), (1, 500));
        }
    }

    #[test]
    fn a_refused_rule_answers_500_and_nothing_else() {
        let refused = Rule {
            refused: true,
            filters: Filters { redirect: Some(Redirect::default()), ..Filters::default() },
            ..rule(vec![share(1, "a/s")])
        };
        let routes = all(&refused);
        assert_eq!((routes.len(), status(&routes[0])), (1, 500));
    }

    fn rewrite(path: &str) -> Filters {
        Filters { path_rewrite: Some(PathChange::Full(path.to_owned())), ..Filters::default() }
    }

    /// The millionths that each route of a split gets, by Envoy's rule: one number is drawn for a request, and the
    /// first route whose fraction is above it takes it.
    fn millionths(routes: &[Route]) -> Vec<u32> {
        let mut below = 0;
        routes
            .iter()
            .map(|route| {
                let fraction = route.r#match.as_ref().unwrap().runtime_fraction.as_ref();
                let upto = fraction.map_or(1_000_000, |f| f.default_value.unwrap().numerator);
                let own = upto - below;
                below = upto;
                own
            })
            .collect()
    }

    #[test]
    fn splits_are_exact() {
        for (weights, expected) in [
            (vec![70, 20, 10], vec![700_000, 200_000, 100_000]),
            (vec![1, 1, 1], vec![333_333, 333_333, 333_334]),
            (vec![1, 0, 1], vec![500_000, 0, 500_000]),
            (vec![1_000_000, 1], vec![999_999, 1]),
            (vec![1, 999_999], vec![1, 999_999]),
            (vec![1_000_000; 16], vec![62_500; 16]),
            (vec![3, 3, 1], vec![428_571, 428_571, 142_858]),
        ] {
            let shares: Vec<Share> = weights.iter().map(|w| filtered(*w, "a/s", rewrite("/x"))).collect();
            let routes = all(&rule(shares));
            let got = millionths(&routes);
            assert_eq!(got, expected, "{weights:?}");
            assert_eq!(got.iter().sum::<u32>(), 1_000_000);
            let keys: Vec<_> = routes.iter().filter_map(|r| r.r#match.clone()?.runtime_fraction).collect();
            assert!(keys.iter().all(|f| f.runtime_key == RUNTIME_KEY), "one key, so one draw: {keys:?}");
            assert_eq!(routes.last().unwrap().r#match.as_ref().unwrap().runtime_fraction, None);
        }
    }

    #[test]
    fn a_split_keeps_what_each_share_does() {
        let redirecting =
            Filters { redirect: Some(Redirect { status: 302, ..Redirect::default() }), ..Filters::default() };
        let lost = Share { cluster: None, ..share(1, "a/lost") };
        let routes = all(&rule(vec![
            filtered(1, "a/s", rewrite("/x")),
            share(1, "a/t"),
            filtered(1, "a/u", redirecting),
            lost,
        ]));
        assert_eq!(single(&routes[0]), "a/s:80");
        assert!(forward(&routes[0]).regex_rewrite.is_some());
        assert_eq!(single(&routes[1]), "a/t:80");
        assert!(forward(&routes[1]).regex_rewrite.is_none());
        assert!(matches!(routes[2].action, Some(route::Action::Redirect(_))));
        assert_eq!(status(&routes[3]), 500);
    }

    /// HTTPBackendRef.filters are carried out after the filters of the rule, however many backends there are.
    #[test]
    fn the_only_backend_has_the_last_word_on_headers() {
        let set = |value: &str| {
            let spec = format!("{{set: [{{name: x, value: {value}}}]}}");
            HeaderModifier::request(&yaml(&spec)).unwrap()
        };
        let backend = Filters { request_headers: Some(set("backend")), ..Filters::default() };
        let mut one = rule(vec![filtered(1, "a/s", backend)]);
        one.filters.request_headers = Some(set("rule"));
        let values: Vec<_> =
            all(&one)[0].request_headers_to_add.iter().map(|o| o.header.clone().unwrap().value).collect();
        assert_eq!(values, ["rule", "backend"]);
    }

    /// Envoy carries out the mutations of a weighted cluster before those of the route.
    #[test]
    fn a_backend_has_the_last_word_on_headers() {
        let set = |value: &str| {
            let spec =
                format!("{{set: [{{name: x, value: {value}}}, {{name: host, value: {value}.example.com}}]}}");
            HeaderModifier::request(&yaml(&spec)).unwrap()
        };
        let backend = Filters { request_headers: Some(set("backend")), ..Filters::default() };
        let mut two = rule(vec![filtered(1, "a/s", backend.clone()), filtered(1, "a/t", backend)]);
        two.filters.request_headers = Some(set("rule"));
        let route = all(&two).remove(0);
        assert_eq!(route.request_headers_to_add, [], "they would come after those of the cluster");
        assert_eq!(forward(&route).host_rewrite_specifier, None);
    }

    #[test]
    fn prefixes_are_rewritten() {
        for (prefix, replacement, plain, regex) in [
            ("/", "/x", "/x/", None),
            ("/", "", "", None),
            ("/a", "/x", "/x", None),
            ("/a/", "/x/y", "/x/y", None),
            ("/a.b", "", "", Some(("^/a\\.b/*", "/"))),
        ] {
            let mut with = rule(vec![share(1, "a/s")]);
            with.filters.path_rewrite = Some(PathChange::Prefix(replacement.to_owned()));
            let matching = matching(&format!("{{path: {{value: {prefix}}}}}"));
            let action = forward(&routes(&with, &matching, HTTP, "n")[0]).clone();
            assert_eq!(action.prefix_rewrite, plain, "{prefix} to {replacement:?}");
            let got = action.regex_rewrite.map(|r| (r.pattern.unwrap().regex, r.substitution));
            assert_eq!(got, regex.map(|(p, s)| (p.to_owned(), s.to_owned())), "{prefix} to {replacement:?}");
        }
    }

    /// The pattern leaves the query alone, and a backslash in the path is no back-reference.
    #[test]
    fn whole_paths_are_rewritten() {
        let mut with = rule(vec![share(1, "a/s")]);
        with.filters.path_rewrite = Some(PathChange::Full("/x\\1".to_owned()));
        let rewrite = forward(&all(&with)[0]).regex_rewrite.clone().unwrap();
        let pattern = regex::Regex::new(&rewrite.pattern.unwrap().regex).unwrap();
        assert_eq!(pattern.replace("/a/b?c=/d", "X"), "X?c=/d");
        assert_eq!(rewrite.substitution, "/x\\\\1");
    }

    /// HTTPRequestRedirectFilter.port: the port given; else that of a given scheme; else that of the listener. A
    /// port that the scheme of the result implies is not written.
    #[test]
    fn ports_of_redirects() {
        for (listener, served, scheme, port, expected) in [
            (Protocol::Http, 80, None, None, 0),
            (Protocol::Http, 80, None, Some(80), 0),
            (Protocol::Http, 80, None, Some(8080), 8080),
            (Protocol::Http, 80, Some("https"), None, 0),
            (Protocol::Http, 80, Some("https"), Some(443), 0),
            (Protocol::Http, 80, Some("https"), Some(8443), 8443),
            (Protocol::Http, 80, Some("https"), Some(80), 80),
            (Protocol::Http, 8080, None, None, 8080),
            (Protocol::Http, 8080, None, Some(80), 0),
            (Protocol::Http, 8080, Some("http"), None, 0),
            (Protocol::Http, 8080, Some("https"), None, 0),
            (Protocol::Https, 443, None, None, 0),
            (Protocol::Https, 443, None, Some(443), 0),
            (Protocol::Https, 443, None, Some(80), 80),
            (Protocol::Https, 443, Some("http"), None, 0),
            (Protocol::Https, 443, Some("http"), Some(443), 443),
            (Protocol::Https, 8443, None, None, 8443),
            (Protocol::Https, 8443, None, Some(443), 0),
            (Protocol::Https, 8443, Some("https"), None, 0),
        ] {
            let mut with = Rule::default();
            with.filters.redirect = Some(Redirect {
                scheme: scheme.map(str::to_owned),
                port,
                status: 301,
                ..Redirect::default()
            });
            let place = Place { protocol: listener, port: served };
            let route = routes(&with, &matching("{}"), place, "n").remove(0);
            let Some(route::Action::Redirect(redirect)) = &route.action else { panic!("{route:?}") };
            let case = format!("{listener:?} on {served} to {scheme:?} {port:?}");
            assert_eq!(redirect.port_redirect, expected, "{case}");
            // Envoy keeps the port of the Host header unless it is told a host or a port.
            let exact = Hostname::parse("a.example.com").unwrap();
            let on_exact = on_host(&route, &exact, place);
            let Some(route::Action::Redirect(redirect)) = &on_exact[0].action else { panic!("{on_exact:?}") };
            assert_eq!(on_exact.len(), 1, "{case}");
            assert!(redirect.port_redirect != 0 || redirect.host_redirect == "a.example.com", "{case}");
            let on_any = on_host(&route, &Hostname::Any, place);
            if expected == 0 {
                let https = scheme.map_or(listener == Protocol::Https, |s| s == "https");
                let Some(route::Action::Redirect(with_port)) = &on_any[0].action else {
                    panic!("{on_any:?}")
                };
                assert_eq!(
                    (on_any.len(), with_port.port_redirect),
                    (2, if https { 443 } else { 80 }),
                    "{case}"
                );
            } else {
                assert_eq!(on_any, std::slice::from_ref(&route), "{case}");
            }
        }
    }

    #[test]
    fn paths_and_codes_of_redirects() {
        use redirect_action::PathRewriteSpecifier::{PathRedirect, PrefixRewrite};
        use redirect_action::RedirectResponseCode as Code;
        let redirect = |prefix: &str, redirect: Redirect| {
            let mut with = Rule::default();
            with.filters.redirect = Some(redirect);
            let matching = matching(&format!("{{path: {{value: {prefix}}}}}"));
            match routes(&with, &matching, HTTP, "n").remove(0).action {
                Some(route::Action::Redirect(redirect)) => redirect,
                other => panic!("{other:?}"),
            }
        };
        let path = |prefix: &str, change: PathChange| {
            redirect(prefix, Redirect { path: Some(change), ..Redirect::default() }).path_rewrite_specifier
        };
        assert_eq!(path("/a", PathChange::Full("/x".into())), Some(PathRedirect("/x".into())));
        assert_eq!(path("/a", PathChange::Prefix("/x".into())), Some(PrefixRewrite("/x".into())));
        assert_eq!(path("/", PathChange::Prefix("/x".into())), Some(PrefixRewrite("/x/".into())));
        assert_eq!(path("/", PathChange::Prefix(String::new())), Some(PrefixRewrite("/".into())));
        let Some(redirect_action::PathRewriteSpecifier::RegexRewrite(rewrite)) =
            path("/a", PathChange::Prefix(String::new()))
        else {
            panic!("a plain rewrite of /a/b would leave //b")
        };
        assert_eq!(rewrite.substitution, "/");
        for (status, code) in [
            (301, Code::MovedPermanently),
            (302, Code::Found),
            (303, Code::SeeOther),
            (307, Code::TemporaryRedirect),
            (308, Code::PermanentRedirect),
        ] {
            assert_eq!(redirect("/", Redirect { status, ..Redirect::default() }).response_code(), code);
        }
    }

    #[test]
    fn timeouts() {
        let seconds = |s| duration(Duration::from_secs(s));
        let action = |rule: &Rule| forward(&all(rule)[0]).clone();
        let plain = action(&rule(vec![share(1, "a/s")]));
        assert_eq!((plain.timeout, plain.retry_policy), (seconds(0), None), "Envoy's own would be 15 s");
        let both = action(&Rule {
            request_timeout: Some(Duration::from_secs(9)),
            backend_timeout: Some(Duration::from_secs(3)),
            ..rule(vec![share(1, "a/s")])
        });
        assert_eq!(both.timeout, seconds(9));
        let tries = both.retry_policy.unwrap();
        assert_eq!((tries.per_try_timeout, tries.num_retries), (seconds(3), u32_value(0)));
        let none = Rule { backend_timeout: Some(Duration::ZERO), ..rule(vec![share(1, "a/s")]) };
        assert_eq!(action(&none).retry_policy, None);
    }
}
