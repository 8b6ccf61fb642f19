//! Which events are the same as an earlier one. Pure: the time comes from outside.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Queued;

/// An event that repeats within this time of the last one is counted and not created anew. The API server forgets
/// events after an hour.
const KEEP: Duration = Duration::from_mins(10);
/// At this many events old ones are forgotten.
const SWEEP: usize = 4096;

/// Events that were created and may repeat.
#[derive(Debug, Default)]
pub(super) struct Series(HashMap<String, Sent>);

/// An event that the API server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Its name.
    pub(super) name: String,
    /// How often it happened.
    pub(super) count: i32,
    last: Instant,
}

impl Series {
    /// The earlier event that says the same, with this one counted.
    pub(super) fn repeat(&mut self, event: &Queued, now: Instant) -> Option<Sent> {
        let sent = self.0.get_mut(&identity(event)).filter(|sent| now < sent.last + KEEP)?;
        sent.count = sent.count.saturating_add(1);
        sent.last = now;
        Some(sent.clone())
    }

    /// Remembers that the event was created.
    pub(super) fn created(&mut self, event: &Queued, name: String, now: Instant) {
        if self.0.len() >= SWEEP {
            self.0.retain(|_, sent| now < sent.last + KEEP);
        }
        if self.0.len() < SWEEP {
            self.0.insert(identity(event), Sent { name, count: 1, last: now });
        }
    }

    /// Forgets an event that the API server does not have any more.
    pub(super) fn forget(&mut self, event: &Queued) {
        self.0.remove(&identity(event));
    }
}

/// Two events with the same identity say the same of the same object. Unlike that of kube's `Recorder` it has the note
/// in it, which the API server does not let change.
fn identity(event: &Queued) -> String {
    let Queued { regarding, note } = event;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    [
        part(&regarding.kind),
        part(&regarding.namespace),
        part(&regarding.name),
        part(&regarding.uid),
        format!("{:?}", note.type_),
        note.reason.clone(),
        note.action.clone(),
        note.note.clone(),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::super::EventNote;
    use super::*;

    fn event(note: &str) -> Queued {
        let regarding = ObjectReference { name: Some("web".to_owned()), ..ObjectReference::default() };
        Queued { regarding, note: EventNote::warning("NotProgrammed", "Program", note) }
    }

    #[test]
    fn the_same_is_counted_and_other_words_are_another_event() {
        let now = Instant::now();
        let mut series = Series::default();
        assert_eq!(series.repeat(&event("a"), now), None);
        series.created(&event("a"), "web.1".to_owned(), now);
        let again = series.repeat(&event("a"), now + KEEP / 2).unwrap();
        assert_eq!((again.name.as_str(), again.count), ("web.1", 2));
        assert_eq!(series.repeat(&event("b"), now), None);
        assert_eq!(
            series.repeat(&event("a"), now + KEEP).map(|sent| sent.count),
            Some(3),
            "it is kept from the last"
        );
        assert_eq!(series.repeat(&event("a"), now + 3 * KEEP), None);
        series.forget(&event("a"));
        assert_eq!(series.repeat(&event("a"), now), None);
    }
}
