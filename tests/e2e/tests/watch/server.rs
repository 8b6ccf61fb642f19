//! An API server of the tests' own, without a node: one that they may stop, and whose definitions they may remove.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use postern_e2e::repository;

static SHARED: Mutex<Weak<ApiServer>> = Mutex::new(Weak::new());
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What a provider of the Multi-Cluster Services API installs, as far as it matters here.
pub(crate) const SERVICE_IMPORTS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: serviceimports.multicluster.x-k8s.io}
spec:
  group: multicluster.x-k8s.io
  scope: Namespaced
  names: {kind: ServiceImport, plural: serviceimports, singular: serviceimport}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// The API of a cluster without nodes; it ends with the value.
pub(crate) struct ApiServer {
    name: String,
    kubeconfig: PathBuf,
}

impl ApiServer {
    /// One that is shared by the tests that run at the same time, with all definitions installed.
    pub(crate) async fn shared() -> Arc<Self> {
        blocking(|| {
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(server) = shared.upgrade() {
                return server;
            }
            let server = Arc::new(Self::up());
            server.install();
            *shared = Arc::downgrade(&server);
            server
        })
        .await
    }

    /// One of the test's own, without definitions.
    pub(crate) async fn alone() -> Arc<Self> {
        blocking(|| Arc::new(Self::up())).await
    }

    fn up() -> Self {
        let name = format!("w{:x}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let kubeconfig = PathBuf::from(cluster(&name, &["up"], "").trim());
        Self { name, kubeconfig }
    }

    /// Installs all definitions.
    pub(crate) fn install(&self) {
        self.kubectl(&["apply", "--server-side", "-k", &gateway_api("experimental")]);
        self.kubectl(&["apply", "--server-side", "-k", "deploy/crds"]);
        self.apply(SERVICE_IMPORTS);
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    }

    /// What `kubectl arguments` prints; fails the test when it fails.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        cluster(&self.name, &[&["kubectl"], arguments].concat(), "")
    }

    /// Applies YAML.
    pub(crate) fn apply(&self, yaml: &str) {
        cluster(&self.name, &["kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-"], yaml);
    }

    /// Kills the API server, or starts it again at its old address.
    pub(crate) async fn order(self: &Arc<Self>, order: &'static str) {
        let name = self.name.clone();
        blocking(move || cluster(&name, &["apiserver", order], "")).await;
    }

    /// A client with all rights.
    pub(crate) async fn client(&self) -> Client {
        connect(self.config().await)
    }

    /// A client of a ServiceAccount.
    pub(crate) async fn client_of(&self, namespace: &str, account: &str) -> Client {
        let token = self.kubectl(&["create", "token", account, "--namespace", namespace, "--duration=1h"]);
        let mut config = self.config().await;
        config.auth_info = AuthInfo { token: Some(token.trim().to_owned().into()), ..AuthInfo::default() };
        connect(config)
    }

    /// A client of a user, who need not exist anywhere but in bindings of roles.
    pub(crate) async fn client_as(&self, user: &str) -> Client {
        let mut config = self.config().await;
        config.auth_info.impersonate = Some(user.to_owned());
        connect(config)
    }

    async fn config(&self) -> Config {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("a complete kubeconfig");
        config.default_retry = false;
        config
    }

    /// A new namespace with these labels. Its name begins with `prefix`.
    pub(crate) async fn namespace(&self, prefix: &str, labels: &[(&str, &str)]) -> String {
        let name = format!("{prefix}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata = ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() };
        let namespaces: Api<Namespace> = Api::all(self.client().await);
        let namespace = Namespace { metadata, ..Namespace::default() };
        namespaces.create(&PostParams::default(), &namespace).await.expect("a new namespace");
        name
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let ended = command(&self.name, &["down"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("cannot end the API server {}", self.name);
        }
    }
}

/// The directory with the definitions of a channel of the Gateway API.
pub(crate) fn gateway_api(channel: &str) -> String {
    let output =
        Command::new(repository().join("tests/setup/gateway-api.sh")).output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let home = String::from_utf8(output.stdout).expect("a path");
    let directory = Path::new(home.trim()).join("gateway-api/config/crd");
    // The standard channel is what the directory itself stands for.
    let directory = if channel == "standard" { directory } else { directory.join(channel) };
    directory.to_str().expect("a path in UTF-8").to_owned()
}

fn connect(config: Config) -> Client {
    Client::try_from(config).expect("a client")
}

fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(repository().join("tests/e2e/cluster/cluster"));
    command.arg("api-only").args(arguments).env("CLUSTER_NAME", name).current_dir(repository());
    command
}

fn cluster(name: &str, arguments: &[&str], input: &str) -> String {
    use std::io::Write as _;

    let mut command = command(name, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the script runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the script ends");
    let _ = writer.join();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cluster api-only {arguments:?} failed: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work was done")
}
