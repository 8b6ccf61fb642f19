//! Envoy resources as they leave the translator: encoded once, canonical, with a version that is a
//! function of the content alone.

use std::sync::Arc;

use bytes::Bytes;
use prost::{Message, Name};

use crate::canonical;

/// The xDS resource types that the translator emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// CDS, `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// EDS, `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    ClusterLoadAssignment,
    /// LDS, `envoy.config.listener.v3.Listener`.
    Listener,
    /// RDS, `envoy.config.route.v3.RouteConfiguration`. Today all of them travel inside scopes.
    RouteConfiguration,
    /// SRDS, `envoy.config.route.v3.ScopedRouteConfiguration`.
    ScopedRouteConfiguration,
    /// SDS, `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
    /// ECDS, `envoy.config.core.v3.TypedExtensionConfig`: where connections go.
    ExtensionConfig,
}

/// A short digest, in hexadecimal, for names that must not move and need not be read.
pub(crate) fn digest(bytes: &[u8]) -> String {
    const DIGITS: usize = 10;
    let mut digest = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes));
    digest.truncate(DIGITS);
    digest
}

impl ResourceType {
    /// Every type, in the order in which the translator lists resources.
    pub const ALL: [Self; 7] = [
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::Listener,
        Self::RouteConfiguration,
        Self::ScopedRouteConfiguration,
        Self::Secret,
        Self::ExtensionConfig,
    ];

    /// The full name of the protobuf message.
    pub const fn message_name(self) -> &'static str {
        match self {
            Self::Cluster => "envoy.config.cluster.v3.Cluster",
            Self::ClusterLoadAssignment => "envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
            Self::ScopedRouteConfiguration => "envoy.config.route.v3.ScopedRouteConfiguration",
            Self::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The name of the message without its package, for people.
    pub fn short_name(self) -> &'static str {
        let name = self.message_name();
        name.rsplit_once('.').map_or(name, |(_, short)| short)
    }

    /// The type URL under which xDS serves the resource.
    pub fn type_url(self) -> String {
        format!("type.googleapis.com/{}", self.message_name())
    }
}

/// One encoded Envoy resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Which xDS service carries it.
    pub resource_type: ResourceType,
    /// The public xDS name; it never depends on the position of anything.
    pub name: String,
    /// Digest of `body`: equal on every replica, every run, every restart.
    pub version: String,
    /// The canonical encoding of the message, without an `Any` around it.
    pub body: Bytes,
}

impl Resource {
    /// Encodes `message` canonically and derives the version from the bytes.
    pub(crate) fn new<M: Message + Name>(
        resource_type: ResourceType,
        name: impl Into<String>,
        message: &M,
    ) -> Arc<Self> {
        debug_assert_eq!(M::full_name(), resource_type.message_name());
        Self::encoded(resource_type, name, &message.encode_to_vec())
    }

    /// The same for a message that is encoded already.
    pub(crate) fn encoded(resource_type: ResourceType, name: impl Into<String>, encoded: &[u8]) -> Arc<Self> {
        let body = canonical::canonical(resource_type.message_name(), encoded);
        let version = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&body));
        Arc::new(Self { resource_type, name: name.into(), version, body: body.into() })
    }
}

/// A resource that appeared, changed or went away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceChange {
    /// The type of the resource.
    pub resource_type: ResourceType,
    /// The name of the resource.
    pub name: String,
    /// The new content; `None` when the resource is gone.
    pub resource: Option<Arc<Resource>>,
}
