//! Waits until a Deployment is what it should be.

use std::time::Duration;

use anyhow::anyhow;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Client;
use kube::api::{Api, ListParams};
use kube::runtime::watcher;
use tokio::time::timeout;

use crate::terminal::count;

/// How far a Deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The replicas of the present version that are ready.
    pub(super) ready: i32,
    /// How many there should be.
    pub(super) wanted: i32,
    /// Whether all is done, replicas of older versions gone included.
    pub(super) done: bool,
}

/// How far `deployment` is.
pub(super) fn progress(deployment: &Deployment) -> Progress {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else { return Progress { ready: 0, wanted, done: false } };
    let seen = status.observed_generation >= deployment.metadata.generation;
    let number = |value: Option<i32>| value.unwrap_or_default();
    let (updated, all) = (number(status.updated_replicas), number(status.replicas));
    let available = number(status.available_replicas);
    // Of the available ones, those of older versions do not count.
    let ready = if seen { (available - (all - updated)).clamp(0, updated) } else { 0 };
    Progress { ready, wanted, done: seen && updated >= wanted && all == updated && available >= updated }
}

/// Waits for the Deployment `namespace`/`name`, and tells of every step.
///
/// # Errors
///
/// Fails with what holds it up if it takes longer than `patience`.
pub(super) async fn wait(
    client: &Client,
    namespace: &str,
    name: &str,
    patience: Duration,
    mut tell: impl FnMut(Progress),
) -> anyhow::Result<()> {
    let api = Api::<Deployment>::namespaced(client.clone(), namespace);
    let watch = async {
        let objects = watcher::watch_object(api, name);
        pin_mut!(objects);
        let mut last = None;
        while let Some(object) = objects.next().await {
            // The watcher itself goes on after errors.
            let Ok(Some(deployment)) = object else { continue };
            let progress = progress(&deployment);
            if last != Some(progress) {
                tell(progress);
                last = Some(progress);
            }
            if progress.done {
                return;
            }
        }
    };
    if timeout(patience, watch).await.is_ok() {
        return Ok(());
    }
    let reasons = obstacles(client, namespace, name).await;
    let reasons = if reasons.is_empty() { String::new() } else { format!(":\n  {}", reasons.join("\n  ")) };
    let seconds = count(usize::try_from(patience.as_secs()).unwrap_or(usize::MAX), "second");
    Err(anyhow!("the Deployment {namespace}/{name} is not ready after {seconds}{reasons}"))
}

/// What the pods of a Deployment wait for.
async fn obstacles(client: &Client, namespace: &str, name: &str) -> Vec<String> {
    let params = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
    let Ok(pods) = Api::<Pod>::namespaced(client.clone(), namespace).list(&params).await else {
        return Vec::new();
    };
    if pods.items.is_empty() {
        return vec!["it has no pods: `kubectl describe replicaset` in this namespace says why".to_owned()];
    }
    pods.items.iter().flat_map(of_pod).collect()
}

/// What one pod waits for.
fn of_pod(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = &pod.status else { return vec![format!("{name}: nobody has looked at it yet")] };
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .filter_map(|condition| condition.message.clone());
    let containers = status.container_statuses.iter().flatten().filter_map(of_container);
    unscheduled.chain(containers).map(|reason| format!("{name}: {reason}")).collect()
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let ended = last.map(|ended| format!("it ended with code {}", ended.exit_code));
        return Some(match waiting.message.clone().or(ended) {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        });
    }
    let running = state.running.is_some() && !container.ready;
    running.then(|| "it runs and is not ready: its log says why".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(generation: i64, status: &serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "postern", "generation": generation},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": status,
        }))
        .expect("a Deployment")
    }

    #[test]
    fn done_when_all_are_of_this_version_and_available() {
        for (status, ready, done) in [
            (
                json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                0,
                false,
            ),
            (json!({"observedGeneration": 2}), 0, false),
            (
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}),
                0,
                false,
            ),
            (
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}),
                2,
                false,
            ),
            (
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
                1,
                false,
            ),
            (
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                2,
                true,
            ),
        ] {
            assert_eq!(progress(&deployment(2, &status)), Progress { ready, wanted: 2, done }, "{status}");
        }
    }

    #[test]
    fn says_what_a_pod_waits_for() {
        let pod = |status: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "postern-1"}, "status": status}))
                .expect("a Pod")
        };
        let container = |state: serde_json::Value, last: serde_json::Value| {
            pod(json!({"containerStatuses": [{
                "name": "postern", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": state, "lastState": last,
            }]}))
        };
        for (pod, said) in [
            (
                container(
                    json!({"waiting": {"reason": "ErrImagePull", "message": "no such host"}}),
                    json!({}),
                ),
                "postern-1: ErrImagePull: no such host",
            ),
            (
                container(
                    json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                    json!({"terminated": {"exitCode": 1}}),
                ),
                "postern-1: CrashLoopBackOff: it ended with code 1",
            ),
            (
                container(json!({"running": {}}), json!({})),
                "postern-1: it runs and is not ready: its log says why",
            ),
            (
                pod(json!({"conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"},
                ]})),
                "postern-1: 0/1 nodes are available",
            ),
        ] {
            assert_eq!(of_pod(&pod), [said]);
        }
    }
}
