//! Every watched object once, with the reverse indexes that translation asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use postern_api::gateway_api::{BackendTlsPolicy, HttpRoute, ReferenceGrant, XBackendTrafficPolicy};
use postern_api::kgateway::{BackendConfigPolicy, HttpListenerPolicy, TrafficPolicy};
use postern_api::multicluster;

use crate::backend::config::ConfigPolicy;
use crate::backend::{tls_policy, traffic_policy};
use crate::dependency::{Dependency, delegation};
use crate::listener_policy;
use crate::object::{Kind, NamespacedName, Object, ObjectKey, Stored};
use crate::policy::merge::PRIORITY_ANNOTATION;
use crate::policy::{Policy, Target};
use crate::route::delegation::LABEL;
use crate::tls::authorities::{self, Anchors};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The labels by which an EndpointSlice names whose it is. It can be that of both.
const SLICE_LABELS: [(Kind, &str); 2] =
    [(Kind::Service, SERVICE_NAME_LABEL), (Kind::ServiceImport, multicluster::SERVICE_NAME_LABEL)];

/// One change of the world.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object exists, with this content.
    Upsert(Object),
    /// The object does not exist.
    Delete(ObjectKey),
}

/// All objects by key, and indexes by what they refer to.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: HashMap<ObjectKey, Object>,
    /// By Service or ServiceImport.
    slices_by_owner: HashMap<ObjectKey, BTreeSet<String>>,
    grants_by_namespace: HashMap<String, BTreeSet<String>>,
    /// Parsed policies; parsing depends on nothing but the object, so it happens once, here.
    policies: BTreeMap<NamespacedName, Arc<Policy>>,
    policies_by_target: HashMap<Target, BTreeSet<NamespacedName>>,
    policies_by_selector: HashMap<(Kind, String), BTreeSet<NamespacedName>>,
    /// The BackendTLSPolicies on each backend, with the name of the port that they are on.
    tls_policies_by_target: HashMap<ObjectKey, BTreeSet<(Option<String>, NamespacedName)>>,
    traffic_policies_by_target: HashMap<ObjectKey, BTreeSet<NamespacedName>>,
    configs: BTreeMap<NamespacedName, Arc<ConfigPolicy>>,
    configs_by_target: HashMap<ObjectKey, BTreeSet<NamespacedName>>,
    configs_by_selector: HashMap<(Kind, String), BTreeSet<NamespacedName>>,
    listener_policies: PolicyIndex,
    by_kind: HashMap<Kind, BTreeSet<NamespacedName>>,
    /// HTTPRoutes by their value of the label for delegation.
    labelled_routes: HashMap<String, BTreeSet<NamespacedName>>,
    /// Kinds that the cluster does not serve at all.
    absent: BTreeSet<Kind>,
    /// Certificates of authorities that somebody asked for, read once. A bundle of the world's authorities takes a while, and a
    /// thousand clusters may trust it.
    anchors: Mutex<HashMap<ObjectKey, Arc<Anchors>>>,
}

