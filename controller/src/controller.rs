//! `postern controller`: everything wired together, until told to stop.
//!
//! ```text
//! API server ─► Watch ─► Engine ─┬─► Hub ─► xDS server ─► proxies
//!                          ▲     ├─► StatusWriter ─► API server   (leader only)
//!                          │     └─► Provisioner  ─► API server   (leader only)
//!                          └──────── what the proxies acknowledge
//! ```

mod engine;
mod peers;
mod proxies;
mod sinks;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use ipnet::IpNet;
use kube::Client;
use postern_translator::Options;
use postern_xds::{Hub, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::engine::{Engine, Inputs};
use self::peers::Replica;
use self::sinks::Sinks;
use crate::bootstrap::XdsService;
use crate::inspect::{self, Inspector};
use crate::kubernetes::events::EventPublisher;
use crate::kubernetes::identity::{
    Authority, AuthorityOptions, TokenAuthenticator, TokenOptions, Verification,
};
use crate::kubernetes::infrastructure::{ProvisionOptions, Provisioner, RenderOptions};
use crate::kubernetes::lease::{self, Leadership, Lease, LeaseOptions};
use crate::kubernetes::selector;
use crate::kubernetes::status::StatusWriter;
use crate::kubernetes::watch::{Scope, Watch, WatchHandle, WatchOptions};
use crate::publish::Publisher;
use crate::telemetry::{Health, Metrics, server};
use crate::translation::Translation;

/// The name of the Lease that the leader holds.
const LEASE: &str = "postern-leader";

/// How long the API server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The ports that a proxy needs for itself: its admin interface, and readiness with metrics.
const RESERVED_PORTS: [u16; 2] = [19000, 19001];

/// How long the engine may be silent before the process counts as stuck. A cold start of a large cluster is one step.
const STUCK: Duration = Duration::from_mins(1);

/// The Service through which proxies find the replicas, and its port.
const SERVICE: &str = "postern";
const XDS_PORT: u16 = 18000;

/// How often objects are counted.
const COUNT: Duration = Duration::from_secs(5);

/// On how many Gateways the provisioner works at the same time.
const PROVISIONING: usize = 4;

/// How long the proxies may take to move to another replica when this one stops.
const DRAIN: Duration = Duration::from_secs(10);

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
    /// The uid of the pod, if it is known.
    pub pod_uid: Option<String>,
    /// The namespaces to watch. Empty: the whole cluster. Otherwise nothing that is not in a namespace is read, and no
    /// ClusterRole is needed.
    pub watch_namespaces: Vec<String>,
    /// Only namespaces with such labels count; a label selector, such as `team in (red, blue)`.
    pub namespace_selector: Option<String>,
    /// The GatewayClass to serve where none can be read, because `watch_namespaces` are given.
    pub gateway_class: String,
    /// GatewayClasses with this `controllerName` are served.
    pub controller_name: String,
    /// Addresses to which Backends of type DynamicForwardProxy send nothing.
    pub forward_proxy_deny: Vec<IpNet>,
    /// The image of Postern, for the init container of proxies.
    pub image: String,
    /// The image of Envoy, where GatewayParameters name none.
    pub envoy_image: String,
    /// Whether to write only while holding the Lease. Without, there must be one replica.
    pub leader_election: bool,
}

/// The client of everything here. Whoever calls decides when to try again (a Lease must not wait for a retry it does not know of), so
/// the client itself never does; and an API server that cannot be reached is found out before a Lease runs out.
async fn client() -> anyhow::Result<Client> {
    const NONE: &str = "no Kubernetes API server is configured";
    let mut config = kube::Config::infer().await.context(NONE)?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).context(NONE)
}

