//! From GatewayParameters that are right to [`KubernetesParameters`].

use k8s_openapi::api::autoscaling::v2::{MetricSpec, MetricTarget, ResourceMetricSource};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_api::kgateway as api;

use super::Image;
use super::parameters::{
    Autoscaler, DisruptionBudget, Disruptions, Drain, EnvoyParameters, KubernetesParameters,
    ObjectParameters, PodParameters, Replicas, ServiceParameters, ServiceType, Stats,
    TERMINATION_GRACE_PERIOD_SECONDS,
};

/// Average CPU usage that an autoscaler without metrics aims at, in percent of the request.
const CPU_PERCENT: i32 = 80;

/// Applies the defaults. What the checks refuse does not get here.
pub(super) fn build(kube: api::KubernetesParameters) -> KubernetesParameters {
    let deployment = kube.deployment.unwrap_or_default();
    let account = kube.service_account.unwrap_or_default();
    let replicas = match (kube.horizontal_pod_autoscaler, deployment.replicas) {
        (Some(it), _) => Replicas::Automatic(Box::new(autoscaler(it))),
        (None, Some(number)) => Replicas::Fixed(number),
        (None, None) => Replicas::Unmanaged,
    };
    KubernetesParameters {
        replicas,
        strategy: deployment.strategy,
        pod: pod(kube.pod_template.unwrap_or_default()),
        envoy: envoy(kube.envoy_container.unwrap_or_default()),
        service: service(kube.service.unwrap_or_default()),
        service_account: ObjectParameters {
            labels: account.extra_labels,
            annotations: account.extra_annotations,
        },
        stats: stats(kube.stats.unwrap_or_default()),
        floating_user_id: kube.floating_user_id.unwrap_or_default(),
        omit_default_security_context: kube.omit_default_security_context.unwrap_or_default(),
        disruption_budget: kube.pod_disruption_budget.map(disruption_budget),
    }
}

fn object(metadata: Option<api::MetadataParameters>) -> ObjectParameters {
    let metadata = metadata.unwrap_or_default();
    ObjectParameters { labels: metadata.labels, annotations: metadata.annotations }
}

fn autoscaler(it: api::HorizontalPodAutoscalerParameters) -> Autoscaler {
    let api::HorizontalPodAutoscalerParametersSpec {
        min_replicas,
        max_replicas,
        mut metrics,
        target_cpu_utilization_percentage,
        behavior,
    } = it.spec();
    if metrics.is_empty() {
        metrics.push(cpu(target_cpu_utilization_percentage.unwrap_or(CPU_PERCENT)));
    }
    let max_replicas = max_replicas.unwrap_or(1);
    Autoscaler { object: object(it.metadata), min_replicas, max_replicas, metrics, behavior }
}

fn cpu(percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

fn disruption_budget(it: api::PodDisruptionBudgetParameters) -> DisruptionBudget {
    let spec = it.spec();
    let disruptions = match (spec.min_available, spec.max_unavailable) {
        (Some(stay), _) => Disruptions::MinAvailable(stay),
        (None, Some(go)) => Disruptions::MaxUnavailable(go),
        (None, None) => Disruptions::MaxUnavailable(IntOrString::Int(1)),
    };
    DisruptionBudget {
        object: object(it.metadata),
        disruptions,
        unhealthy_pod_eviction_policy: spec.unhealthy_pod_eviction_policy.map(|it| it.as_str().to_owned()),
    }
}

fn pod(it: api::PodTemplateParameters) -> PodParameters {
    let grace = it.termination_grace_period_seconds.unwrap_or(TERMINATION_GRACE_PERIOD_SECONDS);
    let shutdown = it.graceful_shutdown.unwrap_or_default();
    let default = Drain::default().min_seconds.min(grace / 2);
    let drain = Drain { min_seconds: shutdown.sleep_time_seconds.unwrap_or(default) };
    PodParameters {
        object: ObjectParameters { labels: it.extra_labels, annotations: it.extra_annotations },
        node_selector: it.node_selector,
        tolerations: it.tolerations,
        affinity: it.affinity,
        topology_spread_constraints: it.topology_spread_constraints,
        security_context: it.security_context,
        image_pull_secrets: it.image_pull_secrets.into_iter().map(|secret| secret.name).collect(),
        volumes: it.extra_volumes,
        startup_probe: it.startup_probe,
        readiness_probe: it.readiness_probe,
        liveness_probe: it.liveness_probe,
        drain: shutdown.enabled.unwrap_or(true).then_some(drain),
        termination_grace_period_seconds: grace,
    }
}

fn envoy(it: api::ContainerParameters) -> EnvoyParameters {
    let bootstrap = it.bootstrap.unwrap_or_default();
    let image = it.image.unwrap_or_default();
    EnvoyParameters {
        image_pull_policy: image.pull_policy.map(|policy| policy.as_str().to_owned()),
        image: Image {
            registry: image.registry,
            repository: image.repository,
            tag: image.tag,
            digest: image.digest,
        },
        log_level: bootstrap.log_level,
        component_log_levels: bootstrap.component_log_levels,
        env: it.env,
        security_context: it.security_context,
        resources: it.resources.map(|it| ResourceRequirements {
            requests: (!it.requests.is_empty()).then_some(it.requests),
            limits: (!it.limits.is_empty()).then_some(it.limits),
            claims: None,
        }),
        volume_mounts: it.extra_volume_mounts,
    }
}

fn service(it: api::ServiceParameters) -> ServiceParameters {
    ServiceParameters {
        object: ObjectParameters { labels: it.extra_labels, annotations: it.extra_annotations },
        type_: match it.type_ {
            Some(api::ServiceType::ClusterIp) => ServiceType::ClusterIp,
            Some(api::ServiceType::NodePort) => ServiceType::NodePort,
            _ => ServiceType::LoadBalancer,
        },
        cluster_ip: it.cluster_ip.filter(|address| !address.is_empty()),
        node_ports: it.ports.iter().filter_map(|port| Some((port.port, port.node_port?))).collect(),
        external_traffic_policy: it.external_traffic_policy,
    }
}

fn stats(it: api::StatsParameters) -> Option<Stats> {
    let Stats { metrics, .. } = Stats::default();
    it.enabled.unwrap_or(true).then(|| Stats {
        metrics: it.route_prefix_rewrite.unwrap_or(metrics),
        stats: it
            .enable_stats_route
            .unwrap_or_default()
            .then(|| it.stats_route_prefix_rewrite.unwrap_or_else(|| "/stats".to_owned())),
    })
}
