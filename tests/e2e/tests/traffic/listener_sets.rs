//! ListenerSets (GEP-1713): listeners of others at the ports of a Gateway.

use postern_e2e::{Authority, ClientTls, Want, World, tls_secret, until};

/// The Gateway `default/gw`, which lets ListenerSets of `from` attach.
fn gateway(from: &str, listeners: &str) -> String {
    let plain = postern_e2e::gateway(listeners);
    let allowed =
        format!("  gatewayClassName: postern\n  allowedListeners: {{namespaces: {{from: {from}}}}}\n");
    plain.replace("  gatewayClassName: postern\n", &allowed)
}

fn listener_set(namespace: &str, name: &str, created: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {{name: {name}, namespace: {namespace}, generation: 1, creationTimestamp: '2026-01-{created}T00:00:00Z'}}
spec:
  parentRef: {{name: gw, namespace: default}}
  listeners: {listeners}
---
"
    )
}

fn route(namespace: &str, name: &str, parents: &str, path: &str, backend: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}, generation: 1}}
spec:
  parentRefs: {parents}
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {backend}, namespace: default, port: 8080}}]}}]
---
"
    )
}

/// Lets routes of the namespace `apps` refer to Services in `default`.
const GRANT: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: apps, namespace: default}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: apps}]
  to: [{group: '', kind: Service}]
---
";

/// A parentRef to the Gateway means its own listeners, one to a set those of the set.
#[tokio::test]
async fn routes_reach_the_parents_that_they_name() {
    let mut world = World::with_backends(&["v1", "v2", "v3"]).await;
    let http = "{port: ${PORT}, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}, name";
    world
        .apply(
            &[
                gateway("All", &format!("  - {http}: own, hostname: own.example.com}}")),
                GRANT.to_owned(),
                listener_set("default", "one", "01", &format!("[{http}: a, hostname: a.example.com}}, {http}: b, hostname: b.example.com}}]")),
                listener_set("apps", "two", "02", "[{name: a, port: ${PORT}, protocol: HTTP, hostname: c.example.com}, {name: new, port: ${PORT_NEW}, protocol: HTTP}]"),
                route("default", "gateway", "[{name: gw}]", "/gateway", "v1"),
                route("default", "one", "[{kind: ListenerSet, name: one}]", "/one", "v2"),
                route("default", "section", "[{kind: ListenerSet, name: one, sectionName: b}]", "/section", "v3"),
                route("default", "wrong", "[{name: gw, sectionName: a}, {kind: ListenerSet, name: two, namespace: apps}]", "/wrong", "v1"),
                route("default", "every", "[{name: gw}, {kind: ListenerSet, name: one}]", "/every", "v1"),
                route("apps", "two", "[{kind: ListenerSet, name: two}]", "/two", "v3"),
            ]
            .concat(),
        )
        .await;
    let nothing = Want::Status(404);
    for (path, own, a, b, c) in [
        ("/gateway", Want::Backend("v1"), nothing, nothing, nothing),
        ("/one", nothing, Want::Backend("v2"), Want::Backend("v2"), nothing),
        ("/section", nothing, nothing, Want::Backend("v3"), nothing),
        ("/wrong", nothing, nothing, nothing, nothing),
        ("/every", Want::Backend("v1"), Want::Backend("v1"), Want::Backend("v1"), nothing),
        ("/two", nothing, nothing, nothing, Want::Backend("v3")),
    ] {
        for (host, want) in [("own", own), ("a", a), ("b", b), ("c", c), ("d", nothing)] {
            let call = world.call(&format!("{host}.example.com"), path);
            world.expect(call.clone(), want).await;
            world.expect(call.h2(), want).await;
        }
    }
    let call = world.call_on("PORT_NEW", "anything.example.org", "/two");
    world.expect(call, Want::Backend("v3")).await;
    for (parent, reason) in [("gw", "NoMatchingParent"), ("two", "NotAllowedByListeners")] {
        let status = world.status("HTTPRoute", "default", "wrong");
        let entry = status["parents"].as_array().unwrap().iter().find(|it| it["parentRef"]["name"] == parent);
        assert_eq!(entry.unwrap()["conditions"][0]["reason"], reason, "{status:#}");
    }
    let status = world.status("ListenerSet", "default", "one");
    let counts: Vec<_> =
        status["listeners"].as_array().unwrap().iter().map(|l| &l["attachedRoutes"]).collect();
    assert_eq!(counts, [2, 3]);
    assert_eq!(world.status("Gateway", "default", "gw")["attachedListenerSets"], 2);
    world.assert_nothing_rejected().await;
}

