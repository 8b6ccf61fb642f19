//! Whether this process is alive, and whether it may be sent proxies.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The named checks of one process. A clone speaks of the same process.
///
/// - *Alive*: every loop that promised to beat does. A process that is not alive should be restarted, so nothing that a
///   restart does not mend (an API server that is away, for example) belongs here.
/// - *Ready*: everything that proxies need has happened: watches synced, snapshots published, xDS listening.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Checks>>);

#[derive(Default)]
struct Checks {
    beats: Vec<(String, Beat)>,
    conditions: Vec<(String, Result<(), String>)>,
}

struct Beat {
    last: Instant,
    limit: Duration,
}

/// What a loop beats while it turns. Dropping it ends the promise.
#[derive(Debug)]
pub struct Heartbeat {
    health: Health,
    name: String,
}

/// What tells whether one thing is ready. Clones tell of the same thing.
#[derive(Clone, Debug)]
pub struct Readiness {
    health: Health,
    name: String,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// `Err` with what is wrong.
    pub result: Result<(), String>,
}

/// The checks that answer one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they were added.
    pub checks: Vec<Check>,
}

impl Health {
    /// Nothing to check yet: alive, and ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Promises that the loop `name` beats at least once in `limit`, from now on.
    pub fn heartbeat(&self, name: &str, limit: Duration) -> Heartbeat {
        self.with(|checks| {
            checks.beats.retain(|(other, _)| other != name);
            checks.beats.push((name.to_owned(), Beat { last: Instant::now(), limit }));
        });
        Heartbeat { health: self.clone(), name: name.to_owned() }
    }

    /// Adds the condition `name` for being ready. Until told otherwise it does not hold, because of `why_not_yet`.
    pub fn condition(&self, name: &str, why_not_yet: &str) -> Readiness {
        let condition = Readiness { health: self.clone(), name: name.to_owned() };
        condition.set(Err(why_not_yet.to_owned()));
        condition
    }

    /// Whether the loops turn.
    pub fn live(&self) -> Report {
        self.live_at(Instant::now())
    }

    /// Whether proxies can be served.
    pub fn ready(&self) -> Report {
        self.with(|checks| Report {
            checks: checks
                .conditions
                .iter()
                .map(|(name, result)| Check { name: name.clone(), result: result.clone() })
                .collect(),
        })
    }

    fn live_at(&self, now: Instant) -> Report {
        let check = |(name, beat): &(String, Beat)| {
            let silent = now.saturating_duration_since(beat.last);
            let message = || format!("no beat for {} s (limit {} s)", silent.as_secs(), beat.limit.as_secs());
            let result = if silent > beat.limit { Err(message()) } else { Ok(()) };
            Check { name: name.clone(), result }
        };
        self.with(|checks| Report { checks: checks.beats.iter().map(check).collect() })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Checks) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("live", &self.live()).field("ready", &self.ready()).finish()
    }
}

impl Heartbeat {
    /// The loop turns.
    pub fn beat(&self) {
        self.health.with(|checks| {
            if let Some((_, beat)) = checks.beats.iter_mut().find(|(name, _)| *name == self.name) {
                beat.last = Instant::now();
            }
        });
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.with(|checks| checks.beats.retain(|(name, _)| *name != self.name));
    }
}

impl Readiness {
    /// Sets whether it holds, and if not, why.
    pub fn set(&self, result: Result<(), String>) {
        self.health.with(|checks| match checks.conditions.iter_mut().find(|(name, _)| *name == self.name) {
            Some((_, old)) => *old = result,
            None => checks.conditions.push((self.name.clone(), result)),
        });
    }

    /// It holds.
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// It does not hold, because of `why`.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.set(Err(why.into()));
    }
}

impl Report {
    /// True if every check holds.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.result.is_ok())
    }
}

/// One line for each check, as those of the API server look.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            match &check.result {
                Ok(()) => writeln!(f, "[+]{} ok", check.name)?,
                Err(why) => writeln!(f, "[-]{} failed: {why}", check.name)?,
            }
        }
        f.write_str(if self.is_ok() { "ok\n" } else { "failed\n" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_to_turn_is_noticed() {
        let health = Health::new();
        let beat = health.heartbeat("core", Duration::from_secs(30));
        let now = Instant::now();
        assert!(health.live_at(now).is_ok());
        let later = now + Duration::from_secs(45);
        assert_eq!(
            health.live_at(later).to_string(),
            "[-]core failed: no beat for 45 s (limit 30 s)\nfailed\n"
        );
        beat.beat();
        assert!(health.live().is_ok());
        drop(beat);
        assert!(health.live_at(later).is_ok(), "a loop that ended on purpose promised nothing more");
    }

    #[test]
    fn ready_when_every_condition_holds() {
        let health = Health::new();
        assert!(health.ready().is_ok());
        let synced = health.condition("synced", "HTTPRoute is being listed");
        let xds = health.condition("xds", "not listening");
        synced.ready();
        assert_eq!(health.ready().to_string(), "[+]synced ok\n[-]xds failed: not listening\nfailed\n");
        xds.clone().ready();
        assert_eq!(health.ready().to_string(), "[+]synced ok\n[+]xds ok\nok\n");
        synced.not_ready("lost");
        assert!(!health.ready().is_ok());
        assert!(health.live().is_ok(), "not ready is no reason to restart");
    }
}
