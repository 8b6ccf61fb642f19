//! The protocol, without a socket: requests and snapshots into [`postern_xds::state::Stream`], responses out.
//!
//! Names carry the number of the requirement's test: `t5_…` is T5.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/resources.rs"]
mod resources;

mod coalescing;
mod cost;
mod driver;
mod model;
mod nack;
mod order;
mod reconnect;
mod sotw;
mod subscription;
