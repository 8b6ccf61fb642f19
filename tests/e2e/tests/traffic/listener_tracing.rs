//! Tracing by an HTTPListenerPolicy, with a real OpenTelemetry collector.

use postern_e2e::{
    Collector, ExtensionServer, Span, Want, World, covers, gateway, gateway_extension, http_route, service,
    traffic_policy, until,
};

use super::access_logs::{TO_GATEWAY, world};
use super::ext_auth::PROGRAM;
use super::listener_policies::policy;

fn tracing(rest: &str) -> String {
    policy(
        "p",
        &format!(
            "{TO_GATEWAY}, tracing: {{provider: {{openTelemetry: {{grpcService: {{backendRef: {{name: otel, port: 8080}}}}, \
             serviceName: shop-edge, sampler: {{alwaysOnConfig: {{}}}}}}}}{rest}}}"
        ),
    )
}

/// Waits for the span of a request whose URL has this part.
pub(crate) async fn span(collector: &Collector, path: &str) -> Span {
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
        "HTTPListenerPolicy.spec.tracing.spawnUpstreamSpan",
    );
    let mut world = world().await;
    let collector = Collector::start().await;
    let rest = ", maxPathTagLength: 12, spawnUpstreamSpan: true, attributes: [\
                {name: env, literal: {value: production}}, \
                {name: home, environment: {name: PATH}}, \
                {name: nowhere, environment: {name: NO_SUCH_VARIABLE, defaultValue: none}}, \
                {name: user, requestHeader: {name: X-User, defaultValue: nobody}}]";
    world.apply(&[service("default", "otel", "", &[collector.address()]), tracing(rest)].concat()).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
    world.call("a.example.org", "/first-and-very-long").header("x-user", "ali").send().await.unwrap();
    world.call("a.example.org", "/other").send().await.unwrap();
    let first = span(&collector, "/first").await;
    assert_eq!(first.service, "shop-edge");
    assert!(first.attribute("http.url").unwrap().ends_with("/first-and-v"), "{first:?}");
    for (key, value) in [("env", "production"), ("nowhere", "none"), ("user", "ali")] {
        assert_eq!(first.attribute(key).as_deref(), Some(value), "{key}: {first:?}");
    }
    let other = span(&collector, "/other").await;
    assert_eq!(other.attribute("user").as_deref(), Some("nobody"), "{other:?}");
    let of_trace = collector.spans().iter().filter(|span| span.trace == other.trace).count();
    assert_eq!(of_trace, 2, "one of the request, one of the call of the backend: {:?}", collector.spans());
}

/// A Gateway with a listener for each of these, whose policy has this tracing.
fn on_listeners(listeners: &[(&str, String)]) -> String {
    let mut yaml = gateway(
        &listeners
            .iter()
            .map(|(name, _)| format!("  - {{name: {name}, port: ${{PORT_{name}}}, protocol: HTTP}}\n"))
            .collect::<String>(),
    );
    yaml.push_str(&http_route("r", "rules: [{backendRefs: [{name: v1, port: 8080}]}]\n"));
    for (name, tracing) in listeners {
        let target = format!("targetRefs: [{{kind: Gateway, name: gw, sectionName: {name}}}]");
        yaml.push_str(
            &tracing.replace(TO_GATEWAY, &target).replace("{name: p,", &format!("{{name: {name},")),
        );
    }
    yaml
}

