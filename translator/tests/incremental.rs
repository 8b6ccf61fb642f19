//! Incremental translation against translation from scratch, byte for byte, for random sequences of changes.

#[path = "support/objects.rs"]
mod objects;
#[path = "incremental/slots.rs"]
mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use postern_translator::{
    Change, Infrastructure, Kind, NamespacedName, Object, ObjectKey, Options, Resource, Translator, Update,
};
use proptest::prelude::*;

use self::slots::SLOTS;

/// Stands for the data of a Secret of the golden `gateway-https`; the variant says which.
const CERTIFICATES: &str = "certificates";

fn certificate(variant: usize) -> &'static str {
    static DATA: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let all = DATA.get_or_init(|| {
        let golden = include_str!("golden/gateway-https/input.yaml");
        let secrets = objects::load(golden).into_iter().filter_map(|object| match object {
            Object::Secret(secret) => secret.data.clone(),
            _ => None,
        });
        secrets
            .map(|data| {
                let text = |name: &str| String::from_utf8(data[name].0.clone()).expect("PEM is text");
                format!("stringData: {{tls.crt: {:?}, tls.key: {:?}}}", text("tls.crt"), text("tls.key"))
            })
            .collect()
    });
    &all[variant % all.len()]
}

/// Puts the certificates of the authorities of the golden `backend-tls` in the place of their names.
fn with_authorities(content: &str) -> String {
    static DATA: std::sync::OnceLock<Vec<(String, String)>> = std::sync::OnceLock::new();
    let all = DATA.get_or_init(|| {
        let golden = objects::load(include_str!("golden/backend-tls/input.yaml"));
        let maps = golden.into_iter().filter_map(|object| match object {
            Object::ConfigMap(map) => {
                Some((map.metadata.name.clone()?, map.data.as_ref()?.get("ca.crt")?.clone()))
            }
            _ => None,
        });
        maps.collect()
    });
    all.iter().fold(content.to_owned(), |content, (name, pem)| {
        content.replace(&format!("${{{name}}}"), &format!("{pem:?}"))
    })
}

fn object(slot: usize, variant: usize) -> Object {
    let (kind, namespace, name, variants) = SLOTS[slot];
    let content = match variants[variant % variants.len()] {
        CERTIFICATES => certificate(variant / variants.len()),
        content => content,
    };
    let content = &with_authorities(content);
    let (metadata, body) =
        match content.strip_prefix("labels: ").map(|rest| rest.split_once("; ").unwrap_or((rest, ""))) {
            Some((labels, body)) => (format!(", labels: {labels}"), body),
            None => (String::new(), content.trim_matches(['{', '}'].as_slice()).trim()),
        };
    let body = if content.starts_with("labels: ") || content.starts_with("meta: ") {
        body
    } else if content == "{}" {
        ""
    } else {
        content
    };
    let (metadata, body) = match content.strip_prefix("meta: ").and_then(|rest| rest.split_once("; ")) {
        Some((given, body)) => (format!(", {given}"), body),
        None => (metadata, body),
    };
    // Routes of some variants carry the label that the selecting policy asks for.
    let metadata = if kind == Kind::HttpRoute && metadata.is_empty() && variant.is_multiple_of(2) {
        ", labels: {app: x}".to_owned()
    } else {
        metadata
    };
    let mut yaml = format!("{{apiVersion: {}, kind: {kind}, metadata: {{name: {name}", kind.api_version());
    if !namespace.is_empty() {
        let _ = write!(yaml, ", namespace: {namespace}");
    }
    let _ = write!(yaml, ", generation: {variant}{metadata}}}");
    if !body.is_empty() {
        let _ = write!(yaml, ", {body}");
    }
    yaml.push('}');
    objects::load(&yaml).remove(0)
}

/// A variant of any slot: beyond its last one they begin anew.
fn variant() -> std::ops::Range<usize> {
    0..2 * SLOTS.iter().map(|slot| slot.3.len()).max().unwrap_or_default()
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, usize),
    Delete(usize),
    /// The cluster serves ClusterTrustBundles, or does not.
    Serve(bool),
    Translate,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..SLOTS.len(), variant()).prop_map(|(slot, variant)| Step::Set(slot, variant)),
        2 => (0..SLOTS.len()).prop_map(Step::Delete),
        1 => any::<bool>().prop_map(Step::Serve),
        3 => Just(Step::Translate),
    ]
}

