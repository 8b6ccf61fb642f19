//! The one owner of the translation in a cluster: events in; snapshots, statuses and infrastructure out.
//!
//! ```text
//! Syncing ──Synced──► Resolving ──everything referred to is here──► Serving
//!                        ▲                                             │
//!                        └──── a step refers to something new ─────────┘
//! ```
//!
//! While syncing, nothing is translated. While resolving, everything is translated and held back: a listener whose new certificate
//! is still on its way must not go away for the moment that takes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postern_translator::{Change, NamespacedName, ObjectKey};
use postern_xds::{Event, EventKind};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time;

use super::peers::PeerReport;
use super::proxies::{Proxies, Reports};
use super::sinks::Sinks;
use crate::kubernetes::infrastructure::ProvisionReport;
use crate::kubernetes::watch::{WatchEvent, WatchHandle};
use crate::telemetry::{Heartbeat, Readiness, TranslationResult};
use crate::translation::{Outcome, Translation};

/// How long configuration waits for what it newly refers to. The API server answers in milliseconds or is not there; then
/// the rest need not wait any longer.
const LONGEST_HOLD: Duration = Duration::from_secs(3);

/// How often the loop says that it turns.
const BEAT: Duration = Duration::from_secs(1);

/// How many watch events are taken into one step.
const MOST_EVENTS: usize = 256;

/// Where the engine is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first lists are not complete.
    Syncing,
    /// Something that is referred to is being fetched; the first time without end.
    Resolving { generation: u64, until: Option<Instant> },
    /// Everything that is known is served.
    Serving,
}

/// What the engine listens to.
pub(super) struct Inputs {
    pub(super) watched: mpsc::Receiver<WatchEvent>,
    pub(super) acknowledgements: broadcast::Receiver<Event>,
    pub(super) peers: mpsc::Receiver<PeerReport>,
    pub(super) provisioned: mpsc::UnboundedReceiver<ProvisionReport>,
}

/// Owns the translation.
pub(super) struct Engine {
    pub(super) translation: Translation,
    pub(super) watch: WatchHandle,
    pub(super) sinks: Sinks,
    pub(super) heartbeat: Heartbeat,
    pub(super) ready: Readiness,
    /// Told once, when there is something to serve; gone then.
    serving: Option<oneshot::Sender<()>>,
    phase: Phase,
    /// What the watch was last asked for.
    asked: BTreeSet<ObjectKey>,
    changes: Vec<Change>,
    /// Something else than an object changed.
    due: bool,
    /// Gateways whose proxies said something.
    heard: BTreeSet<NamespacedName>,
    proxies: Proxies,
    /// Shows the other replicas what the proxies of this one say.
    own: watch::Sender<Reports>,
    units: u64,
}

impl Engine {
    pub(super) fn new(
        mut translation: Translation,
        watch: WatchHandle,
        sinks: Sinks,
        heartbeat: Heartbeat,
        ready: Readiness,
        serving: oneshot::Sender<()>,
    ) -> Self {
        translation.hold();
        Self {
            translation,
            watch,
            sinks,
            heartbeat,
            ready,
            serving: Some(serving),
            phase: Phase::Syncing,
            asked: BTreeSet::new(),
            changes: Vec::new(),
            due: false,
            heard: BTreeSet::new(),
            proxies: Proxies::default(),
            own: watch::Sender::default(),
            units: 0,
        }
    }

    /// What the proxies of this replica say.
    pub(super) fn own_reports(&self) -> watch::Receiver<Reports> {
        self.own.subscribe()
    }

