use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use postern_api::gateway_api::{Condition, ConditionStatus, HttpRoute, HttpRouteSpec};
use postern_translator::{Conditions, Kind};

use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::HttpRoute, "default", name)
}

fn metadata(name: &str, uid: &str, version: u64) -> ObjectMeta {
    ObjectMeta {
        namespace: Some("default".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        resource_version: Some(version.to_string()),
        ..ObjectMeta::default()
    }
}

fn object(name: &str, uid: &str, version: u64) -> Object {
    let mut route = HttpRoute::new(name, HttpRouteSpec::default());
    route.metadata = metadata(name, uid, version);
    route.into()
}

fn answer(name: &str, uid: &str, version: u64) -> Box<DynamicObject> {
    Box::new(DynamicObject {
        types: None,
        metadata: metadata(name, uid, version),
        data: serde_json::json!({}),
    })
}

#[allow(clippy::unnecessary_wraps)] // as it is told
fn status(message: &str) -> Option<Status> {
    let condition = Condition::new("Accepted", ConditionStatus::True, "Accepted", message);
    Some(Status::Conditions(Conditions { conditions: vec![condition] }))
}

/// A table that leads and knows the object `a`, uid `u`, version 1.
fn leading(now: Instant) -> Table {
    let mut table = Table::default();
    table.lead(true, now);
    table.observed(object("a", "u", 1), now);
    table
}

fn version(job: &Job) -> &str {
    job.present.resource_version().unwrap()
}

#[test]
fn nothing_is_written_without_a_wish_or_an_object_or_the_lead() {
    let now = Instant::now();
    let mut table = leading(now);
    assert!(table.next(now).is_none(), "the translator has not spoken");
    table.desired(&key("b"), status("hello"), now);
    assert!(table.next(now).is_none(), "there is no such object");
    table.desired(&key("a"), status("hello"), now);
    let job = table.next(now).unwrap();
    assert_eq!((&job.key, job.desired.as_deref()), (&key("a"), status("hello").as_ref()));

    let mut table = leading(now);
    table.lead(false, now);
    table.desired(&key("a"), status("hello"), now);
    assert!(table.next(now).is_none());
    assert_eq!(table.pending(), 0);
    table.lead(true, now);
    assert!(table.next(now).is_some(), "a new leader compares everything");
}

#[test]
fn what_is_left_from_before_goes_once_all_is_translated() {
    let now = Instant::now();
    let mut table = leading(now);
    assert!(table.next(now).is_none());
    table.complete(now);
    let job = table.next(now).unwrap();
    assert_eq!(job.desired, None);
    table.done(job, Outcome::Unchanged(None), now);
    table.observed(object("a", "u", 2), now);
    assert!(table.next(now).is_some(), "somebody may have written in our name");
}

#[test]
fn the_latest_wish_wins_and_rests_in_between() {
    let now = Instant::now();
    let mut table = leading(now);
    table.desired(&key("a"), status("0"), now);
    let job = table.next(now).unwrap();
    for n in 1..=1000 {
        table.desired(&key("a"), status(&n.to_string()), now);
    }
    assert!(table.next(now).is_none(), "one in flight");
    table.done(job, Outcome::Written(answer("a", "u", 2)), now);
    assert!(table.next(now).is_none());
    assert_eq!(table.deadline(), Some(now + INTERVAL));
    let job = table.next(now + INTERVAL).unwrap();
    assert_eq!(job.desired.as_deref(), status("1000").as_ref());
    assert_eq!(version(&job), "2", "based on our own write, which the watch has not shown yet");
    table.done(job, Outcome::Written(answer("a", "u", 3)), now + INTERVAL);
    assert!(table.next(now + INTERVAL * 10).is_none());
}

#[test]
fn the_same_wish_again_and_our_own_write_are_no_news() {
    let now = Instant::now();
    let mut table = leading(now);
    table.desired(&key("a"), status("x"), now);
    let job = table.next(now).unwrap();
    table.done(job, Outcome::Written(answer("a", "u", 5)), now);
    let later = now + INTERVAL;
    table.desired(&key("a"), status("x"), later);
    table.observed(object("a", "u", 3), later);
    table.observed(object("a", "u", 5), later);
    assert!(table.next(later).is_none());
    table.observed(object("a", "u", 6), later);
    assert_eq!(version(&table.next(later).unwrap()), "6", "somebody else wrote");
}

#[test]
fn an_object_of_the_same_name_is_another_one() {
    let now = Instant::now();
    let mut table = leading(now);
    table.desired(&key("a"), status("x"), now);
    let job = table.next(now).unwrap();
    table.gone(&key("a"));
    table.observed(object("a", "new", 9), now);
    table.done(job.clone(), Outcome::Written(answer("a", "u", 12)), now);
    let later = now + INTERVAL;
    let again = table.next(later).unwrap();
    assert_eq!((again.present.uid(), version(&again)), (Some("new"), "9"));
    table.done(again, Outcome::Written(answer("a", "new", 13)), later);
    let job = Job { present: Present::watched(object("a", "u", 1)), ..job };
    table.done(job, Outcome::Gone, later);
    table.desired(&key("a"), status("y"), later);
    assert!(table.next(later + INTERVAL).is_some(), "the end of the old one is not the end of the new one");

    // After a backup was restored, versions begin anew, and nobody has seen the end of the old object.
    let mut table = leading(now);
    table.observed(object("a", "u", 100), now);
    table.observed(object("a", "restored", 7), now);
    table.desired(&key("a"), status("x"), now);
    assert_eq!(version(&table.next(now).unwrap()), "7");
}

#[test]
fn what_is_gone_is_forgotten() {
    let now = Instant::now();
    let mut table = leading(now);
    table.desired(&key("a"), status("x"), now);
    table.gone(&key("a"));
    assert!(table.next(now).is_none());
    table.desired(&key("a"), None, now);
    assert!(table.entries.is_empty());

    let mut table = leading(now);
    table.desired(&key("a"), None, now);
    table.gone(&key("a"));
    assert!(table.entries.is_empty());
}

#[test]
fn failures_back_off_and_a_new_wish_is_tried_at_once_where_the_old_one_was_refused() {
    let now = Instant::now();
    let mut table = leading(now);
    table.desired(&key("a"), status("x"), now);
    let mut at = now;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let job = table.next(at).unwrap();
        table.done(job, Outcome::Failed, at);
        let next = table.deadline().unwrap();
        waits.push((next - at).as_millis());
        at = next;
    }
    assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    let job = table.next(at).unwrap();
    table.done(job, Outcome::Failed, at);
    table.desired(&key("a"), status("y"), at);
    assert!(table.next(at).is_none(), "an API server that is down gets no more calls for new wishes");
    at += LONGEST_FAILED;
    let job = table.next(at).unwrap();
    table.done(job, Outcome::Refused, at);
    assert!(table.next(at).is_none());
    table.desired(&key("a"), status("z"), at);
    assert!(table.next(at).is_some());
}

