use postern_api::gateway_api::{TcpRoute, TlsRoute, UdpRoute};

use super::*;
use crate::dependency::tests::{World, object};
use crate::object::{Object, Stored};
use crate::problem::Severity;

/// A world with the Services `a/s` (TCP and UDP under one number) and `a/tcp`.
fn world() -> World {
    World::new(&[
        (
            Kind::Service,
            "a/s",
            "spec: {ports: [{name: t, port: 53}, {name: u, port: 53, protocol: UDP}, {name: w, port: 80}]}",
        ),
        (Kind::Service, "a/tcp", "spec: {ports: [{port: 53}]}"),
    ])
}

/// What was read, and the fields of errors.
fn read(kind: Kind, rules: &str, protocols: &[Protocol]) -> (StreamRules, Vec<String>) {
    fn spec<T: Stored + Clone>(object: &Object) -> T {
        T::clone(T::of(object).unwrap())
    }
    let route = object(kind, "a/r", &format!("spec: {{rules: {rules}}}"));
    let rules = match kind {
        Kind::TlsRoute => spec::<TlsRoute>(&route).spec.rules,
        Kind::TcpRoute => spec::<TcpRoute>(&route).spec.rules,
        _ => spec::<UdpRoute>(&route).spec.rules,
    };
    let world = world();
    let mut problems = Problems::default();
    let read = StreamRules::parse(
        &world.reader(),
        &route.key(),
        route.metadata(),
        &rules,
        &protocols.iter().copied().collect(),
        &mut problems,
    );
    let errors = problems.iter().filter(|it| it.severity == Severity::Error);
    (read, errors.map(|it| it.field.clone()).collect())
}

/// `weight cluster` of each target.
fn targets(rules: &StreamRules, traffic: Traffic) -> Vec<String> {
    let name = |target: &Target| target.cluster.as_ref().map_or("nowhere".to_owned(), ClusterId::name);
    rules.targets[&traffic].iter().map(|target| format!("{} {}", target.weight, name(target))).collect()
}

fn reasons(rules: &StreamRules) -> Vec<(Option<&str>, Option<&str>)> {
    let reason = |it: Option<&(&'static str, String)>| it.map(|(reason, _)| *reason);
    rules.verdicts().iter().map(|it| (reason(it.refused), reason(it.unresolved))).collect()
}

#[test]
fn backends_keep_their_weights() {
    let refs = "[{backendRefs: [{name: s, port: 53, weight: 3}, {name: tcp, port: 53}, {name: s, port: 80, weight: 0}]}]";
    let (rules, errors) = read(Kind::TcpRoute, refs, &[Protocol::Tcp]);
    assert_eq!(targets(&rules, Traffic::Connections), ["3 a/s:53", "1 a/tcp:53"]);
    assert_eq!((reasons(&rules), errors), (vec![(None, None)], vec![]));
}

/// Envoy refuses a cluster that is named twice, and so are references that lead nowhere added up.
#[test]
fn one_target_for_each_cluster_and_one_for_nowhere() {
    let refs = "[{backendRefs: [{name: s, port: 53, weight: 3}, {name: gone, port: 1, weight: 4}, {name: s, port: 53}, {name: \
                gone, port: 2}]}]";
    let (rules, errors) = read(Kind::TcpRoute, refs, &[Protocol::Tcp]);
    assert_eq!(targets(&rules, Traffic::Connections), ["4 a/s:53", "5 nowhere"]);
    assert_eq!(reasons(&rules), [(None, Some(reason::BACKEND_NOT_FOUND))]);
    let field = |index| format!("spec.rules[0].backendRefs[{index}].name");
    assert_eq!(errors, [field(1), field(3)]);
}

#[test]
fn datagrams_mean_the_udp_port() {
    let refs = "[{backendRefs: [{name: s, port: 53}, {name: tcp, port: 53}]}]";
    let (rules, errors) = read(Kind::UdpRoute, refs, &[Protocol::Udp]);
    let known = targets(&rules, Traffic::Datagrams);
    assert_eq!(known.len(), 2);
    assert!(known[0].contains("a/s:53") && known[1].ends_with("nowhere"), "{known:?}");
    assert_eq!(errors.len(), 1);
    assert_eq!(reasons(&rules).len(), 1);
}

/// A rule cannot be told apart from the first, so it is refused and the first serves.
#[test]
fn there_is_one_rule() {
    let refs = "[{backendRefs: [{name: s, port: 53}]}, {backendRefs: [{name: tcp, port: 53}]}]";
    let (rules, errors) = read(Kind::TcpRoute, refs, &[Protocol::Tcp]);
    assert_eq!(targets(&rules, Traffic::Connections), ["1 a/s:53"]);
    assert_eq!(reasons(&rules), [(None, None), (Some(reason::UNSUPPORTED_VALUE), None)]);
    assert_eq!(errors, ["spec.rules[1]"]);
    let (rules, errors) = read(Kind::TcpRoute, "[]", &[Protocol::Tcp]);
    assert_eq!((targets(&rules, Traffic::Connections), errors), (vec![], vec!["spec.rules".to_owned()]));
}

#[test]
fn a_weight_beyond_the_api_stops_the_rule() {
    let refs = "[{backendRefs: [{name: s, port: 53}, {name: tcp, port: 53, weight: 1000001}]}]";
    let (rules, errors) = read(Kind::TcpRoute, refs, &[Protocol::Tcp]);
    assert!(targets(&rules, Traffic::Connections).is_empty());
    assert_eq!(reasons(&rules), [(Some(reason::UNSUPPORTED_VALUE), None)]);
    assert_eq!(errors, ["spec.rules[0].backendRefs[1].weight"]);
}

/// What a route is attached to decides whether a policy on its backends has a part in it.
#[test]
fn targets_are_read_for_every_kind_of_traffic() {
    let refs = "[{backendRefs: [{name: s, port: 53}]}]";
    let traffic = |protocols: &[Protocol]| {
        let (rules, _) = read(Kind::TlsRoute, refs, protocols);
        rules.targets.keys().copied().collect::<Vec<_>>()
    };
    assert_eq!(traffic(&[Protocol::TlsPassthrough]), [Traffic::Ciphertext]);
    assert_eq!(traffic(&[Protocol::TlsTerminate]), [Traffic::Connections]);
    let mut both = vec![Traffic::Connections, Traffic::Ciphertext];
    both.sort();
    assert_eq!(traffic(&[Protocol::TlsPassthrough, Protocol::TlsTerminate]), both);
    assert_eq!(traffic(&[]), [Traffic::Ciphertext], "what does not resolve is said without a listener, too");
}
