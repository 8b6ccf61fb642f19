//! How proxies are deployed in Kubernetes, merged and validated. Reference: `docs/reference/gateway-parameters.md`.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DeploymentStrategy;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec};
use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, PodSecurityContext, Probe, ResourceRequirements, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;

use super::Image;

/// `spec.kube` of GatewayParameters. The default is what a Gateway without parameters gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesParameters {
    /// How many proxies there are.
    pub replicas: Replicas,
    /// How the Deployment replaces its pods (`deployment.strategy`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<DeploymentStrategy>,
    /// The pods.
    pub pod: PodParameters,
    /// The container of Envoy.
    pub envoy: EnvoyParameters,
    /// The Service.
    pub service: ServiceParameters,
    /// The ServiceAccount.
    pub service_account: ObjectParameters,
    /// What the metrics port serves; `None` means nothing but readiness.
    pub stats: Option<Stats>,
    /// Let the platform choose the user id (OpenShift): no `runAsUser`, `runAsGroup` or `fsGroup` by default.
    pub floating_user_id: bool,
    /// Set no security context by default; only those given here.
    pub omit_default_security_context: bool,
    /// The PodDisruptionBudget; `None` means that there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
}

impl Default for KubernetesParameters {
    fn default() -> Self {
        Self {
            replicas: Replicas::default(),
            strategy: None,
            pod: PodParameters::default(),
            envoy: EnvoyParameters::default(),
            service: ServiceParameters::default(),
            service_account: ObjectParameters::default(),
            stats: Some(Stats::default()),
            floating_user_id: false,
            omit_default_security_context: false,
            disruption_budget: None,
        }
    }
}

/// Labels and annotations of one generated object, besides those of [`Infrastructure`](super::Infrastructure), with
/// which they share no key. Labels of Postern's own are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectParameters {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Who says how many proxies there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Replicas {
    /// Nobody: `replicas` of the Deployment is left out, so that it starts with 1 and whoever sets it (`kubectl scale`,
    /// a HorizontalPodAutoscaler of the user's) is not fought.
    #[default]
    Unmanaged,
    /// The parameters (`deployment.replicas`), 0 or more.
    Fixed(i32),
    /// A HorizontalPodAutoscaler that Postern makes. `replicas` of the Deployment is left out. (A field that a field
    /// manager stops applying falls back to its default: whoever goes over from [`Fixed`](Self::Fixed) must hand the
    /// field over first, or the Deployment shrinks to 1.)
    Automatic(Box<Autoscaler>),
}

/// The HorizontalPodAutoscaler (`horizontalPodAutoscaler`), `autoscaling/v2`; its target is the Deployment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaler {
    /// Its labels and annotations.
    #[serde(flatten)]
    pub object: ObjectParameters,
    /// At least so many proxies, 1 or more; `None` means Kubernetes' default, 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// At most so many proxies, not less than the minimum.
    pub max_replicas: i32,
    /// What is measured; at least one.
    pub metrics: Vec<MetricSpec>,
    /// How fast it scales.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

/// The PodDisruptionBudget (`podDisruptionBudget`), `policy/v1`; its selector is that of the Deployment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionBudget {
    /// Its labels and annotations.
    #[serde(flatten)]
    pub object: ObjectParameters,
    /// What evictions must leave.
    #[serde(flatten)]
    pub disruptions: Disruptions,
    /// `IfHealthyBudget` or `AlwaysAllow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_pod_eviction_policy: Option<String>,
}

/// How many pods evictions must leave, or may take; a number or a percentage.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Disruptions {
    /// So many must stay.
    MinAvailable(IntOrString),
    /// So many may go.
    MaxUnavailable(IntOrString),
}

/// The pods (`podTemplate`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodParameters {
    /// Labels and annotations (`extraLabels`, `extraAnnotations`).
    #[serde(flatten)]
    pub object: ObjectParameters,
    /// `nodeSelector`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// `affinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// `topologySpreadConstraints`. One without a `labelSelector` means the pods of the Gateway.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// `securityContext`, to be laid over Postern's default field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// Names of Secrets with credentials for registries (`imagePullSecrets`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Volumes besides those that Postern needs, whose names they do not have (`extraVolumes`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Replaces Postern's startup probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// Replaces Postern's readiness probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// Replaces Postern's liveness probe (there is none by default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// What happens before a proxy is stopped; `None` means that it is stopped at once.
    pub drain: Option<Drain>,
    /// Seconds from the start of the drain until the proxy is killed (`terminationGracePeriodSeconds`), more than
    /// `drain.min_seconds`.
    pub termination_grace_period_seconds: i64,
}

/// Seconds until a proxy that does not end by itself is killed.
pub(super) const TERMINATION_GRACE_PERIOD_SECONDS: i64 = 60;

impl Default for PodParameters {
    fn default() -> Self {
        Self {
            object: ObjectParameters::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            security_context: None,
            image_pull_secrets: Vec::new(),
            volumes: Vec::new(),
            startup_probe: None,
            readiness_probe: None,
            liveness_probe: None,
            drain: Some(Drain::default()),
            termination_grace_period_seconds: TERMINATION_GRACE_PERIOD_SECONDS,
        }
    }
}

/// How a proxy ends without failing a request (`gracefulShutdown`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Seconds for which a proxy that reports itself as failing goes on to accept connections, so that load balancers
    /// notice (`sleepTimeSeconds`).
    pub min_seconds: i64,
}

impl Default for Drain {
    fn default() -> Self {
        Self { min_seconds: 10 }
    }
}

/// The container of Envoy (`envoyContainer`).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyParameters {
    /// The parts of the image that differ from the default.
    pub image: Image,
    /// `Always`, `IfNotPresent` or `Never` (`image.pullPolicy`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Envoy's `--log-level` (`bootstrap.logLevel`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// Envoy's `--component-log-level`: levels by component (`bootstrap.componentLogLevels`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub component_log_levels: BTreeMap<String, String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// To be laid over Postern's default field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Requests and limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Mounts of volumes besides those that Postern needs (`extraVolumeMounts`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
}

/// The Service (`service`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceParameters {
    /// Labels and annotations (`extraLabels`, `extraAnnotations`).
    #[serde(flatten)]
    pub object: ObjectParameters,
    /// The type.
    #[serde(rename = "type")]
    pub type_: ServiceType,
    /// An IP address, or `None` in words (a headless Service).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<String>,
    /// Node ports by port; ports without a listener are no error, they wait for one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_ports: BTreeMap<u16, u16>,
    /// `Cluster` or `Local`. Only for the types NodePort and LoadBalancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<String>,
}

/// Type of the Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ServiceType {
    /// Reachable inside of the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Reachable at a port of every node.
    NodePort,
    /// Reachable at an address of a load balancer.
    #[default]
    LoadBalancer,
}

impl ServiceType {
    /// The type as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// What the metrics port serves besides `/ready` and `/stats/prometheus` (`stats`). Each is a path of Envoy's admin
/// interface below `/stats`, perhaps with a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// What `/metrics` answers (`routePrefixRewrite`).
    pub metrics: String,
    /// What `/stats` answers (`statsRoutePrefixRewrite`); `None` means that there is no such route
    /// (`enableStatsRoute: false`).
    pub stats: Option<String>,
}

impl Default for Stats {
    fn default() -> Self {
        Self { metrics: "/stats/prometheus".to_owned(), stats: None }
    }
}
