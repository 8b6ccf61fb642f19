//! Real Envoy messages, small ones.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ConfigSource, TransportSocket, TypedExtensionConfig, transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, ScopedRouteConfiguration, VirtualHost,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, SdsSecretConfig, Secret, UpstreamTlsContext,
};
use envoy_types::util::pack_any;
use postern_xds::{Resource, ResourceType};
use prost::Message;

/// A resource whose version is a digest of its bytes.
pub(crate) fn resource(resource_type: ResourceType, name: &str, message: &impl Message) -> Arc<Resource> {
    let body = message.encode_to_vec();
    let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&body));
    Arc::new(Resource::new(resource_type, name, version, body))
}

/// An EDS cluster. `content` stands for everything else that a cluster may say.
pub(crate) fn cluster(name: &str, content: u32) -> Arc<Resource> {
    eds_cluster(name, content, "")
}

/// An EDS cluster that asks for its endpoints under another name.
pub(crate) fn eds_cluster(name: &str, content: u32, service_name: &str) -> Arc<Resource> {
    let message = Cluster {
        name: name.to_owned(),
        alt_stat_name: format!("{content}"),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ConfigSource {
                config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
                ..ConfigSource::default()
            }),
            service_name: service_name.to_owned(),
        }),
        ..Cluster::default()
    };
    resource(ResourceType::Cluster, name, &message)
}

/// A cluster that needs nothing from EDS, and a secret to trust its backend.
pub(crate) fn tls_cluster(name: &str, content: u32, secret: &str) -> Arc<Resource> {
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    };
    let config = SdsSecretConfig { name: secret.to_owned(), sds_config: Some(source) };
    let tls = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(config)),
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    let message = Cluster {
        name: name.to_owned(),
        alt_stat_name: format!("{content}"),
        transport_socket: Some(TransportSocket {
            name: "tls".to_owned(),
            config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(tls))),
        }),
        ..Cluster::default()
    };
    resource(ResourceType::Cluster, name, &message)
}

/// A cluster that needs nothing from EDS.
pub(crate) fn static_cluster(name: &str, content: u32) -> Arc<Resource> {
    let message =
        Cluster { name: name.to_owned(), alt_stat_name: format!("{content}"), ..Cluster::default() };
    resource(ResourceType::Cluster, name, &message)
}

/// Endpoints, as many empty localities as `content` says.
pub(crate) fn endpoints(name: &str, content: u32) -> Arc<Resource> {
    let message = ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: (0..=content)
            .map(|priority| LocalityLbEndpoints { priority, ..LocalityLbEndpoints::default() })
            .collect(),
        ..ClusterLoadAssignment::default()
    };
    resource(ResourceType::ClusterLoadAssignment, name, &message)
}

pub(crate) fn listener(name: &str, content: u32) -> Arc<Resource> {
    let message =
        Listener { name: name.to_owned(), stat_prefix: format!("{content}"), ..Listener::default() };
    resource(ResourceType::Listener, name, &message)
}

pub(crate) fn secret(name: &str, content: u32) -> Arc<Resource> {
    let message = Secret { name: format!("{name}-{content}"), ..Secret::default() };
    resource(ResourceType::Secret, name, &message)
}

/// Routes that lead to these clusters.
pub(crate) fn route_configuration(name: &str, clusters: &[&str]) -> RouteConfiguration {
    let route = |cluster: &&str| Route {
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster((*cluster).to_owned())),
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "host".to_owned(),
            routes: clusters.iter().map(route).collect(),
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    }
}

pub(crate) fn routes(name: &str, clusters: &[&str]) -> Arc<Resource> {
    resource(ResourceType::RouteConfiguration, name, &route_configuration(name, clusters))
}

/// A scope with its routes inline.
pub(crate) fn scope(name: &str, clusters: &[&str]) -> Arc<Resource> {
    let message = ScopedRouteConfiguration {
        name: name.to_owned(),
        route_configuration: Some(route_configuration(name, clusters)),
        ..ScopedRouteConfiguration::default()
    };
    resource(ResourceType::ScopedRouteConfiguration, name, &message)
}

/// A filter chain's TCP proxy, which leads to a cluster.
pub(crate) fn tcp_proxy(name: &str, cluster: &str) -> Arc<Resource> {
    let proxy = TcpProxy {
        stat_prefix: name.to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..TcpProxy::default()
    };
    let message = TypedExtensionConfig { name: name.to_owned(), typed_config: Some(pack_any(proxy)) };
    resource(ResourceType::ExtensionConfig, name, &message)
}

/// The clusters that a route configuration, a scope or a TCP proxy leads to.
pub(crate) fn referred_clusters(resource: &Resource) -> Vec<String> {
    if resource.resource_type() == ResourceType::ExtensionConfig {
        let config = TypedExtensionConfig::decode(resource.body().clone()).ok();
        let proxy = config.and_then(|config| TcpProxy::decode(config.typed_config?.value.as_slice()).ok());
        return match proxy.and_then(|proxy| proxy.cluster_specifier) {
            Some(tcp_proxy::ClusterSpecifier::Cluster(cluster)) => vec![cluster],
            _ => Vec::new(),
        };
    }
    let config = match resource.resource_type() {
        ResourceType::RouteConfiguration => RouteConfiguration::decode(resource.body().clone()).ok(),
        ResourceType::ScopedRouteConfiguration => ScopedRouteConfiguration::decode(resource.body().clone())
            .ok()
            .and_then(|scope| scope.route_configuration),
        _ => None,
    };
    config
        .into_iter()
        .flat_map(|config| config.virtual_hosts)
        .flat_map(|host| host.routes)
        .filter_map(|route| match route.action {
            Some(Action::Route(RouteAction {
                cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
                ..
            })) => Some(cluster),
            _ => None,
        })
        .collect()
}
