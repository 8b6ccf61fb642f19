//! The manifests in `deploy/`: what can be said of them without a cluster.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::core::DynamicObject;
use postern_e2e::repository;
use postern_translator::Kind;
use serde::Deserialize as _;

const RENDERED: [&str; 5] = ["base", "ha", "namespaced", "restricted", "single-replica"];

fn rendered(name: &str) -> Vec<DynamicObject> {
    let path = repository().join(format!("deploy/rendered/{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| DynamicObject::deserialize(document).expect("an object"))
        .collect()
}

fn kind(object: &DynamicObject) -> &str {
    &object.types.as_ref().expect("apiVersion and kind").kind
}

fn rules(objects: &[DynamicObject], kinds: &[&str]) -> Vec<PolicyRule> {
    objects
        .iter()
        .filter(|object| kinds.contains(&kind(object)))
        .flat_map(|object| {
            serde_json::from_value::<Vec<PolicyRule>>(object.data["rules"].clone()).expect("rules")
        })
        .collect()
}

fn allows(rules: &[PolicyRule], group: &str, resource: &str, verb: &str) -> bool {
    let has = |list: &Option<Vec<String>>, item: &str| list.iter().flatten().any(|it| it == item);
    rules.iter().any(|rule| {
        rule.resource_names.is_none()
            && has(&rule.api_groups, group)
            && has(&rule.resources, resource)
            && rule.verbs.iter().any(|it| it == verb)
    })
}

/// The plural of a kind, which is what rules name: upstream's kinds follow the plain rules of English.
fn plural(kind: Kind) -> String {
    let name = kind.as_str().to_lowercase();
    match name.strip_suffix("policy") {
        Some(stem) => format!("{stem}policies"),
        None if name.ends_with('s') && !name.ends_with("parameters") => format!("{name}es"),
        None if name.ends_with('s') => name,
        None => format!("{name}s"),
    }
}

/// Kinds of Kubernetes itself, whose status is not Postern's.
fn is_foreign(kind: Kind) -> bool {
    !kind.group().contains("gateway") || kind == Kind::ReferenceGrant
}

#[test]
fn roles_allow_to_read_every_kind_and_to_write_its_status() {
    for name in RENDERED {
        let rules = rules(&rendered(name), &["ClusterRole", "Role"]);
        for kind in Kind::ALL.iter().copied().filter(|kind| name != "namespaced" || kind.is_namespaced()) {
            for verb in ["get", "list", "watch"] {
                assert!(allows(&rules, kind.group(), &plural(kind), verb), "{name}: {verb} {kind}");
            }
            let status = format!("{}/status", plural(kind));
            assert_eq!(
                allows(&rules, kind.group(), &status, "patch"),
                !is_foreign(kind),
                "{name}: status of {kind}"
            );
        }
    }
}

#[test]
fn no_rule_has_a_wildcard_and_none_writes_what_it_need_not() {
    for name in RENDERED {
        let objects = rendered(name);
        let rules = rules(&objects, &["ClusterRole", "Role"]);
        for rule in &rules {
            let all = [&rule.api_groups, &rule.resources].into_iter().flatten().flatten().chain(&rule.verbs);
            assert!(all.into_iter().all(|it| !it.contains('*')), "{name}: {rule:?}");
            assert!(rule.non_resource_urls.is_none(), "{name}: {rule:?}");
        }
        for (group, resource) in
            [("", "secrets"), ("", "namespaces"), ("gateway.networking.k8s.io", "gateways")]
        {
            for verb in ["update", "patch", "delete", "deletecollection"] {
                assert!(!allows(&rules, group, resource, verb), "{name}: {verb} {resource}");
            }
        }
        for verb in ["impersonate", "escalate", "bind"] {
            assert!(rules.iter().all(|rule| rule.verbs.iter().all(|it| it != verb)), "{name}: {verb}");
        }
    }
}

#[test]
fn the_namespaced_overlay_has_nothing_outside_of_its_namespace() {
    let objects = rendered("namespaced");
    assert!(objects.len() > 5);
    for object in &objects {
        assert_eq!(object.metadata.namespace.as_deref(), Some("postern-system"), "{}", kind(object));
    }
}

#[test]
fn pods_satisfy_the_restricted_standard() {
    for name in RENDERED {
        let objects = rendered(name);
        let deployments: Vec<Deployment> = objects
            .iter()
            .filter(|object| kind(object) == "Deployment")
            .map(|object| serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap())
            .collect();
        let [deployment] = &deployments[..] else { panic!("{name}: one Deployment") };
        let spec = deployment.spec.as_ref().unwrap();
        let pod = spec.template.spec.as_ref().unwrap();
        let security = pod.security_context.as_ref().unwrap();
        assert_eq!(security.run_as_non_root, Some(true), "{name}");
        assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault", "{name}");
        assert_eq!(
            security.run_as_user.is_none(),
            name == "restricted",
            "{name}: user {:?}",
            security.run_as_user
        );
        for container in &pod.containers {
            let security = container.security_context.as_ref().unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false), "{name}");
            assert_eq!(security.read_only_root_filesystem, Some(true), "{name}");
            let capabilities = security.capabilities.as_ref().unwrap();
            assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]), "{name}");
            assert!(container.liveness_probe.is_some() && container.readiness_probe.is_some(), "{name}");
            assert!(container.resources.as_ref().unwrap().requests.is_some(), "{name}");
        }
        let replicas = BTreeMap::from([("ha", 3), ("single-replica", 1)]).get(name).copied().unwrap_or(2);
        assert_eq!(spec.replicas, Some(replicas), "{name}");
    }
}

#[test]
fn images_are_of_this_version_and_the_same_everywhere() {
    let image = concat!("postern.dev/postern:", env!("CARGO_PKG_VERSION"));
    for name in RENDERED {
        let path = repository().join(format!("deploy/rendered/{name}.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let named: BTreeSet<&str> =
            text.split_whitespace().filter(|word| word.starts_with("postern.dev/postern:")).collect();
        assert_eq!(named, BTreeSet::from([image]), "{name}");
    }
}
