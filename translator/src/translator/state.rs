//! What the engine remembers of each Gateway and of each cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::HealthStatus;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use postern_api::gateway_api::{GatewayStatus, ListenerSetStatus, ListenerStatus};
use prost::Message;

use crate::backend::{ClusterId, service};
use crate::envoy::listener::{self, datagrams::Endpoints};
use crate::envoy::scope::{Host, ScopeId};
use crate::gateway::programmed::{self, Obstacle, Proxies};
use crate::gateway::{GatewayModel, ListenerId, ListenerPlan, ListenerSetOutput, Protocol};
use crate::hostname::Hostname;
use crate::infrastructure::Port;
use crate::object::{NamespacedName, ObjectKey};
use crate::observation::Observation;
use crate::resource::{Resource, ResourceType};
use crate::route::stream::{StreamShare, precedence::Precedence};
use crate::route::{GatewayShare, HostRoute, HostShare};
use crate::tls::secret::SecretId;

/// One Gateway.
#[derive(Debug, Default)]
pub(super) struct GatewayState {
    /// `metadata.uid`; another one is another Gateway.
    pub(super) uid: Option<String>,
    /// The status without the counts of attached routes and without the word of the proxies.
    pub(super) base_status: GatewayStatus,
    pub(super) obstacle: Option<Obstacle>,
    pub(super) sets: BTreeMap<NamespacedName, ListenerSetOutput>,
    pub(super) resources: BTreeMap<(ResourceType, String), Arc<Resource>>,
    pub(super) plan: ListenerPlan,
    /// The clusters that the listeners themselves need.
    pub(super) clusters: BTreeSet<ClusterId>,
    /// The names of the secrets that are the Gateway's own.
    pub(super) secrets: BTreeSet<String>,
    /// The certificates of authorities that listeners trust.
    pub(super) shared_secrets: BTreeSet<SecretId>,
    pub(super) scopes: BTreeMap<ScopeId, Vec<Arc<HostShare>>>,
    /// What routes of connections and datagrams add to the listeners of a port.
    streams: BTreeMap<Port, Vec<Arc<StreamShare>>>,
    /// What was built of each port.
    built: BTreeMap<Port, BTreeSet<(ResourceType, String)>>,
    attached: BTreeMap<ListenerId, u32>,
}

impl GatewayState {
    pub(super) fn new(uid: Option<String>) -> Self {
        Self { uid, ..Self::default() }
    }

