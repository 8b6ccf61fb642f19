//! External processing (`extProc`): a service may change requests and responses.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::{
    ExternalProcessor, MetadataOptions, ProcessingMode as EnvoyMode, external_processor,
    metadata_options::MetadataNamespaces,
    processing_mode::{BodySendMode, HeaderSendMode},
};
use postern_api::kgateway::{
    BodyMode, Disable, ExtProcPolicy, ExtProcProvider, ProcessingMode, RouteCacheAction, SendMode,
};

use super::service::{self, Service};
use super::{Answer, Named, Setting, mutation_rules};
use crate::backend::ClusterId;
use crate::dependency::Reader;
use crate::envoy;
use crate::object::ObjectKey;
use crate::problem::Fault;

/// Envoy's name of the filter.
pub(crate) const FILTER: &str = "envoy.filters.http.ext_proc";

/// What a GatewayExtension says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Provider {
    pub(crate) service: Service,
    fail_open: bool,
    mode: Option<EnvoyMode>,
    message_timeout: Option<Duration>,
    max_message_timeout: Option<Duration>,
    stat_prefix: Option<String>,
    route_cache: external_processor::RouteCacheAction,
    forwarded: Option<MetadataNamespaces>,
}

impl Provider {
    pub(crate) fn parse(spec: &ExtProcProvider) -> Result<Self, Fault> {
        let service = Service::parse(spec.grpc_service.as_ref(), "spec.extProc.grpcService")?;
        let message_timeout = service::time(spec.message_timeout.as_deref(), ".messageTimeout")?;
        let max_message_timeout = service::time(spec.max_message_timeout.as_deref(), ".maxMessageTimeout")?;
        let route_cache = match spec.route_cache_action.clone().unwrap_or_default() {
            RouteCacheAction::FromResponse => external_processor::RouteCacheAction::Default,
            RouteCacheAction::Clear => external_processor::RouteCacheAction::Clear,
            RouteCacheAction::Retain => external_processor::RouteCacheAction::Retain,
            RouteCacheAction::Unknown(other) => {
                return Err(unknown(".routeCacheAction", &other, RouteCacheAction::KNOWN));
            }
        };
        let forwarding = spec.metadata_options.as_ref().and_then(|it| it.forwarding.as_ref());
        Ok(Self {
            fail_open: spec.fail_open.unwrap_or(true),
            mode: mode(spec.processing_mode.as_ref())?,
            message_timeout: message_timeout.or(service.timeout),
            max_message_timeout,
            stat_prefix: spec.stat_prefix.clone(),
            route_cache,
            forwarded: forwarding
                .map(|it| MetadataNamespaces { untyped: it.untyped.clone(), typed: it.typed.clone() }),
            service,
        })
    }
}

fn unknown(field: &str, value: &str, known: &[&str]) -> Fault {
    Fault::new(field, format!("{value:?} is unknown"), format!("use one of {}", known.join(", ")))
}

