//! The filters of HTTPRoute and GRPCRoute, one tree for both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackendObjectReference, Fraction, HttpHeader, LocalObjectReference};

/// A filter: `type` says which one of the other fields counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteFilter {
    /// Type of the filter.
    #[serde(rename = "type")]
    pub type_: HttpRouteFilterType,
    /// Changes headers of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes headers of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy of the request to another backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// Responds with a redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<HttpRequestRedirectFilter>,
    /// Changes host and path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<HttpUrlRewriteFilter>,
    /// Cross-origin resource sharing (GEP-1767).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<HttpCorsFilter>,
    /// Asks a service whether the request may pass (GEP-1494, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<HttpExternalAuthFilter>,
    /// Filter defined by another object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

open_enum! {
    /// Type of a filter.
    pub enum HttpRouteFilterType {
        /// Changes headers of the request.
        RequestHeaderModifier,
        /// Changes headers of the response.
        ResponseHeaderModifier,
        /// Sends a copy of the request to another backend.
        RequestMirror,
        /// Responds with a redirect.
        RequestRedirect,
        /// Changes host and path of the request.
        UrlRewrite = "URLRewrite",
        /// Cross-origin resource sharing.
        Cors = "CORS",
        /// Asks a service whether the request may pass.
        ExternalAuth,
        /// Filter defined by another object.
        ExtensionRef,
    }
}

/// Header modification. One name may be in one list only.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeaderFilter {
    /// Headers to set, replacing all of the same name, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub set: Vec<HttpHeader>,
    /// Headers to add to those of the same name, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub add: Vec<HttpHeader>,
    /// Names of headers to remove, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub remove: Vec<String>,
}

/// Sends a copy of requests to another backend; its responses are ignored.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestMirrorFilter {
    /// The backend.
    pub backend_ref: BackendObjectReference,
    /// Percentage of requests that are copied, 0 to 100; absent means all. Not together with `fraction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Fraction of requests that are copied. Not together with `percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// Responds with a redirect.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestRedirectFilter {
    /// Scheme of the new location, `http` or `https`; absent means that of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Host of the new location; absent means that of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Change of the path; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
    /// Port of the new location; absent means that of the scheme when it is given, else that of the
    /// listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Status code, 301, 302, 303, 307 or 308; absent means 302.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
}

impl HttpRequestRedirectFilter {
    /// The status code, with the default applied.
    pub fn status_code(&self) -> u16 {
        self.status_code.unwrap_or(302)
    }
}

/// Changes host and path of the request.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpUrlRewriteFilter {
    /// New value of the Host header; absent means no change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Change of the path; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
}

/// A change of the path: `type` says which one of the other fields counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpPathModifier {
    /// Type of the change.
    #[serde(rename = "type")]
    pub type_: HttpPathModifierType,
    /// Replaces the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// Replaces the matched prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

open_enum! {
    /// Type of a change of the path.
    pub enum HttpPathModifierType {
        /// Replaces the whole path.
        ReplaceFullPath,
        /// Replaces the matched prefix.
        ReplacePrefixMatch,
    }
}

/// Cross-origin resource sharing (GEP-1767).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCorsFilter {
    /// Origins that may ask, `scheme://host[:port]`, with `*` alone or in front of the host, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// Whether requests may carry credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods, or `*`, at most 9.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Names of request headers, or `*`, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Names of response headers that scripts may read, or `*`, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// Seconds for which browsers may cache the response to a preflight request, 1 or more; absent means 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

impl HttpCorsFilter {
    /// The seconds for which browsers may cache the response to a preflight request, with the default applied.
    pub fn max_age(&self) -> u32 {
        self.max_age.unwrap_or(5)
    }
}

/// Asks a service whether a request may pass (GEP-1494, experimental).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpExternalAuthFilter {
    /// How the service is asked.
    pub protocol: HttpExternalAuthProtocol,
    /// The service.
    pub backend_ref: BackendObjectReference,
    /// Settings for the protocol `GRPC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuthConfig>,
    /// Settings for the protocol `HTTP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuthConfig>,
    /// Whether the body is sent to the service; absent means not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBodyConfig>,
}

open_enum! {
    /// How an authorization service is asked.
    pub enum HttpExternalAuthProtocol {
        /// By an HTTP request; the status 200 lets the request pass.
        Http = "HTTP",
        /// By Envoy's ext_authz protocol.
        Grpc = "GRPC",
    }
}

/// Settings of an authorization service asked by gRPC.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAuthConfig {
    /// Names of request headers that the service gets, at most 64; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
}

/// Settings of an authorization service asked by HTTP.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuthConfig {
    /// Prefix of the path at the service; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Names of request headers that the service gets besides Authorization, Host, Method, Path and
    /// Content-Length, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
    /// Names of headers of the service's response that the backend gets, at most 64; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_response_headers: Vec<String>,
}

/// Whether an authorization service gets the body.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBodyConfig {
    /// Maximum number of bytes that are sent; 0 or absent means that the body is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u32>,
}
