//! T28, T16: a client that follows Envoy's rules, driven by random operations, converges; and at no point does a route
//! or a TCP proxy that it accepted name a cluster that it does not have.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc::Status;
use postern_xds::state::{Options, Stream};
use postern_xds::{Resource, ResourceType, Snapshot};
use proptest::prelude::*;

use crate::driver::{CDS, ECDS, EDS, LDS, RDS, SDS, SRDS, request};
use crate::resources::*;

/// A scope, listener or TCP proxy with this content is rejected.
const BAD: u32 = 13;

/// A proxy. What it holds survives its streams.
#[derive(Default)]
struct Proxy {
    held: BTreeMap<ResourceType, BTreeMap<String, Arc<Resource>>>,
    /// Names subscribed beside the wildcards.
    names: BTreeMap<ResourceType, BTreeSet<String>>,
    /// Clusters that wait for endpoints.
    warming: BTreeSet<String>,
    /// Routes that the server said are gone. Envoy keeps them (only a listener that goes lets go of its routes), but no
    /// listener of a consistent configuration leads there any more.
    stale: BTreeSet<String>,
    /// Requests on their way to the server.
    outbox: VecDeque<DeltaDiscoveryRequest>,
    /// Cluster requests held back while clusters warm.
    paused: Vec<DeltaDiscoveryRequest>,
    started: BTreeSet<ResourceType>,
    nonces: BTreeSet<String>,
}

impl Proxy {
    fn held(&mut self, resource_type: ResourceType) -> &mut BTreeMap<String, Arc<Resource>> {
        self.held.entry(resource_type).or_default()
    }

    /// Opens a stream. Like Envoy, it skips clusters if one is warming, and says what it holds.
    fn connect(&mut self) {
        self.outbox.clear();
        self.paused.clear();
        self.started.clear();
        self.nonces.clear();
        for resource_type in [CDS, EDS, LDS, ECDS, RDS, SRDS, SDS] {
            let names = self.names.get(&resource_type).cloned().unwrap_or_default();
            let wildcard = resource_type.is_wildcard();
            if !wildcard && names.is_empty() {
                continue;
            }
            let mut subscribe: Vec<String> = names.into_iter().collect();
            if wildcard && !subscribe.is_empty() {
                subscribe.push("*".to_owned());
            }
            let held =
                self.held(resource_type).values().map(|r| (r.name().to_owned(), r.version().to_owned()));
            let first = DeltaDiscoveryRequest {
                initial_resource_versions: held.collect(),
                resource_names_subscribe: subscribe,
                ..request(resource_type)
            };
            self.queue(first);
        }
    }

    fn queue(&mut self, r: DeltaDiscoveryRequest) {
        let resource_type = ResourceType::from_type_url(&r.type_url).unwrap();
        if resource_type == CDS && !self.warming.is_empty() {
            self.paused.push(r);
        } else {
            self.started.insert(resource_type);
            self.outbox.push_back(r);
        }
    }

    fn subscribe(&mut self, resource_type: ResourceType, name: &str) {
        self.names.entry(resource_type).or_default().insert(name.to_owned());
        if resource_type != CDS || self.started.contains(&CDS) {
            self.queue(DeltaDiscoveryRequest {
                resource_names_subscribe: vec![name.to_owned()],
                ..request(resource_type)
            });
        }
    }

    fn unsubscribe(&mut self, resource_type: ResourceType, name: &str) {
        if !self.names.entry(resource_type).or_default().remove(name) {
            return;
        }
        if !resource_type.is_wildcard() {
            self.held(resource_type).remove(name);
        }
        self.queue(DeltaDiscoveryRequest {
            resource_names_unsubscribe: vec![name.to_owned()],
            ..request(resource_type)
        });
    }

    /// Takes a response: checks its form, applies it by the rules of its type, and acknowledges or rejects it.
    fn receive(&mut self, response: &DeltaDiscoveryResponse) {
        let resource_type = ResourceType::from_type_url(&response.type_url).unwrap();
        assert!(self.nonces.insert(response.nonce.clone()), "nonce {} came twice", response.nonce);
        let resources: Vec<_> = response
            .resources
            .iter()
            .map(|r| {
                let any = r.resource.clone().unwrap();
                assert_eq!(any.type_url, response.type_url);
                assert!(!r.version.is_empty());
                Arc::new(Resource::new(resource_type, r.name.as_str(), r.version.as_str(), any.value))
            })
            .collect();
        let unique: BTreeSet<&str> = resources.iter().map(|r| r.name()).collect();
        assert_eq!(unique.len(), resources.len(), "a name came twice");
        let bad: Vec<&str> = resources.iter().filter(|r| is_bad(r)).map(|r| r.name()).collect();
        // Clusters and listeners are taken one by one, scopes all or none.
        let all_or_none = resource_type == SRDS;
        if bad.is_empty() || !all_or_none {
            for name in &response.removed_resources {
                self.remove(resource_type, name);
            }
            for resource in resources.iter().filter(|r| !is_bad(r)) {
                self.take(resource);
            }
        }
        let error_detail =
            (!bad.is_empty()).then(|| Status { code: 13, message: bad.join(","), ..Status::default() });
        self.queue(DeltaDiscoveryRequest {
            response_nonce: response.nonce.clone(),
            error_detail,
            ..request(resource_type)
        });
        self.resume_clusters();
        self.check_routes();
    }

