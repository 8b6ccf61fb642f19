//! What only the merge can say: fields of which one may be the class's and another the Gateway's.

use postern_api::kgateway::{HorizontalPodAutoscalerParameters, KubernetesParameters, ServiceType};

use super::super::quantity;
use super::container::COMPONENTS;
use super::{Checks, pod, scaling};

/// Judges merged parameters, each part of which is right on its own.
pub(in super::super) fn whole(kube: &KubernetesParameters, checks: &mut Checks) {
    strategy(kube, checks);
    pods(kube, checks);
    container(kube, checks);
    service(kube, checks);
    autoscaler(kube, checks);
}

fn strategy(kube: &KubernetesParameters, checks: &mut Checks) {
    let Some(strategy) = kube.deployment.as_ref().and_then(|it| it.strategy.as_ref()) else { return };
    let Some(rolling) = &strategy.rolling_update else { return };
    if strategy.type_.as_deref() == Some("Recreate") {
        checks.fault(
            "kube.deployment.strategy.rollingUpdate",
            "the strategy Recreate has no rolling update",
            "remove rollingUpdate, or set type to RollingUpdate",
        );
    } else if rolling.max_surge.as_ref().is_some_and(scaling::is_zero)
        && rolling.max_unavailable.as_ref().is_some_and(scaling::is_zero)
    {
        checks.fault(
            "kube.deployment.strategy.rollingUpdate",
            "with maxSurge and maxUnavailable both 0 no pod could ever be replaced",
            "raise one of them",
        );
    }
}

fn pods(kube: &KubernetesParameters, checks: &mut Checks) {
    let Some(it) = &kube.pod_template else { return };
    pod::grace(it, checks);
    for (name, probe) in pod::probes(it) {
        if probe.is_some_and(|probe| pod::handlers(probe) == 0) {
            checks.fault(
                format!("kube.podTemplate.{name}"),
                "the probe asks nothing",
                "give one of exec, grpc, httpGet and tcpSocket",
            );
        }
    }
}

fn container(kube: &KubernetesParameters, checks: &mut Checks) {
    let Some(it) = &kube.envoy_container else { return };
    if let Some(resources) = &it.resources {
        for (name, request) in &resources.requests {
            let Some(limit) = resources.limits.get(name) else { continue };
            if quantity::value(&request.0) > quantity::value(&limit.0) {
                checks.fault(
                    format!("kube.envoyContainer.resources.requests[{name}]"),
                    format!("{} is more than the limit, {}", request.0, limit.0),
                    "lower it, or raise the limit",
                );
            }
        }
    }
    let volumes = kube.pod_template.as_ref().map(|it| it.extra_volumes.as_slice()).unwrap_or_default();
    for (index, mount) in it.extra_volume_mounts.iter().enumerate() {
        if !volumes.iter().any(|volume| volume.name == mount.name) {
            checks.fault(
                format!("kube.envoyContainer.extraVolumeMounts[{index}].name"),
                format!("there is no volume {}", mount.name),
                "add it to podTemplate.extraVolumes",
            );
        }
    }
    // Envoy does not start with a component that it does not know. Of another image it is not known what that is.
    let other_image = it.image.as_ref().is_some_and(|image| {
        image.registry.is_some()
            || image.repository.is_some()
            || image.tag.is_some()
            || image.digest.is_some()
    });
    let levels = it.bootstrap.iter().flat_map(|it| it.component_log_levels.keys());
    for component in levels.filter(|it| !other_image && !COMPONENTS.contains(&it.as_str())) {
        checks.fault(
            format!("kube.envoyContainer.bootstrap.componentLogLevels[{component}]"),
            "Envoy has no such component and would not start",
            format!("use one of {}", COMPONENTS.join(", ")),
        );
    }
}

fn service(kube: &KubernetesParameters, checks: &mut Checks) {
    let Some(it) = &kube.service else { return };
    let type_ = it.type_.clone().unwrap_or_default();
    let inside = type_ == ServiceType::ClusterIp;
    if !inside && it.cluster_ip.as_deref() == Some("None") {
        checks.fault(
            "kube.service.clusterIP",
            format!("a Service of type {type_} cannot be headless"),
            "set type to ClusterIP, or remove clusterIP",
        );
    }
    if inside && it.external_traffic_policy.is_some() {
        checks.fault(
            "kube.service.externalTrafficPolicy",
            "a Service of type ClusterIP has no traffic from outside",
            "remove it, or set type to NodePort or LoadBalancer",
        );
    }
    for (index, port) in it.ports.iter().enumerate() {
        if inside && port.node_port.is_some() {
            checks.fault(
                format!("kube.service.ports[{index}].nodePort"),
                "a Service of type ClusterIP has no node ports",
                "remove it, or set type to NodePort or LoadBalancer",
            );
        }
    }
}

/// A usage in percent is one of the request. Without any resources there is Postern's default, which has requests.
fn autoscaler(kube: &KubernetesParameters, checks: &mut Checks) {
    let Some(spec) = kube.horizontal_pod_autoscaler.as_ref().map(HorizontalPodAutoscalerParameters::spec)
    else {
        return;
    };
    let field = "kube.horizontalPodAutoscaler";
    if spec.max_replicas.is_none() {
        checks.fault(format!("{field}.maxReplicas"), "there is none", "say how many proxies there may be");
    }
    scaling::bounds(&spec, field, checks);
    let Some(resources) = kube.envoy_container.as_ref().and_then(|it| it.resources.as_ref()) else { return };
    let mut measured: Vec<&str> = Vec::new();
    if spec.metrics.is_empty() {
        measured.push("cpu");
    }
    for metric in &spec.metrics {
        let resource = metric.resource.as_ref().map(|it| (&it.name, &it.target));
        let container = metric.container_resource.as_ref().map(|it| (&it.name, &it.target));
        let found = resource.or(container).filter(|(_, target)| target.average_utilization.is_some());
        measured.extend(found.map(|(name, _)| name.as_str()));
    }
    for name in measured {
        if !resources.requests.contains_key(name) && !resources.limits.contains_key(name) {
            checks.fault(
                "kube.envoyContainer.resources.requests",
                format!("the autoscaler measures {name} in percent of the request, and there is none"),
                format!("request some {name}, or let the autoscaler measure something else"),
            );
        }
    }
}
