//! T16, T17: make before break.

use crate::driver::*;
use crate::resources::*;

/// A type, the names that came, and the names that went.
type Told<'a> = (postern_xds::ResourceType, (Vec<&'a str>, Vec<&'a str>));

fn told(log: &[postern_xds::Push]) -> Vec<Told<'_>> {
    log.iter().map(|p| (type_of(p), content(p))).collect()
}

fn booted() -> Driver {
    let mut d = Driver::new(snapshot([
        cluster("old", 0),
        endpoints("old", 0),
        listener("l", 0),
        scope("s", &["old"]),
    ]));
    d.boot();
    d
}

#[test]
fn t16_a_backend_swap_adds_waits_and_prunes() {
    let mut d = booted();
    let pushes = d.set([
        set(&cluster("new", 0)),
        set(&endpoints("new", 0)),
        remove(CDS, "old"),
        remove(EDS, "old"),
        set(&scope("s", &["new"])),
    ]);
    assert_eq!(told(&pushes), [(CDS, (vec!["new"], vec![]))]);
    // Envoy asks for the endpoints before it acknowledges the cluster (it holds the latter back).
    let eds = only(d.subscribe(EDS, &["new"]));
    assert_eq!(content(&eds), (vec!["new"], vec![]));
    assert!(d.ack(&eds).is_empty(), "the cluster is not acknowledged");
    let routes = only(d.ack(&pushes[0]));
    assert_eq!((type_of(&routes), content(&routes)), (SRDS, (vec!["s"], vec![])));
    let prune = only(d.ack(&routes));
    assert_eq!(
        (type_of(&prune), content(&prune)),
        (CDS, (vec![], vec!["old"])),
        "and the endpoints go by themselves"
    );
    assert!(d.ack(&prune).is_empty());
    assert!(d.unsubscribe(EDS, &["old"]).is_empty());
    assert!(d.stream.in_sync());
}

#[test]
fn t16_a_cluster_that_goes_stays_for_requests_under_way() {
    let mut d = booted();
    d.lingering = true;
    d.subscribe(SDS, &[]);
    let cds =
        only(d.set([set(&tls_cluster("new", 0, "ca")), set(&secret("ca", 0)), set(&scope("s", &["new"]))]));
    let answer = only(d.subscribe(SDS, &["ca"]));
    d.settle(vec![cds, answer]);
    let in_use = d.stream.lingering();
    let routes = only(d.set([remove(CDS, "new"), remove(SDS, "ca"), set(&scope("s", &["old"]))]));
    assert!(d.ack(&routes).is_empty(), "it may be in use by a request that began before");
    assert!(d.stream.in_sync(), "which is no reason to wait for anything");
    assert_eq!(in_use, None);
    let first = d.stream.lingering();
    assert!(first.is_some());

    // What goes meanwhile does not prolong it, and has its own time.
    let routes = only(d.set([remove(CDS, "old"), set(&scope("s", &[]))]));
    assert!(d.ack(&routes).is_empty());
    assert_eq!(d.stream.lingering(), first);
    let prune = only(d.expire_linger());
    assert_eq!((type_of(&prune), content(&prune)), (CDS, (vec![], vec!["new"])));
    assert!(d.ack(&prune).is_empty(), "the secret may be needed by a cluster that is still there");
    let second = d.stream.lingering();
    assert!(second.is_some() && second != first);

    // What comes back stays, with the proxy none the wiser.
    let routes = only(d.set([set(&cluster("old", 0)), set(&scope("s", &["old"]))]));
    assert_eq!(type_of(&routes), SRDS);
    assert!(d.expire_linger().is_empty());
    let left = only(d.ack(&routes));
    assert_eq!((type_of(&left), content(&left)), (SDS, (vec![], vec!["ca"])));
    assert_eq!(d.stream.lingering(), None);
}