#[tokio::test]
async fn shares_of_requests_that_are_traced() {
    covers!(
        "HTTPListenerPolicy.spec.tracing.clientSampling",
        "HTTPListenerPolicy.spec.tracing.randomSampling",
        "HTTPListenerPolicy.spec.tracing.overallSampling",
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.sampler.alwaysOnConfig",
    );
    // What a caller decided counts, unless the sampler takes all.
    let not_sampled = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    let asks = ("x-client-trace-id", "1");
    let plain = ("x-plain", "");
    let without_sampler = |rest: &str| tracing(rest).replace(", sampler: {alwaysOnConfig: {}}", "");
    // Requests with the first header are counted; those with the second, which come after them, are traced, if only a share of them.
    let cases = [
        ("random", without_sampler(", randomSampling: 25"), plain, plain, 25),
        ("overall", without_sampler(", overallSampling: 25"), plain, plain, 25),
        ("caller-says-no", without_sampler(""), not_sampled, plain, 0),
        ("always-on", tracing(""), not_sampled, plain, 100),
        ("not-asked", without_sampler(", randomSampling: 25, clientSampling: 0"), asks, asks, 25),
        ("asked", without_sampler(", randomSampling: 0, clientSampling: 100"), asks, asks, 100),
    ];
    let mut world = World::empty().await;
    let collector = Collector::start().await;
    let listeners = cases.each_ref().map(|(name, tracing, ..)| (*name, tracing.clone()));
    let otel = service("default", "otel", "", &[collector.address()]);
    world.apply(&[otel, on_listeners(&listeners)].concat()).await;
    for (name, _, header, of_last, _) in &cases {
        let port = format!("PORT_{name}");
        let call = world.call_on(&port, "a.example.org", &format!("/call-{name}")).header(header.0, header.1);
        let last =
            world.call_on(&port, "a.example.org", &format!("/last-{name}")).header(of_last.0, of_last.1);
        // One connection belongs to one thread of Envoy, whose tracer sends spans in their order: after the last, none of a call comes.
        let mut connection = call.connect().await.unwrap();
        for _ in 0..200 {
            connection.send(&call).await.unwrap();
        }
        for _ in 0..60 {
            connection.send(&last).await.unwrap();
        }
    }
    for (name, _, _, _, share) in &cases {
        span(&collector, &format!("/last-{name}")).await;
        let expected = match share {
            25 => 20..=85,
            share => share * 2..=share * 2,
        };
        // The collector may still have some that it got before.
        until(&format!("{share} % of 200 for {name}"), || async {
            let urls = collector.spans().into_iter().filter_map(|span| span.attribute("http.url"));
            let count = urls.filter(|url| url.ends_with(&format!("/call-{name}"))).count();
            if expected.contains(&count) { Ok(()) } else { Err(format!("{count} spans")) }
        })
        .await;
    }
}

