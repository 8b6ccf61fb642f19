//! Services that get access logs and spans by gRPC.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    BackoffStrategy, GrpcService, HeaderValue, RetryPolicy, grpc_service,
};
use postern_api::duration;
use postern_api::gateway_api::BackendRef;
use postern_api::kgateway::{CommonGrpcService, GrpcRetryPolicy};

use super::DURATION_REMEDY;
use crate::backend::ClusterId;
use crate::backend::resolve::{self, Unresolved};
use crate::dependency::Reader;
use crate::envoy::{duration as envoy_duration, u32_value};
use crate::object::ObjectKey;
use crate::problem::Fault;
use crate::route::headers;

/// A service and how it is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) cluster: ClusterId,
    authority: Option<String>,
    max_receive_message_length: Option<u32>,
    skip_envoy_headers: bool,
    timeout: Option<Duration>,
    metadata: Vec<(String, String)>,
    retry: Option<Retry>,
}

/// How long a call may take, in milliseconds: Envoy's router reads it and keeps it for itself. Access loggers and tracers do not look
/// at the timeout of a `GrpcService`.
const TIMEOUT_HEADER: &str = "x-envoy-upstream-rq-timeout-ms";

#[derive(Clone, Debug, PartialEq)]
struct Retry {
    times: Option<u32>,
    /// The shortest and the longest time between calls.
    back_off: Option<(Duration, Option<Duration>)>,
}

/// Reads a service; fields of faults are relative to it. Without a backend, the inner result says why.
pub(super) fn parse(
    reader: &Reader<'_>,
    policy: &ObjectKey,
    spec: &CommonGrpcService,
) -> Result<Result<Service, Unresolved>, Fault> {
    let timeout = spec.timeout.as_deref().map(timeout).transpose()?.flatten();
    let mut metadata = Vec::new();
    for (index, entry) in spec.initial_metadata.iter().enumerate() {
        let value = entry.value.clone().unwrap_or_default();
        let entry = pair(&entry.key, value).map_err(|f| f.within(&format!(".initialMetadata[{index}]")))?;
        metadata.push(entry);
    }
    let retry = spec.retry_policy.as_ref().map(retry).transpose()?;
    if spec.max_receive_message_length == Some(0) {
        return Err(Fault::new(".maxReceiveMessageLength", "it is 0", "use 1 or more, or remove it"));
    }
    let reference: BackendRef = (&spec.backend_ref).into();
    Ok(resolve::grpc_backend(reader, policy, &reference).map(|cluster| Service {
        cluster,
        authority: spec.authority.clone().filter(|it| !it.is_empty()),
        max_receive_message_length: spec.max_receive_message_length,
        skip_envoy_headers: spec.skip_envoy_headers == Some(true),
        timeout,
        metadata,
        retry,
    }))
}

pub(super) fn time(text: &str, field: &str) -> Result<Duration, Fault> {
    duration::parse_lenient(text).map_err(|error| Fault::new(field, error.to_string(), DURATION_REMEDY))
}

/// How long a call may take; `None` for no limit, which 0 says.
fn timeout(text: &str) -> Result<Option<Duration>, Fault> {
    let given = time(text, ".timeout")?;
    if given > Duration::ZERO && given < Duration::from_millis(1) {
        return Err(Fault::new(".timeout", "it is shorter than 1ms", "use 1ms or more, or remove it"));
    }
    Ok((!given.is_zero()).then_some(given))
}

/// An entry of metadata, as it may be in HTTP.
fn pair(key: &str, value: String) -> Result<(String, String), Fault> {
    let key = headers::name(key).map_err(|fault| fault.within(".key"))?;
    if key.starts_with("grpc-") || key.ends_with("-bin") {
        return Err(Fault::new(".key", format!("{key:?} belongs to gRPC"), "use another name"));
    }
    if key == TIMEOUT_HEADER {
        return Err(Fault::new(".key", format!("{key:?} is what timeout sets"), "use timeout"));
    }
    if ::http::HeaderValue::from_str(&value).is_err() {
        return Err(Fault::new(
            ".value",
            "it is not a legal value",
            "use visible characters, without line breaks",
        ));
    }
    // Envoy reads command operators there and then sends what it read them from.
    if value.contains('%') {
        return Err(Fault::new(".value", "it has a percent sign, which Envoy cannot send", "leave it out"));
    }
    Ok((key, value))
}

