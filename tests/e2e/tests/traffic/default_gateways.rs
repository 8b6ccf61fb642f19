//! Default Gateways (GEP-3793): routes that name none.

use postern_e2e::{Want, World};

fn gateway(name: &str, scope: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: default, generation: 1}}
spec:
  gatewayClassName: postern
  defaultScope: {scope}
  listeners: {listeners}
---
"
    )
}

fn route(name: &str, spec: &str, path: &str, backend: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default, generation: 1}}
spec:
  {spec}
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {backend}, port: 8080}}]}}]
---
"
    )
}

/// One default Gateway takes the place of another without an edit of the route.
#[tokio::test]
async fn a_route_follows_the_default_gateways() {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    let http = |port: &str| format!("[{{name: http, port: ${{{port}}}, protocol: HTTP}}]");
    world
        .apply(
            &[
                route("defaulted", "useDefaultGateways: All", "/", "v1"),
                route("named", "parentRefs: [{name: gw}]", "/named", "v2"),
            ]
            .concat(),
        )
        .await;
    let call = |world: &mut World, port: &str, path: &str| world.call_on(port, "any.example.com", path);
    // There is none: it is nobody's.
    assert!(world.status("HTTPRoute", "default", "defaulted").is_null());
    let (blue, green, plain) = (
        call(&mut world, "PORT_BLUE", "/"),
        call(&mut world, "PORT_GREEN", "/"),
        call(&mut world, "PORT", "/"),
    );
    world.apply(&gateway("blue", "All", &http("PORT_BLUE"))).await;
    world.assert_status("Gateway/blue", &["DefaultGateway=True DefaultGateway"]);
    world.assert_status("HTTPRoute/defaulted", &["Accepted=True Accepted"]);
    world.expect(blue.clone(), Want::Backend("v1")).await;
    world.expect(plain.clone(), Want::Status(404)).await;

    // A second one, then the first one is no default any more: both serve in between.
    world.apply(&gateway("green", "All", &http("PORT_GREEN"))).await;
    world.expect(green.clone(), Want::Backend("v1")).await;
    world.expect(blue.clone(), Want::Backend("v1")).await;
    assert_eq!(world.status("HTTPRoute", "default", "defaulted")["parents"].as_array().unwrap().len(), 2);
    world.apply(&gateway("blue", "None", &http("PORT_BLUE"))).await;
    world.expect(blue, Want::Status(404)).await;
    world.expect(green.clone(), Want::Backend("v1")).await;
    let conditions = world.status("Gateway", "default", "blue")["conditions"].clone();
    assert!(conditions.as_array().unwrap().iter().all(|it| it["type"] != "DefaultGateway"), "{conditions:#}");

    // Named Gateways and default ones at once.
    let both = "parentRefs: [{name: gw}]\n  useDefaultGateways: All";
    world.apply(&route("named", both, "/named", "v2")).await;
    let named = [call(&mut world, "PORT", "/named"), call(&mut world, "PORT_GREEN", "/named")];
    for call in named {
        world.expect(call, Want::Backend("v2")).await;
    }
    world.delete("Gateway", "green").await;
    assert!(world.status("HTTPRoute", "default", "defaulted").is_null());
    world.expect(plain, Want::Status(404)).await;
    world.assert_nothing_rejected().await;
}
