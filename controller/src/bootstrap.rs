//! The bootstrap configuration of an Envoy that takes everything else from Postern over delta ADS.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Value, json};

/// The name of the cluster that leads to the control plane.
pub const XDS_CLUSTER: &str = "postern_xds";

/// The stats of one upstream cluster that are *not* kept.
///
/// Envoy makes about 115 stats for every cluster, 26 KB each time, and nobody reads most of them. Kept are those that answer a
/// question about a backend: requests by class of status, retries, timeouts and resets, connections and connect failures,
/// health and size, open circuit breakers, TLS errors. Named are the ones to leave out, so that the stats of extensions
/// and of later Envoys stay.
const CLUSTER_NOISE: &str = concat!(
    r"cluster\..*\.(",
    r"assignment_.*|bind_errors|client_ssl_socket_factory\..*|default\.total_match_count|(ex|in)ternal\..*|http[123]\..*|",
    r"circuit_breakers\.(high\..*|default\.(cx_pool_open|remaining_.*|rq_pending_open))|",
    r"lb_.*|max_host_weight|original_dst_.*|retry_or_shadow_abandoned|version|warming_state|(canary|zone)\..*|",
    r"outlier_detection\.ejections_(consecutive_5xx|detected_.*|enforced_[^t].*|success_rate|total)|",
    r"ssl\.((ciphers|curves|sigalgs|versions)\..*|no_certificate|ocsp_.*|session_reused|was_key_usage_invalid)|",
    r"update_(attempt|duration|empty|failure|no_rebuild|success)|",
    r"upstream_cx_(close_notify|connect_(attempts_exceeded|ms|with_0_rtt)|destroy.*|http[123]_total|idle_timeout|length_ms|",
    r"max_.*|none_healthy|overflow|pool_overflow|preconnect_skipped|[rt]x_bytes_.*)|",
    r"upstream_(flow_control_.*|http3_broken|internal_redirect_.*|queue_overloaded)|",
    r"upstream_rq_(0rtt|cancelled|completed|maintenance_mode|max_duration_reached|pending_(active|failure_eject|total)|",
    r"per_cx|per_try_idle_timeout|retry_backoff_.*|rx_reset_no_error)",
    r")",
);

/// Where a server listens: a TCP address or a Unix domain socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host name or IP address, and port.
    Tcp(String, u16),
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

impl Address {
    fn to_envoy(&self) -> Value {
        match self {
            Self::Tcp(host, port) => json!({"socket_address": {"address": host, "port_value": port}}),
            Self::Unix(path) => json!({"pipe": {"path": path}}),
        }
    }

    fn is_host_name(&self) -> bool {
        matches!(self, Self::Tcp(host, _) if host.parse::<std::net::IpAddr>().is_err())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.ip().to_string(), address.port())
    }
}

/// Text that is neither `HOST:PORT` nor `unix:PATH`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT, [IPV6]:PORT or unix:PATH")]
pub struct InvalidAddress;

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(InvalidAddress) } else { Ok(Self::Unix(path.into())) };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let port = port.parse().map_err(|_| InvalidAddress)?;
        if host.is_empty() || host.contains([':', '/', ' ']) {
            return Err(InvalidAddress);
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What the bootstrap of one Envoy says.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The node id: namespace and name of the Gateway, joined by a slash.
    pub node_id: String,
    /// The node cluster: the name of the Gateway.
    pub node_cluster: String,
    /// Where Postern serves xDS.
    pub xds: Address,
    /// Where Envoy's admin interface listens. It is powerful: keep it on loopback or on a protected socket.
    pub admin: Address,
}

impl Bootstrap {
    /// The bootstrap of the Envoys of the Gateway `namespace`/`name`.
    pub fn new(namespace: &str, name: &str, xds: Address, admin: Address) -> Self {
        Self { node_id: format!("{namespace}/{name}"), node_cluster: name.to_owned(), xds, admin }
    }

    /// The configuration as JSON, which Envoy reads as it is.
    pub fn to_json(&self) -> Value {
        json!({
            "node": {"id": self.node_id, "cluster": self.node_cluster},
            "admin": {"address": self.admin.to_envoy()},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{"envoy_grpc": {
                        "cluster_name": XDS_CLUSTER,
                        "skip_envoy_headers": true,
                        // A restarted control plane is found again at once, an absent one is not hammered.
                        "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "3s"}},
                    }}],
                },
                // No timeout: an Envoy that has not heard from Postern yet must not call itself ready.
                "cds_config": {"resource_api_version": "V3", "initial_fetch_timeout": "0s", "ads": {}},
                "lds_config": {"resource_api_version": "V3", "initial_fetch_timeout": "0s", "ads": {}},
            },
            "static_resources": {"clusters": [self.xds_cluster()]},
            "stats_config": {"stats_matcher": {"exclusion_list": {"patterns": [
                {"safe_regex": {"regex": CLUSTER_NOISE}},
            ]}}},
            "deferred_stat_options": {"enable_deferred_creation_stats": true},
            "layered_runtime": {"layers": [
                {"name": "postern", "static_layer": {
                    // The translator limits the size of regular expressions; Envoy's own limit of 100 is lower than
                    // common expressions need.
                    "re2.max_program_size.error_level": 10_000,
                    "re2.max_program_size.warn_level": 10_000,
                }},
                {"name": "admin", "admin_layer": {}},
            ]},
            "overload_manager": {"resource_monitors": [{
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": 50_000,
                },
            }]},
        })
    }

    /// The configuration as YAML, for people.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(&self.to_json())
    }

    fn xds_cluster(&self) -> Value {
        let tcp = matches!(self.xds, Address::Tcp(..));
        let mut cluster = json!({
            "name": XDS_CLUSTER,
            "type": if self.xds.is_host_name() { "STRICT_DNS" } else { "STATIC" },
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": XDS_CLUSTER,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": self.xds.to_envoy()}}]}],
            },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {
                        "connection_keepalive": {"interval": "30s", "timeout": "5s"},
                    }},
                },
            },
        });
        if tcp {
            cluster["upstream_connection_options"] = json!({"tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}});
        }
        cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_prints_them_as_they_were() {
        for text in ["127.0.0.1:18000", "[::1]:18000", "xds.example:443", "unix:/run/x.sock"] {
            assert_eq!(text.parse::<Address>().expect("a valid address").to_string(), text);
        }
        for text in ["", "127.0.0.1", "::1:70000", "host:99999", "unix:", ":80", "http://x:80"] {
            assert_eq!(text.parse::<Address>(), Err(InvalidAddress), "{text}");
        }
    }

    #[test]
    fn names_need_dns() {
        let kind = |xds: &str| {
            let xds = xds.parse().expect("a valid address");
            let bootstrap = Bootstrap::new("default", "web", xds, Address::Tcp("127.0.0.1".into(), 0));
            bootstrap.to_json()["static_resources"]["clusters"][0]["type"].as_str().map(str::to_owned)
        };
        assert_eq!(kind("localhost:1").as_deref(), Some("STRICT_DNS"));
        assert_eq!(kind("127.0.0.1:1").as_deref(), Some("STATIC"));
        assert_eq!(kind("unix:/x").as_deref(), Some("STATIC"));
    }
}
