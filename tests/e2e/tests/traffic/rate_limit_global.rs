//! Rate limits that a service counts: `rateLimit.global` and `rateLimit.extensionRef`.

use postern_e2e::{
    Answer, ExtensionServer, Want, World, covers, gateway_extension, http_route, route, service,
    traffic_policy,
};

use crate::ext_auth::PROGRAM;

const ROUTES: &str = "
rules:
- name: main
  matches: [{path: {value: /}}]
  backendRefs: [{name: v1, port: 8080}]
- name: free
  matches: [{path: {value: /free}}]
  backendRefs: [{name: v1, port: 8080}]
";

const ON_MAIN: &str = "targetRefs: [{kind: HTTPRoute, name: r, sectionName: main}]\n";

/// A world with the extension `limiter`, which has `more` of its settings.
async fn world(more: &str) -> (World, ExtensionServer) {
    let mut world = World::with_backends(&["v1"]).await;
    let server = ExtensionServer::start(PROGRAM, "services");
    world
        .apply(&[service("default", "ext", "", &[server.address()]), http_route("r", ROUTES)].concat())
        .await;
    extend(&mut world, more).await;
    world.assert_status(
        "GatewayExtension/limiter",
        &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"],
    );
    (world, server)
}

async fn extend(world: &mut World, more: &str) {
    let service = "backendRef: {name: ext, port: 8080}";
    let spec = match more.strip_prefix("grpc ") {
        Some(of_service) => format!("rateLimit: {{grpcService: {{{service}, {of_service}}}, domain: shop}}"),
        None => format!("rateLimit: {{grpcService: {{{service}}}, {more}}}"),
    };
    world.apply(&gateway_extension("limiter", &format!("type: RateLimit, {spec}"))).await;
}

fn global(entries: &str) -> String {
    let global = format!("{{extensionRef: {{name: limiter}}, descriptors: [{entries}]}}");
    traffic_policy("p", &format!("{ON_MAIN}rateLimit: {{global: {global}}}\n"))
}

fn counted(answer: &Answer) -> Option<String> {
    answer.header("x-counted")
}

const LIMITED: &str = "{entries: [{type: Generic, generic: {key: limit, value: '2'}}, {type: Header, header: X-User}, \
                       {type: RemoteAddress}, {type: Path}]}";

#[tokio::test]
async fn descriptors_are_counted() {
    covers!(
        "TrafficPolicy.spec.rateLimit.global.extensionRef.name",
        "TrafficPolicy.spec.rateLimit.global.descriptors[].entries[].type",
        "TrafficPolicy.spec.rateLimit.global.descriptors[].entries[].generic.key",
        "TrafficPolicy.spec.rateLimit.global.descriptors[].entries[].generic.value",
        "TrafficPolicy.spec.rateLimit.global.descriptors[].entries[].header",
        "GatewayExtension.spec.rateLimit.domain",
        "GatewayExtension.spec.rateLimit.grpcService.backendRef.name",
        "GatewayExtension.spec.rateLimit.grpcService.backendRef.port",
    );
    let (mut world, _server) = world("domain: shop").await;
    world
        .apply(&global(&format!(
            "{LIMITED}, {{entries: [{{type: Generic, generic: {{key: plan, value: free}}}}]}}"
        )))
        .await;
    let call = world.call("example.org", "/a?page=1");
    let first = world
        .expect_that(call.clone(), "only what the request has", |it| {
            counted(it).as_deref() == Some("ext.default.svc:8080 shop plan=free")
        })
        .await;
    assert_eq!((first.status, first.header("x-ratelimit-limit")), (200, None));
    let ali = call.header("x-user", "ali");
    for page in 1..=2 {
        let answer = ali.clone().send().await.unwrap();
        assert_eq!(answer.status, 200, "page {page}");
        assert_eq!(
            counted(&answer).as_deref(),
            Some("ext.default.svc:8080 shop limit=2,x-user=ali,remote_address=127.0.0.1,path=/a;plan=free"),
            "the path has no query"
        );
    }
    assert_eq!(ali.send().await.unwrap().status, 429);
    let bea = world.call("example.org", "/a").header("x-user", "bea");
    assert_eq!(bea.send().await.unwrap().status, 200);
    let other = world.call("example.org", "/b").header("x-user", "ali");
    assert_eq!(other.send().await.unwrap().status, 200);
    let free = world.call("example.org", "/free").send().await.unwrap();
    assert_eq!((free.status, counted(&free)), (200, None));
}

