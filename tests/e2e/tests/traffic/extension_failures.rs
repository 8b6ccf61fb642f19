//! Services that are dead, silent or speak nonsense; and extensions that come and go under load.

use postern_e2e::{
    Call, ExtensionServer, Load, Port, Stream, Want, World, covers, gateway_extension, http_route, service,
    static_backend, traffic_policy, until,
};

use crate::ext_auth::PROGRAM;

const ROUTES: &str = "
rules:
- matches: [{path: {value: /auth}}]
  name: auth
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /proc}}]
  name: proc
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /limit}}]
  name: limit
  backendRefs: [{name: v1, port: 8080}]
- matches: [{path: {value: /}}]
  backendRefs: [{name: v1, port: 8080}]
";

/// Three extensions at the Service `ext`, each used by a rule of its own.
fn extensions(fail_open: bool) -> String {
    let service = format!("grpcService: {{backendRef: {{name: ext, port: 8080}}}}, failOpen: {fail_open}");
    let on = |rule: &str| format!("targetRefs: [{{kind: HTTPRoute, name: r, sectionName: {rule}}}]\n");
    let entries = "[{entries: [{type: Generic, generic: {key: a, value: b}}]}]";
    let limit = format!("rateLimit: {{global: {{extensionRef: {{name: limit}}, descriptors: {entries}}}}}\n");
    [
        gateway_extension(
            "auth",
            &format!("extAuth: {{{}}}", service.replace("8080}", "8080}, requestTimeout: 300ms")),
        ),
        gateway_extension("proc", &format!("extProc: {{{service}, messageTimeout: 300ms}}")),
        gateway_extension("limit", &format!("rateLimit: {{{service}, domain: d, timeout: 300ms}}")),
        traffic_policy("auth", &format!("{}extAuth: {{extensionRef: {{name: auth}}}}\n", on("auth"))),
        traffic_policy("proc", &format!("{}extProc: {{extensionRef: {{name: proc}}}}\n", on("proc"))),
        traffic_policy("limit", &format!("{}{limit}", on("limit"))),
    ]
    .concat()
}

/// All goes as `failOpen` says while the service is broken, the other routes never notice, and all is well by itself as soon
/// as the service is.
#[tokio::test]
async fn broken_services() {
    let mut world = World::with_backends(&["v1"]).await;
    let port = Port::reserve();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port.number()));
    world.apply(&[service("default", "ext", "", &[address]), http_route("r", ROUTES)].concat()).await;
    let open = world.call("example.org", "/open");
    world.expect(open.clone(), Want::Backend("v1")).await;
    let load = Load::start(vec![Stream::kept("open", open, 50)]);
    let calls =
        ["/auth", "/proc", "/limit"].map(|path| world.call("example.org", path).header("x-do", "allow"));
    for broken in ["", "silent", "http", "nonsense"] {
        let server = (!broken.is_empty()).then(|| ExtensionServer::at(PROGRAM, broken, port.number()));
        world.apply(&extensions(true)).await;
        for call in &calls {
            world.expect(call.clone(), Want::Backend("v1")).await;
        }
        world.apply(&extensions(false)).await;
        for (call, statuses) in calls.iter().zip([vec![403], vec![500, 504], vec![500]]) {
            world
                .expect_that(call.clone(), &format!("{statuses:?} while {broken:?}"), |it| {
                    statuses.contains(&it.status)
                })
                .await;
        }
        drop(server);
        let mended = ExtensionServer::at(PROGRAM, "services", port.number());
        for (call, header) in calls.iter().zip(["x-auth-path", "x-proc-saw", ""]) {
            world
                .expect_that(call.clone(), &format!("{header} after {broken:?}"), |it| {
                    let seen = it.seen().filter(|_| it.status == 200);
                    seen.is_some_and(|seen| header.is_empty() || seen.header(header).is_some())
                })
                .await;
        }
        drop(mended);
    }
    let report = load.stop().await;
    report.assert_clean(100);
    assert_eq!(report.reconnects, 0, "{report:?}");
}

