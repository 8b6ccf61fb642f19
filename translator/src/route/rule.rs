//! One rule of an HTTPRoute or a GRPCRoute: parsed once, then completed with the policies of each listener.

pub(super) mod inherit;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postern_api::duration;
use postern_api::gateway_api::{
    HttpBackendRef, HttpRouteFilter, HttpRouteRetry, HttpRouteTimeouts, SessionPersistence, reason,
};

use super::action::{Rule, Share};
use super::delegation::{self, Selection};
use super::filters::{self, Filters};
use super::matches::Match;
use super::retry::Retry;
use crate::backend::{self, BackendObject, ClusterId, config, resolve};
use crate::dependency::{Parent, Reader};
use crate::envoy::cluster::forward_proxy;
use crate::envoy::slot;
use crate::gateway::Listener;
use crate::gateway_extension::Extensions;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::Policy;
use crate::policy::merge::{Level, merge};
use crate::policy::setting::Setting;
use crate::problem::{Fault, Problems};
use crate::session::{self, Session};

/// A rule as the API gives it, whatever the kind of the route.
pub(super) struct RuleSpec<'a> {
    pub(super) name: Option<&'a str>,
    /// With their index; what comes of a rule without any is nothing.
    pub(super) matches: Vec<(usize, Result<Match, Fault>)>,
    pub(super) filters: &'a [HttpRouteFilter],
    pub(super) backend_refs: &'a [HttpBackendRef],
    pub(super) timeouts: Option<&'a HttpRouteTimeouts>,
    pub(super) retry: Option<&'a HttpRouteRetry>,
    pub(super) session_persistence: Option<&'a SessionPersistence>,
}

