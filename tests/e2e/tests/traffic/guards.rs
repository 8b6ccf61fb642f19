//! What TrafficPolicies let through: conditions in CEL, forged requests, buffers, local rate limits.

use std::time::{Duration, Instant};

use postern_e2e::{Call, Load, Stream, Want, World, covers, gateway, http_route, traffic_policy};

/// How often guards come and go under load, and how many requests have to be answered between two changes.
const ROUNDS: u64 = 8;
const BETWEEN: u64 = 4;
const HTTP: &str = "  - {name: http, port: ${PORT}, protocol: HTTP}";
const RULES: &str = "
rules:
- name: guarded
  matches: [{path: {value: /guarded}}]
  backendRefs: [{name: v1, port: 8080}]
- name: open
  matches: [{path: {value: /open}}]
  backendRefs: [{name: v1, port: 8080}]
";

/// A world with a guarded and an open rule, on a host that has a scope of its own and one that has not.
async fn world() -> World {
    let mut world = World::with_backends(&["v1"]).await;
    let hostnames = "hostnames: [example.org, '*.example.com']";
    world.apply(&[gateway(HTTP), http_route("r", &format!("{hostnames}{RULES}"))].concat()).await;
    for path in ["/guarded", "/open"] {
        let call = world.call("example.org", path);
        world.expect(call, Want::Backend("v1")).await;
    }
    world
}

fn on_rule(spec: &str) -> String {
    traffic_policy(
        "guard",
        &format!("targetRefs: [{{kind: HTTPRoute, name: r, sectionName: guarded}}]\n{spec}"),
    )
}

/// Waits until the guarded rule gives `status`, and checks that the open one still serves.
async fn guarded(world: &mut World, change: impl Fn(Call) -> Call, status: u16) {
    for host in ["example.org", "EXAMPLE.org", "a.example.com"] {
        let call = change(world.call(host, "/guarded"));
        world.expect_that(call, &format!("{status} on {host}"), |it| it.status == status).await;
    }
    let open = change(world.call("example.org", "/open"));
    world.expect_that(open, "the open rule serves", |it| it.status == 200).await;
}

#[tokio::test]
async fn conditions_let_pass_or_refuse() {
    covers!("TrafficPolicy.spec.rbac.action", "TrafficPolicy.spec.rbac.policy.matchExpressions[]");
    let mut world = world().await;
    let expressions = "[\"request.headers['x-role'] == 'admin'\", \"request.method == 'HEAD'\"]";
    let rbac =
        |action: &str| on_rule(&format!("rbac: {{{action}policy: {{matchExpressions: {expressions}}}}}"));
    // Allow is the default.
    for action in ["", "action: Allow, "] {
        world.apply(&rbac(action)).await;
        guarded(&mut world, |call| call, 403).await;
        guarded(&mut world, |call| call.header("x-role", "guest"), 403).await;
        guarded(&mut world, |call| call.header("x-role", "admin"), 200).await;
        guarded(&mut world, |call| call.method("HEAD"), 200).await;
    }
    world.apply(&rbac("action: Deny, ")).await;
    guarded(&mut world, |call| call.header("x-role", "admin"), 403).await;
    guarded(&mut world, |call| call.header("x-role", "guest"), 200).await;
    // What cannot be evaluated is false.
    guarded(&mut world, |call| call, 200).await;
    world.assert_status("TrafficPolicy/guard", &["Accepted=True *", "Attached=True Attached"]);
    world.assert_nothing_rejected().await;
}

/// A condition that Envoy would refuse, or could never evaluate, is never sent; until it is mended the rule is closed.
#[tokio::test]
async fn a_wrong_condition_closes_the_rule_and_says_why() {
    let mut world = world().await;
    for (expression, said) in [
        ("request.path ==", "it is not CEL"),
        ("requst.path == '/'", "requst is unknown"),
        ("launch(request.path)", "the function launch is unknown"),
    ] {
        world.apply(&on_rule(&format!("rbac: {{policy: {{matchExpressions: [\"{expression}\"]}}}}"))).await;
        guarded(&mut world, |call| call, 500).await;
        world.assert_status("TrafficPolicy/guard", &["Accepted=False Invalid", "Attached=False Invalid"]);
        let problems = world.problems();
        assert!(
            problems.contains(said) && problems.contains("spec.rbac.policy.matchExpressions[0]"),
            "{problems}"
        );
    }
    world.apply(&on_rule("rbac: {policy: {matchExpressions: ['true']}}")).await;
    guarded(&mut world, |call| call, 200).await;
    world.assert_nothing_rejected().await;
}

