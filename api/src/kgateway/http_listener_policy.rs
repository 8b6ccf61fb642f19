//! HTTPListenerPolicy: settings of all HTTP and HTTPS listeners of a Gateway.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{NamespacedReference, PolicyStatus, PolicyTargetRef};

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
    json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.targetRefs.all(target, target.kind in ['Gateway', 'ListenerSet', 'XListenerSet'])")
    .message("an HTTPListenerPolicy applies to listeners: let targetRefs name Gateways, ListenerSets or XListenerSets only"))]
pub struct HttpListenerPolicySpec {
    /// The Gateways or listeners that the policy applies to.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<PolicyTargetRef>,
    /// Access logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_logging: Option<AccessLogging>,
    /// Buffering of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<BufferPolicy>,
    /// Conditions on requests, in CEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel_validation: Option<CelValidation>,
    /// Basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

/// Settings of access logs. Their fields are kept as they are.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AccessLogging(pub BTreeMap<String, serde_json::Value>);

impl JsonSchema for AccessLogging {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AccessLogging".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
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
