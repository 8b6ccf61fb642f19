//! From a backendRef to a cluster, or to the reason why there is none.

use k8s_openapi::api::core::v1::{Service, ServicePort};
use postern_api::gateway_api::{BackendRef, XBackend, reason};
use postern_api::kgateway::Backend;
use postern_api::multicluster::ServiceImport;

use super::service::{self};
use super::static_backend::{self, StaticBackend};
use super::{BackendObject, ClusterId, Security, Traffic, Upstream, external, tls_policy, x_backend};
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

/// Resolves a reference of `object` to a backend that speaks gRPC.
pub(crate) fn grpc_backend<F>(
    reader: &Reader<'_>,
    object: &ObjectKey,
    reference: &BackendRef<F>,
) -> Result<ClusterId, Unresolved> {
    carrying(reader, object, reference, Traffic::Grpc)
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
    match static_backend::parse(object) {
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

/// Whether a BackendTLSPolicy asks for TLS towards a backend. Where the client has opened it already, there is nothing to do;
/// datagrams know none.
fn asks_for_tls(
    reader: &Reader<'_>,
    backend: &BackendObject,
    section: Option<&str>,
    traffic: Traffic,
) -> bool {
    !matches!(traffic, Traffic::Ciphertext | Traffic::Datagrams)
        && tls_policy::asks_for_tls(reader, &backend.key(), section)
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
mod tests {
    use super::*;
    use crate::dependency::tests::{World, named, yaml};

    fn resolve(world: &World, reference: &str) -> Result<ClusterId, Unresolved> {
        let reference: BackendRef = yaml(reference);
        backend(&world.reader(), &ObjectKey::new(Kind::HttpRoute, "a", "r"), &reference)
    }

    fn resolve_for(world: &World, reference: &str, traffic: Traffic) -> Result<ClusterId, Unresolved> {
        let reference: BackendRef = yaml(reference);
        carrying(&world.reader(), &ObjectKey::new(Kind::HttpRoute, "a", "r"), &reference, traffic)
    }

    /// KEP-3726 and the appProtocols of the Gateway API.
    #[test]
    fn app_protocols() {
        for (protocol, expected) in [
            ("", Some("a/s:80")),
            ("http", Some("a/s:80")),
            ("kubernetes.io/ws", Some("a/s:80")),
            ("example.com/own", Some("a/s:80")),
            ("kubernetes.io/h2c", Some("a/s:80~h2")),
            ("grpc", Some("a/s:80~h2")),
            ("http2", Some("a/s:80~h2")),
            ("https", Some("a/s:80~tls")),
            ("kubernetes.io/wss", Some("a/s:80~tls")),
            ("kubernetes.io/quic", None),
        ] {
            let field =
                if protocol.is_empty() { String::new() } else { format!(", appProtocol: {protocol}") };
            let ports = format!("spec: {{ports: [{{port: 79}}, {{port: 80{field}}}]}}");
            let world = World::new(&[(Kind::Service, "a/s", &ports)]);
            let got = resolve(&world, "{name: s, port: 80}");
            match expected {
                Some(name) => assert_eq!(got.unwrap().name(), name, "{protocol}"),
                None => assert_eq!(got.unwrap_err().reason, reason::UNSUPPORTED_PROTOCOL, "{protocol}"),
            }
        }
    }

    /// A GRPCRoute speaks HTTP/2 to its backends, over TLS too; connections are carried as they are, whatever is in them.
    #[test]
    fn what_is_sent_decides_with() {
        let ports = "spec: {ports: [{port: 80}, {port: 443, appProtocol: https}, {port: 444, appProtocol: HTTPS}, \
                     {port: 445, appProtocol: kubernetes.io/quic}, {name: dns, port: 53, protocol: UDP}]}";
        let world = World::new(&[(Kind::Service, "a/s", ports)]);
        for (traffic, port, name) in [
            (Traffic::Grpc, 80, Some("a/s:80~h2")),
            (Traffic::Grpc, 443, Some("a/s:443~h2~tls")),
            (Traffic::Grpc, 444, Some("a/s:444~h2")),
            (Traffic::Connections, 443, Some("a/s:443")),
            (Traffic::Connections, 445, Some("a/s:445")),
            (Traffic::Ciphertext, 443, Some("a/s:443")),
            (Traffic::Datagrams, 53, Some("a/s:53~udp")),
            (Traffic::Connections, 53, None),
            (Traffic::Datagrams, 80, None),
        ] {
            let got = resolve_for(&world, &format!("{{name: s, port: {port}}}"), traffic);
            let got = got.map(|id| id.name()).map_err(|why| (why.reason, why.field));
            let expected = name.map(ToOwned::to_owned).ok_or((reason::BACKEND_NOT_FOUND, ".port"));
            assert_eq!(got, expected, "{traffic:?} to {port}");
        }
    }

    /// TLS in TLS was never meant, and datagrams have neither TLS nor somebody to ask for addresses.
    #[test]
    fn static_backends_that_do_not_fit() {
        let backend =
            |host: &str| format!("spec: {{type: Static, static: {{hosts: [{{{host}, port: 9}}]}}}}");
        let world = World::new(&[
            (Kind::Backend, "a/tls", &backend("host: 10.0.0.1, tls: {sni: x.y}")),
            (Kind::Backend, "a/named", &backend("host: x.y")),
            (Kind::Backend, "a/plain", &backend("host: 10.0.0.1")),
        ]);
        for (traffic, fit) in [
            (Traffic::Connections, vec!["backend/a/tls", "backend/a/named", "backend/a/plain"]),
            (Traffic::Ciphertext, vec!["backend/a/named", "backend/a/plain"]),
            (Traffic::Datagrams, vec!["backend/a/plain~udp"]),
        ] {
            let reference = |name| format!("{{name: {name}, kind: Backend, group: gateway.kgateway.dev}}");
            let got = ["tls", "named", "plain"].map(|name| resolve_for(&world, &reference(name), traffic));
            let got: Vec<String> = got.into_iter().flatten().map(|id| id.name()).collect();
            assert_eq!(got, fit, "{traffic:?}");
        }
    }

    /// TLS that the client has opened already is not wrapped again.
    #[test]
    fn a_policy_is_not_about_ciphertext() {
        let world = World::new(&[
            (Kind::Service, "a/s", "spec: {ports: [{port: 443}, {port: 443, protocol: UDP}]}"),
            (
                Kind::BackendTlsPolicy,
                "a/p",
                "spec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: ''}}",
            ),
        ]);
        for (traffic, name) in [
            (Traffic::Connections, "a/s:443~tls"),
            (Traffic::Ciphertext, "a/s:443"),
            (Traffic::Datagrams, "a/s:443~udp"),
        ] {
            assert_eq!(resolve_for(&world, "{name: s, port: 443}", traffic).unwrap().name(), name);
        }
    }

    /// Clusters are named after the backend and what changes the connection to it, never after a route.
    #[test]
    fn names_of_clusters() {
        let name = |backend, upstream, security| ClusterId { backend, upstream, security }.name();
        let service = || BackendObject::Service(named("a/s"), 80);
        let own = || BackendObject::Static(named("a/s"));
        let mutual = || Security::Mutual(Box::new(named("b/g")));
        assert_eq!(name(service(), Upstream::Http1, Security::Cleartext), "a/s:80");
        assert_eq!(name(service(), Upstream::Http2, Security::Cleartext), "a/s:80~h2");
        assert_eq!(name(service(), Upstream::Http1, Security::Tls), "a/s:80~tls");
        assert_eq!(name(service(), Upstream::Http2, Security::Tls), "a/s:80~h2~tls");
        assert_eq!(name(service(), Upstream::Http2, mutual()), "a/s:80~h2~mtls");
        assert_eq!(name(own(), Upstream::Http1, Security::OfHosts), "backend/a/s");
        assert_eq!(name(own(), Upstream::Http1, Security::Tls), "backend/a/s~tls");
        assert_eq!(name(own(), Upstream::Http1, mutual()), "backend/a/s~mtls");
    }

    /// A policy makes TLS of whatever was spoken, on all ports or on the one that it names; also one that is not valid, because
    /// cleartext is not what anybody asked for.
    #[test]
    fn policies_ask_for_tls() {
        let service = "spec: {ports: [{name: one, port: 80}, {name: two, port: 81, appProtocol: grpc}]}";
        let backend = "spec: {type: Static, static: {hosts: [{host: x.y, port: 80}]}}";
        let policy =
            |target: &str| format!("spec: {{targetRefs: [{{{target}}}], validation: {{hostname: ''}}}}");
        for (target, names) in [
            ("group: '', kind: Service, name: s", ["a/s:80~tls", "a/s:81~h2~tls", "backend/a/b"]),
            (
                "group: '', kind: Service, name: s, sectionName: two",
                ["a/s:80", "a/s:81~h2~tls", "backend/a/b"],
            ),
            ("group: '', kind: Service, name: s, sectionName: gone", ["a/s:80", "a/s:81~h2", "backend/a/b"]),
            ("group: '', kind: Service, name: other", ["a/s:80", "a/s:81~h2", "backend/a/b"]),
            (
                "group: gateway.kgateway.dev, kind: Backend, name: b",
                ["a/s:80", "a/s:81~h2", "backend/a/b~tls"],
            ),
            ("group: x, kind: Service, name: s", ["a/s:80", "a/s:81~h2", "backend/a/b"]),
        ] {
            let world = World::new(&[
                (Kind::Service, "a/s", service),
                (Kind::Backend, "a/b", backend),
                (Kind::BackendTlsPolicy, "a/p", &policy(target)),
            ]);
            let references = [
                "{name: s, port: 80}",
                "{name: s, port: 81}",
                "{name: b, kind: Backend, group: gateway.kgateway.dev}",
            ];
            let got = references.map(|reference| resolve(&world, reference).unwrap().name());
            assert_eq!(got, names, "{target}");
        }
    }

    #[test]
    fn what_does_not_resolve_says_why() {
        let world = World::new(&[
            (Kind::Service, "a/s", "spec: {ports: [{port: 80}, {port: 81}]}"),
            (
                Kind::Service,
                "a/alias",
                "spec: {type: ExternalName, externalName: a.b.svc, ports: [{port: 80}]}",
            ),
            (Kind::Service, "b/s", "spec: {ports: [{port: 80}]}"),
            (Kind::Backend, "a/good", "spec: {type: Static, static: {hosts: [{host: x.y, port: 80}]}}"),
            (Kind::Backend, "a/broken", "spec: {type: Static, static: {hosts: []}}"),
        ]);
        for (reference, expected, field) in [
            ("{name: s}", reason::BACKEND_NOT_FOUND, ".port"),
            ("{name: s, port: 0}", reason::BACKEND_NOT_FOUND, ".port"),
            ("{name: s, port: 82}", reason::BACKEND_NOT_FOUND, ".port"),
            ("{name: gone, port: 80}", reason::BACKEND_NOT_FOUND, ".name"),
            ("{name: alias, port: 80}", reason::UNSUPPORTED_VALUE, ".name"),
            ("{name: s, namespace: b, port: 80}", reason::REF_NOT_PERMITTED, ".namespace"),
            ("{name: s, kind: Pod, port: 80}", reason::INVALID_KIND, ".kind"),
            ("{name: s, kind: HTTPRoute, group: gateway.networking.k8s.io}", reason::INVALID_KIND, ".kind"),
            ("{name: good, kind: Backend}", reason::INVALID_KIND, ".kind"),
            ("{name: gone, kind: Backend, group: gateway.kgateway.dev}", reason::BACKEND_NOT_FOUND, ".name"),
            (
                "{name: broken, kind: Backend, group: gateway.kgateway.dev}",
                reason::BACKEND_NOT_FOUND,
                ".name",
            ),
        ] {
            let why = resolve(&world, reference).expect_err(reference);
            assert_eq!((why.reason, why.field), (expected, field), "{reference}: {}", why.message);
        }
        let good = resolve(&world, "{name: good, kind: Backend, group: gateway.kgateway.dev}").unwrap();
        assert_eq!(good.name(), "backend/a/good");
    }

    /// The port of the reference counts, whether the Service lists it or not; if it does, what it says of it holds.
    #[test]
    fn external_names() {
        let service = |host: &str| {
            format!(
                "spec: {{type: ExternalName, externalName: {host}, ports: [{{name: tls, port: 443, appProtocol: https}}]}}"
            )
        };
        let world = World::new(&[
            (Kind::Service, "a/fine", &service("api.example.org")),
            (Kind::Service, "a/loop", &service("localhost")),
            (Kind::Service, "a/none", "spec: {type: ExternalName}"),
        ]);
        let resolve = |name: &str, port: u16, traffic| {
            let got = resolve_for(&world, &format!("{{name: {name}, port: {port}}}"), traffic);
            got.map(|id| id.name()).map_err(|why| why.message)
        };
        assert_eq!(resolve("fine", 8080, Traffic::Requests).unwrap(), "a/fine:8080");
        assert_eq!(resolve("fine", 443, Traffic::Requests).unwrap(), "a/fine:443~tls");
        assert_eq!(resolve("fine", 443, Traffic::Ciphertext).unwrap(), "a/fine:443");
        let message = resolve("fine", 53, Traffic::Datagrams).unwrap_err();
        assert!(message.ends_with("datagrams go to IP addresses only"), "{message}");
        let message = resolve("loop", 80, Traffic::Connections).unwrap_err();
        assert!(message.contains("\"localhost\" is the proxy itself"), "{message}");
        let message = resolve("none", 80, Traffic::Grpc).unwrap_err();
        assert!(message.contains("is not a DNS name"), "{message}");
    }

    /// What a ServiceImport says of its ports holds as for a Service. A reference may leave the port out where there is one.
    #[test]
    fn service_imports() {
        let world = World::new(&[
            (
                Kind::ServiceImport,
                "a/one",
                "spec: {ports: [{name: h2, port: 80, appProtocol: kubernetes.io/h2c}]}",
            ),
            (
                Kind::ServiceImport,
                "a/two",
                "spec: {ports: [{port: 80}, {port: 443}, {port: 53, protocol: UDP}]}",
            ),
            (
                Kind::BackendTlsPolicy,
                "a/p",
                "spec: {targetRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: two}], validation: {hostname: ''}}",
            ),
        ]);
        for (reference, traffic, expected) in [
            ("name: one, port: 80", Traffic::Requests, Ok("import/a/one:80~h2")),
            ("name: one", Traffic::Requests, Ok("import/a/one:80~h2")),
            ("name: one, port: 81", Traffic::Requests, Err(".port")),
            ("name: two", Traffic::Requests, Err(".port")),
            ("name: two, port: 443", Traffic::Requests, Ok("import/a/two:443~tls")),
            ("name: two, port: 53", Traffic::Datagrams, Ok("import/a/two:53~udp")),
            ("name: gone, port: 80", Traffic::Requests, Err(".name")),
        ] {
            let reference = format!("{{group: multicluster.x-k8s.io, kind: ServiceImport, {reference}}}");
            let got = resolve_for(&world, &reference, traffic).map(|id| id.name());
            if let Err(why) = &got {
                assert_eq!(why.reason, reason::BACKEND_NOT_FOUND, "{reference}");
            }
            assert_eq!(got.map_err(|why| why.field), expected.map(ToOwned::to_owned), "{reference}");
        }
        let why = resolve(&world, "{kind: ServiceImport, name: one}").unwrap_err();
        assert_eq!(why.reason, reason::INVALID_KIND, "of the core group there is none");
    }

    /// ReferenceGrant: from and to must both fit, and a name in `to` narrows it.
    #[test]
    fn references_across_namespaces() {
        let from = "from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: a}]";
        for (grant, allowed) in [
            (format!("{from}, to: [{{group: '', kind: Service}}]"), true),
            (format!("{from}, to: [{{group: '', kind: Service, name: s}}]"), true),
            (format!("{from}, to: [{{group: '', kind: Service, name: other}}]"), false),
            (format!("{from}, to: [{{group: '', kind: Secret}}]"), false),
            (from.replace("namespace: a", "namespace: c") + ", to: [{group: '', kind: Service}]", false),
            (from.replace("HTTPRoute", "GRPCRoute") + ", to: [{group: '', kind: Service}]", false),
        ] {
            let spec = format!("spec: {{{grant}}}");
            let world = World::new(&[
                (Kind::Service, "b/s", "spec: {ports: [{port: 80}]}"),
                (Kind::ReferenceGrant, "b/g", &spec),
            ]);
            assert_eq!(resolve(&world, "{name: s, namespace: b, port: 80}").is_ok(), allowed, "{grant}");
        }
    }

    /// One port number may serve UDP and TCP; HTTP goes over TCP.
    #[test]
    fn the_tcp_port_of_a_number_is_meant() {
        let ports =
            "spec: {ports: [{name: dns, port: 53, protocol: UDP}, {name: h2, port: 53, appProtocol: grpc}]}";
        let world = World::new(&[(Kind::Service, "a/s", ports)]);
        assert_eq!(resolve(&world, "{name: s, port: 53}").unwrap().upstream, Upstream::Http2);
    }
}
