//! TrafficPolicy: levels, merging, conflicts, broken ones.

use std::time::Duration;

use postern_e2e::{Backend, Reply, Want, World, covers, gateway, http_route, service, traffic_policy};

const ROUTES: &str = "
rules:
- name: named
  matches: [{path: {value: /named}}]
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /other}}]
  backendRefs: [{name: v1, port: 8080}]
";

const TO_GATEWAY: &str = "targetRefs: [{kind: Gateway, name: gw}]\n";
const TO_LISTENER: &str = "targetRefs: [{kind: Gateway, name: gw, sectionName: one}]\n";
const TO_ROUTE: &str = "targetRefs: [{kind: HTTPRoute, name: r}]\n";
const TO_RULE: &str = "targetRefs: [{kind: HTTPRoute, name: r, sectionName: named}]\n";

fn marks(target: &str, value: &str) -> String {
    format!("{target}responseHeaderModifier: {{set: [{{name: x-level, value: {value}}}]}}\n")
}

async fn world() -> World {
    let mut world = World::with_backends(&["v1"]).await;
    let listeners = "  - {name: one, port: ${PORT_ONE}, protocol: HTTP}\n  - {name: two, port: ${PORT_TWO}, protocol: HTTP}";
    world.apply(&[gateway(listeners), http_route("r", ROUTES)].concat()).await;
    let call = world.call_on("PORT_ONE", "example.org", "/named");
    world.expect(call, Want::Backend("v1")).await;
    world
}

/// What the four kinds of requests carry in `x-level`.
async fn levels(world: &mut World, want: [Option<&str>; 4]) {
    let places =
        [("PORT_ONE", "/named"), ("PORT_ONE", "/other"), ("PORT_TWO", "/named"), ("PORT_TWO", "/other")];
    for ((port, path), want) in places.into_iter().zip(want) {
        let call = world.call_on(port, "example.org", path);
        world
            .expect_that(call, &format!("x-level {want:?}"), |it| {
                it.status == 200 && it.header("x-level").as_deref() == want
            })
            .await;
    }
}

#[tokio::test]
async fn the_more_specific_level_wins() {
    covers!(
        "TrafficPolicy.spec.targetRefs[].kind",
        "TrafficPolicy.spec.targetRefs[].name",
        "TrafficPolicy.spec.targetRefs[].sectionName",
    );
    let mut world = world().await;
    levels(&mut world, [None; 4]).await;
    world.apply(&traffic_policy("gateway", &marks(TO_GATEWAY, "gateway"))).await;
    levels(&mut world, [Some("gateway"); 4]).await;
    world.apply(&traffic_policy("listener", &marks(TO_LISTENER, "listener"))).await;
    levels(&mut world, [Some("listener"), Some("listener"), Some("gateway"), Some("gateway")]).await;
    world.apply(&traffic_policy("rule", &marks(TO_RULE, "rule"))).await;
    levels(&mut world, [Some("rule"), Some("listener"), Some("rule"), Some("gateway")]).await;
    world.apply(&traffic_policy("route", &marks(TO_ROUTE, "route"))).await;
    levels(&mut world, [Some("rule"), Some("route"), Some("rule"), Some("route")]).await;
    world.assert_status("TrafficPolicy/rule", &["Accepted=True *", "Attached=* Attached"]);
    for (gone, after) in [
        ("rule", [Some("route"); 4]),
        ("route", [Some("listener"), Some("listener"), Some("gateway"), Some("gateway")]),
        ("listener", [Some("gateway"); 4]),
        ("gateway", [None; 4]),
    ] {
        world.delete("TrafficPolicy", gone).await;
        levels(&mut world, after).await;
    }
}

#[tokio::test]
async fn levels_merge_field_by_field() {
    let mut world = world().await;
    world
        .apply(
            &[
                traffic_policy(
                    "gateway",
                    &[
                        marks(TO_GATEWAY, "gateway"),
                        "requestHeaderModifier: {set: [{name: x-request, value: gateway}]}\n".to_owned(),
                        "timeout: {request: 10s}\n".to_owned(),
                    ]
                    .concat(),
                ),
                traffic_policy("route", &marks(TO_ROUTE, "route")),
            ]
            .concat(),
        )
        .await;
    let call = world.call_on("PORT_ONE", "example.org", "/other");
    let answer = world
        .expect_that(call, "the route's header", |it| it.header("x-level").as_deref() == Some("route"))
        .await;
    assert_eq!(answer.seen().unwrap().header("x-request").as_deref(), Some("gateway"));
    world.assert_status("TrafficPolicy/gateway", &["Accepted=True *"]);
    world.assert_status("TrafficPolicy/route", &["Accepted=True *", "Attached=* Attached"]);
}

