//! Backend: a backend outside of Services.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{exactly_one, type_of_field};
use super::{AiBackendSettings, AwsBackend, McpBackend, ObjectStatus};

const TYPES: &[(&str, &str)] = &[
    ("static", "Static"),
    ("aws", "AWS"),
    ("ai", "AI"),
    ("dynamicForwardProxy", "DynamicForwardProxy"),
    ("mcp", "MCP"),
];

/// Desired state of a Backend.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "Backend",
    plural = "backends",
    namespaced
)]
#[kube(
    doc = "A backend outside of Services, to which routes can refer: fixed hosts, an AWS Lambda function, a provider of large language models, servers of the Model Context Protocol, or whatever host a request names."
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
    /// Type of the backend. Defaults to that of the one field among static, aws, ai, dynamicForwardProxy and mcp that is given.
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
    /// Whatever host the request names (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_forward_proxy: Option<DynamicForwardProxyBackend>,
    /// Servers of the Model Context Protocol (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpBackend>,
}

impl BackendSpec {
    /// The type: the one given, else that of the one field that is given.
    pub fn backend_type(&self) -> Option<BackendType> {
        let mut given = [
            (self.static_.is_some(), BackendType::Static),
            (self.aws.is_some(), BackendType::Aws),
            (self.ai.is_some(), BackendType::Ai),
            (self.dynamic_forward_proxy.is_some(), BackendType::DynamicForwardProxy),
            (self.mcp.is_some(), BackendType::Mcp),
        ]
        .into_iter()
        .filter_map(|(given, type_)| given.then_some(type_));
        let only = given.next().filter(|_| given.next().is_none());
        self.type_.clone().or(only)
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
        /// Whatever host the request names.
        DynamicForwardProxy,
        /// Servers of the Model Context Protocol.
        Mcp = "MCP",
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

/// Whatever host the request names. Whoever can send requests chooses where they go.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DynamicForwardProxyBackend {
    /// Whether connections are TLS; the certificate is checked against the host and the authorities of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_tls: Option<bool>,
}
