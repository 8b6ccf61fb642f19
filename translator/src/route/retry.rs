//! Retries of HTTPRoutes (GEP-1731) and of policies, as Envoy's `RetryPolicy`.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::{RetryPolicy as EnvoyRetryPolicy, retry_policy};
use postern_api::duration::{self, parse_lenient};
use postern_api::gateway_api::HttpRouteRetry;
use postern_api::kgateway::{RetriesPolicy, RetryPolicy};

use crate::envoy::{duration as envoy_duration, u32_value};
use crate::problem::Fault;

/// What connection errors are to Envoy: `reset` covers a backend that went away after it had read the request.
const CONNECTION_ERRORS: &str = "connect-failure,refused-stream,reset";
/// A try that got no answer in time counts as a reset.
const TRY_TIMEOUT: &str = "reset";
const BY_STATUS_CODE: &str = "retriable-status-codes";

/// Envoy's retry conditions for HTTP and gRPC.
const CONDITIONS: [&str; 18] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "grpc-retriable",
    "http2-post-connect-failure",
];

/// Valid retry settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Retry {
    on: Vec<String>,
    codes: Vec<u32>,
    /// Tries after the first; Envoy's default is one.
    attempts: Option<u32>,
    pub(crate) per_try_timeout: Option<Duration>,
    base_interval: Option<Duration>,
    max_interval: Option<Duration>,
}

const DURATION_REMEDY: &str = "use a duration such as 100ms, 2s or 1m30s";

impl Retry {
    /// From a rule of an HTTPRoute.
    pub(crate) fn from_rule(retry: &HttpRouteRetry) -> Result<Self, Fault> {
        let backoff = retry
            .backoff
            .as_deref()
            .map(duration::parse)
            .transpose()
            .map_err(|e| Fault::new(".backoff", e.to_string(), DURATION_REMEDY))?;
        let mut on = vec![CONNECTION_ERRORS.to_owned()];
        let codes = codes(&retry.codes).map_err(|f| f.within(".codes"))?;
        if !codes.is_empty() {
            on.push(BY_STATUS_CODE.to_owned());
        }
        Ok(Self { on, codes, attempts: retry.attempts, base_interval: backoff, ..Self::default() })
    }

    /// From `retries` of a TrafficPolicy.
    pub(crate) fn from_retries(retries: &RetriesPolicy) -> Result<Self, Fault> {
        let conditions: Vec<String> = match &retries.retry_on {
            Some(list) => list.split(',').map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect(),
            None => vec!["connect-failure".into(), "refused-stream".into(), "gateway-error".into()],
        };
        let (on, codes) = conditions_and_codes(&conditions).map_err(|f| f.within(".retryOn"))?;
        let back_off = retries.back_off.as_ref();
        let base_interval =
            interval(back_off.and_then(|b| b.base_interval.as_deref()), ".backOff.baseInterval")?;
        let max_interval =
            interval(back_off.and_then(|b| b.max_interval.as_deref()), ".backOff.maxInterval")?;
        Self {
            on,
            codes,
            attempts: retries.attempts,
            per_try_timeout: interval(retries.per_try_timeout.as_deref(), ".perTryTimeout")?,
            base_interval,
            max_interval,
        }
        .checked()
    }

