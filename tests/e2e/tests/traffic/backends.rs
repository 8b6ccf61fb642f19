//! Where requests go: weights, invalid and empty backends, protocols, static backends.

use std::collections::BTreeMap;

use postern::bootstrap::{Address, Bootstrap};
use postern_e2e::{
    Authority, Backend, Call, Envoy, Port, Want, World, covers, http_route, raw, refuses_leaves, repository,
    service, static_backend, tls_secret, until,
};
use serde::Deserialize as _;
use serde_json::Value;

/// The answers of `count` requests on one connection: backend or status, and how often.
async fn tally(call: &Call, count: u32) -> BTreeMap<String, u32> {
    let mut connection = call.connect().await.unwrap();
    let mut tally = BTreeMap::new();
    for _ in 0..count {
        let answer = connection.send(call).await.unwrap();
        let key = if answer.status == 200 { answer.backend() } else { answer.status.to_string() };
        *tally.entry(key).or_default() += 1;
    }
    tally
}

/// Fails unless each share of 1000 lies within five standard deviations.
fn assert_shares(tally: &BTreeMap<String, u32>, shares: &[(&str, f64)]) {
    let total: u32 = tally.values().sum();
    assert_eq!(tally.len(), shares.len(), "{tally:?}");
    for (key, share) in shares {
        let count = f64::from(tally.get(*key).copied().unwrap_or_default());
        let want = f64::from(total) * share;
        let margin = 5.0 * (f64::from(total) * share * (1.0 - share)).sqrt();
        assert!((count - want).abs() < margin, "{key} got {count}, not about {want}: {tally:?}");
    }
}

#[tokio::test]
async fn weights() {
    let mut world = World::with_backends(&["v1", "v2", "v3"]).await;
    world
        .apply(&http_route(
            "weights",
            "
rules:
- matches: [{path: {value: /split}}]
  backendRefs: [{name: v1, port: 8080, weight: 70}, {name: v2, port: 8080, weight: 30}, {name: v3, port: 8080, weight: 0}]
- matches: [{path: {value: /default}}]
  backendRefs: [{name: v1, port: 8080}, {name: v2, port: 8080, weight: 1}]
- matches: [{path: {value: /zero}}]
  backendRefs: [{name: v1, port: 8080, weight: 0}, {name: v2, port: 8080, weight: 0}]
- matches: [{path: {value: /none}}]
- matches: [{path: {value: /empty}}]
  backendRefs: []
",
        ))
        .await;
    let call = world.call("example.org", "/split");
    world.expect(call.clone(), Want::Status(200)).await;
    assert_shares(&tally(&call, 1000).await, &[("v1", 0.7), ("v2", 0.3)]);
    let call = world.call("example.org", "/default");
    assert_shares(&tally(&call, 1000).await, &[("v1", 0.5), ("v2", 0.5)]);
    for path in ["/zero", "/none", "/empty"] {
        let call = world.call("example.org", path);
        world.expect(call, Want::Status(500)).await;
    }
}

