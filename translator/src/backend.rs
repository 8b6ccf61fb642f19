//! Backends: what a backendRef resolves to, and the Envoy cluster and endpoints of each.
//!
//! A cluster is named after the backend, never after a route: two routes to one Service share one cluster, and
//! reordering routes changes no cluster (renamed clusters are how a control plane loses requests).

pub(crate) mod resolve;
pub(crate) mod service;
pub(crate) mod static_backend;

use std::fmt;

use crate::object::NamespacedName;

/// The object behind a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BackendObject {
    /// One port of a Service.
    Service(NamespacedName, u16),
    /// A `Backend` of type Static.
    Static(NamespacedName),
}

/// The protocol that the backend speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Upstream {
    /// HTTP/1.1, WebSocket upgrades included.
    #[default]
    Http1,
    /// HTTP/2 from the first byte (`kubernetes.io/h2c`, `grpc`).
    Http2,
    /// HTTP/1.1 over TLS, checked against the system's certificate authorities (`https`, `kubernetes.io/wss`).
    Http1OverTls,
}

/// The identity of an Envoy cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClusterId {
    pub(crate) backend: BackendObject,
    /// What changes the connection to the backend is part of the identity, so that a changed protocol makes a
    /// new cluster before the old one goes.
    pub(crate) upstream: Upstream,
}

impl ClusterId {
    /// The xDS name of the cluster and of its ClusterLoadAssignment.
    pub(crate) fn name(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            BackendObject::Service(name, port) => write!(f, "{name}:{port}")?,
            BackendObject::Static(name) => write!(f, "backend/{name}")?,
        }
        match self.upstream {
            Upstream::Http1 => Ok(()),
            Upstream::Http2 => f.write_str("~h2"),
            Upstream::Http1OverTls => f.write_str("~tls"),
        }
    }
}
