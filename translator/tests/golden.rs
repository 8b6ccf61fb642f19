//! `golden/<capability>/input.yaml` against `xds.snap`, `status.snap` and `problems.snap` beside it. Where there is an
//! `options.yaml`, it says what surrounds the objects: a cluster, and proxies that answer. Capabilities that begin with
//! `infrastructure` have `infrastructure.snap` too: what has to exist in the cluster.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/objects.rs"]
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::cluster::Cluster;
use postern_api::gateway_api::ParentReference;
use postern_translator::{Kind, NamespacedName, Object, ObjectKey, Options, Status, Translator, descriptor};
use serde_json::{Value, json};

fn resources(translator: &Translator) -> BTreeMap<String, BTreeMap<String, Vec<Value>>> {
    let mut out: BTreeMap<String, BTreeMap<String, Vec<Value>>> = BTreeMap::new();
    for gateway in translator.gateways() {
        let types = out.entry(gateway.to_string()).or_default();
        for resource in translator.resources(gateway) {
            let list = types.entry(resource.resource_type.message_name().to_owned()).or_default();
            list.push(descriptor::to_json(resource).expect("a resource of ours has a JSON form"));
        }
    }
    out
}

/// The features of a GatewayClass are the same everywhere, so only this golden shows them.
const FEATURES: &str = "classes";

fn statuses(folder: &Path, translator: &Translator) -> BTreeMap<String, Value> {
    let statuses = translator.statuses().iter().map(|(key, status)| {
        let mut status = json!(status);
        if let Some(fields) = status.as_object_mut().filter(|_| !folder.ends_with(FEATURES)) {
            fields.remove("supportedFeatures");
        }
        (key.to_string(), status)
    });
    statuses.collect()
}

fn problems(translator: &Translator) -> Vec<String> {
    translator
        .problems()
        .iter()
        .map(|p| format!("{:?}: {}: {}: {} => {}", p.severity, p.object, p.field, p.message, p.remedy))
        .collect()
}

fn infrastructure(translator: &Translator) -> BTreeMap<String, Value> {
    let of = |gateway| translator.infrastructure(gateway).map(|it| (gateway.to_string(), json!(it)));
    translator.gateways().filter_map(of).collect()
}

fn is_infrastructure(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("infrastructure"))
}

/// Every golden's folder with its objects, ordered by name.
fn goldens() -> Vec<(PathBuf, Vec<Object>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .expect("the folder of goldens")
        .map(|e| e.expect("an entry").path())
        .collect();
    folders.sort();
    assert!(folders.len() > 20, "only {} goldens were found", folders.len());
    folders
        .into_iter()
        .map(|folder| {
            let yaml = std::fs::read_to_string(folder.join("input.yaml")).expect("input.yaml is readable");
            (folder, objects::load(&yaml))
        })
        .collect()
}

/// A translator that has seen the objects of a golden and heard the proxies.
fn translated(folder: &Path, loaded: Vec<Object>) -> Translator {
    let cluster = Cluster::load(folder);
    let mut translator = objects::translated_with(cluster.options(), loaded);
    cluster.observe(&mut translator);
    translator
}

#[test]
fn every_golden_holds() {
    for (folder, loaded) in goldens() {
        let translator = translated(&folder, loaded);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_sort_maps(true);
        settings.bind(|| {
            insta::assert_yaml_snapshot!("xds", resources(&translator));
            insta::assert_yaml_snapshot!("status", statuses(&folder, &translator));
            insta::assert_yaml_snapshot!("problems", problems(&translator));
            if is_infrastructure(&folder) {
                insta::assert_yaml_snapshot!("infrastructure", infrastructure(&translator));
            }
        });
    }
}