/// Every function and attribute that is let through is one that this Envoy takes.
#[tokio::test]
async fn envoy_takes_the_whole_vocabulary() {
    let mut world = world().await;
    for expression in [
        "size('ab') == 2 && 'ab'.size() == 2 && 'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')",
        "'abc'.matches('a.c') && 'aB'.lowerAscii() == 'ab' && 'aB'.upperAscii() == 'AB'",
        "'a-b'.replace('-', '+') == 'a+b' && 'a,b'.split(',')[1] == 'b' && ['a', 'b'].join('/') == 'a/b'",
        "' a '.trim() == 'a' && 'abc'.substring(1) == 'bc' && 'abc'.indexOf('c') == 2",
        "string(1) + 'a' == '1a' && int('1') == 1 && uint(1) == 1u && double(1) == 1.0 && bool('true')",
        "bytes('a') == b'a' && type(1) == int && dyn(1) == 1 && duration('1s') < duration('2s')",
        "timestamp('2020-01-02T03:04:05Z').getFullYear() == 2020 && request.time.getMonth() < 12",
        "request.time.getDate() > 0 && request.time.getDayOfMonth() < 31 && request.time.getDayOfWeek() < 7",
        "request.time.getDayOfYear() < 366 && request.time.getHours('Europe/Berlin') < 24",
        "request.time.getMinutes() < 60 && request.time.getSeconds() < 60 && request.time.getMilliseconds() < 1000",
        "has(request.headers.accept) || request.method in ['GET'] && {'a': 1}['a'] == 1",
        "request.path == request.url_path && request.host != '' && request.scheme == 'http' && request.protocol != ''",
        "request.size >= 0 && request.total_size > 0 && source.port > 0 && destination.address != '' && !connection.mtls",
        "'guarded' in request.path.split('/') ? true : 1 / 2 * 3 - -1 % 2 >= 0 && 1 <= 2 && 1 != 2",
    ] {
        world.apply(&on_rule(&format!("rbac: {{policy: {{matchExpressions: [\"{expression}\"]}}}}"))).await;
        let call = world.call("example.org", "/guarded");
        world.expect_that(call, expression, |it| it.status == 200).await;
        world
            .apply(&on_rule(&format!(
                "rbac: {{action: Deny, policy: {{matchExpressions: [\"{expression}\"]}}}}"
            )))
            .await;
        let call = world.call("example.org", "/guarded");
        world.expect_that(call, &format!("it holds: {expression}"), |it| it.status == 403).await;
    }
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn forged_requests_are_refused() {
    covers!(
        "TrafficPolicy.spec.csrf.percentageEnabled",
        "TrafficPolicy.spec.csrf.additionalOrigins[].exact",
        "TrafficPolicy.spec.csrf.additionalOrigins[].prefix",
        "TrafficPolicy.spec.csrf.additionalOrigins[].suffix",
        "TrafficPolicy.spec.csrf.additionalOrigins[].contains",
        "TrafficPolicy.spec.csrf.additionalOrigins[].safeRegex",
        "TrafficPolicy.spec.csrf.additionalOrigins[].ignoreCase",
    );
    let mut world = world().await;
    let from = |origin: &'static str| move |call: Call| call.method("POST").header("origin", origin);
    world.apply(&on_rule("csrf: {}")).await;
    guarded(&mut world, from("http://evil.example"), 403).await;
    guarded(&mut world, |call| call.header("origin", "http://evil.example"), 200).await;
    let own = world.call("example.org", "/guarded").method("POST").header("origin", "http://example.org");
    world.expect(own, Want::Backend("v1")).await;

    world.apply(&on_rule("csrf: {percentageEnabled: 0}")).await;
    guarded(&mut world, from("http://evil.example"), 200).await;
    world.apply(&on_rule("csrf: {percentageEnabled: 100}")).await;
    guarded(&mut world, from("http://evil.example"), 403).await;

    for (matcher, others) in [
        ("exact: good.example", "http://GOOD.example"),
        ("prefix: good.", "http://not.good.example"),
        ("suffix: .example", "http://good.example.org"),
        ("contains: ood.ex", "http://goodexample"),
        ("safeRegex: 'g[o]+d[.]example'", "http://gd.example"),
    ] {
        world.apply(&on_rule(&format!("csrf: {{additionalOrigins: [{{{matcher}}}]}}"))).await;
        guarded(&mut world, from("http://good.example"), 200).await;
        guarded(&mut world, from(others), 403).await;
    }
    world.apply(&on_rule("csrf: {additionalOrigins: [{exact: GOOD.example, ignoreCase: true}]}")).await;
    guarded(&mut world, from("http://good.EXAMPLE"), 200).await;
}

/// A shadow policy refuses nothing and counts what it would refuse.
#[tokio::test]
async fn shadowed_requests_are_counted() {
    covers!("TrafficPolicy.spec.csrf.percentageShadowed");
    let mut world = world().await;
    world.apply(&on_rule("csrf: {percentageShadowed: 100}")).await;
    let before: u64 = world.envoy("gw").stats("csrf.request_invalid").await.values().sum();
    guarded(&mut world, |call| call.method("POST").header("origin", "http://evil.example"), 200).await;
    let after: u64 = world.envoy("gw").stats("csrf.request_invalid").await.values().sum();
    assert!(after >= before + 3, "{before} {after}");
}

#[tokio::test]
async fn large_requests_are_refused() {
    covers!("TrafficPolicy.spec.buffer.maxRequestSize", "TrafficPolicy.spec.buffer.disable");
    let mut world = world().await;
    let sending = |bytes: usize| move |call: Call| call.method("POST").body(&"x".repeat(bytes));
    world.apply(&on_rule("buffer: {maxRequestSize: 2Ki}")).await;
    guarded(&mut world, sending(2049), 413).await;
    guarded(&mut world, sending(2048), 200).await;
    // The rule switches off what the Gateway switches on.
    let all = traffic_policy("all", "targetRefs: [{kind: Gateway, name: gw}]\nbuffer: {maxRequestSize: 10}");
    world.apply(&[all, on_rule("buffer: {disable: {}}")].concat()).await;
    let open = sending(11)(world.call("example.org", "/open"));
    world.expect_that(open, "413", |it| it.status == 413).await;
    let call = sending(5000)(world.call("example.org", "/guarded"));
    world.expect(call, Want::Backend("v1")).await;
}

#[tokio::test]
async fn each_proxy_counts_requests_by_itself() {
    covers!(
        "TrafficPolicy.spec.rateLimit.local.tokenBucket.maxTokens",
        "TrafficPolicy.spec.rateLimit.local.tokenBucket.tokensPerFill",
        "TrafficPolicy.spec.rateLimit.local.tokenBucket.fillInterval",
    );
    let mut world = world().await;
    let bucket = |text: &str| on_rule(&format!("rateLimit: {{local: {{tokenBucket: {{{text}}}}}}}"));
    world.apply(&bucket("maxTokens: 3, fillInterval: 1h")).await;
    let call = world.call("example.org", "/guarded");
    world.expect_that(call.clone(), "429 at last", |it| it.status == 429).await;
    let open = world.call("example.org", "/open");
    world.expect(open, Want::Backend("v1")).await;

    // A new bucket is full: exactly so many requests pass.
    world.apply(&bucket("maxTokens: 7, fillInterval: 2h")).await;
    let mut passed = 0;
    for _ in 0..20 {
        passed += u32::from(call.send().await.unwrap().status == 200);
    }
    assert!((4..=7).contains(&passed), "the old bucket was empty, and the new one had 7: {passed}");

    // Tokens come back little by little.
    for (per_fill, expected) in [("", 0..=1), ("tokensPerFill: 5, ", 3..=6)] {
        world.apply(&bucket(&format!("maxTokens: 5, {per_fill}fillInterval: 4s"))).await;
        world.expect_that(call.clone(), "empty", |it| it.status == 429).await;
        let begin = Instant::now();
        let mut passed = 0;
        while begin.elapsed() < Duration::from_millis(3500) {
            passed += u32::from(call.send().await.unwrap().status == 200);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert!(expected.contains(&passed), "{per_fill:?}: {passed}");
    }

    // The rule switches off what the Gateway switches on.
    let all = "targetRefs: [{kind: Gateway, name: gw}]\nrateLimit: {local: {tokenBucket: {maxTokens: 1, fillInterval: 1h}}}";
    world.apply(&[traffic_policy("all", all), on_rule("rateLimit: {local: {}}")].concat()).await;
    let open = world.call("example.org", "/open");
    world.expect_that(open, "429 at last", |it| it.status == 429).await;
    for _ in 0..5 {
        world.expect(call.clone(), Want::Backend("v1")).await;
    }
}

/// Attaching, changing and removing guards fails no request that they let through, and leaves the listener alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_come_and_go_under_load() {
    let mut world = world().await;
    let call = world.call("example.org", "/guarded").header("x-role", "admin");
    let listeners = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    let load =
        Load::start(vec![Stream::kept("kept", call.clone(), 100), Stream::fresh("new", call.clone(), 60)]);
    let guest = world.call("example.org", "/guarded");
    for round in 0..ROUNDS {
        let expression = format!("\"request.headers['x-role'] == 'admin' || request.path == '/{round}'\"");
        world.apply(&on_rule(&format!("rbac: {{policy: {{matchExpressions: [{expression}]}}}}"))).await;
        world.expect_that(guest.clone(), "403", |it| it.status == 403).await;
        for spec in [
            "csrf: {}",
            "csrf: {additionalOrigins: [{exact: a}]}",
            "buffer: {maxRequestSize: 1Ki}",
            "buffer: {maxRequestSize: 2Ki}",
            "rateLimit: {local: {tokenBucket: {maxTokens: 1000000, fillInterval: 1s}}}",
            "rateLimit: {local: {tokenBucket: {maxTokens: 2000000, fillInterval: 1s}}}",
        ] {
            world
                .apply(&on_rule(&format!(
                    "{spec}\nresponseHeaderModifier: {{set: [{{name: x-round, value: '{round}'}}]}}"
                )))
                .await;
            world.expect_that(guest.clone(), "200", |it| it.status == 200).await;
            load.goes_on(BETWEEN).await;
        }
        world.delete("TrafficPolicy", "guard").await;
        world.expect_that(guest.clone(), "no policy", |it| it.header("x-round").is_none()).await;
    }
    load.stop().await.assert_clean(ROUNDS * 6 * BETWEEN);
    let after = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    assert_eq!(listeners, after, "the listener is the same");
}
