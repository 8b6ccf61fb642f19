//! What a rule has from those that delegate to it.

use postern_api::gateway_api::reason;

use super::ParsedRule;
use crate::policy::merge::Priority;
use crate::route::filters::{Filters, PathChange};
use crate::route::headers::HeaderModifier;
use crate::session::Session;

/// A rule that delegates, as its children see it.
pub(in crate::route) struct Outer<'a> {
    pub(in crate::route) rule: &'a ParsedRule,
    /// The prefix that it delegates, without a trailing slash.
    pub(in crate::route) prefix: &'a str,
    /// What the annotation of its route says.
    pub(in crate::route) priority: Option<Priority>,
    /// It is in another namespace than the child.
    pub(in crate::route) foreign: bool,
}

/// Takes what the outer rule says where this one says nothing, or where the outer one is preferred.
fn take<T: Clone>(own: &mut Option<T>, outer: Option<&T>, prefer: bool) {
    if own.is_none() || (prefer && outer.is_some()) {
        *own = outer.cloned();
    }
}

impl ParsedRule {
    /// Takes over what a rule that delegates to this one says of requests: filters, timeouts, retries, sessions. Each of them comes from
    /// one of the two; only headers can be changed by both, where the annotation of the outer route asks for a deep merge.
    pub(in crate::route) fn inherit(&mut self, outer: &Outer<'_>) {
        let prefer = outer.priority.is_some_and(Priority::prefers_parent);
        let deep = outer.priority.is_some_and(Priority::is_deep);
        let said = &outer.rule.rule;
        let rule = &mut self.rule;
        if rule.request_timeout.is_none() && rule.backend_timeout.is_none()
            || prefer && (said.request_timeout.is_some() || said.backend_timeout.is_some())
        {
            (rule.request_timeout, rule.backend_timeout) = (said.request_timeout, said.backend_timeout);
        }
        take(&mut rule.retry, said.retry.as_ref(), prefer);
        take(&mut rule.cors, said.cors.as_ref(), prefer);
        take(&mut rule.session, said.session.as_ref(), prefer);
        let (filters, outer_filters) = (&mut rule.filters, &said.filters);
        headers(&mut filters.request_headers, outer_filters.request_headers.as_ref(), prefer, deep);
        headers(&mut filters.response_headers, outer_filters.response_headers.as_ref(), prefer, deep);
        rewrite(filters, outer_filters, outer.prefix, prefer);
        if filters.mirrors.is_empty() || (prefer && !outer_filters.mirrors.is_empty()) {
            filters.mirrors.clone_from(&outer_filters.mirrors);
        }
        // It keeps requests out, and whoever is in another namespace does not undo that unless the annotation allows it.
        let prefer_auth = prefer || (outer.foreign && outer.priority.is_none());
        take(&mut filters.external_auth, outer_filters.external_auth.as_ref(), prefer_auth);
        filters.closed |= outer_filters.closed;
        rule.refused |= said.refused || outer_filters.closed;
        let backends = rule.shares.len() + rule.retired.len();
        if matches!(rule.session, Some(Session::Header(_))) && backends > 1 {
            rule.refused = true;
            self.note_refused(
                reason::UNSUPPORTED_VALUE,
                "a header cannot keep a session with one of several backends, and a route that delegates to this one asks for that"
                    .to_owned(),
            );
        }
    }
}

fn headers(own: &mut Option<HeaderModifier>, outer: Option<&HeaderModifier>, prefer: bool, deep: bool) {
    match (&mut *own, outer) {
        (Some(inner), Some(outer)) if deep => {
            *own = Some(if prefer { inner.clone().then(outer) } else { outer.clone().then(inner) });
        }
        _ => take(own, outer, prefer),
    }
}

/// Host and path are rewritten by one filter, so they come from one rule. The prefix that a delegating rule replaces is its own.
fn rewrite(own: &mut Filters, outer: &Filters, prefix: &str, prefer: bool) {
    let rewrites = |filters: &Filters| filters.host_rewrite.is_some() || filters.path_rewrite.is_some();
    if own.redirect.is_some() || own.answer.is_some() || (rewrites(own) && !(prefer && rewrites(outer))) {
        return;
    }
    own.host_rewrite.clone_from(&outer.host_rewrite);
    own.path_rewrite = outer.path_rewrite.clone().map(|change| match change {
        PathChange::Prefix(new) => PathChange::Beginning { old: prefix.to_owned(), new },
        other => other,
    });
}
