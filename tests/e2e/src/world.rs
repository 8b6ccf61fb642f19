//! The product in miniature: translator, xDS server, one real Envoy for each Gateway.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use postern_translator::{Change, Kind, Object, ObjectKey, Options, ResourceChange, Translator, Update};
use postern_xds::{Event, EventKind, Hub, Resource, ResourceType, Server, Snapshot};
use serde::Deserialize as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::task::JoinHandle;

use crate::backend::Backend;
use crate::client::{Answer, Call};
use crate::dns::NameServer;
use crate::envoy::Envoy;
use crate::listener;
use crate::tls::{Authority, Certificate};
use crate::wait::{PATIENCE, until};
use crate::yaml::{Vars, gateway, service, tls_secret};

/// What a request should lead to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Want {
    /// 200 from the backend of this name.
    Backend(&'static str),
    /// This status, from whomever.
    Status(u16),
}

impl Want {
    fn holds(self, answer: &Answer) -> bool {
        match self {
            Self::Backend(name) => answer.status == 200 && answer.backend() == name,
            Self::Status(status) => answer.status == status,
        }
    }
}

/// Name and version of what an Envoy has accepted, by node and type.
type Accepted = BTreeMap<(String, ResourceType, String), String>;

/// A translator, an xDS server and the Envoys of its Gateways. See the crate's documentation.
pub struct World {
    envoys: BTreeMap<String, Envoy>,
    backends: BTreeMap<String, Backend>,
    translator: Translator,
    snapshots: BTreeMap<String, Snapshot>,
    names: NameServer,
    hub: Hub,
    events: Receiver<Event>,
    accepted: Accepted,
    xds: SocketAddr,
    server: JoinHandle<()>,
    vars: Vars,
    authority: Authority,
    listener_drain: Duration,
    listener_filter: Option<HttpFilter>,
    environment: BTreeMap<String, String>,
    directory: Option<TempDir>,
}

impl World {
    /// An empty world: no objects, no Envoy.
    pub async fn empty() -> Self {
        Self::with_options(|_| ()).await
    }

    /// An empty world whose translator has other options than usual.
    pub async fn with_options(change: impl FnOnce(&mut Options)) -> Self {
        let hub = Hub::new();
        let events = hub.subscribe_events();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind the xDS server");
        let xds = listener.local_addr().expect("address of the xDS server");
        let server = Server::new(hub.clone());
        let server = tokio::spawn(async move {
            server.serve_tcp(listener, std::future::pending()).await.expect("the xDS server runs");
        });
        let directory = tempfile::Builder::new().prefix("postern-e2e-").tempdir().expect("a directory");
        let authority = Authority::new("the system's");
        let roots = directory.path().join("roots.pem");
        std::fs::write(&roots, authority.pem()).expect("write the roots");
        let mut options = Options {
            listen_address: Ipv4Addr::LOCALHOST.into(),
            system_ca_file: roots.to_string_lossy().into_owned(),
            ..Options::default()
        };
        change(&mut options);
        Self {
            envoys: BTreeMap::new(),
            backends: BTreeMap::new(),
            translator: Translator::new(options),
            snapshots: BTreeMap::new(),
            names: NameServer::start().await,
            hub,
            events,
            accepted: Accepted::new(),
            xds,
            server,
            vars: Vars::default(),
            authority,
            // What is drained ends soon, so that a test sees what a change costs.
            listener_drain: Duration::from_secs(1),
            listener_filter: None,
            environment: BTreeMap::new(),
            directory: Some(directory),
        }
    }

    /// How long the Envoys of Gateways to come drain listeners and filter chains that are replaced; a second if nothing is said,
    /// after which Envoy cuts connections that have not heard of it yet. Proxies that Postern deploys drain for a minute.
    #[must_use]
    pub fn with_listener_drain(mut self, time: Duration) -> Self {
        self.listener_drain = time;
        self
    }

    /// Puts `filter` before the HTTP filters of listeners to come.
    pub fn set_listener_filter(&mut self, filter: HttpFilter) {
        self.listener_filter = Some(filter);
    }

    /// A world with the Gateway `default/gw`, whose one HTTP listener is at `${PORT}`, and one Service
    /// (port 8080) with an echo backend for each name.
    pub async fn with_backends(names: &[&str]) -> Self {
        let mut world = Self::empty().await;
        let mut yaml = gateway("  - {name: http, port: ${PORT}, protocol: HTTP}");
        for name in names {
            let backend = Backend::start(name).await;
            yaml.push_str(&service("default", name, "", &[backend.address()]));
            world.backends.insert((*name).to_owned(), backend);
        }
        world.apply(&yaml).await;
        world
    }

