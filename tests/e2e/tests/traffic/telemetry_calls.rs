//! How Envoy calls services that get logs and spans of an HTTPListenerPolicy, as a service sees it that only takes notes.

use postern_e2e::{
    GrpcCall, GrpcPeer, GrpcReply, World, covers, gateway, http_route, refuses, service, until,
};

use super::listener_policies::policy;

const ROUTE: &str = "rules: [{backendRefs: [{name: v1, port: 8080}]}]\n";

/// Who calls: an access log by Envoy's protocol, one by OTLP, and spans by OTLP.
const CALLERS: [&str; 3] = ["als", "log", "span"];

/// A world with listeners whose policies send everything to `peer`, called as these settings say; the authority of calls is
/// `caller.listener`. One request was made to each listener, in this order.
async fn world(peer: &GrpcPeer, listeners: &[(&str, &str)]) -> World {
    let mut yaml = gateway(
        &listeners
            .iter()
            .map(|(name, _)| format!("  - {{name: {name}, port: ${{PORT_{name}}}, protocol: HTTP}}\n"))
            .collect::<String>(),
    );
    yaml.push_str(&http_route("r", ROUTE));
    yaml.push_str(&service("default", "peer", "", &[peer.address()]));
    for (name, settings) in listeners {
        let service = |caller: &str| {
            format!("backendRef: {{name: peer, port: 8080}}, authority: {caller}.{name}, {settings}")
        };
        let logs = format!(
            "[{{grpcService: {{{}, logName: edge}}}}, {{openTelemetry: {{grpcService: {{{}, logName: edge}}}}}}]",
            service("als"),
            service("log")
        );
        let tracing = format!(
            "{{provider: {{openTelemetry: {{grpcService: {{{}}}, sampler: {{alwaysOnConfig: {{}}}}}}}}}}",
            service("span")
        );
        yaml.push_str(&policy(
            name,
            &format!(
                "targetRefs: [{{kind: Gateway, name: gw, sectionName: {name}}}], accessLog: {logs}, tracing: {tracing}"
            ),
        ));
    }
    let mut world = World::empty().await;
    world.apply(&yaml).await;
    for (name, _) in listeners {
        world.assert_status(&format!("HTTPListenerPolicy/{name}"), &["Accepted=True *", "Attached=True *"]);
        // There is no backend, which changes nothing here.
        world.call_on(&format!("PORT_{name}"), "example.org", "/").send().await.unwrap();
    }
    world
}

/// Waits until the calls of a caller are as they should be.
async fn calls(peer: &GrpcPeer, authority: &str, enough: impl Fn(&[GrpcCall]) -> bool) -> Vec<GrpcCall> {
    until(&format!("calls for {authority}"), || async {
        let calls = peer.calls_for(authority);
        if enough(&calls) { Ok(calls) } else { Err(format!("{calls:?} of {:?}", peer.calls().len())) }
    })
    .await
}

fn given_up(calls: &[GrpcCall]) -> bool {
    calls.iter().any(|call| call.given_up_after.is_some())
}