#[tokio::test]
async fn the_older_of_two_equals_wins() {
    let mut world = world().await;
    let dated = |name: &str, created: &str| {
        format!(
            "apiVersion: gateway.kgateway.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: {name}, namespace: default, creationTimestamp: '{created}'}}
spec: {{targetRefs: [{{kind: HTTPRoute, name: r}}], responseHeaderModifier: {{set: [{{name: x-level, value: {name}}}]}}}}
---
"
        )
    };
    world
        .apply(&[dated("a-young", "2026-01-02T00:00:00Z"), dated("b-old", "2026-01-01T00:00:00Z")].concat())
        .await;
    levels(&mut world, [Some("b-old"); 4]).await;
    world.assert_status("TrafficPolicy/b-old", &["Accepted=True *", "Attached=* Attached"]);
    world.assert_status("TrafficPolicy/a-young", &["Attached=* Overridden"]);
    let status = world.status("TrafficPolicy", "default", "a-young").to_string();
    assert!(status.contains("default/b-old"), "the winner is named: {status}");
    // What the older one does not say is the younger one's.
    let partly = "apiVersion: gateway.kgateway.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: a-young, namespace: default, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  targetRefs: [{kind: HTTPRoute, name: r}]
  responseHeaderModifier: {set: [{name: x-level, value: a-young}]}
  requestHeaderModifier: {set: [{name: x-request, value: a-young}]}
";
    world.apply(partly).await;
    let call = world.call_on("PORT_ONE", "example.org", "/other");
    let answer = world
        .expect_that(call, "both policies", |it| it.seen().is_some_and(|it| it.header("x-request").is_some()))
        .await;
    assert_eq!(answer.header("x-level").as_deref(), Some("b-old"));
    world.assert_status("TrafficPolicy/a-young", &["Accepted=True *", "Attached=* Merged"]);
    world.delete("TrafficPolicy", "b-old").await;
    levels(&mut world, [Some("a-young"); 4]).await;
    world.assert_status("TrafficPolicy/a-young", &["Attached=* Attached"]);
}

#[tokio::test]
async fn a_broken_policy_is_left_out_and_says_why() {
    let mut world = world().await;
    world
        .apply(
            &[
                traffic_policy("fine", &marks(TO_GATEWAY, "fine")),
                traffic_policy(
                    "broken",
                    &format!("{TO_ROUTE}responseHeaderModifier: {{set: [{{name: 'bad name', value: x}}]}}\n"),
                ),
                traffic_policy(
                    "lost",
                    "targetRefs: [{kind: HTTPRoute, name: nowhere}]\ntimeout: {request: 1s}\n",
                ),
            ]
            .concat(),
        )
        .await;
    levels(&mut world, [Some("fine"); 4]).await;
    world.assert_status("TrafficPolicy/broken", &["Accepted=False Invalid"]);
    let problems = world.problems();
    assert!(problems.contains("broken") && problems.contains("responseHeaderModifier"), "{problems}");
    assert!(problems.contains("lost") && problems.contains("nowhere"), "{problems}");
    // Corrected, it works at once.
    world.apply(&traffic_policy("broken", &marks(TO_ROUTE, "corrected"))).await;
    levels(&mut world, [Some("corrected"); 4]).await;
    world.assert_status("TrafficPolicy/broken", &["Accepted=True *"]);
}

