//! What is worth an event between two statuses. Pure.

use std::collections::BTreeMap;

use postern_api::gateway_api::{
    Condition, ConditionStatus, ListenerStatus, ParentReference, condition_type as types, reason as reasons,
};
use postern_translator::Status;

use super::EventNote;

/// How a condition type is told.
struct Rule {
    type_: &'static str,
    /// The status that is a fault.
    bad: ConditionStatus,
    /// The reason of the event when the fault appears, and when it is gone.
    fault: &'static str,
    mended: &'static str,
    action: &'static str,
    /// Whether it only follows from other faults of the same place, if there are any.
    follows: bool,
}

impl Rule {
    const fn holds(
        type_: &'static str,
        fault: &'static str,
        mended: &'static str,
        action: &'static str,
    ) -> Self {
        Self { type_, bad: ConditionStatus::False, fault, mended, action, follows: false }
    }

    const fn absent(
        type_: &'static str,
        fault: &'static str,
        mended: &'static str,
        action: &'static str,
    ) -> Self {
        Self { type_, bad: ConditionStatus::True, fault, mended, action, follows: false }
    }

    const fn following(self) -> Self {
        Self { follows: true, ..self }
    }
}

const RULES: &[Rule] = &[
    Rule::holds(types::ACCEPTED, "NotAccepted", "Accepted", "Accept"),
    Rule::holds(types::SUPPORTED_VERSION, "UnsupportedVersion", "SupportedVersion", "Accept"),
    Rule::holds(types::RESOLVED_REFS, "RefsNotResolved", "RefsResolved", "ResolveRefs"),
    Rule::absent(types::CONFLICTED, "Conflicted", "NoConflicts", "Accept").following(),
    Rule::absent(types::PARTIALLY_INVALID, "PartiallyInvalid", "Valid", "Accept"),
    Rule::holds(types::ATTACHED, "NotAttached", "Attached", "Attach").following(),
    Rule::holds(types::PROGRAMMED, "NotProgrammed", "Programmed", "Program").following(),
];

/// One thing in a status that has conditions of its own.
struct Place<'a> {
    /// Who it is, for people; empty for the object itself.
    name: String,
    conditions: &'a [Condition],
}

/// A rule that is broken, with the reason and the message of the condition.
type Faults<'a> = BTreeMap<&'static str, (&'static Rule, &'a str, &'a str)>;

/// What is worth an event when a status changes from `old` to `new`: faults that appear or change, faults that are
/// gone, and a Gateway or ListenerSet that serves. Conditions that are not decided yet (`Unknown`, or reason `Pending`) are neither.
pub fn transitions(old: Option<&Status>, new: &Status) -> Vec<EventNote> {
    let old: BTreeMap<String, Place<'_>> =
        old.map(places).unwrap_or_default().into_iter().map(|place| (place.name.clone(), place)).collect();
    let mut events = Vec::new();
    for place in places(new) {
        let before = old.get(&place.name).map_or(&[][..], |place| place.conditions);
        let told = |reason: &str, message: &str| {
            let name = if place.name.is_empty() { String::new() } else { format!("{}: ", place.name) };
            let reason = if reason.is_empty() { String::new() } else { format!("{reason}: ") };
            format!("{name}{reason}{message}")
        };
        let (had, has) = (faults(before), faults(place.conditions));
        for (type_, (rule, reason, message)) in &has {
            if had.get(type_).is_none_or(|(_, r, m)| (r, m) != (reason, message)) {
                events.push(EventNote::warning(rule.fault, rule.action, told(reason, message)));
            }
        }
        for rule in RULES {
            let now = find(place.conditions, rule.type_);
            let is_good =
                now.map_or(rule.bad == ConditionStatus::True, |c| is_decided(c) && c.status != rule.bad);
            let mended = had.contains_key(rule.type_) && !has.contains_key(rule.type_) && is_good;
            let was_true = find(before, rule.type_).is_some_and(Condition::is_true);
            let serves = matches!(new, Status::Gateway(_) | Status::ListenerSet(_))
                && place.name.is_empty()
                && rule.type_ == types::PROGRAMMED
                && is_good
                && !was_true;
            if mended || serves {
                let message = now.map_or("", |condition| condition.message.as_str());
                events.push(EventNote::normal(rule.mended, rule.action, told("", message)));
            }
        }
    }
    events
}

fn faults(conditions: &[Condition]) -> Faults<'_> {
    let broken = RULES.iter().filter_map(|rule| {
        let condition = find(conditions, rule.type_)?;
        let broken = condition.status == rule.bad && is_decided(condition);
        broken.then_some((rule.type_, (rule, condition.reason.as_str(), condition.message.as_str())))
    });
    let broken: Faults<'_> = broken.collect();
    let has_cause = broken.values().any(|(rule, _, _)| !rule.follows);
    broken.into_iter().filter(|(_, (rule, _, _))| !(has_cause && rule.follows)).collect()
}

