//! Gateway: listeners, their TLS and the routes they allow.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

use super::{
    Condition, GatewayDefaultScope, HttpRouteFilter, LocalObjectReference, ObjectReference,
    SecretObjectReference,
};

api_kind! {
    /// A request for proxies that listen on the given addresses and ports.
    pub struct Gateway { spec: GatewaySpec, status: GatewayStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1", "v1beta1"],
    kind: "Gateway", plural: "gateways", scope: Namespace
}

/// Desired state of a Gateway.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Name of the GatewayClass.
    pub gateway_class_name: String,
    /// Listeners, 1 to 64, with distinct names.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Requested addresses, at most 16; empty means that the controller chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewaySpecAddress>,
    /// What the generated objects carry, and their parameters (GEP-1867).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<GatewayInfrastructure>,
    /// Which ListenerSets may attach (GEP-1713); absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<AllowedListeners>,
    /// TLS to clients and backends (GEP-91, GEP-3155).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTlsConfig>,
    /// Whether this is a default Gateway (GEP-3793, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<GatewayDefaultScope>,
}

/// A requested address.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpecAddress {
    /// Type of the address; absent means `IPAddress`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<AddressType>,
    /// The address; absent means that the controller chooses one of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// From where the address must be reachable (GEP-1651, experimental); absent means the default of the
    /// controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routability: Option<String>,
}

/// An address that a Gateway has.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatusAddress {
    /// Type of the address; absent means `IPAddress`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<AddressType>,
    /// The address.
    pub value: String,
    /// From where the address is reachable (GEP-1651, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routability: Option<String>,
}

open_enum! {
    /// Type of an address. Others are written with a domain, `example.com/Type`.
    pub enum AddressType, default IPAddress {
        /// IPv4 or IPv6 address.
        IPAddress,
        /// DNS name.
        Hostname,
        /// Name that the controller knows.
        NamedAddress,
    }
}

open_enum! {
    /// Protocol of a listener. Others are written with a domain, `example.com/protocol`.
    pub enum ProtocolType {
        /// HTTP without TLS; HTTP/2 without TLS is possible too.
        Http = "HTTP",
        /// HTTP over TLS.
        Https = "HTTPS",
        /// TLS, routed by server name.
        Tls = "TLS",
        /// TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
    }
}

/// A listener of a Gateway or of a ListenerSet.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Name, distinct within the Gateway or ListenerSet.
    pub name: String,
    /// Host name, exact or `*.` wildcard; absent means any. Not for TCP and UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: ProtocolType,
    /// TLS; required for HTTPS and TLS, not for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTlsConfig>,
    /// Which routes may attach; absent means those of the same namespace, of the kinds of the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,
    /// Filters for all requests of the listener (experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<ListenerFilters>,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTlsConfig {
    /// Whether TLS ends here; absent means `Terminate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
    /// Certificates with their keys, at most 64; the first is the default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_refs: Vec<SecretObjectReference>,
    /// Options of the implementation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

open_enum! {
    /// Whether TLS ends at the Gateway.
    pub enum TlsMode, default Terminate {
        /// TLS ends at the Gateway.
        Terminate,
        /// TLS ends at the backend; the Gateway reads the server name only.
        Passthrough,
    }
}

/// Filters of a listener, run before those of its routes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerFilters {
    /// Filters for requests; only the types `ExternalAuth` and `ExtensionRef`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<HttpRouteFilter>,
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// From which namespaces; absent means the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RouteNamespaces>,
    /// Of which kinds; empty means those of the protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces from which routes may attach.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteNamespaces {
    /// Which namespaces; absent means `Same`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels that a namespace must have, when `from` is `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which ListenerSets may attach to a Gateway.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedListeners {
    /// From which namespaces; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<ListenerNamespaces>,
}

/// Namespaces from which ListenerSets may attach.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerNamespaces {
    /// Which namespaces; absent means `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels that a namespace must have, when `from` is `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

open_enum! {
    /// Which namespaces are meant. The default differs by place, so there is none here.
    pub enum FromNamespaces {
        /// All.
        All,
        /// Those with the labels of the selector.
        Selector,
        /// That of the Gateway or ListenerSet.
        Same,
        /// None; for ListenerSets only.
        None,
    }
}

/// Kind of a route.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteGroupKind {
    /// API group; absent means `gateway.networking.k8s.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind.
    pub kind: String,
}

impl RouteGroupKind {
    /// The API group, with the default applied.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(super::GATEWAY_GROUP)
    }
}

/// What the objects generated for a Gateway carry.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayInfrastructure {
    /// Labels, at most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, at most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Parameters of this Gateway; they win over those of its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<LocalObjectReference>,
}

/// TLS of a Gateway to clients and backends.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayTlsConfig {
    /// TLS to backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<GatewayBackendTls>,
    /// TLS to clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTlsConfig>,
}

/// TLS of a Gateway to backends.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendTls {
    /// Certificate with which the Gateway identifies itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}

/// TLS of a Gateway to clients.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTlsConfig {
    /// For all HTTPS listeners without an entry in `per_port`.
    pub default: FrontendTlsSettings,
    /// For all HTTPS listeners of one port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_port: Vec<FrontendTlsPort>,
}

/// TLS to clients at one port.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTlsPort {
    /// The port.
    pub port: u16,
    /// The settings at that port.
    pub tls: FrontendTlsSettings,
}

/// TLS to clients.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTlsSettings {
    /// How clients are validated; absent means not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<FrontendTlsValidation>,
}

/// How client certificates are validated.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTlsValidation {
    /// Certificates of the accepted authorities, usually in ConfigMaps (key `ca.crt`), 1 to 8.
    #[serde(default)]
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// What happens to clients without a valid certificate; absent means `AllowValidOnly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FrontendValidationMode>,
}

open_enum! {
    /// What happens to clients without a valid certificate.
    pub enum FrontendValidationMode, default AllowValidOnly {
        /// They are refused.
        AllowValidOnly,
        /// They are accepted.
        AllowInsecureFallback,
    }
}

/// What the controller says about a Gateway.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Addresses that the Gateway has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayStatusAddress>,
    /// State of the Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// State of each listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// Number of accepted ListenerSets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<u32>,
}

/// What the controller says about a listener of a Gateway or of a ListenerSet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name of the listener.
    pub name: String,
    /// Kinds of routes that may attach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_kinds: Vec<RouteGroupKind>,
    /// Number of routes attached.
    pub attached_routes: u32,
    /// State of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
