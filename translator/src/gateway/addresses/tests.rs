use postern_api::gateway_api::reason;

use super::*;
use crate::dependency::tests::{World, object};
use crate::object::{Kind, Stored};

const OWNED: &str = "ownerReferences: [{apiVersion: v1, kind: Gateway, name: g, uid: u1}]";

/// `type value` of the assigned addresses, and the reason why the Gateway is not accepted or not programmed.
fn outcome(addresses: &str, service: Option<(&str, &str)>) -> (Vec<String>, &'static str) {
    let text = format!("spec: {{gatewayClassName: c, addresses: [{addresses}]}}");
    let gateway = object(Kind::Gateway, "a/g", &text);
    let mut gateway = Gateway::of(&gateway).unwrap().as_ref().clone();
    gateway.metadata.uid = Some("u1".to_owned());
    let mut world = World::default();
    if let Some((metadata, rest)) = service {
        let text = format!("{{metadata: {{namespace: a, name: g, {metadata}}}, {rest}}}");
        let service =
            crate::object::Object::deserialize(Kind::Service, serde_yaml::Deserializer::from_str(&text));
        world.store.apply(crate::store::Change::Upsert(service.unwrap_or_else(|e| panic!("{e} in {text}"))));
    }
    let key = ObjectKey::new(Kind::Gateway, "a", "g");
    let mut problems = Problems::default();
    let found = provisioned(&world.reader(), &key, &gateway, false, &Options::default(), &mut problems);
    assert_eq!(found.bind, [Options::default().listen_address], "the listeners are served all the same");
    let assigned = found.assigned.into_iter().map(|a| format!("{} {}", a.type_.unwrap().as_ref(), a.value));
    let reason = found.refused.map(|(reason, _)| reason).or(found.obstacle.map(|o| o.reason));
    (assigned.collect(), reason.unwrap_or_default())
}

fn balancer(ingress: &str) -> String {
    format!(
        "spec: {{type: LoadBalancer, clusterIP: 10.0.0.1}}, status: {{loadBalancer: {{ingress: [{ingress}]}}}}"
    )
}

fn texts(expected: &[&str]) -> Vec<String> {
    expected.iter().map(ToString::to_string).collect()
}

#[test]
fn without_a_wish_all_addresses_of_the_service_are_taken() {
    let not_assigned = reason::ADDRESS_NOT_ASSIGNED;
    assert_eq!(outcome("", None), (vec![], not_assigned));
    for (service, expected, reason) in [
        (balancer(""), &[][..], not_assigned),
        (balancer("{ip: 192.0.2.1}"), &["IPAddress 192.0.2.1"], ""),
        (balancer("{hostname: lb.example}"), &["Hostname lb.example"], ""),
        (
            balancer("{ip: 192.0.2.1, hostname: lb.example}, {ip: '2001:db8::1'}"),
            &["IPAddress 192.0.2.1", "Hostname lb.example", "IPAddress 2001:db8::1"],
            "",
        ),
        ("spec: {}".to_owned(), &[], not_assigned),
        ("spec: {clusterIP: 10.0.0.1}".to_owned(), &["IPAddress 10.0.0.1"], ""),
        (
            "spec: {type: NodePort, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1']}".to_owned(),
            &["IPAddress 10.0.0.1", "IPAddress fd00::1"],
            "",
        ),
        ("spec: {clusterIP: None}".to_owned(), &[], not_assigned),
        (
            "spec: {clusterIP: 10.0.0.1, externalIPs: [192.0.2.7]}".to_owned(),
            &["IPAddress 10.0.0.1", "IPAddress 192.0.2.7"],
            "",
        ),
    ] {
        assert_eq!(outcome("", Some((OWNED, &service))), (texts(expected), reason), "{service}");
    }
}

