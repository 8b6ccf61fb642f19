//! Statuses as a person reads them: what is fine in one word each, what is not with its reason.

use std::fmt::Write as _;

use postern_api::gateway_api::{Condition, ListenerStatus, ParentReference};
use postern_translator::{ObjectKey, Status};
use serde::Serialize;

/// The condition types whose good value is `False`.
const BAD_IF_TRUE: [&str; 5] =
    ["Conflicted", "Invalid", "InsecureFrontendValidationMode", "OverlappingTLSConfig", "PartiallyInvalid"];

/// The status of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The object, such as `HTTPRoute default/web`.
    pub object: String,
    /// What each parent, listener or ancestor says; the object itself first, with an empty name.
    pub parts: Vec<Part>,
}

/// The conditions of one part of a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `listener http`, `Gateway default/web`; empty for the object itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How many routes are attached, for listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_routes: Option<u32>,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

impl Verdict {
    /// Reads the status of the object `key`.
    pub fn of(key: &ObjectKey, status: &Status) -> Self {
        let part = |name: String, conditions: &[Condition]| Part {
            name,
            attached_routes: None,
            conditions: conditions.to_vec(),
        };
        let with_listeners = |conditions: &[Condition], listeners: &[ListenerStatus]| {
            let listeners = listeners.iter().map(|listener| Part {
                attached_routes: Some(listener.attached_routes),
                ..part(format!("listener {}", listener.name), &listener.conditions)
            });
            std::iter::once(part(String::new(), conditions)).chain(listeners).collect()
        };
        let parts = match status {
            Status::GatewayClass(status) => vec![part(String::new(), &status.conditions)],
            Status::Gateway(status) => with_listeners(&status.conditions, &status.listeners),
            Status::ListenerSet(status) => with_listeners(&status.conditions, &status.listeners),
            Status::Route(status) => {
                status.parents.iter().map(|p| part(reference(&p.parent_ref, key), &p.conditions)).collect()
            }
            Status::Policy(status) => status
                .ancestors
                .iter()
                .map(|a| part(reference(&a.ancestor_ref, key), &a.conditions))
                .collect(),
            Status::Conditions(status) => vec![part(String::new(), &status.conditions)],
        };
        Self { object: key.to_string(), parts }
    }

    /// True if every condition is as it should be.
    pub fn is_fine(&self) -> bool {
        self.troubles().next().is_none()
    }

    /// The conditions that are not as they should be, each with its part.
    pub fn troubles(&self) -> impl Iterator<Item = (&Part, &Condition)> {
        self.parts
            .iter()
            .flat_map(|part| part.conditions.iter().map(move |condition| (part, condition)))
            .filter(|(_, condition)| !is_fine(condition))
    }

    /// The types of the conditions that are well and say something, each once, in the order of the status.
    pub fn merits(&self) -> Vec<&str> {
        let mut out: Vec<&str> = Vec::new();
        let Some(first) = self.parts.first() else { return out };
        for condition in first.conditions.iter().filter(|c| c.is_true() && is_fine(c)) {
            if !out.contains(&condition.type_.as_str()) {
                out.push(&condition.type_);
            }
        }
        out
    }
}

/// True if `condition` has the value that one hopes for.
pub fn is_fine(condition: &Condition) -> bool {
    condition.is_true() != BAD_IF_TRUE.contains(&condition.type_.as_str())
}

fn reference(reference: &ParentReference, from: &ObjectKey) -> String {
    let namespace = reference.namespace.as_deref().unwrap_or(&from.namespace);
    let kind = reference.kind.as_deref().unwrap_or("Gateway");
    let mut out = format!("{kind} {namespace}/{}", reference.name);
    if let Some(section) = &reference.section_name {
        out.push('#');
        out.push_str(section);
    }
    if let Some(port) = reference.port {
        // Writing to a String cannot fail.
        let _ = write!(out, ":{port}");
    }
    out
}
