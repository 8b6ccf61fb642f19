//! Access logs and tracing of an HTTPListenerPolicy, with real files, a log service and a real OpenTelemetry collector.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use postern_e2e::{
    Backend, Collector, LogEntry, LogService, Reply, Span, Want, World, covers, gateway, http_route, service,
    until,
};
use serde_json::Value;

use super::listener_policies::policy;

const ROUTE: &str = "rules: [{backendRefs: [{name: v1, port: 8080}]}]\n";
const TO_GATEWAY: &str = "targetRefs: [{kind: Gateway, name: gw}]";

async fn world() -> World {
    let mut world = World::empty().await;
    let backend = Backend::replying("v1", |seen| match seen.path.as_str() {
        "/teapot" => Reply::Status(418),
        "/broken" => Reply::Status(503),
        "/slow" => Reply::After(Duration::from_millis(700)),
        "/grpc-unavailable" => {
            Reply::Headers(vec![("content-type", "application/grpc"), ("grpc-status", "14")])
        }
        "/grpc-ok" => Reply::Headers(vec![("content-type", "application/grpc"), ("grpc-status", "0")]),
        "/cut" => Reply::Reset,
        _ => Reply::Headers(vec![("x-answer", "yes")]),
    });
    world.add_backend(backend.await).await;
    let listeners = "  - {name: http, port: ${PORT}, protocol: HTTP, hostname: a.example.org}";
    world.apply(&[gateway(listeners), http_route("r", ROUTE)].concat()).await;
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Status(200)).await;
    world
}

/// The lines of a log once there is one with `mark`; Envoy writes after ten seconds at most.
async fn lines(path: &Path, mark: &str) -> Vec<String> {
    until(&format!("{mark} in {}", path.display()), || async {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if text.contains(mark) { Ok(lines) } else { Err(text) }
    })
    .await
}

