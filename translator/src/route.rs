//! Routes: where they attach, what Envoy does with their requests or connections, and what their statuses say.
//!
//! What is common to all kinds stands here; `http` and `grpc` turn rules into Envoy routes, `stream` says where connections
//! and datagrams go.

pub(crate) mod action;
pub(crate) mod annotations;
pub(crate) mod attach;
pub(crate) mod cors;
pub(crate) mod delegation;
pub(crate) mod filters;
mod grpc;
pub(crate) mod headers;
mod http;
pub(crate) mod matches;
pub(crate) mod order;
mod parents;
pub(crate) mod re2;
mod redirect;
pub(crate) mod retry;
mod rule;
pub(crate) mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_api::gateway_api::{
    Condition, GatewayDefaultScope, GrpcRoute, HttpRoute, L4RouteRule, L4RouteSpec, ParentReference,
    RouteParentStatus, RouteStatus, TcpRoute, TlsRoute, UdpRoute, condition_type, reason,
};

use self::attach::Attachment;
use self::delegation::{Hands, Root};
use self::http::HttpRules;
use self::order::RouteOrder;
use self::parents::Asked;
use self::stream::{StreamRules, StreamShare};
use crate::Options;
use crate::backend::ClusterId;
use crate::dependency::{Parent, Reader};
use crate::envoy::scope::ScopeId;
use crate::gateway::{ListenerId, Protocol};
use crate::hostname::Hostname;
use crate::infrastructure::Port;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::merge;
use crate::problem::Problems;
use crate::status::{condition, resolved};

/// One Envoy route with its place on a host. It is kept encoded: ten times smaller than the message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostRoute {
    pub(crate) order: RouteOrder,
    pub(crate) encoded: Bytes,
}

/// What a route adds to one host of a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostShare {
    pub(crate) scope: ScopeId,
    pub(crate) hostname: Hostname,
    pub(crate) routes: Vec<HostRoute>,
}

/// What a route adds to one Gateway. Everything is sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GatewayShare {
    pub(crate) hosts: Vec<Arc<HostShare>>,
    pub(crate) streams: Vec<Arc<StreamShare>>,
    /// The clusters that the routes name.
    pub(crate) clusters: Vec<ClusterId>,
    /// The listeners that count the route.
    pub(crate) listeners: Vec<ListenerId>,
    /// The listeners whose requests other routes delegate to it.
    pub(crate) reached: Vec<ListenerId>,
}

/// What a route adds to each of its Gateways, sorted by Gateway.
pub(crate) type RouteShares = Vec<(NamespacedName, GatewayShare)>;

/// Everything that follows from a route.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteOutput {
    pub(crate) shares: RouteShares,
    pub(crate) status: RouteStatus,
    pub(crate) problems: Problems,
    /// What it delegates.
    pub(crate) hands: Hands,
}

/// A [`GatewayShare`] while it is collected.
#[derive(Default)]
struct Collected {
    hosts: BTreeMap<(ScopeId, Hostname), BTreeMap<RouteOrder, Bytes>>,
    streams: BTreeMap<(Port, ListenerId), Arc<StreamShare>>,
    clusters: BTreeSet<ClusterId>,
    listeners: BTreeSet<ListenerId>,
    reached: BTreeSet<ListenerId>,
}

impl Collected {
    fn finish(self) -> GatewayShare {
        let hosts = self.hosts.into_iter().map(|((scope, hostname), routes)| {
            let routes = routes.into_iter().map(|(order, encoded)| HostRoute { order, encoded }).collect();
            Arc::new(HostShare { scope, hostname, routes })
        });
        GatewayShare {
            hosts: hosts.collect(),
            streams: self.streams.into_values().collect(),
            clusters: self.clusters.into_iter().collect(),
            listeners: self.listeners.into_iter().collect(),
            reached: self.reached.into_iter().collect(),
        }
    }
}

/// What routes of all kinds have in common.
struct Outline<'a> {
    metadata: &'a ObjectMeta,
    parents: &'a [ParentReference],
    default_gateways: Option<&'a GatewayDefaultScope>,
    /// `None` for kinds without hostnames.
    hostnames: Option<&'a [String]>,
}

/// The rules of a route of any kind, as far as attachment and status are concerned with them.
trait Rules {
    /// What is wrong with each rule, in their order.
    fn verdicts(&self) -> Vec<Verdict<'_>>;

    /// What they leave to other routes, where they are attached as `root` says.
    fn hands(&self, root: Root) -> Hands {
        let _ = root;
        Hands::new()
    }

