//! GatewayClasses, ListenerSets and Gateways: what they serve, and the listeners and hosts that are built of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_api::gateway_api::{Gateway, GatewayClass, ListenerSet};

use super::Translator;
use super::state::{ClusterState, GatewayState};
use crate::backend::ClusterId;
use crate::dependency::{Dependency, Unit};
use crate::envoy;
use crate::envoy::scope::ScopeId;
use crate::gateway::listener_set;
use crate::gateway::model::{Differences, differences};
use crate::gateway::{self, GatewayModel, ListenerSetDraft};
use crate::infrastructure::{self, Port};
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Problems;
use crate::resource::ResourceType;
use crate::status::Status;

impl Translator {
    pub(super) fn run_class(&mut self, unit: &Unit, name: &NamespacedName) {
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

    pub(super) fn run_listener_set(&mut self, unit: &Unit, name: &NamespacedName) {
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

    pub(super) fn run_gateway(&mut self, unit: &Unit, name: &NamespacedName) {
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

    pub(super) fn run_infrastructure(&mut self, unit: &Unit, name: &NamespacedName) {
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

    pub(super) fn build_scope(&mut self, gateway: &NamespacedName, id: &ScopeId) {
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

    pub(super) fn build_listener(&mut self, gateway: &NamespacedName, port: Port) {
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
