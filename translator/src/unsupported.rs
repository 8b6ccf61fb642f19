//! Kinds that this version reads and does not carry out. Whoever made such an object learns it from its status, wherever a
//! Gateway of ours is concerned, and from a problem; ignoring the object silently would be worse.

use std::collections::BTreeSet;

use postern_api::gateway_api::{
    Condition, ParentReference, PolicyAncestorStatus, PolicyStatus, condition_type, reason,
};
use postern_api::kgateway::{HttpListenerPolicy, PolicyTargetRef};

use crate::Options;
use crate::dependency::Reader;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::status::MAX_ANCESTORS;
use crate::problem::Problems;
use crate::status::{Conditions, Status, condition};

/// The status of an object of such a kind; `None` if it does not exist or concerns no Gateway of ours.
pub(crate) fn translate(
    reader: &Reader<'_>,
    key: &ObjectKey,
    options: &Options,
) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(metadata) = reader.metadata(key) else { return (None, problems) };
    let generation = metadata.generation;
    let message = format!("this version of Postern does not carry out {}", key.kind);
    let refuse = |kind: &str, reason: &str| condition(kind, false, reason, &message, generation);
    let unsupported = || vec![refuse(condition_type::ACCEPTED, reason::UNSUPPORTED)];
    if concerns_others_only(reader, key) {
        return (None, problems);
    }
    problems.error(key, "kind", &message, "remove the object, or use another version");
    let status = match key.kind {
        Kind::HttpListenerPolicy => policy(reader, key, &unsupported(), options),
        Kind::AiBackend => Some(Status::Conditions(Conditions { conditions: unsupported() })),
        // What these are about cannot be told without carrying them out; routes to their targets say what is missing.
        _ => None,
    };
    (status, problems)
}

/// True if the object names Gateways, and others take care of all of them.
fn concerns_others_only(reader: &Reader<'_>, key: &ObjectKey) -> bool {
    match key.kind {
        Kind::HttpListenerPolicy => {
            let targets = targets(reader, key);
            let is_foreign = |(name, _): &(String, Option<String>)| {
                reader.is_foreign(&NamespacedName::new(&key.namespace, name))
            };
            !targets.is_empty() && targets.iter().all(is_foreign)
        }
        _ => false,
    }
}

fn policy(
    reader: &Reader<'_>,
    key: &ObjectKey,
    conditions: &[Condition],
    options: &Options,
) -> Option<Status> {
    let ours = targets(reader, key)
        .into_iter()
        .filter(|(name, _)| reader.is_ours(&NamespacedName::new(&key.namespace, name)));
    let ancestors: Vec<PolicyAncestorStatus> = ours
        .take(MAX_ANCESTORS)
        .map(|(name, section_name)| PolicyAncestorStatus {
            ancestor_ref: ParentReference {
                group: Some(Kind::Gateway.group().to_owned()),
                kind: Some(Kind::Gateway.as_str().to_owned()),
                name,
                section_name,
                ..ParentReference::default()
            },
            controller_name: options.controller_name.clone(),
            conditions: conditions.to_vec(),
        })
        .collect();
    (!ancestors.is_empty()).then_some(Status::Policy(PolicyStatus { ancestors }))
}

/// The Gateways that a policy targets, each with the name of a listener.
fn targets(reader: &Reader<'_>, key: &ObjectKey) -> BTreeSet<(String, Option<String>)> {
    let mut targets: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    let mut add = |group: &str, kind: &str, name: &str, section: Option<&String>| {
        if group == Kind::Gateway.group() && kind == Kind::Gateway.as_str() {
            targets.insert((name.to_owned(), section.cloned()));
        }
    };
    let policy = reader.get::<HttpListenerPolicy>(&key.namespace, &key.name);
    let references = policy.iter().flat_map(|policy| &policy.spec.target_refs);
    for target in references.filter(|target| is_local(target, key)) {
        add(target.group(), &target.kind, &target.name, target.section_name.as_ref());
    }
    targets
}

/// True if the target is in the namespace of the policy `key`.
fn is_local(target: &PolicyTargetRef, key: &ObjectKey) -> bool {
    target.namespace.as_deref().is_none_or(|namespace| namespace == key.namespace)
}
