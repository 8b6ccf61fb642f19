//! Acknowledgements and rejections.

use std::sync::Arc;

use super::super::Outcome;
use super::super::nack::Verdict;
use super::{Batch, Channel, InFlight, Overdue};

/// How many unacknowledged responses are remembered after they were given up.
const MAX_OVERDUE: usize = 8;

impl Channel {
    /// Notes that a batch was sent.
    pub(in crate::state) fn sent(&mut self, nonce: String, batch: Batch) {
        self.in_flight = Some(InFlight { nonce, batch });
    }

    /// Takes the proxy's answer to a response. Stale and unknown nonces say nothing; `None` then.
    pub(in crate::state) fn acknowledge(
        &mut self,
        nonce: &str,
        error: Option<&str>,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Batch> {
        if let Some(in_flight) = self.in_flight.take_if(|f| f.nonce == nonce) {
            let batch = in_flight.batch;
            let report = Batch { resources: batch.resources.clone(), removed: batch.removed.clone() };
            match error {
                None => self.accepted(batch, outcomes),
                Some(error) => self.rejected(batch, error, outcomes),
            }
            return Some(report);
        }
        let position = self.overdue.iter().position(|o| o.nonce == nonce)?;
        let Overdue { batch, before, .. } = self.overdue.remove(position);
        let report = Batch { resources: batch.resources.clone(), removed: batch.removed.clone() };
        match error {
            None => outcomes.push(Outcome::Acked {
                resource_type: self.resource_type,
                resources: batch.resources,
                removed: batch.removed,
            }),
            Some(error) => {
                for (resource, before) in batch.resources.iter().zip(before) {
                    if self.held.get(resource.name()) == Some(resource) {
                        match before {
                            Some(before) => self.held.insert(Arc::clone(resource.shared_name()), before),
                            None => self.held.remove(resource.name()),
                        };
                    }
                }
                self.rejected(batch, error, outcomes);
            }
        }
        Some(report)
    }

    fn accepted(&mut self, batch: Batch, outcomes: &mut Vec<Outcome>) {
        let complete = self.subscription.wildcard()
            && self.nothing_to_send()
            && self.deferred.is_empty()
            && self.linger.is_empty()
            && !self.isolation.has_parked();
        if complete {
            // Sharing the structure keeps a stream's memory, and the next comparison, small.
            self.held = self.target.clone();
        } else {
            self.hold(&batch);
        }
        outcomes.push(Outcome::Acked {
            resource_type: self.resource_type,
            resources: batch.resources,
            removed: batch.removed,
        });
    }

    fn hold(&mut self, batch: &Batch) {
        for resource in &batch.resources {
            if self.subscription.covers(resource.name()) {
                self.held.insert(Arc::clone(resource.shared_name()), Arc::clone(resource));
            }
        }
        for name in &batch.removed {
            self.held.remove(name);
        }
    }

    fn rejected(&mut self, batch: Batch, error: &str, outcomes: &mut Vec<Outcome>) {
        outcomes.push(Outcome::Rejected { resource_type: self.resource_type });
        if batch.resources.is_empty() {
            // There is nothing in a removal to put right: say so and go on.
            outcomes.push(Outcome::Nacked {
                resource_type: self.resource_type,
                names: batch.removed.clone(),
                error: error.to_owned(),
            });
            self.hold(&batch);
            return;
        }
        for name in batch.removed {
            self.answer(name, false);
        }
        match self.isolation.rejected(&batch.resources) {
            Verdict::Split => {}
            Verdict::Culprit(resource) => {
                let name = resource.shared_name();
                if self.target.get(name).is_some_and(|target| *target != resource) {
                    // It changed in the meantime; the new content is judged on its own.
                    self.isolation.unpark(name);
                    self.answer(Arc::clone(name), false);
                }
                outcomes.push(Outcome::Nacked {
                    resource_type: self.resource_type,
                    names: vec![Arc::clone(name)],
                    error: error.to_owned(),
                });
            }
        }
    }

    /// Stops waiting for the acknowledgement of what is in flight and takes it for accepted. The proxy has read
    /// earlier messages of the stream before it reads later ones, so nothing overtakes it.
    pub(in crate::state) fn give_up_waiting(&mut self) {
        let Some(InFlight { nonce, batch }) = self.in_flight.take_if(|f| !f.batch.resources.is_empty())
        else {
            return;
        };
        let before = batch.resources.iter().map(|r| self.held.get(r.name()).cloned()).collect();
        self.hold(&batch);
        self.overdue.push(Overdue { nonce, batch, before });
        if self.overdue.len() > MAX_OVERDUE {
            self.overdue.remove(0);
        }
    }
}