#[tokio::test]
async fn timeouts_and_retries() {
    let mut world = world().await;
    let attempts = std::sync::Mutex::new(std::collections::BTreeMap::<String, u32>::new());
    let backend = Backend::replying("flaky", move |seen| {
        let mut attempts = attempts.lock().unwrap();
        let attempt = attempts.entry(seen.path.clone()).or_default();
        *attempt += 1;
        match (seen.path.contains("slow"), *attempt) {
            (true, _) => Reply::After(Duration::from_mins(1)),
            (false, 1 | 2) => Reply::Status(503),
            _ => Reply::Echo,
        }
    })
    .await;
    world.add_backend(backend).await;
    world
        .apply(
            &[
                http_route(
                    "flaky",
                    "rules: [{matches: [{path: {value: /flaky}}], backendRefs: [{name: flaky, port: 8080}]}]",
                ),
                traffic_policy(
                    "policy",
                    "targetRefs: [{kind: HTTPRoute, name: flaky}]
timeout: {request: 1s}
retries: {attempts: 2, perTryTimeout: 400ms, retryOn: '5xx', backOff: {baseInterval: 10ms, maxInterval: 20ms}}
",
                ),
            ]
            .concat(),
        )
        .await;
    let call = world.call_on("PORT_ONE", "example.org", "/flaky/retried");
    world.expect(call, Want::Backend("flaky")).await;
    assert_eq!(world.backend("flaky").count("/flaky/retried"), 3);
    let call = world.call_on("PORT_ONE", "example.org", "/flaky/slow");
    assert_eq!(call.send().await.unwrap().status, 504);
    world.delete("TrafficPolicy", "policy").await;
    let call = world.call_on("PORT_ONE", "example.org", "/flaky/once");
    world.expect(call, Want::Status(503)).await;
}

#[tokio::test]
async fn cors() {
    let mut world = world().await;
    world
        .apply(&traffic_policy(
            "cors",
            &format!(
                "{TO_ROUTE}cors:
  allowOrigins: [{{type: Exact, value: 'https://a.example'}}, {{type: Prefix, value: 'https://b.'}}, {{type: Regex, value: 'https://c[0-9]+[.]example'}}]
  allowMethods: [GET, PUT]
  allowHeaders: [x-one]
  exposeHeaders: [x-two]
  maxAge: 1m
  allowCredentials: true
"
            ),
        ))
        .await;
    let preflight = |world: &mut World, origin: &str| {
        world
            .call_on("PORT_ONE", "example.org", "/other")
            .method("OPTIONS")
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
    };
    for origin in ["https://a.example", "https://b.example.com", "https://c12.example"] {
        let call = preflight(&mut world, origin);
        let answer = world
            .expect_that(call, &format!("permission for {origin}"), |it| {
                it.header("access-control-allow-origin").as_deref() == Some(origin)
            })
            .await;
        assert_eq!(answer.header("access-control-max-age").as_deref(), Some("60"));
        assert_eq!(answer.header("access-control-allow-credentials").as_deref(), Some("true"));
    }
    for origin in
        ["https://a.example.evil", "http://b.example.com", "https://c.example", "https://c1xexample"]
    {
        let answer = preflight(&mut world, origin).send().await.unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

/// kgateway's own spelling of the same fields.
#[tokio::test]
async fn the_other_dialect() {
    let mut world = world().await;
    world
        .apply(&traffic_policy(
            "dialect",
            &format!(
                "{TO_ROUTE}timeouts: {{request: 10s}}
retry: {{attempts: 1, statusCodes: [503]}}
headerModifiers: {{response: {{set: [{{name: x-level, value: dialect}}]}}}}
"
            ),
        ))
        .await;
    levels(&mut world, [Some("dialect"); 4]).await;
}

#[tokio::test]
async fn a_policy_inline_is_the_most_specific() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(&http_route(
            "r",
            "
rules:
- name: named
  matches: [{path: {value: /inline}}]
  filters:
  - type: ExtensionRef
    extensionRef: {group: gateway.kgateway.dev, kind: TrafficPolicy, name: inline}
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /other}}]
  backendRefs: [{name: v1, port: 8080}]
",
        ))
        .await;
    world.apply(&traffic_policy("rule", &marks(TO_RULE, "rule"))).await;
    // Until the policy exists the rule cannot be carried out, and says so.
    let call = world.call("example.org", "/inline");
    world.expect(call, Want::Status(500)).await;
    world.assert_status("HTTPRoute/r", &["Accepted=True *", "PartiallyInvalid=True *"]);

    world.apply(&traffic_policy("inline", &marks("", "inline"))).await;
    let call = world.call("example.org", "/inline");
    world
        .expect_that(call, "the inline policy", |it| it.header("x-level").as_deref() == Some("inline"))
        .await;
    let other = world.call("example.org", "/other").send().await.unwrap();
    assert_eq!((other.status, other.header("x-level")), (200, None));
}

