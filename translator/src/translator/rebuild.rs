//! Starting over: everything translated anew from the stored objects.

use std::collections::BTreeSet;

use super::{Translator, Update};
use crate::object::NamespacedName;
use crate::store::Change;

impl Translator {
    /// Translates everything anew from the stored objects, for when a panic left [`apply`](Self::apply) or
    /// [`translate`](Self::translate) half done, so that nothing else that is remembered can be trusted.
    ///
    /// The update is complete instead of a difference: the changes of a Gateway are all its resources, and what is not
    /// among them is gone. Objects and Gateways that lost their status or their infrastructure are listed with `None`.
    ///
    /// If this panics too, nothing has changed, and it can be tried again after the next change.
    pub fn rebuild(&mut self) -> Update {
        let mut fresh = Self::new(self.options.clone());
        for object in self.store.objects() {
            fresh.apply(Change::Upsert(object.clone()));
        }
        for kind in self.store.absent() {
            fresh.set_served(*kind, false);
        }
        fresh.observations.clone_from(&self.observations);
        let mut update = fresh.translate();
        update.references_changed = true;
        fresh.runs += self.runs;
        // What the receiver may know: what was remembered, and what the interrupted run was about to take away.
        let known: BTreeSet<&NamespacedName> =
            self.gateways.keys().chain(&self.changed.removed).chain(self.changed.resources.keys()).collect();
        update.removed_gateways =
            known.into_iter().filter(|name| !fresh.gateways.contains_key(*name)).cloned().collect();
        for key in self.statuses.keys().chain(&self.changed.statuses) {
            update.statuses.entry(key.clone()).or_insert(None);
        }
        for name in self.infrastructure.keys().chain(self.changed.infrastructure.keys()) {
            update.infrastructure.entry(name.clone()).or_insert(None);
        }
        *self = fresh;
        update
    }
}
