//! Who read what: the small hand-written index behind incremental translation.
//!
//! A unit of translation reads the world only through [`Reader`], which writes down every question it
//! was asked, also those answered with "there is none". When something changes, exactly the units that
//! asked about it run again. See `docs/adr/0003-incremental-translation.md` for why this is not `salsa`.

pub(crate) mod delegation;
mod parent;
mod references;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_api::gateway_api::ReferenceGrant;
use postern_api::kgateway::HttpListenerPolicy;
use slab::Slab;
use xxhash_rust::xxh3::Xxh3Default;

pub(crate) use self::parent::{Parent, ParentName};
pub(crate) use self::references::References;
use crate::backend::config::ConfigPolicy;
use crate::backend::{BackendObject, ClusterId, Security, Upstream};
use crate::gateway::listener_set::ListenerSets;
use crate::gateway::{GatewayModel, ListenerId};
use crate::grants::{self, Reference};
use crate::hostname::Hostname;
use crate::listener_policy;
use crate::object::{Age, Kind, NamespacedName, Object, ObjectKey, Stored};
use crate::policy::merge::Priority;
use crate::policy::{Policy, Target};
use crate::route::RouteShares;
use crate::route::delegation::Handed;
use crate::store::{Store, priority_annotation};
use crate::tls::authorities::Anchors;
use crate::tls::secret::SecretId;
use crate::translator::state::{ClusterState, Users};

/// Something that a unit can have read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Dependency {
    /// Existence and content of one object.
    Object(ObjectKey),
    /// The EndpointSlices of a Service or ServiceImport.
    EndpointSlices(ObjectKey),
    /// The ReferenceGrants in a namespace.
    Grants(String),
    /// The TrafficPolicies that name a target.
    PoliciesOn(Target),
    /// What an object says of policies on it and on what is more specific.
    PolicyPriority(ObjectKey),
    /// The TrafficPolicies of a namespace that select objects of a kind by label.
    Selectors(Kind, String),
    /// The HTTPListenerPolicies that name a target.
    ListenerPoliciesOn(Target),
    /// The HTTPListenerPolicies of a namespace that select objects of a kind by label.
    ListenerSelectors(Kind, String),
    /// The names and labels of all objects of a kind in a namespace.
    Objects(Kind, String),
    /// Whether a Gateway is one of ours.
    Gateway(NamespacedName),
    /// Which Gateways of ours are default Gateways.
    DefaultGateways,
    /// What those who attach can see of a Gateway itself (`None`) or of one of its ListenerSets: the listeners.
    Listeners(NamespacedName, Option<NamespacedName>),
    /// What a Gateway shows to backends that speak TLS.
    ClientCertificate(NamespacedName),
    /// Which listener serves a hostname at a TCP port of a Gateway.
    Owner(NamespacedName, u16, Hostname),
    /// The ports of a Gateway that have a serving listener.
    Ports(NamespacedName),
    /// Which Gateway of ours a ListenerSet belongs to, and whether that lets it attach.
    ListenerSet(NamespacedName),
    /// The ListenerSets that name a Gateway of ours, with all that they ask for.
    ListenerSets(NamespacedName),
    /// Which Gateways accepted a route.
    Parents(ObjectKey),
    /// What those can see of an HTTPRoute who delegate to it.
    Child(ObjectKey),
    /// The HTTPRoutes with a value of the label for delegation.
    DelegationLabel(String),
    /// What other routes delegate to an HTTPRoute.
    Handed(ObjectKey),
    /// The BackendTLSPolicies that name a backend, and which of its ports.
    TlsPoliciesOn(ObjectKey),
    /// The XBackendTrafficPolicies that name a backend.
    TrafficPoliciesOn(ObjectKey),
    /// The BackendConfigPolicies that name a backend.
    ConfigsOn(ObjectKey),
    /// The BackendConfigPolicies of a namespace that select backends of a kind by label.
    ConfigSelectors(Kind, String),
    /// Which Gateways use which clusters of a backend.
    ClustersOf(ObjectKey),
    /// Whether the cluster serves a kind.
    Served(Kind),
}

