//! How each watch fares: for logs, metrics and those who ask why nothing is served yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::WatchEvent;
use super::failure::{Failure, Verb};
use super::keys::KeySet;
use crate::telemetry::Metrics;

/// So many failures in a row are worth telling. An API server that starts, or that has just been told of a kind, refuses now and then.
const TELLING: u32 = 2;

/// What is watched: a kind, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FeedId {
    pub(super) kind: &'static str,
    pub(super) namespace: Option<String>,
}

/// Where a watch stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum Phase {
    /// It is not known yet whether the kind is served.
    Waiting,
    /// The API server does not serve the kind: its CustomResourceDefinition is not installed.
    NotServed,
    /// The list is being read.
    Listing,
    /// The watch is there.
    Watching,
    /// Attempts fail; what was known before stays in force.
    Lost {
        /// The last failure.
        error: String,
    },
}

/// How a watch fares.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedReport {
    /// The kind, such as `HTTPRoute`.
    pub kind: &'static str,
    /// The namespace, where each is watched by itself.
    pub namespace: Option<String>,
    /// Where it stands.
    #[serde(flatten)]
    pub phase: Phase,
    /// Everything that was there at the beginning has been told.
    pub settled: bool,
    /// How many objects are known; for Secrets and ConfigMaps, how many of those that are referred to.
    pub objects: usize,
    /// How many of them cannot be read.
    pub invalid: usize,
    /// How many requests RBAC has refused.
    pub forbidden: u64,
    /// The time since the API server was last heard: an object, a bookmark, the beginning of a watch.
    #[serde(rename = "silentSeconds", serialize_with = "seconds")]
    pub silent: Option<Duration>,
}

#[allow(clippy::ref_option)] // the shape that serde asks for
fn seconds<S: serde::Serializer>(silent: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    silent.map(|silent| silent.as_secs_f64()).serialize(serializer)
}

#[derive(Debug)]
struct State {
    phase: Phase,
    settled: bool,
    objects: usize,
    invalid: usize,
    forbidden: u64,
    /// How many attempts have failed since the watch was there.
    failures: u32,
    /// How often each verb was refused since then.
    refused: BTreeMap<Verb, u32>,
    heard: Option<Instant>,
}

/// How all watches fare; cheap to clone.
#[derive(Clone)]
pub(super) struct Health {
    states: Arc<Mutex<BTreeMap<FeedId, State>>>,
    metrics: Metrics,
}

/// One watch's entry.
#[derive(Clone)]
pub(super) struct Monitor {
    id: FeedId,
    resource: String,
    health: Health,
}

