//! T10, T11, T30, T31: a proxy that comes back with what it holds.

use crate::driver::*;
use crate::resources::*;

#[test]
fn t10_equal_changed_deleted_and_new_on_reconnect() {
    let (same, old, gone) =
        (static_cluster("same", 0), static_cluster("changed", 0), static_cluster("gone", 0));
    let new = [same.clone(), static_cluster("changed", 1), static_cluster("new", 0)];
    let mut d = Driver::new(snapshot(new));
    let push = only(d.resume(CDS, &[], &[&same, &old, &gone]));
    assert_eq!(content(&push), (vec!["changed", "new"], vec![]));
    let log = d.settle(vec![push]);
    assert_eq!(log.len(), 1, "what is gone stays until the proxy has told of its listeners and routes");
    d.resume(LDS, &[], &[&listener("l", 0)]);
    let log = d.resume(SRDS, &[], &[&scope("s", &["gone"])]);
    assert_eq!(types(&log), [] as [postern_xds::ResourceType; 0], "listeners first");
    assert!(!d.stream.in_sync());
}

#[test]
fn t10_deleted_routes_then_deleted_clusters_on_reconnect() {
    let (l, kept, gone) = (listener("l", 0), static_cluster("kept", 0), static_cluster("gone", 0));
    let (old, new) = (scope("s", &["gone"]), scope("s", &["kept"]));
    let mut d = Driver::new(snapshot([l.clone(), kept.clone(), new.clone()]));
    let mut log = Vec::new();
    let pushes = d.resume(CDS, &[], &[&kept, &gone]);
    log.extend(d.settle(pushes));
    let pushes = d.resume(LDS, &[], &[&l]);
    log.extend(d.settle(pushes));
    let pushes = d.resume(SRDS, &[], &[&old, &scope("deleted", &["gone"])]);
    log.extend(d.settle(pushes));
    let told: Vec<_> = log.iter().map(|p| (type_of(p), content(p))).collect();
    assert_eq!(
        told,
        [
            (CDS, (vec![], vec![])),
            (LDS, (vec![], vec![])),
            (SRDS, (vec!["s"], vec!["deleted"])),
            (CDS, (vec![], vec!["gone"])),
        ]
    );
    assert!(d.stream.in_sync());
}

#[test]
fn t10_names_with_an_equal_version_are_not_sent_again() {
    let (r, s) = (routes("r", &[]), secret("s", 0));
    let mut d = Driver::new(snapshot([r.clone(), s.clone()]));
    d.subscribe(CDS, &[]);
    for (resource_type, held) in [(RDS, &r), (SDS, &s)] {
        let pushes = d.resume(resource_type, &[held.name()], &[held]);
        assert!(pushes.iter().all(|p| p.resources.is_empty()), "{pushes:?}");
        d.settle(pushes);
        // Asked for once more, it was forgotten.
        assert_eq!(content(&only(d.subscribe(resource_type, &[held.name()]))), (vec![held.name()], vec![]));
    }
}

#[test]
fn t11_names_in_both_lists_stay_a_wildcard() {
    let (a, b) = (static_cluster("a", 0), static_cluster("b", 0));
    let mut d = Driver::new(snapshot([a.clone(), b.clone()]));
    let push = only(d.resume(CDS, &["a", "b"], &[&a, &b]));
    assert_eq!(content(&push), (vec![], vec![]));
    d.ack(&push);
    let push = only(d.set([set(&static_cluster("new", 0))]));
    assert_eq!(content(&push), (vec!["new"], vec![]));
}

#[test]
fn t30_everything_but_clusters_is_answered_in_the_middle_of_warming() {
    let held = [endpoints("equal", 0), listener("l", 0), routes("r", &[]), scope("s", &[])];
    let mut d = Driver::new(snapshot([
        cluster("equal", 0),
        cluster("changed", 0),
        endpoints("changed", 1),
        held[0].clone(),
        held[1].clone(),
        held[2].clone(),
        held[3].clone(),
    ]));
    // Envoy does not ask for clusters while one is warming.
    let push = only(d.resume(
        EDS,
        &["changed", "deleted", "equal", "new"],
        &[&held[0], &endpoints("changed", 0), &endpoints("deleted", 0)],
    ));
    assert_eq!(content(&push), (vec!["changed", "deleted", "equal", "new"], vec![]), "all of them, at once");
    d.ack(&push);
    for (resource_type, names, held) in
        [(LDS, vec![], &held[1]), (RDS, vec!["r", "missing"], &held[2]), (SRDS, vec![], &held[3])]
    {
        let push = only(d.resume(resource_type, &names, &[held]));
        let missing: Vec<&str> = names.iter().copied().filter(|n| *n == "missing").collect();
        assert_eq!(content(&push), (vec![], missing), "{resource_type}");
        d.ack(&push);
    }
}

