//! The harness of Postern's tests and benchmarks through a real Envoy.
//!
//! A [`World`] is the whole product in miniature: a translator, the xDS server and one real Envoy
//! process per Gateway, with echo [`Backend`]s behind it. A test hands YAML to the world, sends
//! requests with [`Call`] and asserts what a user would notice. [`Load`] keeps requests running
//! while a test changes the configuration, and [`Postern`] runs the shipped binary instead of the
//! in-process translator.
//!
//! A [`Cluster`] is the same with a real Kubernetes in the place of the world; its tests need the feature
//! `cluster`, and `make e2e` runs them.
//!
//! Nothing outlives its value: dropping a world kills the processes that it started. Ports come from
//! [`Port`], so tests run side by side. Where a test fails, its directory with Envoy's log is kept
//! and named on standard error.

// A helper of tests has nobody to return an error to: it fails the test.
#![allow(clippy::missing_panics_doc, clippy::format_collect, clippy::unwrap_used)]

mod authorization;
mod backend;
mod client;
mod cluster;
mod collector;
mod dns;
mod envoy;
mod extension;
mod goldens;
mod grpc_peer;
mod limiter;
mod listener;
mod load;
mod log_service;
mod parameters;
mod ports;
mod postern;
mod programs;
mod proxy;
mod stream;
mod tls;
mod wait;
mod world;
mod yaml;

pub use authorization::{Asked, AuthorizationServer, Decision};
pub use backend::{Backend, Reply, Seen};
pub use client::{Answer, Call, Connection, Protocol, raw};
pub use cluster::{
    CLUSTER_PATIENCE, CONTROLLER_DEPLOYMENT, CONTROLLER_NAMESPACE, Cluster, EchoReply, GATEWAY_API_CHANNEL,
    Kubectl, Namespace, Node, Outage,
};
pub use collector::{Collector, LogRecord, Span};
pub use dns::NameServer;
pub use envoy::{Envoy, find_envoy};
pub use extension::ExtensionServer;
pub use goldens::golden_inputs;
pub use grpc_peer::{GrpcCall, GrpcPeer, GrpcReply};
pub use limiter::{RateLimiter, Redis};
pub use load::{Load, LoadReport, Stream};
pub use log_service::{LogEntry, LogService};
pub use parameters::{Deployed, Manifests, gaps, gateway_parameters, parameters_in, without_each_leaf};
pub use ports::Port;
pub use postern::{Finished, Postern, postern_binary, repository};
pub use proxy::CountingProxy;
pub use stream::{Datagrams, Echoed, TcpEcho, UdpEcho, Wire};
pub use tls::{Authority, Certificate, ClientTls};
pub use wait::{PATIENCE, until, until_within};
pub use world::{Want, World, expect, read_object};
pub use yaml::{
    Vars, authorities, backend_tls_policy, gateway, gateway_extension, http_route, route, service,
    static_backend, tls_secret, traffic_policy, udp_service,
};

/// Says which fields of the extension kinds the surrounding test proves by requests through a real Envoy, for
/// `docs/reference/field-coverage.md`: `covers!("TrafficPolicy.spec.rateLimit.local.tokenBucket.maxTokens")`. Items of lists are written
/// `[]`, free keys of maps `.*`.
#[macro_export]
macro_rules! covers {
    ($($path:literal),+ $(,)?) => {};
}

/// The same of every leaf field that a YAML file gives, if the test proves all of them: the path of the schema that its documents have,
/// and the file below `tests/e2e`: `covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/pods.yaml")`.
#[macro_export]
macro_rules! covers_leaves {
    ($schema:literal, $file:literal $(,)?) => {};
}

/// Says that Postern does not carry out these fields, and that the surrounding test shows that the status of the object says so;
/// arguments as those of [`covers`].
#[macro_export]
macro_rules! refuses {
    ($($path:literal),+ $(,)?) => {};
}

/// Says that Postern does not carry out any of the leaf fields that the objects in a YAML file give, and that the surrounding test shows that
/// their statuses say so; arguments as those of [`covers_leaves`].
#[macro_export]
macro_rules! refuses_leaves {
    ($schema:literal, $file:literal $(,)?) => {};
}
