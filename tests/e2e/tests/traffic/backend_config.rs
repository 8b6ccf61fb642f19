//! BackendConfigPolicy (kgateway v2.1): how proxies talk to a backend, whatever route requests come from.

#[path = "backend_config/balancing.rs"]
mod balancing;
#[path = "backend_config/connections.rs"]
mod connections;
#[path = "backend_config/raw.rs"]
mod raw;
#[path = "backend_config/tls.rs"]
mod tls;

use std::time::Duration;

use postern_e2e::{Backend, Load, Stream, Want, World, covers, http_route, service};
use serde_json::Value;

/// A BackendConfigPolicy `default/name` on the Service `shop`; `spec` is the rest of its `spec`, in flow style.
fn policy(name: &str, spec: &str) -> String {
    on("{kind: Service, name: shop}", name, spec)
}

fn on(target: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.kgateway.dev/v1alpha1
kind: BackendConfigPolicy
metadata: {{name: {name}, namespace: default, generation: 1}}
spec: {{targetRefs: [{target}], {spec}}}
---
"
    )
}

/// A route of everything to the Service `shop`.
fn to_shop() -> String {
    http_route("r", "rules: [{backendRefs: [{name: shop, port: 8080}]}]")
}

/// The cluster of the Service `shop`, as Envoy has it.
async fn cluster(world: &World) -> Value {
    let dump = world.envoy("gw").config_dump().await;
    let all =
        dump["configs"].as_array().unwrap().iter().filter_map(|it| it["dynamic_active_clusters"].as_array());
    let found =
        all.flatten().find(|it| it["cluster"]["name"].as_str().unwrap().starts_with("default/shop:8080"));
    found.map_or_else(|| panic!("no cluster in {dump}"), |it| it["cluster"].clone())
}

#[tokio::test]
async fn targets_by_reference_and_by_label() {
    covers!(
        "BackendConfigPolicy.spec.targetRefs[].group",
        "BackendConfigPolicy.spec.targetRefs[].kind",
        "BackendConfigPolicy.spec.targetRefs[].name",
        "BackendConfigPolicy.spec.targetSelectors[].group",
        "BackendConfigPolicy.spec.targetSelectors[].kind",
        "BackendConfigPolicy.spec.targetSelectors[].matchLabels.*",
    );
    let mut world = World::with_backends(&[]).await;
    let slow = |name| Backend::replying(name, |_| postern_e2e::Reply::After(Duration::from_millis(700)));
    let (one, two, three) = (slow("one").await, slow("two").await, slow("three").await);
    let labelled = |name: &str, backend: &Backend| {
        service("default", name, "", &[backend.address()]).replacen(
            "namespace: default}",
            "namespace: default, labels: {tier: outer}}",
            1,
        )
    };
    let rules: String = ["one", "two"]
        .map(|name| {
            format!(
                "- {{matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: {name}, port: 8080}}]}}\n"
            )
        })
        .concat();
    let to_backend = "- {matches: [{path: {value: /three}}], backendRefs: [{group: gateway.kgateway.dev, kind: Backend, name: three}]}\n";
    let hosts = format!("[{{host: 127.0.0.1, port: {}}}]", three.address().port());
    world
        .apply(
            &[
                labelled("one", &one),
                service("default", "two", "", &[two.address()]),
                postern_e2e::static_backend("three", &hosts),
                http_route("r", &format!("rules:\n{rules}{to_backend}")),
            ]
            .concat(),
        )
        .await;
    for name in ["one", "two", "three"] {
        let call = world.call("example.org", &format!("/{name}"));
        world.expect(call, Want::Status(200)).await;
    }
    // What each target shows: its answers take longer than they may.
    let limit = "commonHttpProtocolOptions: {maxStreamDuration: 200ms}";
    let selecting = on("", "by-label", limit).replace(
        "targetRefs: [], ",
        "targetSelectors: [{group: '', kind: Service, matchLabels: {tier: outer}}], ",
    );
    world.apply(&selecting).await;
    for (name, status) in [("one", 504), ("two", 200), ("three", 200)] {
        let call = world.call("example.org", &format!("/{name}"));
        world.expect(call, Want::Status(status)).await;
    }
    world.apply(&on("{group: gateway.kgateway.dev, kind: Backend, name: three}", "by-name", limit)).await;
    let call = world.call("example.org", "/three");
    world.expect(call, Want::Status(504)).await;
    let call = world.call("example.org", "/two");
    world.expect(call, Want::Status(200)).await;
    world.assert_status("BackendConfigPolicy/by-name", &["Accepted=True Accepted", "Attached=True Attached"]);
    world.assert_nothing_rejected().await;
}

/// A policy comes, changes and goes under load: Envoy warms each new cluster before the old one goes.
#[tokio::test]
async fn no_request_fails_while_policies_change() {
    let mut world = World::with_backends(&[]).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    world.apply(&[service("default", "shop", "", &[one.address(), two.address()]), to_shop()].concat()).await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(200)).await;
    let load = Load::start(vec![Stream::kept("kept", call.clone(), 100), Stream::fresh("fresh", call, 50)]);
    let check =
        "{timeout: 1s, interval: 200ms, unhealthyThreshold: 1, healthyThreshold: 1, http: {path: /well}}";
    let mut answered = 0;
    for spec in [
        "connectTimeout: 1s".to_owned(),
        "connectTimeout: 2s, loadBalancer: {ringHash: {hashPolicies: [{header: {name: x-user}}]}}".to_owned(),
        format!("loadBalancer: {{random: {{}}}}, healthCheck: {check}"),
        "outlierDetection: {}, commonHttpProtocolOptions: {maxRequestsPerConnection: 3}".to_owned(),
        String::new(),
    ] {
        if spec.is_empty() {
            world.delete("BackendConfigPolicy", "p").await;
        } else {
            world.apply(&policy("p", &spec)).await;
        }
        let until = answered + 60;
        while answered < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
            answered = load.report().succeeded;
        }
    }
    load.stop().await.assert_clean(300);
    world.assert_nothing_rejected().await;
}