/// The share of a backend that cannot be used gets 500, no more and no less.
#[tokio::test]
async fn an_invalid_share_is_exact() {
    let mut world = World::with_backends(&["v1"]).await;
    let nobody = service("default", "nobody", "", &[]);
    let route = http_route(
        "shares",
        "
rules:
- matches: [{path: {value: /missing}}]
  backendRefs: [{name: v1, port: 8080, weight: 70}, {name: missing, port: 8080, weight: 30}]
- matches: [{path: {value: /mixed}}]
  backendRefs: [{name: v1, port: 8080, weight: 40}, {name: missing, port: 8080, weight: 35}, {name: nobody, port: 8080, weight: 25}]
- matches: [{path: {value: /port}}]
  backendRefs: [{name: v1, port: 8080}, {name: v1, port: 9999}]
",
    );
    world.apply(&[nobody, route].concat()).await;
    let call = world.call("example.org", "/missing");
    world.expect(call.clone(), Want::Backend("v1")).await;
    assert_shares(&tally(&call, 1000).await, &[("v1", 0.7), ("500", 0.3)]);
    let call = world.call("example.org", "/mixed");
    assert_shares(&tally(&call, 1000).await, &[("v1", 0.4), ("500", 0.35), ("503", 0.25)]);
    let call = world.call("example.org", "/port");
    assert_shares(&tally(&call, 1000).await, &[("v1", 0.5), ("500", 0.5)]);
    world
        .assert_status("HTTPRoute/shares", &["Accepted=True Accepted", "ResolvedRefs=False BackendNotFound"]);
    // The Service comes: the share works.
    let v2 = Backend::start("v2").await;
    let yaml = service("default", "missing", "", &[v2.address()]);
    world.apply(&yaml).await;
    let call = world.call("example.org", "/missing");
    world.expect(call.clone(), Want::Backend("v2")).await;
    assert_shares(&tally(&call, 1000).await, &[("v1", 0.7), ("v2", 0.3)]);
}

#[tokio::test]
async fn backends_that_do_not_exist() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(
            &[
                service("default", "nobody", "", &[]),
                http_route("missing", "rules: [{matches: [{path: {value: /missing}}], backendRefs: [{name: missing, port: 8080}]}]"),
                http_route("port", "rules: [{matches: [{path: {value: /port}}], backendRefs: [{name: v1, port: 81}]}]"),
                http_route("kind", "rules: [{matches: [{path: {value: /kind}}], backendRefs: [{group: example.com, kind: Unknown, name: x, port: 8080}]}]"),
                http_route("nobody", "rules: [{matches: [{path: {value: /nobody}}], backendRefs: [{name: nobody, port: 8080}]}]"),
                http_route("fine", "rules: [{matches: [{path: {value: /}}], backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/fine");
    world.expect(call, Want::Backend("v1")).await;
    for (route, status, condition) in [
        ("missing", 500, "ResolvedRefs=False BackendNotFound"),
        ("port", 500, "ResolvedRefs=False BackendNotFound"),
        ("kind", 500, "ResolvedRefs=False InvalidKind"),
        ("nobody", 503, "ResolvedRefs=True ResolvedRefs"),
    ] {
        let call = world.call("example.org", &format!("/{route}"));
        world.expect(call, Want::Status(status)).await;
        world.assert_status(&format!("HTTPRoute/{route}"), &["Accepted=True Accepted", condition]);
    }
}

#[tokio::test]
async fn endpoints_come_and_go() {
    let mut world = World::with_backends(&[]).await;
    let one = Backend::start("one").await;
    let two = Backend::start("two").await;
    let endpoints = |conditions: &str, backend: &Backend| {
        format!(
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: svc-{name}, namespace: default, labels: {{kubernetes.io/service-name: svc}}}}
addressType: IPv4
ports: [{{name: web, port: {port}}}, {{name: other, port: 1}}]
endpoints: [{{addresses: [127.0.0.1]{conditions}}}]
---
",
            name = backend.name(),
            port = backend.address().port(),
        )
    };
    // A named target port: the number comes from the slice, whatever the Service says.
    let service = "
apiVersion: v1
kind: Service
metadata: {name: svc, namespace: default}
spec: {ports: [{name: web, port: 8080, targetPort: web}, {name: other, port: 9090, targetPort: other}]}
---
";
    let route = http_route("r", "rules: [{backendRefs: [{name: svc, port: 8080}]}]");
    world.apply(&[service.to_owned(), route, endpoints("", &one)].concat()).await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Backend("one")).await;

    // Not ready endpoints get nothing.
    world.apply(&endpoints(", conditions: {ready: false}", &two)).await;
    assert_eq!(tally(&call, 50).await.len(), 1);
    world.apply(&endpoints(", conditions: {ready: true}", &two)).await;
    world.expect(call.clone(), Want::Backend("two")).await;
    // A terminating one is left out as long as others are ready.
    world.apply(&endpoints(", conditions: {ready: false, serving: true, terminating: true}", &two)).await;
    until("end of requests to the terminating endpoint", || {
        let call = call.clone();
        async move {
            let tally = tally(&call, 20).await;
            if tally.contains_key("two") { Err(format!("{tally:?}")) } else { Ok(()) }
        }
    })
    .await;
    // When all are terminating, those that still serve are used.
    world.apply(&endpoints(", conditions: {ready: false, serving: true, terminating: true}", &one)).await;
    world.expect(call.clone(), Want::Status(200)).await;
    world.delete("EndpointSlice", "svc-one").await;
    world.expect(call.clone(), Want::Backend("two")).await;
    world.delete("EndpointSlice", "svc-two").await;
    world.expect(call, Want::Status(503)).await;
}

