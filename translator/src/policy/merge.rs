//! What policies say together of one rule on one listener.
//!
//! Levels are merged from the most specific to the least: a rule, its route, a listener, its ListenerSet, the Gateway. Field by field
//! the more specific level wins, unless the annotation of the object on the less specific one says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Policy;
use super::fields::{FieldName, Fields, PROTECTING};
use crate::object::{NamespacedName, ObjectKey};
use crate::problem::Problems;

/// The annotation of a Gateway, a ListenerSet or a route that says how policies on it and more specific ones are merged (kgateway v2.1).
pub(crate) const PRIORITY_ANNOTATION: &str = "kgateway.dev/inherited-policy-priority";

/// Who wins, and how, where an object and what is below it have policies with the same field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priority {
    /// The policies on the object win over more specific ones.
    prefer_parent: bool,
    /// Header modifiers of both are applied; else those of the winner alone.
    deep: bool,
}

impl Priority {
    pub(crate) fn prefers_parent(self) -> bool {
        self.prefer_parent
    }

    pub(crate) fn is_deep(self) -> bool {
        self.deep
    }

    /// Reads the value of the annotation; `None` if it is none of the four.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let (prefer_parent, deep) = match value {
            "ShallowMergePreferChild" => (false, false),
            "ShallowMergePreferParent" => (true, false),
            "DeepMergePreferChild" => (false, true),
            "DeepMergePreferParent" => (true, true),
            _ => return None,
        };
        Some(Self { prefer_parent, deep })
    }
}

/// Warns where the annotation of an object says nothing that is known: policies are then merged as if it were not there.
pub(crate) fn check(key: &ObjectKey, metadata: &ObjectMeta, problems: &mut Problems) {
    let value = metadata.annotations.as_ref().and_then(|annotations| annotations.get(PRIORITY_ANNOTATION));
    if let Some(value) = value.filter(|value| Priority::parse(value).is_none()) {
        problems.warning(
            key,
            format!("metadata.annotations[{PRIORITY_ANNOTATION}]"),
            format!("{value:?} is unknown"),
            "use ShallowMergePreferChild, ShallowMergePreferParent, DeepMergePreferChild or DeepMergePreferParent",
        );
    }
}

/// True if a policy on a less specific object wins the field: `priority` is what the annotation of that object says, `foreign` whether the
/// more specific policy is in another namespace.
pub(super) fn parent_wins(priority: Option<Priority>, field: &str, foreign: bool) -> bool {
    priority.map_or_else(|| foreign && PROTECTING.contains(&field), |priority| priority.prefer_parent)
}

/// The policies on one object, or one section of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level<'a> {
    /// In order of precedence.
    pub(crate) policies: Vec<&'a Arc<Policy>>,
    /// What the object's annotation says; `None` if it says nothing.
    pub(crate) priority: Option<Priority>,
    /// More specific levels of the same object, the most specific first. They are merged with this one before what is below: so the rules
    /// of a route that delegates stand together with the route.
    pub(crate) parts: Vec<Level<'a>>,
}

/// What policies say about one rule on one listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Effective {
    pub(crate) fields: Fields,
    /// A policy that protects the rule is not valid, and why: the rule must not be served.
    pub(crate) blocked: Option<String>,
    /// The policy that each field is from.
    owners: BTreeMap<FieldName, NamespacedName>,
}

/// Merges levels, the most specific first.
pub(crate) fn merge<'a>(levels: impl IntoIterator<Item = Level<'a>>) -> Effective {
    let mut effective = Effective::default();
    for Level { policies, priority, parts } in levels {
        let mut level = merge(parts);
        level.blocked = level.blocked.or_else(|| blocked(&policies));
        level.take(of_level(&policies), priority);
        effective.blocked = effective.blocked.or_else(|| level.blocked.take());
        effective.take(level, priority);
    }
    effective
}

fn blocked(policies: &[&Arc<Policy>]) -> Option<String> {
    let broken = policies.iter().find(|policy| policy.protects && !policy.is_valid())?;
    Some(format!("{} protects it and is not valid", broken.key))
}

/// What the policies of one level say together.
fn of_level(policies: &[&Arc<Policy>]) -> Effective {
    let mut effective = Effective::default();
    for policy in policies.iter().filter(|policy| policy.is_valid()) {
        let name = policy.key.namespaced_name();
        for field in policy.fields.names() {
            effective.owners.entry(field).or_insert_with(|| name.clone());
        }
        effective.fields.fill(&policy.fields);
    }
    effective
}

impl Effective {
    /// Takes in a less specific level.
    fn take(&mut self, parent: Self, priority: Option<Priority>) {
        let foreign = |field: &FieldName| {
            self.owners.get(field).is_some_and(|own| own.namespace != parent.owners[field].namespace)
        };
        let preferred: BTreeSet<FieldName> = parent
            .owners
            .keys()
            .copied()
            .filter(|field| parent_wins(priority, field, foreign(field)))
            .collect();
        let deep = priority.is_some_and(|priority| priority.deep);
        if deep && !preferred.is_empty() {
            let own = std::mem::replace(&mut self.fields, parent.fields);
            self.fields.combine(&own);
        } else {
            self.fields.clear(&preferred);
            if deep {
                self.fields.combine(&parent.fields);
            } else {
                self.fields.fill(&parent.fields);
            }
        }
        for (field, owner) in parent.owners {
            if preferred.contains(field) {
                self.owners.insert(field, owner);
            } else {
                self.owners.entry(field).or_insert(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests;