    /// Runs until the watches end.
    pub(super) async fn run(mut self, inputs: Inputs) {
        let Inputs { mut watched, mut acknowledgements, mut peers, mut provisioned } = inputs;
        let mut beat = time::interval(BEAT);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            let expiry = match self.phase {
                Phase::Resolving { until, .. } => until,
                _ => None,
            };
            tokio::select! {
                event = watched.recv() => {
                    let Some(event) = event else { return };
                    self.watched(event);
                    // What came together is translated together.
                    for _ in 1..MOST_EVENTS {
                        let Ok(event) = watched.try_recv() else { break };
                        self.watched(event);
                    }
                }
                event = acknowledgements.recv() => {
                    self.heard(event);
                    while let Ok(event) = acknowledgements.try_recv() {
                        self.heard(Ok(event));
                    }
                }
                Some((replica, reports)) = peers.recv() => {
                    self.heard.extend(self.proxies.told(&replica, reports));
                }
                Some(report) = provisioned.recv() => self.sinks.provisioned(&report),
                () = sleep_until(expiry) => {
                    tracing::warn!(
                        waited = ?LONGEST_HOLD,
                        "what the configuration newly refers to did not come in time; going on without it",
                    );
                    self.release();
                }
                _ = beat.tick() => self.heartbeat.beat(),
            }
            tokio::task::block_in_place(|| self.settle());
        }
    }

    fn watched(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Changes(changes) => {
                self.changes.extend(changes);
            }
            WatchEvent::Synced => {
                tracing::info!("all watches are in sync");
                let changes = std::mem::take(&mut self.changes);
                self.step(changes);
                if self.phase == Phase::Syncing {
                    self.resolve();
                }
            }
            WatchEvent::ReferencesReady { generation } => {
                if matches!(self.phase, Phase::Resolving { generation: awaited, .. } if awaited <= generation)
                {
                    // What has come may refer to more.
                    self.settle();
                    if matches!(self.phase, Phase::Resolving { generation: awaited, .. } if awaited <= generation)
                    {
                        self.release();
                    }
                }
            }
            WatchEvent::BundleVersion { version, channel } => {
                tracing::info!(version, channel, "the Gateway API that is installed");
                self.translation.set_bundle(version, channel.as_deref() == Some("experimental"));
                self.due = true;
            }
            WatchEvent::Served { kind, served } => {
                self.translation.set_served(kind, served);
                self.due = true;
            }
            WatchEvent::Invalid { key, uid, generation, error } => {
                self.sinks.invalid(&key, &uid, generation, &error);
            }
            WatchEvent::Recovered { key } => tracing::info!(object = %key, "the object can be read again"),
            WatchEvent::Lost { kind, namespace, error } => {
                tracing::debug!(kind, namespace, error, "watch lost");
            }
            WatchEvent::Regained { kind, namespace } => {
                tracing::debug!(kind, namespace, "watch regained");
            }
        }
    }

    fn heard(&mut self, event: Result<Event, RecvError>) {
        match event {
            Ok(event) => {
                let Some((namespace, name)) = event.node.split_once('/') else { return };
                let gateway = NamespacedName::new(namespace, name);
                if let EventKind::Nacked { resource_type, names, error } = &event.kind {
                    self.sinks.rejected(&self.translation, &gateway, *resource_type, names, error);
                }
                self.heard.insert(gateway);
            }
            // What was lost is in the present state of the connections.
            Err(RecvError::Lagged(_)) => self.heard.extend(self.translation.gateways().iter().cloned()),
            Err(RecvError::Closed) => {}
        }
    }

    /// Translates until nothing is left to say.
    fn settle(&mut self) {
        if self.phase == Phase::Syncing {
            return;
        }
        while std::mem::take(&mut self.due) || !self.changes.is_empty() || !self.heard.is_empty() {
            for gateway in std::mem::take(&mut self.heard) {
                self.observe(&gateway);
            }
            let changes = std::mem::take(&mut self.changes);
            self.step(changes);
        }
    }

    fn observe(&mut self, gateway: &NamespacedName) {
        let connections = self.translation.publisher().hub().connections_of(&gateway.to_string());
        if self.proxies.connected(gateway, &connections) {
            self.own.send_replace(self.proxies.own().clone());
        }
        self.translation.observe(gateway, self.proxies.of(gateway));
    }

    fn step(&mut self, changes: Vec<Change>) {
        let began = Instant::now();
        let seen = changes.clone();
        let translated = self.translation.translate(changes);
        let units = self.translation.translator().units_run();
        let result = match translated.panicked() {
            None => TranslationResult::Ok,
            Some(words) => {
                tracing::error!(
                    words,
                    "the translation panicked, a defect of Postern; everything was translated anew"
                );
                TranslationResult::Panicked
            }
        };
        let refer = translated.references_changed() && self.refers_to_something_new();
        if refer {
            self.translation.hold();
        }
        let outcome = self.translation.take(translated);
        self.sinks.metrics.translated(result, began.elapsed(), units.saturating_sub(self.units));
        self.units = units;
        if refer {
            self.resolve();
        } else {
            self.tell(outcome);
        }
        for change in seen {
            self.sinks.observed(change);
        }
    }

    /// Compares with what the watch was last asked for, and asks for less if there is less.
    fn refers_to_something_new(&mut self) -> bool {
        let references = self.translation.translator().references();
        if !references.is_subset(&self.asked) {
            return true;
        }
        if references.len() < self.asked.len() {
            self.asked.clone_from(references);
            self.watch.set_references(self.asked.clone());
        }
        false
    }

    /// Asks for everything that is referred to, and waits for it.
    fn resolve(&mut self) {
        self.asked.clone_from(self.translation.translator().references());
        let generation = self.watch.set_references(self.asked.clone());
        let until = self.serving.is_none().then(|| Instant::now() + LONGEST_HOLD);
        let until = match self.phase {
            // The wait is not begun anew by what comes meanwhile.
            Phase::Resolving { until: Some(earlier), .. } => Some(earlier),
            _ => until,
        };
        self.phase = Phase::Resolving { generation, until };
    }

    /// Publishes what was held back.
    fn release(&mut self) {
        self.phase = Phase::Serving;
        let outcome = self.translation.release();
        if let Some(serving) = self.serving.take() {
            let gateways = self.translation.gateways().len();
            tracing::info!(gateways, "serving");
            self.sinks.serving();
            self.ready.ready();
            // Nobody waits if the process is about to stop.
            let _ = serving.send(());
            self.heard.extend(self.translation.gateways().iter().cloned());
        }
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        self.sinks.tell(outcome);
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
