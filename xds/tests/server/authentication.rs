//! T22: who may read what.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use postern_xds::{Admission, Authenticator, Peer, Refusal, ResourceType, ServerOptions};
use tokio::time::{Duration, Instant};
use tonic::Code;
use tonic::metadata::MetadataMap;

use crate::client::*;
use crate::resources::*;

/// The token names the one node that its bearer may claim.
struct Token;

#[tonic::async_trait]
impl Authenticator for Token {
    async fn authenticate(
        &self,
        peer: &Peer,
        metadata: &MetadataMap,
        node_id: &str,
    ) -> Result<Admission, Refusal> {
        assert!(peer.address.is_some() && !peer.tls);
        let token = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| Refusal::new("no_token", Code::Unauthenticated, "no token"))?;
        if token == node_id {
            let until = metadata.contains_key("brief").then(|| Instant::now() + Duration::from_millis(50));
            let node = format!("snapshot-of-{node_id}");
            Ok(Admission { node, name: Some(format!("proxy-{token}")), until })
        } else {
            Err(Refusal::new("wrong_node", Code::PermissionDenied, "not your node"))
        }
    }

    fn reasons(&self) -> &'static [&'static str] {
        &["no_token", "wrong_node", "unavailable"]
    }
}

async fn refused(server: &TestServer, headers: &[(&'static str, &str)], node: Option<Node>) -> Code {
    let mut envoy = Envoy::open(channel(server.address).await, headers).await;
    envoy
        .send(DeltaDiscoveryRequest {
            node: Some(node.unwrap_or_default()),
            type_url: ResourceType::Cluster.type_url().to_owned(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    envoy.result().await.unwrap_err().code()
}

#[tokio::test]
async fn t22_without_a_node_or_with_the_wrong_identity_a_stream_is_refused() {
    let server = TestServer::start(|s| s.with_authenticator(Arc::new(Token))).await;
    for key in ["a", "snapshot-of-a", "b", "snapshot-of-b"] {
        server.hub.publish(key, snapshot([static_cluster(&format!("of-{key}"), 0)]));
    }
    let node = |id: &str| Some(Node { id: id.to_owned(), ..Node::default() });
    assert_eq!(refused(&server, &[("authorization", "a")], None).await, Code::InvalidArgument);
    assert_eq!(refused(&server, &[], node("a")).await, Code::Unauthenticated);
    assert_eq!(refused(&server, &[("authorization", "b")], node("a")).await, Code::PermissionDenied);
    assert_eq!(server.hub.metrics().streams_refused, 3);
    assert_eq!(server.hub.metrics().streams_opened, 0);
    let expected =
        [("no_node", 1), ("no_token", 1), ("too_many_streams", 0), ("unavailable", 0), ("wrong_node", 1)];
    assert_eq!(server.hub.refused(), expected.into());

    let mut envoy = Envoy::open(channel(server.address).await, &[("authorization", "a")]).await;
    envoy
        .send(DeltaDiscoveryRequest {
            node: node("a"),
            type_url: ResourceType::Cluster.type_url().to_owned(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    assert_eq!(names(&envoy.take().await), ["of-snapshot-of-a"], "the snapshot that the authenticator named");
    let connections = server.hub.connections();
    assert_eq!(connections[0].name.as_deref(), Some("proxy-a"), "and the proxy that it recognised");
}

#[tokio::test]
async fn a_stream_lasts_as_long_as_its_admission() {
    let server = TestServer::start(|s| s.with_authenticator(Arc::new(Token))).await;
    server.hub.publish("snapshot-of-a", snapshot([static_cluster("c", 0)]));
    // This node is not published: its stream waits for a snapshot when the time comes.
    for (name, answered) in [("a", true), ("parked", false)] {
        let mut envoy =
            Envoy::open(channel(server.address).await, &[("authorization", name), ("brief", "")]).await;
        envoy
            .send(DeltaDiscoveryRequest {
                node: Some(Node { id: name.to_owned(), ..Node::default() }),
                type_url: ResourceType::Cluster.type_url().to_owned(),
                ..DeltaDiscoveryRequest::default()
            })
            .await;
        if answered {
            assert_eq!(names(&envoy.take().await), ["c"]);
        }
        assert!(envoy.result().await.unwrap().is_none(), "an end without an error");
    }
    assert_eq!(server.hub.metrics().streams_expired, 2);
}

#[tokio::test]
async fn a_request_without_a_type_ends_the_stream() {
    let server = TestServer::start(|s| s).await;
    server.hub.publish(NODE, snapshot([]));
    let mut envoy = server.connect().await;
    envoy.send(DeltaDiscoveryRequest::default()).await;
    assert_eq!(envoy.result().await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_node_has_a_limited_number_of_streams() {
    let mut options = ServerOptions::default();
    options.max_streams_per_node = 1;
    let mut server = TestServer::start(|s| s.with_options(options)).await;
    server.hub.publish(NODE, snapshot([]));
    let mut first = server.connect().await;
    first.subscribe(ResourceType::Cluster, &[]).await;
    first.take().await;
    let mut second = server.connect().await;
    second.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(second.result().await.unwrap_err().code(), Code::ResourceExhausted);
    drop(first);
    server.disconnected().await;
    let mut third = server.connect().await;
    third.subscribe(ResourceType::Cluster, &[]).await;
    third.take().await;
}
