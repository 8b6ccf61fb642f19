//! From a backendRef to a cluster, or to the reason why there is none.

use k8s_openapi::api::core::v1::{Service, ServicePort};
use postern_api::gateway_api::{BackendRef, XBackend, reason};
use postern_api::kgateway::Backend;
use postern_api::multicluster::ServiceImport;

use super::forward_proxy::ForwardProxy;
use super::service::{self};
use super::static_backend::{self, StaticBackend};
use super::{BackendObject, ClusterId, Security, Traffic, Upstream, config, external, tls_policy, x_backend};
use crate::dependency::Reader;
use crate::grants::{self, Reference};
use crate::infrastructure::PortProtocol;
use crate::object::{Kind, NamespacedName, ObjectKey};

/// Why a backendRef has no cluster. Its share of the requests is answered with 500, that of connections is closed, that of
/// datagrams is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Unresolved {
    /// The reason of condition `ResolvedRefs`.
    pub(crate) reason: &'static str,
    /// The field below the backendRef.
    pub(crate) field: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

fn unresolved(
    reason: &'static str,
    field: &'static str,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Unresolved {
    Unresolved { reason, field, message: message.into(), remedy: remedy.into() }
}

/// Resolves the backendRef of a `route` of requests.
pub(crate) fn backend<F>(
    reader: &Reader<'_>,
    route: &ObjectKey,
    reference: &BackendRef<F>,
) -> Result<ClusterId, Unresolved> {
    let traffic = if route.kind == Kind::GrpcRoute { Traffic::Grpc } else { Traffic::Requests };
    carrying(reader, route, reference, traffic)
}

/// Resolves a reference of `object` to a backend that gets requests which no client sent there.
pub(crate) fn known_backend<F>(
    reader: &Reader<'_>,
    object: &ObjectKey,
    reference: &BackendRef<F>,
) -> Result<ClusterId, Unresolved> {
    backend(reader, object, reference).and_then(known)
}

/// Resolves a reference of `object` to a backend that speaks gRPC.
pub(crate) fn grpc_backend<F>(
    reader: &Reader<'_>,
    object: &ObjectKey,
    reference: &BackendRef<F>,
) -> Result<ClusterId, Unresolved> {
    carrying(reader, object, reference, Traffic::Grpc).and_then(known)
}

/// Fails where only the request of a client says where the backend is.
fn known(cluster: ClusterId) -> Result<ClusterId, Unresolved> {
    if cluster.backend != BackendObject::ForwardProxy {
        return Ok(cluster);
    }
    Err(unresolved(
        reason::UNSUPPORTED_VALUE,
        ".name",
        "a Backend of type DynamicForwardProxy leads where requests of clients say, and has no place of its own",
        "refer to a Service, or to a Backend of type Static",
    ))
}

/// Resolves a reference of `route` to a backend that gets `traffic`.
pub(crate) fn carrying<F>(
    reader: &Reader<'_>,
    route: &ObjectKey,
    reference: &BackendRef<F>,
    traffic: Traffic,
) -> Result<ClusterId, Unresolved> {
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or(Kind::Service.as_str());
    let namespace = reference.namespace.as_deref().unwrap_or(&route.namespace);
    let name = NamespacedName::new(namespace, &reference.name);
    let Some(known @ (Kind::Service | Kind::ServiceImport | Kind::Backend | Kind::XBackend)) =
        Kind::from_group_kind(group, kind)
    else {
        return Err(unresolved(
            reason::INVALID_KIND,
            ".kind",
            format!("{kind} (group {group:?}) cannot be a backend"),
            "refer to a Service, a ServiceImport, an XBackend, or a Backend of group gateway.kgateway.dev",
        ));
    };
    let asked = Reference {
        from_group: route.kind.group(),
        from_kind: route.kind.as_str(),
        from_namespace: &route.namespace,
        to_group: group,
        to_kind: kind,
        to_namespace: namespace,
        to_name: &reference.name,
    };
    if !grants::permitted(reader, asked) {
        return Err(unresolved(
            reason::REF_NOT_PERMITTED,
            ".namespace",
            format!("{kind} {name} is in another namespace and no ReferenceGrant allows it"),
            grants::remedy(asked),
        ));
    }
    match known {
        Kind::Backend => backend_object(reader, name, traffic),
        Kind::ServiceImport => import(reader, name, reference.port, traffic),
        Kind::XBackend => x_backend(reader, name, reference.port, traffic),
        _ => service(reader, name, reference.port, traffic),
    }
}

