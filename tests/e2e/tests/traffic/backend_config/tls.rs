//! TLS to backends.

use std::io::Write as _;

use postern_e2e::{
    Authority, Backend, Want, World, covers, http_route, service, static_backend, tls_secret, until,
};

use super::{on, policy, to_shop};

/// A Secret with authorities, and perhaps a certificate with its key.
fn secret(name: &str, authority: &Authority, shown: Option<&postern_e2e::Certificate>) -> String {
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let mut text = format!(
        "apiVersion: v1
kind: Secret
type: Opaque
metadata: {{name: {name}, namespace: default}}
stringData:
  ca.crt: |
{}",
        indented(&authority.pem())
    );
    if let Some(shown) = shown {
        for (name, pem) in [("tls.crt", &shown.pem), ("tls.key", &shown.key_pem)] {
            text.push_str("  ");
            text.push_str(name);
            text.push_str(": |\n");
            text.push_str(&indented(pem));
        }
    }
    text + "---\n"
}

#[tokio::test]
async fn certificates_of_a_secret() {
    covers!(
        "BackendConfigPolicy.spec.tls.secretRef.name",
        "BackendConfigPolicy.spec.tls.sni",
        "BackendConfigPolicy.spec.tls.verifySubjectAltNames[]",
        "BackendConfigPolicy.spec.tls.simpleTLS",
        "BackendConfigPolicy.spec.tls.alpnProtocols[]",
    );
    let mut world = World::with_backends(&[]).await;
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let backend = Backend::mutual_tls("shop", &servers.issue(&["shop.test"]), &clients).await;
    let shown = clients.issue(&["gateway.test"]);
    let yaml = [
        secret("both", &servers, Some(&shown)),
        secret("other", &clients, Some(&shown)),
        service("default", "shop", "", &[backend.address()]),
        to_shop(),
        policy("p", "tls: {secretRef: {name: both}, sni: shop.test}"),
    ];
    world.apply(&yaml.concat()).await;
    let call = world.call("example.org", "/");
    let seen = world.expect(call.clone(), Want::Backend("shop")).await.seen().unwrap();
    assert_eq!((seen.sni.as_deref(), seen.client_certificate), (Some("shop.test"), Some(shown.der.clone())));
    world.assert_status("BackendConfigPolicy/p", &["Accepted=True Accepted", "Attached=True Attached"]);
    world
        .apply(&policy("p", "tls: {secretRef: {name: both}, sni: shop.test, alpnProtocols: [h2, x-own]}"))
        .await;
    let offered = |answer: &postern_e2e::Answer| {
        answer
            .seen()
            .is_some_and(|seen| (seen.alpn.as_deref(), seen.version.as_str()) == (Some("h2"), "HTTP/1.1"))
    };
    world.expect_that(call.clone(), "what the policy offers", offered).await;

    for (tls, status) in [
        // Not the name of the certificate.
        ("secretRef: {name: both}, sni: other.test", 503),
        // It may have another name than the one that is sent.
        ("secretRef: {name: both}, sni: other.test, verifySubjectAltNames: [gone.test, shop.test]", 200),
        ("secretRef: {name: both}, sni: shop.test, verifySubjectAltNames: [gone.test]", 503),
        // Nothing is shown, so the backend refuses.
        ("secretRef: {name: both}, sni: shop.test, simpleTLS: true", 503),
        // Signed by somebody else.
        ("secretRef: {name: other}, sni: shop.test", 503),
    ] {
        world.apply(&policy("p", &format!("tls: {{{tls}}}"))).await;
        let answer = world.expect(call.clone(), Want::Status(status)).await;
        if tls.contains("verifySubjectAltNames: [gone.test, shop") {
            assert_eq!(answer.seen().unwrap().sni.as_deref(), Some("other.test"), "{tls}");
        }
    }
    world.apply(&policy("p", "tls: {secretRef: {name: gone}, sni: shop.test}")).await;
    world.expect(call.clone(), Want::Status(503)).await;
    world.assert_status("BackendConfigPolicy/p", &["Accepted=False Invalid"]);
    // Secrets come later.
    world.apply(&secret("gone", &servers, Some(&shown))).await;
    world.expect(call.clone(), Want::Backend("shop")).await;
    world.delete("BackendConfigPolicy", "p").await;
    world.expect(call, Want::Status(502)).await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn whom_to_trust() {
    covers!(
        "BackendConfigPolicy.spec.tls.wellKnownCACertificates",
        "BackendConfigPolicy.spec.tls.insecureSkipVerify",
        "BackendConfigPolicy.spec.tls.files.rootCA",
        "BackendConfigPolicy.spec.tls.files.tlsCertificate",
        "BackendConfigPolicy.spec.tls.files.tlsKey",
    );
    let mut world = World::with_backends(&[]).await;
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let private = Backend::mutual_tls("shop", &servers.issue(&["shop.test"]), &clients).await;
    let public = Backend::tls("public", &world.authority().issue(&["shop.test"])).await;
    let open = Backend::tls("open", &servers.issue(&["shop.test"])).await;
    let to = |backend: &Backend| service("default", "shop", "", &[backend.address()]);
    world.apply(&[to(&public), to_shop()].concat()).await;
    let call = world.call("example.org", "/");
    world.apply(&policy("p", "tls: {wellKnownCACertificates: System, sni: shop.test}")).await;
    world.expect(call.clone(), Want::Backend("public")).await;
    // A public authority vouches for anybody: without a name that proves nothing.
    world.apply(&policy("p", "tls: {wellKnownCACertificates: System}")).await;
    world.expect(call.clone(), Want::Status(503)).await;
    world.assert_status("BackendConfigPolicy/p", &["Accepted=False Invalid"]);
    world.apply(&policy("p", "tls: {insecureSkipVerify: false, sni: shop.test}")).await;
    world.expect(call.clone(), Want::Backend("public")).await;
    world.apply(&to(&open)).await;
    world.expect(call.clone(), Want::Status(503)).await;
    world.apply(&policy("p", "tls: {insecureSkipVerify: true}")).await;
    world.expect(call.clone(), Want::Backend("open")).await;

    let directory = tempfile::tempdir().unwrap();
    let shown = clients.issue(&["gateway.test"]);
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let root = file("ca.crt", &servers.pem());
    let (certificate, key) = (file("tls.crt", &shown.pem), file("tls.key", &shown.key_pem));
    world.apply(&to(&private)).await;
    world.apply(&policy("p", &format!("tls: {{files: {{rootCA: {root}}}, sni: shop.test}}"))).await;
    world.expect(call.clone(), Want::Status(503)).await;
    let files = format!("files: {{rootCA: {root}, tlsCertificate: {certificate}, tlsKey: {key}}}");
    world.apply(&policy("p", &format!("tls: {{{files}, sni: shop.test}}"))).await;
    let seen = world.expect(call, Want::Backend("shop")).await.seen().unwrap();
    assert_eq!(seen.client_certificate, Some(shown.der));
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn versions_and_algorithms() {
    covers!(
        "BackendConfigPolicy.spec.tls.parameters.minVersion",
        "BackendConfigPolicy.spec.tls.parameters.maxVersion",
        "BackendConfigPolicy.spec.tls.parameters.cipherSuites[]",
        "BackendConfigPolicy.spec.tls.parameters.ecdhCurves[]",
    );
    let mut world = World::with_backends(&[]).await;
    let servers = Authority::new("servers");
    let backend = Backend::tls("shop", &servers.issue(&["shop.test"])).await;
    world
        .apply(
            &[secret("ca", &servers, None), service("default", "shop", "", &[backend.address()]), to_shop()]
                .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    let with = |parameters: &str| {
        policy(
            "p",
            &format!("tls: {{secretRef: {{name: ca}}, sni: shop.test, parameters: {{{parameters}}}}}"),
        )
    };
    for (parameters, version) in [
        ("maxVersion: '1.2'", "TLSv1_2"),
        ("minVersion: '1.3'", "TLSv1_3"),
        ("minVersion: AUTO, maxVersion: AUTO", "TLSv1_3"),
        (
            "maxVersion: '1.2', cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-RSA-AES128-GCM-SHA256]",
            "TLSv1_2",
        ),
        ("ecdhCurves: [P-256]", "TLSv1_3"),
    ] {
        world.apply(&with(parameters)).await;
        let what = format!("{version} with {parameters}");
        let holds = |answer: &postern_e2e::Answer| {
            answer.seen().is_some_and(|seen| seen.tls_version.as_deref() == Some(version))
        };
        world.expect_that(call.clone(), &what, holds).await;
    }
    // What the backend does not have.
    for parameters in [
        "maxVersion: '1.2', cipherSuites: [AES128-SHA]",
        "ecdhCurves: [P-521]",
        "maxVersion: '1.1', minVersion: '1.1'",
    ] {
        world.apply(&with(parameters)).await;
        world.expect(call.clone(), Want::Status(503)).await;
    }
    world.assert_nothing_rejected().await;
}

/// A server of OpenSSL that asks for a new handshake before it answers; it ends when dropped.
struct Renegotiating {
    server: std::process::Child,
    said: std::path::PathBuf,
}

impl Renegotiating {
    fn start(directory: &std::path::Path, port: u16, certificate: &postern_e2e::Certificate) -> Self {
        let pem = directory.join("server.pem");
        std::fs::write(&pem, format!("{}{}", certificate.pem, certificate.key_pem)).unwrap();
        let said = directory.join("said");
        let server = std::process::Command::new("openssl")
            .args([
                "s_server",
                "-tls1_2",
                "-client_renegotiation",
                "-accept",
                &format!("127.0.0.1:{port}"),
                "-cert",
            ])
            .arg(&pem)
            .stdin(std::process::Stdio::piped())
            .stdout(std::fs::File::create(&said).unwrap())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("openssl is part of every Debian with certificates");
        Self { server, said }
    }

    /// Types a line where the server reads it.
    fn types(&mut self, text: &str) {
        self.server.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    async fn says(&self, text: &str) {
        until(text, async || {
            let said = std::fs::read(&self.said).unwrap();
            let said = String::from_utf8_lossy(&said).into_owned();
            if said.contains(text) { Ok(()) } else { Err(said) }
        })
        .await;
    }
}

impl Drop for Renegotiating {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test]
async fn handshakes_that_begin_anew() {
    covers!("BackendConfigPolicy.spec.tls.allowRenegotiation");
    for (allowed, status) in [(false, 503), (true, 200)] {
        let mut world = World::with_backends(&[]).await;
        let servers = Authority::new("servers");
        let directory = tempfile::tempdir().unwrap();
        let port = postern_e2e::Port::reserve();
        let address = ([127, 0, 0, 1], port.number()).into();
        let number = port.number();
        drop(port);
        let mut server = Renegotiating::start(directory.path(), number, &servers.issue(&["shop.test"]));
        server.says("ACCEPT").await;
        let tls = format!("tls: {{secretRef: {{name: ca}}, sni: shop.test, allowRenegotiation: {allowed}}}");
        let objects = [
            secret("ca", &servers, None),
            service("default", "shop", "", &[address]),
            to_shop(),
            policy("p", &tls),
        ];
        world.apply(&objects.concat()).await;
        let call = world.call("example.org", "/renegotiated");
        let answer = tokio::spawn(async move { call.send().await });
        server.says("/renegotiated").await;
        server.types("r\n");
        server.says("SSL_do_handshake").await;
        server.types("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(answer.await.unwrap().unwrap().status, status, "allowed: {allowed}");
    }
}

/// Without `sni`, each host is asked for by its own name, and has to prove it.
#[tokio::test]
async fn names_of_hosts() {
    let mut world = World::with_backends(&[]).await;
    let servers = Authority::new("servers");
    let right = Backend::tls("right", &servers.issue(&["right.outside.test"])).await;
    let wrong = Backend::tls("wrong", &servers.issue(&["right.outside.test"])).await;
    let address = Backend::tls("address", &servers.issue(&["127.0.0.1"])).await;
    for name in ["right", "wrong"] {
        world.names().set(&format!("{name}.outside.test"), &[std::net::Ipv4Addr::LOCALHOST]);
    }
    let host = |name: &str, backend: &Backend| {
        static_backend(
            name.split('.').next().unwrap(),
            &format!("[{{host: {name}, port: {}}}]", backend.address().port()),
        )
    };
    let rules: String = ["right", "wrong", "own"]
        .map(|name| {
            format!("- {{matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{group: gateway.kgateway.dev, kind: Backend, name: {name}}}]}}\n")
        })
        .concat();
    let target = |name: &str| format!("{{group: gateway.kgateway.dev, kind: Backend, name: {name}}}");
    let own = host("127.0.0.1", &address).replace("name: 127", "name: own");
    world
        .apply(
            &[
                secret("ca", &servers, None),
                host("right.outside.test", &right),
                host("wrong.outside.test", &wrong),
                own,
                http_route("r", &format!("rules:\n{rules}")),
                on(&target("right"), "right", "tls: {secretRef: {name: ca}}"),
                on(&target("wrong"), "wrong", "tls: {secretRef: {name: ca}}"),
                on(&target("own"), "own", "tls: {secretRef: {name: ca}}"),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/right");
    let seen = world.expect(call, Want::Backend("right")).await.seen().unwrap();
    assert_eq!(seen.sni.as_deref(), Some("right.outside.test"));
    let call = world.call("example.org", "/wrong");
    world.expect(call, Want::Status(503)).await;
    let call = world.call("example.org", "/own");
    world.expect(call, Want::Backend("address")).await;
    world.assert_nothing_rejected().await;
}

/// BackendTLSPolicy decides about TLS; the rest of the other policy stays.
#[tokio::test]
async fn a_policy_of_the_gateway_api_comes_first() {
    let mut world = World::with_backends(&[]).await;
    let servers = Authority::new("servers");
    let backend = Backend::tls("shop", &servers.issue(&["shop.test"])).await;
    world
        .apply(
            &[
                postern_e2e::authorities("ca", &[&servers]),
                tls_secret("default", "unused", &servers.issue(&["unused.test"])),
                service("default", "shop", "", &[backend.address()]),
                to_shop(),
                policy("p", "connectTimeout: 2s, tls: {wellKnownCACertificates: System, sni: shop.test}"),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(503)).await;
    world
        .apply(
            "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: first, namespace: default, generation: 1}
spec:
  targetRefs: [{group: '', kind: Service, name: shop}]
  validation: {hostname: shop.test, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}
",
        )
        .await;
    world.expect(call, Want::Backend("shop")).await;
    world.assert_status("BackendConfigPolicy/p", &["Accepted=True Accepted", "Attached=True Merged"]);
    assert_eq!(super::cluster(&world).await["connect_timeout"], "2s");
}
