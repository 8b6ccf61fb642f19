//! Clusters, their endpoints and the secrets that they name: there as long as somebody uses them.

use std::sync::Arc;

use postern_api::kgateway::Backend;

use super::Translator;
use super::state::{ClusterState, SecretState};
use crate::backend::cluster::{self, ClusterOutput};
use crate::backend::{BackendObject, ClusterId, service, static_backend, x_backend};
use crate::dependency::{Dependency, Unit};
use crate::object::NamespacedName;
use crate::problem::Problems;
use crate::resource::{Resource, ResourceType};
use crate::tls::secret::{self, SecretId};

impl Translator {
    pub(super) fn add_cluster_user(&mut self, gateway: &NamespacedName, id: &ClusterId) {
        let state = self.clusters.entry(id.clone()).or_insert_with(|| {
            if !id.is_part_of_listener() {
                self.dirty.insert(Unit::Cluster(id.clone()));
            }
            let has_endpoints = !matches!(id.backend, BackendObject::Static(_) | BackendObject::ForwardProxy);
            if has_endpoints || id.is_part_of_listener() {
                self.dirty.insert(Unit::Endpoints(id.clone()));
            }
            ClusterState::default()
        });
        if !state.users.add(gateway) {
            return;
        }
        let secrets = state.secrets.clone();
        let resources: Vec<Arc<Resource>> = state.resources().cloned().collect();
        for resource in resources.into_iter().filter(|_| !id.is_part_of_listener()) {
            self.set_resource(gateway, resource);
        }
        for id in &secrets {
            self.add_secret_user(gateway, id);
        }
        self.touch(&Dependency::ClustersOf(id.backend.key()));
    }

    pub(super) fn remove_cluster_user(&mut self, gateway: &NamespacedName, id: &ClusterId) {
        let Some(state) = self.clusters.get_mut(id) else { return };
        if !state.users.remove(gateway) {
            return;
        }
        let unused = state.users.is_empty();
        let secrets = state.secrets.clone();
        if !id.is_part_of_listener() {
            for resource_type in [ResourceType::Cluster, ResourceType::ClusterLoadAssignment] {
                self.remove_resource(gateway, (resource_type, id.name()));
            }
        }
        for id in &secrets {
            self.remove_secret_user(gateway, id);
        }
        if unused {
            self.drop_cluster(id);
        }
        self.touch(&Dependency::ClustersOf(id.backend.key()));
    }

    fn drop_cluster(&mut self, id: &ClusterId) {
        self.clusters.remove(id);
        for unit in [Unit::Cluster(id.clone()), Unit::Endpoints(id.clone())] {
            self.dirty.remove(&unit);
            self.forget(&unit);
        }
    }

    /// A Gateway is gone, and its resources with it.
    pub(super) fn forget_user(&mut self, gateway: &NamespacedName) {
        let used: Vec<ClusterId> = self
            .clusters
            .iter_mut()
            .filter_map(|(id, state)| state.users.remove_all(gateway).then(|| id.clone()))
            .collect();
        for id in used {
            if self.clusters.get(&id).is_some_and(|state| state.users.is_empty()) {
                self.drop_cluster(&id);
            }
            self.touch(&Dependency::ClustersOf(id.backend.key()));
        }
        let unused: Vec<SecretId> = self
            .secrets
            .iter_mut()
            .filter_map(|(id, state)| {
                (state.users.remove_all(gateway) && state.users.is_empty()).then(|| id.clone())
            })
            .collect();
        for id in unused {
            self.drop_secret(&id);
        }
    }

    pub(super) fn run_cluster(&mut self, unit: &Unit, id: &ClusterId) {
        let output = self.run(unit, |reader, options| cluster::translate(reader, id, options));
        let Some(Some(ClusterOutput { resource, secrets })) = output else { return };
        let Some(state) = self.clusters.get_mut(id) else { return };
        let before = std::mem::replace(&mut state.secrets, secrets.clone());
        if before != secrets {
            let users: Vec<NamespacedName> = state.users.gateways().cloned().collect();
            for gateway in &users {
                for id in secrets.difference(&before) {
                    self.add_secret_user(gateway, id);
                }
                for id in before.difference(&secrets) {
                    self.remove_secret_user(gateway, id);
                }
            }
        }
        self.publish_cluster(id, |state| state.cluster = Some(Arc::clone(&resource)), &resource);
    }