#[test]
fn t30_changed_routes_wait_for_clusters_that_were_not_asked_for_but_not_for_ever() {
    let old = scope("s", &["old"]);
    let mut d = Driver::new(snapshot([scope("s", &["new"]), static_cluster("new", 0)]));
    assert!(d.resume(SRDS, &[], &[&old]).is_empty());
    assert!(d.stream.waiting().is_some());
    let push = only(d.stream.on_wait_expired());
    assert_eq!((type_of(&push), content(&push)), (SRDS, (vec!["s"], vec![])));
    d.ack(&push);
    assert_eq!(d.stream.waiting(), None);
}

#[test]
fn endpoints_of_a_deleted_cluster_stay_until_the_routes_are_gone() {
    let (c, e) = (cluster("c", 0), endpoints("c", 0));
    let (old, new) = (scope("s", &["c"]), scope("s", &[]));
    let mut d = Driver::new(snapshot([new]));
    let pushes = d.resume(CDS, &[], &[&c]);
    let mut log = d.settle(pushes);
    let pushes = d.resume(EDS, &["c"], &[&e]);
    log.extend(d.settle(pushes));
    assert!(log.iter().all(|p| p.resources.is_empty()), "not emptied while routes may lead there: {log:#?}");
    let pushes = d.resume(LDS, &[], &[]);
    d.settle(pushes);
    let pushes = d.resume(SRDS, &[], &[&old]);
    let log = d.settle(pushes);
    assert_eq!(types(&log), [SRDS, CDS]);
    assert_eq!(content(&log[1]), (vec![], vec!["c"]));
}

#[test]
fn t31_a_full_reconnect_resends_only_endpoints() {
    let held = [cluster("c", 0), endpoints("c", 0), listener("l", 0), scope("s", &["c"])];
    let mut d = Driver::new(snapshot(held.clone()));
    let mut bytes = 0;
    for (resource_type, names, held) in [
        (CDS, vec![], &held[0]),
        (EDS, vec!["c"], &held[1]),
        (LDS, vec![], &held[2]),
        (SRDS, vec![], &held[3]),
    ] {
        let pushes = d.resume(resource_type, &names, &[held]);
        for push in d.settle(pushes) {
            bytes += push.encoded_len();
            assert_eq!(push.resources.len(), usize::from(resource_type == EDS), "{resource_type}");
        }
    }
    assert!(d.stream.in_sync());
    assert!(bytes < 500, "{bytes} bytes");
}

#[test]
fn t30_routes_wait_for_clusters_of_a_proxy_that_asks_for_endpoints_first() {
    // It holds a cluster that warms, and nothing that carries a version.
    let mut d =
        Driver::new(snapshot([cluster("c", 0), endpoints("c", 0), cluster("new", 0), scope("s", &["new"])]));
    let eds = only(d.subscribe(EDS, &["c"]));
    let lds = only(d.subscribe(LDS, &[]));
    assert!(d.subscribe(SRDS, &[]).is_empty());
    assert!(d.ack(&eds).is_empty());
    assert!(d.ack(&lds).is_empty());
    let cds = only(d.resume(CDS, &[], &[&cluster("c", 0)]));
    assert_eq!(content(&cds), (vec!["new"], vec![]));
    let eds = only(d.subscribe(EDS, &["new"]));
    assert!(d.ack(&eds).is_empty());
    assert_eq!(types(&d.ack(&cds)), [SRDS]);
}

#[test]
fn missing_endpoints_of_a_cluster_that_changed_are_empty_at_once() {
    // The proxy comes back with endpoints that are gone, and its cluster is still there, but changed: it warms.
    let mut d = Driver::new(snapshot([cluster("c", 1)]));
    let cds = only(d.resume(CDS, &[], &[&cluster("c", 0)]));
    assert_eq!(content(&cds), (vec!["c"], vec![]));
    let eds = only(d.resume(EDS, &["c"], &[&endpoints("c", 0)]));
    assert_eq!(content(&eds), (vec!["c"], vec![]));
    d.ack(&eds);
    d.ack(&cds);
    assert!(d.stream.in_sync());
}
