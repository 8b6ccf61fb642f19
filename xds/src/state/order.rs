//! Make before break: when what may be sent.
//!
//! A snapshot is rolled out in two steps. First it is *staged*: its clusters go out, and the proxy acknowledges them,
//! the endpoints of the new ones, and the secrets that these need. Then it is *promoted*: listeners follow, and after their acknowledgement routes.
//! While one snapshot is staged, the routes of the one before still flow, so that however quickly snapshots follow each
//! other no step starves; of those that arrive in between only the newest is staged next.
//!
//! Endpoints and secrets are never held back: Envoy stops its cluster requests, acknowledgements included, until the
//! clusters that warm have their endpoints. What is gone is pruned at the very end, when the proxy has acknowledged
//! everything that could refer to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdSet;

use super::channel::Channel;
use crate::resource::ResourceType;
use crate::snapshot::Snapshot;

/// The types whose resources refer to clusters, and among them those that hold routes.
const REFERRERS: [ResourceType; 5] = [
    ResourceType::Listener,
    ResourceType::ExtensionConfig,
    ResourceType::RouteConfiguration,
    ResourceType::ScopedRouteConfiguration,
    ResourceType::VirtualHost,
];
const ROUTES: [ResourceType; 3] =
    [ResourceType::RouteConfiguration, ResourceType::ScopedRouteConfiguration, ResourceType::VirtualHost];

/// Types that follow the newest snapshot at once.
pub(super) const UNORDERED: [ResourceType; 2] = [ResourceType::ClusterLoadAssignment, ResourceType::Secret];

/// Types that follow a snapshot when it is promoted.
pub(super) const PROMOTED: [ResourceType; 5] = REFERRERS;

/// The order in which what is gone is let go: what refers to others first.
pub(super) const PRUNED: [ResourceType; 4] = [
    ResourceType::ExtensionConfig,
    ResourceType::Cluster,
    ResourceType::ClusterLoadAssignment,
    ResourceType::Secret,
];

/// The channels of a stream, one per type.
#[derive(Debug)]
pub(super) struct Channels([Channel; ResourceType::COUNT]);

impl Channels {
    pub(super) fn new() -> Self {
        Self(ResourceType::ALL.map(Channel::new))
    }

    pub(super) fn get(&self, resource_type: ResourceType) -> &Channel {
        &self.0[resource_type.index()]
    }

    pub(super) fn get_mut(&mut self, resource_type: ResourceType) -> &mut Channel {
        &mut self.0[resource_type.index()]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.0.iter()
    }

    /// Whether the proxy acknowledged every listener that it should have.
    fn listeners_settled(&self) -> bool {
        self.get(ResourceType::Listener).acknowledged()
    }
}

/// How far the rollout of snapshots has come.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    /// The newest snapshot.
    pub(super) latest: Snapshot,
    /// The snapshot whose clusters are on their way.
    staged: Option<Snapshot>,
    /// `latest` was not staged yet.
    behind: bool,
    /// A snapshot was promoted since the proxy subscribed to clusters.
    open: bool,
    /// Endpoints that the proxy needs before the clusters of the staged snapshot can serve.
    awaiting: OrdSet<Arc<str>>,
    /// Secrets that it needs for the same and does not hold.
    awaiting_secrets: BTreeSet<Arc<str>>,
    /// The proxy came with resources from an earlier stream.
    resumed: bool,
    /// Types that a resumed proxy has not asked for by now are not used by it.
    absent_given_up: bool,
    /// Changes whenever a wait makes progress.
    progress: u64,
}

impl Rollout {
    /// Takes a newer snapshot.
    pub(super) fn observe(&mut self, snapshot: &Snapshot, channels: &mut Channels) {
        self.latest = snapshot.clone();
        self.behind = true;
        // What is gone will not come.
        let secrets = snapshot.map(ResourceType::Secret);
        self.awaiting_secrets.retain(|name| secrets.contains_key(name));
        for resource_type in UNORDERED {
            channels.get_mut(resource_type).retarget(snapshot.map(resource_type));
        }
        if !self.open {
            // Nothing of these is sent yet; whether there will be something to send is known from the newest.
            for resource_type in PROMOTED {
                channels.get_mut(resource_type).retarget(snapshot.map(resource_type));
            }
        }
    }

    /// The proxy asked for clusters for the first time: nothing that refers to them goes out before they have arrived.
    pub(super) fn clusters_subscribed(&mut self) {
        self.open = false;
        self.behind = true;
        self.progress += 1;
    }

    /// The proxy came with resources from an earlier stream. It will ask for clusters, if it did not yet: nothing that
    /// refers to them goes out before.
    pub(super) fn resume(&mut self, clusters_told: bool) {
        if !std::mem::replace(&mut self.resumed, true) && !clusters_told {
            self.open = false;
            self.behind = true;
        }
    }