#[tokio::test]
async fn files_in_text_and_in_json() {
    covers!(
        "HTTPListenerPolicy.spec.accessLogging",
        "HTTPListenerPolicy.spec.accessLog[].fileSink.path",
        "HTTPListenerPolicy.spec.accessLog[].fileSink.stringFormat",
        "HTTPListenerPolicy.spec.accessLog[].fileSink.jsonFormat",
    );
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut world = world().await;
    let text = format!(
        "{{fileSink: {{path: {}, stringFormat: \"%REQ(:METHOD)% %REQ_WITHOUT_QUERY(:PATH)% %RESPONSE_CODE% 100%%\\n\"}}}}",
        at("text").display()
    );
    let json = format!(
        "{{fileSink: {{path: {}, jsonFormat: {{code: '%RESPONSE_CODE%', nested: {{list: ['%REQ(:PATH)%', plain, 3, true]}}}}}}}}",
        at("json").display()
    );
    world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLog: [{text}, {json}]"))).await;
    for path in ["/one?x=y", "/teapot"] {
        world.call("a.example.org", path).send().await.unwrap();
    }
    let found = lines(&at("text"), "/teapot").await;
    assert_eq!(found, ["GET /one 200 100%", "GET /teapot 418 100%"]);
    let found = lines(&at("json"), "/teapot").await;
    let first: Value = serde_json::from_str(&found[0]).unwrap();
    assert_eq!(first, serde_json::json!({"code": 200, "nested": {"list": ["/one?x=y", "plain", 3, true]}}));
    // The free form of the contract: one object, or a list.
    for (name, spec) in [
        (
            "object",
            format!("{{fileSink: {{path: {}, stringFormat: \"%PROTOCOL%\\n\"}}}}", at("object").display()),
        ),
        (
            "list",
            format!("[{{fileSink: {{path: {}, stringFormat: \"%PROTOCOL%\\n\"}}}}]", at("list").display()),
        ),
    ] {
        world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLogging: {spec}"))).await;
        world.call("a.example.org", "/").send().await.unwrap();
        assert_eq!(lines(&at(name), "HTTP/1.1").await[0], "HTTP/1.1", "{name}");
    }
    // What Envoy would refuse stays here, and the log as it was.
    world
        .apply(&policy(
            "p",
            &format!("{TO_GATEWAY}, accessLogging: {{fileSink: {{path: /dev/null, stringFormat: '%NO%'}}}}"),
        ))
        .await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=False Invalid"]);
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn filters_say_which_requests_are_logged() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].filter.statusCodeFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.statusCodeFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.durationFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.durationFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.notHealthCheckFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.headerFilter.header.name",
        "HTTPListenerPolicy.spec.accessLog[].filter.headerFilter.header.type",
        "HTTPListenerPolicy.spec.accessLog[].filter.headerFilter.header.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.responseFlagFilter.flags[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.grpcStatusFilter.statuses[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.grpcStatusFilter.exclude",
        "HTTPListenerPolicy.spec.accessLog[].filter.celFilter.match",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].statusCodeFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].statusCodeFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].headerFilter.header.name",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].headerFilter.header.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].statusCodeFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].statusCodeFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].celFilter.match",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].durationFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].durationFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].notHealthCheckFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].headerFilter.header.type",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].responseFlagFilter.flags[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].grpcStatusFilter.statuses[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].grpcStatusFilter.exclude",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].celFilter.match",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].durationFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].durationFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].notHealthCheckFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].headerFilter.header.name",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].headerFilter.header.type",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].headerFilter.header.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].responseFlagFilter.flags[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].grpcStatusFilter.statuses[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].grpcStatusFilter.exclude",
    );
    let directory = tempfile::tempdir().unwrap();
    let mut world = world().await;
    let collector = LogService::start().await;
    world.apply(&service("default", "otel", "", &[collector.address()])).await;
    // Each filter, and the paths that it lets through.
    let all = [
        "/",
        "/teapot",
        "/broken",
        "/slow",
        "/up",
        "/team",
        "/team-b",
        "/nobody",
        "/grpc-unavailable",
        "/grpc-ok",
        "/cut",
        "/end",
    ];
    let but = |gone: &[&str]| all.iter().copied().filter(|path| !gone.contains(path)).collect::<Vec<_>>();
    let cases: Vec<(&str, &str, Vec<&str>)> = vec![
        ("eq", "statusCodeFilter: {op: EQ, value: 418}", vec!["/teapot"]),
        ("ge", "statusCodeFilter: {op: GE, value: 418}", vec!["/teapot", "/broken", "/cut"]),
        ("le", "statusCodeFilter: {op: LE, value: 417}", but(&["/teapot", "/broken", "/cut"])),
        ("duration", "durationFilter: {op: GE, value: 600}", vec!["/slow"]),
        ("no-checks", "notHealthCheckFilter: true", but(&["/up"])),
        ("header", "headerFilter: {header: {name: X-Team, value: a}}", vec!["/team"]),
        (
            "regex",
            "headerFilter: {header: {type: RegularExpression, name: X-Team, value: '[ab]'}}",
            vec!["/team", "/team-b"],
        ),
        ("flag", "responseFlagFilter: {flags: [URX, UC]}", vec!["/cut"]),
        ("no-flag", "responseFlagFilter: {flags: [UF, NC]}", vec![]),
        ("grpc", "grpcStatusFilter: {statuses: [UNAVAILABLE]}", vec!["/grpc-unavailable", "/broken", "/cut"]),
        (
            "cel",
            "celFilter: {match: \"request.path == '/teapot' || response.code == 503\"}",
            vec!["/teapot", "/broken", "/cut"],
        ),
        (
            "and",
            "andFilter: [{statusCodeFilter: {op: EQ, value: 200}}, {headerFilter: {header: {name: X-Team, value: b}}}]",
            vec!["/team-b"],
        ),
        (
            "or",
            "orFilter: [{statusCodeFilter: {op: EQ, value: 418}}, {celFilter: {match: \"request.path == '/slow'\"}}]",
            vec!["/teapot", "/slow"],
        ),
        ("every", "statusCodeFilter: {op: GE, value: 0}", all.to_vec()),
        (
            "exclude",
            "grpcStatusFilter: {statuses: [OK, UNKNOWN, UNIMPLEMENTED], exclude: true}",
            vec!["/broken", "/grpc-unavailable", "/cut"],
        ),
    ];
    // Joined with what holds for none, or for all, a condition says the same.
    let joined = cases.iter().filter(|(_, filter, _)| !filter.contains("Filter: [")).flat_map(
        |(name, filter, paths)| {
            let none = "headerFilter: {header: {name: X-Never, value: a}}";
            let every = "statusCodeFilter: {op: GE, value: 0}";
            [
                (format!("or-{name}"), format!("orFilter: [{{{none}}}, {{{filter}}}]"), paths.clone()),
                (format!("and-{name}"), format!("andFilter: [{{{every}}}, {{{filter}}}]"), paths.clone()),
            ]
        },
    );
    let single =
        cases.iter().map(|(name, filter, paths)| ((*name).to_owned(), (*filter).to_owned(), paths.clone()));
    let cases: Vec<(String, String, Vec<&str>)> = joined.chain(single).collect();
    let logs: Vec<String> = cases
        .iter()
        .map(|(name, filter, _)| {
            let path = directory.path().join(name);
            format!(
                "{{fileSink: {{path: {}, stringFormat: \"%REQ(:PATH)%\\n\"}}, filter: {{{filter}}}}}",
                path.display()
            )
        })
        .collect();
    let tracing = "tracing: {provider: {openTelemetry: {grpcService: {backendRef: {name: otel, port: 8080}}}}, randomSampling: 0}, healthCheck: {path: /up}";
    world.apply(&policy("p", &format!("{TO_GATEWAY}, {tracing}, accessLog: [{}]", logs.join(", ")))).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
    for path in all {
        let mut call = world.call("a.example.org", path);
        match path {
            "/team" => call = call.header("x-team", "a"),
            "/team-b" => call = call.header("x-team", "b"),
            _ => {}
        }
        call.send().await.unwrap();
    }
    // Envoy writes all files of one moment together; the one with everything comes last in the list of its loggers.
    lines(&directory.path().join("every"), "/end").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (name, filter, expected) in cases {
        let text = std::fs::read_to_string(directory.path().join(&name)).unwrap_or_default();
        let found: Vec<&str> = text.lines().collect();
        let mut expected = expected;
        expected.sort_unstable_by_key(|path| all.iter().position(|it| it == path));
        assert_eq!(found, expected, "{name}: {filter}");
    }
    world.assert_nothing_rejected().await;
}

