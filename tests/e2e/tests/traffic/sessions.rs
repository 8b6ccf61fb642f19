//! Session persistence (GEP-1619).

use std::collections::{BTreeMap, BTreeSet};

use postern_e2e::{Answer, Backend, Call, World, http_route, service};

/// The Services `a` (endpoints a1 to a3) and `b` (b1 to b3), and a route to them.
async fn world(rule: &str) -> World {
    let mut world = World::with_backends(&[]).await;
    let mut yaml = String::new();
    for name in ["a", "b"] {
        let mut addresses = Vec::new();
        for number in 1..=3 {
            let backend = Backend::start(&format!("{name}{number}")).await;
            addresses.push(backend.address());
            world.add_backend(backend).await;
        }
        yaml.push_str(&service("default", name, "", &addresses));
    }
    yaml.push_str(&http_route("r", rule));
    world.apply(&yaml).await;
    let call = world.call("www.example.org", "/");
    world.expect_that(call, "the route is there", |answer| answer.status == 200).await;
    world
}

/// A browser: it keeps cookies by name.
#[derive(Default)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    async fn ask(&mut self, call: &Call) -> Answer {
        let cookies: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut call = call.clone();
        if !cookies.is_empty() {
            call = call.header("cookie", &cookies.join("; "));
        }
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status, 200);
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            self.0.insert(name.to_owned(), value.to_owned());
        }
        answer
    }
}

