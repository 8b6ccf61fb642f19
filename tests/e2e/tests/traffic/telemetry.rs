//! XTelemetryPolicy (GEP-4768), with a real OpenTelemetry collector.

use std::collections::BTreeSet;

use postern_e2e::{Collector, Span, Want, World, http_route, service, until};

const ROUTE: &str = "rules: [{backendRefs: [{name: v1, port: 8080}]}]\n";

fn policy(tracing: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XTelemetryPolicy\n\
         metadata: {{name: traces, namespace: default}}\nspec:\n  \
         targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: gw}}]\n  tracing: {{{tracing}}}\n"
    )
}

const PROVIDER: &str = "mode: Enabled, provider: {backendRef: {name: otel, port: 8080}}";

async fn world(tracing: &str) -> (World, Collector) {
    let collector = Collector::start().await;
    let mut world = World::with_backends(&["v1"]).await;
    let yaml =
        [service("default", "otel", "", &[collector.address()]), http_route("r", ROUTE), policy(tracing)];
    world.apply(&yaml.concat()).await;
    world.assert_status(
        "XTelemetryPolicy/traces",
        &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"],
    );
    let call = world.call("example.org", "/first");
    world.expect(call, Want::Backend("v1")).await;
    (world, collector)
}

/// Waits for the span of a path.
async fn span(collector: &Collector, path: &str) -> Span {
    until(&format!("span of {path}"), || async {
        let found = collector.spans().into_iter().find(|span| url(span).ends_with(path));
        found.ok_or_else(|| format!("{} others", collector.spans().len()))
    })
    .await
}

/// Envoy's own attribute.
fn url(span: &Span) -> String {
    span.attribute("http.url").unwrap_or_default()
}

#[tokio::test]
async fn spans_say_what_the_policy_wants() {
    let tracing = format!(
        "{PROVIDER}, serviceName: shop-edge, spanName: edge request, attributes: [\
         {{name: env, sourceType: Literal, literalValue: production}}, \
         {{name: user, sourceType: Header, headerName: X-User}}, \
         {{name: method, sourceType: Attribute, attributeKey: http.request.method}}, \
         {{name: answer, sourceType: Attribute, attributeKey: http.response.status_code}}]"
    );
    let (mut world, collector) = world(&tracing).await;
    let call = world.call("example.org", "/second").header("x-user", "ali");
    let seen = call.send().await.unwrap().seen().unwrap();
    let span = span(&collector, "/second").await;
    assert_eq!((span.service.as_str(), span.name.as_str()), ("shop-edge", "edge request"));
    for (key, value) in [("env", "production"), ("user", "ali"), ("method", "GET"), ("answer", "200")] {
        assert_eq!(span.attribute(key).as_deref(), Some(value), "{key}: {span:?}");
    }
    let parent = seen.header("traceparent").unwrap();
    assert!(parent.contains(&span.trace), "the backend continues the trace: {parent} {}", span.trace);
}

#[tokio::test]
async fn callers_decide_for_their_own_traces() {
    let (mut world, collector) = world(&format!("{PROVIDER}, samplingRate: {{numerator: 0}}")).await;
    let parent = |sampled: u8| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{sampled}");
    // A client that asks to be traced has no say.
    let asks = ["x-client-trace-id", "x-envoy-force-trace"].map(|name| (name, "1".to_owned()));
    let cases = [
        ("/alone", vec![]),
        ("/not-sampled", vec![("traceparent", parent(0))]),
        ("/pushy", asks.to_vec()),
        ("/sampled", vec![("traceparent", parent(1))]),
    ];
    // One connection belongs to one thread of Envoy, whose tracer sends spans in their order: after the last one nothing comes.
    let mut connection = world.call("example.org", "/").connect().await.unwrap();
    for (path, headers) in cases {
        let call = world.call("example.org", path);
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        assert_eq!(connection.send(&call).await.unwrap().status, 200);
    }
    let found = span(&collector, "/sampled").await;
    assert_eq!(found.trace, "0af7651916cd43dd8448eb211c80319c");
    let paths: BTreeSet<String> = collector.spans().iter().map(url).collect();
    assert!(paths.len() == 1, "{paths:?}");
}

#[tokio::test]
async fn a_share_of_the_requests_whatever_callers_say() {
    let tracing =
        format!("{PROVIDER}, samplingRate: {{numerator: 25}}, parentBasedSampling: {{mode: Disabled}}");
    let (mut world, collector) = world(&tracing).await;
    // As above; of so many at the end, one is traced.
    let mut connection = world.call("example.org", "/").connect().await.unwrap();
    for number in 0..460_u32 {
        let parent = format!(
            "00-{:08x}{:08x}{:08x}{:08x}-b7ad6b7169203331-01",
            number.wrapping_mul(2_654_435_761),
            number,
            number ^ 0x5bd1_e995,
            number.wrapping_mul(40_503_000)
        );
        let path = if number < 400 { format!("/n{number}") } else { "/last".to_owned() };
        let call = world.call("example.org", &path).header("traceparent", &parent);
        assert_eq!(connection.send(&call).await.unwrap().status, 200);
    }
    span(&collector, "/last").await;
    until("about 100 of 400", || async {
        let traced = collector.spans().iter().filter(|span| url(span).contains("/n")).count();
        if (60..=140).contains(&traced) { Ok(()) } else { Err(format!("{traced} of 400")) }
    })
    .await;
}

#[tokio::test]
async fn without_a_collector_requests_go_on() {
    let (mut world, collector) = world(PROVIDER).await;
    span(&collector, "/first").await;
    drop(collector);
    let call = world.call("example.org", "/second");
    for _ in 0..50 {
        assert_eq!(call.send().await.unwrap().status, 200);
    }
    world.delete("Service", "otel").await;
    world
        .assert_status("XTelemetryPolicy/traces", &["Accepted=True *", "ResolvedRefs=False BackendNotFound"]);
    world.expect(call.clone(), Want::Backend("v1")).await;
    world.delete("XTelemetryPolicy", "traces").await;
    world.expect(call, Want::Backend("v1")).await;
}