#[test]
fn t16_a_lingering_cluster_does_not_go_while_routes_to_it_are_on_their_way() {
    let mut d = booted();
    d.lingering = true;
    let srds = only(d.set([remove(CDS, "old"), set(&scope("s", &[]))]));
    assert!(d.ack(&srds).is_empty());
    // Another cluster warms, so that the next snapshot cannot be staged yet.
    let cds = only(d.set([set(&cluster("slow", 0))]));
    assert!(d.set([set(&cluster("old", 0)), set(&scope("s", &["old"]))]).is_empty());
    assert!(d.expire_linger().is_empty());
    let eds = only(d.subscribe(EDS, &["slow"]));
    let mut pushes = d.ack(&eds);
    pushes.extend(d.ack(&cds));
    assert_eq!(
        pushes.iter().map(|p| (type_of(p), content(p))).collect::<Vec<_>>(),
        [(SRDS, (vec!["s"], vec![]))]
    );
}

#[test]
fn t16_routes_wait_for_the_endpoints_of_a_new_cluster() {
    let mut d = booted();
    let cds = only(d.set([set(&cluster("new", 0)), set(&scope("s", &["new"]))]));
    assert!(d.ack(&cds).is_empty(), "the endpoints were not asked for yet");
    assert!(d.stream.waiting().is_some());
    let eds = only(d.subscribe(EDS, &["new"]));
    assert_eq!(types(&d.ack(&eds)), [SRDS]);
    assert_eq!(d.stream.waiting(), None);
}

#[test]
fn t16_a_static_cluster_needs_no_endpoints() {
    let mut d = booted();
    let cds = only(d.set([set(&static_cluster("new", 0)), set(&scope("s", &["new"]))]));
    assert_eq!(types(&d.ack(&cds)), [SRDS]);
}

#[test]
fn t16_a_cluster_that_needs_a_secret_comes_with_it() {
    let mut d = booted();
    let (cluster, routes) = (tls_cluster("new", 0, "ca"), scope("s", &["new"]));
    let cds = only(d.set([set(&cluster), set(&secret("ca", 0)), set(&routes)]));
    assert!(d.ack(&cds).is_empty(), "the secret was not asked for yet");
    assert!(d.stream.waiting().is_some());
    let answer = only(d.subscribe(SDS, &["ca"]));
    assert_eq!(type_of(&answer), SDS);
    let routes = only(d.ack(&answer));
    assert_eq!(type_of(&routes), SRDS);
    assert!(d.ack(&routes).is_empty());
    assert_eq!(d.stream.waiting(), None);
    // The next cluster with the secret has it at once.
    let cds = only(d.set([set(&tls_cluster("next", 0, "ca")), set(&scope("s", &["next"]))]));
    assert_eq!(types(&d.ack(&cds)), [SRDS]);
}

#[test]
fn t16_a_secret_that_does_not_come_is_not_waited_for() {
    // It does not exist.
    let mut d = booted();
    let cds = only(d.set([set(&tls_cluster("new", 0, "ca")), set(&scope("s", &["new"]))]));
    assert_eq!(types(&d.ack(&cds)), [SRDS]);
    // It goes while it is waited for.
    let mut d = booted();
    let (cluster, routes) = (tls_cluster("new", 0, "ca"), scope("s", &["new"]));
    let cds = only(d.set([set(&cluster), set(&secret("ca", 0)), set(&routes)]));
    assert!(d.ack(&cds).is_empty());
    assert_eq!(types(&d.set([remove(SDS, "ca")])), [SRDS]);
    // The cluster is rejected.
    let mut d = booted();
    let cds = only(d.set([set(&cluster), set(&secret("ca", 0)), set(&routes)]));
    assert_eq!(types(&d.nack(&cds, "bad")), [SRDS]);
    // The proxy never asks for it.
    let mut d = booted();
    let cds = only(d.set([set(&cluster), set(&secret("ca", 0)), set(&routes)]));
    assert!(d.ack(&cds).is_empty());
    assert_eq!(types(&d.stream.on_wait_expired()), [SRDS]);
}

#[test]
fn t16_listeners_come_before_routes_and_after_clusters() {
    let mut d = booted();
    let cds = only(d.set([
        set(&static_cluster("new", 0)),
        set(&listener("l", 1)),
        set(&scope("s", &["new"])),
        set(&scope("s2", &[])),
    ]));
    let lds = only(d.ack(&cds));
    assert_eq!(type_of(&lds), LDS);
    let srds = only(d.ack(&lds));
    assert_eq!((type_of(&srds), content(&srds)), (SRDS, (vec!["s", "s2"], vec![])));
}