fn set_cookies(answer: &Answer) -> Vec<String> {
    let cookies = answer.headers.get_all("set-cookie").iter();
    cookies.map(|cookie| cookie.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_cookie_keeps_a_session_with_its_endpoint() {
    let mut world = world(
        "rules: [{sessionPersistence: {cookie: {name: basket, path: /shop}}, backendRefs: [{name: a, port: 8080}]}]",
    )
    .await;
    let elsewhere = world.call("example.org", "/").send().await.unwrap();
    assert!(set_cookies(&elsewhere).is_empty(), "the cookie would not come back from there");
    let call = world.call("example.org", "/shop/cart");
    let mut chosen = BTreeSet::new();
    for _ in 0..20 {
        let mut browser = Browser::default();
        let first = browser.ask(&call).await;
        let cookies = set_cookies(&first);
        assert!(cookies.len() == 1 && cookies[0].starts_with("basket="), "{cookies:?}");
        assert!(cookies[0].contains("Path=/shop") && !cookies[0].contains("Max-Age"), "{cookies:?}");
        for _ in 0..5 {
            let again = browser.ask(&call).await;
            assert_eq!(again.backend(), first.backend());
            assert!(set_cookies(&again).is_empty(), "nothing new to remember");
        }
        chosen.insert(first.backend());
    }
    assert_eq!(chosen.len(), 3, "sessions are spread over the endpoints");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_replaced() {
    let mut world =
        world("rules: [{sessionPersistence: {cookie: {name: s}}, backendRefs: [{name: a, port: 8080}]}]")
            .await;
    let call = world.call("example.org", "/");
    let mut browser = Browser::default();
    let first = browser.ask(&call).await.backend();
    let rest: Vec<_> = ["a1", "a2", "a3"].iter().filter(|name| **name != first).collect();
    let addresses: Vec<_> = rest.iter().map(|name| world.backend(name).address()).collect();
    world.apply(&service("default", "a", "", &addresses)).await;
    world.delete("EndpointSlice", "a-2").await;
    let next = browser.ask(&call).await;
    assert!(rest.iter().any(|name| **name == next.backend()), "{}", next.backend());
    assert_eq!(browser.ask(&call).await.backend(), next.backend(), "and that one is kept");
}

#[tokio::test]
async fn a_session_stays_with_one_of_several_backends() {
    let rule = |weights: [u8; 2]| {
        format!(
            "rules: [{{sessionPersistence: {{absoluteTimeout: 1h, cookie: {{name: s, lifetimeType: Permanent}}}}, \
             backendRefs: [{{name: a, port: 8080, weight: {}}}, {{name: b, port: 8080, weight: {}}}]}}]",
            weights[0], weights[1]
        )
    };
    let mut world = world(&rule([3, 1])).await;
    let call = world.call("example.org", "/");
    let mut sessions = Vec::new();
    for _ in 0..200 {
        let mut browser = Browser::default();
        let first = browser.ask(&call).await;
        assert!(set_cookies(&first).iter().all(|cookie| cookie.contains("Max-Age=3600")), "{first:?}");
        sessions.push((browser, first.backend()));
    }
    let to_a = sessions.iter().filter(|(_, backend)| backend.starts_with('a')).count();
    assert!((120..=180).contains(&to_a), "{to_a} of 200, expected about 150");
    for (browser, backend) in &mut sessions {
        for _ in 0..3 {
            assert_eq!(browser.ask(&call).await.backend(), *backend);
        }
    }
    // No new sessions for b, but those that it has stay.
    world.apply(&http_route("r", &rule([1, 0]))).await;
    for _ in 0..20 {
        let answer = Browser::default().ask(&call).await;
        assert!(answer.backend().starts_with('a'));
    }
    for (browser, backend) in &mut sessions {
        assert_eq!(browser.ask(&call).await.backend(), *backend);
    }
}

#[tokio::test]
async fn a_header_keeps_a_session_too() {
    let mut world = world(
        "rules: [{sessionPersistence: {type: Header, header: {name: X-Session}}, backendRefs: [{name: a, port: 8080}]}]",
    )
    .await;
    let call = world.call("example.org", "/");
    for _ in 0..10 {
        let first = call.send().await.unwrap();
        let session = first.header("x-session").unwrap();
        for _ in 0..5 {
            let again = call.clone().header("x-session", &session).send().await.unwrap();
            assert_eq!(again.backend(), first.backend());
        }
    }
}

/// Routes of wildcard hosts and of hosts in upper case are found late.
#[tokio::test]
async fn sessions_of_hosts_that_are_found_late() {
    let mut world = world(
        "hostnames: ['*.example.org', exact.test]\nrules: [{sessionPersistence: {cookie: {name: s}}, backendRefs: [{name: a, port: 8080}, {name: b, port: 8080}]}]",
    )
    .await;
    for host in ["www.example.org", "WWW.Example.org", "EXACT.test"] {
        let call = world.call(host, "/");
        for _ in 0..10 {
            let mut browser = Browser::default();
            let first = browser.ask(&call).await.backend();
            for _ in 0..5 {
                assert_eq!(browser.ask(&call).await.backend(), first, "{host}");
            }
        }
    }
}

/// XBackendTrafficPolicy: whatever rule requests come from.
#[tokio::test]
async fn a_policy_on_the_backend_keeps_sessions_too() {
    let mut world = world(
        "rules: [{matches: [{path: {value: /one}}], backendRefs: [{name: a, port: 8080}]}, {backendRefs: [{name: a, port: 8080}]}]",
    )
    .await;
    let policy = "---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackendTrafficPolicy\n\
                  metadata: {name: sessions, namespace: default}\nspec:\n  \
                  targetRefs: [{group: '', kind: Service, name: a}]\n  sessionPersistence: {cookie: {name: s}}\n";
    world.apply(policy).await;
    world.assert_status("XBackendTrafficPolicy/sessions", &["Accepted=True Accepted"]);
    let (one, other) = (world.call("example.org", "/one"), world.call("example.org", "/other"));
    world.expect_that(one.clone(), "a cookie", |answer| !set_cookies(answer).is_empty()).await;
    for _ in 0..10 {
        let mut browser = Browser::default();
        let first = browser.ask(&one).await.backend();
        for _ in 0..5 {
            assert_eq!(browser.ask(&other).await.backend(), first, "both rules share the session");
        }
    }
}
