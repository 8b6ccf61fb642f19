//! The YAML of tests: placeholders, and the objects that every test needs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::ports::Port;
use crate::tls::{Authority, Certificate};

/// Values of `${NAME}` placeholders. A name that starts with `PORT` and has no value yet gets a free
/// port of its own.
#[derive(Debug, Default)]
pub struct Vars {
    values: BTreeMap<String, String>,
    ports: BTreeMap<String, Port>,
}

impl Vars {
    /// Sets the value of `${name}`.
    pub fn set(&mut self, name: &str, value: &impl ToString) {
        self.values.insert(name.to_owned(), value.to_string());
    }

    /// The port behind `${name}`, reserved at the first use.
    pub fn port(&mut self, name: &str) -> u16 {
        self.ports.entry(name.to_owned()).or_insert_with(Port::reserve).number()
    }

    /// Replaces every placeholder; an unknown one is a mistake of the test.
    pub fn fill(&mut self, yaml: &str) -> String {
        let mut filled = String::with_capacity(yaml.len());
        let mut rest = yaml;
        while let Some(start) = rest.find("${") {
            let end = start + rest[start..].find('}').expect("a placeholder ends with }");
            let name = &rest[start + 2..end];
            filled.push_str(&rest[..start]);
            if let Some(value) = self.values.get(name) {
                filled.push_str(value);
            } else {
                assert!(name.starts_with("PORT"), "the placeholder ${{{name}}} has no value");
                write!(filled, "{}", self.port(name)).unwrap();
            }
            rest = &rest[end + 1..];
        }
        filled.push_str(rest);
        filled
    }
}

/// The class, the namespace `default` and a Gateway `default/gw` with the given listeners (a YAML
/// list, indented by two).
pub fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: postern}}
spec: {{controllerName: postern.dev/gateway-controller}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: default, labels: {{kubernetes.io/metadata.name: default}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw, namespace: default, generation: 1}}
spec:
  gatewayClassName: postern
  listeners:
{listeners}
---
"
    )
}

/// An HTTPRoute `default/name` of the Gateway `default/gw`; `spec` is the rest of its `spec`, not
/// indented.
pub fn http_route(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default, generation: 1}}
spec:
  parentRefs: [{{name: gw}}]
{}---
",
        indent(spec)
    )
}

/// A route `default/name` of any other kind, of the Gateway `default/gw` as a whole; `spec` is the rest of its `spec`, not
/// indented, and may name other parents.
pub fn route(kind: &str, name: &str, spec: &str) -> String {
    let parents = if spec.contains("parentRefs") { "" } else { "  parentRefs: [{name: gw}]\n" };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: default, generation: 1}}
spec:
{parents}{}---
",
        indent(spec)
    )
}

/// A TrafficPolicy `default/name`; `spec` is its whole `spec`, not indented.
pub fn traffic_policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.kgateway.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: {name}, namespace: default, generation: 1}}
spec:
{}---
",
        indent(spec)
    )
}

/// A GatewayExtension `default/name`; `spec` is its whole `spec` in flow style, without the braces.
pub fn gateway_extension(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.kgateway.dev/v1alpha1
kind: GatewayExtension
metadata: {{name: {name}, namespace: default, generation: 1}}
spec: {{{spec}}}
---
"
    )
}

/// A Backend `default/name` of type Static; `hosts` is the YAML list of its hosts in flow style.
pub fn static_backend(name: &str, hosts: &str) -> String {
    format!(
        "apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {{name: {name}, namespace: default, generation: 1}}
spec: {{type: Static, static: {{hosts: {hosts}}}}}
---
"
    )
}

/// A Secret of type `kubernetes.io/tls`.
pub fn tls_secret(namespace: &str, name: &str, certificate: &Certificate) -> String {
    format!(
        "apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {{name: {name}, namespace: {namespace}}}
data:
  tls.crt: {}
  tls.key: {}
---
",
        base64(certificate.pem.as_bytes()),
        base64(certificate.key_pem.as_bytes())
    )
}

/// A ConfigMap `default/name` with the certificates of authorities, as `caCertificateRefs` want it.
pub fn authorities(name: &str, authorities: &[&Authority]) -> String {
    let pem: String = authorities.iter().map(|it| it.pem()).collect();
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, namespace: default}}
data: {{ca.crt: {pem:?}}}
---
"
    )
}

/// A BackendTLSPolicy `default/name` on the Service `default/service`; `validation` is the content of its `spec.validation` in
/// flow style.
pub fn backend_tls_policy(name: &str, service: &str, validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: default, generation: 1}}
spec:
  targetRefs: [{{group: '', kind: Service, name: {service}}}]
  validation: {{{validation}}}
---
"
    )
}

/// A Service with the port 8080 and one EndpointSlice for each endpoint, as local backends all have
/// different ports. `extra` joins the Service's port (`appProtocol: kubernetes.io/h2c`).
pub fn service(namespace: &str, name: &str, extra: &str, endpoints: &[SocketAddr]) -> String {
    ported(namespace, name, (8080, "TCP"), extra, endpoints)
}

/// A Service with the UDP port 5353 and one EndpointSlice for each endpoint.
pub fn udp_service(namespace: &str, name: &str, endpoints: &[SocketAddr]) -> String {
    ported(namespace, name, (5353, "UDP"), "", endpoints)
}

fn ported(
    namespace: &str,
    name: &str,
    (port, protocol): (u16, &str),
    extra: &str,
    endpoints: &[SocketAddr],
) -> String {
    let extra = if extra.is_empty() { String::new() } else { format!(", {extra}") };
    let mut yaml = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{ports: [{{name: main, port: {port}, targetPort: 3000, protocol: {protocol}{extra}}}]}}
---
"
    );
    for (index, endpoint) in endpoints.iter().enumerate() {
        write!(
            yaml,
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{index}
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports: [{{name: main, port: {}, protocol: {protocol}}}]
endpoints: [{{addresses: [{}], conditions: {{ready: true, serving: true, terminating: false}}}}]
---
",
            endpoint.port(),
            endpoint.ip()
        )
        .unwrap();
    }
    yaml
}

/// Base64 with padding (RFC 4648 section 4), as in the `data` of a Secret.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_usize, |group, byte| group << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = char::from(ALPHABET[group >> (18 - 6 * position) & 63]);
            text.push(if position <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

fn indent(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        writeln!(all, "  {line}").unwrap();
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_in_rfc_4648() {
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }

    #[test]
    fn placeholders_are_filled() {
        let mut vars = Vars::default();
        vars.set("NAME", &"x");
        let filled = vars.fill("a ${NAME} ${PORT_A} ${PORT_A} ${PORT_B} $z {y}");
        let (a, b) = (vars.port("PORT_A"), vars.port("PORT_B"));
        assert_ne!(a, b);
        assert_eq!(filled, format!("a x {a} {a} {b} $z {{y}}"));
    }
}