    /// Adds a backend and a Service of its name.
    pub async fn add_backend(&mut self, backend: Backend) {
        let yaml = service("default", backend.name(), "", &[backend.address()]);
        self.backends.insert(backend.name().to_owned(), backend);
        self.apply(&yaml).await;
    }

    /// Makes a certificate for `names` and the Secret `default/name` with it.
    pub async fn certificate(&mut self, name: &str, names: &[&str]) -> Certificate {
        let certificate = Authority::new("test").issue(names);
        self.apply(&tls_secret("default", name, &certificate)).await;
        certificate
    }

    /// The DNS server that the Envoys ask.
    pub fn names(&self) -> &NameServer {
        &self.names
    }

    /// The certificate authority that Envoy trusts as the system's.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The backend of this name.
    pub fn backend(&self, name: &str) -> &Backend {
        &self.backends[name]
    }

    /// The Envoy of the Gateway `default/name`.
    pub fn envoy(&self, name: &str) -> &Envoy {
        &self.envoys[&format!("default/{name}")]
    }

    /// The port behind a placeholder such as `PORT_A`.
    pub fn port(&mut self, name: &str) -> u16 {
        self.vars.port(name)
    }

    /// Gives Envoys that start from now on an environment variable.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Sets the value of a placeholder.
    pub fn set(&mut self, name: &str, value: &impl ToString) {
        self.vars.set(name, value);
    }

    /// `GET path` for `host` on the port `${PORT}`.
    pub fn call(&mut self, host: &str, path: &str) -> Call {
        self.call_on("PORT", host, path)
    }

    /// `GET path` for `host` on the port behind a placeholder.
    pub fn call_on(&mut self, port: &str, host: &str, path: &str) -> Call {
        Call::get(self.vars.port(port), host, path)
    }

    /// Applies every document of `yaml`, and returns when each Envoy has accepted what that means.
    pub async fn apply(&mut self, yaml: &str) {
        let yaml = self.vars.fill(yaml);
        self.change(objects(&yaml).into_iter().map(Change::Upsert)).await;
    }

    /// Deletes `default/name` of a kind.
    pub async fn delete(&mut self, kind: &str, name: &str) {
        self.delete_in(kind, "default", name).await;
    }

    /// Deletes `namespace/name` of a kind.
    pub async fn delete_in(&mut self, kind: &str, namespace: &str, name: &str) {
        let key = ObjectKey::new(named(kind), namespace, name);
        self.change(std::iter::once(Change::Delete(key))).await;
    }

