//! Real Envoy processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use crate::client::Call;
use crate::wait::until;

/// The Envoy binary: `POSTERN_ENVOY`, else `envoy` on `PATH`, else what `hack/envoy.sh` installs.
pub fn find_envoy() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| search().expect("an Envoy binary (set POSTERN_ENVOY to one)")).clone()
}

fn search() -> anyhow::Result<PathBuf> {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&directories).map(|it| it.join("envoy")).find(|it| it.is_file());
    if let (None, Some(found)) = (std::env::var_os("POSTERN_ENVOY"), on_path) {
        return Ok(found);
    }
    crate::programs::find("POSTERN_ENVOY", "hack/envoy.sh")
}

/// One Envoy process with its administration interface.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    admin: u16,
    log: PathBuf,
}

impl Envoy {
    /// Starts an Envoy whose node is `node` and whose aggregated discovery service is at `xds`, and which asks the DNS server at
    /// `names` and has these environment variables besides ours; its files go to `directory`. It drains listeners for `drain`. Returns
    /// as soon as its administration interface answers.
    pub async fn start(
        directory: &Path,
        node: &str,
        xds: SocketAddr,
        names: SocketAddr,
        drain: Duration,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let mut bootstrap = bootstrap(node, xds);
        bootstrap["typed_dns_resolver_config"] = json!({
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {
                    "address": names.ip().to_string(), "port_value": names.port(), "protocol": "UDP",
                }}],
            },
        });
        let bootstrap = serde_json::to_string_pretty(&bootstrap).unwrap();
        Self::launch(directory, &bootstrap, drain, environment).await
    }

    /// Starts an Envoy with the given bootstrap (JSON or YAML). Its administration interface is
    /// found where the bootstrap says, or, for port 0, by the file that Envoy writes.
    pub async fn start_with(directory: &Path, bootstrap: &str) -> Self {
        Self::launch(directory, bootstrap, Duration::from_secs(1), &BTreeMap::new()).await
    }

    async fn launch(
        directory: &Path,
        bootstrap: &str,
        drain: Duration,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        std::fs::create_dir_all(directory).expect("create Envoy's directory");
        let config = directory.join("bootstrap.yaml");
        let log = directory.join("envoy.log");
        let admin_path = directory.join("admin.address");
        std::fs::write(&config, bootstrap).expect("write Envoy's bootstrap");
        let output = std::fs::File::create(directory.join("envoy.out")).expect("create Envoy's output file");
        let child = Command::new(find_envoy())
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin_path)
            .arg("--log-path")
            .arg(&log)
            .args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "info"])
            .args(["--drain-time-s", &drain.as_secs().to_string()])
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("share Envoy's output file"))
            .stderr(output)
            .spawn()
            .expect("start Envoy");
        let mut envoy = Self { child, admin: 0, log };
        envoy.admin = until("administration interface of Envoy", || {
            let read = std::fs::read_to_string(&admin_path);
            let exited = envoy.child.try_wait().ok().flatten();
            let log = envoy.log.clone();
            async move {
                if let Some(status) = exited {
                    // No point in waiting: make the reason visible at once.
                    panic!("Envoy exited with {status}:\n{}", tail(&log));
                }
                let text = read.map_err(|error| error.to_string())?;
                let address: SocketAddr = text.trim().parse().map_err(|error| format!("{text}: {error}"))?;
                Ok(address.port())
            }
        })
        .await;
        envoy
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The port of the administration interface.
    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `GET path` of the administration interface.
    pub async fn admin(&self, path: &str) -> anyhow::Result<String> {
        let answer = Call::get(self.admin, "admin", path).send().await?;
        if answer.status != 200 {
            bail!("{path} of the administration interface answered {}: {}", answer.status, answer.text());
        }
        Ok(answer.text())
    }

    /// The counters and gauges whose names match the regular expression `filter`.
    pub async fn stats(&self, filter: &str) -> BTreeMap<String, u64> {
        let filter: String = filter
            .bytes()
            .map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) => {
                    char::from(byte).to_string()
                }
                byte => format!("%{byte:02X}"),
            })
            .collect();
        let text = self.admin(&format!("/stats?filter={filter}")).await.expect("read Envoy's statistics");
        text.lines()
            .filter_map(|line| line.rsplit_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// Every configuration that Envoy rejected so far: statistic and count, zero counts left out.
    pub async fn rejected(&self) -> BTreeMap<String, u64> {
        let mut all = self.stats(r"(update_rejected|update_failure|create_failure)$").await;
        // A stream that ends counts as a failed update; a restart of the server is no rejection.
        all.retain(|name, count| *count > 0 && !name.ends_with("update_failure"));
        all
    }

    /// The full configuration in force, with endpoints.
    pub async fn config_dump(&self) -> Value {
        let text = self.admin("/config_dump?include_eds").await.expect("read Envoy's configuration");
        serde_json::from_str(&text).expect("Envoy's configuration is JSON")
    }

    /// The ports of the listeners that accept connections now.
    pub async fn listening(&self) -> Vec<u16> {
        let text = self.admin("/listeners?format=json").await.expect("read Envoy's listeners");
        let value: Value = serde_json::from_str(&text).expect("Envoy's listeners are JSON");
        let statuses = value["listener_statuses"].as_array().cloned().unwrap_or_default();
        statuses
            .iter()
            .filter_map(|it| it["local_address"]["socket_address"]["port_value"].as_u64())
            .filter_map(|port| u16::try_from(port).ok())
            .collect()
    }

    /// The last lines of Envoy's log.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the end of {}:\n{}", self.log.display(), self.log_tail());
        }
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|it| !it.contains("[info]")).collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn bootstrap(node: &str, xds: SocketAddr) -> Value {
    let ads = json!({"ads": {}, "resource_api_version": "V3"});
    json!({
        "node": {"id": node, "cluster": node},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        // As the shipped bootstrap does: the default refuses common regular expressions.
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {
            "re2.max_program_size.error_level": 10_000,
            "re2.max_program_size.warn_level": 10_000,
        }}]},
        "static_resources": {
            "clusters": [{
                "name": "xds",
                "type": "STATIC",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": {"http2_protocol_options": {}},
                    },
                },
                "load_assignment": {
                    "cluster_name": "xds",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                        "address": xds.ip().to_string(), "port_value": xds.port(),
                    }}}}]}],
                },
            }],
        },
    })
}
