//! CORS (GEP-1767) of filters and policies, as Envoy's per-route `CorsPolicy`.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy as EnvoyCorsPolicy;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use postern_api::duration;
use postern_api::gateway_api::HttpCorsFilter;
use postern_api::kgateway::{CorsMaxAge, CorsOrigin, CorsOriginMatch, CorsOriginMatchType, CorsPolicy};

use super::{headers, re2};
use crate::envoy::{bool_value, exact, prefix, safe_regex};
use crate::problem::Fault;

/// A valid CORS policy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cors {
    origins: Vec<StringMatcher>,
    methods: Vec<String>,
    headers: Vec<String>,
    expose: Vec<String>,
    max_age: Duration,
    credentials: bool,
}

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(5);

impl Cors {
    /// From the CORS filter of an HTTPRoute.
    pub(crate) fn from_filter(filter: &HttpCorsFilter) -> Result<Self, Fault> {
        let origins = filter
            .allow_origins
            .iter()
            .enumerate()
            .map(|(i, origin)| pattern(origin).map_err(|f| f.within(&format!(".allowOrigins[{i}]"))))
            .collect::<Result<_, _>>()?;
        Self {
            origins,
            methods: filter.allow_methods.clone(),
            headers: filter.allow_headers.clone(),
            expose: filter.expose_headers.clone(),
            max_age: Duration::from_secs(filter.max_age().into()),
            credentials: filter.allow_credentials.unwrap_or(false),
        }
        .checked()
    }

    /// From a TrafficPolicy, in either dialect.
    pub(crate) fn from_policy(policy: &CorsPolicy) -> Result<Self, Fault> {
        let origins = policy
            .allow_origins
            .iter()
            .enumerate()
            .map(|(i, origin)| {
                let at = format!(".allowOrigins[{i}]");
                match origin {
                    CorsOrigin::Origin(origin) => pattern(origin).map_err(|f| f.within(&at)),
                    CorsOrigin::Match(origin) => origin_match(origin).map_err(|f| f.within(&at)),
                }
            })
            .collect::<Result<_, _>>()?;
        let max_age = match &policy.max_age {
            None => DEFAULT_MAX_AGE,
            Some(CorsMaxAge::Seconds(seconds)) => Duration::from_secs((*seconds).into()),
            Some(CorsMaxAge::Duration(text)) => duration::parse_lenient(text).map_err(|e| {
                Fault::new(".maxAge", e.to_string(), "use seconds, or a duration such as 24h")
            })?,
        };
        Self {
            origins,
            methods: policy.allow_methods.clone(),
            headers: policy.allow_headers.clone(),
            expose: policy.expose_headers.clone(),
            max_age,
            credentials: policy.allow_credentials.unwrap_or(false),
        }
        .checked()
    }

    fn checked(self) -> Result<Self, Fault> {
        for (field, names) in [(".allowHeaders", &self.headers), (".exposeHeaders", &self.expose)] {
            for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "*") {
                headers::name(name).map_err(|f| f.within(&format!("{field}[{index}]")))?;
            }
        }
        for (index, method) in self.methods.iter().enumerate() {
            http::Method::from_bytes(method.as_bytes()).map_err(|_| {
                Fault::new(
                    format!(".allowMethods[{index}]"),
                    format!("{method:?} is not a method"),
                    "use GET, POST and so on, or *",
                )
            })?;
        }
        if self.credentials && self.expose.iter().any(|h| h == "*") {
            return Err(Fault::new(
                ".exposeHeaders",
                "browsers do not take * here together with credentials",
                "list the headers, or remove allowCredentials",
            ));
        }
        Ok(self)
    }

    /// The per-route configuration of Envoy's CORS filter.
    pub(crate) fn envoy(&self) -> EnvoyCorsPolicy {
        EnvoyCorsPolicy {
            allow_origin_string_match: self.origins.clone(),
            allow_methods: list(&self.methods),
            allow_headers: list(&self.headers),
            expose_headers: list(&self.expose),
            max_age: self.max_age.as_secs().to_string(),
            allow_credentials: self.credentials.then_some(()).and_then(|()| bool_value(true)),
            forward_not_matching_preflights: bool_value(false),
            ..EnvoyCorsPolicy::default()
        }
    }

    /// True if browsers may ask for `method`.
    pub(crate) fn allows_origins(&self) -> bool {
        !self.origins.is_empty()
    }
}

