//! The service: T21, T23, T27, the events, the timeout, the other transports and the other method.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::google::rpc::Status as RpcStatus;
use hyper_util::rt::TokioIo;
use postern_xds::{EventKind, Hub, Peer, Rejection, ResourceType, Server, ServerOptions};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tonic::Code;
use tonic::transport::Uri;

use crate::client::*;
use crate::resources::*;

#[tokio::test]
async fn t21_the_node_is_needed_in_the_first_message_only() {
    let server = TestServer::start(|s| s).await;
    server.hub.publish(NODE, snapshot([static_cluster("c", 0), listener("l", 0)]));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(names(&envoy.take().await), ["c"]);
    envoy.subscribe(ResourceType::Listener, &[]).await;
    assert_eq!(names(&envoy.take().await), ["l"]);
}

#[tokio::test]
async fn t23_a_node_that_is_not_published_is_not_answered() {
    let mut server = TestServer::start(|s| s).await;
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    envoy.subscribe(ResourceType::Listener, &[]).await;
    let connected = server.connected().await;
    assert_eq!(&*connected.node, NODE);
    assert_eq!(server.hub.metrics().responses, 0);
    // The first answer that it gets is the real one, not an empty one that would delete what it serves.
    server.hub.publish(NODE, snapshot([static_cluster("c", 0), listener("l", 0)]));
    assert_eq!(names(&envoy.take().await), ["c"]);
    assert_eq!(names(&envoy.take().await), ["l"]);
}

#[tokio::test]
async fn a_removed_node_keeps_what_it_has() {
    let mut server = TestServer::start(|s| s).await;
    server.hub.publish(NODE, snapshot([static_cluster("a", 0)]));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(names(&envoy.take().await), ["a"]);
    server.event("the ACK", |e| matches!(e.kind, EventKind::Acked { .. })).await;
    server.hub.remove(NODE);
    assert!(server.hub.snapshot(NODE).is_none());
    server.hub.publish(NODE, snapshot([static_cluster("a", 0), static_cluster("b", 0)]));
    let next = envoy.take().await;
    assert_eq!(names(&next), ["b"]);
    assert!(next.removed_resources.is_empty(), "no empty snapshot in between");
}

#[tokio::test]
async fn events_and_connections_tell_what_a_proxy_took_and_what_it_rejected() {
    let mut server = TestServer::start(|s| s).await;
    server.hub.publish(NODE, snapshot([static_cluster("good", 0)]));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    envoy.take().await;
    let acked = server.event("the ACK", |e| matches!(e.kind, EventKind::Acked { .. })).await;
    let EventKind::Acked { resource_type, resources, .. } = acked.kind else { unreachable!() };
    assert_eq!((resource_type, &*resources), (ResourceType::Cluster, &[static_cluster("good", 0)][..]));
    assert_eq!(acked.bytes_sent, envoy.bytes as u64);

    server.hub.publish(NODE, snapshot([static_cluster("good", 0), static_cluster("bad", 0)]));
    let response = envoy.response().await;
    envoy
        .send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce,
            error_detail: Some(RpcStatus { message: "no good".to_owned(), ..RpcStatus::default() }),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    let nacked = server.event("the NACK", |e| matches!(e.kind, EventKind::Nacked { .. })).await;
    let EventKind::Nacked { names, error, .. } = nacked.kind else { unreachable!() };
    assert_eq!((&*names, &*error), (&["bad".into()][..], "no good"));
    let rejection =
        Rejection { resource_type: ResourceType::Cluster, name: "bad".into(), error: "no good".into() };
    assert_eq!(server.hub.connections()[0].rejections, [rejection]);

    // Put right, the rejection is gone.
    server.hub.publish(NODE, snapshot([static_cluster("good", 0), static_cluster("bad", 1)]));
    envoy.take().await;
    server.event("the ACK", |e| matches!(e.kind, EventKind::Acked { .. })).await;
    let [connection] = &server.hub.connections()[..] else { panic!("one connection") };
    assert!(connection.rejections.is_empty() && connection.in_sync);
    assert!(connection.peer.address.unwrap().ip().is_loopback());

    drop(envoy);
    server.disconnected().await;
    assert!(server.hub.connections().is_empty());
    let metrics = server.hub.metrics();
    assert_eq!((metrics.acks, metrics.nacks), (2, 1));
    assert_eq!((metrics.streams_opened, metrics.streams_closed), (1, 1));
}

