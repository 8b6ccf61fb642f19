//! Who is who on the way between proxies and Postern ([ADR 6](../../../docs/adr/0006-proxy-identity.md)).
//!
//! - [`Authority`]: makes the certificates by which proxies know Postern;
//! - [`TokenAuthenticator`]: verifies the ServiceAccount tokens by which Postern knows proxies, and decides which Gateway's
//!   configuration they may read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

mod authenticator;
pub mod authority;
mod cache;
mod failure;
mod jwks;
mod limiter;
mod review;
mod token;

pub use authenticator::{TokenAuthenticator, TokenOptions, Verification};
pub use authority::{Authority, AuthorityError, AuthorityOptions};

/// Tells the time. Replaced in tests, which do not wait for a year.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that shows what `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for Clock {
    /// The clock of this machine.
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// `duration` after `at`, or the end of time.
fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `duration` before `at`, or the beginning of time.
fn before(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// How long it is from `now` to `at`; nothing if that is past.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    at.duration_since(now).try_into().unwrap_or_default()
}
