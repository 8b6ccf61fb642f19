//! HTTPRoute: matches, backends, timeouts and retries. Its filters are in [`filter`](super::filter).

use serde::{Deserialize, Serialize};

use super::{
    BackendRef, GatewayDefaultScope, HttpRouteFilter, ParentReference, RouteStatus, SessionPersistence,
};

/// Reference to a backend with its share of the traffic and its filters.
pub type HttpBackendRef = BackendRef<HttpRouteFilter>;
/// Status of an HTTPRoute.
pub type HttpRouteStatus = RouteStatus;

api_kind! {
    /// Rules for HTTP requests.
    pub struct HttpRoute { spec: HttpRouteSpec, status: HttpRouteStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1", "v1beta1"],
    kind: "HTTPRoute", plural: "httproutes", scope: Namespace
}

/// Desired state of an HTTPRoute.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// What the route attaches to, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Which default Gateways the route attaches to (GEP-3793, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Host names, exact or `*.` wildcards, at most 16; empty means those of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Rules, at most 16. When the field is absent, one rule without filters and backends that matches all
    /// requests, as the API server sets it.
    #[serde(default = "default_rules")]
    pub rules: Vec<HttpRouteRule>,
}

fn default_rules() -> Vec<HttpRouteRule> {
    let path = HttpPathMatch { type_: Some(PathMatchType::PathPrefix), value: Some("/".to_owned()) };
    let everything = HttpRouteMatch { path: Some(path), ..HttpRouteMatch::default() };
    vec![HttpRouteRule { matches: vec![everything], ..HttpRouteRule::default() }]
}

/// A rule: what happens to the requests that match.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRule {
    /// Name of the rule, distinct within the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Alternatives, one of which a request must match, at most 64; empty means all requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpRouteMatch>,
    /// Filters for the requests, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
    /// Backends, at most 16; empty means status code 500 unless a filter responds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<HttpBackendRef>,
    /// Timeouts (GEP-1742).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<HttpRouteTimeouts>,
    /// Retries (GEP-1731).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<HttpRouteRetry>,
    /// Whether a session stays with its backend (GEP-1619, experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// Condition on the path; absent means the prefix `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathMatch>,
    /// Conditions on headers, at most 16. Of several with one name the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeaderMatch>,
    /// Conditions on query parameters, at most 16. Of several with one name the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<HttpQueryParamMatch>,
    /// Condition on the method; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
}

/// Condition on the path of a request.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpPathMatch {
    /// How the value is compared; absent means `PathPrefix`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<PathMatchType>,
    /// Value; absent means `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl HttpPathMatch {
    /// How the value is compared, with the default applied.
    pub fn match_type(&self) -> PathMatchType {
        self.type_.clone().unwrap_or_default()
    }

    /// The value, with the default applied.
    pub fn value(&self) -> &str {
        self.value.as_deref().unwrap_or("/")
    }
}

open_enum! {
    /// How a path is compared.
    pub enum PathMatchType, default PathPrefix {
        /// Equal, with case.
        Exact,
        /// Path elements of the value are the first ones of the path.
        PathPrefix,
        /// The regular expression matches the whole path.
        RegularExpression,
    }
}

/// Condition on a header.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeaderMatch {
    /// How the value is compared; absent means `Exact`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<HeaderMatchType>,
    /// Name of the header; case does not matter.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Condition on a query parameter.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpQueryParamMatch {
    /// How the value is compared; absent means `Exact`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<HeaderMatchType>,
    /// Name of the parameter; case matters.
    pub name: String,
    /// Value.
    pub value: String,
}

impl HttpHeaderMatch {
    /// How the value is compared, with the default applied.
    pub fn match_type(&self) -> HeaderMatchType {
        self.type_.clone().unwrap_or_default()
    }
}

impl HttpQueryParamMatch {
    /// How the value is compared, with the default applied.
    pub fn match_type(&self) -> HeaderMatchType {
        self.type_.clone().unwrap_or_default()
    }
}

open_enum! {
    /// How the value of a header or query parameter is compared.
    pub enum HeaderMatchType, default Exact {
        /// Equal, with case.
        Exact,
        /// The regular expression matches the whole value.
        RegularExpression,
    }
}

open_enum! {
    /// Method of a request.
    pub enum HttpMethod {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// DELETE.
        Delete = "DELETE",
        /// CONNECT.
        Connect = "CONNECT",
        /// OPTIONS.
        Options = "OPTIONS",
        /// TRACE.
        Trace = "TRACE",
        /// PATCH.
        Patch = "PATCH",
    }
}

/// Timeouts of a rule, as durations of GEP-2257; `0s` means none.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteTimeouts {
    /// From the first byte of the request to the last of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Of one attempt at a backend; at most `request`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<String>,
}

/// Retries of a rule.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRetry {
    /// Status codes of responses that are retried, 400 to 599.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// Number of retries; absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Minimum time before a retry, as a duration of GEP-2257.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<String>,
}
