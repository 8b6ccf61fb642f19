//! TrafficPolicy: what happens to requests, beyond what routes can say.

mod extensions;
mod guards;
mod transformation;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::extensions::*;
pub use self::guards::*;
pub use self::transformation::*;
use super::schema::{
    attempt_within_request, auto_host_rewrite_of_routes, either, go_duration, retry_conditions,
};
use super::{
    BackOff, CorsPolicy, Disable, HeaderModifiers, NamespacedReference, PolicyStatus, PolicyTargetRef,
    PolicyTargetSelector,
};
use crate::gateway_api::HttpHeaderFilter;

/// Desired state of a TrafficPolicy.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "TrafficPolicy",
    plural = "trafficpolicies",
    namespaced
)]
#[kube(
    doc = "Says what happens to requests of Gateways, listeners, routes or single rules of routes: timeouts, retries, header modification, cross-origin resource sharing, external authorization and processing, rate limits, transformation."
)]
#[kube(status = "PolicyStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "tp", category = "postern", category = "kgateway")]
#[kube(label("gateway.networking.k8s.io/policy", "Inherited"))]
#[kube(printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[*].name"))]
#[kube(printcolumn(
    name = "Accepted",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(
    name = "Attached",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Attached\")].reason"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = either("timeout", "timeouts"))]
#[x_kube(validation = either("retries", "retry"))]
#[x_kube(validation = either("requestHeaderModifier", "headerModifiers.request"))]
#[x_kube(validation = either("responseHeaderModifier", "headerModifiers.response"))]
#[x_kube(validation = attempt_within_request("retries", "timeout"))]
#[x_kube(validation = attempt_within_request("retries", "timeouts"))]
#[x_kube(validation = attempt_within_request("retry", "timeout"))]
#[x_kube(validation = attempt_within_request("retry", "timeouts"))]
#[x_kube(validation = auto_host_rewrite_of_routes())]
pub struct TrafficPolicySpec {
    /// What the policy applies to. Without targetRefs and targetSelectors it applies where a route names it
    /// in an ExtensionRef filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<PolicyTargetRef>,
    /// What the policy applies to, chosen by labels (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_selectors: Vec<PolicyTargetSelector>,
    /// Cross-origin resource sharing (CORS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsPolicy>,
    /// External authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_auth: Option<ExtAuthPolicy>,
    /// External processing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_proc: Option<ExtProcPolicy>,
    /// Rate limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitPolicy>,
    /// Protection against requests that other sites forge (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<CsrfPolicy>,
    /// Conditions on requests (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rbac: Option<RbacPolicy>,
    /// Buffering of requests (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<RequestBuffer>,
    /// Changes headers and bodies by templates (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformation: Option<TransformationPolicy>,
    /// Timeouts. In kgateway v2.1 this field is called timeouts; give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeoutPolicy>,
    /// Timeouts, as in kgateway v2.1. The same as timeout; give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsPolicy>,
    /// Retries. In kgateway v2.1 this field is called retry; give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetriesPolicy>,
    /// Retries, as in kgateway v2.1. The same as retries; give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Changes headers of requests. In kgateway v2.1 this field is called headerModifiers.request; give one
    /// of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes headers of responses. In kgateway v2.1 this field is called headerModifiers.response; give one
    /// of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Changes headers, as in kgateway v2.1. The same as requestHeaderModifier and responseHeaderModifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_modifiers: Option<HeaderModifiers>,
    /// Whether the Host header of requests becomes the host name of the backend. Possible where all targets are HTTPRoutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_host_rewrite: Option<bool>,
}

/// Rate limits.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = either("extensionRef", "global"))]
pub struct RateLimitPolicy {
    /// The GatewayExtension that counts requests of each route and client address, of type RateLimit. For other
    /// descriptors use global; give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<NamespacedReference>,
    /// Limits that a service counts for all proxies (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<GlobalRateLimit>,
    /// Limits that each proxy counts by itself (kgateway v2.1). An empty object switches off those of policies with less specific
    /// targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalRateLimit>,
    /// Switches off what a service counts for policies with less specific targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<Disable>,
}

/// Timeouts. Durations are Go durations such as 30s, 1m30s or 1.5s; 0s means none.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct TimeoutPolicy {
    /// Maximum duration of a request, up to the last byte of its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub request: Option<String>,
    /// Maximum time without activity on the stream of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub idle: Option<String>,
}

/// Timeouts, as in kgateway v2.1. Durations are Go durations such as 30s, 1m30s or 1.5s; 0s means none.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct TimeoutsPolicy {
    /// Maximum duration of a request, up to the last byte of its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub request: Option<String>,
    /// Maximum time without activity on the stream of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub stream_idle: Option<String>,
}

/// Retries of failed requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetriesPolicy {
    /// Number of retries. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempts: Option<u32>,
    /// Timeout of each attempt, a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub per_try_timeout: Option<String>,
    /// Time between retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_off: Option<BackOff>,
    /// When to retry: names of Envoy's retry conditions and status codes, with commas, for example
    /// connect-failure,refused-stream,5xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub retry_on: Option<String>,
}

/// Retries of failed requests, as in kgateway v2.1.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.retryOn) || has(self.statusCodes)").message("give retryOn or statusCodes, so that something is retried"))]
pub struct RetryPolicy {
    /// When to retry: names of Envoy's retry conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "retry_conditions")]
    pub retry_on: Vec<String>,
    /// Number of retries. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempts: Option<u32>,
    /// Timeout of each attempt, a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub per_try_timeout: Option<String>,
    /// Status codes of responses that are retried, 400 to 599.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 200), inner(range(min = 400, max = 599)))]
    pub status_codes: Vec<u16>,
    /// Minimum time between retries, a Go duration. Defaults to 25ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub backoff_base_interval: Option<String>,
}
