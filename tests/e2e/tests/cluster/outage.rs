//! The API server away.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use postern_api::gateway_api::Gateway;
use postern_e2e::{Cluster, Node};

use crate::replicas::{GATEWAY, new_route, route, traffic};

#[tokio::test]
async fn a_minute_without_the_api_server_changes_nothing() {
    let cluster = Cluster::alone().await;
    let space = cluster.namespace("outage").await;
    space.echo("echo", 2).await;
    space.apply(GATEWAY).await;
    space.apply(&route("steady")).await;
    let load = traffic(&space).await;
    let restarts = async || {
        let mut all = cluster.controller_pods().await;
        let selected = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=edge");
        all.extend(space.api::<Pod>().list(&selected).await.unwrap().items);
        let restarts = |pod: Pod| {
            let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
            (pod.metadata.name, statuses.iter().map(|it| it.restart_count).sum::<i32>())
        };
        let mut all: Vec<_> = all.into_iter().map(restarts).collect();
        all.sort();
        all
    };
    let before = restarts().await;

    let outage = Node::own().stop_api_server().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let during = load.report();
    outage.end().await;

    let (served, told) = new_route(&space, "after").await;
    space
        .until("edge", "consistent status", |it: &Gateway| {
            let status = it.status.clone().unwrap_or_default();
            let attached = status.listeners.first().map(|listener| listener.attached_routes);
            let programmed = status.conditions.iter().any(|c| c.type_ == "Programmed" && c.is_true());
            if programmed && attached == Some(2) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    assert_eq!(restarts().await, before, "nothing was restarted");
    let report = load.stop().await;
    eprintln!(
        "{} requests while the API server was away; a route made after its return was served after {served:?}, its status \
         written after {told:?}",
        during.succeeded
    );
    report.assert_clean(6000);
}
