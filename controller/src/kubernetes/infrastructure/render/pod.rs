//! The pods of the proxies.

use std::collections::BTreeMap;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, LocalObjectReference, PodSecurityContext, PodSpec,
    PodTemplateSpec, ProjectedVolumeSource, SeccompProfile, ServiceAccountTokenProjection, Sysctl,
    TopologySpreadConstraint, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_translator::Infrastructure;
use postern_translator::infrastructure::{KubernetesParameters, PodParameters};

use super::super::labels::{BOOTSTRAP_DIGEST, label_selector, pod_metadata};
use super::super::options::RenderOptions;
use super::config_map::Configuration;
use super::container;
use crate::bootstrap::{PROBE_PORT, TOKEN_AUDIENCE, TOKEN_FILE};

/// The user `nonroot` of images without a distribution, Envoy's among them.
const USER: i64 = 65532;
/// The user that only those have who ask for it.
pub(super) const ROOT: i64 = 0;
/// How long a token is valid; the kubelet replaces it after four fifths of the time.
const TOKEN_SECONDS: i64 = 3600;

/// The volume of the ConfigMap.
pub(super) const CONFIG_VOLUME: &str = "postern-config";
/// The volume of the token.
pub(super) const TOKEN_VOLUME: &str = "postern-token";
/// The volume that the program comes in with which a proxy is drained.
pub(super) const RUN_VOLUME: &str = "postern-run";

pub(super) fn template(
    infrastructure: &Infrastructure,
    options: &RenderOptions,
    parameters: &KubernetesParameters,
    configuration: &Configuration,
) -> PodTemplateSpec {
    let pod = &parameters.pod;
    let (labels, mut annotations) = pod_metadata(infrastructure, &pod.object);
    annotations.insert(BOOTSTRAP_DIGEST.to_owned(), configuration.digest());
    if parameters.stats.is_some() {
        for (key, value) in scrape() {
            annotations.entry(key).or_insert(value);
        }
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(infrastructure.name.clone()),
            automount_service_account_token: Some(false),
            // Thousands of Services make thousands of environment variables that nobody reads.
            enable_service_links: Some(false),
            security_context: security_context(parameters),
            init_containers: pod.drain.map(|_| vec![container::install(options, parameters)]),
            containers: vec![container::envoy(options, parameters, configuration)],
            volumes: Some(volumes(infrastructure, pod)),
            termination_grace_period_seconds: Some(pod.termination_grace_period_seconds),
            topology_spread_constraints: Some(spread(infrastructure, pod)),
            node_selector: non_empty(&pod.node_selector, BTreeMap::is_empty),
            tolerations: non_empty(&pod.tolerations, Vec::is_empty),
            affinity: pod.affinity.clone(),
            image_pull_secrets: non_empty(&pod.image_pull_secrets, Vec::is_empty)
                .map(|names| names.into_iter().map(|name| LocalObjectReference { name }).collect()),
            ..PodSpec::default()
        }),
    }
}

pub(super) fn non_empty<T: Clone>(value: &T, is_empty: impl Fn(&T) -> bool) -> Option<T> {
    (!is_empty(value)).then(|| value.clone())
}

/// How a Prometheus finds the metrics that goes by annotations.
fn scrape() -> [(String, String); 3] {
    [("scrape", "true".to_owned()), ("path", "/metrics".to_owned()), ("port", PROBE_PORT.to_string())]
        .map(|(key, value)| (format!("prometheus.io/{key}"), value))
}

/// The user that the parameters give all containers.
pub(super) fn user(parameters: &KubernetesParameters) -> Option<i64> {
    parameters.pod.security_context.as_ref().and_then(|it| it.run_as_user)
}

/// Meets the Pod Security Standard "restricted", and lets Envoy bind any port without privileges.
fn security_context(parameters: &KubernetesParameters) -> Option<PodSecurityContext> {
    let given = parameters.pod.security_context.clone();
    if parameters.omit_default_security_context {
        return given;
    }
    let default = (!parameters.floating_user_id).then_some(USER);
    let mut context = PodSecurityContext {
        run_as_non_root: Some(user(parameters) != Some(ROOT)),
        run_as_user: default,
        run_as_group: default,
        // So that the token can be read.
        fs_group: default,
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    };
    if let Some(given) = given {
        context.merge_from(given);
    }
    let sysctls = context.sysctls.get_or_insert_default();
    let any_port = "net.ipv4.ip_unprivileged_port_start";
    if !sysctls.iter().any(|it| it.name == any_port) {
        sysctls.push(Sysctl { name: any_port.to_owned(), value: "0".to_owned() });
    }
    Some(context)
}

fn volumes(infrastructure: &Infrastructure, pod: &PodParameters) -> Vec<Volume> {
    let token = ServiceAccountTokenProjection {
        audience: Some(TOKEN_AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: TOKEN_FILE.to_owned(),
    };
    let mut volumes = vec![
        Volume {
            name: CONFIG_VOLUME.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: infrastructure.name.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: TOKEN_VOLUME.to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(token),
                    ..VolumeProjection::default()
                }]),
                default_mode: None,
            }),
            ..Volume::default()
        },
    ];
    if pod.drain.is_some() {
        volumes.push(Volume {
            name: RUN_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    volumes.extend(pod.volumes.iter().cloned());
    volumes
}

/// By default the proxies of a Gateway run on different nodes in different zones, as far as there are any.
fn spread(infrastructure: &Infrastructure, pod: &PodParameters) -> Vec<TopologySpreadConstraint> {
    let soft = |topology_key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        // Of each version for itself: during an update the old pods do not count.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    };
    let mut constraints = pod.topology_spread_constraints.clone();
    if constraints.is_empty() {
        constraints = vec![soft("kubernetes.io/hostname"), soft("topology.kubernetes.io/zone")];
    }
    for constraint in &mut constraints {
        constraint.label_selector.get_or_insert_with(|| label_selector(infrastructure));
    }
    constraints
}
