//! Access logs of an HTTPListenerPolicy that services get: a log service and a real OpenTelemetry collector.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use postern_e2e::{
    Backend, Collector, GrpcPeer, GrpcReply, LogEntry, LogService, Port, Reply, Want, World, covers,
    http_route, service, until,
};

use super::access_logs::{TO_GATEWAY, world};
use super::listener_policies::policy;
use super::listener_tracing::span;

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
    let sink = "grpcService: {backendRef: {name: logs, port: 8080}, skipEnvoyHeaders: SKIP, \
                initialMetadata: [{key: x-tenant, value: shop}], logName: edge, \
                additionalRequestHeadersToLog: [X-Team], additionalResponseHeadersToLog: [X-Answer]}";
    for (skips, path) in [(false, "/first"), (true, "/second")] {
        let sink = sink.replace("SKIP", &skips.to_string());
        world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLog: [{{{sink}}}]"))).await;
        world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
        world.call("a.example.org", path).header("x-team", "a").send().await.unwrap();
        let entry = entry(&logs, path).await;
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

/// What ends a response of HTTP/2, such as the status of gRPC.
#[tokio::test]
async fn trailers_of_responses() {
    covers!("HTTPListenerPolicy.spec.accessLog[].grpcService.additionalResponseTrailersToLog[]");
    let mut world = world().await;
    let (logs, shop) = (LogService::start().await, GrpcPeer::start(|_| GrpcReply::Done).await);
    let services = [
        service("default", "logs", "", &[logs.address()]),
        service("default", "shop", "appProtocol: kubernetes.io/h2c", &[shop.address()]),
        http_route("r", "rules: [{backendRefs: [{name: shop, port: 8080}]}]\n"),
    ];
    world.apply(&services.concat()).await;
    let sink = |rest: &str| {
        let log = format!("grpcService: {{backendRef: {{name: logs, port: 8080}}, logName: edge{rest}}}");
        policy("p", &format!("{TO_GATEWAY}, accessLog: [{{{log}}}]"))
    };
    for (path, rest, status) in
        [("/with", ", additionalResponseTrailersToLog: [Grpc-Status]", Some("0")), ("/without", "", None)]
    {
        world.apply(&sink(rest)).await;
        world.call("a.example.org", path).h2().method("POST").send().await.unwrap();
        let entry = entry(&logs, path).await;
        assert_eq!(entry.response_trailers.get("grpc-status").map(String::as_str), status, "{entry:?}");
    }
}

/// The entry for a request to `path`.
async fn entry(logs: &LogService, path: &str) -> LogEntry {
    until(&format!("an entry of {path}"), || async {
        logs.entries().into_iter().find(|entry| entry.path == path).ok_or_else(|| "none".to_owned())
    })
    .await
}

/// What was logged while nobody listened is there when somebody does.
#[tokio::test]
async fn a_log_service_that_comes_late() {
    covers!("HTTPListenerPolicy.spec.accessLog[].grpcService.retryPolicy.numRetries");
    let mut world = world().await;
    let port = Port::reserve();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
    world.apply(&service("default", "logs", "", &[address])).await;
    let sink = "grpcService: {backendRef: {name: logs, port: 8080}, logName: edge, \
                retryPolicy: {numRetries: 100000, retryBackOff: {baseInterval: 10ms}}}";
    world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLog: [{{{sink}}}]"))).await;
    world.call("a.example.org", "/early").send().await.unwrap();
    until("calls that fail", || async {
        let failed = world.envoy("gw").stats("default/logs.*upstream_cx_connect_fail$").await;
        if failed.values().any(|count| *count > 2) { Ok(()) } else { Err(format!("{failed:?}")) }
    })
    .await;
    let logs = LogService::at(address).await;
    assert_eq!(entry(&logs, "/early").await.status, 200);
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
            "backendRef: {{name: receiver, port: 8080}}, authority: {host}, skipEnvoyHeaders: {skips}, \
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
