//! Access logs: what is written for each request, and where to.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::schema::{any_object, exactly_one};
use super::{AccessLogGrpcService, OpenTelemetryLogService};
use crate::gateway_api::HttpHeaderMatch;

/// One access log. Give one of fileSink, grpcService and openTelemetry.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(&[("fileSink", ""), ("grpcService", ""), ("openTelemetry", "")]))]
pub struct AccessLog {
    /// A file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sink: Option<FileSink>,
    /// A service that speaks Envoy's `envoy.service.accesslog.v3.AccessLogService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<AccessLogGrpcService>,
    /// A service that takes logs by OTLP over gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetryAccessLog>,
    /// Which requests are logged. Without it, all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<AccessLogFilter>,
}

/// A file in the proxy. Give one of stringFormat and jsonFormat.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(&[("stringFormat", ""), ("jsonFormat", "")]))]
pub struct FileSink {
    /// Its path, for example /dev/stdout.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
    /// A line with command operators of Envoy. It ends without a line break unless there is one in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub string_format: Option<String>,
    /// An object whose strings may have command operators of Envoy; each request gives one line of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub json_format: Option<Value>,
}

/// A service that gets access logs by OTLP.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetryAccessLog {
    /// The service.
    pub grpc_service: OpenTelemetryLogService,
    /// The body of entries, with command operators of Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub body: Option<String>,
    /// Whether entries go without the resource attributes log_name, zone_name, cluster_name and node_name. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_builtin_labels: Option<bool>,
    /// Attributes of entries, with command operators of Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<KeyAnyValueList>,
    /// Attributes of the resource that entries come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_attributes: Option<KeyAnyValueList>,
}

/// Values with names.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyAnyValueList {
    /// The values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<KeyAnyValue>,
}

/// A value with its name.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyAnyValue {
    /// The name.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// The value.
    pub value: AnyValue,
}

/// A value: a string, a list or values with names. Give one of the three.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct AnyValue {
    /// A string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub string_value: Option<String>,
    /// A list of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_values")]
    pub array_value: Option<Vec<AnyValue>>,
    /// Values with names: an object whose field values is a list of key and value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub kv_list_value: Option<KeyAnyValueList>,
}

/// A structural schema cannot contain itself.
fn any_values(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "array", "maxItems": 64, "items": any_object(generator) })
}

/// Structs that are a [`FilterType`] with more fields; see [`super::CommonGrpcService`].
macro_rules! filter_type {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
        #[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The status code of the response.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub status_code_filter: Option<ComparisonFilter>,
            /// The duration of the request, in milliseconds.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub duration_filter: Option<ComparisonFilter>,
            /// The request is no health check, which only the healthCheck of a listener answers. Must be true.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub not_health_check_filter: Option<bool>,
            /// Refused: Envoy means traces that internal callers force, and here no caller is internal. Use headerFilter.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub traceable_filter: Option<bool>,
            /// The request has a header.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub header_filter: Option<HeaderFilter>,
            /// Envoy's response flags.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub response_flag_filter: Option<ResponseFlagFilter>,
            /// The status of a gRPC call.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub grpc_status_filter: Option<GrpcStatusFilter>,
            /// A condition in CEL.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub cel_filter: Option<CelFilter>,
            $($(#[$field_meta])* pub $field: $type,)*
        }
    };
}

filter_type! {
    /// Which requests are logged: one condition, or several of which all or one must hold.
    pub struct AccessLogFilter {
        /// All of these hold.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(min = 2, max = 16))]
        pub and_filter: Vec<FilterType>,
        /// One of these holds.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(min = 2, max = 16))]
        pub or_filter: Vec<FilterType>,
    }
}

filter_type! {
    /// One condition on what is logged.
    pub struct FilterType {}
}

impl AccessLogFilter {
    /// The one condition, apart from andFilter and orFilter.
    pub fn condition(&self) -> FilterType {
        FilterType {
            status_code_filter: self.status_code_filter.clone(),
            duration_filter: self.duration_filter.clone(),
            not_health_check_filter: self.not_health_check_filter,
            traceable_filter: self.traceable_filter,
            header_filter: self.header_filter.clone(),
            response_flag_filter: self.response_flag_filter.clone(),
            grpc_status_filter: self.grpc_status_filter.clone(),
            cel_filter: self.cel_filter.clone(),
        }
    }
}

/// Comparison with a number.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparisonFilter {
    /// How it is compared.
    pub op: Comparison,
    /// The number.
    #[schemars(with = "i64", range(min = 0, max = 4_294_967_295_i64))]
    pub value: u32,
}

open_enum! {
    /// How a number is compared.
    pub enum Comparison, default Equal {
        /// Equal.
        Equal = "EQ",
        /// The number or more.
        AtLeast = "GE",
        /// The number or less.
        AtMost = "LE",
    }
}

/// A condition on a request header.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderFilter {
    /// The header, with type (Exact or RegularExpression), name and value.
    #[schemars(schema_with = "header_match")]
    pub header: HttpHeaderMatch,
}

fn header_match(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "required": ["name", "value"],
        "properties": {
            "type": { "type": "string", "enum": ["Exact", "RegularExpression"], "description": "How the value is compared. Defaults to Exact." },
            "name": { "type": "string", "minLength": 1, "maxLength": 256, "description": "Name of the header." },
            "value": { "type": "string", "minLength": 1, "maxLength": 4096, "description": "Value of the header." },
        },
    })
}

/// Envoy's response flags.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseFlagFilter {
    /// The flags, such as UF or NR; one of them is set.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 16)))]
    pub flags: Vec<String>,
}

/// The status of a gRPC call.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcStatusFilter {
    /// The statuses.
    #[schemars(length(min = 1, max = 17))]
    pub statuses: Vec<GrpcStatus>,
    /// Whether all but these are logged. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<bool>,
}

open_enum! {
    /// A status of gRPC.
    pub enum GrpcStatus, default Ok {
        /// 0.
        Ok = "OK",
        /// 1.
        Canceled = "CANCELED",
        /// 2.
        UnknownStatus = "UNKNOWN",
        /// 3.
        InvalidArgument = "INVALID_ARGUMENT",
        /// 4.
        DeadlineExceeded = "DEADLINE_EXCEEDED",
        /// 5.
        NotFound = "NOT_FOUND",
        /// 6.
        AlreadyExists = "ALREADY_EXISTS",
        /// 7.
        PermissionDenied = "PERMISSION_DENIED",
        /// 8.
        ResourceExhausted = "RESOURCE_EXHAUSTED",
        /// 9.
        FailedPrecondition = "FAILED_PRECONDITION",
        /// 10.
        Aborted = "ABORTED",
        /// 11.
        OutOfRange = "OUT_OF_RANGE",
        /// 12.
        Unimplemented = "UNIMPLEMENTED",
        /// 13.
        Internal = "INTERNAL",
        /// 14.
        Unavailable = "UNAVAILABLE",
        /// 15.
        DataLoss = "DATA_LOSS",
        /// 16.
        Unauthenticated = "UNAUTHENTICATED",
    }
}

/// A condition in CEL.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CelFilter {
    /// The expression, over Envoy's attributes of request and response.
    #[schemars(length(min = 1, max = 4096))]
    pub r#match: String,
}