    pub(super) fn run_endpoints(&mut self, unit: &Unit, id: &ClusterId) {
        let output = self.run(unit, |reader, _| match &id.backend {
            BackendObject::Service(name, port) => service::endpoints(reader, id, name, *port),
            BackendObject::Import(name, port) => Some(service::import::endpoints(reader, id, name, *port)),
            BackendObject::XBackend(name) => x_backend::pods::endpoints(reader, id, name),
            BackendObject::Static(name) => {
                let backend = reader.get::<Backend>(&name.namespace, &name.name)?;
                let backend = static_backend::parse(backend, reader.is_provisioned()).ok()?;
                Some((static_backend::assignment(id, &backend), Problems::default()))
            }
            BackendObject::ForwardProxy => None,
        });
        match output {
            Some(Some((resource, problems))) => {
                self.set_problems(unit, problems);
                self.publish_cluster(id, |state| state.endpoints = Some(Arc::clone(&resource)), &resource);
            }
            Some(None) => self.withdraw_endpoints(unit, id),
            None => {}
        }
    }

    /// The cluster has become one whose endpoints do not travel by themselves.
    fn withdraw_endpoints(&mut self, unit: &Unit, id: &ClusterId) {
        self.set_problems(unit, Problems::default());
        let Some(state) = self.clusters.get_mut(id) else { return };
        if state.endpoints.take().is_none() || id.is_part_of_listener() {
            return;
        }
        let users: Vec<NamespacedName> = state.users.gateways().cloned().collect();
        for gateway in users {
            self.remove_resource(&gateway, (ResourceType::ClusterLoadAssignment, id.name()));
        }
    }

    fn publish_cluster(
        &mut self,
        id: &ClusterId,
        keep: impl FnOnce(&mut ClusterState),
        resource: &Arc<Resource>,
    ) {
        let Some(state) = self.clusters.get_mut(id) else { return };
        keep(state);
        let users: Vec<NamespacedName> = state.users.gateways().cloned().collect();
        for gateway in users {
            if id.is_part_of_listener() {
                let ports = self.gateways.get(&gateway).map(|state| state.ports_of(id)).unwrap_or_default();
                self.dirty_listeners.extend(ports.into_iter().map(|port| (gateway.clone(), port)));
            } else {
                self.set_resource(&gateway, Arc::clone(resource));
            }
        }
    }

    pub(super) fn add_secret_user(&mut self, gateway: &NamespacedName, id: &SecretId) {
        let state = self.secrets.entry(id.clone()).or_insert_with(|| {
            self.dirty.insert(Unit::Secret(id.clone()));
            SecretState::default()
        });
        if state.users.add(gateway)
            && let Some(resource) = state.resource.clone()
        {
            self.set_resource(gateway, resource);
        }
    }

    pub(super) fn remove_secret_user(&mut self, gateway: &NamespacedName, id: &SecretId) {
        let Some(state) = self.secrets.get_mut(id) else { return };
        if !state.users.remove(gateway) {
            return;
        }
        let unused = state.users.is_empty();
        self.remove_resource(gateway, (ResourceType::Secret, id.name()));
        if unused {
            self.drop_secret(id);
        }
    }

    fn drop_secret(&mut self, id: &SecretId) {
        self.secrets.remove(id);
        let unit = Unit::Secret(id.clone());
        self.dirty.remove(&unit);
        self.forget(&unit);
    }

    pub(super) fn run_secret(&mut self, unit: &Unit, id: &SecretId) {
        let resource = self.run(unit, |reader, _| secret::resource(reader, id));
        let (Some(Some(resource)), Some(state)) = (resource, self.secrets.get_mut(id)) else { return };
        state.resource = Some(Arc::clone(&resource));
        let users: Vec<NamespacedName> = state.users.gateways().cloned().collect();
        for gateway in users {
            self.set_resource(&gateway, Arc::clone(&resource));
        }
    }
}
