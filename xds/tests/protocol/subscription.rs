//! T1–T9, T12, T18: who gets what.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use postern_xds::state::{RequestError, Stream};
use postern_xds::{ResourceType, Snapshot};

use crate::driver::*;
use crate::resources::*;

#[test]
fn t1_a_legacy_wildcard_gets_everything() {
    let mut d = Driver::new(snapshot([static_cluster("a", 0), static_cluster("b", 0)]));
    let push = only(d.subscribe(CDS, &[]));
    assert_eq!(content(&push), (vec!["a", "b"], vec![]));
    assert_eq!(push.type_url, CDS.type_url());
}

#[test]
fn t2_an_empty_wildcard_gets_one_empty_answer() {
    for resource_type in [CDS, LDS, SRDS, ResourceType::VirtualHost] {
        let mut d = Driver::new(Snapshot::new());
        let push = only(d.subscribe(resource_type, &[]));
        assert_eq!(content(&push), (vec![], vec![]), "{resource_type}");
        assert!(d.ack(&push).is_empty(), "{resource_type} is answered once");
    }
}

#[test]
fn t3_an_explicit_wildcard_gets_everything_of_every_type() {
    for (resource_type, resource) in
        [(CDS, static_cluster("a", 0)), (SDS, secret("a", 0)), (SRDS, scope("a", &[]))]
    {
        let mut d = Driver::new(snapshot([resource]));
        assert_eq!(
            content(&only(d.subscribe(resource_type, &["*"]))),
            (vec!["a"], vec![]),
            "{resource_type}"
        );
    }
}

#[test]
fn t4_the_legacy_sequence_of_the_specification_end_to_end() {
    let mut d = Driver::new(snapshot([static_cluster("a", 0), static_cluster("b", 0)]));
    let push = only(d.subscribe(CDS, &[]));
    d.ack(&push);
    // "a" beside "*": answered, and the rest still arrives.
    let push = only(d.subscribe(CDS, &["a"]));
    assert_eq!(content(&push), (vec!["a"], vec![]));
    d.ack(&push);
    let push = only(d.set([set(&static_cluster("b", 1))]));
    assert_eq!(content(&push), (vec!["b"], vec![]));
    d.ack(&push);
    // Without "*" only "a" is left.
    assert!(d.unsubscribe(CDS, &["*"]).is_empty());
    assert!(d.set([set(&static_cluster("b", 2))]).is_empty());
    let push = only(d.set([set(&static_cluster("a", 1))]));
    assert_eq!(content(&push), (vec!["a"], vec![]));
    d.ack(&push);
    // Without "a" nothing is: an empty subscription does not become a wildcard again.
    assert!(d.unsubscribe(CDS, &["a"]).is_empty());
    assert!(d.set([set(&static_cluster("a", 2))]).is_empty());
    assert!(d.request(request(CDS)).is_empty());
}

#[test]
fn t5_unsubscribing_a_name_beside_the_wildcard_is_answered() {
    let mut d = Driver::new(snapshot([static_cluster("a", 0)]));
    let pushes = d.subscribe(CDS, &["*", "a", "ghost"]);
    let push = only(pushes);
    assert_eq!(content(&push), (vec!["a"], vec!["ghost"]));
    d.ack(&push);
    let push = only(d.unsubscribe(CDS, &["a"]));
    assert_eq!(content(&push), (vec!["a"], vec![]), "still there through the wildcard");
    d.ack(&push);
    let push = only(d.unsubscribe(CDS, &["ghost"]));
    assert_eq!(content(&push), (vec![], vec!["ghost"]), "gone");
}

#[test]
fn t6_subscribing_again_sends_again() {
    let mut d =
        Driver::new(snapshot([secret("s", 0), endpoints("e", 0), routes("r", &[]), static_cluster("c", 0)]));
    for (resource_type, name) in [(CDS, "c"), (SDS, "s"), (EDS, "e"), (RDS, "r")] {
        for _ in 0..2 {
            let push = only(d.subscribe(resource_type, &[name]));
            assert_eq!(content(&push), (vec![name], vec![]));
            d.ack(&push);
        }
    }
}

#[test]
fn t6_subscribing_to_everything_again_sends_everything_again() {
    let mut d = Driver::new(snapshot([static_cluster("a", 0)]));
    for _ in 0..2 {
        let push = only(d.subscribe(CDS, &["*"]));
        assert_eq!(content(&push), (vec!["a"], vec![]));
        d.ack(&push);
    }
}

#[test]
fn t7_unsubscribing_is_silent() {
    let mut d = Driver::new(snapshot([secret("s", 0)]));
    let push = only(d.subscribe(SDS, &["s"]));
    d.ack(&push);
    assert!(d.unsubscribe(SDS, &["phantom"]).is_empty());
    assert!(d.unsubscribe(SDS, &["s"]).is_empty());
    assert!(d.set([remove(SDS, "s")]).is_empty(), "no removal for a name that is not subscribed");
}

