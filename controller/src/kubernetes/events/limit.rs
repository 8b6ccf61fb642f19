//! How many events one object may have. Pure: the time comes from outside.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// This many events of one object go out at once.
const BURST: u32 = 10;
/// Then one in this time.
const REFILL: Duration = Duration::from_secs(30);
/// At this many objects those with a full bucket are forgotten.
const SWEEP: usize = 4096;

/// A bucket of tokens for each object.
#[derive(Debug)]
pub(super) struct Limit<K> {
    /// When the bucket of each object is full again.
    full_at: HashMap<K, Instant>,
}

impl<K> Default for Limit<K> {
    fn default() -> Self {
        Self { full_at: HashMap::new() }
    }
}

impl<K: Eq + Hash> Limit<K> {
    /// Takes a token out of the bucket of `key`; false if it is empty.
    pub(super) fn admit(&mut self, key: K, now: Instant) -> bool {
        if self.full_at.len() >= SWEEP {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        let after = (*full_at).max(now) + REFILL;
        let admitted = after <= now + REFILL * BURST;
        if admitted {
            *full_at = after;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let now = Instant::now();
        let mut limit = Limit::default();
        assert_eq!((0..100).filter(|_| limit.admit("a", now)).count(), 10);
        assert!(limit.admit("b", now), "each object has its own");
        assert!(!limit.admit("a", now + REFILL / 2));
        assert!(limit.admit("a", now + REFILL));
        assert!(!limit.admit("a", now + REFILL));
        let later = now + REFILL * 100;
        assert_eq!((0..100).filter(|_| limit.admit("a", later)).count(), 10);
    }

    #[test]
    fn objects_at_rest_are_forgotten() {
        let now = Instant::now();
        let mut limit = Limit::default();
        for n in 0..SWEEP {
            limit.admit(n, now);
        }
        limit.admit(SWEEP, now + REFILL);
        assert_eq!(limit.full_at.len(), 1);
    }
}