/// Extensions in one namespace, their service in another, as a Backend.
#[tokio::test]
async fn where_services_are() {
    covers!(
        "GatewayExtension.spec.extAuth.grpcService.backendRef.group",
        "GatewayExtension.spec.extAuth.grpcService.backendRef.kind",
        "GatewayExtension.spec.extAuth.grpcService.backendRef.weight",
        "GatewayExtension.spec.extProc.grpcService.backendRef.group",
        "GatewayExtension.spec.extProc.grpcService.backendRef.kind",
        "GatewayExtension.spec.extProc.grpcService.backendRef.weight",
        "GatewayExtension.spec.rateLimit.grpcService.backendRef.group",
        "GatewayExtension.spec.rateLimit.grpcService.backendRef.kind",
        "GatewayExtension.spec.rateLimit.grpcService.backendRef.weight",
        "GatewayExtension.spec.extProc.grpcService.backendRef.namespace",
        "GatewayExtension.spec.rateLimit.grpcService.backendRef.namespace",
        "TrafficPolicy.spec.extProc.extensionRef.namespace",
        "TrafficPolicy.spec.rateLimit.extensionRef.namespace",
        "TrafficPolicy.spec.rateLimit.global.extensionRef.namespace",
    );
    let mut world = World::with_backends(&["v1"]).await;
    let server = ExtensionServer::start(PROGRAM, "services");
    let extensions = |weight: u32| {
        let backend = format!(
            "{{group: gateway.kgateway.dev, kind: Backend, name: outside, namespace: third, weight: {weight}}}"
        );
        let service = format!("{{grpcService: {{backendRef: {backend}}}, failOpen: false}}");
        ["extAuth", "extProc", "rateLimit"]
            .map(|field| {
                gateway_extension(&field.to_lowercase(), &format!("{field}: {service}"))
                    .replace("namespace: default", "namespace: other")
            })
            .concat()
    };
    let grant = |namespace: &str, from: &str, of: &str, to: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{name: g, namespace: {namespace}}}
spec:
  from: [{{group: gateway.kgateway.dev, kind: {from}, namespace: {of}}}]
  to: [{{group: gateway.kgateway.dev, kind: {to}}}]
---
"
        )
    };
    let named = |name: &str| format!("extensionRef: {{name: {name}, namespace: other}}");
    let on = |rule: &str| format!("targetRefs: [{{kind: HTTPRoute, name: r, sectionName: {rule}}}]\n");
    let entries = "descriptors: [{entries: [{type: RemoteAddress}]}]";
    let address = server.address();
    let outside = static_backend("outside", &format!("[{{host: 127.0.0.1, port: {}}}]", address.port()))
        .replace("namespace: default", "namespace: third");
    world
        .apply(
            &[
                http_route("r", ROUTES),
                outside,
                extensions(1),
                traffic_policy("auth", &format!("{}extAuth: {{{}}}\n", on("auth"), named("extauth"))),
                traffic_policy("proc", &format!("{}extProc: {{{}}}\n", on("proc"), named("extproc"))),
                traffic_policy("limit", &format!("{}rateLimit: {{{}}}\n", on("limit"), named("ratelimit"))),
                grant("third", "GatewayExtension", "other", "Backend"),
            ]
            .concat(),
        )
        .await;
    let calls =
        ["/auth", "/proc", "/limit"].map(|path| world.call("example.org", path).header("x-do", "allow"));
    for call in &calls {
        world.expect(call.clone(), Want::Status(500)).await;
    }
    world.apply(&grant("other", "TrafficPolicy", "default", "GatewayExtension")).await;
    let asked = |it: &postern_e2e::Answer| {
        let of_service =
            it.seen().and_then(|seen| seen.header("x-auth-asked-as").or(seen.header("x-proc-saw")));
        of_service.or(it.header("x-counted")).is_some_and(|it| it.starts_with("outside.third"))
    };
    for call in &calls {
        world.expect_that(call.clone(), "the service", asked).await;
    }
    let global = format!("{}rateLimit: {{global: {{{}, {entries}}}}}\n", on("limit"), named("ratelimit"));
    world.apply(&traffic_policy("limit", &global)).await;
    world
        .expect_that(calls[2].clone(), "another descriptor", |it| {
            it.header("x-counted").as_deref()
                == Some("outside.third other/ratelimit remote_address=127.0.0.1")
        })
        .await;
    // A backend that gets nothing of everything cannot be asked.
    world.apply(&extensions(0)).await;
    for call in &calls {
        world.expect(call.clone(), Want::Status(500)).await;
    }
}

