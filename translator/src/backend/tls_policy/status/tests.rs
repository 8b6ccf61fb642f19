use super::super::tests::authority;
use super::*;
use crate::backend::{ClusterId, Upstream};
use crate::dependency::tests::{World, named, object};
use crate::store::Change;

/// Which Gateway uses which port of the Service `a/s` over TLS (`one` is 80, `two` is 81).
const USERS: [(&str, u16); 3] = [("a/first", 80), ("b/second", 80), ("a/first", 81)];

fn world(policies: &[(&str, &str)]) -> World {
    let ca = authority();
    let mut world = World::new(&[
        (Kind::ConfigMap, "a/ca", &ca),
        (Kind::Service, "a/s", "spec: {ports: [{name: one, port: 80}, {name: two, port: 81}]}"),
        (Kind::Service, "a/unused", "spec: {ports: [{port: 80}]}"),
    ]);
    for (index, (name, target)) in policies.iter().enumerate() {
        let (target, ca) = target.split_once("; ").unwrap_or((target, "ca"));
        let spec = format!(
            "spec: {{targetRefs: [{target}], validation: {{hostname: h.example.com, caCertificateRefs: [{{group: '', kind: \
             ConfigMap, name: {ca}}}]}}}}"
        );
        let text = format!(
            "{{metadata: {{namespace: a, name: {name}, generation: 3, creationTimestamp: '2026-01-0{}T00:00:00Z'}}, {spec}}}",
            index + 1
        );
        let policy = crate::object::Object::deserialize(
            Kind::BackendTlsPolicy,
            serde_yaml::Deserializer::from_str(&text),
        )
        .unwrap();
        world.store.apply(Change::Upsert(policy));
    }
    for (gateway, port) in USERS {
        use_port(&mut world, gateway, port, Security::Tls);
    }
    world
}

fn use_port(world: &mut World, gateway: &str, port: u16, security: Security) {
    let backend = BackendObject::Service(named("a/s"), port);
    let id = ClusterId { backend, upstream: Upstream::Http1, security };
    world.clusters.entry(id).or_default().users.add(&named(gateway));
}

/// `gateway: Accepted/reason ResolvedRefs/reason`, and the fields of problems.
fn told(world: &World, policy: &str) -> (Vec<String>, Vec<String>) {
    let (status, problems) = translate(&world.reader(), &named(policy), &Options::default());
    let ancestors = status.map(|status| status.ancestors).unwrap_or_default();
    let lines = ancestors.iter().map(|ancestor| {
        let at = &ancestor.ancestor_ref;
        let conditions: Vec<String> =
            ancestor.conditions.iter().map(|c| format!("{}/{}", c.status, c.reason)).collect();
        assert!(ancestor.conditions.iter().all(|c| c.observed_generation == Some(3)));
        format!("{}/{}: {}", at.namespace.as_deref().unwrap(), at.name, conditions.join(" "))
    });
    (lines.collect(), problems.iter().map(|p| p.field.clone()).collect())
}

const WHOLE: &str = "{group: '', kind: Service, name: s}";
const PORT_TWO: &str = "{group: '', kind: Service, name: s, sectionName: two}";
const GOOD: &str = "True/Accepted True/ResolvedRefs";
const LOST: &str = "False/Conflicted True/ResolvedRefs";

#[test]
fn every_gateway_that_sends_requests_is_an_ancestor() {
    let all = world(&[("p", WHOLE)]);
    assert_eq!(told(&all, "a/p"), (vec![format!("a/first: {GOOD}"), format!("b/second: {GOOD}")], vec![]));
    let one = world(&[("p", PORT_TWO)]);
    assert_eq!(told(&one, "a/p"), (vec![format!("a/first: {GOOD}")], vec![]));
}

