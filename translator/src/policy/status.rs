//! The status of a policy: for each Gateway that it has a say in, whether it is valid and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use postern_api::gateway_api::{
    Condition, Gateway, GrpcRoute, HttpRoute, ListenerSet, ParentReference, PolicyAncestorStatus,
    PolicyStatus, condition_type, reason,
};

use super::fields::FieldName;
use super::{Policy, Target, listener_targets, merge};
use crate::Options;
use crate::dependency::Reader;
use crate::gateway_extension;
use crate::object::{Kind, NamespacedName};
use crate::problem::{Fault, Problems};
use crate::status::condition;

/// Gateway API: a policy has at most this many ancestors in its status.
pub(crate) const MAX_ANCESTORS: usize = 16;

/// What came of a policy on one target.
enum Outcome {
    Missing(String),
    On { gateways: BTreeSet<NamespacedName>, lost: BTreeMap<&'static str, String>, kept: usize },
}

/// The status of the policy `name`; `None` if it does not exist or is not about anything of ours.
pub(crate) fn translate(
    reader: &Reader<'_>,
    name: &NamespacedName,
    options: &Options,
) -> (Option<PolicyStatus>, Problems) {
    let mut problems = Problems::default();
    let Some(policy) = reader.policy(name) else { return (None, problems) };
    let mut faults = policy.faults.clone();
    faults.extend(gateway_extension::faults(reader, policy));
    for fault in &faults {
        problems.error(&policy.key, &fault.field, &fault.message, &fault.remedy);
    }
    let mut targets: Vec<(String, Target)> =
        policy.targets.iter().map(|t| (t.field.clone(), t.object.clone())).collect();
    for selector in &policy.selectors {
        let selected = reader.objects_in(selector.kind, &name.namespace);
        let selected = selected.into_iter().filter(|(_, labels)| selector.matches(labels));
        let section = selector.section.as_deref();
        targets.extend(selected.map(|(name, _)| {
            ("spec.targetSelectors".to_owned(), Target::new(selector.kind, &name, section))
        }));
    }
    let mut ancestors: BTreeMap<ParentReference, Vec<Outcome>> = BTreeMap::new();
    for (field, target) in targets {
        let outcome = outcome(reader, policy, &target);
        match &outcome {
            Outcome::Missing(message) => {
                problems.error(&policy.key, field, message, "create the target, or mend the reference");
                ancestors.entry(reference(&target, &policy.key.namespace)).or_default().push(outcome);
            }
            Outcome::On { gateways, lost, kept } => {
                for gateway in gateways {
                    let at = Target::new(Kind::Gateway, gateway, None);
                    let copy = Outcome::On { gateways: BTreeSet::new(), lost: lost.clone(), kept: *kept };
                    ancestors.entry(reference(&at, &policy.key.namespace)).or_default().push(copy);
                }
            }
        }
    }
    let status = PolicyStatus {
        ancestors: ancestors
            .into_iter()
            .take(MAX_ANCESTORS)
            .map(|(ancestor_ref, outcomes)| PolicyAncestorStatus {
                ancestor_ref,
                controller_name: options.controller_name.clone(),
                conditions: conditions(policy, &faults, &outcomes),
            })
            .collect(),
    };
    ((!status.ancestors.is_empty()).then_some(status), problems)
}

fn outcome(reader: &Reader<'_>, policy: &Policy, target: &Target) -> Outcome {
    let (namespace, name) = (&target.name.namespace, &target.name.name);
    let section_exists = |names: Vec<Option<&str>>| {
        target.section.as_deref().is_none_or(|section| names.contains(&Some(section)))
    };
    let missing = || Outcome::Missing(format!("{target} does not exist"));
    let nobody = || Outcome::On { gateways: BTreeSet::new(), lost: BTreeMap::new(), kept: 0 };
    let gateways = match target.kind {
        Kind::Gateway => {
            let Some(gateway) = reader.get::<Gateway>(namespace, name) else { return missing() };
            if reader.is_foreign(&target.name) {
                return nobody();
            }
            if !section_exists(gateway.spec.listeners.iter().map(|l| Some(l.name.as_str())).collect()) {
                return missing();
            }
            BTreeSet::from([target.name.clone()])
        }
        Kind::ListenerSet => {
            let Some(set) = reader.get::<ListenerSet>(namespace, name) else { return missing() };
            let Some(gateway) = reader.gateway_of_set(&target.name) else { return nobody() };
            if !section_exists(set.spec.listeners.iter().map(|l| Some(l.name.as_str())).collect()) {
                return missing();
            }
            BTreeSet::from([gateway.clone()])
        }
        _ => {
            let Some(route) = route(reader, target) else { return missing() };
            let gateways = reader.parents(&target.key());
            if gateways.is_empty() && reader.all_are_foreign(route.parents, namespace) {
                return nobody();
            }
            if !section_exists(route.rules) {
                return missing();
            }
            gateways
        }
    };
    if !reader.may_target(policy, target) {
        return Outcome::Missing(format!("{target} is in another namespace and no ReferenceGrant allows it"));
    }
    let mut lost = BTreeMap::new();
    let older = reader.policies_on(target).into_iter().take_while(|other| other.key != policy.key);
    let own: Vec<FieldName> = policy.fields.names().collect();
    for winner in older.filter(|other| other.is_valid()) {
        for field in winner.fields.names().filter(|field| own.contains(field)) {
            lost.entry(field).or_insert_with(|| winner.key.to_string());
        }
    }
    for gateway in &gateways {
        for upper in above(reader, target, gateway) {
            let priority = reader.policy_priority(&upper.key());
            for winner in reader.policies_on(&upper).into_iter().filter(|winner| winner.is_valid()) {
                let foreign = winner.key.namespace != policy.key.namespace;
                let wins =
                    |field: &FieldName| own.contains(field) && merge::parent_wins(priority, field, foreign);
                for field in winner.fields.names().filter(wins) {
                    lost.entry(field).or_insert_with(|| format!("{} on {upper}", winner.key));
                }
            }
        }
    }
    let kept = own.len() - lost.len();
    Outcome::On { gateways, lost, kept }
}

/// What is less specific than `target` at a Gateway: policies there may win over those on the target.
fn above(reader: &Reader<'_>, target: &Target, gateway: &NamespacedName) -> BTreeSet<Target> {
    let whole = Target { section: None, ..target.clone() };
    let own = target.section.is_some().then_some(whole);
    let of_gateway = Target::new(Kind::Gateway, gateway, None);
    match target.kind {
        Kind::Gateway => own.into_iter().collect(),
        Kind::ListenerSet => own.into_iter().chain([of_gateway]).collect(),
        _ => {
            let listeners = reader.listeners_with(&target.key(), gateway);
            let targets = listeners.iter().flat_map(|listener| listener_targets(gateway, listener));
            let links = reader.handed(&target.key()).flat_map(|handed| &handed.links);
            let delegating = links.flat_map(|link| {
                let route = |rule| Target::new(link.route.kind, &link.route.namespaced_name(), rule);
                link.spec.name.as_deref().map(|rule| route(Some(rule))).into_iter().chain([route(None)])
            });
            own.into_iter().chain(delegating).chain(targets).collect()
        }
    }
}

/// What a policy has to know of a route that it targets.
struct TargetedRoute<'a> {
    parents: &'a [ParentReference],
    /// The names of its rules.
    rules: Vec<Option<&'a str>>,
}

