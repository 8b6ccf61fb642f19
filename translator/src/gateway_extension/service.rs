//! The gRPC service behind an extension.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{GrpcService, grpc_service};
use http::uri::Authority;
use postern_api::duration;
use postern_api::gateway_api::BackendRef;
use postern_api::kgateway::{ExtGrpcService, ExtensionBackend};

use crate::backend::ClusterId;
use crate::backend::resolve::{self, Unresolved};
use crate::dependency::Reader;
use crate::envoy;
use crate::object::ObjectKey;
use crate::problem::Fault;

/// The longest time that Envoy takes in these fields (`duration.lte` in `ext_proc.proto`); more than anybody waits.
const LONGEST: Duration = Duration::from_hours(1);

/// A gRPC service, read but not looked up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    backend: ExtensionBackend,
    /// The path of `grpcService` in the object.
    at: &'static str,
    pub(crate) authority: Option<String>,
    /// How long an answer may take, where the API says it.
    pub(crate) timeout: Option<Duration>,
}

impl Service {
    /// Reads `spec`, which stands at `at` in the object; fields of faults are relative to the provider.
    pub(crate) fn parse(spec: Option<&ExtGrpcService>, at: &'static str) -> Result<Self, Fault> {
        let missing = |field: &str| Fault::new(field, "it is missing", "name the service that is asked");
        let spec = spec.ok_or_else(|| missing(".grpcService"))?;
        let backend = spec.backend_ref.clone().ok_or_else(|| missing(".grpcService.backendRef"))?;
        if backend.weight == Some(0) {
            return Err(Fault::new(
                ".grpcService.backendRef.weight",
                "a backend with weight 0 is never asked",
                "leave the weight out",
            ));
        }
        if let Some(authority) = &spec.authority
            && authority.parse::<Authority>().is_err()
        {
            return Err(Fault::new(
                ".grpcService.authority",
                format!("{authority:?} is not an authority"),
                "give a host, with a port if need be",
            ));
        }
        Ok(Self {
            backend,
            at,
            authority: spec.authority.clone(),
            timeout: time(spec.request_timeout.as_deref(), ".grpcService.requestTimeout")?,
        })
    }

    /// The cluster of the service, for the extension `key`; fields of faults are those of the object.
    pub(crate) fn resolve(&self, reader: &Reader<'_>, key: &ObjectKey) -> Result<ClusterId, Fault> {
        self.cluster(reader, key).map_err(|why| Fault::new(self.field(why.field), why.message, why.remedy))
    }

    /// The field of the object that is `below` the reference to the backend.
    pub(crate) fn field(&self, below: &str) -> String {
        format!("{}.backendRef{below}", self.at)
    }

    /// The cluster of the service, for the extension `key`.
    pub(crate) fn cluster(&self, reader: &Reader<'_>, key: &ObjectKey) -> Result<ClusterId, Unresolved> {
        let reference: BackendRef = BackendRef {
            group: self.backend.group.clone(),
            kind: self.backend.kind.clone(),
            name: self.backend.name.clone(),
            namespace: self.backend.namespace.clone(),
            port: self.backend.port,
            ..BackendRef::default()
        };
        resolve::grpc_backend(reader, key, &reference)
    }
}

/// How Envoy asks the service in `cluster`.
pub(crate) fn envoy(
    cluster: &ClusterId,
    authority: Option<&String>,
    timeout: Option<Duration>,
) -> GrpcService {
    GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
            cluster_name: cluster.name(),
            authority: authority.cloned().unwrap_or_else(|| cluster.authority()),
            ..grpc_service::EnvoyGrpc::default()
        })),
        timeout: timeout.and_then(envoy::duration),
        ..GrpcService::default()
    }
}

/// A time in the field `field` that somebody has to wait for.
pub(crate) fn time(text: Option<&str>, field: &str) -> Result<Option<Duration>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let remedy = "use a duration from 1ms to 1h, such as 500ms or 2s";
    let parsed =
        duration::parse_lenient(text).map_err(|error| Fault::new(field, error.to_string(), remedy))?;
    if parsed < Duration::from_millis(1) || parsed > LONGEST {
        return Err(Fault::new(field, format!("{text} is out of range"), remedy));
    }
    Ok(Some(parsed))
}