fn streams(calls: &[Call]) -> Vec<Stream> {
    calls
        .iter()
        .enumerate()
        .flat_map(|(index, call)| {
            [
                Stream::kept(&format!("kept {index}"), call.clone(), 40),
                Stream::fresh(&format!("new {index}"), call.clone(), 20),
            ]
        })
        .collect()
}

#[tokio::test]
async fn extensions_come_and_go_under_load() {
    let mut world = World::with_backends(&["v1"]).await;
    let server = ExtensionServer::start(PROGRAM, "services");
    let second = ExtensionServer::start(PROGRAM, "services");
    world
        .apply(
            &[
                service("default", "ext", "", &[server.address()]),
                service("default", "ext2", "", &[second.address()]),
                http_route("r", ROUTES),
            ]
            .concat(),
        )
        .await;
    let calls: Vec<Call> = ["/auth", "/proc", "/limit", "/other"]
        .iter()
        .map(|path| world.call("example.org", path).header("x-do", "allow"))
        .collect();
    for call in &calls {
        world.expect(call.clone(), Want::Backend("v1")).await;
    }
    let before = listeners(&world);
    let load = Load::start(streams(&calls));
    // A busy machine must not be taken for a broken service.
    let patient = |text: String| text.replace("300ms", "20s");
    for round in 0..6 {
        world.apply(&patient(extensions(round % 2 == 0))).await;
        let asked = |header: &'static str| {
            move |it: &postern_e2e::Answer| it.seen().is_some_and(|seen| seen.header(header).is_some())
        };
        world.expect_that(calls[0].clone(), "authorization", asked("x-auth-path")).await;
        world.expect_that(calls[1].clone(), "processing", asked("x-proc-saw")).await;
        world.expect_that(calls[2].clone(), "limits", |it| it.header("x-counted").is_some()).await;
        // Another service, other settings.
        let changed = patient(extensions(false)).replace("name: ext,", "name: ext2,");
        world.apply(&changed).await;
        world
            .expect_that(calls[0].clone(), "the other service", |it| {
                it.seen().and_then(|it| it.header("x-auth-asked-as")).as_deref()
                    == Some("ext2.default.svc:8080")
            })
            .await;
        for name in ["auth", "proc", "limit"] {
            world.delete("TrafficPolicy", name).await;
        }
        world
            .expect_that(calls[0].clone(), "nobody asked", |it| {
                it.seen().is_some_and(|seen| seen.header("x-auth-path").is_none())
            })
            .await;
        for name in ["auth", "proc", "limit"] {
            world.delete("GatewayExtension", name).await;
        }
    }
    until("requests", || {
        let report = load.report();
        async move { if report.succeeded > 200 { Ok(()) } else { Err(format!("{report:?}")) } }
    })
    .await;
    let report = load.stop().await;
    report.assert_clean(200);
    assert_eq!(report.reconnects, 0, "{report:?}");
    assert_eq!(listeners(&world), before, "no listener changed");
    world.assert_nothing_rejected().await;
}

/// Names and versions of all listeners.
fn listeners(world: &World) -> Vec<(String, String)> {
    let translator = world.translator();
    let resources = translator.gateways().flat_map(|gateway| translator.resources(gateway));
    resources
        .filter(|it| it.resource_type == postern_translator::ResourceType::Listener)
        .map(|it| (it.name.clone(), it.version.clone()))
        .collect()
}
