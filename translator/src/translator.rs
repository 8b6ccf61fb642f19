//! The engine: which units of translation have to run again, in which order, and what came out differently.

mod clusters;
mod gateways;
mod observe;
mod rebuild;
mod routes;
pub(crate) mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use self::observe::Refusals;
use self::state::{ClusterState, GatewayState, SecretState};
use crate::Options;
use crate::backend::{ClusterId, tls_policy};
use crate::dependency::{Dependencies, Dependency, Reader, References, Results, Unit};
use crate::envoy::scope::ScopeId;
use crate::extension;
use crate::gateway::listener_set::ListenerSets;
use crate::gateway::{GatewayModel, Listener};
use crate::hostname::Hostname;
use crate::infrastructure::{Infrastructure, Port};
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
}

#[cfg(test)]
mod tests;
