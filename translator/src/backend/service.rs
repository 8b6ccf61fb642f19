//! Endpoints of a Service port, from its EndpointSlices.

pub(crate) mod import;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{ClusterId, config, external};
use crate::dependency::Reader;
use crate::envoy::cluster::options::{name_endpoints, weighed};
use crate::envoy::{address, socket, socket_address, u32_value};
use crate::infrastructure::PortProtocol;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Problems;
use crate::resource::{Resource, ResourceType};

/// How far an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Takes new requests.
    Ready,
    /// Shuts down, but still answers: keeps its sessions, and takes requests when nothing is ready.
    Draining,
}

/// Endpoints by address and port: how far each is, and its zone, which may be empty.
pub(crate) type Found = BTreeMap<(String, u16), (State, String)>;

/// The ClusterLoadAssignment of a Service port; `None` if it is of type ExternalName, whose endpoints the DNS knows. An unknown
/// Service, a port without name match, or no endpoint at all give an assignment without endpoints, which Envoy answers with 503.
pub(crate) fn endpoints(
    reader: &Reader<'_>,
    cluster: &ClusterId,
    service: &NamespacedName,
    port: u16,
) -> Option<(Arc<Resource>, Problems)> {
    let mut problems = Problems::default();
    let object = reader.get::<Service>(&service.namespace, &service.name);
    if object.is_some_and(|object| external::is_external_name(object)) {
        return None;
    }
    let ports = object.and_then(|service| service.spec.as_ref()?.ports.as_deref()).unwrap_or_default();
    let mut found = Found::new();
    if let Some(port_name) = port_name(ports, port, cluster.transport()) {
        let key = ObjectKey::new(Kind::Service, &service.namespace, &service.name);
        found = of_slices(reader, &key, &port_name, port, &mut problems).1;
        if let Some(balancer) = config::balancer(reader, &key) {
            let mut message = assignment(cluster.name(), found);
            if balancer.by_name() {
                name_endpoints(&mut message, &names(reader, &key));
            }
            if balancer.by_zone {
                message.endpoints.iter_mut().for_each(weighed);
            }
            let name = cluster.name();
            return Some((Resource::new(ResourceType::ClusterLoadAssignment, name, &message), problems));
        }
    }
    Some((resource(cluster, found), problems))
}

/// The names of endpoints by their sockets: the host name of a pod that has one, as those of a StatefulSet do, else its own name.
fn names(reader: &Reader<'_>, owner: &ObjectKey) -> BTreeMap<SocketAddr, String> {
    let mut names = BTreeMap::new();
    for slice in reader.endpoint_slices(owner) {
        let ports = || slice.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok());
        for endpoint in &slice.endpoints {
            let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            if let (Some(name), Some(address)) = (endpoint.hostname.clone().or(pod), address) {
                names.extend(ports().map(|port| (SocketAddr::new(address, port), name.clone())));
            }
        }
    }
    names
}

/// The name of the port with this number, which EndpointSlices use for it.
fn port_name(ports: &[ServicePort], port: u16, transport: PortProtocol) -> Option<String> {
    ports.iter().find(|it| serves(it, port, transport)).map(|it| it.name.clone().unwrap_or_default())
}

/// How many EndpointSlices `owner` has, and their endpoints for the port of this name.
fn of_slices(
    reader: &Reader<'_>,
    owner: &ObjectKey,
    port_name: &str,
    port: u16,
    problems: &mut Problems,
) -> (usize, Found) {
    let mut found = Found::new();
    let mut slices = 0;
    let mut named = 0;
    for slice in reader.endpoint_slices(owner) {
        slices += 1;
        named += collect(slice, port_name, &mut found, problems);
    }
    if slices > 0 && named == 0 {
        let kind = owner.kind;
        problems.warning(
            owner,
            "spec.ports",
            format!(
                "no EndpointSlice of the {kind} has a port named {port_name:?}, so port {port} has no endpoint"
            ),
            format!("give the port of the EndpointSlice the name of the port of the {kind}"),
        );
    }
    (slices, found)
}

