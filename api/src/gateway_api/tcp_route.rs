//! TCPRoute: TCP connections by port.

use super::{L4RouteRule, L4RouteSpec, RouteStatus};

/// Desired state of a TCPRoute.
pub type TcpRouteSpec = L4RouteSpec;
/// The rule of a TCPRoute.
pub type TcpRouteRule = L4RouteRule;
/// Status of a TCPRoute.
pub type TcpRouteStatus = RouteStatus;

api_kind! {
    /// The rule for the TCP connections of a listener.
    pub struct TcpRoute { spec: TcpRouteSpec, status: TcpRouteStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1", "v1alpha2"],
    kind: "TCPRoute", plural: "tcproutes", scope: Namespace
}
