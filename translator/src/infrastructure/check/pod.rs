//! `kube.podTemplate`.

use k8s_openapi::api::core::v1::{Probe, Toleration, TopologySpreadConstraint, Volume};
use postern_api::kgateway::PodTemplateParameters;
use serde_json::Value;

use super::super::metadata::{self, is_dns_label, is_dns_name};
use super::super::parameters::TERMINATION_GRACE_PERIOD_SECONDS;
use super::Checks;

/// Names of volumes that begin so are Postern's.
const OWN_VOLUMES: &str = "postern-";

pub(super) fn pod(pod: &PodTemplateParameters, checks: &mut Checks) {
    let field = "kube.podTemplate";
    metadata::labels(&pod.extra_labels, &format!("{field}.extraLabels"), checks);
    metadata::annotations(&pod.extra_annotations, &format!("{field}.extraAnnotations"), checks);
    metadata::selector(&pod.node_selector, &format!("{field}.nodeSelector"), checks);
    for (index, secret) in pod.image_pull_secrets.iter().enumerate() {
        if !is_dns_name(&secret.name) {
            checks.fault(
                format!("{field}.imagePullSecrets[{index}].name"),
                format!("{:?} is not the name of a Secret", secret.name),
                "name a Secret in the namespace of the Gateway",
            );
        }
    }
    let secrets = pod.image_pull_secrets.iter().map(|secret| &secret.name);
    checks.unique(&format!("{field}.imagePullSecrets"), "name", secrets);
    for (index, it) in pod.tolerations.iter().enumerate() {
        toleration(it, &format!("{field}.tolerations[{index}]"), checks);
    }
    for (index, it) in pod.topology_spread_constraints.iter().enumerate() {
        spread(it, &format!("{field}.topologySpreadConstraints[{index}]"), checks);
    }
    for (index, it) in pod.extra_volumes.iter().enumerate() {
        volume(it, &format!("{field}.extraVolumes[{index}]"), checks);
    }
    checks.unique(&format!("{field}.extraVolumes"), "name", pod.extra_volumes.iter().map(|it| &it.name));
    for (name, it) in probes(pod) {
        if let Some(it) = it {
            probe(it, &format!("{field}.{name}"), name != "readinessProbe", checks);
        }
    }
    if pod.readiness_probe.as_ref().is_some_and(|it| it.termination_grace_period_seconds.is_some()) {
        checks.fault(
            format!("{field}.readinessProbe.terminationGracePeriodSeconds"),
            "a proxy that is not ready is not ended, so it has no time to end in",
            "remove it, or give it to livenessProbe or startupProbe",
        );
    }
    let shutdown = pod.graceful_shutdown.clone().unwrap_or_default();
    let year = 31_536_000;
    checks.within(format!("{field}.gracefulShutdown.sleepTimeSeconds"), shutdown.sleep_time_seconds, 0, year);
    let grace = pod.termination_grace_period_seconds;
    checks.within(format!("{field}.terminationGracePeriodSeconds"), grace, 0, year);
    // With both given here, nothing that is merged with this object makes it right.
    if shutdown.enabled != Some(false) && shutdown.sleep_time_seconds.is_some() && grace.is_some() {
        self::grace(pod, checks);
    }
}

/// A proxy must be awake again before it is killed.
pub(super) fn grace(pod: &PodTemplateParameters, checks: &mut Checks) {
    let shutdown = pod.graceful_shutdown.clone().unwrap_or_default();
    let grace = pod.termination_grace_period_seconds.unwrap_or(TERMINATION_GRACE_PERIOD_SECONDS);
    if let Some(sleep) = shutdown.sleep_time_seconds.filter(|sleep| *sleep >= grace)
        && shutdown.enabled != Some(false)
    {
        checks.fault(
            "kube.podTemplate.gracefulShutdown.sleepTimeSeconds",
            format!("the proxies would sleep for {sleep} seconds and be killed after {grace}"),
            "shorten it, or lengthen terminationGracePeriodSeconds",
        );
    }
}