impl Store {
    /// Applies one change and returns what a reader may have seen differently.
    pub(crate) fn apply(&mut self, change: Change) -> Vec<Dependency> {
        let (key, object) = match change {
            Change::Upsert(object) => (object.key(), Some(object)),
            Change::Delete(key) => (key, None),
        };
        let mut touched = vec![Dependency::Object(key.clone())];
        self.anchors.get_mut().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let old = match object {
            Some(ref object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        match (&old, &object) {
            (None, None) => return Vec::new(),
            (Some(old), Some(new)) if old.is_same_but_status(new) => return Vec::new(),
            _ => {}
        }
        let labels = |object: &Object| object.metadata().labels.clone().unwrap_or_default();
        if old.as_ref().map(labels) != object.as_ref().map(labels) {
            touched.push(Dependency::Objects(key.kind, key.namespace.clone()));
        }
        let name = key.namespaced_name();
        match object {
            Some(_) => {
                self.by_kind.entry(key.kind).or_default().insert(name);
            }
            None => {
                if let Some(names) = self.by_kind.get_mut(&key.kind) {
                    names.remove(&name);
                }
            }
        }
        if old.as_ref().and_then(priority_annotation) != object.as_ref().and_then(priority_annotation) {
            touched.push(Dependency::PolicyPriority(key.clone()));
        }
        self.reindex(&key, old.as_ref(), object.as_ref(), &mut touched);
        touched
    }

    fn reindex(
        &mut self,
        key: &ObjectKey,
        old: Option<&Object>,
        new: Option<&Object>,
        touched: &mut Vec<Dependency>,
    ) {
        match key.kind {
            Kind::EndpointSlice => {
                for (object, present) in [(old, false), (new, true)] {
                    for owner in object.and_then(EndpointSlice::of).into_iter().flat_map(|it| owners_of(it)) {
                        touched.push(Dependency::EndpointSlices(owner.clone()));
                        let slices = self.slices_by_owner.entry(owner).or_default();
                        if present {
                            slices.insert(key.name.clone());
                        } else {
                            slices.remove(&key.name);
                        }
                    }
                }
            }
            Kind::ReferenceGrant => {
                touched.push(Dependency::Grants(key.namespace.clone()));
                let grants = self.grants_by_namespace.entry(key.namespace.clone()).or_default();
                if new.is_some() {
                    grants.insert(key.name.clone());
                } else {
                    grants.remove(&key.name);
                }
            }
            Kind::TrafficPolicy => self.reindex_policy(key, new, touched),
            Kind::BackendConfigPolicy => self.reindex_config(key, new, touched),
            Kind::HttpListenerPolicy => self.reindex_listener_policy(key, old, new, touched),
            Kind::BackendTlsPolicy => self.reindex_tls_policy(key, old, new, touched),
            Kind::XBackendTrafficPolicy => self.reindex_traffic_policy(key, old, new, touched),
            Kind::HttpRoute => self.reindex_route(key, old, new, touched),
            _ => {}
        }
    }

    fn reindex_policy(&mut self, key: &ObjectKey, new: Option<&Object>, touched: &mut Vec<Dependency>) {
        let name = key.namespaced_name();
        if let Some(old) = self.policies.remove(&name) {
            for target in &old.targets {
                touched.push(Dependency::PoliciesOn(target.object.clone()));
                if let Some(set) = self.policies_by_target.get_mut(&target.object) {
                    set.remove(&name);
                }
            }
            for selector in &old.selectors {
                let at = (selector.kind, key.namespace.clone());
                touched.push(Dependency::Selectors(at.0, at.1.clone()));
                if let Some(set) = self.policies_by_selector.get_mut(&at) {
                    set.remove(&name);
                }
            }
        }
        if let Some(object) = new.and_then(TrafficPolicy::of) {
            let policy = Arc::new(Policy::parse(object));
            for target in &policy.targets {
                touched.push(Dependency::PoliciesOn(target.object.clone()));
                self.policies_by_target.entry(target.object.clone()).or_default().insert(name.clone());
            }
            for selector in &policy.selectors {
                let at = (selector.kind, key.namespace.clone());
                touched.push(Dependency::Selectors(at.0, at.1.clone()));
                self.policies_by_selector.entry(at).or_default().insert(name.clone());
            }
            self.policies.insert(name, policy);
        }
    }

    fn reindex_config(&mut self, key: &ObjectKey, new: Option<&Object>, touched: &mut Vec<Dependency>) {
        fn remove<K: std::hash::Hash + Eq>(
            index: &mut HashMap<K, BTreeSet<NamespacedName>>,
            at: &K,
            name: &NamespacedName,
        ) {
            if let Some(names) = index.get_mut(at) {
                names.remove(name);
                if names.is_empty() {
                    index.remove(at);
                }
            }
        }
        let name = key.namespaced_name();
        if let Some(old) = self.configs.remove(&name) {
            for target in &old.targets {
                touched.push(Dependency::ConfigsOn(target.backend.clone()));
                remove(&mut self.configs_by_target, &target.backend, &name);
            }
            for selector in &old.selectors {
                let at = (selector.kind, key.namespace.clone());
                touched.push(Dependency::ConfigSelectors(at.0, at.1.clone()));
                remove(&mut self.configs_by_selector, &at, &name);
            }
        }
        if let Some(object) = new.and_then(BackendConfigPolicy::of) {
            let policy = Arc::new(ConfigPolicy::parse(object));
            for target in &policy.targets {
                touched.push(Dependency::ConfigsOn(target.backend.clone()));
                self.configs_by_target.entry(target.backend.clone()).or_default().insert(name.clone());
            }
            for selector in &policy.selectors {
                let at = (selector.kind, key.namespace.clone());
                touched.push(Dependency::ConfigSelectors(at.0, at.1.clone()));
                self.configs_by_selector.entry(at).or_default().insert(name.clone());
            }
            self.configs.insert(name, policy);
        }
    }

    fn reindex_listener_policy(
        &mut self,
        key: &ObjectKey,
        old: Option<&Object>,
        new: Option<&Object>,
        touched: &mut Vec<Dependency>,
    ) {
        let targets = |object: Option<&Object>| {
            let policy = object.and_then(HttpListenerPolicy::of);
            policy.map(|policy| listener_policy::targets(policy, &mut Vec::new())).unwrap_or_default()
        };
        let name = key.namespaced_name();
        for ((targets, selectors), present) in [(targets(old), false), (targets(new), true)] {
            for target in targets {
                change(&mut self.listener_policies.by_target, &target.object, &name, present);
                touched.push(Dependency::ListenerPoliciesOn(target.object));
            }
            for selector in selectors {
                let at = (selector.kind, key.namespace.clone());
                change(&mut self.listener_policies.by_selector, &at, &name, present);
                touched.push(Dependency::ListenerSelectors(at.0, at.1));
            }
        }
    }

    /// The HTTPListenerPolicies by what they are on.
    pub(crate) fn listener_policies(&self) -> &PolicyIndex {
        &self.listener_policies
    }

    /// What a policy says does not matter here: only whom it is about.
    fn reindex_tls_policy(
        &mut self,
        key: &ObjectKey,
        old: Option<&Object>,
        new: Option<&Object>,
        touched: &mut Vec<Dependency>,
    ) {
        let targets = |object: Option<&Object>| {
            object
                .and_then(BackendTlsPolicy::of)
                .map(|policy| tls_policy::targets(policy))
                .unwrap_or_default()
        };
        let (old, new) = (targets(old), targets(new));
        for (present, (target, port)) in
            old.difference(&new).map(|it| (false, it)).chain(new.difference(&old).map(|it| (true, it)))
        {
            touched.push(Dependency::TlsPoliciesOn(target.clone()));
            let policies = self.tls_policies_by_target.entry(target.clone()).or_default();
            let entry = (port.clone(), key.namespaced_name());
            if present {
                policies.insert(entry);
            } else {
                policies.remove(&entry);
            }
            if policies.is_empty() {
                self.tls_policies_by_target.remove(target);
            }
        }
    }

    fn reindex_traffic_policy(
        &mut self,
        key: &ObjectKey,
        old: Option<&Object>,
        new: Option<&Object>,
        touched: &mut Vec<Dependency>,
    ) {
        let targets = |object: Option<&Object>| {
            let policy = object.and_then(XBackendTrafficPolicy::of);
            policy.map(|policy| traffic_policy::targets(policy)).unwrap_or_default()
        };
        let (old, new) = (targets(old), targets(new));
        for target in old.symmetric_difference(&new) {
            touched.push(Dependency::TrafficPoliciesOn(target.clone()));
            let policies = self.traffic_policies_by_target.entry(target.clone()).or_default();
            if new.contains(target) {
                policies.insert(key.namespaced_name());
            } else {
                policies.remove(&key.namespaced_name());
            }
            if policies.is_empty() {
                self.traffic_policies_by_target.remove(target);
            }
        }
    }

    fn reindex_route(
        &mut self,
        key: &ObjectKey,
        old: Option<&Object>,
        new: Option<&Object>,
        touched: &mut Vec<Dependency>,
    ) {
        let route = |object: Option<&Object>| object.and_then(HttpRoute::of).cloned();
        if !delegation::is_same_child(route(old).as_deref(), route(new).as_deref()) {
            touched.push(Dependency::Child(key.clone()));
        }
        let label = |object: Option<&Object>| object?.metadata().labels.as_ref()?.get(LABEL).cloned();
        let (old, new) = (label(old), label(new));
        if old == new {
            return;
        }
        for (value, present) in [(old, false), (new, true)] {
            let Some(value) = value else { continue };
            change(&mut self.labelled_routes, &value, &key.namespaced_name(), present);
            touched.push(Dependency::DelegationLabel(value));
        }
    }

    /// The HTTPRoutes with a value of the label for delegation, ordered by name.
    pub(crate) fn labelled_routes(&self, value: &str) -> impl Iterator<Item = &NamespacedName> {
        self.labelled_routes.get(value).into_iter().flatten()
    }

    /// Takes in whether the cluster serves a kind; returns what a reader may have seen differently.
    pub(crate) fn set_served(&mut self, kind: Kind, served: bool) -> Option<Dependency> {
        let changed = if served { self.absent.remove(&kind) } else { self.absent.insert(kind) };
        changed.then_some(Dependency::Served(kind))
    }

    /// Kinds that the cluster does not serve.
    pub(crate) fn absent(&self) -> &BTreeSet<Kind> {
        &self.absent
    }

    /// The object of type `T` with this name.
    pub(crate) fn get<T: Stored>(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.objects.get(&ObjectKey::new(T::KIND, namespace, name)).and_then(T::of)
    }

    pub(crate) fn object(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)
    }

    /// All objects, in no particular order.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The names of all objects of a kind in a namespace, in order.
    pub(crate) fn names<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a NamespacedName> {
        let names = self.by_kind.get(&kind).into_iter();
        names
            .flat_map(move |names| names.range(NamespacedName::new(namespace, "")..))
            .take_while(move |name| name.namespace == namespace)
    }

    /// The EndpointSlices of a Service or ServiceImport, ordered by name.
    pub(crate) fn endpoint_slices(&self, owner: &ObjectKey) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        let namespace = owner.namespace.clone();
        self.slices_by_owner
            .get(owner)
            .into_iter()
            .flatten()
            .filter_map(move |name| self.get::<EndpointSlice>(&namespace, name))
    }

