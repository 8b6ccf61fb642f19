//! The engine: which units of translation have to run again, in which order, and what came out differently.

mod clusters;
mod observe;
mod rebuild;
mod routes;
pub(crate) mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use postern_api::gateway_api::{Gateway, GatewayClass, ListenerSet};

use self::observe::Refusals;
use self::state::{ClusterState, GatewayState, SecretState};
use crate::Options;
use crate::backend::{ClusterId, tls_policy};
use crate::dependency::{Dependencies, Dependency, Reader, References, Results, Unit};
use crate::envoy::scope::ScopeId;
use crate::gateway::listener_set::{self, ListenerSets};
use crate::gateway::model::{Differences, differences};
use crate::gateway::{self, GatewayModel, Listener, ListenerSetDraft};
use crate::hostname::Hostname;
use crate::infrastructure::{self, Infrastructure, Port};
use crate::object::{Kind, NamespacedName, Object, ObjectKey};
use crate::observation::Observation;
use crate::policy;
use crate::problem::{Problem, Problems};
use crate::resource::{Resource, ResourceChange, ResourceType};
use crate::route::RouteShares;
use crate::route::delegation::Handed;
use crate::status::Status;
use crate::store::{Change, Store};
use crate::tls::secret::SecretId;
use crate::{envoy, extension};

/// What changed since the last [`Translator::translate`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// Gateways of ours whose resources changed, new ones included.
    pub gateways: BTreeMap<NamespacedName, GatewayUpdate>,
    /// Gateways that are gone or no longer ours.
    pub removed_gateways: Vec<NamespacedName>,
    /// Statuses that changed; `None` where an object has no status of ours any more.
    pub statuses: BTreeMap<ObjectKey, Option<Status>>,
    /// What has to exist in the cluster for the proxies of a Gateway, where it changed; `None` where the Gateway is gone
    /// or no longer ours.
    pub infrastructure: BTreeMap<NamespacedName, Option<Arc<Infrastructure>>>,
    /// [`Translator::references`] changed.
    pub references_changed: bool,
}

/// The changed resources of one Gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GatewayUpdate {
    /// Ordered by type, then by name.
    pub changes: Vec<ResourceChange>,
}

/// A listener that Envoy is to serve, as people know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServingListener {
    /// Its name, with the ListenerSet that has it, if one has.
    pub name: String,
    /// The scheme of URLs that lead there, such as `https`.
    pub scheme: &'static str,
    /// The port.
    pub port: u16,
    /// Its hosts.
    pub hostname: Hostname,
}

impl From<&Listener> for ServingListener {
    fn from(listener: &Listener) -> Self {
        Self {
            name: listener.id.to_string(),
            scheme: listener.protocol.scheme(),
            port: listener.port,
            hostname: listener.hostname.clone(),
        }
    }
}

/// Translates incrementally: [`apply`](Self::apply) changes, then [`translate`](Self::translate).
///
/// The result depends only on the objects, never on the order in which they came: applying changes one by one
/// ends in the same bytes as starting with the last state.
#[derive(Debug)]
pub struct Translator {
    options: Options,
    store: Store,
    dependencies: Dependencies,
    /// Units to run; the order of [`Unit`] is the order in which results flow.
    dirty: BTreeSet<Unit>,
    dirty_scopes: BTreeSet<(NamespacedName, ScopeId)>,
    dirty_listeners: BTreeSet<(NamespacedName, Port)>,
    sets: ListenerSets,
    models: BTreeMap<NamespacedName, Arc<GatewayModel>>,
    gateways: BTreeMap<NamespacedName, GatewayState>,
    /// What each route added to its Gateways.
    routes: BTreeMap<ObjectKey, RouteShares>,
    /// What is delegated to each route, by who does it.
    handed: BTreeMap<ObjectKey, BTreeMap<ObjectKey, Vec<Handed>>>,
    /// To whom each route delegates.
    given: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    clusters: BTreeMap<ClusterId, ClusterState>,
    secrets: BTreeMap<SecretId, SecretState>,
    statuses: BTreeMap<ObjectKey, Status>,
    problems: BTreeMap<Unit, Problems>,
    observations: BTreeMap<NamespacedName, Observation>,
    refusals: BTreeMap<NamespacedName, Refusals>,
    /// Routes of connections and datagrams that get nothing of a port, because others take precedence.
    contests: BTreeMap<(NamespacedName, Port), Problems>,
    infrastructure: BTreeMap<NamespacedName, Arc<Infrastructure>>,
    references: References,
    changed: Changed,
    runs: u64,
}

