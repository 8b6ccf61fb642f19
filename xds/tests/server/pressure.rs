//! T24, T26: large requests, slow readers.

use std::sync::Arc;
use std::time::Duration;

use postern_xds::{Resource, ResourceType, ServerOptions};

use crate::client::*;
use crate::resources::*;

#[tokio::test]
async fn t24_six_megabytes_of_initial_versions_are_accepted() {
    let server = TestServer::start(|s| s).await;
    server.hub.publish(NODE, snapshot([static_cluster("new", 0)]));
    let held = (0..60_000).map(|i| (format!("cluster-{i:06}-{}", "x".repeat(70)), format!("{i:016}")));
    let bytes: usize = held.clone().map(|(name, version)| name.len() + version.len()).sum();
    assert!(bytes > 6_000_000 - 500_000, "{bytes} bytes");
    let mut envoy = server.connect().await;
    envoy.resume(ResourceType::Cluster, held).await;
    assert_eq!(names(&envoy.take().await), ["new"]);
}

/// A resource of a megabyte.
fn large(resource_type: ResourceType, name: &str, content: u8) -> Arc<Resource> {
    Arc::new(Resource::new(resource_type, name, format!("{content}"), vec![content; 1 << 20]))
}

#[tokio::test]
async fn t26_a_slow_reader_neither_blocks_others_nor_grows_memory() {
    let mut server = TestServer::start(|s| s).await;
    server.hub.publish(NODE, snapshot([large(ResourceType::Secret, "s", 0)]));
    let mut slow = server.connect().await;
    slow.subscribe(ResourceType::Secret, &["s"]).await;
    let slow_stream = server.connected().await.stream;
    let mut quick = server.connect().await;
    quick.subscribe(ResourceType::Secret, &["s"]).await;
    quick.take().await;
    for content in 1..=20 {
        server.hub.publish(NODE, snapshot([large(ResourceType::Secret, "s", content)]));
        let response = quick.take().await;
        assert_eq!(response.resources[0].version, content.to_string());
    }
    let connections = server.hub.connections();
    let sent_to_slow = connections.iter().find(|c| c.stream == slow_stream).unwrap().bytes_sent;
    assert!(sent_to_slow < 2 << 20, "{sent_to_slow} bytes: one response, however many snapshots came");
    // It wakes up, and gets the last one without those in between.
    assert_eq!(slow.take().await.resources[0].version, "0");
    assert_eq!(slow.take().await.resources[0].version, "20");
}

#[tokio::test]
async fn a_reader_that_stopped_for_good_is_dropped() {
    let mut options = ServerOptions::default();
    options.stall_timeout = Duration::from_millis(100);
    let mut server = TestServer::start(|s| s.with_options(options)).await;
    let types = [
        ResourceType::Secret,
        ResourceType::ExtensionConfig,
        ResourceType::RouteConfiguration,
        ResourceType::ScopedRouteConfiguration,
        ResourceType::VirtualHost,
        ResourceType::ClusterLoadAssignment,
    ];
    server.hub.publish(NODE, snapshot(types.map(|t| large(t, "x", 0))));
    let mut envoy = server.connect().await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    envoy.take().await;
    for resource_type in types {
        envoy.subscribe(resource_type, &["x"]).await;
    }
    server.disconnected().await;
    assert_eq!(server.hub.metrics().streams_stalled, 1);
}