#[test]
fn policies_of_nobody_here_have_no_status() {
    let mut world = world(&[
        ("unused", "{group: '', kind: Service, name: unused}; gone"),
        ("missing", "{group: '', kind: Service, name: gone}"),
        ("foreign", "{group: x.y, kind: Service, name: s}"),
        ("through", "{group: '', kind: Service, name: s, sectionName: three}"),
    ]);
    assert_eq!(told(&world, "a/unused"), (vec![], vec![]));
    assert_eq!(told(&world, "a/missing"), (vec![], vec!["spec.targetRefs[0].name".to_owned()]));
    assert_eq!(told(&world, "a/foreign"), (vec![], vec!["spec.targetRefs[0].kind".to_owned()]));
    assert_eq!(told(&world, "a/nobody"), (vec![], vec![]));
    // TLS that passes through ends at the backend, and no policy has a say in it.
    world.store.apply(Change::Upsert(object(
        Kind::Service,
        "a/s",
        "spec: {ports: [{name: one, port: 80}, {name: three, port: 82}]}",
    )));
    use_port(&mut world, "c/through", 82, Security::Cleartext);
    assert_eq!(told(&world, "a/through"), (vec![], vec![]));
}

/// GEP-713: of two on the same target the older one counts; one that names the port is no rival of one that does not.
#[test]
fn the_younger_of_two_is_in_conflict() {
    let world = world(&[("old", WHOLE), ("young", WHOLE), ("port", PORT_TWO), ("port-young", PORT_TWO)]);
    let both = |what: &str| vec![format!("a/first: {what}"), format!("b/second: {what}")];
    assert_eq!(told(&world, "a/old").0, both(GOOD));
    assert_eq!(told(&world, "a/young").0, both(LOST));
    assert_eq!(told(&world, "a/port").0, [format!("a/first: {GOOD}")]);
    assert_eq!(told(&world, "a/port-young").0, [format!("a/first: {LOST}")]);
}

/// Otherwise a younger policy with weaker rules could be brought in by breaking the older one.
#[test]
fn a_policy_that_is_not_valid_counts_all_the_same() {
    let world = world(&[("broken", "{group: '', kind: Service, name: s}; gone"), ("young", WHOLE)]);
    let broken = "False/NoValidCACertificate False/InvalidCACertificateRef";
    assert_eq!(
        told(&world, "a/broken"),
        (
            vec![format!("a/first: {broken}"), format!("b/second: {broken}")],
            vec!["spec.validation.caCertificateRefs[0].name".to_owned()]
        )
    );
    assert_eq!(told(&world, "a/young").0[0], format!("a/first: {LOST}"));
}

#[test]
fn a_port_that_does_not_exist_is_not_found() {
    let world = world(&[("p", "{group: '', kind: Service, name: s, sectionName: nope}")]);
    let missing = "False/TargetNotFound True/ResolvedRefs";
    assert_eq!(
        told(&world, "a/p"),
        (
            vec![format!("a/first: {missing}"), format!("b/second: {missing}")],
            vec!["spec.targetRefs[0].sectionName".to_owned()]
        )
    );
}

/// A policy that counts on one of its targets is accepted, and says where it does not.
#[test]
fn some_targets_may_be_lost() {
    let both = format!("{PORT_TWO}, {{group: '', kind: Service, name: s, sectionName: one}}");
    let world = world(&[("old", PORT_TWO), ("young", &both)]);
    let (status, _) = translate(&world.reader(), &named("a/young"), &Options::default());
    let accepted = &status.unwrap().ancestors[0].conditions[0];
    assert!(accepted.is_true());
    assert!(accepted.message.contains("BackendTLSPolicy a/old"), "{}", accepted.message);
}

/// Gateway API: at most sixteen ancestors.
#[test]
fn the_status_is_bounded() {
    let mut world = world(&[("p", WHOLE)]);
    for index in 0..20 {
        use_port(&mut world, &format!("z/g{index}"), 80, Security::Tls);
    }
    assert_eq!(told(&world, "a/p").0.len(), MAX_ANCESTORS);
}
