//! Tracing as a policy on listeners asks for it.

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::trace::v3::{
    OpenTelemetryConfig,
    tracing::{Http, http},
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry::resource_detectors::v3::EnvironmentResourceDetectorConfig;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry::samplers::v3::AlwaysOnSamplerConfig;
use envoy_types::pb::envoy::r#type::metadata::v3::{
    MetadataKey, MetadataKind as EnvoyKind,
    metadata_key::{PathSegment, path_segment},
    metadata_kind,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use envoy_types::pb::envoy::r#type::v3::Percent;
use postern_api::kgateway::{CustomAttribute, ListenerTracing, MetadataKind};

use super::access_log::Missing;
use super::grpc::{self, Calls, Service};
use crate::dependency::Reader;
use crate::envoy::{any, bool_value, extension, u32_value};
use crate::object::{NamespacedName, ObjectKey};
use crate::problem::Fault;
use crate::route::headers;

const AT: &str = ".provider.openTelemetry";

/// How requests are traced. Spans travel by OTLP over gRPC.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tracing {
    pub(super) service: Service,
    service_name: Option<String>,
    resource_of_environment: bool,
    always_on: bool,
    client: u8,
    random: u8,
    overall: u8,
    verbose: bool,
    max_path_tag_length: Option<u32>,
    tags: Vec<CustomTag>,
    spawn_upstream_span: bool,
}

/// Reads the tracing of a policy; fields of faults are relative to `tracing`. `None` if the collector cannot be had.
pub(super) fn parse(
    reader: &Reader<'_>,
    policy: &ObjectKey,
    spec: &ListenerTracing,
    missing: &mut Vec<Missing>,
    warnings: &mut Vec<Fault>,
) -> Result<Option<Tracing>, Fault> {
    let Some(provider) = &spec.provider.open_telemetry else {
        return Err(Fault::new(".provider", "nobody gets the spans", "add provider.openTelemetry"));
    };
    let share = |share: Option<u8>, field: &str| match share.unwrap_or(100) {
        share @ 0..=100 => Ok(share),
        other => Err(Fault::new(field, format!("{other} is not a share in percent"), "use 0 to 100")),
    };
    let (client, random) =
        (share(spec.client_sampling, ".clientSampling")?, share(spec.random_sampling, ".randomSampling")?);
    let overall = share(spec.overall_sampling, ".overallSampling")?;
    if spec.max_path_tag_length == Some(0) {
        return Err(Fault::new(".maxPathTagLength", "it is 0", "use 1 or more, or remove it"));
    }
    let tag = |(index, attribute): (usize, &CustomAttribute)| {
        tag(attribute).map_err(|fault| fault.within(&format!(".attributes[{index}]")))
    };
    let tags = spec.attributes.iter().enumerate().map(tag).collect::<Result<Vec<_>, _>>()?;
    for (index, attribute) in spec.attributes.iter().enumerate() {
        let kind = attribute.metadata.as_ref().map(|it| &it.kind);
        if matches!(kind, Some(MetadataKind::Route | MetadataKind::Cluster)) {
            warnings.push(Fault::new(
                format!(".attributes[{index}].metadata.kind"),
                "Postern gives routes and clusters no metadata, so spans have the default value",
                "use Request or Host, or literal instead of metadata",
            ));
        }
    }
    for (index, detector) in provider.resource_detectors.iter().enumerate() {
        if detector.environment_resource_detector.is_none() {
            let field = format!("{AT}.resourceDetectors[{index}]");
            return Err(Fault::new(field, "it names no detector", "use environmentResourceDetector: {}"));
        }
    }
    let always_on = match &provider.sampler {
        Some(sampler) if sampler.always_on_config.is_none() => {
            return Err(Fault::new(format!("{AT}.sampler"), "it names no sampler", "use alwaysOnConfig: {}"));
        }
        sampler => sampler.is_some(),
    };
    let service = grpc::parse(reader, policy, &provider.grpc_service)
        .map_err(|fault| fault.within(&format!("{AT}.grpcService")))?;
    let service = match service {
        Ok(service) => service,
        Err(why) => {
            missing.push((format!("spec.tracing{AT}.grpcService.backendRef{}", why.field), why));
            return Ok(None);
        }
    };
    Ok(Some(Tracing {
        service,
        service_name: provider.service_name.clone().filter(|name| !name.is_empty()),
        resource_of_environment: !provider.resource_detectors.is_empty(),
        always_on,
        client,
        random,
        overall,
        verbose: spec.verbose == Some(true),
        max_path_tag_length: spec.max_path_tag_length,
        tags,
        spawn_upstream_span: spec.spawn_upstream_span == Some(true),
    }))
}

