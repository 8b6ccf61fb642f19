//! What a child matches of what was delegated to it.
//!
//! Without further ado every match of a child has to lie within the match that delegates: what it says of path, headers, query
//! parameters and method is what that says, and more. A child that inherits instead adds its own to it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, header_matcher};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_api::gateway_api::{HttpHeaderMatch, HttpPathMatch, HttpRouteMatch, PathMatchType};

use crate::envoy::safe_regex;

/// The annotation of a child whose matches are added to what is delegated to it (kgateway v2.1).
pub(crate) const INHERIT_ANNOTATION: &str = "delegation.kgateway.dev/inherit-parent-matcher";

/// True if the matches of a route are added to what is delegated to it; fails with the value if that is unknown.
pub(crate) fn inherits(metadata: &ObjectMeta) -> Result<bool, &str> {
    let value = metadata.annotations.as_ref().and_then(|annotations| annotations.get(INHERIT_ANNOTATION));
    let Some(value) = value else { return Ok(false) };
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "enabled" => Ok(true),
        "false" | "no" | "disabled" => Ok(false),
        _ => Err(value),
    }
}

/// The prefix of a match, without a trailing slash; `None` if it is not one.
pub(crate) fn prefix(matching: &HttpRouteMatch) -> Option<&str> {
    match &matching.path {
        None => Some(""),
        Some(path) if path.match_type() == PathMatchType::PathPrefix => {
            Some(path.value().trim_end_matches('/'))
        }
        Some(_) => None,
    }
}

/// Why a match of a child is not within what is delegated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mismatch {
    /// The path is elsewhere, so that the rest does not matter.
    pub(crate) of_path: bool,
    pub(crate) why: String,
}

/// The match of a child as it is within `outer`, the match that delegates; fails with the reason why it is not.
pub(crate) fn within<'a>(
    outer: &HttpRouteMatch,
    own: &'a HttpRouteMatch,
    inherits: bool,
) -> Result<Cow<'a, HttpRouteMatch>, Mismatch> {
    let prefix = prefix(outer).ok_or_else(|| mismatch(true, "what is delegated is not a prefix"))?;
    if inherits {
        Ok(Cow::Owned(merged(outer, prefix, own)))
    } else {
        fits(outer, prefix, own).map(|()| Cow::Borrowed(own))
    }
}

fn mismatch(of_path: bool, why: impl Into<String>) -> Mismatch {
    Mismatch { of_path, why: why.into() }
}

fn fits(outer: &HttpRouteMatch, prefix: &str, own: &HttpRouteMatch) -> Result<(), Mismatch> {
    let path = own.path.clone().unwrap_or_default();
    let value = path.value();
    let under = match path.match_type() {
        // Where it ends does not matter: see `bound`.
        PathMatchType::RegularExpression => {
            let value = value.strip_prefix('^').unwrap_or(value);
            value.starts_with(prefix) || value.starts_with(&regex::escape(prefix))
        }
        _ => value.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    };
    if !under {
        return Err(mismatch(
            true,
            format!("its path {value} is not under {}", if prefix.is_empty() { "/" } else { prefix }),
        ));
    }
    if outer.method.is_some() && outer.method != own.method {
        return Err(mismatch(
            false,
            format!("its method is not {}", outer.method.as_ref().map_or("", AsRef::as_ref)),
        ));
    }
    let has = |wanted: &HttpHeaderMatch| {
        let found = own.headers.iter().find(|header| header.name.eq_ignore_ascii_case(&wanted.name));
        found.is_some_and(|found| (found.match_type(), &found.value) == (wanted.match_type(), &wanted.value))
    };
    if let Some(missing) = first_of_each_header(&outer.headers).find(|header| !has(header)) {
        return Err(mismatch(
            false,
            format!("it does not ask for the header {}: {}", missing.name, missing.value),
        ));
    }
    for wanted in &outer.query_params {
        // Of several with one name the first counts.
        let first = outer.query_params.iter().find(|other| other.name == wanted.name);
        let found = own.query_params.iter().find(|parameter| parameter.name == wanted.name);
        let same = found
            .is_some_and(|found| (found.match_type(), &found.value) == (wanted.match_type(), &wanted.value));
        if !same && first == Some(wanted) {
            return Err(mismatch(
                false,
                format!("it does not ask for the query parameter {}={}", wanted.name, wanted.value),
            ));
        }
    }
    Ok(())
}

