//! What a running controller knows, for people to look at.
//!
//! Served as JSON on a loopback address ([`router`]) and read by the command line through a port-forward, from each
//! replica: the documents in [`document`] are what both agree on.

pub mod compare;
pub mod document;
pub mod dump;
mod router;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use postern_xds::{Hub, ResourceType, Snapshot};
use sha2::{Digest as _, Sha256};

pub use self::router::router;

/// What the documents are made of. A clone speaks of the same controller.
#[derive(Clone, Debug)]
pub struct Inspector {
    hub: Hub,
    replica: Arc<Mutex<document::Replica>>,
}

impl Inspector {
    /// The controller of the replica `identity` (the name of its pod), which serves `hub`.
    pub fn new(hub: Hub, identity: impl Into<String>) -> Self {
        let replica = document::Replica {
            identity: identity.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            leader: false,
            synced: false,
        };
        Self { hub, replica: Arc::new(Mutex::new(replica)) }
    }

    /// Sets whether this replica leads.
    pub fn set_leader(&self, leader: bool) {
        self.with_replica(|replica| replica.leader = leader);
    }

    /// Sets whether all watches have synced and the snapshots are published.
    pub fn set_synced(&self, synced: bool) {
        self.with_replica(|replica| replica.synced = synced);
    }

    fn with_replica<T>(&self, f: impl FnOnce(&mut document::Replica) -> T) -> T {
        f(&mut self.replica.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A digest of everything in `snapshot`: 16 hexadecimal digits, equal on every replica that wants the same.
pub fn digest(snapshot: &Snapshot) -> String {
    let mut hash = Sha256::new();
    for resource_type in ResourceType::ALL {
        for resource in snapshot.iter(resource_type) {
            for part in [resource_type.type_url(), resource.name(), resource.version()] {
                hash.update(part.as_bytes());
                hash.update([0]);
            }
        }
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