    /// The ReferenceGrants in a namespace, ordered by name.
    pub(crate) fn grants<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<ReferenceGrant>> {
        self.grants_by_namespace
            .get(namespace)
            .into_iter()
            .flatten()
            .filter_map(move |name| self.get::<ReferenceGrant>(namespace, name))
    }

    /// A parsed TrafficPolicy.
    pub(crate) fn policy(&self, name: &NamespacedName) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// The BackendTLSPolicies on a backend, each with the name of the port that it is on.
    pub(crate) fn tls_policies_on<'a>(
        &'a self,
        backend: &ObjectKey,
    ) -> impl Iterator<Item = &'a (Option<String>, NamespacedName)> + use<'a> {
        self.tls_policies_by_target.get(backend).into_iter().flatten()
    }

    /// The XBackendTrafficPolicies on a backend.
    pub(crate) fn traffic_policies_on<'a>(
        &'a self,
        backend: &ObjectKey,
    ) -> impl Iterator<Item = &'a NamespacedName> + use<'a> {
        self.traffic_policies_by_target.get(backend).into_iter().flatten()
    }

    /// The BackendConfigPolicies that name `backend` in `targetRefs`, ordered by name.
    pub(crate) fn configs_on<'a>(
        &'a self,
        backend: &ObjectKey,
    ) -> impl Iterator<Item = &'a Arc<ConfigPolicy>> + use<'a> {
        let names = self.configs_by_target.get(backend).into_iter().flatten();
        names.filter_map(|name| self.configs.get(name))
    }

    /// The BackendConfigPolicies in `namespace` that select backends of `kind` by label.
    pub(crate) fn configs_selecting<'a>(
        &'a self,
        kind: Kind,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<ConfigPolicy>> + use<'a> {
        let names = self.configs_by_selector.get(&(kind, namespace.to_owned())).into_iter().flatten();
        names.filter_map(|name| self.configs.get(name))
    }

    /// A parsed BackendConfigPolicy.
    pub(crate) fn config(&self, name: &NamespacedName) -> Option<&Arc<ConfigPolicy>> {
        self.configs.get(name)
    }

    /// The certificates of authorities that an object holds; `None` if it does not exist.
    pub(crate) fn anchors(&self, key: &ObjectKey) -> Option<Arc<Anchors>> {
        let object = self.objects.get(key)?;
        let mut read = self.anchors.lock().unwrap_or_else(PoisonError::into_inner);
        let anchors = read.entry(key.clone()).or_insert_with(|| Arc::new(authorities::anchors(object)));
        Some(Arc::clone(anchors))
    }

    /// The TrafficPolicies that name `target` in `targetRefs`, ordered by name.
    pub(crate) fn policies_on(&self, target: &Target) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies_by_target.get(target).into_iter().flatten().filter_map(|name| self.policies.get(name))
    }

    /// The TrafficPolicies in `namespace` that select objects of `kind` by label.
    pub(crate) fn policies_selecting(
        &self,
        kind: Kind,
        namespace: &str,
    ) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies_by_selector
            .get(&(kind, namespace.to_owned()))
            .into_iter()
            .flatten()
            .filter_map(|name| self.policies.get(name))
    }
}

