//! The endpoints of an XBackend that selects pods.
//!
//! What the EndpointSlices of a Service with this selector would say: a pod counts when it is ready, and while it shuts down as long as
//! it says that it is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use postern_api::gateway_api::XBackend;

use super::{Destination, parse};
use crate::backend::ClusterId;
use crate::backend::service::{self, State};
use crate::dependency::Reader;
use crate::object::{Kind, NamespacedName};
use crate::problem::Problems;
use crate::resource::{Resource, ResourceType};

/// Kubernetes puts the zone of its node on each pod (KEP-4742).
const ZONE: &str = "topology.kubernetes.io/zone";

/// The ClusterLoadAssignment of an XBackend; `None` if the DNS knows its endpoints.
pub(crate) fn endpoints(
    reader: &Reader<'_>,
    cluster: &ClusterId,
    name: &NamespacedName,
) -> Option<(Arc<Resource>, Problems)> {
    let backend = reader.get::<XBackend>(&name.namespace, &name.name)?;
    let parsed = parse(backend).ok()?;
    let Destination::Pods(labels) = parsed.destination else { return None };
    let mut found = BTreeMap::new();
    for (pod, of_pod) in reader.objects_in(Kind::Pod, &name.namespace) {
        if labels.iter().all(|(key, value)| of_pod.get(key) == Some(value))
            && let Some(pod) = reader.get::<Pod>(&pod.namespace, &pod.name)
            && let (Some(address), Some(state)) = (address(pod), state(pod))
        {
            found.insert((address, parsed.port), (state, of_pod.get(ZONE).cloned().unwrap_or_default()));
        }
    }
    let mut problems = Problems::default();
    if found.is_empty() && !reader.is_served(Kind::Pod) {
        problems.warning(
            &cluster.backend.key(),
            "spec.endpointSelector",
            "Pods cannot be read here, so there is no endpoint",
            "let Postern get, list and watch Pods",
        );
    } else if found.is_empty() {
        problems.warning(
            &cluster.backend.key(),
            "spec.endpointSelector.matchLabels",
            "no pod that is ready has these labels, so there is no endpoint",
            "compare the labels with those of the pods",
        );
    }
    let message = service::assignment(cluster.name(), found);
    Some((Resource::new(ResourceType::ClusterLoadAssignment, cluster.name(), &message), problems))
}

fn address(pod: &Pod) -> Option<String> {
    let address = pod.status.as_ref()?.pod_ip.clone()?;
    address.parse::<IpAddr>().is_ok().then_some(address)
}

/// `None` if nothing is to be sent there.
fn state(pod: &Pod) -> Option<State> {
    let status = pod.status.as_ref()?;
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let ready = status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
    match pod.metadata.deletion_timestamp {
        _ if ended || !ready => None,
        Some(_) => Some(State::Draining),
        None => Some(State::Ready),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::object;
    use crate::object::Object;

    #[test]
    fn pods_that_are_sent_to() {
        let ready = "conditions: [{type: Ready, status: 'True'}]";
        for (rest, expected) in [
            (format!("status: {{podIP: 10.0.0.1, {ready}}}"), Some("Ready")),
            (format!("status: {{podIP: 10.0.0.1, phase: Running, {ready}}}"), Some("Ready")),
            ("status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: 'False'}]}".to_owned(), None),
            ("status: {podIP: 10.0.0.1}".to_owned(), None),
            (format!("status: {{podIP: 10.0.0.1, phase: Succeeded, {ready}}}"), None),
            ("spec: {containers: []}".to_owned(), None),
        ] {
            let Object::Pod(mut pod) = object(Kind::Pod, "a/p", &rest) else { panic!("a Pod") };
            assert_eq!(state(&pod).map(|it| format!("{it:?}")).as_deref(), expected, "{rest}");
            Arc::make_mut(&mut pod).metadata.deletion_timestamp =
                Some(serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap());
            let leaving = expected.map(|_| State::Draining);
            assert!(state(&pod) == leaving, "{rest}, while it shuts down");
        }
    }

    #[test]
    fn a_pod_without_an_address_is_no_endpoint() {
        for (ip, expected) in [("podIP: fd00::1", Some("fd00::1")), ("podIP: ''", None), ("", None)] {
            let Object::Pod(pod) = object(Kind::Pod, "a/p", &format!("status: {{{ip}}}")) else {
                panic!("a Pod")
            };
            assert_eq!(address(&pod).as_deref(), expected, "{ip}");
        }
    }
}
