//! XTelemetryPolicy: tracing (experimental).

use serde::{Deserialize, Serialize};

use super::{BackendObjectReference, Fraction, HttpHeader, LocalPolicyTargetReference, PolicyStatus};

api_kind! {
    /// Which telemetry a Gateway emits, and where to.
    pub struct XTelemetryPolicy { spec: XTelemetryPolicySpec, status: PolicyStatus }
    group: super::GATEWAY_X_GROUP, version: "v1alpha1", served_versions: ["v1alpha1"],
    kind: "XTelemetryPolicy", plural: "xtelemetrypolicies", scope: Namespace
}

/// Desired state of an XTelemetryPolicy.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XTelemetryPolicySpec {
    /// The Gateways, 1 to 16.
    #[serde(default)]
    pub target_refs: Vec<LocalPolicyTargetReference>,
    /// Tracing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
}

/// How requests are traced.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// Whether requests are traced; absent means `ImplementationDefault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TracingMode>,
    /// Where spans go, by OTLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<TracingProvider>,
    /// Share of requests without a sampled parent that are traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
    /// How requests with a sampled parent are traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_based_sampling: Option<ParentBasedSampling>,
    /// Name of the service in the spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Name of the spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_name: Option<String>,
    /// Attributes of the spans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<TracingAttribute>,
}

open_enum! {
    /// Whether something of tracing is on.
    pub enum TracingMode, default ImplementationDefault {
        /// On.
        Enabled,
        /// Off.
        Disabled,
        /// As the implementation decides.
        ImplementationDefault,
    }
}

/// Where spans go, by OTLP.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingProvider {
    /// The collector.
    pub backend_ref: BackendObjectReference,
    /// Headers that are sent to the collector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeader>,
}

/// How requests with a sampled parent are traced.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentBasedSampling {
    /// Whether the decision of the parent counts; absent means `ImplementationDefault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TracingMode>,
    /// Share of requests with a sampled parent that are traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
}

/// An attribute of the spans: `source_type` says which one of the last fields counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingAttribute {
    /// Name of the attribute.
    pub name: String,
    /// Where the value comes from.
    pub source_type: TracingAttributeSource,
    /// Name of the request header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_name: Option<String>,
    /// The value itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub literal_value: Option<String>,
    /// Key of an attribute that the implementation knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_key: Option<String>,
}

open_enum! {
    /// Where the value of a span attribute comes from.
    pub enum TracingAttributeSource {
        /// From a request header.
        Header,
        /// From the policy.
        Literal,
        /// From an attribute that the implementation knows.
        Attribute,
    }
}
