//! Backends: what a backendRef resolves to, and the Envoy cluster and endpoints of each.
//!
//! A cluster is named after the backend, never after a route: two routes to one Service share one cluster, and
//! reordering routes changes no cluster (renamed clusters are how a control plane loses requests).

pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod external;
pub(crate) mod forward_proxy;
pub(crate) mod resolve;
pub(crate) mod service;
pub(crate) mod static_backend;
pub(crate) mod tls_policy;
pub(crate) mod traffic_policy;
pub(crate) mod x_backend;

use std::fmt;

use k8s_openapi::api::core::v1::Service;

use crate::dependency::Reader;
use crate::infrastructure::PortProtocol;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::session::Session;

/// The object behind a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BackendObject {
    /// One port of a Service.
    Service(NamespacedName, u16),
    /// One port of a ServiceImport.
    Import(NamespacedName, u16),
    /// A `Backend` of type Static.
    Static(NamespacedName),
    /// An `XBackend`.
    XBackend(NamespacedName),
    /// All `Backend`s of type DynamicForwardProxy.
    ForwardProxy,
}

impl BackendObject {
    /// The object; where it is not just one, a key that no object has.
    pub(crate) fn key(&self) -> ObjectKey {
        let (kind, name) = match self {
            Self::ForwardProxy => return ObjectKey::new(Kind::Backend, "", ""),
            Self::Service(name, _) => (Kind::Service, name),
            Self::Import(name, _) => (Kind::ServiceImport, name),
            Self::Static(name) => (Kind::Backend, name),
            Self::XBackend(name) => (Kind::XBackend, name),
        };
        ObjectKey::new(kind, &name.namespace, &name.name)
    }

    /// Comes before all backends of the object `key`; `None` if objects of the kind are no backends.
    pub(crate) fn first_of(key: &ObjectKey) -> Option<Self> {
        match key.kind {
            Kind::Service => Some(Self::Service(key.namespaced_name(), 0)),
            Kind::ServiceImport => Some(Self::Import(key.namespaced_name(), 0)),
            Kind::Backend => Some(Self::Static(key.namespaced_name())),
            Kind::XBackend => Some(Self::XBackend(key.namespaced_name())),
            _ => None,
        }
    }
}

/// The name of a backend, as a Host header says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HostName {
    Known(String),
    /// Each endpoint has its own, or none.
    OfEndpoint,
    /// It is that of the request.
    OfRequest,
}

/// What the Host header becomes where it is to be that of the backend.
pub(crate) fn host_name(reader: &Reader<'_>, backend: &BackendObject) -> HostName {
    match backend {
        BackendObject::Service(name, _) => {
            let service = reader.get::<Service>(&name.namespace, &name.name);
            if service.is_some_and(|service| external::is_external_name(service)) {
                return HostName::OfEndpoint;
            }
            HostName::Known(format!("{}.{}.svc.cluster.local", name.name, name.namespace))
        }
        BackendObject::Import(name, _) => {
            HostName::Known(format!("{}.{}.svc.clusterset.local", name.name, name.namespace))
        }
        BackendObject::Static(_) | BackendObject::XBackend(_) => HostName::OfEndpoint,
        BackendObject::ForwardProxy => HostName::OfRequest,
    }
}

/// How sessions with a backend are kept: as it says itself, else as the policy on it says.
pub(crate) fn session(reader: &Reader<'_>, backend: &BackendObject) -> Option<Session> {
    let own = match backend {
        BackendObject::XBackend(name) => x_backend::session(reader, name),
        BackendObject::Service(..) | BackendObject::Import(..) | BackendObject::Static(_) => None,
        BackendObject::ForwardProxy => return None,
    };
    own.or_else(|| traffic_policy::on(reader, &backend.key()).session)
}

/// What a backend gets, as far as it matters to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Traffic {
    /// Requests, as the backend wants them.
    Requests,
    /// Requests of gRPC, which needs HTTP/2 whatever the backend says or does not say.
    Grpc,
    /// The bytes of a TCP connection, or of a TLS connection that ended at the Gateway.
    Connections,
    /// TLS that ends at the backend: whatever asks for TLS towards it has been done already.
    Ciphertext,
    /// UDP datagrams.
    Datagrams,
}

