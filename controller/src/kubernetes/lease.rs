//! Which replica leads: the one that holds a Lease of `coordination.k8s.io`.
//!
//! All replicas serve the proxies; the leader alone writes statuses, infrastructure and events. The rules are those of
//! Kubernetes' own components:
//!
//! - A candidate never compares its clock with that of the holder. It waits until it has itself seen the Lease
//!   unchanged for as long as the holder said.
//! - Every write carries the resourceVersion that it is based on, so that of two candidates one wins.
//! - The holder counts from the moment *before* it sent the renewal that succeeded last, and stops to lead well before
//!   a candidate could take over: [`Timing::give_up`] is shorter than [`Timing::duration`].
//! - A holder that shuts down empties the Lease, so that the next one need not wait.
//!
//! Writes of a leader that is just being replaced may still be on their way; they carry a resourceVersion too, so
//! what the new leader has written they cannot undo.
//!
//! It needs `get`, `create` and `update` on `leases` in its namespace.

mod campaign;
mod election;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use kube::Client;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use self::campaign::Campaign;
use crate::telemetry::Metrics;

/// Which Lease, and who wants it.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// The namespace of the Lease: that of the controller.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who we are; no other process may ever have said the same. See [`identity`].
    pub identity: String,
    /// How long things take.
    pub timing: Timing,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait after the last renewal that they saw; whole seconds.
    pub duration: Duration,
    /// How long the holder leads after the last renewal that succeeded; shorter than `duration`.
    pub give_up: Duration,
    /// How often the holder renews.
    pub renew: Duration,
    /// How often a candidate looks, and how soon a renewal that failed is tried again.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(5),
            give_up: Duration::from_millis(3500),
            renew: Duration::from_millis(1500),
            retry: Duration::from_millis(500),
        }
    }
}

/// An identity for this process: the name of its pod and something random, so that a container that was started again
/// is not taken for the one that died.
pub fn identity(pod: &str) -> String {
    format!("{pod}_{:016x}", RandomState::new().hash_one(pod))
}

/// Leader election by a Lease.
#[derive(Debug)]
pub struct Lease;

impl Lease {
    /// Begins to stand for election, until the [`Leadership`] is released or dropped.
    pub fn run(client: Client, options: LeaseOptions, metrics: Metrics) -> Leadership {
        let (sender, leader) = watch::channel(false);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Campaign::new(client, options, metrics, sender).run(stopped));
        Leadership { leader, stop: Some(stop), task }
    }
}

/// Our part in the election.
#[derive(Debug)]
pub struct Leadership {
    leader: watch::Receiver<bool>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Leadership {
    /// Whether this replica leads. The value turns false before another one can lead.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.leader.clone()
    }

    /// Steps down and empties the Lease if it is ours. Does not wait for an API server that does not answer.
    pub async fn release(mut self) {
        drop(self.stop.take());
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "leader election ended in a defect");
        }
    }
}
