//! The rules of the election. Pure: both clocks come from outside.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

/// What one candidate knows.
#[derive(Debug)]
pub(super) struct Election {
    namespace: String,
    name: String,
    identity: String,
    duration: Duration,
    seen: Option<Seen>,
}

/// The Lease as it was last seen, and since when it says so.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    since: Instant,
    /// Whether it was deleted since. Its holder may not know yet.
    deleted: bool,
}

/// What to do about the Lease.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Create it.
    Create(Box<Lease>),
    /// Write it, based on the version that was seen.
    Replace(Box<Lease>),
    /// Somebody else has it.
    Wait,
}

impl Election {
    pub(super) fn new(namespace: &str, name: &str, identity: &str, duration: Duration) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration,
            seen: None,
        }
    }

    /// Notes what the API server says; `None` if there is no Lease.
    pub(super) fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        let Some(lease) = lease else {
            if let Some(seen) = &mut self.seen {
                seen.deleted = true;
            }
            return;
        };
        let unchanged = self.seen.take().filter(|seen| seen.lease.spec == lease.spec);
        self.seen = Some(Seen { since: unchanged.map_or(now, |seen| seen.since), lease, deleted: false });
    }

    /// The holder, if there is one.
    pub(super) fn holder(&self) -> Option<&str> {
        let spec = self.seen.as_ref()?.lease.spec.as_ref()?;
        spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// Whether the Lease says that we hold it.
    pub(super) fn is_ours(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// What to do now.
    pub(super) fn step(&self, now: Instant, clock: Timestamp) -> Step {
        let clock = MicroTime(clock);
        let before = self.seen.as_ref().and_then(|seen| seen.lease.spec.clone()).unwrap_or_default();
        let waits = |seen: &Seen| now < seen.since + self.promised(&before);
        if self.holder().is_some() && !self.is_ours() && self.seen.as_ref().is_some_and(waits) {
            return Step::Wait;
        }
        let Some(seen) = self.seen.as_ref().filter(|seen| !seen.deleted) else {
            let spec = self.held(LeaseSpec { lease_transitions: Some(0), ..LeaseSpec::default() }, clock);
            let metadata = ObjectMeta {
                namespace: Some(self.namespace.clone()),
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            };
            return Step::Create(Box::new(Lease { metadata, spec: Some(spec) }));
        };
        let spec = if self.is_ours() {
            LeaseSpec { renew_time: Some(clock), lease_duration_seconds: Some(self.seconds()), ..before }
        } else {
            let transitions = before.lease_transitions.unwrap_or_default().saturating_add(1);
            self.held(LeaseSpec { lease_transitions: Some(transitions), ..before }, clock)
        };
        Step::Replace(Box::new(Lease { metadata: seen.lease.metadata.clone(), spec: Some(spec) }))
    }

    /// The Lease without a holder, if it is ours.
    pub(super) fn released(&self, clock: Timestamp) -> Option<Lease> {
        let seen = self.seen.as_ref().filter(|seen| self.is_ours() && !seen.deleted)?;
        let before = seen.lease.spec.clone().unwrap_or_default();
        let spec = LeaseSpec { holder_identity: None, renew_time: Some(MicroTime(clock)), ..before };
        Some(Lease { metadata: seen.lease.metadata.clone(), spec: Some(spec) })
    }

    fn held(&self, spec: LeaseSpec, clock: MicroTime) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(self.seconds()),
            acquire_time: Some(clock.clone()),
            renew_time: Some(clock),
            ..spec
        }
    }

    /// How long the holder may take to renew: as long as it said, for its version may have another idea of it.
    fn promised(&self, spec: &LeaseSpec) -> Duration {
        let said = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        said.filter(|seconds| *seconds > 0).map_or(self.duration, Duration::from_secs)
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.duration.as_secs().max(1)).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(5);

    fn clock(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn election(identity: &str) -> Election {
        Election::new("postern-system", "postern-leader", identity, DURATION)
    }

    fn written(step: Step) -> Lease {
        match step {
            Step::Create(lease) | Step::Replace(lease) => *lease,
            Step::Wait => panic!("expected a write"),
        }
    }

    #[test]
    fn the_first_one_creates_it_and_renews() {
        let now = Instant::now();
        let mut a = election("a");
        let lease = written(a.step(now, clock(0)));
        let spec = lease.spec.clone().unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(5), Some(0)));
        a.observe(Some(lease), now);
        assert!(a.is_ours());
        let renewed = written(a.step(now, clock(2))).spec.unwrap();
        assert_eq!(renewed, LeaseSpec { renew_time: Some(MicroTime(clock(2))), ..spec });
    }

    #[test]
    fn a_candidate_waits_by_its_own_clock_and_as_long_as_the_holder_said() {
        let now = Instant::now();
        let mut lease = written(election("a").step(now, clock(0)));
        let mut b = election("b");
        // The holder's clock is an hour behind: that says nothing.
        b.observe(Some(lease.clone()), now);
        assert_eq!(b.step(now, clock(3600)), Step::Wait);
        let later = now + Duration::from_secs(4);
        lease.metadata.labels = Some([("edited".to_owned(), "by hand".to_owned())].into());
        b.observe(Some(lease.clone()), later);
        assert_eq!(b.step(later, clock(3604)), Step::Wait);
        let taken = written(b.step(now + DURATION, clock(3605)));
        assert_eq!(taken.metadata.labels, lease.metadata.labels);
        let spec = taken.spec.unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
        assert_eq!(spec.acquire_time, Some(MicroTime(clock(3605))));

        // A renewal starts the wait anew, and a holder that asks for more time gets it.
        let mut spec = lease.spec.clone().unwrap();
        spec.lease_duration_seconds = Some(15);
        lease.spec = Some(spec);
        b.observe(Some(lease), later);
        assert_eq!(b.step(later + DURATION, clock(0)), Step::Wait);
        assert!(matches!(b.step(later + 3 * DURATION, clock(0)), Step::Replace(_)));
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let now = Instant::now();
        let mut a = election("a");
        assert_eq!(a.released(clock(0)), None);
        let lease = written(a.step(now, clock(0)));
        a.observe(Some(lease), now);
        let released = a.released(clock(1)).unwrap();
        let mut b = election("b");
        b.observe(Some(released), now);
        assert_eq!(b.holder(), None);
        let spec = written(b.step(now, clock(1))).spec.unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
        assert_eq!(b.released(clock(1)), None, "what is not ours is not released");
    }

    #[test]
    fn a_lease_that_was_deleted_is_created_again() {
        let now = Instant::now();
        let mut a = election("a");
        let lease = written(a.step(now, clock(0)));
        a.observe(Some(lease.clone()), now);
        a.observe(None, now);
        assert!(matches!(a.step(now, clock(1)), Step::Create(_)), "by its holder at once");
        assert_eq!(a.released(clock(1)), None);
        let mut b = election("b");
        b.observe(Some(lease), now);
        b.observe(None, now);
        assert_eq!(b.step(now, clock(1)), Step::Wait, "the holder may not know it");
        assert!(matches!(b.step(now + DURATION, clock(6)), Step::Create(_)));
    }
}