#[tokio::test]
async fn h2c() {
    let mut world = World::with_backends(&["plain"]).await;
    let backend = Backend::start("h2c").await;
    let yaml = service("default", "h2c", "appProtocol: kubernetes.io/h2c", &[backend.address()]);
    world
        .apply(
            &[
                yaml,
                http_route(
                    "r",
                    "
rules:
- {matches: [{path: {value: /h2c}}], backendRefs: [{name: h2c, port: 8080}]}
- {matches: [{path: {value: /plain}}], backendRefs: [{name: plain, port: 8080}]}
",
                ),
            ]
            .concat(),
        )
        .await;
    for (path, backend, version) in [("/h2c", "h2c", "HTTP/2.0"), ("/plain", "plain", "HTTP/1.1")] {
        let call = world.call("example.org", path);
        for call in [call.clone(), call.h2()] {
            let seen = world.expect(call, Want::Backend(backend)).await.seen().unwrap();
            assert_eq!(seen.version, version);
        }
    }
}

#[tokio::test]
async fn websockets() {
    let mut world = World::with_backends(&["plain"]).await;
    let backend = Backend::start("ws").await;
    let yaml = service("default", "ws", "appProtocol: kubernetes.io/ws", &[backend.address()]);
    let route = "
rules:
- {matches: [{path: {value: /ws}}], backendRefs: [{name: ws, port: 8080}]}
- {matches: [{path: {value: /plain}}], backendRefs: [{name: plain, port: 8080}]}
";
    world.apply(&[yaml, http_route("r", route)].concat()).await;
    let call = world.call("example.org", "/ws");
    world.expect(call, Want::Backend("ws")).await;
    let port = world.port("PORT");
    for path in ["/ws", "/plain"] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nhello over the upgrade"
        );
        let answer =
            raw(port, request.as_bytes(), |all| all.ends_with(b"hello over the upgrade")).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(answer.ends_with("hello over the upgrade"), "{answer}");
    }
}

