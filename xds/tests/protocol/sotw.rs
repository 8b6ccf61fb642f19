//! R26: state of the world over the same state machine.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::rpc::Status;
use postern_xds::sotw::Stream;
use postern_xds::{ResourceType, Snapshot};
use prost::Message;

use crate::driver::*;
use crate::resources::*;

struct Client {
    stream: Stream,
    snapshot: Snapshot,
}

impl Client {
    fn new(snapshot: Snapshot) -> Self {
        Self { stream: Stream::new(), snapshot }
    }

    fn ask(&mut self, resource_type: ResourceType, names: &[&str], nonce: &str) -> Vec<DiscoveryResponse> {
        let request = DiscoveryRequest {
            type_url: resource_type.type_url().to_owned(),
            resource_names: strings(names),
            response_nonce: nonce.to_owned(),
            ..DiscoveryRequest::default()
        };
        let replies = self.stream.on_request(request, &self.snapshot).unwrap();
        let late = self.stream.on_linger_expired(&self.snapshot);
        replies.into_iter().chain(late).map(|r| r.0).collect()
    }

    fn set(&mut self, changes: impl IntoIterator<Item = postern_xds::Change>) -> Vec<DiscoveryResponse> {
        self.snapshot = self.snapshot.apply(changes);
        let replies = self.stream.on_snapshot(&self.snapshot);
        let late = self.stream.on_linger_expired(&self.snapshot);
        replies.into_iter().chain(late).map(|r| r.0).collect()
    }
}

fn clusters(response: &DiscoveryResponse) -> Vec<String> {
    response.resources.iter().map(|any| Cluster::decode(&*any.value).unwrap().name).collect()
}

fn one(mut responses: Vec<DiscoveryResponse>) -> DiscoveryResponse {
    assert_eq!(responses.len(), 1, "{responses:#?}");
    responses.remove(0)
}

#[test]
fn every_cluster_is_in_every_answer() {
    let mut c = Client::new(snapshot([static_cluster("a", 0), static_cluster("b", 0)]));
    let first = one(c.ask(CDS, &[], ""));
    assert_eq!(clusters(&first), ["a", "b"]);
    assert!(c.ask(CDS, &[], &first.nonce).is_empty());
    let second = one(c.set([set(&static_cluster("b", 1))]));
    assert_eq!(clusters(&second), ["a", "b"]);
    assert_ne!(first.version_info, second.version_info);
    assert!(c.ask(CDS, &[], &second.nonce).is_empty());
    let back = one(c.set([set(&static_cluster("b", 0))]));
    assert_eq!(back.version_info, first.version_info, "a version of the content, not a counter");
}

#[test]
fn a_swap_keeps_the_old_cluster_until_the_routes_are_acknowledged() {
    let mut c = Client::new(snapshot([static_cluster("old", 0), listener("l", 0), scope("s", &["old"])]));
    for resource_type in [CDS, LDS, SRDS] {
        let r = one(c.ask(resource_type, &[], ""));
        assert!(c.ask(resource_type, &[], &r.nonce).is_empty());
    }
    let cds = one(c.set([set(&static_cluster("new", 0)), remove(CDS, "old"), set(&scope("s", &["new"]))]));
    assert_eq!(clusters(&cds), ["new", "old"]);
    let srds = one(c.ask(CDS, &[], &cds.nonce));
    assert_eq!(srds.type_url, SRDS.type_url());
    let prune = one(c.ask(SRDS, &[], &srds.nonce));
    assert_eq!(clusters(&prune), ["new"]);
}

#[test]
fn endpoints_come_by_name_and_only_what_changed() {
    let mut c = Client::new(snapshot([endpoints("a", 0), endpoints("b", 0)]));
    let first = one(c.ask(EDS, &["a"], ""));
    assert_eq!(first.resources.len(), 1);
    let second = one(c.ask(EDS, &["a", "b", "missing"], &first.nonce));
    assert_eq!(second.resources.len(), 2, "the new one, and an empty one for the missing one");
    assert!(c.ask(EDS, &["a", "b", "missing"], &second.nonce).is_empty());
    assert_eq!(one(c.set([set(&endpoints("a", 1))])).resources.len(), 1);
}

#[test]
fn a_missing_secret_is_silence_until_it_appears() {
    let mut c = Client::new(Snapshot::new());
    assert!(c.ask(SDS, &["k"], "").is_empty());
    assert_eq!(one(c.set([set(&secret("k", 0))])).resources.len(), 1);
}

#[test]
fn names_end_the_legacy_wildcard() {
    let mut c = Client::new(snapshot([static_cluster("a", 0), static_cluster("b", 0)]));
    let all = one(c.ask(CDS, &[], ""));
    let named = one(c.ask(CDS, &["a"], &all.nonce));
    assert_eq!(clusters(&named), ["a"]);
    assert!(c.ask(CDS, &["a"], &named.nonce).is_empty());
    assert!(c.set([set(&static_cluster("b", 1))]).is_empty());
}

#[test]
fn a_rejection_leaves_the_good_ones() {
    let mut c = Client::new(snapshot([static_cluster("bad", 0), static_cluster("good", 0)]));
    let all = one(c.ask(CDS, &[], ""));
    let nack = |nonce: &str| DiscoveryRequest {
        type_url: CDS.type_url().to_owned(),
        response_nonce: nonce.to_owned(),
        error_detail: Some(Status { message: "no good".to_owned(), ..Status::default() }),
        ..DiscoveryRequest::default()
    };
    let half =
        one(c.stream.on_request(nack(&all.nonce), &c.snapshot).unwrap().into_iter().map(|r| r.0).collect());
    assert_eq!(clusters(&half), ["bad"]);
    let half =
        one(c.stream.on_request(nack(&half.nonce), &c.snapshot).unwrap().into_iter().map(|r| r.0).collect());
    assert_eq!(clusters(&half), ["good"]);
    assert!(c.ask(CDS, &[], &half.nonce).is_empty());
}
