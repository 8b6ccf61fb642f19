//! `kube.horizontalPodAutoscaler` and `kube.podDisruptionBudget`.

use k8s_openapi::api::autoscaling::v2::MetricSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_api::kgateway::{
    HorizontalPodAutoscalerParameters, HorizontalPodAutoscalerParametersSpec, PodDisruptionBudgetParameters,
    PodDisruptionBudgetParametersSpec, UnhealthyPodEvictionPolicy,
};

use super::Checks;

pub(super) fn autoscaler(it: &HorizontalPodAutoscalerParameters, checks: &mut Checks) {
    let field = "kube.horizontalPodAutoscaler";
    super::metadata(it.metadata.as_ref(), &format!("{field}.metadata"), checks);
    let beside = HorizontalPodAutoscalerParameters { spec: None, ..it.clone() }.spec();
    let field =
        place(field, it.spec.is_some(), beside != HorizontalPodAutoscalerParametersSpec::default(), checks);
    let spec = it.spec();
    let most = i64::from(i32::MAX);
    checks.within(format!("{field}.minReplicas"), spec.min_replicas.map(i64::from), 1, most);
    checks.within(format!("{field}.maxReplicas"), spec.max_replicas.map(i64::from), 1, most);
    bounds(&spec, &field, checks);
    let target = spec.target_cpu_utilization_percentage;
    checks.within(format!("{field}.targetCPUUtilizationPercentage"), target.map(i64::from), 1, most);
    if target.is_some() && !spec.metrics.is_empty() {
        checks.fault(
            format!("{field}.targetCPUUtilizationPercentage"),
            "it is short for one metric, and metrics are given",
            "give metrics or targetCPUUtilizationPercentage, not both",
        );
    }
    for (index, it) in spec.metrics.iter().enumerate() {
        metric(it, &format!("{field}.metrics[{index}]"), checks);
    }
}

/// The smallest number is not more than the largest.
pub(super) fn bounds(spec: &HorizontalPodAutoscalerParametersSpec, field: &str, checks: &mut Checks) {
    if let (Some(least), Some(most)) = (spec.min_replicas, spec.max_replicas)
        && least > most
    {
        checks.fault(
            format!("{field}.minReplicas"),
            format!("{least} is more than maxReplicas, {most}"),
            "lower it, or raise maxReplicas",
        );
    }
}

/// Where the fields are: in `spec` or beside it.
fn place(field: &str, inside: bool, beside: bool, checks: &mut Checks) -> String {
    if inside && beside {
        checks.fault(
            format!("{field}.spec"),
            "its fields may stand in it or beside it",
            "move all of them into spec, or out of it",
        );
    }
    if inside { format!("{field}.spec") } else { field.to_owned() }
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
    let beside = PodDisruptionBudgetParameters { spec: None, ..it.clone() }.spec();
    let field =
        place(field, it.spec.is_some(), beside != PodDisruptionBudgetParametersSpec::default(), checks);
    let spec = it.spec();
    checks.share(format!("{field}.minAvailable"), spec.min_available.as_ref());
    checks.share(format!("{field}.maxUnavailable"), spec.max_unavailable.as_ref());
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        checks.fault(
            field.clone(),
            "a budget says what must stay or what may go",
            "give minAvailable or maxUnavailable, not both",
        );
    }
    checks.one_of(
        format!("{field}.unhealthyPodEvictionPolicy"),
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
