//! Access logs: where they go and what they say.

mod filter;
mod value;

use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLog as EnvoyAccessLog, AccessLogFilter as EnvoyFilter, access_log,
};
use envoy_types::pb::envoy::config::core::v3::{
    SubstitutionFormatString, substitution_format_string::Format,
};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log};
use envoy_types::pb::envoy::extensions::access_loggers::grpc::v3::{
    CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig,
};
use envoy_types::pb::envoy::extensions::access_loggers::open_telemetry::v3::OpenTelemetryAccessLogConfig;
use envoy_types::pb::envoy::extensions::formatter::req_without_query::v3::ReqWithoutQuery;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::opentelemetry::proto::common::v1::{AnyValue, KeyValueList};
use postern_api::kgateway::{
    AccessLog as Spec, AccessLogGrpcService, AccessLogging, FileSink, HttpListenerPolicySpec,
    OpenTelemetryAccessLog,
};

use super::format;
use super::grpc::{self, Calls, Service};
use crate::backend::ClusterId;
use crate::backend::resolve::Unresolved;
use crate::dependency::Reader;
use crate::envoy::{ApiVersion, any, extension, inline_string};
use crate::object::{ObjectKey, Read, read_value};
use crate::problem::Fault;
use crate::route::headers;

/// One access log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AccessLog {
    sink: Sink,
    filter: Option<EnvoyFilter>,
}

#[derive(Clone, Debug, PartialEq)]
enum Sink {
    File { path: String, format: Format },
    Grpc(Box<Grpc>),
    OpenTelemetry(Box<OpenTelemetry>),
}

#[derive(Clone, Debug, PartialEq)]
struct Grpc {
    service: Service,
    name: String,
    request: Vec<String>,
    response: Vec<String>,
    trailers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct OpenTelemetry {
    service: Service,
    name: String,
    body: Option<AnyValue>,
    without_labels: bool,
    attributes: Option<KeyValueList>,
    resource: Option<KeyValueList>,
}

/// A log whose service cannot be had, and the field that names it.
pub(super) type Missing = (String, Unresolved);

/// Reads the access logs of a policy, in either dialect; `None` if it has none. Logs whose service cannot be had are left out.
pub(super) fn parse(
    reader: &Reader<'_>,
    policy: &ObjectKey,
    spec: &HttpListenerPolicySpec,
    missing: &mut Vec<Missing>,
    warnings: &mut Vec<Fault>,
) -> Result<Option<Vec<AccessLog>>, Fault> {
    let (free, at) = match &spec.access_logging {
        Some(_) if !spec.access_log.is_empty() => {
            return Err(Fault::new(
                "spec.accessLog",
                "accessLogging and accessLog say the same thing",
                "remove one of them (accessLog is the spelling of kgateway v2.1)",
            ));
        }
        Some(free) => (from_free_form(free)?, "spec.accessLogging"),
        None if spec.access_log.is_empty() => return Ok(None),
        None => (spec.access_log.clone(), "spec.accessLog"),
    };
    let listed = !matches!(&spec.access_logging, Some(AccessLogging(it)) if it.is_object());
    let mut logs = Vec::new();
    for (index, spec) in free.iter().enumerate() {
        let at = if listed { format!("{at}[{index}]") } else { at.to_owned() };
        match one(reader, policy, spec).map_err(|fault| fault.within(&at))? {
            Ok(log) => logs.push(log),
            Err((field, why)) => missing.push((format!("{at}{field}"), why)),
        }
        if spec.grpc_service.as_ref().is_some_and(|service| service.timeout.is_some()) {
            let message = "it has no effect, because the log is one call that is not meant to end";
            warnings.push(Fault::new(format!("{at}.grpcService.timeout"), message, "remove it"));
        }
    }
    Ok(Some(logs))
}

/// Reads the free form of the contract: an object, or a list of objects, each with the fields of an entry of `accessLog`. What is
/// not known is refused, because nobody else looks.
fn from_free_form(AccessLogging(value): &AccessLogging) -> Result<Vec<Spec>, Fault> {
    let entries: Vec<&serde_json::Value> = match value {
        serde_json::Value::Array(entries) => entries.iter().collect(),
        one => vec![one],
    };
    let remedy =
        "use the fields of an entry of accessLog: fileSink, grpcService or openTelemetry, and filter";
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let at = if value.is_array() {
                format!("spec.accessLogging[{index}]")
            } else {
                "spec.accessLogging".into()
            };
            if !entry.is_object() {
                return Err(Fault::new(at, "it is no object", remedy));
            }
            let Read { result, unknown } = read_value::<Spec>(entry);
            let spec = result.map_err(|error| Fault::new(at.as_str(), error.to_string(), remedy))?;
            match unknown.first() {
                Some(unknown) => {
                    Err(Fault::new(format!("{at}.{}", unknown.field), "the field is not known", remedy))
                }
                None => Ok(spec),
            }
        })
        .collect()
}