/// Sets come, quarrel, are forbidden and go while the Gateway serves.
#[tokio::test]
async fn sets_come_and_go() {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    let http = "[{name: shop, port: ${PORT}, protocol: HTTP, hostname: shop.example.com}]";
    let own = "  - {name: http, port: ${PORT}, protocol: HTTP, hostname: '*.example.com'}";
    world.apply(&[gateway("Same", own), route("default", "own", "[{name: gw}]", "/", "v1")].concat()).await;
    let (shop, other) = (world.call("shop.example.com", "/"), world.call("other.example.com", "/"));
    world.expect(shop.clone(), Want::Backend("v1")).await;

    // Its hosts belong to the set from now on, which has no route for them yet.
    world.apply(&listener_set("default", "b-first", "02", http)).await;
    world.expect(shop.clone(), Want::Status(404)).await;
    world.apply(&route("default", "shop", "[{kind: ListenerSet, name: b-first}]", "/", "v2")).await;
    world.expect(shop.clone(), Want::Backend("v2")).await;
    world.expect(other.clone(), Want::Backend("v1")).await;

    // A younger one that wants the same waits; its route is attached, and serves when its turn comes.
    world.apply(&listener_set("default", "a-second", "03", http)).await;
    world.apply(&route("default", "second", "[{kind: ListenerSet, name: a-second}]", "/", "v1")).await;
    let conflict = [
        "Accepted=False HostnameConflict",
        "Conflicted=True HostnameConflict",
        "Programmed=False HostnameConflict",
    ];
    world.assert_status("ListenerSet/a-second/shop", &conflict);
    world.assert_status(
        "ListenerSet/a-second",
        &["Accepted=False ListenersNotValid", "Programmed=False ListenersNotValid"],
    );
    world.assert_status("HTTPRoute/second", &["Accepted=True Accepted"]);
    world.expect(shop.clone(), Want::Backend("v2")).await;
    world.delete("ListenerSet", "b-first").await;
    world.assert_status("ListenerSet/a-second", &["Accepted=True Accepted", "Programmed=True Programmed"]);
    world.expect(shop.clone(), Want::Backend("v1")).await;
    assert!(world.status("HTTPRoute", "default", "shop").is_null(), "its parent is gone");

    // An older one takes the place.
    world.apply(&listener_set("default", "b-first", "02", http)).await;
    world.expect(shop.clone(), Want::Backend("v2")).await;
    world.assert_status("ListenerSet/a-second/shop", &conflict);

    // The owner of the Gateway changes his mind.
    world.apply(&gateway("None", own)).await;
    world.expect(shop.clone(), Want::Backend("v1")).await;
    world.assert_status("ListenerSet/b-first", &["Accepted=False NotAllowed", "Programmed=False NotAllowed"]);
    world.assert_status("HTTPRoute/shop", &["Accepted=False NoMatchingParent"]);
    assert_eq!(world.status("Gateway", "default", "gw")["attachedListenerSets"], 0);
    world.apply(&gateway("Same", own)).await;
    world.expect(shop, Want::Backend("v2")).await;
    world.expect(other, Want::Backend("v1")).await;
    world.assert_nothing_rejected().await;
}

