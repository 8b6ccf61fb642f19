//! Rate limits that limitador counts in Redis, each in processes of its own.

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use postern_e2e::{
    Answer, Call, Port, RateLimiter, Redis, Want, World, covers, gateway_extension, http_route, route,
    service, traffic_policy,
};

/// The limits of two plans, for each user. The windows are longer than any test takes.
const PLANS: &str = "
- namespace: shop
  max_value: 2
  seconds: 3600
  conditions: [\"descriptors[0]['plan'] == 'free'\"]
  variables: [\"descriptors[0]['x-user']\"]
- namespace: shop
  max_value: 4
  seconds: 3600
  conditions: [\"descriptors[0]['plan'] == 'gold'\"]
  variables: [\"descriptors[0]['x-user']\"]
";

const ROUTES: &str = "
rules:
- name: free
  matches: [{path: {value: /free}}]
  backendRefs: [{name: v1, port: 8080}]
- name: gold
  matches: [{path: {value: /gold}}]
  backendRefs: [{name: v1, port: 8080}]
";

/// An extension that asks the Service of its own name, and gives it time that no busy machine uses up.
fn extension(name: &str, more: &str) -> String {
    let service = format!("grpcService: {{backendRef: {{name: {name}, port: 8080}}}}");
    gateway_extension(
        name,
        &format!("type: RateLimit, rateLimit: {{{service}, domain: shop, timeout: 20s, {more}}}"),
    )
}

/// The descriptor of a plan and the user in the header `x-user`.
fn plan(name: &str) -> String {
    format!(
        "{{entries: [{{type: Generic, generic: {{key: plan, value: {name}}}}}, {{type: Header, header: x-user}}]}}"
    )
}

/// A policy on a rule of a route.
fn limit(route: &str, rule: &str, extension: &str, descriptors: &str) -> String {
    let target = format!("{{kind: HTTPRoute, name: {route}, sectionName: {rule}}}");
    let global = format!("{{extensionRef: {{name: {extension}}}, descriptors: [{descriptors}]}}");
    traffic_policy(
        &format!("{route}-{rule}"),
        &format!("targetRefs: [{target}]\nrateLimit: {{global: {global}}}\n"),
    )
}

/// What the service says is left, which it says of nothing but what it has counted.
fn left(answer: &Answer) -> Option<u32> {
    answer.header("x-ratelimit-remaining").and_then(|left| left.parse().ok())
}

/// Sends a call once for each of `expected`, which are a status and what is left.
async fn sent(call: &Call, expected: &[(u16, Option<u32>)]) {
    for (number, expected) in expected.iter().enumerate() {
        let answer = call.send().await.unwrap();
        assert_eq!((answer.status, left(&answer)), *expected, "request {number}: {answer:?}");
    }
}

/// Waits until requests of a user that no test looks at are counted.
async fn counted(world: &mut World, call: Call) {
    world.expect_that(call.header("x-user", "nobody"), "a count", |it| left(it).is_some()).await;
}

#[tokio::test]
async fn plans_and_users_have_counters_of_their_own() {
    covers!(
        "TrafficPolicy.spec.rateLimit.global.descriptors[].entries[].generic.value",
        "TrafficPolicy.spec.rateLimit.global.descriptors[].entries[].header",
    );
    let redis = Redis::start().await;
    let limiter = RateLimiter::start(&redis, PLANS);
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(
            &[
                service("default", "limits", "", &[limiter.address()]),
                extension("limits", "failOpen: false"),
                http_route("r", ROUTES),
                limit("r", "free", "limits", &plan("free")),
                limit("r", "gold", "limits", &plan("gold")),
            ]
            .concat(),
        )
        .await;
    let (free, gold) = (world.call("example.org", "/free"), world.call("example.org", "/gold"));
    counted(&mut world, free.clone()).await;
    let of = |call: &Call, user: &str| call.clone().header("x-user", user);
    sent(&of(&free, "ali"), &[(200, Some(1)), (200, Some(0)), (429, Some(0)), (429, Some(0))]).await;
    sent(&of(&free, "bea"), &[(200, Some(1)), (200, Some(0)), (429, Some(0))]).await;
    let all_of_gold = [(200, Some(3)), (200, Some(2)), (200, Some(1)), (200, Some(0)), (429, Some(0))];
    sent(&of(&gold, "ali"), &all_of_gold).await;
    // Without the header there is no descriptor, and without a descriptor nothing to ask about.
    sent(&free, &[(200, None), (200, None), (200, None)]).await;
}

/// What the contract counts by itself: each route that a client uses, whichever policy says so.
#[tokio::test]
async fn routes_have_counters_of_their_own() {
    covers!("TrafficPolicy.spec.rateLimit.extensionRef.name");
    let redis = Redis::start().await;
    let limits = "
- namespace: shop
  max_value: 2
  seconds: 3600
  conditions: [\"descriptors[0]['remote_address'] == '127.0.0.1'\"]
  variables: [\"descriptors[0]['route']\"]
- namespace: shop
  max_value: 1
  seconds: 3600
  conditions: [\"descriptors[0]['route'] == 'httproute/default/strict'\"]
  variables: [\"descriptors[0]['remote_address']\"]
";
    let limiter = RateLimiter::start(&redis, limits);
    let mut world = World::with_backends(&["v1"]).await;
    let routes = ["first", "second", "strict"];
    let rule = |name: &str| {
        format!(
            "rules: [{{matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: v1, port: 8080}}]}}]\n"
        )
    };
    let limit = "targetRefs: [{kind: Gateway, name: gw}]\nrateLimit: {extensionRef: {name: limits}}\n";
    let objects = [
        service("default", "limits", "", &[limiter.address()]),
        extension("limits", "failOpen: false"),
        routes.map(|name| http_route(name, &rule(name))).concat(),
        traffic_policy("all", limit),
    ];
    world.apply(&objects.concat()).await;
    let calls = routes.map(|name| world.call("example.org", &format!("/{name}")));
    for call in &calls[..2] {
        world.expect_that(call.clone(), "the first count", |it| left(it) == Some(1)).await;
        sent(call, &[(200, Some(0)), (429, Some(0)), (429, Some(0))]).await;
    }
    sent(&calls[2], &[(200, Some(0)), (429, Some(0))]).await;
}

/// All limits that apply to what a request has are asked, and a request that one of them refuses is not counted by the others.
#[tokio::test]
async fn several_descriptors_of_a_request() {
    let redis = Redis::start().await;
    let limits = "
- namespace: shop
  max_value: 4
  seconds: 3600
  conditions: []
  variables: [\"descriptors[0]['remote_address']\"]
- namespace: shop
  max_value: 2
  seconds: 3600
  conditions: [\"size(descriptors) > 1 && descriptors[1]['plan'] == 'free'\"]
  variables: [\"descriptors[1]['x-user']\"]
";
    let limiter = RateLimiter::start(&redis, limits);
    let mut world = World::with_backends(&["v1"]).await;
    let descriptors = |it: &str| format!("{{entries: [{{type: RemoteAddress}}]}}, {it}");
    world
        .apply(
            &[
                service("default", "limits", "", &[limiter.address()]),
                extension("limits", "failOpen: false"),
                http_route("r", ROUTES),
                limit("r", "free", "limits", &descriptors(&plan("free"))),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/free");
    let of = |user: &str| call.clone().header("x-user", user);
    // Nobody may be asked about before, or the address would have less left.
    world.expect_that(of("ali"), "a count", |it| it.status == 200 && left(it) == Some(1)).await;
    sent(&of("ali"), &[(200, Some(0)), (429, Some(0)), (429, Some(0))]).await;
    sent(&call, &[(200, Some(1))]).await;
    sent(&of("bea"), &[(200, Some(0))]).await;
    sent(&of("bea"), &[(429, Some(0))]).await;
    sent(&call, &[(429, Some(0))]).await;
}

/// What one Gateway's proxy has let through is missing at the other, though each asks a service of its own; and services that
/// start again know what was counted.
#[tokio::test]
async fn proxies_and_services_share_what_is_left() {
    let redis = Redis::start().await;
    let ports = [Port::reserve(), Port::reserve()];
    let start = |port: &Port| RateLimiter::at(&redis, PLANS, port.number());
    let (first, second) = (start(&ports[0]), start(&ports[1]));
    let mut world = World::with_backends(&["v1"]).await;
    let gateway = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: second, namespace: default}
spec: {gatewayClassName: postern, listeners: [{name: http, port: ${PORT_SECOND}, protocol: HTTP}]}
---
";
    world
        .apply(
            &[
                gateway.to_owned(),
                service("default", "limits", "", &[first.address()]),
                service("default", "limits-2", "", &[second.address()]),
                extension("limits", "failOpen: false"),
                extension("limits-2", "failOpen: false"),
                http_route("r", ROUTES),
                route("HTTPRoute", "r2", &format!("parentRefs: [{{name: second}}]{ROUTES}")),
                limit("r", "gold", "limits", &plan("gold")),
                limit("r2", "gold", "limits-2", &plan("gold")),
            ]
            .concat(),
        )
        .await;
    let here = world.call("example.org", "/gold");
    let there = world.call_on("PORT_SECOND", "example.org", "/gold");
    counted(&mut world, here.clone()).await;
    counted(&mut world, there.clone()).await;
    let anybody = there.clone();
    let (here, there) = (here.header("x-user", "ali"), there.header("x-user", "ali"));
    sent(&here, &[(200, Some(3))]).await;
    sent(&there, &[(200, Some(2))]).await;

    // Each asks its own: without the second service only the second Gateway has none.
    drop(second);
    world.expect(there.clone(), Want::Status(500)).await;
    sent(&here, &[(200, Some(1))]).await;
    let second = start(&ports[1]);
    counted(&mut world, anybody).await;
    sent(&there, &[(200, Some(0)), (429, Some(0))]).await;
    sent(&here, &[(429, Some(0))]).await;

    drop((first, second));
    world.expect(here.clone(), Want::Status(500)).await;
    world.expect(there.clone(), Want::Status(500)).await;
    let _services = ports.each_ref().map(start);
    for call in [here, there] {
        world.expect(call.clone(), Want::Status(429)).await;
        sent(&call, &[(429, Some(0))]).await;
    }
}

/// Without Redis the service says so at once, and `failOpen` decides; when Redis is back, so are the limits.
#[tokio::test]
async fn redis_goes_and_comes_back() {
    covers!("GatewayExtension.spec.rateLimit.failOpen");
    let mut redis = Redis::start().await;
    let limiter = RateLimiter::start(&redis, PLANS);
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(
            &[
                service("default", "open", "", &[limiter.address()]),
                service("default", "closed", "", &[limiter.address()]),
                extension("open", "failOpen: true"),
                extension("closed", "failOpen: false"),
                http_route("r", ROUTES),
                limit("r", "free", "open", &plan("free")),
                limit("r", "gold", "closed", &plan("gold")),
            ]
            .concat(),
        )
        .await;
    let of = |call: &Call, user: &str| call.clone().header("x-user", user);
    let (open, closed) = (world.call("example.org", "/free"), world.call("example.org", "/gold"));
    counted(&mut world, open.clone()).await;
    counted(&mut world, closed.clone()).await;
    sent(&of(&open, "ali"), &[(200, Some(1)), (200, Some(0)), (429, Some(0))]).await;
    sent(&of(&closed, "ali"), &[(200, Some(3))]).await;
    for user in ["ali", "bea"] {
        redis.kill();
        sent(&of(&open, "ali"), &[(200, None); 5]).await;
        sent(&of(&closed, "ali"), &[(500, None); 5]).await;
        let error = ask(&limiter, 1, &[&[("plan", "free"), ("x-user", "ali")]]).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");

        // This Redis has not been told what the one before knew.
        redis.resume().await;
        counted(&mut world, open.clone()).await;
        sent(&of(&open, user), &[(200, Some(1)), (200, Some(0)), (429, Some(0))]).await;
        sent(&of(&closed, user), &[(200, Some(3)), (200, Some(2)), (200, Some(1)), (200, Some(0))]).await;
        sent(&of(&closed, user), &[(429, Some(0))]).await;
    }
}

/// What no proxy of Postern's asks for, but the protocol has.
#[tokio::test]
async fn the_service_itself() {
    let redis = Redis::start().await;
    let limits = PLANS.replace("max_value: 2", "max_value: 6").replace("'gold'", "descriptors[1]['plan']");
    let limiter = RateLimiter::start(&redis, &limits);
    let free: &[(&str, &str)] = &[("plan", "free"), ("x-user", "ali")];
    let gold: &[(&str, &str)] = &[("plan", "gold"), ("x-user", "ali")];
    for (hits, descriptors, code) in [
        (4, [free, gold], Code::Ok),
        (3, [free, gold], Code::OverLimit),
        (2, [free, gold], Code::Ok),
        (0, [free, gold], Code::OverLimit),
        (5, [gold, gold], Code::OverLimit),
        (4, [gold, gold], Code::Ok),
        (0, [gold, gold], Code::OverLimit),
    ] {
        assert_eq!(ask(&limiter, hits, &descriptors).await.unwrap(), code, "{hits} of {descriptors:?}");
    }
    // A condition names a descriptor that is not there: this request has no answer, the next one has.
    let error = ask(&limiter, 1, &[gold]).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Internal, "{error}");
    assert_eq!(ask(&limiter, 1, &[free, gold]).await.unwrap(), Code::OverLimit);
}

/// Asks a service as Envoy does: the hits, and the entries of each descriptor.
async fn ask(
    limiter: &RateLimiter,
    hits: u32,
    descriptors: &[&[(&str, &str)]],
) -> Result<Code, tonic::Status> {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    let descriptor = |entries: &&[(&str, &str)]| RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        ..RateLimitDescriptor::default()
    };
    let mut client = RateLimitServiceClient::connect(format!("http://{}", limiter.address())).await.unwrap();
    let request = RateLimitRequest {
        domain: "shop".to_owned(),
        descriptors: descriptors.iter().map(descriptor).collect(),
        hits_addend: hits,
    };
    let answer = client.should_rate_limit(request).await?.into_inner();
    Ok(answer.overall_code())
}
