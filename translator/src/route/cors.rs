//! CORS (GEP-1767) of filters and policies, as Envoy's per-route `CorsPolicy`.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy as EnvoyCorsPolicy;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use postern_api::duration;
use postern_api::gateway_api::HttpCorsFilter;
use postern_api::kgateway::{CorsMaxAge, CorsOrigin, CorsOriginMatch, CorsOriginMatchType, CorsPolicy};

use super::{headers, matches};
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
            allow_methods: self.methods.join(", "),
            allow_headers: self.headers.join(", "),
            expose_headers: self.expose.join(", "),
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
        CorsOriginMatchType::Prefix => Ok(prefix(&origin.value)),
        CorsOriginMatchType::Regex => Ok(safe_regex(&matches::regex(&origin.value)?)),
        CorsOriginMatchType::Unknown(other) => {
            Err(Fault::new(".type", format!("{other:?} is unknown"), "use Exact, Prefix or Regex"))
        }
    }
}
