//! The status of an XBackendTrafficPolicy: for each Gateway that sends requests to its targets, whether it is in force there.

use std::collections::{BTreeMap, BTreeSet};

use postern_api::gateway_api::{
    PolicyAncestorStatus, PolicyStatus, XBackendTrafficPolicy, condition_type, reason,
};

use super::{policies, read, target_kind, targets};
use crate::Options;
use crate::backend::forward_proxy;
use crate::dependency::Reader;
use crate::object::{NamespacedName, ObjectKey};
use crate::policy::status::MAX_ANCESTORS;
use crate::problem::Problems;
use crate::status::{self, Status, condition};

/// What came of the policy on one target: accepted, or why not.
type Outcome = Result<(), (&'static str, String)>;

/// The status of the policy `key`; `None` if it does not exist or no Gateway of ours sends requests to its targets.
pub(crate) fn translate(
    reader: &Reader<'_>,
    key: &ObjectKey,
    options: &Options,
) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(policy) = reader.get::<XBackendTrafficPolicy>(&key.namespace, &key.name) else {
        return (None, problems);
    };
    for (index, target) in policy.spec.target_refs.iter().enumerate() {
        let (at, message, remedy) = match target_kind(&target.group, &target.kind) {
            None => (
                "kind",
                format!("a policy on {} (group {:?}) has no effect here", target.kind, target.group),
                "target a Service, a ServiceImport, an XBackend, or a Backend of group gateway.kgateway.dev",
            ),
            Some(kind) => {
                let backend = ObjectKey::new(kind, &key.namespace, &target.name);
                let at = format!("spec.targetRefs[{index}]");
                if let Some(fault) = forward_proxy::without_policies(reader, &backend, &at) {
                    problems.error(key, fault.field, fault.message, fault.remedy);
                    continue;
                }
                if reader.metadata(&backend).is_some() {
                    continue;
                }
                ("name", format!("{backend} does not exist"), "create it, or mend the reference")
            }
        };
        problems.warning(key, format!("spec.targetRefs[{index}].{at}"), message, remedy);
    }
    let mut gateways: BTreeMap<&NamespacedName, Outcome> = BTreeMap::new();
    for backend in targets(policy) {
        let users: BTreeSet<_> =
            reader.clusters_of(&backend).flat_map(|(_, users)| users.gateways()).collect();
        if users.is_empty() {
            continue;
        }
        let outcome = judge(reader, key, policy, &backend, &mut problems);
        for gateway in users {
            let entry = gateways.entry(gateway).or_insert(Ok(()));
            if entry.is_ok() {
                entry.clone_from(&outcome);
            }
        }
    }
    let generation = policy.metadata.generation;
    let ancestors: Vec<PolicyAncestorStatus> = gateways
        .into_iter()
        .take(MAX_ANCESTORS)
        .map(|(gateway, outcome)| {
            let (holds, (reason, message)) = match outcome {
                Ok(()) => (true, (reason::ACCEPTED, "the policy is applied".to_owned())),
                Err(refused) => (false, refused),
            };
            let accepted = condition(condition_type::ACCEPTED, holds, reason, message, generation);
            status::ancestor(gateway, vec![accepted], options)
        })
        .collect();
    ((!ancestors.is_empty()).then_some(Status::Policy(PolicyStatus { ancestors })), problems)
}

fn judge(
    reader: &Reader<'_>,
    key: &ObjectKey,
    policy: &XBackendTrafficPolicy,
    backend: &ObjectKey,
    problems: &mut Problems,
) -> Outcome {
    let winner = policies(reader, backend).into_iter().next();
    if let Some(winner) = winner.filter(|winner| winner.metadata.name != policy.metadata.name) {
        let name = winner.metadata.name.as_deref().unwrap_or_default();
        let message =
            format!("XBackendTrafficPolicy {}/{name} is on {backend} too and is older", key.namespace);
        problems.error(key, "spec.targetRefs", &message, "remove one of them, or target another backend");
        return Err((reason::CONFLICTED, message));
    }
    match read(policy, backend) {
        Ok((_, unheeded)) => {
            if let Some(fault) = unheeded {
                problems.warning(key, fault.field, fault.message, fault.remedy);
            }
            Ok(())
        }
        Err(fault) => {
            let message = format!("{}: {}", fault.field, fault.message);
            problems.error(key, fault.field, fault.message, fault.remedy);
            Err((reason::INVALID, message))
        }
    }
}
