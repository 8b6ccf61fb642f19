//! Gateways and ListenerSets as those who attach to them see them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use postern_api::gateway_api::{ListenerSet, ParentReference};

use super::{Dependency, Reader};
use crate::gateway::client_certificate::ClientCertificate;
use crate::gateway::{GatewayModel, Listener, ListenerSetDraft, listener_set};
use crate::hostname::Hostname;
use crate::infrastructure::Port;
use crate::object::{Kind, NamespacedName, ObjectKey};

/// A Gateway of ours, or a ListenerSet of one, that a route names. What is asked of it is noted, so that a listener more or
/// less at a Gateway with a thousand costs the routes nothing that it does not concern.
#[derive(Clone, Copy)]
pub(crate) struct Parent<'r, 'a> {
    reader: &'r Reader<'a>,
    model: &'a GatewayModel,
    set: Option<&'a ListenerSetDraft>,
}

impl<'a> Parent<'_, 'a> {
    /// The Gateway.
    pub(crate) fn gateway(&self) -> &'a NamespacedName {
        &self.model.name
    }

    /// Why the Gateway does not let the ListenerSet attach, if it does not.
    pub(crate) fn refused(&self) -> Option<&'a str> {
        self.set.and_then(|set| set.refused.as_deref())
    }

    /// The listeners of the object that is named, not those that others add to the Gateway.
    pub(crate) fn listeners(&self) -> &'a [Listener] {
        let set = self.set.map(|set| &set.name);
        self.reader.note(&Dependency::Listeners(self.model.name.clone(), set.cloned()));
        self.model.listeners_of(set)
    }

    /// What the Gateway shows to backends that speak TLS; `None` if nobody asked for that.
    pub(crate) fn client_certificate(&self) -> Option<&'a ClientCertificate> {
        self.reader.note(&Dependency::ClientCertificate(self.model.name.clone()));
        self.model.client_certificate.as_ref()
    }

    /// The serving listener that answers for `host` on a TCP port of the Gateway, whoever has it.
    pub(crate) fn owner(&self, port: u16, host: &Hostname) -> Option<&'a Listener> {
        for hostname in host.and_wider() {
            self.reader.note(&Dependency::Owner(self.model.name.clone(), port, hostname));
        }
        self.model.owner(port, host)
    }
}

/// `Gateway infra/web`, as a person would say it.
impl fmt::Display for Parent<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.set {
            None => write!(f, "Gateway {}", self.model.name),
            Some(set) => write!(f, "ListenerSet {}", set.name),
        }
    }
}

/// What a parentRef can mean here.
pub(crate) enum ParentName {
    Gateway(NamespacedName),
    ListenerSet(NamespacedName),
}

impl ParentName {
    /// What a parentRef in `namespace` means; `None` if it means neither a Gateway nor a ListenerSet.
    pub(crate) fn of(parent: &ParentReference, namespace: &str) -> Option<Self> {
        let name = NamespacedName::new(parent.namespace.as_deref().unwrap_or(namespace), &parent.name);
        match Kind::from_group_kind(parent.group(), parent.kind())? {
            Kind::Gateway => Some(Self::Gateway(name)),
            Kind::ListenerSet => Some(Self::ListenerSet(name)),
            _ => None,
        }
    }

    /// The object that is meant.
    pub(crate) fn key(&self) -> ObjectKey {
        match self {
            Self::Gateway(name) => ObjectKey::new(Kind::Gateway, &name.namespace, &name.name),
            Self::ListenerSet(name) => ObjectKey::new(Kind::ListenerSet, &name.namespace, &name.name),
        }
    }
}

