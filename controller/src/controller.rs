//! `postern controller`: everything wired together, until told to stop.

use std::net::SocketAddr;

/// What the controller in a cluster is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerOptions {
    /// Where proxies get their configuration.
    pub xds_address: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` are.
    pub health_address: SocketAddr,
    /// Where the debug documents are; a loopback address.
    pub debug_address: SocketAddr,
    /// The namespace that the controller itself lives in: its Lease, its certificates, its Service.
    pub namespace: String,
    /// The name of this replica, unique among them: that of its pod.
    pub identity: String,
    /// The namespaces to watch. Empty: the whole cluster. Otherwise nothing that is not in a namespace is read, and no
    /// ClusterRole is needed.
    pub watch_namespaces: Vec<String>,
    /// Only namespaces with such labels count; a label selector, such as `team in (red, blue)`.
    pub namespace_selector: Option<String>,
    /// The GatewayClass to serve where none can be read, because `watch_namespaces` are given.
    pub gateway_class: String,
    /// GatewayClasses with this `controllerName` are served.
    pub controller_name: String,
    /// The image of Postern, for the init container of proxies.
    pub image: String,
    /// The image of Envoy, where GatewayParameters name none.
    pub envoy_image: String,
    /// Whether to write only while holding the Lease. Without, there must be one replica.
    pub leader_election: bool,
}

/// Runs the controller until it is told to stop.
///
/// # Errors
///
/// Fails if it cannot start: no API server, an address in use.
pub async fn run(options: ControllerOptions) -> anyhow::Result<()> {
    anyhow::bail!("the controller {} is not wired up yet", options.controller_name)
}
