//! The part of Backend about providers of large language models.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{both_or_neither, exactly_one, names_are_unique};
use super::{AiProvider, AwsAuth, LocalReference};

const FORMS: &[(&str, &str)] = &[("provider", ""), ("llm", ""), ("priorityGroups", "")];

const PROVIDERS: &[(&str, &str)] = &[
    ("openai", ""),
    ("azureopenai", ""),
    ("anthropic", ""),
    ("gemini", ""),
    ("vertexai", ""),
    ("bedrock", ""),
];

/// A provider of large language models, or several by priority.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(FORMS))]
pub struct AiBackendSettings {
    /// The provider. In kgateway v2.1 this field is called llm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<AiProvider>,
    /// The provider, as in kgateway v2.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmProvider>,
    /// Groups of providers, the preferred one first; a group is used when those before it are not available (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub priority_groups: Vec<LlmPriorityGroup>,
}

/// A provider of large language models.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(PROVIDERS))]
#[x_kube(validation = both_or_neither("host", "port"))]
pub struct LlmProvider {
    /// OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAiConfig>,
    /// Azure OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azureopenai: Option<AzureOpenAiConfig>,
    /// Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<AnthropicConfig>,
    /// Google Gemini.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemini: Option<GeminiConfig>,
    /// Google Vertex AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertexai: Option<VertexAiConfig>,
    /// Amazon Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<BedrockConfig>,
    /// Host, where it is not that of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// Port of host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Path of requests, where it is not that of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<AiPathOverride>,
    /// Header with the key, where it is not that of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<AiAuthHeader>,
}

/// Providers of one priority.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = names_are_unique("providers"))]
pub struct LlmPriorityGroup {
    /// The providers, each by a name of its own; requests are spread over them.
    #[schemars(length(min = 1, max = 32))]
    pub providers: Vec<NamedLlmProvider>,
}

/// A provider of large language models with a name.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(PROVIDERS))]
#[x_kube(validation = both_or_neither("host", "port"))]
pub struct NamedLlmProvider {
    /// Name of the provider.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAiConfig>,
    /// Azure OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azureopenai: Option<AzureOpenAiConfig>,
    /// Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<AnthropicConfig>,
    /// Google Gemini.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemini: Option<GeminiConfig>,
    /// Google Vertex AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertexai: Option<VertexAiConfig>,
    /// Amazon Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<BedrockConfig>,
    /// Host, where it is not that of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// Port of host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Path of requests, where it is not that of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<AiPathOverride>,
    /// Header with the key, where it is not that of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<AiAuthHeader>,
}

/// Path of requests to a provider.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiPathOverride {
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub full: Option<String>,
}

/// Header with the key for a provider.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct AiAuthHeader {
    /// What stands before the key, such as Bearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub prefix: Option<String>,
    /// Name of the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header_name: Option<String>,
}

/// Key for a provider.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.inline) && has(self.secretRef))").message("give inline or secretRef, not both"))]
pub struct SingleAuthToken {
    /// Where the key comes from.
    pub kind: SingleAuthTokenKind,
    /// The key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub inline: Option<String>,
    /// Secret whose key Authorization holds the key for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
}

open_enum! {
    /// Where the key for a provider comes from.
    pub enum SingleAuthTokenKind {
        /// It is written here.
        Inline,
        /// A Secret has it.
        SecretRef,
        /// The client sends it.
        Passthrough,
    }
}

/// OpenAI.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAiConfig {
    /// Key for the provider.
    pub auth_token: SingleAuthToken,
    /// Name of the model; overrides that of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub model: Option<String>,
}

/// Azure OpenAI.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AzureOpenAiConfig {
    /// Key for the provider.
    pub auth_token: SingleAuthToken,
    /// Host name of the endpoint, as in my-resource.openai.azure.com.
    #[schemars(length(min = 1, max = 253))]
    pub endpoint: String,
    /// Name of the deployment.
    #[schemars(length(min = 1, max = 256))]
    pub deployment_name: String,
    /// Version of the provider's API, as in 2024-02-01.
    #[schemars(length(min = 1, max = 256))]
    pub api_version: String,
}

/// Anthropic.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnthropicConfig {
    /// Key for the provider.
    pub auth_token: SingleAuthToken,
    /// Version of the provider's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub api_version: Option<String>,
    /// Name of the model; overrides that of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub model: Option<String>,
}

/// Google Gemini.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GeminiConfig {
    /// Key for the provider.
    pub auth_token: SingleAuthToken,
    /// Name of the model.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// Version of the provider's API.
    #[schemars(length(min = 1, max = 256))]
    pub api_version: String,
}

/// Google Vertex AI.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VertexAiConfig {
    /// Key for the provider.
    pub auth_token: SingleAuthToken,
    /// Name of the model.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// Version of the provider's API.
    #[schemars(length(min = 1, max = 256))]
    pub api_version: String,
    /// Id of the Google Cloud project.
    #[schemars(length(min = 1, max = 256))]
    pub project_id: String,
    /// Location of the Google Cloud project.
    #[schemars(length(min = 1, max = 256))]
    pub location: String,
    /// Path of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub model_path: Option<String>,
    /// Publisher of the model. Defaults to GOOGLE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<ModelPublisher>,
}

open_enum! {
    /// Publisher of a model.
    pub enum ModelPublisher, default Google {
        /// Google.
        Google = "GOOGLE",
    }
}

/// Amazon Bedrock.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BedrockConfig {
    /// Credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
    /// Name of the model.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// AWS region. Defaults to us-east-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: Option<String>,
    /// Guardrail that requests and answers pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrail: Option<BedrockGuardrail>,
}

/// Guardrail of Amazon Bedrock.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BedrockGuardrail {
    /// Its identifier.
    #[schemars(length(min = 1, max = 256))]
    pub identifier: String,
    /// Its version.
    #[schemars(length(min = 1, max = 256))]
    pub version: String,
}