impl<'a> Reader<'a> {
    fn model(&self, name: &NamespacedName) -> Option<&'a Arc<GatewayModel>> {
        self.note(&Dependency::Gateway(name.clone()));
        self.results.gateways.get(name)
    }

    fn set(&self, name: &NamespacedName) -> Option<&'a ListenerSetDraft> {
        self.note(&Dependency::ListenerSet(name.clone()));
        self.results.sets.get(name)
    }

    /// What a parentRef of an object in `namespace` means; `None` if that is nothing of ours.
    pub(crate) fn parent(&self, parent: &ParentReference, namespace: &str) -> Option<Parent<'_, 'a>> {
        let (gateway, set) = match ParentName::of(parent, namespace)? {
            ParentName::Gateway(name) => (self.model(&name)?, None),
            ParentName::ListenerSet(name) => {
                let set = self.set(&name)?;
                (self.model(&set.gateway)?, Some(set))
            }
        };
        Some(Parent { reader: self, model: gateway, set })
    }

    /// The default Gateways of ours (GEP-3793), ordered by name.
    pub(crate) fn default_gateways(&self) -> Vec<Parent<'_, 'a>> {
        self.note(&Dependency::DefaultGateways);
        let defaults = self.results.gateways.values().filter(|model| model.is_default);
        defaults.map(|model| Parent { reader: self, model, set: None }).collect()
    }

    /// True if the Gateway exists and is ours.
    pub(crate) fn is_ours(&self, gateway: &NamespacedName) -> bool {
        self.model(gateway).is_some()
    }

    /// The listeners of a Gateway of ours and its ListenerSets that Envoy is to serve, in order of precedence.
    pub(crate) fn serving_listeners(&self, gateway: &NamespacedName) -> Vec<&'a Listener> {
        self.note(&Dependency::ListenerSets(gateway.clone()));
        let Some(model) = self.model(gateway) else { return Vec::new() };
        for set in model.parents().chain([None]) {
            self.note(&Dependency::Listeners(gateway.clone(), set.cloned()));
        }
        model.serving().collect()
    }

    /// The Gateway that a ListenerSet belongs to, if that is one of ours.
    pub(crate) fn gateway_of_set(&self, set: &NamespacedName) -> Option<&'a NamespacedName> {
        self.set(set).map(|set| &set.gateway)
    }

    /// True if the Gateway exists and somebody else takes care of it.
    pub(crate) fn is_foreign(&self, name: &NamespacedName) -> bool {
        let key = ObjectKey::new(Kind::Gateway, &name.namespace, &name.name);
        !self.is_ours(name) && self.metadata(&key).is_some()
    }

    /// True if `parents`, parentRefs of an object in `namespace`, name Gateways and ListenerSets that others take care of, and
    /// nothing of ours.
    pub(crate) fn all_are_foreign(&self, parents: &[ParentReference], namespace: &str) -> bool {
        let mut names = parents.iter().filter_map(|parent| ParentName::of(parent, namespace)).peekable();
        names.peek().is_some()
            && names.all(|name| match name {
                ParentName::Gateway(name) => self.is_foreign(&name),
                ParentName::ListenerSet(name) => self.set(&name).is_none() && self.is_foreign_set(&name),
            })
    }

    fn is_foreign_set(&self, name: &NamespacedName) -> bool {
        let set = self.get::<ListenerSet>(&name.namespace, &name.name);
        set.and_then(|set| listener_set::gateway_of(set)).is_some_and(|gateway| self.is_foreign(&gateway))
    }

    /// The ports of a Gateway that have a serving listener; `None` if it is not ours.
    pub(crate) fn ports(&self, gateway: &NamespacedName) -> Option<BTreeSet<Port>> {
        self.note(&Dependency::Ports(gateway.clone()));
        self.model(gateway).map(|model| model.ports())
    }

    /// What a Gateway shows to backends that speak TLS; `None` if it is not ours, or nobody asked for that.
    pub(crate) fn client_certificate(&self, gateway: &NamespacedName) -> Option<&'a ClientCertificate> {
        self.note(&Dependency::ClientCertificate(gateway.clone()));
        self.model(gateway)?.client_certificate.as_ref()
    }

    /// The ListenerSets that name a Gateway of ours, allowed or not, in order of precedence.
    pub(crate) fn listener_sets(&self, gateway: &NamespacedName) -> Vec<&'a Arc<ListenerSetDraft>> {
        self.note(&Dependency::ListenerSets(gateway.clone()));
        self.results.sets.of(gateway)
    }
}
