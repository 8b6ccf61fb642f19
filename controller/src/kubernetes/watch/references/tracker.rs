//! Which references have been resolved, and which have to be fetched (again).

use std::collections::{BTreeMap, BTreeSet};

use postern_translator::ObjectKey;

/// After so many refusals by RBAC an object counts as absent. An API server that has just started may refuse for a moment.
const REFUSALS: u32 = 3;

/// After so many failures, the wait does not grow any more.
const MOST_FAILURES: u32 = 8;

/// What is referred to.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    entries: BTreeMap<ObjectKey, Entry>,
    generation: u64,
    announced: u64,
    tickets: u64,
}

#[derive(Debug)]
struct Entry {
    /// Tells fetches of this entry from those of an older one with the same key.
    ticket: u64,
    fetching: bool,
    /// What the watch has said since the fetch began.
    since: Option<Said>,
    failures: u32,
    resolved: bool,
}

/// What the watch says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// There is this version.
    Version(String),
    /// It is gone.
    Gone,
}

/// An object is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) key: ObjectKey,
    /// How often that failed before.
    pub(super) failures: u32,
    ticket: u64,
}

/// What a change of the references leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Not referred to any more.
    pub(super) dropped: Vec<ObjectKey>,
    /// To be fetched.
    pub(super) fetch: Vec<Fetch>,
}

/// What a fetch has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This version.
    Found(String),
    /// There is no such object.
    Absent,
    /// RBAC does not allow it.
    Forbidden,
    /// Nothing that could be relied on.
    Failed,
}

/// What to do with what a fetch has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// False if nobody refers to the object any more.
    pub(super) counts: bool,
    /// It has failed, and not before.
    pub(super) first_failure: bool,
    /// Once more.
    pub(super) fetch: Option<Fetch>,
}

impl Tracker {
    /// True if the object is referred to.
    pub(super) fn wants(&self, key: &ObjectKey) -> bool {
        self.entries.contains_key(key)
    }

    /// From now on these are referred to; the call has this number.
    pub(super) fn want(&mut self, generation: u64, keys: BTreeSet<ObjectKey>) -> Wanted {
        self.generation = generation;
        let dropped = self.entries.extract_if(.., |key, _| !keys.contains(key)).map(|(key, _)| key).collect();
        let mut fetch = Vec::new();
        for key in keys {
            if !self.entries.contains_key(&key) {
                self.tickets += 1;
                let entry =
                    Entry { ticket: self.tickets, fetching: true, since: None, failures: 0, resolved: false };
                fetch.push(Fetch { key: key.clone(), failures: 0, ticket: entry.ticket });
                self.entries.insert(key, entry);
            }
        }
        Wanted { dropped, fetch }
    }

    /// The watch has said something of the object that is not known.
    pub(super) fn touched(&mut self, key: &ObjectKey, said: Said) -> Option<Fetch> {
        let entry = self.entries.get_mut(key)?;
        if entry.fetching {
            entry.since = Some(said);
            return None;
        }
        entry.fetching = true;
        Some(Fetch { key: key.clone(), failures: 0, ticket: entry.ticket })
    }

    /// A fetch has come to an end.
    pub(super) fn finished(&mut self, fetch: &Fetch, outcome: &Outcome) -> Verdict {
        let Some(entry) = self.entries.get_mut(&fetch.key).filter(|entry| entry.ticket == fetch.ticket)
        else {
            return Verdict::default();
        };
        let before = entry.failures;
        let since = entry.since.take();
        let conclusive = match outcome {
            Outcome::Found(_) | Outcome::Absent => {
                entry.failures = 0;
                true
            }
            Outcome::Forbidden | Outcome::Failed => {
                entry.failures = (entry.failures + 1).min(MOST_FAILURES);
                false
            }
        };
        entry.resolved |= conclusive || (*outcome == Outcome::Forbidden && entry.failures >= REFUSALS);
        let newer = match (&since, outcome) {
            (Some(Said::Version(version)), Outcome::Found(found)) => version != found,
            (Some(Said::Gone), Outcome::Absent) | (None, _) => false,
            (Some(_), _) => true,
        };
        entry.fetching = newer || !conclusive;
        let (failures, ticket) = (entry.failures, entry.ticket);
        Verdict {
            counts: true,
            first_failure: !conclusive && before == 0,
            fetch: entry.fetching.then(|| Fetch { key: fetch.key.clone(), failures, ticket }),
        }
    }

    /// The number of the last call, once, when everything that it named is resolved.
    pub(super) fn ready(&mut self) -> Option<u64> {
        let ready = self.generation > self.announced && self.entries.values().all(|entry| entry.resolved);
        ready.then(|| {
            self.announced = self.generation;
            self.generation
        })
    }
}

