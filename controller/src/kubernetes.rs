//! Everything of Postern that talks to a Kubernetes API server.
//!
//! ```text
//! watch ─► translator ─┬─► status          (leader only)
//!                      └─► infrastructure  (leader only)
//! identity ─► xDS server: who a proxy is, and the certificates to show it
//! ```

pub mod events;
pub mod forward;
pub mod identity;
pub mod infrastructure;
pub mod lease;
pub mod selector;
pub mod status;
pub mod watch;
