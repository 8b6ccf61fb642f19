//! One type on one stream: what the proxy holds, what it should hold, and what is on its way.
//!
//! - here: subscriptions and targets in, batches out;
//! - [`step`]: what must be done about one name;
//! - [`delivery`]: acknowledgements and rejections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Outcome;
use super::linger::Linger;
use super::nack::Isolation;
use super::subscription::{Subscription, SubscriptionChange};
use crate::resource::{Resource, ResourceType};
use crate::snapshot::{ResourceMap, diff, same};
use crate::wire::resource_bytes;

mod delivery;
mod step;

use step::Step;

/// What a channel may send now.
#[derive(Clone, Copy)]
pub(super) struct Gate<'a> {
    /// Resources, and for the types that are not pruned also removals.
    pub(super) open: bool,
    /// The size, in bytes, above which the rest waits for the next response.
    pub(super) limit: usize,
    /// Whether a cluster may wait for endpoints of this name.
    pub(super) needed: Needed<'a>,
}

/// Whether a cluster may wait for endpoints of this name.
pub(super) type Needed<'a> = &'a dyn Fn(&str) -> bool;

/// The content of one response.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) removed: Vec<Arc<str>>,
}

/// A response that waits for its acknowledgement.
#[derive(Debug)]
struct InFlight {
    nonce: String,
    batch: Batch,
}

/// A response that was not acknowledged in time and is taken for accepted, until the proxy says otherwise.
#[derive(Debug)]
struct Overdue {
    nonce: String,
    batch: Batch,
    before: Vec<Option<Arc<Resource>>>,
}

/// One type on one stream.
#[derive(Debug)]
pub(super) struct Channel {
    resource_type: ResourceType,
    pub(super) subscription: Subscription,
    /// What a proxy that subscribes to everything should hold.
    target: ResourceMap,
    /// What the proxy holds: acknowledged, or claimed when it connected.
    held: ResourceMap,
    /// Names for which `held` may differ from `target`; true where the proxy waits for an answer in any case.
    dirty: BTreeMap<Arc<str>, bool>,
    /// Names whose removal waits for the references to go.
    deferred: BTreeSet<Arc<str>>,
    /// Of clusters, the names whose removal waits for requests that began before.
    pub(super) linger: Linger,
    /// The next response is due even if it is empty.
    must_answer: bool,
    /// With a closed gate: `dirty` was looked through, and nothing may be sent.
    examined: bool,
    in_flight: Option<InFlight>,
    overdue: Vec<Overdue>,
    isolation: Isolation,
}

impl Channel {
    pub(super) fn new(resource_type: ResourceType) -> Self {
        Self {
            resource_type,
            subscription: Subscription::default(),
            target: ResourceMap::new(),
            held: ResourceMap::new(),
            dirty: BTreeMap::new(),
            deferred: BTreeSet::new(),
            linger: Linger::default(),
            must_answer: false,
            examined: false,
            in_flight: None,
            overdue: Vec::new(),
            isolation: Isolation::default(),
        }
    }

    /// What the proxy holds.
    pub(super) fn held(&self) -> &ResourceMap {
        &self.held
    }

