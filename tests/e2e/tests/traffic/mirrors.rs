//! RequestMirror.

use postern_e2e::{Want, World, http_route, until};

#[tokio::test]
async fn several_mirrors_get_a_copy_and_the_client_one_answer() {
    let mut world = World::with_backends(&["main", "copy-a", "copy-b"]).await;
    world
        .apply(&http_route(
            "mirror",
            "
rules:
- matches: [{path: {value: /both}}]
  filters:
  - {type: RequestMirror, requestMirror: {backendRef: {name: copy-a, port: 8080}}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: copy-b, port: 8080}}}
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: set}]}}
  backendRefs: [{name: main, port: 8080}]
- matches: [{path: {value: /plain}}]
  backendRefs: [{name: main, port: 8080}]
",
        ))
        .await;
    let call = world.call("example.org", "/both?n=1").method("POST").body("the body");
    world.expect(call, Want::Backend("main")).await;
    let call = world.call("example.org", "/plain");
    world.expect(call, Want::Backend("main")).await;
    for copy in ["copy-a", "copy-b"] {
        until(&format!("request at {copy}"), || {
            let seen = world.backend(copy).seen();
            async move { if seen.is_empty() { Err("nothing came".to_owned()) } else { Ok(()) } }
        })
        .await;
        let seen = world.backend(copy).seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].path, "/both?n=1");
        assert_eq!(seen[0].body, "the body");
        assert_eq!(seen[0].host, "example.org", "the copy asks for the same host");
    }
}

#[tokio::test]
async fn mirrors_take_their_share() {
    const REQUESTS: usize = 1000;
    let mut world = World::with_backends(&["main", "fifth", "half", "fraction", "none"]).await;
    world
        .apply(&http_route(
            "mirror",
            "
rules:
- filters:
  - {type: RequestMirror, requestMirror: {percent: 20, backendRef: {name: fifth, port: 8080}}}
  - {type: RequestMirror, requestMirror: {percent: 50, backendRef: {name: half, port: 8080}}}
  - {type: RequestMirror, requestMirror: {fraction: {numerator: 7, denominator: 20}, backendRef: {name: fraction, port: 8080}}}
  - {type: RequestMirror, requestMirror: {percent: 0, backendRef: {name: none, port: 8080}}}
  backendRefs: [{name: main, port: 8080}]
",
        ))
        .await;
    let warm = world.call("example.org", "/warm");
    world.expect(warm, Want::Backend("main")).await;
    let call = world.call("example.org", "/counted");
    let mut connection = call.connect().await.unwrap();
    for _ in 0..REQUESTS {
        assert_eq!(connection.send(&call).await.unwrap().backend(), "main");
    }
    // Five standard deviations.
    for (backend, want, margin) in [("fifth", 200, 64), ("half", 500, 80), ("fraction", 350, 76)] {
        until(&format!("about {want} requests at {backend}"), || {
            let count = world.backend(backend).count("/counted");
            async move { if count.abs_diff(want) < margin { Ok(()) } else { Err(format!("{count} came")) } }
        })
        .await;
    }
    assert_eq!(world.backend("none").count("/"), 0);
    assert_eq!(world.backend("main").count("/counted"), REQUESTS);
}

#[tokio::test]
async fn a_mirror_to_nowhere_harms_nobody() {
    let mut world = World::with_backends(&["main", "copy"]).await;
    world
        .apply(&http_route(
            "mirror",
            "
rules:
- filters:
  - {type: RequestMirror, requestMirror: {backendRef: {name: missing, port: 8080}}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 8080}}}
  backendRefs: [{name: main, port: 8080}]
",
        ))
        .await;
    let call = world.call("example.org", "/");
    world.expect(call, Want::Backend("main")).await;
    until("request at the other mirror", || {
        let count = world.backend("copy").count("/");
        async move { if count > 0 { Ok(()) } else { Err("nothing came".to_owned()) } }
    })
    .await;
    world
        .assert_status("HTTPRoute/mirror", &["Accepted=True Accepted", "ResolvedRefs=False BackendNotFound"]);
}
