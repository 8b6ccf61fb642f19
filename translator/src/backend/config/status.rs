//! The status of a BackendConfigPolicy: for each Gateway that uses its targets, whether it is valid and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use postern_api::gateway_api::{
    Condition, ParentReference, PolicyAncestorStatus, PolicyStatus, condition_type, reason,
};

use super::{ConfigPolicy, TLS};
use crate::Options;
use crate::backend::{ClusterId, Upstream, external, forward_proxy};
use crate::dependency::Reader;
use crate::envoy::cluster::options::fits;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::status::MAX_ANCESTORS;
use crate::problem::{Fault, Problems};
use crate::status::{self, Status, condition};

/// What came of a policy on one target.
#[derive(Clone)]
enum Outcome {
    Missing(String),
    /// Its references lead to nothing that can be used.
    Unusable(Fault),
    /// Fields that others set, with their names.
    On {
        lost: BTreeMap<&'static str, String>,
    },
}

/// The status of the policy `key`; `None` if it does not exist or concerns nothing of ours.
pub(crate) fn translate(
    reader: &Reader<'_>,
    key: &ObjectKey,
    options: &Options,
) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(policy) = reader.config(&key.namespaced_name()) else { return (None, problems) };
    for fault in &policy.faults {
        problems.error(key, &fault.field, &fault.message, &fault.remedy);
    }
    for fault in &policy.warnings {
        problems.warning(key, &fault.field, &fault.message, &fault.remedy);
    }
    let mut ancestors: BTreeMap<ParentReference, Vec<Outcome>> = BTreeMap::new();
    for (field, backend) in targets(reader, policy) {
        if reader.metadata(&backend).is_none() {
            let message = format!("{backend} does not exist");
            problems.error(key, field, &message, "create the target, or mend the reference");
            ancestors.entry(itself(&backend)).or_default().push(Outcome::Missing(message));
            continue;
        }
        if let Some(fault) = forward_proxy::without_policies(reader, &backend, &field) {
            problems.error(key, &fault.field, &fault.message, &fault.remedy);
            ancestors.entry(itself(&backend)).or_default().push(Outcome::Unusable(fault));
            continue;
        }
        let clusters: Vec<_> = reader.clusters_of(&backend).collect();
        let gateways: BTreeSet<&NamespacedName> =
            clusters.iter().flat_map(|(_, users)| users.gateways()).collect();
        if gateways.is_empty() {
            continue;
        }
        let ids: Vec<&ClusterId> = clusters.iter().map(|(id, _)| *id).collect();
        unheeded(policy, &backend, &ids, &mut problems);
        let outcome = judge(reader, policy, &backend);
        if let Outcome::Unusable(fault) = &outcome {
            problems.error(key, &fault.field, &fault.message, &fault.remedy);
        }
        for gateway in gateways {
            ancestors.entry(status::reference_to(gateway)).or_default().push(outcome.clone());
        }
    }
    if ancestors.is_empty() && !policy.is_valid() {
        // Nobody could say why it does nothing.
        ancestors.insert(myself(policy), Vec::new());
    }
    let ancestors: Vec<PolicyAncestorStatus> = ancestors
        .into_iter()
        .take(MAX_ANCESTORS)
        .map(|(ancestor_ref, outcomes)| PolicyAncestorStatus {
            ancestor_ref,
            controller_name: options.controller_name.clone(),
            conditions: conditions(policy, &outcomes),
        })
        .collect();
    ((!ancestors.is_empty()).then_some(Status::Policy(PolicyStatus { ancestors })), problems)
}

/// The backends that the policy is on, each with the field that says so.
fn targets(reader: &Reader<'_>, policy: &ConfigPolicy) -> Vec<(String, ObjectKey)> {
    let named = policy.targets.iter().map(|target| (target.field.clone(), target.backend.clone()));
    let mut targets: Vec<(String, ObjectKey)> = named.collect();
    let kinds: BTreeSet<Kind> = policy.selectors.iter().map(|selector| selector.kind).collect();
    for kind in kinds {
        let objects = reader.objects_in(kind, &policy.key.namespace).into_iter();
        let selected = objects.filter(|(_, labels)| policy.selects(kind, labels));
        let keys = selected.map(|(name, _)| ObjectKey::new(kind, &name.namespace, &name.name));
        targets.extend(keys.map(|key| ("spec.targetSelectors".to_owned(), key)));
    }
    let mut seen = BTreeSet::new();
    targets.retain(|(_, backend)| seen.insert(backend.clone()));
    targets
}

