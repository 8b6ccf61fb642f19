//! What is served: typed, named, versioned, encoded Envoy messages.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message;

mod secrets;

/// The resource types that this server knows.
///
/// The order of the variants is the order in which one snapshot's additions reach a proxy (make before break):
/// what is referred to comes before what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// CDS, `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// EDS, `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    ClusterLoadAssignment,
    /// SDS, `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
    /// LDS, `envoy.config.listener.v3.Listener`.
    Listener,
    /// RDS, `envoy.config.route.v3.RouteConfiguration`.
    RouteConfiguration,
    /// SRDS, `envoy.config.route.v3.ScopedRouteConfiguration`.
    ScopedRouteConfiguration,
    /// VHDS, `envoy.config.route.v3.VirtualHost`.
    VirtualHost,
    /// ECDS, `envoy.config.core.v3.TypedExtensionConfig`.
    ExtensionConfig,
}

impl ResourceType {
    /// How many types there are.
    pub const COUNT: usize = 8;

    /// Every type, in push order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::Secret,
        Self::Listener,
        Self::RouteConfiguration,
        Self::ScopedRouteConfiguration,
        Self::VirtualHost,
        Self::ExtensionConfig,
    ];

    /// The type URL of the messages of this type, `type.googleapis.com/…`.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::ClusterLoadAssignment => {
                "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
            }
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::ScopedRouteConfiguration => {
                "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
            }
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The type with this type URL, if this server knows it.
    pub fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.type_url() == type_url)
    }

    /// Whether an empty first request for this type subscribes to everything (the protocol's legacy wildcard).
    ///
    /// The explicit `*` is understood for every type.
    pub const fn is_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::ScopedRouteConfiguration | Self::VirtualHost)
    }

    /// Position in [`ResourceType::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "CDS",
            Self::ClusterLoadAssignment => "EDS",
            Self::Secret => "SDS",
            Self::Listener => "LDS",
            Self::RouteConfiguration => "RDS",
            Self::ScopedRouteConfiguration => "SRDS",
            Self::VirtualHost => "VHDS",
            Self::ExtensionConfig => "ECDS",
        })
    }
}

/// One resource: a name, a version that is a digest of the content, and the encoded message.
///
/// Two resources are equal when type, name and version are equal: the version must therefore be derived from the
/// (canonical) bytes and from nothing else, so that replicas and restarts agree on it.
pub struct Resource {
    resource_type: ResourceType,
    name: Arc<str>,
    version: Arc<str>,
    body: Bytes,
    eds_name: OnceLock<Option<Arc<str>>>,
    secret_names: OnceLock<Vec<Arc<str>>>,
}

impl Resource {
    /// Creates a resource. `body` is the encoded message without the `Any` around it; `version` must not be empty.
    pub fn new(
        resource_type: ResourceType,
        name: impl Into<Arc<str>>,
        version: impl Into<Arc<str>>,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            resource_type,
            name: name.into(),
            version: version.into(),
            body: body.into(),
            eds_name: OnceLock::new(),
            secret_names: OnceLock::new(),
        }
    }

    /// The type of the message in [`Resource::body`].
    pub fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// The name under which proxies subscribe to it, unique within its type.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shared name.
    pub fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// The digest of the content.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The encoded message, without the `Any` around it.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The name under which a proxy that holds this cluster asks for its endpoints, if it will ask this server
    /// (the cluster is of type EDS and takes its endpoints from ADS). Decoded once.
    pub fn eds_name(&self) -> Option<&Arc<str>> {
        self.eds_name
            .get_or_init(|| {
                if self.resource_type == ResourceType::Cluster {
                    eds_name(&self.name, &self.body)
                } else {
                    None
                }
            })
            .as_ref()
    }

    /// The names of the secrets that a proxy with this cluster asks this server for. Decoded once.
    pub fn secret_names(&self) -> &[Arc<str>] {
        self.secret_names.get_or_init(|| {
            if self.resource_type == ResourceType::Cluster {
                secrets::of_cluster(&self.body)
            } else {
                Vec::new()
            }
        })
    }

    /// The endpoints of a cluster that has none: what is served for a load assignment that does not exist, because
    /// Envoy keeps a cluster warming until it gets an answer and ignores removals (envoy#17980, envoy#32961).
    pub(crate) fn empty_load_assignment(name: &Arc<str>) -> Self {
        let body = EmptyLoadAssignment { cluster_name: name.to_string() }.encode_to_vec();
        Self::new(ResourceType::ClusterLoadAssignment, Arc::clone(name), EMPTY_VERSION, body)
    }

    /// Whether this is what [`Resource::empty_load_assignment`] makes.
    pub(crate) fn is_empty_load_assignment(&self) -> bool {
        &*self.version == EMPTY_VERSION
    }

    /// What a reconnecting proxy says that it holds: a version without content.
    pub(crate) fn claimed(resource_type: ResourceType, name: Arc<str>, version: impl Into<Arc<str>>) -> Self {
        Self::new(resource_type, name, version, Bytes::new())
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.resource_type == other.resource_type && self.version == other.version && self.name == other.name
    }
}

impl Eq for Resource {}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}@{} ({} bytes)", self.resource_type, self.name, self.version, self.body.len())
    }
}

/// The version of a load assignment that stands in for one that does not exist.
const EMPTY_VERSION: &str = "empty";

