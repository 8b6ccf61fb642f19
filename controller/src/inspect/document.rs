//! The documents, as JSON has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `/debug/replica`: one replica of the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// The name of the pod.
    pub identity: String,
    /// The version of Postern.
    pub version: String,
    /// Whether it writes statuses and infrastructure.
    pub leader: bool,
    /// Whether its watches have synced and its snapshots are published.
    pub synced: bool,
}

/// `/debug/gateways`: every Gateway that is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateways {
    /// By `namespace/name`.
    pub gateways: BTreeMap<String, Gateway>,
}

/// One Gateway, as this replica serves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// A digest of all resources; absent while nothing is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The Envoy listeners.
    pub listeners: Vec<Listener>,
    /// Versions by type (`CDS`, `LDS`, …) and name.
    pub resources: BTreeMap<String, BTreeMap<String, String>>,
    /// The proxies that are connected to this replica.
    pub proxies: Vec<Proxy>,
}

/// An Envoy listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// The version that proxies should have.
    pub version: String,
    /// How many of the connected proxies acknowledged that version.
    pub acknowledged: usize,
}

/// A connected proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// The stream, unique in the replica.
    pub stream: u64,
    /// Its address; absent on a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Whether it acknowledged everything that it was sent, and nothing is left to send.
    pub in_sync: bool,
    /// Payload bytes sent so far.
    pub bytes_sent: u64,
    /// How many resources it has in the version that it should have, by type.
    pub acknowledged: BTreeMap<String, usize>,
    /// Resources that it has not, or not in the version that it should have: names by type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pending: BTreeMap<String, Vec<String>>,
    /// What it rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<Rejection>,
}

/// A resource that a proxy rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The type, such as `LDS`.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// The name.
    pub name: String,
    /// Envoy's words.
    pub error: String,
}

/// `/debug/gateways/{namespace}/{name}/config`: everything that the proxies of a Gateway should have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// A digest of all of it.
    pub digest: String,
    /// Resources by type (`CDS`, `LDS`, …) and name.
    pub resources: BTreeMap<String, BTreeMap<String, Resource>>,
}

/// A resource and its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The version.
    pub version: String,
    /// The message as proto JSON, without secret values.
    pub content: Value,
}

/// What is answered in place of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What is wrong.
    pub error: String,
}
