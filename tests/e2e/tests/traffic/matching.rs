//! Which rule takes a request: matches and their precedence (HTTPRouteRule.matches).

use postern_e2e::{Call, Want, World, http_route};

fn call(world: &mut World, path: &str) -> Call {
    world.call("example.org", path)
}

#[tokio::test]
async fn paths() {
    let mut world = World::with_backends(&["v1", "v2", "v3"]).await;
    world
        .apply(&http_route(
            "paths",
            "
rules:
- {matches: [{path: {type: PathPrefix, value: /foo}}], backendRefs: [{name: v2, port: 8080}]}
- {matches: [{path: {type: Exact, value: /foo}}], backendRefs: [{name: v1, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /bar/}}], backendRefs: [{name: v3, port: 8080}]}
- {matches: [{path: {type: Exact, value: /only/}}], backendRefs: [{name: v3, port: 8080}]}
- {matches: [{path: {type: RegularExpression, value: '/re/[a-z]+\\d'}}], backendRefs: [{name: v1, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /a.b}}], backendRefs: [{name: v2, port: 8080}]}
",
        ))
        .await;
    for (path, want) in [
        ("/foo", Want::Backend("v1")),
        ("/foo?x=1", Want::Backend("v1")),
        ("/foo/", Want::Backend("v2")),
        ("/foo/x", Want::Backend("v2")),
        ("/foobar", Want::Status(404)),
        ("/FOO", Want::Status(404)),
        ("/bar", Want::Backend("v3")),
        ("/bar/", Want::Backend("v3")),
        ("/bar/x?y", Want::Backend("v3")),
        ("/barn", Want::Status(404)),
        ("/only/", Want::Backend("v3")),
        ("/only", Want::Status(404)),
        ("/re/ab1", Want::Backend("v1")),
        ("/re/ab1?x=/y", Want::Backend("v1")),
        ("/re/ab", Want::Status(404)),
        ("/re/ab1/more", Want::Status(404)),
        ("/x/re/ab1", Want::Status(404)),
        ("/a.b/c", Want::Backend("v2")),
        ("/axb/c", Want::Status(404)),
        ("/", Want::Status(404)),
        // Dot segments are resolved before matching, else they would walk around the rules.
        ("/foo/../bar/x", Want::Backend("v3")),
        ("/bar/%2e%2e/foo", Want::Backend("v1")),
    ] {
        let call = call(&mut world, path);
        world.expect(call, want).await;
    }
}

#[tokio::test]
async fn headers() {
    let mut world = World::with_backends(&["v1", "v2", "v3"]).await;
    world
        .apply(&http_route(
            "headers",
            "
rules:
- {matches: [{headers: [{name: Version, value: one}]}], backendRefs: [{name: v1, port: 8080}]}
- {matches: [{headers: [{type: RegularExpression, name: color, value: '(blue|green)-[0-9]+'}]}], backendRefs: [{name: v2, port: 8080}]}
- matches:
  - headers: [{name: version, value: two}, {name: color, value: red}]
  - headers: [{name: magic, value: 'a,b'}]
  backendRefs: [{name: v3, port: 8080}]
- {matches: [{headers: [{name: twice, value: first}, {name: Twice, value: second}]}], backendRefs: [{name: v1, port: 8080}]}
",
        ))
        .await;
    let cases: [(&[(&str, &str)], Want); 13] = [
        (&[], Want::Status(404)),
        (&[("version", "one")], Want::Backend("v1")),
        (&[("VERSION", "one")], Want::Backend("v1")),
        (&[("version", "One")], Want::Status(404)),
        (&[("version", "one1")], Want::Status(404)),
        (&[("color", "blue-1")], Want::Backend("v2")),
        (&[("color", "green-23")], Want::Backend("v2")),
        (&[("color", "blue-")], Want::Status(404)),
        (&[("color", "xblue-1")], Want::Status(404)),
        (&[("version", "two"), ("color", "red")], Want::Backend("v3")),
        (&[("version", "two")], Want::Status(404)),
        (&[("magic", "a,b")], Want::Backend("v3")),
        // Of equivalent names only the first entry counts.
        (&[("twice", "first")], Want::Backend("v1")),
    ];
    for (headers, want) in cases {
        let call = headers.iter().fold(call(&mut world, "/"), |call, (name, value)| call.header(name, value));
        world.expect(call, want).await;
    }
}

