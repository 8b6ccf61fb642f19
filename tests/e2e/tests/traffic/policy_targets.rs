//! What policies may target: objects of other namespaces by a ReferenceGrant, sections, and kinds of the right group.

use postern_e2e::{Answer, Want, World, covers, gateway, http_route, traffic_policy};

use super::listener_policies::policy;

const LISTENERS: &str = "  - {name: exact, port: ${PORT}, protocol: HTTP, hostname: a.example.org}\n  - {name: any, port: ${PORT}, protocol: HTTP}";
/// The group of routes and Gateways.
const RIGHT: &str = "gateway.networking.k8s.io";
const ROUTE: &str = "rules: [{backendRefs: [{name: v1, port: 8080}]}]\n";

/// Lets policies of the namespace `ops` target objects of a kind in `default`.
fn grant(policy: &str, target: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{name: ops, namespace: default}}\nspec:\n  \
         from: [{{group: gateway.kgateway.dev, kind: {policy}, namespace: ops}}]\n  \
         to: [{{group: gateway.networking.k8s.io, kind: {target}}}]\n"
    )
}

/// The same policy in the namespace `ops`.
fn in_ops(policy: &str) -> String {
    assert!(policy.contains("namespace: default, generation"), "{policy}");
    policy.replace("namespace: default, generation", "namespace: ops, generation")
}

async fn world() -> World {
    let mut world = World::with_backends(&["v1"]).await;
    let labelled = |yaml: String, name: &str| {
        yaml.replace(
            &format!("name: {name}, namespace"),
            &format!("name: {name}, labels: {{guard: 'on'}}, namespace"),
        )
    };
    world.apply(&[labelled(gateway(LISTENERS), "gw"), labelled(http_route("r", ROUTE), "r")].concat()).await;
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    world
}

#[tokio::test]
async fn traffic_policies_target_routes_elsewhere_by_grant() {
    covers!(
        "TrafficPolicy.spec.targetRefs[].group",
        "TrafficPolicy.spec.targetRefs[].namespace",
        "TrafficPolicy.spec.targetSelectors[].group",
    );
    let mut world = world().await;
    let marks = |it: &Answer| it.header("x-policy");
    let spec = |target: &str, mark: &str| {
        format!("{target}\nresponseHeaderModifier: {{set: [{{name: x-policy, value: {mark}}}]}}\n")
    };
    let route = |group: &str| {
        format!("targetRefs: [{{group: {group}, kind: HTTPRoute, name: r, namespace: default}}]")
    };
    let selected = |group: &str| {
        format!("targetSelectors: [{{group: {group}, kind: HTTPRoute, matchLabels: {{guard: 'on'}}}}]")
    };
    let far = in_ops(&traffic_policy("far", &spec(&route(RIGHT), "far")));
    world.apply(&far).await;
    let call = world.call("a.example.org", "/");
    assert_eq!(marks(&call.send().await.unwrap()), None, "nobody allows it");
    world.apply(&grant("TrafficPolicy", "HTTPRoute")).await;
    world.expect_that(call.clone(), "the policy from afar", |it| marks(it).as_deref() == Some("far")).await;
    // Of another group there is no such kind.
    world.apply(&in_ops(&traffic_policy("far", &spec(&route("example.com"), "far")))).await;
    world.expect_that(call.clone(), "no policy", |it| marks(it).is_none()).await;
    world.apply(&traffic_policy("near", &spec(&selected(RIGHT), "near"))).await;
    world.expect_that(call.clone(), "the selecting policy", |it| marks(it).as_deref() == Some("near")).await;
    world.apply(&traffic_policy("near", &spec(&selected("example.com"), "near"))).await;
    world.expect_that(call, "no policy", |it| marks(it).is_none()).await;
}

#[tokio::test]
async fn listener_policies_target_gateways_elsewhere_and_sections() {
    covers!(
        "HTTPListenerPolicy.spec.targetRefs[].group",
        "HTTPListenerPolicy.spec.targetRefs[].namespace",
        "HTTPListenerPolicy.spec.targetSelectors[].group",
        "HTTPListenerPolicy.spec.targetSelectors[].sectionName",
    );
    let mut world = world().await;
    let deny = "celValidation: {rules: [{expression: \"request.path == '/no'\", action: Deny}]}";
    let named = |group: &str| {
        format!("targetRefs: [{{group: {group}, kind: Gateway, name: gw, namespace: default}}], {deny}")
    };
    let selected = |group: &str| {
        format!(
            "targetSelectors: [{{group: {group}, kind: Gateway, matchLabels: {{guard: 'on'}}, sectionName: exact}}], {deny}"
        )
    };
    let call = world.call("a.example.org", "/no");
    let other = world.call("b.example.org", "/no");
    world.apply(&in_ops(&policy("far", &named(RIGHT)))).await;
    assert_eq!(call.send().await.unwrap().status, 200, "nobody allows it");
    world.apply(&grant("HTTPListenerPolicy", "Gateway")).await;
    world.expect(call.clone(), Want::Status(403)).await;
    world.expect(other.clone(), Want::Status(403)).await;
    world.apply(&in_ops(&policy("far", &named("example.com")))).await;
    world.expect(call.clone(), Want::Backend("v1")).await;
    world.apply(&policy("near", &selected(RIGHT))).await;
    world.expect(call.clone(), Want::Status(403)).await;
    world.expect(other, Want::Backend("v1")).await;
    world.apply(&policy("near", &selected("example.com"))).await;
    world.expect(call, Want::Backend("v1")).await;
}
