//! What every object should say and what it says, and when it is compared next. Pure: the time comes from outside.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use postern_translator::{Object, ObjectKey, Status};

use super::layout::layout;
use super::present::Present;
use super::queue::Queue;

/// A status is written at most this often. Long enough that a thousand routes that attach one after the other cost
/// a Gateway few writes, short enough that nobody waits for it.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
/// The first wait after a failure, and after a second repair of the same status.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait while the API server does not answer; short, so that all is consistent soon after it is back.
const LONGEST_FAILED: Duration = Duration::from_secs(10);
/// The longest wait where the API server has refused: it will until somebody changes something.
const LONGEST_REFUSED: Duration = Duration::from_mins(1);
/// The longest wait between repairs of a status that somebody else keeps changing.
const LONGEST_REPAIR: Duration = Duration::from_secs(30);
/// After this time without a repair the next one is done at once.
const FORGIVE: Duration = Duration::from_mins(2);
/// From this many repairs in a row on it is a fight.
const FIGHT: u32 = 3;

/// Every object that has a status of ours, or may have one.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<ObjectKey, Entry>,
    queue: Queue,
    leads: bool,
    complete: bool,
}

#[derive(Debug, Default)]
struct Entry {
    desired: Desired,
    present: Option<Present>,
    /// Failures in a row.
    failures: u32,
    /// Whether the last try was refused: another wish may be granted.
    refused: bool,
    /// The wish that was last written, and when.
    written: Option<(Option<Arc<Status>>, Instant)>,
    /// How often the same wish was written in a row.
    repairs: u32,
}

#[derive(Clone, Debug, Default)]
enum Desired {
    /// The translator has not spoken of the object.
    #[default]
    Untold,
    /// It should say this; `None`: nothing of ours.
    Told(Option<Arc<Status>>),
}

/// One comparison, and a write if it finds a difference.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) key: ObjectKey,
    pub(super) desired: Option<Arc<Status>>,
    pub(super) present: Present,
}

/// How a job ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The object says what it should; with the object, if it was read.
    Unchanged(Option<Box<DynamicObject>>),
    /// Written; the object as the API server has it now.
    Written(Box<DynamicObject>),
    /// The object is gone, or another one has its name.
    Gone,
    /// Others wrote it again and again in between.
    Conflict,
    /// The API server does not want it (by permission or by schema).
    Refused,
    /// No answer, or one that says to come again.
    Failed,
}

impl Table {
    /// Sets what the object `key` should say.
    pub(super) fn desired(&mut self, key: &ObjectKey, status: Option<Status>, now: Instant) {
        if layout(key.kind).is_none() {
            return;
        }
        let entry = self.entries.entry(key.clone()).or_default();
        if let Desired::Told(before) = &entry.desired
            && before.as_deref() == status.as_ref()
        {
            return;
        }
        let refused = std::mem::take(&mut entry.refused);
        if refused {
            entry.failures = 0;
        }
        entry.desired = Desired::Told(status.map(Arc::new));
        if refused {
            self.queue.hurry(key, now);
        }
        self.look(key, now);
        self.tidy(key);
    }

    /// Sets what an object says.
    pub(super) fn observed(&mut self, object: Object, now: Instant) {
        let key = object.key();
        if layout(key.kind).is_none() || object.metadata().resource_version.is_none() {
            return;
        }
        let entry = self.entries.entry(key.clone()).or_default();
        let seen = Present::watched(object);
        let news = match &entry.present {
            Some(known) if known.is_newer_than(&seen) => return,
            Some(known) => !known.is_same_as(&seen),
            None => true,
        };
        entry.present = Some(seen);
        if news {
            self.look(&key, now);
        }
    }