#[tokio::test]
async fn the_contract_counts_routes_and_clients() {
    covers!("TrafficPolicy.spec.rateLimit.extensionRef.name", "TrafficPolicy.spec.rateLimit.disable",);
    let (mut world, _server) = world("failOpen: false").await;
    let policy = |name: &str, on: &str, what: &str| traffic_policy(name, &format!("{on}rateLimit: {what}\n"));
    let everywhere = "targetRefs: [{kind: Gateway, name: gw}]\n";
    world.apply(&policy("all", everywhere, "{extensionRef: {name: limiter}}")).await;
    let call = world.call("example.org", "/");
    let expected = "ext.default.svc:8080 default/limiter route=httproute/default/r,remote_address=127.0.0.1";
    world.expect_that(call.clone(), expected, |it| counted(it).as_deref() == Some(expected)).await;
    for disable in ["true", "{}"] {
        world.apply(&policy("off", ON_MAIN, &format!("{{disable: {disable}}}"))).await;
        world.expect_that(call.clone(), "no limit", |it| it.status == 200 && counted(it).is_none()).await;
        let free = world.call("example.org", "/free");
        world.expect_that(free, "a limit", |it| counted(it).is_some()).await;
        world.delete("TrafficPolicy", "off").await;
        world.expect_that(call.clone(), "a limit", |it| counted(it).is_some()).await;
    }
    world.delete("GatewayExtension", "limiter").await;
    world.expect(call, Want::Status(500)).await;
    world.assert_status("TrafficPolicy/all", &["Accepted=False Invalid"]);
}

/// The service counts for all: what one Gateway's proxy has let through is missing at the other.
#[tokio::test]
async fn proxies_share_what_is_left() {
    let (mut world, _server) = world("domain: shop").await;
    let second = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: second, namespace: default}
spec: {gatewayClassName: postern, listeners: [{name: http, port: ${PORT_SECOND}, protocol: HTTP}]}
---
";
    let both = ROUTES.replacen("\nrules:", "\nparentRefs: [{name: gw}, {name: second}]\nrules:", 1);
    world.apply(&[second.to_owned(), route("HTTPRoute", "r", &both), global(LIMITED)].concat()).await;
    let first = world.call("example.org", "/shared").header("x-user", "ali");
    let other = world.call_on("PORT_SECOND", "example.org", "/shared").header("x-user", "ali");
    let free = world.call_on("PORT_SECOND", "example.org", "/free");
    world.expect(free, Want::Backend("v1")).await;
    assert_eq!(first.send().await.unwrap().status, 200);
    assert_eq!(other.send().await.unwrap().status, 200);
    assert_eq!(first.send().await.unwrap().status, 429);
    assert_eq!(other.send().await.unwrap().status, 429);
}

#[tokio::test]
async fn settings_of_the_extension() {
    covers!(
        "GatewayExtension.spec.rateLimit.xRateLimitHeaders",
        "GatewayExtension.spec.rateLimit.grpcService.authority",
        "GatewayExtension.spec.rateLimit.grpcService.requestTimeout",
        "GatewayExtension.spec.rateLimit.timeout",
        "GatewayExtension.spec.rateLimit.failOpen",
    );
    let (mut world, _server) = world("domain: shop, xRateLimitHeaders: DraftVersion03").await;
    world.apply(&global(LIMITED)).await;
    let call = world.call("example.org", "/headers").header("x-user", "ali");
    let answer = world.expect_that(call, "the headers", |it| it.header("x-ratelimit-limit").is_some()).await;
    assert!(answer.header("x-ratelimit-limit").unwrap().starts_with("2, 2;w=3600"), "{:?}", answer.headers);
    assert_eq!(answer.header("x-ratelimit-reset").as_deref(), Some("60"));

    extend(&mut world, "grpc authority: limits.example.com").await;
    let call = world.call("example.org", "/authority").header("x-user", "ali");
    world
        .expect_that(call, "the authority", |it| {
            counted(it).is_some_and(|it| it.starts_with("limits.example.com shop "))
        })
        .await;

    // The service takes 400 ms.
    world.apply(&global("{entries: [{type: Generic, generic: {key: wait, value: long}}]}")).await;
    let call = world.call("example.org", "/");
    for (settings, status, answers) in [
        ("domain: shop", 200, false),
        ("domain: shop, failOpen: false", 500, false),
        ("domain: shop, timeout: 3s, failOpen: false", 200, true),
        ("domain: shop, failOpen: true, timeout: 1ms", 200, false),
        ("grpc requestTimeout: 3s", 200, true),
    ] {
        extend(&mut world, settings).await;
        world
            .expect_that(call.clone(), settings, |it| it.status == status && counted(it).is_some() == answers)
            .await;
    }
}
