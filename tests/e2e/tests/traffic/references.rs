//! References across namespaces and who may attach: ReferenceGrant and allowedRoutes.

use postern_e2e::{Authority, Backend, ClientTls, Want, World, gateway, service, tls_secret};

const NAMESPACES: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: apps, labels: {kubernetes.io/metadata.name: apps, team: blue}}
---
apiVersion: v1
kind: Namespace
metadata: {name: others, labels: {kubernetes.io/metadata.name: others, team: red}}
---
";

fn grant(name: &str, namespace: &str, from: &str, to: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{from: [{from}], to: [{to}]}}
---
"
    )
}

fn route(namespace: &str, name: &str, path: &str, backend: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{{name: gw, namespace: default}}]
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{backend}]}}]
---
"
    )
}

#[tokio::test]
async fn a_grant_opens_a_service_and_its_end_closes_it() {
    const FROM: &str = "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}";
    let mut world = World::with_backends(&["v1"]).await;
    let away = Backend::start("away").await;
    world
        .apply(
            &[
                NAMESPACES.to_owned(),
                service("apps", "away", "", &[away.address()]),
                route("default", "r", "/", "{name: away, namespace: apps, port: 8080}"),
                route(
                    "default",
                    "half",
                    "/half",
                    "{name: away, namespace: apps, port: 8080, weight: 0}, {name: v1, port: 8080}",
                ),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    let refused = ["Accepted=True Accepted", "ResolvedRefs=False RefNotPermitted"];
    world.expect(call.clone(), Want::Status(500)).await;
    world.assert_status("HTTPRoute/r", &refused);
    let half = world.call("example.org", "/half");
    world.expect(half, Want::Backend("v1")).await;

    // Grants that miss by one part are none.
    for (wrong_from, wrong_to) in [
        (
            "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: others}",
            "{group: '', kind: Service}",
        ),
        (
            "{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: default}",
            "{group: '', kind: Service}",
        ),
        (FROM, "{group: '', kind: Secret}"),
        (FROM, "{group: '', kind: Service, name: other}"),
    ] {
        world.apply(&grant("grant", "apps", wrong_from, wrong_to)).await;
        world.expect(call.clone(), Want::Status(500)).await;
        world.assert_status("HTTPRoute/r", &refused);
    }
    world.apply(&grant("grant", "others", FROM, "{group: '', kind: Service}")).await;
    world.expect(call.clone(), Want::Status(500)).await;

    for right in ["{group: '', kind: Service}", "{group: '', kind: Service, name: away}"] {
        world.apply(&grant("grant", "apps", FROM, right)).await;
        world.expect(call.clone(), Want::Backend("away")).await;
        world.assert_status("HTTPRoute/r", &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]);
    }
    world.delete_in("ReferenceGrant", "apps", "grant").await;
    world.expect(call, Want::Status(500)).await;
    world.assert_status("HTTPRoute/r", &refused);
}

#[tokio::test]
async fn a_grant_opens_a_certificate_and_its_end_closes_it() {
    let mut world = World::with_backends(&["v1"]).await;
    let certificate = Authority::new("test").issue(&["example.org"]);
    world
        .apply(
            &[
                NAMESPACES.to_owned(),
                tls_secret("apps", "cert", &certificate),
                gateway(
                    "
  - {name: http, port: ${PORT}, protocol: HTTP}
  - {name: https, port: ${PORT_TLS}, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: apps}]}}
",
                ),
                route("default", "r", "/", "{name: v1, port: 8080}"),
            ]
            .concat(),
        )
        .await;
    let plain = world.call("example.org", "/");
    let tls = world.call_on("PORT_TLS", "example.org", "/").tls(ClientTls::any("example.org"));
    let refused = ["ResolvedRefs=False RefNotPermitted", "Programmed=False Invalid"];
    world.expect(plain.clone(), Want::Backend("v1")).await;
    world.assert_status("Gateway/gw/https", &refused);
    assert!(tls.send().await.is_err());
    let from = "{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}";
    world.apply(&grant("grant", "apps", from, "{group: '', kind: Secret, name: cert}")).await;
    world.expect(tls.clone(), Want::Backend("v1")).await;
    world
        .assert_status("Gateway/gw/https", &["ResolvedRefs=True ResolvedRefs", "Programmed=True Programmed"]);
    world.delete_in("ReferenceGrant", "apps", "grant").await;
    world.assert_status("Gateway/gw/https", &refused);
    postern_e2e::until("refusal of TLS", || {
        let tls = tls.clone();
        async move { tls.send().await.err().map(|_| ()).ok_or_else(|| "still served".to_owned()) }
    })
    .await;
    world.expect(plain, Want::Backend("v1")).await;
}

#[tokio::test]
async fn listeners_choose_the_namespaces_of_their_routes() {
    let mut world = World::with_backends(&["v1"]).await;
    let blue = Backend::start("blue").await;
    let red = Backend::start("red").await;
    world
        .apply(
            &[
                NAMESPACES.to_owned(),
                gateway(
                    "
  - {name: same, port: ${PORT_SAME}, protocol: HTTP}
  - {name: all, port: ${PORT_ALL}, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
  - {name: some, port: ${PORT_SOME}, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: blue}}}}}
  - {name: none, port: ${PORT_NONE}, protocol: HTTP, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}}
",
                ),
                service("apps", "blue", "", &[blue.address()]),
                service("others", "red", "", &[red.address()]),
                route("default", "own", "/own", "{name: v1, port: 8080}"),
                route("apps", "blue", "/blue", "{name: blue, port: 8080}"),
                route("others", "red", "/red", "{name: red, port: 8080}"),
            ]
            .concat(),
        )
        .await;
    let hit = |yes, backend| if yes { Want::Backend(backend) } else { Want::Status(404) };
    for (port, own, blue, red) in
        [("PORT_ALL", true, true, true), ("PORT_SAME", true, false, false), ("PORT_SOME", false, true, false)]
    {
        for (path, want) in
            [("/own", hit(own, "v1")), ("/blue", hit(blue, "blue")), ("/red", hit(red, "red"))]
        {
            let call = world.call_on(port, "example.org", path);
            world.expect(call, want).await;
        }
    }
    for (listener, count) in [("same", 1), ("all", 3), ("some", 1), ("none", 0)] {
        assert_eq!(world.attached_routes("gw", listener), count, "{listener}");
    }
    // A label that changes moves the routes of the namespace.
    world
        .apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: others, labels: {kubernetes.io/metadata.name: others, team: blue}}\n")
        .await;
    let call = world.call_on("PORT_SOME", "example.org", "/red");
    world.expect(call, Want::Backend("red")).await;
    assert_eq!(world.attached_routes("gw", "some"), 2);
}

#[tokio::test]
async fn a_route_that_no_listener_allows_says_so() {
    let mut world = World::with_backends(&["v1"]).await;
    world.apply(&[NAMESPACES.to_owned(), route("apps", "r", "/", "{name: v1, port: 8080}")].concat()).await;
    world.assert_status_in("HTTPRoute", "apps", "r", &["Accepted=False NotAllowedByListeners"]);
    let call = world.call("example.org", "/");
    world.expect(call, Want::Status(404)).await;
}
