//! Kubernetes Events: what a user finds below `kubectl describe`.
//!
//! [`transitions`] says what is worth one between two statuses; the status writer publishes it once the new status
//! stands, so that only the leader does, and a restart or a hand-over repeats nothing. Other parts of the controller
//! publish what no condition says. Events are a courtesy: nothing waits for them, and when there are too many, some
//! are dropped and counted in the log.

mod limit;
mod publisher;
mod series;
mod transition;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::ObjectReference;
pub use kube::runtime::events::EventType;
use postern_translator::ObjectKey;
use tokio::sync::mpsc;

pub use self::publisher::EventPublisher;
pub use self::transition::transitions;

/// How many events may wait to be sent.
const QUEUE: usize = 256;
/// The API server takes notes of at most this many bytes.
const MAX_NOTE: usize = 1024;

/// What happened to an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventNote {
    /// Whether somebody should look at it.
    pub type_: EventType,
    /// Why, in CamelCase: `NotAccepted`.
    pub reason: String,
    /// What was tried, in CamelCase: `Accept`.
    pub action: String,
    /// What a person should know; cut off after 1,024 bytes.
    pub note: String,
}

impl EventNote {
    /// Something that somebody should look at.
    pub fn warning(reason: impl Into<String>, action: impl Into<String>, note: impl Into<String>) -> Self {
        Self { type_: EventType::Warning, reason: reason.into(), action: action.into(), note: note.into() }
    }

    /// Something that went well.
    pub fn normal(reason: impl Into<String>, action: impl Into<String>, note: impl Into<String>) -> Self {
        Self { type_: EventType::Normal, reason: reason.into(), action: action.into(), note: note.into() }
    }
}

/// Takes events from everywhere and never blocks; cheap to clone. An [`EventPublisher`] sends them.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Queued>,
    dropped: Arc<AtomicU64>,
}

/// An event on its way.
#[derive(Clone, Debug, PartialEq)]
struct Queued {
    regarding: ObjectReference,
    note: EventNote,
}

impl Events {
    /// Says something about the object `key` with this `uid`. Without a uid the event is not shown by
    /// `kubectl describe`.
    pub fn publish(&self, key: &ObjectKey, uid: Option<&str>, mut note: EventNote) {
        shorten(&mut note.note);
        let regarding = ObjectReference {
            api_version: Some(key.kind.api_version()),
            kind: Some(key.kind.to_string()),
            namespace: (!key.namespace.is_empty()).then(|| key.namespace.clone()),
            name: Some(key.name.clone()),
            uid: uid.map(str::to_owned),
            ..ObjectReference::default()
        };
        if self.queue.try_send(Queued { regarding, note }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Cuts a note to what the API server takes.
fn shorten(note: &mut String) {
    const MARK: &str = "…";
    if note.len() > MAX_NOTE {
        let mut end = MAX_NOTE - MARK.len();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str(MARK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        let mut note = "ü".repeat(600);
        shorten(&mut note);
        assert!(note.len() <= MAX_NOTE && note.ends_with("ü…"), "{note}");
        let mut short = "fine".to_owned();
        shorten(&mut short);
        assert_eq!(short, "fine");
    }
}
