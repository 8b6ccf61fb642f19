//! `postern run`: files in, real Envoys out, until told to stop.
//!
//! ```text
//! Watcher ─► Engine (one owner, one step at a time) ─► Hub ─► xDS ─► Envoys
//!              │                                               │
//!              └─ Step ─► Report ◄── events ───────────────────┴── Supervisor of each Envoy
//! ```
//!
//! The first change goes out at once; what comes while a step is being made is taken together in the next one.

mod event;
mod gateways;
mod report;
mod servers;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use postern_translator::NamespacedName;
use postern_xds::{EventKind, Hub};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::event::RunEvent;
use self::gateways::Gateways;
pub use self::report::{Printer, Report, diagnostic};
use self::servers::XdsServers;
use crate::echo::{Echo, EchoSpec};
use crate::engine::{Engine, Look, Step, options};
use crate::envoy::{Launch, SupervisorEvent};
use crate::publish::Publisher;
use crate::source::{Source, WatchEvent, Watcher};
use crate::verdict::Verdict;

/// How often a blocked port is tried again.
const RETRY_PORTS: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Files and directories with Kubernetes objects.
    pub paths: Vec<PathBuf>,
    /// How to run the Envoys; `None` to serve only xDS.
    pub envoys: Option<Envoys>,
    /// Serve xDS on this TCP address too. Whoever reaches it can read every configuration, private keys included.
    pub xds_address: Option<SocketAddr>,
    /// The address that listeners are bound to.
    pub listen_address: IpAddr,
    /// Echo servers to run alongside.
    pub echo: Vec<EchoSpec>,
}

/// How to run Envoys on this machine.
#[derive(Clone, Debug)]
pub struct Envoys {
    /// How to start one.
    pub launch: Launch,
    /// The version, for the first line that is printed.
    pub version: String,
    /// The admin address of the first Envoy; each further one has the next port. Without it the admin interfaces are
    /// Unix sockets in a private directory.
    pub admin: Option<SocketAddr>,
}

/// Runs until `stop` says so: once to drain the Envoys and end, twice to end at once. Closing the channel counts as once.
///
/// # Errors
/// If a path does not exist, an address cannot be bound, or an echo server cannot start. What goes wrong later is
/// reported, and the rest goes on.
pub async fn run(
    options: RunOptions,
    report: Arc<dyn Report>,
    mut stop: mpsc::Receiver<()>,
) -> anyhow::Result<()> {
    let source = Source::new(options.paths.clone());
    source.check()?;
    let mut echo = Vec::new();
    for spec in &options.echo {
        let server = Echo::start(spec).await;
        echo.push(
            server
                .with_context(|| format!("cannot start the echo server {} on {}", spec.name, spec.address))?,
        );
    }
    let hub = Hub::new();
    let (supervised, supervisors) = mpsc::unbounded_channel();
    let gateways = Gateways::new(options.envoys.clone(), supervised)?;
    let servers = XdsServers::start(&hub, gateways.socket(), options.xds_address)?;

    let watcher = Watcher::new(source.roots());
    let publisher = Publisher::new(hub.clone(), options.envoys.is_some());
    let engine = Engine::new(source, self::options(options.listen_address), publisher);
    let mut runner = Runner { engine: Some(engine), gateways, report, look_again: None, retry_ports: None };
    let events = hub.subscribe_events();
    let first = runner.step(Look::Everywhere).await?;
    runner.greet(&options, &echo, &servers);
    runner.tell(first, true);
    let result = runner.serve(watcher, events, supervisors, &mut stop).await;
    runner.gateways.stop(&*runner.report, &mut stop).await;
    servers.stop().await;
    runner.report.report(&RunEvent::Stopped);
    result
}

struct Runner {
    /// Away only while a step is being made.
    engine: Option<Engine>,
    gateways: Gateways,
    report: Arc<dyn Report>,
    look_again: Option<Instant>,
    retry_ports: Option<Instant>,
}

