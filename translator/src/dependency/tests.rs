use k8s_openapi::api::core::v1::Service;
use postern_api::gateway_api::ParentReference;
use serde::de::DeserializeOwned;

use super::*;
use crate::gateway::ListenerSetDraft;
use crate::object::Object;
use crate::store::Change;

/// A value from YAML.
pub(crate) fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// An object named `name` (`namespace/name`); `rest` are its other fields as a YAML flow without braces.
pub(crate) fn object(kind: Kind, name: &str, rest: &str) -> Object {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let text = format!("{{metadata: {{namespace: '{namespace}', name: '{name}'}}, {rest}}}");
    Object::deserialize(kind, serde_yaml::Deserializer::from_str(&text))
        .unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The name of an object or of a Gateway, from `namespace/name`.
pub(crate) fn named(name: &str) -> NamespacedName {
    let (namespace, name) = name.split_once('/').unwrap();
    NamespacedName::new(namespace, name)
}

/// What a unit under test can read.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) gateways: BTreeMap<NamespacedName, Arc<GatewayModel>>,
    pub(crate) sets: ListenerSets,
    routes: BTreeMap<ObjectKey, RouteShares>,
    pub(crate) handed: BTreeMap<ObjectKey, BTreeMap<ObjectKey, Vec<Handed>>>,
    pub(crate) clusters: BTreeMap<ClusterId, ClusterState>,
}

impl World {
    pub(crate) fn new(objects: &[(Kind, &str, &str)]) -> Self {
        let mut world = Self::default();
        for (kind, name, rest) in objects {
            world.store.apply(Change::Upsert(object(*kind, name, rest)));
        }
        world
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        let results = Results {
            sets: &self.sets,
            gateways: &self.gateways,
            routes: &self.routes,
            handed: &self.handed,
            clusters: &self.clusters,
            provision: false,
        };
        Reader::new(&self.store, results)
    }
}

fn unit(name: &str) -> Unit {
    Unit::Policy(NamespacedName::new("a", name))
}

fn grants(namespace: &str) -> Dependency {
    Dependency::Grants(namespace.to_owned())
}

fn reads(dependencies: &[&Dependency]) -> Vec<DependencyId> {
    let mut ids: Vec<DependencyId> = dependencies.iter().map(|d| d.id()).collect();
    ids.sort_unstable();
    ids
}

fn readers(index: &Dependencies, dependency: &Dependency) -> Vec<Unit> {
    let mut units: Vec<Unit> = index.readers(dependency).cloned().collect();
    units.sort();
    units
}

#[test]
fn the_index_follows_what_units_read_last() {
    let (x, y, z) = (grants("x"), grants("y"), grants("z"));
    let mut index = Dependencies::default();
    index.record(&unit("1"), reads(&[&x, &y]));
    index.record(&unit("2"), reads(&[&y]));
    assert_eq!(readers(&index, &x), [unit("1")]);
    assert_eq!(readers(&index, &y), [unit("1"), unit("2")]);
    index.record(&unit("1"), reads(&[&y, &z]));
    assert_eq!(readers(&index, &x), []);
    assert_eq!(readers(&index, &y), [unit("1"), unit("2")]);
    assert_eq!(readers(&index, &z), [unit("1")]);
    index.record(&unit("2"), reads(&[]));
    assert_eq!(readers(&index, &y), [unit("1")]);
}

#[test]
fn nothing_is_left_of_a_removed_unit() {
    let (x, y) = (grants("x"), grants("y"));
    let mut index = Dependencies::default();
    index.record(&unit("1"), reads(&[&x, &y]));
    index.remove(&unit("1"));
    index.remove(&unit("never recorded"));
    assert!(index.readers.is_empty() && index.reads.is_empty() && index.units.is_empty());
    // The number of the removed unit is given to another, which must not inherit anything.
    index.record(&unit("2"), reads(&[&y]));
    assert_eq!(readers(&index, &x), []);
    assert_eq!(readers(&index, &y), [unit("2")]);
}

#[test]
fn a_dependency_wakes_only_its_readers() {
    let all: Vec<Dependency> = (0..200).map(|i| grants(&i.to_string())).collect();
    let mut index = Dependencies::default();
    for (i, dependency) in all.iter().enumerate() {
        index.record(&unit(&i.to_string()), reads(&[dependency]));
    }
    for (i, dependency) in all.iter().enumerate() {
        assert_eq!(readers(&index, dependency), [unit(&i.to_string())]);
    }
}