#[test]
fn what_the_gateway_asks_for() {
    let service = balancer("{ip: 192.0.2.1}, {ip: '2001:db8::1'}, {hostname: lb.example}");
    for (addresses, expected, reason) in [
        ("{value: 192.0.2.1}", &["IPAddress 192.0.2.1"][..], ""),
        ("{type: IPAddress, value: '2001:DB8:0::1'}", &["IPAddress 2001:DB8:0::1"], ""),
        ("{type: Hostname, value: lb.example}", &["Hostname lb.example"], ""),
        (
            "{type: Hostname, value: lb.example}, {value: 192.0.2.1}",
            &["Hostname lb.example", "IPAddress 192.0.2.1"],
            "",
        ),
        ("{}", &["IPAddress 192.0.2.1"], ""),
        ("{}, {}", &["IPAddress 192.0.2.1", "IPAddress 2001:db8::1"], ""),
        ("{}, {}, {}", &["IPAddress 192.0.2.1", "IPAddress 2001:db8::1"], reason::ADDRESS_NOT_ASSIGNED),
        ("{value: ''}, {value: 192.0.2.1}", &["IPAddress 2001:db8::1", "IPAddress 192.0.2.1"], ""),
        ("{type: Hostname}", &["Hostname lb.example"], ""),
        ("{value: 192.0.2.9}", &[], reason::ADDRESS_NOT_USABLE),
        ("{value: 192.0.2.9}, {value: 192.0.2.1}", &["IPAddress 192.0.2.1"], reason::ADDRESS_NOT_USABLE),
        ("{type: Hostname, value: www.example}", &[], reason::ADDRESS_NOT_USABLE),
        ("{type: NamedAddress, value: mine}", &[], reason::UNSUPPORTED_ADDRESS),
        ("{type: example.com/Kind}", &[], reason::UNSUPPORTED_ADDRESS),
        ("{value: 192.0.2}", &[], reason::UNSUPPORTED_ADDRESS),
    ] {
        assert_eq!(outcome(addresses, Some((OWNED, &service))), (texts(expected), reason), "{addresses}");
    }
    let one = balancer("{ip: 192.0.2.1}");
    let none = balancer("");
    for (addresses, service, reason) in [
        ("{type: Hostname}", Some((OWNED, one.as_str())), reason::ADDRESS_NOT_ASSIGNED),
        ("{type: Hostname}, {value: 192.0.2.9}", Some((OWNED, &one)), reason::ADDRESS_NOT_USABLE),
        ("{value: 192.0.2.9}", Some((OWNED, &none)), reason::ADDRESS_NOT_USABLE),
        ("{value: 192.0.2.9}", None, reason::ADDRESS_NOT_ASSIGNED),
    ] {
        assert_eq!(outcome(addresses, service), (vec![], reason), "{addresses}");
    }
}

/// `value routability` of the assigned addresses, the reason why the Gateway is not programmed, and that of `AddressesAssigned`.
fn routed(addresses: &str, service: &str) -> (Vec<String>, &'static str, &'static str) {
    let text = format!("spec: {{gatewayClassName: c, addresses: [{addresses}]}}");
    let mut gateway = Gateway::of(&object(Kind::Gateway, "a/g", &text)).unwrap().as_ref().clone();
    gateway.metadata.uid = Some("u1".to_owned());
    let text = format!("{{metadata: {{namespace: a, name: g, {OWNED}}}, {service}}}");
    let from = serde_yaml::Deserializer::from_str(&text);
    let service = crate::object::Object::deserialize(Kind::Service, from).unwrap();
    let mut world = World::default();
    world.store.apply(crate::store::Change::Upsert(service));
    let key = ObjectKey::new(Kind::Gateway, "a", "g");
    let options = Options { experimental: true, ..Options::default() };
    let found = provisioned(&world.reader(), &key, &gateway, false, &options, &mut Problems::default());
    let assigned = found.assigned.into_iter().map(|it| format!("{} {:?}", it.value, it.routability.unwrap()));
    let assignment = match found.assignment.unwrap() {
        Assignment::All => "all",
        Assignment::Some(_) => "some",
        Assignment::None(_) => "none",
    };
    (assigned.collect(), found.obstacle.map_or("", |o| o.reason), assignment)
}