/// What a receiver of updates would hold.
#[derive(Debug, Default, PartialEq)]
struct Mirror {
    resources: BTreeMap<NamespacedName, BTreeMap<String, Vec<u8>>>,
    statuses: BTreeMap<ObjectKey, String>,
    infrastructure: BTreeMap<NamespacedName, Infrastructure>,
}

impl Mirror {
    fn take(&mut self, update: Update) {
        for name in update.removed_gateways {
            self.resources.remove(&name);
        }
        for (name, gateway) in update.gateways {
            let resources = self.resources.entry(name).or_default();
            for change in gateway.changes {
                let at = format!("{:?}/{}", change.resource_type, change.name);
                match change.resource {
                    Some(resource) => resources.insert(at, resource.body.to_vec()),
                    None => resources.remove(&at),
                };
            }
        }
        for (name, wanted) in update.infrastructure {
            let before = self.infrastructure.get(&name);
            assert_ne!(before, wanted.as_deref(), "{name}: nothing changed");
            match wanted {
                Some(wanted) => self.infrastructure.insert(name, (*wanted).clone()),
                None => self.infrastructure.remove(&name),
            };
        }
        for (key, status) in update.statuses {
            match status {
                Some(status) => self.statuses.insert(key, format!("{status:?}")),
                None => self.statuses.remove(&key),
            };
        }
    }

    fn of(translator: &Translator) -> Self {
        let body =
            |r: &std::sync::Arc<Resource>| (format!("{:?}/{}", r.resource_type, r.name), r.body.to_vec());
        Self {
            resources: translator
                .gateways()
                .map(|name| (name.clone(), translator.resources(name).map(body).collect()))
                .collect(),
            statuses: translator.statuses().iter().map(|(k, s)| (k.clone(), format!("{s:?}"))).collect(),
            infrastructure: translator
                .gateways()
                .map(|name| (name.clone(), (**translator.infrastructure(name).expect("ours")).clone()))
                .collect(),
        }
    }
}

/// The names of what two mirrors do not hold alike: their bytes would tell a reader nothing.
fn differing(one: &Mirror, other: &Mirror) -> Vec<String> {
    fn names<K: Ord + std::fmt::Display, V: PartialEq>(
        one: &BTreeMap<K, V>,
        other: &BTreeMap<K, V>,
    ) -> Vec<String> {
        let keys: BTreeSet<&K> = one.keys().chain(other.keys()).collect();
        keys.into_iter().filter(|key| one.get(key) != other.get(key)).map(ToString::to_string).collect()
    }
    let flat = |mirror: &Mirror| -> BTreeMap<String, Vec<u8>> {
        let of = |(gateway, resources): (&NamespacedName, &BTreeMap<String, Vec<u8>>)| {
            let named = |(at, body): (&String, &Vec<u8>)| (format!("{gateway}: {at}"), body.clone());
            // A Gateway without resources is one, too.
            resources.iter().map(named).chain([(gateway.to_string(), Vec::new())]).collect::<Vec<_>>()
        };
        mirror.resources.iter().flat_map(of).collect()
    };
    let mut out = names(&flat(one), &flat(other));
    out.extend(names(&one.statuses, &other.statuses));
    out.extend(names(&one.infrastructure, &other.infrastructure));
    out
}

fn options() -> Options {
    Options { provision: true, ..Options::default() }
}