fn backend_object(
    reader: &Reader<'_>,
    name: NamespacedName,
    traffic: Traffic,
) -> Result<ClusterId, Unresolved> {
    let Some(object) = reader.get::<Backend>(&name.namespace, &name.name) else {
        return Err(unresolved(
            reason::BACKEND_NOT_FOUND,
            ".name",
            format!("Backend {name} does not exist"),
            "create it, or mend the name",
        ));
    };
    if let Some(proxy) = ForwardProxy::of(object) {
        // Without what the policy says, requests would go where nobody meant them to go.
        if asks_for_tls(reader, &BackendObject::Static(name.clone()), None, traffic) {
            return Err(unresolved(
                reason::UNSUPPORTED_VALUE,
                ".name",
                format!("a policy asks for TLS to Backend {name}, which is of type DynamicForwardProxy"),
                "remove the policy, and set spec.dynamicForwardProxy.enableTls of the Backend",
            ));
        }
        return proxy.cluster(traffic).map_err(|(why, remedy)| {
            unresolved(reason::UNSUPPORTED_VALUE, ".name", format!("Backend {name} {why}"), remedy)
        });
    }
    match static_backend::parse(object, reader.is_provisioned()) {
        Ok(parsed) => {
            if let Some(why) = unfit(&parsed, traffic) {
                return Err(unresolved(
                    reason::UNSUPPORTED_VALUE,
                    ".name",
                    format!("Backend {name} {why}"),
                    "refer to a Backend without that, or to a Service",
                ));
            }
            let backend = BackendObject::Static(name);
            let security = if asks_for_tls(reader, &backend, None, traffic) {
                Security::Tls
            } else if parsed.hosts.iter().any(|host| host.sni.is_some()) {
                Security::OfHosts
            } else {
                Security::Cleartext
            };
            let upstream = match traffic {
                Traffic::Grpc => Upstream::Http2,
                Traffic::Datagrams => Upstream::Udp,
                Traffic::Requests | Traffic::Connections | Traffic::Ciphertext => parsed.upstream,
            };
            Ok(ClusterId { backend, upstream, security })
        }
        Err(fault) => Err(unresolved(
            reason::BACKEND_NOT_FOUND,
            ".name",
            format!("Backend {name} is not valid: {}", fault.message),
            format!("mend {} of the Backend", fault.field),
        )),
    }
}

fn x_backend(
    reader: &Reader<'_>,
    name: NamespacedName,
    port: Option<u16>,
    traffic: Traffic,
) -> Result<ClusterId, Unresolved> {
    let Some(object) = reader.get::<XBackend>(&name.namespace, &name.name) else {
        return Err(unresolved(
            reason::BACKEND_NOT_FOUND,
            ".name",
            format!("XBackend {name} does not exist"),
            "create it, or mend the name",
        ));
    };
    let parsed = x_backend::parse(object).map_err(|fault| {
        unresolved(
            reason::UNSUPPORTED_VALUE,
            ".name",
            format!("XBackend {name} is not valid: {}: {}", fault.field, fault.message),
            format!("mend {} of the XBackend: {}", fault.field, fault.remedy),
        )
    })?;
    if let Some(port) = port.filter(|port| *port != parsed.port) {
        return Err(unresolved(
            reason::BACKEND_NOT_FOUND,
            ".port",
            format!("XBackend {name} has the port {}, not {port}", parsed.port),
            "leave the port out: an XBackend has one",
        ));
    }
    let upstream = parsed.upstream(traffic).map_err(|(reason, why)| {
        unresolved(
            reason,
            ".name",
            format!("XBackend {name} {why}"),
            "refer to a backend that fits the route, or change spec.protocol or spec.tls of this one",
        )
    })?;
    let security = if parsed.tls { Security::Tls } else { Security::Cleartext };
    Ok(ClusterId { backend: BackendObject::XBackend(name), upstream, security })
}