    /// These endpoints are needed; `since` a response with their clusters was sent.
    pub(super) fn await_endpoints<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        self.awaiting.extend(names.cloned());
    }

    /// These secrets are needed; `since` a response with their clusters was sent.
    pub(super) fn await_secrets<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        let secrets = self.latest.map(ResourceType::Secret);
        self.awaiting_secrets.extend(names.filter(|name| secrets.contains_key(*name)).cloned());
    }

    /// These secrets have arrived, or are not needed any more.
    pub(super) fn secrets_settled<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if self.awaiting_secrets.remove(name) {
                self.progress += 1;
            }
        }
    }

    /// The endpoints that clusters sent on this stream wait for.
    pub(super) fn awaiting(&self) -> &OrdSet<Arc<str>> {
        &self.awaiting
    }

    /// These endpoints have arrived, or are not needed any more.
    pub(super) fn endpoints_settled<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if self.awaiting.remove(name).is_some() {
                self.progress += 1;
            }
        }
    }

    /// A wait made progress.
    pub(super) fn progress(&mut self) {
        self.progress += 1;
    }

    /// Whether resources of a type may go out.
    pub(super) fn is_open(&self, resource_type: ResourceType, channels: &Channels) -> bool {
        if !PROMOTED.contains(&resource_type) {
            true
        } else if ROUTES.contains(&resource_type) {
            self.open && channels.listeners_settled()
        } else {
            self.open
        }
    }

    /// Stages the newest snapshot, unless one is staged already.
    pub(super) fn stage(&mut self, channels: &mut Channels) {
        let asked = channels.iter().any(|channel| channel.subscription.started());
        if self.staged.is_none() && self.behind && asked {
            self.behind = false;
            channels.get_mut(ResourceType::Cluster).retarget(self.latest.map(ResourceType::Cluster));
            self.staged = Some(self.latest.clone());
            self.progress += 1;
        }
    }

    /// Promotes the staged snapshot, if the proxy has its clusters. The listeners of the one before are waited for, so
    /// that its routes get their turn.
    pub(super) fn promote(&mut self, channels: &mut Channels) -> bool {
        if !self.clusters_settled(channels) || (self.open && !channels.listeners_settled()) {
            return false;
        }
        let Some(staged) = self.staged.take() else { return false };
        for resource_type in PROMOTED {
            channels.get_mut(resource_type).retarget(staged.map(resource_type));
        }
        self.open = true;
        true
    }

    fn clusters_settled(&self, channels: &Channels) -> bool {
        let clusters = channels.get(ResourceType::Cluster);
        let asked = clusters.subscription.started() || !self.resumed || self.absent_given_up;
        let complete = self.awaiting.is_empty() && self.awaiting_secrets.is_empty();
        asked && clusters.nothing_to_send() && !clusters.sending() && complete
    }

    /// Whether what a type no longer has may be taken from the proxy.
    pub(super) fn may_prune(&self, resource_type: ResourceType, channels: &Channels) -> bool {
        self.staged.is_none()
            && !self.behind
            && !self.waits_for_absent(channels)
            && REFERRERS
                .into_iter()
                .filter(|referrer| *referrer != resource_type)
                .all(|referrer| channels.get(referrer).up_to_date())
    }

    /// Whether a resumed proxy, which holds listeners and routes from before, has not told of them yet.
    fn waits_for_absent(&self, channels: &Channels) -> bool {
        if !self.resumed || self.absent_given_up {
            return false;
        }
        let started = |t: ResourceType| channels.get(t).subscription.started();
        let served = |t: &ResourceType| self.latest.len(*t) > 0;
        let routes_told = if ROUTES.iter().any(served) {
            ROUTES.into_iter().filter(served).all(started)
        } else {
            ROUTES.into_iter().any(started)
        };
        !started(ResourceType::Listener) || !routes_told
    }

    /// Identifies what is waited for, if the rollout depends on a proxy that may never answer.
    pub(super) fn waiting(&self, channels: &Channels) -> Option<u64> {
        let routes_wait = self.open
            && !channels.listeners_settled()
            && ROUTES.iter().any(|t| !channels.get(*t).nothing_to_send());
        let removals_wait =
            PRUNED.iter().any(|t| channels.get(*t).has_deferred()) && self.waits_for_absent(channels);
        (self.staged.is_some() || routes_wait || removals_wait).then_some(self.progress)
    }

    /// Goes on without what is waited for.
    pub(super) fn give_up_waiting(&mut self, channels: &mut Channels) {
        self.progress += 1;
        self.absent_given_up = true;
        self.awaiting.clear();
        self.awaiting_secrets.clear();
        for resource_type in [ResourceType::Cluster, ResourceType::Listener] {
            channels.get_mut(resource_type).give_up_waiting();
        }
    }

    /// Whether nothing is left to roll out.
    pub(super) fn is_done(&self) -> bool {
        self.staged.is_none() && !self.behind
    }
}
