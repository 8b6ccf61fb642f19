//! What the engine remembers of each Gateway and of each cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postern_api::gateway_api::GatewayStatus;

use crate::envoy::scope::{Host, ScopeId};
use crate::gateway::{GatewayModel, Protocol};
use crate::hostname::Hostname;
use crate::object::NamespacedName;
use crate::resource::{Resource, ResourceType};
use crate::route::{GatewayShare, HostRoutes};

/// One Gateway.
#[derive(Debug, Default)]
pub(super) struct GatewayState {
    /// The status without the counts of attached routes.
    pub(super) base_status: GatewayStatus,
    pub(super) resources: BTreeMap<(ResourceType, String), Arc<Resource>>,
    pub(super) scopes: BTreeMap<ScopeId, BTreeMap<Hostname, HostRoutes>>,
    attached: BTreeMap<String, u32>,
}

impl GatewayState {
    /// The status with the counts of attached routes.
    pub(super) fn status(&self) -> GatewayStatus {
        let mut status = self.base_status.clone();
        for listener in &mut status.listeners {
            listener.attached_routes = self.attached.get(&listener.name).copied().unwrap_or_default();
        }
        status
    }

    /// Replaces what one route adds; returns the scopes that have to be built again.
    pub(super) fn replace(&mut self, old: &GatewayShare, new: &GatewayShare) -> BTreeSet<ScopeId> {
        for listener in old.listeners.difference(&new.listeners) {
            if let Some(count) = self.attached.get_mut(listener) {
                *count -= 1;
            }
        }
        for listener in new.listeners.difference(&old.listeners) {
            *self.attached.entry(listener.clone()).or_insert(0) += 1;
        }
        let mut touched = BTreeSet::new();
        for (at, routes) in &old.hosts {
            if new.hosts.get(at) == Some(routes) {
                continue;
            }
            touched.insert(at.0.clone());
            self.remove(at, routes);
        }
        for (at, routes) in &new.hosts {
            if old.hosts.get(at) == Some(routes) {
                continue;
            }
            touched.insert(at.0.clone());
            let host = self.scopes.entry(at.0.clone()).or_default().entry(at.1.clone()).or_default();
            host.extend(routes.iter().map(|(order, route)| (order.clone(), Arc::clone(route))));
        }
        touched
    }

    fn remove(&mut self, at: &(ScopeId, Hostname), routes: &HostRoutes) {
        let Some(scope) = self.scopes.get_mut(&at.0) else { return };
        if let Some(host) = scope.get_mut(&at.1) {
            for order in routes.keys() {
                host.remove(order);
            }
            if host.is_empty() {
                scope.remove(&at.1);
            }
        }
        if scope.is_empty() {
            self.scopes.remove(&at.0);
        }
    }

    /// The hosts of a scope: those that routes gave it, and the hostnames of listeners, which answer 404 themselves
    /// instead of leaving their requests to a less specific listener. `None` if there is nothing to serve.
    pub(super) fn scope<'a>(&'a self, id: &ScopeId, model: &'a GatewayModel) -> Option<Vec<Host<'a>>> {
        let protocol = *model.ports().get(&id.port())?;
        let routed = self.scopes.get(id);
        let own = model.listeners.iter().filter(|l| l.serving && l.port == id.port()).map(|l| &l.hostname);
        let mut hostnames: BTreeSet<&Hostname> = own.filter(|h| ScopeId::of(id.port(), h) == *id).collect();
        hostnames.extend(routed.into_iter().flat_map(BTreeMap::keys));
        let hosts: Vec<Host<'a>> = hostnames
            .into_iter()
            .filter_map(|hostname| {
                let owner = model.owner(id.port(), hostname)?;
                let routes =
                    routed.and_then(|hosts| hosts.get(hostname)).into_iter().flat_map(BTreeMap::values);
                Some(Host {
                    hostname,
                    owner: (protocol == Protocol::Https).then(|| owner.owner_id()),
                    routes: routes.map(|route| route.as_ref().clone()).collect(),
                })
            })
            .collect();
        (!hosts.is_empty()).then_some(hosts)
    }
}

/// One cluster, shared by all Gateways that use it.
#[derive(Debug, Default)]
pub(super) struct ClusterState {
    pub(super) cluster: Option<Arc<Resource>>,
    pub(super) endpoints: Option<Arc<Resource>>,
    /// How many routes of each Gateway name the cluster.
    pub(super) users: BTreeMap<NamespacedName, usize>,
}

impl ClusterState {
    pub(super) fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.cluster.iter().chain(&self.endpoints)
    }
}
