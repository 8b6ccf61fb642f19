//! The filters of a rule or of a backendRef, parsed into one value that Envoy can carry out.

use std::sync::Arc;

use postern_api::gateway_api::{
    BackendRef, HttpExternalAuthFilter, HttpPathModifier, HttpPathModifierType, HttpRequestMirrorFilter,
    HttpRequestRedirectFilter, HttpRouteFilter, HttpRouteFilterType, HttpUrlRewriteFilter,
    LocalObjectReference, reason,
};
use postern_api::kgateway::DirectResponse;

use super::annotations::REDIRECTS;
use super::cors::Cors;
use super::headers::HeaderModifier;
use crate::backend::ClusterId;
use crate::backend::resolve::{self, Unresolved};
use crate::dependency::Reader;
use crate::external_auth::{self, ExternalAuth};
use crate::hostname::Hostname;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::Policy;
use crate::problem::Fault;

/// How the path is replaced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PathChange {
    Full(String),
    /// The prefix that the match asks for becomes another.
    Prefix(String),
    /// A prefix that a match asked for which delegated, without a trailing slash as the other.
    Beginning {
        old: String,
        new: String,
    },
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Redirect {
    pub(crate) scheme: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<PathChange>,
    pub(crate) status: u16,
}

/// An answer without a backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Option<String>,
}

/// A mirror and the share of requests that it gets, in millionths.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mirror {
    pub(crate) cluster: ClusterId,
    pub(crate) millionths: u32,
}

/// All filters of one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pub(crate) request_headers: Option<HeaderModifier>,
    pub(crate) response_headers: Option<HeaderModifier>,
    pub(crate) host_rewrite: Option<String>,
    pub(crate) path_rewrite: Option<PathChange>,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) answer: Option<Answer>,
    pub(crate) cors: Option<Cors>,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) external_auth: Option<ExternalAuth>,
    /// Somebody has to be asked who cannot be: nothing passes.
    pub(crate) closed: bool,
    pub(crate) policies: Vec<Arc<Policy>>,
    /// References that do not resolve, with the index of the filter.
    pub(crate) unresolved: Vec<(String, Unresolved)>,
}

/// Why a list of filters cannot be carried out.
#[derive(Clone, Debug)]
pub(crate) struct FilterError {
    /// The reason of condition `Accepted` or `PartiallyInvalid`.
    pub(crate) reason: &'static str,
    pub(crate) fault: Fault,
}

fn unsupported(fault: Fault) -> FilterError {
    FilterError { reason: reason::UNSUPPORTED_VALUE, fault }
}

/// Parses the filters of a rule or of a backendRef; `prefix_only` says that every match of the rule is a prefix.
pub(crate) fn parse(
    reader: &Reader<'_>,
    route: &ObjectKey,
    filters: &[HttpRouteFilter],
    prefix_only: bool,
) -> Result<Filters, FilterError> {
    let mut out = Filters::default();
    let mut seen: Vec<&HttpRouteFilterType> = Vec::new();
    for (index, filter) in filters.iter().enumerate() {
        let at = format!(".filters[{index}]");
        let repeatable =
            matches!(filter.type_, HttpRouteFilterType::RequestMirror | HttpRouteFilterType::ExtensionRef);
        if !repeatable && seen.contains(&&filter.type_) {
            let message = format!("there is more than one filter of type {}", filter.type_);
            let fault = Fault::new(format!("{at}.type"), message, "merge them into one filter");
            return Err(FilterError { reason: reason::INCOMPATIBLE_FILTERS, fault });
        }
        seen.push(&filter.type_);
        one(reader, route, filter, prefix_only, &at, &mut out)?;
    }
    if out.redirect.is_some() && (out.host_rewrite.is_some() || out.path_rewrite.is_some()) {
        let fault = Fault::new(
            ".filters",
            "RequestRedirect and URLRewrite exclude each other",
            "keep one of them; a redirect can change host and path too",
        );
        return Err(FilterError { reason: reason::INCOMPATIBLE_FILTERS, fault });
    }
    Ok(out)
}

