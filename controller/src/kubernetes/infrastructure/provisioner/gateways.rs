//! What is known of each Gateway. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_translator::{Infrastructure, NamespacedName};
use tokio::time::Instant;

use super::super::apply::Outcome;
use super::super::error::ProvisionError;
use super::super::objects::ObjectKind;
use super::super::plan::Record;
use super::{ProvisionReport, backoff};

/// A change that comes so long after the last one that was undone is not part of a quarrel.
const QUARREL: Duration = Duration::from_mins(10);

/// So many attempts go by before it is reported that something is awaited.
const PATIENCE: u32 = 5;

/// What is wanted for the Gateways, and what was done.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    wanted: BTreeMap<NamespacedName, Arc<Infrastructure>>,
    done: BTreeMap<NamespacedName, Done>,
}

#[derive(Debug, Default)]
struct Done {
    records: BTreeMap<ObjectKind, Record>,
    failures: u32,
    /// How often changes of others were undone, and when the last time.
    repairs: u32,
    repaired: Option<Instant>,
    reported: Option<Result<(), String>>,
}

/// What follows from an attempt.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// Try again after so long.
    pub(super) retry: Option<Duration>,
    /// Tell this.
    pub(super) report: Option<ProvisionReport>,
}

impl Gateways {
    /// Takes what is wanted; true if that is something new.
    pub(super) fn set(
        &mut self,
        gateway: NamespacedName,
        infrastructure: Option<Arc<Infrastructure>>,
    ) -> bool {
        match infrastructure {
            Some(infrastructure) => {
                let before = self.wanted.insert(gateway, Arc::clone(&infrastructure));
                before.is_none_or(|before| before != infrastructure)
            }
            None => {
                self.wanted.remove(&gateway);
                true
            }
        }
    }

    /// The Gateways that are wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &NamespacedName> {
        self.wanted.keys()
    }

    /// Their uids.
    pub(super) fn uids(&self) -> BTreeMap<NamespacedName, String> {
        self.wanted.iter().map(|(gateway, it)| (gateway.clone(), it.uid.clone())).collect()
    }

    /// What is wanted for a Gateway, and what was applied last.
    pub(super) fn get(
        &self,
        gateway: &NamespacedName,
    ) -> Option<(Arc<Infrastructure>, BTreeMap<ObjectKind, Record>)> {
        let infrastructure = self.wanted.get(gateway)?;
        let records = self.done.get(gateway).map(|it| it.records.clone()).unwrap_or_default();
        Some((Arc::clone(infrastructure), records))
    }

    /// Forgets what was done: others did it meanwhile.
    pub(super) fn forget(&mut self) {
        self.done.clear();
    }

    /// Judges an object that was seen: the time to wait before it is put right, if it has to be.
    pub(super) fn seen(
        &self,
        gateway: &NamespacedName,
        kind: ObjectKind,
        metadata: &ObjectMeta,
        now: Instant,
    ) -> Option<Duration> {
        let done = self.done.get(gateway).filter(|_| self.wanted.contains_key(gateway))?;
        let record = done.records.get(&kind)?;
        (!record.still_holds(metadata)).then(|| done.repair_after(now))
    }

    /// Judges that an object of a Gateway is gone, likewise.
    pub(super) fn gone(&self, gateway: &NamespacedName, now: Instant) -> Option<Duration> {
        self.wanted
            .contains_key(gateway)
            .then(|| self.done.get(gateway).map_or(Duration::ZERO, |it| it.repair_after(now)))
    }

    /// Takes the outcome of an attempt for a Gateway.
    pub(super) fn finished(&mut self, gateway: &NamespacedName, outcome: Outcome, now: Instant) -> Verdict {
        let uid = self.wanted.get(gateway).map(|it| it.uid.clone());
        let done = self.done.entry(gateway.clone()).or_default();
        done.records = outcome.records;
        if outcome.repaired {
            done.repairs = if done.is_quarrel(now) { done.repairs.saturating_add(1) } else { 1 };
            done.repaired = Some(now);
        }
        let mut verdict = Verdict::default();
        let passing = outcome.errors.iter().all(ProvisionError::is_passing);
        if outcome.errors.is_empty() {
            done.failures = 0;
        } else {
            done.failures = done.failures.saturating_add(1);
            verdict.retry = Some(backoff::after(done.failures));
        }
        let told = match &outcome.errors[..] {
            [] => Some(Ok(())),
            _ if passing && done.failures <= PATIENCE => None,
            errors => Some(Err(join(errors))),
        };
        if let Some(told) = told
            && let Some(uid) = &uid
            && (done.reported.as_ref() != Some(&told) || !outcome.changes.is_empty())
        {
            verdict.report = Some(report(gateway.clone(), uid.clone(), &told, &outcome.changes));
            done.reported = Some(told);
        }
        if uid.is_none() && outcome.errors.is_empty() {
            self.done.remove(gateway);
        }
        verdict
    }
}

impl Done {
    fn is_quarrel(&self, now: Instant) -> bool {
        self.repaired.is_some_and(|last| now.duration_since(last) < QUARREL)
    }

    /// The first change is undone at once; somebody who insists is answered more and more slowly.
    fn repair_after(&self, now: Instant) -> Duration {
        if self.is_quarrel(now) { backoff::after(self.repairs) } else { Duration::ZERO }
    }
}

fn join(errors: &[ProvisionError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn report(
    gateway: NamespacedName,
    uid: String,
    told: &Result<(), String>,
    changes: &[(&'static str, ObjectKind)],
) -> ProvisionReport {
    match told {
        Ok(()) => {
            let changes = changes.iter().map(|(verb, kind)| format!("{verb} {kind}")).collect();
            ProvisionReport::Provisioned { gateway, uid, changes }
        }
        Err(message) => ProvisionReport::Failed { gateway, uid, message: message.clone() },
    }
}

#[cfg(test)]
mod tests;
