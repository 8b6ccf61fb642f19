//! The filters of a rule or of a backendRef, parsed into one value that Envoy can carry out.

use std::sync::Arc;

use postern_api::gateway_api::{
    BackendRef, HttpPathModifier, HttpPathModifierType, HttpRequestMirrorFilter, HttpRequestRedirectFilter,
    HttpRouteFilter, HttpRouteFilterType, HttpUrlRewriteFilter, LocalObjectReference, reason,
};
use postern_api::kgateway::DirectResponse;

use super::cors::Cors;
use super::headers::HeaderModifier;
use crate::backend::ClusterId;
use crate::backend::resolve::{self, Unresolved};
use crate::dependency::Reader;
use crate::hostname::Hostname;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::Policy;
use crate::problem::Fault;

/// How the path is replaced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PathChange {
    Full(String),
    Prefix(String),
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
        HttpRouteFilterType::ExtensionRef => {
            let spec = filter.extension_ref.as_ref().ok_or_else(|| missing("extensionRef"))?;
            extension(reader, route, spec, at, out)?;
        }
        other => {
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
    let target = &spec.backend_ref;
    let reference: BackendRef = BackendRef {
        group: target.group.clone(),
        kind: target.kind.clone(),
        name: target.name.clone(),
        namespace: target.namespace.clone(),
        port: target.port,
        ..BackendRef::default()
    };
    match resolve::backend(reader, route, &reference) {
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

fn redirect(spec: &HttpRequestRedirectFilter, prefix_only: bool) -> Result<Redirect, Fault> {
    let scheme = match spec.scheme.as_deref() {
        Some(scheme @ ("http" | "https")) => Some(scheme.to_owned()),
        Some(other) => {
            return Err(Fault::new(".scheme", format!("{other:?} is not a scheme"), "use http or https"));
        }
        None => None,
    };
    let status = spec.status_code();
    if ![301, 302, 303, 307, 308].contains(&status) {
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
mod tests {
    use super::*;
    use crate::dependency::tests::{World, object, yaml};
    use crate::object::Object;

    fn world() -> World {
        World::new(&[
            (Kind::Service, "a/s", "spec: {ports: [{port: 80}]}"),
            (Kind::Service, "b/s", "spec: {ports: [{port: 80}]}"),
            (Kind::DirectResponse, "a/tea", "spec: {statusCode: 418, body: teapot}"),
            (Kind::DirectResponse, "a/broken", "spec: {statusCode: 99}"),
            (Kind::TrafficPolicy, "a/p", "spec: {timeout: {request: 3s}}"),
        ])
    }

    fn read(filters: &str, prefix_only: bool) -> Result<Filters, FilterError> {
        let world = world();
        let reader = world.reader();
        super::parse(
            &reader,
            &ObjectKey::new(Kind::HttpRoute, "a", "r"),
            &yaml::<Vec<_>>(filters),
            prefix_only,
        )
    }

    fn good(filters: &str) -> Filters {
        read(filters, true).unwrap_or_else(|error| panic!("{filters}: {error:?}"))
    }

    fn refused(filters: &str) -> (&'static str, String) {
        let error = read(filters, true).expect_err(filters);
        (error.reason, error.fault.field)
    }

    const HEADERS: &str =
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}";
    const REDIRECT: &str = "{type: RequestRedirect, requestRedirect: {}}";
    const REWRITE: &str = "{type: URLRewrite, urlRewrite: {hostname: x.y}}";

    #[test]
    fn filters_that_exclude_each_other() {
        let incompatible = reason::INCOMPATIBLE_FILTERS;
        for (filters, field) in [
            (format!("[{HEADERS}, {HEADERS}]"), ".filters[1].type"),
            (format!("[{REWRITE}, {HEADERS}, {REWRITE}]"), ".filters[2].type"),
            (format!("[{REDIRECT}, {REWRITE}]"), ".filters"),
            (format!("[{REWRITE}, {REDIRECT}]"), ".filters"),
        ] {
            assert_eq!(refused(&filters), (incompatible, field.to_owned()), "{filters}");
        }
        good(&format!("[{HEADERS}, {REDIRECT}]"));
        good(&format!("[{HEADERS}, {REWRITE}]"));
    }

    fn mirror(rest: &str) -> String {
        format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: s, port: 80}}{rest}}}}}")
    }

    #[test]
    fn fractions_of_mirrors() {
        for (rest, millionths) in [
            ("", 1_000_000),
            (", percent: 100", 1_000_000),
            (", percent: 42", 420_000),
            (", fraction: {numerator: 1}", 10_000),
            (", fraction: {numerator: 1, denominator: 3}", 333_333),
            (", fraction: {numerator: 5, denominator: 1000}", 5_000),
            (", fraction: {numerator: 2147483647, denominator: 2147483647}", 1_000_000),
        ] {
            let mirrors = good(&format!("[{}]", mirror(rest))).mirrors;
            assert_eq!(mirrors.iter().map(|m| m.millionths).collect::<Vec<_>>(), [millionths], "{rest}");
        }
        for rest in [", percent: 0", ", fraction: {numerator: 0, denominator: 7}"] {
            assert_eq!(good(&format!("[{}]", mirror(rest))).mirrors, [], "{rest}");
        }
        for (rest, field) in [
            (", percent: 101", ".filters[0].requestMirror.percent"),
            (", fraction: {numerator: 101}", ".filters[0].requestMirror.fraction"),
            (", fraction: {numerator: 0, denominator: 0}", ".filters[0].requestMirror.fraction"),
            (", percent: 1, fraction: {numerator: 1}", ".filters[0].requestMirror"),
        ] {
            assert_eq!(refused(&format!("[{}]", mirror(rest))).1, field, "{rest}");
        }
    }

    /// Mirrors may be many; one that leads nowhere costs the requests nothing.
    #[test]
    fn several_mirrors_and_one_that_does_not_resolve() {
        let nowhere = "{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}";
        let foreign = "{type: RequestMirror, requestMirror: {backendRef: {name: s, namespace: b, port: 80}}}";
        let filters = good(&format!("[{}, {nowhere}, {}, {foreign}]", mirror(""), mirror(", percent: 5")));
        assert_eq!(filters.mirrors.len(), 2);
        let unresolved: Vec<_> =
            filters.unresolved.iter().map(|(at, why)| (at.as_str(), why.reason)).collect();
        assert_eq!(
            unresolved,
            [
                (".filters[1].requestMirror.backendRef.name", reason::BACKEND_NOT_FOUND),
                (".filters[3].requestMirror.backendRef.namespace", reason::REF_NOT_PERMITTED),
            ]
        );
    }

    #[test]
    fn redirects_and_rewrites() {
        let redirect = |spec: &str| {
            good(&format!("[{{type: RequestRedirect, requestRedirect: {spec}}}]")).redirect.unwrap()
        };
        assert_eq!(redirect("{}"), Redirect { status: 302, ..Redirect::default() });
        assert_eq!(
            redirect("{scheme: https, hostname: X.Example.com, port: 8443, statusCode: 308}"),
            Redirect {
                scheme: Some("https".into()),
                host: Some("x.example.com".into()),
                port: Some(8443),
                path: None,
                status: 308
            }
        );
        let path = |spec: &str| redirect(&format!("{{path: {spec}}}")).path.unwrap();
        for (spec, expected) in [
            ("{type: ReplaceFullPath, replaceFullPath: /x/}", PathChange::Full("/x/".into())),
            ("{type: ReplaceFullPath, replaceFullPath: x}", PathChange::Full("/x".into())),
            ("{type: ReplaceFullPath, replaceFullPath: ''}", PathChange::Full("/".into())),
            ("{type: ReplacePrefixMatch, replacePrefixMatch: /x/}", PathChange::Prefix("/x".into())),
            ("{type: ReplacePrefixMatch, replacePrefixMatch: x}", PathChange::Prefix("/x".into())),
            ("{type: ReplacePrefixMatch, replacePrefixMatch: /}", PathChange::Prefix(String::new())),
            ("{type: ReplacePrefixMatch, replacePrefixMatch: ''}", PathChange::Prefix(String::new())),
        ] {
            assert_eq!(path(spec), expected, "{spec}");
        }
    }

    #[test]
    fn what_cannot_be_carried_out_names_its_field() {
        let redirect = |spec: &str| format!("[{{type: RequestRedirect, requestRedirect: {spec}}}]");
        let rewrite = |spec: &str| format!("[{{type: URLRewrite, urlRewrite: {spec}}}]");
        for (filters, field) in [
            ("[{type: RequestRedirect}]".to_owned(), "requestRedirect"),
            ("[{type: CORS}]".to_owned(), "cors"),
            ("[{type: RequestMirror}]".to_owned(), "requestMirror"),
            ("[{type: Unheard}]".to_owned(), "type"),
            ("[{type: ExternalAuth}]".to_owned(), "type"),
            (redirect("{scheme: ftp}"), "requestRedirect.scheme"),
            (redirect("{statusCode: 200}"), "requestRedirect.statusCode"),
            (redirect("{hostname: '*.x.y'}"), "requestRedirect.hostname"),
            (redirect("{hostname: 'x.y:80'}"), "requestRedirect.hostname"),
            (redirect("{path: {type: Near}}"), "requestRedirect.path.type"),
            (redirect("{path: {type: ReplaceFullPath}}"), "requestRedirect.path.replaceFullPath"),
            (
                rewrite("{path: {type: ReplaceFullPath, replaceFullPath: '/a?b'}}"),
                "urlRewrite.path.replaceFullPath",
            ),
            (
                rewrite("{path: {type: ReplacePrefixMatch, replacePrefixMatch: '/a b'}}"),
                "urlRewrite.path.replacePrefixMatch",
            ),
            (rewrite("{hostname: 10.0.0.1}"), "urlRewrite.hostname"),
        ] {
            let expected = (reason::UNSUPPORTED_VALUE, format!(".filters[0].{field}"));
            assert_eq!(refused(&filters), expected, "{filters}");
        }
    }

    #[test]
    fn a_prefix_can_be_replaced_only_where_every_match_is_one() {
        let filters =
            "[{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}]";
        assert_eq!(read(filters, false).unwrap_err().fault.field, ".filters[0].urlRewrite.path.type");
        assert_eq!(read(filters, true).unwrap().path_rewrite, Some(PathChange::Prefix("/x".into())));
    }

    #[test]
    fn extensions() {
        let extension = |kind: &str, name: &str| {
            format!(
                "[{{type: ExtensionRef, extensionRef: {{group: gateway.kgateway.dev, kind: {kind}, name: {name}}}}}]"
            )
        };
        let answer = good(&extension("DirectResponse", "tea")).answer;
        assert_eq!(answer, Some(Answer { status: 418, body: Some("teapot".into()) }));
        assert_eq!(good(&extension("TrafficPolicy", "p")).policies.len(), 1);
        for (filters, field) in [
            (extension("DirectResponse", "gone"), "name"),
            (extension("DirectResponse", "broken"), "name"),
            (extension("TrafficPolicy", "gone"), "name"),
            (extension("Backend", "p"), "kind"),
            ("[{type: ExtensionRef, extensionRef: {group: '', kind: Service, name: s}}]".to_owned(), "kind"),
        ] {
            assert_eq!(refused(&filters).1, format!(".filters[0].extensionRef.{field}"), "{filters}");
        }
    }

    #[test]
    fn direct_responses_in_both_dialects() {
        let read = |spec: &str| {
            let Object::DirectResponse(object) =
                object(Kind::DirectResponse, "a/d", &format!("spec: {{{spec}}}"))
            else {
                panic!("a DirectResponse")
            };
            answer(&object)
        };
        let tea = |body: Option<&str>| Answer { status: 418, body: body.map(str::to_owned) };
        assert_eq!(read("statusCode: 418"), Ok(tea(None)));
        assert_eq!(read("status: 418, body: x"), Ok(tea(Some("x"))));
        assert_eq!(read("status: 418, body: ''"), Ok(tea(None)));
        let long = "x".repeat(MAX_BODY_BYTES + 1);
        assert!(read(&format!("status: 200, body: {}", &long[1..])).is_ok());
        for (spec, field) in [
            ("body: x", "spec.statusCode"),
            ("statusCode: 418, status: 418", "spec.status"),
            ("statusCode: 199", "spec.statusCode"),
            ("status: 600", "spec.status"),
            (&format!("status: 200, body: {long}"), "spec.body"),
        ] {
            assert_eq!(read(spec).unwrap_err().field, field, "{spec}");
        }
    }
}
