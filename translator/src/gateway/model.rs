//! A Gateway as routes see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use super::client_certificate::ClientCertificate;
use super::{Namespaces, Protocol};
use crate::external_auth::ExternalAuth;
use crate::hostname::Hostname;
use crate::infrastructure::Port;
use crate::listener_policy::HostSettings;
use crate::object::{Kind, NamespacedName};

/// The identity of a listener among those of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListenerId {
    /// The ListenerSet that has it; `None` if the Gateway itself has it.
    pub(crate) set: Option<NamespacedName>,
    pub(crate) name: String,
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.set {
            None => f.write_str(&self.name),
            Some(set) => write!(f, "{} of ListenerSet {set}", self.name),
        }
    }
}

/// A listener as routes see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    /// The namespace of the object that has it, which `from: Same` means.
    pub(crate) namespace: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) hostname: Hostname,
    pub(crate) kinds: BTreeSet<Kind>,
    pub(crate) namespaces: Namespaces,
    /// Whom every request has to pass before its route is chosen (GEP-5224), in order.
    pub(crate) filters: Vec<ExternalAuth>,
    /// What HTTPListenerPolicies say of its hosts.
    pub(crate) policy: HostSettings,
    /// False if the listener has a condition that keeps Envoy from serving it.
    pub(crate) serving: bool,
}

impl Listener {
    /// The port with its transport protocol.
    pub(crate) fn socket(&self) -> Port {
        Port { port: self.port, protocol: self.protocol.transport() }
    }

    /// The name by which filter chains and route matches know the listener: its hostname, which is unique on a port.
    pub(crate) fn owner_id(&self) -> String {
        self.hostname.domain()
    }
}

/// A Gateway as routes see it, through [`Parent`](crate::dependency::Parent), which remembers what they asked.
#[derive(Clone, Debug)]
pub(crate) struct GatewayModel {
    pub(crate) name: NamespacedName,
    /// Routes that ask for default Gateways attach (GEP-3793).
    pub(crate) is_default: bool,
    listeners: Vec<Listener>,
    /// Where in `listeners` those of one object stand: of the Gateway itself (`None`), or of a ListenerSet.
    parents: BTreeMap<Option<NamespacedName>, Range<usize>>,
    /// The serving listener of a hostname at a TCP port. There is one: others conflict with it.
    owners: BTreeMap<u16, BTreeMap<Hostname, usize>>,
    /// What it shows to backends that speak TLS; `None` if nobody asked for that.
    pub(crate) client_certificate: Option<ClientCertificate>,
}

impl GatewayModel {
    /// A model of `listeners`: every one with a supported protocol and a readable hostname, those of one object together.
    pub(crate) fn new(
        name: NamespacedName,
        listeners: Vec<Listener>,
        client_certificate: Option<ClientCertificate>,
        is_default: bool,
    ) -> Self {
        let mut parents: BTreeMap<Option<NamespacedName>, Range<usize>> = BTreeMap::new();
        let mut owners: BTreeMap<u16, BTreeMap<Hostname, usize>> = BTreeMap::new();
        for (index, listener) in listeners.iter().enumerate() {
            parents.entry(listener.id.set.clone()).or_insert(index..index).end = index + 1;
            if listener.serving && listener.socket() == Port::tcp(listener.port) {
                owners.entry(listener.port).or_default().insert(listener.hostname.clone(), index);
            }
        }
        Self { name, is_default, listeners, parents, owners, client_certificate }
    }

    /// The listeners of the Gateway itself (`None`), or of one of its ListenerSets, in order of the spec.
    pub(crate) fn listeners_of(&self, set: Option<&NamespacedName>) -> &[Listener] {
        self.parents.get(&set.cloned()).map_or(&[], |range| &self.listeners[range.clone()])
    }

