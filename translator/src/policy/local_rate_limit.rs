//! Rate limits that each proxy counts by itself.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit as EnvoyLimit;
use envoy_types::pb::envoy::r#type::v3::TokenBucket as EnvoyBucket;
use postern_api::duration;
use postern_api::kgateway::{LocalRateLimit as Spec, TokenBucket};

use super::setting::Setting;
use crate::envoy::slot;
use crate::envoy::{Any, duration as envoy_duration, per_million, u32_value};
use crate::problem::Fault;

/// The filter's name in Envoy.
const FILTER: &str = "envoy.filters.http.local_ratelimit";
/// Envoy refuses a shorter one.
const SHORTEST: Duration = Duration::from_millis(50);
const ALL: u32 = 1_000_000;

/// Tokens, and how they come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LocalRateLimit {
    max_tokens: u32,
    tokens_per_fill: u32,
    fill_interval: Duration,
}

impl LocalRateLimit {
    /// Reads the field `rateLimit.local`; the fields of faults are relative to it. Without a bucket there is no limit, whatever a higher
    /// level says (kgateway v2.1).
    pub(crate) fn parse(spec: &Spec) -> Result<Setting<Self>, Fault> {
        let Some(bucket) = &spec.token_bucket else { return Ok(Setting::Disabled) };
        Self::of_bucket(bucket).map(Setting::Enabled).map_err(|fault| fault.within(".tokenBucket"))
    }

    fn of_bucket(bucket: &TokenBucket) -> Result<Self, Fault> {
        let tokens_per_fill = bucket.tokens_per_fill.unwrap_or(1);
        for (tokens, field) in [(bucket.max_tokens, ".maxTokens"), (tokens_per_fill, ".tokensPerFill")] {
            if tokens == 0 {
                return Err(Fault::new(field, "0 tokens would refuse everything", "use 1 or more"));
            }
        }
        let fill_interval = duration::parse_lenient(&bucket.fill_interval)
            .map_err(|e| Fault::new(".fillInterval", e.to_string(), super::DURATION_REMEDY))?;
        if fill_interval < SHORTEST {
            let message = format!("{} is too short", bucket.fill_interval);
            return Err(Fault::new(".fillInterval", message, "use 50ms or more, with more tokensPerFill"));
        }
        Ok(Self { max_tokens: bucket.max_tokens, tokens_per_fill, fill_interval })
    }

    /// What fills the slot of the route.
    pub(crate) fn envoy(self) -> Any {
        slot::filled(
            FILTER,
            EnvoyLimit {
                stat_prefix: "http_local_rate_limiter".to_owned(),
                token_bucket: Some(EnvoyBucket {
                    max_tokens: self.max_tokens,
                    tokens_per_fill: u32_value(self.tokens_per_fill),
                    fill_interval: envoy_duration(self.fill_interval),
                }),
                filter_enabled: Some(per_million(ALL, "")),
                filter_enforced: Some(per_million(ALL, "")),
                ..EnvoyLimit::default()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    #[test]
    fn buckets() {
        let parse = |text: &str| LocalRateLimit::parse(&yaml(text));
        let expected =
            LocalRateLimit { max_tokens: 5, tokens_per_fill: 1, fill_interval: Duration::from_mins(1) };
        assert_eq!(parse("tokenBucket: {maxTokens: 5, fillInterval: 1m}"), Ok(Setting::Enabled(expected)));
        assert_eq!(parse("{}"), Ok(Setting::Disabled));
        for (text, field) in [
            ("{maxTokens: 0, fillInterval: 1s}", ".tokenBucket.maxTokens"),
            ("{maxTokens: 1, tokensPerFill: 0, fillInterval: 1s}", ".tokenBucket.tokensPerFill"),
            ("{maxTokens: 1, fillInterval: soon}", ".tokenBucket.fillInterval"),
            ("{maxTokens: 1, fillInterval: 49ms}", ".tokenBucket.fillInterval"),
        ] {
            assert_eq!(parse(&format!("tokenBucket: {text}")).unwrap_err().field, field, "{text}");
        }
    }
}
