//! Rate limits that a service counts for all proxies (`rateLimit.global`, or `rateLimit.extensionRef`).

use std::time::Duration;

use envoy_types::pb::envoy::config::ratelimit::v3::RateLimitServiceConfig;
use envoy_types::pb::envoy::config::route::v3::RateLimit as Descriptor;
use envoy_types::pb::envoy::config::route::v3::rate_limit::{Action, action};
use envoy_types::pb::envoy::extensions::filters::http::ratelimit::v3::{RateLimit, rate_limit};
use envoy_types::pb::envoy::r#type::matcher::v3::AddressMatcher;
use envoy_types::pb::xds::core::v3::CidrRange;
use postern_api::kgateway::{
    Disable, RateLimitDescriptorEntry, RateLimitDescriptorEntryType, RateLimitHeaders, RateLimitPolicy,
    RateLimitProvider,
};

use super::service::{self, Service};
use super::{Answer, Named, Setting};
use crate::backend::ClusterId;
use crate::dependency::Reader;
use crate::envoy::{self, ApiVersion, u32_value};
use crate::object::ObjectKey;
use crate::problem::Fault;
use crate::route::headers;

/// Envoy's name of the filter.
pub(crate) const FILTER: &str = "envoy.filters.http.ratelimit";

/// The default of the API.
const TIMEOUT: Duration = Duration::from_millis(100);

/// What a GatewayExtension says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Provider {
    pub(crate) service: Service,
    domain: Option<String>,
    fail_open: bool,
    timeout: Duration,
    headers: rate_limit::XRateLimitHeadersRfcVersion,
}

impl Provider {
    pub(crate) fn parse(spec: &RateLimitProvider) -> Result<Self, Fault> {
        let service = Service::parse(spec.grpc_service.as_ref(), "spec.rateLimit.grpcService")?;
        if spec.domain.as_deref() == Some("") {
            return Err(Fault::new(".domain", "it is empty", "give the domain, or leave it out"));
        }
        Ok(Self {
            domain: spec.domain.clone(),
            fail_open: spec.fail_open.unwrap_or(true),
            timeout: service::time(spec.timeout.as_deref(), ".timeout")?
                .or(service.timeout)
                .unwrap_or(TIMEOUT),
            headers: match spec.x_rate_limit_headers.clone().unwrap_or_default() {
                RateLimitHeaders::Off => rate_limit::XRateLimitHeadersRfcVersion::Off,
                RateLimitHeaders::DraftVersion03 => rate_limit::XRateLimitHeadersRfcVersion::DraftVersion03,
                RateLimitHeaders::Unknown(other) => {
                    return Err(Fault::new(
                        ".xRateLimitHeaders",
                        format!("{other:?} is unknown"),
                        "use Off or DraftVersion03",
                    ));
                }
            },
            service,
        })
    }
}

/// An entry of a descriptor.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Fixed {
        key: String,
        value: String,
    },
    /// A request header, by its name in lower case.
    Header(String),
    Client,
    Path,
}

impl Entry {
    fn parse(spec: &RateLimitDescriptorEntry) -> Result<Self, Fault> {
        let missing = |field: &str| {
            Fault::new(
                format!(".{field}"),
                format!("an entry of type {} needs it", spec.type_),
                format!("add {field}, or change the type"),
            )
        };
        let superfluous = |field: &str| {
            Fault::new(
                format!(".{field}"),
                format!("an entry of type {} has no use for it", spec.type_),
                format!("remove {field}, or change the type"),
            )
        };
        let is = |type_: RateLimitDescriptorEntryType| spec.type_ == type_;
        if spec.generic.is_some() && !is(RateLimitDescriptorEntryType::Generic) {
            return Err(superfluous("generic"));
        }
        if spec.header.is_some() && !is(RateLimitDescriptorEntryType::Header) {
            return Err(superfluous("header"));
        }
        match &spec.type_ {
            RateLimitDescriptorEntryType::Generic => {
                let generic = spec.generic.as_ref().ok_or_else(|| missing("generic"))?;
                for (field, value) in [(".generic.key", &generic.key), (".generic.value", &generic.value)] {
                    if value.is_empty() {
                        return Err(Fault::new(field, "it is empty", "give it"));
                    }
                }
                Ok(Self::Fixed { key: generic.key.clone(), value: generic.value.clone() })
            }
            RateLimitDescriptorEntryType::Header => {
                let header = spec.header.as_ref().ok_or_else(|| missing("header"))?;
                headers::name(header).map(Self::Header).map_err(|fault| fault.within(".header"))
            }
            RateLimitDescriptorEntryType::RemoteAddress => Ok(Self::Client),
            RateLimitDescriptorEntryType::Path => Ok(Self::Path),
            RateLimitDescriptorEntryType::Unknown(other) => Err(Fault::new(
                ".type",
                format!("{other:?} is unknown"),
                "use Generic, Header, RemoteAddress or Path",
            )),
        }
    }

