//! Protection against forged requests (CSRF): a request that changes something has to come from the host that it goes to.

use envoy_types::pb::envoy::extensions::filters::http::csrf::v3::CsrfPolicy as EnvoyCsrf;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher as EnvoyMatcher, string_matcher};
use postern_api::kgateway::{CsrfPolicy, StringMatcher};

use crate::envoy::slot;
use crate::envoy::{Any, exact, ignoring_case, per_million, prefix, safe_regex};
use crate::problem::Fault;
use crate::route::re2;

/// The filter's name in Envoy.
const FILTER: &str = "envoy.filters.http.csrf";
const MILLIONTHS_OF_A_PERCENT: u32 = 10_000;

/// Which requests are checked, and who may send them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Csrf {
    enabled_percent: u32,
    shadowed_percent: Option<u32>,
    origins: Vec<EnvoyMatcher>,
}

impl Csrf {
    /// Reads the field `csrf`; the fields of faults are relative to it.
    pub(crate) fn parse(spec: &CsrfPolicy) -> Result<Self, Fault> {
        let (enabled, shadowed) = (spec.percentage_enabled, spec.percentage_shadowed);
        for (percent, field) in [(enabled, ".percentageEnabled"), (shadowed, ".percentageShadowed")] {
            if let Some(percent) = percent.filter(|percent| *percent > 100) {
                return Err(Fault::new(field, format!("{percent} is not a percentage"), "use 0 to 100"));
            }
        }
        if enabled.is_some() && shadowed.is_some() {
            let message = "requests are either refused or only counted";
            return Err(Fault::new(".percentageShadowed", message, "remove it, or percentageEnabled"));
        }
        let origin = |(index, origin): (usize, &StringMatcher)| {
            matcher(origin).map_err(|fault| fault.within(&format!(".additionalOrigins[{index}]")))
        };
        Ok(Self {
            enabled_percent: enabled.unwrap_or(if shadowed.is_some() { 0 } else { 100 }),
            shadowed_percent: shadowed,
            origins: spec.additional_origins.iter().enumerate().map(origin).collect::<Result<_, _>>()?,
        })
    }

    /// What fills the slot of the route.
    pub(crate) fn envoy(&self) -> Any {
        let percent = |percent: u32| per_million(percent * MILLIONTHS_OF_A_PERCENT, "");
        slot::filled(
            FILTER,
            EnvoyCsrf {
                filter_enabled: Some(percent(self.enabled_percent)),
                shadow_enabled: self.shadowed_percent.map(percent),
                additional_origins: self.origins.clone(),
            },
        )
    }
}

/// A string matcher of the extension API as Envoy's.
pub(super) fn matcher(spec: &StringMatcher) -> Result<EnvoyMatcher, Fault> {
    let pattern = |pattern| EnvoyMatcher { match_pattern: Some(pattern), ..EnvoyMatcher::default() };
    let matcher = match spec {
        StringMatcher {
            exact: Some(it),
            prefix: None,
            suffix: None,
            contains: None,
            safe_regex: None,
            ..
        } => exact(it),
        StringMatcher {
            exact: None,
            prefix: Some(it),
            suffix: None,
            contains: None,
            safe_regex: None,
            ..
        } => prefix(it),
        StringMatcher {
            exact: None,
            prefix: None,
            suffix: Some(it),
            contains: None,
            safe_regex: None,
            ..
        } => pattern(string_matcher::MatchPattern::Suffix(it.clone())),
        StringMatcher {
            exact: None,
            prefix: None,
            suffix: None,
            contains: Some(it),
            safe_regex: None,
            ..
        } => pattern(string_matcher::MatchPattern::Contains(it.clone())),
        StringMatcher {
            exact: None,
            prefix: None,
            suffix: None,
            contains: None,
            safe_regex: Some(it),
            ..
        } => {
            let regex = re2::regex(it).map_err(|fault| Fault { field: ".safeRegex".to_owned(), ..fault })?;
            return Ok(safe_regex(&regex));
        }
        _ => {
            let message = "it says nothing, or several things";
            return Err(Fault::new(
                "",
                message,
                "give exactly one of exact, prefix, suffix, contains, safeRegex",
            ));
        }
    };
    Ok(if spec.ignore_case.unwrap_or(false) { ignoring_case(matcher) } else { matcher })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    #[test]
    fn all_requests_are_checked_unless_something_else_is_said() {
        for (text, expected) in [
            ("{}", (100, None)),
            ("percentageEnabled: 30", (30, None)),
            ("percentageEnabled: 0", (0, None)),
            ("percentageShadowed: 40", (0, Some(40))),
        ] {
            let csrf = Csrf::parse(&yaml(text)).unwrap();
            assert_eq!((csrf.enabled_percent, csrf.shadowed_percent), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (text, field) in [
            ("percentageEnabled: 101", ".percentageEnabled"),
            ("{percentageEnabled: 1, percentageShadowed: 1}", ".percentageShadowed"),
            ("additionalOrigins: [{exact: a}, {}]", ".additionalOrigins[1]"),
            ("additionalOrigins: [{exact: a, prefix: b}]", ".additionalOrigins[0]"),
            ("additionalOrigins: [{safeRegex: '('}]", ".additionalOrigins[0].safeRegex"),
        ] {
            assert_eq!(Csrf::parse(&yaml(text)).unwrap_err().field, field, "{text}");
        }
    }
}