    /// The objects that have listeners: the Gateway itself (`None`), and ListenerSets.
    pub(crate) fn parents(&self) -> impl Iterator<Item = Option<&NamespacedName>> {
        self.parents.keys().map(Option::as_ref)
    }

    /// The serving listener that answers for `host` on a TCP port: the most specific one that covers it (GEP-3567).
    pub(crate) fn owner(&self, port: u16, host: &Hostname) -> Option<&Listener> {
        let of_port = self.owners.get(&port)?;
        let index = host.and_wider().find_map(|hostname| of_port.get(&hostname))?;
        self.listeners.get(*index)
    }

    /// The hostnames that serving listeners have at a TCP port.
    pub(crate) fn hostnames(&self, port: u16) -> impl Iterator<Item = &Hostname> {
        self.owners.get(&port).into_iter().flat_map(BTreeMap::keys)
    }

    /// The listeners that Envoy is to serve.
    pub(crate) fn serving(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|l| l.serving)
    }

    /// The ports that have at least one serving listener.
    pub(crate) fn ports(&self) -> BTreeSet<Port> {
        self.serving().map(Listener::socket).collect()
    }

    /// How requests come in at a TCP port, if any listener there takes HTTP: listeners of one port agree on it.
    pub(crate) fn http(&self, port: u16) -> Option<Protocol> {
        let of_port = self.owners.get(&port).into_iter().flatten();
        of_port.map(|(_, index)| self.listeners[*index].protocol).find(|p| p.takes_http())
    }
}

/// What is not the same in two models of a Gateway, one of which may be missing.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Differences {
    /// Objects whose listeners differ; `None` is the Gateway itself.
    pub(crate) parents: BTreeSet<Option<NamespacedName>>,
    /// Where another listener serves a hostname at a TCP port, or one in another way.
    pub(crate) owners: BTreeSet<(u16, Hostname)>,
    /// All hostnames at the TCP ports where requests come in another way, or only in one of the two. The hosts of listeners that take
    /// no requests belong to the scopes of such a port as well.
    pub(crate) requests: BTreeSet<(u16, Hostname)>,
    /// [`GatewayModel::ports`] differ.
    pub(crate) ports: bool,
    pub(crate) client_certificate: bool,
    /// One of them is a default Gateway, and the other is not.
    pub(crate) is_default: bool,
}

/// Compares two models of one Gateway.
pub(crate) fn differences(old: Option<&GatewayModel>, new: Option<&GatewayModel>) -> Differences {
    let mut out = Differences::default();
    for (one, other) in [(old, new), (new, old)] {
        let Some(one) = one else { continue };
        for set in one.parents.keys() {
            let there = other.map_or(&[][..], |other| other.listeners_of(set.as_ref()));
            if one.listeners_of(set.as_ref()) != there {
                out.parents.insert(set.clone());
            }
        }
        for (port, owners) in &one.owners {
            let there = other.and_then(|other| Some((other, other.owners.get(port)?)));
            for (hostname, index) in owners {
                let same = there.and_then(|(other, owners)| Some(&other.listeners[*owners.get(hostname)?]));
                if same.is_none_or(|same| !serves_alike(same, &one.listeners[*index])) {
                    out.owners.insert((*port, hostname.clone()));
                }
            }
            if one.http(*port) != other.and_then(|other| other.http(*port)) {
                out.requests.extend(owners.keys().map(|hostname| (*port, hostname.clone())));
            }
        }
    }
    out.ports = old.map(GatewayModel::ports) != new.map(GatewayModel::ports);
    let shown = |model: Option<&GatewayModel>| model.and_then(|model| model.client_certificate.clone());
    out.client_certificate = shown(old) != shown(new);
    out.is_default = old.is_some_and(|model| model.is_default) != new.is_some_and(|model| model.is_default);
    out
}

fn serves_alike(a: &Listener, b: &Listener) -> bool {
    a.id == b.id && a.protocol == b.protocol && a.filters == b.filters && a.policy == b.policy
}