/// A piece of translation that is run, remembered and run again as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Unit {
    /// Status of a GatewayClass.
    GatewayClass(NamespacedName),
    /// What a ListenerSet asks for, and whether its Gateway lets it attach.
    ListenerSet(NamespacedName),
    /// Listeners, filter chains and certificates of a Gateway and its ListenerSets.
    Gateway(NamespacedName),
    /// What has to exist in the cluster for the proxies of a Gateway.
    Infrastructure(NamespacedName),
    /// Attachment of a route, its Envoy routes and the clusters they name.
    Route(ObjectKey),
    /// One Envoy cluster.
    Cluster(ClusterId),
    /// The endpoints of one Envoy cluster.
    Endpoints(ClusterId),
    /// A secret that clusters and listeners share.
    Secret(SecretId),
    /// Status of an extension resource that others refer to.
    Extension(ObjectKey),
    /// Status of a policy.
    Policy(NamespacedName),
    /// Status of a BackendTLSPolicy.
    TlsPolicy(NamespacedName),
}

impl Unit {
    /// The object that the unit is about.
    pub(crate) fn object(&self) -> ObjectKey {
        let key = |kind, name: &NamespacedName| ObjectKey::new(kind, &name.namespace, &name.name);
        match self {
            Self::GatewayClass(name) => key(Kind::GatewayClass, name),
            Self::ListenerSet(name) => key(Kind::ListenerSet, name),
            Self::Gateway(name) | Self::Infrastructure(name) => key(Kind::Gateway, name),
            Self::Route(object) | Self::Extension(object) => object.clone(),
            Self::Policy(name) => key(Kind::TrafficPolicy, name),
            Self::TlsPolicy(name) => key(Kind::BackendTlsPolicy, name),
            Self::Cluster(id) | Self::Endpoints(id) => id.backend.key(),
            Self::Secret(id) => id.object(),
        }
    }
}

/// The digest under which the index keeps a [`Dependency`]. A collision would cost a superfluous run of a unit,
/// never a missed one, so 64 bits do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DependencyId(u64);

impl Dependency {
    fn id(&self) -> DependencyId {
        let mut hasher = Xxh3Default::new();
        self.hash(&mut hasher);
        DependencyId(hasher.finish())
    }
}

/// Both directions of "unit read dependency", as numbers: at ten thousand routes the names would take more memory
/// than the objects.
#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    units: Slab<Arc<Unit>>,
    numbers: HashMap<Arc<Unit>, usize>,
    /// By number of the unit; sorted.
    reads: HashMap<usize, Box<[DependencyId]>>,
    readers: HashMap<DependencyId, BTreeSet<u32>>,
}

impl Dependencies {
    /// Replaces what `unit` has read; `reads` is sorted and has no duplicates.
    pub(crate) fn record(&mut self, unit: &Unit, reads: Vec<DependencyId>) {
        let number = self.number(unit);
        let old = self.reads.remove(&number).unwrap_or_default();
        if *old != *reads {
            for dependency in old.iter().filter(|d| reads.binary_search(d).is_err()) {
                self.forget(*dependency, number);
            }
            for dependency in reads.iter().filter(|d| old.binary_search(d).is_err()) {
                self.readers.entry(*dependency).or_default().insert(compact(number));
            }
        }
        self.reads.insert(number, reads.into_boxed_slice());
    }

    /// Drops a unit that no longer exists.
    pub(crate) fn remove(&mut self, unit: &Unit) {
        let Some(number) = self.numbers.remove(unit) else { return };
        self.units.remove(number);
        for dependency in self.reads.remove(&number).unwrap_or_default() {
            self.forget(dependency, number);
        }
    }

    /// The units that read `dependency`.
    pub(crate) fn readers(&self, dependency: &Dependency) -> impl Iterator<Item = &Unit> {
        let numbers = self.readers.get(&dependency.id()).into_iter().flatten();
        numbers.filter_map(|number| self.units.get(*number as usize).map(AsRef::as_ref))
    }

    fn number(&mut self, unit: &Unit) -> usize {
        if let Some(number) = self.numbers.get(unit) {
            return *number;
        }
        let unit = Arc::new(unit.clone());
        let number = self.units.insert(Arc::clone(&unit));
        self.numbers.insert(unit, number);
        number
    }

    fn forget(&mut self, dependency: DependencyId, number: usize) {
        if let Some(readers) = self.readers.get_mut(&dependency) {
            readers.remove(&compact(number));
            if readers.is_empty() {
                self.readers.remove(&dependency);
            }
        }
    }
}

fn compact(number: usize) -> u32 {
    u32::try_from(number).expect("fewer than four billion units")
}

