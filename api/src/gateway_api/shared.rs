//! Structs that several kinds share: references, and the statuses of routes and policies.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Condition;

/// API group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// API group of the experimental kinds of the Gateway API (those whose name starts with `X`).
pub const GATEWAY_X_GROUP: &str = "gateway.networking.x-k8s.io";
/// Label of generated objects: name of the Gateway they belong to.
pub const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Label of generated objects: name of the GatewayClass of the Gateway they belong to.
pub const GATEWAY_CLASS_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";

/// Reference of a route, or of a status, to the object it is attached to, usually a Gateway.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group of the parent; absent means `gateway.networking.k8s.io`. Empty is the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the parent; absent means `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace of the parent; absent means that of the referring object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the parent.
    pub name: String,
    /// Name of a section of the parent (for a Gateway: a listener); absent means all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port that the chosen listeners must have; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

impl ParentReference {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP)
    }

    /// The kind, with the default applied.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Gateway")
    }
}

/// Reference to a backend without a weight, as in a mirror filter.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendObjectReference {
    /// API group of the backend; absent means the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the backend; absent means `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the backend.
    pub name: String,
    /// Namespace of the backend; absent means that of the referring object. Another one needs a
    /// ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the backend; required when it is a Service, where it is the service port and not the target
    /// port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl BackendObjectReference {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }

    /// The kind, with the default applied.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Service")
    }
}

/// Reference of a route rule to a backend with its share of the traffic. `F` is the type of its filters:
/// HTTPRoute and GRPCRoute have [`HttpRouteFilter`](super::HttpRouteFilter), the others none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(bound(deserialize = "F: Deserialize<'de>"))]
#[serde(rename_all = "camelCase")]
pub struct BackendRef<F = NoFilter> {
    /// API group of the backend; absent means the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the backend; absent means `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the backend.
    pub name: String,
    /// Namespace of the backend; absent means that of the route. Another one needs a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the backend; required when it is a Service, where it is the service port and not the target
    /// port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Share of the traffic relative to the sum of all weights of the rule, 0 to 1,000,000; absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Filters for requests that go to this backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<F>,
}

impl From<&BackendObjectReference> for BackendRef {
    /// The same backend, with the default weight.
    fn from(reference: &BackendObjectReference) -> Self {
        let BackendObjectReference { group, kind, name, namespace, port } = reference.clone();
        Self { group, kind, name, namespace, port, ..Self::default() }
    }
}

impl<F> Default for BackendRef<F> {
    fn default() -> Self {
        Self {
            group: None,
            kind: None,
            name: String::new(),
            namespace: None,
            port: None,
            weight: None,
            filters: Vec::new(),
        }
    }
}

impl<F> BackendRef<F> {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }

    /// The kind, with the default applied.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Service")
    }

    /// The weight, with the default applied.
    pub fn weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }

    /// The reference alone, without weight and filters.
    pub fn object_reference(&self) -> BackendObjectReference {
        BackendObjectReference {
            group: self.group.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            port: self.port,
        }
    }
}

/// The filter type of backend references that take no filters. It has no values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoFilter {}

impl Serialize for NoFilter {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl<'de> Deserialize<'de> for NoFilter {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("backendRefs of this kind of route take no filters; remove `filters`"))
    }
}

/// Reference to an object with a key pair, by default a Secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretObjectReference {
    /// API group of the object; absent means the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the object; absent means `Secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; absent means that of the referring object. Another one needs a
    /// ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl SecretObjectReference {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }

    /// The kind, with the default applied.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Secret")
    }
}

/// Reference to an object whose group and kind are always given.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// API group of the object; empty is the core group.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; absent means that of the referring object. Another one needs a
    /// ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Reference to an object in the namespace of the referring object.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalObjectReference {
    /// API group of the object; empty is the core group.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// Reference to the parameters of a GatewayClass.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParametersReference {
    /// API group of the object; empty is the core group.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; absent when it is cluster-scoped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Reference of a policy to a target in its own namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalPolicyTargetReference {
    /// API group of the target; empty is the core group.
    pub group: String,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
}

/// Reference of a policy to a target, or to a section of one, in its own namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalPolicyTargetReferenceWithSectionName {
    /// API group of the target; empty is the core group.
    pub group: String,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Section of the target: a listener of a Gateway, a port of a Service, a rule of a route; absent means
    /// all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// Name and value of an HTTP header.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// Name of the header; case does not matter.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"))]
    pub name: String,
    /// Value of the header.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// Status of a route: one entry per parent and controller.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// What each controller says about each parent, at most 32 entries.
    #[serde(default)]
    pub parents: Vec<RouteParentStatus>,
}

/// What one controller says about one parent of a route.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// The parent, as written in `spec.parentRefs`.
    pub parent_ref: ParentReference,
    /// Name of the controller that wrote the entry, `domain/path`.
    pub controller_name: String,
    /// State of the attachment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Status of a policy: one entry per ancestor and controller.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// What each controller says about each ancestor, at most 16 entries.
    #[serde(default)]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// What one controller says about a policy with respect to one ancestor of its target.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The ancestor, usually a Gateway.
    pub ancestor_ref: ParentReference,
    /// Name of the controller that wrote the entry, `domain/path`.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// State of the policy with respect to this ancestor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}

/// A percentage as a fraction, `numerator / denominator`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fraction {
    /// Numerator, zero or more.
    pub numerator: u32,
    /// Denominator, one or more; absent means 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denominator: Option<u32>,
}

open_enum! {
    /// Which default Gateways a route asks for, or a Gateway claims to be.
    pub enum GatewayDefaultScope {
        /// Any route that asks for a default Gateway.
        All,
        /// No default Gateway.
        None,
    }
}
