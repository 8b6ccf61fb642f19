//! Fields of TrafficPolicy with structs of their own.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Disable;
use crate::gateway_api::HttpHeaderFilter;

/// Time between retries, which grows from one retry to the next.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackOff {
    /// Time before the first retry, a Go duration. Defaults to 25ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_interval: Option<String>,
    /// Greatest time, a Go duration. Defaults to ten times the base interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<String>,
}

/// Changes of headers, as in kgateway v2.1.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderModifiers {
    /// Changes headers of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<HttpHeaderFilter>,
    /// Changes headers of answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HttpHeaderFilter>,
}

/// Answers to cross-origin requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsPolicy {
    /// Origins that may ask: a string as in the Gateway API (https://example.com, https://*.example.com or
    /// *), or an object with type (Exact, Prefix or Regex) and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<CorsOrigin>,
    /// Methods that may be used, or *.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Names of headers that requests may have, or *.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Names of headers of answers that scripts may read, or *.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// Time for which a browser may keep the answer to a preflight request: a Go duration such as 24h, or a
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
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CorsOrigin {
    /// An origin as in the Gateway API, with `*` alone or in front of the host.
    Origin(String),
    /// An origin with the way it is compared.
    Match(CorsOriginMatch),
}

impl JsonSchema for CorsOrigin {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CorsOrigin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A structural schema cannot say "string or object" by type.
        json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
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

/// Time for which a browser may keep the answer to a preflight request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CorsMaxAge {
    /// Seconds, as in the Gateway API.
    Seconds(u32),
    /// A Go duration, or seconds without unit.
    Duration(String),
}

impl JsonSchema for CorsMaxAge {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CorsMaxAge".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}