impl Traffic {
    /// The transport protocol of the backend's port.
    pub(crate) const fn transport(self) -> PortProtocol {
        match self {
            Self::Datagrams => PortProtocol::Udp,
            Self::Requests | Self::Grpc | Self::Connections | Self::Ciphertext => PortProtocol::Tcp,
        }
    }
}

/// The protocol that the backend speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Upstream {
    /// HTTP/1.1, WebSocket upgrades included; also connections that are carried as they are, for which Envoy does not look
    /// at the options for HTTP.
    #[default]
    Http1,
    /// HTTP/2 from the first byte (`kubernetes.io/h2c`, `grpc`).
    Http2,
    /// UDP datagrams.
    Udp,
}

/// How the connection to the backend is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Security {
    /// Not at all.
    #[default]
    Cleartext,
    /// By TLS as each host of a `Backend` says.
    OfHosts,
    /// By TLS, as a BackendTLSPolicy or an XBackend says, else checked against the system's certificate authorities (`https`,
    /// `kubernetes.io/wss`).
    Tls,
    /// By TLS with the client certificate of this Gateway.
    Mutual(Box<NamespacedName>),
}

/// The identity of an Envoy cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClusterId {
    pub(crate) backend: BackendObject,
    /// What changes the connection to the backend is part of the identity, so that a changed protocol makes a
    /// new cluster before the old one goes. What a policy says about TLS is not: the cluster is changed in its place.
    pub(crate) upstream: Upstream,
    pub(crate) security: Security,
}

impl ClusterId {
    /// The xDS name of the cluster and of its ClusterLoadAssignment.
    pub(crate) fn name(&self) -> String {
        self.to_string()
    }

    /// The transport protocol of the backend's port.
    pub(crate) fn transport(&self) -> PortProtocol {
        if self.upstream == Upstream::Udp { PortProtocol::Udp } else { PortProtocol::Tcp }
    }

    /// True if it never becomes an Envoy cluster: the endpoints go into the one cluster of each UDP listener (see
    /// `envoy::listener::datagrams`).
    pub(crate) fn is_part_of_listener(&self) -> bool {
        self.upstream == Upstream::Udp
    }

    /// The `:authority` of requests that Envoy itself makes; the name of the cluster, which Envoy would take, is none.
    pub(crate) fn authority(&self) -> String {
        match &self.backend {
            BackendObject::Service(name, port) => format!("{}.{}.svc:{port}", name.name, name.namespace),
            BackendObject::Import(name, port) => {
                format!("{}.{}.svc.clusterset.local:{port}", name.name, name.namespace)
            }
            BackendObject::Static(name) | BackendObject::XBackend(name) => {
                format!("{}.{}", name.name, name.namespace)
            }
            BackendObject::ForwardProxy => String::new(),
        }
    }

    /// The cluster for what comes in at `gateway`, which has a certificate to show where TLS is spoken. What it shows is nobody
    /// else's.
    pub(crate) fn shown_by(&self, gateway: &NamespacedName) -> Self {
        let mut id = self.clone();
        if id.security != Security::Cleartext {
            id.security = Security::Mutual(Box::new(gateway.clone()));
        }
        id
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            BackendObject::Service(name, port) => write!(f, "{name}:{port}")?,
            BackendObject::Import(name, port) => write!(f, "import/{name}:{port}")?,
            BackendObject::Static(name) => write!(f, "backend/{name}")?,
            BackendObject::XBackend(name) => write!(f, "xbackend/{name}")?,
            BackendObject::ForwardProxy => f.write_str("dynamic-forward-proxy")?,
        }
        f.write_str(match self.upstream {
            Upstream::Http1 => "",
            Upstream::Http2 => "~h2",
            Upstream::Udp => "~udp",
        })?;
        f.write_str(match self.security {
            Security::Cleartext | Security::OfHosts => "",
            Security::Tls => "~tls",
            Security::Mutual(_) => "~mtls",
        })
    }
}