    /// Adds what the rules do at one listener.
    fn serve(
        &self,
        reader: &Reader<'_>,
        parent: &Parent<'_, '_>,
        attachment: &Attachment<'_>,
        share: &mut Collected,
    );
}

/// What is wrong with one rule.
struct Verdict<'a> {
    /// Reason and message if the rule, or a part of it, cannot be carried out.
    refused: Option<&'a (&'static str, String)>,
    /// Other parts of it are served.
    is_served: bool,
    /// Reason and message of the first reference that does not resolve.
    unresolved: Option<&'a (&'static str, String)>,
}

/// Translates a route; `None` if it does not exist. Only parents that are Gateways of ours, or ListenerSets of them, appear in
/// the output.
pub(crate) fn translate(reader: &Reader<'_>, key: &ObjectKey, options: &Options) -> Option<RouteOutput> {
    match key.kind {
        Kind::GrpcRoute => {
            let route = reader.get::<GrpcRoute>(&key.namespace, &key.name)?;
            let outline = Outline {
                metadata: &route.metadata,
                parents: &route.spec.parent_refs,
                default_gateways: route.spec.use_default_gateways.as_ref(),
                hostnames: Some(&route.spec.hostnames),
            };
            Some(translate_as(reader, key, &outline, options, |_, problems| {
                HttpRules::of_grpc_route(reader, key, route, problems)
            }))
        }
        Kind::TlsRoute => {
            let route = reader.get::<TlsRoute>(&key.namespace, &key.name)?;
            let outline = Outline {
                metadata: &route.metadata,
                parents: &route.spec.parent_refs,
                default_gateways: route.spec.use_default_gateways.as_ref(),
                hostnames: Some(&route.spec.hostnames),
            };
            Some(translate_stream(reader, key, &outline, options, &route.spec.rules))
        }
        Kind::TcpRoute => {
            let route = reader.get::<TcpRoute>(&key.namespace, &key.name)?;
            Some(translate_l4(reader, key, &route.metadata, &route.spec, options))
        }
        Kind::UdpRoute => {
            let route = reader.get::<UdpRoute>(&key.namespace, &key.name)?;
            Some(translate_l4(reader, key, &route.metadata, &route.spec, options))
        }
        _ => {
            let route = reader.get::<HttpRoute>(&key.namespace, &key.name)?;
            let outline = Outline {
                metadata: &route.metadata,
                parents: &route.spec.parent_refs,
                default_gateways: route.spec.use_default_gateways.as_ref(),
                hostnames: Some(&route.spec.hostnames),
            };
            let (mut collected, mut out) = Default::default();
            attach_to_gateways(reader, key, &outline, options, &mut collected, &mut out, |_, problems| {
                HttpRules::of_http_route(reader, key, route, problems)
            });
            delegation::child::translate(reader, key, route, options, &mut collected, &mut out);
            Some(finish(collected, out))
        }
    }
}

fn finish(collected: BTreeMap<NamespacedName, Collected>, mut out: RouteOutput) -> RouteOutput {
    out.status.parents.shrink_to_fit();
    out.shares = collected.into_iter().map(|(gateway, share)| (gateway, share.finish())).collect();
    out
}

/// Translates a TCPRoute or a UDPRoute.
fn translate_l4(
    reader: &Reader<'_>,
    key: &ObjectKey,
    metadata: &ObjectMeta,
    spec: &L4RouteSpec,
    options: &Options,
) -> RouteOutput {
    let outline = Outline {
        metadata,
        parents: &spec.parent_refs,
        default_gateways: spec.use_default_gateways.as_ref(),
        hostnames: None,
    };
    translate_stream(reader, key, &outline, options, &spec.rules)
}

fn translate_stream(
    reader: &Reader<'_>,
    key: &ObjectKey,
    outline: &Outline<'_>,
    options: &Options,
    rules: &[L4RouteRule],
) -> RouteOutput {
    translate_as(reader, key, outline, options, |protocols, problems| {
        StreamRules::parse(reader, key, outline.metadata, rules, protocols, problems)
    })
}

/// Translates a route as [`attach_to_gateways`] does, which is all for routes to which nobody delegates.
fn translate_as<R: Rules>(
    reader: &Reader<'_>,
    key: &ObjectKey,
    outline: &Outline<'_>,
    options: &Options,
    parse: impl FnOnce(&BTreeSet<Protocol>, &mut Problems) -> R,
) -> RouteOutput {
    let (mut collected, mut out) = Default::default();
    attach_to_gateways(reader, key, outline, options, &mut collected, &mut out, parse);
    finish(collected, out)
}

