//! Connections: TCP keepalive and the options of HTTP.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_api::kgateway::{
    BackendHttp1Options, BackendHttp2Options, CommonHttpProtocolOptions, TcpKeepalive,
};

use super::{positive, time};
use crate::infrastructure::quantity;
use crate::problem::Fault;

/// TCP keepalive; what is not said is as the system of the proxy has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keepalive {
    pub(crate) probes: Option<u32>,
    pub(crate) idle_seconds: Option<u32>,
    pub(crate) interval_seconds: Option<u32>,
}

/// Linux refuses more (`TCP_KEEPIDLE`, `TCP_KEEPINTVL`), and the connection would fail.
const MOST_SECONDS: u64 = 32_767;
/// Linux refuses more (`TCP_KEEPCNT`).
const MOST_PROBES: u32 = 127;

impl Keepalive {
    pub(super) fn parse(given: &TcpKeepalive) -> Result<Self, Fault> {
        let seconds = |text: Option<&String>, field: &str| -> Result<Option<u32>, Fault> {
            let Some(text) = text else { return Ok(None) };
            let seconds = positive(text, field)?.as_secs();
            if !(1..=MOST_SECONDS).contains(&seconds) {
                let message = format!("{text} is not between 1s and {MOST_SECONDS}s");
                return Err(Fault::new(field, message, "use whole seconds, such as 30s"));
            }
            Ok(u32::try_from(seconds).ok())
        };
        if given.keep_alive_probes.is_some_and(|probes| probes > MOST_PROBES) {
            let message = format!("it is more than {MOST_PROBES}");
            return Err(Fault::new(".keepAliveProbes", message, "use fewer probes"));
        }
        Ok(Self {
            probes: given.keep_alive_probes,
            idle_seconds: seconds(given.keep_alive_time.as_ref(), ".keepAliveTime")?,
            interval_seconds: seconds(given.keep_alive_interval.as_ref(), ".keepAliveInterval")?,
        })
    }
}

/// Options of all versions of HTTP.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HttpOptions {
    /// Zero: none.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_headers: Option<u32>,
    pub(crate) max_stream_duration: Option<Duration>,
    /// Zero: any number.
    pub(crate) max_requests: Option<u32>,
}

impl HttpOptions {
    pub(super) fn parse(given: &CommonHttpProtocolOptions) -> Result<Self, Fault> {
        let optional = |text: Option<&String>, field: &str| text.map(|text| time(text, field)).transpose();
        if given.max_headers_count == Some(0) {
            let message = "no response could have less than one header";
            return Err(Fault::new(".maxHeadersCount", message, "use 1 or more, or remove it"));
        }
        Ok(Self {
            idle_timeout: optional(given.idle_timeout.as_ref(), ".idleTimeout")?,
            max_headers: given.max_headers_count,
            max_stream_duration: optional(given.max_stream_duration.as_ref(), ".maxStreamDuration")?
                .filter(|duration| !duration.is_zero()),
            max_requests: given.max_requests_per_connection,
        })
    }
}

/// Options of HTTP/1.1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Http1 {
    pub(crate) trailers: bool,
    pub(crate) keep_case: bool,
    pub(crate) lenient: Option<bool>,
}

impl Http1 {
    pub(super) fn parse(given: &BackendHttp1Options) -> Self {
        Self {
            trailers: given.enable_trailers.unwrap_or_default(),
            keep_case: given.preserve_http1_header_case.unwrap_or_default(),
            lenient: given.override_stream_error_on_invalid_http_message,
        }
    }
}

/// Options of HTTP/2.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Http2 {
    pub(crate) stream_window: Option<u32>,
    pub(crate) connection_window: Option<u32>,
    pub(crate) max_streams: Option<u32>,
    pub(crate) lenient: Option<bool>,
}

/// RFC 9113: the window that everybody begins with, which Envoy does not go below, and the largest.
const WINDOWS: std::ops::RangeInclusive<u32> = 65_535..=0x7fff_ffff;

impl Http2 {
    pub(super) fn parse(given: &BackendHttp2Options) -> Result<Self, Fault> {
        if given.max_concurrent_streams == Some(0) {
            let message = "without a stream no request could be sent";
            return Err(Fault::new(".maxConcurrentStreams", message, "use 1 or more, or remove it"));
        }
        Ok(Self {
            stream_window: window(given.initial_stream_window_size.as_ref(), ".initialStreamWindowSize")?,
            connection_window: window(
                given.initial_connection_window_size.as_ref(),
                ".initialConnectionWindowSize",
            )?,
            max_streams: given.max_concurrent_streams,
            lenient: given.override_stream_error_on_invalid_http_message,
        })
    }
}

fn window(given: Option<&IntOrString>, field: &str) -> Result<Option<u32>, Fault> {
    let text = match given {
        None => return Ok(None),
        Some(IntOrString::Int(number)) => number.to_string(),
        Some(IntOrString::String(text)) => text.clone(),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    let size = quantity::value(&text).map(|value| value.ceil() as u32).filter(|size| WINDOWS.contains(size));
    size.map(Some).ok_or_else(|| {
        Fault::new(
            field,
            format!("{text} is not a size from {} to {} bytes", WINDOWS.start(), WINDOWS.end()),
            "use a quantity such as 64Ki or 1Mi",
        )
    })
}
