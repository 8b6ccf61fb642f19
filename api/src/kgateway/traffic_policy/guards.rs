//! Fields of TrafficPolicy that let requests through or not: CSRF, RBAC, buffering, local rate limits.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kgateway::Disable;
use crate::kgateway::schema::{at_most_one, exactly_one_of, go_duration, quantity};

/// Protection against requests that other sites forge (CSRF), as in kgateway v2.1: requests that change something must come from
/// the host that they go to, or from one of additionalOrigins.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = at_most_one("percentageEnabled", "percentageShadowed"))]
pub struct CsrfPolicy {
    /// Percentage of requests that are checked. Defaults to 100, or 0 with percentageShadowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percentage_enabled: Option<u32>,
    /// Percentage of requests that are checked and counted, but not refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percentage_shadowed: Option<u32>,
    /// Hosts, with their ports, of other origins that may send requests too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub additional_origins: Vec<StringMatcher>,
}

/// What a string must be. Exactly one way to compare is given.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one_of(&["exact", "prefix", "suffix", "contains", "safeRegex"]))]
pub struct StringMatcher {
    /// Equal to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub exact: Option<String>,
    /// It starts with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub prefix: Option<String>,
    /// It ends with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub suffix: Option<String>,
    /// It contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub contains: Option<String>,
    /// This regular expression (RE2) matches all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub safe_regex: Option<String>,
    /// Whether upper and lower case are the same. It has no effect on safeRegex. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_case: Option<bool>,
}

/// Conditions on requests (role-based access control), as in kgateway v2.1.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RbacPolicy {
    /// The conditions.
    pub policy: RbacConditions,
    /// What happens to requests that meet one of the conditions; to all others the opposite happens. Defaults to Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<RbacAction>,
}

/// Conditions on requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RbacConditions {
    /// Expressions in CEL over Envoy's attributes, such as `request.headers['x-role'] == 'admin'`. One that is true suffices; one that
    /// cannot be evaluated, for example because the header is missing, counts as false.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 4096)))]
    pub match_expressions: Vec<String>,
}

open_enum! {
    /// What happens to requests that meet a condition.
    pub enum RbacAction, default Allow {
        /// They pass; all others are refused.
        Allow,
        /// They are refused; all others pass.
        Deny,
    }
}

/// Buffering of whole requests before they are sent on.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct RequestBuffer {
    /// The largest body, as a quantity such as 64Ki; larger ones are refused with 413. More than 0 and less than 4Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity")]
    pub max_request_size: Option<IntOrString>,
    /// Switches off what policies with less specific targets switch on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<Disable>,
}

/// A rate limit that each proxy counts by itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalRateLimit {
    /// Each request takes a token; where there is none it is refused with 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_bucket: Option<TokenBucket>,
}

/// Tokens and the way they come back.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenBucket {
    /// The most tokens there can be, and those there are at first.
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// Tokens that come back each time. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens_per_fill: Option<u32>,
    /// Time after which tokens come back, a Go duration of at least 50ms.
    #[schemars(schema_with = "go_duration")]
    pub fill_interval: String,
}
