use postern_translator::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::layout::layout;
use super::*;

const OURS: &str = "postern.dev/gateway-controller";
const NOW: &str = "2026-01-02T03:04:05Z";
const BEFORE: &str = "2025-01-01T00:00:00Z";

fn writer() -> Writer<'static> {
    Writer { controller_name: OURS, now: NOW.parse().unwrap() }
}

fn merged(kind: Kind, present: &Value, desired: Option<&Value>) -> Option<Merged> {
    merge(layout(kind).unwrap(), present, Some(9), desired, writer())
}

/// What the API server has after the patch.
fn applied(present: &Value, patch: &Map<String, Value>) -> Value {
    let mut status = present.as_object().cloned().unwrap_or_default();
    for (field, value) in patch {
        match value {
            Value::Null => drop(status.remove(field)),
            value => drop(status.insert(field.clone(), value.clone())),
        }
    }
    Value::Object(status)
}

/// The status after the merge, which must then be at rest.
fn settled(kind: Kind, present: &Value, desired: Option<&Value>) -> Value {
    let after = merged(kind, present, desired).map_or(present.clone(), |m| applied(present, &m.patch));
    assert_eq!(merged(kind, &after, desired), None, "a second merge has nothing to do: {after}");
    after
}

fn condition(kind: &str, status: &str, generation: i64, since: Option<&str>) -> Value {
    let mut condition = json!({
        "type": kind, "status": status, "reason": "Because", "message": "words", "observedGeneration": generation,
    });
    if let Some(since) = since {
        condition["lastTransitionTime"] = json!(since);
    }
    condition
}

fn parent(controller: &str, name: &str, conditions: &[Value]) -> Value {
    json!({ "controllerName": controller, "parentRef": { "name": name }, "conditions": conditions })
}

#[test]
fn the_time_changes_only_with_the_status() {
    let present = json!({ "conditions": [condition("Accepted", "True", 1, Some(BEFORE))] });
    let wanted = json!({ "conditions": [condition("Accepted", "True", 2, None)] });
    let after = settled(Kind::Backend, &present, Some(&wanted));
    assert_eq!(after["conditions"], json!([condition("Accepted", "True", 2, Some(BEFORE))]));

    let wanted = json!({ "conditions": [condition("Accepted", "False", 2, None)] });
    let after = settled(Kind::Backend, &present, Some(&wanted));
    assert_eq!(after["conditions"], json!([condition("Accepted", "False", 2, Some(NOW))]));
}

#[test]
fn what_says_the_same_is_not_written() {
    let present = json!({ "conditions": [condition("Accepted", "True", 1, Some(BEFORE))] });
    let wanted = json!({ "conditions": [condition("Accepted", "True", 1, None)] });
    assert_eq!(merged(Kind::Backend, &present, Some(&wanted)), None);
}

#[test]
fn foreign_conditions_stay_and_stale_ones_of_ours_go() {
    let present = json!({
        "conditions": [condition("example.com/Audited", "True", 1, Some(BEFORE)), condition("Programmed", "Unknown", 0, Some("1970-01-01T00:00:00Z"))],
        "listeners": [{
            "name": "http", "attachedRoutes": 1, "supportedKinds": [],
            "conditions": [
                condition("OverlappingTLSConfig", "True", 1, Some(BEFORE)),
                condition("example.com/Scanned", "False", 1, Some(BEFORE)),
                condition("Accepted", "True", 1, Some(BEFORE)),
            ],
        }, { "name": "gone", "attachedRoutes": 0, "conditions": [] }],
    });
    let wanted = json!({
        "addresses": [{ "value": "192.0.2.1" }],
        "conditions": [condition("Accepted", "True", 2, None), condition("Programmed", "True", 2, None)],
        "listeners": [{ "name": "http", "attachedRoutes": 3, "conditions": [condition("Accepted", "True", 2, None)] }],
    });
    let merge = merged(Kind::Gateway, &present, Some(&wanted)).unwrap();
    assert!(merge.foreign, "conditions of others are repeated");
    let after = settled(Kind::Gateway, &present, Some(&wanted));
    assert_eq!(
        after["conditions"],
        json!([
            condition("example.com/Audited", "True", 1, Some(BEFORE)),
            condition("Programmed", "True", 2, Some(NOW)),
            condition("Accepted", "True", 2, Some(NOW)),
        ])
    );
    assert_eq!(
        after["listeners"],
        json!([{
            "name": "http", "attachedRoutes": 3,
            "conditions": [condition("example.com/Scanned", "False", 1, Some(BEFORE)), condition("Accepted", "True", 2, Some(BEFORE))],
        }])
    );
}