/// The value of a header that lists names. `*` means "all" to Envoy and to browsers only where it stands alone.
fn list(names: &[String]) -> String {
    if names.iter().any(|name| name == "*") { "*".to_owned() } else { names.join(", ") }
}

/// An origin of the Gateway API: `*`, `https://host[:port]`, or with `*` in place of part of it.
fn pattern(origin: &str) -> Result<StringMatcher, Fault> {
    if origin == "*" {
        return Ok(safe_regex(".*"));
    }
    let Some((scheme, host)) = origin.split_once("://") else {
        return Err(Fault::new(
            "",
            format!("{origin:?} is not an origin"),
            "write it like https://www.example.com",
        ));
    };
    if host.is_empty() || host.contains('/') || scheme.is_empty() {
        return Err(Fault::new(
            "",
            format!("{origin:?} is not an origin"),
            "leave out everything after host and port",
        ));
    }
    if origin.contains('*') {
        let escaped: Vec<String> = origin.split('*').map(regex::escape).collect();
        return Ok(safe_regex(&escaped.join(".*")));
    }
    Ok(exact(origin))
}

fn origin_match(origin: &CorsOriginMatch) -> Result<StringMatcher, Fault> {
    match origin.type_.clone().unwrap_or_default() {
        CorsOriginMatchType::Exact if origin.value == "*" => Ok(safe_regex(".*")),
        CorsOriginMatchType::Exact => Ok(exact(&origin.value)),
        CorsOriginMatchType::Prefix if origin.value.is_empty() => Err(Fault::new(
            ".value",
            "the prefix is empty",
            "give the start of an origin, or the exact origin *",
        )),
        CorsOriginMatchType::Prefix => Ok(prefix(&origin.value)),
        CorsOriginMatchType::Regex => Ok(safe_regex(&re2::regex(&origin.value)?)),
        CorsOriginMatchType::Unknown(other) => {
            Err(Fault::new(".type", format!("{other:?} is unknown"), "use Exact, Prefix or Regex"))
        }
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

    use super::*;
    use crate::dependency::tests::yaml;

    fn filter(spec: &str) -> Cors {
        Cors::from_filter(&yaml(spec)).unwrap_or_else(|fault| panic!("{spec}: {fault:?}"))
    }

    fn policy(spec: &str) -> Cors {
        Cors::from_policy(&yaml(spec)).unwrap_or_else(|fault| panic!("{spec}: {fault:?}"))
    }

    /// True if Envoy would take `origin`.
    fn takes(cors: &Cors, origin: &str) -> bool {
        cors.envoy().allow_origin_string_match.iter().any(|matcher| match &matcher.match_pattern {
            Some(MatchPattern::Exact(value)) => value == origin,
            Some(MatchPattern::Prefix(value)) => origin.starts_with(value),
            // Envoy's matchers are for the whole string.
            Some(MatchPattern::SafeRegex(regex)) => {
                regex::Regex::new(&format!("^(?:{})$", regex.regex)).unwrap().is_match(origin)
            }
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn origins_and_wildcards() {
        for (allowed, origin, expected) in [
            ("https://a.example.com", "https://a.example.com", true),
            ("https://a.example.com", "http://a.example.com", false),
            ("https://a.example.com", "https://a.example.com:8443", false),
            ("https://a.example.com:8443", "https://a.example.com:8443", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://a.example.com.evil.org", false),
            ("https://*.example.com", "https://axexample.com", false),
            ("https://*.example.com", "http://a.example.com", false),
            ("https://*.example.com:8443", "https://a.example.com:8443", true),
            ("*", "https://anything.example.org", true),
            ("*", "null", true),
        ] {
            let cors = filter(&format!("{{allowOrigins: ['{allowed}']}}"));
            assert_eq!(takes(&cors, origin), expected, "{origin} by {allowed}");
            let cors = policy(&format!("{{allowOrigins: ['{allowed}']}}"));
            assert_eq!(takes(&cors, origin), expected, "{origin} by {allowed} of a policy");
        }
    }

    #[test]
    fn the_filter_reaches_envoy() {
        let cors = filter(
            "{allowOrigins: ['https://a.b'], allowMethods: [GET, PUT], allowHeaders: [x-a, X-B], exposeHeaders: [x-c], \
             maxAge: 60, allowCredentials: true}",
        );
        let envoy = cors.envoy();
        assert_eq!(envoy.allow_methods, "GET, PUT");
        assert_eq!(envoy.allow_headers, "x-a, X-B");
        assert_eq!(envoy.expose_headers, "x-c");
        assert_eq!(envoy.max_age, "60");
        assert_eq!(envoy.allow_credentials, bool_value(true));
        assert_eq!(envoy.forward_not_matching_preflights, bool_value(false));
    }

    #[test]
    fn both_dialects_of_a_policy_say_the_same() {
        let ours = policy(
            "{allowOrigins: ['https://a.b'], allowMethods: [GET], maxAge: 24h, allowCredentials: true, allowHeaders: [x]}",
        );
        let other = policy(
            "{allowOrigins: ['https://a.b'], allowMethods: [GET], maxAge: 86400, allowCredentials: true, allowHeaders: [x]}",
        );
        assert_eq!(ours, other);
        assert_eq!(filter("{allowOrigins: ['https://a.b']}"), policy("{allowOrigins: ['https://a.b']}"));
        assert_eq!(policy("{}").envoy().max_age, "5");
    }

    #[test]
    fn a_policy_can_match_origins() {
        let by = |kind: &str, value: &str| {
            policy(&format!("{{allowOrigins: [{{type: {kind}, value: '{value}'}}]}}"))
        };
        assert!(takes(&by("Exact", "https://a.b"), "https://a.b"));
        assert!(takes(&by("Exact", "*"), "https://a.b"));
        assert!(takes(&by("Prefix", "https://a."), "https://a.b"));
        assert!(takes(&by("Regex", "https://[a-c]\\.b"), "https://c.b"));
        assert!(!takes(&by("Regex", "https://[a-c]\\.b"), "https://c.b.evil.org"));
    }

    /// With credentials `*` is the name of a header in browsers, so it would not do what it seems to say.
    #[test]
    fn credentials_and_wildcards() {
        let fault = |spec: &str| Cors::from_filter(&yaml(spec)).expect_err(spec).field;
        assert_eq!(
            fault("{allowOrigins: ['*'], allowCredentials: true, exposeHeaders: ['*']}"),
            ".exposeHeaders"
        );
        filter("{allowOrigins: ['*'], exposeHeaders: ['*']}");
        // Envoy answers with the very origin, and with the very headers that were asked for.
        filter("{allowOrigins: ['*'], allowCredentials: true}");
        assert_eq!(filter("{allowOrigins: ['*'], allowCredentials: false}").envoy().allow_credentials, None);
    }

    #[test]
    fn without_origins_nobody_is_allowed() {
        assert!(!filter("{}").allows_origins());
        assert!(filter("{allowOrigins: ['*']}").allows_origins());
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (spec, field) in [
            ("{allowOrigins: ['*', a.example.com]}", ".allowOrigins[1]"),
            ("{allowOrigins: ['https://']}", ".allowOrigins[0]"),
            ("{allowOrigins: ['https://a.b/path']}", ".allowOrigins[0]"),
            ("{allowOrigins: ['://a.b']}", ".allowOrigins[0]"),
            ("{allowHeaders: [a, 'b c']}", ".allowHeaders[1]"),
            ("{exposeHeaders: ['a:']}", ".exposeHeaders[0]"),
        ] {
            let fault = Cors::from_filter(&yaml(spec)).expect_err(spec);
            assert_eq!(fault.field, field, "{spec}: {}", fault.message);
            assert_eq!(Cors::from_policy(&yaml(spec)).expect_err(spec).field, field, "{spec} of a policy");
        }
        for (spec, field) in [
            ("{maxAge: soon}", ".maxAge"),
            ("{allowOrigins: [{type: Regex, value: '('}]}", ".allowOrigins[0].value"),
            ("{allowOrigins: [{type: Near, value: a}]}", ".allowOrigins[0].type"),
        ] {
            assert_eq!(Cors::from_policy(&yaml(spec)).expect_err(spec).field, field, "{spec}");
        }
    }

    /// Envoy refuses an empty prefix, and would send a line break in a method as the end of the header.
    #[test]
    fn what_envoy_refuses_is_refused() {
        for spec in ["{allowOrigins: [{type: Prefix, value: ''}]}", "{allowMethods: [\"GET\\r\\nx: y\"]}"] {
            assert!(Cors::from_policy(&yaml(spec)).is_err(), "{spec}");
        }
    }
}
