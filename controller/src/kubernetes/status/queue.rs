//! When which status is looked at. Pure: the time comes from outside.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use postern_translator::{Kind, ObjectKey};

/// Objects that wait, each once, with at most one run in flight for each.
///
/// Kinds go in the order of [`Kind`]: Gateways, which people wait for, before thousands of routes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    slots: HashMap<ObjectKey, Slot>,
    ready: BTreeSet<(Kind, u64, ObjectKey)>,
    waiting: BTreeSet<(Instant, ObjectKey)>,
    /// Breaks ties: first come, first served.
    sequence: u64,
}

#[derive(Debug)]
struct Slot {
    place: Place,
    /// Not to be looked at before then.
    hold: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Idle,
    Ready(u64),
    Waiting(Instant),
    InFlight { again: bool },
}

impl Queue {
    /// Asks for a look at `key`, at once or when its hold is over.
    pub(super) fn push(&mut self, key: &ObjectKey, now: Instant) {
        let slot = self.slots.entry(key.clone()).or_insert(Slot { place: Place::Idle, hold: None });
        match slot.place {
            Place::Ready(_) | Place::Waiting(_) => {}
            Place::InFlight { .. } => slot.place = Place::InFlight { again: true },
            Place::Idle => match slot.hold.filter(|hold| *hold > now) {
                Some(hold) => {
                    slot.place = Place::Waiting(hold);
                    self.waiting.insert((hold, key.clone()));
                }
                None => {
                    self.sequence += 1;
                    slot.place = Place::Ready(self.sequence);
                    self.ready.insert((key.kind, self.sequence, key.clone()));
                }
            },
        }
    }

    /// The next object to look at. It is in flight until [`done`](Self::done).
    pub(super) fn take(&mut self, now: Instant) -> Option<ObjectKey> {
        while let Some((hold, _)) = self.waiting.first()
            && *hold <= now
        {
            let Some((_, key)) = self.waiting.pop_first() else { break };
            self.set_idle(&key);
            self.push(&key, now);
        }
        let (_, _, key) = self.ready.pop_first()?;
        if let Some(slot) = self.slots.get_mut(&key) {
            *slot = Slot { place: Place::InFlight { again: false }, hold: None };
        }
        Some(key)
    }

    /// Ends a run. The object is looked at again if that was asked for meanwhile, or if `again`; and not before `hold`.
    pub(super) fn done(&mut self, key: &ObjectKey, hold: Option<Instant>, again: bool, now: Instant) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Place::InFlight { again: asked } = slot.place else { return };
        *slot = Slot { place: Place::Idle, hold };
        if asked || again {
            self.push(key, now);
        } else if hold.is_none() {
            self.slots.remove(key);
        }
    }

    /// Ends the hold on `key`: what held it back is no longer the case.
    pub(super) fn hurry(&mut self, key: &ObjectKey, now: Instant) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.hold = None;
        if let Place::Waiting(until) = slot.place {
            self.waiting.remove(&(until, key.clone()));
            self.set_idle(key);
            self.push(key, now);
        }
    }

    /// Forgets `key`. A run in flight stays known, so that no second one begins beside it.
    pub(super) fn remove(&mut self, key: &ObjectKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        match slot.place {
            Place::Idle => {}
            Place::Ready(sequence) => drop(self.ready.remove(&(key.kind, sequence, key.clone()))),
            Place::Waiting(until) => drop(self.waiting.remove(&(until, key.clone()))),
            Place::InFlight { .. } => {
                slot.place = Place::InFlight { again: false };
                return;
            }
        }
        self.slots.remove(key);
    }

    /// When the next hold is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// How many objects wait.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.waiting.len()
    }

    /// Forgets everything, runs in flight as well.
    pub(super) fn clear(&mut self) {
        *self = Self { sequence: self.sequence, ..Self::default() };
    }

    fn set_idle(&mut self, key: &ObjectKey) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.place = Place::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn route(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::HttpRoute, "default", name)
    }

    fn gateway() -> ObjectKey {
        ObjectKey::new(Kind::Gateway, "default", "web")
    }

    const HOLD: Duration = Duration::from_millis(100);

    #[test]
    fn gateways_go_first_and_the_rest_as_it_came() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for key in [route("b"), route("a"), gateway(), route("b")] {
            queue.push(&key, now);
        }
        assert_eq!(queue.len(), 3);
        let order: Vec<_> = std::iter::from_fn(|| queue.take(now)).collect();
        assert_eq!(order, [gateway(), route("b"), route("a")]);
    }

    #[test]
    fn one_run_in_flight_and_one_more_for_all_that_comes_meanwhile() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(&gateway(), now);
        assert_eq!(queue.take(now), Some(gateway()));
        for _ in 0..1000 {
            queue.push(&gateway(), now);
        }
        assert_eq!(queue.take(now), None);
        queue.done(&gateway(), Some(now + HOLD), false, now);
        assert_eq!(queue.take(now), None, "held back");
        assert_eq!(queue.deadline(), Some(now + HOLD));
        assert_eq!(queue.take(now + HOLD), Some(gateway()));
        queue.done(&gateway(), None, false, now + HOLD);
        assert_eq!((queue.take(now + 2 * HOLD), queue.len()), (None, 0));
        assert!(queue.slots.is_empty(), "nothing is remembered of objects at rest");
    }

    #[test]
    fn a_hold_outlives_rest_and_can_be_ended() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(&gateway(), now);
        queue.take(now);
        queue.done(&gateway(), Some(now + HOLD), false, now);
        queue.push(&gateway(), now);
        assert_eq!(queue.take(now), None);
        queue.hurry(&gateway(), now);
        assert_eq!(queue.take(now), Some(gateway()));
        queue.done(&gateway(), Some(now + HOLD), true, now);
        assert_eq!(queue.take(now), None, "again, but not before the hold is over");
        assert_eq!(queue.take(now + HOLD), Some(gateway()));
    }

    #[test]
    fn what_is_removed_does_not_run_and_never_runs_twice_at_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(&route("a"), now);
        queue.push(&route("b"), now);
        queue.remove(&route("a"));
        assert_eq!(queue.take(now), Some(route("b")));
        queue.push(&route("b"), now);
        queue.remove(&route("b"));
        assert_eq!(queue.take(now), None);
        queue.push(&route("b"), now); // created again while the run is in flight
        assert_eq!(queue.take(now), None);
        queue.done(&route("b"), None, false, now);
        assert_eq!(queue.take(now), Some(route("b")));
    }
}
