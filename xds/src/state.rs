//! The protocol as a pure state machine: requests and snapshots in, responses and outcomes out. No I/O, no clock.
//!
//! - `subscription`: what the proxy asks for.
//! - `channel`: per type, what it holds and what it should hold; one response in flight, later snapshots coalesce.
//! - `order`: make before break, across types.
//! - `linger`: clusters that go, go later.
//! - `nack`: one rejected resource does not hold up the others.

use std::borrow::Cow;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use imbl::OrdMap;
use tracing::debug;

use crate::resource::{Resource, ResourceType};
use crate::session::Protocol;
use crate::snapshot::{ResourceMap, Snapshot};

mod channel;
mod linger;
mod nack;
mod order;
mod subscription;

use channel::{Batch, Gate};
use order::{Channels, PRUNED, Rollout};

/// The default of [`Options::max_response_bytes`].
pub const DEFAULT_MAX_RESPONSE_BYTES: usize = 4 << 20;

/// Limits of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The size, in bytes, above which a response is split into several, each sent when the one before is
    /// acknowledged. A single resource, and a proxy's first set of scopes, may exceed it.
    pub max_response_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_response_bytes: DEFAULT_MAX_RESPONSE_BYTES }
    }
}

/// A response: resources that the proxy shall take, and names that it shall let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The type URL of the resources.
    pub type_url: Cow<'static, str>,
    /// What the proxy acknowledges this response by; unique within the stream.
    pub nonce: String,
    /// New or changed resources, by name.
    pub resources: Vec<Arc<Resource>>,
    /// Names that do not exist (any more).
    pub removed: Vec<Arc<str>>,
}

/// What a stream found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The proxy accepted a response.
    Acked {
        /// The type of the resources.
        resource_type: ResourceType,
        /// What it accepted.
        resources: Vec<Arc<Resource>>,
        /// What it let go.
        removed: Vec<Arc<str>>,
    },
    /// The proxy rejected a response. Who is to blame is said by [`Outcome::Nacked`], now or after a search.
    Rejected {
        /// The type of the resources.
        resource_type: ResourceType,
    },
    /// The proxy rejected these resources alone. They are parked: not sent again until their content changes.
    Nacked {
        /// The type of the resources.
        resource_type: ResourceType,
        /// The rejected resources.
        names: Vec<Arc<str>>,
        /// The proxy's words.
        error: String,
    },
    /// A parked resource changed, or is no longer wanted.
    Unparked {
        /// The type of the resource.
        resource_type: ResourceType,
        /// Its name.
        name: Arc<str>,
    },
}

/// Why a request cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// ADS needs a type in every request.
    #[error("type_url is missing")]
    MissingTypeUrl,
}

/// The state of one delta ADS stream.
#[derive(Debug)]
pub struct Stream {
    options: Options,
    channels: Channels,
    rollout: Rollout,
    /// Clusters that ask for their endpoints under another name, by that name.
    endpoint_owners: OrdMap<Arc<str>, Arc<str>>,
    nonces: u64,
    outcomes: Vec<Outcome>,
}