#[tokio::test]
async fn attributes_from_metadata() {
    covers!(
        "HTTPListenerPolicy.spec.tracing.attributes[].metadata.kind",
        "HTTPListenerPolicy.spec.tracing.attributes[].metadata.metadataKey.key",
        "HTTPListenerPolicy.spec.tracing.attributes[].metadata.metadataKey.path[].key",
        "HTTPListenerPolicy.spec.tracing.attributes[].metadata.defaultValue",
    );
    let mut world = world().await;
    let (collector, extensions) = (Collector::start().await, ExtensionServer::start(PROGRAM, "services"));
    // The authorization service gives the request metadata, and hashing by names gives it to endpoints.
    let pod = service("default", "v1", "", &[world.backend("v1").address()])
        .replace("endpoints: [{", "endpoints: [{targetRef: {kind: Pod, name: pod-a}, ");
    let hashing = "---\napiVersion: gateway.kgateway.dev/v1alpha1\nkind: BackendConfigPolicy\n\
                   metadata: {name: b, namespace: default}\nspec:\n  \
                   targetRefs: [{group: '', kind: Service, name: v1}]\n  \
                   loadBalancer: {ringHash: {useHostnameForHashing: true, hashPolicies: [{header: {name: x-user}}]}}\n---\n";
    let yaml = [
        service("default", "otel", "", &[collector.address()]),
        service("default", "ext", "", &[extensions.address()]),
        gateway_extension(
            "auth",
            "type: ExtAuth, extAuth: {grpcService: {backendRef: {name: ext, port: 8080}}}",
        ),
        traffic_policy(
            "t",
            "targetRefs: [{kind: HTTPRoute, name: r}]\nextAuth: {extensionRef: {name: auth}}\n",
        ),
        pod,
        hashing.to_owned(),
    ];
    world.apply(&yaml.concat()).await;
    let (of_filter, of_endpoint) = ("envoy.filters.http.ext_authz", "envoy.lb");
    let cases = [
        ("decided", "Request", of_filter, "decided", "yes"),
        ("pod", "Host", of_endpoint, "hash_key", "pod-a"),
        ("other-kind", "Host", of_filter, "decided", "none"),
        ("another-kind", "Request", of_endpoint, "hash_key", "none"),
        ("other-key", "Request", "envoy.filters.http.ext_proc", "decided", "none"),
        ("other-path", "Request", of_filter, "refused", "none"),
        ("route", "Route", of_filter, "decided", "none"),
        ("cluster", "Cluster", of_endpoint, "hash_key", "none"),
    ];
    let attributes: Vec<String> = cases
        .iter()
        .map(|(name, kind, key, step, _)| {
            format!("{{name: {name}, metadata: {{kind: {kind}, metadataKey: {{key: {key}, path: [{{key: {step}}}]}}, defaultValue: none}}}}")
        })
        .collect();
    world.apply(&tracing(&format!(", attributes: [{}]", attributes.join(", ")))).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
    let call = world.call("a.example.org", "/known").header("x-do", "allow");
    world.expect(call, Want::Backend("v1")).await;
    let span = span(&collector, "/known").await;
    for (name, _, _, _, value) in cases {
        assert_eq!(span.attribute(name).as_deref(), Some(value), "{name}: {span:?}");
    }
    // Nobody gives these metadata, and the status says so.
    let problems = world.problems();
    for index in [6, 7] {
        assert!(problems.contains(&format!("spec.tracing.attributes[{index}].metadata.kind")), "{problems}");
    }
    assert_eq!(problems.matches("metadata.kind").count(), 2, "{problems}");
}

#[tokio::test]
async fn attributes_of_the_environment() {
    covers!(
        "HTTPListenerPolicy.spec.tracing.provider.openTelemetry.resourceDetectors[].environmentResourceDetector",
    );
    let detects =
        tracing("").replace("sampler:", "resourceDetectors: [{environmentResourceDetector: {}}], sampler:");
    let (mut world, collector) = (World::empty().await, Collector::start().await);
    world.environment("OTEL_RESOURCE_ATTRIBUTES", "team=shop,zone=east");
    let otel = service("default", "otel", "", &[collector.address()]);
    world.apply(&[otel, on_listeners(&[("plain", tracing("")), ("detects", detects)])].concat()).await;
    for (name, values) in [("plain", [None, None]), ("detects", [Some("shop"), Some("east")])] {
        world.call_on(&format!("PORT_{name}"), "a.example.org", &format!("/{name}")).send().await.unwrap();
        let span = span(&collector, &format!("/{name}")).await;
        let found = ["team", "zone"].map(|key| span.of_resource(key));
        assert_eq!(found.each_ref().map(Option::as_deref), values, "{span:?}");
    }
}

#[tokio::test]
async fn events_of_streams() {
    covers!("HTTPListenerPolicy.spec.tracing.verbose");
    let (mut world, collector) = (World::empty().await, Collector::start().await);
    let otel = service("default", "otel", "", &[collector.address()]);
    let listeners = [("plain", tracing(", verbose: false")), ("verbose", tracing(", verbose: true"))];
    world.apply(&[otel, on_listeners(&listeners)].concat()).await;
    for (name, events) in [("plain", false), ("verbose", true)] {
        world.call_on(&format!("PORT_{name}"), "a.example.org", &format!("/{name}")).send().await.unwrap();
        let span = span(&collector, &format!("/{name}")).await;
        let sent = span.events.iter().any(|event| event == "last_downstream_tx_byte_sent");
        assert_eq!((sent, span.events.is_empty()), (events, !events), "{span:?}");
    }
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
