//! From a Gateway to its [`Infrastructure`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postern_api::gateway_api::{Gateway, GatewayInfrastructure, GatewaySpecAddress};

use super::check::Checks;
use super::{
    Infrastructure, KubernetesParameters, ObjectParameters, ProxyParameters, Replicas, RequestedAddress,
    Routability, infrastructure_name, metadata, resolve,
};
use crate::dependency::Reader;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Problems;

/// The most labels, and the most annotations, that a Gateway may ask for (GEP-1867).
const MOST: usize = 8;

/// Translates a Gateway of ours.
pub(crate) fn translate(reader: &Reader<'_>, gateway: &Gateway) -> (Arc<Infrastructure>, Problems) {
    let mut problems = Problems::default();
    let name = NamespacedName::new(
        gateway.metadata.namespace.clone().unwrap_or_default(),
        gateway.metadata.name.clone().unwrap_or_default(),
    );
    let key = ObjectKey::new(Kind::Gateway, &name.namespace, &name.name);
    let asked = gateway.spec.infrastructure.clone().unwrap_or_default();
    let GatewayInfrastructure { labels, annotations, .. } = asked;
    let labels = usable(labels, "labels", metadata::labels, &key, &mut problems);
    let annotations = usable(annotations, "annotations", metadata::annotations, &key, &mut problems);
    // Without a model the Gateway could not be translated: a defect, which costs no proxy.
    let ports = reader.ports(&name);
    let mut parameters = match (&ports, resolve::of_gateway(reader, gateway, &mut problems)) {
        (Some(_), Ok(parameters)) => parameters,
        (None, _) | (_, Err(_)) => ProxyParameters::Invalid,
    };
    if let ProxyParameters::Kubernetes(parameters) = &mut parameters {
        give_way(parameters, &labels, &annotations);
    }
    // What is wrong with them is said where the Gateway is translated.
    let asked = &gateway.spec.addresses;
    let is_cluster = |it: &&GatewaySpecAddress| Routability::of(it) == Routability::Cluster;
    let cluster_ips =
        asked.iter().filter(is_cluster).filter_map(|it| RequestedAddress::parse(it).ok().flatten());
    let cluster_ip = cluster_ips.into_iter().find_map(|it| match it {
        RequestedAddress::Ip(ip) => Some(ip),
        RequestedAddress::Hostname(_) => None,
    });
    let elsewhere = |it: &&GatewaySpecAddress| {
        matches!(Routability::of(it), Routability::Default | Routability::Sentinel)
    };
    let addresses =
        asked.iter().filter(elsewhere).filter_map(|it| RequestedAddress::parse(it).ok().flatten());
    let infrastructure = Infrastructure {
        uid: gateway.metadata.uid.clone().unwrap_or_default(),
        class: gateway.spec.gateway_class_name.clone(),
        name: infrastructure_name(&name.name),
        labels,
        annotations,
        ports: ports.unwrap_or_default(),
        addresses: unique(addresses),
        cluster_ip,
        internal: !asked.is_empty() && !asked.iter().any(|it| elsewhere(&it)),
        parameters,
        gateway: name,
    };
    (Arc::new(infrastructure), problems)
}

fn unique(addresses: impl Iterator<Item = RequestedAddress>) -> Vec<RequestedAddress> {
    let mut seen = BTreeSet::new();
    addresses.filter(|address| seen.insert(address.clone())).collect()
}

/// Those labels or annotations of a Gateway that can be carried out; the others are reported and cost nothing else.
fn usable(
    mut asked: BTreeMap<String, String>,
    what: &str,
    check: fn(&BTreeMap<String, String>, &str, &mut Checks),
    key: &ObjectKey,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let field = format!("spec.infrastructure.{what}");
    asked.retain(|name, value| {
        let mut checks = Checks::default();
        check(&BTreeMap::from([(name.clone(), value.clone())]), &field, &mut checks);
        let faults = checks.into_faults();
        for fault in &faults {
            problems.error(key, &fault.field, &fault.message, &fault.remedy);
        }
        faults.is_empty()
    });
    if let Some(ninth) = asked.keys().nth(MOST).cloned() {
        problems.error(
            key,
            &field,
            format!("there are {} {what}; a Gateway has at most {MOST}", asked.len()),
            format!("remove some; in order of their keys, only those before {ninth} are set"),
        );
        asked.split_off(&ninth);
    }
    asked
}

/// What the Gateway itself asks for wins over labels and annotations of parameters.
fn give_way(
    parameters: &mut KubernetesParameters,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) {
    let KubernetesParameters { replicas, pod, service, service_account, disruption_budget, .. } = parameters;
    let autoscaler = match replicas {
        Replicas::Automatic(autoscaler) => Some(&mut autoscaler.object),
        Replicas::Unmanaged | Replicas::Fixed(_) => None,
    };
    let budget = disruption_budget.as_mut().map(|budget| &mut budget.object);
    let objects: [Option<&mut ObjectParameters>; 5] =
        [Some(&mut pod.object), Some(&mut service.object), Some(service_account), autoscaler, budget];
    for object in objects.into_iter().flatten() {
        object.labels.retain(|key, _| !labels.contains_key(key));
        object.annotations.retain(|key, _| !annotations.contains_key(key));
    }
}
