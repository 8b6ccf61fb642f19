//! HTTPListenerPolicy: what protects hosts, and what connections are like. Logs and spans are tested in `access_logs` and those beside it.

#[path = "listener_policies/connections.rs"]
mod connections;

use std::time::Duration;

use postern_e2e::{Backend, Call, Load, Stream, Want, World, covers, gateway, http_route, raw, until};

const ROUTE: &str = "rules: [{backendRefs: [{name: v1, port: 8080}]}]\n";
const TO_GATEWAY: &str = "targetRefs: [{kind: Gateway, name: gw}]";

pub(crate) fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: gateway.kgateway.dev/v1alpha1\nkind: HTTPListenerPolicy\n\
         metadata: {{name: {name}, namespace: default, generation: 1}}\nspec: {{{spec}}}\n---\n"
    )
}

fn on_gateway(spec: &str) -> String {
    policy("p", &format!("{TO_GATEWAY}, {spec}"))
}

fn secret(namespace: &str, key: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: users, namespace: {namespace}}}\nstringData:\n  {key}: |\n{lines}---\n"
    )
}

/// As `htpasswd -nbs` prints them.
const ANNA: &str = "anna:{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=";
const BOB: &str = "bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
const AS_ANNA: &str = "Basic YW5uYTpzZXNhbWU=";
const AS_BOB: &str = "Basic Ym9iOnNlY3JldA==";

/// Listeners for one host, for hosts below a domain and for all others, on one port.
const LISTENERS: &str = "  - {name: exact, port: ${PORT}, protocol: HTTP, hostname: a.example.org}\n  - {name: wild, port: ${PORT}, protocol: HTTP, hostname: '*.example.org'}\n  - {name: any, port: ${PORT}, protocol: HTTP}";
const HOSTS: [&str; 6] =
    ["a.example.org", "A.EXAMPLE.ORG", "b.example.org", "B.Example.org", "other.test", "a.example.org:99"];

async fn world() -> World {
    let mut world = World::with_backends(&["v1"]).await;
    world.apply(&[gateway(LISTENERS), http_route("r", ROUTE)].concat()).await;
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    world
}

#[tokio::test]
async fn only_users_with_their_password_pass() {
    covers!("HTTPListenerPolicy.spec.basicAuth.credentialsSecretRef.name");
    let mut world = world().await;
    let auth = "basicAuth: {credentialsSecretRef: {name: users}}";
    world.apply(&[secret("default", ".htpasswd", &[ANNA, "bob:$apr1$x$y"]), on_gateway(auth)].concat()).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
    assert!(world.problems().contains("line 2: the password of user \"bob\""), "{}", world.problems());
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Status(401)).await;
    for host in HOSTS {
        let call = world.call(host, "/");
        assert_eq!(call.send().await.unwrap().status, 401, "{host}");
        assert_eq!(call.clone().h2().send().await.unwrap().status, 401, "{host}, HTTP/2");
        let with = |value: &str| call.clone().header("authorization", value);
        assert_eq!(with("Basic YW5uYTp3cm9uZw==").send().await.unwrap().status, 401, "{host}");
        assert_eq!(with(AS_BOB).send().await.unwrap().status, 401, "{host}");
        assert_eq!(with(AS_ANNA).send().await.unwrap().status, 200, "{host}");
    }
    // The Secret changes, under another of the keys.
    world.apply(&secret("default", "auth", &[BOB])).await;
    let call = world.call("a.example.org", "/");
    world.expect(call.clone().header("authorization", AS_BOB), Want::Backend("v1")).await;
    world.expect(call.clone().header("authorization", AS_ANNA), Want::Status(401)).await;
    // Without it, nobody passes, not even with a password.
    world.delete("Secret", "users").await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=False Invalid", "Attached=False Invalid"]);
    world.expect(call.clone().header("authorization", AS_BOB), Want::Status(500)).await;
    for host in HOSTS {
        assert_eq!(world.call(host, "/").send().await.unwrap().status, 500, "{host}");
    }
    world.delete("HTTPListenerPolicy", "p").await;
    world.expect(call, Want::Backend("v1")).await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn users_in_another_namespace_need_a_grant() {
    covers!("HTTPListenerPolicy.spec.basicAuth.credentialsSecretRef.namespace");
    let mut world = world().await;
    let auth = "basicAuth: {credentialsSecretRef: {name: users, namespace: auth}}";
    world.apply(&[secret("auth", "htpasswd", &[ANNA]), on_gateway(auth)].concat()).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=False Invalid"]);
    let call = world.call("a.example.org", "/").header("authorization", AS_ANNA);
    world.expect(call.clone(), Want::Status(500)).await;
    let grant = "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: users, namespace: auth}\nspec:\n  from: [{group: gateway.kgateway.dev, kind: HTTPListenerPolicy, namespace: default}]\n  to: [{group: '', kind: Secret}]\n";
    world.apply(grant).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True Accepted"]);
    world.expect(call, Want::Backend("v1")).await;
}

