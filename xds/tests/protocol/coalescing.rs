//! T14, T15, T25: one response in flight, latest wins, bounded size.

use crate::driver::*;
use crate::resources::*;

#[test]
fn t14_snapshots_coalesce_while_a_response_is_in_flight() {
    let mut d = Driver::new(snapshot([secret("s", 0), secret("gone", 0)]));
    let push = only(d.subscribe(SDS, &["s", "t", "gone"]));
    for content in 1..=5 {
        assert!(d.set([set(&secret("s", content))]).is_empty());
    }
    assert!(d.set([set(&secret("t", 0))]).is_empty());
    let next = only(d.ack(&push));
    assert_eq!(next.resources, vec![secret("s", 5), secret("t", 0)], "the difference to the last, once");
    assert!(d.ack(&next).is_empty());
}

#[test]
fn t15_there_and_back_in_flight_sends_nothing() {
    let mut d = Driver::new(snapshot([static_cluster("a", 0)]));
    let push = only(d.subscribe(CDS, &[]));
    assert!(d.set([set(&static_cluster("a", 1))]).is_empty());
    assert!(d.set([set(&static_cluster("a", 0))]).is_empty());
    assert!(d.ack(&push).is_empty());
    assert!(d.stream.in_sync());
}

#[test]
fn t15_there_and_back_across_a_response_is_sent() {
    let mut d = Driver::new(snapshot([static_cluster("a", 0)]));
    let push = only(d.subscribe(CDS, &[]));
    d.ack(&push);
    let there = only(d.set([set(&static_cluster("a", 1))]));
    assert!(d.set([set(&static_cluster("a", 0))]).is_empty());
    assert_eq!(only(d.ack(&there)).resources, vec![static_cluster("a", 0)]);
}

#[test]
fn t25_a_large_first_push_is_split_and_keeps_its_order() {
    let clusters: Vec<_> = (0..100).map(|i| static_cluster(&format!("c{i:03}"), i)).collect();
    let one = {
        let mut d = Driver::new(snapshot(clusters.clone()));
        only(d.subscribe(CDS, &[])).encoded_len()
    };
    let limit = one / 4;
    let mut d = Driver::with_limit(snapshot(clusters.clone().into_iter().chain([listener("l", 0)])), limit);
    let first = d.subscribe(CDS, &[]);
    assert!(d.subscribe(LDS, &[]).is_empty(), "listeners wait for the last of the clusters");
    let log = d.settle(first);
    let (last, chunks) = log.split_last().unwrap();
    assert!(chunks.len() >= 4, "{} chunks", chunks.len());
    for chunk in chunks {
        assert_eq!(type_of(chunk), CDS);
        assert!(chunk.encoded_len() <= limit + 100, "{} bytes", chunk.encoded_len());
    }
    let sent: Vec<_> = chunks.iter().flat_map(|p| p.resources.clone()).collect();
    assert_eq!(sent, clusters, "each once, in order");
    assert_eq!(content(last), (vec!["l"], vec![]));
}

#[test]
fn t25_a_first_set_of_scopes_is_never_split() {
    let scopes: Vec<_> = (0..100).map(|i| scope(&format!("s{i:03}"), &["c"])).collect();
    let mut d = Driver::with_limit(snapshot(scopes.clone()), 1000);
    let push = only(d.subscribe(SRDS, &[]));
    assert_eq!(
        push.resources, scopes,
        "a listener is ready with the first answer, so the answer is complete"
    );
    d.ack(&push);
    let changed: Vec<_> = (0..100).map(|i| scope(&format!("s{i:03}"), &["d"])).collect();
    let first = d.set(changed.iter().map(set));
    assert!(d.settle(first).len() > 4, "later pushes are split");
}

#[test]
fn t25_one_resource_above_the_limit_goes_alone() {
    let mut d = Driver::with_limit(snapshot([secret("a", 0), secret("b", 0)]), 1);
    let first = d.subscribe(SDS, &["a", "b"]);
    let log = d.settle(first);
    assert_eq!(log.iter().map(|p| p.resources.len()).collect::<Vec<_>>(), [1, 1]);
}
