//! What the cluster says: the input of an overview.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;
use postern_api::gateway_api::{Condition, ParentReference};
use postern_translator::Kind;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::inspect::document::{Gateways, Replica};

/// Objects, pods, and what the replicas of the controller say.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// Objects of the kinds that have a status of ours, and Gateways.
    pub(crate) objects: Vec<Known>,
    /// Whether GatewayClasses could be listed. If not, every Gateway counts.
    pub(crate) classes_known: bool,
    /// The pods of proxies, by the Gateway that they serve. Absent if they could not be listed.
    pub(crate) pods: Option<Vec<PodInfo>>,
    /// The pods of the controller.
    pub(crate) replicas: Vec<ReplicaInfo>,
    /// What could not be found out.
    pub(crate) notes: Vec<String>,
}

/// An object, read as far as needed.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The kind.
    pub(crate) kind: Kind,
    /// The metadata.
    pub(crate) metadata: ObjectMeta,
    /// Everything else.
    pub(crate) data: Value,
}

/// The pod of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodInfo {
    /// The namespace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
    /// The name of the Gateway.
    pub(crate) gateway: String,
    /// The address.
    pub(crate) ip: String,
    /// Whether it is ready.
    pub(crate) ready: bool,
    /// Whether it is being deleted.
    pub(crate) ending: bool,
}

/// The pod of a controller, and what it said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReplicaInfo {
    /// The name of the pod.
    pub(crate) pod: String,
    /// Whether it is ready.
    pub(crate) ready: bool,
    /// Its documents, if it could be asked.
    pub(crate) said: Option<(Replica, Gateways)>,
}

/// The members of a spec that say what an object belongs to.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Belongs {
    pub(super) parent_refs: Vec<ParentReference>,
    pub(super) use_default_gateways: Option<String>,
    pub(super) hostnames: Vec<String>,
    pub(super) target_refs: Vec<Target>,
    pub(super) target_selectors: Vec<Selector>,
}

/// A target of a policy.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Target {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) section_name: Option<String>,
}

/// A selection of targets by labels.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selector {
    pub(super) kind: String,
    pub(super) match_labels: BTreeMap<String, String>,
}

/// A status that is a list with an entry for each parent or ancestor, or that has conditions of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Said {
    pub(super) conditions: Vec<Condition>,
    pub(super) parents: Vec<Entry>,
    pub(super) ancestors: Vec<Entry>,
}

/// What one controller says with respect to one parent or ancestor.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Entry {
    #[serde(alias = "ancestorRef")]
    pub(super) parent_ref: ParentReference,
    pub(super) controller_name: String,
    pub(super) conditions: Vec<Condition>,
}

impl Known {
    /// The namespace; empty for cluster-scoped objects.
    pub(super) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The name.
    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// `HTTPRoute default/web`.
    pub(super) fn title(&self) -> String {
        if self.namespace().is_empty() {
            format!("{} {}", self.kind, self.name())
        } else {
            format!("{} {}/{}", self.kind, self.namespace(), self.name())
        }
    }

    /// The member `spec`, as far as `T` knows it. An object that cannot be read so says nothing.
    pub(super) fn spec<T: DeserializeOwned + Default>(&self) -> T {
        self.member("spec")
    }

    /// The member `status`.
    pub(super) fn status<T: DeserializeOwned + Default>(&self) -> T {
        self.member("status")
    }

    fn member<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        self.data.get(name).and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
    }
}

/// True if `reference` of an object in `namespace` is to the object `kind` `of_namespace`/`name`.
pub(super) fn refers_to(
    reference: &ParentReference,
    namespace: &str,
    kind: Kind,
    (of_namespace, name): (&str, &str),
) -> bool {
    reference.kind.as_deref().unwrap_or("Gateway") == kind.as_str()
        && reference.name == name
        && reference.namespace.as_deref().unwrap_or(namespace) == of_namespace
}