fn one(reader: &Reader<'_>, policy: &ObjectKey, spec: &Spec) -> Result<Result<AccessLog, Missing>, Fault> {
    let filter =
        spec.filter.as_ref().map(filter::parse).transpose().map_err(|fault| fault.within(".filter"))?;
    let given = [spec.file_sink.is_some(), spec.grpc_service.is_some(), spec.open_telemetry.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(Fault::new(
            "",
            "it must say where the log goes, once",
            "give exactly one of fileSink, grpcService and openTelemetry",
        ));
    }
    let sink = if let Some(file) = &spec.file_sink {
        Ok(file_sink(file).map_err(|fault| fault.within(".fileSink"))?)
    } else if let Some(service) = &spec.grpc_service {
        grpc_sink(reader, policy, service).map_err(|fault| fault.within(".grpcService"))?
    } else if let Some(service) = &spec.open_telemetry {
        open_telemetry(reader, policy, service).map_err(|fault| fault.within(".openTelemetry"))?
    } else {
        return Err(Fault::new("", "it says nothing", "give fileSink"));
    };
    Ok(sink.map(|sink| AccessLog { sink, filter }))
}

fn file_sink(spec: &FileSink) -> Result<Sink, Fault> {
    if !spec.path.starts_with('/') || spec.path.contains('\0') {
        return Err(Fault::new(
            ".path",
            format!("{:?} is not a path from the root", spec.path),
            "use /dev/stdout, /dev/stderr, or a file in a volume of the proxy",
        ));
    }
    let format = match (&spec.string_format, &spec.json_format) {
        (Some(text), None) => {
            format::check(text).map_err(|fault| fault.within(".stringFormat"))?;
            Format::TextFormatSource(inline_string(text))
        }
        (None, Some(serde_json::Value::Object(fields))) => {
            value::check(&serde_json::Value::Object(fields.clone()))
                .map_err(|fault| fault.within(".jsonFormat"))?;
            Format::JsonFormat(value::structure(fields))
        }
        (None, Some(_)) => {
            return Err(Fault::new(".jsonFormat", "it is no object", "write names and values"));
        }
        _ => {
            return Err(Fault::new(
                "",
                "it needs one format",
                "give exactly one of stringFormat and jsonFormat",
            ));
        }
    };
    Ok(Sink::File { path: spec.path.clone(), format })
}

fn grpc_sink(
    reader: &Reader<'_>,
    policy: &ObjectKey,
    spec: &AccessLogGrpcService,
) -> Result<Result<Sink, Missing>, Fault> {
    let names = |given: &[String], field: &str| {
        let name = |(index, name): (usize, &String)| {
            headers::name(name).map_err(|fault| fault.within(&format!("{field}[{index}]")))
        };
        given.iter().enumerate().map(name).collect::<Result<Vec<_>, _>>()
    };
    let request = names(&spec.additional_request_headers_to_log, ".additionalRequestHeadersToLog")?;
    let response = names(&spec.additional_response_headers_to_log, ".additionalResponseHeadersToLog")?;
    let trailers = names(&spec.additional_response_trailers_to_log, ".additionalResponseTrailersToLog")?;
    let name = log_name(&spec.log_name)?;
    let service = grpc::parse(reader, policy, &spec.into())?;
    Ok(service
        .map(|service| Sink::Grpc(Box::new(Grpc { service, name, request, response, trailers })))
        .map_err(|why| (format!(".grpcService.backendRef{}", why.field), why)))
}

fn log_name(name: &str) -> Result<String, Fault> {
    if name.is_empty() {
        return Err(Fault::new(".logName", "it is empty", "name the log"));
    }
    Ok(name.to_owned())
}