fn one(
    reader: &Reader<'_>,
    route: &ObjectKey,
    filter: &HttpRouteFilter,
    prefix_only: bool,
    at: &str,
    out: &mut Filters,
) -> Result<(), FilterError> {
    let missing = |field: &str| {
        unsupported(Fault::new(
            format!("{at}.{field}"),
            format!("a filter of type {} needs {field}", filter.type_),
            format!("add {field}, or change the type"),
        ))
    };
    let keep = |field: &'static str| {
        let at = format!("{at}.{field}");
        move |fault: Fault| unsupported(fault.within(&at))
    };
    match &filter.type_ {
        HttpRouteFilterType::RequestHeaderModifier => {
            let spec =
                filter.request_header_modifier.as_ref().ok_or_else(|| missing("requestHeaderModifier"))?;
            out.request_headers = Some(HeaderModifier::request(spec).map_err(keep("requestHeaderModifier"))?);
        }
        HttpRouteFilterType::ResponseHeaderModifier => {
            let spec =
                filter.response_header_modifier.as_ref().ok_or_else(|| missing("responseHeaderModifier"))?;
            out.response_headers =
                Some(HeaderModifier::response(spec).map_err(keep("responseHeaderModifier"))?);
        }
        HttpRouteFilterType::RequestMirror => {
            let spec = filter.request_mirror.as_ref().ok_or_else(|| missing("requestMirror"))?;
            mirror(reader, route, spec, at, out)?;
        }
        HttpRouteFilterType::RequestRedirect => {
            let spec = filter.request_redirect.as_ref().ok_or_else(|| missing("requestRedirect"))?;
            out.redirect = Some(redirect(spec, prefix_only).map_err(keep("requestRedirect"))?);
        }
        HttpRouteFilterType::UrlRewrite => {
            let spec = filter.url_rewrite.as_ref().ok_or_else(|| missing("urlRewrite"))?;
            rewrite(spec, prefix_only, out).map_err(keep("urlRewrite"))?;
        }
        HttpRouteFilterType::Cors => {
            let spec = filter.cors.as_ref().ok_or_else(|| missing("cors"))?;
            out.cors = Some(Cors::from_filter(spec).map_err(keep("cors"))?);
        }
        HttpRouteFilterType::ExternalAuth => {
            let spec = filter.external_auth.as_ref().ok_or_else(|| missing("externalAuth"))?;
            authorization(reader, route, spec, at, out)?;
        }
        HttpRouteFilterType::ExtensionRef => {
            let spec = filter.extension_ref.as_ref().ok_or_else(|| missing("extensionRef"))?;
            extension(reader, route, spec, at, out)?;
        }
        HttpRouteFilterType::Unknown(other) => {
            return Err(unsupported(Fault::new(
                format!("{at}.type"),
                format!("filters of type {other} are not supported"),
                "remove the filter; until then the rule answers 500",
            )));
        }
    }
    Ok(())
}

fn mirror(
    reader: &Reader<'_>,
    route: &ObjectKey,
    spec: &HttpRequestMirrorFilter,
    at: &str,
    out: &mut Filters,
) -> Result<(), FilterError> {
    let millionths = match (spec.percent, spec.fraction) {
        (Some(percent), None) if percent <= 100 => percent * 10_000,
        (None, None) => 1_000_000,
        (None, Some(fraction)) => {
            let denominator = u64::from(fraction.denominator.unwrap_or(100));
            if denominator == 0 || u64::from(fraction.numerator) > denominator {
                return Err(unsupported(Fault::new(
                    format!("{at}.requestMirror.fraction"),
                    format!("{}/{denominator} is not a share", fraction.numerator),
                    "use a numerator from 0 to the denominator",
                )));
            }
            u32::try_from(u64::from(fraction.numerator) * 1_000_000 / denominator).unwrap_or(1_000_000)
        }
        (Some(percent), None) => {
            return Err(unsupported(Fault::new(
                format!("{at}.requestMirror.percent"),
                format!("{percent} is not a percentage"),
                "use 0 to 100",
            )));
        }
        (Some(_), Some(_)) => {
            return Err(unsupported(Fault::new(
                format!("{at}.requestMirror"),
                "percent and fraction exclude each other",
                "keep one of them",
            )));
        }
    };
    let reference = BackendRef::from(&spec.backend_ref);
    match resolve::known_backend(reader, route, &reference) {
        Ok(cluster) if millionths > 0 => out.mirrors.push(Mirror { cluster, millionths }),
        Ok(_) => {}
        // The requests themselves are fine: only the copy has nowhere to go.
        Err(unresolved) => {
            let field = format!("{at}.requestMirror.backendRef{}", unresolved.field);
            out.unresolved.push((field, unresolved));
        }
    }
    Ok(())
}

