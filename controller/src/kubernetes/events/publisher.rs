//! Sends events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::events::EventType;
use kube::{Client, Error};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::limit::Limit;
use super::series::Series;
use super::{Events, QUEUE, Queued};
use crate::telemetry::Metrics;

/// An answer that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Names of events begin with as much of the object's name.
const NAME: usize = 200;

/// Sends the events that [`Events`] takes, while this replica leads.
pub struct EventPublisher {
    client: Client,
    metrics: Metrics,
    controller_name: String,
    instance: String,
    queue: mpsc::Receiver<Queued>,
    dropped: Arc<AtomicU64>,
    series: Series,
    limit: Limit<String>,
    limited: u64,
    forbidden: bool,
}

impl EventPublisher {
    /// A publisher, and what gives it events. They are reported by `controller_name`, on the `instance` (the name of the
    /// pod).
    pub fn new(client: Client, controller_name: &str, instance: &str, metrics: Metrics) -> (Events, Self) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let publisher = Self {
            client,
            metrics,
            controller_name: controller_name.to_owned(),
            instance: instance.to_owned(),
            queue,
            dropped: Arc::clone(&dropped),
            series: Series::default(),
            limit: Limit::default(),
            limited: 0,
            forbidden: false,
        };
        (Events { queue: sender, dropped }, publisher)
    }

    /// Sends events until nobody can publish any more. While `leader` is false they are dropped: the leader sends them.
    pub async fn run(mut self, leader: watch::Receiver<bool>) {
        while let Some(event) = self.queue.recv().await {
            if !*leader.borrow() {
                continue;
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "too many events at once; some were not published");
            }
            let object = identity(&event);
            if !self.limit.admit(object.clone(), Instant::now()) {
                self.limited += 1;
                tracing::debug!(%object, reason = event.note.reason, "too many events for this object");
                continue;
            }
            self.send(&event, &object).await;
        }
    }

    async fn send(&mut self, event: &Queued, object: &str) {
        let namespace = event.regarding.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let Ok(sent) = tokio::time::timeout(TIMEOUT, self.attempt(&api, event)).await else {
            tracing::debug!(%object, "no answer to an event");
            return;
        };
        match sent {
            Ok(()) => self.forbidden = false,
            Err(Error::Api(status)) if status.is_forbidden() && !is_terminating(&status) => {
                self.metrics.forbidden("create", "events");
                if !std::mem::replace(&mut self.forbidden, true) {
                    tracing::error!(
                        %object,
                        error = status.message,
                        "events cannot be published; allow `create` and `patch` on `events` of `events.k8s.io` in the \
                         controller's role"
                    );
                }
            }
            Err(error) => tracing::debug!(%object, %error, "an event is lost"),
        }
    }

    async fn attempt(&mut self, api: &Api<Event>, event: &Queued) -> Result<(), Error> {
        let now = Timestamp::now();
        if let Some(sent) = self.series.repeat(event, Instant::now()) {
            let series = EventSeries { count: sent.count, last_observed_time: MicroTime(now) };
            let patch = json!({ "series": series });
            match api.patch(&sent.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(Error::Api(status)) if status.is_not_found() => self.series.forget(event),
                other => return other.map(drop),
            }
        }
        let event_to_create = self.event(event, now);
        let name = event_to_create.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event_to_create).await?;
        self.series.created(event, name, Instant::now());
        Ok(())
    }

    fn event(&self, Queued { regarding, note }: &Queued, now: Timestamp) -> Event {
        let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        // Names of objects are ASCII; the time makes the name of the event unique.
        let object: String = regarding.name.iter().flat_map(|name| name.chars()).take(NAME).collect();
        let object = object.trim_end_matches(['.', '-']);
        Event {
            action: Some(note.action.clone()),
            event_time: Some(MicroTime(now)),
            metadata: ObjectMeta {
                name: Some(format!("{object}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            note: Some(note.note.clone()),
            reason: Some(note.reason.clone()),
            regarding: Some(regarding.clone()),
            reporting_controller: Some(self.controller_name.clone()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(match note.type_ {
                EventType::Normal => "Normal".to_owned(),
                EventType::Warning => "Warning".to_owned(),
            }),
            ..Event::default()
        }
    }
}

/// A namespace that is being deleted takes no new objects, which the API server calls forbidden.
fn is_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// The object, for the log and for the limit.
fn identity(event: &Queued) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let regarding = &event.regarding;
    format!("{} {}/{}", part(&regarding.kind), part(&regarding.namespace), part(&regarding.name))
}
