//! How many proxies there are, and how many may be away. Named after kgateway from v2.3 on, where `spec` is a part of the
//! object; kgateway v2.1 has nothing of the kind.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema::{at_most_one, min_within_max};

/// A HorizontalPodAutoscaler whose target is the Deployment of the proxies.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HorizontalPodAutoscalerParameters {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataParameters>,
    /// Bounds and metrics.
    pub spec: HorizontalPodAutoscalerParametersSpec,
}

/// Bounds and metrics of a HorizontalPodAutoscaler: autoscaling/v2 without scaleTargetRef.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = min_within_max())]
#[x_kube(validation = at_most_one("metrics", "targetCPUUtilizationPercentage"))]
pub struct HorizontalPodAutoscalerParametersSpec {
    /// Smallest number of proxies. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<i32>,
    /// Largest number of proxies.
    #[schemars(range(min = 1))]
    pub max_replicas: i32,
    /// What is measured. Defaults to 80 percent of the CPU request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub metrics: Vec<MetricSpec>,
    /// Short for one metric: average CPU usage of the proxies in percent of their request.
    #[serde(rename = "targetCPUUtilizationPercentage", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub target_cpu_utilization_percentage: Option<i32>,
    /// How fast it scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

/// A PodDisruptionBudget for the pods of the proxies.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodDisruptionBudgetParameters {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataParameters>,
    /// The budget.
    pub spec: PodDisruptionBudgetParametersSpec,
}

/// How many proxies must stay, or may be away: policy/v1 without selector.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = at_most_one("minAvailable", "maxUnavailable"))]
pub struct PodDisruptionBudgetParametersSpec {
    /// Proxies that evictions must leave, a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,
    /// Proxies that evictions may take away at a time, a number or a percentage. Defaults to 1 without minAvailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// Whether proxies that are not ready may always be evicted: AlwaysAllow or IfHealthyBudget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_pod_eviction_policy: Option<UnhealthyPodEvictionPolicy>,
}

/// Labels and annotations of a generated object.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataParameters {
    /// Labels added to the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Annotations added to the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

open_enum! {
    /// Whether pods that are not ready may be evicted whatever the budget.
    pub enum UnhealthyPodEvictionPolicy, default IfHealthyBudget {
        /// Only if enough others are ready.
        IfHealthyBudget,
        /// Always.
        AlwaysAllow,
    }
}
