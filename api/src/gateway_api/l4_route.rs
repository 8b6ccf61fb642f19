//! What TLSRoute, TCPRoute and UDPRoute have in common.

use serde::{Deserialize, Serialize};

use super::{BackendRef, GatewayDefaultScope, ParentReference};

/// Desired state of a TCPRoute or UDPRoute.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct L4RouteSpec {
    /// What the route attaches to, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Which default Gateways the route attaches to (GEP-3793, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// The rule; exactly one.
    #[serde(default)]
    pub rules: Vec<L4RouteRule>,
}

/// A rule: the backends of the connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct L4RouteRule {
    /// Name of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Backends, 1 to 16.
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
}
