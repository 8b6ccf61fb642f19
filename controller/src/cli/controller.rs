//! `postern controller`.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgAction, Args};
use ipnet::IpNet;
use postern_translator::CONTROLLER_NAME;

use super::commands::runtime;
use crate::controller::{self, ControllerOptions};
use crate::telemetry::log::LogFormat;

/// Where the namespace of a pod is written.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The namespace that the manifests install into.
pub(super) const DEFAULT_NAMESPACE: &str = "postern-system";

/// Options of `controller`.
#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// Where proxies get their configuration, over TLS.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "POSTERN_XDS_ADDRESS",
        default_value = "0.0.0.0:18000",
        help_heading = "Addresses"
    )]
    xds_address: SocketAddr,

    /// Where /healthz, /readyz and /metrics are.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "POSTERN_HEALTH_ADDRESS",
        default_value = "0.0.0.0:8080",
        help_heading = "Addresses"
    )]
    health_address: SocketAddr,

    /// Where `postern status` and `postern proxy config` read, through a port-forward; a loopback address.
    #[arg(long, value_name = "ADDR:PORT", env = "POSTERN_DEBUG_ADDRESS", default_value = "127.0.0.1:8081", value_parser = loopback, help_heading = "Addresses")]
    debug_address: SocketAddr,

    /// The namespace of the controller itself. Default: that of its pod, else postern-system.
    #[arg(long, value_name = "NAMESPACE", env = "POSTERN_NAMESPACE", help_heading = "This controller")]
    namespace: Option<String>,

    /// The name of this replica, unique among them. Default: the name of its pod, which is its host name.
    #[arg(long, value_name = "NAME", env = "POSTERN_IDENTITY", help_heading = "This controller")]
    identity: Option<String>,

    /// The uid of the pod of this replica; what it shows the other replicas goes with it.
    #[arg(long, value_name = "UID", env = "POSTERN_POD_UID", help_heading = "This controller")]
    pod_uid: Option<String>,

    /// Write statuses and infrastructure only while holding a Lease. Without it there must be one replica.
    #[arg(long, value_name = "BOOL", env = "POSTERN_LEADER_ELECTION", default_value_t = true, action = ArgAction::Set, help_heading = "This controller")]
    leader_election: bool,

    /// The image of Postern, of which proxies take the program that drains them.
    #[arg(long, value_name = "IMAGE", env = "POSTERN_IMAGE", default_value = concat!("postern.dev/postern:", env!("CARGO_PKG_VERSION")), help_heading = "This controller")]
    image: String,

    /// The image of Envoy, where GatewayParameters name none.
    #[arg(long, value_name = "IMAGE", env = "POSTERN_ENVOY_IMAGE", default_value = DEFAULT_ENVOY_IMAGE, help_heading = "This controller")]
    envoy_image: String,

    /// Watch only this namespace; may be given several times, or as a list with commas.
    ///
    /// Then nothing that is not in a namespace is read, and Roles in these namespaces are enough.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "POSTERN_WATCH_NAMESPACE",
        value_delimiter = ',',
        help_heading = "What is served"
    )]
    watch_namespace: Vec<String>,

    /// Only objects in namespaces with such labels count, such as `team in (red, blue)`.
    #[arg(
        long,
        value_name = "SELECTOR",
        env = "POSTERN_NAMESPACE_SELECTOR",
        conflicts_with = "watch_namespace",
        help_heading = "What is served"
    )]
    namespace_selector: Option<String>,

    /// The GatewayClass to serve with --watch-namespace, where GatewayClasses cannot be read.
    #[arg(
        long,
        value_name = "NAME",
        env = "POSTERN_GATEWAY_CLASS",
        default_value = "postern",
        help_heading = "What is served"
    )]
    gateway_class: String,

    /// GatewayClasses with this controllerName are served.
    #[arg(long, value_name = "NAME", env = "POSTERN_CONTROLLER_NAME", default_value = CONTROLLER_NAME, help_heading = "What is served")]
    controller_name: String,

    /// Addresses to which Backends of type DynamicForwardProxy send nothing, such as the ranges of the cluster; may be given several times, or as
    /// a list with commas.
    ///
    /// The proxy's own addresses, link-local addresses and the metadata services of clouds are always among them.
    #[arg(
        long,
        value_name = "CIDR",
        env = "POSTERN_FORWARD_PROXY_DENY",
        value_delimiter = ',',
        help_heading = "What is served"
    )]
    forward_proxy_deny: Vec<IpNet>,

    /// How the lines of the log look.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "POSTERN_LOG_FORMAT",
        default_value = "text",
        help_heading = "Output"
    )]
    pub(super) log_format: LogFormat,
}

/// The image of the pinned Envoy.
const DEFAULT_ENVOY_IMAGE: &str = "docker.io/envoyproxy/envoy:distroless-v1.40.0";

impl ControllerArgs {
    fn into_options(self) -> anyhow::Result<ControllerOptions> {
        let given = |namespace: &String| !namespace.trim().is_empty();
        Ok(ControllerOptions {
            xds_address: self.xds_address,
            health_address: self.health_address,
            debug_address: self.debug_address,
            namespace: self.namespace.filter(given).unwrap_or_else(own_namespace),
            identity: match self.identity.filter(given) {
                Some(identity) => identity,
                None => {
                    host_name().context("the name of this replica is unknown: give it with --identity")?
                }
            },
            pod_uid: self.pod_uid.filter(given),
            watch_namespaces: self.watch_namespace.into_iter().filter(given).collect(),
            namespace_selector: self.namespace_selector.filter(given),
            gateway_class: self.gateway_class,
            controller_name: self.controller_name,
            forward_proxy_deny: self.forward_proxy_deny,
            image: self.image,
            envoy_image: self.envoy_image,
            leader_election: self.leader_election,
        })
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "expected ADDR:PORT, such as 127.0.0.1:8081".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("expected a loopback address: whoever reaches it reads every configuration".to_owned())
    }
}

fn own_namespace() -> String {
    match fs::read_to_string(NAMESPACE_FILE) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => DEFAULT_NAMESPACE.to_owned(),
    }
}

fn host_name() -> Option<String> {
    let name = match env::var("HOSTNAME") {
        Ok(name) if !name.is_empty() => name,
        _ => rustix::system::uname().nodename().to_str().ok()?.to_owned(),
    };
    (!name.is_empty()).then_some(name)
}

pub(super) fn controller(args: ControllerArgs) -> anyhow::Result<ExitCode> {
    let options = args.into_options()?;
    runtime()?.block_on(controller::run(options))?;
    Ok(ExitCode::SUCCESS)
}
