//! A delta xDS (ADS) server: knows Envoy's protocol, knows nothing of Kubernetes.
//!
//! ```text
//!  Snapshot (persistent, per node) ──publish──► Hub ──watch──► Session task ──► Envoy
//!                                               ▲               │ state::Stream
//!                                               └───── Event ◄──┘ (pure: no I/O, no clock)
//! ```
//!
//! - [`Resource`] is one named, versioned, encoded Envoy message; [`Snapshot`] is everything that one node should
//!   hold. Both are immutable and shared: however many proxies hold a resource, its bytes exist once.
//! - [`state::Stream`] is the protocol: subscriptions, nonces, make-before-break order, isolation of rejected
//!   resources. It is a pure state machine over requests and snapshots.
//! - [`Hub`] holds the published snapshots and fans out [`Event`]s; [`Server`] is the thin tonic shell around both.
//!
//! Protocol reference: Envoy's "xDS REST and gRPC protocol", incremental aggregated (delta ADS) variant.

pub mod auth;
pub mod hub;
pub mod resource;
pub mod server;
mod session;
pub mod snapshot;
pub mod sotw;
pub mod state;
pub mod tls;
mod wire;

pub use auth::{Admission, AllowAll, Authenticator, Peer, Refusal};
pub use hub::{Connection, Event, EventKind, Hub, Metrics, Rejection, TypeMetrics};
pub use resource::{Resource, ResourceType};
pub use server::{Server, ServerError, ServerOptions};
pub use snapshot::{Change, Difference, Snapshot};
pub use state::Push;
pub use tls::{Tls, TlsError, TlsFiles};
