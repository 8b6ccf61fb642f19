//! Routes: what they add to their Gateways, and what they leave to other routes.

use super::Translator;
use crate::dependency::{Dependency, Unit};
use crate::object::{NamespacedName, ObjectKey};
use crate::route::delegation::Hands;
use crate::route::{self, GatewayShare, RouteOutput, RouteShares};
use crate::status::Status;

impl Translator {
    pub(super) fn run_route(&mut self, unit: &Unit, key: &ObjectKey) {
        let output = self.run(unit, |reader, options| route::translate(reader, key, options));
        let Some(output) = output else { return };
        if output.is_none() {
            self.forget(unit);
        }
        let exists = output.is_some();
        let RouteOutput { mut shares, mut status, problems, hands } = output.unwrap_or_default();
        self.set_problems(unit, problems);
        self.add_refusals(key, &mut status);
        let status = (!status.parents.is_empty()).then_some(Status::Route(status));
        self.set_status(key.clone(), status);
        let old = self.routes.remove(key).unwrap_or_default();
        self.replace_shares(&old, &mut shares);
        let parents = |shares: &RouteShares| -> Vec<_> {
            let listeners = |share: &GatewayShare| (share.listeners.clone(), share.reached.clone());
            shares.iter().map(|(gateway, share)| (gateway.clone(), listeners(share))).collect()
        };
        if parents(&old) != parents(&shares) {
            self.dirty.extend(self.dependencies.readers(&Dependency::Parents(key.clone())).cloned());
        }
        if exists {
            self.routes.insert(key.clone(), shares);
        }
        self.replace_hands(key, hands);
    }

    /// Replaces what a route delegates; those to whom it delegates something else run again.
    fn replace_hands(&mut self, giver: &ObjectKey, hands: Hands) {
        let old = self.given.remove(giver).unwrap_or_default();
        let mut touched = Vec::new();
        for child in old.iter().filter(|child| !hands.contains_key(*child)) {
            if let Some(givers) = self.handed.get_mut(child) {
                givers.remove(giver);
                if givers.is_empty() {
                    self.handed.remove(child);
                }
            }
            touched.push(child.clone());
        }
        if !hands.is_empty() {
            self.given.insert(giver.clone(), hands.keys().cloned().collect());
        }
        for (child, handed) in hands {
            let givers = self.handed.entry(child.clone()).or_default();
            if givers.get(giver) != Some(&handed) {
                givers.insert(giver.clone(), handed);
                touched.push(child);
            }
        }
        for child in touched {
            self.touch(&Dependency::Handed(child));
        }
    }

    /// Takes what a route added to its Gateways away and adds what it adds now; touches only what differs.
    fn replace_shares(&mut self, old: &RouteShares, new: &mut RouteShares) {
        let find = |shares: &RouteShares, name: &NamespacedName| {
            shares.iter().position(|(gateway, _)| gateway == name)
        };
        let empty = GatewayShare::default();
        for (name, share) in new.iter_mut() {
            let old = find(old, name).map_or(&empty, |index| &old[index].1);
            self.replace_share(name, old, share);
        }
        for (name, share) in old {
            if find(new, name).is_none() {
                self.replace_share(name, share, &mut GatewayShare::default());
            }
        }
    }

    fn replace_share(&mut self, name: &NamespacedName, old: &GatewayShare, new: &mut GatewayShare) {
        let Some(state) = self.gateways.get_mut(name) else { return };
        let touched = state.replace(old, new);
        self.dirty_scopes.extend(touched.scopes.into_iter().map(|scope| (name.clone(), scope)));
        self.dirty_listeners.extend(touched.ports.into_iter().map(|port| (name.clone(), port)));
        let counted = |one: &GatewayShare, other: &GatewayShare| {
            one.listeners.iter().filter(|l| !other.listeners.contains(l)).cloned().collect::<Vec<_>>()
        };
        for listener in counted(old, new).into_iter().chain(counted(new, old)) {
            match listener.set {
                None => self.changed.gateways.insert(name.clone()),
                Some(set) => self.changed.sets.insert(set),
            };
        }
        for id in new.clusters.iter().filter(|id| old.clusters.binary_search(id).is_err()) {
            self.add_cluster_user(name, id);
        }
        for id in old.clusters.iter().filter(|id| new.clusters.binary_search(id).is_err()) {
            self.remove_cluster_user(name, id);
        }
    }
}
