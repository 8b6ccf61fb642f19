//! UDPRoute: UDP datagrams by port.

use super::{L4RouteRule, L4RouteSpec, RouteStatus};

/// Desired state of a UDPRoute.
pub type UdpRouteSpec = L4RouteSpec;
/// The rule of a UDPRoute.
pub type UdpRouteRule = L4RouteRule;
/// Status of a UDPRoute.
pub type UdpRouteStatus = RouteStatus;

api_kind! {
    /// The rule for the UDP datagrams of a listener.
    pub struct UdpRoute { spec: UdpRouteSpec, status: UdpRouteStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1", "v1alpha2"],
    kind: "UDPRoute", plural: "udproutes", scope: Namespace
}