/// What Envoy could not carry out is refused wherever it stands, and the log is not written.
#[tokio::test]
async fn a_filter_of_traced_requests_is_refused() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].filter.traceableFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].traceableFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].traceableFilter",
    );
    let mut world = world().await;
    let traceable = "{traceableFilter: true}";
    for (field, filter) in [
        ("traceableFilter", traceable.to_owned()),
        (
            "andFilter[0].traceableFilter",
            format!("{{andFilter: [{traceable}, {{notHealthCheckFilter: true}}]}}"),
        ),
        (
            "orFilter[1].traceableFilter",
            format!("{{orFilter: [{{notHealthCheckFilter: true}}, {traceable}]}}"),
        ),
    ] {
        let log = "fileSink: {path: /dev/null, stringFormat: '%PROTOCOL%'}";
        world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLog: [{{{log}, filter: {filter}}}]"))).await;
        world.assert_status("HTTPListenerPolicy/p", &["Accepted=False Invalid"]);
        let problems = world.problems();
        let field = format!("spec.accessLog[0].filter.{field}");
        assert!(
            problems.contains(&field) && problems.contains("headerFilter instead"),
            "{field}: {problems}"
        );
    }
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
}

#[tokio::test]
async fn a_log_service() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].grpcService.backendRef.name",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.backendRef.port",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.skipEnvoyHeaders",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.initialMetadata[].key",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.initialMetadata[].value",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.logName",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.additionalRequestHeadersToLog[]",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.additionalResponseHeadersToLog[]",
    );
    let mut world = world().await;
    let logs = LogService::start().await;
    world.apply(&service("default", "logs", "", &[logs.address()])).await;
    let sink = "grpcService: {backendRef: {name: logs, port: 8080}, authority: logs.example.org, timeout: 9s, \
                maxReceiveMessageLength: 4096, skipEnvoyHeaders: SKIP, \
                initialMetadata: [{key: x-tenant, value: shop}], \
                retryPolicy: {numRetries: 3, retryBackOff: {baseInterval: 50ms, maxInterval: 1s}}, logName: edge, \
                additionalRequestHeadersToLog: [X-Team], additionalResponseHeadersToLog: [X-Answer], \
                additionalResponseTrailersToLog: [X-Trailer]}";
    for (skips, path) in [(false, "/first"), (true, "/second")] {
        let sink = sink.replace("SKIP", &skips.to_string());
        world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLog: [{{{sink}}}]"))).await;
        world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
        world.call("a.example.org", path).header("x-team", "a").send().await.unwrap();
        let entry: LogEntry = until("an entry", || async {
            logs.entries().into_iter().find(|entry| entry.path == path).ok_or_else(|| "none".to_owned())
        })
        .await;
        assert_eq!((entry.log.as_str(), entry.status), ("edge", 200));
        assert_eq!(entry.request_headers.get("x-team").map(String::as_str), Some("a"), "{entry:?}");
        assert_eq!(entry.response_headers.get("x-answer").map(String::as_str), Some("yes"), "{entry:?}");
        assert_eq!(entry.metadata.get("x-tenant").map(String::as_str), Some("shop"), "{entry:?}");
        assert_eq!(entry.metadata.contains_key("x-envoy-internal"), !skips, "{entry:?}");
    }
    // Without the service, requests go on, and the status says what is missing.
    world.delete("Service", "logs").await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "ResolvedRefs=False BackendNotFound"]);
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn log_services_elsewhere() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].grpcService.backendRef.group",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.backendRef.kind",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.backendRef.namespace",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.backendRef.group",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.backendRef.kind",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.backendRef.namespace",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.backendRef.group",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.backendRef.kind",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.backendRef.namespace",
    );
    let mut world = world().await;
    let (logs, collector) = (LogService::start().await, Collector::start().await);
    let services = [
        service("infra", "logs", "", &[logs.address()]),
        service("infra", "otel", "", &[collector.address()]),
    ];
    world.apply(&services.concat()).await;
    let spec = |reference: &dyn Fn(&str) -> String| {
        format!(
            "{TO_GATEWAY}, accessLog: [{{grpcService: {{backendRef: {}, logName: edge}}}}, \
             {{openTelemetry: {{grpcService: {{backendRef: {}, logName: edge}}, body: '%REQ(:PATH)%'}}}}], \
             tracing: {{provider: {{openTelemetry: {{grpcService: {{backendRef: {}}}, sampler: {{alwaysOnConfig: {{}}}}}}}}}}",
            reference("logs"),
            reference("otel"),
            reference("otel"),
        )
    };
    let elsewhere =
        |name: &str| format!("{{group: '', kind: Service, name: {name}, namespace: infra, port: 8080}}");
    world.apply(&policy("p", &spec(&elsewhere))).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "ResolvedRefs=False RefNotPermitted"]);
    let grant = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: logs, namespace: infra}\nspec:\n  \
                 from: [{group: gateway.kgateway.dev, kind: HTTPListenerPolicy, namespace: default}]\n  to: [{group: '', kind: Service}]\n";
    world.apply(grant).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
    arrives(&mut world, &logs, &collector, "/granted").await;
    // A kind that cannot be a service of this sort.
    let wrong = |name: &str| format!("{{group: example.com, kind: Thing, name: {name}, port: 8080}}");
    world.apply(&policy("p", &spec(&wrong))).await;
    world.assert_status("HTTPListenerPolicy/p", &["ResolvedRefs=False InvalidKind"]);
}

