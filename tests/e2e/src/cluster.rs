//! A real cluster: whichever `KUBECONFIG` names.
//!
//! [`Cluster::shared`] is for tests that keep to a [`Namespace`] of their own and run side by side;
//! [`Cluster::alone`] for those that disturb everybody, such as the end of a leader: nothing else runs meanwhile.
//! Both install the Gateway API and Postern first. Objects are applied with `kubectl`, as a user would; they are read
//! and awaited with a client.
//!
//! A failed test describes what it left on standard error: objects with their statuses, events, logs of pods.

mod controller;
mod echo;
mod install;
mod kubectl;
mod namespace;
mod node;

use std::fmt::Debug;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{OnceCell, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::postern::{Finished, postern_binary, repository};
use crate::wait::until_within;

pub use controller::{CONTROLLER_DEPLOYMENT, CONTROLLER_NAMESPACE};
pub use echo::EchoReply;
pub use install::GATEWAY_API_CHANNEL;
pub use kubectl::Kubectl;
pub use namespace::Namespace;
pub use node::{Node, Outage};

/// How long something in a cluster may take: pods start, Services get addresses, leases run out. It is never
/// spent when all is well.
pub const CLUSTER_PATIENCE: Duration = Duration::from_secs(90);

static TURNS: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);
static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// The cluster, and the right to use it.
pub struct Cluster {
    client: Client,
    kubectl: Kubectl,
    _turn: Turn,
}

#[expect(dead_code, reason = "held while the test runs")]
enum Turn {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Cluster {
    /// The cluster, with Postern installed, while other tests use it too.
    pub async fn shared() -> Self {
        let turn = Turn::Shared(Arc::clone(&TURNS).read_owned().await);
        Self::installed(turn).await
    }

    /// The cluster, with Postern installed, while no other test of this process uses it. Leave it as it was.
    pub async fn alone() -> Self {
        let turn = Turn::Alone(Arc::clone(&TURNS).write_owned().await);
        Self::installed(turn).await
    }

    async fn installed(turn: Turn) -> Self {
        assert!(
            std::env::var_os("KUBECONFIG").is_some(),
            "KUBECONFIG is not set; `make e2e` brings up a cluster and sets it"
        );
        let client = Client::try_default().await.expect("KUBECONFIG names a cluster");
        let cluster = Self { client, kubectl: Kubectl::find(), _turn: turn };
        INSTALLED.get_or_init(|| install::install(&cluster)).await;
        cluster
    }

    /// A client with the rights of `KUBECONFIG`. It belongs to the runtime of the test that asked for the cluster.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// `kubectl` with the rights of `KUBECONFIG`.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A new namespace whose name begins with `prefix`; it goes with the value.
    pub async fn namespace(&self, prefix: &str) -> Namespace<'_> {
        Namespace::create(self, prefix).await
    }

    /// Waits until `probe` says `Ok` of the object `name`; fails with what the probe said last.
    pub async fn until<K, T>(
        &self,
        api: &Api<K>,
        name: &str,
        what: &str,
        probe: impl Fn(&K) -> Result<T, String>,
    ) -> T
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        until_within(CLUSTER_PATIENCE, &format!("{what} of {} {name}", K::kind(&())), || async {
            probe(&api.get(name).await.map_err(|error| error.to_string())?)
        })
        .await
    }

    /// Runs `postern` with `arguments` to its end, with the rights of `KUBECONFIG`.
    pub async fn postern(&self, arguments: &[&str]) -> Finished {
        let output = tokio::process::Command::new(postern_binary())
            .args(arguments)
            .current_dir(repository())
            .env("NO_COLOR", "1")
            .kill_on_drop(true)
            .output()
            .await
            .expect("run postern");
        Finished {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