    /// From `retry` of a TrafficPolicy (kgateway v2.1).
    pub(crate) fn from_retry(retry: &RetryPolicy) -> Result<Self, Fault> {
        let (mut on, mut all) = conditions_and_codes(&retry.retry_on).map_err(|f| f.within(".retryOn"))?;
        all.extend(codes(&retry.status_codes).map_err(|f| f.within(".statusCodes"))?);
        if !all.is_empty() && !on.iter().any(|c| c == BY_STATUS_CODE) {
            on.push(BY_STATUS_CODE.to_owned());
        }
        if on.is_empty() {
            return Err(Fault::new("", "nothing says what to retry on", "set retryOn or statusCodes"));
        }
        Self {
            on,
            codes: all,
            attempts: retry.attempts,
            per_try_timeout: interval(retry.per_try_timeout.as_deref(), ".perTryTimeout")?,
            base_interval: interval(retry.backoff_base_interval.as_deref(), ".backoffBaseInterval")?,
            max_interval: None,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, Fault> {
        if let (Some(base), Some(max)) = (self.base_interval, self.max_interval)
            && max < base
        {
            return Err(Fault::new(
                ".backOff.maxInterval",
                "it is shorter than baseInterval",
                "make maxInterval at least as long as baseInterval",
            ));
        }
        Ok(self)
    }

    /// Envoy's policy. `timeout_per_try` comes from `timeouts.backendRequest` and wins over the policy's own.
    pub(crate) fn envoy(&self, timeout_per_try: Option<Duration>) -> EnvoyRetryPolicy {
        let per_try = timeout_per_try.or(self.per_try_timeout).filter(|t| !t.is_zero());
        let mut on = self.on.clone();
        if per_try.is_some()
            && !on
                .iter()
                .flat_map(|c| c.split(','))
                .any(|c| [TRY_TIMEOUT, "gateway-error", "5xx"].contains(&c))
        {
            on.push(TRY_TIMEOUT.to_owned());
        }
        let back_off = self.base_interval.or(self.max_interval).map(|_| {
            let base = self.base_interval.unwrap_or(Duration::from_millis(25)).max(Duration::from_millis(1));
            retry_policy::RetryBackOff {
                base_interval: envoy_duration(base),
                max_interval: self.max_interval.map(|max| max.max(base)).and_then(envoy_duration),
            }
        });
        EnvoyRetryPolicy {
            retry_on: on.join(","),
            num_retries: self.attempts.and_then(u32_value),
            retriable_status_codes: self.codes.clone(),
            per_try_timeout: per_try.and_then(envoy_duration),
            retry_back_off: back_off,
            // Another endpoint is a better bet than the one that just failed.
            host_selection_retry_max_attempts: 5,
            retry_host_predicate: vec![retry_policy::RetryHostPredicate {
                name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
                config_type: Some(retry_policy::retry_host_predicate::ConfigType::TypedConfig(crate::envoy::any(
                    envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate::default(),
                ))),
            }],
            ..EnvoyRetryPolicy::default()
        }
    }
}

/// A policy that limits the time of the only try.
pub(crate) fn single_try(timeout: Duration) -> EnvoyRetryPolicy {
    EnvoyRetryPolicy {
        num_retries: u32_value(0),
        per_try_timeout: envoy_duration(timeout),
        ..EnvoyRetryPolicy::default()
    }
}

fn interval(text: Option<&str>, field: &str) -> Result<Option<Duration>, Fault> {
    text.map(parse_lenient).transpose().map_err(|e| Fault::new(field, e.to_string(), DURATION_REMEDY))
}

fn codes(codes: &[u16]) -> Result<Vec<u32>, Fault> {
    codes
        .iter()
        .enumerate()
        .map(|(index, code)| {
            if (400..=599).contains(code) {
                Ok(u32::from(*code))
            } else {
                Err(Fault::new(
                    format!("[{index}]"),
                    format!("{code} is not an error status"),
                    "use 400 to 599",
                ))
            }
        })
        .collect()
}

/// Envoy's conditions; bare status codes among them are taken as such.
fn conditions_and_codes(conditions: &[String]) -> Result<(Vec<String>, Vec<u32>), Fault> {
    let mut on = Vec::new();
    let mut codes = Vec::new();
    for condition in conditions {
        match condition.parse::<u32>() {
            Ok(code @ 400..=599) => codes.push(code),
            _ if CONDITIONS.contains(&condition.as_str()) => on.push(condition.clone()),
            _ => {
                return Err(Fault::new(
                    "",
                    format!("{condition:?} is not a retry condition"),
                    format!("use some of {}", CONDITIONS.join(", ")),
                ));
            }
        }
    }
    if !codes.is_empty() && !on.iter().any(|c| c == BY_STATUS_CODE) {
        on.push(BY_STATUS_CODE.to_owned());
    }
    Ok((on, codes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    const CONNECTION: &str = "connect-failure,refused-stream,reset";

    fn rule(spec: &str) -> Retry {
        Retry::from_rule(&yaml(spec)).unwrap_or_else(|fault| panic!("{spec}: {fault:?}"))
    }

    fn retries(spec: &str) -> Retry {
        Retry::from_retries(&yaml(spec)).unwrap_or_else(|fault| panic!("{spec}: {fault:?}"))
    }

    fn retry(spec: &str) -> Retry {
        Retry::from_retry(&yaml(spec)).unwrap_or_else(|fault| panic!("{spec}: {fault:?}"))
    }

    /// GEP-1731: codes on top of connection errors.
    #[test]
    fn retries_of_a_rule() {
        let envoy = rule("{codes: [500, 503], attempts: 3, backoff: 100ms}").envoy(None);
        assert_eq!(envoy.retry_on, format!("{CONNECTION},retriable-status-codes"));
        assert_eq!(envoy.retriable_status_codes, [500, 503]);
        assert_eq!(envoy.num_retries, u32_value(3));
        assert_eq!(envoy.retry_back_off.unwrap().base_interval, envoy_duration(Duration::from_millis(100)));
        assert_eq!(envoy.per_try_timeout, None);
        let envoy = rule("{}").envoy(None);
        assert_eq!((envoy.retry_on.as_str(), envoy.num_retries), (CONNECTION, None));
        assert_eq!(rule("{attempts: 0}").envoy(None).num_retries, u32_value(0));
    }

    /// An endpoint that failed is not asked again while there are others.
    #[test]
    fn another_endpoint_is_tried() {
        let envoy = rule("{attempts: 1}").envoy(None);
        assert_eq!(envoy.retry_host_predicate.len(), 1);
        assert!(envoy.host_selection_retry_max_attempts > 0);
    }

    #[test]
    fn the_timeout_of_a_try() {
        let two = Duration::from_secs(2);
        let own = retries("{retryOn: 5xx, perTryTimeout: 3s}");
        assert_eq!(own.envoy(None).per_try_timeout, envoy_duration(Duration::from_secs(3)));
        assert_eq!(own.envoy(Some(two)).per_try_timeout, envoy_duration(two), "backendRequest wins");
        assert_eq!(own.envoy(Some(two)).retry_on, "5xx");
        assert_eq!(retries("{retryOn: 5xx, perTryTimeout: 0s}").envoy(None).per_try_timeout, None);
        let envoy = single_try(two);
        assert_eq!((envoy.num_retries, envoy.per_try_timeout), (u32_value(0), envoy_duration(two)));
    }

    /// A try that times out is retried, whatever the conditions are.
    #[test]
    fn a_timed_out_try_is_retried() {
        let envoy = retries("{retryOn: connect-failure, perTryTimeout: 1s}").envoy(None);
        assert_eq!(envoy.retry_on, "connect-failure,reset");
        let envoy = retries("{retryOn: connect-failure}").envoy(None);
        assert_eq!(envoy.retry_on, "connect-failure");
    }

    /// `reset` covers a try without an answer in time; `gateway-error` would also retry 502, 503 and 504 that the
    /// backend answers, which nobody listed.
    #[test]
    fn a_timeout_adds_no_codes_that_nobody_listed() {
        let envoy = rule("{codes: [500]}").envoy(Some(Duration::from_secs(1)));
        assert_eq!(envoy.retry_on, format!("{CONNECTION},retriable-status-codes"));
    }

    #[test]
    fn both_dialects_of_a_policy_say_the_same() {
        assert_eq!(
            retries(
                "{attempts: 2, retryOn: 'connect-failure, 503', perTryTimeout: 1s, backOff: {baseInterval: 50ms}}"
            ),
            retry(
                "{attempts: 2, retryOn: [connect-failure], statusCodes: [503], perTryTimeout: 1s, backoffBaseInterval: 50ms}"
            ),
        );
    }

    #[test]
    fn a_policy_without_conditions_has_defaults_or_is_refused() {
        assert_eq!(
            retries("{attempts: 2}").envoy(None).retry_on,
            "connect-failure,refused-stream,gateway-error"
        );
        assert!(Retry::from_retry(&yaml("{attempts: 2}")).is_err());
    }

    #[test]
    fn back_off() {
        let both = |spec: &str| {
            let back_off = retries(spec).envoy(None).retry_back_off.unwrap();
            (back_off.base_interval, back_off.max_interval)
        };
        let ms = |ms| envoy_duration(Duration::from_millis(ms));
        assert_eq!(both("{backOff: {baseInterval: 50ms, maxInterval: 1s}}"), (ms(50), ms(1000)));
        assert_eq!(both("{backOff: {maxInterval: 1s}}"), (ms(25), ms(1000)), "Envoy's own base");
        // Envoy refuses zero, and a maximum below the base.
        assert_eq!(both("{backOff: {baseInterval: 0s}}"), (ms(1), None));
        assert_eq!(both("{backOff: {maxInterval: 1ms}}"), (ms(25), ms(25)));
        assert_eq!(retries("{}").envoy(None).retry_back_off, None);
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (spec, field) in [("{codes: [500, 200]}", ".codes[1]"), ("{backoff: 1.5s}", ".backoff")] {
            assert_eq!(Retry::from_rule(&yaml(spec)).expect_err(spec).field, field, "{spec}");
        }
        for (spec, field) in [
            ("{retryOn: 'connect-failure,sometimes'}", ".retryOn"),
            ("{retryOn: '200'}", ".retryOn"),
            ("{perTryTimeout: soon}", ".perTryTimeout"),
            ("{backOff: {baseInterval: x}}", ".backOff.baseInterval"),
            ("{backOff: {maxInterval: -1s}}", ".backOff.maxInterval"),
            ("{backOff: {baseInterval: 2s, maxInterval: 1s}}", ".backOff.maxInterval"),
        ] {
            assert_eq!(Retry::from_retries(&yaml(spec)).expect_err(spec).field, field, "{spec}");
        }
        for (spec, field) in [
            ("{retryOn: [sometimes]}", ".retryOn"),
            ("{statusCodes: [600]}", ".statusCodes[0]"),
            ("{retryOn: [5xx], backoffBaseInterval: x}", ".backoffBaseInterval"),
        ] {
            assert_eq!(Retry::from_retry(&yaml(spec)).expect_err(spec).field, field, "{spec}");
        }
    }
}
