//! Telemetry of a Gateway (XTelemetryPolicy, GEP-4768): which requests are traced, what the spans say and where they go.
//!
//! One policy applies to a Gateway, the oldest one.

mod status;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{GrpcService, HeaderValue, grpc_service};
use envoy_types::pb::envoy::config::trace::v3::{
    OpenTelemetryConfig,
    tracing::{Http, http},
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry::samplers::v3::{
    ParentBasedSamplerConfig, TraceIdRatioBasedSamplerConfig,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, Percent, fractional_percent::DenominatorType};
use postern_api::gateway_api::{
    BackendRef, Fraction, HttpHeader, Tracing as TracingSpec, TracingAttribute, TracingAttributeSource,
    TracingMode, XTelemetryPolicy,
};

pub(crate) use self::status::translate as status;
use crate::backend::ClusterId;
use crate::backend::resolve::{self, Unresolved};
use crate::dependency::Reader;
use crate::envoy::{any, extension};
use crate::object::{Age, Kind, NamespacedName, ObjectKey};
use crate::problem::Fault;
use crate::route::headers;

const MILLION: u64 = 1_000_000;

/// How the requests of a Gateway are traced. Spans travel by OTLP over gRPC.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tracing {
    pub(crate) cluster: ClusterId,
    /// Headers of the requests to the collector.
    headers: Vec<(String, String)>,
    service_name: String,
    span_name: Option<String>,
    /// How many of a million requests begin a trace.
    sampled: u32,
    /// The decision of a caller that traces counts for nothing.
    ignore_parent: bool,
    tags: Vec<Tag>,
}

#[derive(Clone, Debug, PartialEq)]
struct Tag {
    name: String,
    value: TagValue,
}

#[derive(Clone, Debug, PartialEq)]
enum TagValue {
    Literal(String),
    /// A request header, in lower case.
    Header(String),
    /// A formatter of Envoy.
    Format(&'static str),
}

/// Why a policy cannot be carried out.
#[derive(Clone, Debug)]
pub(crate) enum Error {
    Invalid(Fault),
    Unresolved(Unresolved),
}

/// The tracing of a Gateway; `None` if there is none, or if the policy cannot be carried out, which its status says.
pub(crate) fn tracing(reader: &Reader<'_>, gateway: &NamespacedName) -> Option<Tracing> {
    let policy = policies(reader, gateway).into_iter().next()?;
    parse(reader, policy, gateway).ok().flatten()
}

/// The policy that decides whether and how requests of a Gateway are traced, so that no other kind of policy has a say.
pub(crate) fn decider(reader: &Reader<'_>, gateway: &NamespacedName) -> Option<ObjectKey> {
    let policy = policies(reader, gateway).into_iter().next()?;
    let mode = policy.spec.tracing.as_ref()?.mode.clone().unwrap_or_default();
    let decides = match parse(reader, policy, gateway) {
        Ok(Some(_)) | Err(Error::Unresolved(_)) => true,
        Ok(None) => mode == TracingMode::Disabled,
        Err(Error::Invalid(_)) => false,
    };
    decides.then(|| Age::of(&policy.metadata).key(Kind::XTelemetryPolicy))
}

/// The policies on a Gateway, the oldest first. Only that one applies.
fn policies<'a>(reader: &Reader<'a>, gateway: &NamespacedName) -> Vec<&'a Arc<XTelemetryPolicy>> {
    let mut found = reader.all_in::<XTelemetryPolicy>(&gateway.namespace);
    found.retain(|policy| {
        policy.spec.target_refs.iter().any(|target| {
            Kind::from_group_kind(&target.group, &target.kind) == Some(Kind::Gateway)
                && target.name == gateway.name
        })
    });
    found.sort_by_cached_key(|policy| Age::of(&policy.metadata));
    found
}