#[tokio::test]
async fn t27_a_drained_server_ends_streams_and_refuses_connections() {
    let server = TestServer::start(|s| s).await;
    let address = server.address;
    server.hub.publish(NODE, snapshot([static_cluster("c", 0)]));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    envoy.take().await;
    let stopped = server.stop();
    // The stream ends with a status that makes Envoy reconnect, elsewhere.
    assert_eq!(envoy.result().await.unwrap_err().code(), Code::Unavailable);
    drop(envoy);
    soon("the end", stopped).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn t27_streams_are_served_between_goaway_and_their_end() {
    let mut options = ServerOptions::default();
    options.drain_delay = Duration::from_hours(1);
    let server = TestServer::start(|s| s.with_options(options)).await;
    let (address, hub) = (server.address, server.hub.clone());
    hub.publish(NODE, snapshot([static_cluster("c", 0)]));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    envoy.take().await;
    let stopped = server.stop();
    soon("the listener's end", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    hub.publish(NODE, snapshot([static_cluster("c", 1)]));
    assert_eq!(names(&envoy.take().await), ["c"]);
    drop(envoy);
    soon("the end, as no connection is left", stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn routes_go_out_without_endpoints_that_nobody_asks_for() {
    let mut options = ServerOptions::default();
    options.wait_timeout = Duration::from_millis(50);
    let server = TestServer::start(|s| s.with_options(options)).await;
    server.hub.publish(NODE, snapshot([cluster("c", 0), scope("s", &["c"])]));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    envoy.take().await;
    envoy.subscribe(ResourceType::ScopedRouteConfiguration, &[]).await;
    assert_eq!(names(&envoy.take().await), ["s"]);
    assert_eq!(server.hub.metrics().waits_expired, 1);
}

#[tokio::test]
async fn a_unix_socket_is_served() {
    let directory = std::env::temp_dir().join(format!("postern-xds-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("xds.sock");
    let _ = std::fs::remove_file(&path);
    let hub = Hub::new();
    hub.publish(NODE, snapshot([static_cluster("c", 0)]));
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(Server::new(hub).serve_unix(listener, async {
        let _ = stopped.await;
    }));
    let socket = path.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    let channel = endpoint().connect_with_connector(connector).await.unwrap();
    let mut envoy = Envoy::open(channel, &[]).await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(names(&envoy.take().await), ["c"]);
    stop.send(()).unwrap();
    drop(envoy);
    soon("the end", server).await.unwrap().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn connections_that_something_else_accepted_are_served() {
    let hub = Hub::new();
    hub.publish(NODE, snapshot([static_cluster("c", 0)]));
    let (client, server) = tokio::io::duplex(1 << 16);
    let incoming = tokio_stream::iter([Ok((server, Peer::default()))]);
    tokio::spawn(async move {
        let incoming = futures::StreamExt::chain(incoming, futures::stream::pending());
        Server::new(hub).serve_with_incoming(incoming, std::future::pending()).await
    });
    let mut client = Some(client);
    let connector = tower::service_fn(move |_: Uri| {
        let client = client.take();
        async move { client.map(TokioIo::new).ok_or_else(|| std::io::Error::other("one connection only")) }
    });
    let channel = endpoint().connect_with_connector(connector).await.unwrap();
    let mut envoy = Envoy::open(channel, &[]).await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(names(&envoy.take().await), ["c"]);
}

#[tokio::test]
async fn state_of_the_world_is_served() {
    let server = TestServer::start(|s| s).await;
    server.hub.publish(NODE, snapshot([static_cluster("a", 0), static_cluster("b", 0)]));
    let mut client = AggregatedDiscoveryServiceClient::new(channel(server.address).await);
    let first = DiscoveryRequest {
        node: Some(Node { id: NODE.to_owned(), ..Node::default() }),
        type_url: ResourceType::Cluster.type_url().to_owned(),
        ..DiscoveryRequest::default()
    };
    let requests = futures::StreamExt::chain(tokio_stream::iter([first]), futures::stream::pending());
    let mut responses =
        soon("the stream", client.stream_aggregated_resources(requests)).await.unwrap().into_inner();
    let response = soon("a response", responses.message()).await.unwrap().unwrap();
    assert_eq!(response.resources.len(), 2);
    assert!(!response.version_info.is_empty());
}
