//! The meeting point of the controller, which publishes snapshots, and the streams, which serve them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{broadcast, watch};

use crate::auth::{Admission, NO_NODE, Peer, TOO_MANY_STREAMS};
use crate::resource::{Resource, ResourceType};
use crate::snapshot::Snapshot;
use crate::state::Outcome;

/// How many events a subscriber may be behind before it loses the oldest ones.
const EVENT_CAPACITY: usize = 4096;

/// Something that happened on a stream.
#[derive(Clone, Debug)]
pub struct Event {
    /// The key of the snapshot that the stream reads (see [`Hub::publish`]).
    pub node: Arc<str>,
    /// The stream, unique in this process.
    pub stream: u64,
    /// Payload bytes handed to the transport on this stream so far (gRPC messages, without frames and TLS).
    pub bytes_sent: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened on a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A proxy connected and was authenticated.
    Connected,
    /// The stream ended, from whichever side.
    Disconnected,
    /// The proxy accepted a response. It means "valid", not yet "serving" (envoy#39891).
    Acked {
        /// The type of the resources.
        resource_type: ResourceType,
        /// What it accepted, in the accepted versions.
        resources: Arc<[Arc<Resource>]>,
        /// What it let go.
        removed: Arc<[Arc<str>]>,
    },
    /// The proxy rejected these resources, alone; it keeps what it held under these names before. Nothing is
    /// retried until the content changes.
    Nacked {
        /// The type of the resources.
        resource_type: ResourceType,
        /// The names of the rejected resources.
        names: Arc<[Arc<str>]>,
        /// The proxy's words.
        error: Arc<str>,
    },
    /// What the proxy holds changed although it acknowledged nothing: it connected and told what it has from before,
    /// or it let go of something.
    Resumed,
}

/// A resource that a proxy rejected and that has not changed since.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// The type of the resource.
    pub resource_type: ResourceType,
    /// Its name.
    pub name: Arc<str>,
    /// The proxy's words.
    pub error: Arc<str>,
}

/// A connected proxy, as it is now.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The key of the snapshot that the stream reads.
    pub node: Arc<str>,
    /// The stream, unique in this process.
    pub stream: u64,
    /// Which of the proxies of the node this is, as far as the authenticator knows.
    pub name: Option<Arc<str>>,
    /// The other end.
    pub peer: Peer,
    /// Payload bytes handed to the transport so far.
    pub bytes_sent: u64,
    /// Whether every response was acknowledged and nothing of the last snapshot is left to send.
    pub in_sync: bool,
    /// What this proxy rejected, and what has not changed since.
    pub rejections: Vec<Rejection>,
    /// What this proxy holds: what it acknowledged, and what it said it holds when it connected. Resources that it
    /// did not subscribe to are missing.
    pub held: Snapshot,
    /// When the stream was opened.
    pub since: SystemTime,
}

/// Totals since the start of the process, over all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Streams that were authenticated.
    pub streams_opened: u64,
    /// Those of them that ended.
    pub streams_closed: u64,
    /// Streams refused by the authenticator, or for want of a node.
    pub streams_refused: u64,
    /// Streams ended so that the proxy is authenticated again (see [`Admission::until`]).
    pub streams_expired: u64,
    /// Streams ended because the proxy did not read in time.
    pub streams_stalled: u64,
    /// Requests received.
    pub requests: u64,
    /// Responses sent.
    pub responses: u64,
    /// Resources in those responses.
    pub resources_sent: u64,
    /// Payload bytes of those responses.
    pub bytes_sent: u64,
    /// Responses acknowledged.
    pub acks: u64,
    /// Responses rejected, those sent again in order to find a culprit included.
    pub nacks: u64,
    /// Waits for a proxy that were given up (see [`ServerOptions::wait_timeout`](crate::ServerOptions::wait_timeout)).
    pub waits_expired: u64,
    types: [TypeMetrics; ResourceType::COUNT],
}