/// Reads `.processingMode`, and refuses what Envoy would.
fn mode(spec: Option<&ProcessingMode>) -> Result<Option<EnvoyMode>, Fault> {
    let Some(spec) = spec else { return Ok(None) };
    let send = |given: Option<&SendMode>, field: &str, default: HeaderSendMode| match given {
        None => Ok(default),
        Some(SendMode::Default) => Ok(HeaderSendMode::Default),
        Some(SendMode::Send) => Ok(HeaderSendMode::Send),
        Some(SendMode::Skip) => Ok(HeaderSendMode::Skip),
        Some(SendMode::Unknown(other)) => {
            Err(unknown(&format!(".processingMode.{field}"), other, SendMode::KNOWN))
        }
    };
    let body = |given: Option<&BodyMode>, field: &str| match given {
        None | Some(BodyMode::None) => Ok(BodySendMode::None),
        Some(BodyMode::Streamed) => Ok(BodySendMode::Streamed),
        Some(BodyMode::Buffered) => Ok(BodySendMode::Buffered),
        Some(BodyMode::BufferedPartial) => Ok(BodySendMode::BufferedPartial),
        Some(BodyMode::FullDuplexStreamed) => Ok(BodySendMode::FullDuplexStreamed),
        Some(BodyMode::Unknown(other)) => {
            Err(unknown(&format!(".processingMode.{field}"), other, BodyMode::KNOWN))
        }
    };
    let (headers, trailers) = (HeaderSendMode::Send, HeaderSendMode::Skip);
    let request_body = body(spec.request_body_mode.as_ref(), "requestBodyMode")?;
    let response_body = body(spec.response_body_mode.as_ref(), "responseBodyMode")?;
    let request_trailers = send(spec.request_trailer_mode.as_ref(), "requestTrailerMode", trailers)?;
    let response_trailers = send(spec.response_trailer_mode.as_ref(), "responseTrailerMode", trailers)?;
    for (body, trailers, direction) in
        [(request_body, request_trailers, "request"), (response_body, response_trailers, "response")]
    {
        if body == BodySendMode::FullDuplexStreamed && trailers != HeaderSendMode::Send {
            return Err(Fault::new(
                format!(".processingMode.{direction}TrailerMode"),
                format!("{direction}BodyMode FULL_DUPLEX_STREAMED needs the trailers, too"),
                "use SEND",
            ));
        }
    }
    Ok(Some(EnvoyMode {
        request_header_mode: send(spec.request_header_mode.as_ref(), "requestHeaderMode", headers)?.into(),
        response_header_mode: send(spec.response_header_mode.as_ref(), "responseHeaderMode", headers)?.into(),
        request_body_mode: request_body.into(),
        response_body_mode: response_body.into(),
        request_trailer_mode: request_trailers.into(),
        response_trailer_mode: response_trailers.into(),
    }))
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProcessingUse {
    named: Named,
    mode: Option<EnvoyMode>,
}

/// Reads `extProc` of `policy`.
pub(crate) fn parse(policy: &ObjectKey, spec: &ExtProcPolicy) -> Result<Setting<ProcessingUse>, Fault> {
    if spec.disable.is_some_and(Disable::is_set) {
        if spec.extension_ref.is_some() {
            return Err(super::both());
        }
        return Ok(Setting::Disabled);
    }
    let Some(reference) = &spec.extension_ref else { return Err(super::neither()) };
    Ok(Setting::Enabled(ProcessingUse {
        named: Named::new(policy, "spec.extProc.extensionRef", reference),
        mode: mode(spec.processing_mode.as_ref())?,
    }))
}

impl ProcessingUse {
    pub(crate) fn resolve(&self, reader: &Reader<'_>) -> Answer<Processing> {
        let choose = |provider| match provider {
            super::Provider::Processing(it) => Some(it),
            _ => None,
        };
        let provider = match super::provider(reader, &self.named, "ExtProc", choose) {
            Ok(provider) => provider,
            Err(fault) => return Answer::Closed(fault),
        };
        let cluster = self.named.service(reader, &provider.service, provider.fail_open);
        cluster.map(|cluster| Processing { cluster, mode: self.mode.or(provider.mode), provider })
    }
}

/// A service that is asked, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Processing {
    pub(crate) cluster: ClusterId,
    provider: Provider,
    mode: Option<EnvoyMode>,
}

impl Processing {
    /// Envoy's filter.
    pub(crate) fn envoy(&self) -> ExternalProcessor {
        let provider = &self.provider;
        ExternalProcessor {
            grpc_service: Some(service::envoy(&self.cluster, provider.service.authority.as_ref(), None)),
            failure_mode_allow: provider.fail_open,
            processing_mode: self.mode,
            message_timeout: provider.message_timeout.and_then(envoy::duration),
            max_message_timeout: provider.max_message_timeout.and_then(envoy::duration),
            stat_prefix: provider.stat_prefix.clone().unwrap_or_default(),
            route_cache_action: provider.route_cache.into(),
            metadata_options: provider.forwarded.clone().map(|namespaces| MetadataOptions {
                forwarding_namespaces: Some(namespaces),
                ..MetadataOptions::default()
            }),
            mutation_rules: Some(mutation_rules()),
            ..ExternalProcessor::default()
        }
    }
}