/// GEP-5093, and the scenarios that its conformance tests are to cover.
#[test]
fn from_where_an_address_is_reachable() {
    let balancer = balancer("{ip: 192.0.2.1}");
    let inside = "spec: {type: ClusterIP, clusterIP: 10.0.0.1}";
    let none = reason::ADDRESS_NOT_ASSIGNED;
    let (public, cluster) = ("192.0.2.1 \"\"", "10.0.0.1 \"Cluster\"");
    for (addresses, service, expected, obstacle, assignment) in [
        ("", balancer.as_str(), &[public][..], "", "all"),
        ("", inside, &[cluster], "", "all"),
        ("", "spec: {type: LoadBalancer, clusterIP: 10.0.0.1}", &[], none, "none"),
        ("{routability: ''}", inside, &[cluster], "", "all"),
        ("{routability: Cluster}", inside, &[cluster], "", "all"),
        ("{value: 10.0.0.1, routability: Cluster}", inside, &[cluster], "", "all"),
        ("{}, {routability: Cluster}", &balancer, &[public, cluster], "", "all"),
        ("{routability: Cluster}, {}", &balancer, &[cluster, public], "", "all"),
        ("{}, {routability: Cluster}", inside, &[cluster], none, "some"),
        (
            "{routability: testing.x-k8s.io/sentinel}",
            &balancer,
            &["192.0.2.1 \"testing.x-k8s.io/sentinel\""],
            "",
            "all",
        ),
        // What cannot be had is never replaced, and costs those nothing that can.
        ("{value: 192.0.2.1, routability: Cluster}", &balancer, &[], none, "none"),
        ("{value: 192.0.2.1, routability: Cluster}, {}", &balancer, &[public], "", "some"),
        ("{routability: example.com/vpc}", &balancer, &[], none, "none"),
        ("{routability: testing.x-k8s.io/other}, {}", &balancer, &[public], "", "some"),
        ("{type: Hostname, routability: Cluster}", &balancer, &[], none, "none"),
        ("{routability: Cluster}, {routability: Cluster}", &balancer, &[cluster], "", "some"),
        // Addresses that anybody may ask for are as before.
        ("{value: 192.0.2.9}, {value: 192.0.2.1}", &balancer, &[public], reason::ADDRESS_NOT_USABLE, "some"),
    ] {
        assert_eq!(
            routed(addresses, service),
            (texts(expected), obstacle, assignment),
            "{addresses} {service}"
        );
    }
}

/// The CRDs of the standard channel would drop the field, and we would write it again and again.
#[test]
fn the_standard_channel_hears_nothing_of_it() {
    let gateway = object(Kind::Gateway, "a/g", "spec: {gatewayClassName: c}");
    let mut gateway = Gateway::of(&gateway).unwrap().as_ref().clone();
    gateway.metadata.uid = Some("u1".to_owned());
    let text = format!("{{metadata: {{namespace: a, name: g, {OWNED}}}, spec: {{clusterIP: 10.0.0.1}}}}");
    let from = serde_yaml::Deserializer::from_str(&text);
    let service = crate::object::Object::deserialize(Kind::Service, from).unwrap();
    let mut world = World::default();
    world.store.apply(crate::store::Change::Upsert(service));
    let key = ObjectKey::new(Kind::Gateway, "a", "g");
    let (options, mut problems) = (Options::default(), Problems::default());
    let found = provisioned(&world.reader(), &key, &gateway, false, &options, &mut problems);
    assert_eq!(found.assigned.len(), 1);
    assert!(found.assigned.iter().all(|address| address.routability.is_none()));
}

#[test]
fn a_service_of_somebody_else_is_no_address() {
    for owner in ["labels: {}", "ownerReferences: [{apiVersion: v1, kind: Gateway, name: g, uid: u2}]"] {
        assert_eq!(
            outcome("", Some((owner, "spec: {clusterIP: 10.0.0.1}"))),
            (vec![], reason::INVALID),
            "{owner}"
        );
    }
}
