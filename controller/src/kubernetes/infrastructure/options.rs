//! What every Gateway's infrastructure has in common.

use crate::bootstrap::XdsService;

/// What the generated objects say beside the wishes of the Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// The `controllerName` of the GatewayClasses. Objects carry it, so that several Posterns in one cluster leave each
    /// other's alone.
    pub controller_name: String,
    /// The image of this program; an init container puts it beside the Envoy.
    pub controller_image: String,
    /// The image of Envoy where GatewayParameters name no other, or only parts of another.
    pub envoy_image: String,
    /// Where the proxies find the control plane.
    pub xds: XdsService,
}
