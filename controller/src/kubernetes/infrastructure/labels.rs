//! The labels, annotations and owner by which generated objects are found again.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use postern_translator::Infrastructure;
use postern_translator::infrastructure::{ObjectParameters, label_value};

/// Says that Postern made an object, [`MANAGER`] that it was this one's kind.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and the field manager of what is applied.
pub const MANAGER: &str = "postern";
/// The Gateway, GEP-1762.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// The GatewayClass, GEP-1762.
pub const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
/// The annotation that says which controller made an object.
pub const CONTROLLER_NAME: &str = "postern.dev/controller-name";
/// The annotation of pods that changes when Envoy has to be started anew.
pub const BOOTSTRAP_DIGEST: &str = "postern.dev/bootstrap-digest";

/// The labels of every object of a Gateway. Users cannot replace them.
pub(super) fn labels(infrastructure: &Infrastructure) -> BTreeMap<String, String> {
    let gateway = label_value(&infrastructure.gateway.name);
    let mut labels = selector(infrastructure);
    labels.extend(
        [
            (GATEWAY_CLASS_NAME, label_value(&infrastructure.class)),
            ("app.kubernetes.io/name", gateway.clone()),
            ("app.kubernetes.io/instance", gateway),
            ("app.kubernetes.io/component", "proxy".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    labels
}

/// The labels by which Deployment, Service and PodDisruptionBudget choose the pods. They cannot change while a Deployment
/// lives, so they hold nothing that a user can change.
pub(super) fn selector(infrastructure: &Infrastructure) -> BTreeMap<String, String> {
    [(GATEWAY_NAME, label_value(&infrastructure.gateway.name)), (MANAGED_BY, MANAGER.to_owned())]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

pub(super) fn label_selector(infrastructure: &Infrastructure) -> LabelSelector {
    LabelSelector { match_labels: Some(selector(infrastructure)), match_expressions: None }
}

/// The metadata of one generated object.
pub(super) fn metadata(
    infrastructure: &Infrastructure,
    controller_name: &str,
    own: &ObjectParameters,
) -> ObjectMeta {
    let (labels, mut annotations) = pod_metadata(infrastructure, own);
    annotations.insert(CONTROLLER_NAME.to_owned(), controller_name.to_owned());
    ObjectMeta {
        name: Some(infrastructure.name.clone()),
        namespace: Some(infrastructure.gateway.namespace.clone()),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: Some(vec![owner(infrastructure)]),
        ..ObjectMeta::default()
    }
}

/// Labels and annotations of the pods: what the Gateway says, over it what the parameters say, over it what must be.
pub(super) fn pod_metadata(
    infrastructure: &Infrastructure,
    own: &ObjectParameters,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let over = |gateway: &BTreeMap<String, String>, own: &BTreeMap<String, String>| {
        let mut all = gateway.clone();
        all.extend(own.clone());
        all
    };
    let mut all = over(&infrastructure.labels, &own.labels);
    all.extend(labels(infrastructure));
    (all, over(&infrastructure.annotations, &own.annotations))
}

fn owner(infrastructure: &Infrastructure) -> OwnerReference {
    OwnerReference {
        api_version: "gateway.networking.k8s.io/v1".to_owned(),
        kind: "Gateway".to_owned(),
        name: infrastructure.gateway.name.clone(),
        uid: infrastructure.uid.clone(),
        controller: Some(true),
        // The Gateway goes at once, whatever holds up its objects.
        block_owner_deletion: None,
    }
}
