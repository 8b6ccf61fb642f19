//! Cost is proportional to the change. Run with `--nocapture` to see the figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_xds::{Difference, Resource, Snapshot};
use proptest::prelude::*;

use crate::driver::*;
use crate::resources::*;

const MANY: usize = 10_000;

fn scopes() -> Vec<Arc<Resource>> {
    (0..MANY).map(|i| scope(&format!("host-{i:05}.example.com"), &["c"])).collect()
}

/// The best of several runs: what the work costs, without what else the machine does.
fn best(mut run: impl FnMut() -> Duration) -> Duration {
    (0..20).map(|_| run()).min().unwrap()
}

#[test]
fn one_change_among_ten_thousand_is_found_without_looking_at_the_rest() {
    let resources = scopes();
    let started = Instant::now();
    let old = snapshot(resources);
    let build = started.elapsed();
    let new = old.apply([set(&scope("host-05000.example.com", &["d"]))]);
    let one = best(|| {
        let started = Instant::now();
        assert_eq!(Snapshot::diff(&old, &new, SRDS).count(), 1);
        started.elapsed()
    });
    let unrelated = snapshot(scopes());
    let all = best(|| {
        let started = Instant::now();
        assert_eq!(Snapshot::diff(&old, &unrelated, SRDS).count(), 0);
        started.elapsed()
    });
    println!(
        "snapshot of {MANY}: built in {build:?}; diff of one change {one:?}, of an unrelated equal one {all:?}"
    );
    assert!(one * 10 < all, "shared structure is skipped: {one:?} against {all:?}");
}

#[test]
fn one_change_among_ten_thousand_is_sent_at_the_cost_of_one() {
    let mut d = Driver::new(snapshot(scopes()));
    d.subscribe(CDS, &[]);
    let started = Instant::now();
    let push = only(d.subscribe(SRDS, &[]));
    let first = started.elapsed();
    let mut wire = bytes::BytesMut::with_capacity(push.encoded_len());
    let started = Instant::now();
    push.encode(&mut wire);
    let encode = started.elapsed();
    d.ack(&push);
    let mut content = 0;
    let change = best(|| {
        content += 1;
        let next = d.snapshot.apply([set(&scope("host-05000.example.com", &[&format!("d{content}")]))]);
        d.snapshot = next;
        let started = Instant::now();
        let push = only(d.stream.on_snapshot(&d.snapshot));
        let took = started.elapsed();
        d.ack(&push);
        took
    });
    println!(
        "first push of {MANY} scopes: {first:?}, encoding {} bytes {encode:?}; one change: {change:?}",
        push.encoded_len()
    );
    assert!(change * 10 < first, "{change:?} against {first:?}");
}

#[derive(Clone, Debug)]
enum Op {
    Set(u8, u8),
    Remove(u8),
}

proptest! {
    /// The persistent map's own comparison against one by hand.
    #[test]
    fn differences_are_complete(
        base in prop::collection::vec((any::<u8>(), 0..3u8), 0..200),
        ops in prop::collection::vec(
            prop_oneof![(any::<u8>(), 0..3u8).prop_map(|(k, v)| Op::Set(k, v)), any::<u8>().prop_map(Op::Remove)],
            0..100,
        ),
    ) {
        let make = |k: u8, v: u8| Arc::new(Resource::new(SDS, format!("{k:03}"), format!("{v}"), vec![v]));
        let old = snapshot(base.into_iter().map(|(k, v)| make(k, v)));
        let mut new = old.clone();
        for op in ops {
            new = new.apply([match op {
                Op::Set(k, v) => set(&make(k, v)),
                Op::Remove(k) => remove(SDS, &format!("{k:03}")),
            }]);
        }
        let mut expected = Vec::new();
        for k in 0..=255u8 {
            let name = format!("{k:03}");
            match (old.get(SDS, &name), new.get(SDS, &name)) {
                (None, Some(r)) => expected.push(Difference::Added(r)),
                (Some(r), None) => expected.push(Difference::Removed(r)),
                (Some(a), Some(b)) if a != b => expected.push(Difference::Changed(b)),
                _ => {}
            }
        }
        prop_assert_eq!(Snapshot::diff(&old, &new, SDS).collect::<Vec<_>>(), expected);
    }
}
