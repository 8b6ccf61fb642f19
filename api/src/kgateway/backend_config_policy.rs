//! BackendConfigPolicy: how proxies talk to a backend, whatever route requests come from (kgateway v2.1).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{
    at_most_one, backend_target_group, backend_target_kind, go_duration, group_has_backend_kind, quantity,
};
use super::{BackendHealthCheck, BackendTlsSettings, LoadBalancer, OutlierDetection, PolicyStatus};

/// Desired state of a BackendConfigPolicy.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "BackendConfigPolicy",
    plural = "backendconfigpolicies",
    namespaced
)]
#[kube(
    doc = "Says how proxies talk to a Service or Backend, whatever route requests come from: connections, HTTP options, TLS, load balancing, health checks, outlier detection."
)]
#[kube(status = "PolicyStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "bcp", category = "postern", category = "kgateway")]
#[kube(label("gateway.networking.k8s.io/policy", "Direct"))]
#[kube(printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[*].name"))]
#[kube(printcolumn(
    name = "Accepted",
    type_ = "string",
    json_path = ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(
    name = "Attached",
    type_ = "string",
    json_path = ".status.ancestors[*].conditions[?(@.type==\"Attached\")].reason"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = at_most_one("http1ProtocolOptions", "http2ProtocolOptions"))]
pub struct BackendConfigPolicySpec {
    /// The backends that the policy applies to, in its own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<BackendTargetRef>,
    /// The backends that the policy applies to, chosen by labels, in its own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_selectors: Vec<BackendTargetSelector>,
    /// Maximum time to open a connection. Defaults to 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub connect_timeout: Option<String>,
    /// How many bytes of a connection are buffered before its sender has to wait. Defaults to 32768.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub per_connection_buffer_limit_bytes: Option<u32>,
    /// Probes that keep idle connections alive and find dead ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Options of all versions of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_http_protocol_options: Option<CommonHttpProtocolOptions>,
    /// Options of HTTP/1.1, for backends that speak it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http1_protocol_options: Option<BackendHttp1Options>,
    /// Options of HTTP/2, for backends that speak it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_protocol_options: Option<BackendHttp2Options>,
    /// TLS to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTlsSettings>,
    /// How requests are spread over the endpoints of the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// Requests that find out which endpoints are well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<BackendHealthCheck>,
    /// Leaving out endpoints that fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
}

/// Reference to a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = group_has_backend_kind())]
pub struct BackendTargetRef {
    /// API group of the backend: empty for Service, gateway.kgateway.dev for Backend. Defaults to the empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "backend_target_group")]
    pub group: Option<String>,
    /// Kind of the backend: Service, or Backend. Hostname of Istio is understood and refused.
    #[schemars(schema_with = "backend_target_kind")]
    pub kind: String,
    /// Name of the backend.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Selection of backends by their labels.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = group_has_backend_kind())]
pub struct BackendTargetSelector {
    /// API group of the backends: empty for Service, gateway.kgateway.dev for Backend. Defaults to the empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "backend_target_group")]
    pub group: Option<String>,
    /// Kind of the backends: Service, or Backend. Hostname of Istio is understood and refused.
    #[schemars(schema_with = "backend_target_kind")]
    pub kind: String,
    /// Labels that the backends must have.
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
}

/// TCP keepalive; what is not given is as the system of the proxy has it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpKeepalive {
    /// How many probes without an answer end a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 127))]
    pub keep_alive_probes: Option<u32>,
    /// How long a connection is idle before the first probe; at least 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub keep_alive_time: Option<String>,
    /// Time between probes; at least 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub keep_alive_interval: Option<String>,
}

/// Options of all versions of HTTP.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommonHttpProtocolOptions {
    /// How long a connection without requests is kept. Defaults to 1h; 0s means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub idle_timeout: Option<String>,
    /// How many headers a response may have; one with more is answered with 502. Defaults to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max_headers_count: Option<u32>,
    /// Maximum duration of a request and its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub max_stream_duration: Option<String>,
    /// How many requests one connection carries; 0 means any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max_requests_per_connection: Option<u32>,
}

/// Options of HTTP/1.1 to backends.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendHttp1Options {
    /// Whether trailers of chunked messages are passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_trailers: Option<bool>,
    /// Whether the names of headers keep their case.
    #[serde(rename = "preserveHttp1HeaderCase", default, skip_serializing_if = "Option::is_none")]
    pub preserve_http1_header_case: Option<bool>,
    /// Whether a message that breaks the rules costs only its request and not the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_stream_error_on_invalid_http_message: Option<bool>,
}

/// Options of HTTP/2 to backends.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendHttp2Options {
    /// How many bytes of one response a backend may send ahead, a quantity such as 64Ki; 65535 to 2147483647.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity")]
    pub initial_stream_window_size: Option<IntOrString>,
    /// The same for all responses of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity")]
    pub initial_connection_window_size: Option<IntOrString>,
    /// How many requests one connection carries at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max_concurrent_streams: Option<u32>,
    /// Whether a message that breaks the rules costs only its request and not the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_stream_error_on_invalid_http_message: Option<bool>,
}