/// Whether a policy asks for TLS towards a backend. Where the client has opened it already, there is nothing to do;
/// datagrams know none.
fn asks_for_tls(
    reader: &Reader<'_>,
    backend: &BackendObject,
    section: Option<&str>,
    traffic: Traffic,
) -> bool {
    !matches!(traffic, Traffic::Ciphertext | Traffic::Datagrams)
        && (tls_policy::asks_for_tls(reader, &backend.key(), section)
            || config::asks_for_tls(reader, &backend.key()))
}

/// Why a static backend cannot take this traffic.
fn unfit(backend: &StaticBackend, traffic: Traffic) -> Option<&'static str> {
    let tls = backend.hosts.iter().any(|host| host.sni.is_some());
    let names = backend.hosts.iter().any(|host| !host.is_address());
    match traffic {
        Traffic::Ciphertext if tls => Some("has hosts with tls, but the listener passes TLS through"),
        Traffic::Datagrams if tls => Some("has hosts with tls, which datagrams have no use for"),
        Traffic::Datagrams if names => {
            Some("has hosts with DNS names, but datagrams go to IP addresses only")
        }
        _ => None,
    }
}

fn service(
    reader: &Reader<'_>,
    name: NamespacedName,
    port: Option<u16>,
    traffic: Traffic,
) -> Result<ClusterId, Unresolved> {
    let Some(port) = port.filter(|p| *p != 0) else {
        return Err(unresolved(
            reason::BACKEND_NOT_FOUND,
            ".port",
            format!("the reference to Service {name} has no port"),
            "name one of the ports of the Service",
        ));
    };
    let Some(object) = reader.get::<Service>(&name.namespace, &name.name) else {
        return Err(unresolved(
            reason::BACKEND_NOT_FOUND,
            ".name",
            format!("Service {name} does not exist"),
            "create the Service, or mend the name",
        ));
    };
    let ports = object.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let key = ObjectKey::new(Kind::Service, &name.namespace, &name.name);
    let undescribed;
    let found = match described(&key, ports, port, traffic) {
        _ if external::is_external_name(object) => {
            may_be_external(&name, object, traffic)?;
            // Its ports need not be listed: where the host listens, the reference knows.
            undescribed = ServicePort { port: port.into(), ..ServicePort::default() };
            described(&key, ports, port, traffic).unwrap_or(&undescribed)
        }
        found => found?,
    };
    at_port(reader, BackendObject::Service(name, port), found, traffic)
}

fn import(
    reader: &Reader<'_>,
    name: NamespacedName,
    port: Option<u16>,
    traffic: Traffic,
) -> Result<ClusterId, Unresolved> {
    let Some(object) = reader.get::<ServiceImport>(&name.namespace, &name.name) else {
        return Err(unresolved(
            reason::BACKEND_NOT_FOUND,
            ".name",
            format!("ServiceImport {name} does not exist"),
            "export the service from a cluster of the set, or mend the name",
        ));
    };
    let ports = &object.spec.ports;
    // The API asks only references to Services for a port. Where there is one, it is meant.
    let only = match ports.as_slice() {
        [only] => u16::try_from(only.port).ok(),
        _ => None,
    };
    let Some(port) = port.or(only).filter(|port| *port != 0) else {
        return Err(unresolved(
            reason::BACKEND_NOT_FOUND,
            ".port",
            format!("the reference to ServiceImport {name} has no port, and that has not just one"),
            "name one of the ports of the ServiceImport",
        ));
    };
    let key = ObjectKey::new(Kind::ServiceImport, &name.namespace, &name.name);
    let found = described(&key, ports, port, traffic)?;
    at_port(reader, BackendObject::Import(name, port), found, traffic)
}

