use super::*;
use crate::dependency::tests::object;
use crate::object::Object;

fn read(spec: &str) -> Result<Parsed, String> {
    let Object::XBackend(backend) = object(Kind::XBackend, "a/b", &format!("spec: {spec}")) else {
        panic!("an XBackend")
    };
    parse(&backend).map_err(|fault| fault.field)
}

const HOST: &str =
    "type: ExternalHostname, externalHostname: {hostname: api.example.org}, port: {number: 443}";
const PODS: &str = "type: EndpointSelector, endpointSelector: {matchLabels: {app: x}}, port: {number: 80}";
const TLS: &str =
    "tls: {mode: ServerOnly, validation: {hostname: api.example.org, wellKnownCACertificates: System}}";

#[test]
fn hosts_and_pods() {
    let host = read(&format!("{{{HOST}, {TLS}}}")).unwrap();
    assert_eq!((host.port, host.tls), (443, true));
    assert_eq!(host.destination, Destination::Host("api.example.org".to_owned()));
    let pods = read(&format!("{{{PODS}, sessionPersistence: {{cookie: {{name: s}}}}}}")).unwrap();
    assert_eq!((pods.port, pods.tls, pods.session.is_some()), (80, false, true));
    assert_eq!(pods.destination, Destination::Pods([("app".to_owned(), "x".to_owned())].into()));
}

#[test]
fn what_is_wrong_names_its_field() {
    let pods = |rest: &str| format!("{{{PODS}, {rest}}}");
    for (spec, field) in [
        ("{type: Magic, port: {number: 80}}".to_owned(), "spec.type"),
        ("{type: ExternalHostname, port: {number: 80}}".to_owned(), "spec.externalHostname.hostname"),
        (HOST_OF.replace("NAME", "localhost"), "spec.externalHostname.hostname"),
        (HOST_OF.replace("NAME", "s.b.svc.cluster.local"), "spec.externalHostname.hostname"),
        (HOST_OF.replace("NAME", "169.254.169.254"), "spec.externalHostname.hostname"),
        ("{type: EndpointSelector, port: {number: 80}}".to_owned(), "spec.endpointSelector.matchLabels"),
        (PODS.replace("number: 80", "").replacen("type", "{type", 1) + "}", "spec.port.number"),
        (PODS.replace("80", "0").replacen("type", "{type", 1) + "}", "spec.port.number"),
        (pods("externalHostname: {hostname: a.example.org}"), "spec.externalHostname"),
        (pods("protocol: MCP"), "spec.protocol"),
        (pods("protocol: SMTP"), "spec.protocol"),
        (pods("protocol: HTTP2"), "spec.protocol"),
        (pods("protocol: WSS"), "spec.protocol"),
        (pods(&format!("protocol: H2C, {TLS}")), "spec.protocol"),
        (pods("sessionPersistence: {type: Header}"), "spec.sessionPersistence.header.name"),
        (format!("{{{HOST}, sessionPersistence: {{}}}}"), "spec.sessionPersistence"),
    ] {
        assert_eq!(read(&spec).unwrap_err(), field, "{spec}");
    }
}

const HOST_OF: &str = "{type: ExternalHostname, externalHostname: {hostname: NAME}, port: {number: 443}}";

/// What the route brings, the backend has to speak; where it says nothing, it speaks that.
#[test]
fn protocols() {
    use reason::{UNSUPPORTED_PROTOCOL, UNSUPPORTED_VALUE};
    for (rest, traffic, expected) in [
        ("", Traffic::Requests, Ok(Upstream::Http1)),
        ("", Traffic::Grpc, Ok(Upstream::Http2)),
        ("protocol: HTTP", Traffic::Grpc, Ok(Upstream::Http2)),
        ("protocol: HTTP11", Traffic::Requests, Ok(Upstream::Http1)),
        ("protocol: HTTP11", Traffic::Grpc, Err(UNSUPPORTED_PROTOCOL)),
        ("protocol: H2C", Traffic::Requests, Ok(Upstream::Http2)),
        ("protocol: GRPC", Traffic::Requests, Ok(Upstream::Http2)),
        ("protocol: TCP", Traffic::Requests, Err(UNSUPPORTED_PROTOCOL)),
        ("protocol: TCP", Traffic::Connections, Ok(Upstream::Http1)),
        ("protocol: H2C", Traffic::Ciphertext, Ok(Upstream::Http1)),
        ("", Traffic::Datagrams, Ok(Upstream::Udp)),
        (TLS, Traffic::Connections, Ok(Upstream::Http1)),
        (TLS, Traffic::Ciphertext, Err(UNSUPPORTED_VALUE)),
        (TLS, Traffic::Datagrams, Err(UNSUPPORTED_VALUE)),
    ] {
        let got = read(&format!("{{{PODS}, {rest}}}")).unwrap().upstream(traffic);
        assert_eq!(got.map_err(|(reason, _)| reason), expected, "{rest} for {traffic:?}");
    }
    let http2 = read(&format!("{{{PODS}, protocol: HTTP2, {TLS}}}")).unwrap();
    assert_eq!(http2.upstream(Traffic::Requests), Ok(Upstream::Http2));
    let host = read(&format!("{{{HOST}}}")).unwrap();
    assert!(host.upstream(Traffic::Datagrams).is_err());
}
