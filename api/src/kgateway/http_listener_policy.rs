//! HTTPListenerPolicy: settings of all HTTP and HTTPS listeners of a Gateway.

mod access_log;
mod grpc;
mod tracing;

use std::borrow::Cow;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

pub use self::access_log::*;
pub use self::grpc::*;
pub use self::tracing::*;
use super::schema::{anything, go_duration};
use super::{NamespacedReference, PolicyStatus, PolicyTargetRef, PolicyTargetSelector};

/// Desired state of an HTTPListenerPolicy.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "HTTPListenerPolicy",
    plural = "httplistenerpolicies",
    namespaced
)]
#[kube(root = "HttpListenerPolicy", status = "PolicyStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "hlp", category = "postern", category = "kgateway")]
#[kube(label("gateway.networking.k8s.io/policy", "Direct"))]
#[kube(printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[*].name"))]
#[kube(printcolumn(
    name = "Accepted",
    type_ = "string",
    json_path = ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.targetRefs) && size(self.targetRefs) > 0 || has(self.targetSelectors) && size(self.targetSelectors) > 0")
    .message("give targetRefs or targetSelectors: without them the policy applies to nothing"))]
#[x_kube(validation = Rule::new("!has(self.targetRefs) || self.targetRefs.all(target, target.kind in ['Gateway', 'ListenerSet', 'XListenerSet'])")
    .message("an HTTPListenerPolicy applies to listeners: let targetRefs name Gateways, ListenerSets or XListenerSets only"))]
#[x_kube(validation = Rule::new("!has(self.targetSelectors) || self.targetSelectors.all(target, target.kind in ['Gateway', 'ListenerSet', 'XListenerSet'])")
    .message("an HTTPListenerPolicy applies to listeners: let targetSelectors select Gateways, ListenerSets or XListenerSets only"))]
#[x_kube(validation = Rule::new("!has(self.defaultHostForHttp10) || (has(self.acceptHttp10) && self.acceptHttp10)")
    .message("defaultHostForHttp10 is for HTTP/1.0: set acceptHttp10 to true, or remove it"))]
pub struct HttpListenerPolicySpec {
    /// The Gateways, ListenerSets or single listeners that the policy applies to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<PolicyTargetRef>,
    /// What the policy applies to, chosen by labels (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_selectors: Vec<PolicyTargetSelector>,
    /// Access logs: one object, or a list of them, with the fields of an entry of accessLog. In kgateway v2.1 this field is
    /// called accessLog; give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_logging: Option<AccessLogging>,
    /// Access logs, as in kgateway v2.1. Every entry writes a log of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub access_log: Vec<AccessLog>,
    /// Tracing (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<ListenerTracing>,
    /// Buffering of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<BufferPolicy>,
    /// Conditions on requests, in CEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel_validation: Option<CelValidation>,
    /// Basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Upgrades of HTTP/1.1 connections, and of streams of HTTP/2 (kgateway v2.1). Without it, websocket is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_config: Option<UpgradeConfig>,
    /// Whether the address of the connection is that of the client (kgateway v2.1). If false, the header x-forwarded-for is
    /// believed as it came. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_remote_address: Option<bool>,
    /// How many proxies in front are trusted: so many entries from the right of the header x-forwarded-for are theirs
    /// (kgateway v2.1). Defaults to 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub xff_num_trusted_hops: Option<u32>,
    /// What becomes of the header server of responses (kgateway v2.1). Defaults to PassThrough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_header_transformation: Option<ServerHeaderTransformation>,
    /// Maximum time without activity on the stream of a request, a Go duration; 0s means none (kgateway v2.1). A TrafficPolicy
    /// that sets an idle timeout of its own wins. Defaults to 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub stream_idle_timeout: Option<String>,
    /// Maximum time without requests on a connection, a Go duration; 0s means none (kgateway v2.1). Defaults to 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub idle_timeout: Option<String>,
    /// A path that the proxy answers itself (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheckPath>,
    /// Whether names of HTTP/1 headers keep their case (kgateway v2.1). Defaults to false: they become lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_http1_header_case: Option<bool>,
    /// Whether HTTP/1.0 is accepted (kgateway v2.1). Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_http10: Option<bool>,
    /// Host of HTTP/1.0 requests that name none (kgateway v2.1). Needs acceptHttp10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub default_host_for_http10: Option<String>,
}

/// Access logs in the free form of the contract: an object, or a list of them, with the fields of an [`AccessLog`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AccessLogging(pub serde_json::Value);

impl JsonSchema for AccessLogging {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AccessLogging".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        anything(generator)
    }
}

/// Upgrades of connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeConfig {
    /// The upgrades that are possible, such as websocket; no others are.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 64)))]
    pub enabled_upgrades: Vec<String>,
}

open_enum! {
    /// What becomes of the header server of responses.
    pub enum ServerHeaderTransformation, default PassThrough {
        /// It says `envoy`, whatever the backend said.
        Overwrite,
        /// It says `envoy` where the backend said nothing.
        AppendIfAbsent,
        /// It stays as the backend sent it.
        PassThrough,
    }
}

/// A path that the proxy answers itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckPath {
    /// The path: requests for exactly it get status code 200, whatever their host is, and 503 while the proxy drains.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^/[-a-zA-Z0-9@:%.+~#?&/=_]+$"))]
    pub path: String,
}

/// Buffering of requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BufferPolicy {
    /// Maximum size of the body of a request in bytes; larger requests get status code 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub max_request_bytes: Option<i64>,
}

/// Conditions on requests, in CEL.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CelValidation {
    /// The rules, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<CelRule>,
}

/// A condition on requests, in CEL.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CelRule {
    /// The CEL expression.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
    /// What happens to requests for which the expression is true. Defaults to Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<CelRuleAction>,
}

open_enum! {
    /// What happens to requests that a CEL rule matches.
    pub enum CelRuleAction, default Deny {
        /// They are refused.
        Deny,
        /// They pass.
        Allow,
    }
}

/// Basic authentication.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// Secret with users and passwords in the format of htpasswd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<NamespacedReference>,
}
