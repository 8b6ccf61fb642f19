//! HTTPRoute and GRPCRoute: rules about requests, and the Envoy routes that they become at a listener.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::iter;
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::Route;
use postern_api::gateway_api::{GrpcRoute, HttpRoute, HttpRouteMatch, HttpRouteRule};
use prost::Message;

use super::annotations::{self, RedirectStatuses};
use super::attach::Attachment;
use super::delegation::matching::Mismatch;
use super::delegation::{Given, Giver, Handed, Hands, Link, Root, hands, matching};
use super::matches::Match;
use super::order::RouteOrder;
use super::rule::inherit::Outer;
use super::rule::{self, ParsedRule, RuleSpec};
use super::{Collected, Rules, Verdict, action, grpc, matches, redirect};
use crate::dependency::{Parent, Reader};
use crate::envoy::scope::{ScopeId, owned_by};
use crate::gateway::{Listener, Protocol};
use crate::object::{Age, ObjectKey};
use crate::policy::merge::Level;
use crate::policy::{Target, listener_targets};
use crate::problem::{Fault, Problems};

/// The rules of an HTTPRoute or a GRPCRoute.
pub(super) struct HttpRules {
    key: ObjectKey,
    age: Age,
    weight: i32,
    /// With their index: where the route is reached by delegation, only those that take something.
    rules: Vec<(usize, ParsedRule)>,
    /// What they delegate.
    given: Vec<Given>,
    /// The rules that delegate to this route, the nearest first.
    above: Vec<(Arc<Link>, ParsedRule)>,
    /// See [`RouteOrder::way`].
    way: u32,
}

/// What a child makes of what was handed to it.
pub(super) struct Origin {
    pub(super) rules: HttpRules,
    /// The matches that take something, by rule and index.
    pub(super) taken: Vec<(usize, usize)>,
    /// Those that do not, and why.
    pub(super) dropped: Vec<((usize, usize), Mismatch)>,
}

/// The matches of a rule with their index; none stands for all requests.
fn matches_of(rule: &HttpRouteRule) -> Vec<(usize, HttpRouteMatch)> {
    if rule.matches.is_empty() {
        return vec![(0, HttpRouteMatch::default())];
    }
    rule.matches.iter().cloned().enumerate().collect()
}

fn spec(rule: &HttpRouteRule, matches: Vec<(usize, Result<Match, Fault>)>) -> RuleSpec<'_> {
    RuleSpec {
        name: rule.name.as_deref(),
        matches,
        filters: &rule.filters,
        backend_refs: &rule.backend_refs,
        timeouts: rule.timeouts.as_ref(),
        retry: rule.retry.as_ref(),
        session_persistence: rule.session_persistence.as_ref(),
    }
}

fn translated((index, matching): &(usize, HttpRouteMatch)) -> (usize, Result<Match, Fault>) {
    (*index, matches::translate(matching))
}

impl HttpRules {
    pub(super) fn of_http_route(
        reader: &Reader<'_>,
        key: &ObjectKey,
        route: &HttpRoute,
        problems: &mut Problems,
    ) -> Self {
        let mut out = Self::new(key, route, problems);
        for (index, rule) in route.spec.rules.iter().enumerate() {
            let matches = matches_of(rule);
            let spec = spec(rule, matches.iter().map(translated).collect());
            let parsed = rule::parse(reader, key, index, spec, problems);
            out.add(reader, route, index, &matches, parsed, problems);
        }
        out
    }

