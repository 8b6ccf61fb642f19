//! `Backend` of type Static: hosts outside the cluster, by address or DNS name, with or without TLS.

use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::HealthStatus;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use postern_api::kgateway::{Backend, BackendType};

use super::{ClusterId, Upstream, external, service};
use crate::problem::Fault;
use crate::resource::{Resource, ResourceType};

/// A valid static backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StaticBackend {
    pub(crate) hosts: Vec<StaticHost>,
    pub(crate) upstream: Upstream,
}

/// One host of a static backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StaticHost {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Server name and expected subject alternative name, where the host speaks TLS.
    pub(crate) sni: Option<String>,
    /// True if the name is complete, so that the search domains of the proxy's machine have no part in what it leads to.
    pub(crate) is_absolute: bool,
}

/// The endpoints of a backend whose hosts are addresses, as part of a listener's assignment.
pub(crate) fn assignment(id: &ClusterId, backend: &StaticBackend) -> Arc<Resource> {
    let hosts = backend.hosts.iter().filter(|host| host.is_address());
    let lb_endpoints = hosts.map(|host| service::endpoint(&host.host, host.port, HealthStatus::Healthy));
    let message = ClusterLoadAssignment {
        cluster_name: id.name(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: lb_endpoints.collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    Resource::new(ResourceType::ClusterLoadAssignment, id.name(), &message)
}

impl StaticHost {
    pub(crate) fn is_address(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }

    /// As an endpoint of a cluster.
    pub(crate) fn endpoint(&self) -> LbEndpoint {
        if !self.is_absolute {
            return service::endpoint(&self.host, self.port, HealthStatus::Unknown);
        }
        let mut endpoint = service::endpoint(&format!("{}.", self.host), self.port, HealthStatus::Unknown);
        // What Envoy shows as the name of the host, and takes where it needs one.
        if let Some(lb_endpoint::HostIdentifier::Endpoint(inner)) = &mut endpoint.host_identifier {
            inner.hostname.clone_from(&self.host);
        }
        endpoint
    }
}

/// Reads a Backend; everything that Envoy would refuse is refused here. Where the proxies run in pods of the cluster, their own
/// loopback interface is no backend.
pub(crate) fn parse(backend: &Backend, in_cluster: bool) -> Result<StaticBackend, Fault> {
    let kind = backend.spec.backend_type().unwrap_or(BackendType::Static);
    if kind != BackendType::Static {
        return Err(Fault::new(
            "spec.type",
            format!("this version does not carry out Backends of type {kind}"),
            "use type Static or DynamicForwardProxy, or remove the Backend",
        ));
    }
    let Some(spec) = &backend.spec.static_ else {
        return Err(Fault::new(
            "spec.static",
            "a Backend of type Static needs spec.static",
            "add spec.static.hosts",
        ));
    };
    if spec.hosts.is_empty() {
        return Err(Fault::new(
            "spec.static.hosts",
            "there is no host",
            "add at least one host with its port",
        ));
    }
    let upstream = match spec.app_protocol.as_ref().map(AsRef::as_ref) {
        None | Some("kubernetes.io/ws" | "http" | "grpc-web") => Upstream::Http1,
        Some("http2" | "grpc" | "kubernetes.io/h2c") => Upstream::Http2,
        Some(other) => {
            return Err(Fault::new(
                "spec.static.appProtocol",
                format!("appProtocol {other} is unknown"),
                "use http2, grpc, grpc-web, kubernetes.io/h2c or kubernetes.io/ws",
            ));
        }
    };
    let mut hosts = Vec::new();
    for (index, host) in spec.hosts.iter().enumerate() {
        let field = format!("spec.static.hosts[{index}]");
        let name = host.host.trim();
        let readable = name.parse::<IpAddr>().is_ok() || crate::hostname::Hostname::parse(name).is_ok();
        if !readable || name.starts_with('*') {
            return Err(Fault::new(
                format!("{field}.host"),
                format!("{name:?} is neither an IP address nor a DNS name"),
                "give an address or a name without scheme, port and path",
            ));
        }
        if in_cluster && external::is_loopback(name) {
            return Err(Fault::new(
                format!("{field}.host"),
                format!("{name:?} is the proxy itself, whose own interfaces are no backends"),
                "refer to the Service of what should answer",
            ));
        }
        let Some(port) = Some(host.port).filter(|p| *p != 0) else {
            return Err(Fault::new(
                format!("{field}.port"),
                format!("{} is not a port", host.port),
                "give a port from 1 to 65535",
            ));
        };
        let sni = host
            .tls
            .as_ref()
            .map(|tls| tls.sni.clone().filter(|sni| !sni.is_empty()).unwrap_or_else(|| name.to_owned()));
        hosts.push(StaticHost { host: name.to_owned(), port, sni, is_absolute: false });
    }
    Ok(StaticBackend { hosts, upstream })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::object;
    use crate::object::{Kind, Object};

    fn read(spec: &str) -> Result<StaticBackend, Fault> {
        let Object::Backend(object) = object(Kind::Backend, "a/b", &format!("spec: {spec}")) else {
            panic!("a Backend")
        };
        parse(&object, false)
    }

    fn hosts(hosts: &str) -> Result<StaticBackend, Fault> {
        read(&format!("{{type: Static, static: {{hosts: [{hosts}]}}}}"))
    }

    #[test]
    fn hosts_with_and_without_tls() {
        let parsed = hosts(
            "{host: 10.0.0.1, port: 80}, {host: example.com, port: 443, tls: {sni: www.example.com}}, \
             {host: api.example.com, port: 443, tls: {}}, {host: 'fd00::1', port: 8080}",
        )
        .unwrap();
        let got: Vec<_> = parsed
            .hosts
            .iter()
            .map(|h| (h.host.as_str(), h.port, h.sni.as_deref(), h.is_address()))
            .collect();
        assert_eq!(
            got,
            [
                ("10.0.0.1", 80, None, true),
                ("example.com", 443, Some("www.example.com"), false),
                ("api.example.com", 443, Some("api.example.com"), false),
                ("fd00::1", 8080, None, true),
            ]
        );
        assert_eq!(parsed.upstream, Upstream::Http1);
    }

    #[test]
    fn app_protocols() {
        for (protocol, upstream) in [
            ("http2", Some(Upstream::Http2)),
            ("grpc", Some(Upstream::Http2)),
            ("kubernetes.io/h2c", Some(Upstream::Http2)),
            ("grpc-web", Some(Upstream::Http1)),
            ("kubernetes.io/ws", Some(Upstream::Http1)),
            ("smtp", None),
        ] {
            let spec = format!(
                "{{type: Static, static: {{appProtocol: {protocol}, hosts: [{{host: x.y, port: 80}}]}}}}"
            );
            assert_eq!(read(&spec).ok().map(|b| b.upstream), upstream, "{protocol}");
        }
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (spec, field) in [
            ("{type: AWS, aws: {}}", "spec.type"),
            ("{type: Static}", "spec.static"),
            ("{type: Static, static: {hosts: []}}", "spec.static.hosts"),
        ] {
            assert_eq!(read(spec).expect_err(spec).field, field, "{spec}");
        }
        for (list, field) in [
            ("{host: x.y, port: 80}, {host: '', port: 80}", "hosts[1].host"),
            ("{host: 'http://x.y', port: 80}", "hosts[0].host"),
            ("{host: 'x.y:80', port: 80}", "hosts[0].host"),
            ("{host: '*.x.y', port: 80}", "hosts[0].host"),
            ("{host: '*', port: 80}", "hosts[0].host"),
            ("{host: x.y, port: 0}", "hosts[0].port"),
        ] {
            assert_eq!(hosts(list).expect_err(list).field, format!("spec.static.{field}"), "{list}");
        }
    }
}
