//! What the proxies say, and where it is told: in the conditions of the Gateway and of the routes that a refusal
//! concerns, and as problems.

use std::collections::{BTreeMap, BTreeSet};

use postern_api::gateway_api::{
    Gateway, ListenerSet, ListenerStatus, ParentReference, RouteStatus, condition_type, reason,
};

use super::Translator;
use crate::dependency::ParentName;
use crate::envoy::listener;
use crate::gateway::GatewayModel;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::observation::{Culprit, ProxyReport, Rejection, culprit, words};
use crate::problem::Problems;
use crate::status::{ROUTE_PROGRAMMED, Status, condition};
use crate::store::Store;

/// What follows from the refusals of the proxies of one Gateway.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    pub(super) problems: Problems,
    /// By route: what the proxies said about a host of it.
    routes: BTreeMap<ObjectKey, String>,
}

const REMEDY: &str = "change what the proxies do not accept; until then they keep the last good version. If the object is right, \
                      report the message as a defect of Postern";

impl Translator {
    /// Takes in what the proxies of `gateway` say; the next [`translate`](Self::translate) brings what follows from it.
    ///
    /// With [`Options::await_proxies`](crate::Options::await_proxies), a listener is `Programmed` when a proxy has acknowledged
    /// its present version. It stays so while no proxy is connected, until the version changes or proxies refuse it.
    pub fn observe(&mut self, gateway: &NamespacedName, report: ProxyReport) {
        if report == ProxyReport::default() && !self.observations.contains_key(gateway) {
            return;
        }
        if self.observations.entry(gateway.clone()).or_default().take(report) {
            self.changed.gateways.insert(gateway.clone());
            self.touch_sets_of(gateway);
        }
    }

    /// Completes the status of a ListenerSet.
    pub(super) fn complete_set(&mut self, name: &NamespacedName) {
        let status = self.sets.get(name).and_then(|set| {
            let observation = self.observations.get(&set.gateway).filter(|_| self.options.await_proxies);
            let model = self.models.get(&set.gateway).map(AsRef::as_ref);
            self.gateways.get(&set.gateway)?.set_status(name, model, observation)
        });
        let key = ObjectKey::new(Kind::ListenerSet, &name.namespace, &name.name);
        self.set_status(key, status.map(Status::ListenerSet));
    }

    /// Completes the status of a Gateway and tells what its proxies refused.
    pub(super) fn complete_gateway(&mut self, name: &NamespacedName) {
        let mut status = None;
        if let Some(state) = self.gateways.get(name) {
            let model = self.models.get(name).map(AsRef::as_ref);
            let mut observation = None;
            if self.options.await_proxies {
                let programmed =
                    |envoy: &str| model.is_some_and(|model| was_programmed(&self.store, model, envoy));
                let entry = self.observations.entry(name.clone()).or_default();
                entry.remember(state.listeners(), programmed);
                observation = Some(&*entry);
            }
            status = Some(Status::Gateway(state.status(model, observation)));
        }
        self.set_status(ObjectKey::new(Kind::Gateway, &name.namespace, &name.name), status);
        self.tell_refusals(name);
    }

    fn tell_refusals(&mut self, name: &NamespacedName) {
        let mut new = Refusals::default();
        if let (Some(state), Some(observation)) = (self.gateways.get(name), self.observations.get(name)) {
            let gateway = ObjectKey::new(Kind::Gateway, &name.namespace, &name.name);
            for rejection in observation.rejections() {
                let message = message(name, rejection);
                let routes = match culprit(rejection.resource_type, &rejection.name) {
                    Culprit::Object(key) => {
                        new.problems.error(&key, "", message, REMEDY);
                        continue;
                    }
                    Culprit::Gateway => BTreeSet::new(),
                    Culprit::Routes(scope) => state.routes_of(&scope),
                    Culprit::Route(route) => BTreeSet::from([route]),
                    Culprit::Winner(port) => state.precedence(port).routes(),
                };
                if routes.is_empty() {
                    new.problems.error(&gateway, "spec.listeners", &message, REMEDY);
                }
                for route in routes {
                    new.problems.error(&route, "spec", &message, REMEDY);
                    new.routes.entry(route).or_insert_with(|| message.clone());
                }
            }
        }
        let old = self.refusals.remove(name).unwrap_or_default();
        let concerned: BTreeSet<ObjectKey> = old
            .routes
            .keys()
            .chain(new.routes.keys())
            .filter(|route| old.routes.get(*route) != new.routes.get(*route))
            .cloned()
            .collect();
        if !new.problems.is_empty() {
            self.refusals.insert(name.clone(), new);
        }
        for route in concerned {
            if let Some(Status::Route(status)) = self.statuses.get(&route) {
                let mut status = status.clone();
                self.add_refusals(&route, &mut status);
                self.set_status(route, Some(Status::Route(status)));
            }
        }
    }

