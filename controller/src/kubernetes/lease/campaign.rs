//! One candidate at work.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use tokio::sync::{oneshot, watch};

use super::election::{Election, Step};
use super::{LeaseOptions, Timing};
use crate::telemetry::Metrics;

/// Stands for election.
pub(super) struct Campaign {
    api: Api<Lease>,
    lease: String,
    timing: Timing,
    election: Election,
    leader: watch::Sender<bool>,
    metrics: Metrics,
    /// Until when we may lead; `None` while we do not.
    valid_until: Option<Instant>,
    /// The other holder that was last logged.
    follows: Option<String>,
    /// Whether a failure was logged that still lasts.
    failing: bool,
}

impl Campaign {
    pub(super) fn new(
        client: Client,
        options: LeaseOptions,
        metrics: Metrics,
        leader: watch::Sender<bool>,
    ) -> Self {
        let LeaseOptions { namespace, name, identity, timing } = options;
        Self {
            api: Api::namespaced(client, &namespace),
            lease: format!("{namespace}/{name}"),
            timing,
            election: Election::new(&namespace, &name, &identity, timing.duration),
            leader,
            metrics,
            valid_until: None,
            follows: None,
            failing: false,
        }
    }

    /// Stands until told to stop, or until nobody can tell any more.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let wait = tokio::select! {
                biased;
                _ = &mut stop => break,
                wait = self.round() => wait,
            };
            tokio::select! {
                biased;
                _ = &mut stop => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.step_down("shutting down");
        self.release().await;
    }

    /// Looks once and acts on it; returns how long to wait before the next time.
    async fn round(&mut self) -> Duration {
        let begun = Instant::now();
        // While we lead, the answer is of use only as long as we may.
        let patience =
            self.valid_until.map_or(self.timing.give_up, |until| until.saturating_duration_since(begun));
        let outcome = tokio::time::timeout(patience, self.attempt()).await;
        let now = Instant::now();
        match outcome {
            Ok(Ok(true)) => {
                self.recovered();
                self.lead(begun + self.timing.give_up);
                self.timing.renew
            }
            Ok(Ok(false)) => {
                self.recovered();
                self.step_down("another replica has the lease");
                self.follow();
                self.timing.retry
            }
            failure => {
                let error = match failure {
                    Ok(Err(error)) => Some(error),
                    _ => None,
                };
                self.failed(error.as_ref());
                if self.valid_until.is_some_and(|until| until <= now) {
                    self.step_down("the lease could not be renewed in time");
                }
                let left = self.valid_until.map(|until| until.saturating_duration_since(now));
                left.map_or(self.timing.retry, |left| left.min(self.timing.retry))
            }
        }
    }

    /// True if we hold the Lease now.
    async fn attempt(&mut self) -> Result<bool, Error> {
        // A holder renews what it wrote last, without looking: that is the common case.
        if !self.election.is_ours() {
            self.look().await?;
        }
        // If somebody was faster, look what they wrote and decide once more.
        for _ in 0..2 {
            let written = match self.election.step(Instant::now(), Timestamp::now()) {
                Step::Wait => return Ok(false),
                Step::Create(lease) => self.api.create(&PostParams::default(), &lease).await,
                Step::Replace(lease) => self.api.replace(&self.name(), &PostParams::default(), &lease).await,
            };
            match written {
                Ok(lease) => {
                    self.election.observe(Some(lease), Instant::now());
                    return Ok(true);
                }
                Err(Error::Api(status))
                    if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
                {
                    self.look().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    async fn look(&mut self) -> Result<(), Error> {
        let lease = self.api.get_opt(&self.name()).await?;
        self.election.observe(lease, Instant::now());
        Ok(())
    }

    async fn release(&mut self) {
        match tokio::time::timeout(self.timing.renew, self.empty()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::info!(lease = self.lease, "released the lease"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.lease, %error, "could not release the lease; it expires");
            }
            Err(_) => tracing::warn!(lease = self.lease, "no answer to releasing the lease; it expires"),
        }
    }

    /// Empties the Lease; false if it is not ours.
    async fn empty(&mut self) -> Result<bool, Error> {
        let (name, params) = (self.name(), PostParams::default());
        let Some(lease) = self.election.released(Timestamp::now()) else { return Ok(false) };
        match self.api.replace(&name, &params, &lease).await {
            // A renewal was on its way when we were told to stop.
            Err(Error::Api(status)) if status.is_conflict() => {
                self.look().await?;
                let Some(lease) = self.election.released(Timestamp::now()) else { return Ok(false) };
                self.api.replace(&name, &params, &lease).await?;
            }
            other => drop(other?),
        }
        Ok(true)
    }

    fn lead(&mut self, until: Instant) {
        if self.valid_until.replace(until).is_none() {
            tracing::info!(lease = self.lease, "this replica leads");
            self.follows = None;
            self.tell(true);
        }
    }

    fn step_down(&mut self, why: &str) {
        if self.valid_until.take().is_some() {
            tracing::warn!(lease = self.lease, why, "this replica does not lead any more");
            self.tell(false);
        }
    }

    fn tell(&self, leads: bool) {
        self.metrics.set_leader(leads);
        self.leader.send_replace(leads);
    }

    fn follow(&mut self) {
        let holder = self.election.holder().map(str::to_owned);
        if holder.is_some() && holder != self.follows {
            tracing::info!(lease = self.lease, holder, "another replica leads");
            self.follows = holder;
        }
    }

    fn failed(&mut self, error: Option<&Error>) {
        if let Some(Error::Api(status)) = error
            && status.is_forbidden()
        {
            self.metrics.forbidden("update", "leases");
        }
        if std::mem::replace(&mut self.failing, true) {
            return;
        }
        match error {
            Some(Error::Api(status)) if status.is_forbidden() => tracing::error!(
                lease = self.lease,
                error = status.message,
                "no leader can be elected; allow `get`, `create` and `update` on `leases` of `coordination.k8s.io` in the \
                 controller's Role"
            ),
            Some(error) => tracing::warn!(lease = self.lease, %error, "cannot reach the lease; trying again"),
            None => tracing::warn!(lease = self.lease, "no answer about the lease; trying again"),
        }
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!(lease = self.lease, "the lease can be reached again");
        }
    }

    fn name(&self) -> String {
        self.lease.rsplit('/').next().unwrap_or_default().to_owned()
    }
}
