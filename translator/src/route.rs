//! HTTPRoute: where it attaches, what Envoy does with its requests, and what its status says.

pub(crate) mod action;
pub(crate) mod attach;
pub(crate) mod cors;
pub(crate) mod filters;
pub(crate) mod headers;
pub(crate) mod matches;
pub(crate) mod order;
mod re2;
mod redirect;
pub(crate) mod retry;
mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::Route;
use postern_api::gateway_api::{
    Condition, Gateway, HttpRoute, RouteParentStatus, RouteStatus, condition_type, reason,
};
use prost::Message;

use self::attach::{Attachment, gateway_name};
use self::order::RouteOrder;
use self::rule::ParsedRule;
use crate::Options;
use crate::backend::ClusterId;
use crate::dependency::Reader;
use crate::envoy::scope::{ScopeId, owned_by};
use crate::gateway::{GatewayModel, Listener, Protocol};
use crate::hostname::Hostname;
use crate::object::{Age, Kind, NamespacedName, ObjectKey};
use crate::policy::Target;
use crate::problem::Problems;
use crate::status::condition;

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
    /// The clusters that the routes name.
    pub(crate) clusters: Vec<ClusterId>,
    /// The listeners that count the route.
    pub(crate) listeners: Vec<String>,
}

/// What a route adds to each of its Gateways, sorted by Gateway.
pub(crate) type RouteShares = Vec<(NamespacedName, GatewayShare)>;

/// Everything that follows from a route.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteOutput {
    pub(crate) shares: RouteShares,
    pub(crate) status: RouteStatus,
    pub(crate) problems: Problems,
}

/// A [`GatewayShare`] while it is collected.
#[derive(Default)]
struct Collected {
    hosts: BTreeMap<(ScopeId, Hostname), BTreeMap<RouteOrder, Bytes>>,
    clusters: BTreeSet<ClusterId>,
    listeners: BTreeSet<String>,
}

impl Collected {
    fn finish(self) -> GatewayShare {
        let hosts = self.hosts.into_iter().map(|((scope, hostname), routes)| {
            let routes = routes.into_iter().map(|(order, encoded)| HostRoute { order, encoded }).collect();
            Arc::new(HostShare { scope, hostname, routes })
        });
        GatewayShare {
            hosts: hosts.collect(),
            clusters: self.clusters.into_iter().collect(),
            listeners: self.listeners.into_iter().collect(),
        }
    }
}

/// Translates an HTTPRoute. Only parents that are Gateways of ours appear in the output.
pub(crate) fn translate(reader: &Reader<'_>, route: &HttpRoute, options: &Options) -> RouteOutput {
    let key = ObjectKey::new(
        Kind::HttpRoute,
        route.metadata.namespace.clone().unwrap_or_default(),
        route.metadata.name.clone().unwrap_or_default(),
    );
    let parents: Vec<_> = route
        .spec
        .parent_refs
        .iter()
        .enumerate()
        .filter_map(|(index, parent)| {
            let gateway = reader.gateway(&gateway_name(parent, &key.namespace)?)?;
            Some((index, parent, gateway))
        })
        .collect();
    let mut out = RouteOutput::default();
    let mut collected: BTreeMap<NamespacedName, Collected> = BTreeMap::new();
    if route.spec.use_default_gateways.as_ref().is_some_and(|scope| scope.as_ref() != "None") {
        out.problems.error(
            &key,
            "spec.useDefaultGateways",
            "this version does not support default Gateways, so the route attaches to its parentRefs only",
            "name the Gateways in spec.parentRefs",
        );
    }
    missing_parents(reader, &key, route, &mut out.problems);
    if parents.is_empty() {
        return out;
    }
    let hostnames = hostnames(&key, route, &mut out.problems);
    let rules: Vec<ParsedRule> = route
        .spec
        .rules
        .iter()
        .enumerate()
        .map(|(index, spec)| rule::parse(reader, &key, index, spec, &mut out.problems))
        .collect();
    let age = Age::of(&route.metadata);
    let generation = route.metadata.generation;
    for (index, parent, gateway) in parents {
        let accepted = match attach::attach(reader, &key, &hostnames, parent, gateway) {
            Ok(attachments) => {
                let share = collected.entry(gateway.name.clone()).or_default();
                for attachment in &attachments {
                    share.listeners.insert(attachment.listener.name.clone());
                    serve(reader, &key, &age, &rules, gateway, attachment, share);
                }
                accepted(&rules, generation)
            }
            Err(refusal) => {
                let field = format!("spec.parentRefs[{index}]{}", refusal.field);
                out.problems.error(&key, field, &refusal.message, &refusal.remedy);
                vec![condition(condition_type::ACCEPTED, false, refusal.reason, refusal.message, generation)]
            }
        };
        let mut conditions = accepted;
        conditions.insert(1, resolved(&rules, generation));
        conditions.shrink_to_fit();
        out.status.parents.push(RouteParentStatus {
            parent_ref: parent.clone(),
            controller_name: options.controller_name.clone(),
            conditions,
        });
    }
    out.status.parents.shrink_to_fit();
    out.shares = collected.into_iter().map(|(gateway, share)| (gateway, share.finish())).collect();
    out
}