#[cfg(test)]
mod tests {
    use postern_translator::Kind;

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::Secret, "a", name)
    }

    fn keys(names: &str) -> BTreeSet<ObjectKey> {
        names.split_whitespace().map(key).collect()
    }

    fn found(version: &str) -> Outcome {
        Outcome::Found(version.into())
    }

    fn version(version: &str) -> Said {
        Said::Version(version.into())
    }

    fn only(fetches: Vec<Fetch>) -> Fetch {
        assert_eq!(fetches.len(), 1, "{fetches:?}");
        fetches.into_iter().next().unwrap()
    }

    #[test]
    fn is_ready_when_all_is_found_or_absent() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.ready(), None, "nobody has asked");
        let fetches = tracker.want(1, keys("x y")).fetch;
        assert_eq!(tracker.ready(), None);
        assert!(tracker.finished(&fetches[0], &found("5")).counts);
        assert_eq!(tracker.ready(), None);
        let verdict = tracker.finished(&fetches[1], &Outcome::Absent);
        assert_eq!((verdict.counts, verdict.fetch), (true, None));
        assert_eq!(tracker.ready(), Some(1));
        assert_eq!(tracker.ready(), None, "once");
        assert_eq!(tracker.want(2, keys("x y")), Wanted::default());
        assert_eq!(tracker.ready(), Some(2), "nothing new is ready at once");
        tracker.want(3, keys(""));
        assert_eq!(tracker.ready(), Some(3));
    }

    #[test]
    fn a_later_call_overtakes() {
        let mut tracker = Tracker::default();
        let first = only(tracker.want(1, keys("x")).fetch);
        let wanted = tracker.want(2, keys("y"));
        assert_eq!(wanted.dropped, [key("x")]);
        assert!(!tracker.finished(&first, &found("5")).counts, "nobody refers to it any more");
        assert_eq!(tracker.ready(), None);
        tracker.finished(&only(wanted.fetch), &found("6"));
        assert_eq!(tracker.ready(), Some(2));
    }

    #[test]
    fn an_answer_to_an_older_question_does_not_count() {
        let mut tracker = Tracker::default();
        let first = only(tracker.want(1, keys("x")).fetch);
        tracker.want(2, keys(""));
        let second = only(tracker.want(3, keys("x")).fetch);
        assert!(!tracker.finished(&first, &Outcome::Absent).counts);
        assert_eq!(tracker.ready(), None);
        assert!(tracker.finished(&second, &found("5")).counts);
        assert_eq!(tracker.ready(), Some(3));
    }

    #[test]
    fn what_changes_is_fetched_again() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.touched(&key("x"), version("4")), None, "nobody refers to it");
        let fetch = only(tracker.want(1, keys("x")).fetch);
        tracker.finished(&fetch, &found("5"));
        let again = tracker.touched(&key("x"), version("6")).unwrap();
        assert_eq!(tracker.touched(&key("x"), version("7")), None, "a fetch is under way");
        let verdict = tracker.finished(&again, &found("6"));
        let third = verdict.fetch.unwrap();
        assert_eq!(tracker.finished(&third, &found("7")).fetch, None);
    }

    #[test]
    fn an_answer_that_is_as_new_as_the_event_is_enough() {
        let mut tracker = Tracker::default();
        let fetch = only(tracker.want(1, keys("x")).fetch);
        tracker.touched(&key("x"), version("5"));
        assert_eq!(tracker.finished(&fetch, &found("5")).fetch, None);
        let fetch = tracker.touched(&key("x"), Said::Gone).unwrap();
        tracker.touched(&key("x"), Said::Gone);
        assert_eq!(tracker.finished(&fetch, &Outcome::Absent).fetch, None);
        let fetch = tracker.touched(&key("x"), version("8")).unwrap();
        tracker.touched(&key("x"), Said::Gone);
        assert!(tracker.finished(&fetch, &found("8")).fetch.is_some(), "it may be gone since");
    }

    #[test]
    fn failures_are_repeated_and_never_conclusive() {
        let mut tracker = Tracker::default();
        let mut fetch = only(tracker.want(1, keys("x")).fetch);
        for failures in 1..=20_u32 {
            let verdict = tracker.finished(&fetch, &Outcome::Failed);
            assert_eq!(verdict.first_failure, failures == 1);
            fetch = verdict.fetch.unwrap();
            assert_eq!(fetch.failures, failures.min(MOST_FAILURES));
            assert_eq!(tracker.ready(), None);
        }
        assert_eq!(tracker.finished(&fetch, &found("5")).fetch, None);
        assert_eq!(tracker.ready(), Some(1));
    }

    #[test]
    fn what_rbac_refuses_does_not_hold_up_the_rest_for_long() {
        let mut tracker = Tracker::default();
        let mut fetch = only(tracker.want(1, keys("x")).fetch);
        for _ in 1..REFUSALS {
            fetch = tracker.finished(&fetch, &Outcome::Forbidden).fetch.unwrap();
            assert_eq!(tracker.ready(), None);
        }
        fetch = tracker.finished(&fetch, &Outcome::Forbidden).fetch.unwrap();
        assert_eq!(tracker.ready(), Some(1));
        assert!(tracker.finished(&fetch, &found("5")).counts, "it may be allowed later");
    }
}