#[test]
fn t16_a_listener_goes_before_its_scopes() {
    let mut d = booted();
    let lds = only(d.set([remove(LDS, "l"), remove(SRDS, "s"), remove(CDS, "old"), remove(EDS, "old")]));
    assert_eq!((type_of(&lds), content(&lds)), (LDS, (vec![], vec!["l"])));
    let srds = only(d.ack(&lds));
    assert_eq!((type_of(&srds), content(&srds)), (SRDS, (vec![], vec!["s"])));
    assert_eq!(types(&d.ack(&srds)), [CDS]);
}

#[test]
fn t16_a_scope_that_moves_goes_and_comes_in_one_response() {
    let mut d = booted();
    let push = only(d.set([remove(SRDS, "s"), set(&scope("t", &["old"]))]));
    assert_eq!((type_of(&push), content(&push)), (SRDS, (vec!["t"], vec!["s"])));
}

#[test]
fn t16_a_cluster_that_comes_back_is_not_pruned() {
    let mut d = booted();
    let srds = only(d.set([remove(CDS, "old"), set(&scope("s", &[]))]));
    assert_eq!(type_of(&srds), SRDS);
    assert!(d.set([set(&cluster("old", 0))]).is_empty());
    assert!(d.ack(&srds).is_empty(), "it is wanted again");
    assert!(d.stream.in_sync());
}

#[test]
fn t16_rejected_routes_keep_their_clusters_and_let_others_come() {
    let mut d = booted();
    let cds = only(d.set([set(&static_cluster("new", 0)), remove(CDS, "old"), set(&scope("s", &["new"]))]));
    let srds = only(d.ack(&cds));
    assert!(d.nack(&srds, "bad").is_empty(), "the proxy still routes to the old cluster");
    // Additions flow.
    let cds = only(d.set([set(&static_cluster("more", 0)), set(&scope("t", &["more"]))]));
    assert_eq!(content(&cds), (vec!["more"], vec![]));
    let srds = only(d.ack(&cds));
    assert_eq!(content(&srds), (vec!["t"], vec![]));
    assert!(d.ack(&srds).is_empty());
    // Put right, the old cluster goes.
    let srds = only(d.set([set(&scope("s", &["more"]))]));
    let prune = only(d.ack(&srds));
    assert_eq!((type_of(&prune), content(&prune)), (CDS, (vec![], vec!["old"])));
}

#[test]
fn t16_snapshots_in_quick_succession_do_not_starve_routes() {
    let mut d = booted();
    let mut cds = only(d.set([set(&static_cluster("c0", 0)), set(&scope("s", &["c0"]))]));
    for i in 1..20 {
        // The next cluster comes before the last one is acknowledged, every time.
        let name = format!("c{i}");
        assert!(d.set([set(&static_cluster(&name, 0)), set(&scope("s", &[&name]))]).is_empty());
        let pushes = d.ack(&cds);
        assert_eq!(types(&pushes), [CDS, SRDS], "round {i}");
        d.ack(&pushes[1]);
        cds = pushes[0].clone();
    }
}

#[test]
fn t16_an_acknowledgement_that_never_comes_does_not_hold_up_routes_for_ever() {
    let mut d = booted();
    let first = only(d.set([set(&static_cluster("c1", 0)), set(&scope("s", &["c1"]))]));
    let wait = d.stream.waiting();
    assert!(wait.is_some());
    assert!(d.set([set(&static_cluster("c2", 0)), set(&scope("t", &["c2"]))]).is_empty());
    assert_eq!(d.stream.waiting(), wait, "a new snapshot does not prolong the wait");
    let pushes = d.stream.on_wait_expired();
    assert_eq!(types(&pushes), [CDS, SRDS]);
    // The acknowledgements come after all.
    assert!(d.ack(&first).is_empty());
    let log = d.settle(pushes);
    assert_eq!(types(&log), [CDS, SRDS, SRDS]);
    assert!(d.stream.in_sync());
}

#[test]
fn a_late_rejection_is_looked_into() {
    let mut d = booted();
    let first = only(d.set([set(&static_cluster("c1", 0)), set(&static_cluster("c2", 0))]));
    d.stream.on_wait_expired();
    let half = only(d.nack(&first, "bad"));
    assert_eq!(content(&half), (vec!["c1"], vec![]));
    let other = only(d.ack(&half));
    assert_eq!(content(&other), (vec!["c2"], vec![]));
    d.nack(&other, "bad c2");
    assert_eq!(d.nacked(), [("c2".to_owned(), "bad c2".to_owned())].into());
}

