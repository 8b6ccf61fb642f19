//! Structs that several extension kinds share.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::gateway_api::{Condition, GATEWAY_GROUP, PolicyAncestorStatus};

/// API group of the extension kinds.
pub const EXTENSION_GROUP: &str = "gateway.kgateway.dev";
/// Version of the extension kinds.
pub const EXTENSION_VERSION: &str = "v1alpha1";

/// Reference of a policy to its target.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetRef {
    /// API group of the target. Defaults to gateway.networking.k8s.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the target: Gateway, ListenerSet, XListenerSet, HTTPRoute or GRPCRoute.
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Namespace of the target. Defaults to that of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Section of the target: a listener of a Gateway or ListenerSet, or a named rule of a route. Without
    /// it, the policy applies to all of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

impl PolicyTargetRef {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP)
    }
}

/// Selection of the targets of a policy by their labels, in the namespace of the policy.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetSelector {
    /// API group of the targets. Defaults to gateway.networking.k8s.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the targets: Gateway, ListenerSet, XListenerSet, HTTPRoute or GRPCRoute.
    pub kind: String,
    /// Labels that the targets must have.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Section of each target; without it, the policy applies to all of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

impl PolicyTargetSelector {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP)
    }
}

/// Reference to an object by name and namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedReference {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object. Defaults to that of the referring object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Reference to a port of a Service.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// Name of the Service.
    pub name: String,
    /// Namespace of the Service. Defaults to that of the referring object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Status of a policy.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// State of the policy as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// State of the policy with respect to each ancestor of its targets, usually a Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// Status of an object.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// State of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A switch that is thrown by `true`, or by an empty object as kgateway v2.1 has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Disable {
    /// `true` or `false`.
    Flag(bool),
    /// `{}`.
    Object(Empty),
}

impl Disable {
    /// Whether the switch is thrown.
    pub fn is_set(&self) -> bool {
        !matches!(self, Self::Flag(false))
    }
}

/// An object without fields.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Empty {}

impl JsonSchema for Disable {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Disable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A structural schema cannot say "boolean or object" by type.
        json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
    }
}
