//! Where the fields of GatewayParameters take effect.

use std::collections::BTreeMap;

use ObjectKind::{
    ConfigMap, Deployment, HorizontalPodAutoscaler, PodDisruptionBudget, Service, ServiceAccount,
};
use Place::{At, Effect};
use postern::kubernetes::infrastructure::ObjectKind;
use serde_json::{Value, json};

use super::Manifests;

/// Where the effect of a field is seen.
pub(super) enum Place {
    /// All that the field says stands in the object of this kind, at this JSON pointer.
    At(ObjectKind, &'static str),
    /// It takes another form: whether it did.
    Effect(fn(&Value, &Manifests) -> bool),
}

/// The first place counts whose path a field begins with.
pub(super) const PLACES: [(&str, Place); 57] = [
    ("kube.deployment.replicas", At(Deployment, "/spec/replicas")),
    ("kube.deployment.strategy", At(Deployment, "/spec/strategy")),
    ("kube.podTemplate.extraLabels", At(Deployment, "/spec/template/metadata/labels")),
    ("kube.podTemplate.extraAnnotations", At(Deployment, "/spec/template/metadata/annotations")),
    ("kube.podTemplate.securityContext", At(Deployment, "/spec/template/spec/securityContext")),
    ("kube.podTemplate.imagePullSecrets", At(Deployment, "/spec/template/spec/imagePullSecrets")),
    ("kube.podTemplate.nodeSelector", At(Deployment, "/spec/template/spec/nodeSelector")),
    ("kube.podTemplate.affinity", At(Deployment, "/spec/template/spec/affinity")),
    ("kube.podTemplate.tolerations", At(Deployment, "/spec/template/spec/tolerations")),
    (
        "kube.podTemplate.topologySpreadConstraints",
        At(Deployment, "/spec/template/spec/topologySpreadConstraints"),
    ),
    (
        "kube.podTemplate.terminationGracePeriodSeconds",
        At(Deployment, "/spec/template/spec/terminationGracePeriodSeconds"),
    ),
    ("kube.podTemplate.startupProbe", At(Deployment, "/spec/template/spec/containers/0/startupProbe")),
    ("kube.podTemplate.readinessProbe", At(Deployment, "/spec/template/spec/containers/0/readinessProbe")),
    ("kube.podTemplate.livenessProbe", At(Deployment, "/spec/template/spec/containers/0/livenessProbe")),
    ("kube.podTemplate.extraVolumes", At(Deployment, "/spec/template/spec/volumes")),
    ("kube.podTemplate.gracefulShutdown.enabled", Effect(|enabled, all| drain(all).is_some() == *enabled)),
    (
        "kube.podTemplate.gracefulShutdown.sleepTimeSeconds",
        Effect(|seconds, all| {
            drain(all).is_some_and(|it| follows(it, "--min-seconds", &seconds.to_string()))
        }),
    ),
    ("kube.envoyContainer.env", At(Deployment, "/spec/template/spec/containers/0/env")),
    (
        "kube.envoyContainer.extraVolumeMounts",
        At(Deployment, "/spec/template/spec/containers/0/volumeMounts"),
    ),
    (
        "kube.envoyContainer.resources.requests",
        At(Deployment, "/spec/template/spec/containers/0/resources/requests"),
    ),
    (
        "kube.envoyContainer.resources.limits",
        At(Deployment, "/spec/template/spec/containers/0/resources/limits"),
    ),
    (
        "kube.envoyContainer.securityContext",
        At(Deployment, "/spec/template/spec/containers/0/securityContext"),
    ),
    (
        "kube.envoyContainer.image.pullPolicy",
        At(Deployment, "/spec/template/spec/containers/0/imagePullPolicy"),
    ),
    (
        "kube.envoyContainer.image.registry",
        Effect(|it, all| image(all).starts_with(&format!("{}/", text(it)))),
    ),
    (
        "kube.envoyContainer.image.repository",
        Effect(|it, all| image(all).contains(&format!("/{}:", text(it)))),
    ),
    ("kube.envoyContainer.image.tag", Effect(|it, all| image(all).ends_with(&format!(":{}", text(it))))),
    ("kube.envoyContainer.image.digest", Effect(|it, all| image(all).ends_with(&format!("@{}", text(it))))),
    (
        "kube.envoyContainer.bootstrap.logLevel",
        Effect(|it, all| follows(&envoy(all)["args"], "--log-level", text(it))),
    ),
    ("kube.envoyContainer.bootstrap.componentLogLevels", Effect(component_levels)),
    ("kube.service.type", At(Service, "/spec/type")),
    ("kube.service.clusterIP", At(Service, "/spec/clusterIP")),
    ("kube.service.extraLabels", At(Service, "/metadata/labels")),
    ("kube.service.extraAnnotations", At(Service, "/metadata/annotations")),
    ("kube.service.ports", At(Service, "/spec/ports")),
    ("kube.service.externalTrafficPolicy", At(Service, "/spec/externalTrafficPolicy")),
    ("kube.serviceAccount.extraLabels", At(ServiceAccount, "/metadata/labels")),
    ("kube.serviceAccount.extraAnnotations", At(ServiceAccount, "/metadata/annotations")),
    ("kube.stats.enabled", Effect(|it, all| routes(all).contains_key("/metrics") == *it)),
    ("kube.stats.routePrefixRewrite", Effect(|it, all| routes(all).get("/metrics") == Some(it))),
    ("kube.stats.enableStatsRoute", Effect(|it, all| routes(all).contains_key("/stats") == *it)),
    ("kube.stats.statsRoutePrefixRewrite", Effect(|it, all| routes(all).get("/stats") == Some(it))),
    ("kube.floatingUserId", Effect(|it, all| pod(all)["securityContext"].get("runAsUser").is_none() == *it)),
    ("kube.omitDefaultSecurityContext", Effect(|it, all| is_without_security_context(all) == *it)),
    (
        "kube.horizontalPodAutoscaler.targetCPUUtilizationPercentage",
        At(HorizontalPodAutoscaler, "/spec/metrics/0/resource/target/averageUtilization"),
    ),
    (
        "kube.horizontalPodAutoscaler.spec.targetCPUUtilizationPercentage",
        At(HorizontalPodAutoscaler, "/spec/metrics/0/resource/target/averageUtilization"),
    ),
    ("kube.horizontalPodAutoscaler.metadata", At(HorizontalPodAutoscaler, "/metadata")),
    ("kube.horizontalPodAutoscaler.minReplicas", At(HorizontalPodAutoscaler, "/spec/minReplicas")),
    ("kube.horizontalPodAutoscaler.maxReplicas", At(HorizontalPodAutoscaler, "/spec/maxReplicas")),
    ("kube.horizontalPodAutoscaler.metrics", At(HorizontalPodAutoscaler, "/spec/metrics")),
    ("kube.horizontalPodAutoscaler.behavior", At(HorizontalPodAutoscaler, "/spec/behavior")),
    ("kube.horizontalPodAutoscaler.spec", At(HorizontalPodAutoscaler, "/spec")),
    ("kube.podDisruptionBudget.metadata", At(PodDisruptionBudget, "/metadata")),
    ("kube.podDisruptionBudget.minAvailable", At(PodDisruptionBudget, "/spec/minAvailable")),
    ("kube.podDisruptionBudget.maxUnavailable", At(PodDisruptionBudget, "/spec/maxUnavailable")),
    (
        "kube.podDisruptionBudget.unhealthyPodEvictionPolicy",
        At(PodDisruptionBudget, "/spec/unhealthyPodEvictionPolicy"),
    ),
    ("kube.podDisruptionBudget.spec", At(PodDisruptionBudget, "/spec")),
    ("selfManaged", Effect(|_, all| all.keys().copied().eq([ServiceAccount, ConfigMap]))),
];

fn pod(all: &Manifests) -> &Value {
    &all[&Deployment]["spec"]["template"]["spec"]
}

fn envoy(all: &Manifests) -> &Value {
    &pod(all)["containers"][0]
}

fn image(all: &Manifests) -> &str {
    text(&envoy(all)["image"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The command that drains a proxy before it is ended.
fn drain(all: &Manifests) -> Option<&Value> {
    envoy(all).pointer("/lifecycle/preStop/exec/command")
}

/// Whether `value` stands behind `name` in a list of arguments.
fn follows(arguments: &Value, name: &str, value: &str) -> bool {
    let all: Vec<_> = arguments.as_array().into_iter().flatten().map(text).collect();
    all.windows(2).any(|pair| pair == [name, value])
}

fn component_levels(given: &Value, all: &Manifests) -> bool {
    let levels = given.as_object().into_iter().flatten();
    let levels: Vec<_> = levels.map(|(name, level)| format!("{name}:{}", text(level))).collect();
    follows(&envoy(all)["args"], "--component-log-level", &levels.join(","))
}

fn is_without_security_context(all: &Manifests) -> bool {
    let containers = ["containers", "initContainers"].map(|it| pod(all)[it].as_array());
    let pod = pod(all).get("securityContext").is_none_or(|it| *it == json!({}));
    pod && containers.into_iter().flatten().flatten().all(|it| it.get("securityContext").is_none())
}

/// What the listener for statistics answers, by path.
fn routes(all: &Manifests) -> BTreeMap<String, Value> {
    let bootstrap: Value = serde_yaml::from_str(text(&all[&ConfigMap]["data"]["envoy.yaml"])).unwrap();
    let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap();
    let routes = listeners.iter().find_map(|listener| {
        listener.pointer("/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes")
    });
    let routes = routes.and_then(Value::as_array).into_iter().flatten();
    routes.map(|it| (text(&it["match"]["path"]).to_owned(), it["route"]["prefix_rewrite"].clone())).collect()
}
