//! From the translator to the xDS server: one snapshot per Gateway.
//!
//! Where Postern runs the Envoys itself, all Gateways share the ports of this machine. A listener whose port somebody
//! else has is held back until it is free, and everything else goes out: Envoy would refuse the listener, or, worse, share the port
//! with another Envoy, which then gets half of the connections.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{Address, address, socket_address};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use postern_translator::infrastructure::PortProtocol;
use postern_translator::{NamespacedName, ResourceChange, ResourceType};
use postern_xds::{Change, Hub, Resource, Snapshot};
use prost::Message;
use serde::Serialize;

/// Who has a port that a listener needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Obstacle {
    /// Another Gateway that this Postern serves.
    Gateway(String),
    /// Something else on this machine; the system's words.
    System(String),
}

/// A listener that is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// The name of the Envoy listener.
    pub listener: String,
    /// The address that it cannot have.
    #[serde(flatten)]
    pub socket: Socket,
    /// Why.
    pub by: Obstacle,
    /// What to do about it.
    pub remedy: String,
}

/// An address of a listener with its transport protocol: a number may be taken for TCP and free for UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Socket {
    /// The address.
    pub address: SocketAddr,
    /// The transport protocol.
    pub protocol: PortProtocol,
}

/// Publishes snapshots to a [`Hub`].
#[derive(Debug)]
pub struct Publisher {
    hub: Hub,
    gateways: BTreeMap<NamespacedName, Published>,
    /// Which Gateway has which address; `None` if the Envoys run elsewhere and ports are none of our business.
    owners: Option<BTreeMap<Socket, NamespacedName>>,
}

#[derive(Debug, Default)]
struct Published {
    snapshot: Snapshot,
    listeners: BTreeMap<String, Wanted>,
}

#[derive(Debug)]
struct Wanted {
    resource: Arc<Resource>,
    sockets: Vec<Socket>,
    blocked: Option<Blocked>,
}

impl Publisher {
    /// A publisher into `hub`. `local` if the Envoys run on this machine, so that ports can be looked after.
    pub fn new(hub: Hub, local: bool) -> Self {
        Self { hub, gateways: BTreeMap::new(), owners: local.then(BTreeMap::new) }
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Sends `changes` on their way to the Envoys of `gateway`.
    pub fn apply(&mut self, gateway: &NamespacedName, changes: &[ResourceChange]) {
        let published = self.gateways.entry(gateway.clone()).or_default();
        let mut out = Vec::with_capacity(changes.len());
        for change in changes {
            match (&change.resource, change.resource_type) {
                (Some(resource), ResourceType::Listener) => {
                    let resource = shared(resource);
                    let sockets = sockets(resource.body());
                    let wanted = Wanted { resource, sockets, blocked: None };
                    published.listeners.insert(change.name.clone(), wanted);
                }
                (None, ResourceType::Listener) => {
                    published.listeners.remove(&change.name);
                }
                (Some(resource), _) => out.push(Change::Set(shared(resource))),
                (None, resource_type) => {
                    out.push(Change::Remove(xds_type(resource_type), change.name.as_str().into()));
                }
            }
        }
        self.send(gateway, out);
    }

    /// Makes `resources` everything that `gateway` has.
    pub fn replace(&mut self, gateway: &NamespacedName, changes: &[ResourceChange]) {
        if let Some(published) = self.gateways.get_mut(gateway) {
            published.listeners.clear();
            published.snapshot = Snapshot::new();
        }
        self.apply(gateway, changes);
    }

    /// The snapshot that `gateway` was last sent.
    pub fn snapshot(&self, gateway: &NamespacedName) -> Option<&Snapshot> {
        self.gateways.get(gateway).map(|published| &published.snapshot)
    }

    /// Forgets `gateway`.
    pub fn remove(&mut self, gateway: &NamespacedName) {
        self.gateways.remove(gateway);
        self.hub.remove(&gateway.to_string());
        if let Some(owners) = &mut self.owners {
            owners.retain(|_, owner| owner != gateway);
        }
    }

    /// Tries the blocked listeners again; answers the Gateways for which something changed.
    pub fn retry(&mut self) -> Vec<NamespacedName> {
        let blocked: Vec<_> = self
            .gateways
            .iter()
            .filter(|(_, published)| published.listeners.values().any(|l| l.blocked.is_some()))
            .map(|(name, _)| name.clone())
            .collect();
        blocked
            .into_iter()
            .filter(|gateway| {
                let before = self.blocked(gateway);
                self.send(gateway, Vec::new());
                self.blocked(gateway) != before
            })
            .collect()
    }

    /// True if any listener is held back.
    pub fn is_blocked(&self) -> bool {
        self.gateways.values().flat_map(|p| p.listeners.values()).any(|listener| listener.blocked.is_some())
    }

    /// The listeners of `gateway` that are held back.
    pub fn blocked(&self, gateway: &NamespacedName) -> Vec<Blocked> {
        let listeners =
            self.gateways.get(gateway).into_iter().flat_map(|published| published.listeners.values());
        listeners.filter_map(|listener| listener.blocked.clone()).collect()
    }

    /// The sockets of each Envoy listener of `gateway`, by name.
    pub fn listeners(&self, gateway: &NamespacedName) -> BTreeMap<&str, &[Socket]> {
        let listeners = self.gateways.get(gateway).into_iter().flat_map(|published| &published.listeners);
        listeners.map(|(name, listener)| (name.as_str(), listener.sockets.as_slice())).collect()
    }

    /// How many resources `gateway` has.
    pub fn len(&self, gateway: &NamespacedName) -> usize {
        self.gateways.get(gateway).map_or(0, |published| {
            postern_xds::ResourceType::ALL.iter().map(|t| published.snapshot.len(*t)).sum()
        })
    }

    fn send(&mut self, gateway: &NamespacedName, mut changes: Vec<Change>) {
        let Some(published) = self.gateways.get_mut(gateway) else { return };
        if let Some(owners) = &mut self.owners {
            owners.retain(|socket, owner| {
                owner != gateway || published.listeners.values().any(|l| l.sockets.contains(socket))
            });
            for (name, listener) in &mut published.listeners {
                listener.blocked = claim(owners, gateway, name, &listener.sockets);
            }
        }
        let listeners = postern_xds::ResourceType::Listener;
        let gone: Vec<_> = published
            .snapshot
            .iter(listeners)
            .filter(|old| published.listeners.get(old.name()).is_none_or(|l| l.blocked.is_some()))
            .map(|old| Change::Remove(listeners, old.shared_name().clone()))
            .collect();
        changes.extend(gone);
        let free = published.listeners.values().filter(|listener| listener.blocked.is_none());
        changes.extend(free.map(|listener| Change::Set(listener.resource.clone())));
        published.snapshot = published.snapshot.apply(changes);
        self.hub.publish(&gateway.to_string(), published.snapshot.clone());
    }
}

/// Takes `sockets` for `gateway`, all or none.
fn claim(
    owners: &mut BTreeMap<Socket, NamespacedName>,
    gateway: &NamespacedName,
    listener: &str,
    sockets: &[Socket],
) -> Option<Blocked> {
    for socket in sockets {
        let obstacle = owners
            .iter()
            .find(|(taken, owner)| overlap(taken, socket) && *owner != gateway)
            .map(|(_, owner)| Obstacle::Gateway(owner.to_string()));
        let (by, remedy) = match obstacle {
            Some(other) => (other, "give one of the two Gateways another port".to_owned()),
            None if owners.contains_key(socket) => continue,
            None => match bind(socket) {
                Ok(()) => continue,
                Err(error) => (Obstacle::System(plain(&error)), remedy(&error, *socket)),
            },
        };
        return Some(Blocked { listener: listener.to_owned(), socket: *socket, by, remedy });
    }
    owners.extend(sockets.iter().map(|socket| (*socket, gateway.clone())));
    None
}

/// Finds out whether a socket can be had.
fn bind(socket: &Socket) -> io::Result<()> {
    match socket.protocol {
        PortProtocol::Tcp => TcpListener::bind(socket.address).map(drop),
        PortProtocol::Udp => UdpSocket::bind(socket.address).map(drop),
    }
}

/// True if both cannot be bound at once.
fn overlap(a: &Socket, b: &Socket) -> bool {
    let (one, other) = (a.address.ip(), b.address.ip());
    let same_address = one == other || one.is_unspecified() || other.is_unspecified();
    a.protocol == b.protocol && a.address.port() == b.address.port() && same_address
}

fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process is using it".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}

fn remedy(error: &io::Error, socket: Socket) -> String {
    let port = socket.address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let kind = match socket.protocol {
                PortProtocol::Tcp => 't',
                PortProtocol::Udp => 'u',
            };
            format!(
                "stop that process (`ss -l{kind}np 'sport = :{port}'` names it) or change the port of the listener"
            )
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "use a port from 1024 up, or run with the right to bind low ports".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "use --listen-address with an address of this machine".to_owned(),
        _ => String::new(),
    }
}