/// Runs the controller until it is told to stop (SIGTERM or SIGINT): then it steps down at once, and sends its proxies to
/// the other replicas.
///
/// # Errors
///
/// Fails if it cannot start (no API server is configured, an address is in use, a selector cannot be read), and after a
/// defect that only a restart mends.
pub async fn run(options: ControllerOptions) -> anyhow::Result<()> {
    let scope = scope(&options)?;
    let stop = stop_signal()?;
    let client = client().await?;
    let metrics = Metrics::new();
    let health = Health::new();
    let hub = Hub::new();
    let inspector = Inspector::new(hub.clone(), options.identity.clone());
    metrics.observe_hub(hub.clone());

    // Whatever ends here ends everything: each of them runs as long as the process.
    let mut tasks = JoinSet::new();
    let xds_listener = server::bind(options.xds_address).await?;
    let listener = server::bind(options.health_address).await?;
    let router = server::health_router(health.clone(), metrics.clone());
    tasks.spawn(named("the health server", server::serve(listener, router, std::future::pending())));
    let listener = server::bind_loopback(options.debug_address).await?;
    let router = inspect::router(inspector.clone());
    tasks.spawn(named("the debug server", server::serve(listener, router, std::future::pending())));

    let leadership = options.leader_election.then(|| {
        let lease = LeaseOptions {
            namespace: options.namespace.clone(),
            name: LEASE.to_owned(),
            identity: lease::identity(&options.identity),
            timing: lease::Timing::default(),
        };
        Lease::run(client.clone(), lease, metrics.clone())
    });
    // Without an election there is one replica, and it leads.
    let alone = watch::Sender::new(true);
    let leader = leadership.as_ref().map_or_else(|| alone.subscribe(), Leadership::watch);
    let elected = leadership.is_some();
    tasks.spawn(named(
        "the sign of the leader",
        show_leader(leader.clone(), inspector.clone(), metrics.clone()),
    ));

    let (events, publisher) =
        EventPublisher::new(client.clone(), &options.controller_name, &options.identity, metrics.clone());
    tasks.spawn(named("the publisher of events", publisher.run(leader.clone())));
    let (statuses, writing) =
        StatusWriter::new(client.clone(), &options.controller_name, metrics.clone(), Some(events.clone()));
    tasks.spawn(named("the status writer", writing.run(leader.clone())));
    let xds = XdsService { namespace: options.namespace.clone(), name: SERVICE.to_owned(), port: XDS_PORT };
    let authority = Authority::establish(client.clone(), AuthorityOptions::new(&xds), metrics.clone())
        .await
        // The words are complete; its sources would only repeat them.
        .map_err(|error| anyhow!("{error}"))?;
    let (tls, ca_bundle) = (authority.tls(), authority.ca_bundle());
    tasks.spawn(named("the certificate authority", async move { authority.run().await }));
    let provision = ProvisionOptions {
        render: RenderOptions {
            controller_name: options.controller_name.clone(),
            controller_image: options.image.clone(),
            envoy_image: options.envoy_image.clone(),
            xds,
        },
        namespaces: options.watch_namespaces.clone(),
        concurrency: PROVISIONING,
    };
    let (provisioner, task, provision_reports) =
        Provisioner::new(client.clone(), provision, ca_bundle, leader);
    tasks.spawn(named("the provisioner", task.run()));

    let acknowledgements = hub.subscribe_events();
    let (watch, watched) = Watch::start(client.clone(), watch_options(&options, scope), metrics.clone());
    tasks.spawn(named("the count of objects", show_watches(watch.clone(), metrics.clone())));
    let translation = Translation::new(translator_options(&options), Publisher::new(hub.clone(), false));
    let sinks = Sinks { statuses, provisioner, events, metrics: metrics.clone(), inspector };
    let ready = health.condition("synced", "the first lists of all watches are not complete");
    let (begin, may_serve) = oneshot::channel();
    let engine = Engine::new(translation, watch, sinks, health.heartbeat("engine", STUCK), ready, begin);
    let (told, peers) = mpsc::channel(64);
    if elected {
        let replica = Replica {
            namespace: options.namespace.clone(),
            pod: options.identity.clone(),
            pod_uid: options.pod_uid.clone(),
        };
        let shown = peers::show(client.clone(), replica.clone(), engine.own_reports());
        tasks.spawn(named("what the other replicas see", shown));
        tasks.spawn(named("the ear for other replicas", peers::listen(client.clone(), replica, told)));
    }
    tasks.spawn(named(
        "the engine",
        engine.run(Inputs { watched, acknowledgements, peers, provisioned: provision_reports }),
    ));

    let authenticator = Arc::new(TokenAuthenticator::new(client, token_options(&options), metrics));
    let keys = Arc::clone(&authenticator);
    tasks.spawn(named("the keys of the API server", async move { keys.run().await }));
    let server = Server::new(hub).with_authenticator(authenticator).with_tls(tls);
    let stepping_down = step_down(leadership, stop.clone());
    let result = tokio::select! {
        (result, ()) = async { tokio::join!(serve_xds(server, xds_listener, may_serve, stop), stepping_down) } => result,
        Some(ended) = tasks.join_next() => Err(match ended {
            Ok(what) => anyhow!("{what} ended, which is a defect of Postern"),
            Err(error) => anyhow!("something ended in a panic, which is a defect of Postern: {error}"),
        }),
    };
    drop(alone);
    result
}