impl Runner {
    async fn serve(
        &mut self,
        mut watcher: Watcher,
        mut events: tokio::sync::broadcast::Receiver<postern_xds::Event>,
        mut supervisors: mpsc::UnboundedReceiver<SupervisorEvent>,
        stop: &mut mpsc::Receiver<()>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                _ = stop.recv() => return Ok(()),
                event = watcher.next() => {
                    let look = match event {
                        WatchEvent::Files(files) => Look::At(files),
                        WatchEvent::Anything => {
                            watcher.update();
                            Look::Everywhere
                        }
                    };
                    let outcome = self.step(look).await?;
                    self.tell(outcome, false);
                }
                () = until(self.look_again) => {
                    let outcome = self.step(Look::Everywhere).await?;
                    self.tell(outcome, false);
                }
                () = until(self.retry_ports) => self.retry_ports(),
                event = events.recv() => match event {
                    Ok(event) => self.xds_event(&event),
                    Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "events of Envoys were not told"),
                    Err(RecvError::Closed) => return Ok(()),
                },
                Some(event) = supervisors.recv() => self.supervisor_event(event),
            }
        }
    }

    /// Makes a step away from the async threads. The engine guards itself against panics of the translator.
    async fn step(&mut self, look: Look) -> anyhow::Result<Step> {
        let mut engine = self.engine.take().context("the engine failed before")?;
        let work = tokio::task::spawn_blocking(move || {
            let step = engine.step(&look);
            (engine, step)
        });
        let (engine, step) = work.await.context("reading the files failed")?;
        self.engine = Some(engine);
        self.look_again = step.again_after.map(|wait| Instant::now() + wait);
        Ok(step)
    }

    fn greet(&self, options: &RunOptions, echo: &[Echo], servers: &XdsServers) {
        let Some(engine) = &self.engine else { return };
        self.report.report(&RunEvent::Started {
            version: env!("CARGO_PKG_VERSION"),
            xds: servers.addresses(),
            envoy: options.envoys.as_ref().map(|envoys| envoys.version.clone()),
            echo: echo.iter().map(|server| format!("{}={}", server.name(), server.address())).collect(),
            files: engine.source().files().len(),
            objects: engine.source().len(),
        });
    }

    fn tell(&mut self, step: Step, first: bool) {
        let Some(engine) = &self.engine else { return };
        if step.is_empty() && !first {
            return;
        }
        if !first {
            self.report.report(&RunEvent::Changed {
                files: step.files.iter().map(|path| path.display().to_string()).collect(),
                objects: step.objects,
                resources: step.outcome.resources.values().sum(),
                read_ms: milliseconds(step.reading),
                translate_ms: milliseconds(step.translating),
            });
        }
        if let Some(message) = step.outcome.panicked {
            self.report.report(&RunEvent::Bug { message });
        }
        let (mut statuses, mut gone) = (Vec::new(), Vec::new());
        for (key, status) in &step.outcome.statuses {
            match status {
                Some(status) => statuses.push(Verdict::of(key, status)),
                None => gone.push(key.to_string()),
            }
        }
        let explained = engine.diagnostics().iter().filter_map(|finding| finding.object.clone()).collect();
        if !statuses.is_empty() || !gone.is_empty() {
            self.report.report(&RunEvent::Statuses { statuses, gone, explained, first });
        }
        for finding in step.mended {
            self.report.report(&RunEvent::Mended(finding));
        }
        for finding in step.found {
            self.report.report(&RunEvent::Found(finding));
        }
        for gateway in &step.outcome.removed {
            self.gateways.remove(gateway);
            self.report.report(&RunEvent::GatewayRemoved { gateway: gateway.to_string() });
        }
        for gateway in engine.gateways() {
            self.gateways.add(gateway);
        }
        if first && engine.gateways().is_empty() {
            tracing::warn!("there is no Gateway of this controller in the files: nothing is served yet");
        }
        self.after_publishing();
    }

    /// Tells of blocked ports and of listeners that are served now.
    fn after_publishing(&mut self) {
        let Some(engine) = &self.engine else { return };
        self.gateways.compare(engine, &*self.report);
        self.retry_ports = engine.publisher().is_blocked().then(|| Instant::now() + RETRY_PORTS);
    }

    fn retry_ports(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.publisher_mut().retry();
        }
        self.after_publishing();
    }

    fn xds_event(&mut self, event: &postern_xds::Event) {
        let gateway = parse_node(&event.node);
        let known = self.engine.as_ref().is_some_and(|engine| engine.gateways().contains(&gateway));
        match &event.kind {
            EventKind::Connected => {
                let peer = self.engine.as_ref().and_then(|engine| peer(engine, event.stream));
                self.report.report(&RunEvent::Connected { node: event.node.to_string(), peer, known });
            }
            EventKind::Disconnected => {
                self.report.report(&RunEvent::Disconnected { node: event.node.to_string() });
            }
            EventKind::Acked { resource_type: postern_xds::ResourceType::Listener, resources, removed } => {
                let names = resources.iter().map(|resource| resource.name());
                self.gateways.acknowledged(&gateway, names, removed.iter().map(AsRef::as_ref));
                self.after_publishing();
            }
            EventKind::Acked { .. } => self.after_publishing(),
            EventKind::Nacked { resource_type, names, error } => {
                let names = names.iter().map(ToString::to_string).collect();
                self.report.report(&RunEvent::rejected(&gateway, resource_type.to_string(), names, error));
            }
            _ => {}
        }
    }

    fn supervisor_event(&mut self, event: SupervisorEvent) {
        match event {
            SupervisorEvent::Started { name, pid } => {
                self.gateways.started(&parse_node(&name));
                self.report.report(&RunEvent::EnvoyStarted { gateway: name, pid });
            }
            SupervisorEvent::Ready { name } => {
                let gateway = parse_node(&name);
                let admin = self.gateways.ready(&gateway);
                self.report.report(&RunEvent::Ready { gateway: name, admin });
                self.after_publishing();
            }
            SupervisorEvent::Log { name, line } => self.report.report(&RunEvent::EnvoyLog {
                gateway: name,
                level: line.level.as_str(),
                component: line.component,
                text: line.text,
            }),
            SupervisorEvent::Died { name, exit, restart_in } => {
                self.gateways.died(&parse_node(&name));
                self.report.report(&RunEvent::EnvoyDied {
                    gateway: name,
                    status: exit.to_string(),
                    last_lines: exit.last_lines,
                    restart_in_ms: u64::try_from(restart_in.as_millis()).unwrap_or(u64::MAX),
                });
            }
            SupervisorEvent::Stopped { .. } => {}
        }
    }
}

/// The TCP address at the other end of `stream`.
fn peer(engine: &Engine, stream: u64) -> Option<String> {
    let connections = engine.publisher().hub().connections();
    let connection = connections.into_iter().find(|connection| connection.stream == stream)?;
    connection.peer.address.map(|address| address.to_string())
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The Gateway of a node id.
fn parse_node(node: &str) -> NamespacedName {
    let (namespace, name) = node.split_once('/').unwrap_or(("", node));
    NamespacedName::new(namespace, name)
}
