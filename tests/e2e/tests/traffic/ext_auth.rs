//! External authorization by a TrafficPolicy: `extAuth`, and GatewayExtensions of type ExtAuth.

use postern_e2e::{
    AuthorizationServer, Backend, Decision, ExtensionServer, Want, World, covers, gateway_extension,
    http_route, service, traffic_policy,
};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_extension-server");

const ROUTES: &str = "
rules:
- name: gold
  matches: [{path: {value: /}, headers: [{name: x-tier, value: gold}]}]
  backendRefs: [{name: gold, port: 8080}]
- name: redirect
  matches: [{path: {value: /old}}]
  filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example.org}}]
- name: main
  matches: [{path: {value: /}}]
  backendRefs: [{name: v1, port: 8080}]
";

const ON_MAIN: &str = "targetRefs: [{kind: HTTPRoute, name: r, sectionName: main}]\n";
const USE: &str = "extAuth: {extensionRef: {name: auth}}\n";

/// A world with the Service `ext` of all services, and the extension `auth` with `more` of its settings.
async fn world(more: &str) -> (World, ExtensionServer) {
    let mut world = World::with_backends(&["v1"]).await;
    world.add_backend(Backend::start("gold").await).await;
    let server = ExtensionServer::start(PROGRAM, "services");
    world
        .apply(&[service("default", "ext", "", &[server.address()]), http_route("r", ROUTES)].concat())
        .await;
    extend(&mut world, more).await;
    (world, server)
}

async fn extend(world: &mut World, more: &str) {
    let service = "backendRef: {name: ext, port: 8080}";
    let spec = match more.strip_prefix("grpc ") {
        Some(of_service) => format!("extAuth: {{grpcService: {{{service}, {of_service}}}}}"),
        None => format!("extAuth: {{grpcService: {{{service}}}, {more}}}"),
    };
    world.apply(&gateway_extension("auth", &format!("type: ExtAuth, {spec}"))).await;
}

#[tokio::test]
async fn the_service_of_an_extension_decides() {
    covers!(
        "TrafficPolicy.spec.extAuth.extensionRef.name",
        "GatewayExtension.spec.extAuth.grpcService.backendRef.name",
        "GatewayExtension.spec.extAuth.grpcService.backendRef.port",
    );
    let (mut world, _server) = world("").await;
    world.apply(&traffic_policy("p", &[ON_MAIN, USE].concat())).await;
    world.assert_status(
        "GatewayExtension/auth",
        &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"],
    );
    world.assert_status("TrafficPolicy/p", &["Accepted=True Accepted"]);
    let call = world.call("example.org", "/x?q=1");
    let denied = world.expect(call.clone(), Want::Status(401)).await;
    assert_eq!((denied.text().as_str(), denied.header("x-why").as_deref()), ("not you", Some("no")));

    let answer = call.clone().header("x-do", "allow").send().await.unwrap();
    let seen = answer.seen().unwrap();
    assert_eq!(seen.header("x-auth-asked-as").as_deref(), Some("ext.default.svc:8080"));
    assert_eq!(seen.header("x-auth-path").as_deref(), Some("/x?q=1"));
    assert_eq!(seen.header("x-auth-body").as_deref(), Some("text:"), "bodies are not sent unless asked for");

    let sign_in = call.clone().header("x-do", "sign-in").send().await.unwrap();
    assert_eq!(sign_in.status, 302);
    assert_eq!(sign_in.header("location").as_deref(), Some("https://login.example.com/?back=1"));
    assert_eq!(sign_in.header("set-cookie").as_deref(), Some("state=abc; HttpOnly"));

    // The host is the client's, and the route stays as it was chosen.
    let elsewhere = call.clone().header("x-do", "elsewhere").send().await.unwrap().seen().unwrap();
    assert_eq!((elsewhere.backend.as_str(), elsewhere.host.as_str()), ("v1", "example.org"));
    assert_eq!(elsewhere.header("x-tier").as_deref(), Some("gold"));

    // The other rules ask nobody.
    let gold = call.header("x-tier", "gold");
    world.expect(gold, Want::Backend("gold")).await;
    world.delete("TrafficPolicy", "p").await;
    let open = world.call("example.org", "/x");
    world.expect(open, Want::Backend("v1")).await;
}