/// A request to `path` is logged and traced by all of them.
async fn arrives(world: &mut World, logs: &LogService, collector: &Collector, path: &str) {
    world.call("a.example.org", path).send().await.unwrap();
    until(&format!("logs of {path}"), || async {
        let entry = logs.entries().into_iter().any(|entry| entry.path == path);
        let record = collector.logs().iter().any(|it| it.body == path);
        if entry && record { Ok(()) } else { Err(format!("service {entry}, OpenTelemetry {record}")) }
    })
    .await;
    span(collector, path).await;
}

#[tokio::test]
async fn logs_for_opentelemetry() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.backendRef.name",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.backendRef.port",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.logName",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.body",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.disableBuiltinLabels",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.attributes.values[].key",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.attributes.values[].value.stringValue",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.attributes.values[].value.arrayValue[]",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.attributes.values[].value.kvListValue",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.resourceAttributes.values[].key",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.resourceAttributes.values[].value.stringValue",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.resourceAttributes.values[].value.arrayValue[]",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.resourceAttributes.values[].value.kvListValue",
    );
    let mut world = world().await;
    let collector = Collector::start().await;
    world.apply(&service("default", "otel", "", &[collector.address()])).await;
    let sink = |rest: &str| {
        format!(
            "openTelemetry: {{grpcService: {{backendRef: {{name: otel, port: 8080}}, logName: edge}}, \
             body: '%REQ(:METHOD)% %REQ(:PATH)%', \
             attributes: {{values: [{{key: code, value: {{stringValue: '%RESPONSE_CODE%'}}}}, \
             {{key: list, value: {{arrayValue: [{{stringValue: '%PROTOCOL%'}}]}}}}, \
             {{key: map, value: {{kvListValue: {{values: [{{key: a, value: {{stringValue: '%PROTOCOL%'}}}}]}}}}}}]}}, \
             resourceAttributes: {{values: [{{key: team, value: {{stringValue: 100% edge}}}}, \
             {{key: zones, value: {{arrayValue: [{{stringValue: east}}]}}}}, \
             {{key: owner, value: {{kvListValue: {{values: [{{key: name, value: {{stringValue: ops}}}}]}}}}}}]}}{rest}}}"
        )
    };
    for (path, rest, log_name) in
        [("/labelled", "", Some("edge")), ("/plain", ", disableBuiltinLabels: true", None)]
    {
        world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLog: [{{{}}}]", sink(rest)))).await;
        world.call("a.example.org", path).send().await.unwrap();
        let body = format!("GET {path}");
        let found = until("an entry", || async {
            let logs = collector.logs();
            logs.iter().find(|it| it.body == body).cloned().ok_or_else(|| format!("{logs:?}"))
        })
        .await;
        assert_eq!(found.attribute("code").as_deref(), Some("200"), "{found:?}");
        for key in ["list", "map"] {
            assert!(found.attribute(key).is_some_and(|it| it.contains("HTTP/1.1")), "{key}: {found:?}");
        }
        assert_eq!(found.of_resource("team").as_deref(), Some("100% edge"), "{found:?}");
        for (key, part) in [("zones", "east"), ("owner", "ops")] {
            assert!(found.of_resource(key).is_some_and(|it| it.contains(part)), "{key}: {found:?}");
        }
        assert_eq!(found.of_resource("log_name").as_deref(), log_name, "{found:?}");
    }
}