fn route<'a>(reader: &Reader<'a>, target: &Target) -> Option<TargetedRoute<'a>> {
    let (namespace, name) = (&target.name.namespace, &target.name.name);
    Some(if target.kind == Kind::GrpcRoute {
        let route = reader.get::<GrpcRoute>(namespace, name)?;
        let rules = route.spec.rules.iter().map(|rule| rule.name.as_deref()).collect();
        TargetedRoute { parents: &route.spec.parent_refs, rules }
    } else {
        let route = reader.get::<HttpRoute>(namespace, name)?;
        let rules = route.spec.rules.iter().map(|rule| rule.name.as_deref()).collect();
        TargetedRoute { parents: &route.spec.parent_refs, rules }
    })
}

/// How the status of a policy in `namespace` names a target.
pub(crate) fn reference(target: &Target, namespace: &str) -> ParentReference {
    ParentReference {
        group: Some(target.kind.group().to_owned()),
        kind: Some(target.kind.as_str().to_owned()),
        namespace: (target.name.namespace != namespace).then(|| target.name.namespace.clone()),
        name: target.name.name.clone(),
        section_name: target.section.clone(),
        port: None,
    }
}

fn conditions(policy: &Policy, faults: &[Fault], outcomes: &[Outcome]) -> Vec<Condition> {
    let generation = policy.generation;
    let not_accepted = |reason, message: String| {
        vec![
            condition(condition_type::ACCEPTED, false, reason, &message, generation),
            condition(condition_type::ATTACHED, false, reason, message, generation),
        ]
    };
    if let Some(fault) = faults.first() {
        let protects = if policy.protects { "; the routes that it protects answer 500" } else { "" };
        return not_accepted(reason::INVALID, format!("{}: {}{protects}", fault.field, fault.message));
    }
    let missing = outcomes.iter().find_map(|o| match o {
        Outcome::Missing(message) => Some(message.clone()),
        Outcome::On { .. } => None,
    });
    if let Some(message) = missing {
        return not_accepted(reason::TARGET_NOT_FOUND, message);
    }
    let accepted =
        condition(condition_type::ACCEPTED, true, reason::ACCEPTED, "the policy is accepted", generation);
    let mut lost: BTreeMap<&str, &str> = BTreeMap::new();
    let mut all_kept = 0;
    for outcome in outcomes {
        if let Outcome::On { lost: fields, kept, .. } = outcome {
            lost.extend(fields.iter().map(|(field, winner)| (*field, winner.as_str())));
            all_kept += kept;
        }
    }
    let winners: Vec<String> = lost.iter().map(|(field, winner)| format!("{field} by {winner}")).collect();
    let attached = if lost.is_empty() {
        condition(
            condition_type::ATTACHED,
            true,
            reason::ATTACHED,
            "the policy is attached to all its targets",
            generation,
        )
    } else if all_kept > 0 {
        let message = format!("merged with others; overridden: {}", winners.join(", "));
        condition(condition_type::ATTACHED, true, reason::MERGED, message, generation)
    } else {
        let message = format!("others win: {}", winners.join(", "));
        condition(condition_type::ATTACHED, false, reason::OVERRIDDEN, message, generation)
    };
    vec![accepted, attached]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dependency::tests::{World, named};
    use crate::gateway::GatewayModel;

    const GATEWAY: (Kind, &str, &str) = (
        Kind::Gateway,
        "a/g",
        "spec: {gatewayClassName: postern, listeners: [{name: http, port: 80, protocol: HTTP}]}",
    );

    /// Conditions of each ancestor as `Kind ns/name: Accepted=reason Attached=reason`, and the fields of problems.
    fn status(policies: &[(&str, &str)], of: &str) -> (Vec<String>, Vec<String>) {
        let mut objects = vec![GATEWAY];
        let specs: Vec<(&str, String)> =
            policies.iter().map(|(name, spec)| (*name, format!("spec: {{{spec}}}"))).collect();
        objects.extend(specs.iter().map(|(name, spec)| (Kind::TrafficPolicy, *name, spec.as_str())));
        let mut world = World::new(&objects);
        let model = GatewayModel::new(named("a/g"), vec![], None, false);
        world.gateways.insert(named("a/g"), Arc::new(model));
        let (status, problems) = translate(&world.reader(), &named(of), &Options::default());
        let ancestors = status.map(|s| s.ancestors).unwrap_or_default();
        let lines = ancestors.iter().map(|ancestor| {
            let conditions = ancestor.conditions.iter();
            let conditions: Vec<String> =
                conditions.map(|c| format!("{}={}/{}", c.type_, c.is_true(), c.reason)).collect();
            let at = &ancestor.ancestor_ref;
            let section = at.section_name.as_ref().map(|s| format!("#{s}")).unwrap_or_default();
            format!("{} {}{section}: {}", at.kind(), at.name, conditions.join(" "))
        });
        (lines.collect(), problems.iter().map(|p| p.field.clone()).collect())
    }

    const ON: &str = "targetRefs: [{kind: Gateway, name: g}]";

    #[test]
    fn attached_merged_overridden() {
        let older = format!("{ON}, timeout: {{request: 1s}}, cors: {{}}");
        for (spec, expected) in [
            ("retries: {attempts: 1}", "Attached=true/Attached"),
            ("timeout: {request: 2s, idle: 3s}", "Attached=true/Merged"),
            ("timeout: {request: 2s}", "Attached=false/Overridden"),
            ("timeout: {request: 2s}, cors: {}", "Attached=false/Overridden"),
        ] {
            let younger = format!("{ON}, {spec}");
            // Without creation times the older one is the first by name.
            let (lines, problems) = status(&[("a/1", &older), ("a/2", &younger)], "a/2");
            assert_eq!(lines, [format!("Gateway g: Accepted=true/Accepted {expected}")], "{spec}");
            assert!(problems.is_empty());
            let (lines, _) = status(&[("a/1", &older), ("a/2", &younger)], "a/1");
            assert_eq!(
                lines,
                ["Gateway g: Accepted=true/Accepted Attached=true/Attached"],
                "the older one, {spec}"
            );
        }
        // An older one that is not valid overrides nothing.
        let broken = format!("{ON}, timeout: {{request: soon}}");
        let (lines, _) = status(&[("a/1", &broken), ("a/2", &older)], "a/2");
        assert_eq!(lines, ["Gateway g: Accepted=true/Accepted Attached=true/Attached"]);
    }

    #[test]
    fn policies_that_are_not_accepted() {
        for (spec, ancestor, reason, field) in [
            (
                "targetRefs: [{kind: Gateway, name: g}], timeout: {request: soon}",
                "Gateway g",
                reason::INVALID,
                "spec.timeout.request",
            ),
            (
                "targetRefs: [{kind: Gateway, name: gone}]",
                "Gateway gone",
                reason::TARGET_NOT_FOUND,
                "spec.targetRefs[0]",
            ),
            (
                "targetRefs: [{kind: Gateway, name: g, sectionName: nope}]",
                "Gateway g#nope",
                reason::TARGET_NOT_FOUND,
                "spec.targetRefs[0]",
            ),
            (
                "targetRefs: [{kind: HTTPRoute, name: gone}]",
                "HTTPRoute gone",
                reason::TARGET_NOT_FOUND,
                "spec.targetRefs[0]",
            ),
        ] {
            let (lines, problems) = status(&[("a/p", spec)], "a/p");
            assert_eq!(
                lines,
                [format!("{ancestor}: Accepted=false/{reason} Attached=false/{reason}")],
                "{spec}"
            );
            assert_eq!(problems, [field], "{spec}");
        }
    }

    #[test]
    fn policies_without_an_ancestor_have_no_status() {
        for spec in ["", "targetSelectors: [{kind: Gateway, matchLabels: {app: x}}]"] {
            assert_eq!(status(&[("a/p", spec)], "a/p"), (vec![], vec![]), "{spec:?}");
        }
        assert_eq!(status(&[], "a/gone"), (vec![], vec![]));
    }

    /// What others take care of is none of our business, even if the policy would be wrong there.
    #[test]
    fn targets_of_others_are_left_alone() {
        for target in [
            "kind: Gateway, name: theirs",
            "kind: Gateway, name: theirs, sectionName: nope",
            "kind: Gateway, name: theirs, namespace: b",
            "kind: HTTPRoute, name: theirs, sectionName: nope",
        ] {
            let policy = format!("spec: {{targetRefs: [{{{target}}}]}}");
            let gateway = "spec: {gatewayClassName: other, listeners: []}";
            let world = World::new(&[
                (Kind::Gateway, "a/theirs", gateway),
                (Kind::Gateway, "b/theirs", gateway),
                (Kind::HttpRoute, "a/theirs", "spec: {parentRefs: [{name: theirs}]}"),
                (Kind::TrafficPolicy, "a/p", &policy),
            ]);
            let (status, problems) = translate(&world.reader(), &named("a/p"), &Options::default());
            assert_eq!(status, None, "{target}");
            assert!(problems.is_empty(), "{target}");
        }
    }

    #[test]
    fn targets_in_other_namespaces_need_a_grant() {
        let spec = "targetRefs: [{kind: Gateway, name: g, namespace: a}], timeout: {request: 1s}";
        let (lines, problems) = status(&[("b/p", spec)], "b/p");
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("Accepted=false"), "{lines:?}");
        assert_eq!(problems, ["spec.targetRefs[0]"]);
    }

    /// Gateway API: at most sixteen ancestors.
    #[test]
    fn the_status_is_bounded() {
        let targets: Vec<String> = (0..20).map(|i| format!("{{kind: Gateway, name: gone-{i}}}")).collect();
        let (lines, problems) = status(&[("a/p", &format!("targetRefs: [{}]", targets.join(", ")))], "a/p");
        assert_eq!((lines.len(), problems.len()), (MAX_ANCESTORS, 20));
    }
}
