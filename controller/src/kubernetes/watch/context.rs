//! What every watch needs.

use std::sync::Arc;

use kube::Client;
use tokio::sync::{Notify, watch};

use super::Timing;
use super::feed::{Feed, Source};
use super::health::Health;

/// What every watch needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) page_size: u32,
    pub(super) timing: Timing,
    /// Changes when the API server is back.
    pub(super) back: watch::Receiver<u64>,
    /// Asks for a look at what is served.
    pub(super) nudge: Arc<Notify>,
    pub(super) health: Health,
}

impl Context {
    /// All of the collection at `path`.
    pub(super) fn source(&self, path: String) -> Source {
        Source {
            client: self.client.clone(),
            path,
            metadata: false,
            labels: None,
            fields: None,
            page_size: self.page_size,
        }
    }

    /// List and watch of a collection.
    pub(super) fn feed(&self, source: Source) -> Feed {
        Feed::new(source, self.timing, self.back.clone())
    }
}
