//! Which hosts reach a route: hostnames of listeners and routes, ports, case.

use postern_e2e::{Want, World, gateway, http_route, raw};

fn route(name: &str, section: &str, hostnames: &str, path: &str, backend: &str) -> String {
    let section = if section.is_empty() { String::new() } else { format!(", sectionName: {section}") };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
  parentRefs: [{{name: gw{section}}}]
  hostnames: {hostnames}
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {backend}, port: 8080}}]}}]
---
"
    )
}

#[tokio::test]
async fn exact_and_wildcard_hosts() {
    let mut world = World::with_backends(&["exact", "wide", "deep", "any"]).await;
    world
        .apply(
            &[
                route("exact", "", "[foo.example.com]", "/", "exact"),
                route("wide", "", "['*.example.com']", "/", "wide"),
                route("deep", "", "['*.sub.example.com']", "/", "deep"),
            ]
            .concat(),
        )
        .await;
    let rows = [
        ("foo.example.com", Want::Backend("exact")),
        ("bar.example.com", Want::Backend("wide")),
        ("a.b.example.com", Want::Backend("wide")),
        ("x.foo.example.com", Want::Backend("wide")),
        ("x.sub.example.com", Want::Backend("deep")),
        ("y.x.sub.example.com", Want::Backend("deep")),
        ("sub.example.com", Want::Backend("wide")),
        ("example.com", Want::Status(404)),
        ("fooexample.com", Want::Status(404)),
        ("example.org", Want::Status(404)),
    ];
    let port = world.port("PORT");
    for (host, want) in rows {
        // A port in Host or :authority never matters, whichever it is; nor does upper case.
        let upper = host.to_uppercase();
        for host in [
            host.to_owned(),
            format!("{host}:{port}"),
            format!("{host}:1234"),
            upper.clone(),
            format!("{upper}:80"),
        ] {
            let call = world.call(&host, "/x");
            world.expect(call.clone(), want).await;
            world.expect(call.h2(), want).await;
        }
    }
    // With a route for all hosts nothing is unknown any more, and nothing else changes.
    world.apply(&route("any", "", "[]", "/", "any")).await;
    for (host, want) in rows {
        let want = if want == Want::Status(404) { Want::Backend("any") } else { want };
        let call = world.call(host, "/x");
        world.expect(call, want).await;
    }
    world.delete("HTTPRoute", "exact").await;
    let call = world.call("foo.example.com", "/");
    world.expect(call, Want::Backend("wide")).await;
}

