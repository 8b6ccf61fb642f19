//! What a BackendConfigPolicy changes of a cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::cluster::v3::{
    Cluster, OutlierDetection, UpstreamConnectionOptions, cluster,
};
use envoy_types::pb::envoy::config::core::v3::{
    HealthCheck, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as Common, Locality,
    RequestMethod, RuntimeDouble, TcpKeepalive, health_check, http1_protocol_options,
};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use envoy_types::pb::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    },
};
use envoy_types::pb::envoy::r#type::v3::{CodecClientType, Percent};
use envoy_types::pb::google::protobuf::{Struct, UInt64Value, Value, value};

use crate::backend::config::Fields;
use crate::backend::config::balancing::{self, Algorithm, CheckRequest, SlowStart};
use crate::backend::{ClusterId, Upstream, service};
use crate::envoy::{bool_value, duration, extension, u32_value};

/// Envoy's default, which must not be above the greatest ring that is asked for.
const RING_MINIMUM: u64 = 1024;
const RUNTIME_KEY: &str = "postern.slow_start.aggression";

/// Applies everything but what [`protocol`] does, and TLS.
pub(super) fn apply(message: &mut Cluster, id: &ClusterId, fields: &Fields) {
    if let Some(timeout) = fields.connect_timeout {
        message.connect_timeout = duration(timeout);
    }
    if let Some(bytes) = fields.buffer_bytes {
        message.per_connection_buffer_limit_bytes = u32_value(bytes);
    }
    if let Some(keepalive) = &fields.keepalive {
        let tcp_keepalive = TcpKeepalive {
            keepalive_probes: keepalive.probes.and_then(u32_value),
            keepalive_time: keepalive.idle_seconds.and_then(u32_value),
            keepalive_interval: keepalive.interval_seconds.and_then(u32_value),
        };
        message.upstream_connection_options = Some(UpstreamConnectionOptions {
            tcp_keepalive: Some(tcp_keepalive),
            ..UpstreamConnectionOptions::default()
        });
    }
    if let Some(balancer) = &fields.load_balancer {
        balance(message, balancer);
    }
    if let Some(check) = fields.health_check.as_deref().filter(|check| fits(check, id)) {
        message.health_checks = vec![health_check(check, id)];
    }
    if let Some(outliers) = &fields.outlier_detection {
        message.outlier_detection = Some(outlier_detection(outliers));
    }
}

/// Checks by gRPC need HTTP/2: Envoy would refuse the cluster.
pub(crate) fn fits(check: &balancing::HealthCheck, id: &ClusterId) -> bool {
    matches!(check.request, CheckRequest::Http { .. }) || id.upstream == Upstream::Http2
}

/// The protocol that is spoken, with its options.
pub(super) fn protocol(upstream: Upstream, fields: &Fields) -> HttpProtocolOptions {
    let config = match upstream {
        // Endpoints of datagrams are in no cluster of their own.
        Upstream::Http1 | Upstream::Udp => ProtocolConfig::HttpProtocolOptions(http1(fields)),
        Upstream::Http2 => ProtocolConfig::Http2ProtocolOptions(http2(fields)),
    };
    HttpProtocolOptions {
        common_http_protocol_options: fields.http.as_ref().map(|http| Common {
            idle_timeout: http.idle_timeout.and_then(duration),
            max_headers_count: http.max_headers.and_then(u32_value),
            max_stream_duration: http.max_stream_duration.and_then(duration),
            max_requests_per_connection: http.max_requests.and_then(u32_value),
            ..Common::default()
        }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })),
        ..HttpProtocolOptions::default()
    }
}