/// Warns of parents that do not exist. They may belong to another controller that knows more, so no status says so.
fn missing_parents(reader: &Reader<'_>, key: &ObjectKey, route: &HttpRoute, problems: &mut Problems) {
    for (index, parent) in route.spec.parent_refs.iter().enumerate() {
        let Some(name) = gateway_name(parent, &key.namespace) else { continue };
        if reader.gateway(&name).is_none() && reader.get::<Gateway>(&name.namespace, &name.name).is_none() {
            problems.warning(
                key,
                format!("spec.parentRefs[{index}].name"),
                format!("Gateway {name} does not exist, so nobody serves the route there"),
                "create the Gateway, or mend name and namespace",
            );
        }
    }
}

fn hostnames(key: &ObjectKey, route: &HttpRoute, problems: &mut Problems) -> Vec<Hostname> {
    let mut out = Vec::new();
    for (index, hostname) in route.spec.hostnames.iter().enumerate() {
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
    if route.spec.hostnames.is_empty() {
        out.push(Hostname::Any);
    }
    out
}

/// Adds the routes of all rules for one listener.
fn serve(
    reader: &Reader<'_>,
    key: &ObjectKey,
    age: &Age,
    rules: &[ParsedRule],
    gateway: &GatewayModel,
    attachment: &Attachment<'_>,
    share: &mut Collected,
) {
    let listener = attachment.listener;
    if !listener.serving {
        return;
    }
    // A host belongs to the most specific listener of the port; routes of the others do not reach it.
    let hosts: Vec<_> = attachment
        .hosts
        .iter()
        .filter(|(host, _)| {
            gateway.owner(listener.port, host).is_some_and(|owner| owner.name == listener.name)
        })
        .collect();
    if hosts.is_empty() {
        return;
    }
    let name = key.namespaced_name();
    let mut outer = reader.policies_on(&Target::new(Kind::HttpRoute, &name, None));
    outer.extend(reader.policies_on(&Target::new(Kind::Gateway, &gateway.name, Some(&listener.name))));
    outer.extend(reader.policies_on(&Target::new(Kind::Gateway, &gateway.name, None)));
    let place = action::Place { protocol: listener.protocol, port: listener.port };
    for (index, parsed) in rules.iter().enumerate() {
        let mut policies: Vec<_> = parsed.inline_policies().collect();
        if let Some(rule_name) = &parsed.name {
            policies.extend(reader.policies_on(&Target::new(Kind::HttpRoute, &name, Some(rule_name))));
        }
        policies.extend(outer.iter().copied());
        let rule = parsed.with_policies(policies);
        share.clusters.extend(rule.clusters());
        for (match_index, matching) in &parsed.matches {
            let envoy_name = parsed.envoy_name(&name, index, *match_index);
            let routes = action::routes(&rule.rule, matching, place, &envoy_name);
            for (host, own) in &hosts {
                let routes = routes.iter().flat_map(|route| redirect::on_host(route, host, place));
                for (part, route) in routes.enumerate() {
                    let order = RouteOrder {
                        hostname: own.clone(),
                        rank: matching.rank.clone(),
                        age: age.clone(),
                        rule: index,
                        matching: *match_index,
                        part,
                    };
                    let at = (ScopeId::of(listener.port, host), host.clone());
                    share.hosts.entry(at).or_default().insert(order, encode(route, listener));
                }
            }
        }
    }
}

/// Encodes a route. Where connections belong to listeners, it asks for the mark of its own (see `envoy::scope`).
fn encode(mut route: Route, listener: &Listener) -> Bytes {
    if let (Protocol::Https, Some(matching)) = (listener.protocol, &mut route.r#match) {
        matching.filter_state.push(owned_by(&listener.owner_id()));
    }
    Bytes::from(route.encode_to_vec())
}

/// `Accepted`, and `PartiallyInvalid` where some rules are refused.
fn accepted(rules: &[ParsedRule], generation: Option<i64>) -> Vec<Condition> {
    let refused: Vec<&(&'static str, String)> =
        rules.iter().filter_map(|rule| rule.refused.as_ref()).collect();
    let Some((refused_reason, message)) = refused.first() else {
        let message = "the route is accepted";
        return vec![condition(condition_type::ACCEPTED, true, reason::ACCEPTED, message, generation)];
    };
    if refused.len() == rules.len() {
        return vec![condition(condition_type::ACCEPTED, false, refused_reason, message, generation)];
    }
    vec![
        condition(
            condition_type::ACCEPTED,
            true,
            reason::ACCEPTED,
            format!("{} of {} rules are served", rules.len() - refused.len(), rules.len()),
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

fn resolved(rules: &[ParsedRule], generation: Option<i64>) -> Condition {
    match rules.iter().find_map(|rule| rule.unresolved.as_ref()) {
        Some((reason, message)) => {
            condition(condition_type::RESOLVED_REFS, false, reason, message, generation)
        }
        None => condition(
            condition_type::RESOLVED_REFS,
            true,
            reason::RESOLVED_REFS,
            "all references resolve",
            generation,
        ),
    }
}