/// Totals of one resource type since the start of the process, over all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeMetrics {
    /// Resources sent.
    pub resources_sent: u64,
    /// Responses acknowledged.
    pub acks: u64,
    /// Responses rejected, those sent again in order to find a culprit included.
    pub nacks: u64,
}

impl Metrics {
    /// The totals of one resource type.
    pub fn of_type(&self, resource_type: ResourceType) -> TypeMetrics {
        self.types[resource_type.index()]
    }
}

/// The counters behind [`Metrics`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) streams_opened: AtomicU64,
    pub(crate) streams_closed: AtomicU64,
    refused: Refused,
    pub(crate) streams_expired: AtomicU64,
    pub(crate) streams_stalled: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) responses: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) waits_expired: AtomicU64,
    types: [TypeCounters; ResourceType::COUNT],
}

/// Refused streams by reason. A lock is good enough for what costs a stream.
struct Refused(Mutex<BTreeMap<&'static str, u64>>);

impl Default for Refused {
    fn default() -> Self {
        Self(Mutex::new([(NO_NODE, 0), (TOO_MANY_STREAMS, 0)].into()))
    }
}

#[derive(Default)]
struct TypeCounters {
    resources_sent: AtomicU64,
    acks: AtomicU64,
    nacks: AtomicU64,
}

impl Counters {
    /// Counts a stream that was refused.
    pub(crate) fn refused(&self, reason: &'static str) {
        *lock(&self.refused.0).entry(reason).or_default() += 1;
    }

    fn of_type(&self, resource_type: ResourceType) -> &TypeCounters {
        &self.types[resource_type.index()]
    }
}

/// Adds to a counter that nothing is ordered by.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Holds the published snapshots and passes events on. Clones share one state.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Mutex<BTreeMap<Arc<str>, Node>>,
    links: Mutex<BTreeMap<u64, Arc<Link>>>,
    next_stream: AtomicU64,
    events: broadcast::Sender<Event>,
    counters: Counters,
}

struct Node {
    snapshot: watch::Sender<Option<Snapshot>>,
    streams: usize,
}