#[tokio::test]
async fn rules_in_cel_say_who_passes() {
    covers!(
        "HTTPListenerPolicy.spec.celValidation.rules[].expression",
        "HTTPListenerPolicy.spec.celValidation.rules[].action",
    );
    let mut world = world().await;
    let rules = |rules: &str| on_gateway(&format!("celValidation: {{rules: [{rules}]}}"));
    let deny = "{expression: \"request.path.startsWith('/admin')\", action: Deny}";
    world.apply(&rules(deny)).await;
    let call = world.call("a.example.org", "/admin");
    world.expect(call, Want::Status(403)).await;
    for host in HOSTS {
        assert_eq!(world.call(host, "/admin/x").send().await.unwrap().status, 403, "{host}");
        assert_eq!(world.call(host, "/else").send().await.unwrap().status, 200, "{host}");
    }
    // With an Allow rule, what none allows is refused; Deny still wins.
    let allow = "{expression: \"request.method == 'GET'\", action: Allow}, \
                 {expression: \"request.headers['x-team'] == 'a'\", action: Allow}";
    world.apply(&rules(&format!("{allow}, {deny}"))).await;
    let post = world.call("a.example.org", "/else").method("POST");
    world.expect(post.clone(), Want::Status(403)).await;
    assert_eq!(post.clone().header("x-team", "a").send().await.unwrap().status, 200);
    assert_eq!(post.header("x-team", "b").send().await.unwrap().status, 403);
    assert_eq!(world.call("b.example.org", "/else").send().await.unwrap().status, 200);
    assert_eq!(world.call("b.example.org", "/admin").send().await.unwrap().status, 403);
    // Without an action a rule denies.
    world.apply(&rules("{expression: \"request.path == '/no'\"}")).await;
    let call = world.call("a.example.org", "/no");
    world.expect(call, Want::Status(403)).await;
    assert_eq!(world.call("a.example.org", "/yes").method("POST").send().await.unwrap().status, 200);
}

/// A header that is not there cannot be read: who must not have it is refused without it, unless the rule asks first.
#[tokio::test]
async fn a_rule_that_cannot_be_evaluated_lets_nobody_pass() {
    covers!("HTTPListenerPolicy.spec.celValidation.rules[].expression");
    let mut world = world().await;
    let rule = |text: &str| on_gateway(&format!("celValidation: {{rules: [{{expression: \"{text}\"}}]}}"));
    world.apply(&rule("request.headers['x-bad'] == 'yes'")).await;
    let call = world.call("a.example.org", "/");
    world.expect(call.clone(), Want::Status(403)).await;
    assert_eq!(call.clone().header("x-bad", "yes").send().await.unwrap().status, 403);
    assert_eq!(call.clone().header("x-bad", "no").send().await.unwrap().status, 200);
    world.apply(&rule("'x-bad' in request.headers && request.headers['x-bad'] == 'yes'")).await;
    world.expect(call.clone(), Want::Backend("v1")).await;
    assert_eq!(call.clone().header("x-bad", "yes").send().await.unwrap().status, 403);
    // What is not CEL never reaches Envoy, and closes.
    world.apply(&rule("request.headers[")).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=False Invalid"]);
    world.expect(call, Want::Status(500)).await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn bodies_are_held_back_and_bounded() {
    covers!("HTTPListenerPolicy.spec.buffer.maxRequestBytes");
    let mut world = world().await;
    world.apply(&on_gateway("buffer: {maxRequestBytes: 100000}")).await;
    for host in ["a.example.org", "b.example.org", "other.test"] {
        let call = world.call(host, "/").method("POST");
        world.expect(call.clone().body(&"x".repeat(100_001)), Want::Status(413)).await;
        let answer = call.body(&"x".repeat(100_000)).send().await.unwrap();
        assert_eq!(answer.seen().unwrap().body.len(), 100_000, "{host}");
    }
    // A body that stops half-way never reaches a backend.
    let port = world.port("PORT");
    let half = b"POST /half HTTP/1.1\r\nHost: a.example.org\r\nContent-Length: 10\r\n\r\nhalf";
    let _ = tokio::time::timeout(Duration::from_secs(1), raw(port, half, |_| false)).await;
    assert_eq!(world.backend("v1").count("/half"), 0);
}

#[tokio::test]
async fn more_specific_wins_and_others_keep_their_own() {
    covers!(
        "HTTPListenerPolicy.spec.targetRefs[].kind",
        "HTTPListenerPolicy.spec.targetRefs[].name",
        "HTTPListenerPolicy.spec.targetRefs[].sectionName",
        "HTTPListenerPolicy.spec.targetSelectors[].kind",
        "HTTPListenerPolicy.spec.targetSelectors[].matchLabels.*",
    );
    let mut world = world().await;
    let rule =
        |status: &str| format!("celValidation: {{rules: [{{expression: \"request.path == '/{status}'\"}}]}}");
    let selected = policy(
        "b-selected",
        &format!("targetSelectors: [{{kind: Gateway, matchLabels: {{guard: 'on'}}}}], {}", rule("selected")),
    );
    let labelled = gateway(LISTENERS)
        .replace("name: gw, namespace: default", "name: gw, namespace: default, labels: {guard: 'on'}");
    world.apply(&[labelled, selected].concat()).await;
    let call = world.call("a.example.org", "/selected");
    world.expect(call.clone(), Want::Status(403)).await;
    // The older of two on the Gateway wins: without times that is the first by name.
    world.apply(&policy("a-gateway", &format!("{TO_GATEWAY}, {}", rule("gateway")))).await;
    world.expect(call, Want::Backend("v1")).await;
    world.assert_status("HTTPListenerPolicy/b-selected", &["Attached=False Overridden"]);
    let listener =
        format!("targetRefs: [{{kind: Gateway, name: gw, sectionName: wild}}], {}", rule("listener"));
    world.apply(&policy("c-listener", &listener)).await;
    let call = world.call("b.example.org", "/listener");
    world.expect(call, Want::Status(403)).await;
    for (host, path, status) in [
        ("a.example.org", "/gateway", 403),
        ("a.example.org", "/listener", 200),
        ("b.example.org", "/gateway", 200),
        ("other.test", "/gateway", 403),
    ] {
        assert_eq!(world.call(host, path).send().await.unwrap().status, status, "{host}{path}");
    }
    world.assert_status("HTTPListenerPolicy/c-listener", &["Accepted=True *", "Attached=True Attached"]);
}

/// What an HTTPListenerPolicy says about requests travels with the hosts, not with the listener: nothing drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_protects_hosts_changes_no_listener() {
    let mut world = world().await;
    world.apply(&secret("default", ".htpasswd", &[ANNA])).await;
    let call = world.call("a.example.org", "/load").header("authorization", AS_ANNA);
    let listeners = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    let load = Load::start(vec![
        Stream::kept("kept", call.clone(), 50),
        Stream::kept("kept h2", call.clone().h2(), 50),
        Stream::fresh("fresh", call, 30),
    ]);
    let refused = world.call("a.example.org", "/no");
    for _ in 0..3 {
        for (spec, status) in [
            ("basicAuth: {credentialsSecretRef: {name: users}}", 401),
            ("celValidation: {rules: [{expression: \"request.path == '/no'\"}]}", 403),
            ("buffer: {maxRequestBytes: 1000}", 200),
        ] {
            world.apply(&on_gateway(spec)).await;
            world.expect(refused.clone(), Want::Status(status)).await;
            load.goes_on(30).await;
        }
        world.delete("HTTPListenerPolicy", "p").await;
        world.expect(refused.clone(), Want::Backend("v1")).await;
    }
    let report = load.stop().await;
    report.assert_clean(270);
    assert_eq!(report.reconnects, 0, "no connection was told to go");
    let after = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    assert_eq!(listeners, after, "the listener is the same");
}

