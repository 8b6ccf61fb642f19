use super::*;
use envoy_types::pb::envoy::config::route::v3::redirect_action;

use crate::backend::{BackendObject, Security, Upstream};
use crate::dependency::tests::{named, yaml};
use crate::hostname::Hostname;
use crate::route::filters::Redirect;
use crate::route::matches;
use crate::route::redirect::on_host;

const HTTP: Place = Place { protocol: Protocol::Http, port: 80 };

fn share(weight: u32, name: &str) -> Share {
    let backend = BackendObject::Service(named(name), 80);
    let cluster = ClusterId { backend, upstream: Upstream::Http1, security: Security::Cleartext };
    Share {
        weight,
        cluster: Some(cluster),
        filters: Arc::default(),
        session: None,
        hashed: Vec::new(),
        host: None,
    }
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
        with.filters.redirect =
            Some(Redirect { scheme: scheme.map(str::to_owned), port, status: 301, ..Redirect::default() });
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
            let Some(route::Action::Redirect(with_port)) = &on_any[0].action else { panic!("{on_any:?}") };
            assert_eq!((on_any.len(), with_port.port_redirect), (2, if https { 443 } else { 80 }), "{case}");
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