#[tokio::test]
async fn what_the_policy_says_of_bodies_and_context() {
    covers!(
        "TrafficPolicy.spec.extAuth.withRequestBody.maxRequestBytes",
        "TrafficPolicy.spec.extAuth.withRequestBody.allowPartialMessage",
        "TrafficPolicy.spec.extAuth.withRequestBody.packAsBytes",
        "GatewayExtension.spec.extAuth.withRequestBody.maxRequestBytes",
        "GatewayExtension.spec.extAuth.withRequestBody.allowPartialMessage",
        "GatewayExtension.spec.extAuth.withRequestBody.packAsBytes",
        "TrafficPolicy.spec.extAuth.contextExtensions.*",
    );
    let (mut world, _server) = world("withRequestBody: {maxRequestBytes: 5}").await;
    world.apply(&traffic_policy("p", &[ON_MAIN, USE].concat())).await;
    let call = world.call("example.org", "/").method("POST").header("x-do", "allow");
    let body = |answer: postern_e2e::Answer| answer.seen().and_then(|it| it.header("x-auth-body"));
    let answer = world.expect(call.clone().body("hello"), Want::Backend("v1")).await;
    assert_eq!(body(answer).as_deref(), Some("text:hello"));
    world.expect(call.clone().body("hello, world"), Want::Status(413)).await;

    extend(&mut world, "withRequestBody: {maxRequestBytes: 5, allowPartialMessage: true, packAsBytes: true}")
        .await;
    let answer = world.expect(call.clone().body("hello, world"), Want::Backend("v1")).await;
    assert_eq!(body(answer).as_deref(), Some("bytes:hello"));

    let own = "extAuth:
  extensionRef: {name: auth}
  withRequestBody: {maxRequestBytes: 6, allowPartialMessage: true, packAsBytes: false}
  contextExtensions: {shop: main, tier: '1'}
";
    world.apply(&traffic_policy("p", &[ON_MAIN, own].concat())).await;
    let answer = world
        .expect_that(call.clone().body("hello, world"), "the body as the policy wants it", |it| {
            it.seen().and_then(|it| it.header("x-auth-body")).as_deref() == Some("text:hello,")
        })
        .await;
    let context = answer.seen().unwrap().header("x-auth-context");
    assert_eq!(context.as_deref(), Some(r#"{"shop": "main", "tier": "1"}"#));
    extend(&mut world, "withRequestBody: {maxRequestBytes: 5}").await;
    let bytes = own.replace("packAsBytes: false", "packAsBytes: true");
    world.apply(&traffic_policy("p", &[ON_MAIN, &bytes].concat())).await;
    world
        .expect_that(call.clone().body("hello, world"), "bytes", |it| {
            it.seen().and_then(|it| it.header("x-auth-body")).as_deref() == Some("bytes:hello,")
        })
        .await;
    let exact = own.replace("allowPartialMessage: true", "allowPartialMessage: false");
    world.apply(&traffic_policy("p", &[ON_MAIN, &exact].concat())).await;
    world.expect(call.body("hello, world"), Want::Status(413)).await;
}

#[tokio::test]
async fn settings_of_the_extension() {
    covers!(
        "GatewayExtension.spec.extAuth.grpcService.authority",
        "GatewayExtension.spec.extAuth.grpcService.requestTimeout",
        "GatewayExtension.spec.extAuth.statusOnError",
        "GatewayExtension.spec.extAuth.failOpen",
        "GatewayExtension.spec.extAuth.clearRouteCache",
        "GatewayExtension.spec.extAuth.statPrefix",
    );
    let (mut world, _server) = world("grpc authority: auth.example.com").await;
    world.apply(&traffic_policy("p", &[ON_MAIN, USE].concat())).await;
    let allow = world.call("example.org", "/").header("x-do", "allow");
    let seen = world.expect(allow.clone(), Want::Backend("v1")).await.seen().unwrap();
    assert_eq!(seen.header("x-auth-asked-as").as_deref(), Some("auth.example.com"));

    // Three seconds are nothing by default.
    let slow = world.call("example.org", "/").header("x-do", "slow");
    world.expect(slow.clone(), Want::Backend("v1")).await;
    extend(&mut world, "grpc requestTimeout: 100ms").await;
    world.expect(slow, Want::Status(403)).await;

    let fail = world.call("example.org", "/").header("x-do", "fail");
    world.expect(fail.clone(), Want::Status(403)).await;
    extend(&mut world, "statusOnError: 503").await;
    world.expect(fail.clone(), Want::Status(503)).await;
    extend(&mut world, "failOpen: true").await;
    world.expect(fail, Want::Backend("v1")).await;
    let denied = world.call("example.org", "/");
    world.expect(denied, Want::Status(401)).await;

    extend(&mut world, "clearRouteCache: true").await;
    let elsewhere = world.call("example.org", "/").header("x-do", "elsewhere");
    let moved = world.expect(elsewhere, Want::Backend("gold")).await.seen().unwrap();
    assert_eq!(moved.host, "example.org");

    extend(&mut world, "statPrefix: of_mine").await;
    world.expect(allow, Want::Backend("v1")).await;
    let stats = world.envoy("gw").stats("of_mine").await;
    assert!(
        stats.iter().any(|(name, count)| name.ends_with("ext_authz.of_mine.ok") && *count > 0),
        "{stats:?}"
    );
}

#[tokio::test]
async fn levels_and_redirects() {
    covers!("TrafficPolicy.spec.extAuth.disable");
    let (mut world, _server) = world("").await;
    let everywhere = "targetRefs: [{kind: Gateway, name: gw}]
extAuth: {extensionRef: {name: auth}, contextExtensions: {a: b}}
";
    world.apply(&traffic_policy("everywhere", everywhere)).await;
    let (main, old) = (world.call("example.org", "/"), world.call("example.org", "/old"));
    world.expect(main.clone(), Want::Status(401)).await;
    world.expect(old.clone(), Want::Status(401)).await;
    world.expect(old.clone().header("x-do", "allow"), Want::Status(302)).await;
    for disable in ["{}", "true"] {
        let off = format!("{ON_MAIN}extAuth: {{disable: {disable}}}\n");
        world.apply(&traffic_policy("off", &off)).await;
        world.expect(main.clone(), Want::Backend("v1")).await;
        world.expect(old.clone(), Want::Status(401)).await;
        world.delete("TrafficPolicy", "off").await;
        world.expect(main.clone(), Want::Status(401)).await;
    }
}

/// The filter of a rule and the policy are two questions, and both have to be answered with yes.
#[tokio::test]
async fn a_filter_of_the_rule_asks_as_well() {
    let (mut world, _server) = world("").await;
    let other = AuthorizationServer::start(|asked| match asked.headers.get("x-password") {
        Some(_) => Decision::Allow(vec![]),
        None => Decision::Deny(418, "a password"),
    })
    .await;
    let filter =
        "{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: other, port: 8080}}}";
    let rules =
        format!("rules: [{{name: main, filters: [{filter}], backendRefs: [{{name: v1, port: 8080}}]}}]\n");
    world
        .apply(
            &[
                service("default", "other", "", &[other.address()]),
                http_route("r", &rules),
                traffic_policy("p", &[ON_MAIN, USE].concat()),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    world.expect(call.clone().header("x-do", "allow"), Want::Status(418)).await;
    world.expect(call.clone().header("x-password", "1"), Want::Status(401)).await;
    world.expect(call.header("x-do", "allow").header("x-password", "1"), Want::Backend("v1")).await;
}

#[tokio::test]
async fn an_extension_that_cannot_be_asked_closes_its_routes() {
    covers!("GatewayExtension.spec.type");
    let (mut world, _server) = world("").await;
    world.apply(&traffic_policy("p", &[ON_MAIN, USE].concat())).await;
    let allow = world.call("example.org", "/").header("x-do", "allow");
    let gold = world.call("example.org", "/").header("x-tier", "gold");
    world.expect(allow.clone(), Want::Backend("v1")).await;

    world.delete("Service", "ext").await;
    world.expect(allow.clone(), Want::Status(500)).await;
    world.assert_status(
        "GatewayExtension/auth",
        &["Accepted=True Accepted", "ResolvedRefs=False BackendNotFound"],
    );
    world.assert_status("TrafficPolicy/p", &["Accepted=False Invalid"]);
    // Whoever says that requests pass without the service has said it for this, too.
    extend(&mut world, "failOpen: true").await;
    world.expect(allow.clone(), Want::Backend("v1")).await;

    world.delete("GatewayExtension", "auth").await;
    world.expect(allow.clone(), Want::Status(500)).await;
    world.assert_status("TrafficPolicy/p", &["Accepted=False Invalid"]);
    assert!(
        world.problems().contains("GatewayExtension default/auth does not exist"),
        "{}",
        world.problems()
    );
    world.apply(&gateway_extension("auth", "type: ExtAuth, extAuth: {}")).await;
    world.expect(allow.clone(), Want::Status(500)).await;
    world.assert_status("GatewayExtension/auth", &["Accepted=False Invalid"]);
    world.expect(gold, Want::Backend("gold")).await;
    // As good as gone, but for the type.
    let service = "extAuth: {grpcService: {backendRef: {name: v1, port: 8080}}, failOpen: true}";
    world.apply(&gateway_extension("auth", &format!("type: ExtAuth, {service}"))).await;
    world.expect(allow.clone(), Want::Backend("v1")).await;
    world.apply(&gateway_extension("auth", &format!("type: ExtProc, {service}"))).await;
    world.expect(allow, Want::Status(500)).await;
}

#[tokio::test]
async fn extensions_and_services_of_other_namespaces_need_grants() {
    covers!(
        "TrafficPolicy.spec.extAuth.extensionRef.namespace",
        "GatewayExtension.spec.extAuth.grpcService.backendRef.namespace",
    );
    let (mut world, server) = world("").await;
    let elsewhere = "apiVersion: gateway.kgateway.dev/v1alpha1
kind: GatewayExtension
metadata: {name: auth, namespace: other}
spec: {extAuth: {grpcService: {backendRef: {group: '', kind: Service, name: ext, namespace: third, port: 8080, weight: 1}}}}
---
";
    let grant = |namespace: &str, from: &str, from_namespace: &str, to: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{name: g, namespace: {namespace}}}
spec:
  from: [{{group: gateway.kgateway.dev, kind: {from}, namespace: {from_namespace}}}]
  to: [{to}]
---
"
        )
    };
    let policy = "extAuth: {extensionRef: {name: auth, namespace: other}}\n";
    world
        .apply(
            &[
                elsewhere.to_owned(),
                service("third", "ext", "", &[server.address()]),
                traffic_policy("p", &[ON_MAIN, policy].concat()),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/").header("x-do", "allow");
    world.expect(call.clone(), Want::Status(500)).await;
    let to_extension = "{group: gateway.kgateway.dev, kind: GatewayExtension}";
    world.apply(&grant("other", "TrafficPolicy", "default", to_extension)).await;
    world.expect(call.clone(), Want::Status(500)).await;
    world.assert_status_in("GatewayExtension", "other", "auth", &["ResolvedRefs=False RefNotPermitted"]);
    world.apply(&grant("third", "GatewayExtension", "other", "{group: '', kind: Service}")).await;
    let seen = world.expect(call, Want::Backend("v1")).await.seen().unwrap();
    assert_eq!(seen.header("x-auth-asked-as").as_deref(), Some("ext.third.svc:8080"));
    world.assert_status("TrafficPolicy/p", &["Accepted=True Accepted"]);
}
