//! URLRewrite of rules and of single backends.

use postern_e2e::{Want, World, http_route};

fn rewrite(path: &str, rewrite: &str) -> String {
    format!(
        "- matches: [{{path: {{value: {path}}}}}]
  filters: [{{type: URLRewrite, urlRewrite: {{{rewrite}}}}}]
  backendRefs: [{{name: v1, port: 8080}}]
"
    )
}

#[tokio::test]
async fn paths_and_hosts() {
    let mut world = World::with_backends(&["v1"]).await;
    let rules: String = [
        ("/prefix/one", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /one}"),
        ("/strip", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}"),
        ("/empty", "path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}"),
        ("/slash", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /one/}"),
        ("/tail/", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /one}"),
        ("/me.ta+", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}"),
        ("/full", "path: {type: ReplaceFullPath, replaceFullPath: /one}"),
        ("/host", "hostname: rewritten.example"),
        ("/both", "hostname: rewritten.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}"),
    ]
    .iter()
    .map(|(path, it)| rewrite(path, it))
    .collect();
    world.apply(&http_route("rewrites", &format!("rules:\n{rules}"))).await;
    for (path, seen_path, host) in [
        ("/prefix/one/two", "/one/two", "example.org"),
        ("/prefix/one", "/one", "example.org"),
        ("/prefix/one?q=/prefix/one", "/one?q=/prefix/one", "example.org"),
        ("/strip/three", "/three", "example.org"),
        ("/strip", "/", "example.org"),
        ("/strip/", "/", "example.org"),
        ("/strip?q=1", "/?q=1", "example.org"),
        ("/empty/three", "/three", "example.org"),
        ("/slash/x", "/one/x", "example.org"),
        ("/tail/x", "/one/x", "example.org"),
        ("/me.ta+/x", "/x", "example.org"),
        ("/full/one/two?q=1", "/one?q=1", "example.org"),
        ("/host/x", "/host/x", "rewritten.example"),
        ("/both/x", "/b/x", "rewritten.example"),
    ] {
        let call = world.call("example.org", path);
        let answer = world.expect(call, Want::Backend("v1")).await;
        let seen = answer.seen().unwrap();
        assert_eq!(seen.path, seen_path, "for {path}");
        assert_eq!(seen.host, host, "for {path}");
    }
}

#[tokio::test]
async fn a_rewrite_goes_with_header_changes() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(&http_route(
            "both",
            "
rules:
- matches: [{path: {value: /old}}]
  filters:
  - type: URLRewrite
    urlRewrite: {hostname: new.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: x-set, value: set}], remove: [x-remove]}
  backendRefs: [{name: v1, port: 8080}]
",
        ))
        .await;
    let call = world.call("example.org", "/old/x").header("x-remove", "y");
    let seen = world.expect(call, Want::Backend("v1")).await.seen().unwrap();
    assert_eq!((seen.path.as_str(), seen.host.as_str()), ("/new/x", "new.example"));
    assert_eq!((seen.header("x-set").as_deref(), seen.header("x-remove")), (Some("set"), None));
}

#[tokio::test]
async fn one_backend_may_rewrite_alone() {
    let mut world = World::with_backends(&["v1", "v2", "v3"]).await;
    world
        .apply(&http_route(
            "backends",
            "
rules:
- matches: [{path: {value: /split}}]
  backendRefs:
  - name: v1
    port: 8080
    weight: 60
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /one}}}]
  - name: v2
    port: 8080
    weight: 30
    filters: [{type: URLRewrite, urlRewrite: {hostname: two.example, path: {type: ReplaceFullPath, replaceFullPath: /two}}}]
  - {name: v3, port: 8080, weight: 10}
  - {name: missing, port: 8080, weight: 0}
- matches: [{path: {value: /single}}]
  backendRefs:
  - name: v1
    port: 8080
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /rewritten}}}]
",
        ))
        .await;
    let call = world.call("example.org", "/single/x");
    let seen = world.expect(call, Want::Backend("v1")).await.seen().unwrap();
    assert_eq!(seen.path, "/rewritten");

    let call = world.call("example.org", "/split/x?q=1");
    world.expect(call.clone(), Want::Status(200)).await;
    let mut connection = call.connect().await.unwrap();
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..1000 {
        let seen = connection.send(&call).await.unwrap().seen().unwrap();
        let want = match seen.backend.as_str() {
            "v1" => ("/one/x?q=1", "example.org"),
            "v2" => ("/two?q=1", "two.example"),
            _ => ("/split/x?q=1", "example.org"),
        };
        assert_eq!((seen.path.as_str(), seen.host.as_str()), want);
        *counts.entry(seen.backend).or_default() += 1;
    }
    // Five standard deviations of 1000 draws.
    for (backend, share, margin) in [("v1", 600, 78), ("v2", 300, 73), ("v3", 100, 48)] {
        let count = counts[backend];
        assert!(
            count.abs_diff(share) < margin,
            "{backend} got {count} of 1000, not about {share}: {counts:?}"
        );
    }
}
