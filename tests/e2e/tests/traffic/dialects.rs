//! What TrafficPolicies say of timeouts, retries, headers and CORS, in both dialects.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use postern_e2e::{Answer, Backend, Call, Reply, Want, World, covers, gateway, http_route, traffic_policy};

const HTTP: &str = "  - {name: http, port: ${PORT}, protocol: HTTP}";

/// A backend that fails or waits as the path says: `/fail/<times>/<status>/<id>`, `/wait/<milliseconds>/<id>`; each id counts for itself.
async fn flaky() -> Backend {
    let attempts = Mutex::new(BTreeMap::<String, u32>::new());
    Backend::replying("flaky", move |seen| {
        let mut attempts = attempts.lock().unwrap();
        let attempt = attempts.entry(seen.path.clone()).or_default();
        *attempt += 1;
        let parts: Vec<&str> = seen.path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["fail", times, status, _] if *attempt <= times.parse().unwrap() => {
                Reply::Status(status.parse().unwrap())
            }
            ["wait", milliseconds, _] => Reply::After(Duration::from_millis(milliseconds.parse().unwrap())),
            _ => Reply::Echo,
        }
    })
    .await
}

async fn world() -> World {
    let mut world = World::empty().await;
    world.add_backend(flaky().await).await;
    let route = http_route("r", "rules: [{backendRefs: [{name: flaky, port: 8080}]}]");
    world.apply(&[gateway(HTTP), route].concat()).await;
    let call = world.call("example.org", "/");
    world.expect(call, Want::Backend("flaky")).await;
    world
}

