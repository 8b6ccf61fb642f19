//! The server over real connections: authentication, TLS, size, back-pressure, the end.
//!
//! Names carry the number of the requirement's test: `t24_…` is T24.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/resources.rs"]
#[allow(dead_code, reason = "shared with the protocol tests")]
mod resources;

mod authentication;
mod client;
mod pressure;
mod reconnect;
mod service;
mod tls;