fn http1(fields: &Fields) -> Http1ProtocolOptions {
    let Some(options) = &fields.http1 else { return Http1ProtocolOptions::default() };
    let keep_case = extension(
        "envoy.http.stateful_header_formatters.preserve_case",
        PreserveCaseFormatterConfig::default(),
    );
    let format = http1_protocol_options::HeaderKeyFormat {
        header_format: Some(http1_protocol_options::header_key_format::HeaderFormat::StatefulFormatter(
            keep_case,
        )),
    };
    Http1ProtocolOptions {
        enable_trailers: options.trailers,
        header_key_format: options.keep_case.then_some(format),
        override_stream_error_on_invalid_http_message: options.lenient.and_then(bool_value),
        ..Http1ProtocolOptions::default()
    }
}

fn http2(fields: &Fields) -> Http2ProtocolOptions {
    let Some(options) = &fields.http2 else { return Http2ProtocolOptions::default() };
    Http2ProtocolOptions {
        initial_stream_window_size: options.stream_window.and_then(u32_value),
        initial_connection_window_size: options.connection_window.and_then(u32_value),
        max_concurrent_streams: options.max_streams.and_then(u32_value),
        override_stream_error_on_invalid_http_message: options.lenient.and_then(bool_value),
        ..Http2ProtocolOptions::default()
    }
}

fn balance(message: &mut Cluster, balancer: &balancing::LoadBalancer) {
    let (policy, config) = match &balancer.algorithm {
        Algorithm::LeastRequest { choices, slow_start } => (
            cluster::LbPolicy::LeastRequest,
            Some(cluster::LbConfig::LeastRequestLbConfig(cluster::LeastRequestLbConfig {
                choice_count: choices.and_then(u32_value),
                slow_start_config: slow_start.as_ref().map(slow),
                ..cluster::LeastRequestLbConfig::default()
            })),
        ),
        Algorithm::RoundRobin { slow_start } => (
            cluster::LbPolicy::RoundRobin,
            Some(cluster::LbConfig::RoundRobinLbConfig(cluster::RoundRobinLbConfig {
                slow_start_config: slow_start.as_ref().map(slow),
            })),
        ),
        Algorithm::RingHash { smallest, greatest, .. } => {
            let size = |value| Some(UInt64Value { value });
            let smallest = smallest.or_else(|| greatest.map(|greatest| greatest.min(RING_MINIMUM)));
            let ring = cluster::RingHashLbConfig {
                minimum_ring_size: smallest.and_then(size),
                maximum_ring_size: greatest.and_then(size),
                ..cluster::RingHashLbConfig::default()
            };
            (cluster::LbPolicy::RingHash, Some(cluster::LbConfig::RingHashLbConfig(ring)))
        }
        Algorithm::Maglev { .. } => (cluster::LbPolicy::Maglev, None),
        Algorithm::Random => (cluster::LbPolicy::Random, None),
    };
    message.lb_policy = policy.into();
    message.lb_config = config;
    let common = message.common_lb_config.get_or_insert_default();
    if let Some(percent) = balancer.panic_percent {
        common.healthy_panic_threshold = Some(Percent { value: percent.into() });
    }
    common.update_merge_window = balancer.merge_window.and_then(duration);
    common.close_connections_on_host_set_change = balancer.close_on_change;
    if balancer.by_zone {
        common.locality_config_specifier =
            Some(cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(
                cluster::common_lb_config::LocalityWeightedLbConfig {},
            ));
    }
}

/// Hashes the names of hosts, as Envoy can where the DNS leads to them.
pub(super) fn hash_host_names(message: &mut Cluster) {
    let common = message.common_lb_config.get_or_insert_default();
    common.consistent_hashing_lb_config = Some(cluster::common_lb_config::ConsistentHashingLbConfig {
        use_hostname_for_hashing: true,
        ..cluster::common_lb_config::ConsistentHashingLbConfig::default()
    });
}

fn slow(slow_start: &SlowStart) -> cluster::SlowStartConfig {
    cluster::SlowStartConfig {
        slow_start_window: slow_start.window.and_then(duration),
        aggression: slow_start
            .aggression
            .map(|default_value| RuntimeDouble { default_value, runtime_key: RUNTIME_KEY.to_owned() }),
        min_weight_percent: slow_start.first_percent.map(|percent| Percent { value: percent.into() }),
    }
}

