//! The status of a policy on listeners: for each Gateway that it is about, whether it is valid and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use postern_api::gateway_api::{
    Condition, Gateway, ListenerSet, ParentReference, PolicyAncestorStatus, PolicyStatus, condition_type,
    reason,
};
use postern_api::kgateway::HttpListenerPolicy;

use super::{Policies, Policy, parse};
use crate::Options;
use crate::dependency::Reader;
use crate::gateway::{Listener, Protocol};
use crate::grants::{self, Reference};
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::Target;
use crate::policy::status::{MAX_ANCESTORS, reference};
use crate::problem::{Fault, Problems};
use crate::status::{self, Status, condition};
use crate::telemetry;

/// What came of a policy on one target.
#[derive(Default)]
struct Outcome {
    /// Why the target cannot be had.
    missing: Option<Fault>,
    /// Fields that another object decides, and which.
    lost: BTreeMap<&'static str, String>,
    kept: usize,
    /// Listeners that get what the policy says although it is not on them.
    shared: Option<String>,
}

/// The status of the policy `key`; `None` if it does not exist or is not about anything of ours.
pub(crate) fn translate(
    reader: &Reader<'_>,
    key: &ObjectKey,
    options: &Options,
) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(object) = reader.get::<HttpListenerPolicy>(&key.namespace, &key.name) else {
        return (None, problems);
    };
    let (referred, selectors) = parse::targets(object, &mut Vec::new());
    let mut targets: Vec<(String, Target)> = referred.into_iter().map(|it| (it.field, it.object)).collect();
    for selector in &selectors {
        let found = reader.objects_in(selector.kind, &key.namespace);
        let found = found.into_iter().filter(|(_, labels)| selector.matches(labels));
        let section = selector.section.as_deref();
        targets.extend(found.map(|(name, _)| {
            ("spec.targetSelectors".to_owned(), Target::new(selector.kind, &name, section))
        }));
    }
    let count = targets.len();
    targets.retain(|(_, target)| !is_foreign(reader, target));
    if targets.is_empty() && count > 0 {
        // Others take care of all of them.
        return (None, problems);
    }
    let policy = parse::policy(reader, object);
    for fault in &policy.faults {
        problems.error(key, &fault.field, &fault.message, &fault.remedy);
    }
    for fault in &policy.warnings {
        problems.warning(key, &fault.field, &fault.message, &fault.remedy);
    }
    for (field, why) in &policy.unresolved {
        problems.error(key, field, &why.message, &why.remedy);
    }
    let mut ancestors: BTreeMap<ParentReference, Vec<Outcome>> = BTreeMap::new();
    for (field, target) in targets {
        let gateway = gateway_of(reader, &target);
        let outcome = outcome(reader, &policy, &target, gateway.as_ref());
        let at = match (&outcome.missing, gateway) {
            (None, Some(gateway)) => Target::new(Kind::Gateway, &gateway, None),
            // A ListenerSet that nobody of ours serves.
            (None, None) => continue,
            (Some(fault), _) => {
                problems.error(key, field, &fault.message, &fault.remedy);
                target
            }
        };
        ancestors.entry(reference(&at, &key.namespace)).or_default().push(outcome);
    }
    let generation = object.metadata.generation;
    let ancestors: Vec<PolicyAncestorStatus> = ancestors
        .into_iter()
        .take(MAX_ANCESTORS)
        .map(|(ancestor_ref, outcomes)| PolicyAncestorStatus {
            ancestor_ref,
            controller_name: options.controller_name.clone(),
            conditions: conditions(&policy, &outcomes, generation),
        })
        .collect();
    ((!ancestors.is_empty()).then_some(Status::Policy(PolicyStatus { ancestors })), problems)
}

/// True if others take care of the target.
fn is_foreign(reader: &Reader<'_>, target: &Target) -> bool {
    let parent = reference(target, "");
    let parent = ParentReference { namespace: Some(target.name.namespace.clone()), ..parent };
    reader.all_are_foreign(&[parent], &target.name.namespace)
}

fn gateway_of(reader: &Reader<'_>, target: &Target) -> Option<NamespacedName> {
    match target.kind {
        Kind::Gateway => reader.is_ours(&target.name).then(|| target.name.clone()),
        _ => reader.gateway_of_set(&target.name).cloned(),
    }
}

