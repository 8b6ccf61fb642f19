//! XBackends (GEP-4894): external hosts, selected pods, TLS, sessions.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use postern_e2e::{Authority, Backend, Port, Want, World, authorities, http_route, tls_secret};

const REFERENCE: &str = "group: gateway.networking.x-k8s.io, kind: XBackend";

fn x_backend(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackend
metadata: {{name: {name}, namespace: default, generation: 1}}
spec: {{{spec}}}
---
"
    )
}

fn host(name: &str, port: u16) -> String {
    format!("type: ExternalHostname, externalHostname: {{hostname: {name}}}, port: {{number: {port}}}")
}

fn pods(app: &str, port: u16) -> String {
    format!(
        "type: EndpointSelector, endpointSelector: {{matchLabels: {{app: {app}}}}}, port: {{number: {port}}}"
    )
}

/// A Pod `default/name` at `address`; `more` joins its metadata.
fn pod(name: &str, app: &str, address: IpAddr, ready: bool, more: &str) -> String {
    let ready = if ready { "True" } else { "False" };
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default, labels: {{app: {app}}}{more}}}
spec: {{containers: []}}
status: {{phase: Running, podIP: {address}, conditions: [{{type: Ready, status: '{ready}'}}]}}
---
"
    )
}

fn to(names: &[&str]) -> String {
    let rules: String = names
        .iter()
        .map(|name| format!("- {{matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{{REFERENCE}, name: {name}}}]}}\n"))
        .collect();
    http_route("r", &format!("rules:\n{rules}"))
}

