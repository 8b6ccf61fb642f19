//! Settings of kgateway v2.1 for parts that Postern does not have. They are read, so that YAML applies unchanged, and
//! reported where they ask for something.

use k8s_openapi::api::core::v1::{Container, ContainerPort, EnvVar, SecurityContext, VolumeMount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema::{any_object, any_objects};
use super::{ImageParameters, ResourceParameters};

/// The container that reads certificates from Istio.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SdsContainerParameters {
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageParameters>,
    /// Security settings of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub security_context: Option<SecurityContext>,
    /// Resource requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceParameters>,
    /// How it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<SdsBootstrapParameters>,
}

/// How the container that reads certificates starts.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SdsBootstrapParameters {
    /// Log level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
}

/// The integration of Istio.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IstioParameters {
    /// The container of Istio's proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio_proxy_container: Option<IstioContainerParameters>,
    /// Containers beside Envoy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub custom_sidecars: Vec<Container>,
}

/// The container of Istio's proxy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IstioContainerParameters {
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageParameters>,
    /// Security settings of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub security_context: Option<SecurityContext>,
    /// Resource requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceParameters>,
    /// Log level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// Address of Istio's control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio_discovery_address: Option<String>,
    /// Id of the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio_meta_mesh_id: Option<String>,
    /// Id of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio_meta_cluster_id: Option<String>,
}

/// The extension for AI providers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiExtensionParameters {
    /// Whether it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageParameters>,
    /// Security settings of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub security_context: Option<SecurityContext>,
    /// Resource requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceParameters>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub env: Vec<EnvVar>,
    /// Ports of the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub ports: Vec<ContainerPort>,
    /// Its metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<AiExtensionStats>,
    /// Its traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<AiExtensionTracing>,
}

/// Metrics of the extension for AI providers.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiExtensionStats {
    /// Labels from the metadata of requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub custom_labels: Vec<AiExtensionLabel>,
}

/// A label of metrics from the metadata of requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiExtensionLabel {
    /// Name of the label.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Namespace of the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_namespace: Option<String>,
    /// Key in the namespace.
    #[schemars(length(min = 1))]
    pub metadata_key: String,
    /// What separates the parts of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_delimiter: Option<String>,
}

/// Traces of the extension for AI providers.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiExtensionTracing {
    /// Where they go.
    #[schemars(length(min = 1))]
    pub endpoint: String,
    /// Which requests are traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<AiExtensionSampler>,
    /// How long sending may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Protocol: grpc, http/protobuf or http/json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// Which requests are traced.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiExtensionSampler {
    /// Kind of sampler.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Its ratio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg: Option<String>,
}

/// Agentgateway in place of Envoy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentgatewayParameters {
    /// Whether it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Log level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageParameters>,
    /// Security settings of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub security_context: Option<SecurityContext>,
    /// Resource requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceParameters>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub env: Vec<EnvVar>,
    /// Name of a ConfigMap with its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_config_map_name: Option<String>,
    /// Mounts of the extra volumes of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub extra_volume_mounts: Vec<VolumeMount>,
}