#[tokio::test]
async fn odd_hosts_get_an_answer() {
    let mut world = World::with_backends(&["v1"]).await;
    world.apply(&route("r", "", "[example.org, '*.wild.org']", "/", "v1")).await;
    let call = world.call("example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    let port = world.port("PORT");
    for (host, status) in [
        ("ExAmPlE.oRg", "200"),
        ("EXAMPLE.ORG:8443", "200"),
        ("A.WILD.ORG:9", "200"),
        ("*.wild.org", "200"),
        ("*", "404"),
        ("[::1]:80", "404"),
        ("127.0.0.1", "404"),
        ("wild.org", "404"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw(port, request.as_bytes(), |_| false).await.unwrap();
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        assert!(line.contains(status), "Host {host} got {line:?}, not {status}");
    }
    // In the absolute form the target's host counts, not Host's.
    let request = b"GET http://EXAMPLE.org:77/ HTTP/1.1\r\nHost: unknown.org\r\nConnection: close\r\n\r\n";
    let answer = raw(port, request, |_| false).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    // A client must not choose the scope by itself.
    let call = world.call("unknown.org", "/").header("x-postern-scope", &format!("{port}:example.org"));
    world.expect(call, Want::Status(404)).await;
    let call = world.call("example.org", "/").header("x-postern-scope", "nonsense");
    let answer = world.expect(call, Want::Backend("v1")).await;
    assert_eq!(answer.seen().unwrap().header("x-postern-scope"), None, "the private header stays private");
}

#[tokio::test]
async fn listeners_of_one_port_are_isolated() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(&gateway(
            "
  - {name: empty, port: ${PORT}, protocol: HTTP}
  - {name: wide, port: ${PORT}, protocol: HTTP, hostname: '*.example.com'}
  - {name: deep, port: ${PORT}, protocol: HTTP, hostname: '*.foo.example.com'}
  - {name: exact, port: ${PORT}, protocol: HTTP, hostname: abc.foo.example.com}
",
        ))
        .await;
    let routes: String =
        ["empty", "wide", "deep", "exact"].map(|it| route(it, it, "[]", &format!("/{it}"), "v1")).concat();
    world.apply(&routes).await;
    for (host, owner) in [
        ("bar.com", "empty"),
        ("example.com", "empty"),
        ("bar.example.com", "wide"),
        ("foo.example.com", "wide"),
        ("bar.foo.example.com", "deep"),
        ("x.bar.foo.example.com", "deep"),
        ("abc.foo.example.com", "exact"),
        ("x.abc.foo.example.com", "deep"),
    ] {
        for path in ["empty", "wide", "deep", "exact"] {
            let want = if path == owner { Want::Backend("v1") } else { Want::Status(404) };
            let call = world.call(host, &format!("/{path}"));
            world.expect(call, want).await;
        }
    }
    for listener in ["empty", "wide", "deep", "exact"] {
        world.assert_status(
            &format!("Gateway/gw/{listener}"),
            &["Accepted=True Accepted", "Programmed=True Programmed"],
        );
        assert_eq!(world.attached_routes("gw", listener), 1);
    }
}

/// A route with an own hostname that is wider than the listener's, where another listener owns a
/// part of it.
#[tokio::test]
async fn isolation_holds_for_the_hostnames_of_routes() {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    world
        .apply(
            &[
                gateway(
                    "
  - {name: wide, port: ${PORT}, protocol: HTTP, hostname: '*.example.com'}
  - {name: exact, port: ${PORT}, protocol: HTTP, hostname: foo.example.com}
",
                ),
                route("wide", "wide", "['*.example.com', foo.example.com, bar.example.com]", "/", "v1"),
                route("exact", "exact", "[]", "/only", "v2"),
            ]
            .concat(),
        )
        .await;
    for (host, path, want) in [
        ("foo.example.com", "/only", Want::Backend("v2")),
        ("foo.example.com", "/", Want::Status(404)),
        ("bar.example.com", "/", Want::Backend("v1")),
        ("x.example.com", "/", Want::Backend("v1")),
    ] {
        let call = world.call(host, path);
        world.expect(call, want).await;
    }
}

#[tokio::test]
async fn only_the_intersection_with_the_listener_is_served() {
    let mut world = World::with_backends(&["v1", "v2", "v3"]).await;
    world
        .apply(
            &[
                gateway(
                    "
  - {name: one, port: ${PORT}, protocol: HTTP, hostname: very.specific.com}
  - {name: two, port: ${PORT}, protocol: HTTP, hostname: '*.wildcard.io'}
  - {name: three, port: ${PORT}, protocol: HTTP, hostname: '*.anotherwildcard.io'}
",
                ),
                route(
                    "s1",
                    "",
                    "[non.matching.com, '*.nonmatchingwildcard.io', very.specific.com]",
                    "/s1",
                    "v1",
                ),
                route(
                    "s2",
                    "",
                    "[non.matching.com, wildcard.io, foo.wildcard.io, bar.wildcard.io, foo.bar.wildcard.io]",
                    "/s2",
                    "v2",
                ),
                route("s3", "", "[non.matching.com, '*.specific.com']", "/s3", "v3"),
                route("s4", "", "['*.anotherwildcard.io']", "/s4", "v1"),
                route("s5", "", "[specific.but.wrong.com, wildcard.io]", "/s5", "v2"),
            ]
            .concat(),
        )
        .await;
    for (host, path, want) in [
        ("very.specific.com", "/s1", Want::Backend("v1")),
        ("very.specific.com:1234", "/s1", Want::Backend("v1")),
        ("non.matching.com", "/s1", Want::Status(404)),
        ("foo.nonmatchingwildcard.io", "/s1", Want::Status(404)),
        ("very.specific.com", "/non-matching-prefix", Want::Status(404)),
        ("foo.wildcard.io", "/s2", Want::Backend("v2")),
        ("bar.wildcard.io", "/s2", Want::Backend("v2")),
        ("foo.bar.wildcard.io", "/s2", Want::Backend("v2")),
        ("baz.wildcard.io", "/s2", Want::Status(404)),
        ("wildcard.io", "/s2", Want::Status(404)),
        ("non.matching.com", "/s2", Want::Status(404)),
        ("very.specific.com", "/s3", Want::Backend("v3")),
        ("foo.specific.com", "/s3", Want::Status(404)),
        ("one.anotherwildcard.io", "/s4", Want::Backend("v1")),
        ("one.two.three.anotherwildcard.io", "/s4", Want::Backend("v1")),
        ("anotherwildcard.io", "/s4", Want::Status(404)),
        ("specific.but.wrong.com", "/s5", Want::Status(404)),
    ] {
        let call = world.call(host, path);
        world.expect(call, want).await;
    }
    world.assert_status("HTTPRoute/s1", &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]);
    world.assert_status("HTTPRoute/s5", &["Accepted=False NoMatchingListenerHostname"]);
    assert_eq!(world.attached_routes("gw", "one"), 2);
    assert_eq!(world.attached_routes("gw", "three"), 1);
}