/// Applies `steps` to `world` (the variant that each slot holds) and compares after each translation.
fn check(mut world: BTreeMap<usize, usize>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut incremental = Translator::new(options());
    for (slot, variant) in &world {
        incremental.apply(Change::Upsert(object(*slot, *variant)));
    }
    let mut mirror = Mirror::default();
    let mut references = BTreeSet::new();
    let mut served = true;
    for step in steps {
        match step {
            Step::Serve(now) => {
                served = now;
                incremental.set_served(Kind::ClusterTrustBundle, now);
                continue;
            }
            Step::Set(slot, variant) => {
                world.insert(slot, variant);
                incremental.apply(Change::Upsert(object(slot, variant)));
                continue;
            }
            Step::Delete(slot) => {
                world.remove(&slot);
                let (kind, namespace, name, _) = SLOTS[slot];
                incremental.apply(Change::Delete(ObjectKey::new(kind, namespace, name)));
                continue;
            }
            Step::Translate => {
                let update = incremental.translate();
                if update.references_changed {
                    prop_assert_ne!(&references, incremental.references(), "nothing changed");
                    references.clone_from(incremental.references());
                }
                mirror.take(update);
            }
        }
        let mut scratch = Translator::new(options());
        scratch.set_served(Kind::ClusterTrustBundle, served);
        for (slot, variant) in &world {
            scratch.apply(Change::Upsert(object(*slot, *variant)));
        }
        scratch.translate();
        let wanted = Mirror::of(&scratch);
        prop_assert_eq!(differing(&Mirror::of(&incremental), &wanted), Vec::<String>::new());
        prop_assert_eq!(incremental.references(), scratch.references());
        prop_assert_eq!(&references, scratch.references(), "a change of references was not told");
        prop_assert_eq!(differing(&mirror, &wanted), Vec::<String>::new(), "a change was not told");
        prop_assert_eq!(incremental.problems(), scratch.problems());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(steps in prop::collection::vec(step(), 1..60)) {
        check(BTreeMap::new(), steps)?;
    }

    /// The same from a world in which most things exist and each single change is translated: what a unit forgets
    /// to note shows only where it has something to say, and nothing else makes it run.
    #[test]
    fn incremental_equals_from_scratch_one_by_one(
        variants in prop::collection::vec(variant(), SLOTS.len()),
        changes in prop::collection::vec((0..SLOTS.len(), prop::option::weighted(0.8, variant())), 1..12),
    ) {
        // Without the GatewayClass nothing would be served.
        let world = variants.into_iter().enumerate().map(|(slot, variant)| match SLOTS[slot].0 {
            Kind::GatewayClass => (slot, 0),
            _ => (slot, variant),
        });
        let steps = changes.into_iter().flat_map(|(slot, variant)| {
            let change = match variant {
                Some(variant) => Step::Set(slot, variant),
                None => Step::Delete(slot),
            };
            [change, Step::Translate]
        });
        check(world.collect(), [Step::Translate].into_iter().chain(steps).collect())?;
    }
}

fn slot(kind: Kind, name: &str) -> usize {
    SLOTS.iter().position(|slot| (slot.0, slot.2) == (kind, name)).expect("a slot")
}

/// Without its certificate the HTTPS listener of a port is not served, so no requests come there any more; the hosts that belong
/// to TLS listeners of the same port have no scope then, though those listeners stay as they are.
#[test]
fn scopes_go_when_a_port_takes_requests_no_more() {
    let world = [
        (slot(Kind::GatewayClass, "postern"), 0),
        (slot(Kind::Gateway, "one"), 7),
        (slot(Kind::ListenerSet, "more"), 4),
        (slot(Kind::Secret, "cert") + 1, 0),
    ];
    let certificate = world[3].0;
    assert_eq!(SLOTS[certificate].1, "a");
    let steps = [
        Step::Translate,
        Step::Delete(certificate),
        Step::Translate,
        Step::Set(certificate, 0),
        Step::Translate,
    ];
    check(world.into(), steps.into()).expect("the same");
}

#[test]
fn one_endpoint_change_runs_one_unit_for_each_cluster() {
    let mut translator = objects::translated_with(options(), (0..SLOTS.len()).map(|slot| object(slot, 0)));
    let before = translator.units_run();
    let slot = SLOTS.iter().position(|s| s.0 == Kind::EndpointSlice).expect("a slot");
    translator.apply(Change::Upsert(object(slot, 1)));
    let update = translator.translate();
    let changes: Vec<&str> =
        update.gateways.values().flat_map(|g| &g.changes).map(|c| c.name.as_str()).collect();
    assert_eq!(changes, ["a/s1:80~h2~tls", "a/s1:80~tls"]);
    assert_eq!(translator.units_run() - before, 2);
}

/// Sets one slot in a world in which all slots have their first variant; returns the names of what changed and how many units ran.
fn after(slot: (Kind, &str), variant: usize) -> (Vec<String>, u64) {
    let mut translator = objects::translated_with(options(), (0..SLOTS.len()).map(|slot| object(slot, 0)));
    let before = translator.units_run();
    let slot = SLOTS.iter().position(|s| (s.0, s.2) == slot).expect("a slot");
    translator.apply(Change::Upsert(object(slot, variant)));
    let update = translator.translate();
    let changes: BTreeSet<String> =
        update.gateways.values().flat_map(|g| &g.changes).map(|c| c.name.clone()).collect();
    (changes.into_iter().collect(), translator.units_run() - before)
}

/// Rotating an authority changes its secret and no cluster; what a policy says changes its cluster and no route.
#[test]
fn tls_to_backends_changes_what_it_is_about() {
    // The secret, the two clusters that trust it and the status of its policy run.
    assert_eq!(after((Kind::ConfigMap, "ca"), 1), (vec!["ca/configmap/a/ca".to_owned()], 4));
    let (changes, _) = after((Kind::BackendTlsPolicy, "tls1"), 2);
    assert_eq!(changes, ["a/s1:80~h2~tls", "a/s1:80~tls", "ca/configmap/a/ca"]);
}

/// Two routes change places between two backends: for a moment nobody names either cluster, but nothing comes of it.
#[test]
fn what_comes_back_in_the_same_batch_has_not_changed() {
    let service = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: a}}, spec: {{ports: [{{port: 80}}]}}}}"
        )
    };
    let route = |name: &str, service: &str| {
        let yaml = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, namespace: a}}, spec: \
             {{parentRefs: [{{name: one}}], hostnames: [{name}.x.org], rules: [{{backendRefs: [{{name: {service}, port: \
             80}}]}}]}}}}"
        );
        objects::load(&yaml).remove(0)
    };
    let mut world = vec![object(0, 0), object(2, 0), route("r1", "s1"), route("r2", "s2")];
    world.extend(["s1", "s2"].map(|name| objects::load(&service(name)).remove(0)));
    let mut translator = objects::translated_with(options(), world);
    translator.apply(Change::Upsert(route("r1", "s2")));
    translator.apply(Change::Upsert(route("r2", "s1")));
    let update = translator.translate();
    let changes: Vec<&str> =
        update.gateways.values().flat_map(|g| &g.changes).map(|c| c.name.as_str()).collect();
    assert_eq!(changes, ["80/r1.x.org", "80/r2.x.org"]);
}

