//! The status of a BackendTLSPolicy: for each Gateway that sends requests to its targets, whether it is in force there.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use postern_api::gateway_api::{BackendTlsPolicy, Condition, PolicyStatus, condition_type, reason};
use postern_api::kgateway::Backend;
use postern_api::multicluster::ServiceImport;

use super::{Reading, TlsTarget, on, read, target_kind, targets};
use crate::Options;
use crate::backend::{BackendObject, Security, external, forward_proxy, service};
use crate::dependency::Reader;
use crate::infrastructure::PortProtocol;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::status::MAX_ANCESTORS;
use crate::problem::Problems;
use crate::status::{self, condition};

/// What came of a policy on one target, as far as one Gateway is concerned.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    InForce,
    /// Another policy counts.
    Lost(ObjectKey),
    /// The target has no port of this name.
    Missing(String),
}

/// The status of the policy `name`; `None` if it does not exist or no Gateway of ours sends requests to its targets.
pub(crate) fn translate(
    reader: &Reader<'_>,
    name: &NamespacedName,
    options: &Options,
) -> (Option<PolicyStatus>, Problems) {
    let mut problems = Problems::default();
    let key = ObjectKey::new(Kind::BackendTlsPolicy, &name.namespace, &name.name);
    let Some(policy) = reader.get::<BackendTlsPolicy>(&name.namespace, &name.name) else {
        return (None, problems);
    };
    unknown_targets(&key, policy, &mut problems);
    let mut gateways: BTreeMap<NamespacedName, Vec<Outcome>> = BTreeMap::new();
    for target in targets(policy) {
        judge(reader, &key, policy, &target, &mut gateways, &mut problems);
    }
    if gateways.is_empty() {
        // Whom it is about, another controller knows, if anybody does.
        return (None, problems);
    }
    let reading = read(reader, policy);
    for (object, fault) in &reading.errors {
        problems.error(object, &fault.field, &fault.message, &fault.remedy);
    }
    for fault in &reading.warnings {
        problems.warning(&key, &fault.field, &fault.message, &fault.remedy);
    }
    let generation = policy.metadata.generation;
    let ancestors = gateways
        .into_iter()
        .take(MAX_ANCESTORS)
        .map(|(gateway, outcomes)| {
            status::ancestor(&gateway, conditions(&reading, &outcomes, generation), options)
        })
        .collect();
    (Some(PolicyStatus { ancestors }), problems)
}

fn unknown_targets(key: &ObjectKey, policy: &BackendTlsPolicy, problems: &mut Problems) {
    for (index, target) in policy.spec.target_refs.iter().enumerate() {
        if target_kind(&target.group, &target.kind).is_none() {
            problems.warning(
                key,
                format!("spec.targetRefs[{index}].kind"),
                format!("a policy on {} (group {:?}) has no effect here", target.kind, target.group),
                "target a Service, a ServiceImport, or a Backend of group gateway.kgateway.dev",
            );
        }
    }
}

/// Adds what came of the policy on one target to each Gateway that sends requests there.
fn judge(
    reader: &Reader<'_>,
    key: &ObjectKey,
    policy: &BackendTlsPolicy,
    (backend, section): &TlsTarget,
    gateways: &mut BTreeMap<NamespacedName, Vec<Outcome>>,
    problems: &mut Problems,
) {
    let field = || {
        let index = policy.spec.target_refs.iter().position(|target| {
            target.name == backend.name
                && target.section_name.as_deref().filter(|s| !s.is_empty()) == section.as_deref()
        });
        format!("spec.targetRefs[{}]", index.unwrap_or_default())
    };
    if let Some(fault) = forward_proxy::without_policies(reader, backend, &field()) {
        problems.error(key, fault.field, fault.message, fault.remedy);
        return;
    }
    let Some(ports) = ports(reader, backend) else {
        problems.warning(
            key,
            format!("{}.name", field()),
            format!("{backend} does not exist"),
            "create it, or mend the reference",
        );
        return;
    };
    let missing =
        section.as_ref().filter(|section| !ports.values().any(|port| port.as_ref() == Some(*section)));
    if let Some(section) = missing {
        let message = format!("{backend} has no port named {section}");
        problems.warning(
            key,
            format!("{}.sectionName", field()),
            &message,
            "use the name of one of its ports",
        );
        // Without its port, the policy protects nothing.
        for gateway in users(reader, backend, |_, _| true) {
            gateways.entry(gateway).or_default().push(Outcome::Missing(message.clone()));
        }
        return;
    }
    for (port, port_name) in ports {
        if section.is_some() && port_name != *section {
            continue;
        }
        let present = on(reader, backend, port_name.as_deref());
        // One that names the port is no rival of one that does not: both are accepted.
        let mut rivals = present.iter().filter(|(other, _)| *other == section.as_deref());
        let outcome = match rivals.next() {
            Some((_, winner)) if winner.metadata.name != policy.metadata.name => {
                let name = winner.metadata.name.clone().unwrap_or_default();
                Outcome::Lost(ObjectKey::new(Kind::BackendTlsPolicy, &key.namespace, name))
            }
            _ => Outcome::InForce,
        };
        let protected = |number, security: &Security| number == port && *security != Security::Cleartext;
        for gateway in users(reader, backend, protected) {
            gateways.entry(gateway).or_default().push(outcome.clone());
        }
    }
}