/// A rule without its policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParsedRule {
    pub(crate) name: Option<String>,
    /// The matches that can be read, with their index.
    pub(crate) matches: Vec<(usize, Match)>,
    /// The rule delegates, and this is what it keeps: asked after the children, whose least weight this is at most.
    pub(crate) leftover: Option<i32>,
    rule: Rule,
    /// Reason and message if the rule cannot be carried out: everything it matches answers 500.
    pub(crate) refused: Option<(&'static str, String)>,
    /// Reason and message of the first reference that does not resolve.
    pub(crate) unresolved: Option<(&'static str, String)>,
}

/// A rule with its policies.
pub(crate) struct CompleteRule {
    pub(crate) rule: Rule,
}

/// The limit of the API (`BackendRef.weight`).
pub(crate) const MAX_WEIGHT: u32 = 1_000_000;
const DURATION_REMEDY: &str = "use a Gateway API duration such as 500ms, 10s or 1m30s (GEP-2257)";

/// Reads one rule; what is wrong goes to `problems` and into the rule itself.
pub(super) fn parse(
    reader: &Reader<'_>,
    route: &ObjectKey,
    index: usize,
    spec: RuleSpec<'_>,
    problems: &mut Problems,
) -> ParsedRule {
    let at = format!("spec.rules[{index}]");
    let name = spec.name.filter(|name| !name.is_empty()).map(ToOwned::to_owned);
    let mut out = ParsedRule { name, ..ParsedRule::default() };
    out.rule.without_backend = without_backend(route.kind);
    let mut refuse = |out: &mut ParsedRule, reason: &'static str, fault: Fault| {
        let fault = fault.within(&at);
        out.refused.get_or_insert((reason, format!("{}: {}", fault.field, fault.message)));
        problems.error(route, fault.field, fault.message, fault.remedy);
    };

    for (match_index, matching) in spec.matches {
        match matching {
            Ok(matching) => out.matches.push((match_index, matching)),
            // A match that cannot be read matches nothing: guessing what was meant could close other routes.
            Err(fault) => {
                refuse(
                    &mut out,
                    reason::UNSUPPORTED_VALUE,
                    fault.within(&format!(".matches[{match_index}]")),
                );
            }
        }
    }
    let readable_matches_only_refused = out.refused.take();
    let prefix_only = out.matches.iter().all(|(_, m)| m.path_prefix.is_some());

    let mut unheeded_fault = None;
    let mut unresolved = Vec::new();
    match filters::parse(reader, route, spec.filters, prefix_only) {
        Ok(mut filters) => {
            unresolved.append(&mut filters.unresolved);
            if filters.redirect.is_some() && !spec.backend_refs.is_empty() {
                let fault = Fault::new(
                    ".backendRefs",
                    "a rule that redirects has no use for backends",
                    "remove backendRefs, or the RequestRedirect filter",
                );
                refuse(&mut out, reason::INCOMPATIBLE_FILTERS, fault);
            }
            if filters.answer.is_some() && spec.backend_refs.iter().any(|it| delegates(route, it)) {
                let fault = Fault::new(
                    ".backendRefs",
                    "a rule that answers itself has nothing to delegate",
                    "remove the backendRefs that delegate, or the filter with the DirectResponse",
                );
                refuse(&mut out, reason::INCOMPATIBLE_FILTERS, fault);
            }
            out.rule.cors.clone_from(&filters.cors);
            out.rule.filters = filters;
        }
        Err(error) => refuse(&mut out, error.reason, error.fault),
    }
    for (ref_index, reference) in spec.backend_refs.iter().enumerate() {
        let field = format!(".backendRefs[{ref_index}]");
        if delegates(route, reference) {
            if let Some(fault) = delegation::fault(reference) {
                refuse(&mut out, reason::UNSUPPORTED_VALUE, fault.within(&field));
            }
            continue;
        }
        let cluster = match resolve::backend(reader, route, reference) {
            Ok(cluster) => Some(cluster),
            Err(fault) => {
                unresolved.push((format!("{field}{}", fault.field), fault));
                None
            }
        };
        if reference.weight() > MAX_WEIGHT {
            let fault = Fault::new(
                format!("{field}.weight"),
                format!("{} is too much", reference.weight()),
                format!("use 0 to {MAX_WEIGHT}"),
            );
            refuse(&mut out, reason::UNSUPPORTED_VALUE, fault);
            continue;
        }
        match filters::parse(reader, route, &reference.filters, prefix_only) {
            Ok(filters) if !filters.policies.is_empty() => {
                let fault = Fault::new(
                    format!("{field}.filters"),
                    "a TrafficPolicy cannot be the filter of a backendRef",
                    "use it as a filter of the rule, or target the route",
                );
                refuse(&mut out, reason::UNSUPPORTED_VALUE, fault);
            }
            Ok(filters) if filters.external_auth.is_some() || filters.closed => {
                let fault = Fault::new(
                    format!("{field}.filters"),
                    "a request is authorized before its backend is chosen",
                    "use the ExternalAuth filter in the rule",
                );
                refuse(&mut out, reason::UNSUPPORTED_VALUE, fault);
            }
            Ok(mut filters) => {
                unresolved.append(&mut filters.unresolved);
                let weight = reference.weight();
                let session = cluster.as_ref().and_then(|id| backend::session(reader, &id.backend));
                let hashed = cluster.as_ref().map(|id| config::hashed(reader, &id.backend.key()));
                let hashed = hashed.unwrap_or_default();
                let host = cluster.as_ref().map(|id| backend::host_name(reader, &id.backend));
                let share = Share { weight, cluster, filters: Arc::new(filters), session, hashed, host };
                if weight > 0 {
                    out.rule.shares.push(share);
                } else if spec.session_persistence.is_some() && share.cluster.is_some() {
                    out.rule.retired.push(share);
                }
            }
            Err(error) => refuse(&mut out, error.reason, error.fault.within(&field)),
        }
    }
    if out.rule.shares.iter().any(is_forward_proxy) {
        out.rule.slots.insert(slot::DYNAMIC_FORWARD_PROXY, forward_proxy::filter());
        for fault in against_forward_proxy(&out.rule, spec.session_persistence) {
            refuse(&mut out, reason::UNSUPPORTED_VALUE, fault);
        }
    }
    if let Err(fault) = timeouts(spec.timeouts, &mut out.rule) {
        refuse(&mut out, reason::UNSUPPORTED_VALUE, fault);
    }
    if let Some(retry) = spec.retry {
        match Retry::from_rule(retry) {
            Ok(retry) => out.rule.retry = Some(retry),
            Err(fault) => refuse(&mut out, reason::UNSUPPORTED_VALUE, fault.within(".retry")),
        }
    }
    if let Some(session) = spec.session_persistence {
        let owner = out.envoy_name(route, index, 0);
        match session::parse(session, &owner) {
            Ok((Session::Header(_), _)) if out.rule.shares.len() + out.rule.retired.len() > 1 => {
                let fault = Fault::new(
                    ".sessionPersistence.type",
                    "a header cannot keep a session with one of several backends",
                    "use type Cookie, or one backend; until then the rule answers 500",
                );
                refuse(&mut out, reason::UNSUPPORTED_VALUE, fault);
            }
            Ok((session, unheeded)) => {
                out.rule.session = Some(session);
                unheeded_fault = unheeded;
            }
            Err(fault) => {
                refuse(&mut out, reason::UNSUPPORTED_VALUE, fault.within(".sessionPersistence"));
            }
        }
    }
    out.rule.refused = out.refused.is_some() || out.rule.filters.closed;
    out.refused = out.refused.or(readable_matches_only_refused);

    if let Some(fault) = unheeded_fault.map(|fault| fault.within(&format!("{at}.sessionPersistence"))) {
        problems.warning(route, fault.field, fault.message, fault.remedy);
    }
    for (field, fault) in unresolved {
        let field = format!("{at}{field}");
        out.unresolved.get_or_insert((fault.reason, fault.message.clone()));
        problems.error(route, field, fault.message, fault.remedy);
    }
    out
}