/// A set brings its own certificate from its own namespace, and connections are kept apart as those of one Gateway.
#[tokio::test]
async fn certificates_of_sets() {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    let authority = Authority::new("test");
    let names = ["own.example.com", "shop.example.com", "blog.example.com"];
    let [own, shop, blog] = names.map(|name| authority.issue(&[name]));
    let https = |host: &str, reference: &str| {
        format!(
            "[{{name: https, port: ${{PORT}}, protocol: HTTPS, hostname: {host}.example.com, tls: {{certificateRefs: [{{{reference}}}]}}}}]"
        )
    };
    world
        .apply(
            &[
                gateway("All", "  - {name: https, port: ${PORT}, protocol: HTTPS, hostname: own.example.com, tls: {certificateRefs: [{name: own}]}}"),
                GRANT.to_owned(),
                tls_secret("default", "own", &own),
                tls_secret("apps", "shop", &shop),
                tls_secret("vault", "blog", &blog),
                listener_set("apps", "shop", "01", &https("shop", "name: shop")),
                listener_set("apps", "blog", "02", &https("blog", "name: blog, namespace: vault")),
                route("default", "own", "[{name: gw}]", "/", "v1"),
                route("apps", "shop", "[{kind: ListenerSet, name: shop}, {kind: ListenerSet, name: blog}]", "/", "v2"),
            ]
            .concat(),
        )
        .await;
    let trusting = |host: &str| ClientTls::trusting(host, &authority);
    for (host, backend) in [("own.example.com", "v1"), ("shop.example.com", "v2")] {
        let call = world.call(host, "/").tls(trusting(host));
        world.expect(call.clone(), Want::Backend(backend)).await;
        world.expect(call.h2(), Want::Backend(backend)).await;
    }
    // A connection that was made for one listener is not good for the other.
    let astray = world.call("own.example.com", "/").tls(trusting("shop.example.com")).h2();
    world.expect(astray, Want::Status(421)).await;

    // Without a grant to ListenerSets the other one has no certificate; one to Gateways does not help.
    let blogs = world.call("blog.example.com", "/").tls(trusting("blog.example.com"));
    let grant = |kind: &str, namespace: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{name: certificates, namespace: vault}}
spec:
  from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: {namespace}}}]
  to: [{{group: '', kind: Secret}}]
---
"
        )
    };
    for useless in [String::new(), grant("Gateway", "apps"), grant("ListenerSet", "default")] {
        world.apply(&useless).await;
        let status = world.status("ListenerSet", "apps", "blog");
        assert_eq!(status["conditions"][0]["reason"], "ListenersNotValid", "{status:#}");
        let reasons: Vec<_> =
            status["listeners"][0]["conditions"].as_array().unwrap().iter().map(|c| &c["reason"]).collect();
        assert!(reasons.iter().any(|reason| *reason == "RefNotPermitted"), "{status:#}");
        assert!(blogs.send().await.is_err(), "no certificate, no handshake");
    }
    world.apply(&grant("ListenerSet", "apps")).await;
    world.expect(blogs.clone(), Want::Backend("v2")).await;

    // Rotation, as for a Gateway.
    let renewed = authority.issue(&["shop.example.com"]);
    world.apply(&tls_secret("apps", "shop", &renewed)).await;
    let call = world.call("shop.example.com", "/").tls(trusting("shop.example.com"));
    until("the renewed certificate", || async {
        let answer = call.send().await.map_err(|error| format!("{error:#}"))?;
        if answer.peer_certificate.as_deref() == Some(renewed.der.as_slice()) {
            Ok(())
        } else {
            Err("the old one".to_owned())
        }
    })
    .await;
    world.assert_nothing_rejected().await;
}

/// What a set does to the port of its Gateway drops no request of the others.
#[tokio::test]
async fn a_set_with_another_port_disturbs_nobody() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(
            &[
                gateway("All", "  - {name: http, port: ${PORT}, protocol: HTTP}"),
                route("default", "own", "[{name: gw}]", "/", "v1"),
            ]
            .concat(),
        )
        .await;
    let own = world.call("own.example.com", "/");
    world.expect(own.clone(), Want::Backend("v1")).await;
    let versions = |world: &World| {
        let gateway = postern_translator::NamespacedName::new("default", "gw");
        let listeners = world.translator().resources(&gateway);
        let listeners = listeners.filter(|r| r.resource_type == postern_translator::ResourceType::Listener);
        listeners.map(|r| (r.name.clone(), r.version.clone())).collect::<Vec<_>>()
    };
    let before = versions(&world);
    let shared = "{name: shop, port: ${PORT}, protocol: HTTP, hostname: shop.example.com}";
    world
        .apply(&listener_set(
            "apps",
            "s",
            "01",
            &format!("[{shared}, {{name: n, port: ${{PORT_NEW}}, protocol: HTTP}}]"),
        ))
        .await;
    let after = versions(&world);
    assert_eq!(after.len(), 2);
    assert!(after.contains(&before[0]), "the Envoy listener of the Gateway stays as it is");
    assert_eq!(own.send().await.unwrap().status, 200);
    world.delete_in("ListenerSet", "apps", "s").await;
    assert_eq!(versions(&world), before);
    assert!(world.call_on("PORT_NEW", "x.example.com", "/").send().await.is_err(), "nobody listens there");
    assert_eq!(own.send().await.unwrap().status, 200);
    world.assert_nothing_rejected().await;
}