/// For each question that a unit can ask: a change that alters the answer must touch what was noted, whether the
/// object comes, changes or goes.
#[test]
fn every_question_notes_what_its_answer_depends_on() {
    type Question = fn(&Reader<'_>);
    let questions: &[(&str, Question, Kind, &str, &str)] = &[
        ("get", |r| drop(r.get::<Service>("a", "s").cloned()), Kind::Service, "a/s", "spec: {}"),
        ("labels", |r| drop(r.labels(&ObjectKey::new(Kind::Namespace, "", "n"))), Kind::Namespace, "n", ""),
        (
            "endpoint_slices",
            |r| assert!(r.endpoint_slices(&ObjectKey::new(Kind::Service, "a", "s")).count() < 2),
            Kind::EndpointSlice,
            "a/s-1",
            "addressType: IPv4, endpoints: []",
        ),
        (
            "grants",
            |r| assert!(r.grants("a").count() < 2),
            Kind::ReferenceGrant,
            "a/g",
            "spec: {from: [], to: []}",
        ),
        ("policy", |r| drop(r.policy(&named("a/p")).cloned()), Kind::TrafficPolicy, "a/p", "spec: {}"),
        ("objects_in", |r| drop(r.objects_in(Kind::HttpRoute, "a")), Kind::HttpRoute, "a/r", "spec: {}"),
        (
            "policies_on by name",
            |r| drop(r.policies_on(&Target::new(Kind::HttpRoute, &named("a/r"), None))),
            Kind::TrafficPolicy,
            "a/p",
            "spec: {targetRefs: [{kind: HTTPRoute, name: r}]}",
        ),
        (
            "tls_policies_on",
            |r| assert!(r.tls_policies_on(&ObjectKey::new(Kind::Service, "a", "s")).count() < 2),
            Kind::BackendTlsPolicy,
            "a/p",
            "spec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: h}}",
        ),
        ("config", |r| drop(r.config(&named("a/p")).cloned()), Kind::BackendConfigPolicy, "a/p", "spec: {}"),
        (
            "configs_on by name",
            |r| assert!(r.configs_on(&ObjectKey::new(Kind::Service, "a", "s")).len() < 2),
            Kind::BackendConfigPolicy,
            "a/p",
            "spec: {targetRefs: [{kind: Service, name: s}]}",
        ),
        (
            "configs_on by label",
            |r| assert!(r.configs_on(&ObjectKey::new(Kind::Service, "a", "s")).is_empty()),
            Kind::BackendConfigPolicy,
            "a/p",
            "spec: {targetSelectors: [{kind: Service, matchLabels: {app: x}}]}",
        ),
        (
            "anchors",
            |r| drop(r.anchors(&ObjectKey::new(Kind::ConfigMap, "a", "ca"))),
            Kind::ConfigMap,
            "a/ca",
            "data: {}",
        ),
        (
            "policies_on by section",
            |r| drop(r.policies_on(&Target::new(Kind::HttpRoute, &named("a/r"), Some("n")))),
            Kind::TrafficPolicy,
            "a/p",
            "spec: {targetRefs: [{kind: HTTPRoute, name: r, sectionName: n}]}",
        ),
        (
            "policies_on by label",
            |r| drop(r.policies_on(&Target::new(Kind::HttpRoute, &named("a/r"), None))),
            Kind::TrafficPolicy,
            "a/p",
            "spec: {targetSelectors: [{kind: HTTPRoute, matchLabels: {app: x}}]}",
        ),
    ];
    for (name, question, kind, key, rest) in questions {
        let version = |generation: u8| {
            let (namespace, name) = key.split_once('/').unwrap_or(("", key));
            let text = format!(
                "{{metadata: {{namespace: '{namespace}', name: {name}, generation: {generation}, \
                 labels: {{kubernetes.io/service-name: s}}}}, {rest}}}"
            );
            Object::deserialize(*kind, serde_yaml::Deserializer::from_str(&text)).unwrap()
        };
        let mut world = World::default();
        let steps =
            [Change::Upsert(version(1)), Change::Upsert(version(2)), Change::Delete(version(2).key())];
        for (step, change) in steps.into_iter().enumerate() {
            let reader = world.reader();
            question(&reader);
            let noted = reader.into_reads().0;
            let touched = world.store.apply(change);
            // Names, labels and targets are the same after the second step.
            let asked_of_names_only = ["objects_in", "tls_policies_on"].contains(name) && step == 1;
            assert_eq!(
                touched.iter().any(|dependency| noted.contains(&dependency.id())),
                !asked_of_names_only,
                "{name}, step {step}: touched {touched:?}"
            );
        }
    }
}

/// For each question about what others have made of Gateways and routes, what it notes.
#[test]
fn models_of_gateways_and_parents_of_routes_are_noted() {
    type Question<'a> = &'a dyn Fn(&Reader<'_>);
    let (web, set) = (named("a/web"), named("b/set"));
    let mut world = World::default();
    world.gateways.insert(web.clone(), Arc::new(GatewayModel::new(web.clone(), vec![], None, false)));
    world.sets.replace(&set, Some(ListenerSetDraft::test(&set, &web)));
    let ours = |name: &NamespacedName| Dependency::Gateway(name.clone());
    let nobodys = named("a/nobodys");
    let of_set = Dependency::ListenerSet(set.clone());
    let route = ObjectKey::new(Kind::HttpRoute, "a", "r");
    let parent = |kind: &str, name: &str| yaml::<ParentReference>(&format!("{{kind: {kind}, name: {name}}}"));
    let (gateway_ref, set_ref) = (parent("Gateway", "web"), parent("ListenerSet", "set"));
    let questions: [(Question<'_>, Vec<Dependency>); 9] = [
        (&|r| assert!(r.default_gateways().is_empty()), vec![Dependency::DefaultGateways]),
        (&|r| assert!(r.is_ours(&web)), vec![ours(&web)]),
        (&|r| assert!(!r.is_ours(&nobodys)), vec![ours(&nobodys)]),
        (&|r| assert!(r.ports(&web).is_some()), vec![ours(&web), Dependency::Ports(web.clone())]),
        (&|r| assert_eq!(r.listener_sets(&web).len(), 1), vec![Dependency::ListenerSets(web.clone())]),
        (&|r| assert!(r.gateway_of_set(&set).is_some()), vec![of_set.clone()]),
        (&|r| assert!(r.parents(&route).is_empty()), vec![Dependency::Parents(route.clone())]),
        (
            &|r| assert!(r.parent(&gateway_ref, "a").unwrap().listeners().is_empty()),
            vec![ours(&web), Dependency::Listeners(web.clone(), None)],
        ),
        (
            &|r| assert!(r.parent(&set_ref, "b").unwrap().owner(80, &Hostname::Any).is_none()),
            vec![of_set.clone(), ours(&web), Dependency::Owner(web.clone(), 80, Hostname::Any)],
        ),
    ];
    for (number, (question, expected)) in questions.into_iter().enumerate() {
        let reader = world.reader();
        question(&reader);
        assert_eq!(reader.into_reads().0, reads(&expected.iter().collect::<Vec<_>>()), "{number}");
    }
}

/// Policies on a target come from the oldest to the youngest, each once, also those that select it by label.
#[test]
fn policies_on_a_target_are_ordered_by_age() {
    let by_name = "spec: {targetRefs: [{kind: HTTPRoute, name: r}]}";
    let both = "spec: {targetRefs: [{kind: HTTPRoute, name: r}], targetSelectors: [{kind: HTTPRoute, matchLabels: {app: x}}]}";
    let at = |time: &str, name: &str, rest: &str| {
        let text = format!(
            "{{metadata: {{namespace: a, name: {name}, creationTimestamp: '{time}', labels: {{app: x}}}}, {rest}}}"
        );
        text
    };
    let mut world = World::default();
    for (kind, text) in [
        (Kind::HttpRoute, at("2026-01-01T00:00:00Z", "r", "spec: {}")),
        (Kind::TrafficPolicy, at("2026-01-03T00:00:00Z", "a-young", by_name)),
        (Kind::TrafficPolicy, at("2026-01-01T00:00:00Z", "z-old", both)),
        (Kind::TrafficPolicy, at("2026-01-03T00:00:00Z", "b-young", by_name)),
        (
            Kind::TrafficPolicy,
            at(
                "2026-01-02T00:00:00Z",
                "other",
                "spec: {targetSelectors: [{kind: HTTPRoute, matchLabels: {app: y}}]}",
            ),
        ),
    ] {
        let object = Object::deserialize(kind, serde_yaml::Deserializer::from_str(&text)).unwrap();
        world.store.apply(Change::Upsert(object));
    }
    let reader = world.reader();
    let found = reader.policies_on(&Target::new(Kind::HttpRoute, &named("a/r"), None));
    let names: Vec<&str> = found.iter().map(|p| p.key.name.as_str()).collect();
    assert_eq!(names, ["z-old", "a-young", "b-young"]);
}

/// A policy of another namespace needs a ReferenceGrant of the target's namespace.
#[test]
fn policies_cross_namespaces_only_with_a_grant() {
    let mut world = World::new(&[(
        Kind::TrafficPolicy,
        "b/p",
        "spec: {targetRefs: [{kind: HTTPRoute, name: r, namespace: a}]}",
    )]);
    let target = Target::new(Kind::HttpRoute, &named("a/r"), None);
    assert!(world.reader().policies_on(&target).is_empty());
    world.store.apply(Change::Upsert(object(
        Kind::ReferenceGrant,
        "a/g",
        "spec: {from: [{group: gateway.kgateway.dev, kind: TrafficPolicy, namespace: b}], to: [{group: \
         gateway.networking.k8s.io, kind: HTTPRoute}]}",
    )));
    assert_eq!(world.reader().policies_on(&target).len(), 1);
}