fn resource(cluster: &ClusterId, found: Found) -> Arc<Resource> {
    let message = assignment(cluster.name(), found);
    Resource::new(ResourceType::ClusterLoadAssignment, cluster.name(), &message)
}

/// True if this is the port with that number; a Service may have a TCP and a UDP port of the same number.
pub(crate) fn serves(found: &ServicePort, port: u16, transport: PortProtocol) -> bool {
    found.port == i32::from(port) && protocol(found) == transport.as_str()
}

/// The transport protocol of a port of a Service; TCP if it says nothing.
pub(crate) fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or(PortProtocol::Tcp.as_str())
}

/// Adds the usable endpoints of one slice; returns how many ports had the right name.
fn collect(slice: &EndpointSlice, port_name: &str, found: &mut Found, problems: &mut Problems) -> usize {
    if slice.address_type == "FQDN" {
        problems.warning(
            &ObjectKey::new(
                Kind::EndpointSlice,
                slice.metadata.namespace.clone().unwrap_or_default(),
                slice.metadata.name.clone().unwrap_or_default(),
            ),
            "addressType",
            "endpoints of address type FQDN are not used",
            "use IPv4 or IPv6, or a Backend of type Static for DNS names",
        );
        return 0;
    }
    let ports: Vec<u16> = slice
        .ports
        .iter()
        .flatten()
        .filter(|p| p.name.as_deref().unwrap_or_default() == port_name)
        .filter_map(|p| p.port.and_then(|port| u16::try_from(port).ok()).filter(|p| *p != 0))
        .collect();
    for endpoint in &slice.endpoints {
        let conditions = endpoint.conditions.as_ref();
        // Absent means ready (EndpointConditions): an API server that does not know says nothing.
        let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
        let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
        let state = match (ready, serving) {
            (true, _) => State::Ready,
            (false, true) => State::Draining,
            (false, false) => continue,
        };
        let zone = endpoint.zone.clone().unwrap_or_default();
        // All addresses of an endpoint are one pod: the first is enough.
        let Some(address) = endpoint.addresses.first().filter(|a| a.parse::<IpAddr>().is_ok()) else {
            continue;
        };
        for port in &ports {
            let entry = found.entry((address.clone(), *port)).or_insert((state, zone.clone()));
            entry.0 = entry.0.min(state);
        }
    }
    ports.len()
}

/// The endpoints of a cluster.
pub(crate) fn assignment(name: String, found: Found) -> ClusterLoadAssignment {
    // As kube-proxy does: when nothing is ready, endpoints that still serve while they shut down take over.
    let any_ready = found.values().any(|(state, _)| *state == State::Ready);
    let mut zones: BTreeMap<String, Vec<LbEndpoint>> = BTreeMap::new();
    for ((address, port), (state, zone)) in found {
        let health = match state {
            State::Draining if any_ready => HealthStatus::Draining,
            State::Ready | State::Draining => HealthStatus::Healthy,
        };
        zones.entry(zone).or_default().push(endpoint(&address, port, health));
    }
    let endpoints = zones
        .into_iter()
        .map(|(zone, lb_endpoints)| LocalityLbEndpoints {
            locality: (!zone.is_empty()).then(|| Locality { zone, ..Locality::default() }),
            // Zones weigh as much as they have endpoints, so every endpoint gets the same share.
            load_balancing_weight: u32_value(u32::try_from(lb_endpoints.len()).unwrap_or(u32::MAX)),
            lb_endpoints,
            ..LocalityLbEndpoints::default()
        })
        .collect();
    ClusterLoadAssignment { cluster_name: name, endpoints, ..ClusterLoadAssignment::default() }
}

