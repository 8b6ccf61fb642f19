//! `kube.horizontalPodAutoscaler` and `kube.podDisruptionBudget`.

use k8s_openapi::api::autoscaling::v2::MetricSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_api::kgateway::{
    HorizontalPodAutoscalerParameters, PodDisruptionBudgetParameters, UnhealthyPodEvictionPolicy,
};

use super::Checks;

pub(super) fn autoscaler(it: &HorizontalPodAutoscalerParameters, checks: &mut Checks) {
    let field = "kube.horizontalPodAutoscaler";
    super::metadata(it.metadata.as_ref(), &format!("{field}.metadata"), checks);
    let spec = &it.spec;
    let most = i64::from(i32::MAX);
    checks.within(format!("{field}.spec.minReplicas"), spec.min_replicas.map(i64::from), 1, most);
    checks.within(format!("{field}.spec.maxReplicas"), Some(i64::from(spec.max_replicas)), 1, most);
    if spec.min_replicas.is_some_and(|least| least > spec.max_replicas) {
        checks.fault(
            format!("{field}.spec.minReplicas"),
            format!(
                "{} is more than maxReplicas, {}",
                spec.min_replicas.unwrap_or_default(),
                spec.max_replicas
            ),
            "lower it, or raise maxReplicas",
        );
    }
    let target = spec.target_cpu_utilization_percentage;
    checks.within(format!("{field}.spec.targetCPUUtilizationPercentage"), target.map(i64::from), 1, most);
    if target.is_some() && !spec.metrics.is_empty() {
        checks.fault(
            format!("{field}.spec.targetCPUUtilizationPercentage"),
            "it is short for one metric, and metrics are given",
            "give metrics or targetCPUUtilizationPercentage, not both",
        );
    }
    for (index, it) in spec.metrics.iter().enumerate() {
        metric(it, &format!("{field}.spec.metrics[{index}]"), checks);
    }
}

fn metric(it: &MetricSpec, field: &str, checks: &mut Checks) {
    let sources = [
        ("Resource", "resource", it.resource.is_some()),
        ("ContainerResource", "containerResource", it.container_resource.is_some()),
        ("Pods", "pods", it.pods.is_some()),
        ("Object", "object", it.object.is_some()),
        ("External", "external", it.external.is_some()),
    ];
    let types = sources.map(|(type_, _, _)| type_);
    checks.one_of(format!("{field}.type"), Some(&it.type_), &types);
    if let Some((type_, name, _)) = sources.iter().find(|(type_, _, _)| *type_ == it.type_)
        && sources.iter().any(|(other, _, given)| *given != (other == type_))
    {
        checks.fault(
            field,
            format!("a metric of type {type_} has the field {name}, and no other"),
            format!("give {name}"),
        );
    }
    if let Some(it) = it.container_resource.as_ref().filter(|it| it.container != "envoy") {
        checks.fault(
            format!("{field}.containerResource.container"),
            format!("the pods of proxies have no container {:?}", it.container),
            "use envoy",
        );
    }
}

pub(super) fn disruption_budget(it: &PodDisruptionBudgetParameters, checks: &mut Checks) {
    let field = "kube.podDisruptionBudget";
    super::metadata(it.metadata.as_ref(), &format!("{field}.metadata"), checks);
    let spec = &it.spec;
    checks.share(format!("{field}.spec.minAvailable"), spec.min_available.as_ref());
    checks.share(format!("{field}.spec.maxUnavailable"), spec.max_unavailable.as_ref());
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        checks.fault(
            format!("{field}.spec"),
            "a budget says what must stay or what may go",
            "give minAvailable or maxUnavailable, not both",
        );
    }
    checks.one_of(
        format!("{field}.spec.unhealthyPodEvictionPolicy"),
        spec.unhealthy_pod_eviction_policy.as_ref().map(UnhealthyPodEvictionPolicy::as_str),
        UnhealthyPodEvictionPolicy::KNOWN,
    );
}

/// Whether a number or percentage is zero.
pub(super) fn is_zero(share: &IntOrString) -> bool {
    match share {
        IntOrString::Int(number) => *number == 0,
        IntOrString::String(text) => super::percent(text) == Some(0),
    }
}
