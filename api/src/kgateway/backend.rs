//! Backend: a backend outside of Services.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{exactly_one, type_of_field};
use super::{AiProvider, ObjectStatus};

const TYPES: &[(&str, &str)] = &[("static", "Static"), ("aws", "AWS"), ("ai", "AI")];

/// Desired state of a Backend.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "Backend",
    plural = "backends",
    namespaced
)]
#[kube(
    doc = "A backend outside of Services, to which routes can refer: fixed hosts, an AWS Lambda function, or a provider of large language models."
)]
#[kube(status = "ObjectStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "be", category = "postern", category = "kgateway")]
#[kube(printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"))]
#[kube(printcolumn(
    name = "Accepted",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(TYPES))]
#[x_kube(validation = type_of_field(TYPES))]
pub struct BackendSpec {
    /// Type of the backend. Defaults to that of the one field among static, aws and ai that is given.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<BackendType>,
    /// Fixed hosts.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub static_: Option<StaticBackend>,
    /// An AWS Lambda function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsBackend>,
    /// A provider of large language models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ai: Option<AiBackendSettings>,
}

impl BackendSpec {
    /// The type: the one given, else that of the one field among `static`, `aws` and `ai` that is given.
    pub fn backend_type(&self) -> Option<BackendType> {
        self.type_.clone().or(match (&self.static_, &self.aws, &self.ai) {
            (Some(_), None, None) => Some(BackendType::Static),
            (None, Some(_), None) => Some(BackendType::Aws),
            (None, None, Some(_)) => Some(BackendType::Ai),
            _ => None,
        })
    }
}

open_enum! {
    /// Type of a Backend.
    pub enum BackendType {
        /// Fixed hosts.
        Static,
        /// An AWS Lambda function.
        Aws = "AWS",
        /// A provider of large language models.
        Ai = "AI",
    }
}

/// Fixed hosts.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticBackend {
    /// The hosts; requests are spread over all of them.
    #[schemars(length(min = 1, max = 256))]
    pub hosts: Vec<StaticHost>,
    /// Protocol of the hosts (kgateway v2.1). Defaults to HTTP/1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,
}

/// A fixed host.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticHost {
    /// DNS name or IP address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Connects with TLS, verifying the host by the authorities of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<StaticHostTls>,
}

/// TLS to a fixed host.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticHostTls {
    /// Server name that is sent and verified. Defaults to the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub sni: Option<String>,
}

open_enum! {
    /// Protocol of a backend (KEP-3726).
    pub enum AppProtocol {
        /// HTTP/2.
        Http2 = "http2",
        /// gRPC.
        Grpc = "grpc",
        /// gRPC-Web.
        GrpcWeb = "grpc-web",
        /// HTTP/2 without TLS.
        KubernetesH2c = "kubernetes.io/h2c",
        /// WebSocket.
        KubernetesWs = "kubernetes.io/ws",
    }
}

/// An AWS Lambda function.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsBackend {
    /// AWS region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub region: Option<String>,
    /// Name of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub lambda_function_name: Option<String>,
    /// Id of the AWS account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub account_id: Option<String>,
    /// ARN of the IAM role to assume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub role_arn: Option<String>,
}

/// A provider of large language models.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiBackendSettings {
    /// The provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<AiProvider>,
}
