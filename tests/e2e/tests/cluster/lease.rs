//! Leader election.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Config};
use postern::kubernetes::lease::{Leadership, Lease, LeaseOptions, Timing, identity};
use postern::telemetry::Metrics;
use postern_e2e::{Cluster, Namespace, until};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::relay::Relay;

const NAME: &str = "postern-leader";

fn options(space: &Namespace<'_>, who: &str, timing: Timing) -> LeaseOptions {
    LeaseOptions {
        namespace: space.name().to_owned(),
        name: NAME.to_owned(),
        identity: identity(who),
        timing,
    }
}

fn stand(client: Client, space: &Namespace<'_>, who: &str, timing: Timing) -> Leadership {
    Lease::run(client, options(space, who, timing), Metrics::new())
}

/// A lease that nobody can wait out within the patience of a test.
fn long() -> Timing {
    Timing { duration: Duration::from_mins(10), ..Timing::default() }
}

async fn leads(who: &mut watch::Receiver<bool>) {
    tokio::time::timeout(Duration::from_mins(1), who.wait_for(|leads| *leads))
        .await
        .expect("leads in time")
        .unwrap();
}

async fn follows(who: &mut watch::Receiver<bool>) {
    tokio::time::timeout(Duration::from_mins(1), who.wait_for(|leads| !leads))
        .await
        .expect("follows in time")
        .unwrap();
}

/// Watches that never both lead.
struct NeverBoth(JoinHandle<()>);

impl NeverBoth {
    fn watch(a: &watch::Receiver<bool>, b: &watch::Receiver<bool>) -> Self {
        let (mut a, mut b) = (a.clone(), b.clone());
        Self(tokio::spawn(async move {
            loop {
                assert!(!(*a.borrow_and_update() && *b.borrow_and_update()), "two leaders");
                tokio::select! {
                    changed = a.changed() => if changed.is_err() { return },
                    changed = b.changed() => if changed.is_err() { return },
                }
            }
        }))
    }

    async fn was_kept(self) {
        self.0.abort();
        if let Err(error) = self.0.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_lease_is_taken_over_at_once() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("lease").await;
    let a = stand(cluster.client(), &space, "a", long());
    leads(&mut a.watch()).await;
    let b = stand(cluster.client(), &space, "b", long());
    let watching = NeverBoth::watch(&a.watch(), &b.watch());
    assert!(!*b.watch().borrow());
    let api: Api<Object> = space.api();
    let before = api.get(NAME).await.unwrap().spec.unwrap();
    assert_eq!((before.lease_duration_seconds, before.lease_transitions), (Some(600), Some(0)));
    assert!(before.holder_identity.unwrap().starts_with("a_"));

    let a_leads = a.watch();
    a.release().await;
    assert!(!*a_leads.borrow());
    leads(&mut b.watch()).await;
    let after = api.get(NAME).await.unwrap().spec.unwrap();
    assert!(after.holder_identity.unwrap().starts_with("b_"));
    assert!(after.lease_transitions > before.lease_transitions, "{:?}", after.lease_transitions);
    assert!(after.acquire_time > before.acquire_time);

    b.release().await;
    let empty = api.get(NAME).await.unwrap().spec.unwrap();
    assert_eq!(empty.holder_identity.unwrap_or_default(), "");
    watching.was_kept().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_is_replaced() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("lease").await;
    // A process of its own, as far as that matters: it ends without a word.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = options(&space, "a", Timing::default());
    let config = Config::infer().await.unwrap();
    let a = process
        .spawn(async { Lease::run(Client::try_from(config).unwrap(), options, Metrics::new()) })
        .await
        .unwrap();
    leads(&mut a.watch()).await;
    let b = stand(cluster.client(), &space, "b", Timing::default());
    let mut b_leads = b.watch();
    // A leader that lives is not replaced, however long one waits.
    let early =
        tokio::time::timeout(Timing::default().duration * 2, b_leads.wait_for(|leads| *leads)).await.is_ok();
    assert!(!early, "the leader was alive");
    process.shutdown_background();
    leads(&mut b_leads).await;
    assert!(a.watch().has_changed().is_err() || !*a.watch().borrow(), "its task is gone");
    b.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_steps_down_before_another_one_leads() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("lease").await;
    let relay = Relay::start(Config::infer().await.unwrap()).await;
    let a = stand(relay.client(), &space, "a", Timing::default());
    leads(&mut a.watch()).await;
    let b = stand(cluster.client(), &space, "b", Timing::default());
    let watching = NeverBoth::watch(&a.watch(), &b.watch());
    relay.freeze();
    follows(&mut a.watch()).await;
    assert!(!*b.watch().borrow(), "nobody leads for a moment");
    leads(&mut b.watch()).await;
    relay.thaw();
    // The old leader sees who leads now and stays a candidate, and takes over when it can.
    let early =
        tokio::time::timeout(Timing::default().duration, a.watch().wait_for(|leads| *leads)).await.is_ok();
    assert!(!early, "the lease is b's");
    watching.was_kept().await;
    b.release().await;
    leads(&mut a.watch()).await;
    a.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_nobody_leads_and_then_one_does() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("lease").await;
    let relay = Relay::start(Config::infer().await.unwrap()).await;
    let (a, b) = (
        stand(relay.client(), &space, "a", Timing::default()),
        stand(relay.client(), &space, "b", Timing::default()),
    );
    let (mut a_leads, mut b_leads) = (a.watch(), b.watch());
    let watching = NeverBoth::watch(&a_leads, &b_leads);
    let mut one_leads = async || {
        tokio::select! { () = leads(&mut a_leads) => {} () = leads(&mut b_leads) => {} }
    };
    one_leads().await;
    relay.freeze();
    for who in [&a, &b] {
        follows(&mut who.watch()).await;
    }
    relay.thaw();
    one_leads().await;
    watching.was_kept().await;
    a.release().await;
    b.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_deleted_or_edited_is_renewed_by_one() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("lease").await;
    let (a, b) = (
        stand(cluster.client(), &space, "a", Timing::default()),
        stand(cluster.client(), &space, "b", Timing::default()),
    );
    let watching = NeverBoth::watch(&a.watch(), &b.watch());
    let (mut a_leads, mut b_leads) = (a.watch(), b.watch());
    tokio::select! { () = leads(&mut a_leads) => {} () = leads(&mut b_leads) => {} }
    let api: Api<Object> = space.api();
    let first = api.get(NAME).await.unwrap();

    let label = serde_json::json!({ "metadata": { "labels": { "edited": "by-hand" } } });
    api.patch(NAME, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    let renewed = until("renewal of the edited lease", || async {
        let lease = api.get(NAME).await.map_err(|e| e.to_string())?;
        let old = first.spec.as_ref().unwrap();
        let new = lease.spec.clone().unwrap();
        if new.renew_time > old.renew_time && lease.metadata.labels.is_some() {
            Ok(lease)
        } else {
            Err(format!("{new:?}"))
        }
    })
    .await;
    assert_eq!(renewed.spec.unwrap().holder_identity, first.spec.unwrap().holder_identity);

    api.delete(NAME, &DeleteParams::default()).await.unwrap();
    until("a new lease", || async {
        let lease = api.get_opt(NAME).await.map_err(|e| e.to_string())?.ok_or("there is none")?;
        (lease.metadata.uid != first.metadata.uid).then_some(()).ok_or_else(|| "the old one".to_owned())
    })
    .await;
    tokio::select! { () = leads(&mut a_leads) => {} () = leads(&mut b_leads) => {} }
    watching.was_kept().await;
    a.release().await;
    b.release().await;
}
