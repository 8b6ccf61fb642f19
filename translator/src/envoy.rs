//! Envoy configuration: one name for each message that the translator builds, and the helpers that keep the
//! builders short. Several packages use the same message names, so they get aliases here, once.

pub(crate) mod cluster;
pub(crate) mod listener;
pub(crate) mod scope;
pub(crate) mod slot;
pub(crate) mod tls;

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
pub(crate) use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, DataSource, HeaderValue, HeaderValueOption,
    RuntimeFractionalPercent, TransportSocket, TypedExtensionConfig, address, config_source, data_source,
    header_value_option::HeaderAppendAction, socket_address,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
pub(crate) use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::protobuf::{BoolValue, Duration as PbDuration, UInt32Value};
use envoy_types::util::pack_any;
use prost::{Message, Name};

use crate::infrastructure::{Port, PortProtocol};

/// The cluster of shares that have no valid backend. It is never defined, so Envoy answers 500 for requests, and closes
/// connections.
pub(crate) const INVALID_CLUSTER: &str = "postern/invalid-backend";

/// Packs a message into an `Any`.
pub(crate) fn any<M: Message + Name>(message: M) -> Any {
    pack_any(message)
}

// Protobuf fields of message type are optional, so the three wrappers return what fits into the field.
#[expect(clippy::unnecessary_wraps, reason = "fits the field")]
pub(crate) fn u32_value(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

#[expect(clippy::unnecessary_wraps, reason = "fits the field")]
pub(crate) fn bool_value(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

/// Durations beyond a century are cut to it: Envoy refuses some that protobuf can hold.
#[expect(clippy::unnecessary_wraps, reason = "fits the field")]
pub(crate) fn duration(value: Duration) -> Option<PbDuration> {
    const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);
    let value = value.min(CENTURY);
    Some(PbDuration { seconds: value.as_secs().cast_signed(), nanos: value.subsec_nanos().cast_signed() })
}

/// "Ask the ADS stream that this message came by."
pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

/// A TCP socket. Endpoints are written like this whatever is sent to them.
pub(crate) fn socket(host: &str, port: u16) -> Address {
    socket_of(host, Port::tcp(port))
}

pub(crate) fn socket_of(host: &str, port: Port) -> Address {
    let protocol = match port.protocol {
        PortProtocol::Tcp => socket_address::Protocol::Tcp,
        PortProtocol::Udp => socket_address::Protocol::Udp,
    };
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            protocol: protocol.into(),
            address: host.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.port.into())),
            ..SocketAddress::default()
        })),
    }
}

pub(crate) fn exact(value: &str) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(string_matcher::MatchPattern::Exact(value.to_owned())),
        ..StringMatcher::default()
    }
}

/// The same matcher, whatever the case.
pub(crate) fn ignoring_case(matcher: StringMatcher) -> StringMatcher {
    StringMatcher { ignore_case: true, ..matcher }
}

pub(crate) fn prefix(value: &str) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(string_matcher::MatchPattern::Prefix(value.to_owned())),
        ..StringMatcher::default()
    }
}

pub(crate) fn regex_matcher(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..RegexMatcher::default() }
}

pub(crate) fn safe_regex(regex: &str) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(string_matcher::MatchPattern::SafeRegex(regex_matcher(regex))),
        ..StringMatcher::default()
    }
}

/// `numerator` of a million requests.
pub(crate) fn per_million(numerator: u32, runtime_key: &str) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent {
        default_value: Some(FractionalPercent { numerator, denominator: DenominatorType::Million.into() }),
        runtime_key: runtime_key.to_owned(),
    }
}

pub(crate) fn extension<M: Message + Name>(name: &str, config: M) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(config)) }
}

pub(crate) fn inline_string(value: impl Into<String>) -> DataSource {
    DataSource {
        specifier: Some(data_source::Specifier::InlineString(value.into())),
        ..DataSource::default()
    }
}

/// A header mutation. `%` starts a formatter command in Envoy, so a literal value has it doubled.
pub(crate) fn header(name: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.replace('%', "%%"),
            ..HeaderValue::default()
        }),
        append_action: action.into(),
        keep_empty_value: true,
        ..HeaderValueOption::default()
    }
}
