//! The child's side of delegation: it serves what was handed to it, and its status tells each of those who delegate to it.

use std::collections::{BTreeMap, BTreeSet};

use postern_api::gateway_api::{HttpRoute, RouteParentStatus, condition_type, reason};

use super::matching::{self, INHERIT_ANNOTATION, Mismatch};
use super::{MAX_WAYS, hands, names, reference_to};
use crate::Options;
use crate::dependency::{Parent, Reader};
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::merge;
use crate::route::attach::{self, Attachment};
use crate::route::http::{HttpRules, Origin};
use crate::route::{Collected, RouteOutput, Rules, Verdict, accepted};
use crate::status::{condition, resolved};

/// The API server admits this many parents in the status of a route.
const MAX_PARENTS: usize = 32;

type Verdicts = BTreeMap<usize, (Option<(&'static str, String)>, Option<(&'static str, String)>)>;

/// What came of everything that one route delegates to another.
#[derive(Default)]
struct AsChild {
    named: bool,
    /// By rule.
    verdicts: Verdicts,
    /// Matches, by rule and index, that take something.
    taken: BTreeSet<(usize, usize)>,
    /// Those that do not fit somewhere, and why.
    dropped: BTreeMap<(usize, usize), Mismatch>,
}

/// Serves what others delegate to a route.
pub(in crate::route) fn translate(
    reader: &Reader<'_>,
    key: &ObjectKey,
    route: &HttpRoute,
    options: &Options,
    collected: &mut BTreeMap<NamespacedName, Collected>,
    out: &mut RouteOutput,
) {
    let mut parents: BTreeMap<&ObjectKey, AsChild> = BTreeMap::new();
    for (way, handed) in reader.handed(key).take(MAX_WAYS).enumerate() {
        let root = &handed.root;
        let places: Vec<(Parent<'_, '_>, Vec<Attachment<'_>>)> = root
            .parents
            .iter()
            .filter_map(|reference| {
                let parent = reader.parent(reference, &root.key.namespace)?;
                let attached = attach::attach(reader, &root.key, &root.hostnames, reference, &parent);
                Some((parent, attached.ok()?))
            })
            .collect();
        if places.is_empty() {
            continue;
        }
        let entry = parents.entry(&handed.nearest().route).or_default();
        entry.named |= handed.named;
        if !route.spec.hostnames.is_empty() {
            continue;
        }
        let way = u32::try_from(way + 1).unwrap_or(u32::MAX);
        let Origin { rules, taken, dropped } =
            HttpRules::of_child(reader, key, route, handed, way, &mut out.problems);
        entry.taken.extend(taken);
        for (at, mismatch) in dropped {
            // Of several matches that delegate the one says most that comes closest.
            let known = entry.dropped.entry(at).or_insert_with(|| mismatch.clone());
            if known.of_path && !mismatch.of_path {
                *known = mismatch;
            }
        }
        for (index, rule) in rules.each() {
            let verdict = entry.verdicts.entry(index).or_default();
            verdict.0 = verdict.0.take().or_else(|| rule.refused.clone());
            verdict.1 = verdict.1.take().or_else(|| rule.unresolved.clone());
        }
        for (parent, attachments) in &places {
            let share = collected.entry(parent.gateway().clone()).or_default();
            for attachment in attachments {
                share.reached.insert(attachment.listener.id.clone());
                if attachment.listener.serving {
                    rules.serve(reader, parent, attachment, share);
                }
            }
        }
        hands(rules.given(), root, &handed.links, &mut out.hands);
    }
    if !parents.is_empty() {
        check(key, route, out);
    }
    let taken: BTreeSet<_> = parents.values().flat_map(|entry| entry.taken.clone()).collect();
    let is_attached = !out.status.parents.is_empty();
    for (parent, entry) in parents {
        let elsewhere = |at: &(usize, usize)| is_attached || taken.contains(at);
        tell(key, route, parent, entry, elsewhere, options, out);
    }
    left_alone(reader, key, route, options, out);
    out.status.parents.truncate(MAX_PARENTS);
}

/// Warns of annotations that say nothing, and of hostnames, which a child has from its parent.
fn check(key: &ObjectKey, route: &HttpRoute, out: &mut RouteOutput) {
    merge::check(key, &route.metadata, &mut out.problems);
    if let Err(value) = matching::inherits(&route.metadata) {
        out.problems.warning(
            key,
            format!("metadata.annotations[{INHERIT_ANNOTATION}]"),
            format!("{value:?} is unknown, so the matches of the parent are not inherited"),
            "use \"true\", or remove the annotation",
        );
    }
    if !route.spec.hostnames.is_empty() {
        out.problems.error(
            key,
            "spec.hostnames",
            HOSTNAMES,
            "remove the hostnames, or let no route delegate to this one",
        );
    }
}

const HOSTNAMES: &str = "a route that others delegate to has their hostnames, so it gets nothing from them";

/// Tells in the status what came of everything that `parent` delegates to the route.
fn tell(
    key: &ObjectKey,
    route: &HttpRoute,
    parent: &ObjectKey,
    mut entry: AsChild,
    is_served_elsewhere: impl Fn(&(usize, usize)) -> bool,
    options: &Options,
    out: &mut RouteOutput,
) {
    let generation = route.metadata.generation;
    let mut conditions = if route.spec.hostnames.is_empty() {
        // A match may be there for another parent; but one of them has to be for this one.
        entry.dropped.retain(|at, _| entry.taken.is_empty() || !is_served_elsewhere(at));
        // What a route delegates to whoever is there need not be meant for all of them.
        if entry.taken.is_empty() && !entry.named {
            return;
        }
        let is_carried_out =
            |rule: &usize| entry.verdicts.get(rule).is_some_and(|(refused, _)| refused.is_none());
        let taken = entry.taken.iter().map(|(rule, _)| *rule);
        let served: BTreeSet<usize> = taken.filter(is_carried_out).collect();
        for ((rule, matching), why) in entry.dropped {
            let has_matches = route.spec.rules.get(rule).is_some_and(|rule| !rule.matches.is_empty());
            let index = if has_matches { format!("[{matching}]") } else { String::new() };
            let field = format!("spec.rules[{rule}].matches{index}");
            let message = format!("it takes nothing of what {parent} delegates: {}", why.why);
            let refused = (reason::UNSUPPORTED_VALUE, format!("{field}: {message}"));
            entry.verdicts.entry(rule).or_default().0.get_or_insert(refused);
            let remedy = format!(
                "match what the parent delegates and more, or let the annotation {INHERIT_ANNOTATION}: \"true\" put it in front"
            );
            if !is_served_elsewhere(&(rule, matching)) {
                out.problems.error(key, field, message, remedy);
            }
        }
        let nothing = (None, None);
        let verdicts: Vec<_> = (0..route.spec.rules.len())
            .map(|index| (index, entry.verdicts.get(&index).unwrap_or(&nothing)))
            .map(|(index, (refused, unresolved))| Verdict {
                refused: refused.as_ref(),
                is_served: served.contains(&index),
                unresolved: unresolved.as_ref(),
            })
            .collect();
        let mut conditions = accepted(&verdicts, generation);
        conditions.insert(1, resolved(verdicts.iter().find_map(|rule| rule.unresolved), generation));
        conditions
    } else {
        let refused =
            condition(condition_type::ACCEPTED, false, reason::UNSUPPORTED_VALUE, HOSTNAMES, generation);
        vec![refused, resolved(None, generation)]
    };
    conditions.shrink_to_fit();
    let named = route.spec.parent_refs.iter().find(|reference| names(reference, &key.namespace, parent));
    out.status.parents.push(RouteParentStatus {
        parent_ref: named.cloned().unwrap_or_else(|| reference_to(parent)),
        controller_name: options.controller_name.clone(),
        conditions,
    });
}

/// Tells of routes that this one names as parents and that delegate nothing to it.
fn left_alone(
    reader: &Reader<'_>,
    key: &ObjectKey,
    route: &HttpRoute,
    options: &Options,
    out: &mut RouteOutput,
) {
    for (index, reference) in route.spec.parent_refs.iter().enumerate() {
        let namespace = reference.namespace.as_deref().unwrap_or(&key.namespace);
        let parent = ObjectKey::new(Kind::HttpRoute, namespace, &reference.name);
        if !names(reference, &key.namespace, &parent)
            || out.status.parents.iter().any(|status| status.parent_ref == *reference)
        {
            continue;
        }
        let field = format!("spec.parentRefs[{index}]");
        if reader.metadata(&parent).is_none() {
            let message = format!("{parent} does not exist, so nobody delegates to the route there");
            out.problems.warning(key, field + ".name", message, "create it, or mend name and namespace");
        } else if !reader.parents(&parent).is_empty() {
            let message = format!("{parent} does not delegate to this route");
            out.problems.warning(
                key,
                field,
                &message,
                "add a backendRef of kind HTTPRoute to a rule of the parent",
            );
            let generation = route.metadata.generation;
            let refused =
                condition(condition_type::ACCEPTED, false, reason::NO_MATCHING_PARENT, message, generation);
            out.status.parents.push(RouteParentStatus {
                parent_ref: reference.clone(),
                controller_name: options.controller_name.clone(),
                conditions: vec![refused, resolved(None, generation)],
            });
        }
    }
}