#[tokio::test]
async fn external_hosts_with_and_without_tls() {
    let mut world = World::with_backends(&[]).await;
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let plain = Backend::start("plain").await;
    let secure = Backend::tls("secure", &servers.issue(&["eu.secure.test"])).await;
    let mutual = Backend::mutual_tls("mutual", &servers.issue(&["eu.mutual.test"]), &clients).await;
    let shown = clients.issue(&["gateway.test"]);
    for name in ["plain", "secure", "mutual"] {
        world.names().set(&format!("{name}.outside.test"), &[Ipv4Addr::LOCALHOST]);
    }
    let trusting = |name: &str| {
        format!(
            "validation: {{hostname: eu.{name}.test, caCertificateRefs: [{{group: '', kind: ConfigMap, name: ca}}]}}"
        )
    };
    let to_secure = |tls: &str| {
        x_backend("secure", &format!("{}, {tls}", host("secure.outside.test", secure.address().port())))
    };
    world
        .apply(
            &[
                authorities("ca", &[&servers]),
                tls_secret("default", "shown", &shown),
                x_backend("plain", &host("plain.outside.test", plain.address().port())),
                to_secure(&format!("tls: {{mode: ServerOnly, {}}}", trusting("secure"))),
                x_backend(
                    "mutual",
                    &format!(
                        "{}, protocol: HTTP2, tls: {{mode: ClientAndServer, clientCertificateRef: {{name: shown}}, {}}}",
                        host("mutual.outside.test", mutual.address().port()),
                        trusting("mutual")
                    ),
                ),
                x_backend("proxy", &host("localhost", plain.address().port())),
                to(&["plain", "secure", "mutual", "proxy"]),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/plain");
    let seen = world.expect(call, Want::Backend("plain")).await.seen().unwrap();
    assert_eq!((seen.host.as_str(), seen.version.as_str()), ("example.org", "HTTP/1.1"));
    let secured = world.call("example.org", "/secure");
    let seen = world.expect(secured.clone(), Want::Backend("secure")).await.seen().unwrap();
    assert_eq!((seen.sni.as_deref(), seen.client_certificate), (Some("eu.secure.test"), None));
    let call = world.call("example.org", "/mutual");
    let seen = world.expect(call, Want::Backend("mutual")).await.seen().unwrap();
    assert_eq!(seen.version, "HTTP/2.0");
    assert_eq!(seen.client_certificate, Some(shown.der.clone()));
    for name in ["plain", "secure", "mutual"] {
        let conditions = ["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"];
        world.assert_status(&format!("XBackend/{name}"), &conditions);
    }

    let call = world.call("example.org", "/proxy");
    world.expect(call, Want::Status(500)).await;
    world.assert_status("HTTPRoute/r", &["ResolvedRefs=False UnsupportedValue"]);

    // Without an authority nothing is sent, and nothing in cleartext either.
    let before = secure.count("/");
    world
        .apply(&to_secure(
            "tls: {mode: ServerOnly, validation: {hostname: eu.secure.test, caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]}}",
        ))
        .await;
    world.expect(secured, Want::Status(503)).await;
    assert_eq!(secure.count("/"), before);
    world.assert_status(
        "XBackend/secure",
        &["Accepted=False NoValidCACertificate", "ResolvedRefs=False InvalidCACertificateRef"],
    );
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn pods_come_and_go() {
    let mut world = World::with_backends(&[]).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let Some(SocketAddr::V4(_)) = Some(one.address()) else { panic!("IPv4") };
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // All backends of the tests are at one address, so the port tells them apart.
    let selecting = |backend: &Backend| x_backend("shop", &pods("shop", backend.address().port()));
    world.apply(&[selecting(&one), to(&["shop"])].concat()).await;
    let call = world.call("example.org", "/shop");
    world.expect(call.clone(), Want::Status(503)).await;
    assert!(world.problems().contains("no pod that is ready has these labels"), "{}", world.problems());

    world.apply(&pod("cart-1", "cart", home, true, "")).await;
    world.expect(call.clone(), Want::Status(503)).await;
    world.apply(&pod("shop-1", "shop", home, true, "")).await;
    world.expect(call.clone(), Want::Backend("one")).await;
    world.apply(&selecting(&two)).await;
    world.expect(call.clone(), Want::Backend("two")).await;

    // One that shuts down serves as long as there is no other.
    let leaving = ", deletionTimestamp: '2026-01-01T00:00:00Z'";
    world.apply(&pod("shop-1", "shop", home, true, leaving)).await;
    world.expect(call.clone(), Want::Backend("two")).await;
    world.apply(&pod("shop-1", "shop", home, false, leaving)).await;
    world.expect(call.clone(), Want::Status(503)).await;
    world.apply(&pod("shop-2", "shop", home, true, "")).await;
    world.expect(call.clone(), Want::Backend("two")).await;
    world.delete("Pod", "shop-2").await;
    world.expect(call.clone(), Want::Status(503)).await;

    // The same XBackend for a host, and back.
    world.names().set("shop.outside.test", &[Ipv4Addr::LOCALHOST]);
    world.apply(&x_backend("shop", &host("shop.outside.test", one.address().port()))).await;
    world.expect(call.clone(), Want::Backend("one")).await;
    world.apply(&[selecting(&two), pod("shop-3", "shop", home, true, "")].concat()).await;
    world.expect(call, Want::Backend("two")).await;
    world.assert_nothing_rejected().await;
}

/// Two pods at two addresses of loopback, which listen at the same port.
#[tokio::test]
async fn a_session_stays_with_its_pod() {
    let mut world = World::with_backends(&[]).await;
    let port = Port::reserve();
    let addresses = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)].map(IpAddr::V4);
    let mut kept = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        kept.push(Backend::at(&format!("shop{index}"), (*address, port.number()).into()).await);
    }
    world
        .apply(
            &[
                x_backend(
                    "shop",
                    &format!(
                        "{}, sessionPersistence: {{cookie: {{name: basket}}}}",
                        pods("shop", port.number())
                    ),
                ),
                pod("shop-0", "shop", addresses[0], true, ""),
                pod("shop-1", "shop", addresses[1], true, ""),
                to(&["shop"]),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/shop");
    let first = world.expect_that(call.clone(), "an answer", |answer| answer.status == 200).await;
    let cookie = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("basket="), "{cookie}");
    let mut without = BTreeSet::new();
    for _ in 0..30 {
        let answer = call.clone().header("cookie", &cookie).send().await.unwrap();
        assert_eq!(answer.backend(), first.backend());
        without.insert(call.send().await.unwrap().backend());
    }
    assert_eq!(without.len(), 2, "without the cookie both answer");
}