    /// The present Envoy listeners: name and version.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&str, &str)> {
        let listeners = (ResourceType::Listener, String::new())..;
        let listeners = self.resources.range(listeners).take_while(|(at, _)| at.0 == ResourceType::Listener);
        listeners.map(|(at, resource)| (at.1.as_str(), resource.version.as_str()))
    }

    /// The whole status. `observation` is what the proxies say, if their word is waited for.
    pub(super) fn status(
        &self,
        model: Option<&GatewayModel>,
        observation: Option<&Observation>,
    ) -> GatewayStatus {
        let mut status = self.base_status.clone();
        let version = |name: &str| self.version(name);
        let proxies = observation.map(|observation| Proxies { observation, version: &version });
        programmed::complete(&mut status, model, self.obstacle.as_ref(), proxies.as_ref());
        self.count_routes(&mut status.listeners, None);
        status
    }

    /// The same of a ListenerSet; `None` if it does not belong to the Gateway.
    pub(super) fn set_status(
        &self,
        set: &NamespacedName,
        model: Option<&GatewayModel>,
        observation: Option<&Observation>,
    ) -> Option<ListenerSetStatus> {
        let ListenerSetOutput { mut status, obstacle } = self.sets.get(set)?.clone();
        let version = |name: &str| self.version(name);
        let proxies = observation.map(|observation| Proxies { observation, version: &version });
        programmed::complete_set(&mut status, set, model, obstacle.as_ref(), proxies.as_ref());
        self.count_routes(&mut status.listeners, Some(set));
        Some(status)
    }

    /// The present version of an Envoy listener.
    fn version(&self, listener: &str) -> Option<&str> {
        let at = (ResourceType::Listener, listener.to_owned());
        self.resources.get(&at).map(|resource| resource.version.as_str())
    }

    fn count_routes(&self, listeners: &mut [ListenerStatus], set: Option<&NamespacedName>) {
        for listener in listeners {
            let id = ListenerId { set: set.cloned(), name: listener.name.clone() };
            listener.attached_routes = self.attached.get(&id).copied().unwrap_or_default();
        }
    }

    /// Replaces what one route adds; returns what has to be built again. Parts of `new` that equal the old ones become the
    /// old ones.
    pub(super) fn replace(&mut self, old: &GatewayShare, new: &mut GatewayShare) -> Touched {
        for listener in old.listeners.iter().filter(|l| !new.listeners.contains(l)) {
            if let Some(count) = self.attached.get_mut(listener) {
                *count -= 1;
            }
        }
        for listener in new.listeners.iter().filter(|l| !old.listeners.contains(l)) {
            *self.attached.entry(listener.clone()).or_insert(0) += 1;
        }
        let mut touched = BTreeSet::new();
        let mut kept = BTreeSet::new();
        for share in &mut new.hosts {
            let at = |other: &Arc<HostShare>| {
                (&other.scope, &other.hostname).cmp(&(&share.scope, &share.hostname))
            };
            match old.hosts.binary_search_by(at) {
                Ok(index) if old.hosts[index] == *share => {
                    *share = Arc::clone(&old.hosts[index]);
                    kept.insert(index);
                }
                _ => {
                    touched.insert(share.scope.clone());
                    self.scopes.entry(share.scope.clone()).or_default().push(Arc::clone(share));
                }
            }
        }
        for (_, share) in old.hosts.iter().enumerate().filter(|(index, _)| !kept.contains(index)) {
            touched.insert(share.scope.clone());
            if let Some(shares) = self.scopes.get_mut(&share.scope) {
                shares.retain(|other| !Arc::ptr_eq(other, share));
                if shares.is_empty() {
                    self.scopes.remove(&share.scope);
                }
            }
        }
        Touched { scopes: touched, ports: self.replace_streams(old, new) }
    }

    fn replace_streams(&mut self, old: &GatewayShare, new: &mut GatewayShare) -> BTreeSet<Port> {
        let mut touched = BTreeSet::new();
        for share in &mut new.streams {
            if let Some(same) = old.streams.iter().find(|other| *other == share) {
                *share = Arc::clone(same);
            } else {
                touched.insert(share.port);
                self.streams.entry(share.port).or_default().push(Arc::clone(share));
            }
        }
        let kept = |share: &Arc<StreamShare>| new.streams.iter().any(|other| Arc::ptr_eq(other, share));
        for share in old.streams.iter().filter(|share| !kept(share)) {
            touched.insert(share.port);
            if let Some(shares) = self.streams.get_mut(&share.port) {
                shares.retain(|other| !Arc::ptr_eq(other, share));
                if shares.is_empty() {
                    self.streams.remove(&share.port);
                }
            }
        }
        touched
    }

    /// The scopes that depend on who owns these hostnames: their own, and those that routes made for hosts that they cover.
    pub(super) fn scopes_of(&self, owners: &BTreeSet<(u16, Hostname)>) -> BTreeSet<ScopeId> {
        let mut out: BTreeSet<ScopeId> =
            owners.iter().map(|(port, hostname)| ScopeId::of(*port, hostname)).collect();
        let mut by_port: BTreeMap<u16, BTreeSet<&Hostname>> = BTreeMap::new();
        for (port, hostname) in owners.iter().filter(|(_, hostname)| !matches!(hostname, Hostname::Exact(_)))
        {
            by_port.entry(*port).or_default().insert(hostname);
        }
        if by_port.is_empty() {
            return out;
        }
        let is_covered = |id: &&ScopeId| {
            let (Some(changed), ScopeId::Host(_, host)) = (by_port.get(&id.port()), id) else { return false };
            Hostname::Exact(host.clone()).and_wider().any(|wider| changed.contains(&wider))
        };
        out.extend(self.scopes.keys().filter(is_covered).cloned());
        out
    }

    /// The Envoy listener of a port and what belongs to it; empty if nothing is served there.
    pub(super) fn listener(&self, port: Port, endpoints: Endpoints<'_>) -> Vec<Arc<Resource>> {
        listener::resources(port, &self.plan, &self.precedence(port), endpoints)
    }

    /// Notes what was built of a port; returns what was built of it before and is not there any more.
    pub(super) fn take_built(
        &mut self,
        port: Port,
        resources: &[Arc<Resource>],
    ) -> BTreeSet<(ResourceType, String)> {
        let new: BTreeSet<_> = resources.iter().map(|it| (it.resource_type, it.name.clone())).collect();
        let old = self.built.remove(&port).unwrap_or_default();
        let gone = old.difference(&new).cloned().collect();
        if !new.is_empty() {
            self.built.insert(port, new);
        }
        gone
    }

    /// Which routes have what of a port where connections or datagrams are routed.
    pub(super) fn precedence(&self, port: Port) -> Precedence<'_> {
        Precedence::of(self.streams.get(&port).into_iter().flatten().map(AsRef::as_ref))
    }

    /// The ports whose routes send datagrams to a backend.
    pub(super) fn ports_of(&self, backend: &ClusterId) -> Vec<Port> {
        let names_it = |share: &Arc<StreamShare>| {
            share.targets.iter().any(|target| target.cluster.as_ref() == Some(backend))
        };
        let ports = self.streams.iter().filter(|(_, shares)| shares.iter().any(names_it));
        ports.map(|(port, _)| *port).collect()
    }

    /// The routes that have a part in a scope.
    pub(super) fn routes_of(&self, id: &ScopeId) -> BTreeSet<ObjectKey> {
        let routes = self.scopes.get(id).into_iter().flatten().flat_map(|share| &share.routes);
        routes.map(|route| route.order.object()).collect()
    }

    /// The hosts of a scope: those that routes gave it, and the hostnames of listeners, which answer 404 themselves
    /// instead of leaving their requests to a less specific listener. `None` if there is nothing to serve.
    pub(super) fn scope<'a>(&'a self, id: &ScopeId, model: &'a GatewayModel) -> Option<Vec<Host<'a>>> {
        let protocol = model.http(id.port())?;
        let own = model.hostnames(id.port()).filter(|h| ScopeId::of(id.port(), h) == *id);
        let mut hosts: BTreeMap<&Hostname, Vec<&HostRoute>> = own.map(|h| (h, Vec::new())).collect();
        for share in self.scopes.get(id).into_iter().flatten() {
            hosts.entry(&share.hostname).or_default().extend(&share.routes);
        }
        let hosts: Vec<Host<'a>> = hosts
            .into_iter()
            .filter_map(|(hostname, mut routes)| {
                let owner = model.owner(id.port(), hostname)?;
                routes.sort_by(|a, b| a.order.cmp(&b.order));
                Some(Host {
                    hostname,
                    owner: (protocol == Protocol::Https).then(|| owner.owner_id()),
                    filters: &owner.filters,
                    policy: &owner.policy,
                    routes: routes.into_iter().map(|route| route.encoded.clone()).collect(),
                })
            })
            .collect();
        (!hosts.is_empty()).then_some(hosts)
    }
}

