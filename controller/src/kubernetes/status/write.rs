//! One comparison, and the write that follows from it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, Error, ResourceExt as _};
use postern_translator::{Kind, ObjectKey, Status};
use serde_json::{Map, Value, json};

use super::layout::{Layout, layout};
use super::merge::{Writer, merge};
use super::present::{self, Present};
use super::resource::Resources;
use super::table::{Job, Outcome};
use crate::kubernetes::events::{Events, transitions};
use crate::telemetry::{Metrics, StatusResult};

/// How often a status is merged anew because somebody was faster, before others get their turn.
const TRIES: usize = 4;
/// An answer that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The owner of our fields in `managedFields`.
const FIELD_MANAGER: &str = "postern";

/// Does the writes.
pub(super) struct Writes {
    client: Client,
    controller_name: String,
    metrics: Metrics,
    events: Option<Events>,
    resources: Resources,
    /// Kinds whose statuses we may not write, as far as that was logged.
    forbidden: Mutex<BTreeSet<Kind>>,
    /// Whether it was logged that the API server does not answer.
    failing: AtomicBool,
}

/// Why a status was not written.
enum Failure {
    Api(Error),
    Timeout,
}

impl Writes {
    pub(super) fn new(
        client: Client,
        controller_name: &str,
        metrics: Metrics,
        events: Option<Events>,
    ) -> Self {
        Self {
            client,
            controller_name: controller_name.to_owned(),
            metrics,
            events,
            resources: Resources::default(),
            forbidden: Mutex::default(),
            failing: AtomicBool::new(false),
        }
    }

    /// Makes the object say what it should.
    pub(super) async fn write(&self, job: Job) -> (Job, Outcome) {
        let outcome = match layout(job.key.kind) {
            Some(layout) => self.compare(layout, &job).await,
            None => Outcome::Unchanged(None),
        };
        let result = match &outcome {
            Outcome::Unchanged(_) => StatusResult::Unchanged,
            Outcome::Written(_) => StatusResult::Written,
            Outcome::Gone => StatusResult::Gone,
            Outcome::Conflict => StatusResult::Conflict,
            Outcome::Refused | Outcome::Failed => StatusResult::Error,
        };
        self.metrics.status_write(job.key.kind.as_str(), result);
        (job, outcome)
    }

    async fn compare(&self, layout: &Layout, job: &Job) -> Outcome {
        let key = &job.key;
        // A status is a struct of strings, numbers and lists: JSON can say it.
        let desired = job.desired.as_ref().map(|status| serde_json::to_value(status).unwrap_or_default());
        let mut read: Option<Box<DynamicObject>> = None;
        for _ in 0..TRIES {
            let present = read.clone().map_or_else(|| job.present.clone(), Present::read);
            let status = present.status();
            let writer = Writer { controller_name: &self.controller_name, now: Timestamp::now() };
            let Some(merged) = merge(layout, &status, present.generation(), desired.as_ref(), writer) else {
                return Outcome::Unchanged(read);
            };
            if merged.left_out > 0 {
                tracing::warn!(
                    object = %key,
                    left_out = merged.left_out,
                    "the status is full of what others say; some of Postern's finds no place"
                );
            }
            let step = if merged.foreign && !present.is_complete() {
                None
            } else {
                Some(self.patch(key, &present, merged.patch).await)
            };
            match step {
                Some(Ok(written)) => {
                    self.written(job, &status);
                    return Outcome::Written(Box::new(written));
                }
                // Somebody was faster, or what others say has to be read in full before it is repeated.
                Some(Err(Failure::Api(Error::Api(status)))) if status.is_conflict() => {}
                Some(Err(failure)) => return self.failed("patch", key, &failure),
                None => {}
            }
            match self.get(key).await {
                Ok(Some(live)) if live.uid().as_deref() == job.present.uid() => read = Some(Box::new(live)),
                Ok(_) => return Outcome::Gone,
                Err(failure) => return self.failed("get", key, &failure),
            }
        }
        Outcome::Conflict
    }

    async fn patch(
        &self,
        key: &ObjectKey,
        present: &Present,
        status: Map<String, Value>,
    ) -> Result<DynamicObject, Failure> {
        let api = self.api(key).await?;
        // The uid is checked, too: an object of the same name that was created anew is another one.
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": present.resource_version(), "uid": present.uid() },
            "status": status,
        }));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        timely(api.patch_status(&key.name, &params, &patch)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<DynamicObject>, Failure> {
        let api = self.api(key).await?;
        timely(api.get_opt(&key.name)).await
    }

    async fn api(&self, key: &ObjectKey) -> Result<Api<DynamicObject>, Failure> {
        let resource = timely(self.resources.get(&self.client, key.kind)).await?;
        Ok(if key.kind.is_namespaced() {
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        })
    }

    /// Says what has changed, now that it stands.
    fn written(&self, job: &Job, before: &Value) {
        tracing::debug!(object = %job.key, "wrote the status");
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("statuses can be written again");
        }
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).remove(&job.key.kind);
        if let (Some(events), Some(desired)) = (&self.events, &job.desired) {
            let before = ours(desired, before, &self.controller_name);
            for note in transitions(before.as_ref(), desired) {
                events.publish(&job.key, job.present.uid(), note);
            }
        }
    }

    fn failed(&self, verb: &str, key: &ObjectKey, failure: &Failure) -> Outcome {
        let error = match failure {
            Failure::Api(Error::Api(status)) if status.is_not_found() => {
                let names_object = status.details.as_ref().is_some_and(|details| details.name == key.name);
                if names_object {
                    return Outcome::Gone;
                }
                // The version is not served any more, or the CRD is gone.
                self.resources.forget(key.kind);
                tracing::debug!(object = %key, error = status.message, "cannot write the status");
                return Outcome::Failed;
            }
            Failure::Api(Error::Api(status)) if status.is_forbidden() => {
                return self.forbidden(verb, key, &status.message);
            }
            Failure::Api(Error::Api(status)) if matches!(status.code, 400 | 413 | 415 | 422) => {
                tracing::error!(
                    object = %key,
                    error = status.message,
                    "the API server refuses the status; the CRD of the kind may be older than Postern: \
                     install the pinned ones"
                );
                return Outcome::Refused;
            }
            Failure::Api(error) => error.to_string(),
            Failure::Timeout => "no answer in time".to_owned(),
        };
        if self.failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(object = %key, error, "cannot write the status");
        } else {
            tracing::warn!(object = %key, error, "cannot write statuses; trying again until it works");
        }
        Outcome::Failed
    }

    fn forbidden(&self, verb: &str, key: &ObjectKey, error: &str) -> Outcome {
        let plural = self.resources.plural(key.kind);
        let resource = if verb == "patch" { format!("{plural}/status") } else { plural };
        self.metrics.forbidden(verb, &resource);
        if self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).insert(key.kind) {
            tracing::error!(
                object = %key,
                error,
                "statuses of this kind cannot be written; allow `{verb}` on `{resource}` of `{}` in the controller's role",
                key.kind.group()
            );
        }
        Outcome::Refused
    }
}

/// The part of `status`, of the kind that `like` is for, that `controller_name` said.
fn ours(like: &Status, status: &Value, controller_name: &str) -> Option<Status> {
    let mut status = status.clone();
    for list in ["parents", "ancestors"] {
        if let Some(Value::Array(entries)) = status.get_mut(list) {
            entries.retain(|entry| entry["controllerName"] == controller_name);
        }
    }
    present::typed(like, status)
}

async fn timely<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(result) => result.map_err(Failure::Api),
        Err(_) => Err(Failure::Timeout),
    }
}
