//! Replicas tell each other what their proxies say: each in a ConfigMap of its own, which belongs to its pod and goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use postern_translator::{NamespacedName, ProxyReport, Rejection};
use postern_xds::ResourceType;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::proxies::Reports;
use crate::publish::translator_type;

/// Marks the ConfigMaps, and names the replica.
const LABEL: &str = "postern.dev/proxies-of";
/// The key in their data.
const KEY: &str = "reports.json";
/// How long a replica waits between two writes, so that a burst is one.
const REST: Duration = Duration::from_millis(200);
/// How long it waits after a write that failed.
const RETRY: Duration = Duration::from_secs(2);

/// This replica.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    /// The namespace of the controller.
    pub(super) namespace: String,
    /// The name of the pod.
    pub(super) pod: String,
    /// The uid of the pod, if it is known: then the ConfigMap goes with it.
    pub(super) pod_uid: Option<String>,
}

/// What another replica says; `None` if it is gone.
pub(super) type PeerReport = (String, Option<Reports>);

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Entry {
    namespace: String,
    gateway: String,
    proxies: usize,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    listeners: BTreeMap<String, BTreeMap<String, usize>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rejections: Vec<Refused>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Refused {
    #[serde(rename = "type")]
    type_url: String,
    name: String,
    error: String,
    proxies: usize,
}

/// Shows what the proxies of this replica say, whenever it changes.
pub(super) async fn show(client: Client, replica: Replica, mut reports: watch::Receiver<Reports>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &replica.namespace);
    let name = format!("postern-proxies-{}", replica.pod);
    let parameters = PatchParams::apply("postern").force();
    loop {
        let text = encode(&reports.borrow_and_update());
        let written = match text {
            Ok(text) => api
                .patch(&name, &parameters, &Patch::Apply(config_map(&name, &replica, text)))
                .await
                .map(drop),
            Err(error) => {
                tracing::error!(%error, "what the proxies say cannot be written as JSON");
                Ok(())
            }
        };
        match written {
            Ok(()) => {
                tokio::time::sleep(REST).await;
                if reports.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, name, "cannot show the other replicas what the proxies say; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn config_map(name: &str, replica: &Replica, text: String) -> ConfigMap {
    let owner = replica.pod_uid.as_ref().map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: replica.pod.clone(),
        uid: uid.clone(),
        ..OwnerReference::default()
    });
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(replica.namespace.clone()),
            labels: Some([(LABEL.to_owned(), replica.pod.clone())].into()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some([(KEY.to_owned(), text)].into()),
        ..ConfigMap::default()
    }
}

/// Listens to what the other replicas show, until nobody wants to hear it.
pub(super) async fn listen(client: Client, replica: Replica, told: mpsc::Sender<PeerReport>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &replica.namespace);
    let config = watcher::Config::default().labels(LABEL);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut known = BTreeSet::new();
    let mut listed = BTreeSet::new();
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "cannot listen to the other replicas; trying again");
                continue;
            }
        };
        let mut news = Vec::new();
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(map) | watcher::Event::Apply(map) => {
                let pod = map.labels().get(LABEL).cloned().unwrap_or_default();
                listed.insert(pod.clone());
                known.insert(pod.clone());
                news.push((pod, Some(map)));
            }
            watcher::Event::Delete(map) => {
                let pod = map.labels().get(LABEL).cloned().unwrap_or_default();
                known.remove(&pod);
                news.push((pod, None));
            }
            watcher::Event::InitDone => {
                news.extend(known.difference(&listed).map(|pod| (pod.clone(), None)));
                known.retain(|pod| listed.contains(pod));
            }
        }
        for (pod, map) in news.into_iter().filter(|(pod, _)| *pod != replica.pod) {
            let reports = map.and_then(|map| decode(&pod, &map));
            if told.send((pod, reports)).await.is_err() {
                return;
            }
        }
    }
}

fn encode(reports: &Reports) -> serde_json::Result<String> {
    let entry = |(name, report): (&NamespacedName, &ProxyReport)| Entry {
        namespace: name.namespace.clone(),
        gateway: name.name.clone(),
        proxies: report.proxies,
        listeners: report.listeners.clone(),
        rejections: report
            .rejections
            .iter()
            .map(|r| Refused {
                type_url: r.resource_type.type_url(),
                name: r.name.clone(),
                error: r.error.clone(),
                proxies: r.proxies,
            })
            .collect(),
    };
    serde_json::to_string(&reports.iter().map(entry).collect::<Vec<_>>())
}

/// What cannot be read was written by another version; its proxies are heard again when they reconnect.
fn decode(pod: &str, map: &ConfigMap) -> Option<Reports> {
    let text = map.data.as_ref()?.get(KEY)?;
    let entries: Vec<Entry> = serde_json::from_str(text)
        .inspect_err(
            |error| tracing::warn!(%error, pod, "cannot read what the proxies of another replica say"),
        )
        .ok()?;
    let report = |entry: Entry| {
        let rejections = entry.rejections.into_iter().filter_map(|r| {
            Some(Rejection {
                resource_type: translator_type(ResourceType::from_type_url(&r.type_url)?)?,
                name: r.name,
                error: r.error,
                proxies: r.proxies,
            })
        });
        let report = ProxyReport {
            proxies: entry.proxies,
            listeners: entry.listeners,
            rejections: rejections.collect(),
        };
        (NamespacedName::new(entry.namespace, entry.gateway), report)
    };
    Some(entries.into_iter().map(report).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read() {
        let mut report = ProxyReport::default();
        let rejected = (postern_translator::ResourceType::Cluster, "a/s:80", "no such field");
        report.add([("80/tcp", "v1")], [rejected]);
        let reports: Reports = [(NamespacedName::new("a", "web"), report)].into();
        let replica = Replica { namespace: "n".into(), pod: "p".into(), pod_uid: Some("u".into()) };
        let map = config_map("m", &replica, encode(&reports).expect("JSON"));
        assert_eq!(decode("p", &map), Some(reports));
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let replica = Replica { namespace: "n".into(), pod: "p".into(), pod_uid: None };
        assert_eq!(decode("p", &config_map("m", &replica, "[{}]".into())), None);
        assert_eq!(decode("p", &ConfigMap::default()), None);
    }
}
