//! How many proxies there are, and how many may be away; kgateway v2.1 has nothing of the kind.
//!
//! The fields stand where Envoy Gateway has them, or in `spec` beside `metadata`, where kgateway has them from v2.3 on.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema::{at_most_one, min_within_max, without};

/// A HorizontalPodAutoscaler whose target is the Deployment of the proxies.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = without("spec", &["minReplicas", "maxReplicas", "metrics", "targetCPUUtilizationPercentage", "behavior"]))]
#[x_kube(validation = min_within_max())]
#[x_kube(validation = at_most_one("metrics", "targetCPUUtilizationPercentage"))]
pub struct HorizontalPodAutoscalerParameters {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataParameters>,
    /// Smallest number of proxies. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<i32>,
    /// Largest number of proxies. Needed here, or in the parameters of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replicas: Option<i32>,
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
    /// The other fields, as kgateway v2.3 writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<HorizontalPodAutoscalerParametersSpec>,
}

impl HorizontalPodAutoscalerParameters {
    /// Bounds and metrics, wherever they are given.
    pub fn spec(&self) -> HorizontalPodAutoscalerParametersSpec {
        self.spec.clone().unwrap_or_else(|| HorizontalPodAutoscalerParametersSpec {
            min_replicas: self.min_replicas,
            max_replicas: self.max_replicas,
            metrics: self.metrics.clone(),
            target_cpu_utilization_percentage: self.target_cpu_utilization_percentage,
            behavior: self.behavior.clone(),
        })
    }
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
    /// Largest number of proxies. Needed here, or in the parameters of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replicas: Option<i32>,
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
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = without("spec", &["minAvailable", "maxUnavailable", "unhealthyPodEvictionPolicy"]))]
#[x_kube(validation = at_most_one("minAvailable", "maxUnavailable"))]
pub struct PodDisruptionBudgetParameters {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataParameters>,
    /// Proxies that evictions must leave, a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,
    /// Proxies that evictions may take away at a time, a number or a percentage. Defaults to 1 without minAvailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// Whether proxies that are not ready may always be evicted: AlwaysAllow or IfHealthyBudget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_pod_eviction_policy: Option<UnhealthyPodEvictionPolicy>,
    /// The other fields, as kgateway v2.3 writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<PodDisruptionBudgetParametersSpec>,
}

impl PodDisruptionBudgetParameters {
    /// The budget, wherever it is given.
    pub fn spec(&self) -> PodDisruptionBudgetParametersSpec {
        self.spec.clone().unwrap_or_else(|| PodDisruptionBudgetParametersSpec {
            min_available: self.min_available.clone(),
            max_unavailable: self.max_unavailable.clone(),
            unhealthy_pod_eviction_policy: self.unhealthy_pod_eviction_policy.clone(),
        })
    }
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