#[tokio::test]
async fn static_backends() {
    covers!(
        "Backend.spec.static.hosts[].host",
        "Backend.spec.static.hosts[].port",
        "Backend.spec.static.hosts[].tls.sni",
    );
    let mut world = World::with_backends(&[]).await;
    let certificate = world.authority().issue(&["secure.example"]);
    let foreign = Authority::new("foreign").issue(&["secure.example"]);
    let by_address = Backend::start("address").await;
    let by_name = Backend::start("name").await;
    let secure = Backend::tls("secure", &certificate).await;
    let untrusted = Backend::tls("untrusted", &foreign).await;
    let backend_ref = |path: &str, name: &str| {
        format!(
            "- {{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{group: gateway.kgateway.dev, kind: Backend, name: {name}}}]}}\n"
        )
    };
    world
        .apply(
            &[
                static_backend(
                    "address",
                    &format!("[{{host: 127.0.0.1, port: {}}}]", by_address.address().port()),
                ),
                static_backend("name", &format!("[{{host: localhost, port: {}}}]", by_name.address().port())),
                static_backend(
                    "secure",
                    &format!(
                        "[{{host: 127.0.0.1, port: {}, tls: {{sni: secure.example}}}}]",
                        secure.address().port()
                    ),
                ),
                static_backend(
                    "untrusted",
                    &format!(
                        "[{{host: 127.0.0.1, port: {}, tls: {{sni: secure.example}}}}]",
                        untrusted.address().port()
                    ),
                ),
                http_route(
                    "static",
                    &[
                        "rules:\n".to_owned(),
                        backend_ref("/address", "address"),
                        backend_ref("/name", "name"),
                        backend_ref("/secure", "secure"),
                        backend_ref("/untrusted", "untrusted"),
                        backend_ref("/missing", "missing"),
                    ]
                    .concat(),
                ),
            ]
            .concat(),
        )
        .await;
    for name in ["address", "name"] {
        let call = world.call("example.org", &format!("/{name}"));
        world.expect(call, Want::Backend(name)).await;
    }
    let call = world.call("example.org", "/missing");
    world.expect(call, Want::Status(500)).await;
    // The handshake carries the name that the Backend gives, and the certificate is checked.
    let call = world.call("example.org", "/secure");
    let answer = world.expect(call, Want::Backend("secure")).await;
    assert_eq!(answer.seen().unwrap().sni.as_deref(), Some("secure.example"));
    let call = world.call("example.org", "/untrusted");
    world.expect(call, Want::Status(503)).await;
    assert_eq!(untrusted.count("/"), 0, "nothing is sent to a server that cannot prove its name");
    let moved = Backend::start("moved").await;
    world
        .apply(&static_backend(
            "address",
            &format!("[{{host: 127.0.0.1, port: {}}}]", moved.address().port()),
        ))
        .await;
    let call = world.call("example.org", "/address");
    world.expect(call, Want::Backend("moved")).await;
}

#[tokio::test]
async fn several_hosts_of_a_backend() {
    covers!("Backend.spec.type", "Backend.spec.static.appProtocol");
    let mut world = World::with_backends(&[]).await;
    let certificate = world.authority().issue(&["secure.example"]);
    let by_address = Backend::start("address").await;
    let by_name = Backend::start("name").await;
    let secure = Backend::tls("secure", &certificate).await;
    world.names().set("one.outside.test", &[std::net::Ipv4Addr::LOCALHOST]);
    let hosts = format!(
        "[{{host: 127.0.0.1, port: {}}}, {{host: one.outside.test, port: {}}}, {{host: 127.0.0.1, port: {}, tls: {{sni: secure.example}}}}]",
        by_address.address().port(),
        by_name.address().port(),
        secure.address().port()
    );
    let route = http_route(
        "r",
        "rules: [{backendRefs: [{group: gateway.kgateway.dev, kind: Backend, name: mixed}]}]",
    );
    world.apply(&[static_backend("mixed", &hosts), route].concat()).await;
    let call = world.call("example.org", "/");
    until("all hosts get requests", async || {
        let tally = tally(&call, 60).await;
        let fair =
            ["address", "name", "secure"].iter().all(|it| tally.get(*it).is_some_and(|count| *count > 5));
        if fair && tally.len() == 3 { Ok(()) } else { Err(format!("{tally:?}")) }
    })
    .await;
    let hosts = format!("[{{host: 127.0.0.1, port: {}}}]", by_address.address().port());
    for (protocol, version) in [
        ("http2", "HTTP/2.0"),
        ("kubernetes.io/ws", "HTTP/1.1"),
        ("grpc", "HTTP/2.0"),
        ("grpc-web", "HTTP/1.1"),
        ("kubernetes.io/h2c", "HTTP/2.0"),
    ] {
        let yaml = static_backend("mixed", &hosts)
            .replace("static: {", &format!("static: {{appProtocol: {protocol}, "));
        world.apply(&yaml).await;
        let what = format!("{version} by {protocol}");
        world
            .expect_that(call.clone(), &what, |it| it.seen().is_some_and(|seen| seen.version == version))
            .await;
    }
    world.assert_nothing_rejected().await;
}

