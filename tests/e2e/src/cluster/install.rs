//! What is installed before the first test.

use std::process::Command;

use super::{CONTROLLER_DEPLOYMENT, CONTROLLER_NAMESPACE, Cluster};
use crate::postern::repository;

/// The channel of the Gateway API that tests use.
pub const GATEWAY_API_CHANNEL: &str = "experimental";

/// Installs what README.md tells a user to install. What a cluster has of it already stays as it is, but for Postern.
pub(super) async fn install(cluster: &Cluster) {
    gateway_api(cluster).await;
    cluster.kubectl().run(&["apply", "--server-side", "-k", "deploy/crds"]).await;
    cluster
        .kubectl()
        .run(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd/gateways.gateway.networking.k8s.io",
            "crd/trafficpolicies.gateway.kgateway.dev",
        ])
        .await;
    controller(cluster).await;
}

/// One replica; tests that need more ask for more. The overlay is applied as it is; only an image of another name is set
/// afterwards.
async fn controller(cluster: &Cluster) {
    let kubectl = cluster.kubectl();
    kubectl
        .run(&["apply", "--server-side", "--force-conflicts", "-k", "deploy/overlays/single-replica"])
        .await;
    if let Ok(image) = std::env::var("POSTERN_IMAGE") {
        let deployment = format!("deployment/{CONTROLLER_DEPLOYMENT}");
        let namespace = ["--namespace", CONTROLLER_NAMESPACE];
        for change in [
            ["set", "image", &deployment, &format!("postern={image}")],
            ["set", "env", &deployment, &format!("POSTERN_IMAGE={image}")],
        ] {
            kubectl.run(&[&namespace[..], &change].concat()).await;
        }
    }
}

async fn gateway_api(cluster: &Cluster) {
    let kubectl = cluster.kubectl();
    let name = "gateways.gateway.networking.k8s.io";
    let found = kubectl.run(&["get", "crd", name, "--ignore-not-found", "-o", "name"]).await;
    if !found.trim().is_empty() {
        return;
    }
    let script = repository().join("tests/setup/gateway-api.sh");
    let output = tokio::task::spawn_blocking(move || Command::new(script).output())
        .await
        .expect("the script ran")
        .expect("tests/setup/gateway-api.sh can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let home = String::from_utf8_lossy(&output.stdout);
    let directory = format!("{}/gateway-api/config/crd/{GATEWAY_API_CHANNEL}", home.trim());
    // Too big for what `kubectl apply` notes down when it works on the client's side.
    kubectl.run(&["apply", "--server-side", "-k", &directory]).await;
}
