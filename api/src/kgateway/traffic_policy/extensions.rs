//! What a TrafficPolicy says of GatewayExtensions.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kgateway::schema::descriptor_entry_of_type;
use crate::kgateway::{Disable, NamespacedReference};

/// External authorization.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct ExtAuthPolicy {
    /// The GatewayExtension that is asked, of type ExtAuth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<NamespacedReference>,
    /// The service gets the bodies of requests; this is preferred to what the GatewayExtension says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_request_body: Option<BodyToAuthorizer>,
    /// What the service is told beside the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub context_extensions: BTreeMap<String, String>,
    /// Switches off what policies with less specific targets switch on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<Disable>,
}

/// How much of a request's body an authorization service gets.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BodyToAuthorizer {
    /// Bytes that the service gets at most. Longer bodies are refused with 413, unless allowPartialMessage is set.
    #[schemars(range(min = 1))]
    pub max_request_bytes: u32,
    /// Whether the service gets the beginning of a longer body. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_partial_message: Option<bool>,
    /// Whether the body is sent as bytes instead of as a string in UTF-8. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack_as_bytes: Option<bool>,
}

/// External processing.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct ExtProcPolicy {
    /// The GatewayExtension that may change requests and responses, of type ExtProc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<NamespacedReference>,
    /// Which parts of requests and responses the service gets, in place of all that the GatewayExtension says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing_mode: Option<ProcessingMode>,
    /// Switches off what policies with less specific targets switch on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<Disable>,
}

/// Which parts of requests and responses an external processor gets.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessingMode {
    /// Headers of requests. Defaults to SEND.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_mode: Option<SendMode>,
    /// Headers of responses. Defaults to SEND.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_mode: Option<SendMode>,
    /// Bodies of requests. Defaults to NONE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body_mode: Option<BodyMode>,
    /// Bodies of responses. Defaults to NONE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_body_mode: Option<BodyMode>,
    /// Trailers of requests. Defaults to SKIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_trailer_mode: Option<SendMode>,
    /// Trailers of responses. Defaults to SKIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_trailer_mode: Option<SendMode>,
}

open_enum! {
    /// Whether a processor gets headers or trailers.
    pub enum SendMode, default Default {
        /// Headers are sent, trailers are not.
        Default = "DEFAULT",
        /// They are sent.
        Send = "SEND",
        /// They are not.
        Skip = "SKIP",
    }
}

open_enum! {
    /// How a processor gets bodies.
    pub enum BodyMode, default None {
        /// Not at all.
        None = "NONE",
        /// In pieces, as they come; each one waits for its answer.
        Streamed = "STREAMED",
        /// Whole; longer ones than Envoy keeps are refused.
        Buffered = "BUFFERED",
        /// Whole, or what Envoy keeps of them.
        BufferedPartial = "BUFFERED_PARTIAL",
        /// In pieces, as they come; the service answers with pieces of its own. Needs the trailers of the same direction.
        FullDuplexStreamed = "FULL_DUPLEX_STREAMED",
    }
}

/// Limits that a service counts for all proxies.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalRateLimit {
    /// What is counted; each one that fits a request is counted, and has to have something left.
    #[schemars(length(min = 1, max = 16))]
    pub descriptors: Vec<RateLimitDescriptor>,
    /// The GatewayExtension that counts, of type RateLimit.
    pub extension_ref: NamespacedReference,
}

/// What is counted: requests that agree in all entries.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitDescriptor {
    /// The entries. A request that lacks one of them (a header that it does not have) is not counted here.
    #[schemars(length(min = 1, max = 16))]
    pub entries: Vec<RateLimitDescriptorEntry>,
}

/// One entry of a descriptor.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = descriptor_entry_of_type())]
pub struct RateLimitDescriptorEntry {
    /// Where the value comes from.
    #[serde(rename = "type")]
    pub type_: RateLimitDescriptorEntryType,
    /// A fixed key and value, for type Generic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generic: Option<RateLimitGenericEntry>,
    /// Name of the request header, which is also the key; for type Header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,
}

open_enum! {
    /// Where the value of an entry comes from.
    pub enum RateLimitDescriptorEntryType {
        /// It is fixed.
        Generic,
        /// A request header.
        Header,
        /// The address of the client, with the key remote_address.
        RemoteAddress,
        /// The path, with the key path.
        Path,
    }
}

/// A fixed key and value.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitGenericEntry {
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// The value.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}
