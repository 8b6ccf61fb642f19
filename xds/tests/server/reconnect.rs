//! T31: what a reconnecting proxy holds is not sent again.

use postern_xds::{EventKind, ResourceType, Snapshot};

use crate::client::*;
use crate::resources::*;

const MANY: usize = 1000;

/// What the hub says that the only proxy holds.
fn acknowledged(server: &TestServer) -> Snapshot {
    server.hub.connections().pop().expect("a proxy").held
}

#[tokio::test]
async fn t31_a_reconnect_is_counted_in_bytes() {
    let mut server = TestServer::start(|s| s).await;
    let clusters: Vec<_> = (0..MANY).map(|i| static_cluster(&format!("cluster-{i}"), 0)).collect();
    server.hub.publish(NODE, snapshot(clusters.clone()));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    let first = envoy.take().await;
    assert_eq!(first.resources.len(), MANY);
    server.event("the ACK", |e| matches!(e.kind, EventKind::Acked { .. })).await;
    assert_eq!(acknowledged(&server).len(ResourceType::Cluster), MANY);
    drop(envoy);
    let sent = server.disconnected().await.bytes_sent;

    // One changed, one is new, in the meantime.
    let changed = [static_cluster("cluster-7", 1), static_cluster("new", 0)];
    server.hub.publish(NODE, snapshot(clusters.iter().cloned().chain(changed)));
    let held = clusters.iter().map(|c| (c.name().to_owned(), c.version().to_owned()));
    let mut envoy = server.connect().await;
    envoy.resume(ResourceType::Cluster, held).await;
    let second = envoy.take().await;
    assert_eq!(names(&second), ["cluster-7", "new"]);
    server.event("the ACK", |e| matches!(e.kind, EventKind::Acked { .. })).await;
    let now = acknowledged(&server);
    let wanted = server.hub.snapshot(NODE).expect("it was published");
    assert_eq!(Snapshot::diff(&now, &wanted, ResourceType::Cluster).count(), 0, "claimed ones count as held");
    let totals = server.hub.metrics().of_type(ResourceType::Cluster);
    assert_eq!((totals.resources_sent, totals.acks, totals.nacks), (MANY as u64 + 2, 2, 0));
    drop(envoy);
    let sent_again = server.disconnected().await.bytes_sent;
    assert!(sent_again * 100 < sent, "{sent_again} bytes after {sent}");
    assert_eq!(server.hub.metrics().bytes_sent, sent + sent_again);
}

#[tokio::test]
async fn t31_a_stream_that_broke_in_the_middle_of_a_push_goes_on_where_it_was() {
    let limit = 20_000;
    let server = TestServer::start(|s| {
        let mut options = postern_xds::ServerOptions::default();
        options.max_response_bytes = limit;
        s.with_options(options)
    })
    .await;
    let clusters: Vec<_> = (0..MANY).map(|i| static_cluster(&format!("cluster-{i:04}"), 0)).collect();
    server.hub.publish(NODE, snapshot(clusters));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    let first = envoy.response().await;
    assert!(first.resources.len() < MANY / 2);
    // It took this, but the stream breaks before it could say so.
    drop(envoy);
    let held: Vec<_> = first.resources.iter().map(|r| (r.name.clone(), r.version.clone())).collect();
    let mut envoy = server.connect().await;
    envoy.resume(ResourceType::Cluster, held.clone().into_iter()).await;
    let mut rest = 0;
    while rest + held.len() < MANY {
        let next = envoy.take().await;
        assert!(next.resources.iter().all(|r| !held.iter().any(|(name, _)| *name == r.name)));
        rest += next.resources.len();
    }
    assert_eq!(rest + held.len(), MANY);
}

#[tokio::test]
async fn what_a_proxy_says_it_holds_is_known_without_an_acknowledgement() {
    let mut server = TestServer::start(|s| s).await;
    let clusters: Vec<_> = (0..3).map(|i| static_cluster(&format!("cluster-{i}"), 0)).collect();
    server.hub.publish(NODE, snapshot(clusters.clone()));
    let mut envoy = server.connect().await;
    let held = clusters.iter().map(|c| (c.name().to_owned(), c.version().to_owned()));
    envoy.resume(ResourceType::Cluster, held).await;
    let resumed = server.event("the claims", |e| matches!(e.kind, EventKind::Resumed)).await;
    let connections = server.hub.connections_of(&resumed.node);
    let [connection] = &connections[..] else { panic!("{connections:?}") };
    assert_eq!(connection.held.len(ResourceType::Cluster), 3);
    assert_eq!(connection.held.get(ResourceType::Cluster, "cluster-1"), Some(&clusters[1]));
    assert!(server.hub.connections_of("another").is_empty());
}