/// A route that delegates hears nothing of what its children do with their requests, and its children nothing of one another.
#[test]
fn a_change_of_a_child_runs_the_child() {
    let child = |name: &str, path: &str, service: &str| {
        let yaml = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, namespace: kids}}, spec: {{rules: \
             [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {service}, port: 80}}]}}]}}}}"
        );
        objects::load(&yaml).remove(0)
    };
    let parent = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: parent, namespace: a}, spec: {parentRefs: \
                  [{name: one}], hostnames: [d.x.org], rules: [{matches: [{path: {value: /d}}], backendRefs: [{group: gateway.networking.k8s.io, \
                  kind: HTTPRoute, name: '*', namespace: kids}]}]}}";
    let mut world = vec![object(0, 0), object(2, 0), objects::load(parent).remove(0)];
    world.extend((0..50).map(|i| child(&format!("c{i}"), &format!("/d/{i}"), "gone")));
    let mut translator = objects::translated_with(options(), world);
    let mut runs = |object: Object| {
        let before = translator.units_run();
        translator.apply(Change::Upsert(object));
        let update = translator.translate();
        let changes: Vec<String> =
            update.gateways.values().flat_map(|g| &g.changes).map(|c| c.name.clone()).collect();
        (changes, translator.units_run() - before)
    };
    let scope = || vec!["80/d.x.org".to_owned()];
    let (changes, units) = runs(child("c7", "/d/7", "other"));
    assert_eq!((changes, units), (vec![], 1), "both answer 500");
    // The parent looks whether it takes something still, and hands it the same.
    assert_eq!(runs(child("c7", "/d/seven", "other")), (scope(), 2));
    // It runs before and after it is handed something.
    let (changes, units) = runs(child("new", "/d/new", "gone"));
    assert_eq!(changes, scope());
    assert!(units <= 3, "{units}");
}
