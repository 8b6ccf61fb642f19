//! GatewayExtension: a service that takes part in the handling of requests.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{exactly_one, type_of_field};
use super::{ObjectStatus, ServiceReference};

const TYPES: &[(&str, &str)] = &[("extAuth", "ExtAuth"), ("extProc", "ExtProc"), ("rateLimit", "RateLimit")];

/// Desired state of a GatewayExtension.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "GatewayExtension",
    plural = "gatewayextensions",
    namespaced
)]
#[kube(
    doc = "A service that takes part in the handling of requests: external authorization, external processing or rate limits. TrafficPolicies refer to it."
)]
#[kube(status = "ObjectStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "gwe", category = "postern", category = "kgateway")]
#[kube(printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"))]
#[kube(printcolumn(
    name = "Accepted",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(TYPES))]
#[x_kube(validation = type_of_field(TYPES))]
pub struct GatewayExtensionSpec {
    /// Type of the extension.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<GatewayExtensionType>,
    /// The service that decides whether requests may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_auth: Option<ExtensionProvider>,
    /// The service that may change requests and responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_proc: Option<ExtensionProvider>,
    /// The service that counts requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<ExtensionProvider>,
}

open_enum! {
    /// Type of a GatewayExtension.
    pub enum GatewayExtensionType {
        /// External authorization.
        ExtAuth,
        /// External processing.
        ExtProc,
        /// Rate limits.
        RateLimit,
    }
}

/// A service that takes part in the handling of requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionProvider {
    /// The service, asked by gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<GrpcService>,
}

/// A gRPC service.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcService {
    /// The Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<ServiceReference>,
}