fn tag(spec: &CustomAttribute) -> Result<CustomTag, Fault> {
    if spec.name.is_empty() {
        return Err(Fault::new(".name", "it is empty", "name the attribute of the span"));
    }
    let value = match (&spec.literal, &spec.environment, &spec.request_header, &spec.metadata) {
        (Some(literal), None, None, None) if !literal.value.is_empty() => {
            custom_tag::Type::Literal(custom_tag::Literal { value: literal.value.clone() })
        }
        (None, Some(source), None, None) if !source.name.is_empty() => {
            custom_tag::Type::Environment(custom_tag::Environment {
                name: source.name.clone(),
                default_value: source.default_value.clone().unwrap_or_default(),
            })
        }
        (None, None, Some(source), None) => custom_tag::Type::RequestHeader(custom_tag::Header {
            name: headers::name(&source.name).map_err(|fault| fault.within(".requestHeader.name"))?,
            default_value: source.default_value.clone().unwrap_or_default(),
        }),
        (None, None, None, Some(metadata)) => {
            let kind = match &metadata.kind {
                MetadataKind::Request => metadata_kind::Kind::Request(metadata_kind::Request {}),
                MetadataKind::Route => metadata_kind::Kind::Route(metadata_kind::Route {}),
                MetadataKind::Cluster => metadata_kind::Kind::Cluster(metadata_kind::Cluster {}),
                MetadataKind::Host => metadata_kind::Kind::Host(metadata_kind::Host {}),
                MetadataKind::Unknown(other) => {
                    return Err(Fault::new(
                        ".metadata.kind",
                        format!("{other:?} is unknown"),
                        "use Request, Route, Cluster or Host",
                    ));
                }
            };
            let key = &metadata.metadata_key;
            if key.key.is_empty() || key.path.is_empty() || key.path.iter().any(|step| step.key.is_empty()) {
                return Err(Fault::new(
                    ".metadata.metadataKey",
                    "it leads nowhere",
                    "give a namespace in key, and at least one step in path",
                ));
            }
            let step = |step: &postern_api::kgateway::MetadataPathSegment| PathSegment {
                segment: Some(path_segment::Segment::Key(step.key.clone())),
            };
            custom_tag::Type::Metadata(custom_tag::Metadata {
                kind: Some(EnvoyKind { kind: Some(kind) }),
                metadata_key: Some(MetadataKey {
                    key: key.key.clone(),
                    path: key.path.iter().map(step).collect(),
                }),
                default_value: metadata.default_value.clone().unwrap_or_default(),
            })
        }
        _ => {
            return Err(Fault::new(
                "",
                "it must have one value",
                "give exactly one of literal, environment, requestHeader and metadata, with a value or a name",
            ));
        }
    };
    Ok(CustomTag { tag: spec.name.clone(), r#type: Some(value) })
}

impl Tracing {
    /// Spans name the Gateway where the policy says nothing.
    pub(super) fn of(&mut self, gateway: &NamespacedName) {
        self.service_name.get_or_insert_with(|| format!("{}.{}", gateway.name, gateway.namespace));
    }

    /// What HTTP connection managers get.
    pub(crate) fn envoy(&self) -> http_connection_manager::Tracing {
        let percent = |share: u8| Some(Percent { value: share.into() });
        let detector: Option<TypedExtensionConfig> = self.resource_of_environment.then(|| {
            extension(
                "envoy.tracers.opentelemetry.resource_detectors.environment",
                EnvironmentResourceDetectorConfig {},
            )
        });
        let provider = OpenTelemetryConfig {
            grpc_service: Some(self.service.envoy(Calls::Unary)),
            service_name: self.service_name.clone().unwrap_or_default(),
            resource_detectors: detector.into_iter().collect(),
            sampler: self.always_on.then(|| {
                extension("envoy.tracers.opentelemetry.samplers.always_on", AlwaysOnSamplerConfig::default())
            }),
            ..OpenTelemetryConfig::default()
        };
        http_connection_manager::Tracing {
            client_sampling: percent(self.client),
            random_sampling: percent(self.random),
            overall_sampling: percent(self.overall),
            verbose: self.verbose,
            max_path_tag_length: self.max_path_tag_length.and_then(u32_value),
            custom_tags: self.tags.clone(),
            provider: Some(Http {
                name: "envoy.tracers.opentelemetry".to_owned(),
                config_type: Some(http::ConfigType::TypedConfig(any(provider))),
            }),
            spawn_upstream_span: bool_value(self.spawn_upstream_span),
            ..http_connection_manager::Tracing::default()
        }
    }
}
