//! How many proxies there are, and how many may be away.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use postern_translator::Infrastructure;
use postern_translator::infrastructure::{Autoscaler, DisruptionBudget, Disruptions};

use super::super::labels::{label_selector, metadata};
use super::super::options::RenderOptions;

pub(super) fn autoscaler(
    infrastructure: &Infrastructure,
    options: &RenderOptions,
    wanted: &Autoscaler,
) -> HorizontalPodAutoscaler {
    HorizontalPodAutoscaler {
        metadata: metadata(infrastructure, &options.controller_name, &wanted.object),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: infrastructure.name.clone(),
            },
            min_replicas: wanted.min_replicas,
            max_replicas: wanted.max_replicas,
            metrics: Some(wanted.metrics.clone()),
            behavior: wanted.behavior.clone(),
        }),
        status: None,
    }
}

pub(super) fn disruption_budget(
    infrastructure: &Infrastructure,
    options: &RenderOptions,
    wanted: &DisruptionBudget,
) -> PodDisruptionBudget {
    let (min_available, max_unavailable) = match wanted.disruptions.clone() {
        Disruptions::MinAvailable(it) => (Some(it), None),
        Disruptions::MaxUnavailable(it) => (None, Some(it)),
    };
    PodDisruptionBudget {
        metadata: metadata(infrastructure, &options.controller_name, &wanted.object),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(label_selector(infrastructure)),
            min_available,
            max_unavailable,
            unhealthy_pod_eviction_policy: wanted.unhealthy_pod_eviction_policy.clone(),
        }),
        status: None,
    }
}