/// Reads a policy; fields of faults are relative to the object.
fn parse(
    reader: &Reader<'_>,
    policy: &XTelemetryPolicy,
    gateway: &NamespacedName,
) -> Result<Option<Tracing>, Error> {
    let Some(spec) = &policy.spec.tracing else { return Ok(None) };
    let invalid = |fault: Fault| Error::Invalid(fault.within("spec.tracing"));
    match spec.mode.clone().unwrap_or_default() {
        TracingMode::Enabled => {}
        TracingMode::Disabled | TracingMode::ImplementationDefault => return Ok(None),
        TracingMode::Unknown(other) => {
            return Err(invalid(Fault::new(
                ".mode",
                format!("{other:?} is unknown"),
                "use Enabled, Disabled or ImplementationDefault",
            )));
        }
    }
    let sampled = share(spec.sampling_rate, ".samplingRate").map_err(invalid)?;
    let ignore_parent = ignores_parent(spec).map_err(invalid)?;
    let tags = spec.attributes.iter().enumerate().map(|(index, attribute)| {
        tag(attribute).map_err(|fault| invalid(fault.within(&format!(".attributes[{index}]"))))
    });
    let tags = tags.collect::<Result<_, _>>()?;
    let Some(provider) = &spec.provider else {
        return Err(invalid(Fault::new(
            ".provider",
            "nobody gets the spans",
            "add provider.backendRef, a collector that takes OTLP over gRPC",
        )));
    };
    let headers = provider.headers.iter().enumerate().map(|(index, header)| {
        metadata(header).map_err(|fault| invalid(fault.within(&format!(".provider.headers[{index}]"))))
    });
    let headers = headers.collect::<Result<_, _>>()?;
    let key = ObjectKey::new(
        Kind::XTelemetryPolicy,
        policy.metadata.namespace.clone().unwrap_or_default(),
        policy.metadata.name.clone().unwrap_or_default(),
    );
    let reference = BackendRef::from(&provider.backend_ref);
    let cluster = resolve::grpc_backend(reader, &key, &reference).map_err(Error::Unresolved)?;
    Ok(Some(Tracing {
        cluster,
        headers,
        service_name: given(spec.service_name.as_ref())
            .unwrap_or_else(|| format!("{}.{}", gateway.name, gateway.namespace)),
        span_name: given(spec.span_name.as_ref()),
        sampled,
        ignore_parent,
        tags,
    }))
}

fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// A share in millionths; everything, if none is given.
fn share(fraction: Option<Fraction>, field: &str) -> Result<u32, Fault> {
    let Some(Fraction { numerator, denominator }) = fraction else { return Ok(1_000_000) };
    let denominator = u64::from(denominator.unwrap_or(100));
    let millionths = u64::from(numerator) * MILLION / denominator.max(1);
    match u32::try_from(millionths) {
        Ok(millionths) if denominator > 0 && u64::from(millionths) <= MILLION => Ok(millionths),
        _ => Err(Fault::new(
            field,
            format!("{numerator}/{denominator} is not a share"),
            "use a numerator from 0 to the denominator",
        )),
    }
}

fn ignores_parent(spec: &TracingSpec) -> Result<bool, Fault> {
    let Some(parent) = &spec.parent_based_sampling else { return Ok(false) };
    if share(parent.sampling_rate, ".parentBasedSampling.samplingRate")? < 1_000_000 {
        return Err(Fault::new(
            ".parentBasedSampling.samplingRate",
            "Envoy follows all decisions of callers or none, not a share of them",
            "remove it, or set parentBasedSampling.mode to Disabled and use samplingRate",
        ));
    }
    match parent.mode.clone().unwrap_or_default() {
        TracingMode::Enabled | TracingMode::ImplementationDefault => Ok(false),
        TracingMode::Disabled => Ok(true),
        TracingMode::Unknown(other) => Err(Fault::new(
            ".parentBasedSampling.mode",
            format!("{other:?} is unknown"),
            "use Enabled, Disabled or ImplementationDefault",
        )),
    }
}

fn tag(attribute: &TracingAttribute) -> Result<Tag, Fault> {
    let missing = |field: &str| {
        Fault::new(
            field,
            format!("sourceType {} needs it", attribute.source_type),
            "add it, or change sourceType",
        )
    };
    if attribute.name.is_empty() {
        return Err(Fault::new(".name", "it is empty", "name the attribute of the span"));
    }
    let value = match &attribute.source_type {
        TracingAttributeSource::Literal => TagValue::Literal(
            given(attribute.literal_value.as_ref()).ok_or_else(|| missing(".literalValue"))?,
        ),
        TracingAttributeSource::Header => {
            let name = attribute.header_name.as_deref().ok_or_else(|| missing(".headerName"))?;
            TagValue::Header(headers::name(name).map_err(|fault| fault.within(".headerName"))?)
        }
        TracingAttributeSource::Attribute => {
            let key = attribute.attribute_key.as_deref().ok_or_else(|| missing(".attributeKey"))?;
            let Some((_, format)) = ATTRIBUTES.iter().find(|(known, _)| *known == key) else {
                let known: Vec<&str> = ATTRIBUTES.iter().map(|(known, _)| *known).collect();
                return Err(Fault::new(
                    ".attributeKey",
                    format!("{key:?} is not known"),
                    format!("use one of {}", known.join(", ")),
                ));
            };
            TagValue::Format(format)
        }
        TracingAttributeSource::Unknown(other) => {
            return Err(Fault::new(
                ".sourceType",
                format!("{other:?} is unknown"),
                "use Header, Literal or Attribute",
            ));
        }
    };
    Ok(Tag { name: attribute.name.clone(), value })
}