fn outcome(
    reader: &Reader<'_>,
    policy: &Policy,
    target: &Target,
    gateway: Option<&NamespacedName>,
) -> Outcome {
    let missing = |message: String, remedy: String| Outcome {
        missing: Some(Fault::new("", message, remedy)),
        ..Outcome::default()
    };
    let (namespace, name) = (&target.name.namespace, &target.name.name);
    let listeners: Option<Vec<(&str, &str)>> = match target.kind {
        Kind::Gateway => reader.get::<Gateway>(namespace, name).map(|gateway| {
            gateway.spec.listeners.iter().map(|it| (it.name.as_str(), it.protocol.as_str())).collect()
        }),
        _ => reader.get::<ListenerSet>(namespace, name).map(|set| {
            set.spec.listeners.iter().map(|it| (it.name.as_str(), it.protocol.as_str())).collect()
        }),
    };
    let Some(listeners) = listeners else {
        return missing(
            format!("{target} does not exist"),
            "create the target, or mend the reference".into(),
        );
    };
    if let Some(section) = &target.section {
        match listeners.iter().find(|(name, _)| name == section) {
            None => {
                return missing(
                    format!("{target} does not exist"),
                    "mend sectionName, or add the listener".into(),
                );
            }
            Some((_, "HTTP" | "HTTPS")) => {}
            Some((_, protocol)) => {
                return missing(
                    format!("{target} takes no requests: its protocol is {protocol}"),
                    "target a listener of protocol HTTP or HTTPS".into(),
                );
            }
        }
    }
    let asked = Reference {
        from_group: policy.key.kind.group(),
        from_kind: policy.key.kind.as_str(),
        from_namespace: &policy.key.namespace,
        to_group: target.kind.group(),
        to_kind: target.kind.as_str(),
        to_namespace: namespace,
        to_name: name,
    };
    if !grants::permitted(reader, asked) {
        return missing(
            format!("{target} is in another namespace and no ReferenceGrant allows it"),
            grants::remedy(asked),
        );
    }
    let mut out = Outcome::default();
    let Some(gateway) = gateway else { return out };
    let own = policy.names();
    let mut policies = Policies::new(reader, gateway);
    let mut lose = |names: Vec<&'static str>, winner: &str| {
        for field in names.into_iter().filter(|field| own.contains(field)) {
            out.lost.entry(field).or_insert_with(|| winner.to_owned());
        }
    };
    for winner in policies.on(target).iter().take_while(|other| other.key != policy.key) {
        if winner.is_valid() {
            lose(winner.names(), &winner.key.to_string());
        }
    }
    let sharing = sharing(reader, target, gateway);
    if let Some((before, _)) = &sharing {
        for other in before {
            for winner in policies.on(other).iter().filter(|it| it.is_valid() && it.key != policy.key) {
                lose(winner.connection.names(), &format!("{} on {other}", winner.key));
            }
        }
    }
    if let Some(winner) = telemetry::decider(reader, gateway) {
        lose(vec!["tracing"], &winner.to_string());
    }
    out.kept = own.len() - out.lost.len();
    let kept: Vec<&str> =
        policy.connection.names().into_iter().filter(|name| !out.lost.contains_key(name)).collect();
    out.shared = sharing.filter(|_| !kept.is_empty()).map(|(_, all)| format!("{} {all}", kept.join(", ")));
    out
}

/// The listeners that share the connection manager of a listener without TLS: those that come before it and could say the same,
/// and all in words. `None` if it has one for itself.
fn sharing(reader: &Reader<'_>, target: &Target, gateway: &NamespacedName) -> Option<(Vec<Target>, String)> {
    let section = target.section.as_deref()?;
    let all = reader.serving_listeners(gateway);
    let set = (target.kind == Kind::ListenerSet).then_some(&target.name);
    let is_it = |it: &&Listener| it.id.set.as_ref() == set && it.id.name == section;
    let own = all.iter().copied().find(is_it).filter(|own| own.protocol == Protocol::Http)?;
    let port: Vec<&Listener> = all.into_iter().filter(|it| it.socket() == own.socket()).collect();
    if port.len() < 2 {
        return None;
    }
    let before = port.iter().take_while(|it| it.id != own.id).map(|it| match &it.id.set {
        None => Target::new(Kind::Gateway, gateway, Some(&it.id.name)),
        Some(set) => Target::new(Kind::ListenerSet, set, Some(&it.id.name)),
    });
    let names: BTreeSet<String> = port.iter().map(|it| it.id.to_string()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let words = format!(
        "for all listeners of port {}, which take their requests from the same connections: {}",
        own.port,
        names.join(", ")
    );
    Some((before.collect(), words))
}

fn conditions(policy: &Policy, outcomes: &[Outcome], generation: Option<i64>) -> Vec<Condition> {
    let one = |kind: &str, holds, reason: &str, message: String| {
        condition(kind, holds, reason, message, generation)
    };
    let not_accepted = |reason, message: String| {
        vec![
            one(condition_type::ACCEPTED, false, reason, message.clone()),
            one(condition_type::ATTACHED, false, reason, message),
        ]
    };
    if let Some(fault) = policy.faults.first() {
        let protects = if policy.protects { "; the hosts of its listeners answer 500" } else { "" };
        return not_accepted(reason::INVALID, format!("{}: {}{protects}", fault.field, fault.message));
    }
    if let Some(fault) = outcomes.iter().find_map(|outcome| outcome.missing.as_ref()) {
        return not_accepted(reason::TARGET_NOT_FOUND, fault.message.clone());
    }
    let accepted = match policy.warnings.first() {
        None => "the policy is accepted".to_owned(),
        Some(fault) => format!("the policy is accepted, but for {}: {}", fault.field, fault.message),
    };
    let lost: BTreeMap<&str, &str> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.lost)
        .map(|(field, winner)| (*field, winner.as_str()))
        .collect();
    let kept: usize = outcomes.iter().map(|outcome| outcome.kept).sum();
    let winners: Vec<String> = lost.iter().map(|(field, winner)| format!("{field} by {winner}")).collect();
    let shared: BTreeSet<&str> = outcomes.iter().filter_map(|outcome| outcome.shared.as_deref()).collect();
    let shared: Vec<&str> = [""].into_iter().chain(shared).collect();
    let shared = shared.join("; ");
    let (holds, why, message) = if lost.is_empty() {
        (true, reason::ATTACHED, format!("the policy is attached to all its targets{shared}"))
    } else if kept > 0 {
        (true, reason::MERGED, format!("merged with others; overridden: {}{shared}", winners.join(", ")))
    } else {
        (false, reason::OVERRIDDEN, format!("others win: {}", winners.join(", ")))
    };
    let mut conditions = vec![
        one(condition_type::ACCEPTED, true, reason::ACCEPTED, accepted),
        one(condition_type::ATTACHED, holds, why, message),
    ];
    if let Some((field, why)) = policy.unresolved.first() {
        let unresolved = (why.reason, format!("{field}: {}", why.message));
        conditions.push(status::resolved(Some(&unresolved), generation));
    }
    conditions
}