#[tokio::test]
async fn query_parameters() {
    let mut world = World::with_backends(&["v1", "v2", "v3"]).await;
    world
        .apply(&http_route(
            "query",
            "
rules:
- {matches: [{queryParams: [{name: animal, value: whale}]}], backendRefs: [{name: v1, port: 8080}]}
- matches:
  - queryParams: [{name: animal, value: dolphin}, {name: color, value: blue}]
  - queryParams: [{name: ANIMAL, value: Whale}]
  backendRefs: [{name: v3, port: 8080}]
- {matches: [{queryParams: [{type: RegularExpression, name: id, value: '[0-9]{3}'}]}], backendRefs: [{name: v2, port: 8080}]}
",
        ))
        .await;
    for (path, want) in [
        ("/?animal=whale", Want::Backend("v1")),
        ("/x?a=b&animal=whale&c=d", Want::Backend("v1")),
        ("/?animal=Whale", Want::Status(404)),
        ("/?ANIMAL=Whale", Want::Backend("v3")),
        ("/?animal=whales", Want::Status(404)),
        ("/?animal=dolphin", Want::Status(404)),
        ("/?animal=dolphin&color=blue", Want::Backend("v3")),
        ("/?color=blue&animal=dolphin", Want::Backend("v3")),
        ("/?id=123", Want::Backend("v2")),
        ("/?id=1234", Want::Status(404)),
        ("/?id=12a", Want::Status(404)),
        ("/", Want::Status(404)),
    ] {
        let call = call(&mut world, path);
        world.expect(call, want).await;
    }
}

#[tokio::test]
async fn methods() {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    world
        .apply(&http_route(
            "methods",
            "
rules:
- {matches: [{method: POST}], backendRefs: [{name: v1, port: 8080}]}
- {matches: [{method: GET}], backendRefs: [{name: v2, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /path1}, method: GET}], backendRefs: [{name: v1, port: 8080}]}
- matches:
  - {path: {type: PathPrefix, value: /path3}, method: PATCH}
  - {path: {type: PathPrefix, value: /path4}, method: DELETE, headers: [{name: version, value: three}]}
  backendRefs: [{name: v1, port: 8080}]
",
        ))
        .await;
    for (method, path, want) in [
        ("POST", "/", Want::Backend("v1")),
        ("GET", "/", Want::Backend("v2")),
        ("GET", "/path1", Want::Backend("v1")),
        ("PATCH", "/path3", Want::Backend("v1")),
        ("PATCH", "/", Want::Status(404)),
        ("PUT", "/", Want::Status(404)),
        ("DELETE", "/path4", Want::Status(404)),
    ] {
        let call = call(&mut world, path).method(method);
        world.expect(call, want).await;
    }
    let call = call(&mut world, "/path4").method("DELETE").header("version", "three");
    world.expect(call, Want::Backend("v1")).await;
}