fn is_forward_proxy(share: &Share) -> bool {
    share.cluster.as_ref().is_some_and(|id| id.backend == BackendObject::ForwardProxy)
}

/// What a rule cannot ask for where requests go to the hosts that they name: Envoy looks up the host of the request as it came.
fn against_forward_proxy(rule: &Rule, session: Option<&SessionPersistence>) -> Vec<Fault> {
    let rewrites = |filters: &Filters| {
        filters.host_rewrite.is_some()
            || filters.request_headers.as_ref().is_some_and(|headers| headers.host.is_some())
    };
    let rewritten = rewrites(&rule.filters)
        || rule.shares.iter().any(|share| is_forward_proxy(share) && rewrites(&share.filters));
    let host = rewritten.then(|| {
        Fault::new(
            ".filters",
            "the host is rewritten, but a Backend of type DynamicForwardProxy leads to the host that the request names",
            "leave the host as it is, or refer to a Backend of type Static with the other host",
        )
    });
    let session = session.map(|_| {
        Fault::new(
            ".sessionPersistence",
            "there are no sessions with hosts that requests name",
            "remove it, or refer to a Service or to a Backend of type Static",
        )
    });
    host.into_iter().chain(session).collect()
}

/// True if a backendRef leads to other routes.
fn delegates(route: &ObjectKey, reference: &HttpBackendRef) -> bool {
    route.kind == Kind::HttpRoute && Selection::of(reference, &route.namespace).is_some()
}

/// What answers where there is no valid backend: 500, and for gRPC what its clients read as `UNAVAILABLE`
/// (`GRPCRouteRule.backendRefs`).
const fn without_backend(kind: Kind) -> u16 {
    match kind {
        Kind::GrpcRoute => 503,
        _ => 500,
    }
}

fn timeouts(timeouts: Option<&HttpRouteTimeouts>, rule: &mut Rule) -> Result<(), Fault> {
    let Some(timeouts) = timeouts else { return Ok(()) };
    let parse = |text: Option<&String>, field: &str| -> Result<Option<Duration>, Fault> {
        text.map(|t| duration::parse(t))
            .transpose()
            .map_err(|e| Fault::new(field, e.to_string(), DURATION_REMEDY))
    };
    rule.request_timeout = parse(timeouts.request.as_ref(), ".timeouts.request")?;
    rule.backend_timeout = parse(timeouts.backend_request.as_ref(), ".timeouts.backendRequest")?;
    if let (Some(total), Some(one)) = (rule.request_timeout, rule.backend_timeout)
        && !total.is_zero()
        && one > total
    {
        return Err(Fault::new(
            ".timeouts.backendRequest",
            "it is longer than timeouts.request",
            "make backendRequest at most as long as request",
        ));
    }
    Ok(())
}

