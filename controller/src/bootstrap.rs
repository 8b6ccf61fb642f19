//! The bootstrap configuration of an Envoy that takes everything else from Postern over delta ADS.
//!
//! Beside its sibling on this machine ([`Bootstrap::new`]), a proxy in a cluster ([`Bootstrap::in_cluster`]) checks who the
//! control plane is, proves who it is itself, and shows its readiness and its metrics to the network.

use serde_json::{Value, json};

mod address;
mod in_cluster;
mod overload;
mod stats;

pub use address::{Address, InvalidAddress};
pub use in_cluster::{
    ADMIN_PORT, BOOTSTRAP_FILE, CA_FILE, CA_SECRET, CONFIG_DIRECTORY, InCluster, PROBE_PORT, TOKEN_AUDIENCE,
    TOKEN_DIRECTORY, TOKEN_FILE, TOKEN_SECRET, XDS_PORT, XdsService,
};
pub use overload::{IDLE_SIGNAL_FILE, RUN_DIRECTORY};

/// The name of the cluster that leads to the control plane.
pub const XDS_CLUSTER: &str = "postern_xds";

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
    /// The file by which the proxy is told to end idle connections (see [`crate::drain`]); its directory has to be there.
    pub idle_signal: Option<String>,
    /// What a proxy in a cluster needs besides; `None` for one on the same machine as Postern.
    pub in_cluster: Option<InCluster>,
}

impl Bootstrap {
    /// The bootstrap of the Envoys of the Gateway `namespace`/`name`, next to Postern.
    pub fn new(namespace: &str, name: &str, xds: Address, admin: Address) -> Self {
        Self {
            node_id: format!("{namespace}/{name}"),
            node_cluster: name.to_owned(),
            xds,
            admin,
            idle_signal: None,
            in_cluster: None,
        }
    }

    /// The configuration as JSON, which Envoy reads as it is.
    pub fn to_json(&self) -> Value {
        json!({
            "node": {"id": self.node_id, "cluster": self.node_cluster},
            "admin": {"address": self.admin.to_envoy(), "allow_paths": self.admin_paths()},
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
            "static_resources": self.static_resources(),
            "stats_config": {"stats_matcher": {"exclusion_list": {"patterns": [
                {"safe_regex": {"regex": stats::CLUSTER_NOISE}},
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
            "overload_manager": overload::manager(self.idle_signal.as_deref()),
        })
    }

    /// The configuration as YAML, for people.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(&self.to_json())
    }

    /// What may be asked of the admin interface: what Postern and people with a shell need, and nothing that ends a proxy or changes how it
    /// works. A host name that leads to loopback gets no further either.
    fn admin_paths(&self) -> Vec<Value> {
        const READ: [&str; 7] =
            ["/stats", "/config_dump", "/clusters", "/listeners", "/certs", "/server_info", "/memory"];
        let exact = ["/ready", "/healthcheck/fail"].map(|path| json!({"exact": path}));
        // The supervisor on the same machine ends a proxy by this; in a cluster nobody does.
        let drain = self.in_cluster.is_none().then(|| json!({"exact": "/drain_listeners"}));
        let read = READ.map(|path| json!({"prefix": path}));
        exact.into_iter().chain(drain).chain(read).collect()
    }

    fn static_resources(&self) -> Value {
        match &self.in_cluster {
            None => json!({"clusters": [self.xds_cluster()]}),
            Some(it) => json!({
                "listeners": [it.probe_listener()],
                "clusters": [it.secured(self.xds_cluster()), InCluster::admin_cluster(&self.admin)],
            }),
        }
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

    /// In a cluster nothing that could end a proxy is answered: not even that connections are to be drained.
    #[test]
    fn the_admin_interface_is_for_looking() {
        let service = XdsService { namespace: "postern-system".into(), name: "postern".into(), port: 1 };
        let bootstrap = Bootstrap::in_cluster("default", "web", &service);
        let paths = bootstrap.to_json()["admin"]["allow_paths"].to_string();
        assert!(paths.contains("/healthcheck/fail") && paths.contains("/config_dump"), "{paths}");
        assert!(!paths.contains("drain") && !paths.contains("quit"), "{paths}");
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