#[test]
fn shuffled_input_gives_the_same_bytes() {
    for (folder, mut loaded) in goldens() {
        let forward = translated(&folder, loaded.clone());
        loaded.reverse();
        let backward = translated(&folder, loaded.clone());
        let middle = loaded.len() / 2;
        loaded.rotate_left(middle);
        let rotated = translated(&folder, loaded);
        for other in [backward, rotated] {
            assert_eq!(forward.gateways().collect::<Vec<_>>(), other.gateways().collect::<Vec<_>>());
            for gateway in forward.gateways() {
                assert!(
                    forward.resources(gateway).eq(other.resources(gateway)),
                    "{}: {gateway}",
                    folder.display()
                );
            }
            assert_eq!(infrastructure(&forward), infrastructure(&other));
            assert_eq!(forward.statuses(), other.statuses());
            assert_eq!(forward.problems(), other.problems());
        }
    }
}

/// What a user waits for (`kubectl wait`, the conformance suite): each condition says which generation it is about.
#[test]
fn every_condition_is_about_the_present_generation() {
    for (folder, loaded) in goldens() {
        let translator = translated(&folder, loaded);
        for (key, status) in translator.statuses() {
            let generation = translator.object(key).expect("a status of an object").metadata().generation;
            for condition in status.conditions() {
                let at = format!("{}: {key}: {}", folder.display(), condition.type_);
                assert_eq!(condition.observed_generation, generation, "{at}");
                assert!(!condition.reason.is_empty() && !condition.message.is_empty(), "{at}");
            }
        }
    }
}

/// Gateways of other classes belong to other controllers, and so do the entries about them.
#[test]
fn statuses_speak_of_gateways_of_ours_only() {
    let ours = Options::default().controller_name;
    for (folder, loaded) in goldens() {
        let translator = translated(&folder, loaded);
        let gateways: BTreeSet<&NamespacedName> = translator.gateways().collect();
        // A ListenerSet belongs to whom its Gateway belongs to.
        let gateway_of_set = |set: &ObjectKey| match translator.object(set) {
            Some(Object::ListenerSet(object)) => {
                let parent = &object.spec.parent_ref;
                let namespace = parent.namespace.as_deref().unwrap_or(&set.namespace);
                NamespacedName::new(namespace, &parent.name)
            }
            _ => panic!("{}: a status of ours names {set}, which does not exist", folder.display()),
        };
        let is_ours = |reference: &ParentReference, key: &ObjectKey| {
            let namespace = reference.namespace.as_deref().unwrap_or(&key.namespace);
            let name = NamespacedName::new(namespace, &reference.name);
            let set = || gateway_of_set(&ObjectKey::new(Kind::ListenerSet, namespace, &reference.name));
            match reference.kind() {
                // Whoever delegates to others is attached to Gateways of ours, or others delegate to it.
                "HTTPRoute" => translator.statuses().contains_key(&ObjectKey::new(
                    Kind::HttpRoute,
                    namespace,
                    &reference.name,
                )),
                "ListenerSet" => gateways.contains(&set()),
                _ => gateways.contains(&name),
            }
        };
        for (key, status) in translator.statuses() {
            let at = format!("{}: {key}", folder.display());
            match status {
                Status::Gateway(_) => {
                    assert!(gateways.contains(&NamespacedName::new(&key.namespace, &key.name)), "{at}");
                }
                Status::ListenerSet(_) => assert!(gateways.contains(&gateway_of_set(key)), "{at}"),
                Status::Route(status) => {
                    for parent in &status.parents {
                        assert_eq!(parent.controller_name, ours, "{at}");
                        assert!(is_ours(&parent.parent_ref, key), "{at}");
                    }
                }
                Status::Policy(status) => {
                    assert!(status.ancestors.len() <= 16, "{at}");
                    for ancestor in &status.ancestors {
                        assert_eq!(ancestor.controller_name, ours, "{at}");
                        // A target that does not exist is nobody else's.
                        let exists = |kind| {
                            let at = &ancestor.ancestor_ref;
                            let namespace = at.namespace.as_deref().unwrap_or(&key.namespace);
                            translator.object(&ObjectKey::new(kind, namespace, &at.name)).is_some()
                        };
                        let gateway = ancestor.ancestor_ref.kind() == Kind::Gateway.as_str();
                        assert!(
                            !gateway || !exists(Kind::Gateway) || is_ours(&ancestor.ancestor_ref, key),
                            "{at}"
                        );
                    }
                }
                Status::GatewayClass(_) | Status::Conditions(_) => {}
            }
        }
    }
}
