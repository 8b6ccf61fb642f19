//! State-of-the-world ADS over the delta state machine.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use prost::Message;

use crate::session::{self, Protocol};
use crate::snapshot::Snapshot;
use crate::state::{self, Outcome, RequestError};

/// A response of the state-of-the-world protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply(pub DiscoveryResponse);

impl session::Reply for Reply {
    fn resources(&self) -> usize {
        self.0.resources.len()
    }

    fn bytes(&self) -> usize {
        self.0.encoded_len()
    }
}

/// The state of one stream.
#[derive(Debug)]
pub struct Stream {
    delta: state::Stream,
}

impl Stream {
    /// A stream that has not seen a request.
    pub fn new() -> Self {
        Self { delta: state::Stream::new(state::Options { max_response_bytes: usize::MAX }) }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol for Stream {
    type Request = DiscoveryRequest;
    type Reply = Reply;

    fn node(request: &DiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn on_request(&mut self, _: DiscoveryRequest, _: &Snapshot) -> Result<Vec<Reply>, RequestError> {
        Ok(Vec::new())
    }

    fn on_snapshot(&mut self, _: &Snapshot) -> Vec<Reply> {
        Vec::new()
    }

    fn on_wait_expired(&mut self) -> Vec<Reply> {
        Vec::new()
    }

    fn waiting(&self) -> Option<u64> {
        self.delta.waiting()
    }

    fn in_sync(&self) -> bool {
        self.delta.in_sync()
    }

    fn take_outcomes(&mut self) -> Vec<Outcome> {
        self.delta.take_outcomes()
    }
}
