//! T13: a rejected resource stands alone, and the rest flows.

use std::collections::BTreeSet;

use postern_xds::Push;
use postern_xds::state::Outcome;

use crate::driver::*;
use crate::resources::*;

/// Answers pushes like a proxy that rejects a response as a whole if one of these is in it. Counts the responses.
fn answer(d: &mut Driver, pushes: Vec<Push>, bad: &[&str], held: &mut BTreeSet<String>) -> usize {
    let mut queue = std::collections::VecDeque::from(pushes);
    let mut responses = 0;
    while let Some(push) = queue.pop_front() {
        responses += 1;
        if push.resources.iter().any(|r| bad.contains(&r.name())) {
            queue.extend(d.nack(&push, "no good"));
        } else {
            held.extend(push.resources.iter().map(|r| r.name().to_owned()));
            queue.extend(d.ack(&push));
        }
    }
    responses
}

#[test]
fn t13_a_rejected_resource_is_reported_and_not_sent_again_until_it_changes() {
    let mut d = Driver::new(snapshot([static_cluster("a", 0)]));
    let push = only(d.subscribe(CDS, &[]));
    assert!(d.nack(&push, "no good").is_empty());
    assert_eq!(
        d.stream.take_outcomes(),
        [
            Outcome::Rejected { resource_type: CDS },
            Outcome::Nacked { resource_type: CDS, names: vec!["a".into()], error: "no good".to_owned() }
        ]
    );
    assert!(d.set([set(&static_cluster("a", 0))]).is_empty(), "identical content");
    let other = only(d.set([set(&static_cluster("b", 0))]));
    assert_eq!(content(&other), (vec!["b"], vec![]));
    d.ack(&other);
    let push = only(d.set([set(&static_cluster("a", 1))]));
    assert_eq!(content(&push), (vec!["a"], vec![]));
    d.ack(&push);
    assert!(d.stream.take_outcomes().contains(&Outcome::Unparked { resource_type: CDS, name: "a".into() }));
}

#[test]
fn t13_one_culprit_among_a_thousand_scopes_stands_alone() {
    let mut d = Driver::new(snapshot((0..1000).map(|i| scope(&format!("s{i:04}"), &[]))));
    let pushes = d.subscribe(SRDS, &[]);
    let mut held = BTreeSet::new();
    let responses = answer(&mut d, pushes, &["s0777"], &mut held);
    assert_eq!(held.len(), 999);
    assert!(!held.contains("s0777"));
    assert!(responses <= 21, "{responses} responses: logarithmic, not linear");
    assert_eq!(d.nacked().into_keys().collect::<Vec<_>>(), ["s0777"]);
    assert!(d.stream.in_sync(), "nothing is left to send");
}

#[test]
fn t13_several_culprits_are_all_found() {
    let mut d = Driver::new(snapshot((0..100).map(|i| scope(&format!("s{i:03}"), &[]))));
    let pushes = d.subscribe(SRDS, &[]);
    let (mut held, bad) = (BTreeSet::new(), ["s000", "s001", "s050", "s099"]);
    answer(&mut d, pushes, &bad, &mut held);
    assert_eq!(held.len(), 96);
    assert_eq!(d.nacked().into_keys().collect::<Vec<_>>(), bad);
}

#[test]
fn t13_a_removal_in_a_rejected_response_is_not_lost() {
    let mut d = Driver::new(snapshot([scope("a", &[]), scope("b", &[])]));
    d.boot();
    let push = only(d.set([remove(SRDS, "a"), set(&scope("bad1", &[])), set(&scope("c", &[]))]));
    assert_eq!(content(&push), (vec!["bad1", "c"], vec!["a"]));
    let first = only(d.nack(&push, "no good"));
    assert_eq!(content(&first), (vec!["bad1"], vec!["a"]));
    let second = only(d.nack(&first, "no good"));
    assert_eq!(content(&second), (vec!["c"], vec!["a"]));
    assert!(d.ack(&second).is_empty());
    assert!(d.stream.in_sync());
}

#[test]
fn t13_changes_during_the_search_arrive() {
    let mut d = Driver::new(snapshot((0..4).map(|i| scope(&format!("s{i}"), &[]))));
    let push = only(d.subscribe(SRDS, &[]));
    let half = only(d.nack(&push, "no good"));
    // The culprit is put right, and another scope comes, while the search is on.
    assert!(d.set([set(&scope("s0", &["c"])), set(&scope("t", &[]))]).is_empty());
    let mut held = BTreeSet::new();
    answer(&mut d, vec![half], &[], &mut held);
    assert_eq!(held.into_iter().collect::<Vec<_>>(), ["s0", "s1", "s2", "s3", "t"]);
    assert!(d.nacked().is_empty());
    assert!(d.stream.in_sync());
}

#[test]
fn t13_a_culprit_that_changed_in_flight_is_judged_by_its_new_content() {
    let mut d = Driver::new(snapshot([scope("s", &[])]));
    let push = only(d.subscribe(SRDS, &[]));
    assert!(d.set([set(&scope("s", &["c"]))]).is_empty());
    let retry = only(d.nack(&push, "no good"));
    assert_eq!(retry.resources, vec![scope("s", &["c"])]);
}

#[test]
fn t13_a_rejected_resource_that_goes_back_to_what_the_proxy_holds_is_forgiven() {
    let mut d = Driver::new(snapshot([scope("s", &[])]));
    d.boot();
    let push = only(d.set([set(&scope("s", &["bad"]))]));
    d.nack(&push, "no good");
    d.stream.take_outcomes();
    assert!(d.set([set(&scope("s", &[]))]).is_empty());
    assert_eq!(d.stream.take_outcomes(), [Outcome::Unparked { resource_type: SRDS, name: "s".into() }]);
    let push = only(d.set([set(&scope("s", &["bad"]))]));
    assert_eq!(
        content(&push),
        (vec!["s"], vec![]),
        "a new attempt with the same content, after it was withdrawn"
    );
}

#[test]
fn t13_a_rejected_resource_that_is_asked_for_is_answered_with_the_last_good_one() {
    let good = routes("r", &[]);
    let mut d = Driver::new(snapshot([good.clone()]));
    let push = only(d.subscribe(RDS, &["r"]));
    d.ack(&push);
    let push = only(d.set([set(&routes("r", &["bad"]))]));
    d.nack(&push, "no good");
    assert_eq!(only(d.subscribe(RDS, &["r"])).resources, vec![good]);
}

#[test]
fn t13_a_rejected_removal_is_reported_and_not_repeated() {
    let mut d = Driver::new(snapshot([scope("s", &[])]));
    d.boot();
    let push = only(d.set([remove(SRDS, "s")]));
    assert!(d.nack(&push, "strange").is_empty());
    assert_eq!(d.nacked(), [("s".to_owned(), "strange".to_owned())].into());
    assert!(d.stream.in_sync());
}

#[test]
fn a_rejected_cluster_does_not_hold_up_routes() {
    let mut d = Driver::new(snapshot([cluster("c", 0), endpoints("c", 0), scope("s", &["c"])]));
    d.boot();
    let cds = only(d.set([set(&cluster("bad", 0)), set(&scope("s", &["bad"])), set(&scope("t", &["c"]))]));
    let srds = only(d.nack(&cds, "no good"));
    assert_eq!((type_of(&srds), content(&srds)), (SRDS, (vec!["s", "t"], vec![])));
}
