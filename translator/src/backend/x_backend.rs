//! XBackend (GEP-4894): a host outside of the cluster, or pods, with what belongs to the connections there.

pub(crate) mod pods;
pub(crate) mod status;
pub(crate) mod tls;

use std::collections::BTreeMap;

use postern_api::gateway_api::{
    XBackend, XBackendProtocol, XBackendSpec, XBackendTlsMode, XBackendType, reason,
};

use super::{Traffic, Upstream, external};
use crate::dependency::Reader;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Fault;
use crate::session::{self, Session};

/// A valid XBackend, but for whom its TLS trusts, which [`tls`] finds out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) destination: Destination,
    pub(crate) port: u16,
    protocol: Protocol,
    pub(crate) tls: bool,
    pub(crate) session: Option<Session>,
    /// What Envoy cannot do but can do without.
    pub(crate) unheeded: Option<Fault>,
}

/// Where an XBackend leads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Destination {
    /// The host of this name outside of the cluster.
    Host(String),
    /// Pods of its namespace with these labels.
    Pods(BTreeMap<String, String>),
}

/// What the backend speaks, as far as it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// What the route brings.
    OfRoute,
    /// HTTP/1.1 and nothing else.
    Http1,
    Http2,
    /// Bytes.
    Tcp,
}

/// What an XBackend says, without what its references lead to.
pub(crate) fn parse(backend: &XBackend) -> Result<Parsed, Fault> {
    let spec = &backend.spec;
    let tls = spec.tls.as_ref().map(|tls| &tls.mode).is_some_and(|mode| *mode != XBackendTlsMode::None);
    let destination = destination(spec)?;
    let port = spec.port.number.filter(|port| *port != 0).ok_or_else(|| {
        Fault::new("spec.port.number", "there is no port", "give the number of the port, from 1 to 65535")
    })?;
    let protocol = protocol(spec, tls)?;
    let (session, unheeded) = match &spec.session_persistence {
        None => (None, None),
        Some(_) if matches!(destination, Destination::Host(_)) => {
            return Err(Fault::new(
                "spec.sessionPersistence",
                "the endpoints of an external host are not known, so no session can stay with one of them",
                "remove it, or use type EndpointSelector",
            ));
        }
        Some(given) => {
            let at = |fault: Fault| fault.within("spec.sessionPersistence");
            let (session, unheeded) = session::parse(given, &key(backend).to_string()).map_err(at)?;
            (Some(session), unheeded.map(at))
        }
    };
    Ok(Parsed { destination, port, protocol, tls, session, unheeded })
}

/// The identity of an XBackend.
pub(crate) fn key(backend: &XBackend) -> ObjectKey {
    let metadata = &backend.metadata;
    ObjectKey::new(
        Kind::XBackend,
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn destination(spec: &XBackendSpec) -> Result<Destination, Fault> {
    let unused = |field: &str| {
        Fault::new(field, format!("it has no meaning for type {}", spec.type_), "remove it, or change type")
    };
    match &spec.type_ {
        XBackendType::ExternalHostname if spec.endpoint_selector.is_some() => {
            Err(unused("spec.endpointSelector"))
        }
        XBackendType::ExternalHostname => {
            let field = "spec.externalHostname.hostname";
            let given = spec.external_hostname.clone().unwrap_or_default().hostname;
            external::host(&given)
                .map(Destination::Host)
                .map_err(|refused| Fault::new(field, format!("{given:?} {}", refused.why), refused.remedy))
        }
        XBackendType::EndpointSelector if spec.external_hostname.is_some() => {
            Err(unused("spec.externalHostname"))
        }
        XBackendType::EndpointSelector => {
            let labels = spec.endpoint_selector.clone().unwrap_or_default().match_labels;
            if labels.is_empty() {
                return Err(Fault::new(
                    "spec.endpointSelector.matchLabels",
                    "no labels would mean all pods of the namespace",
                    "give at least one label that the pods have",
                ));
            }
            Ok(Destination::Pods(labels))
        }
        XBackendType::Unknown(other) => Err(Fault::new(
            "spec.type",
            format!("type {other:?} is unknown"),
            "use ExternalHostname or EndpointSelector",
        )),
    }
}

fn protocol(spec: &XBackendSpec, tls: bool) -> Result<Protocol, Fault> {
    let Some(given) = &spec.protocol else { return Ok(Protocol::OfRoute) };
    let refuse = |message: String, remedy: &str| Err(Fault::new("spec.protocol", message, remedy));
    match given {
        XBackendProtocol::Http2 | XBackendProtocol::Wss if !tls => refuse(
            format!("{given} is spoken over TLS, which is not set up"),
            "set spec.tls, or use H2C or HTTP11",
        ),
        XBackendProtocol::H2c if tls => refuse(
            "H2C is HTTP/2 without TLS, but spec.tls asks for it".to_owned(),
            "use HTTP2, or tls mode None",
        ),
        XBackendProtocol::Http => Ok(Protocol::OfRoute),
        XBackendProtocol::Http11 | XBackendProtocol::Wss => Ok(Protocol::Http1),
        XBackendProtocol::Http2 | XBackendProtocol::H2c | XBackendProtocol::Grpc => Ok(Protocol::Http2),
        XBackendProtocol::Tcp => Ok(Protocol::Tcp),
        XBackendProtocol::Mcp => refuse(
            "this version does not look into the Model Context Protocol".to_owned(),
            "use HTTP, which carries it as it is",
        ),
        XBackendProtocol::Unknown(other) => {
            refuse(format!("protocol {other:?} is unknown"), "use HTTP, HTTP11, HTTP2, H2C, GRPC, WSS or TCP")
        }
    }
}

impl Parsed {
    /// What `traffic` is sent as; else the reason of `ResolvedRefs` and why it cannot be sent there.
    pub(crate) fn upstream(&self, traffic: Traffic) -> Result<Upstream, (&'static str, &'static str)> {
        match (traffic, self.protocol) {
            (Traffic::Ciphertext, _) if self.tls => {
                Err((reason::UNSUPPORTED_VALUE, "speaks TLS, but the listener passes TLS through"))
            }
            (Traffic::Datagrams, _) if self.tls => {
                Err((reason::UNSUPPORTED_VALUE, "speaks TLS, which datagrams have no use for"))
            }
            (Traffic::Datagrams, _) if matches!(self.destination, Destination::Host(_)) => {
                Err((reason::UNSUPPORTED_VALUE, "has a DNS name, but datagrams go to IP addresses only"))
            }
            (Traffic::Datagrams, _) => Ok(Upstream::Udp),
            (Traffic::Requests | Traffic::Grpc, Protocol::Tcp) => {
                Err((reason::UNSUPPORTED_PROTOCOL, "speaks TCP, but the route sends requests"))
            }
            (Traffic::Grpc, Protocol::Http1) => {
                Err((reason::UNSUPPORTED_PROTOCOL, "speaks HTTP/1.1, but gRPC needs HTTP/2"))
            }
            (Traffic::Grpc, _) | (Traffic::Requests, Protocol::Http2) => Ok(Upstream::Http2),
            // Connections are carried as they are, whatever is in them.
            (Traffic::Requests | Traffic::Connections | Traffic::Ciphertext, _) => Ok(Upstream::Http1),
        }
    }
}

/// How sessions with the XBackend `name` are kept, if it says so itself.
pub(crate) fn session(reader: &Reader<'_>, name: &NamespacedName) -> Option<Session> {
    let backend = reader.get::<XBackend>(&name.namespace, &name.name)?;
    parse(backend).ok()?.session
}

#[cfg(test)]
mod tests;