    fn take(&mut self, resource: &Arc<Resource>) {
        let (resource_type, name) = (resource.resource_type(), resource.name().to_owned());
        match resource_type {
            CDS => {
                let before = self.held(CDS).get(&name).cloned();
                let unchanged = before.as_ref() == Some(resource);
                if let Some(eds) = before.and_then(|c| c.eds_name().cloned())
                    && resource.eds_name().is_none()
                {
                    self.warming.remove(&*eds);
                    self.unsubscribe(EDS, &eds);
                }
                if let (false, Some(eds)) = (unchanged, resource.eds_name().map(ToString::to_string)) {
                    self.warming.insert(eds.clone());
                    if !self.names.entry(EDS).or_default().contains(&eds) {
                        self.subscribe(EDS, &eds);
                    }
                }
            }
            EDS => {
                if !self.names.entry(EDS).or_default().contains(&name) {
                    return;
                }
                self.warming.remove(&name);
            }
            _ if !resource_type.is_wildcard()
                && !self.names.entry(resource_type).or_default().contains(&name) =>
            {
                return;
            }
            _ => {}
        }
        if resource_type == RDS {
            self.stale.remove(&name);
        }
        self.held(resource_type).insert(name, Arc::clone(resource));
    }

    fn remove(&mut self, resource_type: ResourceType, name: &str) {
        match resource_type {
            // Ignored by Envoy.
            EDS | SDS => {}
            RDS => {
                self.stale.insert(name.to_owned());
            }
            CDS => {
                if let Some(eds) = self.held(CDS).remove(name).and_then(|c| c.eds_name().cloned()) {
                    self.warming.remove(&*eds);
                    self.unsubscribe(EDS, &eds);
                }
            }
            _ => {
                self.held(resource_type).remove(name);
            }
        }
    }

    fn resume_clusters(&mut self) {
        if self.warming.is_empty() {
            let paused = std::mem::take(&mut self.paused);
            if !paused.is_empty() {
                self.started.insert(CDS);
            }
            self.outbox.extend(paused);
        }
    }

    /// The point of it all.
    fn check_routes(&mut self) {
        let clusters = self.held.get(&CDS).cloned().unwrap_or_default();
        for resource_type in [SRDS, RDS, ECDS] {
            let stale = if resource_type == RDS { self.stale.clone() } else { BTreeSet::new() };
            for route in self.held(resource_type).values().filter(|r| !stale.contains(r.name())) {
                for cluster in referred_clusters(route) {
                    assert!(
                        clusters.contains_key(&cluster),
                        "{route:?} leads to {cluster}, which is not there"
                    );
                }
            }
        }
    }
}

fn is_bad(resource: &Resource) -> bool {
    resource.version().starts_with("bad")
}

/// Marks a resource as one that the proxy rejects.
fn spoiled(resource: &Arc<Resource>) -> Arc<Resource> {
    let version = format!("bad-{}", resource.version());
    Arc::new(Resource::new(resource.resource_type(), resource.name(), version, resource.body().clone()))
}

/// A consistent configuration: every route leads to clusters that are in it.
#[derive(Clone, Debug, Default)]
struct Config {
    clusters: BTreeMap<u8, (u32, bool)>,
    endpoints: BTreeMap<u8, u32>,
    listeners: BTreeMap<u8, u32>,
    /// By scope: content, and the clusters that it leads to as far as they exist.
    scopes: BTreeMap<u8, (u32, Vec<u8>)>,
    routes: BTreeMap<u8, Vec<u8>>,
    /// By filter chain: content, and the cluster that its connections go to, if it exists.
    proxies: BTreeMap<u8, (u32, u8)>,
    secrets: BTreeMap<u8, u32>,
}