/// The order of HTTPRouteRule: exact path, longest prefix, method, most headers, most query
/// parameters, then the first rule; each criterion against as many of the later ones as possible.
#[tokio::test]
async fn precedence_within_a_route() {
    let mut world = World::with_backends(&["loser", "winner"]).await;
    world
        .apply(&http_route(
            "order",
            "
rules:
# An exact path against a method, a header and a query parameter on the prefix of the same length.
- {matches: [{path: {type: PathPrefix, value: /exact}, method: GET, headers: [{name: a, value: x}], queryParams: [{name: q, value: x}]}], backendRefs: [{name: loser, port: 8080}]}
- {matches: [{path: {type: Exact, value: /exact}}], backendRefs: [{name: winner, port: 8080}]}
# A longer prefix.
- {matches: [{path: {type: PathPrefix, value: /longer}, method: GET, headers: [{name: a, value: x}], queryParams: [{name: q, value: x}]}], backendRefs: [{name: loser, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /longer/b}}], backendRefs: [{name: winner, port: 8080}]}
# A method against three headers and a query parameter.
- {matches: [{path: {type: PathPrefix, value: /method}, headers: [{name: a, value: x}, {name: b, value: x}, {name: c, value: x}], queryParams: [{name: q, value: x}]}], backendRefs: [{name: loser, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /method}, method: GET}], backendRefs: [{name: winner, port: 8080}]}
# Two headers against one and three query parameters.
- {matches: [{path: {type: PathPrefix, value: /headers}, headers: [{name: a, value: x}], queryParams: [{name: q, value: x}, {name: r, value: x}, {name: s, value: x}]}], backendRefs: [{name: loser, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /headers}, headers: [{name: a, value: x}, {name: b, value: x}]}], backendRefs: [{name: winner, port: 8080}]}
# Two query parameters against one.
- {matches: [{path: {type: PathPrefix, value: /query}, queryParams: [{name: q, value: x}]}], backendRefs: [{name: loser, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /query}, queryParams: [{name: q, value: x}, {name: r, value: x}]}], backendRefs: [{name: winner, port: 8080}]}
# The first of two equal rules.
- {matches: [{path: {type: PathPrefix, value: /first}}], backendRefs: [{name: winner, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /first}}], backendRefs: [{name: loser, port: 8080}]}
# The order counts between matches of the same rule and others, too.
- {matches: [{path: {type: PathPrefix, value: /}}, {path: {type: PathPrefix, value: /deep/er}}], backendRefs: [{name: winner, port: 8080}]}
- {matches: [{path: {type: PathPrefix, value: /deep}}], backendRefs: [{name: loser, port: 8080}]}
",
        ))
        .await;
    for path in [
        "/exact?q=x",
        "/longer/b?q=x",
        "/method?q=x",
        "/headers?q=x&r=x&s=x",
        "/query?q=x&r=x",
        "/first",
        "/deep/er",
        "/",
    ] {
        let call = call(&mut world, path).header("a", "x").header("b", "x").header("c", "x");
        world.expect(call, Want::Backend("winner")).await;
    }
    let call = call(&mut world, "/deep/x");
    world.expect(call, Want::Backend("loser")).await;
}

#[tokio::test]
async fn precedence_between_routes() {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    let route = |name: &str, created: &str, path: &str, backend: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default, creationTimestamp: '{created}'}}
spec:
  parentRefs: [{{name: gw}}]
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {backend}, port: 8080}}]}}]
---
"
        )
    };
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    world
        .apply(
            &[
                route("a-younger", new, "/age", "v2"),
                route("b-older", old, "/age", "v1"),
                route("b-name", old, "/name", "v2"),
                route("a-name", old, "/name", "v1"),
                // A better match of a younger route beats the age.
                route("a-short", old, "/match", "v2"),
                route("b-long", new, "/match/longer", "v1"),
            ]
            .concat(),
        )
        .await;
    for path in ["/age", "/name", "/match/longer"] {
        let call = call(&mut world, path);
        world.expect(call, Want::Backend("v1")).await;
    }
    // The next in the order takes over at once.
    world.delete("HTTPRoute", "b-older").await;
    let call = call(&mut world, "/age");
    world.expect(call, Want::Backend("v2")).await;
}

/// A match that cannot be understood must not open the way to a less specific rule.
#[tokio::test]
async fn an_invalid_regular_expression_spoils_only_its_own_rule() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(&http_route(
            "regex",
            "
rules:
- {matches: [{path: {type: RegularExpression, value: '/(['}}], backendRefs: [{name: v1, port: 8080}]}
- {matches: [{path: {value: /fine}}], backendRefs: [{name: v1, port: 8080}]}
",
        ))
        .await;
    let call = call(&mut world, "/fine");
    world.expect(call, Want::Backend("v1")).await;
    let problems = world.problems();
    assert!(problems.contains("regex") && problems.contains("spec.rules[0].matches[0].path"), "{problems}");
}