/// What the hub knows about one stream.
struct Link {
    node: Arc<str>,
    stream: u64,
    name: Option<Arc<str>>,
    peer: Peer,
    since: SystemTime,
    bytes_sent: AtomicU64,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    in_sync: bool,
    held: Snapshot,
    rejections: BTreeMap<(ResourceType, Arc<str>), Arc<str>>,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// A hub without snapshots.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                nodes: Mutex::default(),
                links: Mutex::default(),
                next_stream: AtomicU64::new(1),
                events: broadcast::Sender::new(EVENT_CAPACITY),
                counters: Counters::default(),
            }),
        }
    }

    /// Makes this the snapshot of a node, now: streams of the node begin to send the difference, and those that
    /// wait for a first snapshot are answered. Never blocks on a proxy.
    pub fn publish(&self, node: &str, snapshot: Snapshot) {
        let mut nodes = lock(&self.shared.nodes);
        let entry = match nodes.get(node) {
            Some(entry) => entry,
            None => nodes.entry(node.into()).or_insert_with(Node::parked),
        };
        entry.snapshot.send_replace(Some(snapshot));
    }

    /// Forgets the snapshot of a node. Connected proxies keep what they hold and get nothing more; new streams wait
    /// until the node is published again.
    pub fn remove(&self, node: &str) {
        let mut nodes = lock(&self.shared.nodes);
        if let Some(entry) = nodes.get(node) {
            entry.snapshot.send_replace(None);
            if entry.streams == 0 {
                nodes.remove(node);
            }
        }
    }

    /// The snapshot of a node, if it was published.
    pub fn snapshot(&self, node: &str) -> Option<Snapshot> {
        lock(&self.shared.nodes).get(node).and_then(|entry| entry.snapshot.borrow().clone())
    }

    /// The published snapshots by node.
    pub fn snapshots(&self) -> BTreeMap<Arc<str>, Snapshot> {
        let nodes = lock(&self.shared.nodes);
        let published = nodes.iter().filter_map(|(node, entry)| {
            entry.snapshot.borrow().as_ref().map(|snapshot| (Arc::clone(node), snapshot.clone()))
        });
        published.collect()
    }

    /// Events from now on. A receiver that falls far behind loses the oldest events and is told so by
    /// [`RecvError::Lagged`](broadcast::error::RecvError::Lagged); [`Hub::connections`] tells the present.
    pub fn subscribe_events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// The proxies that are connected now, by stream.
    pub fn connections(&self) -> Vec<Connection> {
        lock(&self.shared.links).values().map(|link| link.describe()).collect()
    }

    /// The proxies of one node that are connected now, by stream.
    pub fn connections_of(&self, node: &str) -> Vec<Connection> {
        lock(&self.shared.links)
            .values()
            .filter(|link| *link.node == *node)
            .map(|link| link.describe())
            .collect()
    }

    /// Totals since the start.
    pub fn metrics(&self) -> Metrics {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let types = counters.types.each_ref().map(|counters| TypeMetrics {
            resources_sent: read(&counters.resources_sent),
            acks: read(&counters.acks),
            nacks: read(&counters.nacks),
        });
        let sum = |number: fn(&TypeMetrics) -> u64| types.iter().map(number).sum();
        Metrics {
            streams_opened: read(&counters.streams_opened),
            streams_closed: read(&counters.streams_closed),
            streams_refused: lock(&counters.refused.0).values().sum(),
            streams_expired: read(&counters.streams_expired),
            streams_stalled: read(&counters.streams_stalled),
            requests: read(&counters.requests),
            responses: read(&counters.responses),
            resources_sent: sum(|t| t.resources_sent),
            bytes_sent: read(&counters.bytes_sent),
            acks: sum(|t| t.acks),
            nacks: sum(|t| t.nacks),
            waits_expired: read(&counters.waits_expired),
            types,
        }
    }

    /// The refused streams by reason: those of the authenticator (see [`Refusal`](crate::Refusal)), `no_node` and
    /// `too_many_streams`. Known reasons are there although nothing was refused for them yet.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.shared.counters.refused.0).clone()
    }

    /// Lets [`Hub::refused`] show these reasons from the beginning.
    pub(crate) fn announce(&self, reasons: &[&'static str]) {
        let mut refused = lock(&self.shared.counters.refused.0);
        for reason in reasons {
            refused.entry(reason).or_default();
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Registers a stream; `None` if the node has `limit` streams already.
    pub(crate) fn attach(&self, admission: Admission, peer: Peer, limit: usize) -> Option<Attachment> {
        let node = admission.node.as_str();
        let (node, snapshot) = {
            let mut nodes = lock(&self.shared.nodes);
            let node: Arc<str> =
                nodes.get_key_value(node).map_or_else(|| node.into(), |(key, _)| Arc::clone(key));
            let entry = nodes.entry(Arc::clone(&node)).or_insert_with(Node::parked);
            if entry.streams >= limit {
                return None;
            }
            entry.streams += 1;
            (node, entry.snapshot.subscribe())
        };
        let stream = self.shared.next_stream.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link {
            node,
            stream,
            name: admission.name.map(Into::into),
            peer,
            since: SystemTime::now(),
            bytes_sent: AtomicU64::default(),
            progress: Mutex::default(),
        });
        lock(&self.shared.links).insert(stream, Arc::clone(&link));
        count(&self.shared.counters.streams_opened, 1);
        let attachment = Attachment { hub: self.clone(), link, snapshot };
        attachment.emit(EventKind::Connected);
        Some(attachment)
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("nodes", &lock(&self.shared.nodes).len()).finish_non_exhaustive()
    }
}

impl Node {
    fn parked() -> Self {
        Self { snapshot: watch::Sender::new(None), streams: 0 }
    }
}

impl Link {
    fn describe(&self) -> Connection {
        let progress = lock(&self.progress);
        Connection {
            node: Arc::clone(&self.node),
            stream: self.stream,
            name: self.name.clone(),
            peer: self.peer.clone(),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            in_sync: progress.in_sync,
            rejections: progress
                .rejections
                .iter()
                .map(|((resource_type, name), error)| Rejection {
                    resource_type: *resource_type,
                    name: Arc::clone(name),
                    error: Arc::clone(error),
                })
                .collect(),
            held: progress.held.clone(),
            since: self.since,
        }
    }
}

/// A stream's hold on the hub: its snapshots, its events. Dropping it is the disconnection.
pub(crate) struct Attachment {
    hub: Hub,
    link: Arc<Link>,
    pub(crate) snapshot: watch::Receiver<Option<Snapshot>>,
}

impl Attachment {
    pub(crate) fn node(&self) -> &str {
        &self.link.node
    }

    pub(crate) fn stream(&self) -> u64 {
        self.link.stream
    }

    /// Counts a response that goes to the transport.
    pub(crate) fn sent(&self, resource_type: Option<ResourceType>, resources: usize, bytes: usize) {
        let counters = self.hub.counters();
        count(&counters.responses, 1);
        if let Some(resource_type) = resource_type {
            count(&counters.of_type(resource_type).resources_sent, resources as u64);
        }
        count(&counters.bytes_sent, bytes as u64);
        count(&self.link.bytes_sent, bytes as u64);
    }

    /// Publishes what the protocol found out.
    pub(crate) fn outcomes(&self, outcomes: Vec<Outcome>, in_sync: bool, held: Snapshot) {
        let counters = self.hub.counters();
        let mut progress = lock(&self.link.progress);
        progress.in_sync = in_sync;
        let resumed = outcomes.is_empty() && !progress.held.ptr_eq(&held);
        progress.held = held;
        let mut events = Vec::new();
        if resumed {
            events.push(EventKind::Resumed);
        }
        for outcome in outcomes {
            match outcome {
                Outcome::Acked { resource_type, resources, removed } => {
                    count(&counters.of_type(resource_type).acks, 1);
                    if !progress.rejections.is_empty() {
                        for name in resources.iter().map(|r| r.shared_name()).chain(&removed) {
                            progress.rejections.remove(&(resource_type, Arc::clone(name)));
                        }
                    }
                    events.push(EventKind::Acked {
                        resource_type,
                        resources: resources.into(),
                        removed: removed.into(),
                    });
                }
                Outcome::Rejected { resource_type } => count(&counters.of_type(resource_type).nacks, 1),
                Outcome::Nacked { resource_type, names, error } => {
                    let error: Arc<str> = error.into();
                    for name in &names {
                        progress.rejections.insert((resource_type, Arc::clone(name)), Arc::clone(&error));
                    }
                    events.push(EventKind::Nacked { resource_type, names: names.into(), error });
                }
                Outcome::Unparked { resource_type, name } => {
                    progress.rejections.remove(&(resource_type, name));
                }
            }
        }
        drop(progress);
        for kind in events {
            self.emit(kind);
        }
    }

    fn emit(&self, kind: EventKind) {
        // Nobody listening is fine.
        let _ = self.hub.shared.events.send(Event {
            node: Arc::clone(&self.link.node),
            stream: self.link.stream,
            bytes_sent: self.link.bytes_sent.load(Ordering::Relaxed),
            kind,
        });
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        lock(&self.hub.shared.links).remove(&self.link.stream);
        {
            let mut nodes = lock(&self.hub.shared.nodes);
            if let Some(entry) = nodes.get_mut(&self.link.node) {
                entry.streams -= 1;
                if entry.streams == 0 && entry.snapshot.borrow().is_none() {
                    nodes.remove(&self.link.node);
                }
            }
        }
        count(&self.hub.counters().streams_closed, 1);
        self.emit(EventKind::Disconnected);
    }
}

/// No critical section here can panic half way, so a poisoned lock still guards consistent data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