#[test]
fn t17_a_changed_cluster_gets_its_endpoints_again() {
    let mut d = booted();
    let pushes = d.set([set(&cluster("old", 1))]);
    assert_eq!(told(&pushes), [(CDS, (vec!["old"], vec![])), (EDS, (vec!["old"], vec![]))]);
    // Envoy acknowledges the cluster only after its endpoints.
    assert!(d.ack(&pushes[1]).is_empty());
    assert!(d.ack(&pushes[0]).is_empty());
    assert!(d.stream.in_sync());
}

#[test]
fn t17_an_unchanged_cluster_does_not() {
    let mut d = booted();
    assert_eq!(types(&d.set([set(&static_cluster("other", 0))])), [CDS]);
}

#[test]
fn t17_endpoints_in_flight_do_not_count_for_a_cluster_that_changed_after_them() {
    let mut d = booted();
    let eds = only(d.set([set(&endpoints("old", 1))]));
    let cds = only(d.set([set(&cluster("old", 1)), set(&scope("s", &["old", "old"]))]));
    assert_eq!(type_of(&cds), CDS);
    let again = only(d.ack(&eds));
    assert_eq!((type_of(&again), content(&again)), (EDS, (vec!["old"], vec![])));
    assert!(d.ack(&cds).is_empty());
    assert_eq!(types(&d.ack(&again)), [SRDS]);
}

#[test]
fn t17_endpoints_under_another_name() {
    let mut d = Driver::new(snapshot([eds_cluster("c", 0, "svc"), endpoints("svc", 0), scope("s", &["c"])]));
    d.boot();
    let pushes = d.set([set(&eds_cluster("c", 1, "svc"))]);
    assert_eq!(told(&pushes), [(CDS, (vec!["c"], vec![])), (EDS, (vec!["svc"], vec![]))]);
    d.settle(pushes);
    // The cluster stays, its endpoints vanish: they become empty.
    let push = only(d.set([remove(EDS, "svc")]));
    assert_eq!(told(std::slice::from_ref(&push)), [(EDS, (vec!["svc"], vec![]))]);
    assert_ne!(push.resources[0], endpoints("svc", 0));
}

#[test]
fn endpoints_flow_while_clusters_are_in_flight() {
    let mut d = booted();
    only(d.set([set(&static_cluster("new", 0))]));
    let eds = only(d.set([set(&endpoints("old", 3))]));
    assert_eq!(eds.resources, vec![endpoints("old", 3)]);
}

#[test]
fn secrets_go_before_the_listeners_that_use_them() {
    let mut d = Driver::new(snapshot([listener("l", 0), secret("k", 0)]));
    d.boot();
    let push = only(d.subscribe(SDS, &["k"]));
    d.ack(&push);
    let pushes = d.set([set(&listener("l", 1)), set(&secret("k", 1))]);
    assert_eq!(types(&pushes), [SDS, LDS]);
    d.settle(pushes);
    // A secret goes after the listener that used it.
    let lds = only(d.set([remove(SDS, "k"), remove(LDS, "l")]));
    assert_eq!(type_of(&lds), LDS);
    let sds = only(d.ack(&lds));
    assert_eq!((type_of(&sds), content(&sds)), (SDS, (vec![], vec!["k"])));
}

#[test]
fn a_secret_is_answered_while_the_clusters_that_need_it_warm() {
    let mut d = Driver::new(snapshot([static_cluster("c", 0), secret("k", 0)]));
    only(d.subscribe(CDS, &[]));
    assert_eq!(content(&only(d.subscribe(SDS, &["k"]))), (vec!["k"], vec![]));
}

#[test]
fn an_empty_set_of_scopes_is_answered_and_filled_later() {
    let mut d = Driver::new(snapshot([cluster("c", 0), listener("l", 0)]));
    d.boot();
    let push = only(d.set([set(&scope("s", &["c"]))]));
    assert_eq!((type_of(&push), content(&push)), (SRDS, (vec!["s"], vec![])));
}