fn first_of_each_header(headers: &[HttpHeaderMatch]) -> impl Iterator<Item = &HttpHeaderMatch> {
    let mut seen = BTreeSet::new();
    headers.iter().filter(move |header| seen.insert(header.name.to_ascii_lowercase()))
}

/// What matches both, with the path of `own` behind that of `outer`. Where both speak of one header or query parameter, the outer
/// counts: matches read the first of a name.
fn merged(outer: &HttpRouteMatch, prefix: &str, own: &HttpRouteMatch) -> HttpRouteMatch {
    let path = own.path.clone().unwrap_or_default();
    let (kind, value) = (path.match_type(), path.value());
    let joined = match kind {
        PathMatchType::RegularExpression => {
            let value = value.strip_prefix('^').unwrap_or(value);
            format!("{}(?:{value})", regex::escape(prefix))
        }
        _ if value == "/" && !prefix.is_empty() => prefix.to_owned(),
        _ => format!("{prefix}{value}"),
    };
    HttpRouteMatch {
        path: Some(HttpPathMatch { type_: Some(kind), value: Some(joined) }),
        headers: outer.headers.iter().chain(&own.headers).cloned().collect(),
        query_params: outer.query_params.iter().chain(&own.query_params).cloned().collect(),
        method: outer.method.clone().or_else(|| own.method.clone()),
    }
}