impl Stream {
    /// A stream that has not seen a request.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            channels: Channels::new(),
            rollout: Rollout::default(),
            endpoint_owners: OrdMap::new(),
            nonces: 0,
            outcomes: Vec::new(),
        }
    }

    /// Takes a request, and answers what can be sent now. `snapshot` is the newest one of the node.
    pub fn on_request(
        &mut self,
        request: DeltaDiscoveryRequest,
        snapshot: &Snapshot,
    ) -> Result<Vec<Push>, RequestError> {
        if request.type_url.is_empty() {
            return Err(RequestError::MissingTypeUrl);
        }
        let Some(resource_type) = ResourceType::from_type_url(&request.type_url) else {
            return Ok(self.answer_foreign(request).into_iter().collect());
        };
        self.observe(snapshot);
        if !request.response_nonce.is_empty() {
            let error = request.error_detail.as_ref().map(|status| status.message.as_str());
            self.acknowledge(resource_type, &request.response_nonce, error);
        }
        self.subscribe(resource_type, request);
        Ok(self.send())
    }

    /// Takes a newer snapshot, and answers what can be sent now.
    pub fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Push> {
        self.observe(snapshot);
        self.send()
    }

    /// Gives up what [`Stream::waiting`] waits for, and answers what can be sent without it.
    pub fn on_wait_expired(&mut self) -> Vec<Push> {
        self.rollout.give_up_waiting(&mut self.channels);
        self.send()
    }

    /// Whether the rollout waits for something that a proxy may never send: the subscription or acknowledgement of a
    /// cluster's endpoints or secrets, of clusters, of listeners. The shell calls [`Stream::on_wait_expired`] when the same value
    /// was returned for too long; the value changes with every progress.
    pub fn waiting(&self) -> Option<u64> {
        self.rollout.waiting(&self.channels)
    }

    /// Lets go of the clusters that [`Stream::lingering`] told of, and answers what can be sent now.
    pub fn on_linger_expired(&mut self) -> Vec<Push> {
        self.channels.get_mut(ResourceType::Cluster).linger.expire();
        self.send()
    }

    /// Whether the proxy holds clusters that nothing refers to any more. The shell calls [`Stream::on_linger_expired`] when the
    /// same value was returned for as long as a request may take.
    pub fn lingering(&self) -> Option<u64> {
        self.channels.get(ResourceType::Cluster).linger.waiting()
    }

    /// Whether everything that the proxy asked for was sent and acknowledged (rejected resources aside), and
    /// everything that is gone was removed, except for lingering clusters and their secrets.
    pub fn in_sync(&self) -> bool {
        let settled = |t: ResourceType| {
            let channel = self.channels.get(t);
            let lingers = t == ResourceType::Secret && self.lingering_clusters();
            channel.acknowledged() && (lingers || !channel.has_deferred())
        };
        self.rollout.is_done() && ResourceType::ALL.into_iter().all(settled)
    }

    /// What happened since the last call, in order.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// What the proxy holds of a type.
    pub(crate) fn held(&self, resource_type: ResourceType) -> &ResourceMap {
        self.channels.get(resource_type).held()
    }

    /// What the proxy holds: what it acknowledged on this stream, and what it said it holds when it connected.
    pub fn everything_held(&self) -> Snapshot {
        Snapshot::of(ResourceType::ALL.map(|resource_type| self.held(resource_type).clone()))
    }

    fn observe(&mut self, snapshot: &Snapshot) {
        if !self.rollout.latest.ptr_eq(snapshot) {
            self.rollout.observe(snapshot, &mut self.channels);
        }
    }

    fn acknowledge(&mut self, resource_type: ResourceType, nonce: &str, error: Option<&str>) {
        let channel = self.channels.get_mut(resource_type);
        let Some(batch) = channel.acknowledge(nonce, error, &mut self.outcomes) else {
            debug!(%resource_type, nonce, "stale nonce");
            return;
        };
        match resource_type {
            ResourceType::Cluster => {
                self.rollout.progress();
                if error.is_some() {
                    // Those of them that go out again are awaited again.
                    let endpoints = batch.resources.iter().filter_map(|r| r.eds_name());
                    self.rollout.endpoints_settled(endpoints.map(|name| &**name));
                    let secrets = batch.resources.iter().flat_map(|r| r.secret_names());
                    self.rollout.secrets_settled(secrets.map(|name| &**name));
                }
            }
            ResourceType::Secret => {
                self.rollout.secrets_settled(batch.resources.iter().map(|r| r.name()));
                self.rollout.secrets_settled(batch.removed.iter().map(|name| &**name));
            }
            ResourceType::ClusterLoadAssignment => {
                // Those that are due again were asked for by a cluster that was sent in the meantime.
                let arrived = batch.resources.iter().map(|r| r.name()).filter(|name| !channel.is_dirty(name));
                self.rollout.endpoints_settled(arrived);
            }
            ResourceType::Listener => self.rollout.progress(),
            _ => {}
        }
    }

    fn subscribe(&mut self, resource_type: ResourceType, request: DeltaDiscoveryRequest) {
        let claims = request.initial_resource_versions;
        let clusters_told = self.channels.get(ResourceType::Cluster).subscription.started();
        let channel = self.channels.get_mut(resource_type);
        let change = channel.subscription.change(
            resource_type,
            request.resource_names_subscribe,
            request.resource_names_unsubscribe,
            &claims,
        );
        if change.first {
            // Who asks for endpoints before clusters has clusters, even if it has nothing that carries a version.
            let endpoints_first = resource_type == ResourceType::ClusterLoadAssignment && !clusters_told;
            if !claims.is_empty() || endpoints_first {
                self.rollout.resume(clusters_told);
            }
            if resource_type == ResourceType::Cluster {
                self.rollout.clusters_subscribed();
            }
        }
        let current = self.rollout.latest.map(resource_type);
        let claimed = claims.into_iter().map(|(name, version)| match current.get(name.as_str()) {
            Some(resource) if resource.version() == version => Arc::clone(resource),
            _ => Arc::new(Resource::claimed(resource_type, name.into(), version)),
        });
        channel.subscribe(&change, claimed, &mut self.outcomes);
        if resource_type == ResourceType::ClusterLoadAssignment {
            for name in &change.unsubscribed {
                self.endpoint_owners.remove(name);
            }
            self.rollout.endpoints_settled(change.unsubscribed.iter().map(|name| &**name));
        }
        if resource_type == ResourceType::Secret {
            self.rollout.secrets_settled(change.unsubscribed.iter().map(|name| &**name));
        }
    }

    /// Sends whatever may be sent, and takes the rollout as far as it goes.
    fn send(&mut self) -> Vec<Push> {
        let mut pushes = Vec::new();
        loop {
            self.rollout.stage(&mut self.channels);
            for resource_type in ResourceType::ALL {
                let gate = Gate {
                    open: self.rollout.is_open(resource_type, &self.channels),
                    limit: self.options.max_response_bytes,
                    needed: &self.endpoints_needed(),
                };
                let batch = self.channels.get_mut(resource_type).collect(gate, &mut self.outcomes);
                pushes.extend(batch.map(|batch| self.push(resource_type, batch)));
            }
            if !self.rollout.promote(&mut self.channels) {
                break;
            }
        }
        for resource_type in PRUNED {
            if !self.rollout.may_prune(resource_type, &self.channels) {
                continue;
            }
            if resource_type == ResourceType::Cluster {
                self.channels.get_mut(resource_type).linger();
            }
            // Lingering clusters may need them.
            let held_up = resource_type == ResourceType::Secret && self.lingering_clusters();
            if self.channels.get(resource_type).has_deferred() && !held_up {
                let needed = self.endpoints_needed();
                let batch = self.channels.get_mut(resource_type).prune(&needed, &mut self.outcomes);
                pushes.extend(batch.map(|batch| self.push(resource_type, batch)));
            }
        }
        pushes
    }

    fn lingering_clusters(&self) -> bool {
        !self.channels.get(ResourceType::Cluster).linger.is_empty()
    }

    /// Whether a cluster of the proxy may wait for endpoints under a name: it is in the newest snapshot, it was sent on
    /// this stream, or the proxy has not told of its clusters (because it holds back its requests while one warms).
    fn endpoints_needed(&self) -> impl Fn(&str) -> bool + use<> {
        let told = self.channels.get(ResourceType::Cluster).subscription.started();
        let clusters = self.rollout.latest.map(ResourceType::Cluster).clone();
        let owners = self.endpoint_owners.clone();
        let awaiting = self.rollout.awaiting().clone();
        move |name| {
            !told
                || awaiting.contains(name)
                || clusters.contains_key(owners.get(name).map_or(name, |owner| &**owner))
        }
    }

    fn push(&mut self, resource_type: ResourceType, batch: Batch) -> Push {
        if resource_type == ResourceType::Cluster {
            // A changed cluster warms until its endpoints come, and Envoy does not ask for them again: they follow at
            // once (envoy#46383, go-control-plane#1034).
            for cluster in &batch.resources {
                let Some(name) = cluster.eds_name() else { continue };
                if **name != *cluster.name() {
                    self.endpoint_owners.insert(Arc::clone(name), Arc::clone(cluster.shared_name()));
                }
                self.channels.get_mut(ResourceType::ClusterLoadAssignment).resend(name);
            }
            self.rollout.await_endpoints(batch.resources.iter().filter_map(|r| r.eds_name()));
            // A secret that the proxy holds is there for every cluster; others it asks for when it has the endpoints.
            let held = self.channels.get(ResourceType::Secret).held().clone();
            let secrets = batch.resources.iter().flat_map(|r| r.secret_names());
            self.rollout.await_secrets(secrets.filter(|name| !held.contains_key(*name)));
        }
        let nonce = self.next_nonce();
        let push = Push {
            type_url: Cow::Borrowed(resource_type.type_url()),
            nonce: nonce.clone(),
            resources: batch.resources.clone(),
            removed: batch.removed.clone(),
        };
        self.channels.get_mut(resource_type).sent(nonce, batch);
        push
    }

    fn next_nonce(&mut self) -> String {
        self.nonces += 1;
        self.nonces.to_string()
    }

    /// Of a type that this server does not know, nothing exists; saying so spares the proxy its timeout.
    fn answer_foreign(&mut self, request: DeltaDiscoveryRequest) -> Option<Push> {
        let names = request.resource_names_subscribe;
        if names.is_empty() && !request.response_nonce.is_empty() {
            return None;
        }
        debug!(type_url = request.type_url, "unknown resource type");
        Some(Push {
            type_url: Cow::Owned(request.type_url),
            nonce: self.next_nonce(),
            resources: Vec::new(),
            removed: names.into_iter().filter(|name| name != "*").map(Into::into).collect(),
        })
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Protocol for Stream {
    type Request = DeltaDiscoveryRequest;
    type Reply = Push;

    fn node(request: &DeltaDiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn on_request(
        &mut self,
        request: DeltaDiscoveryRequest,
        snapshot: &Snapshot,
    ) -> Result<Vec<Push>, RequestError> {
        Self::on_request(self, request, snapshot)
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Push> {
        Self::on_snapshot(self, snapshot)
    }

    fn on_wait_expired(&mut self, _: &Snapshot) -> Vec<Push> {
        Self::on_wait_expired(self)
    }

    fn waiting(&self) -> Option<u64> {
        Self::waiting(self)
    }

    fn on_linger_expired(&mut self, _: &Snapshot) -> Vec<Push> {
        Self::on_linger_expired(self)
    }

    fn lingering(&self) -> Option<u64> {
        Self::lingering(self)
    }

    fn in_sync(&self) -> bool {
        Self::in_sync(self)
    }

    fn held(&self) -> Snapshot {
        self.everything_held()
    }

    fn take_outcomes(&mut self) -> Vec<Outcome> {
        Self::take_outcomes(self)
    }
}