    /// The rules of a route as they serve what another one delegates to it, on its `way`.
    pub(super) fn of_child(
        reader: &Reader<'_>,
        key: &ObjectKey,
        route: &HttpRoute,
        handed: &Handed,
        way: u32,
        problems: &mut Problems,
    ) -> Origin {
        let mut out = Self::new(key, route, problems);
        out.way = way;
        // What is wrong with them is told where they stand.
        let mut told = Problems::default();
        out.above = handed
            .links
            .iter()
            .map(|link| {
                let spec = spec(&link.spec, Vec::new());
                (Arc::clone(link), rule::parse(reader, &link.route, link.rule, spec, &mut told))
            })
            .collect();
        let inherits = matching::inherits(&route.metadata).unwrap_or_default();
        let outer = &handed.nearest().matching;
        let (mut taken, mut dropped) = (Vec::new(), Vec::new());
        for (index, rule) in route.spec.rules.iter().enumerate() {
            let mut fitting = Vec::new();
            for (match_index, own) in matches_of(rule) {
                match matching::within(outer, &own, inherits).map(Cow::into_owned) {
                    Ok(matching) => fitting.push((match_index, matching)),
                    Err(why) => dropped.push(((index, match_index), why)),
                }
            }
            if fitting.is_empty() {
                continue;
            }
            taken.extend(fitting.iter().map(|(match_index, _)| (index, *match_index)));
            let bounded = |it: &(usize, HttpRouteMatch)| {
                let (index, mut translated) = translated(it);
                if let (Ok(translated), false) = (&mut translated, inherits) {
                    translated.envoy.headers.extend(matching::bound(outer, &it.1));
                }
                (index, translated)
            };
            let spec = spec(rule, fitting.iter().map(bounded).collect());
            let mut parsed = rule::parse(reader, key, index, spec, problems);
            let mut nearer = vec![&key.namespace];
            for (link, above) in &out.above {
                parsed.inherit(&Outer {
                    rule: above,
                    prefix: matching::prefix(&link.matching).unwrap_or_default(),
                    priority: reader.policy_priority(&link.route),
                    foreign: nearer.iter().any(|namespace| **namespace != link.route.namespace),
                });
                nearer.push(&link.route.namespace);
            }
            out.add(reader, route, index, &fitting, parsed, problems);
        }
        Origin { rules: out, taken, dropped }
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
                matches: grpc::matches(&spec.matches).into_iter().enumerate().collect(),
                filters: &spec.filters,
                backend_refs: &spec.backend_refs,
                timeouts: None,
                retry: None,
                session_persistence: spec.session_persistence.as_ref(),
            };
            (index, rule::parse(reader, key, index, spec, problems))
        };
        let rules = route.spec.rules.iter().enumerate().map(parse).collect();
        Self { rules, ..Self::empty(key, Age::of(&route.metadata)) }
    }

    fn empty(key: &ObjectKey, age: Age) -> Self {
        let (rules, given, above) = Default::default();
        Self { key: key.clone(), age, weight: 0, rules, given, above, way: 0 }
    }

    fn new(key: &ObjectKey, route: &HttpRoute, problems: &mut Problems) -> Self {
        let weight = annotations::weight_or_warn(key, &route.metadata, problems);
        Self { weight, ..Self::empty(key, Age::of(&route.metadata)) }
    }

    /// Adds a rule that is read, and finds out to whom it delegates.
    fn add(
        &mut self,
        reader: &Reader<'_>,
        route: &HttpRoute,
        index: usize,
        matches: &[(usize, HttpRouteMatch)],
        mut parsed: ParsedRule,
        problems: &mut Problems,
    ) {
        let names: Vec<&str> = route.spec.rules.iter().filter_map(|rule| rule.name.as_deref()).collect();
        let statuses = RedirectStatuses::read(&self.key, &route.metadata, &names, problems);
        if let Some(status) = statuses.of(parsed.name.as_deref()) {
            parsed.redirect_with(status);
        }
        let links: Vec<Arc<Link>> = self.above.iter().map(|(link, _)| Arc::clone(link)).collect();
        let giver = Giver { key: &self.key, links: &links, weight: self.weight };
        let children = giver.give(reader, index, &route.spec.rules[index], matches, &mut parsed, problems);
        self.given.extend(children);
        self.rules.push((index, parsed));
    }

    /// The rules with their index.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, &ParsedRule)> {
        self.rules.iter().map(|(index, rule)| (*index, rule))
    }

    /// What the rules delegate.
    pub(super) fn given(&self) -> &[Given] {
        &self.given
    }
}

impl Rules for HttpRules {
    fn verdicts(&self) -> Vec<Verdict<'_>> {
        self.each()
            .map(|(_, rule)| Verdict {
                refused: rule.refused.as_ref(),
                is_served: false,
                unresolved: rule.unresolved.as_ref(),
            })
            .collect()
    }

    fn hands(&self, root: Root) -> Hands {
        let mut out = Hands::new();
        if !self.given.is_empty() {
            hands(&self.given, &Arc::new(root), &[], &mut out);
        }
        out
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
            parts: Vec::new(),
        };
        let above: Vec<Level<'_>> = self
            .above
            .iter()
            .map(|(link, rule)| Level {
                parts: of_rule(reader, &link.route, rule).into(),
                ..level(&Target::new(link.route.kind, &link.route.namespaced_name(), None))
            })
            .collect();
        let outer: Vec<Level<'_>> = iter::once(level(&Target::new(kind, &name, None)))
            .chain(above)
            .chain(listener_targets(parent.gateway(), &listener.id).iter().map(level))
            .collect();
        let place = action::Place { protocol: listener.protocol, port: listener.port };
        for (index, parsed) in &self.rules {
            if parsed.matches.is_empty() {
                continue;
            }
            let levels = of_rule(reader, &self.key, parsed).into_iter().chain(outer.iter().cloned());
            let rule = parsed.with_policies(reader, &self.key, levels, parent, listener);
            share.clusters.extend(rule.clusters());
            for (match_index, matching) in &parsed.matches {
                let envoy_name = parsed.envoy_name(&self.key, *index, *match_index);
                let routes = action::routes(&rule.rule, matching, place, &envoy_name);
                for (host, own) in &hosts {
                    let routes = routes.iter().flat_map(|route| redirect::on_host(route, host, place));
                    for (part, route) in routes.enumerate() {
                        let order = RouteOrder {
                            weight: Reverse(parsed.leftover.unwrap_or(self.weight)),
                            hostname: own.clone(),
                            rank: matching.rank.clone(),
                            leftover: parsed.leftover.is_some(),
                            age: self.age.clone(),
                            kind,
                            rule: *index,
                            matching: *match_index,
                            way: self.way,
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

/// The policies on a rule of `route`: those it names itself, and those that name it.
fn of_rule<'a>(reader: &Reader<'a>, route: &ObjectKey, rule: &'a ParsedRule) -> [Level<'a>; 2] {
    let target = |rule: &str| Target::new(route.kind, &route.namespaced_name(), Some(rule));
    let policies = rule.name.as_deref().map(|rule| reader.policies_on(&target(rule)));
    let inline = Level { policies: rule.inline_policies().collect(), ..Level::default() };
    [inline, Level { policies: policies.unwrap_or_default(), ..Level::default() }]
}

/// Encodes a route. Where connections belong to listeners, it asks for the mark of its own (see `envoy::scope`).
fn encode(mut route: Route, listener: &Listener) -> Bytes {
    if let (Protocol::Https, Some(matching)) = (listener.protocol, &mut route.r#match) {
        matching.filter_state.push(owned_by(&listener.owner_id()));
    }
    Bytes::from(route.encode_to_vec())
}
