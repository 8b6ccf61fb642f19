//! The Gateways that are served, and their Envoys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use postern_translator::hostname::Hostname;
use postern_translator::infrastructure::PortProtocol;
use postern_translator::{NamespacedName, ServingListener};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Envoys;
use super::event::RunEvent;
use super::report::Report;
use crate::bootstrap::{Address, Bootstrap};
use crate::engine::Engine;
use crate::envoy::{Instance, Supervisor, SupervisorEvent};
use crate::publish::{Blocked, Socket};
use crate::spawner::Spawner;

/// The longest path of a Unix socket, in bytes, on the systems that Envoy runs on.
const MAX_SOCKET_PATH: usize = 100;

pub(super) struct Gateways {
    local: Option<Local>,
    states: BTreeMap<NamespacedName, State>,
    /// Envoys of Gateways that are gone, being drained.
    leaving: JoinSet<()>,
}

/// What is needed to run Envoys on this machine.
struct Local {
    envoys: Envoys,
    runtime: TempDir,
    spawner: Spawner,
    events: mpsc::UnboundedSender<SupervisorEvent>,
    started: usize,
}

struct State {
    supervisor: Option<Supervisor>,
    admin: Option<Address>,
    /// True once the Envoy has its first configuration; Envoys that others run are taken to.
    ready: bool,
    /// The Envoy listeners that were accepted.
    accepted: BTreeSet<String>,
    /// The listeners that were told to be served.
    told: BTreeSet<Served>,
    blocked: Vec<Blocked>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Served {
    listener: String,
    url: String,
    hostname: Option<String>,
}

impl Gateways {
    pub(super) fn new(
        envoys: Option<Envoys>,
        events: mpsc::UnboundedSender<SupervisorEvent>,
    ) -> anyhow::Result<Self> {
        let local = match envoys {
            Some(envoys) => {
                let runtime = runtime_directory().context("cannot make a private directory for sockets")?;
                let spawner = Spawner::new().context("cannot start a thread")?;
                Some(Local { envoys, runtime, spawner, events, started: 0 })
            }
            None => None,
        };
        Ok(Self { local, states: BTreeMap::new(), leaving: JoinSet::new() })
    }

    /// The Unix socket on which the Envoys that are run here expect xDS.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        self.local.as_ref().map(Local::socket)
    }

    /// Serves `gateway`, if it is not served already.
    pub(super) fn add(&mut self, gateway: &NamespacedName) {
        if self.states.contains_key(gateway) {
            return;
        }
        let in_use: BTreeSet<u16> = self.states.values().filter_map(State::admin_port).collect();
        let (supervisor, admin) = match &mut self.local {
            Some(local) => {
                let (supervisor, admin) = local.start(gateway, &in_use);
                (Some(supervisor), Some(admin))
            }
            None => (None, None),
        };
        let state = State {
            ready: supervisor.is_none(),
            supervisor,
            admin,
            accepted: BTreeSet::new(),
            told: BTreeSet::new(),
            blocked: Vec::new(),
        };
        self.states.insert(gateway.clone(), state);
    }

    /// Drains and ends the Envoy of `gateway`, in the background.
    pub(super) fn remove(&mut self, gateway: &NamespacedName) {
        if let Some(supervisor) = self.states.remove(gateway).and_then(|state| state.supervisor) {
            self.leaving.spawn(supervisor.stop());
        }
        while self.leaving.try_join_next().is_some() {}
    }

    /// Tells of ports that are blocked, and of listeners that are served, where that is news.
    pub(super) fn compare(&mut self, engine: &Engine, report: &dyn Report) {
        for (gateway, state) in &mut self.states {
            let blocked = engine.publisher().blocked(gateway);
            for blocked in blocked.iter().filter(|blocked| !state.blocked.contains(blocked)) {
                report
                    .report(&RunEvent::PortInUse { gateway: gateway.to_string(), blocked: blocked.clone() });
            }
            state.blocked = blocked;
            let mut served = if state.ready { state.served(gateway, engine) } else { BTreeSet::new() };
            // Its routes come after a listener, and without them it answers 404.
            if !served.is_subset(&state.told) && !in_sync(gateway, engine) {
                served.retain(|it| state.told.contains(it));
            }
            for Served { listener, url, hostname } in served.difference(&state.told).cloned() {
                report.report(&RunEvent::Serving { gateway: gateway.to_string(), listener, url, hostname });
            }
            state.told = served;
        }
    }

