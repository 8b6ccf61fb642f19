//! Outages of the API server, where the cluster is the project's own node.

use std::path::PathBuf;
use std::process::Command;

/// A stopped API server; it is started again by [`Outage::end`], or when the value is dropped.
pub struct Outage {
    script: PathBuf,
    over: bool,
}

impl Outage {
    /// Ends the API server at once, as a crash would. Other parts of the node go on.
    ///
    /// Only for [`super::Cluster::alone`]. Needs `POSTERN_E2E_CLUSTER`, the script that controls the node.
    pub async fn begin() -> Self {
        let script = std::env::var_os("POSTERN_E2E_CLUSTER").map(PathBuf::from).expect(
            "POSTERN_E2E_CLUSTER is not set: the API server of a cluster can be stopped where the cluster is \
             the project's own node; unset KUBECONFIG and let `make e2e` bring it up",
        );
        let outage = Self { script, over: false };
        outage.order("stop").await;
        outage
    }

    /// Starts the API server again, at its old address; returns when it answers.
    pub async fn end(mut self) {
        self.order("start").await;
        self.over = true;
    }

    async fn order(&self, order: &str) {
        let script = self.script.clone();
        let order = order.to_owned();
        tokio::task::spawn_blocking(move || run(&script, &order)).await.expect("the order was given");
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        if !self.over {
            run(&self.script, "start");
        }
    }
}

fn run(script: &std::path::Path, order: &str) {
    let output = Command::new(script).args(["apiserver", order]).output();
    let done = output.as_ref().is_ok_and(|it| it.status.success());
    if !done && std::thread::panicking() {
        eprintln!("cannot {order} the API server: {output:?}");
    } else {
        assert!(done, "cannot {order} the API server: {output:?}");
    }
}
