//! Services that get access logs and spans by gRPC.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema::go_duration;
use crate::gateway_api::BackendRef;

/// Structs that are a [`CommonGrpcService`] with more fields. A flattened field would do, but for readers that look for unknown
/// fields, who do not see through it.
macro_rules! grpc_service {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The backend, in HTTP/2.
            pub backend_ref: TelemetryBackend,
            /// The :authority of calls. Defaults to the host of the backend.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(min = 1, max = 253))]
            pub authority: Option<String>,
            /// The most bytes of a message of the service. Defaults to no limit.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 1, max = 2_147_483_647))]
            pub max_receive_message_length: Option<u32>,
            /// Whether calls go without the headers that Envoy adds, such as x-envoy-internal. Defaults to false.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub skip_envoy_headers: Option<bool>,
            /// How long a call may take, with its repetitions, a Go duration. Defaults to no limit. A log of grpcService is one call that
            /// goes on for ever, and has none.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(schema_with = "go_duration")]
            pub timeout: Option<String>,
            /// Metadata of calls.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(length(max = 32))]
            pub initial_metadata: Vec<MetadataEntry>,
            /// How calls that fail are made again.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub retry_policy: Option<GrpcRetryPolicy>,
            $($(#[$field_meta])* pub $field: $type,)*
        }
    };
}

grpc_service! {
    /// A service that is called by gRPC.
    pub struct CommonGrpcService {}
}

grpc_service! {
    /// A service that gets access logs by Envoy's protocol.
    pub struct AccessLogGrpcService {
        /// Name of the log, by which the service tells several apart.
        #[schemars(length(min = 1, max = 253))]
        pub log_name: String,
        /// Request headers that entries have besides those that they always have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
        pub additional_request_headers_to_log: Vec<String>,
        /// Response headers that entries have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
        pub additional_response_headers_to_log: Vec<String>,
        /// Response trailers that entries have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
        pub additional_response_trailers_to_log: Vec<String>,
    }
}

grpc_service! {
    /// A service that takes logs by OTLP over gRPC.
    pub struct OpenTelemetryLogService {
        /// Name of the log, in the resource attribute log_name.
        #[schemars(length(min = 1, max = 253))]
        pub log_name: String,
    }
}

macro_rules! common {
    ($($name:ident)+) => {
        $(impl From<&$name> for CommonGrpcService {
            fn from(service: &$name) -> Self {
                Self {
                    backend_ref: service.backend_ref.clone(),
                    authority: service.authority.clone(),
                    max_receive_message_length: service.max_receive_message_length,
                    skip_envoy_headers: service.skip_envoy_headers,
                    timeout: service.timeout.clone(),
                    initial_metadata: service.initial_metadata.clone(),
                    retry_policy: service.retry_policy.clone(),
                }
            }
        })+
    };
}
common!(AccessLogGrpcService OpenTelemetryLogService);

/// Reference to a backend that gets telemetry.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryBackend {
    /// API group of the backend. Defaults to the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Kind of the backend: Service, ServiceImport, XBackend or Backend. Defaults to Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
    /// Name of the backend.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the backend. Defaults to that of the policy; another one needs a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Port of the backend; a Service needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

impl From<&TelemetryBackend> for BackendRef {
    fn from(reference: &TelemetryBackend) -> Self {
        let TelemetryBackend { group, kind, name, namespace, port } = reference.clone();
        Self { group, kind, name, namespace, port, ..Self::default() }
    }
}

/// An entry of metadata.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataEntry {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// Its value. Defaults to an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub value: Option<String>,
}

/// How calls that fail are made again.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRetryPolicy {
    /// Time between calls, which grows from one to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_back_off: Option<BackoffStrategy>,
    /// How often a call is made again. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub num_retries: Option<u32>,
}

/// Time between calls.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maxInterval) || duration(self.baseInterval) <= duration(self.maxInterval)")
    .message("baseInterval must not be longer than maxInterval: shorten it, or lengthen maxInterval"))]
pub struct BackoffStrategy {
    /// Time before the first repetition, a Go duration of at least 1ms.
    #[schemars(schema_with = "go_duration")]
    pub base_interval: String,
    /// Maximum time, a Go duration. Defaults to ten times the base interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "go_duration")]
    pub max_interval: Option<String>,
}