fn open_telemetry(
    reader: &Reader<'_>,
    policy: &ObjectKey,
    spec: &OpenTelemetryAccessLog,
) -> Result<Result<Sink, Missing>, Fault> {
    if let Some(body) = &spec.body {
        format::check(body).map_err(|fault| fault.within(".body"))?;
    }
    let list = |list: Option<&_>, commands, field: &str| {
        let list = list.map(|list| value::key_values(list, commands));
        list.transpose().map_err(|fault: Fault| fault.within(field))
    };
    let attributes = list(spec.attributes.as_ref(), true, ".attributes")?;
    let resource = list(spec.resource_attributes.as_ref(), false, ".resourceAttributes")?;
    let name = log_name(&spec.grpc_service.log_name).map_err(|fault| fault.within(".grpcService"))?;
    let service = grpc::parse(reader, policy, &(&spec.grpc_service).into())
        .map_err(|fault| fault.within(".grpcService"))?;
    Ok(service
        .map(|service| {
            Sink::OpenTelemetry(Box::new(OpenTelemetry {
                service,
                name,
                body: spec.body.as_deref().map(value::text),
                without_labels: spec.disable_builtin_labels == Some(true),
                attributes,
                resource,
            }))
        })
        .map_err(|why| (format!(".openTelemetry.grpcService.backendRef{}", why.field), why)))
}

impl AccessLog {
    /// The cluster of its service.
    pub(super) fn cluster_mut(&mut self) -> Option<&mut ClusterId> {
        match &mut self.sink {
            Sink::File { .. } => None,
            Sink::Grpc(log) => Some(&mut log.service.cluster),
            Sink::OpenTelemetry(log) => Some(&mut log.service.cluster),
        }
    }

    /// The same, to read.
    pub(super) fn cluster(&self) -> Option<&ClusterId> {
        match &self.sink {
            Sink::File { .. } => None,
            Sink::Grpc(log) => Some(&log.service.cluster),
            Sink::OpenTelemetry(log) => Some(&log.service.cluster),
        }
    }

    /// What an HTTP connection manager gets.
    pub(crate) fn envoy(&self) -> EnvoyAccessLog {
        let (name, config): (&str, Any) = match &self.sink {
            Sink::File { path, format } => (
                "envoy.access_loggers.file",
                any(FileAccessLog {
                    path: path.clone(),
                    access_log_format: Some(file_access_log::AccessLogFormat::LogFormat(
                        SubstitutionFormatString {
                            format: Some(format.clone()),
                            formatters: vec![extension(
                                "envoy.formatter.req_without_query",
                                ReqWithoutQuery {},
                            )],
                            ..SubstitutionFormatString::default()
                        },
                    )),
                }),
            ),
            Sink::Grpc(log) => (
                "envoy.access_loggers.http_grpc",
                any(HttpGrpcAccessLogConfig {
                    common_config: Some(common(&log.service, &log.name)),
                    additional_request_headers_to_log: log.request.clone(),
                    additional_response_headers_to_log: log.response.clone(),
                    additional_response_trailers_to_log: log.trailers.clone(),
                }),
            ),
            Sink::OpenTelemetry(log) => (
                "envoy.access_loggers.open_telemetry",
                any(OpenTelemetryAccessLogConfig {
                    grpc_service: Some(log.service.envoy(Calls::Unary)),
                    log_name: log.name.clone(),
                    disable_builtin_labels: log.without_labels,
                    resource_attributes: log.resource.clone(),
                    body: log.body.clone(),
                    attributes: log.attributes.clone(),
                    formatters: vec![extension("envoy.formatter.req_without_query", ReqWithoutQuery {})],
                    ..OpenTelemetryAccessLogConfig::default()
                }),
            ),
        };
        EnvoyAccessLog {
            name: name.to_owned(),
            filter: self.filter.clone(),
            config_type: Some(access_log::ConfigType::TypedConfig(config)),
        }
    }
}

fn common(service: &Service, name: &str) -> CommonGrpcAccessLogConfig {
    CommonGrpcAccessLogConfig {
        log_name: name.to_owned(),
        grpc_service: Some(service.envoy(Calls::Stream)),
        transport_api_version: ApiVersion::V3.into(),
        ..CommonGrpcAccessLogConfig::default()
    }
}

#[cfg(test)]
mod tests;