    pub(super) fn acknowledged<'a>(
        &mut self,
        gateway: &NamespacedName,
        names: impl Iterator<Item = &'a str>,
        removed: impl Iterator<Item = &'a str>,
    ) {
        if let Some(state) = self.states.get_mut(gateway) {
            state.accepted.extend(names.map(str::to_owned));
            for name in removed {
                state.accepted.remove(name);
            }
        }
    }

    pub(super) fn started(&mut self, gateway: &NamespacedName) {
        if let Some(state) = self.states.get_mut(gateway) {
            state.accepted.clear();
        }
    }

    /// Notes that the Envoy of `gateway` serves; answers its admin address.
    pub(super) fn ready(&mut self, gateway: &NamespacedName) -> String {
        let Some(state) = self.states.get_mut(gateway) else { return String::new() };
        state.ready = true;
        state.admin.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn died(&mut self, gateway: &NamespacedName) {
        if let Some(state) = self.states.get_mut(gateway) {
            state.ready = false;
            state.told.clear();
        }
    }

    /// Drains and ends all Envoys; at once if `stop` says so again.
    pub(super) async fn stop(&mut self, report: &dyn Report, stop: &mut mpsc::Receiver<()>) {
        for supervisor in std::mem::take(&mut self.states).into_values().filter_map(|state| state.supervisor)
        {
            self.leaving.spawn(supervisor.stop());
        }
        report.report(&RunEvent::Stopping { envoys: self.leaving.len() });
        let again = async {
            // A channel that was closed will not say it again.
            if stop.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = async { while self.leaving.join_next().await.is_some() {} } => {}
            () = again => self.leaving.shutdown().await,
        }
    }
}

impl Local {
    fn socket(&self) -> PathBuf {
        self.runtime.path().join("xds.sock")
    }

    fn start(&mut self, gateway: &NamespacedName, in_use: &BTreeSet<u16>) -> (Supervisor, Address) {
        // A number too, because the Envoy of a Gateway that was removed and came back may still be draining.
        self.started += 1;
        let readable = format!("{}-{}.{}", self.started, gateway.namespace, gateway.name);
        let mut directory = self.runtime.path().join(readable);
        if directory.as_os_str().len() + "/admin.sock".len() > MAX_SOCKET_PATH {
            directory = self.runtime.path().join(self.started.to_string());
        }
        let admin = match self.envoys.admin {
            Some(base) => {
                let port =
                    (base.port()..=u16::MAX).find(|port| !in_use.contains(port)).unwrap_or(base.port());
                SocketAddr::new(base.ip(), port).into()
            }
            None => Address::Unix(directory.join("admin.sock")),
        };
        let xds = Address::Unix(self.socket());
        let bootstrap = Bootstrap::new(&gateway.namespace, &gateway.name, xds, admin.clone());
        let instance = Instance { name: gateway.to_string(), directory, bootstrap };
        let launch = self.envoys.launch.clone();
        (Supervisor::start(launch, instance, self.spawner.clone(), self.events.clone()), admin)
    }
}

impl State {
    fn admin_port(&self) -> Option<u16> {
        match &self.admin {
            Some(Address::Tcp(_, port)) => Some(*port),
            _ => None,
        }
    }

    /// The listeners of `gateway` whose Envoy listener was accepted.
    fn served(&self, gateway: &NamespacedName, engine: &Engine) -> BTreeSet<Served> {
        let envoy_listeners = engine.publisher().listeners(gateway);
        let accepted = envoy_listeners.iter().filter(|(name, _)| self.accepted.contains(**name));
        let sockets: Vec<&Socket> = accepted.flat_map(|(_, sockets)| sockets.iter()).collect();
        let mut out = BTreeSet::new();
        for ServingListener { name, scheme, port, hostname } in engine.serving(gateway) {
            let protocol = if scheme == "udp" { PortProtocol::Udp } else { PortProtocol::Tcp };
            let own = |it: &&&Socket| it.address.port() == port && it.protocol == protocol;
            out.extend(sockets.iter().filter(own).map(|socket| Served {
                listener: name.clone(),
                url: format!("{scheme}://{}", socket.address),
                hostname: (hostname != Hostname::Any).then(|| hostname.domain()),
            }));
        }
        out
    }
}

/// Whether an Envoy of `gateway` has acknowledged everything.
fn in_sync(gateway: &NamespacedName, engine: &Engine) -> bool {
    let connections = engine.publisher().hub().connections_of(&gateway.to_string());
    connections.iter().any(|connection| connection.in_sync)
}

fn runtime_directory() -> std::io::Result<TempDir> {
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let base =
        base.filter(|dir| dir.as_os_str().len() < MAX_SOCKET_PATH / 2).unwrap_or_else(std::env::temp_dir);
    private(&base)
}

#[cfg(unix)]
fn private(base: &Path) -> std::io::Result<TempDir> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().prefix("postern-").permissions(Permissions::from_mode(0o700)).tempdir_in(base)
}