    async fn change(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.translator.apply(change);
        }
        let update = self.translator.translate();
        let waits = self.publish(&update);
        for node in update.gateways.keys().map(ToString::to_string) {
            if !self.envoys.contains_key(&node) {
                let directory = self.directory.as_ref().expect("the directory lives as long as the world");
                let directory = directory.path().join(node.replace('/', "-"));
                let names = self.names.address();
                let (drain, environment) = (self.listener_drain, &self.environment);
                let envoy = Envoy::start(&directory, &node, self.xds, names, drain, environment).await;
                self.envoys.insert(node, envoy);
            }
        }
        self.settle(waits).await;
    }

    /// Publishes what changed; returns what the Envoys should accept (`None`: let go).
    fn publish(&mut self, update: &Update) -> BTreeMap<(String, ResourceType, String), Option<String>> {
        for gone in &update.removed_gateways {
            let node = gone.to_string();
            self.hub.remove(&node);
            self.snapshots.remove(&node);
            self.envoys.remove(&node);
            self.accepted.retain(|(of, ..), _| *of != node);
        }
        let mut waits = BTreeMap::new();
        let filter = self.listener_filter.as_ref();
        for (gateway, changed) in &update.gateways {
            let node = gateway.to_string();
            let snapshot = self.snapshots.entry(node.clone()).or_default();
            *snapshot = snapshot.apply(changed.changes.iter().map(|it| to_xds(it, filter)));
            self.hub.publish(&node, snapshot.clone());
            for change in &changed.changes {
                let version = change.resource.as_ref().map(|it| it.version.clone());
                waits.insert((node.clone(), resource_type(change), change.name.clone()), version);
            }
        }
        waits
    }

    async fn settle(&mut self, waits: BTreeMap<(String, ResourceType, String), Option<String>>) {
        let begin = Instant::now();
        loop {
            self.read_events();
            // What Envoy does not ask for it cannot accept, and what it no longer asks for it is not
            // told about. Clusters that are gone stay with it for a while.
            let everything =
                |kind: ResourceType| matches!(kind, ResourceType::Cluster | ResourceType::Listener);
            let missing: Vec<_> = waits
                .iter()
                .filter(|(key, version)| match (self.accepted.get(*key), version) {
                    (Some(have), Some(want)) => have != want,
                    (Some(_), None) => key.1 == ResourceType::Listener,
                    (None, Some(_)) => everything(key.1),
                    (None, None) => false,
                })
                .collect();
            let in_sync = |node: &String| {
                self.hub.connections().iter().any(|it| &*it.node == node.as_str() && it.in_sync)
            };
            let late: Vec<_> = self.envoys.keys().filter(|node| !in_sync(node)).collect();
            if missing.is_empty() && late.is_empty() {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "not accepted within {PATIENCE:?}: {missing:?}; streams not in sync: {late:?}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Takes in what happened on the streams. A configuration that Envoy rejects fails any test.
    fn read_events(&mut self) {
        loop {
            let event = match self.events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Empty) => return,
                Err(error) => panic!("the events of the xDS server ended: {error}"),
            };
            let node = event.node.to_string();
            match event.kind {
                EventKind::Acked { resource_type, resources, removed } => {
                    for resource in resources.iter() {
                        let key = (node.clone(), resource_type, resource.name().to_owned());
                        self.accepted.insert(key, resource.version().to_owned());
                    }
                    for name in removed.iter() {
                        self.accepted.remove(&(node.clone(), resource_type, name.to_string()));
                    }
                }
                EventKind::Nacked { resource_type, names, error } => {
                    panic!("the Envoy of {node} rejected {resource_type} {names:?}: {error}");
                }
                _ => {}
            }
        }
    }

    /// Repeats `call` until it leads to what is wanted, and returns that answer.
    pub async fn expect(&self, call: Call, want: Want) -> Answer {
        expect(&call, want).await
    }

    /// Repeats `call` until `holds` says yes, and returns that answer.
    pub async fn expect_that(&self, call: Call, what: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
        expect_that(&call, what, holds).await
    }

    /// The status of an object in JSON; `null` when it has none.
    pub fn status(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let key = ObjectKey::new(named(kind), namespace, name);
        self.translator
            .statuses()
            .get(&key)
            .map_or(Value::Null, |status| serde_json::to_value(status).expect("a status is JSON"))
    }

    /// Asserts conditions of `Kind/name` in `default`, or of a listener as `Gateway/name/listener`.
    /// Each is `Type=Status Reason`, where `*` stands for anything.
    pub fn assert_status(&self, object: &str, conditions: &[&str]) {
        let mut parts = object.split('/');
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let status = self.status(kind, "default", name);
        assert_conditions(object, &status, parts.next(), conditions);
    }

    /// Asserts conditions of an object in any namespace.
    pub fn assert_status_in(&self, kind: &str, namespace: &str, name: &str, conditions: &[&str]) {
        let status = self.status(kind, namespace, name);
        assert_conditions(&format!("{kind} {namespace}/{name}"), &status, None, conditions);
    }

    /// `attachedRoutes` of a listener of the Gateway `default/gateway`.
    pub fn attached_routes(&self, gateway: &str, listener: &str) -> u64 {
        let status = self.status("Gateway", "default", gateway);
        let listeners = status["listeners"].as_array().cloned().unwrap_or_default();
        let found = listeners.iter().find(|it| it["name"] == listener);
        found
            .and_then(|it| it["attachedRoutes"].as_u64())
            .unwrap_or_else(|| panic!("no count of {listener}: {status}"))
    }

    /// Every problem of the present objects, one per line: object, field, message and remedy.
    pub fn problems(&self) -> String {
        self.translator
            .problems()
            .iter()
            .map(|it| format!("{} {}: {} ({})\n", it.object, it.field, it.message, it.remedy))
            .collect()
    }

    /// Nothing that any Envoy was ever sent was rejected, by Envoy's own count.
    pub async fn assert_nothing_rejected(&self) {
        for (node, envoy) in &self.envoys {
            let rejected = envoy.rejected().await;
            assert!(rejected.is_empty(), "the Envoy of {node} rejected: {rejected:?}\n{}", envoy.log_tail());
        }
    }

    /// The nodes (`namespace/name` of the Gateways) that have an Envoy.
    pub fn nodes(&self) -> Vec<String> {
        self.envoys.keys().cloned().collect()
    }

    /// The Envoy of a node.
    pub fn envoy_of(&self, node: &str) -> &Envoy {
        &self.envoys[node]
    }

    /// How many resources of a type the Gateway of a node has.
    pub fn count(&self, node: &str, kind: ResourceType) -> usize {
        self.snapshots.get(node).map_or(0, |it| it.len(kind))
    }

    /// The translator, for what this type does not offer.
    pub fn translator(&self) -> &Translator {
        &self.translator
    }

    /// Applies objects without waiting for Envoy, and returns when the result is published: for
    /// measurements.
    pub fn apply_now(&mut self, yaml: &str) {
        let yaml = self.vars.fill(yaml);
        for object in objects(&yaml) {
            self.translator.apply(Change::Upsert(object));
        }
        let update = self.translator.translate();
        self.publish(&update);
    }

    /// Applies one object that was read before, like [`World::apply_now`].
    pub fn apply_object(&mut self, object: Object) {
        self.translator.apply(Change::Upsert(object));
        let update = self.translator.translate();
        self.publish(&update);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("kept {}", directory.keep().display());
        }
    }
}