/// The ports of a backend with their names; `None` if it does not exist. A `Backend` counts as one port without a name.
fn ports(reader: &Reader<'_>, backend: &ObjectKey) -> Option<BTreeMap<u16, Option<String>>> {
    if backend.kind == Kind::Backend {
        return reader.get::<Backend>(&backend.namespace, &backend.name).map(|_| [(0, None)].into());
    }
    if backend.kind == Kind::ServiceImport {
        let import = reader.get::<ServiceImport>(&backend.namespace, &backend.name)?;
        return Some(names(&import.spec.ports));
    }
    let service = reader.get::<Service>(&backend.namespace, &backend.name)?;
    let mut ports = names(service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default());
    if external::is_external_name(service) {
        // Routes may name ports that the Service does not list.
        let used = reader.clusters_of(backend).map(|(id, _)| port_of(&id.backend));
        used.for_each(|port| {
            ports.entry(port).or_insert(None);
        });
    }
    Some(ports)
}

/// The TCP ports of a Service with their names.
fn names(ports: &[ServicePort]) -> BTreeMap<u16, Option<String>> {
    let named = ports.iter().filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        service::serves(port, number, PortProtocol::Tcp)
            .then(|| (number, port.name.clone().filter(|name| !name.is_empty())))
    });
    named.collect()
}

/// The Gateways that send requests to some of the clusters of `backend`, by port and security.
fn users(
    reader: &Reader<'_>,
    backend: &ObjectKey,
    concerned: impl Fn(u16, &Security) -> bool,
) -> BTreeSet<NamespacedName> {
    let clusters = reader.clusters_of(backend);
    let clusters = clusters.filter(|(id, _)| concerned(port_of(&id.backend), &id.security));
    clusters.flat_map(|(_, users)| users.gateways().cloned()).collect()
}

/// The port under which [`ports`] has a backend.
fn port_of(backend: &BackendObject) -> u16 {
    match backend {
        BackendObject::Service(_, port) | BackendObject::Import(_, port) => *port,
        BackendObject::Static(_) | BackendObject::XBackend(_) | BackendObject::ForwardProxy => 0,
    }
}

fn conditions(reading: &Reading, outcomes: &[Outcome], generation: Option<i64>) -> Vec<Condition> {
    let in_force = outcomes.contains(&Outcome::InForce);
    let refused = match &reading.not_accepted {
        _ if !in_force => outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Missing(message) => Some((reason::TARGET_NOT_FOUND, message.clone())),
            Outcome::Lost(winner) => {
                Some((reason::CONFLICTED, format!("{winner} has the same target and takes precedence")))
            }
            Outcome::InForce => None,
        }),
        refused => refused.clone(),
    };
    let accepted = match refused {
        Some((reason, message)) => condition(condition_type::ACCEPTED, false, reason, message, generation),
        None => {
            let lost = outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Lost(winner) => {
                    Some(format!("the policy is accepted, but on one target {winner} counts"))
                }
                Outcome::Missing(message) => Some(format!("the policy is accepted, but {message}")),
                Outcome::InForce => None,
            });
            let message = lost.unwrap_or_else(|| "the policy is accepted".to_owned());
            condition(condition_type::ACCEPTED, true, reason::ACCEPTED, message, generation)
        }
    };
    vec![accepted, status::resolved(reading.unresolved.as_ref(), generation)]
}

#[cfg(test)]
mod tests;