/// Names of what changed; the contents are looked up at the end.
#[derive(Debug, Default)]
struct Changed {
    /// With the version from before the first touch: what comes back unchanged has not changed.
    resources: BTreeMap<NamespacedName, BTreeMap<(ResourceType, String), Option<String>>>,
    /// Gateways and ListenerSets whose statuses have to be completed again.
    gateways: BTreeSet<NamespacedName>,
    sets: BTreeSet<NamespacedName>,
    statuses: BTreeSet<ObjectKey>,
    removed: BTreeSet<NamespacedName>,
    /// As it was before the first touch.
    infrastructure: BTreeMap<NamespacedName, Option<Arc<Infrastructure>>>,
}

impl Translator {
    /// An empty world.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            store: Store::default(),
            dependencies: Dependencies::default(),
            dirty: BTreeSet::new(),
            dirty_scopes: BTreeSet::new(),
            dirty_listeners: BTreeSet::new(),
            sets: ListenerSets::default(),
            models: BTreeMap::new(),
            gateways: BTreeMap::new(),
            routes: BTreeMap::new(),
            handed: BTreeMap::new(),
            given: BTreeMap::new(),
            clusters: BTreeMap::new(),
            secrets: BTreeMap::new(),
            statuses: BTreeMap::new(),
            problems: BTreeMap::new(),
            observations: BTreeMap::new(),
            refusals: BTreeMap::new(),
            contests: BTreeMap::new(),
            infrastructure: BTreeMap::new(),
            references: References::default(),
            changed: Changed::default(),
            runs: 0,
        }
    }

    /// Takes in one change and marks what has to run again. Cheap; nothing is translated yet.
    pub fn apply(&mut self, change: Change) {
        let key = match &change {
            Change::Upsert(object) => object.key(),
            Change::Delete(key) => key.clone(),
        };
        let touched = self.store.apply(change);
        if touched.is_empty() {
            return;
        }
        for dependency in &touched {
            self.dirty.extend(self.dependencies.readers(dependency).cloned());
        }
        let name = key.namespaced_name();
        match key.kind {
            Kind::GatewayClass => self.dirty.insert(Unit::GatewayClass(name)),
            Kind::Gateway => {
                if self.options.provision {
                    self.dirty.insert(Unit::Infrastructure(name.clone()));
                }
                self.dirty.insert(Unit::Gateway(name))
            }
            Kind::ListenerSet => self.dirty.insert(Unit::ListenerSet(name)),
            Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                self.dirty.insert(Unit::Route(key))
            }
            Kind::TrafficPolicy => self.dirty.insert(Unit::Policy(name)),
            Kind::BackendTlsPolicy => self.dirty.insert(Unit::TlsPolicy(name)),
            // These are only ever read by others.
            Kind::Namespace
            | Kind::Service
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::EndpointSlice
            | Kind::Pod
            | Kind::ServiceImport
            | Kind::ClusterTrustBundle
            | Kind::ReferenceGrant => false,
            _ => self.dirty.insert(Unit::Extension(key)),
        };
    }

    /// Runs what has to run and returns what came out differently.
    pub fn translate(&mut self) -> Update {
        while let Some(unit) = self.dirty.pop_first() {
            self.runs += 1;
            // The pure part of a unit is caught in `run`; this is for the rest.
            let result = catch_unwind(AssertUnwindSafe(|| self.run_unit(&unit)));
            if result.is_err() {
                self.report_defect(&unit);
            }
        }
        for (gateway, scope) in std::mem::take(&mut self.dirty_scopes) {
            let result = catch_unwind(AssertUnwindSafe(|| self.build_scope(&gateway, &scope)));
            if result.is_err() {
                self.report_defect(&Unit::Gateway(gateway));
            }
        }
        for (gateway, port) in std::mem::take(&mut self.dirty_listeners) {
            let result = catch_unwind(AssertUnwindSafe(|| self.build_listener(&gateway, port)));
            if result.is_err() {
                self.report_defect(&Unit::Gateway(gateway));
            }
        }
        for gateway in std::mem::take(&mut self.changed.gateways) {
            self.complete_gateway(&gateway);
        }
        for set in std::mem::take(&mut self.changed.sets) {
            self.complete_set(&set);
        }
        self.take_update()
    }

    /// The statuses of the ListenerSets of a Gateway have to be completed again.
    fn touch_sets_of(&mut self, gateway: &NamespacedName) {
        let sets = self.gateways.get(gateway).into_iter().flat_map(|state| state.sets.keys());
        self.changed.sets.extend(sets.cloned());
    }

    fn run_unit(&mut self, unit: &Unit) {
        match unit {
            Unit::GatewayClass(name) => self.run_class(unit, name),
            Unit::ListenerSet(name) => self.run_listener_set(unit, name),
            Unit::Gateway(name) => self.run_gateway(unit, name),
            Unit::Infrastructure(name) => self.run_infrastructure(unit, name),
            Unit::Route(key) => self.run_route(unit, key),
            Unit::Cluster(id) => self.run_cluster(unit, id),
            Unit::Endpoints(id) => self.run_endpoints(unit, id),
            Unit::Secret(id) => self.run_secret(unit, id),
            Unit::Extension(key) => self.run_extension(unit, key),
            Unit::Policy(name) => self.run_policy(unit, name),
            Unit::TlsPolicy(name) => self.run_tls_policy(unit, name),
        }
    }

    /// The Gateways of ours.
    pub fn gateways(&self) -> impl Iterator<Item = &NamespacedName> {
        self.gateways.keys()
    }

    /// All resources of a Gateway, ordered by type, then by name.
    pub fn resources(&self, gateway: &NamespacedName) -> impl Iterator<Item = &Arc<Resource>> {
        self.gateways.get(gateway).into_iter().flat_map(|state| state.resources.values())
    }

    /// The listeners of a Gateway and its ListenerSets that Envoy is to serve, in order of precedence.
    pub fn serving(&self, gateway: &NamespacedName) -> impl Iterator<Item = ServingListener> {
        let listeners = self.models.get(gateway).into_iter().flat_map(|model| model.serving());
        listeners.map(ServingListener::from)
    }

    /// All statuses.
    pub fn statuses(&self) -> &BTreeMap<ObjectKey, Status> {
        &self.statuses
    }

    /// Everything that is wrong, ordered by object and field.
    pub fn problems(&self) -> Vec<&Problem> {
        let refusals = self.refusals.values().map(|refusals| &refusals.problems);
        let found = self.problems.values().chain(self.contests.values()).chain(refusals);
        let mut problems: Vec<&Problem> = found.flat_map(Problems::iter).collect();
        problems.sort_by(|a, b| (&a.object, &a.field, &a.message).cmp(&(&b.object, &b.field, &b.message)));
        problems.dedup();
        problems
    }

    /// One object of the world, as it was last applied.
    pub fn object(&self, key: &ObjectKey) -> Option<&Object> {
        self.store.object(key)
    }

    /// All objects of the world, in no particular order.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.store.objects()
    }

    /// Every Secret and ConfigMap that something asked for by name, whether it exists or not. Others need not be
    /// applied.
    pub fn references(&self) -> &BTreeSet<ObjectKey> {
        self.references.all()
    }

    /// Takes in which Gateway API is in the cluster, see [`Options::bundle_version`] and [`Options::experimental`].
    pub fn set_bundle(&mut self, version: Option<String>, experimental: bool) {
        if (&self.options.bundle_version, self.options.experimental) == (&version, experimental) {
            return;
        }
        let channel_changed = self.options.experimental != experimental;
        (self.options.bundle_version, self.options.experimental) = (version, experimental);
        self.dirty.extend(self.store.names(Kind::GatewayClass, "").cloned().map(Unit::GatewayClass));
        if channel_changed {
            self.dirty.extend(self.gateways.keys().cloned().map(Unit::Gateway));
        }
    }

    /// Takes in whether the cluster serves a kind at all. It does, unless this says otherwise: where objects come from files,
    /// there is every kind.
    pub fn set_served(&mut self, kind: Kind, served: bool) {
        if let Some(dependency) = self.store.set_served(kind, served) {
            self.touch(&dependency);
        }
    }

    /// What has to exist in the cluster for the proxies of a Gateway of ours.
    pub fn infrastructure(&self, gateway: &NamespacedName) -> Option<&Arc<Infrastructure>> {
        self.infrastructure.get(gateway)
    }

    /// How many units have run since the start; the cost of a change in units.
    pub fn units_run(&self) -> u64 {
        self.runs
    }

    fn take_update(&mut self) -> Update {
        let seen = std::mem::take(&mut self.changed);
        let mut update = Update::default();
        for (name, touched) in seen.resources {
            let Some(state) = self.gateways.get(&name) else { continue };
            let changes = touched.into_iter().filter_map(|(at, before)| {
                let resource = state.resources.get(&at).cloned();
                let unchanged = resource.as_ref().map(|r| &r.version) == before.as_ref();
                (!unchanged).then_some(ResourceChange { resource_type: at.0, name: at.1, resource })
            });
            let changes = changes.collect();
            update.gateways.insert(name, GatewayUpdate { changes });
        }
        update.removed_gateways =
            seen.removed.into_iter().filter(|name| !self.gateways.contains_key(name)).collect();
        for key in seen.statuses {
            let status = self.statuses.get(&key).cloned();
            update.statuses.insert(key, status);
        }
        for (name, before) in seen.infrastructure {
            let infrastructure = self.infrastructure.get(&name).cloned();
            if infrastructure != before {
                update.infrastructure.insert(name, infrastructure);
            }
        }
        update.references_changed = self.references.take_changed();
        update
    }

    /// Runs the pure part of a unit with the world as it is, and remembers what it read. A panic is a bug of ours:
    /// it costs the unit its new output and nothing else.
    fn run<T>(&mut self, unit: &Unit, body: impl FnOnce(&Reader<'_>, &Options) -> T) -> Option<T> {
        let results = Results {
            sets: &self.sets,
            gateways: &self.models,
            routes: &self.routes,
            handed: &self.handed,
            clusters: &self.clusters,
            provision: self.options.provision,
        };
        let reader = Reader::new(&self.store, results);
        let result = catch_unwind(AssertUnwindSafe(|| body(&reader, &self.options)));
        let (reads, references) = reader.into_reads();
        self.dependencies.record(unit, reads);
        match result {
            Ok(output) => {
                self.references.record(unit, &references);
                Some(output)
            }
            Err(_) => {
                self.references.extend(unit, references);
                self.report_defect(unit);
                None
            }
        }
    }

    /// What was asked about this has another answer now.
    fn touch(&mut self, dependency: &Dependency) {
        self.dirty.extend(self.dependencies.readers(dependency).cloned());
    }

    fn report_defect(&mut self, unit: &Unit) {
        tracing::error!(?unit, "translation panicked; the last good output stays");
        let mut problems = Problems::default();
        problems.error(
            &unit.object(),
            "",
            "translating the object failed by a defect of Postern; its last good configuration stays",
            "report it with the object",
        );
        self.set_problems(unit, problems);
    }

    fn set_problems(&mut self, unit: &Unit, problems: Problems) {
        if problems.is_empty() {
            self.problems.remove(unit);
        } else {
            self.problems.insert(unit.clone(), problems);
        }
    }

    fn set_status(&mut self, key: ObjectKey, status: Option<Status>) {
        if self.statuses.get(&key) == status.as_ref() {
            return;
        }
        match status {
            Some(status) => self.statuses.insert(key.clone(), status),
            None => self.statuses.remove(&key),
        };
        self.changed.statuses.insert(key);
    }

    fn forget(&mut self, unit: &Unit) {
        self.dependencies.remove(unit);
        self.references.record(unit, &[]);
        self.problems.remove(unit);
    }

    fn set_resource(&mut self, gateway: &NamespacedName, resource: Arc<Resource>) {
        let at = (resource.resource_type, resource.name.clone());
        let Some(state) = self.gateways.get_mut(gateway) else { return };
        if state.resources.get(&at).is_some_and(|old| old.version == resource.version) {
            return;
        }
        let before = state.resources.insert(at.clone(), resource).map(|old| old.version.clone());
        self.changed.resources.entry(gateway.clone()).or_default().entry(at).or_insert(before);
    }

    fn remove_resource(&mut self, gateway: &NamespacedName, at: (ResourceType, String)) {
        let Some(state) = self.gateways.get_mut(gateway) else { return };
        if let Some(old) = state.resources.remove(&at) {
            let before = Some(old.version.clone());
            self.changed.resources.entry(gateway.clone()).or_default().entry(at).or_insert(before);
        }
    }

    fn run_class(&mut self, unit: &Unit, name: &NamespacedName) {
        let output = self.run(unit, |reader, options| {
            let class = reader.get::<GatewayClass>("", &name.name)?;
            (class.spec.controller_name == options.controller_name)
                .then(|| gateway::class::translate(reader, class, options))
        });
        if let Some(output) = output {
            if self.store.get::<GatewayClass>("", &name.name).is_none() {
                self.forget(unit);
            }
            let (status, problems) = output.unzip();
            self.set_problems(unit, problems.unwrap_or_default());
            let key = ObjectKey::new(Kind::GatewayClass, "", &name.name);
            self.set_status(key, status.map(Status::GatewayClass));
        }
    }

    fn run_listener_set(&mut self, unit: &Unit, name: &NamespacedName) {
        let output = self.run(unit, |reader, options| listener_set::translate(reader, name, options));
        let Some((draft, problems)) = output else { return };
        self.set_problems(unit, problems);
        if self.store.get::<ListenerSet>(&name.namespace, &name.name).is_none() {
            self.forget(unit);
        }
        let old = self.sets.replace(name, draft);
        let (old, new) = (old.as_deref(), self.sets.get(name));
        if old == new {
            return;
        }
        let seen = |set: &ListenerSetDraft| (set.gateway.clone(), set.refused.clone());
        let mut touched: Vec<Dependency> = Vec::new();
        if old.map(seen) != new.map(seen) {
            touched.push(Dependency::ListenerSet(name.clone()));
        }
        touched.extend(old.into_iter().chain(new).map(|set| Dependency::ListenerSets(set.gateway.clone())));
        self.changed.sets.insert(name.clone());
        for dependency in &touched {
            self.touch(dependency);
        }
    }

    fn run_gateway(&mut self, unit: &Unit, name: &NamespacedName) {
        let key = ObjectKey::new(Kind::Gateway, &name.namespace, &name.name);
        let mut foreign = Problems::default();
        let output = self.run(unit, |reader, options| {
            let gateway = reader.get::<Gateway>(&name.namespace, &name.name)?;
            if gateway::is_ours(reader, gateway, options) {
                return Some(gateway::translate(reader, gateway, options));
            }
            let class = &gateway.spec.gateway_class_name;
            if reader.get::<GatewayClass>("", class).is_none() {
                foreign.warning(
                    &key,
                    "spec.gatewayClassName",
                    format!("GatewayClass {class} does not exist, so nobody serves the Gateway"),
                    "create the GatewayClass, or mend the name",
                );
            }
            None
        });
        match output {
            None => {}
            Some(None) => {
                self.remove_gateway(name);
                if self.store.get::<Gateway>(&name.namespace, &name.name).is_none() {
                    self.forget(unit);
                } else {
                    self.set_problems(unit, foreign);
                }
                self.set_status(key, None);
            }
            Some(Some(output)) => {
                self.set_problems(unit, output.problems.clone());
                self.update_gateway(name, output);
            }
        }
    }

    fn run_infrastructure(&mut self, unit: &Unit, name: &NamespacedName) {
        let output = self.run(unit, |reader, options| {
            let gateway = reader.get::<Gateway>(&name.namespace, &name.name)?;
            gateway::is_ours(reader, gateway, options).then(|| infrastructure::translate(reader, gateway))
        });
        let Some(output) = output else { return };
        let (wanted, problems) = output.unzip();
        self.set_problems(unit, problems.unwrap_or_default());
        if self.store.get::<Gateway>(&name.namespace, &name.name).is_none() {
            self.forget(unit);
        }
        if self.infrastructure.get(name) == wanted.as_ref() {
            return;
        }
        let before = match wanted {
            Some(wanted) => self.infrastructure.insert(name.clone(), wanted),
            None => self.infrastructure.remove(name),
        };
        self.changed.infrastructure.entry(name.clone()).or_insert(before);
    }

    fn update_gateway(&mut self, name: &NamespacedName, output: gateway::GatewayOutput) {
        if !self.gateways.contains_key(name) {
            self.gateways.insert(name.clone(), GatewayState::new(output.uid.clone()));
            self.changed.resources.entry(name.clone()).or_default();
        }
        let wanted: BTreeSet<String> = output.secrets.iter().map(|secret| secret.name.clone()).collect();
        let state = self.gateways.entry(name.clone()).or_default();
        let secrets = std::mem::replace(&mut state.secrets, wanted);
        let gone: Vec<String> = secrets.difference(&state.secrets).cloned().collect();
        let shared = std::mem::replace(&mut state.shared_secrets, output.shared_secrets.clone());
        if state.uid != output.uid {
            self.observations.remove(name);
        }
        state.uid = output.uid;
        state.base_status = output.status;
        state.obstacle = output.obstacle;
        let ports = state.plan.changed_ports(&output.plan);
        self.dirty_listeners.extend(ports.into_iter().map(|port| (name.clone(), port)));
        state.plan = output.plan;
        // Those that are gone, too: their statuses go.
        self.changed.sets.extend(state.sets.keys().chain(output.sets.keys()).cloned());
        state.sets = output.sets;
        let clusters = std::mem::replace(&mut state.clusters, output.clusters.clone());
        for secret in gone {
            self.remove_resource(name, (ResourceType::Secret, secret));
        }
        for id in output.clusters.difference(&clusters) {
            self.add_cluster_user(name, id);
        }
        for id in clusters.difference(&output.clusters) {
            self.remove_cluster_user(name, id);
        }
        for resource in output.secrets {
            self.set_resource(name, resource);
        }
        for id in output.shared_secrets.difference(&shared) {
            self.add_secret_user(name, id);
        }
        for id in shared.difference(&output.shared_secrets) {
            self.remove_secret_user(name, id);
        }
        self.changed.gateways.insert(name.clone());
        self.replace_model(name, Some(&output.model));
    }

    /// Replaces what others see of a Gateway, and marks what has to run or to be built again.
    fn replace_model(&mut self, name: &NamespacedName, new: Option<&Arc<GatewayModel>>) {
        let old = match new {
            Some(new) => self.models.insert(name.clone(), Arc::clone(new)),
            None => self.models.remove(name),
        };
        let Differences { parents, owners, requests, ports, client_certificate, is_default } =
            differences(old.as_deref(), new.map(AsRef::as_ref));
        if let Some(state) = self.gateways.get(name) {
            let scopes = state.scopes_of(&owners.union(&requests).cloned().collect());
            self.dirty_scopes.extend(scopes.into_iter().map(|scope| (name.clone(), scope)));
        }
        let mut touched = Vec::new();
        if old.is_some() != new.is_some() {
            touched.push(Dependency::Gateway(name.clone()));
        }
        if ports {
            touched.push(Dependency::Ports(name.clone()));
        }
        if is_default {
            touched.push(Dependency::DefaultGateways);
        }
        if client_certificate {
            touched.push(Dependency::ClientCertificate(name.clone()));
        }
        touched.extend(parents.into_iter().map(|set| Dependency::Listeners(name.clone(), set)));
        let owners = owners.into_iter();
        touched.extend(owners.map(|(port, hostname)| Dependency::Owner(name.clone(), port, hostname)));
        for dependency in &touched {
            self.touch(dependency);
        }
    }

    fn remove_gateway(&mut self, name: &NamespacedName) {
        self.touch_sets_of(name);
        if self.gateways.remove(name).is_none() {
            return;
        }
        self.observations.remove(name);
        self.contests.retain(|(gateway, _), _| gateway != name);
        self.changed.gateways.insert(name.clone());
        self.changed.removed.insert(name.clone());
        self.changed.resources.remove(name);
        self.forget_user(name);
        // The routes run again and find no Gateway, but what they added is already gone with it.
        for (key, shares) in &mut self.routes {
            let before = shares.len();
            shares.retain(|(gateway, _)| gateway != name);
            if shares.len() < before {
                self.dirty.extend(self.dependencies.readers(&Dependency::Parents(key.clone())).cloned());
            }
        }
        self.replace_model(name, None);
    }

    fn run_extension(&mut self, unit: &Unit, key: &ObjectKey) {
        let output = self.run(unit, |reader, options| extension::translate(reader, key, options));
        if let Some((status, problems)) = output {
            self.set_problems(unit, problems);
            if self.store.object(key).is_none() {
                self.forget(unit);
            }
            self.set_status(key.clone(), status);
        }
    }

    fn run_policy(&mut self, unit: &Unit, name: &NamespacedName) {
        let output = self.run(unit, |reader, options| policy::status::translate(reader, name, options));
        if let Some((status, problems)) = output {
            self.set_problems(unit, problems);
            if self.store.policy(name).is_none() {
                self.forget(unit);
            }
            let key = ObjectKey::new(Kind::TrafficPolicy, &name.namespace, &name.name);
            self.set_status(key, status.map(Status::Policy));
        }
    }

    fn run_tls_policy(&mut self, unit: &Unit, name: &NamespacedName) {
        let output = self.run(unit, |reader, options| tls_policy::status::translate(reader, name, options));
        if let Some((status, problems)) = output {
            self.set_problems(unit, problems);
            let key = ObjectKey::new(Kind::BackendTlsPolicy, &name.namespace, &name.name);
            if self.store.object(&key).is_none() {
                self.forget(unit);
            }
            self.set_status(key, status.map(Status::Policy));
        }
    }

    fn build_scope(&mut self, gateway: &NamespacedName, id: &ScopeId) {
        let (Some(state), Some(model)) = (self.gateways.get(gateway), self.models.get(gateway)) else {
            return;
        };
        match state.scope(id, model) {
            Some(hosts) => {
                let resource = envoy::scope::scope(id, hosts);
                self.set_resource(gateway, resource);
            }
            None => self.remove_resource(gateway, (ResourceType::ScopedRouteConfiguration, id.name())),
        }
    }

    fn build_listener(&mut self, gateway: &NamespacedName, port: Port) {
        let at = (gateway.clone(), port);
        let Some(state) = self.gateways.get_mut(gateway) else {
            self.contests.remove(&at);
            return;
        };
        let clusters = &self.clusters;
        let endpoints = |id: &ClusterId| clusters.get(id).map(ClusterState::endpoints).unwrap_or_default();
        let resources = state.listener(port, &endpoints);
        let gone = state.take_built(port, &resources);
        let contest = state.precedence(port).problems(&gateway.to_string());
        if contest.is_empty() {
            self.contests.remove(&at);
        } else {
            self.contests.insert(at, contest);
        }
        for resource in resources {
            self.set_resource(gateway, resource);
        }
        for name in gone {
            self.remove_resource(gateway, name);
        }
        self.changed.gateways.insert(gateway.clone());
        self.touch_sets_of(gateway);
    }
}

#[cfg(test)]
mod tests;
