//! What can be done to a node only where it is the project's own.

use std::path::PathBuf;
use std::process::{Command, Output};

/// The script that controls the project's own node (`tests/e2e/cluster/cluster`).
#[derive(Clone)]
pub struct Node {
    script: PathBuf,
}

impl Node {
    /// The node that `POSTERN_E2E_CLUSTER` names, as `make e2e` does.
    ///
    /// # Panics
    ///
    /// If the tests run in another cluster.
    pub fn own() -> Self {
        let script = std::env::var_os("POSTERN_E2E_CLUSTER").map(PathBuf::from).expect(
            "POSTERN_E2E_CLUSTER is not set: this can be done where the cluster is the project's own node; unset KUBECONFIG and let \
             `make e2e` bring it up",
        );
        Self { script }
    }

    /// Ends all containers of a pod with SIGKILL, behind the back of Kubernetes: the pod stays, and the kubelet starts them again.
    pub async fn kill_pod(&self, namespace: &str, pod: &str) {
        self.order(["kill".to_owned(), format!("{namespace}/{pod}")]).await;
    }

    /// Ends the API server at once, as a crash would. Other parts of the node go on. Only for [`super::Cluster::alone`].
    pub async fn stop_api_server(&self) -> Outage {
        let outage = Outage { node: self.clone(), over: false };
        self.order(API_SERVER_STOP).await;
        outage
    }

    async fn order<T: AsRef<std::ffi::OsStr> + Send + 'static, const N: usize>(&self, order: [T; N]) {
        let node = self.clone();
        let output = tokio::task::spawn_blocking(move || node.run(order)).await.expect("the order was given");
        assert!(output.status.success(), "{output:?}");
    }

    fn run<T: AsRef<std::ffi::OsStr>, const N: usize>(&self, order: [T; N]) -> Output {
        Command::new(&self.script).args(order).output().expect("the script of the node can be run")
    }
}

const API_SERVER_STOP: [&str; 2] = ["apiserver", "stop"];
const API_SERVER_START: [&str; 2] = ["apiserver", "start"];

/// A stopped API server; it is started again by [`Outage::end`], or when the value is dropped.
pub struct Outage {
    node: Node,
    over: bool,
}

impl Outage {
    /// Starts the API server again, at its old address; returns when it answers.
    pub async fn end(mut self) {
        self.node.order(API_SERVER_START).await;
        self.over = true;
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        if !self.over {
            let output = self.node.run(API_SERVER_START);
            if !output.status.success() {
                eprintln!("cannot start the API server: {output:?}");
            }
        }
    }
}
