//! A stream under test, and short ways to speak to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::rpc::Status;
use postern_xds::state::{Options, Outcome, Stream};
use postern_xds::{Change, Push, Resource, ResourceType, Snapshot};

pub(crate) use ResourceType::{
    Cluster as CDS, ClusterLoadAssignment as EDS, ExtensionConfig as ECDS, Listener as LDS,
    RouteConfiguration as RDS, ScopedRouteConfiguration as SRDS, Secret as SDS,
};

/// A request to be filled in.
pub(crate) fn request(resource_type: ResourceType) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: resource_type.type_url().to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

pub(crate) fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) fn snapshot(resources: impl IntoIterator<Item = Arc<Resource>>) -> Snapshot {
    resources.into_iter().collect()
}

/// The names of the resources in a push, and the removed names.
pub(crate) fn content(push: &Push) -> (Vec<&str>, Vec<&str>) {
    (push.resources.iter().map(|r| r.name()).collect(), push.removed.iter().map(|n| &**n).collect())
}

pub(crate) fn type_of(push: &Push) -> ResourceType {
    ResourceType::from_type_url(&push.type_url).unwrap()
}

/// The types of these pushes, in order.
pub(crate) fn types(pushes: &[Push]) -> Vec<ResourceType> {
    pushes.iter().map(type_of).collect()
}

/// The one push there is.
pub(crate) fn only(pushes: Vec<Push>) -> Push {
    let [push] = <[Push; 1]>::try_from(pushes).unwrap_or_else(|p| panic!("expected one push, got {p:#?}"));
    push
}

/// A stream and the snapshot that it serves.
pub(crate) struct Driver {
    pub(crate) stream: Stream,
    pub(crate) snapshot: Snapshot,
    /// Whether clusters that go stay until [`Driver::expire_linger`]; otherwise their time is up at once.
    pub(crate) lingering: bool,
}

impl Driver {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { stream: Stream::default(), snapshot, lingering: false }
    }

    pub(crate) fn with_limit(snapshot: Snapshot, max_response_bytes: usize) -> Self {
        Self { stream: Stream::new(Options { max_response_bytes }), snapshot, lingering: false }
    }

    pub(crate) fn request(&mut self, request: DeltaDiscoveryRequest) -> Vec<Push> {
        let pushes = self.stream.on_request(request, &self.snapshot).unwrap();
        self.without_linger(pushes)
    }

    fn without_linger(&mut self, mut pushes: Vec<Push>) -> Vec<Push> {
        if !self.lingering && self.stream.lingering().is_some() {
            pushes.extend(self.expire_linger());
        }
        pushes
    }

    /// The time of the clusters that nothing refers to is up.
    pub(crate) fn expire_linger(&mut self) -> Vec<Push> {
        assert!(self.stream.lingering().is_some(), "no cluster lingers");
        self.stream.on_linger_expired()
    }

    /// Subscribes, or says the empty first request.
    pub(crate) fn subscribe(&mut self, resource_type: ResourceType, names: &[&str]) -> Vec<Push> {
        self.request(DeltaDiscoveryRequest {
            resource_names_subscribe: strings(names),
            ..request(resource_type)
        })
    }

    pub(crate) fn unsubscribe(&mut self, resource_type: ResourceType, names: &[&str]) -> Vec<Push> {
        self.request(DeltaDiscoveryRequest {
            resource_names_unsubscribe: strings(names),
            ..request(resource_type)
        })
    }

    /// The first request of a type on a new stream by a proxy that holds these resources.
    pub(crate) fn resume(
        &mut self,
        resource_type: ResourceType,
        names: &[&str],
        held: &[&Arc<Resource>],
    ) -> Vec<Push> {
        self.request(DeltaDiscoveryRequest {
            resource_names_subscribe: strings(names),
            initial_resource_versions: held
                .iter()
                .map(|r| (r.name().to_owned(), r.version().to_owned()))
                .collect(),
            ..request(resource_type)
        })
    }

    pub(crate) fn ack(&mut self, push: &Push) -> Vec<Push> {
        self.request(DeltaDiscoveryRequest { response_nonce: push.nonce.clone(), ..request(type_of(push)) })
    }

    pub(crate) fn nack(&mut self, push: &Push, error: &str) -> Vec<Push> {
        self.request(DeltaDiscoveryRequest {
            response_nonce: push.nonce.clone(),
            error_detail: Some(Status { code: 3, message: error.to_owned(), ..Status::default() }),
            ..request(type_of(push))
        })
    }

    pub(crate) fn set(&mut self, changes: impl IntoIterator<Item = Change>) -> Vec<Push> {
        self.snapshot = self.snapshot.apply(changes);
        let pushes = self.stream.on_snapshot(&self.snapshot);
        self.without_linger(pushes)
    }

    /// Acknowledges these pushes and everything that follows from it. Answers what came.
    pub(crate) fn settle(&mut self, pushes: Vec<Push>) -> Vec<Push> {
        let mut log = Vec::new();
        let mut queue = std::collections::VecDeque::from(pushes);
        while let Some(push) = queue.pop_front() {
            queue.extend(self.ack(&push));
            log.push(push);
        }
        log
    }

    /// An Envoy that starts: clusters, endpoints, listeners, scopes, all acknowledged.
    pub(crate) fn boot(&mut self) {
        let pushes = self.subscribe(CDS, &[]);
        self.settle(pushes);
        let names: Vec<String> =
            self.snapshot.iter(CDS).filter_map(|c| Some(c.eds_name()?.to_string())).collect();
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let pushes = self.subscribe(EDS, &names);
            self.settle(pushes);
        }
        for resource_type in [LDS, SRDS] {
            let pushes = self.subscribe(resource_type, &[]);
            self.settle(pushes);
        }
        assert!(self.stream.in_sync(), "a booted proxy is in sync");
        self.stream.take_outcomes();
    }

    pub(crate) fn nacked(&mut self) -> BTreeMap<String, String> {
        let outcomes = self.stream.take_outcomes();
        outcomes
            .into_iter()
            .filter_map(|outcome| match outcome {
                Outcome::Nacked { names, error, .. } => Some((names.join(","), error)),
                _ => None,
            })
            .collect()
    }
}

pub(crate) fn set(resource: &Arc<Resource>) -> Change {
    Change::Set(Arc::clone(resource))
}

pub(crate) fn remove(resource_type: ResourceType, name: &str) -> Change {
    Change::Remove(resource_type, name.into())
}