fn is_decided(condition: &Condition) -> bool {
    condition.status != ConditionStatus::Unknown && condition.reason != reasons::PENDING
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

fn places(status: &Status) -> Vec<Place<'_>> {
    let own = |conditions| Place { name: String::new(), conditions };
    match status {
        Status::GatewayClass(status) => vec![own(&status.conditions)],
        Status::Conditions(status) => vec![own(&status.conditions)],
        Status::Gateway(status) => with_listeners(&status.conditions, &status.listeners),
        Status::ListenerSet(status) => with_listeners(&status.conditions, &status.listeners),
        Status::Route(status) => {
            let parents = status.parents.iter();
            parents.map(|p| Place { name: reference(&p.parent_ref), conditions: &p.conditions }).collect()
        }
        Status::Policy(status) => {
            let ancestors = status.ancestors.iter();
            ancestors.map(|a| Place { name: reference(&a.ancestor_ref), conditions: &a.conditions }).collect()
        }
    }
}

fn with_listeners<'a>(own: &'a [Condition], listeners: &'a [ListenerStatus]) -> Vec<Place<'a>> {
    let listener =
        |l: &'a ListenerStatus| Place { name: format!("listener {}", l.name), conditions: &l.conditions };
    let own = Place { name: String::new(), conditions: own };
    std::iter::once(own).chain(listeners.iter().map(listener)).collect()
}

/// `Gateway infra/web section https port 443`, as far as it is given.
fn reference(to: &ParentReference) -> String {
    let namespace = to.namespace.iter().map(|namespace| format!("{namespace}/"));
    let section = to.section_name.iter().map(|section| format!(" section {section}"));
    let port = to.port.iter().map(|port| format!(" port {port}"));
    let name = namespace.chain([to.name.clone()]).chain(section).chain(port);
    std::iter::once(format!("{} ", to.kind())).chain(name).collect()
}

#[cfg(test)]
mod tests {
    use kube::runtime::events::EventType;
    use postern_api::gateway_api::{GatewayStatus, RouteParentStatus, RouteStatus};

    use super::*;

    fn condition(type_: &str, status: ConditionStatus, reason: &str, message: &str) -> Condition {
        Condition::new(type_, status, reason, message)
    }

    fn good(type_: &str) -> Condition {
        condition(type_, ConditionStatus::True, type_, "fine")
    }

    fn bad(type_: &str, reason: &str, message: &str) -> Condition {
        condition(type_, ConditionStatus::False, reason, message)
    }

    fn route(conditions: Vec<Condition>) -> Status {
        let parent_ref = ParentReference {
            namespace: Some("infra".to_owned()),
            name: "web".to_owned(),
            ..ParentReference::default()
        };
        let parent = RouteParentStatus { parent_ref, controller_name: "x.dev/y".to_owned(), conditions };
        Status::Route(RouteStatus { parents: vec![parent] })
    }