/// One endpoint.
pub(crate) fn endpoint(address: &str, port: u16, health: HealthStatus) -> LbEndpoint {
    LbEndpoint {
        health_status: health.into(),
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(socket(address, port)),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

/// Where an [`endpoint`] is.
pub(crate) fn endpoint_address(endpoint: &LbEndpoint) -> Option<SocketAddr> {
    let Some(lb_endpoint::HostIdentifier::Endpoint(inner)) = &endpoint.host_identifier else { return None };
    let Some(address::Address::SocketAddress(socket)) = &inner.address.as_ref()?.address else { return None };
    let Some(socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
    Some(SocketAddr::new(socket.address.parse().ok()?, u16::try_from(port).ok()?))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::{address, socket_address};
    use prost::Message;

    use super::*;
    use crate::backend::{BackendObject, Security, Upstream};
    use crate::dependency::tests::{World, named};
    use crate::object::Object;
    use crate::store::Change;

    const SERVICE: &str =
        "spec: {ports: [{name: http, port: 80, targetPort: 8080}, {name: admin, port: 81}]}";

    fn slice(name: &str, rest: &str) -> Object {
        let text = format!(
            "{{metadata: {{namespace: a, name: {name}, labels: {{kubernetes.io/service-name: s}}}}, {rest}}}"
        );
        Object::deserialize(Kind::EndpointSlice, serde_yaml::Deserializer::from_str(&text))
            .unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    fn ipv4(endpoints: &str) -> String {
        format!("addressType: IPv4, ports: [{{name: http, port: 8080}}], endpoints: [{endpoints}]")
    }

    /// Endpoints as `zone/address:port health`, and the number of problems.
    fn of(service: &str, slices: &[String]) -> (Vec<String>, usize) {
        let mut world = World::new(&[(Kind::Service, "a/s", service)]);
        for (index, rest) in slices.iter().enumerate() {
            world.store.apply(Change::Upsert(slice(&format!("s-{index}"), rest)));
        }
        let cluster = ClusterId {
            backend: BackendObject::Service(named("a/s"), 80),
            upstream: Upstream::Http1,
            security: Security::Cleartext,
        };
        let (resource, problems) = endpoints(&world.reader(), &cluster, &named("a/s"), 80).unwrap();
        let message = ClusterLoadAssignment::decode(resource.body.clone()).unwrap();
        assert_eq!(message.cluster_name, "a/s:80");
        let mut out = Vec::new();
        for locality in message.endpoints {
            assert_eq!(locality.load_balancing_weight.unwrap().value as usize, locality.lb_endpoints.len());
            let zone = locality.locality.map(|l| l.zone).unwrap_or_default();
            for endpoint in locality.lb_endpoints {
                let health = endpoint.health_status().as_str_name().to_lowercase();
                let Some(lb_endpoint::HostIdentifier::Endpoint(inner)) = endpoint.host_identifier else {
                    panic!("an endpoint")
                };
                let Some(address::Address::SocketAddress(socket)) = inner.address.unwrap().address else {
                    panic!("a socket")
                };
                let Some(socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else {
                    panic!("a port")
                };
                out.push(format!("{zone}/{}:{port} {health}", socket.address));
            }
        }
        (out, problems.iter().count())
    }

    fn listed(slices: &[String]) -> Vec<String> {
        of(SERVICE, slices).0
    }

    /// EndpointConditions: absent `ready` means ready, absent `serving` means what `ready` says.
    #[test]
    fn conditions_of_endpoints() {
        let ready = "{addresses: [10.0.0.9]}";
        for (conditions, beside_a_ready_one, alone) in [
            ("", "healthy", "healthy"),
            ("ready: true", "healthy", "healthy"),
            ("ready: true, serving: true, terminating: false", "healthy", "healthy"),
            ("ready: true, serving: false", "healthy", "healthy"),
            ("ready: false", "", ""),
            ("ready: false, serving: false", "", ""),
            ("ready: false, serving: false, terminating: true", "", ""),
            ("ready: false, serving: true, terminating: true", "draining", "healthy"),
            ("ready: false, serving: true", "draining", "healthy"),
        ] {
            let endpoint = format!("{{addresses: [10.0.0.1], conditions: {{{conditions}}}}}");
            let expect = |health: &str| {
                if health.is_empty() { vec![] } else { vec![format!("/10.0.0.1:8080 {health}")] }
            };
            let mut together = expect(beside_a_ready_one);
            together.push("/10.0.0.9:8080 healthy".to_owned());
            assert_eq!(listed(&[ipv4(&format!("{endpoint}, {ready}"))]), together, "{conditions}");
            // As kube-proxy does: without a ready endpoint those that still serve take over.
            assert_eq!(listed(&[ipv4(&endpoint)]), expect(alone), "{conditions}, alone");
        }
    }

    #[test]
    fn slices_are_merged_without_duplicates() {
        let draining = "conditions: {ready: false, serving: true, terminating: true}";
        let slices = [
            ipv4(&format!("{{addresses: [10.0.0.2]}}, {{addresses: [10.0.0.1], {draining}}}")),
            ipv4("{addresses: [10.0.0.1]}, {addresses: [10.0.0.3], zone: z}"),
            "addressType: IPv6, ports: [{name: http, port: 8081}], endpoints: [{addresses: ['fd00::1', 'fd00::2']}]".to_owned(),
        ];
        let expected = [
            "/10.0.0.1:8080 healthy",
            "/10.0.0.2:8080 healthy",
            "/fd00::1:8081 healthy",
            "z/10.0.0.3:8080 healthy",
        ];
        assert_eq!(listed(&slices), expected);
        let mut reversed = slices.to_vec();
        reversed.reverse();
        assert_eq!(listed(&reversed), expected);
    }

    #[test]
    fn ports_are_found_by_name() {
        let ports = |ports: &str| {
            format!("addressType: IPv4, ports: [{ports}], endpoints: [{{addresses: [10.0.0.1]}}]")
        };
        for (slice, endpoints, problems) in [
            ("{name: http, port: 8080}, {name: admin, port: 9}", vec!["/10.0.0.1:8080 healthy"], 0),
            (
                "{name: http, port: 8080}, {name: http, port: 8081}",
                vec!["/10.0.0.1:8080 healthy", "/10.0.0.1:8081 healthy"],
                0,
            ),
            ("{name: other, port: 8080}", vec![], 1),
            ("{port: 8080}", vec![], 1),
            ("{name: http}", vec![], 1),
            ("{name: http, port: 0}", vec![], 1),
            ("{name: http, port: 70000}", vec![], 1),
            ("", vec![], 1),
        ] {
            let (got, count) = of(SERVICE, &[ports(slice)]);
            assert_eq!(
                (got, count),
                (endpoints.iter().map(ToString::to_string).collect(), problems),
                "{slice}"
            );
        }
        let unnamed = "spec: {ports: [{port: 80}]}";
        assert_eq!(of(unnamed, &[ports("{port: 8080}")]).0, ["/10.0.0.1:8080 healthy"]);
        assert_eq!(of(unnamed, &[ports("{name: '', port: 8080}")]).0, ["/10.0.0.1:8080 healthy"]);
    }

    #[test]
    fn what_is_no_address_is_left_out() {
        let slices = [
            "addressType: FQDN, ports: [{name: http, port: 8080}], endpoints: [{addresses: [x.example.com]}]"
                .to_owned(),
            ipv4("{addresses: []}, {addresses: [x.example.com]}, {addresses: [10.0.0.1]}"),
        ];
        assert_eq!(of(SERVICE, &slices), (vec!["/10.0.0.1:8080 healthy".to_owned()], 1));
    }

    #[test]
    fn without_endpoints_the_assignment_is_empty() {
        assert_eq!(of(SERVICE, &[]), (vec![], 0));
        assert_eq!(of("spec: {ports: [{port: 99}]}", &[ipv4("{addresses: [10.0.0.1]}")]).0, [""; 0]);
    }
}
