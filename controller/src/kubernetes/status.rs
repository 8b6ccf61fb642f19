//! Writes statuses: one writer for all kinds, on the leader only.
//!
//! ```text
//! translator ─► desired ─┐
//!                        ├─► Table ─► Queue ─► compare ─► merge ─► PATCH …/status
//! watch ─► observed ─────┘                                  │
//!    ▲                                                      ▼
//!    └──────────── the API server ◄─────────────────────────┘
//! ```
//!
//! - What others wrote survives (module `merge`). A write carries the resourceVersion that it was merged into, so nothing
//!   that was written in between is lost: the API server refuses it, and it is merged anew.
//! - Only differences are written: an object that says what it should costs nothing, and our own write that
//!   comes back from the watch is recognised.
//! - The latest wish wins. For each object at most one write is in flight, and after it there is a short rest, so
//!   that a burst of a thousand routes does not write the status of their Gateway a thousand times.
//! - Somebody who overwrites what we say is corrected, at once the first times and then less and less often.
//! - A replica that starts to lead compares everything; one that ceases to lead forgets what is in flight.

mod layout;
mod merge;
mod present;
mod queue;
mod resource;
mod table;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::Client;
use postern_translator::{Object, ObjectKey, Status};
use tokio::sync::{Notify, watch};

use self::table::Table;
use self::write::Writes;
use super::events::Events;
use crate::telemetry::Metrics;

/// This many writes are in flight at once. Enough for a thousand statuses a second, and no burden for the API
/// server's other clients.
const CONCURRENCY: usize = 8;

/// Takes what objects should say and what they say; never blocks, cheap to clone. [`StatusWriting`] does the writing.
///
/// For one change of the world, call [`desired`](Self::desired) for what the translator made of it before
/// [`observed`](Self::observed) for the objects themselves: else an object may for a moment look as if there was nothing
/// to say about it any more.
#[derive(Clone, Debug)]
pub struct StatusWriter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    wake: Notify,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of the status writer that talks to the API server.
pub struct StatusWriting {
    shared: Arc<Shared>,
    writes: Writes,
    metrics: Metrics,
}

impl StatusWriter {
    /// A writer in the name of `controller_name`. Transitions of conditions that it wrote are published as `events`.
    pub fn new(
        client: Client,
        controller_name: &str,
        metrics: Metrics,
        events: Option<Events>,
    ) -> (Self, StatusWriting) {
        let shared = Arc::new(Shared::default());
        let writes = Writes::new(client, controller_name, metrics.clone(), events);
        (Self { shared: Arc::clone(&shared) }, StatusWriting { shared, writes, metrics })
    }

    /// The object `key` should say `status`; `None`: nothing of ours. Then our entries are removed where the status has
    /// one for each controller (routes and policies), and other statuses are left alone.
    pub fn desired(&self, key: &ObjectKey, status: Option<Status>) {
        self.change(|table, now| table.desired(key, status, now));
    }

    /// The object is like this now. Objects that the API server does not have (without a resourceVersion) are ignored.
    pub fn observed(&self, object: Object) {
        self.change(|table, now| table.observed(object, now));
    }

    /// The object does not exist any more.
    pub fn gone(&self, key: &ObjectKey) {
        self.change(|table, _| table.gone(key));
    }

    /// All that exists has been translated once: from now on, an object of which [`desired`](Self::desired) was never told
    /// should have no entries of ours, and loses those that are left from before.
    pub fn synced(&self) {
        self.change(Table::complete);
    }

    fn change(&self, change: impl FnOnce(&mut Table, Instant)) {
        change(&mut self.shared.table(), Instant::now());
        self.shared.wake.notify_one();
    }
}

impl StatusWriting {
    /// Writes while `leader` is true, until its sender is gone.
    pub async fn run(self, mut leader: watch::Receiver<bool>) {
        let Self { shared, writes, metrics } = self;
        let mut in_flight = FuturesUnordered::new();
        loop {
            let leads = *leader.borrow_and_update();
            shared.table().lead(leads, Instant::now());
            if !leads {
                in_flight.clear();
            }
            let deadline = {
                let mut table = shared.table();
                while in_flight.len() < CONCURRENCY
                    && let Some(job) = table.next(Instant::now())
                {
                    in_flight.push(writes.write(job));
                }
                metrics.set_status_pending(table.pending() + in_flight.len());
                table.deadline()
            };
            let rest = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = leader.changed() => if changed.is_err() { return },
                Some((job, outcome)) = in_flight.next() => {
                    let key = job.key.clone();
                    if let Some(times) = shared.table().done(job, outcome, Instant::now()) {
                        tracing::warn!(
                            object = %key,
                            times,
                            "somebody else keeps changing what Postern says in the status; \
                             `kubectl get --show-managed-fields` tells who"
                        );
                    }
                }
                () = shared.wake.notified() => {}
                () = rest, if in_flight.len() < CONCURRENCY => {}
            }
            tokio::task::consume_budget().await;
        }
    }
}
