//! TLS to backends: BackendTLSPolicy and the client certificate of a Gateway, against backends that really speak TLS.

use postern_e2e::{
    Answer, Authority, Backend, Load, Stream, Want, World, authorities, backend_tls_policy, gateway,
    http_route, service, tls_secret, until,
};

const CA: &str = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]";

fn validation(hostname: &str) -> String {
    format!("hostname: {hostname}, {CA}")
}

fn route(name: &str) -> String {
    http_route(
        name,
        &format!(
            "rules: [{{matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: {name}, port: 8080}}]}}]"
        ),
    )
}

/// A world with the ConfigMap `ca` of an authority, and a backend behind a certificate of it for `names`.
async fn world(names: &[&str]) -> (World, Authority) {
    let mut world = World::with_backends(&[]).await;
    let authority = Authority::new("backends");
    world.add_backend(Backend::tls("secure", &authority.issue(names)).await).await;
    world.apply(&[authorities("ca", &[&authority]), route("secure")].concat()).await;
    (world, authority)
}

/// Statuses of requests that end at Envoy because the backend is not to be trusted.
fn is_refused(answer: &Answer) -> bool {
    matches!(answer.status, 502 | 503) && answer.seen().is_none()
}

#[tokio::test]
async fn a_policy_opens_tls_and_names_the_server() {
    let (mut world, _) = world(&["backend.example.com"]).await;
    let call = world.call("example.org", "/secure");
    world.expect_that(call.clone(), "cleartext is not answered", is_refused).await;

    world.apply(&backend_tls_policy("p", "secure", &validation("backend.example.com"))).await;
    let seen = world.expect(call.clone(), Want::Backend("secure")).await.seen().unwrap();
    assert_eq!(seen.sni.as_deref(), Some("backend.example.com"));
    assert_eq!(seen.host, "example.org", "the host of the request is the client's");
    assert_eq!((seen.version.as_str(), seen.alpn.as_deref()), ("HTTP/1.1", Some("http/1.1")));
    assert_eq!(seen.tls_version.as_deref(), Some("TLSv1_3"));
    assert_eq!(seen.client_certificate, None);
    world.assert_status("BackendTLSPolicy/p", &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]);

    world.delete("BackendTLSPolicy", "p").await;
    world.expect_that(call, "cleartext again", is_refused).await;
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_refused() {
    let (mut world, authority) = world(&["backend.example.com", "spiffe://example.com/backend"]).await;
    let stranger = Authority::new("stranger");
    world.apply(&authorities("other", &[&stranger])).await;
    let call = world.call("example.org", "/secure");
    let sans = |names: &str| format!("{}, subjectAltNames: [{names}]", validation("sni.example.com"));
    for (validation, fits) in [
        (validation("backend.example.com"), true),
        (validation("other.example.com"), false),
        (
            "hostname: backend.example.com, caCertificateRefs: [{group: '', kind: ConfigMap, name: other}]"
                .to_owned(),
            false,
        ),
        // With names of their own, the host name does not count.
        (validation("sni.example.com"), false),
        (sans("{type: Hostname, hostname: backend.example.com}"), true),
        (sans("{type: Hostname, hostname: '*.example.com'}"), true),
        (sans("{type: Hostname, hostname: '*.com'}"), false),
        (sans("{type: Hostname, hostname: sni.example.com}"), false),
        (sans("{type: URI, uri: 'spiffe://example.com/backend'}"), true),
        (sans("{type: URI, uri: 'spiffe://example.com/other'}"), false),
        (
            sans(
                "{type: URI, uri: 'spiffe://example.com/other'}, {type: Hostname, hostname: backend.example.com}",
            ),
            true,
        ),
    ] {
        world.apply(&backend_tls_policy("p", "secure", &validation)).await;
        let what = format!("{validation}: fits {fits}");
        let answer = |answer: &Answer| if fits { answer.backend() == "secure" } else { is_refused(answer) };
        world.expect_that(call.clone(), &what, answer).await;
        world.assert_status("BackendTLSPolicy/p", &["Accepted=True Accepted"]);
    }
    // A wildcard in the certificate stands for one label.
    let wild = authority.issue(&["*.example.com"]);
    world.backend("secure").renew(&wild, None);
    for (host, fits) in [("a.example.com", true), ("a.b.example.com", false)] {
        world.apply(&backend_tls_policy("p", "secure", &validation(host))).await;
        let answer = |answer: &Answer| if fits { answer.backend() == "secure" } else { is_refused(answer) };
        world.expect_that(call.clone(), host, answer).await;
    }
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn authorities_come_from_everywhere() {
    let (mut world, authority) = world(&["backend.example.com"]).await;
    world
        .apply(&format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: ca, namespace: default}}
stringData: {{ca.crt: {pem:?}}}
---
apiVersion: certificates.k8s.io/v1beta1
kind: ClusterTrustBundle
metadata: {{name: 'example.com:backends:v1'}}
spec: {{signerName: example.com/backends, trustBundle: {pem:?}}}
",
            pem = authority.pem()
        ))
        .await;
    let call = world.call("example.org", "/secure");
    for reference in [
        "group: '', kind: Secret, name: ca",
        "group: certificates.k8s.io, kind: ClusterTrustBundle, name: 'example.com:backends:v1'",
        "group: '', kind: ConfigMap, name: gone}, {group: '', kind: ConfigMap, name: ca",
    ] {
        // Closed in between, so that nothing is left of the one before.
        world.apply(&backend_tls_policy("p", "secure", "hostname: backend.example.com")).await;
        world.expect_that(call.clone(), "nobody is trusted", is_refused).await;
        let validation = format!("hostname: backend.example.com, caCertificateRefs: [{{{reference}}}]");
        world.apply(&backend_tls_policy("p", "secure", &validation)).await;
        world.expect(call.clone(), Want::Backend("secure")).await;
    }
    let system = "hostname: backend.example.com, wellKnownCACertificates: System";
    world.apply(&backend_tls_policy("p", "secure", system)).await;
    world.expect_that(call.clone(), "the system does not know the authority", is_refused).await;
    let of_system = world.authority().issue(&["backend.example.com"]);
    world.backend("secure").renew(&of_system, None);
    world.expect(call, Want::Backend("secure")).await;
}

