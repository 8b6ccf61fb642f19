//! What a running controller tells about itself: metrics, health, logs, and the servers that show the first two.
//!
//! - [`Metrics`]: one registry; every part of the controller holds a clone and counts into it;
//! - [`Health`]: named checks; alive while the loops turn, ready while proxies can be served;
//! - [`server`]: `/healthz`, `/readyz` and `/metrics`, and any other router of this process;
//! - [`log`]: the log to standard error, as text or as JSON.

mod health;
mod labels;
pub mod log;
mod metrics;
mod process;
pub mod server;
pub mod text;
mod xds;

pub use self::health::{Check, Health, Heartbeat, Readiness, Report};
pub use self::labels::{InfrastructureResult, StatusResult, TranslationResult};
pub use self::metrics::Metrics;
