//! HTTPS listeners: certificates, server names, misdirected requests, rotation.

use postern_e2e::{Authority, Call, ClientTls, Want, World, gateway, http_route, tls_secret, until};

fn route(section: &str, hostnames: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {section}, namespace: default}}
spec:
  parentRefs: [{{name: gw, sectionName: {section}}}]
  hostnames: {hostnames}
  rules: [{{backendRefs: [{{name: v1, port: 8080}}]}}]
---
"
    )
}

async fn fails(call: &Call) {
    until(&format!("refusal of {call}"), || {
        let call = call.clone();
        async move { call.send().await.err().map(|_| ()).ok_or_else(|| "still served".to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn each_server_name_gets_its_certificate() {
    let mut world = World::with_backends(&["v1"]).await;
    let authority = Authority::new("test");
    let (exact, wild, rest) = (
        authority.issue(&["a.example.org"]),
        authority.issue(&["*.example.org"]),
        authority.issue(&["rest.example.com"]),
    );
    world
        .apply(
            &[
                tls_secret("default", "exact", &exact),
                tls_secret("default", "wild", &wild),
                tls_secret("default", "rest", &rest),
                gateway(
                    "
  - {name: exact, port: ${PORT}, protocol: HTTPS, hostname: a.example.org, tls: {certificateRefs: [{name: exact}]}}
  - {name: wild, port: ${PORT}, protocol: HTTPS, hostname: '*.example.org', tls: {mode: Terminate, certificateRefs: [{name: wild}]}}
  - {name: rest, port: ${PORT}, protocol: HTTPS, tls: {certificateRefs: [{name: rest}]}}
",
                ),
                http_route("all", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    for (sni, host, certificate) in [
        (Some("a.example.org"), "a.example.org", &exact),
        (Some("A.Example.Org"), "a.example.org", &exact),
        (Some("b.example.org"), "b.example.org", &wild),
        (Some("x.y.example.org"), "x.y.example.org", &wild),
        (Some("rest.example.com"), "rest.example.com", &rest),
        (Some("unknown.example.net"), "unknown.example.net", &rest),
        (None, "rest.example.com", &rest),
    ] {
        let tls = sni.map_or_else(ClientTls::without_sni, ClientTls::any);
        let call = world.call(host, "/").tls(tls);
        for call in [call.clone(), call.h2()] {
            let answer = world.expect(call, Want::Backend("v1")).await;
            assert_eq!(answer.peer_certificate.as_deref(), Some(certificate.der.as_slice()), "{sni:?}");
            let seen = answer.seen().unwrap();
            assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
        }
    }
    // As a strict client sees it.
    let call = world.call("a.example.org", "/").tls(ClientTls::trusting("a.example.org", &authority));
    world.expect(call, Want::Backend("v1")).await;
    for listener in ["exact", "wild", "rest"] {
        world.assert_status(
            &format!("Gateway/gw/{listener}"),
            &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs", "Programmed=True Programmed"],
        );
    }
}

#[tokio::test]
async fn without_a_catch_all_unknown_names_are_refused() {
    let mut world = World::with_backends(&["v1"]).await;
    world.certificate("cert", &["a.example.org"]).await;
    world
        .apply(
            &[
                gateway("  - {name: one, port: ${PORT}, protocol: HTTPS, hostname: a.example.org, tls: {certificateRefs: [{name: cert}]}}"),
                http_route("all", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let good = world.call("a.example.org", "/").tls(ClientTls::any("a.example.org"));
    world.expect(good.clone(), Want::Backend("v1")).await;
    for tls in [ClientTls::any("b.example.org"), ClientTls::without_sni()] {
        assert!(world.call("a.example.org", "/").tls(tls).send().await.is_err());
    }
    assert!(world.call("a.example.org", "/").send().await.is_err(), "plain HTTP gets nothing");
    world.expect(good, Want::Backend("v1")).await;
}

#[tokio::test]
async fn one_listener_with_several_certificates() {
    let mut world = World::with_backends(&["v1"]).await;
    let authority = Authority::new("test");
    let (a, b) = (authority.issue(&["a.example.org"]), authority.issue(&["b.example.org"]));
    world
        .apply(
            &[
                tls_secret("default", "a", &a),
                tls_secret("default", "b", &b),
                gateway("  - {name: one, port: ${PORT}, protocol: HTTPS, tls: {certificateRefs: [{name: a}, {name: b}]}}"),
                http_route("all", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    for (host, certificate) in [("a.example.org", &a), ("b.example.org", &b)] {
        let call = world.call(host, "/").tls(ClientTls::trusting(host, &authority));
        let answer = world.expect(call, Want::Backend("v1")).await;
        assert_eq!(answer.peer_certificate.as_deref(), Some(certificate.der.as_slice()), "{host}");
    }
}

/// GEP-3567, and its table row by row: one HTTP/2 connection for each server name.
#[tokio::test]
async fn misdirected_requests() {
    let mut world = World::with_backends(&["v1"]).await;
    world.certificate("cert", &["*", "*.org", "*.wildcard.org"]).await;
    world
        .apply(
            &[
                gateway(
                    "
  - {name: https, port: ${PORT}, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
  - {name: second, port: ${PORT}, protocol: HTTPS, hostname: second-example.org, tls: {certificateRefs: [{name: cert}]}}
  - {name: wild, port: ${PORT}, protocol: HTTPS, hostname: '*.wildcard.org', tls: {certificateRefs: [{name: cert}]}}
  - {name: fourth, port: ${PORT}, protocol: HTTPS, hostname: fourth-example.wildcard.org, tls: {certificateRefs: [{name: cert}]}}
",
                ),
                route("https", "[example.org]"),
                route("second", "[second-example.org]"),
                route("wild", "[]"),
                route("fourth", "[fourth-example.wildcard.org]"),
            ]
            .concat(),
        )
        .await;
    let ready = world.call("example.org", "/").tls(ClientTls::any("example.org")).h2();
    world.expect(ready, Want::Backend("v1")).await;
    let hosts = [
        "example.org",
        "second-example.org",
        "unknown-example.org",
        "third-example.wildcard.org",
        "fith-example.wildcard.org",
        "fourth-example.wildcard.org",
        "a.b.wildcard.org",
        "wildcard.org",
    ];
    let catch_all = [200, 421, 404, 421, 421, 421, 421, 404];
    let rows: [(Option<&str>, [u16; 8]); 6] = [
        (Some("example.org"), catch_all),
        (Some("second-example.org"), [421, 200, 421, 421, 421, 421, 421, 421]),
        (Some("third-example.wildcard.org"), [421, 421, 421, 200, 200, 421, 200, 421]),
        (Some("fourth-example.wildcard.org"), [421, 421, 421, 421, 421, 200, 421, 421]),
        (Some("unknown-example.org"), catch_all),
        (None, catch_all),
    ];
    let port = world.port("PORT");
    for (sni, row) in rows {
        let tls = sni.map_or_else(ClientTls::without_sni, ClientTls::any);
        let call = |host: &str| Call::get(port, host, "/").tls(tls.clone()).h2();
        let mut connection = call("example.org").connect().await.unwrap();
        for (host, status) in hosts.into_iter().zip(row) {
            for host in [host.to_owned(), format!("{host}:{port}"), host.to_uppercase()] {
                let answer = connection.send(&call(&host)).await.unwrap();
                assert_eq!(answer.status, status, "server name {sni:?}, host {host}");
                assert!(status == 200 || answer.body.is_empty(), "{answer:?}");
            }
        }
        // The same over HTTP/1.1.
        let call = |host: &str| Call::get(port, host, "/").tls(tls.clone());
        let mut connection = call("example.org").connect().await.unwrap();
        for (host, status) in hosts.into_iter().zip(row) {
            assert_eq!(
                connection.send(&call(host)).await.unwrap().status,
                status,
                "server name {sni:?}, host {host}"
            );
        }
    }
    for listener in ["https", "second", "wild", "fourth"] {
        world.assert_status(
            &format!("Gateway/gw/{listener}"),
            &["Accepted=True Accepted", "OverlappingTLSConfig=True *"],
        );
    }
}

/// The hosts of one listener are nobody's business on a connection of another one, also where the
/// owner has no routes at all.
#[tokio::test]
async fn a_listener_without_routes_answers_404_and_others_421() {
    let mut world = World::with_backends(&["v1"]).await;
    world.certificate("cert", &["*.example.org"]).await;
    world
        .apply(
            &[
                gateway(
                    "
  - {name: a, port: ${PORT}, protocol: HTTPS, hostname: a.example.org, tls: {certificateRefs: [{name: cert}]}}
  - {name: b, port: ${PORT}, protocol: HTTPS, hostname: b.example.org, tls: {certificateRefs: [{name: cert}]}}
",
                ),
                route("a", "[]"),
            ]
            .concat(),
        )
        .await;
    for (sni, host, want) in [
        ("a.example.org", "a.example.org", Want::Backend("v1")),
        ("b.example.org", "b.example.org", Want::Status(404)),
        ("b.example.org", "a.example.org", Want::Status(421)),
        ("a.example.org", "b.example.org", Want::Status(421)),
        ("a.example.org", "c.example.org", Want::Status(404)),
    ] {
        let call = world.call(host, "/").tls(ClientTls::any(sni)).h2();
        world.expect(call, want).await;
    }
}

#[tokio::test]
async fn certificates_rotate_without_touching_the_listener() {
    let mut world = World::with_backends(&["v1"]).await;
    let authority = Authority::new("test");
    let (old, new) = (authority.issue(&["a.example.org"]), authority.issue(&["a.example.org"]));
    world
        .apply(
            &[
                tls_secret("default", "cert", &old),
                gateway(
                    "  - {name: one, port: ${PORT}, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}",
                ),
                http_route("all", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let call = world.call("a.example.org", "/").tls(ClientTls::trusting("a.example.org", &authority));
    let answer = world.expect(call.clone(), Want::Backend("v1")).await;
    assert_eq!(answer.peer_certificate.as_deref(), Some(old.der.as_slice()));
    let mut kept = call.connect().await.unwrap();
    kept.send(&call).await.unwrap();
    let listeners =
        r"listener_manager\.(listener_added|listener_modified|listener_removed|listener_in_place_updated)$";
    let before = world.envoy("gw").stats(listeners).await;
    world.apply(&tls_secret("default", "cert", &new)).await;
    world
        .expect_that(call.clone(), "the new certificate", |it| {
            it.peer_certificate.as_deref() == Some(new.der.as_slice())
        })
        .await;
    assert_eq!(world.envoy("gw").stats(listeners).await, before);
    assert_eq!(kept.send(&call).await.unwrap().status, 200, "kept connections live on");
}

#[tokio::test]
async fn a_broken_certificate_stops_only_its_listener() {
    let mut world = World::with_backends(&["v1"]).await;
    let authority = Authority::new("test");
    let good = authority.issue(&["good.example.org"]);
    let mut garbage = authority.issue(&["bad.example.org"]);
    garbage.pem = "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n".to_owned();
    let mut foreign_key = authority.issue(&["key.example.org"]);
    foreign_key.key_pem = good.key_pem.clone();
    world
        .apply(
            &[
                tls_secret("default", "good", &good),
                tls_secret("default", "garbage", &garbage),
                tls_secret("default", "foreign", &foreign_key),
                gateway(
                    "
  - {name: good, port: ${PORT}, protocol: HTTPS, hostname: good.example.org, tls: {certificateRefs: [{name: good}]}}
  - {name: garbage, port: ${PORT}, protocol: HTTPS, hostname: bad.example.org, tls: {certificateRefs: [{name: garbage}]}}
  - {name: foreign, port: ${PORT}, protocol: HTTPS, hostname: key.example.org, tls: {certificateRefs: [{name: foreign}]}}
  - {name: missing, port: ${PORT}, protocol: HTTPS, hostname: missing.example.org, tls: {certificateRefs: [{name: missing}]}}
  - {name: plain, port: ${PORT_PLAIN}, protocol: HTTP}
",
                ),
                http_route("all", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let call = world.call("good.example.org", "/").tls(ClientTls::trusting("good.example.org", &authority));
    world.expect(call.clone(), Want::Backend("v1")).await;
    let plain = world.call_on("PORT_PLAIN", "good.example.org", "/");
    world.expect(plain.clone(), Want::Backend("v1")).await;
    world.assert_status("Gateway/gw/good", &["ResolvedRefs=True ResolvedRefs", "Programmed=True Programmed"]);
    for (listener, host) in
        [("garbage", "bad.example.org"), ("foreign", "key.example.org"), ("missing", "missing.example.org")]
    {
        world.assert_status(
            &format!("Gateway/gw/{listener}"),
            &["ResolvedRefs=False InvalidCertificateRef", "Programmed=False Invalid"],
        );
        let call = world.call(host, "/").tls(ClientTls::any(host));
        fails(&call).await;
    }
    // The secret comes, or is repaired: the listener works.
    let repaired = authority.issue(&["missing.example.org", "bad.example.org"]);
    world
        .apply(
            &[tls_secret("default", "missing", &repaired), tls_secret("default", "garbage", &repaired)]
                .concat(),
        )
        .await;
    for host in ["missing.example.org", "bad.example.org"] {
        let call = world.call(host, "/").tls(ClientTls::trusting(host, &authority));
        world.expect(call, Want::Backend("v1")).await;
    }
    // It breaks again: the others do not notice.
    world.apply(&tls_secret("default", "garbage", &garbage)).await;
    world.expect(call, Want::Backend("v1")).await;
    world.expect(plain, Want::Backend("v1")).await;
}
