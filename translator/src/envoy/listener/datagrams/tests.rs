use std::net::Ipv4Addr;

use prost::Message;

use super::*;
use crate::backend::{BackendObject, Security, Upstream};
use crate::dependency::tests::{named, yaml};
use crate::gateway::ListenerId;
use crate::hostname::Hostname;
use crate::object::{Age, Kind};

fn cluster_of(service: &str) -> ClusterId {
    ClusterId {
        backend: BackendObject::Service(named(service), 53),
        upstream: Upstream::default(),
        security: Security::default(),
    }
}

fn share(targets: impl IntoIterator<Item = Target>) -> StreamShare {
    StreamShare {
        port: Port::udp(53),
        listener: ListenerId { set: None, name: "dns".to_owned() },
        kind: Kind::UdpRoute,
        age: Age::of(&yaml("{namespace: a, name: r}")),
        hosts: vec![(Hostname::Any, Hostname::Any)],
        targets: targets.into_iter().collect(),
    }
}

fn target(weight: u32, service: Option<&str>) -> Target {
    Target { weight, cluster: service.map(cluster_of) }
}

/// `a/one` has one endpoint, `a/two` has two, all others none.
fn endpoints(id: &ClusterId) -> BTreeSet<SocketAddr> {
    let all: &[[u8; 4]] = match id.backend.key().name.as_str() {
        "one" => &[[10, 0, 1, 1]],
        "two" => &[[10, 0, 2, 1], [10, 0, 2, 2]],
        _ => &[],
    };
    all.iter().map(|ip| SocketAddr::from((*ip, 5353))).collect()
}

fn built(winner: Option<&StreamShare>) -> Vec<Arc<Resource>> {
    resources(Port::udp(53), &[Ipv4Addr::UNSPECIFIED.into()], winner, &endpoints)
}

/// `address weight` for every endpoint.
fn assigned(winner: Option<&StreamShare>) -> Vec<String> {
    let assignment = ClusterLoadAssignment::decode(built(winner)[2].body.clone()).unwrap();
    assert_eq!(assignment.cluster_name, "53/udp");
    let all = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    all.map(|endpoint| {
        let address = service::endpoint_address(endpoint).unwrap();
        format!("{address} {}", endpoint.load_balancing_weight.unwrap().value)
    })
    .collect()
}

#[test]
fn a_share_belongs_to_the_backend_however_many_endpoints_it_has() {
    let split = share([target(3, Some("a/one")), target(1, Some("a/two"))]);
    assert_eq!(assigned(Some(&split)), ["10.0.1.1:5353 6", "10.0.2.1:5353 1", "10.0.2.2:5353 1"]);
}

/// Where nothing can listen: the share is dropped and the others keep theirs.
#[test]
fn what_cannot_be_delivered_goes_nowhere() {
    let split = share([target(1, Some("a/one")), target(1, Some("a/none")), target(1, None)]);
    assert_eq!(assigned(Some(&split)), ["10.0.1.1:5353 1", "127.0.0.1:0 2"]);
    assert!(assigned(Some(&share([]))).is_empty(), "no backend");
    assert!(assigned(None).is_empty(), "no route");
}

/// Envoy forgets its sessions with the listener, so an edit must touch the endpoints alone.
#[test]
fn routes_change_nothing_but_endpoints() {
    let without = built(None);
    let with = built(Some(&share([target(1, Some("a/two"))])));
    let names = |all: &[Arc<Resource>]| -> Vec<(ResourceType, String)> {
        all.iter().map(|it| (it.resource_type, it.name.clone())).collect()
    };
    let expected = [ResourceType::Listener, ResourceType::Cluster, ResourceType::ClusterLoadAssignment]
        .map(|it| (it, "53/udp".to_owned()));
    assert_eq!(names(&without), expected);
    assert_eq!(names(&with), expected);
    assert_eq!(without[..2], with[..2]);
    assert_ne!(without[2], with[2]);
}

#[test]
fn the_listener_takes_the_largest_datagrams() {
    let listener = EnvoyListener::decode(built(None)[0].body.clone()).unwrap();
    let socket = listener.udp_listener_config.unwrap().downstream_socket_config.unwrap();
    assert_eq!(socket.max_rx_datagram_size.map(|it| it.value), Some(MAX_DATAGRAM_BYTES));
    assert!(listener.filter_chains.is_empty() && listener.listener_filters.len() == 1);
}
