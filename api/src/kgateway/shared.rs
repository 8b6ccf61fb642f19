//! Structs that several extension kinds share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schema::{anything, group_has_kind, policy_target_group, policy_target_kind};
use crate::gateway_api::{Condition, GATEWAY_GROUP, PolicyAncestorStatus};

/// API group of the extension kinds.
pub const EXTENSION_GROUP: &str = "gateway.kgateway.dev";
/// Version of the extension kinds.
pub const EXTENSION_VERSION: &str = "v1alpha1";

/// Reference of a policy to its target.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = group_has_kind())]
pub struct PolicyTargetRef {
    /// API group of the target. Defaults to gateway.networking.k8s.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "policy_target_group")]
    pub group: Option<String>,
    /// Kind of the target: Gateway, ListenerSet, XListenerSet, HTTPRoute or GRPCRoute.
    #[schemars(schema_with = "policy_target_kind")]
    pub kind: String,
    /// Name of the target.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the target. Defaults to that of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Section of the target: a listener of a Gateway or ListenerSet, or a named rule of a route. Without
    /// it, the policy applies to all of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

impl PolicyTargetRef {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP)
    }
}

/// Selection of the targets of a policy by their labels, in the namespace of the policy.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = group_has_kind())]
pub struct PolicyTargetSelector {
    /// API group of the targets. Defaults to gateway.networking.k8s.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "policy_target_group")]
    pub group: Option<String>,
    /// Kind of the targets: Gateway, ListenerSet, XListenerSet, HTTPRoute or GRPCRoute.
    #[schemars(schema_with = "policy_target_kind")]
    pub kind: String,
    /// Labels that the targets must have.
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
    /// Section of each target; without it, the policy applies to all of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
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
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object. Defaults to that of the referring object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// Reference to an object of the same namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Status of a policy.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// State of the policy as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
    /// State of the policy with respect to each ancestor of its targets, usually a Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// Status of an object.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// State of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}

/// A switch that is thrown by `true`, or by an empty object as kgateway v2.1 has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disable {
    /// `true` or `false`.
    Flag(bool),
    /// `{}`.
    Object,
}

impl Disable {
    /// Whether the switch is thrown.
    pub fn is_set(self) -> bool {
        self != Self::Flag(false)
    }
}

impl Serialize for Disable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Object => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

impl<'de> Deserialize<'de> for Disable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DisableVisitor;

        impl<'de> Visitor<'de> for DisableVisitor {
            type Value = Disable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or an empty object")
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Disable, E> {
                Ok(Disable::Flag(flag))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Disable, A::Error> {
                while map.next_entry::<String, IgnoredAny>()?.is_some() {}
                Ok(Disable::Object)
            }
        }

        deserializer.deserialize_any(DisableVisitor)
    }
}

impl JsonSchema for Disable {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Disable".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        anything(generator)
    }
}