/// What a receiver of logs and spans is told, seen by a server that only listens.
#[tokio::test]
async fn calls_of_opentelemetry_receivers() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.authority",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.initialMetadata[].key",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.initialMetadata[].value",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.skipEnvoyHeaders",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.authority",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.initialMetadata[].key",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.initialMetadata[].value",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.skipEnvoyHeaders",
    );
    let mut world = world().await;
    let receiver = Backend::replying("receiver", |_| {
        Reply::Raw(200, vec![("content-type", "application/grpc"), ("grpc-status", "0")], Bytes::new())
    });
    world.add_backend(receiver.await).await;
    for skips in [false, true] {
        let host = format!("otlp-{skips}.example.org");
        let service = format!(
            "backendRef: {{name: receiver, port: 8080}}, authority: {host}, skipEnvoyHeaders: {skips}, timeout: 7s, \
             initialMetadata: [{{key: x-tenant, value: shop}}]"
        );
        let spec = format!(
            "{TO_GATEWAY}, accessLog: [{{openTelemetry: {{grpcService: {{{service}, logName: edge}}}}}}], \
             tracing: {{provider: {{openTelemetry: {{grpcService: {{{service}}}, sampler: {{alwaysOnConfig: {{}}}}}}}}}}"
        );
        world.apply(&policy("p", &spec)).await;
        world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
        world.call("a.example.org", "/").send().await.unwrap();
        for method in ["logs.v1.LogsService/Export", "trace.v1.TraceService/Export"] {
            let seen = until(&format!("{method} at {host}"), || async {
                let all = world.backend("receiver").seen();
                let told = format!("{:?}", all.iter().map(|it| (&it.path, &it.host)).collect::<Vec<_>>());
                all.into_iter().find(|it| it.path.contains(method) && it.host == host).ok_or(told)
            })
            .await;
            assert_eq!(seen.header("x-tenant").as_deref(), Some("shop"), "{seen:?}");
            assert_eq!(seen.headers.contains_key("x-envoy-internal"), !skips, "{seen:?}");
        }
    }
    world.assert_nothing_rejected().await;
}

