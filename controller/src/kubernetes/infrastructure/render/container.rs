//! The containers of the pods.

use std::collections::BTreeMap;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, Probe, ResourceRequirements, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_translator::infrastructure::{Drain, EnvoyParameters, KubernetesParameters, PodParameters};

use super::super::options::RenderOptions;
use super::config_map::Configuration;
use super::pod::{self, CONFIG_VOLUME, ROOT, RUN_VOLUME, TOKEN_VOLUME};
use crate::bootstrap::{CONFIG_DIRECTORY, IDLE_SIGNAL_FILE, PROBE_PORT, RUN_DIRECTORY, TOKEN_DIRECTORY};
use crate::drain;

/// The program in the image of the controller.
const PROGRAM: &str = "/postern";
/// The volume of the program in the init container, which may write it.
const INSTALL_DIRECTORY: &str = "/install";
/// How long connections live on whose listener was changed or removed. Clients are asked to go elsewhere more and more
/// urgently in the meantime, so that not all of them come again at once.
const LISTENER_DRAIN_SECONDS: u32 = 60;
/// What is left of the grace period when the drain must be over: Envoy ends within it.
const END_SECONDS: i64 = 5;

/// Brings the program that drains the proxy: Envoy's image may have nothing but Envoy.
pub(super) fn install(options: &RenderOptions, parameters: &KubernetesParameters) -> Container {
    Container {
        name: "install".to_owned(),
        image: Some(options.controller_image.clone()),
        command: Some(vec![PROGRAM.to_owned()]),
        args: Some(vec!["proxy".to_owned(), "install-binary".to_owned(), INSTALL_DIRECTORY.to_owned()]),
        resources: Some(ResourceRequirements {
            requests: Some(quantities(&[("cpu", "10m"), ("memory", "32Mi")])),
            ..ResourceRequirements::default()
        }),
        security_context: security_context(parameters, None),
        volume_mounts: Some(vec![mount(RUN_VOLUME, INSTALL_DIRECTORY, false)]),
        ..Container::default()
    }
}

pub(super) fn envoy(
    options: &RenderOptions,
    parameters: &KubernetesParameters,
    configuration: &Configuration,
) -> Container {
    let KubernetesParameters { pod, envoy, .. } = parameters;
    let mut mounts =
        vec![mount(CONFIG_VOLUME, CONFIG_DIRECTORY, true), mount(TOKEN_VOLUME, TOKEN_DIRECTORY, true)];
    if pod.drain.is_some() {
        // Writable: the drain leaves a signal for Envoy there.
        mounts.push(mount(RUN_VOLUME, RUN_DIRECTORY, false));
    }
    mounts.extend(envoy.volume_mounts.iter().cloned());
    Container {
        name: "envoy".to_owned(),
        image: Some(envoy.image.reference(&options.envoy_image)),
        image_pull_policy: envoy.image_pull_policy.clone(),
        args: Some(arguments(envoy, configuration)),
        env: Some(environment(envoy)),
        ports: Some(vec![ContainerPort {
            name: Some("metrics".to_owned()),
            container_port: i32::from(PROBE_PORT),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources(envoy)),
        security_context: security_context(parameters, envoy.security_context.as_ref()),
        lifecycle: pod.drain.map(|drain| Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction { command: Some(drain_command(drain, pod)) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        startup_probe: Some(pod.startup_probe.clone().unwrap_or_else(startup_probe)),
        readiness_probe: Some(pod.readiness_probe.clone().unwrap_or_else(readiness_probe)),
        // None by default: a restart heals nothing that Envoy does not heal itself, and costs all connections.
        liveness_probe: pod.liveness_probe.clone(),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// The number of worker threads is not among them: Envoy takes it from the CPU limit of its container.
fn arguments(envoy: &EnvoyParameters, configuration: &Configuration) -> Vec<String> {
    let mut arguments = configuration.arguments.clone();
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--drain-time-s", LISTENER_DRAIN_SECONDS.to_string());
    add("--log-level", envoy.log_level.clone().unwrap_or_else(|| "warning".to_owned()));
    if !envoy.component_log_levels.is_empty() {
        let levels: Vec<_> = envoy
            .component_log_levels
            .iter()
            .map(|(component, level)| format!("{component}:{level}"))
            .collect();
        add("--component-log-level", levels.join(","));
    }
    arguments
}

/// The arguments refer to the first two.
fn environment(envoy: &EnvoyParameters) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut all = vec![field("POD_NAME", "metadata.name"), field("NODE_NAME", "spec.nodeName")];
    all.retain(|own| envoy.env.iter().all(|given| given.name != own.name));
    all.extend(envoy.env.iter().cloned());
    all
}

/// Small: most Gateways are, and a busy one says so.
fn resources(envoy: &EnvoyParameters) -> ResourceRequirements {
    envoy.resources.clone().unwrap_or_else(|| ResourceRequirements {
        requests: Some(quantities(&[("cpu", "50m"), ("memory", "64Mi")])),
        ..ResourceRequirements::default()
    })
}

fn quantities(values: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    values.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
}

fn security_context(
    parameters: &KubernetesParameters,
    given: Option<&SecurityContext>,
) -> Option<SecurityContext> {
    if parameters.omit_default_security_context {
        return given.cloned();
    }
    let user = given.and_then(|it| it.run_as_user).or_else(|| pod::user(parameters));
    let mut context = SecurityContext {
        // Kubernetes refuses to keep those from more privileges who are given all.
        allow_privilege_escalation: (!given.is_some_and(is_privileged)).then_some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(user != Some(ROOT)),
        ..SecurityContext::default()
    };
    if let Some(given) = given {
        context.merge_from(given.clone());
    }
    Some(context)
}

fn is_privileged(context: &SecurityContext) -> bool {
    let added = context.capabilities.as_ref().and_then(|it| it.add.as_ref());
    context.privileged == Some(true)
        || added.is_some_and(|it| it.iter().any(|it| ["CAP_SYS_ADMIN", "SYS_ADMIN"].contains(&it.as_str())))
}

fn drain_command(drain: Drain, pod: &PodParameters) -> Vec<String> {
    let max = (pod.termination_grace_period_seconds - END_SECONDS).max(drain.min_seconds);
    [
        &format!("{RUN_DIRECTORY}/{}", drain::BINARY),
        "proxy",
        "drain",
        "--min-seconds",
        &drain.min_seconds.to_string(),
        "--max-seconds",
        &max.to_string(),
        "--idle-signal",
        &format!("{RUN_DIRECTORY}/{IDLE_SIGNAL_FILE}"),
        // What a preStop hook prints goes nowhere; this is the log of the container.
        "--log-file",
        "/proc/1/fd/2",
    ]
    .map(str::to_owned)
    .into()
}

fn ready(period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/ready".to_owned()),
            port: IntOrString::Int(i32::from(PROBE_PORT)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(1),
        ..Probe::default()
    }
}

/// Ready means: has its first configuration. Asked often, so that a new proxy serves soon. One that has none after ten minutes
/// is started again, in case it was its own fault.
fn startup_probe() -> Probe {
    ready(1, 600)
}

fn readiness_probe() -> Probe {
    ready(5, 3)
}
