//! Tracing: which requests are traced, what spans say and where they go.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema::exactly_one;
use super::CommonGrpcService;

/// Tracing of requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTracing {
    /// Who gets the spans.
    pub provider: ListenerTracingProvider,
    /// Share of requests with the header x-client-trace-id that are traced because of it, in percent. Defaults to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub client_sampling: Option<u8>,
    /// Share of requests that are traced at random, in percent. Defaults to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub random_sampling: Option<u8>,
    /// Share of requests that are traced at most, after all other decisions, in percent. Defaults to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub overall_sampling: Option<u8>,
    /// Whether spans have events for what happens to the streams. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbose: Option<bool>,
    /// How much of the path spans have in their URL, in bytes. Defaults to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_path_tag_length: Option<u32>,
    /// Attributes of spans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub attributes: Vec<CustomAttribute>,
    /// Whether the call of the backend is a span of its own. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawn_upstream_span: Option<bool>,
}

/// Who gets the spans.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct ListenerTracingProvider {
    /// A collector that takes OTLP over gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetryTracing>,
}

/// Tracing with OpenTelemetry.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetryTracing {
    /// The collector.
    pub grpc_service: CommonGrpcService,
    /// The attribute service.name of spans. Defaults to name and namespace of the Gateway, joined by a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service_name: Option<String>,
    /// Where more attributes of the resource come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub resource_detectors: Vec<ResourceDetector>,
    /// Which requests begin a trace. Defaults to those that the shares of the policy say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<TracingSampler>,
}

/// Where attributes of the resource come from.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct ResourceDetector {
    /// The environment variable OTEL_RESOURCE_ATTRIBUTES of the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_resource_detector: Option<EnvironmentResourceDetector>,
}

/// The environment variable OTEL_RESOURCE_ATTRIBUTES of the proxy.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct EnvironmentResourceDetector {}

/// Which requests begin a trace.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct TracingSampler {
    /// All.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always_on_config: Option<AlwaysOnSampler>,
}

/// All requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct AlwaysOnSampler {}

/// An attribute of spans. Give one of literal, environment, requestHeader and metadata.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(&[("literal", ""), ("environment", ""), ("requestHeader", ""), ("metadata", "")]))]
pub struct CustomAttribute {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The same value for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub literal: Option<AttributeLiteral>,
    /// An environment variable of the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<AttributeSource>,
    /// A header of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header: Option<AttributeSource>,
    /// Metadata of Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<AttributeMetadata>,
}

/// A value.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributeLiteral {
    /// The value.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// Something with a name that may be missing.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributeSource {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value where it is missing. Without it, the span has no such attribute then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub default_value: Option<String>,
}

/// Metadata of Envoy.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributeMetadata {
    /// Whose metadata.
    pub kind: MetadataKind,
    /// Which part of it.
    pub metadata_key: MetadataKey,
    /// The value where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub default_value: Option<String>,
}

open_enum! {
    /// Whose metadata is meant.
    pub enum MetadataKind {
        /// That of the request, which filters write.
        Request,
        /// That of the route: Postern gives it none.
        Route,
        /// That of the cluster: Postern gives it none.
        Cluster,
        /// That of the endpoint.
        Host,
    }
}

/// A part of metadata.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataKey {
    /// The namespace, often the name of a filter.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// The way inside of it.
    #[schemars(length(min = 1, max = 16))]
    pub path: Vec<MetadataPathSegment>,
}

/// A step in metadata.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataPathSegment {
    /// Name of the field.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
}
