//! External processing by a TrafficPolicy: `extProc`, and GatewayExtensions of type ExtProc.

use envoy_types::pb::envoy::extensions::filters::http::set_metadata::v3::{
    Config as SetMetadataConfig, Metadata as SetMetadata,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::util::pack_any;
use postern_e2e::{
    Answer, Backend, ExtensionServer, Want, World, covers, gateway, gateway_extension, http_route, service,
    traffic_policy,
};

use crate::ext_auth::PROGRAM;

const ROUTES: &str = "
rules:
- name: gold
  matches: [{path: {value: /}, headers: [{name: x-tier, value: gold}]}]
  backendRefs: [{name: gold, port: 8080}]
- name: main
  matches: [{path: {value: /}}]
  backendRefs: [{name: v1, port: 8080}]
";

const ON_MAIN: &str = "targetRefs: [{kind: HTTPRoute, name: r, sectionName: main}]\n";
const USE: &str = "extProc: {extensionRef: {name: proc}}\n";

/// A world with the extension `proc`, which is used by the rule `main` and has `more` of its settings.
async fn world(more: &str) -> (World, ExtensionServer) {
    fill(World::empty().await, more).await
}

async fn fill(mut world: World, more: &str) -> (World, ExtensionServer) {
    world.apply(&gateway("  - {name: http, port: ${PORT}, protocol: HTTP}")).await;
    world.add_backend(Backend::start("v1").await).await;
    world.add_backend(Backend::start("gold").await).await;
    let server = ExtensionServer::start(PROGRAM, "services");
    world
        .apply(&[service("default", "ext", "", &[server.address()]), http_route("r", ROUTES)].concat())
        .await;
    extend(&mut world, more).await;
    world.apply(&traffic_policy("p", &[ON_MAIN, USE].concat())).await;
    world.assert_status(
        "GatewayExtension/proc",
        &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"],
    );
    world.assert_status("TrafficPolicy/p", &["Accepted=True Accepted"]);
    (world, server)
}

async fn extend(world: &mut World, more: &str) {
    let service = "backendRef: {name: ext, port: 8080}";
    let spec = match more.strip_prefix("grpc ") {
        Some(of_service) => format!("extProc: {{grpcService: {{{service}, {of_service}}}, failOpen: false}}"),
        None => format!("extProc: {{grpcService: {{{service}}}, {more}}}"),
    };
    world.apply(&gateway_extension("proc", &format!("type: ExtProc, {spec}"))).await;
}

fn saw(answer: &Answer) -> Option<String> {
    answer.seen().and_then(|it| it.header("x-proc-saw"))
}

#[tokio::test]
async fn the_service_of_an_extension_sees_headers() {
    covers!(
        "TrafficPolicy.spec.extProc.extensionRef.name",
        "TrafficPolicy.spec.extProc.disable",
        "GatewayExtension.spec.extProc.grpcService.backendRef.name",
        "GatewayExtension.spec.extProc.grpcService.backendRef.port",
        "GatewayExtension.spec.extProc.grpcService.authority",
    );
    let (mut world, _server) = world("failOpen: false").await;
    let call = world.call("example.org", "/");
    let answer = world.expect(call.clone(), Want::Backend("v1")).await;
    assert_eq!(saw(&answer).as_deref(), Some("ext.default.svc:8080"));
    assert_eq!(answer.seen().unwrap().host, "example.org", "the host is the client's");
    assert_eq!(answer.header("x-proc-answer").as_deref(), Some("request headers, response headers; 200"));
    let stopped = call.clone().header("x-do", "stop").send().await.unwrap();
    assert_eq!((stopped.status, stopped.text().as_str()), (418, "by the processor"));
    let gold = world.expect(call.clone().header("x-tier", "gold"), Want::Backend("gold")).await;
    assert_eq!((saw(&gold), gold.header("x-proc-answer")), (None, None), "the other rules have no processor");

    extend(&mut world, "grpc authority: proc.example.com").await;
    world
        .expect_that(call.clone(), "the authority", |it| saw(it).as_deref() == Some("proc.example.com"))
        .await;

    let everywhere =
        traffic_policy("everywhere", &format!("targetRefs: [{{kind: Gateway, name: gw}}]\n{USE}"));
    let off = traffic_policy("p", &format!("{ON_MAIN}extProc: {{disable: {{}}}}\n"));
    world.apply(&[everywhere, off].concat()).await;
    world.expect_that(call.clone(), "no processor", |it| it.status == 200 && saw(it).is_none()).await;
    let gold = call.header("x-tier", "gold");
    world.expect_that(gold, "a processor", |it| it.status == 200 && saw(it).is_some()).await;
}

#[tokio::test]
async fn processing_modes() {
    covers!(
        "TrafficPolicy.spec.extProc.processingMode.requestHeaderMode",
        "TrafficPolicy.spec.extProc.processingMode.responseHeaderMode",
        "TrafficPolicy.spec.extProc.processingMode.requestBodyMode",
        "TrafficPolicy.spec.extProc.processingMode.responseBodyMode",
        "TrafficPolicy.spec.extProc.processingMode.requestTrailerMode",
        "TrafficPolicy.spec.extProc.processingMode.responseTrailerMode",
        "GatewayExtension.spec.extProc.processingMode.requestHeaderMode",
        "GatewayExtension.spec.extProc.processingMode.responseHeaderMode",
        "GatewayExtension.spec.extProc.processingMode.requestBodyMode",
        "GatewayExtension.spec.extProc.processingMode.requestTrailerMode",
        "GatewayExtension.spec.extProc.processingMode.responseBodyMode",
        "GatewayExtension.spec.extProc.processingMode.responseTrailerMode",
    );
    let (mut world, _server) = world("failOpen: false").await;
    let call = world.call("example.org", "/").method("POST").body("hello");
    // The mode; what the backend saw of the header and the body; what was seen until the response; whether the response is in
    // capitals.
    let cases = [
        ("{}", true, "hello", Some("request headers, response headers; 200"), false),
        ("{requestHeaderMode: SKIP}", false, "hello", Some("response headers; 200"), false),
        ("{requestHeaderMode: SEND, responseHeaderMode: SKIP}", true, "hello", None, false),
        (
            "{requestBodyMode: BUFFERED}",
            true,
            "HELLO",
            Some("request headers, request body 5, response headers; 200"),
            false,
        ),
        (
            "{requestBodyMode: BUFFERED_PARTIAL, responseHeaderMode: DEFAULT}",
            true,
            "HELLO",
            Some("request headers, request body 5, response headers; 200"),
            false,
        ),
        ("{responseBodyMode: BUFFERED}", true, "hello", Some("request headers, response headers; 200"), true),
        ("{responseBodyMode: STREAMED}", true, "hello", Some("request headers, response headers; 200"), true),
        (
            "{requestBodyMode: FULL_DUPLEX_STREAMED, requestTrailerMode: SEND, requestHeaderMode: SKIP, responseHeaderMode: SKIP}",
            false,
            "HELLO",
            None,
            false,
        ),
        (
            "{responseBodyMode: FULL_DUPLEX_STREAMED, responseTrailerMode: SEND}",
            true,
            "hello",
            Some("request headers, response headers; 200"),
            true,
        ),
    ];
    for place in ["extension", "policy"] {
        for (mode, header, body, answer, capitals) in cases {
            if place == "extension" {
                extend(&mut world, &format!("failOpen: false, processingMode: {mode}")).await;
            } else {
                let policy =
                    format!("{ON_MAIN}extProc: {{extensionRef: {{name: proc}}, processingMode: {mode}}}\n");
                world.apply(&traffic_policy("p", &policy)).await;
            }
            world
                .expect_that(call.clone(), &format!("{mode} of the {place}"), |it| {
                    let Some(seen) = world.backend("v1").seen().pop() else { return false };
                    it.status == 200
                        && seen.header("x-proc-saw").is_some() == header
                        && seen.body == body
                        && it.header("x-proc-answer").as_deref() == answer
                        && it.text().contains("EXAMPLE.ORG") == capitals
                })
                .await;
        }
        extend(&mut world, "failOpen: false, processingMode: {responseBodyMode: BUFFERED}").await;
    }
    // In pieces; how many, the network says.
    for mode in
        ["{requestBodyMode: STREAMED}", "{requestBodyMode: FULL_DUPLEX_STREAMED, requestTrailerMode: SEND}"]
    {
        let policy = format!("{ON_MAIN}extProc: {{extensionRef: {{name: proc}}, processingMode: {mode}}}\n");
        world.apply(&traffic_policy("p", &policy)).await;
        world
            .expect_that(call.clone(), mode, |it| {
                it.status == 200 && world.backend("v1").seen().pop().is_some_and(|seen| seen.body == "HELLO")
            })
            .await;
    }
    // What Envoy would refuse is not sent, and says why.
    let wrong =
        "extProc: {extensionRef: {name: proc}, processingMode: {requestBodyMode: FULL_DUPLEX_STREAMED}}\n";
    world.apply(&traffic_policy("p", &[ON_MAIN, wrong].concat())).await;
    world.assert_status("TrafficPolicy/p", &["Accepted=False Invalid"]);
    world.expect(call, Want::Status(500)).await;
}

#[tokio::test]
async fn time_and_failures() {
    covers!(
        "GatewayExtension.spec.extProc.failOpen",
        "GatewayExtension.spec.extProc.messageTimeout",
        "GatewayExtension.spec.extProc.maxMessageTimeout",
        "GatewayExtension.spec.extProc.grpcService.requestTimeout",
        "GatewayExtension.spec.extProc.statPrefix",
    );
    let (mut world, _server) = world("failOpen: false").await;
    let slow = world.call("example.org", "/").header("x-do", "slow");
    let patience = world.call("example.org", "/").header("x-do", "patience");
    world.expect(slow.clone(), Want::Status(504)).await;
    world.expect(patience.clone(), Want::Status(504)).await;
    extend(&mut world, "failOpen: false, messageTimeout: 3s").await;
    world.expect(slow.clone(), Want::Backend("v1")).await;
    extend(&mut world, "failOpen: false, maxMessageTimeout: 5s").await;
    world.expect(patience, Want::Backend("v1")).await;
    world.expect(slow.clone(), Want::Status(504)).await;
    extend(&mut world, "grpc requestTimeout: 3s").await;
    world.expect(slow.clone(), Want::Backend("v1")).await;

    let spurious = world.call("example.org", "/").header("x-do", "spurious");
    world.expect(spurious.clone(), Want::Status(500)).await;
    // Requests pass without the service unless somebody says otherwise.
    extend(&mut world, "statPrefix: of_mine").await;
    for call in [slow, spurious] {
        let answer = world.expect(call, Want::Backend("v1")).await;
        assert_eq!(saw(&answer), None);
    }
    let stats = world.envoy("gw").stats("of_mine").await;
    assert!(
        stats.iter().any(|(name, count)| name.ends_with("ext_proc.of_mine.streams_started") && *count > 0),
        "{stats:?}"
    );
}

#[tokio::test]
async fn routes_that_are_chosen_anew() {
    covers!("GatewayExtension.spec.extProc.routeCacheAction");
    let (mut world, _server) = world("failOpen: false").await;
    let moving = world.call("example.org", "/").header("x-do", "move");
    let quiet = world.call("example.org", "/").header("x-do", "move-quietly");
    for (action, loud_to, quiet_to) in [
        ("FromResponse", "gold", "v1"),
        ("Retain", "v1", "v1"),
        ("Clear", "gold", "gold"),
        ("FromResponse", "gold", "v1"),
    ] {
        extend(&mut world, &format!("failOpen: false, routeCacheAction: {action}")).await;
        world.expect(moving.clone(), Want::Backend(loud_to)).await;
        world.expect(quiet.clone(), Want::Backend(quiet_to)).await;
    }
}

/// What an authorization service says about a request can be known to the processor.
#[tokio::test]
async fn metadata_of_other_filters() {
    covers!("GatewayExtension.spec.extProc.metadataOptions.forwarding.untyped[]");
    let (mut world, _server) = world("failOpen: false").await;
    let auth = "extAuth: {grpcService: {backendRef: {name: ext, port: 8080}}}";
    world
        .apply(
            &[
                gateway_extension("auth", auth),
                traffic_policy("p", &format!("{ON_MAIN}{USE}extAuth: {{extensionRef: {{name: auth}}}}\n")),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/").header("x-do", "allow");
    let metadata = |it: &Answer| it.seen().and_then(|it| it.header("x-proc-metadata")).unwrap_or_default();
    let answer = world
        .expect_that(call.clone(), "both", |it| {
            it.seen()
                .is_some_and(|it| it.header("x-auth-path").is_some() && it.header("x-proc-saw").is_some())
        })
        .await;
    assert_eq!(metadata(&answer), "");
    let names = "untyped: [postern.ext_auth, envoy.filters.http.ext_authz], typed: [nobody.writes.this]";
    extend(&mut world, &format!("failOpen: false, metadataOptions: {{forwarding: {{{names}}}}}")).await;
    world.expect_that(call, "the metadata", |it| metadata(it) == "envoy.filters.http.ext_authz").await;
}

/// Nothing that Postern configures writes typed metadata yet, so a filter of the test does.
#[tokio::test]
async fn typed_metadata_of_other_filters() {
    covers!("GatewayExtension.spec.extProc.metadataOptions.forwarding.typed[]");
    let mut world = World::empty().await;
    let metadata = |name: &str| SetMetadata {
        metadata_namespace: name.to_owned(),
        allow_overwrite: false,
        value: None,
        typed_value: Some(pack_any(SetMetadataConfig::default())),
    };
    let config = SetMetadataConfig {
        metadata: vec![metadata("known"), metadata("unknown")],
        ..SetMetadataConfig::default()
    };
    world.set_listener_filter(HttpFilter {
        name: "envoy.filters.http.set_metadata".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack_any(config))),
        ..HttpFilter::default()
    });
    let (mut world, _server) = fill(world, "failOpen: false").await;
    let call = world.call("example.org", "/");
    let metadata = |it: &Answer| it.seen().and_then(|it| it.header("x-proc-metadata"));
    for (forwarding, seen) in [("untyped: [known]", ""), ("typed: [known, never]", "known")] {
        extend(&mut world, &format!("failOpen: false, metadataOptions: {{forwarding: {{{forwarding}}}}}"))
            .await;
        world.expect_that(call.clone(), forwarding, |it| metadata(it).as_deref() == Some(seen)).await;
    }
}