async fn named<T>(name: &'static str, task: impl Future<Output = T>) -> &'static str {
    task.await;
    name
}

/// Serves proxies once there is something to serve, until told to stop; then they move to another replica.
async fn serve_xds(
    server: Server,
    listener: TcpListener,
    may_serve: oneshot::Receiver<()>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    tokio::select! {
        _ = may_serve => {}
        () = told(stop.clone()) => return Ok(()),
    }
    let late = async {
        told(stop.clone()).await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = server.serve_tcp(listener, told(stop.clone())) => result.context("the xDS server failed"),
        () = late => {
            tracing::warn!(after = ?DRAIN, "proxies did not move in time; ending their streams");
            Ok(())
        }
    }
}

/// Empties the Lease as soon as this replica is to stop: the next leader need not wait until it expires.
async fn step_down(leadership: Option<Leadership>, stop: watch::Receiver<bool>) {
    told(stop).await;
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
}

/// Waits until told to stop.
async fn told(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left to tell.
        std::future::pending::<()>().await;
    }
}

/// Shows whether this replica leads, as long as there is an election.
async fn show_leader(mut leader: watch::Receiver<bool>, inspector: Inspector, metrics: Metrics) {
    loop {
        let leads = *leader.borrow_and_update();
        inspector.set_leader(leads);
        metrics.set_leader(leads);
        if leader.changed().await.is_err() {
            // Leadership was released: the process is about to end.
            inspector.set_leader(false);
            std::future::pending::<()>().await;
        }
    }
}

/// Counts what the watches hold and what they were refused.
async fn show_watches(watch: WatchHandle, metrics: Metrics) {
    let mut refused: BTreeMap<(&str, Option<String>), u64> = BTreeMap::new();
    loop {
        let mut objects: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for report in watch.reports() {
            let (known, invalid) = objects.entry(report.kind).or_default();
            *known += report.objects;
            *invalid += report.invalid;
            let before =
                refused.insert((report.kind, report.namespace), report.forbidden).unwrap_or_default();
            for _ in before..report.forbidden {
                metrics.forbidden("watch", report.kind);
            }
        }
        for (kind, (known, invalid)) in objects {
            metrics.set_objects(kind, known);
            metrics.set_invalid_objects(kind, invalid);
        }
        tokio::time::sleep(COUNT).await;
    }
}

fn watch_options(options: &ControllerOptions, scope: Scope) -> WatchOptions {
    WatchOptions {
        scope,
        gateway_classes: [options.gateway_class.clone()].into(),
        controller_name: options.controller_name.clone(),
        ..WatchOptions::default()
    }
}

fn translator_options(options: &ControllerOptions) -> Options {
    Options {
        controller_name: options.controller_name.clone(),
        await_proxies: true,
        provision: true,
        reserved_ports: RESERVED_PORTS.into(),
        forward_proxy_denied: options.forward_proxy_deny.clone(),
        ..Options::default()
    }
}

/// A TokenReview needs a ClusterRole.
fn token_options(options: &ControllerOptions) -> TokenOptions {
    let verification =
        if options.watch_namespaces.is_empty() { Verification::Review } else { Verification::Keys };
    TokenOptions { verification, ..TokenOptions::default() }
}

fn scope(options: &ControllerOptions) -> anyhow::Result<Scope> {
    if !options.watch_namespaces.is_empty() {
        return Ok(Scope::Namespaces(options.watch_namespaces.iter().cloned().collect()));
    }
    let Some(text) = &options.namespace_selector else { return Ok(Scope::All) };
    let selector = selector::parse(text).with_context(|| format!("--namespace-selector {text:?}"))?;
    Ok(Scope::Selector(selector))
}

/// True once SIGTERM or SIGINT came.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.send_replace(true);
    });
    Ok(stopped)
}