/// Attributes of the semantic conventions of OpenTelemetry, as Envoy writes them.
const ATTRIBUTES: [(&str, &str); 17] = [
    ("client.address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
    ("client.port", "%DOWNSTREAM_REMOTE_PORT%"),
    ("http.request.body.size", "%BYTES_RECEIVED%"),
    ("http.request.method", "%REQ(:METHOD)%"),
    ("http.response.body.size", "%BYTES_SENT%"),
    ("http.response.status_code", "%RESPONSE_CODE%"),
    ("http.route", "%ROUTE_NAME%"),
    ("network.local.address", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"),
    ("network.local.port", "%DOWNSTREAM_LOCAL_PORT%"),
    ("network.peer.address", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
    ("network.protocol.name", "%PROTOCOL%"),
    ("server.address", "%REQ(:AUTHORITY)%"),
    ("tls.client.server_name", "%REQUESTED_SERVER_NAME%"),
    ("tls.protocol.version", "%DOWNSTREAM_TLS_VERSION%"),
    ("url.path", "%PATH(NQ)%"),
    ("url.scheme", "%REQ(:SCHEME)%"),
    ("user_agent.original", "%REQ(USER-AGENT)%"),
];

/// gRPC metadata, which Envoy takes for text.
fn metadata(header: &HttpHeader) -> Result<(String, String), Fault> {
    let name = headers::name(&header.name).map_err(|fault| fault.within(".name"))?;
    if name.starts_with("grpc-") || name.ends_with("-bin") {
        return Err(Fault::new(".name", format!("{name:?} belongs to gRPC"), "use another name"));
    }
    if header.value.contains('%') {
        // It would begin a command of Envoy's; doubled, it is sent doubled.
        return Err(Fault::new(".value", "Envoy cannot send a percent sign here", "use a value without one"));
    }
    if http_value(&header.value) {
        return Ok((name, header.value.clone()));
    }
    Err(Fault::new(".value", "it is not a legal header value", "use visible characters, without line breaks"))
}

fn http_value(value: &str) -> bool {
    ::http::HeaderValue::from_str(value).is_ok()
}

impl Tracing {
    /// What the HTTP connection managers of the Gateway get.
    pub(crate) fn envoy(&self) -> http_connection_manager::Tracing {
        let percent = |value: f64| Some(Percent { value });
        let service = GrpcService {
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
                cluster_name: self.cluster.name(),
                authority: self.cluster.authority(),
                ..grpc_service::EnvoyGrpc::default()
            })),
            initial_metadata: self
                .headers
                .iter()
                .map(|(key, value)| HeaderValue {
                    key: key.clone(),
                    value: value.clone(),
                    ..HeaderValue::default()
                })
                .collect(),
            ..GrpcService::default()
        };
        // Decides by the identity of the trace.
        let ratio = extension(
            "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
            TraceIdRatioBasedSamplerConfig {
                sampling_percentage: Some(FractionalPercent {
                    numerator: self.sampled,
                    denominator: DenominatorType::Million.into(),
                }),
            },
        );
        let sampler = if self.ignore_parent {
            ratio
        } else {
            let follows = ParentBasedSamplerConfig { wrapped_sampler: Some(ratio) };
            extension("envoy.tracers.opentelemetry.samplers.parent_based", follows)
        };
        let provider = OpenTelemetryConfig {
            grpc_service: Some(service),
            service_name: self.service_name.clone(),
            sampler: Some(sampler),
            ..OpenTelemetryConfig::default()
        };
        http_connection_manager::Tracing {
            // A client must not decide that it is traced.
            client_sampling: percent(0.0),
            // The sampler decides; less than everything would overrule it.
            random_sampling: percent(100.0),
            overall_sampling: percent(100.0),
            custom_tags: self.tags.iter().map(Tag::envoy).collect(),
            provider: Some(Http {
                name: "envoy.tracers.opentelemetry".to_owned(),
                config_type: Some(http::ConfigType::TypedConfig(any(provider))),
            }),
            operation: self.span_name.as_deref().unwrap_or_default().replace('%', "%%"),
            ..http_connection_manager::Tracing::default()
        }
    }
}

impl Tag {
    fn envoy(&self) -> CustomTag {
        let value = match &self.value {
            TagValue::Literal(value) => {
                custom_tag::Type::Literal(custom_tag::Literal { value: value.clone() })
            }
            TagValue::Header(name) => custom_tag::Type::RequestHeader(custom_tag::Header {
                name: name.clone(),
                ..custom_tag::Header::default()
            }),
            TagValue::Format(format) => custom_tag::Type::Value((*format).to_owned()),
        };
        CustomTag { tag: self.name.clone(), r#type: Some(value) }
    }
}

#[cfg(test)]
mod tests;