/// The one field of `envoy.config.endpoint.v3.ClusterLoadAssignment` that an empty one needs.
#[derive(Clone, PartialEq, Message)]
struct EmptyLoadAssignment {
    #[prost(string, tag = "1")]
    cluster_name: String,
}

/// The fields of `envoy.config.cluster.v3.Cluster` that tell where its endpoints come from. Decoding these alone
/// skips over the rest of the message, which for thousands of clusters is the difference that a first push notices.
#[derive(Clone, PartialEq, Message)]
struct ClusterDiscovery {
    #[prost(int32, optional, tag = "2")]
    discovery_type: Option<i32>,
    #[prost(message, optional, tag = "3")]
    eds_cluster_config: Option<EdsClusterConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct EdsClusterConfig {
    #[prost(message, optional, tag = "1")]
    eds_config: Option<Source>,
    #[prost(string, tag = "2")]
    service_name: String,
}

/// The members of `envoy.config.core.v3.ConfigSource` that point away from this stream.
#[derive(Clone, PartialEq, Message)]
struct Source {
    #[prost(bytes = "bytes", optional, tag = "1")]
    path: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    api_config_source: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "8")]
    path_config_source: Option<Bytes>,
}

impl Source {
    /// Whether it is another one than this stream.
    fn is_elsewhere(&self) -> bool {
        self.path.is_some() || self.api_config_source.is_some() || self.path_config_source.is_some()
    }
}

/// `envoy.config.cluster.v3.Cluster.DiscoveryType.EDS`.
const DISCOVERY_TYPE_EDS: i32 = 3;

fn eds_name(cluster: &Arc<str>, body: &Bytes) -> Option<Arc<str>> {
    let discovery = ClusterDiscovery::decode(body.clone()).ok()?;
    if discovery.discovery_type != Some(DISCOVERY_TYPE_EDS) {
        return None;
    }
    let config = discovery.eds_cluster_config.unwrap_or_default();
    let source = config.eds_config.unwrap_or_default();
    if source.is_elsewhere() {
        return None;
    }
    Some(if config.service_name.is_empty() { Arc::clone(cluster) } else { config.service_name.into() })
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::cluster::v3::{
        Cluster, cluster::ClusterDiscoveryType, cluster::DiscoveryType, cluster::EdsClusterConfig,
    };
    use envoy_types::pb::envoy::config::core::v3::{
        AggregatedConfigSource, ConfigSource, PathConfigSource, config_source::ConfigSourceSpecifier,
    };

    use super::*;

    fn cluster(discovery: DiscoveryType, source: ConfigSourceSpecifier, service_name: &str) -> Resource {
        let message = Cluster {
            name: "c".to_owned(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery as i32)),
            eds_cluster_config: Some(EdsClusterConfig {
                eds_config: Some(ConfigSource {
                    config_source_specifier: Some(source),
                    ..Default::default()
                }),
                service_name: service_name.to_owned(),
            }),
            ..Default::default()
        };
        Resource::new(ResourceType::Cluster, "c", "1", message.encode_to_vec())
    }

    #[test]
    fn type_urls_round_trip() {
        for t in ResourceType::ALL {
            assert_eq!(ResourceType::from_type_url(t.type_url()), Some(t));
            assert_eq!(ResourceType::ALL[t.index()], t);
        }
        assert_eq!(ResourceType::from_type_url("type.googleapis.com/envoy.service.runtime.v3.Runtime"), None);
    }

    #[test]
    fn type_urls_are_those_of_the_messages() {
        use envoy_types::pb::envoy::{config, extensions::transport_sockets::tls};
        use prost::Name;
        for (t, url) in [
            (ResourceType::Cluster, config::cluster::v3::Cluster::type_url()),
            (ResourceType::ClusterLoadAssignment, config::endpoint::v3::ClusterLoadAssignment::type_url()),
            (ResourceType::Secret, tls::v3::Secret::type_url()),
            (ResourceType::Listener, config::listener::v3::Listener::type_url()),
            (ResourceType::RouteConfiguration, config::route::v3::RouteConfiguration::type_url()),
            (ResourceType::ScopedRouteConfiguration, config::route::v3::ScopedRouteConfiguration::type_url()),
            (ResourceType::VirtualHost, config::route::v3::VirtualHost::type_url()),
            (ResourceType::ExtensionConfig, config::core::v3::TypedExtensionConfig::type_url()),
        ] {
            assert_eq!(t.type_url(), url);
        }
    }

    #[test]
    fn eds_name_is_the_service_name_or_the_cluster_name() {
        let ads = || ConfigSourceSpecifier::Ads(AggregatedConfigSource {});
        assert_eq!(cluster(DiscoveryType::Eds, ads(), "").eds_name().map(|n| &**n), Some("c"));
        assert_eq!(cluster(DiscoveryType::Eds, ads(), "svc").eds_name().map(|n| &**n), Some("svc"));
        assert_eq!(cluster(DiscoveryType::StrictDns, ads(), "svc").eds_name(), None);
    }

    #[test]
    fn endpoints_from_a_file_are_not_ours() {
        let file = ConfigSourceSpecifier::PathConfigSource(PathConfigSource {
            path: "eds.yaml".to_owned(),
            ..Default::default()
        });
        assert_eq!(cluster(DiscoveryType::Eds, file, "").eds_name(), None);
    }

    #[test]
    fn a_broken_body_is_no_eds_cluster() {
        let broken = Resource::new(ResourceType::Cluster, "c", "1", &b"\xff\xff\xff"[..]);
        assert_eq!(broken.eds_name(), None);
    }
}
