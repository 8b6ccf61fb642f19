//! A hundred edits under constant load: not one request fails.

#![allow(clippy::unwrap_used, clippy::format_collect)] // a test fails where it is surprised

use postern_e2e::{
    Authority, Backend, Call, ClientTls, Load, Stream, Want, World, gateway, http_route, service, tls_secret,
    traffic_policy, until,
};

const EDITS: usize = 100;
/// Requests that must be answered between two edits, so that each edit meets load.
const BETWEEN: u64 = 12;

fn route(backends: &str, filter: &str) -> String {
    http_route(
        "main",
        &format!(
            "hostnames: [example.org, '*.example.com']
rules:
- name: main
  matches: [{{path: {{value: /}}}}]
  filters: [{filter}]
  backendRefs: [{backends}]
"
        ),
    )
}

fn streams(http: &Call, https: &Call, wildcard: &Call) -> Vec<Stream> {
    let all = [
        Stream::kept("kept HTTP", http.clone(), 60),
        Stream::fresh("new HTTP", http.clone(), 60),
        Stream::kept("kept HTTPS", https.clone(), 60),
        Stream::fresh("new HTTPS", https.clone(), 40),
        Stream::kept("kept HTTP/2", https.clone().h2(), 60),
        Stream::kept("wildcard host", wildcard.clone(), 40),
    ];
    let check = |answer: &postern_e2e::Answer| match (answer.status, answer.backend().as_str()) {
        (200, "v1" | "v2") => Ok(()),
        (status, backend) => {
            Err(format!("{status} from {backend:?}: {:?} {}", answer.headers, answer.text()))
        }
    };
    all.into_iter().map(|stream| stream.check(check)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_during_a_hundred_edits() {
    let mut world = World::with_backends(&["v1", "v2", "other"]).await;
    let authority = Authority::new("test");
    let names = ["example.org"];
    world
        .apply(
            &[
                tls_secret("default", "cert", &authority.issue(&names)),
                gateway(
                    "
  - {name: http, port: ${PORT}, protocol: HTTP}
  - {name: https, port: ${PORT_TLS}, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
",
                ),
                route("{name: v1, port: 8080}", ""),
            ]
            .concat(),
        )
        .await;
    let http = world.call("example.org", "/");
    let wildcard = world.call("a.example.com", "/");
    let https =
        world.call_on("PORT_TLS", "example.org", "/").tls(ClientTls::trusting("example.org", &authority));
    for call in [&http, &https, &wildcard] {
        world.expect(call.clone(), Want::Backend("v1")).await;
    }

    let load = Load::start(streams(&http, &https, &wildcard));
    let extra = Backend::start("v1").await;
    let header =
        "{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-edit, value: 'on'}]}}";
    let added = |number: usize| {
        http_route(
            &format!("added-{number}"),
            &format!(
                "hostnames: [added-{number}.example.org, example.org]\nrules: [{{matches: [{{path: {{value: /added-{number}}}}}], backendRefs: [{{name: other, port: 8080}}]}}]"
            ),
        )
    };
    for edit in 0..EDITS {
        let round = edit / 10;
        match edit % 10 {
            // A backend is swapped for another one.
            0 => {
                world.apply(&route("{name: v2, port: 8080}", "")).await;
                world.expect(http.clone(), Want::Backend("v2")).await;
            }
            // A filter comes, and goes with the old backend in its place.
            1 => {
                world.apply(&route("{name: v2, port: 8080}", header)).await;
                world.expect_that(http.clone(), "the header", |it| it.header("x-edit").is_some()).await;
            }
            2 => {
                world.apply(&route("{name: v1, port: 8080, weight: 3}, {name: v2, port: 8080}", "")).await;
                world.expect_that(http.clone(), "no header", |it| it.header("x-edit").is_none()).await;
            }
            // Routes come, for a new host and for one under load.
            3 => {
                world.apply(&added(round)).await;
                let call = world.call(&format!("added-{round}.example.org"), &format!("/added-{round}"));
                world.expect(call, Want::Backend("other")).await;
            }
            // A policy comes.
            4 => {
                let policy = "targetRefs: [{kind: HTTPRoute, name: main, sectionName: main}]
timeout: {request: 10s}
retries: {attempts: 2, retryOn: connect-failure}
responseHeaderModifier: {set: [{name: x-policy, value: 'on'}]}
";
                world.apply(&traffic_policy("policy", policy)).await;
                world.expect_that(https.clone(), "the policy", |it| it.header("x-policy").is_some()).await;
            }
            // The certificate is renewed.
            5 => {
                let new = authority.issue(&names);
                world.apply(&tls_secret("default", "cert", &new)).await;
                world
                    .expect_that(https.clone(), "the new certificate", |it| {
                        it.peer_certificate.as_deref() == Some(new.der.as_slice())
                    })
                    .await;
            }
            // A Service gets one more endpoint, and loses it again two edits later.
            6 => {
                let first = world.backend("v1").address();
                world.apply(&service("default", "v1", "", &[first, extra.address()])).await;
            }
            7 => {
                world.delete("TrafficPolicy", "policy").await;
                world.expect_that(https.clone(), "no policy", |it| it.header("x-policy").is_none()).await;
            }
            8 => world.delete("EndpointSlice", "v1-1").await,
            _ => {
                world.delete("HTTPRoute", &format!("added-{round}")).await;
                let call = world.call(&format!("added-{round}.example.org"), &format!("/added-{round}"));
                world.expect(call, Want::Status(404)).await;
            }
        }
        let before = load.report();
        until("requests between two edits", || {
            let now = load.report();
            let done = now.succeeded + now.failed - before.succeeded - before.failed;
            async move { if done >= BETWEEN { Ok(()) } else { Err(format!("{done} requests")) } }
        })
        .await;
    }
    let report = load.stop().await;
    report.assert_clean(EDITS as u64 * BETWEEN);
    world.assert_nothing_rejected().await;
    // The certificate and the routes changed, the listeners did not: kept connections were kept.
    assert_eq!(report.reconnects, 0, "{report:?}");
}
