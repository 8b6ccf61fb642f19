//! The proxies of a Gateway under load: restarted and scaled.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use postern_e2e::{CLUSTER_PATIENCE, Cluster, Namespace, until_within};

use crate::replicas::{GATEWAY, route, traffic};

/// Waits until there are as many proxies, none of them on its way out.
async fn settled(space: &Namespace<'_>, wanted: usize) {
    space.rolled_out("edge").await;
    until_within(CLUSTER_PATIENCE, "end of the old proxies", || async {
        let selected = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=edge");
        let pods = space.api::<Pod>().list(&selected).await.unwrap().items;
        if pods.len() == wanted { Ok(()) } else { Err(format!("{} pods", pods.len())) }
    })
    .await;
}

#[tokio::test]
async fn a_rolling_restart_and_scaling_cost_no_request() {
    let cluster = Cluster::alone().await;
    let space = cluster.namespace("proxies").await;
    space.echo("echo", 2).await;
    space.apply(GATEWAY).await;
    space.apply(&route("steady")).await;
    let load = traffic(&space).await;
    space.kubectl(&["rollout", "restart", "deployment/edge"]).await;
    settled(&space, 1).await;
    let restarted = load.report();
    for replicas in [3, 1] {
        space.kubectl(&["scale", "deployment/edge", &format!("--replicas={replicas}")]).await;
        settled(&space, replicas).await;
    }
    let report = load.stop().await;
    eprintln!(
        "{} requests during the restart, {} in all; {} connections moved in an orderly way, slowest request {:?}",
        restarted.succeeded, report.succeeded, report.reconnects, report.slowest
    );
    report.assert_clean(1000);
    assert!(report.reconnects > 0, "kept connections were told to move: {report:?}");
}