/// Without somebody to ask, the rule is closed.
fn authorization(
    reader: &Reader<'_>,
    route: &ObjectKey,
    spec: &HttpExternalAuthFilter,
    at: &str,
    out: &mut Filters,
) -> Result<(), FilterError> {
    let at = format!("{at}.externalAuth");
    match external_auth::parse(reader, route, spec) {
        Ok(auth) => out.external_auth = Some(auth),
        Err(external_auth::Error::Invalid(fault)) => return Err(unsupported(fault.within(&at))),
        Err(external_auth::Error::Unresolved(unresolved)) => {
            out.closed = true;
            out.unresolved.push((format!("{at}.backendRef{}", unresolved.field), unresolved));
        }
    }
    Ok(())
}

fn redirect(spec: &HttpRequestRedirectFilter, prefix_only: bool) -> Result<Redirect, Fault> {
    let scheme = match spec.scheme.as_deref() {
        Some(scheme @ ("http" | "https")) => Some(scheme.to_owned()),
        Some(other) => {
            return Err(Fault::new(".scheme", format!("{other:?} is not a scheme"), "use http or https"));
        }
        None => None,
    };
    let status = spec.status_code();
    if !REDIRECTS.contains(&status) {
        return Err(Fault::new(
            ".statusCode",
            format!("{status} is not a redirect"),
            "use 301, 302, 303, 307 or 308",
        ));
    }
    Ok(Redirect {
        scheme,
        host: spec.hostname.as_deref().map(|h| precise_host(h, ".hostname")).transpose()?,
        port: spec.port.filter(|p| *p != 0),
        path: spec
            .path
            .as_ref()
            .map(|p| path_change(p, prefix_only))
            .transpose()
            .map_err(|f| f.within(".path"))?,
        status,
    })
}

fn rewrite(spec: &HttpUrlRewriteFilter, prefix_only: bool, out: &mut Filters) -> Result<(), Fault> {
    out.host_rewrite = spec.hostname.as_deref().map(|h| precise_host(h, ".hostname")).transpose()?;
    out.path_rewrite =
        spec.path.as_ref().map(|p| path_change(p, prefix_only)).transpose().map_err(|f| f.within(".path"))?;
    Ok(())
}

fn precise_host(value: &str, field: &str) -> Result<String, Fault> {
    match Hostname::parse(value) {
        Ok(Hostname::Exact(host)) => Ok(host),
        Ok(_) => Err(Fault::new(field, format!("{value:?} has a wildcard"), "give one exact host")),
        Err(error) => Err(Fault::new(field, error.to_string(), "give one exact host")),
    }
}

