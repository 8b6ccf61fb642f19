//! The CORS filter (GEP-1767).

use std::collections::BTreeSet;

use postern_e2e::{Answer, Call, Want, World, http_route};

const ROUTE: &str = "
rules:
- matches: [{path: {value: /exact}}]
  filters:
  - type: CORS
    cors:
      allowOrigins: ['https://www.foo.com', 'https://*.bar.com', 'http://port.com:8080']
      allowMethods: [GET, OPTIONS]
      allowHeaders: [x-header-1, x-header-2]
      exposeHeaders: [x-header-3, x-header-4]
      allowCredentials: true
      maxAge: 3600
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /methods}}]
  filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.com'], allowMethods: ['*']}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /any}}]
  filters: [{type: CORS, cors: {allowOrigins: ['*'], allowMethods: [PUT]}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /credentials}}]
  filters: [{type: CORS, cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], allowCredentials: true}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /get-only}, method: GET}]
  filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.com'], allowMethods: [GET]}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /own-options}, method: GET}]
  filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.com'], allowMethods: [GET]}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /own-options}, method: OPTIONS}]
  backendRefs: [{name: v2, port: 8080}]
- matches: [{path: {value: /header-only}, method: GET, headers: [{name: x-tenant, value: a}]}]
  filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.com'], allowMethods: [GET]}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /plain}}]
  backendRefs: [{name: v1, port: 8080}]
";

async fn world() -> World {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    world.apply(&http_route("cors", ROUTE)).await;
    let call = world.call("example.org", "/plain");
    world.expect(call, Want::Backend("v1")).await;
    world
}

fn preflight(world: &mut World, path: &str, origin: &str, method: &str) -> Call {
    world
        .call("example.org", path)
        .method("OPTIONS")
        .header("origin", origin)
        .header("access-control-request-method", method)
}

fn list(answer: &Answer, name: &str) -> BTreeSet<String> {
    let values = answer.header(name).unwrap_or_default();
    values.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(ToString::to_string).collect()
}

fn origin(answer: &Answer) -> Option<String> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn preflights_of_known_origins() {
    let mut world = world().await;
    for from in ["https://www.foo.com", "https://www.bar.com", "https://a.b.bar.com", "http://port.com:8080"]
    {
        let call = preflight(&mut world, "/exact/x", from, "GET")
            .header("access-control-request-headers", "x-header-1, x-header-2");
        let answer = call.send().await.unwrap();
        assert!(matches!(answer.status, 200 | 204), "{from}: {answer:?}");
        assert_eq!(origin(&answer).as_deref(), Some(from));
        assert_eq!(list(&answer, "access-control-allow-methods"), set(&["GET", "OPTIONS"]));
        assert_eq!(list(&answer, "access-control-allow-headers"), set(&["x-header-1", "x-header-2"]));
        assert_eq!(list(&answer, "access-control-expose-headers"), set(&["x-header-3", "x-header-4"]));
        assert_eq!(answer.header("access-control-max-age").as_deref(), Some("3600"));
        assert_eq!(answer.header("access-control-allow-credentials").as_deref(), Some("true"));
        assert_eq!(answer.backend(), "", "the gateway answers a preflight itself");
    }
    let answer = preflight(&mut world, "/methods", "https://www.foo.com", "POST").send().await.unwrap();
    assert!(
        matches!(answer.header("access-control-allow-methods").as_deref(), Some("POST" | "*")),
        "{answer:?}"
    );
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(
        answer.header("access-control-max-age").as_deref(),
        Some("5"),
        "the default of the specification"
    );
}

#[tokio::test]
async fn preflights_of_strangers_get_no_permission() {
    let mut world = world().await;
    for from in [
        "https://foobar.com",
        "https://bar.com",
        "http://www.foo.com",
        "https://www.foo.com:444",
        "https://www.foo.com.evil.com",
        "https://wwwxfoo.com",
    ] {
        let answer = preflight(&mut world, "/exact", from, "GET").send().await.unwrap();
        assert!(matches!(answer.status, 200 | 204 | 403), "{from}: {answer:?}");
        assert_eq!(origin(&answer), None, "{from}");
    }
}