/// Whatever they say: the status tells it, and routes to them answer 500.
#[tokio::test]
async fn backends_that_are_not_carried_out() {
    refuses_leaves!("Backend.spec", "tests/kind_reference/backends.yaml");
    refuses_leaves!("AIBackend.spec", "tests/kind_reference/ai-backends.yaml");
    let mut world = World::with_backends(&[]).await;
    let examples = repository().join("tests/e2e/tests/kind_reference");
    for (kind, file) in [("Backend", "backends.yaml"), ("AIBackend", "ai-backends.yaml")] {
        let text = std::fs::read_to_string(examples.join(file)).unwrap();
        let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).unwrap())
            .filter(|document| !document.is_null())
            .collect();
        assert!(documents.len() >= 3, "{}", documents.len());
        for mut document in documents {
            document["metadata"]["namespace"] = "default".into();
            let name = document["metadata"]["name"].as_str().unwrap().to_owned();
            let reference = format!("{{group: gateway.kgateway.dev, kind: {kind}, name: {name}}}");
            let route = http_route("r", &format!("rules: [{{backendRefs: [{reference}]}}]"));
            world.apply(&format!("{document}\n---\n{route}")).await;
            world.assert_status(&format!("{kind}/{name}"), &["Accepted=False *"]);
            let call = world.call("example.org", "/");
            world.expect(call, Want::Status(500)).await;
            assert!(world.problems().contains(&format!("{kind} default/{name}")), "{}", world.problems());
            world.delete(kind, &name).await;
        }
    }
    world.assert_nothing_rejected().await;
}

/// A name of somebody's own domain may lead to the proxy's loopback interface: what answers there must be harmless.
#[tokio::test]
async fn the_admin_interface_ends_no_proxy() {
    let admin = Address::Tcp("127.0.0.1".to_owned(), 0);
    let bootstrap = Bootstrap::new("default", "gw", "127.0.0.1:9".parse().unwrap(), admin);
    let directory = tempfile::tempdir().unwrap();
    let mut envoy = Envoy::start_with(directory.path(), &bootstrap.to_yaml().unwrap()).await;
    let port = envoy.admin_port();
    for path in [
        "/quitquitquit",
        "/logging?level=trace",
        "/runtime_modify?a=b",
        "/cpuprofiler?enable=y",
        "/reset_counters",
        "/hot_restart_version",
        "/",
    ] {
        let answer = Call::get(port, "admin", path).method("POST").send().await.unwrap();
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    for path in [
        "/stats?filter=x",
        "/config_dump?include_eds",
        "/clusters",
        "/listeners",
        "/certs",
        "/server_info",
        "/memory",
    ] {
        let answer = Call::get(port, "admin", path).send().await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let answer = Call::get(port, "admin", "/healthcheck/fail").method("POST").send().await.unwrap();
    assert_eq!(answer.status, 200, "it is how a proxy is taken out of service");
    assert!(envoy.is_alive());
}

/// An endpoint that does not listen is no reason to keep others waiting.
#[tokio::test]
async fn a_dead_endpoint_fails_fast() {
    let mut world = World::with_backends(&[]).await;
    let dead = Port::reserve();
    let address = ([127, 0, 0, 1], dead.number()).into();
    world
        .apply(
            &[
                service("default", "dead", "", &[address]),
                http_route("r", "rules: [{backendRefs: [{name: dead, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    world.expect(call, Want::Status(503)).await;
}

/// A secret that no one refers to must never reach Envoy.
#[tokio::test]
async fn nothing_unneeded_is_sent() {
    let mut world = World::with_backends(&["v1"]).await;
    let certificate = Authority::new("test").issue(&["unused.example"]);
    world
        .apply(
            &[
                tls_secret("default", "unused", &certificate),
                service("default", "unused", "", &[]),
                http_route("r", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    let dump = world.envoy("gw").config_dump().await.to_string();
    assert!(dump.contains("v1") && !dump.contains("unused"), "{dump}");
}
