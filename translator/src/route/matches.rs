//! `HTTPRouteMatch` to Envoy's `RouteMatch`.

use std::cmp::Reverse;

use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher, query_parameter_matcher, route_match,
};
use postern_api::gateway_api::{HeaderMatchType, HttpMethod, HttpRouteMatch, PathMatchType};
use regex::Regex;

use super::headers;
use super::order::{MatchRank, PathRank};
use crate::envoy::{exact, regex_matcher, safe_regex};
use crate::problem::Fault;

/// A match, ready for Envoy.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) rank: MatchRank,
    pub(crate) envoy: RouteMatch,
    /// The prefix that `ReplacePrefixMatch` replaces, without a trailing slash.
    pub(crate) path_prefix: Option<String>,
    pub(crate) method: Option<String>,
}

const PATH_REMEDY: &str = "start it with / and leave out ? and #";

/// Translates one match; the empty match is the prefix `/`.
pub(crate) fn translate(spec: &HttpRouteMatch) -> Result<Match, Fault> {
    let (path_specifier, path, path_prefix) = path(spec)?;
    let mut headers_out = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for (index, header) in spec.headers.iter().enumerate() {
        let at = format!(".headers[{index}]");
        let name = headers::name(&header.name).map_err(|f| f.within(".name").within(&at))?;
        // Of several entries with one name only the first counts (HTTPHeaderMatch).
        if seen.contains(&name) {
            continue;
        }
        let value = string_match(&header.match_type(), &header.value).map_err(|f| f.within(&at))?;
        let envoy_name = if name == "host" { ":authority".to_owned() } else { name.clone() };
        headers_out.push(HeaderMatcher {
            name: envoy_name,
            header_match_specifier: Some(header_matcher::HeaderMatchSpecifier::StringMatch(value)),
            ..HeaderMatcher::default()
        });
        seen.push(name);
    }
    let header_count = headers_out.len();
    let method = spec.method.as_ref().map(ToString::to_string);
    if let Some(HttpMethod::Unknown(value)) = &spec.method {
        return Err(Fault::new(
            ".method",
            format!("{value:?} is not a method"),
            "use GET, POST and so on, upper case",
        ));
    }
    if let Some(method) = &method {
        headers_out.push(method_matcher(method));
    }
    let mut query_parameters: Vec<QueryParameterMatcher> = Vec::new();
    for (index, parameter) in spec.query_params.iter().enumerate() {
        let at = format!(".queryParams[{index}]");
        if query_parameters.iter().any(|p| p.name == parameter.name) {
            continue;
        }
        if parameter.name.is_empty() {
            return Err(Fault::new(format!("{at}.name"), "the name is empty", "name the query parameter"));
        }
        let value = string_match(&parameter.match_type(), &parameter.value).map_err(|f| f.within(&at))?;
        query_parameters.push(QueryParameterMatcher {
            name: parameter.name.clone(),
            query_parameter_match_specifier: Some(
                query_parameter_matcher::QueryParameterMatchSpecifier::StringMatch(value),
            ),
        });
    }
    let rank = MatchRank {
        path,
        any_method: method.is_none(),
        headers: Reverse(header_count),
        query_parameters: Reverse(query_parameters.len()),
    };
    let envoy = RouteMatch {
        headers: headers_out,
        query_parameters,
        path_specifier: Some(path_specifier),
        ..RouteMatch::default()
    };
    Ok(Match { rank, envoy, path_prefix, method })
}

/// A matcher for the request method.
pub(crate) fn method_matcher(method: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: ":method".to_owned(),
        header_match_specifier: Some(header_matcher::HeaderMatchSpecifier::StringMatch(exact(method))),
        ..HeaderMatcher::default()
    }
}

fn path(spec: &HttpRouteMatch) -> Result<(route_match::PathSpecifier, PathRank, Option<String>), Fault> {
    let kind =
        spec.path.as_ref().map(postern_api::gateway_api::HttpPathMatch::match_type).unwrap_or_default();
    let value = spec.path.as_ref().map_or("/", |p| p.value());
    let literal = || {
        if !value.starts_with('/') || value.contains(['?', '#']) {
            return Err(Fault::new(".path.value", format!("{value:?} is not a path"), PATH_REMEDY));
        }
        Ok(())
    };
    match kind {
        PathMatchType::Exact => {
            literal()?;
            Ok((route_match::PathSpecifier::Path(value.to_owned()), PathRank::Exact, None))
        }
        PathMatchType::PathPrefix => {
            literal()?;
            let trimmed = value.trim_end_matches('/');
            let specifier = if trimmed.is_empty() {
                route_match::PathSpecifier::Prefix("/".to_owned())
            } else {
                route_match::PathSpecifier::PathSeparatedPrefix(trimmed.to_owned())
            };
            Ok((specifier, PathRank::Prefix(Reverse(value.len())), Some(trimmed.to_owned())))
        }
        PathMatchType::RegularExpression => {
            let regex = regex(value).map_err(|f| f.within(".path"))?;
            let specifier = route_match::PathSpecifier::SafeRegex(regex_matcher(&regex));
            Ok((specifier, PathRank::RegularExpression(Reverse(value.len())), None))
        }
        PathMatchType::Unknown(other) => Err(Fault::new(
            ".path.type",
            format!("{other:?} is unknown"),
            "use Exact, PathPrefix or RegularExpression",
        )),
    }
}

fn string_match(
    kind: &HeaderMatchType,
    value: &str,
) -> Result<envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher, Fault> {
    match kind {
        HeaderMatchType::Exact => Ok(exact(value)),
        HeaderMatchType::RegularExpression => regex(value).map(|regex| safe_regex(&regex)),
        HeaderMatchType::Unknown(other) => {
            Err(Fault::new(".type", format!("{other:?} is unknown"), "use Exact or RegularExpression"))
        }
    }
}

/// A regular expression that Envoy (RE2) takes too. The `regex` crate has the same syntax but for a few
/// operators inside character classes, which are refused here.
pub(crate) fn regex(value: &str) -> Result<String, Fault> {
    let refuse =
        |why: String| Fault::new(".value", why, "use RE2 syntax (no look-around, no back-references)");
    if value.is_empty() {
        return Err(refuse("the regular expression is empty".to_owned()));
    }
    let parsed = Regex::new(value).map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        refuse(format!("{value:?} is not a regular expression: {last}"))
    })?;
    if ["&&", "~~", "(?x", "(?R", "(?u"].iter().any(|operator| value.contains(operator)) {
        return Err(refuse(format!("{value:?} uses an operator that Envoy does not know")));
    }
    Ok(parsed.as_str().to_owned())
}

/// The matchers that tell a CORS preflight, for `method` if one is given, from other OPTIONS requests.
pub(crate) fn preflight(method: Option<&str>) -> Vec<HeaderMatcher> {
    let matcher = |name: &str, specifier| HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..HeaderMatcher::default()
    };
    let present = || header_matcher::HeaderMatchSpecifier::PresentMatch(true);
    let requested =
        method.map_or_else(present, |m| header_matcher::HeaderMatchSpecifier::StringMatch(exact(m)));
    vec![
        method_matcher("OPTIONS"),
        matcher("access-control-request-method", requested),
        matcher("origin", present()),
    ]
}
