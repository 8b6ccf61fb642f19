//! Postern's translator: Gateway API and extension resources in, Envoy resources and statuses out.
//!
//! Pure and synchronous: no sockets, no files, no clock, no environment. The same [`Translator`] serves the
//! controller in a cluster, the local mode, the command line, the tests and the benchmarks.
//!
//! # Errors never spread
//!
//! Rejecting a configuration can take a site down, so each thing fails alone and visibly:
//!
//! - a backendRef that does not resolve answers 500 for its share of the requests;
//! - a rule with a filter that cannot be carried out answers 500, and never falls through to a less specific rule;
//! - a match that cannot be read matches nothing;
//! - a policy that is not valid is not applied, unless it protects something: then its routes answer 500;
//! - a listener without a usable certificate is not served, the other listeners are;
//! - a panic in one unit of translation is caught; the unit keeps its last good output.
//!
//! Every one of them becomes a condition on the object and a [`Problem`] that names field and remedy.

mod backend;
mod canonical;
mod cel;
mod dependency;
pub mod descriptor;
mod envoy;
mod extension;
mod external_auth;
pub mod features;
mod gateway;
mod gateway_extension;
mod grants;
pub mod hostname;
pub mod infrastructure;
mod listener_policy;
mod object;
mod observation;
mod policy;
mod problem;
mod resource;
mod route;
mod selector;
mod session;
mod status;
mod store;
mod telemetry;
mod tls;
mod transformation;
mod translator;
mod unsupported;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

pub use self::infrastructure::{Infrastructure, infrastructure_name};
pub use self::object::{Kind, NamespacedName, Object, ObjectKey, Read, ReadError, Stored, UnknownField};
pub use self::observation::{ProxyReport, Rejection};
pub use self::problem::{Problem, Severity};
pub use self::resource::{Resource, ResourceChange, ResourceType};
pub use self::status::{Conditions, ROUTE_PROGRAMMED, Status};
pub use self::store::Change;
pub use self::translator::{GatewayUpdate, ServingListener, Translator, Update};

/// The controller name of the shipped GatewayClass.
pub const CONTROLLER_NAME: &str = "postern.dev/gateway-controller";

/// What the translator has to know of its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// GatewayClasses with this `controllerName` are ours.
    pub controller_name: String,
    /// The address that listeners bind to.
    pub listen_address: IpAddr,
    /// Bind to the IP addresses in `Gateway.spec.addresses` instead, where there are any (local mode). In a cluster
    /// those are addresses of the Service, not of the proxy.
    pub bind_gateway_addresses: bool,
    /// The file, as Envoy sees it, with the certificate authorities that the system trusts.
    pub system_ca_file: String,
    /// A listener is programmed only when a proxy has acknowledged it, see [`Translator::observe`]; without this, as
    /// soon as it is translated.
    pub await_proxies: bool,
    /// Proxies are deployed in the cluster: a Gateway has the addresses of its Service.
    pub provision: bool,
    /// Ports that every proxy needs for itself. Listeners on them are not accepted (`PortUnavailable`).
    pub reserved_ports: BTreeSet<u16>,
    /// The version of the Gateway API in the cluster, as the annotation `gateway.networking.k8s.io/bundle-version` of its
    /// CRDs says it (`v1.7.0`); `None` where there are no CRDs.
    pub bundle_version: Option<String>,
    /// The CRDs are those of the experimental channel: a status may have its fields.
    pub experimental: bool,
    /// Addresses to which Backends of type DynamicForwardProxy send nothing, besides those that no client may reach anyway
    /// (`docs/backends.md`).
    pub forward_proxy_denied: Vec<IpNet>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller_name: CONTROLLER_NAME.to_owned(),
            listen_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            bind_gateway_addresses: false,
            system_ca_file: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
            await_proxies: false,
            provision: false,
            reserved_ports: BTreeSet::new(),
            bundle_version: None,
            experimental: false,
            forward_proxy_denied: Vec::new(),
        }
    }
}
