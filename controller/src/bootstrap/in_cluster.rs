//! What the bootstrap of a proxy in a cluster has besides ([ADR 6](../../../docs/adr/0006-proxy-identity.md)).

use std::collections::BTreeMap;

use postern_translator::infrastructure::Stats;
use serde_json::{Value, json};

use super::{Address, Bootstrap};

/// The port of Envoy's admin interface, on loopback only.
pub const ADMIN_PORT: u16 = 19000;
/// The port that answers `GET /ready` and the paths of [`Stats`], and nothing else.
pub const PROBE_PORT: u16 = 19001;
/// The port of Postern's xDS Service.
pub const XDS_PORT: u16 = 18000;
/// Where a proxy finds its [`Bootstrap::files`] and [`CA_FILE`]: the mount of its ConfigMap.
pub const CONFIG_DIRECTORY: &str = "/etc/postern";
/// The bootstrap itself among the [`Bootstrap::files`].
pub const BOOTSTRAP_FILE: &str = "envoy.yaml";
/// The certificates (PEM) that a proxy believes the control plane by, a file beside [`BOOTSTRAP_FILE`]. It changes when
/// the authority rotates; proxies read it again by themselves and must not be restarted for it.
pub const CA_FILE: &str = "ca.crt";
/// The audience of the tokens that proxies present.
pub const TOKEN_AUDIENCE: &str = "postern.dev/xds";
/// Where a proxy finds its token: the mount of a projected volume.
pub const TOKEN_DIRECTORY: &str = "/var/run/secrets/postern.dev";
/// The token in [`TOKEN_DIRECTORY`].
pub const TOKEN_FILE: &str = "token";

const CA_SDS_FILE: &str = "xds-ca.yaml";
/// The name of the secret, read from a file, by which a proxy knows Postern.
pub const CA_SECRET: &str = "xds_ca";
const TOKEN_SDS_FILE: &str = "xds-token.yaml";
/// The name of the secret, read from a file, by which Postern knows a proxy.
pub const TOKEN_SECRET: &str = "xds_token";
const ADMIN_CLUSTER: &str = "postern_admin";
const PROBE_LISTENER: &str = "postern_probe";

/// The Service behind which Postern serves xDS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdsService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
}

impl XdsService {
    /// The name by which proxies reach it, whatever the domain of the cluster is.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// What a proxy in a cluster has and one on the same machine has not.
#[derive(Clone, Debug)]
pub struct InCluster {
    /// What the control plane's certificate must be issued for. Sent as SNI.
    pub server_name: String,
    /// Where the [`Bootstrap::files`] are.
    pub config_directory: String,
    /// Where the token is.
    pub token_directory: String,
    /// Where the probe listener listens.
    pub probe: Address,
    /// What the probe listener serves besides `/ready`.
    pub stats: Option<Stats>,
}

impl Bootstrap {
    /// The bootstrap of the proxies of the Gateway `namespace`/`name` in a cluster.
    pub fn in_cluster(namespace: &str, name: &str, xds: &XdsService) -> Self {
        let admin = Address::Tcp("127.0.0.1".to_owned(), ADMIN_PORT);
        let mut bootstrap = Self::new(namespace, name, Address::Tcp(xds.host(), xds.port), admin);
        bootstrap.in_cluster = Some(InCluster {
            server_name: xds.host(),
            config_directory: CONFIG_DIRECTORY.to_owned(),
            token_directory: TOKEN_DIRECTORY.to_owned(),
            probe: Address::Tcp("0.0.0.0".to_owned(), PROBE_PORT),
            stats: Some(Stats::default()),
        });
        bootstrap
    }

    /// The files that the proxy reads, by name: [`BOOTSTRAP_FILE`], and what it names. [`CA_FILE`] has to lie beside them.
    pub fn files(&self) -> Result<BTreeMap<String, String>, serde_yaml::Error> {
        let mut files = BTreeMap::from([(BOOTSTRAP_FILE.to_owned(), self.to_yaml()?)]);
        if let Some(it) = &self.in_cluster {
            files.insert(CA_SDS_FILE.to_owned(), serde_yaml::to_string(&it.ca_secret())?);
            files.insert(TOKEN_SDS_FILE.to_owned(), serde_yaml::to_string(&it.token_secret())?);
        }
        Ok(files)
    }

