//! Header modifiers of requests and responses.

use postern_e2e::{Backend, Reply, Want, World, http_route};

#[tokio::test]
async fn requests_are_changed_for_a_rule() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(&http_route(
            "headers",
            "
rules:
- matches: [{path: {value: /set}}]
  filters:
  - type: RequestHeaderModifier
    requestHeaderModifier:
      set: [{name: X-Set, value: overwritten}, {name: x-new, value: new}]
      add: [{name: X-Add, value: second}, {name: x-added, value: only}]
      remove: [X-Remove, x-absent]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /plain}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /percent}}]
  filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: x-percent, value: '100% %REQ(x-secret)% %%'}]}
  backendRefs: [{name: v1, port: 8080}]
",
        ))
        .await;
    let call = |world: &mut World, path| {
        world
            .call("example.org", path)
            .header("x-set", "original")
            .header("x-add", "first")
            .header("x-remove", "secret")
            .header("x-secret", "secret")
    };
    let set = call(&mut world, "/set");
    let seen = world.expect(set, Want::Backend("v1")).await.seen().unwrap();
    assert_eq!(seen.header("x-set").as_deref(), Some("overwritten"));
    assert_eq!(seen.header("x-new").as_deref(), Some("new"));
    assert_eq!(seen.header("x-add").as_deref(), Some("first,second"));
    assert_eq!(seen.header("x-added").as_deref(), Some("only"));
    assert_eq!(seen.header("x-remove"), None);

    let plain = call(&mut world, "/plain");
    let seen = world.expect(plain, Want::Backend("v1")).await.seen().unwrap();
    assert_eq!(seen.header("x-set").as_deref(), Some("original"));
    assert_eq!(seen.header("x-add").as_deref(), Some("first"));
    assert_eq!(seen.header("x-remove").as_deref(), Some("secret"));

    let percent = call(&mut world, "/percent");
    let seen = world.expect(percent, Want::Backend("v1")).await.seen().unwrap();
    assert_eq!(
        seen.header("x-percent").as_deref(),
        Some("100% %REQ(x-secret)% %%"),
        "values are text, not formats"
    );
}

#[tokio::test]
async fn responses_are_changed_for_a_rule() {
    let mut world = World::with_backends(&["plain"]).await;
    let headers = vec![("x-set", "original"), ("x-add", "first"), ("x-remove", "secret"), ("server", "mine")];
    let backend = Backend::replying("v1", move |_| Reply::Headers(headers.clone())).await;
    world.add_backend(backend).await;
    world
        .apply(&http_route(
            "headers",
            "
rules:
- matches: [{path: {value: /set}}]
  filters:
  - type: ResponseHeaderModifier
    responseHeaderModifier:
      set: [{name: X-Set, value: overwritten}, {name: x-new, value: '100%'}]
      add: [{name: X-Add, value: second}]
      remove: [X-Remove]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /plain}}]
  backendRefs: [{name: v1, port: 8080}]
",
        ))
        .await;
    let call = world.call("example.org", "/set");
    let answer = world.expect(call, Want::Backend("v1")).await;
    assert_eq!(answer.header("x-set").as_deref(), Some("overwritten"));
    assert_eq!(answer.header("x-new").as_deref(), Some("100%"));
    assert_eq!(answer.header("x-add").as_deref(), Some("first,second"));
    assert_eq!(answer.header("x-remove"), None);
    let call = world.call("example.org", "/plain");
    let answer = world.expect(call, Want::Backend("v1")).await;
    assert_eq!(answer.header("x-set").as_deref(), Some("original"));
    assert_eq!(answer.header("x-remove").as_deref(), Some("secret"));
    assert_eq!(answer.header("server").as_deref(), Some("mine"), "the gateway does not sign answers");
}

#[tokio::test]
async fn each_backend_has_its_own_changes() {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    world
        .apply(&http_route(
            "headers",
            "
rules:
- filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: x-rule, value: rule}, {name: x-both, value: rule}]}
  - type: ResponseHeaderModifier
    responseHeaderModifier: {set: [{name: x-rule, value: rule}]}
  backendRefs:
  - name: v1
    port: 8080
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: x-backend, value: one}], remove: [x-client]}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: x-backend, value: one}]}
  - name: v2
    port: 8080
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {add: [{name: x-backend, value: two}, {name: x-client, value: more}]}
",
        ))
        .await;
    for backend in ["v1", "v2"] {
        let call = world.call("example.org", "/").header("x-client", "here");
        let answer = world.expect(call, Want::Backend(backend)).await;
        let seen = answer.seen().unwrap();
        assert_eq!(seen.header("x-rule").as_deref(), Some("rule"));
        assert_eq!(answer.header("x-rule").as_deref(), Some("rule"));
        if backend == "v1" {
            assert_eq!(seen.header("x-backend").as_deref(), Some("one"));
            assert_eq!(seen.header("x-client"), None);
            assert_eq!(answer.header("x-backend").as_deref(), Some("one"));
        } else {
            assert_eq!(seen.header("x-backend").as_deref(), Some("two"));
            assert_eq!(seen.header("x-client").as_deref(), Some("here,more"));
            assert_eq!(answer.header("x-backend"), None);
        }
    }
}

/// Envoy would refuse the whole configuration; here one rule suffers, or the header is handled.
#[tokio::test]
async fn headers_that_envoy_refuses_harm_no_other_rule() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(&http_route(
            "host",
            "
rules:
- matches: [{path: {value: /host}}]
  filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: other.example}]}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /path}}]
  filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: ':path', value: /evil}]}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /fine}}]
  backendRefs: [{name: v1, port: 8080}]
",
        ))
        .await;
    let call = world.call("example.org", "/fine");
    world.expect(call, Want::Backend("v1")).await;
    let call = world.call("example.org", "/host");
    let answer = call.send().await.unwrap();
    match answer.status {
        200 => assert_eq!(answer.seen().unwrap().host, "other.example"),
        status => assert_eq!(status, 500, "a rule that cannot be kept fails"),
    }
    let call = world.call("example.org", "/path");
    world.expect(call, Want::Status(500)).await;
}
