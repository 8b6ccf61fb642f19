//! Certificates of clients (GEP-91), and the options of TLS: what clients that really speak TLS get from a real Envoy.

use postern_e2e::{
    Authority, Call, Certificate, ClientTls, Load, Stream, Want, World, authorities, gateway, http_route,
    until,
};

const LISTENERS: &str = "
  - {name: default, port: ${PORT}, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
  - {name: other, port: ${PORT_OTHER}, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
  - {name: http, port: ${PORT_HTTP}, protocol: HTTP}
";

fn gateway_asking(frontend: &str) -> String {
    gateway(LISTENERS).replace("  listeners:", &format!("  tls: {{frontend: {{{frontend}}}}}\n  listeners:"))
}

fn trusting(name: &str) -> String {
    format!("validation: {{caCertificateRefs: [{{group: '', kind: ConfigMap, name: {name}}}]}}")
}

/// A world with the authorities `ca` and `other-ca` of clients, and one backend.
struct Clients {
    world: World,
    ours: Authority,
    others: Authority,
}

impl Clients {
    async fn new() -> Self {
        let mut world = World::with_backends(&["v1"]).await;
        world.certificate("cert", &["example.org"]).await;
        let (ours, others) = (Authority::new("ours"), Authority::new("others"));
        let route = http_route("all", "rules: [{backendRefs: [{name: v1, port: 8080}]}]");
        world
            .apply(&[authorities("ca", &[&ours]), authorities("other-ca", &[&others]), route].concat())
            .await;
        Self { world, ours, others }
    }

    fn call(&mut self, port: &str, certificate: Option<&Certificate>) -> Call {
        let mut tls = ClientTls::any("example.org");
        if let Some(certificate) = certificate {
            tls = tls.showing(certificate);
        }
        self.world.call_on(port, "example.org", "/").tls(tls)
    }
}

/// Waits until clients like this one are refused in the handshake.
async fn refused(call: &Call) {
    until(&format!("refusal of {call}"), || async {
        match call.send().await {
            Err(_) => Ok(()),
            Ok(answer) => Err(format!("answered with {}", answer.status)),
        }
    })
    .await;
}

#[tokio::test]
async fn each_port_has_its_authorities() {
    let mut clients = Clients::new().await;
    let settings = format!(
        "default: {{{}}}, perPort: [{{port: ${{PORT_OTHER}}, tls: {{{}}}}}]",
        trusting("ca"),
        trusting("other-ca")
    );
    clients.world.apply(&gateway_asking(&settings)).await;
    let (ours, other) = (clients.ours.issue(&["a.example.com"]), clients.others.issue(&["b.example.com"]));
    for (port, certificate, passes) in [
        ("PORT", Some(&ours), true),
        ("PORT", Some(&other), false),
        ("PORT", None, false),
        ("PORT_OTHER", Some(&other), true),
        ("PORT_OTHER", Some(&ours), false),
        ("PORT_OTHER", None, false),
    ] {
        let call = clients.call(port, certificate);
        for call in [call.clone(), call.h2()] {
            if passes {
                clients.world.expect(call, Want::Backend("v1")).await;
            } else {
                refused(&call).await;
            }
        }
    }
    let plain = clients.world.call_on("PORT_HTTP", "example.org", "/");
    clients.world.expect(plain, Want::Backend("v1")).await;
    clients
        .world
        .assert_status("Gateway/gw/default", &["Accepted=True Accepted", "Programmed=True Programmed"]);
    clients.world.assert_nothing_rejected().await;
}

/// What backends hear of a client is what Envoy has verified, and never what the client says of itself.
#[tokio::test]
async fn backends_learn_who_the_client_is() {
    let mut clients = Clients::new().await;
    clients
        .world
        .apply(&gateway_asking(&format!(
            "default: {{{}}}, perPort: [{{port: ${{PORT_OTHER}}, tls: {{}}}}]",
            trusting("ca")
        )))
        .await;
    let own = clients.ours.issue(&["a.example.com", "spiffe://example.com/client"]);
    let forged = "By=spiffe://x;Hash=0;Subject=\"CN=admin\"";
    let call = clients.call("PORT", Some(&own)).header("x-forwarded-client-cert", forged);
    let seen = clients.world.expect(call, Want::Backend("v1")).await.seen().unwrap();
    let header = seen.header("x-forwarded-client-cert").unwrap();
    assert!(header.contains("URI=spiffe://example.com/client"), "{header}");
    assert!(header.contains("DNS=a.example.com") && header.contains("CN=a.example.com"), "{header}");
    assert!(header.contains("Hash=") && !header.contains("admin"), "{header}");
    // Where nobody is verified, nothing is said.
    for port in ["PORT_OTHER", "PORT_HTTP"] {
        let call = match port {
            "PORT_HTTP" => clients.world.call_on(port, "example.org", "/"),
            _ => clients.call(port, Some(&own)),
        };
        let call = call.header("x-forwarded-client-cert", forged);
        let seen = clients.world.expect(call, Want::Backend("v1")).await.seen().unwrap();
        assert_eq!(seen.header("x-forwarded-client-cert"), None, "{port}");
    }
}

#[tokio::test]
async fn the_fallback_lets_everybody_in_and_says_so() {
    let mut clients = Clients::new().await;
    let insecure = trusting("ca").replace("validation: {", "validation: {mode: AllowInsecureFallback, ");
    clients.world.apply(&gateway_asking(&format!("default: {{{insecure}}}"))).await;
    let (ours, other) = (clients.ours.issue(&["a.example.com"]), clients.others.issue(&["b.example.com"]));
    for certificate in [Some(&ours), Some(&other), None] {
        let call = clients.call("PORT", certificate);
        let seen = clients.world.expect(call, Want::Backend("v1")).await.seen().unwrap();
        assert_eq!(
            seen.header("x-forwarded-client-cert"),
            None,
            "a backend could not tell a valid one from others"
        );
    }
    let condition = ["InsecureFrontendValidationMode=True ConfigurationChanged"];
    clients.world.assert_status("Gateway/gw", &condition);
    // Back to the secure mode: whoever has no certificate is refused, and the condition is gone.
    clients.world.apply(&gateway_asking(&format!("default: {{{}}}", trusting("ca")))).await;
    let call = clients.call("PORT", None);
    refused(&call).await;
    let status = clients.world.status("Gateway", "default", "gw");
    assert!(!status.to_string().contains("InsecureFrontendValidationMode"), "{status:#}");
}

#[tokio::test]
async fn without_an_authority_nobody_is_let_in() {
    let mut clients = Clients::new().await;
    clients.world.apply(&gateway_asking(&format!("default: {{{}}}", trusting("gone")))).await;
    let own = clients.ours.issue(&["a.example.com"]);
    let plain = clients.world.call_on("PORT_HTTP", "example.org", "/");
    clients.world.expect(plain.clone(), Want::Backend("v1")).await;
    for certificate in [Some(&own), None] {
        let call = clients.call("PORT", certificate);
        refused(&call).await;
    }
    clients.world.assert_status(
        "Gateway/gw/default",
        &[
            "Accepted=False NoValidCACertificate",
            "ResolvedRefs=False InvalidCACertificateRef",
            "Programmed=False Invalid",
        ],
    );
    clients.world.assert_status("Gateway/gw/http", &["Accepted=True Accepted", "Programmed=True Programmed"]);
    // The authorities come.
    clients.world.apply(&authorities("gone", &[&clients.ours])).await;
    let call = clients.call("PORT", Some(&own));
    clients.world.expect(call.clone(), Want::Backend("v1")).await;
    // And go: new connections are refused.
    clients.world.delete("ConfigMap", "gone").await;
    refused(&call).await;
    clients.world.expect(plain, Want::Backend("v1")).await;
    clients.world.assert_nothing_rejected().await;
}

/// A resumed session would bring a certificate that nobody looks at again.
#[tokio::test]
async fn sessions_are_not_resumed_where_certificates_count() {
    let mut clients = Clients::new().await;
    clients
        .world
        .apply(&gateway_asking(&format!(
            "default: {{{}}}, perPort: [{{port: ${{PORT_OTHER}}, tls: {{}}}}]",
            trusting("ca")
        )))
        .await;
    let own = clients.ours.issue(&["a.example.com"]);
    for version in ["1.2", "1.3"] {
        for (port, resumes) in [("PORT_OTHER", true), ("PORT", false)] {
            let tls = ClientTls::any("example.org").showing(&own).version(version).resuming();
            let call = clients.world.call_on(port, "example.org", "/").tls(tls);
            assert!(!clients.world.expect(call.clone(), Want::Backend("v1")).await.resumed);
            // The workers of Envoy share what is needed for that.
            let mut resumed = false;
            for _ in 0..5 {
                resumed |= call.send().await.unwrap().resumed;
            }
            assert_eq!(resumed, resumes, "TLS {version} at {port}");
        }
    }
}

/// The authorities change under load: kept connections live on, new ones are judged by the new authorities, no listener changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_rotate_under_load() {
    let mut clients = Clients::new().await;
    clients.world.apply(&gateway_asking(&format!("default: {{{}}}", trusting("ca")))).await;
    let (first, second) = (clients.ours.issue(&["a.example.com"]), clients.others.issue(&["b.example.com"]));
    let (old, new) = (clients.call("PORT", Some(&first)), clients.call("PORT", Some(&second)));
    clients.world.expect(old.clone(), Want::Backend("v1")).await;
    refused(&new).await;
    let listeners =
        r"listener_manager\.(listener_added|listener_modified|listener_removed|listener_in_place_updated)$";
    let before = clients.world.envoy("gw").stats(listeners).await;
    let mut kept = old.connect().await.unwrap();
    kept.send(&old).await.unwrap();
    let load =
        Load::start(vec![Stream::kept("kept", old.clone(), 100), Stream::fresh("new", old.clone(), 40)]);
    for _ in 0..5 {
        clients.world.apply(&authorities("ca", &[&clients.ours, &clients.others])).await;
        clients.world.expect(new.clone(), Want::Backend("v1")).await;
        clients.world.apply(&authorities("ca", &[&clients.ours])).await;
        refused(&new).await;
        let answered = load.report().succeeded;
        until("more requests", || async {
            if load.report().succeeded > answered + 20 { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }
    load.stop().await.assert_clean(100);
    clients.world.apply(&authorities("ca", &[&clients.others])).await;
    refused(&old).await;
    assert_eq!(kept.send(&old).await.unwrap().status, 200, "what was let in stays");
    assert_eq!(clients.world.envoy("gw").stats(listeners).await, before);
    clients.world.assert_nothing_rejected().await;
}

fn with_options(options: &str) -> String {
    format!(
        "  - {{name: one, port: ${{PORT}}, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}], options: {{{options}}}}}}}\n  - {{name: http, port: ${{PORT_HTTP}}, protocol: HTTP}}"
    )
}

#[tokio::test]
async fn options_choose_versions_and_ciphers() {
    let mut world = World::with_backends(&["v1"]).await;
    world.certificate("cert", &["example.org"]).await;
    world.apply(&http_route("all", "rules: [{backendRefs: [{name: v1, port: 8080}]}]")).await;
    let (old, new) =
        (ClientTls::any("example.org").version("1.2"), ClientTls::any("example.org").version("1.3"));
    let (old, new) = (world.call("example.org", "/").tls(old), world.call("example.org", "/").tls(new));
    world.apply(&gateway(&with_options(""))).await;
    assert_eq!(world.expect(old.clone(), Want::Backend("v1")).await.tls_version.as_deref(), Some("TLSv1_2"));
    assert_eq!(world.expect(new.clone(), Want::Backend("v1")).await.tls_version.as_deref(), Some("TLSv1_3"));

    world.apply(&gateway(&with_options("postern.dev/minimum-tls-version: '1.3'"))).await;
    refused(&old).await;
    world.expect(new.clone(), Want::Backend("v1")).await;

    world
        .apply(&gateway(&with_options(
            "kgateway.dev/max-tls-version: '1.2', kgateway.dev/cipher-suites: 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'",
        )))
        .await;
    refused(&new).await;
    let suite = world.expect(old.clone(), Want::Backend("v1")).await.cipher_suite;
    assert_eq!(suite.as_deref(), Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));

    // h2 is on offer unless the options leave it out.
    world.expect(old.clone().h2(), Want::Backend("v1")).await;
    world.apply(&gateway(&with_options("postern.dev/alpn-protocols: http/1.1"))).await;
    refused(&new.clone().h2()).await;
    world.expect(new.clone(), Want::Backend("v1")).await;

    // What cannot be carried out closes this listener and no other.
    world.apply(&gateway(&with_options("postern.dev/minimum-tls-version: '2'"))).await;
    refused(&new).await;
    world.assert_status("Gateway/gw/one", &["Accepted=False UnsupportedValue", "Programmed=False Invalid"]);
    let plain = world.call_on("PORT_HTTP", "example.org", "/");
    world.expect(plain, Want::Backend("v1")).await;
    world.assert_nothing_rejected().await;
}

/// kgateway's options that narrow whose certificates are valid.
#[tokio::test]
async fn options_verify_names_and_digests_of_clients() {
    let mut world = World::with_backends(&["v1"]).await;
    world.certificate("cert", &["example.org"]).await;
    let authority = Authority::new("clients");
    let (good, bad) =
        (authority.issue(&["a.clients.example.com"]), authority.issue(&["stranger.example.com"]));
    world
        .apply(
            &[
                authorities("ca", &[&authority]),
                http_route("all", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let call = |world: &mut World, certificate: &Certificate| {
        world.call("example.org", "/").tls(ClientTls::any("example.org").showing(certificate))
    };
    for options in [
        "kgateway.dev/verify-subject-alt-names: 'x.example.com,*.clients.example.com'".to_owned(),
        format!("postern.dev/verify-certificate-hash: '{}'", good.fingerprint()),
    ] {
        let yaml = gateway(&with_options(&options)).replace(
            "  listeners:",
            &format!("  tls: {{frontend: {{default: {{{}}}}}}}\n  listeners:", trusting("ca")),
        );
        world.apply(&yaml).await;
        let (good, bad) = (call(&mut world, &good), call(&mut world, &bad));
        world.expect(good, Want::Backend("v1")).await;
        refused(&bad).await;
    }
    world.assert_nothing_rejected().await;
}
