//! TLSRoute: TLS connections by server name.

use serde::{Deserialize, Serialize};

use super::{GatewayDefaultScope, L4RouteRule, ParentReference, RouteStatus};

/// A rule of a TLSRoute.
pub type TlsRouteRule = L4RouteRule;
/// Status of a TLSRoute.
pub type TlsRouteStatus = RouteStatus;

api_kind! {
    /// Rules for TLS connections.
    pub struct TlsRoute { spec: TlsRouteSpec, status: TlsRouteStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1", "v1alpha3", "v1alpha2"],
    kind: "TLSRoute", plural: "tlsroutes", scope: Namespace
}

/// Desired state of a TLSRoute.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteSpec {
    /// What the route attaches to, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Which default Gateways the route attaches to (GEP-3793, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Server names, exact or `*.` wildcards, 1 to 1,024.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// The rule; exactly one.
    #[serde(default)]
    pub rules: Vec<TlsRouteRule>,
}