#[test]
fn t16_a_cluster_that_is_gone_but_in_use_is_served_to_who_asks_for_it() {
    let mut d = booted();
    // Its routes wait for a cluster, so the old one is still in use.
    let cds = only(d.set([set(&static_cluster("new", 0)), remove(CDS, "old"), set(&scope("s", &["new"]))]));
    assert!(d.subscribe(CDS, &["old"]).is_empty(), "one response in flight");
    let pushes = d.ack(&cds);
    assert_eq!(told(&pushes)[0], (CDS, (vec!["old"], vec![])), "not removed: routes lead there");
    let log = d.settle(pushes);
    assert_eq!(told(&log).last(), Some(&(CDS, (vec![], vec!["old"]))));
    assert!(d.stream.in_sync());
}

#[test]
fn t16_routes_wait_for_clusters_that_were_asked_for_after_listeners() {
    let mut d = Driver::new(snapshot([static_cluster("c", 0), scope("s", &["c"])]));
    let lds = only(d.subscribe(LDS, &[]));
    d.ack(&lds);
    let cds = only(d.subscribe(CDS, &[]));
    assert!(d.subscribe(SRDS, &[]).is_empty());
    assert_eq!(types(&d.ack(&cds)), [SRDS]);
}

#[test]
fn t16_nothing_is_pruned_before_a_late_acknowledgement_has_come() {
    let mut d = booted();
    let lds =
        only(d.set([set(&listener("l", 1)), set(&scope("s", &[])), remove(CDS, "old"), remove(EDS, "old")]));
    assert_eq!(type_of(&lds), LDS);
    let srds = only(d.stream.on_wait_expired());
    assert_eq!(type_of(&srds), SRDS);
    assert!(d.ack(&srds).is_empty(), "the listener may not have arrived");
    assert_eq!(types(&d.ack(&lds)), [CDS]);
}

#[test]
fn t16_rejected_routes_that_nobody_wants_any_more_do_not_keep_clusters() {
    let mut d = booted();
    let rds = only(d.subscribe(RDS, &["r"]));
    d.ack(&rds);
    let rds = only(d.set([set(&routes("r", &[]))]));
    d.ack(&rds);
    let pushes =
        d.set([set(&routes("r", &["old"])), set(&scope("s", &[])), remove(CDS, "old"), remove(EDS, "old")]);
    assert_eq!(types(&pushes), [RDS, SRDS]);
    assert!(d.nack(&pushes[0], "bad").is_empty());
    assert!(d.ack(&pushes[1]).is_empty(), "the older routes are in use");
    assert_eq!(types(&d.unsubscribe(RDS, &["r"])), [CDS]);
}

/// A proxy with a listener whose connections go to the cluster `old`.
fn booted_with_connections() -> Driver {
    let mut d = Driver::new(snapshot([
        cluster("old", 0),
        endpoints("old", 0),
        listener("l", 0),
        tcp_proxy("l/chain", "old"),
    ]));
    d.boot();
    let pushes = d.subscribe(ECDS, &["l/chain"]);
    assert_eq!(told(&pushes), [(ECDS, (vec!["l/chain"], vec![]))]);
    d.settle(pushes);
    assert!(d.stream.in_sync());
    d
}

/// The edit of a TCPRoute to a backend that nobody had, and from one that nobody has any more.
fn moved_connections() -> [postern_xds::Change; 5] {
    [
        set(&cluster("new", 0)),
        set(&endpoints("new", 0)),
        remove(CDS, "old"),
        remove(EDS, "old"),
        set(&tcp_proxy("l/chain", "new")),
    ]
}

#[test]
fn t16_connections_go_to_a_new_cluster_when_it_is_there_and_the_old_one_goes_after_them() {
    let mut d = booted_with_connections();
    let pushes = d.set(moved_connections());
    assert_eq!(told(&pushes), [(CDS, (vec!["new"], vec![]))]);
    assert!(d.ack(&pushes[0]).is_empty(), "the endpoints of the new cluster are not there");
    let eds = only(d.subscribe(EDS, &["new"]));
    let proxy = only(d.ack(&eds));
    assert_eq!((type_of(&proxy), content(&proxy)), (ECDS, (vec!["l/chain"], vec![])));
    assert_eq!(referred_clusters(&proxy.resources[0]), ["new"]);
    assert!(d.unsubscribe(EDS, &[]).is_empty(), "nothing goes before the acknowledgement");
    let prune = only(d.ack(&proxy));
    assert_eq!((type_of(&prune), content(&prune)), (CDS, (vec![], vec!["old"])));
    assert!(d.ack(&prune).is_empty());
    assert!(d.stream.in_sync());
}

