//! A ListenerSet on its own (GEP-1713): whether its Gateway lets it attach, and what each of its listeners asks for. How they get
//! on with those of the Gateway and of other sets is decided with the Gateway.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use postern_api::gateway_api::{Gateway, ListenerNamespaces, ListenerSet};

use super::namespaces::Namespaces;
use super::validate::{self, Judged};
use crate::Options;
use crate::dependency::Reader;
use crate::object::{Age, Kind, NamespacedName, ObjectKey};
use crate::policy::merge;
use crate::problem::{Fault, Problems};
use crate::resource::Resource;

/// A ListenerSet of a Gateway of ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerSetDraft {
    pub(crate) name: NamespacedName,
    pub(crate) gateway: NamespacedName,
    pub(crate) age: Age,
    pub(crate) generation: Option<i64>,
    /// Why the Gateway does not let it attach; then its listeners are not looked at, and none of its Secrets.
    pub(crate) refused: Option<String>,
    /// Its listeners, each with its field.
    pub(crate) listeners: Vec<(String, Judged)>,
    /// The certificates of its listeners, by SDS name.
    pub(crate) secrets: BTreeMap<String, Arc<Resource>>,
}

#[cfg(test)]
impl ListenerSetDraft {
    /// An allowed set without listeners.
    pub(crate) fn test(name: &NamespacedName, gateway: &NamespacedName) -> Self {
        Self {
            name: name.clone(),
            gateway: gateway.clone(),
            age: Age::of(&k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta::default()),
            generation: None,
            refused: None,
            listeners: Vec::new(),
            secrets: BTreeMap::new(),
        }
    }
}

/// Translates a ListenerSet; no draft if it does not exist or belongs to no Gateway of ours.
pub(crate) fn translate(
    reader: &Reader<'_>,
    name: &NamespacedName,
    options: &Options,
) -> (Option<ListenerSetDraft>, Problems) {
    let mut problems = Problems::default();
    let Some(set) = reader.get::<ListenerSet>(&name.namespace, &name.name) else { return (None, problems) };
    let key = ObjectKey::new(Kind::ListenerSet, &name.namespace, &name.name);
    let Some(gateway_name) = gateway_of(set) else { return (None, problems) };
    let Some(gateway) = reader.get::<Gateway>(&gateway_name.namespace, &gateway_name.name) else {
        problems.warning(
            &key,
            "spec.parentRef.name",
            format!("Gateway {gateway_name} does not exist, so nobody serves the listeners"),
            "create the Gateway, or mend name and namespace",
        );
        return (None, problems);
    };
    if !super::is_ours(reader, gateway, options) {
        return (None, problems);
    }
    merge::check(&key, &set.metadata, &mut problems);
    let mut draft = ListenerSetDraft {
        name: name.clone(),
        gateway: gateway_name,
        age: Age::of(&set.metadata),
        generation: set.metadata.generation,
        refused: None,
        listeners: Vec::new(),
        secrets: BTreeMap::new(),
    };
    let allowed = allowed(gateway).unwrap_or(Namespaces::None);
    if !allowed.admit(reader, &draft.gateway.namespace, &name.namespace) {
        let message = refusal(&draft.gateway, &allowed, &name.namespace);
        let remedy = "widen spec.allowedListeners of the Gateway, or attach to another Gateway";
        problems.error(&key, "spec.parentRef", &message, remedy);
        draft.refused = Some(message);
        return (Some(draft), problems);
    }
    for (index, spec) in set.spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        let judged =
            validate::listener(reader, &key, &field, spec, options, &mut draft.secrets, &mut problems);
        draft.listeners.push((field, judged));
    }
    (Some(draft), problems)
}

/// The Gateway that a ListenerSet names; `None` if it names something else.
pub(crate) fn gateway_of(set: &ListenerSet) -> Option<NamespacedName> {
    let parent = &set.spec.parent_ref;
    let is_gateway = Kind::from_group_kind(parent.group(), parent.kind()) == Some(Kind::Gateway);
    let namespace = parent.namespace.as_ref().or(set.metadata.namespace.as_ref());
    is_gateway.then(|| NamespacedName::new(namespace.cloned().unwrap_or_default(), &parent.name))
}

/// From which namespaces ListenerSets may attach to a Gateway (`spec.allowedListeners`).
///
/// # Errors
/// When the field cannot be read; then no ListenerSet may.
pub(super) fn allowed(gateway: &Gateway) -> Result<Namespaces, Fault> {
    let asked = gateway.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let Some(ListenerNamespaces { from, selector }) = asked else { return Ok(Namespaces::None) };
    Ok(Namespaces::parse(from.as_ref(), selector.as_ref())?.unwrap_or(Namespaces::None))
}

fn refusal(gateway: &NamespacedName, allowed: &Namespaces, namespace: &str) -> String {
    match allowed {
        Namespaces::None => format!("Gateway {gateway} allows no ListenerSets"),
        Namespaces::Same => format!("Gateway {gateway} allows ListenerSets of its own namespace only"),
        Namespaces::All | Namespaces::Selected(_) => {
            format!("Gateway {gateway} does not allow ListenerSets from namespace {namespace}")
        }
    }
}

/// The ListenerSets of all Gateways of ours.
#[derive(Debug, Default)]
pub(crate) struct ListenerSets {
    sets: HashMap<NamespacedName, Arc<ListenerSetDraft>>,
    by_gateway: HashMap<NamespacedName, BTreeSet<(Age, NamespacedName)>>,
}

impl ListenerSets {
    /// Replaces what is known of the set `name`; returns what was known before.
    pub(crate) fn replace(
        &mut self,
        name: &NamespacedName,
        new: Option<ListenerSetDraft>,
    ) -> Option<Arc<ListenerSetDraft>> {
        let old = self.sets.remove(name);
        if let Some(old) = &old
            && let Some(of_gateway) = self.by_gateway.get_mut(&old.gateway)
        {
            of_gateway.remove(&(old.age.clone(), name.clone()));
            if of_gateway.is_empty() {
                self.by_gateway.remove(&old.gateway);
            }
        }
        if let Some(new) = new {
            let of_gateway = self.by_gateway.entry(new.gateway.clone()).or_default();
            of_gateway.insert((new.age.clone(), name.clone()));
            self.sets.insert(name.clone(), Arc::new(new));
        }
        old
    }

    pub(crate) fn get(&self, name: &NamespacedName) -> Option<&ListenerSetDraft> {
        self.sets.get(name).map(AsRef::as_ref)
    }

    /// Those of one Gateway in order of precedence: from the oldest to the youngest, then by namespace and name.
    pub(crate) fn of(&self, gateway: &NamespacedName) -> Vec<&Arc<ListenerSetDraft>> {
        let names = self.by_gateway.get(gateway).into_iter().flatten();
        names.filter_map(|(_, name)| self.sets.get(name)).collect()
    }
}
