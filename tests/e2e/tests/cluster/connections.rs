//! Listeners of connections and datagrams: the Service of the Gateway has their ports, and its address carries both.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use postern_api::gateway_api::{Condition, Gateway, RouteParentStatus, TcpRoute, UdpRoute};
use postern_e2e::{CLUSTER_PATIENCE, Cluster, EchoReply, Namespace, until_within};
use serde::Deserialize;
use tokio::net::UdpSocket;

/// TCP and UDP under one number, and each under one of its own.
const LISTENERS: &str = "
  - {name: tcp, port: 5300, protocol: TCP}
  - {name: udp, port: 5300, protocol: UDP}
  - {name: more-tcp, port: 5301, protocol: TCP}
  - {name: more-udp, port: 5302, protocol: UDP}
";

const ROUTES: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: connections}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: datagrams}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: datagrams, port: 53}]}]
";

fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  gatewayClassName: postern\n  \
         listeners:{listeners}"
    )
}

/// Waits until the Service of the Gateway has these ports, as `number/protocol`.
async fn ports(space: &Namespace<'_>, wanted: &[&str]) {
    space
        .until("edge", &format!("ports {wanted:?}"), |service: &Service| {
            let ports = service.spec.clone().and_then(|spec| spec.ports).unwrap_or_default();
            let mut ports: Vec<String> = ports
                .iter()
                .map(|port| format!("{}/{}", port.port, port.protocol.as_deref().unwrap_or("TCP")))
                .collect();
            ports.sort();
            if ports == wanted { Ok(()) } else { Err(format!("{ports:?}")) }
        })
        .await;
}

/// What the server of datagrams says.
#[derive(Debug, Deserialize)]
struct Datagram {
    request: String,
    namespace: String,
    service: String,
}

/// Sends `text` in one datagram and waits a moment for an answer.
async fn ask(address: SocketAddr, text: &str) -> Result<Datagram, String> {
    let told = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.map_err(told)?;
    socket.connect(address).await.map_err(told)?;
    socket.send(text.as_bytes()).await.map_err(told)?;
    let mut buffer = [0; 4096];
    let answer = tokio::time::timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await;
    let length = answer.map_err(|_| "no answer".to_owned())?.map_err(told)?;
    serde_json::from_slice(&buffer[..length]).map_err(|error| error.to_string())
}

async fn tcp_answers(space: &Namespace<'_>, port: u16) {
    let call = space.get("edge", port, "any.example", "/over-tcp").await;
    let reply = |answer: &postern_e2e::Answer| EchoReply::of(answer).map(|_| ());
    let answer = space.answers(&call, reply).await;
    let reply = EchoReply::of(&answer).unwrap();
    assert_eq!((reply.namespace.as_str(), reply.path.as_str()), (space.name(), "/over-tcp"));
    assert_eq!(reply.headers.keys().find(|name| name.to_lowercase().starts_with("x-envoy")), None);
}

async fn udp_answers(space: &Namespace<'_>, port: u16) {
    let address = SocketAddr::new(space.gateway_address("edge").await, port);
    let reply =
        until_within(CLUSTER_PATIENCE, "answer to a datagram", || async { ask(address, "over udp").await })
            .await;
    assert_eq!(
        (reply.request.trim(), reply.namespace.as_str(), reply.service.as_str()),
        ("over udp", space.name(), "datagrams")
    );
}

#[tokio::test]
async fn connections_and_datagrams_come_through_the_address_of_the_gateway() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("l4").await;
    space.echo("echo", 1).await;
    space.datagram_echo("datagrams").await;
    space.apply(&gateway(LISTENERS)).await;
    space.apply(ROUTES).await;
    ports(&space, &["5300/TCP", "5300/UDP", "5301/TCP", "5302/UDP"]).await;
    for port in [5300, 5301] {
        tcp_answers(&space, port).await;
    }
    for port in [5300, 5302] {
        udp_answers(&space, port).await;
    }
    let gateway_object = space.api::<Gateway>().get("edge").await.unwrap();
    let listeners = gateway_object.status.unwrap().listeners;
    let counts: Vec<_> = listeners.iter().map(|it| (it.name.as_str(), it.attached_routes)).collect();
    assert_eq!(counts, [("tcp", 1), ("udp", 1), ("more-tcp", 1), ("more-udp", 1)]);
    let accepted = |parents: Vec<RouteParentStatus>| {
        parents.iter().flat_map(|it| it.conditions.clone()).filter(Condition::is_true).count()
    };
    let tcp = space.api::<TcpRoute>().get("connections").await.unwrap();
    let udp = space.api::<UdpRoute>().get("datagrams").await.unwrap();
    assert_eq!((accepted(tcp.status.unwrap().parents), accepted(udp.status.unwrap().parents)), (2, 2));

    // The UDP listener goes, and the TCP listener of the same number stays.
    let without = LISTENERS.replace("\n  - {name: udp, port: 5300, protocol: UDP}", "");
    space.apply(&gateway(&without)).await;
    ports(&space, &["5300/TCP", "5301/TCP", "5302/UDP"]).await;
    tcp_answers(&space, 5300).await;
    udp_answers(&space, 5302).await;
    let closed = SocketAddr::new(space.gateway_address("edge").await, 5300);
    until_within(CLUSTER_PATIENCE, "end of 5300/UDP", || async {
        match ask(closed, "anybody?").await {
            Ok(reply) => Err(format!("{reply:?}")),
            Err(_) => Ok(()),
        }
    })
    .await;
}
