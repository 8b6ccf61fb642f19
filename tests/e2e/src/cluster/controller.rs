//! The controller in the cluster.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};

use super::Cluster;

/// The namespace that the overlays install the controller into.
pub const CONTROLLER_NAMESPACE: &str = "postern-system";
/// The Deployment of the controller.
pub const CONTROLLER_DEPLOYMENT: &str = "postern";

impl Cluster {
    /// The pods of the controller that are not on their way out.
    pub async fn controller_pods(&self) -> Vec<Pod> {
        let pods = Api::<Pod>::namespaced(self.client(), CONTROLLER_NAMESPACE);
        let selected = ListParams::default().labels("app.kubernetes.io/name=postern");
        let listed = pods.list(&selected).await.expect("list the pods of the controller");
        listed.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    /// All that the controller's present pods have written, line by line with the name of the pod.
    pub async fn controller_log(&self) -> Vec<(String, String)> {
        let pods = Api::<Pod>::namespaced(self.client(), CONTROLLER_NAMESPACE);
        let mut lines = Vec::new();
        for pod in self.controller_pods().await {
            let name = pod.metadata.name.unwrap_or_default();
            let text = pods.logs(&name, &LogParams::default()).await.unwrap_or_else(|error| {
                panic!("cannot read the log of {name}: {error}");
            });
            lines.extend(text.lines().map(|line| (name.clone(), line.to_owned())));
        }
        lines
    }
}