/// Envoy replaces filter chains in place: requests under way end as they began, and kept connections are told to go in time.
#[tokio::test]
async fn changes_cost_no_request() {
    // HTTP/2 takes six seconds from the first GOAWAY to the end.
    let mut world = World::empty().await.with_listener_drain(Duration::from_secs(12));
    world.add_backend(Backend::start("v1").await).await;
    world.apply(&[gateway(LISTENERS), http_route("r", ROUTE)].concat()).await;
    let call = |host: &str, port| Call::get(port, host, "/load");
    let port = world.port("PORT");
    for host in ["a.example.org", "b.example.org", "other.test"] {
        world.expect(call(host, port), Want::Backend("v1")).await;
    }
    let load = Load::start(vec![
        Stream::kept("kept", call("a.example.org", port), 50),
        Stream::fresh("fresh", call("b.example.org", port), 30),
        Stream::kept("kept h2", call("other.test", port).h2(), 50),
        Stream::fresh("fresh h2", call("other.test", port).h2(), 30),
    ]);
    for spec in [
        "healthCheck: {path: /up}, accessLogging: {fileSink: {path: /dev/null, stringFormat: '%PROTOCOL%'}}",
        "idleTimeout: 10m, acceptHttp10: true, serverHeaderTransformation: Overwrite",
        "streamIdleTimeout: 30s, buffer: {maxRequestBytes: 1000}, celValidation: {rules: [{expression: \"request.path == '/no'\"}]}",
        "xffNumTrustedHops: 1, preserveHttp1HeaderCase: true",
    ] {
        load.goes_on(100).await;
        world.apply(&on_gateway(spec)).await;
    }
    load.goes_on(100).await;
    world.delete("HTTPListenerPolicy", "p").await;
    until("end of the drain", async || {
        let draining = world.envoy("gw").stats("listener_manager.total_filter_chains_draining").await;
        if draining.values().all(|it| *it == 0) { Ok(()) } else { Err(format!("{draining:?}")) }
    })
    .await;
    load.goes_on(100).await;
    let report = load.stop().await;
    report.assert_clean(600);
    assert!(report.reconnects >= 2, "both kept connections were told to go: {report:?}");
    world.assert_nothing_rejected().await;
}
