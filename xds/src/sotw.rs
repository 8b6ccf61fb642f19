//! State-of-the-world ADS, for clients that know nothing else: an adapter over the delta state machine.
//!
//! A request lists everything that the client wants of a type, a response of clusters, listeners or scopes everything
//! that it shall have. The one is turned into subscriptions and unsubscriptions, and the other completed with what
//! the client holds already; order, isolation of rejected resources and back-pressure are those of [`crate::state`].
//!
//! What the protocol cannot express is lost: a client that reconnects does not tell what it holds, so it is sent
//! everything, and what is gone disappears from it with the first response.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse,
};
use prost::Message;

use crate::resource::ResourceType;
use crate::session::{self, Protocol};
use crate::snapshot::{ResourceMap, Snapshot};
use crate::state::{self, Outcome, Push, RequestError};
use crate::wire::to_any;

/// The name that stands for everything.
const WILDCARD: &str = "*";

/// A response of the state-of-the-world protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply(pub DiscoveryResponse);

impl session::Reply for Reply {
    fn resource_type(&self) -> Option<ResourceType> {
        ResourceType::from_type_url(&self.0.type_url)
    }

    fn resources(&self) -> usize {
        self.0.resources.len()
    }

    fn bytes(&self) -> usize {
        self.0.encoded_len()
    }
}

/// The state of one state-of-the-world ADS stream.
#[derive(Debug)]
pub struct Stream {
    delta: state::Stream,
    subscribed: BTreeMap<ResourceType, BTreeSet<String>>,
}

impl Stream {
    /// A stream that has not seen a request.
    pub fn new() -> Self {
        // A response that has to be complete cannot be split.
        let options = state::Options { max_response_bytes: usize::MAX };
        Self { delta: state::Stream::new(options), subscribed: BTreeMap::new() }
    }

    /// Takes a request, and answers what can be sent now. `snapshot` is the newest one of the node.
    pub fn on_request(
        &mut self,
        request: DiscoveryRequest,
        snapshot: &Snapshot,
    ) -> Result<Vec<Reply>, RequestError> {
        if request.type_url.is_empty() {
            return Err(RequestError::MissingTypeUrl);
        }
        let Some(resource_type) = ResourceType::from_type_url(&request.type_url) else {
            return Ok(Vec::new());
        };
        let (subscribe, unsubscribe) = self.subscription_change(resource_type, request.resource_names);
        let delta = DeltaDiscoveryRequest {
            type_url: request.type_url,
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            response_nonce: request.response_nonce,
            error_detail: request.error_detail,
            ..DeltaDiscoveryRequest::default()
        };
        let pushes = self.delta.on_request(delta, snapshot)?;
        self.complete(pushes, snapshot)
    }

    /// Takes a newer snapshot, and answers what can be sent now.
    pub fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Reply> {
        let pushes = self.delta.on_snapshot(snapshot);
        self.complete(pushes, snapshot).unwrap_or_default()
    }

    /// Lets go of clusters that nothing refers to any more, see [`state::Stream::on_linger_expired`].
    pub fn on_linger_expired(&mut self, snapshot: &Snapshot) -> Vec<Reply> {
        let pushes = self.delta.on_linger_expired();
        self.complete(pushes, snapshot).unwrap_or_default()
    }

    fn subscription_change(
        &mut self,
        resource_type: ResourceType,
        names: Vec<String>,
    ) -> (Vec<String>, Vec<String>) {
        let before = self.subscribed.get(&resource_type);
        let mut wanted: BTreeSet<String> = names.into_iter().collect();
        // The legacy wildcard: no names, and never any names before.
        let unnamed = before.is_none_or(|before| before.len() == 1 && before.contains(WILDCARD));
        if wanted.is_empty() && unnamed && resource_type.is_wildcard() {
            wanted.insert(WILDCARD.to_owned());
        }
        let none = BTreeSet::new();
        let before = before.unwrap_or(&none);
        let subscribe = wanted.difference(before).cloned().collect();
        let unsubscribe = before.difference(&wanted).cloned().collect();
        self.subscribed.insert(resource_type, wanted);
        (subscribe, unsubscribe)
    }

    fn complete(&mut self, pushes: Vec<Push>, snapshot: &Snapshot) -> Result<Vec<Reply>, RequestError> {
        let mut replies = Vec::new();
        let mut pushes = VecDeque::from(pushes);
        while let Some(push) = pushes.pop_front() {
            let Some(resource_type) = ResourceType::from_type_url(&push.type_url) else { continue };
            if is_complete(resource_type) {
                let mut all = self.delta.held(resource_type).clone();
                for resource in &push.resources {
                    all.insert(resource.shared_name().clone(), resource.clone());
                }
                for name in &push.removed {
                    all.remove(name);
                }
                replies.push(reply(&push, &all));
            } else if push.resources.is_empty() {
                // "Does not exist" has no words in this protocol: nothing is sent, so nothing will be acknowledged.
                let ack = DeltaDiscoveryRequest {
                    type_url: push.type_url.into_owned(),
                    response_nonce: push.nonce,
                    ..DeltaDiscoveryRequest::default()
                };
                pushes.extend(self.delta.on_request(ack, snapshot)?);
            } else {
                let some = push.resources.iter().map(|r| (r.shared_name().clone(), r.clone())).collect();
                replies.push(reply(&push, &some));
            }
        }
        Ok(replies)
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a response of this type must hold everything, because what it does not hold is removed.
fn is_complete(resource_type: ResourceType) -> bool {
    matches!(
        resource_type,
        ResourceType::Cluster | ResourceType::Listener | ResourceType::ScopedRouteConfiguration
    )
}

fn reply(push: &Push, resources: &ResourceMap) -> Reply {
    Reply(DiscoveryResponse {
        version_info: version(resources),
        resources: resources.values().map(|r| to_any(r)).collect(),
        type_url: push.type_url.to_string(),
        nonce: push.nonce.clone(),
        ..DiscoveryResponse::default()
    })
}

/// A version of the whole, derived from the versions in it (FNV-1a): equal on every replica.
fn version(resources: &ResourceMap) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |text: &str| {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for resource in resources.values() {
        feed(resource.name());
        feed(resource.version());
    }
    format!("{hash:016x}")
}

impl Protocol for Stream {
    type Request = DiscoveryRequest;
    type Reply = Reply;

    fn node(request: &DiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn on_request(
        &mut self,
        request: DiscoveryRequest,
        snapshot: &Snapshot,
    ) -> Result<Vec<Reply>, RequestError> {
        Self::on_request(self, request, snapshot)
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Reply> {
        Self::on_snapshot(self, snapshot)
    }

    fn on_wait_expired(&mut self, snapshot: &Snapshot) -> Vec<Reply> {
        let pushes = self.delta.on_wait_expired();
        self.complete(pushes, snapshot).unwrap_or_default()
    }

    fn waiting(&self) -> Option<u64> {
        self.delta.waiting()
    }

    fn on_linger_expired(&mut self, snapshot: &Snapshot) -> Vec<Reply> {
        Self::on_linger_expired(self, snapshot)
    }

    fn lingering(&self) -> Option<u64> {
        self.delta.lingering()
    }

    fn in_sync(&self) -> bool {
        self.delta.in_sync()
    }

    fn held(&self) -> Snapshot {
        self.delta.everything_held()
    }

    fn take_outcomes(&mut self) -> Vec<Outcome> {
        self.delta.take_outcomes()
    }
}