/// What has to be built again.
pub(super) struct Touched {
    pub(super) scopes: BTreeSet<ScopeId>,
    pub(super) ports: BTreeSet<Port>,
}

/// One cluster, shared by all Gateways that use it.
#[derive(Debug, Default)]
pub(crate) struct ClusterState {
    pub(super) cluster: Option<Arc<Resource>>,
    pub(super) endpoints: Option<Arc<Resource>>,
    /// The secrets that the cluster names and that are not a Gateway's own.
    pub(super) secrets: BTreeSet<SecretId>,
    /// How many routes of each Gateway name the cluster.
    pub(crate) users: Users,
}

impl ClusterState {
    pub(super) fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.cluster.iter().chain(&self.endpoints)
    }

    /// The endpoints that take new traffic; none until they are known.
    pub(super) fn endpoints(&self) -> BTreeSet<SocketAddr> {
        // It was encoded here.
        let decode = |it: &Arc<Resource>| ClusterLoadAssignment::decode(it.body.clone()).ok();
        let assignment = self.endpoints.as_ref().and_then(decode).unwrap_or_default();
        let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
        let healthy = endpoints.filter(|it| it.health_status() == HealthStatus::Healthy);
        healthy.filter_map(service::endpoint_address).collect()
    }
}

/// A secret that is shared by all Gateways that need it.
#[derive(Debug, Default)]
pub(super) struct SecretState {
    pub(super) resource: Option<Arc<Resource>>,
    /// How many clusters and ports of each Gateway name it.
    pub(super) users: Users,
}

/// The Gateways that use something, each with the number of reasons why; few Gateways do.
#[derive(Debug, Default)]
pub(crate) struct Users(Vec<(NamespacedName, usize)>);

impl Users {
    pub(crate) fn gateways(&self) -> impl Iterator<Item = &NamespacedName> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One reason more; true if it is the first of the Gateway.
    pub(crate) fn add(&mut self, gateway: &NamespacedName) -> bool {
        if let Some((_, count)) = self.0.iter_mut().find(|(name, _)| name == gateway) {
            *count += 1;
            return false;
        }
        self.0.reserve_exact(1);
        self.0.push((gateway.clone(), 1));
        true
    }

    /// One reason less; true if it was the last of the Gateway.
    pub(super) fn remove(&mut self, gateway: &NamespacedName) -> bool {
        let Some(index) = self.0.iter().position(|(name, _)| name == gateway) else { return false };
        self.0[index].1 -= 1;
        if self.0[index].1 == 0 {
            self.0.remove(index);
            return true;
        }
        false
    }

    /// All reasons of a Gateway less; true if there were any.
    pub(super) fn remove_all(&mut self, gateway: &NamespacedName) -> bool {
        let before = self.0.len();
        self.0.retain(|(name, _)| name != gateway);
        self.0.len() < before
    }
}