#[tokio::test]
async fn actual_requests() {
    let mut world = world().await;
    let call = world.call("example.org", "/exact").header("origin", "https://www.foo.com");
    let answer = world.expect(call, Want::Backend("v1")).await;
    assert_eq!(origin(&answer).as_deref(), Some("https://www.foo.com"));
    assert_eq!(answer.header("access-control-allow-credentials").as_deref(), Some("true"));
    assert_eq!(list(&answer, "access-control-expose-headers"), set(&["x-header-3", "x-header-4"]));
    // The browser blocks the answer, not the gateway the request.
    let call = world.call("example.org", "/exact").header("origin", "https://foobar.com");
    let answer = world.expect(call, Want::Backend("v1")).await;
    assert_eq!(origin(&answer), None);
    let call = world.call("example.org", "/plain").header("origin", "https://www.foo.com");
    let answer = world.expect(call, Want::Backend("v1")).await;
    assert_eq!(origin(&answer), None, "other rules know nothing of it");
}

#[tokio::test]
async fn wildcard_origin() {
    let mut world = world().await;
    for from in ["https://foobar.com", "https://foobar.com:12345"] {
        let answer = preflight(&mut world, "/any", from, "PUT").send().await.unwrap();
        assert!(
            matches!(origin(&answer).as_deref(), Some("*")) || origin(&answer).as_deref() == Some(from),
            "{answer:?}"
        );
        assert_eq!(answer.header("access-control-allow-methods").as_deref(), Some("PUT"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let call = world.call("example.org", "/any").method("PUT").header("origin", from);
        let answer = world.expect(call, Want::Backend("v1")).await;
        assert!(
            matches!(origin(&answer).as_deref(), Some("*")) || origin(&answer).as_deref() == Some(from),
            "{answer:?}"
        );
    }
}

/// With credentials a browser takes no `*`: the request's own values must come back.
#[tokio::test]
async fn wildcards_with_credentials_are_spelled_out() {
    let mut world = world().await;
    let answer = preflight(&mut world, "/credentials", "https://other.foo.com", "PUT")
        .header("access-control-request-headers", "x-header-1, x-header-2")
        .send()
        .await
        .unwrap();
    assert_eq!(origin(&answer).as_deref(), Some("https://other.foo.com"));
    assert_eq!(answer.header("access-control-allow-methods").as_deref(), Some("PUT"));
    assert_eq!(list(&answer, "access-control-allow-headers"), set(&["x-header-1", "x-header-2"]));
    assert_eq!(answer.header("access-control-allow-credentials").as_deref(), Some("true"));
}

/// A browser asks with OPTIONS and without the real request's headers, whatever the rule matches.
#[tokio::test]
async fn a_preflight_reaches_a_rule_that_matches_only_get() {
    let mut world = world().await;
    let answer = preflight(&mut world, "/get-only", "https://www.foo.com", "GET").send().await.unwrap();
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    assert_eq!(origin(&answer).as_deref(), Some("https://www.foo.com"));
    // OPTIONS that is no preflight still goes where the rules say.
    let call = world.call("example.org", "/get-only").method("OPTIONS");
    world.expect(call, Want::Status(404)).await;
    let call = world.call("example.org", "/own-options").method("OPTIONS");
    world.expect(call, Want::Backend("v2")).await;
    let answer = preflight(&mut world, "/header-only", "https://www.foo.com", "GET").send().await.unwrap();
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    assert_eq!(origin(&answer).as_deref(), Some("https://www.foo.com"));
    let call = world.call("example.org", "/header-only").method("OPTIONS");
    world.expect(call, Want::Status(404)).await;
}

/// Envoy chooses the filters of a request by its first look-up, which finds nothing for wildcard hosts and for hosts in
/// upper case. Filters have to work there all the same.
#[tokio::test]
async fn cors_holds_on_every_kind_of_host() {
    let mut world = World::with_backends(&["v1"]).await;
    let hostnames = "hostnames: [exact.example.org, '*.wild.example.org']";
    world.apply(&http_route("cors", &format!("{hostnames}{ROUTE}"))).await;
    let call = world.call("exact.example.org", "/plain");
    world.expect(call, Want::Backend("v1")).await;
    for host in ["exact.example.org", "EXACT.example.org", "a.wild.example.org", "A.B.Wild.example.org"] {
        for path in ["/exact/x", "/get-only"] {
            let asked = "https://www.foo.com";
            let call = world.call(host, path).method("OPTIONS");
            let call = call.header("origin", asked).header("access-control-request-method", "GET");
            let answer = call.send().await.unwrap();
            assert_eq!(origin(&answer).as_deref(), Some(asked), "preflight of {host}{path}");
            let answer = world.call(host, path).header("origin", asked).send().await.unwrap();
            assert_eq!((answer.status, origin(&answer).as_deref()), (200, Some(asked)), "{host}{path}");
        }
    }
}