impl Health {
    /// No watches yet; what happens to them is counted in `metrics`.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { states: Arc::default(), metrics }
    }

    /// The entry of a watch of `kind`, which RBAC calls `resource`.
    pub(super) fn monitor(&self, kind: &'static str, resource: &str, namespace: Option<String>) -> Monitor {
        let id = FeedId { kind, namespace };
        let state = State {
            phase: Phase::Waiting,
            settled: false,
            objects: 0,
            invalid: 0,
            forbidden: 0,
            failures: 0,
            refused: BTreeMap::new(),
            heard: None,
        };
        self.with(|states| states.insert(id.clone(), state));
        Monitor { id, resource: resource.to_owned(), health: self.clone() }
    }

    /// How all watches fare, by kind and namespace.
    pub(super) fn reports(&self) -> Vec<FeedReport> {
        let now = Instant::now();
        let report = |(id, state): (&FeedId, &State)| FeedReport {
            kind: id.kind,
            namespace: id.namespace.clone(),
            phase: state.phase.clone(),
            settled: state.settled,
            objects: state.objects,
            invalid: state.invalid,
            forbidden: state.forbidden,
            silent: state.heard.map(|heard| now.duration_since(heard)),
        };
        self.with(|states| states.iter().map(report).collect())
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<FeedId, State>) -> T) -> T {
        act(&mut self.states.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Monitor {
    fn with<T: Default>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        self.health.with(|states| states.get_mut(&self.id).map(act).unwrap_or_default())
    }

    fn namespace(&self) -> &str {
        self.id.namespace.as_deref().unwrap_or_default()
    }

    /// A list begins.
    pub(super) fn listing(&self) {
        self.with(|state| {
            if !matches!(state.phase, Phase::Lost { .. }) {
                state.phase = Phase::Listing;
            }
        });
    }

    /// The API server has been heard.
    pub(super) fn heard(&self) {
        self.with(|state| state.heard = Some(Instant::now()));
    }

    /// The first list has been told.
    pub(super) fn settled(&self) {
        self.with(|state| state.settled = true);
    }

    /// So many objects are known.
    pub(super) fn counted(&self, keys: &KeySet) {
        self.with(|state| (state.objects, state.invalid) = (keys.len(), keys.invalid()));
        let (objects, invalid) = self.health.with(|states| {
            let of_kind = states.iter().filter(|(id, _)| id.kind == self.id.kind);
            of_kind.fold((0, 0), |sum, (_, state)| (sum.0 + state.objects, sum.1 + state.invalid))
        });
        self.health.metrics.set_objects(self.id.kind, objects);
        self.health.metrics.set_invalid_objects(self.id.kind, invalid);
    }

    /// The watch is there.
    #[must_use]
    pub(super) fn watching(&self) -> Option<WatchEvent> {
        self.enter(&Phase::Watching, "watches again")
    }

    /// The kind is not served.
    #[must_use]
    pub(super) fn not_served(&self) -> Option<WatchEvent> {
        self.enter(&Phase::NotServed, "is not served any more")
    }

    fn enter(&self, phase: &Phase, words: &str) -> Option<WatchEvent> {
        let old = self.with(|state| {
            state.heard = Some(Instant::now());
            state.failures = 0;
            state.refused.clear();
            Some(std::mem::replace(&mut state.phase, phase.clone()))
        });
        // A kind is well if it is in all namespaces.
        let lost = |(id, state): (&FeedId, &State)| {
            id.kind == self.id.kind && matches!(state.phase, Phase::Lost { .. })
        };
        if *phase == Phase::NotServed {
            self.health.metrics.watch_stopped(self.id.kind);
        } else if old.as_ref() != Some(phase) && !self.health.with(|states| states.iter().any(lost)) {
            self.health.metrics.watch_healthy(self.id.kind);
        }
        let Some(Phase::Lost { .. }) = old else { return None };
        tracing::info!(kind = self.id.kind, namespace = self.namespace(), "{words}");
        Some(WatchEvent::Regained { kind: self.id.kind, namespace: self.id.namespace.clone() })
    }

    /// An attempt has failed. Told and logged once, when it was not the only one.
    #[must_use]
    pub(super) fn failed(&self, failure: &Failure) -> Option<WatchEvent> {
        let error = failure.to_string();
        let forbidden = self.forbidden(failure);
        let first = self.with(|state| {
            state.failures += 1;
            if state.failures < TELLING {
                return false;
            }
            let old = std::mem::replace(&mut state.phase, Phase::Lost { error: error.clone() });
            !matches!(old, Phase::Lost { .. })
        });
        if !first {
            tracing::debug!(
                kind = self.id.kind,
                namespace = self.namespace(),
                error,
                "an attempt to watch failed"
            );
            return None;
        }
        self.health.metrics.watch_failed(self.id.kind);
        if !forbidden {
            tracing::warn!(
                kind = self.id.kind,
                namespace = self.namespace(),
                error,
                "cannot watch; tries again"
            );
        }
        Some(WatchEvent::Lost { kind: self.id.kind, namespace: self.id.namespace.clone(), error })
    }

    /// Counts a refusal by RBAC, and logs it once for each verb. True if it was one.
    pub(super) fn forbidden(&self, failure: &Failure) -> bool {
        let Some(verb) = failure.forbidden() else { return false };
        self.health.metrics.forbidden(&verb.to_string(), &self.resource);
        let times = self.with(|state| {
            state.forbidden += 1;
            let times = state.refused.entry(verb).or_default();
            *times += 1;
            *times
        });
        if times == TELLING {
            tracing::error!(
                kind = self.id.kind,
                resource = self.resource,
                namespace = self.namespace(),
                %verb,
                error = %failure,
                "forbidden; allow this verb on this resource in the role that is bound to the controller's ServiceAccount"
            );
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16) -> Failure {
        Failure::refused(Verb::List, &Status::failure("no", "").with_code(code))
    }

    #[test]
    fn only_changes_are_told() {
        let health = Health::new(Metrics::new());
        let monitor = health.monitor("Gateway", "gateways", None);
        assert!(monitor.watching().is_none(), "it was never lost");
        assert!(monitor.failed(&refused(429)).is_none(), "that can happen");
        assert!(matches!(monitor.failed(&refused(500)), Some(WatchEvent::Lost { kind: "Gateway", .. })));
        assert!(monitor.failed(&refused(503)).is_none());
        monitor.listing();
        let phase = |health: &Health| health.reports()[0].phase.clone();
        assert!(
            matches!(phase(&health), Phase::Lost { error } if error.contains("503")),
            "lost until it watches"
        );
        assert!(matches!(monitor.watching(), Some(WatchEvent::Regained { .. })));
        assert!(monitor.watching().is_none());
        assert_eq!(phase(&health), Phase::Watching);
    }

    #[test]
    fn refusals_are_counted() {
        let metrics = Metrics::new();
        let health = Health::new(metrics.clone());
        let monitor = health.monitor("Secret", "secrets", Some("a".into()));
        assert!(monitor.failed(&refused(403)).is_none());
        assert!(monitor.failed(&refused(403)).is_some());
        assert!(monitor.failed(&refused(500)).is_none());
        let report = &health.reports()[0];
        assert_eq!((report.kind, report.namespace.as_deref(), report.forbidden), ("Secret", Some("a"), 2));
        let text = metrics.registry_text();
        assert!(text.contains(r#"forbidden_calls_total{verb="list",resource="secrets"} 2"#), "{text}");
        assert!(matches!(monitor.not_served(), Some(WatchEvent::Regained { .. })));
    }

    #[test]
    fn reports_are_legible() {
        let health = Health::new(Metrics::new());
        let monitor = health.monitor("Gateway", "gateways", None);
        assert!(monitor.failed(&refused(500)).is_none());
        assert!(monitor.failed(&refused(500)).is_some());
        let json = serde_json::to_value(health.reports()).unwrap();
        assert_eq!(json[0]["phase"], "lost");
        assert_eq!(json[0]["error"], "list was answered with 500: no");
        assert_eq!(json[0]["silentSeconds"], serde_json::Value::Null);
    }
}