/// GEP-1897: 5xx as long as the policy is not valid; when it is mended, requests flow.
#[tokio::test]
async fn a_policy_that_is_not_valid_closes() {
    let (mut world, authority) = world(&["backend.example.com"]).await;
    let call = world.call("example.org", "/secure");
    for (validation, conditions) in [
        (
            "hostname: backend.example.com, caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]",
            ["Accepted=False NoValidCACertificate", "ResolvedRefs=False InvalidCACertificateRef"],
        ),
        (
            "hostname: backend.example.com, caCertificateRefs: [{group: x.io, kind: Vault, name: ca}]",
            ["Accepted=False NoValidCACertificate", "ResolvedRefs=False InvalidKind"],
        ),
        (
            "hostname: backend.example.com, wellKnownCACertificates: x.io/own",
            ["Accepted=False Invalid", "ResolvedRefs=True ResolvedRefs"],
        ),
    ] {
        world.apply(&backend_tls_policy("p", "secure", &self::validation("backend.example.com"))).await;
        world.expect(call.clone(), Want::Backend("secure")).await;
        world.apply(&backend_tls_policy("p", "secure", validation)).await;
        world.expect_that(call.clone(), validation, is_refused).await;
        world.assert_status("BackendTLSPolicy/p", &conditions);
    }
    // The ConfigMap breaks, and is mended.
    world.apply(&backend_tls_policy("p", "secure", &validation("backend.example.com"))).await;
    world.expect(call.clone(), Want::Backend("secure")).await;
    world
        .apply(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: default}\ndata: {ca.crt: ''}\n",
        )
        .await;
    world.expect_that(call.clone(), "no authority is left", is_refused).await;
    world.apply(&authorities("ca", &[&authority])).await;
    world.expect(call, Want::Backend("secure")).await;
    world.assert_nothing_rejected().await;
}