/// Attaches a route to the Gateways and ListenerSets that it asks for. Its rules are read, if anybody wants them, by `parse`, which is
/// told the protocols of the listeners that take the route.
fn attach_to_gateways<R: Rules>(
    reader: &Reader<'_>,
    key: &ObjectKey,
    outline: &Outline<'_>,
    options: &Options,
    collected: &mut BTreeMap<NamespacedName, Collected>,
    out: &mut RouteOutput,
    parse: impl FnOnce(&BTreeSet<Protocol>, &mut Problems) -> R,
) {
    let parents = parents::parents(reader, key, outline.parents, outline.default_gateways, &mut out.problems);
    if parents.is_empty() {
        return;
    }
    merge::check(key, outline.metadata, &mut out.problems);
    let hostnames = hostnames(key, outline.hostnames.unwrap_or_default(), &mut out.problems);
    let attached: Vec<_> = parents
        .iter()
        .map(|asked| attach::attach(reader, key, &hostnames, &asked.reference, &asked.parent))
        .collect();
    let attachments = attached.iter().filter_map(|attached| attached.as_ref().ok()).flatten();
    let protocols = attachments.map(|attachment| attachment.listener.protocol).collect();
    let rules = parse(&protocols, &mut out.problems);
    let verdicts = rules.verdicts();
    let taken = parents.iter().zip(&attached).filter(|(_, attached)| attached.is_ok());
    let taken: Vec<_> = taken.map(|(asked, _)| asked.reference.clone()).collect();
    if !taken.is_empty() {
        out.hands = rules.hands(Root { key: key.clone(), parents: taken, hostnames: hostnames.clone() });
    }
    let generation = outline.metadata.generation;
    for (Asked { reference, field, is_default, parent }, attached) in parents.iter().zip(attached) {
        let accepted = match attached {
            Ok(attachments) => {
                let share = collected.entry(parent.gateway().clone()).or_default();
                for attachment in &attachments {
                    share.listeners.insert(attachment.listener.id.clone());
                    if attachment.listener.serving {
                        rules.serve(reader, parent, attachment, share);
                    }
                }
                accepted(&verdicts, generation)
            }
            Err(refusal) => {
                let field = format!("{field}{}", refusal.field);
                if *is_default {
                    out.problems.warning(key, field, &refusal.message, &refusal.remedy);
                } else {
                    out.problems.error(key, field, &refusal.message, &refusal.remedy);
                }
                vec![condition(condition_type::ACCEPTED, false, refusal.reason, refusal.message, generation)]
            }
        };
        let mut conditions = accepted;
        let unresolved = verdicts.iter().find_map(|rule| rule.unresolved);
        conditions.insert(1, resolved(unresolved, generation));
        conditions.shrink_to_fit();
        out.status.parents.push(RouteParentStatus {
            parent_ref: reference.clone(),
            controller_name: options.controller_name.clone(),
            conditions,
        });
    }
}

fn hostnames(key: &ObjectKey, given: &[String], problems: &mut Problems) -> Vec<Hostname> {
    let mut out = Vec::new();
    for (index, hostname) in given.iter().enumerate() {
        match Hostname::parse(hostname) {
            Ok(hostname) => out.push(hostname),
            Err(error) => problems.error(
                key,
                format!("spec.hostnames[{index}]"),
                error.to_string(),
                "use a DNS name, perhaps with *. in front; the other hostnames are served",
            ),
        }
    }
    if given.is_empty() {
        out.push(Hostname::Any);
    }
    out
}

/// `Accepted`, and `PartiallyInvalid` where some rules are refused.
fn accepted(rules: &[Verdict<'_>], generation: Option<i64>) -> Vec<Condition> {
    let refused: Vec<_> = rules.iter().filter_map(|rule| rule.refused).collect();
    let Some((refused_reason, message)) = refused.first() else {
        let message = "the route is accepted";
        return vec![condition(condition_type::ACCEPTED, true, reason::ACCEPTED, message, generation)];
    };
    let served = rules.iter().filter(|rule| rule.refused.is_none() || rule.is_served).count();
    if served == 0 {
        return vec![condition(condition_type::ACCEPTED, false, refused_reason, message, generation)];
    }
    vec![
        condition(
            condition_type::ACCEPTED,
            true,
            reason::ACCEPTED,
            format!("{served} of {} rules are served", rules.len()),
            generation,
        ),
        condition(
            condition_type::PARTIALLY_INVALID,
            true,
            reason::UNSUPPORTED_VALUE,
            format!("Dropped Rule: {message}"),
            generation,
        ),
    ]
}