fn judge(reader: &Reader<'_>, policy: &ConfigPolicy, backend: &ObjectKey) -> Outcome {
    let mut lost = BTreeMap::new();
    let own = policy.names();
    let others = reader.configs_on(backend).into_iter().take_while(|other| other.key != policy.key);
    for winner in others {
        let names = if winner.is_valid() { winner.names() } else { Vec::new() };
        // One that is not valid still decides about TLS: it closes the backend.
        let names = names.into_iter().chain(winner.wants_tls.then_some(TLS));
        for field in names.filter(|field| own.contains(field)) {
            lost.entry(field).or_insert_with(|| winner.key.to_string());
        }
    }
    if policy.wants_tls
        && let Some((_, name)) = reader.tls_policies_on(backend).next()
    {
        lost.entry(TLS).or_insert_with(|| format!("{} {name}", Kind::BackendTlsPolicy));
    }
    if let Some(settings) = policy.fields.tls.as_ref().filter(|_| !lost.contains_key(TLS)) {
        let hosts_have_names = backend.kind == Kind::Backend
            || reader
                .get::<Service>(&backend.namespace, &backend.name)
                .is_some_and(|service| external::is_external_name(service));
        if let Err(fault) = super::tls::read(reader, &policy.key, settings, hosts_have_names) {
            return Outcome::Unusable(fault);
        }
    }
    Outcome::On { lost }
}

/// What the policy says and no cluster of the backend can heed.
fn unheeded(policy: &ConfigPolicy, backend: &ObjectKey, clusters: &[&ClusterId], problems: &mut Problems) {
    let fields = &policy.fields;
    let speaks = |upstream| clusters.iter().any(|id| id.upstream == upstream);
    let mut warn = |field: &str, message: String, remedy: &str| {
        problems.warning(&policy.key, format!("spec.{field}"), message, remedy);
    };
    if fields.http2.is_some() && !speaks(Upstream::Http2) {
        let message = format!("{backend} is not spoken to in HTTP/2, so this has no effect there");
        warn(
            "http2ProtocolOptions",
            message,
            "set appProtocol kubernetes.io/h2c on its port, or remove the field",
        );
    }
    if fields.http1.is_some() && !speaks(Upstream::Http1) {
        let message = format!("{backend} is not spoken to in HTTP/1.1, so this has no effect there");
        warn("http1ProtocolOptions", message, "remove the field");
    }
    if let Some(check) = &fields.health_check
        && clusters.iter().any(|id| !fits(check, id))
    {
        let message = format!(
            "{backend} is spoken to in HTTP/1.1, where gRPC cannot be asked; its endpoints are not checked"
        );
        warn("healthCheck.grpc", message, "set appProtocol kubernetes.io/h2c on its port, or use http");
    }
}

/// How the status names a backend that does not exist.
fn itself(backend: &ObjectKey) -> ParentReference {
    ParentReference {
        group: Some(backend.kind.group().to_owned()),
        kind: Some(backend.kind.as_str().to_owned()),
        name: backend.name.clone(),
        ..ParentReference::default()
    }
}

/// How the status names a policy whose targets are unknown.
fn myself(policy: &ConfigPolicy) -> ParentReference {
    itself(&policy.key)
}

fn conditions(policy: &ConfigPolicy, outcomes: &[Outcome]) -> Vec<Condition> {
    let generation = policy.generation;
    let closed = if policy.wants_tls { "; its backends get no connection" } else { "" };
    let not_accepted = |reason, message: String| {
        vec![
            condition(condition_type::ACCEPTED, false, reason, &message, generation),
            condition(condition_type::ATTACHED, false, reason, message, generation),
        ]
    };
    if let Some(fault) = policy.faults.first() {
        return not_accepted(reason::INVALID, format!("{}: {}{closed}", fault.field, fault.message));
    }
    let mut lost: BTreeMap<&str, &str> = BTreeMap::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Missing(message) => return not_accepted(reason::TARGET_NOT_FOUND, message.clone()),
            Outcome::Unusable(fault) => {
                let message = format!("{}: {}{closed}", fault.field, fault.message);
                return not_accepted(reason::INVALID, message);
            }
            Outcome::On { lost: fields } => {
                lost.extend(fields.iter().map(|(field, winner)| (*field, winner.as_str())));
            }
        }
    }
    let accepted =
        condition(condition_type::ACCEPTED, true, reason::ACCEPTED, "the policy is accepted", generation);
    let winners: Vec<String> = lost.iter().map(|(field, winner)| format!("{field} by {winner}")).collect();
    let everything = outcomes.iter().all(|outcome| match outcome {
        Outcome::On { lost } => lost.len() == policy.names().len(),
        Outcome::Missing(_) | Outcome::Unusable(_) => false,
    });
    let attached = if lost.is_empty() {
        let message = "the policy is attached to all its targets";
        condition(condition_type::ATTACHED, true, reason::ATTACHED, message, generation)
    } else if everything {
        let message = format!("other policies on the same target win: {}", winners.join(", "));
        condition(condition_type::ATTACHED, false, reason::OVERRIDDEN, message, generation)
    } else {
        let message = format!("merged with other policies; overridden: {}", winners.join(", "));
        condition(condition_type::ATTACHED, true, reason::MERGED, message, generation)
    };
    vec![accepted, attached]
}