fn health_check(check: &balancing::HealthCheck, id: &ClusterId) -> HealthCheck {
    // Envoy would take the name of the cluster, which is no name of a host.
    let host = |given: &Option<String>| given.clone().unwrap_or_else(|| id.authority());
    let checker = match &check.request {
        CheckRequest::Http { host: given, path, method } => {
            health_check::HealthChecker::HttpHealthCheck(health_check::HttpHealthCheck {
                host: host(given),
                path: path.clone(),
                codec_client_type: match id.upstream {
                    Upstream::Http2 => CodecClientType::Http2.into(),
                    Upstream::Http1 | Upstream::Udp => CodecClientType::Http1.into(),
                },
                method: RequestMethod::from_str_name(method.as_str()).unwrap_or(RequestMethod::Get).into(),
                ..health_check::HttpHealthCheck::default()
            })
        }
        CheckRequest::Grpc { service, authority } => {
            health_check::HealthChecker::GrpcHealthCheck(health_check::GrpcHealthCheck {
                service_name: service.clone(),
                authority: host(authority),
                ..health_check::GrpcHealthCheck::default()
            })
        }
    };
    HealthCheck {
        timeout: duration(check.timeout),
        interval: duration(check.interval),
        // Envoy checks a backend without requests once a minute only, and its first request would find what was a minute ago.
        no_traffic_interval: duration(check.interval),
        unhealthy_threshold: u32_value(check.unhealthy_threshold),
        healthy_threshold: u32_value(check.healthy_threshold),
        health_checker: Some(checker),
        ..HealthCheck::default()
    }
}

fn outlier_detection(outliers: &balancing::OutlierDetection) -> OutlierDetection {
    let off = outliers.consecutive_5xx == 0;
    OutlierDetection {
        consecutive_5xx: u32_value(outliers.consecutive_5xx.max(1)),
        enforcing_consecutive_5xx: if off { u32_value(0) } else { None },
        // What the policy does not speak of takes no endpoint out.
        enforcing_success_rate: u32_value(0),
        interval: duration(outliers.interval),
        base_ejection_time: duration(outliers.base_ejection),
        max_ejection_percent: u32_value(outliers.max_percent),
        ..OutlierDetection::default()
    }
}

/// Makes endpoints what Envoy can weigh by zone: where hashes decide, it sends nothing to those that are in none.
pub(crate) fn weighed(endpoints: &mut LocalityLbEndpoints) {
    const NO_ZONE: &str = "none";
    endpoints
        .locality
        .get_or_insert_with(|| Locality { sub_zone: NO_ZONE.to_owned(), ..Locality::default() });
    let count = u32::try_from(endpoints.lb_endpoints.len()).unwrap_or(u32::MAX);
    endpoints.load_balancing_weight = u32_value(count);
}

/// The metadata of an endpoint that Envoy hashes instead of its socket.
const HASH_KEY: (&str, &str) = ("envoy.lb", "hash_key");

/// Lets the name count that `names` has for the socket of an endpoint of the assignment, not the socket itself.
pub(crate) fn name_endpoints(message: &mut ClusterLoadAssignment, names: &BTreeMap<SocketAddr, String>) {
    for endpoint in message.endpoints.iter_mut().flat_map(|locality| &mut locality.lb_endpoints) {
        let Some(name) = service::endpoint_address(endpoint).and_then(|socket| names.get(&socket)) else {
            continue;
        };
        let value = Value { kind: Some(value::Kind::StringValue(name.clone())) };
        let fields = Struct { fields: [(HASH_KEY.1.to_owned(), value)].into() };
        endpoint.metadata.get_or_insert_default().filter_metadata.insert(HASH_KEY.0.to_owned(), fields);
    }
}