    fn gateway(conditions: Vec<Condition>, listener: Vec<Condition>) -> Status {
        let listener =
            ListenerStatus { name: "https".to_owned(), conditions: listener, ..ListenerStatus::default() };
        Status::Gateway(GatewayStatus { conditions, listeners: vec![listener], ..GatewayStatus::default() })
    }

    fn told(events: &[EventNote]) -> Vec<(&'static str, &str, &str)> {
        let name = |type_: EventType| if type_ == EventType::Normal { "Normal" } else { "Warning" };
        events.iter().map(|e| (name(e.type_), e.reason.as_str(), e.note.as_str())).collect()
    }

    #[test]
    fn a_thousand_good_routes_say_nothing() {
        let new = route(vec![good("Accepted"), good("ResolvedRefs")]);
        assert_eq!(transitions(None, &new), []);
        assert_eq!(transitions(Some(&new), &new), []);
    }

    #[test]
    fn a_fault_is_told_when_it_appears_changes_and_goes() {
        let well = route(vec![good("Accepted"), good("ResolvedRefs")]);
        let a =
            route(vec![good("Accepted"), bad("ResolvedRefs", "BackendNotFound", "Service a does not exist")]);
        let b =
            route(vec![good("Accepted"), bad("ResolvedRefs", "BackendNotFound", "Service b does not exist")]);
        let note = "Gateway infra/web: BackendNotFound: Service a does not exist";
        assert_eq!(told(&transitions(Some(&well), &a)), [("Warning", "RefsNotResolved", note)]);
        assert_eq!(told(&transitions(None, &a)), [("Warning", "RefsNotResolved", note)]);
        assert_eq!(transitions(Some(&a), &a), []);
        let note = "Gateway infra/web: BackendNotFound: Service b does not exist";
        assert_eq!(told(&transitions(Some(&a), &b)), [("Warning", "RefsNotResolved", note)]);
        assert_eq!(
            told(&transitions(Some(&b), &well)),
            [("Normal", "RefsResolved", "Gateway infra/web: fine")]
        );
    }

    #[test]
    fn a_gateway_says_when_it_serves_and_why_not() {
        let pending = gateway(vec![good("Accepted"), bad("Programmed", "Pending", "no proxy yet")], vec![]);
        assert_eq!(transitions(None, &pending), [], "what is not decided is no fault");
        let serves = gateway(vec![good("Accepted"), good("Programmed")], vec![good("Programmed")]);
        assert_eq!(told(&transitions(Some(&pending), &serves)), [("Normal", "Programmed", "fine")]);
        assert_eq!(transitions(Some(&serves), &serves), []);
        let refused = gateway(
            vec![good("Accepted"), bad("Programmed", "Invalid", "the proxy refuses 443/tcp: no such cipher")],
            vec![bad("Programmed", "Invalid", "no such cipher")],
        );
        assert_eq!(
            told(&transitions(Some(&serves), &refused)),
            [
                ("Warning", "NotProgrammed", "Invalid: the proxy refuses 443/tcp: no such cipher"),
                ("Warning", "NotProgrammed", "listener https: Invalid: no such cipher"),
            ]
        );
    }

    #[test]
    fn what_follows_from_a_fault_is_not_told_beside_it() {
        let listener = vec![
            good("Accepted"),
            bad("ResolvedRefs", "InvalidCertificateRef", "no Secret x"),
            bad("Programmed", "Invalid", "not served"),
        ];
        let events = transitions(None, &gateway(vec![], listener));
        assert_eq!(
            told(&events),
            [("Warning", "RefsNotResolved", "listener https: InvalidCertificateRef: no Secret x")]
        );
    }

    #[test]
    fn a_condition_that_exists_only_when_bad_is_mended_by_its_absence() {
        let partial =
            condition("PartiallyInvalid", ConditionStatus::True, "UnsupportedValue", "Dropped Rule 2");
        let events =
            transitions(Some(&route(vec![good("Accepted"), partial])), &route(vec![good("Accepted")]));
        assert_eq!(told(&events), [("Normal", "Valid", "Gateway infra/web: ")]);
    }
}