    /// Tells in the status of a route what the proxies of its parents refused of it.
    pub(super) fn add_refusals(&self, route: &ObjectKey, status: &mut RouteStatus) {
        for parent in &mut status.parents {
            parent.conditions.retain(|condition| condition.type_ != ROUTE_PROGRAMMED);
            let message = match self.gateway_of(&parent.parent_ref, &route.namespace) {
                Some(gateway) => self.refusals.get(&gateway).and_then(|refusals| refusals.routes.get(route)),
                // What another route delegates is served on whatever Gateway that is attached to.
                None if parent.parent_ref.kind() == Kind::HttpRoute.as_str() => {
                    self.refusals.values().find_map(|refusals| refusals.routes.get(route))
                }
                None => None,
            };
            if let Some(message) = message {
                let generation = parent.conditions.first().and_then(|c| c.observed_generation);
                let refused = condition(ROUTE_PROGRAMMED, false, reason::INVALID, message, generation);
                parent.conditions.push(refused);
            }
        }
    }

    /// The Gateway that a parentRef of an object in `namespace` leads to.
    fn gateway_of(&self, parent: &ParentReference, namespace: &str) -> Option<NamespacedName> {
        match ParentName::of(parent, namespace)? {
            ParentName::Gateway(name) => Some(name),
            ParentName::ListenerSet(name) => self.sets.get(&name).map(|set| set.gateway.clone()),
        }
    }
}

fn message(gateway: &NamespacedName, rejection: &Rejection) -> String {
    let Rejection { resource_type, name, error, .. } = rejection;
    format!(
        "the proxies of Gateway {gateway} refused {} {name}: {}",
        resource_type.short_name(),
        words(error)
    )
}

/// True if the statuses in the cluster say of all listeners of an Envoy listener that they are programmed as they are now.
fn was_programmed(store: &Store, model: &GatewayModel, envoy: &str) -> bool {
    let mut listeners = model.serving().filter(|l| listener::name(l.socket()) == envoy).peekable();
    listeners.peek().is_some()
        && listeners.all(|l| {
            let (statuses, generation) = said(store, &model.name, l.id.set.as_ref());
            let conditions = statuses.iter().filter(|s| s.name == l.id.name).flat_map(|s| &s.conditions);
            generation.is_some()
                && conditions.into_iter().any(|c| {
                    c.type_ == condition_type::PROGRAMMED
                        && c.is_true()
                        && c.observed_generation == generation
                })
        })
}

/// What the status in the cluster says of the listeners of a Gateway or of one of its ListenerSets, and the generation of that.
fn said<'a>(
    store: &'a Store,
    gateway: &NamespacedName,
    set: Option<&NamespacedName>,
) -> (&'a [ListenerStatus], Option<i64>) {
    let found = match set {
        None => store.get::<Gateway>(&gateway.namespace, &gateway.name).map(|object| {
            (object.status.as_ref().map(|s| s.listeners.as_slice()), object.metadata.generation)
        }),
        Some(set) => store.get::<ListenerSet>(&set.namespace, &set.name).map(|object| {
            (object.status.as_ref().map(|s| s.listeners.as_slice()), object.metadata.generation)
        }),
    };
    let (statuses, generation) = found.unwrap_or_default();
    (statuses.unwrap_or_default(), generation)
}