/// The sockets of an encoded Envoy listener.
fn sockets(listener: &[u8]) -> Vec<Socket> {
    // What does not decode is not held back either: Envoy will say what is wrong with it.
    let Ok(listener) = Listener::decode(listener) else { return Vec::new() };
    let more = listener.additional_addresses.into_iter().filter_map(|a| a.address);
    listener.address.into_iter().chain(more).filter_map(|address| socket(&address)).collect()
}

fn socket(address: &Address) -> Option<Socket> {
    let Some(address::Address::SocketAddress(socket)) = &address.address else { return None };
    let protocol = match socket.protocol() {
        socket_address::Protocol::Tcp => PortProtocol::Tcp,
        socket_address::Protocol::Udp => PortProtocol::Udp,
    };
    let Some(socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
    let address = SocketAddr::new(socket.address.parse().ok()?, u16::try_from(port).ok()?);
    Some(Socket { address, protocol })
}

fn shared(resource: &postern_translator::Resource) -> Arc<Resource> {
    let resource_type = xds_type(resource.resource_type);
    let (name, version) = (resource.name.as_str(), resource.version.as_str());
    Arc::new(Resource::new(resource_type, name, version, resource.body.clone()))
}

fn xds_type(resource_type: ResourceType) -> postern_xds::ResourceType {
    match resource_type {
        ResourceType::Cluster => postern_xds::ResourceType::Cluster,
        ResourceType::ClusterLoadAssignment => postern_xds::ResourceType::ClusterLoadAssignment,
        ResourceType::Listener => postern_xds::ResourceType::Listener,
        ResourceType::RouteConfiguration => postern_xds::ResourceType::RouteConfiguration,
        ResourceType::ScopedRouteConfiguration => postern_xds::ResourceType::ScopedRouteConfiguration,
        ResourceType::Secret => postern_xds::ResourceType::Secret,
        ResourceType::ExtensionConfig => postern_xds::ResourceType::ExtensionConfig,
    }
}

/// The translator's word for the xDS server's; `None` for what the translator does not make.
pub(crate) fn translator_type(resource_type: postern_xds::ResourceType) -> Option<ResourceType> {
    ResourceType::ALL.into_iter().find(|ours| xds_type(*ours) == resource_type)
}