/// The name of an object that makes its readers panic, so that a test can see what a defect costs.
#[cfg(test)]
pub(crate) const PANICS: &str = "makes-its-readers-panic";

/// What came of units that ran before.
#[derive(Clone, Copy)]
pub(crate) struct Results<'a> {
    pub(crate) sets: &'a ListenerSets,
    pub(crate) gateways: &'a BTreeMap<NamespacedName, Arc<GatewayModel>>,
    pub(crate) routes: &'a BTreeMap<ObjectKey, RouteShares>,
    /// What is delegated to each route, by who does it.
    pub(crate) handed: &'a BTreeMap<ObjectKey, BTreeMap<ObjectKey, Vec<Handed>>>,
    pub(crate) clusters: &'a BTreeMap<ClusterId, ClusterState>,
    /// [`Options::provision`](crate::Options::provision), which never changes.
    pub(crate) provision: bool,
}

/// The world as one unit sees it; remembers what was asked.
pub(crate) struct Reader<'a> {
    store: &'a Store,
    results: Results<'a>,
    reads: RefCell<Vec<DependencyId>>,
    references: RefCell<Vec<ObjectKey>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(store: &'a Store, results: Results<'a>) -> Self {
        Self { store, results, reads: RefCell::default(), references: RefCell::default() }
    }

    /// What has been read, and which Secrets and ConfigMaps by name; sorted and without duplicates.
    pub(crate) fn into_reads(self) -> (Vec<DependencyId>, Vec<ObjectKey>) {
        let mut reads = self.reads.into_inner();
        reads.sort_unstable();
        reads.dedup();
        let mut references = self.references.into_inner();
        references.sort_unstable();
        references.dedup();
        (reads, references)
    }

    fn note(&self, dependency: &Dependency) {
        if let Dependency::Object(key) = dependency
            && matches!(key.kind, Kind::Secret | Kind::ConfigMap)
        {
            self.references.borrow_mut().push(key.clone());
        }
        self.reads.borrow_mut().push(dependency.id());
    }

    /// One object by name.
    pub(crate) fn get<T: Stored>(&self, namespace: &str, name: &str) -> Option<&'a Arc<T>> {
        #[cfg(test)]
        assert_ne!(name, PANICS, "a defect, for a test");
        let dependency = Dependency::Object(ObjectKey::new(T::KIND, namespace, name));
        self.note(&dependency);
        let Dependency::Object(key) = dependency else { return None };
        self.store.object(&key).and_then(T::of)
    }

    /// The labels of an object, whatever its kind; `None` if it does not exist.
    pub(crate) fn labels(&self, key: &ObjectKey) -> Option<BTreeMap<String, String>> {
        self.metadata(key).map(|metadata| metadata.labels.clone().unwrap_or_default())
    }

    /// The metadata of an object, whatever its kind; `None` if it does not exist.
    pub(crate) fn metadata(&self, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        self.note(&Dependency::Object(key.clone()));
        self.store.object(key).map(Object::metadata)
    }

    /// The EndpointSlices of a Service or ServiceImport.
    pub(crate) fn endpoint_slices(&self, owner: &ObjectKey) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        self.note(&Dependency::EndpointSlices(owner.clone()));
        self.store.endpoint_slices(owner)
    }

    /// The ReferenceGrants in a namespace.
    pub(crate) fn grants<'b>(&self, namespace: &'b str) -> impl Iterator<Item = &'b Arc<ReferenceGrant>>
    where
        'a: 'b,
    {
        self.note(&Dependency::Grants(namespace.to_owned()));
        self.store.grants(namespace)
    }

    /// The Gateways that accepted a route.
    pub(crate) fn parents(&self, route: &ObjectKey) -> BTreeSet<NamespacedName> {
        self.note(&Dependency::Parents(route.clone()));
        self.results.routes.get(route).into_iter().flatten().map(|(gateway, _)| gateway.clone()).collect()
    }

    /// The listeners of a Gateway whose requests come to a route.
    pub(crate) fn listeners_with(&self, route: &ObjectKey, gateway: &NamespacedName) -> Vec<ListenerId> {
        self.note(&Dependency::Parents(route.clone()));
        let shares = self.results.routes.get(route).into_iter().flatten();
        let shares = shares.filter(|(name, _)| name == gateway);
        shares.flat_map(|(_, share)| share.listeners.iter().chain(&share.reached).cloned()).collect()
    }

    /// A parsed TrafficPolicy by name.
    pub(crate) fn policy(&self, name: &NamespacedName) -> Option<&'a Arc<Policy>> {
        self.note(&Dependency::Object(ObjectKey::new(Kind::TrafficPolicy, &name.namespace, &name.name)));
        self.store.policy(name)
    }

    /// The BackendTLSPolicies on a backend, each with the name of the port that it is on.
    pub(crate) fn tls_policies_on(
        &self,
        backend: &ObjectKey,
    ) -> impl Iterator<Item = &'a (Option<String>, NamespacedName)> + use<'a> {
        self.note(&Dependency::TlsPoliciesOn(backend.clone()));
        self.store.tls_policies_on(backend)
    }

    /// The XBackendTrafficPolicies on a backend.
    pub(crate) fn traffic_policies_on(
        &self,
        backend: &ObjectKey,
    ) -> impl Iterator<Item = &'a NamespacedName> + use<'a> {
        self.note(&Dependency::TrafficPoliciesOn(backend.clone()));
        self.store.traffic_policies_on(backend)
    }

    /// The BackendConfigPolicies on a backend, by reference and by label, from the oldest to the youngest.
    pub(crate) fn configs_on(&self, backend: &ObjectKey) -> Vec<&'a Arc<ConfigPolicy>> {
        if !matches!(backend.kind, Kind::Service | Kind::Backend) {
            return Vec::new();
        }
        self.note(&Dependency::ConfigsOn(backend.clone()));
        self.note(&Dependency::ConfigSelectors(backend.kind, backend.namespace.clone()));
        let mut found: Vec<&Arc<ConfigPolicy>> = self.store.configs_on(backend).collect();
        let mut selecting = self.store.configs_selecting(backend.kind, &backend.namespace).peekable();
        if selecting.peek().is_some() {
            let labels = self.labels(backend).unwrap_or_default();
            found.extend(selecting.filter(|policy| policy.selects(backend.kind, &labels)));
        }
        found.sort_by(|a, b| a.age.cmp(&b.age));
        found.dedup_by(|a, b| a.age == b.age);
        found
    }

    /// A parsed BackendConfigPolicy by name.
    pub(crate) fn config(&self, name: &NamespacedName) -> Option<&'a Arc<ConfigPolicy>> {
        let key = ObjectKey::new(Kind::BackendConfigPolicy, &name.namespace, &name.name);
        self.note(&Dependency::Object(key));
        self.store.config(name)
    }

    /// True if the proxies run in pods of the cluster.
    pub(crate) fn is_provisioned(&self) -> bool {
        self.results.provision
    }

    /// The certificates of authorities that an object holds; `None` if it does not exist.
    pub(crate) fn anchors(&self, key: &ObjectKey) -> Option<Arc<Anchors>> {
        self.note(&Dependency::Object(key.clone()));
        self.store.anchors(key)
    }

    /// True if the cluster serves the kind, so that there can be such objects.
    pub(crate) fn is_served(&self, kind: Kind) -> bool {
        self.note(&Dependency::Served(kind));
        !self.store.absent().contains(&kind)
    }

    /// The clusters of a backend, each with the Gateways that use it.
    pub(crate) fn clusters_of(
        &self,
        backend: &ObjectKey,
    ) -> impl Iterator<Item = (&'a ClusterId, &'a Users)> + use<'a> {
        self.note(&Dependency::ClustersOf(backend.clone()));
        let first = BackendObject::first_of(backend).map(|backend| ClusterId {
            backend,
            upstream: Upstream::default(),
            security: Security::default(),
        });
        let backend = backend.clone();
        let clusters = first.into_iter().flat_map(|first| self.results.clusters.range(first..));
        clusters.take_while(move |(id, _)| id.backend.key() == backend).map(|(id, state)| (id, &state.users))
    }

    /// The names and labels of all objects of `kind` in `namespace`.
    pub(crate) fn objects_in(
        &self,
        kind: Kind,
        namespace: &str,
    ) -> Vec<(NamespacedName, BTreeMap<String, String>)> {
        self.note(&Dependency::Objects(kind, namespace.to_owned()));
        let names = self.store.names(kind, namespace);
        names
            .filter_map(|name| {
                let object = self.store.object(&ObjectKey::new(kind, namespace, &name.name))?;
                Some((name.clone(), object.metadata().labels.clone().unwrap_or_default()))
            })
            .collect()
    }

    /// All objects of one kind in `namespace`, ordered by name.
    pub(crate) fn all_in<T: Stored + 'a>(&self, namespace: &str) -> Vec<&'a Arc<T>> {
        self.note(&Dependency::Objects(T::KIND, namespace.to_owned()));
        let names: Vec<_> = self.store.names(T::KIND, namespace).collect();
        names.into_iter().filter_map(|name| self.get::<T>(namespace, &name.name)).collect()
    }

    /// True if `policy` may be on `target`: it is in the same namespace, or a ReferenceGrant allows it.
    pub(crate) fn may_target(&self, policy: &Policy, target: &Target) -> bool {
        grants::permitted(
            self,
            Reference {
                from_group: policy.key.kind.group(),
                from_kind: policy.key.kind.as_str(),
                from_namespace: &policy.key.namespace,
                to_group: target.kind.group(),
                to_kind: target.kind.as_str(),
                to_namespace: &target.name.namespace,
                to_name: &target.name.name,
            },
        )
    }

    /// How policies on an object are merged with more specific ones; `None` if it does not say.
    pub(crate) fn policy_priority(&self, key: &ObjectKey) -> Option<Priority> {
        self.note(&Dependency::PolicyPriority(key.clone()));
        self.store.object(key).and_then(priority_annotation).and_then(Priority::parse)
    }

    /// The TrafficPolicies on a target, by reference and by label, in order of precedence.
    pub(crate) fn policies_on(&self, target: &Target) -> Vec<&'a Arc<Policy>> {
        self.note(&Dependency::PoliciesOn(target.clone()));
        let mut found: Vec<&Arc<Policy>> =
            self.store.policies_on(target).filter(|policy| self.may_target(policy, target)).collect();
        self.note(&Dependency::Selectors(target.kind, target.name.namespace.clone()));
        let mut selecting = self.store.policies_selecting(target.kind, &target.name.namespace).peekable();
        if selecting.peek().is_some() {
            let labels = self.labels(&target.key()).unwrap_or_default();
            let section = target.section.as_deref();
            found.extend(selecting.filter(|policy| policy.selects(target.kind, section, &labels)));
        }
        found.sort_by(|a, b| a.precedence().cmp(&b.precedence()));
        found.dedup_by(|a, b| a.key == b.key);
        found
    }

    /// The HTTPListenerPolicies on a target, by reference and by label, from the oldest to the youngest.
    pub(crate) fn listener_policies_on(&self, target: &Target) -> Vec<&'a Arc<HttpListenerPolicy>> {
        self.note(&Dependency::ListenerPoliciesOn(target.clone()));
        let mut names: BTreeSet<&NamespacedName> = self.store.listener_policies().on(target).collect();
        names.retain(|name| self.listener_policy_may(name, target));
        self.note(&Dependency::ListenerSelectors(target.kind, target.name.namespace.clone()));
        let selecting: Vec<_> =
            self.store.listener_policies().selecting(target.kind, &target.name.namespace).collect();
        if !selecting.is_empty() {
            let labels = self.labels(&target.key()).unwrap_or_default();
            let section = target.section.as_deref();
            let selects = |name: &&NamespacedName| {
                let policy = self.get::<HttpListenerPolicy>(&name.namespace, &name.name);
                policy.is_some_and(|policy| {
                    let (_, selectors) = listener_policy::targets(policy, &mut Vec::new());
                    selectors.iter().any(|selector| selector.selects(target.kind, section, &labels))
                })
            };
            names.extend(selecting.into_iter().filter(selects));
        }
        let found = names.into_iter().filter_map(|name| self.get(&name.namespace, &name.name));
        let mut found: Vec<&Arc<HttpListenerPolicy>> = found.collect();
        found.sort_by_key(|policy| Age::of(&policy.metadata));
        found
    }

    fn listener_policy_may(&self, name: &NamespacedName, target: &Target) -> bool {
        grants::permitted(
            self,
            Reference {
                from_group: Kind::HttpListenerPolicy.group(),
                from_kind: Kind::HttpListenerPolicy.as_str(),
                from_namespace: &name.namespace,
                to_group: target.kind.group(),
                to_kind: target.kind.as_str(),
                to_namespace: &target.name.namespace,
                to_name: &target.name.name,
            },
        )
    }
}

#[cfg(test)]
pub(crate) mod tests;
