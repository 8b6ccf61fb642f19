//! XBackendTrafficPolicy: retry budgets and session persistence of a Service (GEP-3388, experimental).

use serde::{Deserialize, Serialize};

use super::{LocalPolicyTargetReference, PolicyStatus, SessionPersistence};

api_kind! {
    /// How traffic to a backend behaves, whatever route it comes from.
    pub struct XBackendTrafficPolicy { spec: XBackendTrafficPolicySpec, status: PolicyStatus }
    group: super::GATEWAY_X_GROUP, version: "v1alpha1", served_versions: ["v1alpha1"],
    kind: "XBackendTrafficPolicy", plural: "xbackendtrafficpolicies", scope: Namespace
}

/// Desired state of an XBackendTrafficPolicy.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTrafficPolicySpec {
    /// The backends, 1 to 16.
    #[serde(default)]
    pub target_refs: Vec<LocalPolicyTargetReference>,
    /// Limit of retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_constraint: Option<RetryConstraint>,
    /// Whether a session stays with its endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Limit of retries to a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryConstraint {
    /// Maximum share of retries; absent means the default of each field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<RetryBudget>,
    /// Rate of retries that is always allowed; absent means 10 in `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_retry_rate: Option<RequestRate>,
}

/// Share of retries among the requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// Percentage of requests that may be retries, 0 to 100; absent means 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Time over which requests are counted, as a duration of GEP-2257; absent means `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}

/// A number of requests in a time.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRate {
    /// Number of requests, 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The time, as a duration of GEP-2257.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}
