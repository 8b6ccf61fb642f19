//! XBackend: a backend outside of Services (experimental).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BackendTlsPolicyValidation, PolicyStatus, SecretObjectReference, SessionPersistence};

api_kind! {
    /// A backend: an external host name, or the endpoints that a selector chooses.
    pub struct XBackend { spec: XBackendSpec, status: PolicyStatus }
    group: super::GATEWAY_X_GROUP, version: "v1alpha1", served_versions: ["v1alpha1"],
    kind: "XBackend", plural: "xbackends", scope: Namespace
}

/// Desired state of an XBackend: `type` says which one of `externalHostname` and `endpointSelector` counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendSpec {
    /// Type of the backend.
    #[serde(rename = "type")]
    pub type_: XBackendType,
    /// Settings for the type `ExternalHostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_hostname: Option<ExternalHostnameBackend>,
    /// Settings for the type `EndpointSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_selector: Option<EndpointSelectorBackend>,
    /// Port of the backend.
    pub port: XBackendPort,
    /// Protocol of the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<XBackendProtocol>,
    /// TLS to the backend; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<XBackendTls>,
    /// Whether a session stays with its endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

open_enum! {
    /// Type of a backend.
    pub enum XBackendType {
        /// A DNS name outside of the cluster.
        ExternalHostname,
        /// Pods that a selector chooses.
        EndpointSelector,
    }
}

open_enum! {
    /// Protocol of a backend.
    pub enum XBackendProtocol {
        /// TCP.
        Tcp = "TCP",
        /// HTTP of any version.
        Http = "HTTP",
        /// HTTP/2 over TLS.
        Http2 = "HTTP2",
        /// HTTP/1.1.
        Http11 = "HTTP11",
        /// HTTP/2 without TLS.
        H2c = "H2C",
        /// Model Context Protocol.
        Mcp = "MCP",
        /// gRPC.
        Grpc = "GRPC",
        /// WebSocket over TLS.
        Wss = "WSS",
    }
}

/// A backend outside of the cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalHostnameBackend {
    /// DNS name.
    pub hostname: String,
}

/// A backend of pods.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSelectorBackend {
    /// Labels that the pods have.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// Port of a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendPort {
    /// Number of the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
}

/// TLS to a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTls {
    /// Who shows a certificate.
    pub mode: XBackendTlsMode,
    /// How the backend is validated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<BackendTlsPolicyValidation>,
    /// Certificate with which the Gateway identifies itself, for the mode `ClientAndServer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}

open_enum! {
    /// Who shows a certificate when the Gateway connects to a backend.
    pub enum XBackendTlsMode, default None {
        /// No TLS.
        None,
        /// The backend.
        ServerOnly,
        /// The backend and the Gateway.
        ClientAndServer,
    }
}