#[tokio::test]
async fn messages_that_are_too_long_end_a_call() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].grpcService.authority",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.maxReceiveMessageLength",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.maxReceiveMessageLength",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.maxReceiveMessageLength",
    );
    let peer = GrpcPeer::start(|_| GrpcReply::Message(2000)).await;
    let limit = |bytes: u32| format!("maxReceiveMessageLength: {bytes}");
    let world = world(&peer, &[("wide", &limit(2000)), ("narrow", &limit(1999))]).await;
    for caller in CALLERS {
        calls(&peer, &format!("{caller}.wide"), |calls| !calls.is_empty()).await;
        calls(&peer, &format!("{caller}.narrow"), given_up).await;
    }
    for caller in CALLERS {
        assert!(!given_up(&peer.calls_for(&format!("{caller}.wide"))), "{caller}: {:?}", peer.calls());
    }
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn calls_without_an_answer_end() {
    refuses!("HTTPListenerPolicy.spec.accessLog[].grpcService.timeout");
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.timeout",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.timeout",
    );
    let peer = GrpcPeer::start(|_| GrpcReply::Silence).await;
    let world = world(&peer, &[("patient", "timeout: 1h"), ("quick", "timeout: 300ms")]).await;
    for (listener, milliseconds) in [("patient", "3600000"), ("quick", "300")] {
        for caller in ["log", "span"] {
            let enough = |calls: &[GrpcCall]| !calls.is_empty() && (listener != "quick" || given_up(calls));
            let found = calls(&peer, &format!("{caller}.{listener}"), enough).await;
            let told = found[0].metadata.get("x-envoy-expected-rq-timeout-ms").map(String::as_str);
            assert_eq!(told, Some(milliseconds), "{caller}: {found:?}");
        }
    }
    // The log by Envoy's protocol is one call that goes on for ever, and the status says so.
    for authority in ["log.patient", "span.patient", "als.patient", "als.quick"] {
        let found = calls(&peer, authority, |calls| !calls.is_empty()).await;
        assert!(!given_up(&found), "{authority}: {found:?}");
    }
    let status = world.status("HTTPListenerPolicy", "default", "quick").to_string();
    for told in [&status, &world.problems()] {
        assert!(told.contains("spec.accessLog[0].grpcService.timeout: it has no effect"), "{told}");
    }
    world.assert_nothing_rejected().await;
}

/// Of two services that fail as often as they are called, Envoy calls one every few milliseconds until it has done so as often as it
/// may, and the other after times that become longer and longer.
#[tokio::test]
async fn calls_that_fail_are_made_again() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].grpcService.retryPolicy.numRetries",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.retryPolicy.retryBackOff.baseInterval",
        "HTTPListenerPolicy.spec.accessLog[].grpcService.retryPolicy.retryBackOff.maxInterval",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.retryPolicy.numRetries",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.retryPolicy.retryBackOff.baseInterval",
        "HTTPListenerPolicy.spec.accessLog[].openTelemetry.grpcService.retryPolicy.retryBackOff.maxInterval",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.retryPolicy.numRetries",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.retryPolicy.retryBackOff.baseInterval",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.grpcService.retryPolicy.retryBackOff.maxInterval",
    );
    let peer = GrpcPeer::start(|call| {
        if call.authority.starts_with("als.") { GrpcReply::Refusal } else { GrpcReply::Status(14) }
    })
    .await;
    let world = world(
        &peer,
        &[
            ("once", "skipEnvoyHeaders: true"),
            // Without a base of a millisecond, sixty times would take minutes.
            ("steady", "retryPolicy: {numRetries: 60, retryBackOff: {baseInterval: 1ms}}"),
            // Without a maximum of an hour, thirty times would be done before sixty.
            ("growing", "retryPolicy: {numRetries: 30, retryBackOff: {baseInterval: 1ms, maxInterval: 1h}}"),
        ],
    )
    .await;
    for caller in CALLERS {
        calls(&peer, &format!("{caller}.growing"), |calls| calls.len() > 1).await;
        let steady = calls(&peer, &format!("{caller}.steady"), |calls| calls.len() > 60).await;
        assert!(steady.iter().all(|call| call.message == steady[0].message), "{caller}: {steady:?}");
    }
    until("the ends of three", || async {
        let stats = world.envoy("gw").stats("default/peer.*upstream_rq_retry_limit_exceeded$").await;
        if stats.values().sum::<u64>() == 3 { Ok(()) } else { Err(format!("{stats:?}")) }
    })
    .await;
    for caller in CALLERS {
        let count = |listener: &str| peer.calls_for(&format!("{caller}.{listener}")).len();
        assert_eq!((count("once"), count("steady")), (1, 61), "{caller}");
        assert!(count("growing") < 31, "{caller}: {}", count("growing"));
    }
    world.assert_nothing_rejected().await;
}
