//! Gateways as a whole: several of them, conflicts between listeners, bursts of changes.

use postern_e2e::{Want, World, gateway, http_route};

fn another_gateway(name: &str, class: &str, port: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: default}}
spec: {{gatewayClassName: {class}, listeners: [{{name: http, port: ${{{port}}}, protocol: HTTP}}]}}
---
"
    )
}

fn route_of(name: &str, parents: &str, path: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec: {{parentRefs: [{parents}], rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: v1, port: 8080}}]}}]}}
---
"
    )
}

#[tokio::test]
async fn gateways_share_routes_and_nothing_else() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(
            &[
                another_gateway("second", "postern", "PORT_SECOND"),
                route_of("shared", "{name: gw}, {name: second}", "/shared"),
                route_of("one", "{name: gw}", "/one"),
                route_of("two", "{name: second}", "/two"),
            ]
            .concat(),
        )
        .await;
    assert_eq!(world.nodes(), ["default/gw", "default/second"]);
    let hit = |yes| if yes { Want::Backend("v1") } else { Want::Status(404) };
    for (port, one, two) in [("PORT", true, false), ("PORT_SECOND", false, true)] {
        for (path, want) in [("/shared", hit(true)), ("/one", hit(one)), ("/two", hit(two))] {
            let call = world.call_on(port, "example.org", path);
            world.expect(call, want).await;
        }
    }
    let parents = world.status("HTTPRoute", "default", "shared")["parents"].as_array().map_or(0, Vec::len);
    assert_eq!(parents, 2, "one status for each parent");
    // The end of one Gateway is the end of its Envoy alone.
    world.delete("Gateway", "second").await;
    assert_eq!(world.nodes(), ["default/gw"]);
    let call = world.call("example.org", "/shared");
    world.expect(call, Want::Backend("v1")).await;
    world.assert_status("HTTPRoute/shared", &["Accepted=True Accepted"]);
}

#[tokio::test]
async fn gateways_of_others_are_left_alone() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(
            &[
                "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: foreign}
spec: {controllerName: example.com/another}
---
"
                .to_owned(),
                another_gateway("foreign", "foreign", "PORT_FOREIGN"),
                route_of("r", "{name: foreign}, {name: gw}", "/"),
            ]
            .concat(),
        )
        .await;
    assert_eq!(world.nodes(), ["default/gw"]);
    assert!(world.status("Gateway", "default", "foreign").is_null());
    assert!(world.status("GatewayClass", "", "foreign").is_null());
    let parents = world.status("HTTPRoute", "default", "r")["parents"].as_array().map_or(0, Vec::len);
    assert_eq!(parents, 1, "only our parent gets a status");
    let call = world.call("example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
}

#[tokio::test]
async fn conflicting_listeners_harm_no_other() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(
            &[
                gateway(
                    "
  - {name: fine, port: ${PORT}, protocol: HTTP, hostname: fine.example.org}
  - {name: one, port: ${PORT}, protocol: HTTP, hostname: same.example.org}
  - {name: two, port: ${PORT}, protocol: HTTP, hostname: same.example.org}
  - {name: strange, port: ${PORT_STRANGE}, protocol: example.com/strange}
  - {name: other, port: ${PORT_OTHER}, protocol: HTTP}
",
                ),
                http_route("r", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let call = world.call("fine.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    let call = world.call_on("PORT_OTHER", "any.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    for listener in ["one", "two"] {
        world.assert_status(
            &format!("Gateway/gw/{listener}"),
            &["Conflicted=True HostnameConflict", "Accepted=False *", "Programmed=False *"],
        );
    }
    world.assert_status("Gateway/gw/strange", &["Accepted=False UnsupportedProtocol", "Programmed=False *"]);
    world.assert_status("Gateway/gw/fine", &["Conflicted=False NoConflicts", "Programmed=True Programmed"]);
    world.assert_status("Gateway/gw", &["Accepted=True ListenersNotValid", "Programmed=True Programmed"]);
    // The conflict ends: what was held back is served.
    world
        .apply(&gateway(
            "
  - {name: fine, port: ${PORT}, protocol: HTTP, hostname: fine.example.org}
  - {name: one, port: ${PORT}, protocol: HTTP, hostname: same.example.org}
",
        ))
        .await;
    let call = world.call("same.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    world.assert_status("Gateway/gw", &["Accepted=True Accepted"]);
}

/// Changes that come faster than Envoy takes them end in the last state, with nothing refused.
#[tokio::test]
async fn a_burst_of_changes_ends_in_the_last_state() {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    for edition in 0..300 {
        let backend = if edition % 2 == 0 { "v1" } else { "v2" };
        let host = edition % 7;
        world.apply_now(&http_route(
            &format!("burst-{host}"),
            &format!(
                "hostnames: [host-{host}.example.org, '*.wild-{edition}.example.org']
rules:
- filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-edition, value: '{edition}'}}]}}}}]
  backendRefs: [{{name: {backend}, port: 8080}}]
"
            ),
        ));
        // Now and then Envoy gets the time to answer something, at whatever point it is.
        if edition % 5 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for edition in 293..300 {
        for host in [format!("host-{}.example.org", edition % 7), format!("a.wild-{edition}.example.org")] {
            let call = world.call(&host, "/");
            let want = edition.to_string();
            world.expect_that(call, &want, |it| it.header("x-edition").as_deref() == Some(&want)).await;
        }
    }
    let call = world.call("a.wild-292.example.org", "/");
    world.expect(call, Want::Status(404)).await;
    world.assert_nothing_rejected().await;
}