#[test]
fn only_what_changes_is_in_the_patch() {
    let present = json!({
        "conditions": [condition("Accepted", "True", 1, Some(BEFORE))],
        "listeners": [{ "name": "http", "attachedRoutes": 1, "conditions": [] }],
        "addresses": [{ "type": "IPAddress", "value": "192.0.2.1" }],
    });
    let mut wanted = json!({
        "conditions": [condition("Accepted", "True", 1, None)],
        "listeners": [{ "name": "http", "attachedRoutes": 2 }],
        "addresses": [{ "value": "192.0.2.1" }],
    });
    let merge = merged(Kind::Gateway, &present, Some(&wanted)).unwrap();
    assert_eq!(merge.patch.keys().collect::<Vec<_>>(), ["listeners"]);
    assert!(!merge.foreign);

    wanted["addresses"] = json!([]);
    let merge = merged(Kind::Gateway, &present, Some(&wanted)).unwrap();
    assert_eq!(merge.patch["addresses"], Value::Null, "an address that is gone is removed");
}

#[test]
fn what_the_api_server_completes_is_not_written_again() {
    let complete = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web" });
    let there = condition("Accepted", "True", 1, Some(BEFORE));
    let present =
        json!({ "parents": [{ "controllerName": OURS, "parentRef": complete, "conditions": [there] }] });
    let wanted = json!({ "parents": [parent(OURS, "web", &[condition("Accepted", "True", 1, None)])] });
    assert_eq!(merged(Kind::HttpRoute, &present, Some(&wanted)), None);

    let other = json!({ "parents": [{ "controllerName": OURS, "parentRef": { "name": "web", "kind": "ListenerSet" }, "conditions": [] }] });
    assert!(merged(Kind::HttpRoute, &present, Some(&other)).is_some(), "another kind is another parent");
}

#[test]
fn entries_of_others_stay_in_their_place_and_duplicates_of_ours_go() {
    let foreign =
        |name| parent("example.com/other", name, &[condition("Accepted", "False", 1, Some(BEFORE))]);
    let accepted = |since| condition("Accepted", "True", 1, since);
    let present = json!({ "parents": [
        foreign("a"),
        parent(OURS, "stale", &[accepted(Some(BEFORE))]),
        parent(OURS, "web", &[accepted(Some(BEFORE)), condition("PartiallyInvalid", "True", 1, Some(BEFORE))]),
        foreign("web"),
        parent(OURS, "web", &[accepted(Some(BEFORE))]),
    ] });
    let wanted = json!({ "parents": [
        parent(OURS, "new", &[accepted(None)]),
        parent(OURS, "web", &[accepted(None)]),
    ] });
    let after = settled(Kind::HttpRoute, &present, Some(&wanted));
    let expected = json!([
        foreign("a"),
        parent(OURS, "web", &[accepted(Some(BEFORE))]),
        foreign("web"),
        parent(OURS, "new", &[accepted(Some(NOW))]),
    ]);
    assert_eq!(after["parents"], expected);

    let after = settled(Kind::HttpRoute, &present, None);
    assert_eq!(after["parents"], json!([foreign("a"), foreign("web")]), "without a wish, ours go");
}

#[test]
fn without_a_wish_a_status_of_conditions_is_left_alone() {
    let present = json!({ "conditions": [condition("Accepted", "True", 1, Some(BEFORE))] });
    for kind in [Kind::GatewayClass, Kind::Gateway, Kind::ListenerSet, Kind::Backend] {
        assert_eq!(merged(kind, &present, None), None);
    }
}