fn tracing(rest: &str) -> String {
    policy(
        "p",
        &format!(
            "{TO_GATEWAY}, tracing: {{provider: {{openTelemetry: {{grpcService: {{backendRef: {{name: otel, port: 8080}}}}, \
             serviceName: shop-edge, sampler: {{alwaysOnConfig: {{}}}}}}}}{rest}}}"
        ),
    )
}

async fn span(collector: &Collector, path: &str) -> Span {
    until(&format!("span of {path}"), || async {
        let found = collector
            .spans()
            .into_iter()
            .find(|span| span.attribute("http.url").unwrap_or_default().contains(path));
        found.ok_or_else(|| format!("{} others", collector.spans().len()))
    })
    .await
}

#[tokio::test]
async fn spans_say_what_the_policy_wants() {
    covers!(
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.backendRef.name",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.backendRef.port",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.serviceName",
        "HTTPListenerPolicy.spec.tracing.maxPathTagLength",
        "HTTPListenerPolicy.spec.tracing.attributes[].name",
        "HTTPListenerPolicy.spec.tracing.attributes[].literal.value",
        "HTTPListenerPolicy.spec.tracing.attributes[].environment.name",
        "HTTPListenerPolicy.spec.tracing.attributes[].environment.defaultValue",
        "HTTPListenerPolicy.spec.tracing.attributes[].requestHeader.name",
        "HTTPListenerPolicy.spec.tracing.attributes[].requestHeader.defaultValue",
        "HTTPListenerPolicy.spec.tracing.attributes[].metadata.defaultValue",
        "HTTPListenerPolicy.spec.tracing.spawnUpstreamSpan",
    );
    let mut world = world().await;
    let collector = Collector::start().await;
    let rest = ", maxPathTagLength: 12, spawnUpstreamSpan: true, attributes: [\
                {name: env, literal: {value: production}}, \
                {name: home, environment: {name: PATH}}, \
                {name: nowhere, environment: {name: NO_SUCH_VARIABLE, defaultValue: none}}, \
                {name: missing, metadata: {kind: Route, metadataKey: {key: a, path: [{key: b}, {key: c}]}, defaultValue: nothing}}, \
                {name: user, requestHeader: {name: X-User, defaultValue: nobody}}]";
    world.apply(&[service("default", "otel", "", &[collector.address()]), tracing(rest)].concat()).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
    world.call("a.example.org", "/first-and-very-long").header("x-user", "ali").send().await.unwrap();
    world.call("a.example.org", "/other").send().await.unwrap();
    let first = span(&collector, "/first").await;
    assert_eq!(first.service, "shop-edge");
    assert!(first.attribute("http.url").unwrap().ends_with("/first-and-v"), "{first:?}");
    for (key, value) in [("env", "production"), ("nowhere", "none"), ("user", "ali"), ("missing", "nothing")]
    {
        assert_eq!(first.attribute(key).as_deref(), Some(value), "{key}: {first:?}");
    }
    let other = span(&collector, "/other").await;
    assert_eq!(other.attribute("user").as_deref(), Some("nobody"), "{other:?}");
    let of_trace = collector.spans().iter().filter(|span| span.trace == other.trace).count();
    assert_eq!(of_trace, 2, "one of the request, one of the call of the backend: {:?}", collector.spans());
}

