//! AIBackend: providers of large language models, in groups by priority.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::settings_of_type;
use super::{NamespacedReference, ObjectStatus};

/// Desired state of an AIBackend.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "AIBackend",
    plural = "aibackends",
    namespaced
)]
#[kube(root = "AiBackend", status = "ObjectStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "aib", category = "postern", category = "kgateway")]
#[kube(printcolumn(name = "Provider", type_ = "string", json_path = ".spec.provider.type"))]
#[kube(printcolumn(
    name = "Accepted",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.provider) || has(self.groups)").message("give provider or groups"))]
pub struct AiBackendSpec {
    /// The provider of large language models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<AiProvider>,
    /// Groups of providers in order of priority; a group is used when those before it are not available.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub groups: Vec<AiBackendGroup>,
}

/// A provider of large language models.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = settings_of_type(&["openai", "azure", "gemini"]))]
pub struct AiProvider {
    /// Type of the provider.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<AiProviderType>,
    /// Settings for OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAiProvider>,
    /// Settings for Azure OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureProvider>,
    /// Settings for Gemini.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemini: Option<GeminiProvider>,
}

open_enum! {
    /// Type of a provider of large language models.
    pub enum AiProviderType {
        /// OpenAI.
        OpenAi = "openai",
        /// Azure OpenAI.
        Azure = "azure",
        /// Google Gemini.
        Gemini = "gemini",
        /// Mistral.
        Mistral = "mistral",
    }
}

/// OpenAI.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAiProvider {
    /// Name of the model; overrides that of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
    /// Key for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<AuthToken>,
}

/// Azure OpenAI.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AzureProvider {
    /// Host name of the endpoint, as in my-resource.openai.azure.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub endpoint: Option<String>,
    /// Name of the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub deployment_name: Option<String>,
    /// Version of the provider's API, as in 2024-02-01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub api_version: Option<String>,
    /// Key for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<AuthToken>,
}

/// Google Gemini.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GeminiProvider {
    /// Name of the model; overrides that of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
    /// Key for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<AuthToken>,
}

/// Key for a provider.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthToken {
    /// Secret whose key Authorization holds the key for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<NamespacedReference>,
}

/// Backends of one priority.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiBackendGroup {
    /// Priority of the group; lower is preferred. Defaults to the place in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The backends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub backends: Vec<AiBackendRef>,
}

/// A backend with its share of the traffic of its group.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiBackendRef {
    /// The Backend or AIBackend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<NamespacedReference>,
    /// Share of the traffic relative to the sum of all weights of the group. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<u32>,
}
