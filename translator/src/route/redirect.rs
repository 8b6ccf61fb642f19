//! Redirects (`HTTPRequestRedirectFilter`): above all, which port stands in `Location`.

use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher, RedirectAction, Route, header_matcher, redirect_action, route,
};

use super::action::{Place, beginning, substitute};
use super::filters::{PathChange, Redirect};
use super::matches::Match;
use crate::envoy::safe_regex;
use crate::gateway::Protocol;
use crate::hostname::Hostname;

/// The action of a redirect.
pub(crate) fn redirect(redirect: &Redirect, matching: &Match, place: Place) -> route::Action {
    let scheme = redirect.scheme.as_deref();
    let default_port = |scheme: &str| if scheme == "https" { 443 } else { 80 };
    let served = match place.protocol {
        Protocol::Https => "https",
        _ => "http",
    };
    // HTTPRequestRedirectFilter.port: the given port, else the well-known port of a given scheme, else the port of
    // the listener; the port that the resulting scheme implies is left out of Location.
    let port = redirect.port.unwrap_or_else(|| scheme.map_or(place.port, default_port));
    let implied = port == default_port(scheme.unwrap_or(served));
    let path_rewrite_specifier = redirect.path.as_ref().and_then(|path| match path {
        PathChange::Full(path) => Some(redirect_action::PathRewriteSpecifier::PathRedirect(path.clone())),
        PathChange::Prefix(prefix) => Some(match (matching.path_prefix.as_deref(), prefix.as_str()) {
            (None | Some(""), prefix) => {
                redirect_action::PathRewriteSpecifier::PrefixRewrite(format!("{prefix}/"))
            }
            (Some(old), "") => redirect_action::PathRewriteSpecifier::RegexRewrite(substitute(
                &format!("^{}/*", regex::escape(old)),
                "/",
            )),
            (Some(_), prefix) => redirect_action::PathRewriteSpecifier::PrefixRewrite(prefix.to_owned()),
        }),
        PathChange::Beginning { old, new } => {
            beginning(old, new).map(redirect_action::PathRewriteSpecifier::RegexRewrite)
        }
    });
    let code = match redirect.status {
        301 => redirect_action::RedirectResponseCode::MovedPermanently,
        303 => redirect_action::RedirectResponseCode::SeeOther,
        307 => redirect_action::RedirectResponseCode::TemporaryRedirect,
        308 => redirect_action::RedirectResponseCode::PermanentRedirect,
        _ => redirect_action::RedirectResponseCode::Found,
    };
    route::Action::Redirect(RedirectAction {
        host_redirect: redirect.host.clone().unwrap_or_default(),
        // 0 is "unset": see `on_host`.
        port_redirect: if implied { 0 } else { port.into() },
        response_code: code.into(),
        scheme_rewrite_specifier: scheme
            .map(|scheme| redirect_action::SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier,
        ..RedirectAction::default()
    })
}

/// The routes that stand for `route` on one host. Only redirects differ: Envoy would keep a port in the request's
/// Host where the redirect implies another one, unless it is told the host, or the port.
pub(crate) fn on_host(route: &Route, host: &Hostname, place: Place) -> Vec<Route> {
    let Some(route::Action::Redirect(redirect)) = &route.action else { return vec![route.clone()] };
    if !redirect.host_redirect.is_empty() || redirect.port_redirect != 0 {
        return vec![route.clone()];
    }
    let with = |change: &dyn Fn(&mut RedirectAction)| {
        let mut copy = route.clone();
        if let Some(route::Action::Redirect(redirect)) = &mut copy.action {
            change(redirect);
        }
        copy
    };
    if let Hostname::Exact(host) = host {
        return vec![with(&|redirect| redirect.host_redirect.clone_from(host))];
    }
    let https = match &redirect.scheme_rewrite_specifier {
        Some(redirect_action::SchemeRewriteSpecifier::SchemeRedirect(scheme)) => scheme == "https",
        _ => place.protocol == Protocol::Https,
    };
    let mut with_port = with(&|redirect| redirect.port_redirect = if https { 443 } else { 80 });
    if let Some(matching) = &mut with_port.r#match {
        matching.headers.push(HeaderMatcher {
            name: ":authority".to_owned(),
            header_match_specifier: Some(header_matcher::HeaderMatchSpecifier::StringMatch(safe_regex(
                ".*:[0-9]+",
            ))),
            ..HeaderMatcher::default()
        });
    }
    vec![with_port, route.clone()]
}
