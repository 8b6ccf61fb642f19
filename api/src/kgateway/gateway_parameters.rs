//! GatewayParameters: how the proxies of a Gateway are deployed.

mod autoscaling;
mod container;
mod not_carried_out;
mod pod;
mod service;

use k8s_openapi::api::apps::v1::DeploymentStrategy;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::autoscaling::*;
pub use self::container::*;
pub use self::not_carried_out::*;
pub use self::pod::*;
pub use self::service::*;
use super::ObjectStatus;
use super::schema::{any_object, exactly_one, fixed_or_autoscaled};

/// Desired state of a GatewayParameters.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    namespaced
)]
#[kube(doc = "How the proxies of a Gateway are deployed. GatewayClasses and Gateways refer to it.")]
#[kube(status = "ObjectStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "gwp", category = "postern", category = "kgateway")]
#[kube(printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.kube.deployment.replicas"))]
#[kube(printcolumn(
    name = "Accepted",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(&[("kube", ""), ("selfManaged", "")]))]
pub struct GatewayParametersSpec {
    /// Deployment in Kubernetes by Postern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube: Option<KubernetesParameters>,
    /// The user runs the proxies: the Gateway gets a ConfigMap with their bootstrap and a ServiceAccount. It has no
    /// fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub self_managed: Option<Map<String, Value>>,
}

/// Deployment in Kubernetes.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = fixed_or_autoscaled())]
pub struct KubernetesParameters {
    /// The Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentParameters>,
    /// The pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplateParameters>,
    /// The container of Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy_container: Option<ContainerParameters>,
    /// The Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceParameters>,
    /// The ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountParameters>,
    /// What the metrics port serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<StatsParameters>,
    /// Whether the platform chooses the user id, as OpenShift does: no runAsUser by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating_user_id: Option<bool>,
    /// Whether pods and containers have no security context but the one given here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omit_default_security_context: Option<bool>,
    /// A HorizontalPodAutoscaler for the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizontal_pod_autoscaler: Option<HorizontalPodAutoscalerParameters>,
    /// A PodDisruptionBudget for the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<PodDisruptionBudgetParameters>,
    /// Not carried out: the proxies get their certificates over xDS and need no container for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sds_container: Option<SdsContainerParameters>,
    /// Not carried out: the integration of Istio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio: Option<IstioParameters>,
    /// Not carried out: the extension for AI providers of kgateway v2.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ai_extension: Option<AiExtensionParameters>,
    /// Not carried out: agentgateway in place of Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agentgateway: Option<AgentgatewayParameters>,
}

/// The Deployment of the proxies.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentParameters {
    /// Number of proxies. Without it the Deployment starts with 1, and whoever scales it is not fought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// How pods are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<DeploymentStrategy>,
}