impl ParsedRule {
    /// The policies named by ExtensionRef filters.
    pub(crate) fn inline_policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.rule.filters.policies.iter()
    }

    /// True if everything that the rule matches answers 500.
    pub(super) fn is_closed(&self) -> bool {
        self.rule.refused
    }

    /// Notes why a part of the rule cannot be carried out.
    pub(super) fn note_refused(&mut self, reason: &'static str, message: String) {
        self.refused.get_or_insert((reason, message));
    }

    /// Keeps some of its matches, to be asked after those of the children of the rule.
    pub(super) fn keep(&mut self, weight: i32, kept: impl Fn(usize) -> bool) {
        self.matches.retain(|(index, _)| kept(*index));
        self.leftover = Some(weight);
    }

    /// Gives redirects another status.
    pub(super) fn redirect_with(&mut self, status: u16) {
        if let Some(redirect) = &mut self.rule.filters.redirect {
            redirect.status = status;
        }
        for share in self.rule.shares.iter_mut().filter(|share| share.filters.redirect.is_some()) {
            if let Some(redirect) = &mut Arc::make_mut(&mut share.filters).redirect {
                redirect.status = status;
            }
        }
    }

    /// The name of the Envoy routes of one match: it appears in access logs and names the rule.
    pub(crate) fn envoy_name(&self, route: &ObjectKey, rule: usize, matching: usize) -> String {
        let kind = route.kind.as_str().to_ascii_lowercase();
        let rule = self.name.clone().unwrap_or_else(|| rule.to_string());
        format!("{kind}/{}/{rule}/{matching}", route.namespaced_name())
    }

    /// Completes the rule with policies, the most specific level first, for requests that come in at `parent`. What the rule says itself
    /// wins over all of them; what an HTTPListenerPolicy says of the hosts of the listener comes last.
    pub(crate) fn with_policies<'a>(
        &self,
        reader: &Reader<'_>,
        route: &ObjectKey,
        levels: impl IntoIterator<Item = Level<'a>>,
        parent: &Parent<'_, '_>,
        listener: &Listener,
    ) -> CompleteRule {
        let effective = merge(levels);
        let mut rule = self.rule.clone();
        let fields = effective.fields;
        // Why is in the status of the policy.
        let extensions = Extensions::resolve(reader, &fields, route);
        rule.refused |= extensions.is_err();
        rule.extensions = extensions.unwrap_or_default();
        if parent.client_certificate().is_some() {
            show_certificate(parent.gateway(), &mut rule);
        }
        rule.slots.extend(fields.slots());
        rule.body_limit = fields.body_limit();
        rule.request_timeout = rule.request_timeout.or(fields.request_timeout);
        rule.idle_timeout = rule.idle_timeout.or(fields.idle_timeout).or(listener.policy.stream_idle_timeout);
        rule.retry = rule.retry.or(fields.retry);
        rule.auto_host = fields.auto_host.unwrap_or_default();
        if rule.cors.is_none() {
            rule.cors = fields.cors.as_ref().and_then(Setting::enabled).cloned();
        }
        // Policies first, so that the filter of the rule has the last word on a header that both set.
        let combine = |policy: Option<_>, own: Option<super::headers::HeaderModifier>| match (policy, own) {
            (Some(policy), Some(own)) => Some(super::headers::HeaderModifier::then(policy, &own)),
            (policy, own) => policy.or(own),
        };
        rule.filters.request_headers = combine(fields.request_headers, rule.filters.request_headers.take());
        rule.filters.response_headers =
            combine(fields.response_headers, rule.filters.response_headers.take());
        rule.refused |= effective.blocked.is_some();
        CompleteRule { rule }
    }
}

/// Names the clusters that `gateway` shows its certificate to.
fn show_certificate(gateway: &NamespacedName, rule: &mut Rule) {
    let show = |cluster: &mut ClusterId| *cluster = cluster.shown_by(gateway);
    let all = |filters: &mut Filters| {
        let auth = filters.external_auth.iter_mut().map(|auth| &mut auth.cluster);
        filters.mirrors.iter_mut().map(|mirror| &mut mirror.cluster).chain(auth).for_each(show);
    };
    all(&mut rule.filters);
    rule.extensions.clusters_mut().for_each(show);
    for share in rule.shares.iter_mut().chain(&mut rule.retired) {
        share.cluster.iter_mut().for_each(show);
        if !share.filters.mirrors.is_empty() {
            all(Arc::make_mut(&mut share.filters));
        }
    }
}

impl CompleteRule {
    /// Every cluster that the rule can send requests to.
    pub(crate) fn clusters(&self) -> BTreeSet<ClusterId> {
        if self.rule.refused {
            return BTreeSet::new();
        }
        let places = self.rule.shares.iter().map(|share| share.filters.as_ref()).chain([&self.rule.filters]);
        let mirrors = places.flat_map(|f: &Filters| f.mirrors.iter().map(|m| m.cluster.clone()));
        let shares = self.rule.shares.iter().chain(&self.rule.retired);
        let shares = shares.filter_map(|share| share.cluster.clone());
        let auth = self.rule.filters.external_auth.iter().map(|auth| auth.cluster.clone());
        shares.chain(mirrors).chain(auth).chain(self.rule.extensions.clusters()).collect()
    }
}
