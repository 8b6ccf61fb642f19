//! The part of Backend about servers of the Model Context Protocol.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{exactly_one, names_are_unique};

const TARGET: &[(&str, &str)] = &[("selector", ""), ("static", "")];

/// Servers of the Model Context Protocol.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = names_are_unique("targets"))]
pub struct McpBackend {
    /// The servers, each by a name of its own.
    #[schemars(length(min = 1, max = 32))]
    pub targets: Vec<McpTarget>,
}

/// One server, or several by labels.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(TARGET))]
pub struct McpTarget {
    /// Name of the target.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Services with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<McpSelector>,
    /// A server by its host.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub static_: Option<McpStaticTarget>,
}

/// Services by their labels and those of their namespace.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct McpSelector {
    /// Labels of the namespaces. Defaults to the namespace of the Backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<LabelSelector>,
    /// Labels of the Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<LabelSelector>,
}

/// A server by its host.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct McpStaticTarget {
    /// DNS name or IP address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Path of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub path: Option<String>,
    /// Transport of the protocol. Defaults to StreamableHTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<McpProtocol>,
}

open_enum! {
    /// Transport of the Model Context Protocol.
    pub enum McpProtocol, default StreamableHttp {
        /// Streamable HTTP.
        StreamableHttp = "StreamableHTTP",
        /// Server-sent events.
        Sse = "SSE",
    }
}