#[test]
fn newer_generations_are_not_overwritten() {
    let newer = condition("Accepted", "False", 5, Some(BEFORE));
    let stale = condition("ResolvedRefs", "False", 5, Some(BEFORE));
    let present = json!({ "conditions": [newer, stale] });
    let wanted = json!({ "conditions": [condition("Accepted", "True", 4, None)] });
    assert_eq!(merged(Kind::Backend, &present, Some(&wanted)), None);

    let nonsense = json!({ "conditions": [condition("Accepted", "False", 10, Some(BEFORE))] });
    let after = settled(Kind::Backend, &nonsense, Some(&wanted));
    assert_eq!(
        after["conditions"],
        json!([condition("Accepted", "True", 4, Some(NOW))]),
        "the object is at 9"
    );
}

#[test]
fn full_lists_leave_out_what_is_ours() {
    let others = |count: usize| (0..count).map(|n| parent("example.com/other", &n.to_string(), &[]));
    let ancestors = |entries: Vec<Value>| {
        let rename = |mut entry: Value| {
            entry["ancestorRef"] = entry["parentRef"].take();
            entry.as_object_mut().unwrap().remove("parentRef");
            entry
        };
        json!({ "ancestors": entries.into_iter().map(rename).collect::<Vec<_>>() })
    };
    let present = ancestors(others(15).collect());
    let wanted = ancestors(vec![parent(OURS, "a", &[]), parent(OURS, "b", &[])]);
    let merge = merged(Kind::BackendTlsPolicy, &present, Some(&wanted)).unwrap();
    assert_eq!(merge.patch["ancestors"].as_array().unwrap().len(), 16);
    assert_eq!(merge.left_out, 1);

    let foreign: Vec<Value> =
        (0..7).map(|n| condition(&format!("example.com/{n}"), "True", 1, Some(BEFORE))).collect();
    let wanted = json!({ "conditions": [condition("Accepted", "True", 1, None), condition("ResolvedRefs", "True", 1, None)] });
    let merge = merged(Kind::Backend, &json!({ "conditions": foreign }), Some(&wanted)).unwrap();
    assert_eq!(merge.patch["conditions"].as_array().unwrap().len(), 8);
    assert_eq!(merge.patch["conditions"][7]["type"], "Accepted");
    assert_eq!(merge.left_out, 1);
}

fn any_condition(foreign: bool, timed: bool) -> impl Strategy<Value = Value> {
    let ours = prop::sample::select(vec![
        "Accepted",
        "ResolvedRefs",
        "Programmed",
        "PartiallyInvalid",
        "Conflicted",
    ]);
    let theirs = prop::sample::select(vec!["example.com/A", "example.com/B", "Custom"]);
    let kind = if foreign { prop_oneof![ours, theirs].boxed() } else { ours.boxed() };
    (kind, prop::sample::select(vec!["True", "False", "Unknown"]), 0..12_i64).prop_map(
        move |(kind, status, generation)| condition(kind, status, generation, timed.then_some(BEFORE)),
    )
}

fn any_conditions(foreign: bool, timed: bool) -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(any_condition(foreign, timed), 0..6).prop_map(|mut list| {
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|c| seen.insert(c["type"].as_str().unwrap().to_owned()));
        list
    })
}

fn any_parents(desired: bool) -> impl Strategy<Value = Value> {
    let controllers = if desired { vec![OURS] } else { vec![OURS, "example.com/a", "example.com/b"] };
    let entry = (
        prop::sample::select(controllers),
        prop::sample::select(vec!["a", "b", "c", "d"]),
        any_conditions(!desired, !desired),
    );
    let entry = entry.prop_map(|(controller, name, conditions)| parent(controller, name, &conditions));
    prop::collection::vec(entry, 0..12).prop_map(move |mut entries| {
        let mut seen = std::collections::BTreeSet::new();
        entries.retain(|e| !desired || seen.insert(e["parentRef"]["name"].as_str().unwrap().to_owned()));
        json!({ "parents": entries })
    })
}