    /// The arguments of the Envoy that runs as a Pod. Kubernetes puts the environment variables `POD_NAME` and `NODE_NAME` into
    /// them, which have to come from the downward API: the bootstrap is the same for all Pods of a Gateway.
    pub fn arguments(&self) -> Vec<String> {
        let directory = self.in_cluster.as_ref().map_or(CONFIG_DIRECTORY, |it| it.config_directory.as_str());
        vec![
            "--config-path".to_owned(),
            format!("{directory}/{BOOTSTRAP_FILE}"),
            "--config-yaml".to_owned(),
            json!({"node": {"metadata": {"pod": "$(POD_NAME)", "node": "$(NODE_NAME)"}}}).to_string(),
            // It needs shared memory and buys nothing where a new version is a new Pod.
            "--disable-hot-restart".to_owned(),
        ]
    }
}

impl InCluster {
    /// Adds to the cluster of the control plane: TLS, and the token on every stream.
    pub(super) fn secured(&self, mut cluster: Value) -> Value {
        cluster["connect_timeout"] = json!("5s");
        cluster["dns_lookup_family"] = json!("V4_PREFERRED");
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": self.server_name,
                "common_tls_context": {
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_3",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "combined_validation_context": {
                        "default_validation_context": {"match_typed_subject_alt_names": [
                            {"san_type": "DNS", "matcher": {"exact": self.server_name}},
                        ]},
                        "validation_context_sds_secret_config": {
                            "name": CA_SECRET,
                            "sds_config": self.file_source(CA_SDS_FILE),
                        },
                    },
                },
            },
        });
        let options = &mut cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        options["http_filters"] = json!([
            {
                "name": "envoy.filters.http.credential_injector",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
                    "overwrite": true,
                    "credential": {
                        "name": "envoy.http.injected_credentials.generic",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
                            "credential": {"name": TOKEN_SECRET, "sds_config": self.file_source(TOKEN_SDS_FILE)},
                            "header": "authorization",
                            "header_value_prefix": "Bearer ",
                        },
                    },
                },
            },
            {
                "name": "envoy.filters.http.upstream_codec",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
                },
            },
        ]);
        cluster
    }

    /// The listener for everybody: kubelet and Prometheus come without credentials, the admin interface is for nobody.
    pub(super) fn probe_listener(&self) -> Value {
        let route = |path: &str, to: &str, priority: &str, timeout: &str| {
            json!({
                "match": {
                    "path": path,
                    "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
                },
                "route": {
                    "cluster": ADMIN_CLUSTER, "priority": priority, "timeout": timeout, "prefix_rewrite": to,
                },
            })
        };
        let mut routes = vec![route("/ready", "/ready", "HIGH", "5s")];
        if let Some(Stats { metrics, stats }) = &self.stats {
            let all = [
                ("/metrics", Some(metrics.as_str())),
                ("/stats/prometheus", Some("/stats/prometheus")),
                ("/stats", stats.as_deref()),
            ];
            routes.extend(all.iter().filter_map(|(path, to)| Some(route(path, (*to)?, "DEFAULT", "30s"))));
        }
        json!({
            "name": PROBE_LISTENER,
            "address": self.probe.to_envoy(),
            // A proxy that is busy must not look dead.
            "ignore_global_conn_limit": true,
            "bypass_overload_manager": true,
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": PROBE_LISTENER,
                    "codec_type": "HTTP1",
                    "common_http_protocol_options": {"idle_timeout": "120s"},
                    "request_headers_timeout": "5s",
                    "request_timeout": "10s",
                    "stream_idle_timeout": "30s",
                    "generate_request_id": false,
                    "route_config": {
                        "name": PROBE_LISTENER,
                        "virtual_hosts": [{
                            "name": PROBE_LISTENER,
                            "domains": ["*"],
                            "routes": routes,
                        }],
                    },
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                    }],
                },
            }]}],
        })
    }

    /// The admin interface as an upstream. It is served by the main thread, so few requests for stats run at once, and
    /// readiness does not queue behind them.
    pub(super) fn admin_cluster(admin: &Address) -> Value {
        let limits = |priority: &str| {
            json!({
                "priority": priority, "max_connections": 4, "max_pending_requests": 4, "max_requests": 4,
            })
        };
        json!({
            "name": ADMIN_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "1s",
            "circuit_breakers": {"thresholds": [limits("DEFAULT"), limits("HIGH")]},
            "load_assignment": {
                "cluster_name": ADMIN_CLUSTER,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": admin.to_envoy()}}]}],
            },
        })
    }

    /// A resource that is read again when the kubelet replaces the content of the directory.
    fn file_source(&self, file: &str) -> Value {
        json!({
            "path_config_source": {
                "path": format!("{}/{file}", self.config_directory),
                "watched_directory": {"path": self.config_directory},
            },
            "resource_api_version": "V3",
        })
    }

    fn ca_secret(&self) -> Value {
        json!({"resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": CA_SECRET,
            "validation_context": {
                "trusted_ca": {"filename": format!("{}/{CA_FILE}", self.config_directory)},
                "watched_directory": {"path": self.config_directory},
            },
        }]})
    }

    fn token_secret(&self) -> Value {
        json!({"resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": TOKEN_SECRET,
            "generic_secret": {"secret": {
                "filename": format!("{}/{TOKEN_FILE}", self.token_directory),
                "watched_directory": {"path": self.token_directory},
            }},
        }]})
    }
}