#[tokio::test]
async fn shares_of_requests_that_are_traced() {
    covers!(
        "HTTPListenerPolicy.spec.tracing.clientSampling",
        "HTTPListenerPolicy.spec.tracing.randomSampling",
        "HTTPListenerPolicy.spec.tracing.overallSampling",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.sampler.alwaysOnConfig",
    );
    let mut world = world().await;
    let collector = Collector::start().await;
    let without_sampler = |rest: &str| tracing(rest).replace(", sampler: {alwaysOnConfig: {}}", "");
    world
        .apply(
            &[
                service("default", "otel", "", &[collector.address()]),
                without_sampler(", randomSampling: 25"),
            ]
            .concat(),
        )
        .await;
    for number in 0..200 {
        world.call("a.example.org", &format!("/random{number}")).send().await.unwrap();
    }
    span(&collector, "/random").await;
    // What a caller decided counts, unless the sampler takes all. Each policy has a tracer of its own, which sends what it has
    // after five seconds.
    let not_sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    for (policy, path) in [
        (without_sampler(", overallSampling: 0"), "/overall"),
        (without_sampler(""), "/caller-says-no"),
        (tracing(""), "/always-on"),
        (without_sampler(", randomSampling: 0, clientSampling: 0"), "/not-asked"),
        (without_sampler(", randomSampling: 0, clientSampling: 100"), "/asked"),
    ] {
        world.apply(&policy).await;
        let call = world.call("a.example.org", path);
        let call = match path {
            "/overall" => call,
            "/not-asked" | "/asked" => call.header("x-client-trace-id", "1"),
            _ => call.header("traceparent", not_sampled),
        };
        call.send().await.unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    let count = |part: &str| {
        let urls = collector.spans().into_iter().filter_map(|span| span.attribute("http.url"));
        urls.filter(|url| url.contains(part)).count()
    };
    let random = count("/random");
    assert!((20..=85).contains(&random), "{random} of 200, expected about 50");
    assert_eq!((count("/caller-says-no"), count("/always-on")), (0, 1));
    assert_eq!((count("/overall"), count("/not-asked"), count("/asked")), (0, 0, 1));
}

/// Where an XTelemetryPolicy speaks of tracing, it decides.
#[tokio::test]
async fn an_xtelemetrypolicy_decides_first() {
    let mut world = world().await;
    let collector = Collector::start().await;
    let telemetry = "---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XTelemetryPolicy\n\
                     metadata: {name: traces, namespace: default}\nspec:\n  \
                     targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]\n  \
                     tracing: {mode: Enabled, serviceName: standard, provider: {backendRef: {name: otel, port: 8080}}}\n";
    world
        .apply(
            &[&service("default", "otel", "", &[collector.address()]), &tracing(""), &telemetry.to_owned()]
                .map(String::as_str)
                .concat(),
        )
        .await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=False Overridden"]);
    world.call("a.example.org", "/standard").send().await.unwrap();
    assert_eq!(span(&collector, "/standard").await.service, "standard");
    world.delete("XTelemetryPolicy", "traces").await;
    world.assert_status("HTTPListenerPolicy/p", &["Attached=True Attached"]);
    world.call("a.example.org", "/mine").send().await.unwrap();
    assert_eq!(span(&collector, "/mine").await.service, "shop-edge");
}
