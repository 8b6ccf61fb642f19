//! What connections are like: protocols, headers that Envoy adds, addresses of clients, idle times.

use std::time::Duration;

use postern_e2e::{
    Backend, Reply, Want, World, covers, gateway, http_route, raw, service, traffic_policy, until,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{LISTENERS, ROUTE, TO_GATEWAY, on_gateway, policy, world};

#[tokio::test]
async fn the_header_server() {
    covers!("HTTPListenerPolicy.spec.serverHeaderTransformation");
    let mut world = World::empty().await;
    let backend = Backend::replying("v1", |seen| match seen.path.as_str() {
        "/named" => Reply::Headers(vec![("server", "mine")]),
        _ => Reply::Echo,
    });
    world.add_backend(backend.await).await;
    world.apply(&[gateway(LISTENERS), http_route("r", ROUTE)].concat()).await;
    for (value, named, unnamed) in [
        ("PassThrough", Some("mine"), None),
        ("AppendIfAbsent", Some("mine"), Some("envoy")),
        ("Overwrite", Some("envoy"), Some("envoy")),
    ] {
        world.apply(&on_gateway(&format!("serverHeaderTransformation: {value}"))).await;
        for (path, expected) in [("/named", named), ("/", unnamed)] {
            let call = world.call("a.example.org", path);
            world
                .expect_that(call, &format!("{value} {path}: {expected:?}"), |it| {
                    it.status == 200 && it.header("server").as_deref() == expected
                })
                .await;
        }
    }
}

#[tokio::test]
async fn whose_address_is_believed() {
    covers!("HTTPListenerPolicy.spec.useRemoteAddress", "HTTPListenerPolicy.spec.xffNumTrustedHops");
    let mut world = world().await;
    let call = world.call("a.example.org", "/").header("x-forwarded-for", "1.1.1.1, 2.2.2.2");
    let seen = |answer: &postern_e2e::Answer, name: &str| answer.seen().and_then(|seen| seen.header(name));
    let answer = call.send().await.unwrap();
    let hops = seen(&answer, "x-forwarded-for").unwrap();
    assert!(hops.starts_with("1.1.1.1, 2.2.2.2,"), "{hops}: one more, that of the connection");
    assert_ne!(seen(&answer, "x-envoy-external-address").as_deref(), Some("2.2.2.2"));
    world.apply(&on_gateway("xffNumTrustedHops: 1")).await;
    world
        .expect_that(call.clone(), "the client behind one proxy", |it| {
            seen(it, "x-envoy-external-address").as_deref() == Some("2.2.2.2")
        })
        .await;
    world.apply(&on_gateway("useRemoteAddress: false")).await;
    world
        .expect_that(call, "the header as it came", |it| {
            seen(it, "x-forwarded-for").as_deref() == Some("1.1.1.1, 2.2.2.2")
        })
        .await;
}

#[tokio::test]
async fn health_checks_are_answered_for_any_host() {
    covers!("HTTPListenerPolicy.spec.healthCheck.path");
    let mut world = World::with_backends(&["v1"]).await;
    let listeners = "  - {name: exact, port: ${PORT}, protocol: HTTP, hostname: a.example.org}";
    let auth = "basicAuth: {credentialsSecretRef: {name: gone}}";
    world.apply(&[gateway(listeners), http_route("r", ROUTE)].concat()).await;
    let call = world.call("anybody", "/up");
    world.expect(call.clone(), Want::Status(404)).await;
    world.apply(&on_gateway("healthCheck: {path: /up}")).await;
    world.expect(call.clone(), Want::Status(200)).await;
    for host in ["a.example.org", "A.EXAMPLE.org", "10.0.0.1:8080"] {
        assert_eq!(world.call(host, "/up").send().await.unwrap().status, 200, "{host}");
    }
    assert_eq!(world.call("anybody", "/upper").send().await.unwrap().status, 404);
    assert_eq!(world.backend("v1").count("/up"), 0);
    // Who checks has no password.
    world.apply(&policy("q", &format!("{TO_GATEWAY}, {auth}"))).await;
    let closed = world.call("a.example.org", "/");
    world.expect(closed, Want::Status(500)).await;
    assert_eq!(call.send().await.unwrap().status, 200);
}

#[tokio::test]
async fn old_clients_speak_http_1_0() {
    covers!("HTTPListenerPolicy.spec.acceptHttp10", "HTTPListenerPolicy.spec.defaultHostForHttp10");
    let mut world = world().await;
    let port = world.port("PORT");
    let ask = |head: &'static str| async move {
        let answer =
            raw(port, head.as_bytes(), |all| all.windows(4).any(|it| it == b"\r\n\r\n")).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let (with_host, without) = ("GET /x HTTP/1.0\r\nHost: a.example.org\r\n\r\n", "GET /x HTTP/1.0\r\n\r\n");
    assert!(ask(with_host).await.contains(" 426 "), "it is not accepted by itself");
    world.apply(&on_gateway("acceptHttp10: true")).await;
    until("HTTP/1.0", || async {
        let answer = ask(with_host).await;
        if answer.contains(" 200 ") { Ok(()) } else { Err(answer) }
    })
    .await;
    assert!(ask(without).await.contains(" 400 "), "nobody knows the host");
    world.apply(&on_gateway("acceptHttp10: true, defaultHostForHttp10: b.example.org")).await;
    until("HTTP/1.0 without a host", || async {
        let answer = ask(without).await;
        if answer.contains(" 200 ") { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(world.backend("v1").seen().last().unwrap().host, "b.example.org");
}

/// A backend that keeps the bytes of requests and answers with `answer`.
async fn raw_backend(
    answer: &'static str,
) -> (std::net::SocketAddr, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = std::sync::Arc::clone(&seen);
            tokio::spawn(async move {
                let mut buffer = [0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    seen.lock().unwrap().push(String::from_utf8_lossy(&buffer[..count]).into_owned());
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (address, log)
}

#[tokio::test]
async fn names_of_headers_keep_their_case() {
    covers!("HTTPListenerPolicy.spec.preserveHttp1HeaderCase");
    let (address, log) = raw_backend("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut world = World::empty().await;
    world
        .apply(
            &[gateway(LISTENERS), service("default", "v1", "", &[address]), http_route("r", ROUTE)].concat(),
        )
        .await;
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Status(200)).await;
    let port = world.port("PORT");
    let ask = || async move {
        let head = b"GET /case HTTP/1.1\r\nHost: a.example.org\r\nX-CaSe: 1\r\n\r\n";
        raw(port, head, |all| all.windows(4).any(|it| it == b"\r\n\r\n")).await.unwrap();
    };
    ask().await;
    assert!(log.lock().unwrap().last().unwrap().contains("x-case: 1"), "{log:?}");
    world.apply(&on_gateway("preserveHttp1HeaderCase: true")).await;
    until("the case is kept", || async {
        ask().await;
        let last = log.lock().unwrap().last().cloned().unwrap_or_default();
        if last.contains("X-CaSe: 1") { Ok(()) } else { Err(last) }
    })
    .await;
}

#[tokio::test]
async fn upgrades_that_are_possible() {
    covers!("HTTPListenerPolicy.spec.upgradeConfig.enabledUpgrades[]");
    let (address, _log) =
        raw_backend("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n").await;
    let mut world = World::empty().await;
    world
        .apply(
            &[gateway(LISTENERS), service("default", "v1", "", &[address]), http_route("r", ROUTE)].concat(),
        )
        .await;
    let port = world.port("PORT");
    let ask = |host: &'static str, upgrade: &'static str| async move {
        let head =
            format!("GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n");
        let answer =
            raw(port, head.as_bytes(), |all| all.windows(4).any(|it| it == b"\r\n\r\n")).await.unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    until("websocket", || async {
        let status = ask("a.example.org", "websocket").await;
        if status == "101" { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(ask("a.example.org", "made-up").await, "403");
    world.apply(&on_gateway("upgradeConfig: {enabledUpgrades: [Made-Up]}")).await;
    until("the upgrade of the policy", || async {
        let status = ask("a.example.org", "made-up").await;
        if status == "101" { Ok(()) } else { Err(status) }
    })
    .await;
    // The route of a wildcard host is found late.
    assert_eq!(ask("b.example.org", "made-up").await, "101");
    assert_eq!(ask("a.example.org", "websocket").await, "403", "only what the policy names");
}

#[tokio::test]
async fn connections_that_do_nothing_end() {
    covers!("HTTPListenerPolicy.spec.idleTimeout");
    let mut world = World::with_backends(&["v1"]).await;
    let listeners = "  - {name: http, port: ${PORT}, protocol: HTTP}\n  - {name: other, port: ${PORT_OTHER}, protocol: HTTP}";
    let policy = policy("p", "targetRefs: [{kind: Gateway, name: gw, sectionName: http}], idleTimeout: 1s");
    world.apply(&[gateway(listeners), http_route("r", ROUTE), policy].concat()).await;
    let (ends, stays) = (world.call("a.example.org", "/"), world.call_on("PORT_OTHER", "a.example.org", "/"));
    world.expect(ends.clone(), Want::Backend("v1")).await;
    world.expect(stays.clone(), Want::Backend("v1")).await;
    let mut other = stays.connect().await.unwrap();
    other.send(&stays).await.unwrap();
    let mut kept = ends.connect().await.unwrap();
    kept.send(&ends).await.unwrap();
    // Envoy asks for the end after a second, and closes after five more, lest a request is on its way.
    until("end of the connection", async || if kept.is_closed() { Ok(()) } else { Err("it is open".into()) })
        .await;
    assert!(!other.is_closed(), "an hour is the default");
    other.send(&stays).await.unwrap();
}

#[tokio::test]
async fn streams_that_do_nothing_end() {
    covers!("HTTPListenerPolicy.spec.streamIdleTimeout");
    let mut world = World::empty().await;
    let backend = Backend::replying("v1", |seen| match seen.path.as_str() {
        "/slow" => Reply::After(Duration::from_secs(4)),
        _ => Reply::Echo,
    });
    world.add_backend(backend.await).await;
    world
        .apply(&[gateway(LISTENERS), http_route("r", ROUTE), on_gateway("streamIdleTimeout: 1s")].concat())
        .await;
    // The backend would answer with 200 in the end.
    for host in ["a.example.org", "b.example.org"] {
        let slow = world.call(host, "/slow");
        world.expect(slow, Want::Status(504)).await;
    }
    // A TrafficPolicy that says otherwise wins.
    world
        .apply(&traffic_policy("t", "targetRefs: [{kind: HTTPRoute, name: r}]\ntimeout: {idle: 9s}\n"))
        .await;
    let slow = world.call("a.example.org", "/slow");
    world.expect(slow, Want::Backend("v1")).await;
}