/// Two routes that meet a listener in the same hostname: the more specific *own* hostname goes first,
/// whatever the age and the match; what it does not match goes on to the other.
#[tokio::test]
async fn own_hostnames_decide_between_routes_of_one_intersection() {
    for (listener, older, newer) in
        [("abc.example.com", "*.example.com", "abc.example.com"), ("*.example.com", "*.com", "*.example.com")]
    {
        let mut world = World::with_backends(&["v1", "v2"]).await;
        world
            .apply(&gateway(&format!(
                "  - {{name: one, port: ${{PORT}}, protocol: HTTP, hostname: '{listener}'}}"
            )))
            .await;
        let dated = |name: &str, day: u8, host: &str, rule: &str| {
            format!(
                "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default, creationTimestamp: '2026-01-0{day}T00:00:00Z'}}
spec:
  parentRefs: [{{name: gw}}]
  hostnames: ['{host}']
  rules: [{rule}]
---
"
            )
        };
        world
            .apply(
                &[
                    dated("older", 1, older, "{matches: [{path: {value: /path/prefix}, headers: [{name: b, value: b}]}], backendRefs: [{name: v1, port: 8080}]}"),
                    dated("newer", 2, newer, "{matches: [{path: {value: /path}, headers: [{name: a, value: a}]}], backendRefs: [{name: v2, port: 8080}]}"),
                ]
                .concat(),
            )
            .await;
        let call = world.call("abc.example.com", "/path/prefix/longer");
        world.expect(call.clone().header("a", "a").header("b", "b"), Want::Backend("v2")).await;
        world.expect(call.clone().header("b", "b"), Want::Backend("v1")).await;
        world.expect(call, Want::Status(404)).await;
    }
}

#[tokio::test]
async fn parents_by_port_and_section() {
    let mut world = World::with_backends(&["v1", "v2", "v3"]).await;
    let parented = |name: &str, parent: &str, path: &str, backend: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
  parentRefs: [{{name: gw, {parent}}}]
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {backend}, port: 8080}}]}}]
---
"
        )
    };
    world
        .apply(
            &[
                gateway("  - {name: a, port: ${PORT_A}, protocol: HTTP}\n  - {name: b, port: ${PORT_B}, protocol: HTTP}"),
                parented("port", "port: ${PORT_B}", "/port", "v1"),
                parented("section", "sectionName: a", "/section", "v2"),
                parented("both", "sectionName: a, port: ${PORT_A}", "/both", "v3"),
                parented("contradiction", "sectionName: a, port: ${PORT_B}", "/contradiction", "v1"),
                parented("nowhere", "sectionName: c", "/nowhere", "v1"),
                http_route("everywhere", "rules: [{matches: [{path: {value: /all}}], backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let hit = |backend, yes| if yes { Want::Backend(backend) } else { Want::Status(404) };
    for (path, backend, on_a, on_b) in [
        ("/port", "v1", false, true),
        ("/section", "v2", true, false),
        ("/both", "v3", true, false),
        ("/contradiction", "v1", false, false),
        ("/nowhere", "v1", false, false),
        ("/all", "v1", true, true),
    ] {
        let call = world.call_on("PORT_A", "example.org", path);
        world.expect(call, hit(backend, on_a)).await;
        let call = world.call_on("PORT_B", "example.org", path);
        world.expect(call, hit(backend, on_b)).await;
    }
    world.assert_status("HTTPRoute/contradiction", &["Accepted=False NoMatchingParent"]);
    world.assert_status("HTTPRoute/nowhere", &["Accepted=False NoMatchingParent"]);
}

/// Listeners come and go while the others of the Gateway keep serving.
#[tokio::test]
async fn listeners_can_be_added_and_removed() {
    let mut world = World::with_backends(&["v1"]).await;
    let one = "  - {name: a, port: ${PORT_A}, protocol: HTTP}";
    let two = "  - {name: a, port: ${PORT_A}, protocol: HTTP}\n  - {name: b, port: ${PORT_B}, protocol: HTTP, hostname: b.example.com}";
    world.apply(&[gateway(one), route("r", "", "[]", "/", "v1")].concat()).await;
    let on_a = world.call_on("PORT_A", "b.example.com", "/");
    let on_b = world.call_on("PORT_B", "b.example.com", "/");
    world.expect(on_a.clone(), Want::Backend("v1")).await;
    assert!(on_b.send().await.is_err());
    let mut kept = on_a.connect().await.unwrap();
    world.apply(&gateway(two)).await;
    world.expect(on_b.clone(), Want::Backend("v1")).await;
    let other = world.call_on("PORT_B", "c.example.com", "/");
    world.expect(other, Want::Status(404)).await;
    world.apply(&gateway(one)).await;
    postern_e2e::until("closed port", || {
        let call = on_b.clone();
        async move { call.send().await.err().map(|_| ()).ok_or_else(|| "still served".to_owned()) }
    })
    .await;
    // The connection of the unchanged listener lived through both changes.
    assert_eq!(kept.send(&on_a).await.unwrap().status, 200);
}
