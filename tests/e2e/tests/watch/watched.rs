//! What a receiver of the watches makes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;
use postern::kubernetes::watch::{
    FeedReport, Phase, Scope, Timing, Watch, WatchEvent, WatchHandle, WatchOptions,
};
use postern::telemetry::Metrics;
use postern_translator::{Change, Kind, Object, ObjectKey};
use tokio::sync::mpsc;

/// How long anything may take; never spent when all is well.
const PATIENCE: Duration = Duration::from_secs(90);

/// What was told, one by one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Upsert(ObjectKey),
    Delete(ObjectKey),
    Synced,
    Ready(u64),
    Invalid(ObjectKey, String),
    Recovered(ObjectKey),
    Lost(&'static str, String),
    Regained(&'static str),
    Bundle(Option<String>, Option<String>),
    Served(Kind, bool),
}

/// Watches, and all that they have told.
pub(crate) struct Watched {
    pub(crate) handle: WatchHandle,
    pub(crate) metrics: Metrics,
    pub(crate) objects: BTreeMap<ObjectKey, Object>,
    pub(crate) seen: Vec<Seen>,
    events: mpsc::Receiver<WatchEvent>,
}

/// Options with times that suit a test.
pub(crate) fn options(scope: Scope) -> WatchOptions {
    let timing = Timing {
        discovery: Duration::from_millis(500),
        absence: Duration::from_secs(3),
        ..Timing::default()
    };
    WatchOptions { scope, timing, ..WatchOptions::default() }
}

impl Watched {
    pub(crate) fn start(client: Client, options: WatchOptions) -> Self {
        let metrics = Metrics::new();
        let (handle, events) = Watch::start(client, options, metrics.clone());
        Self { handle, metrics, objects: BTreeMap::new(), seen: Vec::new(), events }
    }

    /// Starts, and waits until all is told.
    pub(crate) async fn synced(client: Client, options: WatchOptions) -> Self {
        let mut watched = Self::start(client, options);
        watched.until("Synced", |seen| seen.contains(&Seen::Synced)).await;
        watched
    }

    /// Waits until `done` is true of all that was told since the last [`Watched::forget`].
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&[Seen]) -> bool) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !done(&self.seen) {
            let Ok(event) = tokio::time::timeout_at(end, self.events.recv()).await else {
                panic!("no {what} in time; seen {:#?}\nreports {:#?}", self.seen, self.handle.reports());
            };
            self.take(event.expect("the watches go on"));
        }
    }

    /// Waits until an object is told.
    pub(crate) async fn upserted(&mut self, key: &ObjectKey) {
        self.until(&format!("{key}"), |seen| seen.contains(&Seen::Upsert(key.clone()))).await;
    }

    /// Waits until an object is told to be gone.
    pub(crate) async fn deleted(&mut self, key: &ObjectKey) {
        self.until(&format!("end of {key}"), |seen| seen.contains(&Seen::Delete(key.clone()))).await;
    }

    /// What was told of any object in `namespace`, and nothing else.
    pub(crate) fn seen_in(&self, namespace: &str) -> Vec<Seen> {
        let is_in = |seen: &&Seen| match seen {
            Seen::Upsert(key) | Seen::Delete(key) | Seen::Invalid(key, _) | Seen::Recovered(key) => {
                key.namespace == namespace
            }
            _ => false,
        };
        self.seen.iter().filter(is_in).cloned().collect()
    }

    /// Forgets what was told, not what is known.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Waits until every watch is there, without a refusal.
    pub(crate) async fn all_watching(&self) {
        postern_e2e::until("watches", || async {
            let bad = |report: &FeedReport| report.forbidden > 0 || report.phase != Phase::Watching;
            let reports: Vec<_> = self.handle.reports().into_iter().filter(bad).collect();
            if reports.is_empty() { Ok(()) } else { Err(format!("{reports:?}")) }
        })
        .await;
    }

    /// How the watch of a kind fares.
    pub(crate) fn report(&self, kind: &str) -> FeedReport {
        let reports = self.handle.reports();
        reports.into_iter().find(|report| report.kind == kind).expect("a watch of the kind")
    }

    /// Where the watch of a kind stands.
    pub(crate) fn phase(&self, kind: &str) -> Phase {
        self.report(kind).phase
    }

    fn take(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Changes(changes) => {
                assert!(!changes.is_empty());
                for change in changes {
                    match change {
                        Change::Upsert(object) => {
                            let key = object.key();
                            assert!(object.metadata().managed_fields.is_none(), "{key} was not stripped");
                            self.objects.insert(key.clone(), object);
                            self.seen.push(Seen::Upsert(key));
                        }
                        Change::Delete(key) => {
                            self.objects.remove(&key);
                            self.seen.push(Seen::Delete(key));
                        }
                    }
                }
            }
            WatchEvent::Synced => self.seen.push(Seen::Synced),
            WatchEvent::ReferencesReady { generation } => self.seen.push(Seen::Ready(generation)),
            WatchEvent::Invalid { key, error, .. } => self.seen.push(Seen::Invalid(key, error)),
            WatchEvent::Recovered { key } => self.seen.push(Seen::Recovered(key)),
            WatchEvent::Lost { kind, error, .. } => self.seen.push(Seen::Lost(kind, error)),
            WatchEvent::Regained { kind, .. } => self.seen.push(Seen::Regained(kind)),
            WatchEvent::BundleVersion { version, channel } => self.seen.push(Seen::Bundle(version, channel)),
            WatchEvent::Served { kind, served } => self.seen.push(Seen::Served(kind, served)),
        }
    }
}

/// The key of an object.
pub(crate) fn key(kind: Kind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(kind, namespace, name)
}