/// Attaches a policy with `spec`, and waits until it is in force: each has a header of its own.
async fn policy(world: &mut World, spec: &str) {
    let mark = world.nodes().len().to_string()
        + &spec.len().to_string()
        + &spec.replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let header = if spec.contains("esponse") {
        String::new()
    } else {
        format!("responseHeaderModifier: {{set: [{{name: x-policy, value: {mark}}}]}}\n")
    };
    world
        .apply(&traffic_policy("p", &format!("targetRefs: [{{kind: HTTPRoute, name: r}}]\n{header}{spec}")))
        .await;
    world.assert_status("TrafficPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
    let call = world.call("example.org", "/");
    let in_force = |it: &Answer| header.is_empty() || it.header("x-policy").as_deref() == Some(&mark);
    world.expect_that(call, "the policy in force", in_force).await;
}

async fn timed(call: &Call) -> (u16, Duration) {
    let begin = Instant::now();
    let status = call.send().await.unwrap().status;
    (status, begin.elapsed())
}

#[tokio::test]
async fn timeouts_of_requests() {
    covers!("TrafficPolicy.spec.timeout.request", "TrafficPolicy.spec.timeouts.request");
    let mut world = world().await;
    for (id, spec) in ["timeout: {request: 300ms}", "timeouts: {request: 300ms}"].into_iter().enumerate() {
        policy(&mut world, spec).await;
        let (status, took) = timed(&world.call("example.org", &format!("/wait/3000/{id}"))).await;
        assert_eq!(status, 504, "{spec}");
        assert!(took < Duration::from_millis(2500), "{spec}: {took:?}");
        let (status, _) = timed(&world.call("example.org", &format!("/wait/10/{id}"))).await;
        assert_eq!(status, 200, "{spec}");
    }
    // No timeout, where one was.
    policy(&mut world, "timeout: {request: 0s}").await;
    assert_eq!(timed(&world.call("example.org", "/wait/1000/none")).await.0, 200);
}

#[tokio::test]
async fn timeouts_of_idle_streams() {
    covers!("TrafficPolicy.spec.timeout.idle", "TrafficPolicy.spec.timeouts.streamIdle");
    let mut world = world().await;
    for (id, spec) in ["timeout: {idle: 300ms}", "timeouts: {streamIdle: 300ms}"].into_iter().enumerate() {
        policy(&mut world, spec).await;
        let (status, took) = timed(&world.call("example.org", &format!("/wait/3000/{id}"))).await;
        assert_eq!(status, 504, "{spec}");
        assert!(took < Duration::from_millis(2500), "{spec}: {took:?}");
    }
}

#[tokio::test]
async fn numbers_and_reasons_of_retries() {
    covers!(
        "TrafficPolicy.spec.retries.attempts",
        "TrafficPolicy.spec.retries.retryOn",
        "TrafficPolicy.spec.retry.attempts",
        "TrafficPolicy.spec.retry.retryOn[]",
        "TrafficPolicy.spec.retry.statusCodes[]",
    );
    let mut world = world().await;
    for (id, (spec, fails, with, passes)) in [
        ("retries: {attempts: 2, retryOn: '5xx'}", 2, 500, true),
        ("retries: {attempts: 2, retryOn: '5xx'}", 3, 500, false),
        ("retries: {attempts: 2, retryOn: 'gateway-error,reset'}", 1, 500, false),
        ("retries: {attempts: 2, retryOn: 'gateway-error,reset'}", 1, 502, true),
        ("retries: {retryOn: '5xx'}", 1, 500, true),
        ("retries: {retryOn: '5xx'}", 2, 500, false),
        ("retry: {attempts: 2, retryOn: [5xx]}", 2, 500, true),
        ("retry: {attempts: 2, retryOn: [5xx]}", 3, 500, false),
        ("retry: {attempts: 1, retryOn: [gateway-error, reset]}", 1, 500, false),
        ("retry: {attempts: 1, statusCodes: [418, 429]}", 1, 429, true),
        ("retry: {attempts: 1, statusCodes: [418, 429]}", 1, 500, false),
    ]
    .into_iter()
    .enumerate()
    {
        policy(&mut world, spec).await;
        let (status, _) = timed(&world.call("example.org", &format!("/fail/{fails}/{with}/{id}"))).await;
        assert_eq!(status, if passes { 200 } else { with }, "{spec}: {fails} times {with}");
    }
}

#[tokio::test]
async fn attempts_have_a_timeout() {
    covers!("TrafficPolicy.spec.retries.perTryTimeout", "TrafficPolicy.spec.retry.perTryTimeout");
    let mut world = world().await;
    for (id, spec) in [
        "retries: {attempts: 1, perTryTimeout: 200ms, retryOn: '5xx'}",
        "retry: {attempts: 1, perTryTimeout: 200ms, retryOn: [5xx]}",
    ]
    .into_iter()
    .enumerate()
    {
        policy(&mut world, spec).await;
        let path = format!("/wait/4000/{id}");
        let (status, took) = timed(&world.call("example.org", &path)).await;
        assert_eq!(status, 504, "{spec}");
        assert!(took < Duration::from_secs(3), "{spec}: {took:?}");
        assert_eq!(world.backend("flaky").count(&path), 2, "{spec}");
    }
}

/// Envoy waits a random time between nothing and the interval, which doubles with each retry up to the longest.
#[tokio::test]
async fn retries_wait_longer_and_longer() {
    covers!(
        "TrafficPolicy.spec.retries.backOff.baseInterval",
        "TrafficPolicy.spec.retries.backOff.maxInterval",
        "TrafficPolicy.spec.retry.backoffBaseInterval",
    );
    let mut world = world().await;
    let mut id = 0;
    // Three requests at once: their sum says more than one that was lucky.
    let mut together = async |world: &mut World, spec: &str, retries: u32| {
        policy(world, spec).await;
        id += 3;
        let calls = [0, 1, 2].map(|n| world.call("example.org", &format!("/fail/{retries}/500/{}", id + n)));
        let [a, b, c] = calls.each_ref().map(|call| Box::pin(timed(call)));
        let (a, b, c) = tokio::join!(a, b, c);
        assert_eq!([a.0, b.0, c.0], [200; 3], "{spec}");
        a.1 + b.1 + c.1
    };
    // With the default of 25ms it is 0.53 s at most; with 400ms it is less than 0.6 s once in five million times.
    for spec in [
        "retries: {attempts: 3, retryOn: '5xx', backOff: {baseInterval: 400ms}}",
        "retry: {attempts: 3, retryOn: [5xx], backoffBaseInterval: 400ms}",
    ] {
        let sum = together(&mut world, spec, 3).await;
        assert!(sum > Duration::from_millis(600), "{spec}: {sum:?}");
    }
    // At most 0.75 s, and without the bound 2.8 s, give or take a third of a second.
    let sum =
        together(&mut world, "retries: {attempts: 10, retryOn: '5xx', backOff: {maxInterval: 25ms}}", 10)
            .await;
    assert!(sum < Duration::from_millis(1600), "{sum:?}");
}

#[tokio::test]
async fn headers_of_requests() {
    covers!(
        "TrafficPolicy.spec.requestHeaderModifier.set[].name",
        "TrafficPolicy.spec.requestHeaderModifier.set[].value",
        "TrafficPolicy.spec.requestHeaderModifier.add[].name",
        "TrafficPolicy.spec.requestHeaderModifier.add[].value",
        "TrafficPolicy.spec.requestHeaderModifier.remove[]",
        "TrafficPolicy.spec.headerModifiers.request.set[].name",
        "TrafficPolicy.spec.headerModifiers.request.set[].value",
        "TrafficPolicy.spec.headerModifiers.request.add[].name",
        "TrafficPolicy.spec.headerModifiers.request.add[].value",
        "TrafficPolicy.spec.headerModifiers.request.remove[]",
    );
    let mut world = world().await;
    let change = "{set: [{name: x-set, value: ours}], add: [{name: x-add, value: more}], remove: [x-gone]}";
    for spec in
        [format!("requestHeaderModifier: {change}"), format!("headerModifiers: {{request: {change}}}")]
    {
        policy(&mut world, &spec).await;
        let call = world.call("example.org", "/");
        let call = call
            .header("x-set", "theirs")
            .header("x-add", "first")
            .header("x-gone", "x")
            .header("x-kept", "y");
        let answer = world.expect(call, Want::Backend("flaky")).await;
        let seen = answer.seen().unwrap();
        let header = |name: &str| seen.header(name);
        assert_eq!(header("x-set").as_deref(), Some("ours"), "{spec}");
        assert!(
            header("x-add").is_some_and(|it| it.contains("first") && it.contains("more")),
            "{spec}: {seen:?}"
        );
        assert_eq!((header("x-gone"), header("x-kept").as_deref()), (None, Some("y")), "{spec}");
        world.delete("TrafficPolicy", "p").await;
    }
}

#[tokio::test]
async fn headers_of_responses() {
    covers!(
        "TrafficPolicy.spec.responseHeaderModifier.set[].name",
        "TrafficPolicy.spec.responseHeaderModifier.set[].value",
        "TrafficPolicy.spec.responseHeaderModifier.add[].name",
        "TrafficPolicy.spec.responseHeaderModifier.add[].value",
        "TrafficPolicy.spec.responseHeaderModifier.remove[]",
        "TrafficPolicy.spec.headerModifiers.response.set[].name",
        "TrafficPolicy.spec.headerModifiers.response.set[].value",
        "TrafficPolicy.spec.headerModifiers.response.add[].name",
        "TrafficPolicy.spec.headerModifiers.response.add[].value",
        "TrafficPolicy.spec.headerModifiers.response.remove[]",
    );
    let mut world = world().await;
    for (value, dialect) in
        [("one", "responseHeaderModifier: CHANGE"), ("two", "headerModifiers: {response: CHANGE}")]
    {
        let change = format!(
            "{{set: [{{name: content-type, value: {value}/x}}], add: [{{name: x-added, value: {value}}}], remove: [content-length]}}"
        );
        policy(&mut world, &dialect.replace("CHANGE", &change)).await;
        let call = world.call("example.org", "/");
        let answer =
            world.expect_that(call, value, |it| it.header("x-added").as_deref() == Some(value)).await;
        assert_eq!(answer.header("content-type"), Some(format!("{value}/x")));
        assert_eq!(answer.header("content-length"), None);
    }
}

#[tokio::test]
async fn cors_in_both_dialects() {
    covers!(
        "TrafficPolicy.spec.cors.allowOrigins[]",
        "TrafficPolicy.spec.cors.allowMethods[]",
        "TrafficPolicy.spec.cors.allowHeaders[]",
        "TrafficPolicy.spec.cors.exposeHeaders[]",
        "TrafficPolicy.spec.cors.maxAge",
        "TrafficPolicy.spec.cors.allowCredentials",
        "TrafficPolicy.spec.cors.disable",
    );
    let mut world = world().await;
    let preflight = |world: &mut World| {
        let call = world.call("example.org", "/").method("OPTIONS").header("origin", "https://a.example");
        call.header("access-control-request-method", "PUT")
    };
    let rest = "allowMethods: [GET, PUT], allowHeaders: [x-one], exposeHeaders: [x-two]";
    for (origins, age, credentials) in [
        ("{type: Exact, value: 'https://a.example'}", "1m", true),
        ("'https://*.example', 'https://a.example'", "60", false),
    ] {
        let cors = format!(
            "cors: {{allowOrigins: [{origins}], {rest}, maxAge: {age}, allowCredentials: {credentials}}}"
        );
        policy(&mut world, &cors).await;
        let call = preflight(&mut world);
        let allowed =
            |it: &Answer| it.header("access-control-allow-origin").as_deref() == Some("https://a.example");
        let answer = world.expect_that(call, origins, allowed).await;
        let header = |name: &str| answer.header(name).unwrap_or_default();
        assert!(header("access-control-allow-methods").contains("PUT"), "{answer:?}");
        assert!(header("access-control-allow-headers").contains("x-one"), "{answer:?}");
        assert_eq!(header("access-control-max-age"), "60");
        assert_eq!(header("access-control-allow-credentials") == "true", credentials);
        let actual =
            world.call("example.org", "/").header("origin", "https://a.example").send().await.unwrap();
        assert_eq!(actual.header("access-control-expose-headers").as_deref(), Some("x-two"));
    }
    // The route switches off what the Gateway switches on.
    let all = traffic_policy("all", "targetRefs: [{kind: Gateway, name: gw}]\ncors: {allowOrigins: ['*']}");
    world.apply(&all).await;
    policy(&mut world, "timeout: {request: 9s}").await;
    let call = preflight(&mut world);
    world.expect_that(call, "the Gateway's", |it| it.header("access-control-allow-origin").is_some()).await;
    policy(&mut world, "cors: {disable: {}}").await;
    let call = preflight(&mut world);
    world.expect_that(call, "no CORS", |it| it.header("access-control-allow-origin").is_none()).await;
}
