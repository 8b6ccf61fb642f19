//! Connections and the options of HTTP.

use std::time::{Duration, Instant};

use postern_e2e::{Want, World, covers, raw as send_raw, service, until};
use tokio::net::{TcpSocket, TcpStream};

use super::raw::Raw;
use super::{cluster, policy, to_shop};

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

async fn shop(world: &mut World, extra: &str, server: &Raw) {
    world.apply(&[service("default", "shop", extra, &[server.address]), to_shop()].concat()).await;
}

/// A listener with a full queue: the kernel leaves the packets of who comes next unanswered.
#[tokio::test]
async fn connect_timeout() {
    covers!("BackendConfigPolicy.spec.connectTimeout");
    let mut world = World::with_backends(&[]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(stream);
    }
    world
        .apply(
            &[service("default", "shop", "", &[address]), to_shop(), policy("p", "connectTimeout: 300ms")]
                .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(503)).await;
    let begin = Instant::now();
    assert_eq!(call.send().await.unwrap().status, 503);
    let took = begin.elapsed();
    assert!((Duration::from_millis(250)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn requests_of_a_connection() {
    covers!(
        "BackendConfigPolicy.spec.commonHttpProtocolOptions.maxRequestsPerConnection",
        "BackendConfigPolicy.spec.commonHttpProtocolOptions.idleTimeout",
    );
    let mut world = World::with_backends(&[]).await;
    let server = Raw::start(FINE).await;
    shop(&mut world, "", &server).await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(200)).await;
    let mut connection = call.connect().await.unwrap();
    let before = server.opened();
    for _ in 0..6 {
        assert_eq!(connection.send(&call).await.unwrap().status, 200);
    }
    assert!(server.opened() <= before + 1, "without a policy one connection carries them all");
    world.apply(&policy("p", "commonHttpProtocolOptions: {maxRequestsPerConnection: 2}")).await;
    until("the policy is in force", async || {
        let (before, mut connection) = (server.opened(), call.connect().await.unwrap());
        for _ in 0..6 {
            assert_eq!(connection.send(&call).await.unwrap().status, 200);
        }
        let opened = server.opened() - before;
        if (2..=4).contains(&opened) { Ok(()) } else { Err(format!("{opened} connections for six requests")) }
    })
    .await;
    world.apply(&policy("p", "commonHttpProtocolOptions: {idleTimeout: 200ms}")).await;
    until("idle connections are closed", async || {
        assert_eq!(call.send().await.unwrap().status, 200);
        tokio::time::sleep(Duration::from_millis(600)).await;
        let (opened, closed) = (server.opened(), server.closed());
        if opened == closed { Ok(()) } else { Err(format!("{} of {opened} are open", opened - closed)) }
    })
    .await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn headers_of_responses() {
    covers!(
        "BackendConfigPolicy.spec.commonHttpProtocolOptions.maxHeadersCount",
        "BackendConfigPolicy.spec.http1ProtocolOptions.preserveHttp1HeaderCase",
    );
    let mut world = World::with_backends(&[]).await;
    let many: String = (0..30).map(|i| format!("X-Many-{i}: 1\r\n")).collect();
    let server =
        Raw::start(format!("HTTP/1.1 200 OK\r\nX-StRaNgE: 1\r\n{many}Content-Length: 0\r\n\r\n")).await;
    shop(&mut world, "", &server).await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(200)).await;
    let port = world.port("PORT");
    let ask = async || {
        let request = b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n";
        String::from_utf8(send_raw(port, request, |_| false).await.unwrap()).unwrap()
    };
    assert!(ask().await.contains("x-strange: 1"), "Envoy writes names in lower case by itself");
    world.apply(&policy("p", "http1ProtocolOptions: {preserveHttp1HeaderCase: true}")).await;
    until("the case is kept", async || {
        let text = ask().await;
        if text.contains("X-StRaNgE: 1") { Ok(()) } else { Err(text) }
    })
    .await;
    world.apply(&policy("p", "commonHttpProtocolOptions: {maxHeadersCount: 20}")).await;
    let answer = world.expect(call, Want::Status(502)).await;
    assert_eq!(answer.header("x-strange"), None);
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn duration_of_streams() {
    covers!("BackendConfigPolicy.spec.commonHttpProtocolOptions.maxStreamDuration");
    let mut world = World::with_backends(&[]).await;
    let slow =
        postern_e2e::Backend::replying("slow", |_| postern_e2e::Reply::After(Duration::from_millis(600)))
            .await;
    world.apply(&[service("default", "shop", "", &[slow.address()]), to_shop()].concat()).await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(200)).await;
    world.apply(&policy("p", "commonHttpProtocolOptions: {maxStreamDuration: 100ms}")).await;
    world.expect(call.clone(), Want::Status(504)).await;
    world.delete("BackendConfigPolicy", "p").await;
    world.expect(call, Want::Status(200)).await;
}

/// What Envoy says at the beginning of a connection in HTTP/2 (RFC 9113 section 6.5.2).
#[tokio::test]
async fn settings_of_http2() {
    covers!(
        "BackendConfigPolicy.spec.http2ProtocolOptions.initialStreamWindowSize",
        "BackendConfigPolicy.spec.http2ProtocolOptions.initialConnectionWindowSize",
    );
    let mut world = World::with_backends(&[]).await;
    let server = Raw::start("").await;
    shop(&mut world, "appProtocol: kubernetes.io/h2c", &server).await;
    world
        .apply(&policy(
            "p",
            "http2ProtocolOptions: {initialStreamWindowSize: 128Ki, initialConnectionWindowSize: 1Mi, maxConcurrentStreams: 7}",
        ))
        .await;
    let call = world.call("example.org", "/");
    until("the settings are sent", async || {
        drop(tokio::time::timeout(Duration::from_millis(300), call.send()).await);
        let bytes = server.bytes();
        let said = |frame: &[u8]| bytes.windows(frame.len()).any(|it| it == frame);
        let stream = said(&[0, 4, 0, 2, 0, 0]);
        // A WINDOW_UPDATE of the whole connection, by what it has more than the 65535 at first.
        let more = (1_048_576_u32 - 65_535).to_be_bytes();
        let connection = said(&[&[0, 0, 4, 8, 0, 0, 0, 0, 0], more.as_slice()].concat());
        if stream && connection { Ok(()) } else { Err(format!("{bytes:?}")) }
    })
    .await;
    world.assert_nothing_rejected().await;
}

/// What a client cannot see from outside: Envoy's own word for it.
#[tokio::test]
async fn what_only_envoy_can_tell() {
    covers!(
        "BackendConfigPolicy.spec.perConnectionBufferLimitBytes",
        "BackendConfigPolicy.spec.tcpKeepalive.keepAliveProbes",
        "BackendConfigPolicy.spec.tcpKeepalive.keepAliveTime",
        "BackendConfigPolicy.spec.tcpKeepalive.keepAliveInterval",
        "BackendConfigPolicy.spec.http1ProtocolOptions.enableTrailers",
        "BackendConfigPolicy.spec.http1ProtocolOptions.overrideStreamErrorOnInvalidHttpMessage",
        "BackendConfigPolicy.spec.http2ProtocolOptions.maxConcurrentStreams",
        "BackendConfigPolicy.spec.http2ProtocolOptions.overrideStreamErrorOnInvalidHttpMessage",
    );
    let mut world = World::with_backends(&[]).await;
    let server = Raw::start(FINE).await;
    shop(&mut world, "", &server).await;
    world
        .apply(&policy(
            "p",
            "perConnectionBufferLimitBytes: 4096, tcpKeepalive: {keepAliveProbes: 4, keepAliveTime: 30s, keepAliveInterval: 7s}, \
             http1ProtocolOptions: {enableTrailers: true, overrideStreamErrorOnInvalidHttpMessage: true}",
        ))
        .await;
    let call = world.call("example.org", "/");
    world.expect(call, Want::Status(200)).await;
    until("Envoy has it", async || {
        let cluster = cluster(&world).await;
        let keepalive = &cluster["upstream_connection_options"]["tcp_keepalive"];
        let http = &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
            ["explicit_http_config"]["http_protocol_options"];
        let holds = cluster["per_connection_buffer_limit_bytes"] == 4096
            && *keepalive
                == serde_json::json!({"keepalive_probes": 4, "keepalive_time": 30, "keepalive_interval": 7})
            && *http
                == serde_json::json!({"enable_trailers": true, "override_stream_error_on_invalid_http_message": true});
        if holds { Ok(()) } else { Err(cluster.to_string()) }
    })
    .await;
    world.apply(&service("default", "shop", "appProtocol: kubernetes.io/h2c", &[server.address])).await;
    world
        .apply(&policy(
            "p",
            "http2ProtocolOptions: {maxConcurrentStreams: 7, overrideStreamErrorOnInvalidHttpMessage: true}",
        ))
        .await;
    until("Envoy has it", async || {
        let cluster = cluster(&world).await;
        let http = &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
            ["explicit_http_config"]["http2_protocol_options"];
        let holds = *http
            == serde_json::json!({"max_concurrent_streams": 7, "override_stream_error_on_invalid_http_message": true});
        if holds { Ok(()) } else { Err(cluster.to_string()) }
    })
    .await;
    world.assert_nothing_rejected().await;
}

/// The timer of a connection's keepalive, as the kernel shows it: the first probe is due within the time that the policy gives.
#[tokio::test]
async fn keepalive_runs() {
    covers!("BackendConfigPolicy.spec.tcpKeepalive.keepAliveTime");
    let mut world = World::with_backends(&[]).await;
    let server = Raw::start(FINE).await;
    shop(&mut world, "", &server).await;
    world.apply(&policy("p", "tcpKeepalive: {keepAliveTime: 50s}")).await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(200)).await;
    let port = format!(":{:04X}", server.address.port());
    until("a keepalive timer runs", async || {
        assert_eq!(call.send().await.unwrap().status, 200);
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let timers: Vec<(String, u64)> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields.get(2).is_some_and(|remote| remote.ends_with(&port)))
            .map(|fields| {
                let (kind, when) = fields[5].split_once(':').unwrap();
                (kind.to_owned(), u64::from_str_radix(when, 16).unwrap())
            })
            .collect();
        // 02 is the keepalive timer; times are in hundredths of a second.
        let runs = timers.iter().any(|(kind, when)| kind == "02" && (1..=5000).contains(when));
        if runs { Ok(()) } else { Err(format!("{timers:?}")) }
    })
    .await;
}
