//! Sessions over several backends (GEP-1619).
//!
//! Envoy chooses the cluster before it looks at the session, so a second cookie says which backend a session is with. Requests
//! that bring it have a route of their own, in front of the one that draws lots.

use envoy_types::pb::envoy::config::route::v3::{CookieMatcher, Route};

use super::{Place, Rule, Share, share_route};
use crate::backend::ClusterId;
use crate::envoy::exact;
use crate::resource::digest;
use crate::route::matches::Match;
use crate::session::{Cookie, Session};

/// The cookie that says which backend a session of the rule is with, where there can be several. A weight of 0 does not end
/// the sessions that a backend has.
pub(super) fn cookie(rule: &Rule) -> Option<&Cookie> {
    match &rule.session {
        Some(Session::Cookie(cookie)) if rule.shares.len() + rule.retired.len() > 1 => Some(cookie),
        _ => None,
    }
}

/// The routes of requests whose backend is chosen already.
pub(super) fn pinned(rule: &Rule, cookie: &Cookie, matching: &Match, place: Place, name: &str) -> Vec<Route> {
    let shares = rule.shares.iter().chain(&rule.retired);
    let with_cluster = shares.filter_map(|share| Some((share, share.cluster.as_ref()?)));
    with_cluster
        .map(|(share, cluster)| {
            let mut matching = matching.clone();
            matching.envoy.cookies.push(CookieMatcher {
                name: cookie.backend_name(),
                string_match: Some(exact(&value(cluster))),
                ..CookieMatcher::default()
            });
            share_route(rule, share, &matching, place, name)
        })
        .collect()
}

/// The rule, with backends that tell new sessions whose they are.
pub(super) fn marking(rule: &Rule, cookie: &Cookie) -> Rule {
    let mark = |share: &Share| {
        let mut share = share.clone();
        if let Some(cluster) = &share.cluster {
            let mut filters = share.filters.as_ref().clone();
            let headers = filters.response_headers.get_or_insert_default();
            headers.append("set-cookie", cookie.backend(&value(cluster)));
            share.filters = filters.into();
        }
        share
    };
    Rule { shares: rule.shares.iter().map(mark).collect(), ..rule.clone() }
}

/// What the cookie calls a backend: short, and telling nothing.
fn value(cluster: &ClusterId) -> String {
    digest(cluster.name().as_bytes())
}