fn any_gateway(desired: bool) -> impl Strategy<Value = Value> {
    let listener = (prop::sample::select(vec!["x", "y", "z"]), 0..4_u32, any_conditions(!desired, !desired));
    let listeners = prop::collection::vec(listener, 0..4).prop_map(|listeners| {
        let mut seen = std::collections::BTreeSet::new();
        let listeners = listeners.into_iter().filter(|(name, _, _)| seen.insert(*name));
        listeners
            .map(|(name, attached, conditions)| json!({ "name": name, "attachedRoutes": attached, "conditions": conditions }))
            .collect::<Vec<_>>()
    });
    (any_conditions(!desired, !desired), listeners, prop::option::of(0..9_u32)).prop_map(
        |(conditions, listeners, sets)| {
            let mut status = json!({ "conditions": conditions, "listeners": listeners });
            if let Some(sets) = sets {
                status["attachedListenerSets"] = json!(sets);
            }
            status
        },
    )
}

fn foreign_types<'a>(types: &[&str], conditions: &'a [Value]) -> Vec<&'a Value> {
    conditions.iter().filter(|c| !types.contains(&c["type"].as_str().unwrap())).collect()
}

proptest! {
    #[test]
    fn foreign_entries_survive_in_order(present in any_parents(false), desired in prop::option::of(any_parents(true))) {
        let after = settled(Kind::HttpRoute, &present, desired.as_ref());
        let foreign = |status: &Value| -> Vec<Value> {
            list(status, "parents").iter().filter(|e| e["controllerName"] != OURS).cloned().collect()
        };
        prop_assert_eq!(foreign(&present), foreign(&after));
        let ours = |status: &Value| -> Vec<String> {
            let ours = list(status, "parents").iter().filter(|e| e["controllerName"] == OURS);
            let mut names: Vec<String> = ours.map(|e| e["parentRef"]["name"].to_string()).collect();
            names.sort();
            names
        };
        prop_assert_eq!(desired.map(|d| ours(&d)).unwrap_or_default(), ours(&after));
    }

    #[test]
    fn foreign_conditions_survive_in_order(present in any_gateway(false), desired in any_gateway(true)) {
        let after = settled(Kind::Gateway, &present, Some(&desired));
        let layout = layout(Kind::Gateway).unwrap();
        let types = layout.conditions.unwrap();
        // A condition that is wanted is ours, whatever the list of types says.
        let wanted: Vec<&str> = list(&desired, "conditions").iter().map(|c| c["type"].as_str().unwrap()).collect();
        let types: Vec<&str> = types.iter().copied().chain(wanted).collect();
        prop_assert_eq!(
            foreign_types(&types, list(&present, "conditions")),
            foreign_types(&types, list(&after, "conditions"))
        );
        let names = |status: &Value| -> Vec<Value> { list(status, "listeners").iter().map(|l| l["name"].clone()).collect() };
        prop_assert_eq!(names(&after), names(&desired));
        for listener in list(&after, "listeners") {
            let Some(before) = list(&present, "listeners").iter().find(|l| l["name"] == listener["name"]) else { continue };
            let types = ["Accepted", "Conflicted", "ResolvedRefs", "Programmed", "OverlappingTLSConfig", "PartiallyInvalid"];
            prop_assert_eq!(
                foreign_types(&types, list(before, "conditions")),
                foreign_types(&types, list(listener, "conditions"))
            );
        }
    }

    #[test]
    fn generations_never_go_backwards(present in any_conditions(true, true), desired in any_conditions(false, false)) {
        let status = json!({ "conditions": present });
        let after = settled(Kind::Backend, &status, Some(&json!({ "conditions": desired })));
        for before in &present {
            let theirs = before["observedGeneration"].as_i64().unwrap();
            let now = list(&after, "conditions").iter().find(|c| c["type"] == before["type"]);
            if let (Some(now), true) = (now, theirs <= 9) {
                prop_assert!(now["observedGeneration"].as_i64().unwrap() >= theirs);
            }
        }
    }
}