fn retry(spec: &GrpcRetryPolicy) -> Result<Retry, Fault> {
    let back_off = spec.retry_back_off.as_ref().map(|back_off| {
        let at = ".retryPolicy.retryBackOff";
        let base = time(&back_off.base_interval, ".baseInterval").map_err(|f| f.within(at))?;
        let max = back_off.max_interval.as_deref().map(|text| time(text, ".maxInterval"));
        let max = max.transpose().map_err(|f| f.within(at))?;
        if base < Duration::from_millis(1) {
            return Err(Fault::new(".baseInterval", "it is shorter than 1ms", "use 1ms or more").within(at));
        }
        if max.is_some_and(|max| max < base) {
            let fault =
                Fault::new(".maxInterval", "it is shorter than baseInterval", "make it as long, or longer");
            return Err(fault.within(at));
        }
        Ok((base, max))
    });
    if spec.num_retries == Some(0) {
        return Err(Fault::new(".retryPolicy.numRetries", "it is 0", "use 1 or more, or remove retryPolicy"));
    }
    Ok(Retry { times: spec.num_retries, back_off: back_off.transpose()? })
}

/// How a service is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calls {
    /// One message, one answer: OTLP lets a sender repeat what it does not know to have arrived.
    Unary,
    /// A stream of entries; what repeats it sends again what it has brought so far.
    Stream,
}

impl Calls {
    /// When Envoy makes a call again (`retry_on` of Envoy's routes).
    fn retried_on(self) -> &'static str {
        match self {
            // OTLP 1.x, "Failures": the retryable codes, as far as Envoy knows them.
            Self::Unary => "reset,cancelled,deadline-exceeded,unavailable",
            // Nothing of the stream has arrived.
            Self::Stream => "connect-failure,refused-stream",
        }
    }
}

impl Service {
    /// How Envoy calls it.
    pub(super) fn envoy(&self, calls: Calls) -> GrpcService {
        let authority = self.authority.clone().unwrap_or_else(|| self.cluster.authority());
        GrpcService {
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
                cluster_name: self.cluster.name(),
                authority,
                max_receive_message_length: self.max_receive_message_length.and_then(u32_value),
                skip_envoy_headers: self.skip_envoy_headers,
                ..grpc_service::EnvoyGrpc::default()
            })),
            // That of `EnvoyGrpc` is for xDS alone.
            retry_policy: self.retry.as_ref().map(|retry| retry.envoy(calls)),
            initial_metadata: self.initial_metadata(calls),
            ..GrpcService::default()
        }
    }

    fn initial_metadata(&self, calls: Calls) -> Vec<HeaderValue> {
        let timeout = self.timeout.filter(|_| calls == Calls::Unary);
        let timeout = timeout.map(|it| (TIMEOUT_HEADER.to_owned(), it.as_millis().to_string()));
        let entries = self.metadata.iter().cloned().chain(timeout);
        entries.map(|(key, value)| HeaderValue { key, value, ..HeaderValue::default() }).collect()
    }
}

impl Retry {
    fn envoy(&self, calls: Calls) -> RetryPolicy {
        RetryPolicy {
            retry_on: calls.retried_on().to_owned(),
            retry_back_off: self.back_off.map(|(base, max)| BackoffStrategy {
                base_interval: envoy_duration(base),
                max_interval: max.and_then(envoy_duration),
            }),
            num_retries: self.times.and_then(u32_value),
            ..RetryPolicy::default()
        }
    }
}