fn path_change(spec: &HttpPathModifier, prefix_only: bool) -> Result<PathChange, Fault> {
    let checked = |field: &str, value: Option<&String>| {
        let value = value.ok_or_else(|| {
            Fault::new(field, "it is missing", format!("add it, or change the type {}", spec.type_))
        })?;
        if value.contains(['?', '#']) || value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Fault::new(field, format!("{value:?} is not a path"), "leave out ?, # and blanks"));
        }
        Ok(value.clone())
    };
    match &spec.type_ {
        HttpPathModifierType::ReplaceFullPath => {
            let value = checked(".replaceFullPath", spec.replace_full_path.as_ref())?;
            Ok(PathChange::Full(if value.starts_with('/') { value } else { format!("/{value}") }))
        }
        HttpPathModifierType::ReplacePrefixMatch if !prefix_only => Err(Fault::new(
            ".type",
            "ReplacePrefixMatch needs a rule whose every match is a path prefix",
            "use PathPrefix in all matches of the rule, or ReplaceFullPath",
        )),
        HttpPathModifierType::ReplacePrefixMatch => {
            let value = checked(".replacePrefixMatch", spec.replace_prefix_match.as_ref())?;
            let value = value.trim_end_matches('/').to_owned();
            Ok(PathChange::Prefix(if value.is_empty() || value.starts_with('/') {
                value
            } else {
                format!("/{value}")
            }))
        }
        HttpPathModifierType::Unknown(other) => Err(Fault::new(
            ".type",
            format!("{other:?} is unknown"),
            "use ReplaceFullPath or ReplacePrefixMatch",
        )),
    }
}

fn extension(
    reader: &Reader<'_>,
    route: &ObjectKey,
    spec: &LocalObjectReference,
    at: &str,
    out: &mut Filters,
) -> Result<(), FilterError> {
    let name = NamespacedName::new(&route.namespace, &spec.name);
    let field = format!("{at}.extensionRef");
    let not_found = |kind: Kind| {
        unsupported(Fault::new(
            format!("{field}.name"),
            format!("{kind} {name} does not exist"),
            "create it in the namespace of the route, or mend the name; until then the rule answers 500",
        ))
    };
    match Kind::from_group_kind(&spec.group, &spec.kind) {
        Some(kind @ Kind::DirectResponse) => {
            let object =
                reader.get::<DirectResponse>(&name.namespace, &name.name).ok_or_else(|| not_found(kind))?;
            let answer = answer(object).map_err(|fault| {
                unsupported(Fault::new(
                    format!("{field}.name"),
                    format!("{kind} {name} is not valid: {}", fault.message),
                    format!("mend {} of the {kind}", fault.field),
                ))
            })?;
            out.answer = Some(answer);
        }
        Some(kind @ Kind::TrafficPolicy) => {
            let policy = reader.policy(&name).ok_or_else(|| not_found(kind))?;
            out.policies.push(Arc::clone(policy));
        }
        _ => {
            return Err(unsupported(Fault::new(
                format!("{field}.kind"),
                format!("{} (group {:?}) cannot be a filter", spec.kind, spec.group),
                "refer to a DirectResponse or a TrafficPolicy of group gateway.kgateway.dev",
            )));
        }
    }
    Ok(())
}

/// Envoy refuses longer bodies by default.
const MAX_BODY_BYTES: usize = 4096;

/// Reads a DirectResponse in either dialect.
pub(crate) fn answer(object: &DirectResponse) -> Result<Answer, Fault> {
    let status = match (object.spec.status_code, object.spec.status) {
        (Some(_), Some(_)) => {
            return Err(Fault::new(
                "spec.status",
                "statusCode and status say the same thing",
                "remove one of them",
            ));
        }
        (None, None) => {
            return Err(Fault::new("spec.statusCode", "it is missing", "add a status from 200 to 599"));
        }
        (Some(status), None) | (None, Some(status)) => status,
    };
    if !(200..=599).contains(&status) {
        let field = if object.spec.status_code.is_some() { "spec.statusCode" } else { "spec.status" };
        return Err(Fault::new(field, format!("{status} is not a final status"), "use 200 to 599"));
    }
    let body = object.spec.body.clone().filter(|body| !body.is_empty());
    if body.as_ref().is_some_and(|body| body.len() > MAX_BODY_BYTES) {
        return Err(Fault::new(
            "spec.body",
            format!("it is longer than {MAX_BODY_BYTES} bytes"),
            "shorten it, or serve it from a backend",
        ));
    }
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests;