/// The probes with their names.
pub(super) fn probes(pod: &PodTemplateParameters) -> [(&'static str, Option<&Probe>); 3] {
    [
        ("startupProbe", pod.startup_probe.as_ref()),
        ("readinessProbe", pod.readiness_probe.as_ref()),
        ("livenessProbe", pod.liveness_probe.as_ref()),
    ]
}

/// How many handlers a probe has.
pub(super) fn handlers(probe: &Probe) -> usize {
    let given =
        [probe.exec.is_some(), probe.grpc.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some()];
    given.into_iter().filter(|given| *given).count()
}

fn probe(probe: &Probe, field: &str, once: bool, checks: &mut Checks) {
    if handlers(probe) > 1 {
        checks.fault(field, "a probe asks in one way only", "give one of exec, grpc, httpGet and tcpSocket");
    }
    let at_least = |checks: &mut Checks, name: &str, value: Option<i32>, least| {
        checks.within(format!("{field}.{name}"), value.map(i64::from), least, i64::from(i32::MAX));
    };
    at_least(checks, "initialDelaySeconds", probe.initial_delay_seconds, 0);
    at_least(checks, "periodSeconds", probe.period_seconds, 1);
    at_least(checks, "timeoutSeconds", probe.timeout_seconds, 1);
    at_least(checks, "failureThreshold", probe.failure_threshold, 1);
    let most = if once { 1 } else { i64::from(i32::MAX) };
    checks.within(format!("{field}.successThreshold"), probe.success_threshold.map(i64::from), 1, most);
}

fn toleration(it: &Toleration, field: &str, checks: &mut Checks) {
    let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let operator = it.operator.as_deref().filter(|operator| !operator.is_empty());
    checks.one_of(format!("{field}.operator"), operator, &["Equal", "Exists"]);
    let effect = it.effect.as_deref().filter(|effect| !effect.is_empty());
    checks.one_of(format!("{field}.effect"), effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    let exists = operator == Some("Exists");
    if exists && given(&it.value) {
        checks.fault(
            format!("{field}.value"),
            "the operator Exists takes no value",
            "remove value, or use the operator Equal",
        );
    }
    if !exists && !given(&it.key) {
        checks.fault(
            format!("{field}.key"),
            "a toleration without a key is for every taint and needs the operator Exists",
            "give key, or set operator to Exists",
        );
    }
    if it.toleration_seconds.is_some() && effect != Some("NoExecute") {
        checks.fault(
            format!("{field}.tolerationSeconds"),
            "only the effect NoExecute has a time",
            "remove tolerationSeconds, or set effect to NoExecute",
        );
    }
}

fn spread(it: &TopologySpreadConstraint, field: &str, checks: &mut Checks) {
    checks.within(format!("{field}.maxSkew"), Some(i64::from(it.max_skew)), 1, i64::from(i32::MAX));
    checks.one_of(
        format!("{field}.whenUnsatisfiable"),
        Some(&it.when_unsatisfiable),
        &["DoNotSchedule", "ScheduleAnyway"],
    );
    if it.min_domains.is_some() && it.when_unsatisfiable != "DoNotSchedule" {
        checks.fault(
            format!("{field}.minDomains"),
            "a constraint that may be broken has no smallest number of domains",
            "remove minDomains, or set whenUnsatisfiable to DoNotSchedule",
        );
    }
    if it.topology_key.is_empty() {
        checks.fault(
            format!("{field}.topologyKey"),
            "there is none",
            "name a label of nodes, for example topology.kubernetes.io/zone",
        );
    }
}

fn volume(it: &Volume, field: &str, checks: &mut Checks) {
    if !is_dns_label(&it.name) {
        checks.fault(
            format!("{field}.name"),
            format!("{:?} is not the name of a volume", it.name),
            "use at most 63 lower-case letters, digits and '-'",
        );
    } else if it.name.starts_with(OWN_VOLUMES) {
        checks.fault(
            format!("{field}.name"),
            format!("names of volumes that begin with {OWN_VOLUMES} are Postern's own"),
            "choose another name",
        );
    }
    let fields = serde_json::to_value(it).ok();
    let sources =
        fields.as_ref().and_then(Value::as_object).map_or(0, |fields| fields.len().saturating_sub(1));
    if sources != 1 {
        checks.fault(
            field,
            "a volume comes from one place",
            "give one source, for example configMap or emptyDir",
        );
    }
    claim_metadata(it, field, checks);
}

/// Claims that are made with a pod have the pod's name and belong to it; their other metadata are Kubernetes' own.
fn claim_metadata(it: &Volume, field: &str, checks: &mut Checks) {
    let template = it.ephemeral.as_ref().and_then(|it| it.volume_claim_template.as_ref());
    let given = template.and_then(|it| serde_json::to_value(it.metadata.as_ref()?).ok());
    let names = given.as_ref().and_then(Value::as_object).into_iter().flat_map(|it| it.keys());
    for name in names.filter(|name| !["annotations", "labels"].contains(&name.as_str())) {
        checks.fault(
            format!("{field}.ephemeral.volumeClaimTemplate.metadata.{name}"),
            "Kubernetes sets it for the claim of each pod",
            "remove it; labels and annotations can be given",
        );
    }
}
