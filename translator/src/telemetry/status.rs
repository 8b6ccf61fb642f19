//! The status of an XTelemetryPolicy: one entry for each Gateway of ours that it targets.

use postern_api::gateway_api::{
    Condition, Gateway, ParentReference, PolicyAncestorStatus, PolicyStatus, XTelemetryPolicy,
    condition_type, reason,
};

use super::{Error, parse, policies};
use crate::Options;
use crate::dependency::Reader;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Problems;
use crate::status::{self, Status, condition};

/// The status of the policy `key`; `None` if it does not exist or concerns no Gateway of ours. The API allows for as many
/// targets as a status has entries.
pub(crate) fn translate(
    reader: &Reader<'_>,
    key: &ObjectKey,
    options: &Options,
) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(policy) = reader.get::<XTelemetryPolicy>(&key.namespace, &key.name) else {
        return (None, problems);
    };
    let mut ancestors: Vec<PolicyAncestorStatus> = Vec::new();
    for (index, target) in policy.spec.target_refs.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        if Kind::from_group_kind(&target.group, &target.kind) != Some(Kind::Gateway) {
            let message = format!("{} (group {:?}) cannot be a target", target.kind, target.group);
            problems.error(key, format!("{field}.kind"), message, "target a Gateway");
            continue;
        }
        let gateway = NamespacedName::new(&key.namespace, &target.name);
        if !reader.is_ours(&gateway) {
            if reader.get::<Gateway>(&gateway.namespace, &gateway.name).is_none() {
                let message = format!("Gateway {gateway} does not exist");
                problems.warning(
                    key,
                    format!("{field}.name"),
                    message,
                    "create the Gateway, or mend the name",
                );
            }
            continue;
        }
        let ancestor_ref = ParentReference {
            group: Some(target.group.clone()),
            kind: Some(target.kind.clone()),
            name: target.name.clone(),
            ..ParentReference::default()
        };
        if ancestors.iter().any(|entry| entry.ancestor_ref == ancestor_ref) {
            continue;
        }
        ancestors.push(PolicyAncestorStatus {
            ancestor_ref,
            controller_name: options.controller_name.clone(),
            conditions: conditions(reader, key, policy, &gateway, &mut problems),
        });
    }
    ((!ancestors.is_empty()).then_some(Status::Policy(PolicyStatus { ancestors })), problems)
}

fn conditions(
    reader: &Reader<'_>,
    key: &ObjectKey,
    policy: &XTelemetryPolicy,
    gateway: &NamespacedName,
    problems: &mut Problems,
) -> Vec<Condition> {
    let generation = policy.metadata.generation;
    let one =
        |kind: &str, holds, reason: &str, message: &str| condition(kind, holds, reason, message, generation);
    let winner = policies(reader, gateway).into_iter().next();
    if let Some(winner) = winner.filter(|winner| winner.metadata.name != policy.metadata.name) {
        let name = winner.metadata.name.as_deref().unwrap_or_default();
        let message =
            format!("XTelemetryPolicy {}/{name} targets Gateway {gateway} too and is older", key.namespace);
        problems.error(key, "spec.targetRefs", &message, "remove one of them, or target another Gateway");
        return vec![one(condition_type::ACCEPTED, false, reason::CONFLICTED, &message)];
    }
    match parse(reader, policy, gateway) {
        Ok(_) => {
            let message = "the policy is applied";
            let accepted = one(condition_type::ACCEPTED, true, reason::ACCEPTED, message);
            vec![accepted, status::resolved(None, generation)]
        }
        Err(Error::Invalid(fault)) => {
            let message = format!("{}: {}", fault.field, fault.message);
            problems.error(key, fault.field, fault.message, fault.remedy);
            vec![one(condition_type::ACCEPTED, false, reason::INVALID, &message)]
        }
        Err(Error::Unresolved(why)) => {
            let field = format!("spec.tracing.provider.backendRef{}", why.field);
            problems.error(key, field, &why.message, why.remedy);
            let message = "nothing is traced until the reference resolves";
            let accepted = one(condition_type::ACCEPTED, true, reason::ACCEPTED, message);
            vec![accepted, status::resolved(Some(&(why.reason, why.message)), generation)]
        }
    }
}