/// One port may have a policy of its own; the older of two rivals counts.
#[tokio::test]
async fn ports_and_rivals() {
    let (mut world, authority) = world(&["one.example.com"]).await;
    let other = Backend::tls("other", &authority.issue(&["two.example.com"])).await;
    let (one, two) = (world.backend("secure").address().port(), other.address().port());
    let policy = |name: &str, target: &str, host: &str, day: u8| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: default, creationTimestamp: '2026-01-0{day}T00:00:00Z'}}
spec:
  targetRefs: [{{group: '', kind: Service, name: ports{target}}}]
  validation: {{hostname: {host}, {CA}}}
---
"
        )
    };
    world
        .apply(
            &[
                format!(
                    "apiVersion: v1
kind: Service
metadata: {{name: ports, namespace: default}}
spec: {{ports: [{{name: one, port: 1}}, {{name: two, port: 2}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: ports, namespace: default, labels: {{kubernetes.io/service-name: ports}}}}
addressType: IPv4
ports: [{{name: one, port: {one}}}, {{name: two, port: {two}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
"
                ),
                http_route(
                    "ports",
                    "rules:
- {matches: [{path: {value: /one}}], backendRefs: [{name: ports, port: 1}]}
- {matches: [{path: {value: /two}}], backendRefs: [{name: ports, port: 2}]}",
                ),
                policy("whole", "", "one.example.com", 1),
                policy("two", ", sectionName: two", "two.example.com", 2),
            ]
            .concat(),
        )
        .await;
    let (to_one, to_two) = (world.call("example.org", "/one"), world.call("example.org", "/two"));
    world.expect(to_one.clone(), Want::Backend("secure")).await;
    world.expect(to_two.clone(), Want::Backend("other")).await;
    for name in ["whole", "two"] {
        world.assert_status(&format!("BackendTLSPolicy/{name}"), &["Accepted=True Accepted"]);
    }
    world.apply(&policy("a-younger", "", "wrong.example.com", 3)).await;
    world.expect(to_one.clone(), Want::Backend("secure")).await;
    world.assert_status("BackendTLSPolicy/a-younger", &["Accepted=False Conflicted"]);
    world.delete("BackendTLSPolicy", "whole").await;
    world.expect_that(to_one, "the other one counts now", is_refused).await;
    world.assert_status("BackendTLSPolicy/a-younger", &["Accepted=True Accepted"]);
    world.expect(to_two, Want::Backend("other")).await;
}

/// gRPC, h2c backends and mirrors are clusters as well.
#[tokio::test]
async fn whatever_goes_to_the_backend_goes_over_tls() {
    let (mut world, authority) = world(&["backend.example.com"]).await;
    world.add_backend(Backend::tls("mirror", &authority.issue(&["backend.example.com"])).await).await;
    world.add_backend(Backend::start("plain").await).await;
    let h2 =
        service("default", "secure", "appProtocol: kubernetes.io/h2c", &[world.backend("secure").address()]);
    world
        .apply(
            &[
                h2,
                backend_tls_policy("p", "secure", &validation("backend.example.com")),
                backend_tls_policy("m", "mirror", &validation("backend.example.com")),
                http_route(
                    "mirrored",
                    "rules:
- matches: [{path: {value: /mirrored}}]
  filters: [{type: RequestMirror, requestMirror: {backendRef: {name: mirror, port: 8080}}}]
  backendRefs: [{name: plain, port: 8080}]",
                ),
                "apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: grpc, namespace: default}
spec:
  parentRefs: [{name: gw}]
  hostnames: [grpc.example.org]
  rules: [{backendRefs: [{name: mirror, port: 8080}]}]
"
                .to_owned(),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/secure");
    let seen = world.expect(call, Want::Backend("secure")).await.seen().unwrap();
    assert_eq!((seen.version.as_str(), seen.alpn.as_deref()), ("HTTP/2.0", Some("h2")));
    let call = world.call("grpc.example.org", "/s.S/M").h2().header("content-type", "application/grpc");
    let seen = world.expect(call, Want::Backend("mirror")).await.seen().unwrap();
    assert_eq!((seen.version.as_str(), seen.alpn.as_deref()), ("HTTP/2.0", Some("h2")));
    let call = world.call("example.org", "/mirrored");
    world.expect(call, Want::Backend("plain")).await;
    until("the mirrored request", || async {
        let seen = world.backend("mirror").seen();
        let mirrored = seen.iter().find(|it| it.path == "/mirrored").ok_or("not yet")?;
        assert_eq!(mirrored.sni.as_deref(), Some("backend.example.com"));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn options_narrow_what_is_spoken() {
    let (mut world, _) = world(&["backend.example.com"]).await;
    let call = world.call("example.org", "/secure");
    let policy = |options: &str| {
        backend_tls_policy("p", "secure", &validation("backend.example.com"))
            .replace("---\n", &format!("  options: {{{options}}}\n---\n"))
    };
    world.apply(&policy("postern.dev/maximum-tls-version: '1.2'")).await;
    let version = |want: &'static str| {
        move |answer: &Answer| answer.seen().is_some_and(|it| it.tls_version.as_deref() == Some(want))
    };
    world.expect_that(call.clone(), "TLS 1.2", version("TLSv1_2")).await;
    world.apply(&policy("kgateway.dev/min-tls-version: '1.3'")).await;
    world.expect_that(call.clone(), "TLS 1.3", version("TLSv1_3")).await;
    // What cannot be carried out closes.
    world.apply(&policy("postern.dev/cipher-suites: RC4-MD5")).await;
    world.expect_that(call, "no connection", is_refused).await;
    world.assert_status("BackendTLSPolicy/p", &["Accepted=False Invalid"]);
    assert!(world.problems().contains("RC4-MD5"), "{}", world.problems());
}

/// GEP-3155: the Gateway that has a certificate shows it, the other one that sends requests to the same backend does not.
#[tokio::test]
async fn a_gateway_shows_its_certificate() {
    let mut world = World::with_backends(&[]).await;
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let own = clients.issue(&["gateway.example.com"]);
    let certificate = servers.issue(&["backend.example.com"]);
    world.add_backend(Backend::mutual_tls("secure", &certificate, &clients).await).await;
    world.add_backend(Backend::tls("open", &certificate).await).await;
    let with_certificate = gateway("  - {name: http, port: ${PORT}, protocol: HTTP}")
        .replace("  listeners:", "  tls: {backend: {clientCertificateRef: {name: client}}}\n  listeners:");
    let other =
        gateway("  - {name: http, port: ${PORT_OTHER}, protocol: HTTP}").replace("name: gw,", "name: other,");
    let both = |name: &str| route(name).replace("{name: gw}", "{name: gw}, {name: other}");
    world
        .apply(
            &[
                authorities("ca", &[&servers]),
                tls_secret("default", "client", &own),
                with_certificate,
                other,
                both("secure"),
                both("open"),
                backend_tls_policy("p", "secure", &validation("backend.example.com")),
                backend_tls_policy("o", "open", &validation("backend.example.com")),
            ]
            .concat(),
        )
        .await;
    let secure = world.call("example.org", "/secure");
    let seen = world.expect(secure.clone(), Want::Backend("secure")).await.seen().unwrap();
    assert_eq!(seen.client_certificate, Some(own.der.clone()));
    world.assert_status("Gateway/gw", &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]);
    let stranger = world.call_on("PORT_OTHER", "example.org", "/secure");
    world.expect_that(stranger, "no certificate, no answer", is_refused).await;
    let open = world.call_on("PORT_OTHER", "example.org", "/open");
    world.expect(open, Want::Backend("open")).await;
    world.assert_status("BackendTLSPolicy/p", &["Accepted=True Accepted"]);

    // Without the Secret nothing is shown: whoever does not ask for it is none the worse.
    world.delete("Secret", "client").await;
    world.assert_status(
        "Gateway/gw",
        &["Accepted=True Accepted", "ResolvedRefs=False InvalidClientCertificateRef"],
    );
    world.expect_that(secure.clone(), "refused by the backend", is_refused).await;
    let open = world.call("example.org", "/open");
    world.expect(open, Want::Backend("open")).await;
    world.apply(&tls_secret("default", "client", &own)).await;
    world.expect(secure, Want::Backend("secure")).await;
    world.assert_nothing_rejected().await;
}

/// The steps of a rotation as an operator makes them, under load: every request is answered, and neither a listener nor a cluster
/// changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_and_client_certificates_rotate_under_load() {
    let mut world = World::with_backends(&[]).await;
    let (old_servers, new_servers) = (Authority::new("old servers"), Authority::new("new servers"));
    let clients = Authority::new("clients");
    let issue = |authority: &Authority| authority.issue(&["backend.example.com"]);
    let (first, second) = (clients.issue(&["first.example.com"]), clients.issue(&["second.example.com"]));
    world.add_backend(Backend::mutual_tls("secure", &issue(&old_servers), &clients).await).await;
    world
        .apply(
            &[
                authorities("ca", &[&old_servers]),
                tls_secret("default", "client", &first),
                gateway("  - {name: http, port: ${PORT}, protocol: HTTP}").replace(
                    "  listeners:",
                    "  tls: {backend: {clientCertificateRef: {name: client}}}\n  listeners:",
                ),
                route("secure"),
                backend_tls_policy("p", "secure", &validation("backend.example.com")),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/secure");
    world.expect(call.clone(), Want::Backend("secure")).await;
    let load = Load::start(vec![
        Stream::kept("kept", call.clone(), 100),
        Stream::fresh("new", call.clone(), 50),
        Stream::kept("kept too", call.clone(), 50),
    ]);
    let churn = r"(listener_manager\.(listener_added|listener_modified|listener_removed|listener_in_place_updated)|cluster_manager\.cluster_(added|modified|removed|updated))$";
    let before = world.envoy("gw").stats(churn).await;
    for round in 0..5 {
        let (leaves, comes) =
            if round % 2 == 0 { (&old_servers, &new_servers) } else { (&new_servers, &old_servers) };
        world.apply(&authorities("ca", &[leaves, comes])).await;
        world.backend("secure").renew(&issue(comes), Some(&clients));
        world.apply(&authorities("ca", &[comes])).await;
        let shown = if round % 2 == 0 { &second } else { &first };
        world.apply(&tls_secret("default", "client", shown)).await;
        let is_shown = |answer: &Answer| {
            answer.seen().is_some_and(|it| it.client_certificate.as_ref() == Some(&shown.der))
        };
        world.expect_that(call.clone(), "the new certificate", is_shown).await;
        more(&load, 50).await;
    }
    load.stop().await.assert_clean(250);
    assert_eq!(world.envoy("gw").stats(churn).await, before);
    world.assert_nothing_rejected().await;
}

/// A route changes over to a backend behind TLS and back, under load: the new cluster is there, with all that it trusts, before any
/// request needs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_changes_over_to_tls_under_load() {
    let (mut world, _) = world(&["backend.example.com"]).await;
    world.add_backend(Backend::start("plain").await).await;
    let to = |name: &str| route("svc").replace("{name: svc, port", &format!("{{name: {name}, port"));
    world.delete("HTTPRoute", "secure").await;
    world.apply(&to("plain")).await;
    let call = world.call("example.org", "/svc");
    world.expect(call.clone(), Want::Backend("plain")).await;
    let load = Load::start(vec![
        Stream::kept("kept", call.clone(), 300),
        Stream::kept("kept too", call.clone(), 300),
        Stream::fresh("new", call.clone(), 50),
    ]);
    for _ in 0..15 {
        // Both at once: nobody has asked for the cluster or its authorities before.
        let policy = backend_tls_policy("p", "secure", &validation("backend.example.com"));
        world.apply(&[policy, to("secure")].concat()).await;
        more(&load, 20).await;
        world.expect(call.clone(), Want::Backend("secure")).await;
        world.apply(&to("plain")).await;
        more(&load, 20).await;
        world.expect(call.clone(), Want::Backend("plain")).await;
        world.delete("BackendTLSPolicy", "p").await;
    }
    load.stop().await.assert_clean(600);
    world.assert_nothing_rejected().await;
}

/// Waits for so many more requests.
async fn more(load: &Load, requests: u64) {
    let before = load.report();
    until("more requests", || {
        let now = load.report();
        let done = now.succeeded + now.failed - before.succeeded - before.failed;
        async move { if done >= requests { Ok(()) } else { Err(format!("{done}")) } }
    })
    .await;
}
