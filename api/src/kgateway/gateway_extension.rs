//! GatewayExtension: a service that takes part in the handling of requests.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ObjectStatus;
use super::schema::{exactly_one, go_duration, type_of_field};
use super::{BodyToAuthorizer, ProcessingMode};

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
    pub ext_auth: Option<ExtAuthProvider>,
    /// The service that may change requests and responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_proc: Option<ExtProcProvider>,
    /// The service that counts requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitProvider>,
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

/// A service that decides whether requests may pass, by Envoy's protocol `envoy.service.auth.v3.Authorization`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtAuthProvider {
    /// The service, asked by gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<ExtGrpcService>,
    /// Whether requests pass while the service cannot be asked or does not answer. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,
    /// Whether the route is chosen anew after the service has changed the request. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_route_cache: Option<bool>,
    /// The service gets the bodies of requests. Without it, it gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_request_body: Option<BodyToAuthorizer>,
    /// Status of the answer where the service cannot be asked or does not answer. Defaults to 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 511))]
    pub status_on_error: Option<u16>,
    /// Part of the names of the filter's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub stat_prefix: Option<String>,
}

/// A service that may change requests and responses, by Envoy's protocol `envoy.service.ext_proc.v3.ExternalProcessor`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtProcProvider {
    /// The service, asked by gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<ExtGrpcService>,
    /// Whether requests pass while the service cannot be asked or does not answer. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,
    /// Which parts of requests and responses the service gets. A TrafficPolicy can say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing_mode: Option<ProcessingMode>,
    /// How long the service may take for each message, a Go duration. Defaults to 200ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub message_timeout: Option<String>,
    /// How much time the service may ask for, a Go duration. Without it, it gets no more than messageTimeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub max_message_timeout: Option<String>,
    /// Part of the names of the filter's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub stat_prefix: Option<String>,
    /// Whether the route is chosen anew after the service has changed request headers. Defaults to FromResponse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_cache_action: Option<RouteCacheAction>,
    /// Metadata that the service gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_options: Option<MetadataOptions>,
}

open_enum! {
    /// Whether the route is chosen anew after a service has changed request headers.
    pub enum RouteCacheAction, default FromResponse {
        /// Where the service asks for it.
        FromResponse,
        /// Whenever the service has changed something.
        Clear,
        /// Never.
        Retain,
    }
}

/// Metadata that a service gets.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataOptions {
    /// The namespaces of Envoy's dynamic metadata that the service gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<MetadataNamespaces>,
}

/// Namespaces of Envoy's dynamic metadata.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataNamespaces {
    /// Namespaces of metadata in protobuf messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    pub typed: Vec<String>,
    /// Namespaces of metadata in structs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    pub untyped: Vec<String>,
}

/// A service that counts requests, by Envoy's protocol `envoy.service.ratelimit.v3.RateLimitService`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitProvider {
    /// The service, asked by gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<ExtGrpcService>,
    /// The domain of the limits at the service. Defaults to the namespace and name of the GatewayExtension, joined by a slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub domain: Option<String>,
    /// Whether requests pass while the service cannot be asked or does not answer. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,
    /// How long the service may take, a Go duration. Defaults to 100ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub timeout: Option<String>,
    /// Whether answers have the headers x-ratelimit-limit, x-ratelimit-remaining and x-ratelimit-reset. Defaults to Off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_rate_limit_headers: Option<RateLimitHeaders>,
}

open_enum! {
    /// Which headers tell clients about limits.
    pub enum RateLimitHeaders, default Off {
        /// None.
        Off,
        /// Those of the third draft of the IETF's rate limit header fields.
        DraftVersion03,
    }
}

/// A gRPC service.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtGrpcService {
    /// The backend that is asked, in HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<ExtensionBackend>,
    /// The :authority of what it is asked. Defaults to the name of the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub authority: Option<String>,
    /// How long an answer may take, a Go duration. Defaults to 10s; for rate limits, timeout says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub request_timeout: Option<String>,
}

/// Reference to the backend of an extension: a Service, or another kind that routes can have as a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionBackend {
    /// API group of the backend. Defaults to that of Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Kind of the backend. Defaults to Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
    /// Name of the backend.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the backend. Defaults to that of the GatewayExtension; another one needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Port of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Share among several backends (kgateway v2.1). There is only this one, so any weight above 0 is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: Option<u32>,
}