#[test]
fn a_fight_slows_down_and_is_told() {
    let now = Instant::now();
    let mut table = leading(now);
    table.desired(&key("a"), status("x"), now);
    let (mut at, mut version, mut waits, mut fights) = (now, 1, Vec::new(), 0);
    for _ in 0..12 {
        version += 1;
        table.observed(object("a", "u", version), at);
        let next = if table.pending() > 0 { table.deadline().unwrap_or(at).max(at) } else { at };
        waits.push((next - at).as_millis());
        at = next;
        let job = table.next(at).unwrap();
        version += 1;
        fights += usize::from(table.done(job, Outcome::Written(answer("a", "u", version)), at).is_some());
    }
    assert_eq!(waits[..6], [0, 100, 100, 200, 400, 800]);
    assert_eq!(*waits.last().unwrap(), 30_000);
    assert_eq!(fights, 9);
    table.desired(&key("a"), status("y"), at);
    at += LONGEST_REPAIR;
    let job = table.next(at).unwrap();
    assert!(
        table.done(job, Outcome::Written(answer("a", "u", version + 1)), at).is_none(),
        "a new wish is no repair"
    );
}

#[test]
fn kinds_without_a_status_of_ours_and_made_up_objects_are_ignored() {
    let now = Instant::now();
    let mut table = Table::default();
    table.lead(true, now);
    table.complete(now);
    let mut made_up = HttpRoute::new("a", HttpRouteSpec::default());
    made_up.metadata.namespace = Some("default".to_owned());
    table.observed(made_up.into(), now);
    table.observed(k8s_openapi::api::core::v1::Service::default().into(), now);
    assert!(table.entries.is_empty());
}