    /// Whether a response that carries resources waits for its acknowledgement.
    pub(super) fn sending(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|f| !f.batch.resources.is_empty())
    }

    /// Whether every addition, change and undeferred removal was sent; with `sending`, whether it arrived.
    pub(super) fn nothing_to_send(&self) -> bool {
        self.dirty.is_empty() && self.isolation.is_idle()
    }

    /// Whether the proxy has acknowledged everything, except for rejected resources and deferred removals.
    pub(super) fn acknowledged(&self) -> bool {
        self.nothing_to_send() && self.in_flight.is_none()
    }

    /// Whether the proxy holds nothing older than the target (deferred removals aside): everything is acknowledged in
    /// earnest, and no rejected resource leaves an older version in use.
    pub(super) fn up_to_date(&self) -> bool {
        self.acknowledged()
            && self.overdue.is_empty()
            && !self.isolation.parked().any(|name| self.held.contains_key(name))
    }

    /// Whether removals wait.
    pub(super) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Nothing refers any more to what is to be removed: it lingers, and what has lingered is to be removed.
    pub(super) fn linger(&mut self) {
        if self.acknowledged() {
            self.linger.add(std::mem::take(&mut self.deferred));
            self.deferred = self.linger.take_due();
        }
    }

    /// Whether a name waits to be sent.
    pub(super) fn is_dirty(&self, name: &str) -> bool {
        self.dirty.contains_key(name)
    }

    /// Makes this what the proxy should hold. Costs as much as the difference.
    pub(super) fn retarget(&mut self, target: &ResourceMap) {
        if same(&self.target, target) {
            return;
        }
        if self.subscription.is_active() {
            for difference in diff(&self.target, target) {
                let name = difference.resource().shared_name();
                if self.subscription.covers(name) {
                    self.dirty.entry(Arc::clone(name)).or_insert(false);
                    self.examined = false;
                }
            }
        }
        self.target = target.clone();
    }

    /// Sends a name again although the proxy may hold it.
    pub(super) fn resend(&mut self, name: &Arc<str>) {
        if self.subscription.covers(name) {
            self.answer(Arc::clone(name), true);
        }
    }

    fn answer(&mut self, name: Arc<str>, answer: bool) {
        *self.dirty.entry(name).or_insert(false) |= answer;
        self.examined = false;
    }

    /// Takes over what a request changed in the subscription. `claimed` is what the proxy says that it holds.
    pub(super) fn subscribe(
        &mut self,
        change: &SubscriptionChange,
        claimed: impl Iterator<Item = Arc<Resource>>,
        outcomes: &mut Vec<Outcome>,
    ) {
        if change.first {
            for resource in claimed {
                let name = resource.shared_name();
                if self.subscription.covers(name) {
                    self.answer(Arc::clone(name), false);
                    self.held.insert(Arc::clone(name), resource);
                }
            }
        }
        self.examined = false;
        self.must_answer |= change.wildcard || (change.first && self.subscription.is_active());
        if change.wildcard {
            for name in self.target.keys() {
                *self.dirty.entry(Arc::clone(name)).or_insert(false) |= !change.first;
            }
        }
        for name in &change.subscribed {
            // On the first request, what the proxy holds in the current version is not sent again; endpoints are,
            // because a cluster that was warming when the last stream broke waits for them (envoy#22418). Later, a
            // name is asked for again by a proxy that has forgotten it.
            let known = change.first && self.held.contains_key(name);
            let answer = !known || self.resource_type == ResourceType::ClusterLoadAssignment;
            self.answer(Arc::clone(name), answer);
        }
        for name in &change.unsubscribed {
            if self.subscription.wildcard() {
                // It is still subscribed, through the wildcard: say what has become of it.
                self.answer(Arc::clone(name), true);
            } else {
                self.forget(name, outcomes);
            }
        }
        if change.wildcard_ended {
            let orphans: Vec<_> =
                self.held.keys().filter(|name| !self.subscription.covers(name)).cloned().collect();
            for name in &orphans {
                self.forget(name, outcomes);
            }
        }
    }

    fn forget(&mut self, name: &Arc<str>, outcomes: &mut Vec<Outcome>) {
        self.held.remove(name);
        self.dirty.remove(name);
        self.deferred.remove(name);
        self.unpark(name, outcomes);
    }

    fn unpark(&mut self, name: &Arc<str>, outcomes: &mut Vec<Outcome>) {
        if self.isolation.unpark(name) {
            outcomes.push(Outcome::Unparked { resource_type: self.resource_type, name: Arc::clone(name) });
        }
    }

    /// The next response, if there is one to send now.
    pub(super) fn collect(&mut self, gate: Gate<'_>, outcomes: &mut Vec<Outcome>) -> Option<Batch> {
        if self.in_flight.is_some() || !self.subscription.started() || (!gate.open && self.examined) {
            return None;
        }
        let mut batch = Batch::default();
        let isolating = gate.open && self.collect_suspects(&mut batch);
        // Part of a set of scopes is worse than none: hosts in the rest would be answered 404 by a listener that
        // became ready with the first part. Their first answer is never split.
        let whole = self.must_answer
            && self.resource_type.is_wildcard()
            && self.resource_type > ResourceType::Listener;
        let limit = if whole { usize::MAX } else { gate.limit };
        let mut bytes = 0;
        let mut left = BTreeMap::new();
        for (name, answer) in std::mem::take(&mut self.dirty) {
            match self.step(&name, answer, gate.needed) {
                Step::Nothing => {
                    // Withdrawn, or back to what the proxy holds: the rejection is history.
                    if !self.target.get(&name).is_some_and(|target| self.isolation.is_parked(target)) {
                        self.unpark(&name, outcomes);
                    }
                }
                Step::Send(resource) => {
                    let size = resource_bytes(&resource);
                    if !gate.open || isolating || (bytes > 0 && bytes + size > limit) {
                        left.insert(name, answer);
                    } else {
                        bytes += size;
                        batch.resources.push(resource);
                    }
                }
                Step::Remove if gate.open => batch.removed.push(name),
                Step::Remove => {
                    left.insert(name, answer);
                }
                Step::Defer => {
                    self.deferred.insert(name);
                }
                Step::Absent => batch.removed.push(name),
                Step::SendAndDefer(resource) => {
                    batch.resources.push(resource);
                    self.deferred.insert(name);
                }
                Step::AbsentAndDefer => {
                    batch.removed.push(Arc::clone(&name));
                    self.deferred.insert(name);
                }
            }
        }
        let waiting = !left.is_empty() || !self.isolation.is_idle();
        self.dirty = left;
        self.examined = !gate.open;
        if batch.resources.is_empty() && batch.removed.is_empty() && (!self.must_answer || waiting) {
            return None;
        }
        self.must_answer &= waiting && !gate.open;
        self.unpark_superseded(&batch, outcomes);
        Some(batch)
    }

    /// Fills the batch with the next group of suspects, if a rejection is being looked into.
    fn collect_suspects(&mut self, batch: &mut Batch) -> bool {
        while let Some(group) = self.isolation.next_group() {
            for name in group {
                match self.step(&name, false, &|_| false) {
                    Step::Send(resource) => {
                        self.dirty.remove(&name);
                        batch.resources.push(resource);
                    }
                    Step::Nothing => {}
                    _ => self.answer(name, false),
                }
            }
            if !batch.resources.is_empty() {
                return true;
            }
        }
        false
    }

    /// The removals that waited, now that nothing refers to the resources. Endpoints that are needed become empty;
    /// those of clusters that go are left to the proxy, which drops them by itself.
    pub(super) fn prune(&mut self, needed: Needed<'_>, outcomes: &mut Vec<Outcome>) -> Option<Batch> {
        if self.in_flight.is_some() || !self.acknowledged() {
            return None;
        }
        let mut batch = Batch::default();
        for name in std::mem::take(&mut self.deferred) {
            if self.target.contains_key(&name)
                || !self.held.contains_key(&name)
                || !self.subscription.covers(&name)
            {
                continue;
            }
            if self.resource_type != ResourceType::ClusterLoadAssignment {
                batch.removed.push(name);
            } else if needed(&name) {
                batch.resources.push(Arc::new(Resource::empty_load_assignment(&name)));
            }
        }
        if batch.resources.is_empty() && batch.removed.is_empty() {
            return None;
        }
        self.unpark_superseded(&batch, outcomes);
        Some(batch)
    }

    fn unpark_superseded(&mut self, batch: &Batch, outcomes: &mut Vec<Outcome>) {
        if !self.isolation.has_parked() {
            return;
        }
        for resource in &batch.resources {
            if !self.isolation.is_parked(resource) && self.held.get(resource.name()) != Some(resource) {
                self.unpark(resource.shared_name(), outcomes);
            }
        }
        for name in &batch.removed {
            self.unpark(name, outcomes);
        }
    }
}
