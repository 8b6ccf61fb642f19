//! Keeps a proxy that tries again and again from filling the log.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::after;

/// One line for the same matter in this time.
const INTERVAL: Duration = Duration::from_mins(1);

/// How many matters are told apart. Beyond that, all others together are one.
const CAPACITY: usize = 1024;

#[derive(Debug)]
struct Window {
    since: Timestamp,
    suppressed: u64,
}

/// Lets one line per matter and minute through, and counts the others.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    matters: HashMap<(&'static str, String), Window>,
}

impl Limiter {
    /// Whether a line about `what` of `who` may be written now; if so, how many were not since the last one.
    pub(super) fn allow(&mut self, what: &'static str, who: &str, now: Timestamp) -> Option<u64> {
        let mut key = (what, who.to_owned());
        if self.matters.len() >= CAPACITY && !self.matters.contains_key(&key) {
            // Those that have something to tell stay until they told it, unless they never do.
            self.matters
                .retain(|_, it| now < after(it.since, INTERVAL * if it.suppressed > 0 { 10 } else { 1 }));
            if self.matters.len() >= CAPACITY {
                key = ("", String::new());
            }
        }
        let Some(window) = self.matters.get_mut(&key) else {
            self.matters.insert(key, Window { since: now, suppressed: 0 });
            return Some(0);
        };
        if now < after(window.since, INTERVAL) {
            window.suppressed += 1;
            return None;
        }
        let suppressed = std::mem::take(&mut window.suppressed);
        window.since = now;
        Some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        after("2030-01-01T00:00:00Z".parse().unwrap(), Duration::from_secs(second))
    }

    #[test]
    fn one_line_a_minute_for_each_matter() {
        let mut limiter = Limiter::default();
        assert_eq!(limiter.allow("expired", "a", at(0)), Some(0));
        assert_eq!(limiter.allow("expired", "a", at(1)), None);
        assert_eq!(limiter.allow("expired", "b", at(1)), Some(0));
        assert_eq!(limiter.allow("no_token", "a", at(1)), Some(0));
        assert_eq!(limiter.allow("expired", "a", at(59)), None);
        assert_eq!(limiter.allow("expired", "a", at(60)), Some(2));
        assert_eq!(limiter.allow("expired", "a", at(61)), None);
    }

    #[test]
    fn many_matters_take_bounded_room_and_few_lines() {
        let mut limiter = Limiter::default();
        let lines =
            (0..10_000).filter(|it| limiter.allow("no_token", &it.to_string(), at(0)).is_some()).count();
        assert_eq!(lines, CAPACITY + 1);
        assert!(limiter.matters.len() <= CAPACITY + 1);
        assert_eq!(limiter.allow("no_token", "new", at(60)), Some(0));
        assert!(limiter.matters.len() < 10);
    }
}
