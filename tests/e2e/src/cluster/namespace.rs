//! A namespace of a test's own.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Resource};
use postern_api::gateway_api::{ConditionStatus, Gateway};
use serde::de::DeserializeOwned;

use super::{CONTROLLER_NAMESPACE, Cluster, Kubectl};
use crate::client::{Answer, Call};
use crate::postern::postern_binary;
use crate::wait::until_within;

/// A namespace that is deleted, without waiting for it, when the value is dropped. If the test has failed by then, its
/// contents are described first.
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    kubectl: Kubectl,
    name: String,
}

impl<'a> Namespace<'a> {
    pub(super) async fn create(cluster: &'a Cluster, prefix: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
        let unique = now.as_nanos() ^ (u128::from(std::process::id()) << 20);
        let name = format!("{prefix}-{:07x}", unique & 0x0fff_ffff);
        cluster.kubectl.run(&["create", "namespace", &name]).await;
        Self { cluster, kubectl: cluster.kubectl.clone(), name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API of one kind in this namespace.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.cluster.client(), &self.name)
    }

    /// Applies YAML server-side; `$NAMESPACE` in it becomes the name of this namespace.
    pub async fn apply(&self, yaml: &str) {
        self.try_apply(yaml).await.unwrap_or_else(|error| panic!("{error}\n--- of:\n{yaml}"));
    }

    /// The same, and says what the API server refuses.
    pub async fn try_apply(&self, yaml: &str) -> Result<String, String> {
        self.kubectl.try_apply(&self.name, &yaml.replace("$NAMESPACE", &self.name)).await
    }

    /// Deletes `what`, such as `["gateway", "web"]`, and waits until it is gone.
    pub async fn delete(&self, what: &[&str]) {
        self.kubectl(&[&["delete", "--timeout=60s"], what].concat()).await;
    }

    /// What `kubectl arguments` prints in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl.run(&[&["--namespace", &self.name], arguments].concat()).await
    }

    /// Waits until `probe` says `Ok` of the object `name`; fails with what the probe said last.
    pub async fn until<K, T>(&self, name: &str, what: &str, probe: impl Fn(&K) -> Result<T, String>) -> T
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.cluster.until(&self.api::<K>(), name, what, probe).await
    }

    /// Waits until all replicas of a Deployment are those that it asks for and ready.
    pub async fn rolled_out(&self, deployment: &str) {
        self.until(deployment, "roll-out", |it: &Deployment| {
            let wanted = it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let status = it.status.clone().unwrap_or_default();
            let done = status.observed_generation == it.metadata.generation
                && status.updated_replicas.unwrap_or(0) == wanted
                && status.available_replicas.unwrap_or(0) == wanted
                && status.replicas.unwrap_or(0) == wanted;
            if done { Ok(()) } else { Err(format!("{wanted} wanted, status {status:?}")) }
        })
        .await;
    }

    /// The LoadBalancer address of a Service, as soon as it has one.
    pub async fn service_address(&self, service: &str) -> IpAddr {
        self.until(service, "address", |it: &Service| {
            it.status
                .as_ref()
                .and_then(|status| status.load_balancer.as_ref())
                .and_then(|balancer| balancer.ingress.as_ref()?.first()?.ip.as_deref()?.parse().ok())
                .ok_or_else(|| format!("status {:?}", it.status))
        })
        .await
    }

    /// The first address of a Gateway that is programmed, as soon as it is.
    pub async fn gateway_address(&self, gateway: &str) -> IpAddr {
        self.until(gateway, "Programmed and address", |it: &Gateway| {
            let status = it.status.as_ref().ok_or("no status")?;
            let programmed = status.conditions.iter().find(|condition| condition.type_ == "Programmed");
            let current = programmed.is_some_and(|it_is| {
                it_is.status == ConditionStatus::True && it_is.observed_generation == it.metadata.generation
            });
            let address = status.addresses.iter().find_map(|address| address.value.parse().ok());
            match address {
                Some(address) if current => Ok(address),
                _ => Err(format!("Programmed {programmed:?}, addresses {:?}", status.addresses)),
            }
        })
        .await
    }

    /// Sends `call` to `address` until the answer passes `check`, and returns it. A Service's address may refuse for a
    /// moment after it was given: the node has to learn of it.
    pub async fn answers(&self, call: &Call, check: impl Fn(&Answer) -> Result<(), String>) -> Answer {
        until_within(super::CLUSTER_PATIENCE, "wanted answer", || async {
            let answer = call.send().await.map_err(|error| format!("{error:#}"))?;
            check(&answer).map(|()| answer)
        })
        .await
    }

    /// `GET path` for `host` at port `port` of a programmed Gateway.
    pub async fn get(&self, gateway: &str, port: u16, host: &str, path: &str) -> Call {
        Call::get(port, host, path).at(SocketAddr::new(self.gateway_address(gateway).await, port))
    }

    fn describe(&self) {
        let namespace = ["--namespace", self.name.as_str()];
        let tell = |title: &str, arguments: &[&str]| {
            let text = self.kubectl.blocking(arguments).unwrap_or_else(|error| error);
            eprintln!("--- {title} of {}:\n{text}", self.name);
        };
        tell("overview", &[&namespace[..], &["get", "all", "-o", "wide"]].concat());
        let kinds = "gateways,httproutes,grpcroutes,trafficpolicies,gatewayparameters,backends";
        tell(
            "statuses",
            &[
                &namespace[..],
                &["get", kinds, "--ignore-not-found", "-o", "yaml", "--show-managed-fields=false"],
            ]
            .concat(),
        );
        tell("endpoints", &[&namespace[..], &["get", "endpointslices", "-o", "wide"]].concat());
        self.describe_proxies();
        tell("events", &[&namespace[..], &["get", "events", "--sort-by=.lastTimestamp"]].concat());
        let selector = "app.kubernetes.io/managed-by=postern";
        let logs = ["logs", "--all-containers", "--prefix", "--tail=80", "--selector", selector];
        tell("logs of proxies", &[&namespace[..], &logs].concat());
        let logs = ["logs", "--prefix", "--tail=80", "--selector", "app.kubernetes.io/name=postern"];
        tell(
            "log of the controller, at the end",
            &[&["--namespace", CONTROLLER_NAMESPACE], &logs[..]].concat(),
        );
    }
}

impl Namespace<'_> {
    /// What each proxy has, against what it should have.
    fn describe_proxies(&self) {
        let names = ["get", "gateways", "-o", "name", "--namespace", &self.name];
        let found = self.kubectl.blocking(&names).unwrap_or_default();
        for gateway in found.lines().filter_map(|line| line.split_once('/')).map(|(_, name)| name) {
            for view in ["endpoints", "diff"] {
                let gateway = format!("{}/{gateway}", self.name);
                let output = Command::new(postern_binary())
                    .args(["proxy", "config", &gateway, view])
                    .env("NO_COLOR", "1")
                    .output();
                let text = output.map_or_else(
                    |error| error.to_string(),
                    |it| String::from_utf8_lossy(&[it.stdout, it.stderr].concat()).into_owned(),
                );
                eprintln!("--- {view} of the proxies of {gateway}:\n{text}");
            }
        }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.describe();
        }
        if std::env::var_os("KEEP").is_none_or(|it| it.is_empty()) {
            let _ = self.kubectl.blocking(&["delete", "namespace", &self.name, "--wait=false"]);
        }
    }
}
