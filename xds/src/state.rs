//! The protocol as a pure state machine.

use std::borrow::Cow;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use crate::resource::{Resource, ResourceType};
use crate::session::Protocol;
use crate::snapshot::Snapshot;

/// The default of [`Options::max_response_bytes`].
pub const DEFAULT_MAX_RESPONSE_BYTES: usize = 4 << 20;

/// Limits of one stream.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size, in bytes, above which a response is split into several.
    pub max_response_bytes: usize,
}

/// A response: resources that the proxy shall take, and names that it shall let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The type URL of the resources.
    pub type_url: Cow<'static, str>,
    /// What the proxy acknowledges this response by; unique within the stream.
    pub nonce: String,
    /// New or changed resources.
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
    /// The proxy rejected a response; the culprits are not known yet.
    Rejected,
    /// The proxy rejected these resources alone.
    Nacked {
        /// The type of the resources.
        resource_type: ResourceType,
        /// The rejected resources.
        names: Vec<Arc<str>>,
        /// The proxy's words.
        error: String,
    },
    /// A rejected resource changed, or is no longer wanted.
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

/// The state of one stream.
#[derive(Debug)]
pub struct Stream {
    options: Options,
}

impl Stream {
    /// A stream that has not seen a request.
    pub fn new(options: Options) -> Self {
        Self { options }
    }
}

impl Protocol for Stream {
    type Request = DeltaDiscoveryRequest;
    type Reply = Push;

    fn node(request: &DeltaDiscoveryRequest) -> Option<&Node> {
        request.node.as_ref()
    }

    fn on_request(&mut self, _: DeltaDiscoveryRequest, _: &Snapshot) -> Result<Vec<Push>, RequestError> {
        let _ = self.options.max_response_bytes;
        Ok(Vec::new())
    }

    fn on_snapshot(&mut self, _: &Snapshot) -> Vec<Push> {
        Vec::new()
    }

    fn on_wait_expired(&mut self) -> Vec<Push> {
        Vec::new()
    }

    fn waiting(&self) -> Option<u64> {
        None
    }

    fn in_sync(&self) -> bool {
        true
    }

    fn take_outcomes(&mut self) -> Vec<Outcome> {
        Vec::new()
    }
}