/// Repeats `call` until it leads to what is wanted, and returns that answer.
pub async fn expect(call: &Call, want: Want) -> Answer {
    expect_that(call, &format!("{want:?}"), move |answer| want.holds(answer)).await
}

async fn expect_that(call: &Call, what: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
    until(&format!("{what} for {call}"), || async {
        let answer = call.send().await.map_err(|error| format!("{error:#}"))?;
        if holds(&answer) {
            return Ok(answer);
        }
        Err(format!("{} {:?} {:?}", answer.status, answer.headers, answer.text()))
    })
    .await
}

/// Reads one document.
pub fn read_object(yaml: &str) -> Object {
    objects(yaml).remove(0)
}

/// Reads every document of a YAML text.
pub(crate) fn objects(yaml: &str) -> Vec<Object> {
    serde_yaml::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{error} in:\n{yaml}")))
        .filter(|value| !value.is_null())
        .map(|value| {
            let of = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
            let kind = Kind::from_gvk(&of("apiVersion"), &of("kind"))
                .unwrap_or_else(|| panic!("nobody knows {} {}", of("apiVersion"), of("kind")));
            Object::deserialize(kind, &value).unwrap_or_else(|error| panic!("{error} in {value:#}"))
        })
        .collect()
}

fn named(kind: &str) -> Kind {
    *Kind::ALL.iter().find(|it| it.as_str() == kind).unwrap_or_else(|| panic!("nobody knows the kind {kind}"))
}

fn resource_type(change: &ResourceChange) -> ResourceType {
    let url = change.resource_type.type_url();
    ResourceType::from_type_url(&url).unwrap_or_else(|| panic!("the xDS server does not know {url}"))
}

fn to_xds(change: &ResourceChange, filter: Option<&HttpFilter>) -> postern_xds::Change {
    let kind = resource_type(change);
    match &change.resource {
        Some(it) => {
            let body = match filter.filter(|_| kind == ResourceType::Listener) {
                Some(filter) => listener::with_filter(&it.body, filter),
                None => it.body.clone(),
            };
            let resource = Resource::new(kind, it.name.as_str(), it.version.as_str(), body);
            postern_xds::Change::Set(Arc::new(resource))
        }
        None => postern_xds::Change::Remove(kind, change.name.as_str().into()),
    }
}

fn assert_conditions(object: &str, status: &Value, listener: Option<&str>, wanted: &[&str]) {
    let holders: Vec<&Value> = match listener {
        Some(name) => {
            status["listeners"].as_array().into_iter().flatten().filter(|it| it["name"] == name).collect()
        }
        None => ["parents", "ancestors"]
            .iter()
            .filter_map(|it| status[*it].as_array())
            .flatten()
            .chain(std::iter::once(status))
            .collect(),
    };
    let conditions: Vec<_> = holders
        .iter()
        .filter_map(|it| it["conditions"].as_array())
        .flatten()
        .map(|it| {
            let of = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
            (of("type"), of("status"), of("reason"))
        })
        .collect();
    for wanted_text in wanted {
        let (kind, rest) = wanted_text.split_once('=').expect("Type=Status Reason");
        let (value, reason) = rest.split_once(' ').expect("Type=Status Reason");
        let fits = |want: &str, have: &str| want == "*" || want == have;
        let found = conditions.iter().any(|it| it.0 == kind && fits(value, &it.1) && fits(reason, &it.2));
        assert!(found, "{object} has no condition {wanted_text}: {status:#}");
    }
}
