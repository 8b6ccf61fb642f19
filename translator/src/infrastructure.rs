//! What has to exist in a cluster for the proxies of a Gateway.
//!
//! [`Infrastructure`] is the model between the objects that a user writes (Gateway, GatewayClass, GatewayParameters)
//! and the objects that a provisioner applies (Deployment, Service, …). Every value in it has been validated; what is
//! not given is `None` or empty, and the provisioner's default holds.

mod address;
mod build;
mod check;
mod image;
mod merge;
mod metadata;
mod name;
mod not_carried_out;
mod parameters;
pub(crate) mod quantity;
mod resolve;
mod routability;
mod translate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Serialize, Serializer};

pub use self::image::Image;
pub use self::name::{infrastructure_name, label_value};
pub use self::parameters::{
    Autoscaler, DisruptionBudget, Disruptions, Drain, EnvoyParameters, KubernetesParameters,
    ObjectParameters, PodParameters, Replicas, ServiceParameters, ServiceType, Stats,
};
pub(crate) use self::resolve::{of_class, of_gateway, status};
pub(crate) use self::routability::Routability;
pub(crate) use self::translate::translate;
use crate::object::NamespacedName;

/// Everything that has to exist in the cluster for the proxies of one Gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Infrastructure {
    /// The Gateway; all objects live in its namespace.
    #[serde(serialize_with = "as_text")]
    pub gateway: NamespacedName,
    /// `metadata.uid` of the Gateway, for the owner references; empty if it has none (a file).
    pub uid: String,
    /// Name of its GatewayClass; not always a valid label value, see [`label_value`].
    pub class: String,
    /// Name of every generated object: [`infrastructure_name`] of the Gateway.
    pub name: String,
    /// Labels of every generated object and of the pods (`spec.infrastructure.labels`, GEP-1762, GEP-1867). None of them
    /// is one that Postern sets itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of every generated object and of the pods (`spec.infrastructure.annotations`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Ports of the listeners that are served. Empty while none is: a Service needs at least one port.
    pub ports: BTreeSet<Port>,
    /// Addresses that the Gateway asks for (`spec.addresses`), in order; empty means any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<RequestedAddress>,
    /// The cluster IP that the Gateway asks for (`routability: Cluster`, GEP-5093).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<IpAddr>,
    /// No address that it asks for may be one from outside of the cluster, so the Service must not be reachable from there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// How the proxies are deployed.
    pub parameters: ProxyParameters,
}

/// A port of the proxies and of their Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// The number, 1 to 65535: that of the listener, of the Service and of the socket in the pod.
    pub port: u16,
    /// The transport protocol.
    pub protocol: PortProtocol,
}

impl Port {
    /// A TCP port.
    pub const fn tcp(port: u16) -> Self {
        Self { port, protocol: PortProtocol::Tcp }
    }

    /// A UDP port.
    pub const fn udp(port: u16) -> Self {
        Self { port, protocol: PortProtocol::Udp }
    }
}

/// Transport protocol of a [`Port`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl PortProtocol {
    /// The protocol as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// An address that a Gateway asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RequestedAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name, in lower case.
    Hostname(String),
}

/// How the proxies of a Gateway are deployed: the GatewayParameters of its class, and over them its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProxyParameters {
    /// As a Deployment with a Service.
    Kubernetes(Box<KubernetesParameters>),
    /// By the user: the Gateway gets a ConfigMap with the bootstrap, a ServiceAccount to authenticate with, and xDS.
    SelfManaged,
    /// Nobody knows: the parameters are missing or not valid, which the conditions of the Gateway say. What runs stays
    /// as it is; nothing is created and nothing deleted until they are mended.
    Invalid,
}

fn as_text<S: Serializer>(name: &NamespacedName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}