    fn envoy(&self) -> Action {
        let specifier = match self {
            Self::Fixed { key, value } => action::ActionSpecifier::GenericKey(action::GenericKey {
                descriptor_key: key.clone(),
                descriptor_value: value.clone(),
                ..action::GenericKey::default()
            }),
            Self::Header(name) => action::ActionSpecifier::RequestHeaders(action::RequestHeaders {
                header_name: name.clone(),
                descriptor_key: name.clone(),
                ..action::RequestHeaders::default()
            }),
            Self::Client => action::ActionSpecifier::RemoteAddress(action::RemoteAddress {}),
            // The header `:path` has the query, too, and whoever varies that would never be limited. This action is the one that
            // takes a format; it is for any address.
            Self::Path => action::ActionSpecifier::RemoteAddressMatch(action::RemoteAddressMatch {
                descriptor_key: "path".to_owned(),
                descriptor_value: "%PATH(NQ)%".to_owned(),
                address_matcher: Some(AddressMatcher {
                    ranges: vec![any_address("0.0.0.0"), any_address("::")],
                    ..AddressMatcher::default()
                }),
                ..action::RemoteAddressMatch::default()
            }),
        };
        Action { action_specifier: Some(specifier) }
    }
}

fn any_address(prefix: &str) -> CidrRange {
    CidrRange { address_prefix: prefix.to_owned(), prefix_len: u32_value(0) }
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LimitUse {
    named: Named,
    /// `None`: requests are counted by route and client.
    descriptors: Option<Vec<Vec<Entry>>>,
}

/// Reads `rateLimit` of `policy`; `None` where it has nothing to say about limits that a service counts.
pub(crate) fn parse(policy: &ObjectKey, spec: &RateLimitPolicy) -> Result<Option<Setting<LimitUse>>, Fault> {
    if spec.disable.is_some_and(Disable::is_set) {
        if spec.extension_ref.is_some() || spec.global.is_some() {
            return Err(super::both());
        }
        return Ok(Some(Setting::Disabled));
    }
    match (&spec.extension_ref, &spec.global) {
        (Some(_), Some(_)) => Err(Fault::new(
            ".global",
            "extensionRef and global say the same thing",
            "remove one of them (global is the spelling of kgateway v2.1)",
        )),
        (None, None) => Ok(None),
        (Some(reference), None) => Ok(Some(Setting::Enabled(LimitUse {
            named: Named::new(policy, "spec.rateLimit.extensionRef", reference),
            descriptors: None,
        }))),
        (None, Some(global)) => {
            let mut descriptors = Vec::new();
            for (index, descriptor) in global.descriptors.iter().enumerate() {
                let at = format!(".global.descriptors[{index}].entries");
                if descriptor.entries.is_empty() {
                    return Err(Fault::new(at, "there is none", "say what is counted"));
                }
                let entries = descriptor.entries.iter().enumerate().map(|(entry, spec)| {
                    Entry::parse(spec).map_err(|fault| fault.within(&format!("{at}[{entry}]")))
                });
                descriptors.push(entries.collect::<Result<Vec<_>, _>>()?);
            }
            if descriptors.is_empty() {
                return Err(Fault::new(".global.descriptors", "there is none", "say what is counted"));
            }
            Ok(Some(Setting::Enabled(LimitUse {
                named: Named::new(policy, "spec.rateLimit.global.extensionRef", &global.extension_ref),
                descriptors: Some(descriptors),
            })))
        }
    }
}

impl LimitUse {
    /// What it comes to for a route, which is called `route` where nothing else is counted.
    pub(crate) fn resolve(&self, reader: &Reader<'_>, route: &str) -> Answer<Limits> {
        let choose = |provider| match provider {
            super::Provider::Limits(it) => Some(it),
            _ => None,
        };
        let provider = match super::provider(reader, &self.named, "RateLimit", choose) {
            Ok(provider) => provider,
            Err(fault) => return Answer::Closed(fault),
        };
        let cluster = self.named.service(reader, &provider.service, provider.fail_open);
        let by_route =
            || vec![vec![Entry::Fixed { key: "route".to_owned(), value: route.to_owned() }, Entry::Client]];
        cluster.map(|cluster| Limits {
            cluster,
            domain: provider.domain.clone().unwrap_or_else(|| self.named.extension.to_string()),
            provider,
            descriptors: self.descriptors.clone().unwrap_or_else(by_route),
        })
    }
}

/// A service that counts, and what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) cluster: ClusterId,
    domain: String,
    provider: Provider,
    descriptors: Vec<Vec<Entry>>,
}

impl Limits {
    /// Envoy's filter.
    pub(crate) fn envoy(&self) -> RateLimit {
        let provider = &self.provider;
        let descriptor = |entries: &Vec<Entry>| Descriptor {
            actions: entries.iter().map(Entry::envoy).collect(),
            ..Descriptor::default()
        };
        RateLimit {
            domain: self.domain.clone(),
            timeout: envoy::duration(provider.timeout),
            failure_mode_deny: !provider.fail_open,
            enable_x_ratelimit_headers: provider.headers.into(),
            rate_limit_service: Some(RateLimitServiceConfig {
                grpc_service: Some(service::envoy(&self.cluster, provider.service.authority.as_ref(), None)),
                transport_api_version: ApiVersion::V3.into(),
            }),
            rate_limits: self.descriptors.iter().map(descriptor).collect(),
            ..RateLimit::default()
        }
    }
}