impl Config {
    fn snapshot(&self, previous: &Snapshot) -> Snapshot {
        let cluster_name = |i: &u8| format!("c{i}");
        let existing = |wanted: &[u8]| -> Vec<String> {
            wanted.iter().filter(|i| self.clusters.contains_key(i)).map(cluster_name).collect()
        };
        let mut resources = Vec::new();
        for (i, (content, eds)) in &self.clusters {
            let name = cluster_name(i);
            resources.push(if *eds { cluster(&name, *content) } else { static_cluster(&name, *content) });
        }
        for (i, content) in &self.endpoints {
            resources.push(endpoints(&cluster_name(i), *content));
        }
        for (i, content) in &self.listeners {
            let listener = listener(&format!("l{i}"), *content);
            resources.push(if *content == BAD { spoiled(&listener) } else { listener });
        }
        for (i, (content, wanted)) in &self.scopes {
            let names = existing(wanted);
            let scope = scope(&format!("s{i}"), &names.iter().map(String::as_str).collect::<Vec<_>>());
            resources.push(if *content == BAD { spoiled(&scope) } else { scope });
        }
        for (i, wanted) in &self.routes {
            let names = existing(wanted);
            resources.push(routes(&format!("r{i}"), &names.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        for (i, (content, wanted)) in &self.proxies {
            // Without its cluster the chain is gone, too.
            let Some(cluster) = existing(&[*wanted]).pop() else { continue };
            let proxy = tcp_proxy(&format!("x{i}"), &cluster);
            resources.push(if *content == BAD { spoiled(&proxy) } else { proxy });
        }
        for (i, content) in &self.secrets {
            resources.push(secret(&format!("k{i}"), *content));
        }
        let next: Snapshot = resources.iter().cloned().collect();
        let gone: Vec<_> = ResourceType::ALL
            .into_iter()
            .flat_map(|t| previous.iter(t))
            .filter(|r| next.get(r.resource_type(), r.name()).is_none())
            .map(|r| postern_xds::Change::Remove(r.resource_type(), r.name().into()))
            .collect();
        previous.apply(gone.into_iter().chain(resources.into_iter().map(postern_xds::Change::Set)))
    }
}

#[derive(Clone, Debug)]
enum Op {
    Cluster(u8, Option<(u32, bool)>),
    Endpoints(u8, Option<u32>),
    Listener(u8, Option<u32>),
    Scope(u8, Option<(u32, Vec<u8>)>),
    Routes(u8, Option<Vec<u8>>),
    Proxy(u8, Option<(u32, u8)>),
    Secret(u8, Option<u32>),
    /// Makes the configuration so far the node's snapshot.
    Publish,
    /// The proxy asks for a name that it wants for a reason of its own.
    Subscribe(ResourceType, u8),
    Unsubscribe(ResourceType, u8),
    /// The server reads so many requests.
    ToServer(u8),
    /// The proxy reads so many responses.
    ToProxy(u8),
    Reconnect,
    /// The time of the clusters that nothing refers to is up.
    LingerExpired,
}

fn op() -> impl Strategy<Value = Op> {
    let id = 0..6u8;
    let content = prop_oneof![6 => 0..3u32, 1 => Just(BAD)];
    let maybe = prop::option::weighted(0.7, 0..3u32);
    prop_oneof![
        3 => (id.clone(), prop::option::weighted(0.6, (0..3u32, any::<bool>()))).prop_map(|(i, c)| Op::Cluster(i, c)),
        2 => (id.clone(), maybe.clone()).prop_map(|(i, c)| Op::Endpoints(i, c)),
        1 => (0..2u8, prop::option::weighted(0.7, content.clone())).prop_map(|(i, c)| Op::Listener(i, c)),
        3 => (id.clone(), prop::option::weighted(0.8, (content.clone(), prop::collection::vec(id.clone(), 0..3))))
            .prop_map(|(i, c)| Op::Scope(i, c)),
        2 => (0..3u8, prop::option::weighted(0.8, (content, id.clone()))).prop_map(|(i, c)| Op::Proxy(i, c)),
        1 => (0..3u8, prop::option::weighted(0.8, prop::collection::vec(id.clone(), 0..3)))
            .prop_map(|(i, c)| Op::Routes(i, c)),
        1 => (0..2u8, maybe).prop_map(|(i, c)| Op::Secret(i, c)),
        6 => Just(Op::Publish),
        1 => (prop_oneof![Just(RDS), Just(ECDS), Just(SDS), Just(CDS)], 0..3u8).prop_map(|(t, i)| Op::Subscribe(t, i)),
        1 => (prop_oneof![Just(RDS), Just(ECDS), Just(SDS), Just(CDS)], 0..3u8).prop_map(|(t, i)| Op::Unsubscribe(t, i)),
        6 => (1..4u8).prop_map(Op::ToServer),
        6 => (1..4u8).prop_map(Op::ToProxy),
        1 => Just(Op::Reconnect),
        1 => Just(Op::LingerExpired),
    ]
}

fn on_demand_name(resource_type: ResourceType, i: u8) -> String {
    let prefix = match resource_type {
        RDS => "r",
        ECDS => "x",
        SDS => "k",
        _ => "c",
    };
    format!("{prefix}{i}")
}

/// A proxy, a stream to it, and what is on its way back.
struct World {
    config: Config,
    snapshot: Snapshot,
    stream: Stream,
    limit: usize,
    responses: VecDeque<DeltaDiscoveryResponse>,
    proxy: Proxy,
}

impl World {
    fn new(limit: usize) -> Self {
        let mut world = Self {
            config: Config::default(),
            snapshot: Snapshot::new(),
            stream: Stream::new(Options { max_response_bytes: limit }),
            limit,
            responses: VecDeque::new(),
            proxy: Proxy::default(),
        };
        world.proxy.connect();
        world
    }

    fn run(&mut self, op: Op) {
        fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        match op {
            Op::Cluster(i, c) => put(&mut self.config.clusters, i, c),
            Op::Endpoints(i, c) => put(&mut self.config.endpoints, i, c),
            Op::Listener(i, c) => put(&mut self.config.listeners, i, c),
            Op::Scope(i, c) => put(&mut self.config.scopes, i, c),
            Op::Routes(i, c) => put(&mut self.config.routes, i, c),
            Op::Proxy(i, c) => put(&mut self.config.proxies, i, c),
            Op::Secret(i, c) => put(&mut self.config.secrets, i, c),
            Op::Publish => {
                self.snapshot = self.config.snapshot(&self.snapshot);
                let pushes = self.stream.on_snapshot(&self.snapshot);
                self.responses.extend(pushes.iter().map(Into::into));
            }
            Op::Subscribe(t, i) => self.proxy.subscribe(t, &on_demand_name(t, i)),
            Op::Unsubscribe(t, i) => self.proxy.unsubscribe(t, &on_demand_name(t, i)),
            Op::ToServer(n) => (0..n).for_each(|_| self.deliver_request()),
            Op::ToProxy(n) => (0..n).for_each(|_| self.deliver_response()),
            Op::Reconnect => {
                self.stream = Stream::new(Options { max_response_bytes: self.limit });
                self.responses.clear();
                self.proxy.connect();
            }
            Op::LingerExpired => self.expire_linger(),
        }
    }

    fn expire_linger(&mut self) {
        let pushes = self.stream.on_linger_expired();
        self.responses.extend(pushes.iter().map(Into::into));
    }

    fn deliver_request(&mut self) {
        if let Some(request) = self.proxy.outbox.pop_front() {
            let pushes = self.stream.on_request(request, &self.snapshot).unwrap();
            self.responses.extend(pushes.iter().map(Into::into));
        }
    }

    fn deliver_response(&mut self) {
        if let Some(response) = self.responses.pop_front() {
            self.proxy.receive(&response);
        }
    }

    /// Delivers everything, until nothing moves any more.
    fn quiesce(&mut self) {
        for _ in 0..10_000 {
            if !self.proxy.outbox.is_empty() {
                self.deliver_request();
            } else if !self.responses.is_empty() {
                self.deliver_response();
            } else if self.stream.waiting().is_some() {
                let pushes = self.stream.on_wait_expired();
                self.responses.extend(pushes.iter().map(Into::into));
            } else if self.stream.lingering().is_some() {
                self.expire_linger();
            } else {
                return;
            }
        }
        panic!("the messages do not end");
    }

    /// What the proxy holds is what its subscriptions say, up to what it rejects.
    fn check(&mut self) {
        for resource_type in [CDS, EDS, LDS, ECDS, RDS, SRDS, SDS] {
            let held = self.proxy.held.get(&resource_type).cloned().unwrap_or_default();
            let names = self.proxy.names.get(&resource_type).cloned().unwrap_or_default();
            for resource in self.snapshot.iter(resource_type) {
                if is_bad(resource) || !(resource_type.is_wildcard() || names.contains(resource.name())) {
                    continue;
                }
                assert_eq!(held.get(resource.name()), Some(resource), "{resource_type}");
            }
            // RDS and SDS removals are ignored by the proxy, and what is rejected leaves the old one.
            let blocked = [SRDS, LDS, ECDS].iter().any(|t| self.snapshot.iter(*t).any(|r| is_bad(r)));
            for (name, resource) in &held {
                if self.snapshot.get(resource_type, name).is_some() {
                    continue;
                }
                match resource_type {
                    RDS | SDS => {}
                    CDS | EDS | ECDS if blocked => {}
                    EDS => assert_eq!(resource.version(), "empty", "{name}"),
                    _ => panic!("{resource:?} is gone from the snapshot, but not from the proxy"),
                }
            }
        }
        assert!(self.proxy.warming.is_empty(), "still warming: {:?}", self.proxy.warming);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6 * ProptestConfig::default().cases, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn t28_t16_the_proxy_converges_and_never_routes_to_nowhere(
        limit in prop_oneof![Just(1usize), Just(400), Just(usize::MAX)],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new(limit);
        for op in ops {
            world.run(op);
        }
        world.run(Op::Publish);
        world.quiesce();
        world.check();
    }
}