#[test]
fn t7_a_forgotten_resource_is_sent_when_it_is_asked_for_again() {
    let mut d = Driver::new(snapshot([secret("s", 0)]));
    let push = only(d.subscribe(SDS, &["s"]));
    d.ack(&push);
    d.unsubscribe(SDS, &["s"]);
    assert_eq!(content(&only(d.subscribe(SDS, &["s"]))), (vec!["s"], vec![]));
}

#[test]
fn t8_a_missing_name_is_removed_once_and_sent_when_it_appears() {
    for (resource_type, resource) in
        [(RDS, routes("x", &[])), (SDS, secret("x", 0)), (CDS, static_cluster("x", 0))]
    {
        let mut d = Driver::new(Snapshot::new());
        let push = only(d.subscribe(resource_type, &["x"]));
        assert_eq!(content(&push), (vec![], vec!["x"]), "{resource_type}");
        assert!(d.ack(&push).is_empty());
        assert!(d.set([set(&listener("unrelated", 0))]).is_empty(), "{resource_type} is told once");
        let push = only(d.set([set(&resource)]));
        assert_eq!(content(&push), (vec!["x"], vec![]), "{resource_type}");
    }
}

#[test]
fn t9_missing_endpoints_are_empty_and_come_when_they_appear() {
    use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use prost::Message;

    let mut d = Driver::new(Snapshot::new());
    let push = only(d.subscribe(EDS, &["e"]));
    assert_eq!(content(&push), (vec!["e"], vec![]));
    let empty = ClusterLoadAssignment::decode(push.resources[0].body().clone()).unwrap();
    assert_eq!((empty.cluster_name.as_str(), empty.endpoints.len()), ("e", 0));
    assert!(!push.resources[0].version().is_empty());
    d.ack(&push);
    let real = endpoints("e", 1);
    let push = only(d.set([set(&real)]));
    assert_eq!(push.resources, vec![real]);
}

#[test]
fn t12_nonces_are_unique_over_types() {
    let mut d = Driver::new(snapshot([static_cluster("c", 0), secret("s", 0), listener("l", 0)]));
    let mut nonces = Vec::new();
    for (resource_type, names) in [(CDS, vec![]), (SDS, vec!["s"]), (LDS, vec![])] {
        let pushes = d.subscribe(resource_type, &names);
        nonces.extend(d.settle(pushes).into_iter().map(|p| p.nonce));
    }
    let before = nonces.len();
    nonces.sort();
    nonces.dedup();
    assert_eq!((nonces.len(), before), (3, 3));
}

#[test]
fn t12_a_stale_nonce_does_not_hide_a_subscription() {
    let mut d = Driver::new(snapshot([secret("a", 0), secret("b", 0)]));
    let first = only(d.subscribe(SDS, &["a"]));
    d.ack(&first);
    let second = only(d.set([set(&secret("a", 1))]));
    // The old nonce again, with a new name: the name counts, the nonce does not.
    let stale = DeltaDiscoveryRequest {
        response_nonce: first.nonce,
        resource_names_subscribe: strings(&["b"]),
        ..request(SDS)
    };
    assert!(d.request(stale).is_empty(), "one response in flight");
    assert_eq!(content(&only(d.ack(&second))), (vec!["b"], vec![]));
}

#[test]
fn t18_a_name_is_never_twice_in_a_response() {
    let mut d = Driver::new(snapshot([static_cluster("a", 0)]));
    let push = only(d.subscribe(CDS, &["*", "a", "a", "x", "x"]));
    assert_eq!(content(&push), (vec!["a"], vec!["x"]));
}

#[test]
fn r1_a_request_without_a_type_is_an_error() {
    let error = Stream::default().on_request(DeltaDiscoveryRequest::default(), &Snapshot::new());
    assert_eq!(error, Err(RequestError::MissingTypeUrl));
}

#[test]
fn names_of_a_type_that_is_not_served_do_not_exist() {
    let mut d = Driver::new(Snapshot::new());
    let runtime = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned(),
        resource_names_subscribe: strings(&["rtds"]),
        ..DeltaDiscoveryRequest::default()
    };
    let push = only(d.request(runtime.clone()));
    assert_eq!((content(&push), &push.type_url[..]), ((vec![], vec!["rtds"]), runtime.type_url.as_str()));
    let ack =
        DeltaDiscoveryRequest { response_nonce: push.nonce, resource_names_subscribe: vec![], ..runtime };
    assert!(d.request(ack).is_empty());
}

#[test]
fn r17_what_is_not_subscribed_is_not_sent() {
    let mut d = Driver::new(snapshot([secret("a", 0), secret("b", 0)]));
    let push = only(d.subscribe(SDS, &["a"]));
    assert_eq!(content(&push), (vec!["a"], vec![]));
    d.ack(&push);
    assert!(d.set([set(&secret("b", 1))]).is_empty());
}
