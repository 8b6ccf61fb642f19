//! ListenerSet: listeners for a Gateway, kept outside of it (GEP-1713).

use serde::{Deserialize, Serialize};

use super::{Condition, Listener, ListenerStatus};

/// A listener of a ListenerSet.
pub type ListenerEntry = Listener;
/// What the controller says about a listener of a ListenerSet.
pub type ListenerEntryStatus = ListenerStatus;

api_kind! {
    /// More listeners for a Gateway.
    pub struct ListenerSet { spec: ListenerSetSpec, status: ListenerSetStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1"],
    kind: "ListenerSet", plural: "listenersets", scope: Namespace
}

/// Desired state of a ListenerSet.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway.
    pub parent_ref: ParentGatewayReference,
    /// Listeners, 1 to 64, with distinct names.
    #[serde(default)]
    pub listeners: Vec<ListenerEntry>,
}

/// Reference of a ListenerSet to its Gateway.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentGatewayReference {
    /// API group; absent means `gateway.networking.k8s.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind; absent means `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the Gateway.
    pub name: String,
    /// Namespace of the Gateway; absent means that of the ListenerSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl ParentGatewayReference {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(super::GATEWAY_GROUP)
    }

    /// The kind, with the default applied.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Gateway")
    }
}

/// What the controller says about a ListenerSet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetStatus {
    /// State of the ListenerSet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// State of each listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerEntryStatus>,
}
