//! Fields of TrafficPolicy with structs of their own.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Disable;
use super::schema::{anything, go_duration, go_duration_or_seconds};
use crate::duration::{self, DurationError};
use crate::gateway_api::HttpHeaderFilter;

/// Time between retries, which grows from one retry to the next.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.baseInterval) || !has(self.maxInterval) || duration(self.baseInterval) <= duration(self.maxInterval)"
)
.message("baseInterval must not be longer than maxInterval: shorten it, or lengthen maxInterval"))]
pub struct BackOff {
    /// Time before the first retry, a Go duration. Defaults to 25ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub base_interval: Option<String>,
    /// Maximum time, a Go duration. Defaults to ten times the base interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub max_interval: Option<String>,
}

/// Header modification, as in kgateway v2.1.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct HeaderModifiers {
    /// Changes headers of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<HttpHeaderFilter>,
    /// Changes headers of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HttpHeaderFilter>,
}

/// Cross-origin resource sharing (CORS).
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsPolicy {
    /// Origins that may ask: a string as in the Gateway API, such as `https://example.com`, `https://*.example.com`
    /// or `*`, or an object with type (Exact, Prefix or Regex) and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_origins: Vec<CorsOrigin>,
    /// Methods that may be used, or *.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub allow_methods: Vec<String>,
    /// Names of headers that requests may have, or *.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub allow_headers: Vec<String>,
    /// Names of response headers that scripts may read, or *.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub expose_headers: Vec<String>,
    /// Time for which a browser may cache the response to a preflight request: a Go duration such as 24h, or a
    /// number of seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<CorsMaxAge>,
    /// Whether requests may carry credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Switches off what policies with less specific targets switch on (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<Disable>,
}

/// An origin that may ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CorsOrigin {
    /// An origin as in the Gateway API, with `*` alone or in front of the host.
    Origin(String),
    /// An origin with the way it is compared.
    Match(CorsOriginMatch),
}

impl Serialize for CorsOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Origin(origin) => serializer.serialize_str(origin),
            Self::Match(origin) => origin.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CorsOrigin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OriginVisitor;

        impl<'de> Visitor<'de> for OriginVisitor {
            type Value = CorsOrigin;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an origin such as https://example.com, or an object with type and value")
            }

            fn visit_str<E: de::Error>(self, origin: &str) -> Result<CorsOrigin, E> {
                Ok(CorsOrigin::Origin(origin.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CorsOrigin, A::Error> {
                CorsOriginMatch::deserialize(MapAccessDeserializer::new(map)).map(CorsOrigin::Match)
            }
        }

        deserializer.deserialize_any(OriginVisitor)
    }
}

impl JsonSchema for CorsOrigin {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CorsOrigin".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        anything(generator)
    }
}

/// An origin that may ask, with the way it is compared.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsOriginMatch {
    /// How origins are compared with the value. Defaults to Exact.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<CorsOriginMatchType>,
    /// Value.
    pub value: String,
}

open_enum! {
    /// How an origin is compared.
    pub enum CorsOriginMatchType, default Exact {
        /// Equal.
        Exact,
        /// It starts with the value.
        Prefix,
        /// The regular expression matches the whole origin.
        Regex,
    }
}

/// Time for which a browser may cache the response to a preflight request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CorsMaxAge {
    /// Seconds, as in the Gateway API.
    Seconds(u32),
    /// A Go duration, or seconds without unit.
    Duration(String),
}

impl CorsMaxAge {
    /// The time.
    ///
    /// # Errors
    /// [`DurationError`] when the string is neither a Go duration nor a whole number of seconds.
    pub fn duration(&self) -> Result<Duration, DurationError> {
        match self {
            Self::Seconds(seconds) => Ok(Duration::from_secs((*seconds).into())),
            Self::Duration(text) => match text.parse::<u32>() {
                Ok(seconds) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Ok(Duration::from_secs(seconds.into()))
                }
                _ => duration::parse_lenient(text),
            },
        }
    }
}

impl Serialize for CorsMaxAge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Seconds(seconds) => serializer.serialize_u32(*seconds),
            Self::Duration(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for CorsMaxAge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MaxAgeVisitor;

        impl Visitor<'_> for MaxAgeVisitor {
            type Value = CorsMaxAge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 24h, or a whole number of seconds")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<CorsMaxAge, E> {
                let seconds = u32::try_from(seconds)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(seconds), &self))?;
                Ok(CorsMaxAge::Seconds(seconds))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<CorsMaxAge, E> {
                let seconds = u32::try_from(seconds)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(seconds), &self))?;
                Ok(CorsMaxAge::Seconds(seconds))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CorsMaxAge, E> {
                Ok(CorsMaxAge::Duration(text.to_owned()))
            }
        }

        deserializer.deserialize_any(MaxAgeVisitor)
    }
}

impl JsonSchema for CorsMaxAge {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CorsMaxAge".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        go_duration_or_seconds(generator)
    }
}