/// What keeps a regular expression within the prefix that is delegated: an alternative in it could lead out.
pub(crate) fn bound(outer: &HttpRouteMatch, own: &HttpRouteMatch) -> Option<HeaderMatcher> {
    let is_regex = |path: &HttpPathMatch| path.match_type() == PathMatchType::RegularExpression;
    let prefix =
        prefix(outer).filter(|prefix| !prefix.is_empty() && own.path.as_ref().is_some_and(is_regex))?;
    let pattern = format!("{}(?:[/?].*)?", regex::escape(prefix));
    Some(HeaderMatcher {
        name: ":path".to_owned(),
        header_match_specifier: Some(header_matcher::HeaderMatchSpecifier::StringMatch(safe_regex(&pattern))),
        ..HeaderMatcher::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    fn reason(outer: &str, own: &str) -> Option<String> {
        within(&yaml(outer), &yaml(own), false).err().map(|mismatch| mismatch.why)
    }

    #[test]
    fn paths_are_compared_by_element() {
        for (outer, own, fits) in [
            ("{path: {value: /a}}", "{path: {value: /a}}", true),
            ("{path: {value: /a/}}", "{path: {value: /a}}", true),
            ("{path: {value: /a}}", "{path: {value: /a/}}", true),
            ("{path: {value: /a}}", "{path: {value: /a/b}}", true),
            ("{path: {value: /a}}", "{path: {type: Exact, value: /a}}", true),
            ("{path: {value: /a}}", "{path: {type: Exact, value: /a/b}}", true),
            ("{path: {value: /a}}", "{path: {type: RegularExpression, value: '/a/[0-9]+'}}", true),
            ("{path: {value: /a}}", "{path: {type: RegularExpression, value: '^/a.*'}}", true),
            ("{path: {value: /a.b}}", "{path: {type: RegularExpression, value: '/a\\.b/.*'}}", true),
            ("{path: {value: /}}", "{path: {value: /x}}", true),
            ("{}", "{}", true),
            ("{path: {value: /a}}", "{path: {value: /ab}}", false),
            ("{path: {value: /a}}", "{path: {value: /}}", false),
            ("{path: {value: /a}}", "{}", false),
            ("{path: {value: /a}}", "{path: {type: Exact, value: /b}}", false),
            ("{path: {value: /a}}", "{path: {type: RegularExpression, value: '/b.*'}}", false),
            ("{path: {type: Exact, value: /a}}", "{path: {type: Exact, value: /a}}", false),
        ] {
            assert_eq!(reason(outer, own).is_none(), fits, "{own} under {outer}");
        }
    }

    #[test]
    fn conditions_are_those_of_the_parent_and_more() {
        let outer = "{headers: [{name: X-A, value: b}], queryParams: [{name: q, value: r}], method: GET}";
        let same = "{headers: [{name: x-a, value: b}, {name: c, value: d}], queryParams: [{name: q, value: r}], method: GET}";
        assert_eq!(reason(outer, same), None);
        for (own, why) in [
            ("{headers: [{name: x-a, value: b}], queryParams: [{name: q, value: r}]}", "method"),
            ("{queryParams: [{name: q, value: r}], method: GET}", "header X-A: b"),
            // Of several with one name the first counts, so this one does not ask for what the parent asks for.
            (
                "{headers: [{name: x-a, value: c}, {name: X-A, value: b}], queryParams: [{name: q, value: r}], method: GET}",
                "header X-A: b",
            ),
            (
                "{headers: [{name: x-a, type: RegularExpression, value: b}], queryParams: [{name: q, value: r}], method: GET}",
                "header X-A: b",
            ),
            ("{headers: [{name: x-a, value: b}], method: GET}", "query parameter q=r"),
            (
                "{headers: [{name: x-a, value: b}], queryParams: [{name: q, value: s}, {name: q, value: r}], method: GET}",
                "query parameter q=r",
            ),
        ] {
            let reason = reason(outer, own).unwrap_or_else(|| panic!("{own} fits"));
            assert!(reason.contains(why), "{own}: {reason}");
        }
    }

    #[test]
    fn inheriting_adds() {
        let merge = |outer: &str, own: &str| within(&yaml(outer), &yaml(own), true).unwrap().into_owned();
        for (outer, own, path) in [
            ("/a", "{path: {value: /b}}", "{type: PathPrefix, value: /a/b}"),
            ("/a/", "{}", "{type: PathPrefix, value: /a}"),
            ("/", "{path: {value: /b}}", "{type: PathPrefix, value: /b}"),
            ("/", "{}", "{type: PathPrefix, value: /}"),
            ("/a", "{path: {type: Exact, value: /}}", "{type: Exact, value: /a}"),
            ("/a", "{path: {type: Exact, value: /b}}", "{type: Exact, value: /a/b}"),
            (
                "/a.b",
                "{path: {type: RegularExpression, value: '^/x|/y'}}",
                "{type: RegularExpression, value: '/a\\.b(?:/x|/y)'}",
            ),
        ] {
            let merged = merge(&format!("{{path: {{value: {outer}}}}}"), own);
            assert_eq!(merged.path, Some(yaml(path)), "{own} under {outer}");
        }
        let merged = merge(
            "{headers: [{name: a, value: '1'}], queryParams: [{name: q, value: '1'}], method: GET}",
            "{headers: [{name: A, value: '2'}, {name: b, value: '3'}], queryParams: [{name: r, value: '2'}], method: PUT}",
        );
        assert_eq!(merged.method, Some(yaml("GET")));
        let headers: Vec<_> =
            first_of_each_header(&merged.headers).map(|it| (it.name.as_str(), it.value.as_str())).collect();
        assert_eq!(headers, [("a", "1"), ("b", "3")]);
        assert_eq!(merged.query_params.len(), 2);
    }

    #[test]
    fn regular_expressions_stay_under_the_prefix() {
        let regex: HttpRouteMatch = yaml("{path: {type: RegularExpression, value: '/a|/b'}}");
        let outer: HttpRouteMatch = yaml("{path: {value: /a}}");
        let bound = bound(&outer, &regex).unwrap();
        assert!(format!("{bound:?}").contains("/a(?:[/?].*)?"), "{bound:?}");
        assert!(super::bound(&outer, &outer).is_none());
        assert!(super::bound(&yaml("{}"), &regex).is_none(), "everything is under /");
    }

    #[test]
    fn the_annotation_has_three_words_for_yes() {
        let read = |value: &str| {
            inherits(&yaml(&format!("{{annotations: {{{INHERIT_ANNOTATION}: '{value}'}}}}")))
                .map_err(str::to_owned)
        };
        for value in ["true", "Yes", "enabled"] {
            assert_eq!(read(value), Ok(true));
        }
        assert_eq!(read("false"), Ok(false));
        assert_eq!(read("maybe"), Err("maybe".to_owned()));
        assert_eq!(inherits(&ObjectMeta::default()), Ok(false));
    }
}