/// Policies by what they are on.
#[derive(Debug, Default)]
pub(crate) struct PolicyIndex {
    by_target: HashMap<Target, BTreeSet<NamespacedName>>,
    /// By kind and namespace of what they select.
    by_selector: HashMap<(Kind, String), BTreeSet<NamespacedName>>,
}

impl PolicyIndex {
    /// The policies that name a target.
    pub(crate) fn on(&self, target: &Target) -> impl Iterator<Item = &NamespacedName> {
        self.by_target.get(target).into_iter().flatten()
    }

    /// The policies of a namespace that select objects of a kind.
    pub(crate) fn selecting(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &NamespacedName> {
        self.by_selector.get(&(kind, namespace.to_owned())).into_iter().flatten()
    }
}

/// Puts a name into a set of an index, or takes it out.
fn change<K: std::hash::Hash + Eq + Clone>(
    index: &mut HashMap<K, BTreeSet<NamespacedName>>,
    at: &K,
    name: &NamespacedName,
    present: bool,
) {
    let names = index.entry(at.clone()).or_default();
    if present {
        names.insert(name.clone());
    } else {
        names.remove(name);
    }
    if names.is_empty() {
        index.remove(at);
    }
}

/// What an object says of policies on it and on what is more specific, as it is written.
pub(crate) fn priority_annotation(object: &Object) -> Option<&str> {
    object.metadata().annotations.as_ref()?.get(PRIORITY_ANNOTATION).map(String::as_str)
}

/// Whose endpoints a slice has.
fn owners_of(slice: &EndpointSlice) -> impl Iterator<Item = ObjectKey> {
    SLICE_LABELS.into_iter().filter_map(|(kind, label)| {
        let name = slice.metadata.labels.as_ref()?.get(label)?;
        Some(ObjectKey::new(kind, slice.metadata.namespace.clone().unwrap_or_default(), name))
    })
}

#[cfg(test)]
mod tests;
