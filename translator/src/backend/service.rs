//! Endpoints of a Service port, from its EndpointSlices.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::ClusterId;
use crate::dependency::Reader;
use crate::envoy::{socket, u32_value};
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Problems;
use crate::resource::{Resource, ResourceType};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Takes new requests.
    Ready,
    /// Shuts down, but still answers: keeps its sessions, and takes requests when nothing is ready.
    Draining,
}

/// The ClusterLoadAssignment of a Service port. An unknown Service, a port without name match, or no endpoint
/// at all give an assignment without endpoints, which Envoy answers with 503.
pub(crate) fn endpoints(
    reader: &Reader<'_>,
    cluster: &ClusterId,
    service: &NamespacedName,
    port: u16,
) -> (Arc<Resource>, Problems) {
    let mut problems = Problems::default();
    let port_name = reader.get::<Service>(&service.namespace, &service.name).and_then(|service| {
        let ports = service.spec.as_ref()?.ports.as_ref()?;
        ports.iter().find(|p| p.port == i32::from(port)).map(|p| p.name.clone().unwrap_or_default())
    });
    let mut found: BTreeMap<(String, u16), (State, String)> = BTreeMap::new();
    let mut slices = 0;
    let mut named = 0;
    if let Some(port_name) = &port_name {
        for slice in reader.endpoint_slices(service) {
            slices += 1;
            named += collect(slice, port_name, &mut found, &mut problems);
        }
    }
    if slices > 0 && named == 0 {
        let name = port_name.unwrap_or_default();
        problems.warning(
            &ObjectKey::new(Kind::Service, &service.namespace, &service.name),
            "spec.ports",
            format!(
                "no EndpointSlice of the Service has a port named {name:?}, so port {port} has no endpoint"
            ),
            "give the port of the EndpointSlice the name of the port of the Service",
        );
    }
    let message = assignment(cluster.name(), found);
    (Resource::new(ResourceType::ClusterLoadAssignment, cluster.name(), &message), problems)
}

/// Adds the usable endpoints of one slice; returns how many ports had the right name.
fn collect(
    slice: &EndpointSlice,
    port_name: &str,
    found: &mut BTreeMap<(String, u16), (State, String)>,
    problems: &mut Problems,
) -> usize {
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

fn assignment(name: String, found: BTreeMap<(String, u16), (State, String)>) -> ClusterLoadAssignment {
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
