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
        let field = if protocol.is_empty() { String::new() } else { format!(", appProtocol: {protocol}") };
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
    let backend = |host: &str| format!("spec: {{type: Static, static: {{hosts: [{{{host}, port: 9}}]}}}}");
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
    let policy = |target: &str| format!("spec: {{targetRefs: [{{{target}}}], validation: {{hostname: ''}}}}");
    for (target, names) in [
        ("group: '', kind: Service, name: s", ["a/s:80~tls", "a/s:81~h2~tls", "backend/a/b"]),
        ("group: '', kind: Service, name: s, sectionName: two", ["a/s:80", "a/s:81~h2~tls", "backend/a/b"]),
        ("group: '', kind: Service, name: s, sectionName: gone", ["a/s:80", "a/s:81~h2", "backend/a/b"]),
        ("group: '', kind: Service, name: other", ["a/s:80", "a/s:81~h2", "backend/a/b"]),
        ("group: gateway.kgateway.dev, kind: Backend, name: b", ["a/s:80", "a/s:81~h2", "backend/a/b~tls"]),
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
        (Kind::Service, "a/alias", "spec: {type: ExternalName, externalName: a.b.svc, ports: [{port: 80}]}"),
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
        ("{name: broken, kind: Backend, group: gateway.kgateway.dev}", reason::BACKEND_NOT_FOUND, ".name"),
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
        (Kind::ServiceImport, "a/two", "spec: {ports: [{port: 80}, {port: 443}, {port: 53, protocol: UDP}]}"),
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