#[test]
fn t16_connections_that_a_proxy_refuses_to_move_keep_their_cluster() {
    let mut d = booted_with_connections();
    let cds = only(d.set(moved_connections()));
    d.ack(&cds);
    let eds = only(d.subscribe(EDS, &["new"]));
    let proxy = only(d.ack(&eds));
    assert!(d.nack(&proxy, "bad").is_empty(), "they still go to the old cluster");
    assert_eq!(d.nacked(), [("l/chain".to_owned(), "bad".to_owned())].into());
    // What else there is to say flows.
    let cds = only(d.set([set(&static_cluster("more", 0)), set(&scope("s", &["more"]))]));
    assert_eq!(content(&cds), (vec!["more"], vec![]));
    let srds = only(d.ack(&cds));
    assert_eq!((type_of(&srds), content(&srds)), (SRDS, (vec!["s"], vec![])));
    assert!(d.ack(&srds).is_empty(), "the old cluster stays");
    // Put right, it goes.
    let proxy = only(d.set([set(&tcp_proxy("l/chain", "more"))]));
    let prune = only(d.ack(&proxy));
    assert_eq!((type_of(&prune), content(&prune)), (CDS, (vec![], vec!["old"])));
}

#[test]
fn t16_a_new_listener_comes_after_the_clusters_of_its_connections() {
    let mut d = booted_with_connections();
    let cds = only(d.set([
        set(&static_cluster("new", 0)),
        set(&listener("m", 0)),
        set(&tcp_proxy("m/chain", "new")),
    ]));
    assert_eq!((type_of(&cds), content(&cds)), (CDS, (vec!["new"], vec![])));
    let lds = only(d.ack(&cds));
    assert_eq!((type_of(&lds), content(&lds)), (LDS, (vec!["m"], vec![])));
    // The listener warms until its chains have their filter, so this must not wait for the listener.
    let proxy = only(d.subscribe(ECDS, &["m/chain"]));
    assert_eq!(content(&proxy), (vec!["m/chain"], vec![]));
    assert!(d.ack(&proxy).is_empty() && d.ack(&lds).is_empty());
    assert!(d.stream.in_sync());
}

#[test]
fn t16_a_listener_goes_then_its_connections_then_their_cluster() {
    let mut d = booted_with_connections();
    let lds =
        only(d.set([remove(LDS, "l"), remove(ECDS, "l/chain"), remove(CDS, "old"), remove(EDS, "old")]));
    assert_eq!((type_of(&lds), content(&lds)), (LDS, (vec![], vec!["l"])));
    let ecds = only(d.ack(&lds));
    assert_eq!((type_of(&ecds), content(&ecds)), (ECDS, (vec![], vec!["l/chain"])));
    let cds = only(d.ack(&ecds));
    assert_eq!((type_of(&cds), content(&cds)), (CDS, (vec![], vec!["old"])));
    assert!(d.ack(&cds).is_empty() && d.unsubscribe(ECDS, &["l/chain"]).is_empty());
    assert!(d.stream.in_sync());
}

#[test]
fn t16_connections_of_a_proxy_that_comes_back_wait_for_their_clusters() {
    let old = tcp_proxy("l/chain", "old");
    let mut d =
        Driver::new(snapshot([static_cluster("new", 0), listener("l", 0), tcp_proxy("l/chain", "new")]));
    // Another control plane gave it what it holds.
    let held = static_cluster("old", 0);
    d.resume(LDS, &[], &[&listener("l", 0)]);
    let first = d.resume(ECDS, &["l/chain"], &[&old]);
    assert!(first.iter().all(|push| push.resources.is_empty()), "its clusters are not known yet");
    d.settle(first);
    let cds = only(d.resume(CDS, &[], &[&held]));
    assert_eq!(content(&cds), (vec!["new"], vec![]));
    let proxy = only(d.ack(&cds));
    assert_eq!((type_of(&proxy), content(&proxy)), (ECDS, (vec!["l/chain"], vec![])));
}