/// The owner of a Gateway keeps what protects it, whatever policies on routes of other namespaces say, unless the Gateway allows it.
#[tokio::test]
async fn a_route_of_another_namespace_cannot_open_what_its_gateway_closes() {
    let mut world = World::with_backends(&["v1"]).await;
    let annotated = |annotation: &str| {
        let listener =
            "  - {name: http, port: ${PORT}, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}";
        gateway(listener).replace("{name: gw, ", &format!("{{annotations: {{{annotation}}}, name: gw, "))
    };
    let address = world.backend("v1").address();
    let app = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: app}
spec:
  parentRefs: [{name: gw, namespace: default}]
  rules: [{backendRefs: [{name: v1, port: 8080}]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: app}
---
apiVersion: gateway.kgateway.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: open, namespace: app}
spec:
  targetRefs: [{kind: HTTPRoute, name: r}]
  rbac: {policy: {matchExpressions: ['true']}}
  responseHeaderModifier: {set: [{name: x-app, value: 'here'}]}
---
";
    let operator = "targetRefs: [{kind: Gateway, name: gw}]
rbac: {policy: {matchExpressions: [\"request.headers['x-role'] == 'admin'\"]}}
";
    let all = [
        annotated(""),
        app.to_owned(),
        service("app", "v1", "", &[address]),
        traffic_policy("operator", operator),
    ];
    world.apply(&all.concat()).await;
    let call = world.call("example.org", "/");
    let admin = call.clone().header("x-role", "admin");
    let admitted = world.expect(admin, Want::Backend("v1")).await;
    assert_eq!(admitted.header("x-app").as_deref(), Some("here"), "the rest of the policy is in force");
    world.expect_that(call.clone(), "403", |it| it.status == 403).await;
    world.assert_status_in("TrafficPolicy", "app", "open", &["Accepted=True *", "Attached=True Merged"]);

    let allow = "kgateway.dev/inherited-policy-priority: ShallowMergePreferChild";
    world.apply(&annotated(allow)).await;
    world.expect(call.clone(), Want::Backend("v1")).await;
    world.assert_status_in("TrafficPolicy", "app", "open", &["Attached=True Attached"]);
    world.apply(&annotated("kgateway.dev/inherited-policy-priority: DeepMergePreferParent")).await;
    world.expect_that(call, "403", |it| it.status == 403).await;
}

#[tokio::test]
async fn selectors_and_weights_choose() {
    covers!(
        "TrafficPolicy.spec.targetSelectors[].kind",
        "TrafficPolicy.spec.targetSelectors[].matchLabels.*",
        "TrafficPolicy.spec.targetSelectors[].sectionName",
    );
    let mut world = world().await;
    let labelled = http_route("r", ROUTES).replace("name: r,", "labels: {app: shop}, name: r,");
    assert!(labelled.contains("labels:"), "{labelled}");
    world.apply(&labelled).await;
    let selecting = |section: &str| {
        marks(
            &format!("targetSelectors: [{{kind: HTTPRoute, matchLabels: {{app: shop}}{section}}}]\n"),
            "selector",
        )
    };
    world.apply(&traffic_policy("selector", &selecting(", sectionName: named"))).await;
    levels(&mut world, [Some("selector"), None, Some("selector"), None]).await;
    world.apply(&traffic_policy("selector", &selecting(""))).await;
    levels(&mut world, [Some("selector"); 4]).await;
    world.assert_status("TrafficPolicy/selector", &["Accepted=True *", "Attached=True Attached"]);
    // "another" would win by its name, were it not so light.
    let weighed = |name: &str, weight: &str| {
        traffic_policy(name, &marks(TO_ROUTE, name)).replace(
            "metadata: {",
            &format!("metadata: {{annotations: {{kgateway.dev/policy-weight: '{weight}'}}, "),
        )
    };
    world.apply(&[weighed("another", "-5"), weighed("zebra", "7")].concat()).await;
    levels(&mut world, [Some("zebra"); 4]).await;
    world.assert_status("TrafficPolicy/selector", &["Attached=False Overridden"]);
    world.apply(&weighed("zebra", "heavy")).await;
    levels(&mut world, [Some("selector"); 4]).await;
    world.assert_status("TrafficPolicy/zebra", &["Accepted=False Invalid"]);
}
