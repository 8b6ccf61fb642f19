//! HTTPRoute and GRPCRoute: rules about requests, and the Envoy routes that they become at a listener.

use std::iter;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::Route;
use postern_api::gateway_api::{GrpcRoute, HttpRoute, HttpRouteMatch};
use prost::Message;

use super::attach::Attachment;
use super::order::RouteOrder;
use super::rule::{self, ParsedRule, RuleSpec};
use super::{Collected, Rules, Verdict, action, grpc, matches, redirect};
use crate::dependency::{Parent, Reader};
use crate::envoy::scope::{ScopeId, owned_by};
use crate::gateway::{Listener, Protocol};
use crate::object::{Age, ObjectKey};
use crate::policy::merge::Level;
use crate::policy::{Target, listener_targets};
use crate::problem::Problems;

/// The rules of an HTTPRoute or a GRPCRoute.
pub(super) struct HttpRules {
    key: ObjectKey,
    age: Age,
    rules: Vec<ParsedRule>,
}

impl HttpRules {
    pub(super) fn of_http_route(
        reader: &Reader<'_>,
        key: &ObjectKey,
        route: &HttpRoute,
        problems: &mut Problems,
    ) -> Self {
        let everything = [HttpRouteMatch::default()];
        let parse = |(index, spec): (usize, &postern_api::gateway_api::HttpRouteRule)| {
            let specs = if spec.matches.is_empty() { &everything[..] } else { &spec.matches };
            let spec = RuleSpec {
                name: spec.name.as_deref(),
                matches: specs.iter().map(matches::translate).collect(),
                filters: &spec.filters,
                backend_refs: &spec.backend_refs,
                timeouts: spec.timeouts.as_ref(),
                retry: spec.retry.as_ref(),
                session_persistence: spec.session_persistence.as_ref(),
            };
            rule::parse(reader, key, index, spec, problems)
        };
        let rules = route.spec.rules.iter().enumerate().map(parse).collect();
        Self { key: key.clone(), age: Age::of(&route.metadata), rules }
    }

    pub(super) fn of_grpc_route(
        reader: &Reader<'_>,
        key: &ObjectKey,
        route: &GrpcRoute,
        problems: &mut Problems,
    ) -> Self {
        let parse = |(index, spec): (usize, &postern_api::gateway_api::GrpcRouteRule)| {
            let spec = RuleSpec {
                name: spec.name.as_deref(),
                matches: grpc::matches(&spec.matches),
                filters: &spec.filters,
                backend_refs: &spec.backend_refs,
                timeouts: None,
                retry: None,
                session_persistence: spec.session_persistence.as_ref(),
            };
            rule::parse(reader, key, index, spec, problems)
        };
        let rules = route.spec.rules.iter().enumerate().map(parse).collect();
        Self { key: key.clone(), age: Age::of(&route.metadata), rules }
    }
}

impl Rules for HttpRules {
    fn verdicts(&self) -> Vec<Verdict<'_>> {
        self.rules
            .iter()
            .map(|rule| Verdict { refused: rule.refused.as_ref(), unresolved: rule.unresolved.as_ref() })
            .collect()
    }

    fn serve(
        &self,
        reader: &Reader<'_>,
        parent: &Parent<'_, '_>,
        attachment: &Attachment<'_>,
        share: &mut Collected,
    ) {
        let listener = attachment.listener;
        // A host belongs to the most specific listener of the port; routes of the others do not reach it.
        let owned = |host| parent.owner(listener.port, host).is_some_and(|owner| owner.id == listener.id);
        let hosts: Vec<_> = attachment.hosts.iter().filter(|(host, _)| owned(host)).collect();
        if hosts.is_empty() {
            return;
        }
        let (kind, name) = (self.key.kind, self.key.namespaced_name());
        let level = |target: &Target| Level {
            policies: reader.policies_on(target),
            priority: reader.policy_priority(&target.key()),
        };
        let outer: Vec<Level<'_>> = iter::once(Target::new(kind, &name, None))
            .chain(listener_targets(parent.gateway(), &listener.id))
            .map(|target| level(&target))
            .collect();
        let place = action::Place { protocol: listener.protocol, port: listener.port };
        for (index, parsed) in self.rules.iter().enumerate() {
            let inline = Level { policies: parsed.inline_policies().collect(), priority: None };
            let of_rule =
                parsed.name.as_deref().map(|rule| reader.policies_on(&Target::new(kind, &name, Some(rule))));
            let of_rule = Level { policies: of_rule.unwrap_or_default(), priority: None };
            let levels = [inline, of_rule].into_iter().chain(outer.iter().cloned());
            let rule = parsed.with_policies(reader, &self.key, levels, parent, listener);
            share.clusters.extend(rule.clusters());
            for (match_index, matching) in &parsed.matches {
                let envoy_name = parsed.envoy_name(&self.key, index, *match_index);
                let routes = action::routes(&rule.rule, matching, place, &envoy_name);
                for (host, own) in &hosts {
                    let routes = routes.iter().flat_map(|route| redirect::on_host(route, host, place));
                    for (part, route) in routes.enumerate() {
                        let order = RouteOrder {
                            hostname: own.clone(),
                            rank: matching.rank.clone(),
                            age: self.age.clone(),
                            kind,
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
}

/// Encodes a route. Where connections belong to listeners, it asks for the mark of its own (see `envoy::scope`).
fn encode(mut route: Route, listener: &Listener) -> Bytes {
    if let (Protocol::Https, Some(matching)) = (listener.protocol, &mut route.r#match) {
        matching.filter_state.push(owned_by(&listener.owner_id()));
    }
    Bytes::from(route.encode_to_vec())
}