/// The port of the Service `owner` that gets `traffic`.
fn described<'a>(
    owner: &ObjectKey,
    ports: &'a [ServicePort],
    port: u16,
    traffic: Traffic,
) -> Result<&'a ServicePort, Unresolved> {
    let transport = traffic.transport();
    ports.iter().find(|p| service::serves(p, port, transport)).ok_or_else(|| {
        let known: Vec<String> = ports
            .iter()
            .map(|p| match service::protocol(p) {
                "TCP" => p.port.to_string(),
                other => format!("{} ({other})", p.port),
            })
            .collect();
        let wanted = match transport {
            PortProtocol::Tcp => "port",
            PortProtocol::Udp => "UDP port",
        };
        unresolved(
            reason::BACKEND_NOT_FOUND,
            ".port",
            format!("{owner} has no {wanted} {port}"),
            format!("use one of its ports: {}", known.join(", ")),
        )
    })
}

/// The cluster of a port of a Service, by what that says of its protocol.
fn at_port(
    reader: &Reader<'_>,
    backend: BackendObject,
    found: &ServicePort,
    traffic: Traffic,
) -> Result<ClusterId, Unresolved> {
    let (upstream, speaks_tls) = match found.app_protocol.as_deref() {
        // What the bytes mean is between client and backend.
        _ if traffic == Traffic::Datagrams => (Upstream::Udp, false),
        _ if matches!(traffic, Traffic::Connections | Traffic::Ciphertext) => (Upstream::Http1, false),
        Some("kubernetes.io/h2c" | "grpc" | "http2") => (Upstream::Http2, false),
        Some("kubernetes.io/ws") => (Upstream::Http1, false),
        Some("kubernetes.io/wss") => (Upstream::Http1, true),
        Some(unknown) if unknown.starts_with("kubernetes.io/") => {
            let (port, owner) = (found.port, backend.key());
            return Err(unresolved(
                reason::UNSUPPORTED_PROTOCOL,
                ".port",
                format!("port {port} of {owner} has appProtocol {unknown}, which is not supported"),
                "use kubernetes.io/h2c, kubernetes.io/ws, kubernetes.io/wss, grpc, http or https",
            ));
        }
        other if traffic == Traffic::Grpc => (Upstream::Http2, other == Some("https")),
        other => (Upstream::Http1, other == Some("https")),
    };
    let asked = asks_for_tls(reader, &backend, found.name.as_deref(), traffic);
    let security = if asked || speaks_tls { Security::Tls } else { Security::Cleartext };
    Ok(ClusterId { backend, upstream, security })
}

/// Fails unless requests may go where a Service of type ExternalName leads.
fn may_be_external(name: &NamespacedName, object: &Service, traffic: Traffic) -> Result<(), Unresolved> {
    if traffic == Traffic::Datagrams {
        return Err(unresolved(
            reason::UNSUPPORTED_VALUE,
            ".name",
            format!("Service {name} is of type ExternalName, but datagrams go to IP addresses only"),
            "refer to a Service with endpoints, or to a Backend with addresses",
        ));
    }
    external::name_of(object).map(drop).map_err(|refused| {
        let host = object.spec.as_ref().and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
        unresolved(
            reason::UNSUPPORTED_VALUE,
            ".name",
            format!("Service {name} is of type ExternalName, but {host:?} {}", refused.why),
            refused.remedy,
        )
    })
}

#[cfg(test)]
mod tests;
