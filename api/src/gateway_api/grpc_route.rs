//! GRPCRoute: matches on service, method and metadata.

use serde::{Deserialize, Serialize};

use super::{
    GatewayDefaultScope, HeaderMatchType, HttpBackendRef, HttpHeaderMatch, HttpRouteFilter, ParentReference,
    RouteStatus, SessionPersistence,
};

/// Reference to a backend with its share of the traffic and its filters.
pub type GrpcBackendRef = HttpBackendRef;
/// Filter of a GRPCRoute. Of [`HttpRouteFilter`] it has the header modifiers, the mirror and the extension.
pub type GrpcRouteFilter = HttpRouteFilter;
/// Condition on the metadata of a request.
pub type GrpcHeaderMatch = HttpHeaderMatch;
/// Status of a GRPCRoute.
pub type GrpcRouteStatus = RouteStatus;

api_kind! {
    /// Rules for gRPC requests.
    pub struct GrpcRoute { spec: GrpcRouteSpec, status: GrpcRouteStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1"],
    kind: "GRPCRoute", plural: "grpcroutes", scope: Namespace
}

/// Desired state of a GRPCRoute.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteSpec {
    /// What the route attaches to, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Which default Gateways the route attaches to (GEP-3793, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Host names, exact or `*.` wildcards, at most 16; empty means those of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Rules, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<GrpcRouteRule>,
}

/// A rule: what happens to the requests that match.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteRule {
    /// Name of the rule, distinct within the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Alternatives, one of which a request must match, at most 64; empty means all requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<GrpcRouteMatch>,
    /// Filters for the requests, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<GrpcRouteFilter>,
    /// Backends, at most 16; empty means the status UNAVAILABLE.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<GrpcBackendRef>,
    /// Whether a session stays with its backend (GEP-1619, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteMatch {
    /// Condition on service and method; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// Conditions on metadata, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<GrpcHeaderMatch>,
}

/// Condition on service and method; at least one of them is given.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcMethodMatch {
    /// How both are compared; absent means `Exact`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<HeaderMatchType>,
    /// Full name of the service; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Name of the method; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

impl GrpcMethodMatch {
    /// How service and method are compared, with the default applied.
    pub fn match_type(&self) -> HeaderMatchType {
        self.type_.clone().unwrap_or_default()
    }
}
