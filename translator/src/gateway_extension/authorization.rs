//! External authorization (`extAuth`): a service decides whether a request may pass.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    BufferSettings, CheckSettings, ExtAuthz, ExtAuthzPerRoute, ext_authz, ext_authz_per_route,
};
use envoy_types::pb::envoy::r#type::v3::{HttpStatus, StatusCode};
use postern_api::kgateway::{BodyToAuthorizer, Disable, ExtAuthPolicy, ExtAuthProvider};

use super::service::{self, Service};
use super::{Answer, Named, Setting};
use crate::backend::ClusterId;
use crate::dependency::Reader;
use crate::envoy::{Any, ApiVersion, any};
use crate::external_auth;
use crate::object::ObjectKey;
use crate::problem::Fault;

/// Envoy's name of the filter.
pub(crate) const FILTER: &str = external_auth::FILTER;

/// How long the service may take where nobody says it. Envoy's own default of 200 ms fails requests while a service starts.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Envoy's default, which is also that of the API.
const STATUS_ON_ERROR: u16 = 403;

/// How much of a body the service gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Body {
    max_bytes: u32,
    partial: bool,
    as_bytes: bool,
}

impl Body {
    fn parse(spec: Option<&BodyToAuthorizer>) -> Result<Option<Self>, Fault> {
        let Some(spec) = spec else { return Ok(None) };
        if spec.max_request_bytes == 0 {
            return Err(Fault::new(
                ".withRequestBody.maxRequestBytes",
                "0 bytes are no body",
                "give a number above 0, or leave withRequestBody out",
            ));
        }
        Ok(Some(Self {
            max_bytes: spec.max_request_bytes,
            partial: spec.allow_partial_message.unwrap_or_default(),
            as_bytes: spec.pack_as_bytes.unwrap_or_default(),
        }))
    }
}

/// What a GatewayExtension says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Provider {
    pub(crate) service: Service,
    fail_open: bool,
    clear_route_cache: bool,
    body: Option<Body>,
    status_on_error: u16,
    stat_prefix: Option<String>,
}

impl Provider {
    pub(crate) fn parse(spec: &ExtAuthProvider) -> Result<Self, Fault> {
        let status_on_error = spec.status_on_error.unwrap_or(STATUS_ON_ERROR);
        // Envoy refuses a configuration with a status that its API does not name.
        if status_on_error < 200 || StatusCode::try_from(i32::from(status_on_error)).is_err() {
            return Err(Fault::new(
                ".statusOnError",
                format!("{status_on_error} is not a status that a request can end with"),
                "use a status of the HTTP standard from 200 to 511, such as 403 or 503",
            ));
        }
        Ok(Self {
            service: Service::parse(spec.grpc_service.as_ref(), "spec.extAuth.grpcService")?,
            fail_open: spec.fail_open.unwrap_or_default(),
            clear_route_cache: spec.clear_route_cache.unwrap_or_default(),
            body: Body::parse(spec.with_request_body.as_ref())?,
            status_on_error,
            stat_prefix: spec.stat_prefix.clone(),
        })
    }
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuthorizationUse {
    named: Named,
    body: Option<Body>,
    context: BTreeMap<String, String>,
}

/// Reads `extAuth` of `policy`.
pub(crate) fn parse(policy: &ObjectKey, spec: &ExtAuthPolicy) -> Result<Setting<AuthorizationUse>, Fault> {
    if spec.disable.is_some_and(Disable::is_set) {
        if spec.extension_ref.is_some() {
            return Err(super::both());
        }
        return Ok(Setting::Disabled);
    }
    let Some(reference) = &spec.extension_ref else { return Err(super::neither()) };
    Ok(Setting::Enabled(AuthorizationUse {
        named: Named::new(policy, "spec.extAuth.extensionRef", reference),
        body: Body::parse(spec.with_request_body.as_ref())?,
        context: spec.context_extensions.clone(),
    }))
}

impl AuthorizationUse {
    pub(crate) fn resolve(&self, reader: &Reader<'_>) -> Answer<Authorization> {
        let choose = |provider| match provider {
            super::Provider::Authorization(it) => Some(it),
            _ => None,
        };
        let provider = match super::provider(reader, &self.named, "ExtAuth", choose) {
            Ok(provider) => provider,
            Err(fault) => return Answer::Closed(fault),
        };
        let cluster = self.named.service(reader, &provider.service, provider.fail_open);
        cluster.map(|cluster| Authorization {
            cluster,
            body: self.body.or(provider.body),
            context: self.context.clone(),
            provider,
        })
    }
}

/// A service that is asked, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Authorization {
    pub(crate) cluster: ClusterId,
    provider: Provider,
    body: Option<Body>,
    context: BTreeMap<String, String>,
}

impl Authorization {
    /// Envoy's filter.
    pub(crate) fn envoy(&self) -> ExtAuthz {
        let Provider { service, fail_open, clear_route_cache, status_on_error, stat_prefix, .. } =
            &self.provider;
        let timeout = service.timeout.unwrap_or(TIMEOUT);
        let grpc = service::envoy(&self.cluster, service.authority.as_ref(), Some(timeout));
        ExtAuthz {
            transport_api_version: ApiVersion::V3.into(),
            services: Some(ext_authz::Services::GrpcService(grpc)),
            failure_mode_allow: *fail_open,
            clear_route_cache: *clear_route_cache,
            with_request_body: self.body.map(|body| BufferSettings {
                max_request_bytes: body.max_bytes,
                allow_partial_message: body.partial,
                pack_as_bytes: body.as_bytes,
            }),
            status_on_error: Some(HttpStatus { code: i32::from(*status_on_error) }),
            stat_prefix: stat_prefix.clone().unwrap_or_default(),
            decoder_header_mutation_rules: Some(external_auth::mutation_rules(*clear_route_cache)),
            ..ExtAuthz::default()
        }
    }

    /// What the service is told beside the request, for the level above that of the filter.
    pub(crate) fn context(&self) -> Option<Any> {
        let context: HashMap<String, String> =
            self.context.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        (!context.is_empty()).then(|| {
            any(ExtAuthzPerRoute {
                r#override: Some(ext_authz_per_route::Override::CheckSettings(CheckSettings {
                    context_extensions: context,
                    ..CheckSettings::default()
                })),
            })
        })
    }
}