    /// Forgets an object that does not exist any more.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            *entry = Entry { desired: entry.desired.clone(), ..Entry::default() };
            self.queue.remove(key);
            self.tidy(key);
        }
    }

    /// From now on, an object of which nothing was told should have nothing of ours.
    pub(super) fn complete(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.complete, true) {
            self.look_at_all(now);
        }
    }

    /// Begins or ceases to write. What is in flight when it ceases is forgotten.
    pub(super) fn lead(&mut self, leads: bool, now: Instant) {
        if std::mem::replace(&mut self.leads, leads) == leads {
            return;
        }
        if leads {
            self.look_at_all(now);
        } else {
            self.queue.clear();
            for entry in self.entries.values_mut() {
                (entry.failures, entry.repairs, entry.written) = (0, 0, None);
            }
        }
    }

    /// The next comparison.
    pub(super) fn next(&mut self, now: Instant) -> Option<Job> {
        while let Some(key) = self.queue.take(now) {
            let entry = self.entries.get(&key);
            let wish = entry.and_then(|entry| match &entry.desired {
                Desired::Told(desired) => Some(desired.clone()),
                Desired::Untold => self.complete.then_some(None),
            });
            if let (Some(desired), Some(present)) = (wish, entry.and_then(|entry| entry.present.clone())) {
                return Some(Job { key, desired, present });
            }
            self.queue.done(&key, None, false, now);
        }
        None
    }

    /// Ends a comparison. Returns how often the same status was written in a row, when somebody seems to fight us
    /// over it.
    pub(super) fn done(&mut self, job: Job, outcome: Outcome, now: Instant) -> Option<u32> {
        let Job { key, desired, present: base } = job;
        let key = &key;
        let Some(entry) = self.entries.get_mut(key) else {
            self.queue.done(key, None, false, now);
            return None;
        };
        let mut fight = None;
        let (hold, again) = match outcome {
            Outcome::Unchanged(read) => {
                entry.read(read);
                entry.failures = 0;
                (None, false)
            }
            Outcome::Written(read) => {
                entry.read(Some(read));
                entry.failures = 0;
                let repaired =
                    entry.written.as_ref().is_some_and(|(wish, at)| *wish == desired && now < *at + FORGIVE);
                entry.repairs = if repaired { entry.repairs + 1 } else { 0 };
                entry.written = Some((desired, now));
                fight = (entry.repairs >= FIGHT).then_some(entry.repairs);
                let wait = match entry.repairs {
                    0 | 1 => INTERVAL,
                    more => backoff(more - 1, LONGEST_REPAIR),
                };
                (Some(now + wait), false)
            }
            Outcome::Gone => {
                if entry.present.as_ref().is_some_and(|present| present.uid() == base.uid()) {
                    entry.present = None;
                }
                entry.failures = 0;
                (None, false)
            }
            Outcome::Refused => {
                entry.failures += 1;
                entry.refused = true;
                (Some(now + backoff(entry.failures, LONGEST_REFUSED)), true)
            }
            Outcome::Conflict | Outcome::Failed => {
                entry.failures += 1;
                (Some(now + backoff(entry.failures, LONGEST_FAILED)), true)
            }
        };
        self.queue.done(key, hold, again, now);
        self.tidy(key);
        fight
    }

    /// When there is something to do next, if not now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.queue.deadline()
    }

    /// How many objects wait for a comparison.
    pub(super) fn pending(&self) -> usize {
        self.queue.len()
    }

    fn look(&mut self, key: &ObjectKey, now: Instant) {
        if self.leads && self.entries.get(key).is_some_and(|entry| entry.present.is_some()) {
            self.queue.push(key, now);
        }
    }

    fn look_at_all(&mut self, now: Instant) {
        if self.leads {
            for (key, _) in self.entries.iter().filter(|(_, entry)| entry.present.is_some()) {
                self.queue.push(key, now);
            }
        }
    }

    /// Forgets an object that neither exists nor should say anything.
    fn tidy(&mut self, key: &ObjectKey) {
        let idle =
            |entry: &Entry| entry.present.is_none() && !matches!(entry.desired, Desired::Told(Some(_)));
        if self.entries.get(key).is_some_and(idle) {
            self.entries.remove(key);
            self.queue.remove(key);
        }
    }
}

impl Entry {
    /// Takes over what the API server said, unless the watch is ahead of it: it may have seen later versions, the end
    /// of the object, or another one of the same name.
    fn read(&mut self, read: Option<Box<DynamicObject>>) {
        if let Some(known) = &mut self.present
            && let Some(read) = read.map(Present::read)
            && known.uid() == read.uid()
            && !known.is_newer_than(&read)
        {
            *known = read;
        }
    }
}

fn backoff(count: u32, longest: Duration) -> Duration {
    let doublings = count.saturating_sub(1).min(16);
    FIRST_WAIT.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests;
