//! `HTTPRouteMatch` to Envoy's `RouteMatch`.

use std::cmp::Reverse;

use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher, query_parameter_matcher, route_match,
};
use postern_api::gateway_api::{HeaderMatchType, HttpHeaderMatch, HttpMethod, HttpRouteMatch, PathMatchType};

use super::headers;
use super::order::{MatchRank, PathRank};
use super::re2::regex;
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

/// Envoy's limit.
const MAX_QUERY_NAME_BYTES: usize = 1024;
const PATH_REMEDY: &str = "start it with / and leave out ? and #";

/// Translates one match; the empty match is the prefix `/`.
pub(crate) fn translate(spec: &HttpRouteMatch) -> Result<Match, Fault> {
    let (path_specifier, path, path_prefix) = path(spec)?;
    let mut headers_out = header_matchers(&spec.headers)?;
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
        if parameter.name.is_empty() || parameter.name.len() > MAX_QUERY_NAME_BYTES {
            return Err(Fault::new(
                format!("{at}.name"),
                format!("the name has {} bytes", parameter.name.len()),
                format!("use 1 to {MAX_QUERY_NAME_BYTES} bytes"),
            ));
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

/// The conditions on headers.
pub(crate) fn header_matchers(specs: &[HttpHeaderMatch]) -> Result<Vec<HeaderMatcher>, Fault> {
    let mut out = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for (index, header) in specs.iter().enumerate() {
        let at = format!(".headers[{index}]");
        let name = headers::name(&header.name).map_err(|f| f.within(".name").within(&at))?;
        // Of several entries with one name only the first counts (HTTPHeaderMatch).
        if seen.contains(&name) {
            continue;
        }
        let value = string_match(&header.match_type(), &header.value).map_err(|f| f.within(&at))?;
        let envoy_name = if name == "host" { ":authority".to_owned() } else { name.clone() };
        out.push(HeaderMatcher {
            name: envoy_name,
            header_match_specifier: Some(header_matcher::HeaderMatchSpecifier::StringMatch(value)),
            ..HeaderMatcher::default()
        });
        seen.push(name);
    }
    Ok(out)
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
        if !value.starts_with('/') || value.contains(['?', '#']) || value.contains(char::is_control) {
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
            Ok((specifier, PathRank::Prefix(Reverse(trimmed.len().max(1))), Some(trimmed.to_owned())))
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

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

    use super::*;
    use crate::dependency::tests::yaml;

    fn read(spec: &str) -> Match {
        translate(&yaml(spec)).unwrap_or_else(|fault| panic!("{spec}: {fault:?}"))
    }

    fn pattern(matcher: &StringMatcher) -> String {
        match &matcher.match_pattern {
            Some(MatchPattern::Exact(value)) => format!("={value}"),
            Some(MatchPattern::SafeRegex(regex)) => format!("~{}", regex.regex),
            other => panic!("{other:?}"),
        }
    }

    /// Header matchers as `name=value` or `name~regex`.
    fn headers(matching: &Match) -> Vec<String> {
        let one = |header: &HeaderMatcher| match &header.header_match_specifier {
            Some(header_matcher::HeaderMatchSpecifier::StringMatch(value)) => {
                format!("{}{}", header.name, pattern(value))
            }
            other => panic!("{other:?}"),
        };
        matching.envoy.headers.iter().map(one).collect()
    }

    fn query_parameters(matching: &Match) -> Vec<String> {
        let one = |parameter: &QueryParameterMatcher| match &parameter.query_parameter_match_specifier {
            Some(query_parameter_matcher::QueryParameterMatchSpecifier::StringMatch(value)) => {
                format!("{}{}", parameter.name, pattern(value))
            }
            other => panic!("{other:?}"),
        };
        matching.envoy.query_parameters.iter().map(one).collect()
    }

    /// HTTPRouteRule.matches: exact path, longest prefix, method, most headers, most query parameters.
    #[test]
    fn ranks_follow_the_specification() {
        let ordered = [
            "{path: {type: Exact, value: /a}, method: GET}",
            "{path: {type: Exact, value: /a/long/one}, headers: [{name: a, value: b}]}",
            "{path: {type: Exact, value: /a}}",
            "{path: {type: RegularExpression, value: '/[a-z]+'}}",
            "{path: {type: RegularExpression, value: '/.*'}, method: GET}",
            "{path: {type: PathPrefix, value: /long/prefix}}",
            "{path: {type: PathPrefix, value: /short}, method: GET}",
            "{path: {type: PathPrefix, value: /short}, headers: [{name: a, value: b}, {name: c, value: d}]}",
            "{path: {type: PathPrefix, value: /short}, headers: [{name: a, value: b}], queryParams: [{name: q, value: v}]}",
            "{path: {type: PathPrefix, value: /short}, headers: [{name: a, value: b}]}",
            "{path: {value: /short}, queryParams: [{name: q, value: v}, {name: r, value: v}]}",
            "{path: {value: /short}, queryParams: [{name: q, value: v}]}",
            "{path: {value: /short}}",
            "{method: GET, headers: [{name: a, value: b}]}",
            "{method: GET}",
            "{headers: [{name: a, value: b}]}",
            "{}",
        ];
        for (index, first) in ordered.iter().enumerate() {
            for second in &ordered[index + 1..] {
                assert!(read(first).rank < read(second).rank, "{first} comes before {second}");
            }
        }
    }

    #[test]
    fn prefixes_match_by_element_and_ignore_a_trailing_slash() {
        use route_match::PathSpecifier::{Path, PathSeparatedPrefix, Prefix};
        for (spec, expected, prefix) in [
            ("{}", Prefix("/".into()), Some("")),
            ("{path: {type: PathPrefix, value: /}}", Prefix("/".into()), Some("")),
            ("{path: {value: /a}}", PathSeparatedPrefix("/a".into()), Some("/a")),
            ("{path: {value: /a/}}", PathSeparatedPrefix("/a".into()), Some("/a")),
            ("{path: {value: /a/b/}}", PathSeparatedPrefix("/a/b".into()), Some("/a/b")),
            ("{path: {type: Exact, value: /a/}}", Path("/a/".into()), None),
        ] {
            let matching = read(spec);
            assert_eq!(matching.envoy.path_specifier, Some(expected), "{spec}");
            assert_eq!(matching.path_prefix.as_deref(), prefix, "{spec}");
        }
    }

    /// `/a` and `/a/` are the same prefix, so the older route wins between them.
    #[test]
    fn a_trailing_slash_does_not_make_a_prefix_longer() {
        assert_eq!(read("{path: {value: /a/}}").rank, read("{path: {value: /a}}").rank);
    }

    #[test]
    fn headers_become_matchers_and_the_first_of_a_name_counts() {
        let matching = read(
            "{headers: [{name: X-A, value: one}, {name: x-a, value: two}, {name: Host, value: a.b}, \
             {name: v, type: RegularExpression, value: '[0-9]+'}], method: PUT}",
        );
        assert_eq!(headers(&matching), ["x-a=one", ":authority=a.b", "v~[0-9]+", ":method=PUT"]);
        assert_eq!(matching.rank.headers, Reverse(3), "the method and the repeated header do not count");
        assert_eq!(matching.method.as_deref(), Some("PUT"));
    }

    #[test]
    fn query_parameters_become_matchers_and_the_first_of_a_name_counts() {
        let matching = read(
            "{queryParams: [{name: q, value: one}, {name: q, value: two}, {name: Q, value: three}, \
             {name: r, type: RegularExpression, value: 'a|b'}]}",
        );
        assert_eq!(query_parameters(&matching), ["q=one", "Q=three", "r~a|b"], "names keep their case");
        assert_eq!(matching.rank.query_parameters, Reverse(3));
    }

    #[test]
    fn what_cannot_be_read_names_its_field() {
        for (spec, field) in [
            ("{path: {type: Exact, value: a}}", ".path.value"),
            ("{path: {value: '/a?b'}}", ".path.value"),
            ("{path: {value: '/a#b'}}", ".path.value"),
            ("{path: {type: Exact, value: ''}}", ".path.value"),
            ("{path: {type: RegularExpression, value: '('}}", ".path.value"),
            ("{path: {type: RegularExpression, value: ''}}", ".path.value"),
            ("{path: {type: Near, value: /}}", ".path.type"),
            ("{method: get}", ".method"),
            ("{headers: [{name: a, value: b}, {name: 'a b', value: c}]}", ".headers[1].name"),
            ("{headers: [{name: ':path', value: c}]}", ".headers[0].name"),
            ("{headers: [{name: '', value: c}]}", ".headers[0].name"),
            ("{headers: [{name: a, type: RegularExpression, value: '*'}]}", ".headers[0].value"),
            ("{headers: [{name: a, type: Near, value: b}]}", ".headers[0].type"),
            ("{queryParams: [{name: '', value: b}]}", ".queryParams[0].name"),
            ("{queryParams: [{name: q, type: RegularExpression, value: '[b'}]}", ".queryParams[0].value"),
        ] {
            let fault = translate(&yaml(spec)).expect_err(spec);
            assert_eq!(fault.field, field, "{spec}: {}", fault.message);
            assert!(!fault.message.is_empty() && !fault.remedy.is_empty(), "{spec}");
        }
    }

    #[test]
    fn regular_expressions_that_mean_something_else_to_envoy_are_refused() {
        for good in
            ["/a/[0-9]+", "(?i)abc", "a{1000}", "\\d+|\\pL", "[[:alpha:]]", "(?P<n>a)", "/v[12]/.*\\.png"]
        {
            assert_eq!(regex(good).as_deref(), Ok(good));
        }
        for bad in ["a(?=b)", "(a)\\1", "[a&&b]", "[a~~b]", "(?x) a", "(?R)a", "(?u)a", "a{,", "\\"] {
            assert!(regex(bad).is_err(), "{bad}");
        }
    }

    /// Envoy 1.40 refuses the first group, and with it the whole scope of the host; it reads the second group
    /// in another way (`[a[bc]]` is one of `a[bc` and then a `]`).
    #[test]
    fn regular_expressions_that_only_this_crate_understands_are_refused() {
        let refused_by_envoy = [
            "a{1001}",
            "(a{500}){3}",
            "a**",
            "\\u0041",
            "\\U00000041",
            "(?ix)a",
            "(?iR)a",
            "(?-u)a",
            "(?i-u)a",
            "\\p{Letter}",
            "\\p{Alphabetic}",
            "\\p{scx=Greek}",
        ];
        let read_in_another_way = ["[a-z--[b]]", "[a[bc]]", "\\<a", "\\b{start}a"];
        let passed: Vec<&str> = refused_by_envoy
            .into_iter()
            .chain(read_in_another_way)
            .filter(|value| regex(value).is_ok())
            .collect();
        assert_eq!(passed, [""; 0]);
    }

    #[test]
    fn a_preflight_asks_for_the_method_that_follows() {
        let names = |method| preflight(method).into_iter().map(|m| m.name).collect::<Vec<_>>();
        assert_eq!(names(None), [":method", "access-control-request-method", "origin"]);
        let asked = preflight(Some("PUT")).remove(1).header_match_specifier;
        let put = header_matcher::HeaderMatchSpecifier::StringMatch(exact("PUT"));
        assert_eq!(asked, Some(put));
    }
}
