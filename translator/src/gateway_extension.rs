//! GatewayExtension: services that take part in the handling of requests, and what TrafficPolicies say of them.
//!
//! What a route has to know of its services goes into slots of the listener (see `envoy::slot`), so no change of an extension
//! changes a listener. Where somebody wanted a service to be asked and nobody knows whom, the route is closed.

pub(crate) mod authorization;
pub(crate) mod limits;
pub(crate) mod processing;
mod service;
pub(crate) mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutationRules;
use envoy_types::pb::envoy::config::route::v3::{
    Route, WeightedCluster, route, route_action, weighted_cluster,
};
use postern_api::kgateway::{
    Disable, GatewayExtension, GatewayExtensionType, NamespacedReference, TrafficPolicySpec,
};

use self::authorization::{Authorization, AuthorizationUse};
use self::limits::{LimitUse, Limits};
use self::processing::{Processing, ProcessingUse};
use self::service::Service;
use crate::backend::ClusterId;
use crate::dependency::Reader;
use crate::envoy::{regex_matcher, slot, u32_value};
use crate::grants::{self, Reference};
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::setting::Setting;
use crate::policy::{Fields, Policy};
use crate::problem::Fault;

/// The extension that a policy names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    policy: ObjectKey,
    /// Where the policy names it.
    field: &'static str,
    extension: NamespacedName,
}

impl Named {
    /// Reads a reference in `field` of `policy`, which is in the policy's namespace if it does not say otherwise.
    pub(crate) fn new(policy: &ObjectKey, field: &'static str, reference: &NamespacedReference) -> Self {
        let namespace = reference.namespace.as_deref().unwrap_or(&policy.namespace);
        Self { policy: policy.clone(), field, extension: NamespacedName::new(namespace, &reference.name) }
    }

    fn key(&self) -> ObjectKey {
        ObjectKey::new(Kind::GatewayExtension, &self.extension.namespace, &self.extension.name)
    }

    /// The extension, if the policy may refer to it.
    fn find<'a>(&self, reader: &Reader<'a>) -> Result<&'a Arc<GatewayExtension>, Fault> {
        let key = self.key();
        let asked = Reference {
            from_group: self.policy.kind.group(),
            from_kind: self.policy.kind.as_str(),
            from_namespace: &self.policy.namespace,
            to_group: key.kind.group(),
            to_kind: key.kind.as_str(),
            to_namespace: &key.namespace,
            to_name: &key.name,
        };
        if !grants::permitted(reader, asked) {
            return Err(Fault::new(
                format!("{}.namespace", self.field),
                format!("{key} is in another namespace and no ReferenceGrant allows it"),
                grants::remedy(asked),
            ));
        }
        reader.get::<GatewayExtension>(&key.namespace, &key.name).ok_or_else(|| {
            Fault::new(
                format!("{}.name", self.field),
                format!("{key} does not exist"),
                "create it, or mend the reference",
            )
        })
    }

    /// What a fault of the extension means to the policy.
    fn invalid(&self, fault: &Fault) -> Fault {
        let key = self.key();
        Fault::new(
            format!("{}.name", self.field),
            format!("{key} cannot be used: {}: {}", fault.field, fault.message),
            format!("mend {} of the {}: {}", fault.field, key.kind, fault.remedy),
        )
    }

    /// The service of a `provider` that has been read.
    fn service(&self, reader: &Reader<'_>, service: &Service, fail_open: bool) -> Answer<ClusterId> {
        match service.resolve(reader, &self.key()) {
            Ok(cluster) => Answer::Ask(cluster),
            // The same as a service that is not there.
            Err(_) if fail_open => Answer::GoOn,
            Err(fault) => Answer::Closed(self.invalid(&fault)),
        }
    }
}

/// What comes of the use of an extension.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer<T> {
    Ask(T),
    /// There is nobody to ask, and the extension says that requests pass then.
    GoOn,
    /// Nobody knows whom to ask; nothing passes.
    Closed(Fault),
}

impl<T> Answer<T> {
    fn map<U>(self, make: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Ask(it) => Answer::Ask(make(it)),
            Self::GoOn => Answer::GoOn,
            Self::Closed(fault) => Answer::Closed(fault),
        }
    }
}

/// What one provider of an extension says, whatever its type.
#[derive(Clone, Debug, PartialEq)]
enum Provider {
    Authorization(authorization::Provider),
    Processing(processing::Provider),
    Limits(limits::Provider),
}

impl Provider {
    fn parse(extension: &GatewayExtension) -> Result<Self, Fault> {
        let spec = &extension.spec;
        let (found, provider) = match (&spec.ext_auth, &spec.ext_proc, &spec.rate_limit) {
            (Some(it), None, None) => (
                GatewayExtensionType::ExtAuth,
                Self::Authorization(
                    authorization::Provider::parse(it).map_err(|f| f.within("spec.extAuth"))?,
                ),
            ),
            (None, Some(it), None) => (
                GatewayExtensionType::ExtProc,
                Self::Processing(processing::Provider::parse(it).map_err(|f| f.within("spec.extProc"))?),
            ),
            (None, None, Some(it)) => (
                GatewayExtensionType::RateLimit,
                Self::Limits(limits::Provider::parse(it).map_err(|f| f.within("spec.rateLimit"))?),
            ),
            _ => {
                return Err(Fault::new(
                    "spec",
                    "it does not have exactly one of extAuth, extProc and rateLimit",
                    "give exactly one of them",
                ));
            }
        };
        match &spec.type_ {
            Some(given) if *given != found => Err(Fault::new(
                "spec.type",
                format!("the type is {given}, but the settings are those of {found}"),
                format!("change the type to {found}, or leave it out"),
            )),
            _ => Ok(provider),
        }
    }

    fn service(&self) -> &Service {
        match self {
            Self::Authorization(it) => &it.service,
            Self::Processing(it) => &it.service,
            Self::Limits(it) => &it.service,
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Authorization(_) => "ExtAuth",
            Self::Processing(_) => "ExtProc",
            Self::Limits(_) => "RateLimit",
        }
    }
}

/// The provider behind a name, if it is of the type that `choose` wants.
fn provider<T>(
    reader: &Reader<'_>,
    named: &Named,
    wanted: &str,
    choose: impl FnOnce(Provider) -> Option<T>,
) -> Result<T, Fault> {
    let extension = named.find(reader)?;
    let provider = Provider::parse(extension).map_err(|fault| named.invalid(&fault))?;
    let kind = provider.kind();
    choose(provider).ok_or_else(|| {
        Fault::new(
            format!("{}.name", named.field),
            format!("{} is of type {kind}, not {wanted}", named.key()),
            format!("refer to a GatewayExtension of type {wanted}"),
        )
    })
}

/// What a policy says of extensions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Uses {
    pub(crate) authorization: Option<Setting<AuthorizationUse>>,
    pub(crate) processing: Option<Setting<ProcessingUse>>,
    pub(crate) limits: Option<Setting<LimitUse>>,
}

impl Uses {
    /// Reads the fields of `policy`; what is wrong goes to `faults`.
    pub(crate) fn parse(policy: &ObjectKey, spec: &TrafficPolicySpec, faults: &mut Vec<Fault>) -> Self {
        let mut keep = |fault: Fault, at: &str| faults.push(fault.within(at));
        let authorization = spec.ext_auth.as_ref().map(|it| authorization::parse(policy, it));
        let processing = spec.ext_proc.as_ref().map(|it| processing::parse(policy, it));
        let limits = spec.rate_limit.as_ref().and_then(|it| limits::parse(policy, it).transpose());
        Self {
            authorization: authorization.and_then(|it| it.map_err(|f| keep(f, "spec.extAuth")).ok()),
            processing: processing.and_then(|it| it.map_err(|f| keep(f, "spec.extProc")).ok()),
            limits: limits.and_then(|it| it.map_err(|f| keep(f, "spec.rateLimit")).ok()),
        }
    }

    /// True if a policy with this `spec` asks for somebody to be asked, so that not applying it would let requests through that
    /// should not pass.
    pub(crate) fn wanted_by(spec: &TrafficPolicySpec) -> bool {
        let on = |disable: Option<Disable>| !disable.is_some_and(Disable::is_set);
        spec.ext_auth.as_ref().is_some_and(|it| on(it.disable))
            || spec.ext_proc.as_ref().is_some_and(|it| on(it.disable))
            || spec
                .rate_limit
                .as_ref()
                .is_some_and(|it| on(it.disable) && (it.extension_ref.is_some() || it.global.is_some()))
    }
}

/// What cannot be carried out of a policy because of the extensions that it names.
pub(crate) fn faults(reader: &Reader<'_>, policy: &Policy) -> Vec<Fault> {
    let uses = &policy.fields.extensions;
    let closed = [
        uses.authorization.as_ref().and_then(Setting::enabled).and_then(|it| closed(it.resolve(reader))),
        uses.processing.as_ref().and_then(Setting::enabled).and_then(|it| closed(it.resolve(reader))),
        uses.limits.as_ref().and_then(Setting::enabled).and_then(|it| closed(it.resolve(reader, ""))),
    ];
    closed.into_iter().flatten().collect()
}

fn closed<T>(answer: Answer<T>) -> Option<Fault> {
    match answer {
        Answer::Closed(fault) => Some(fault),
        Answer::Ask(_) | Answer::GoOn => None,
    }
}

/// The services that a rule asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extensions {
    authorization: Option<Authorization>,
    processing: Option<Processing>,
    limits: Option<Limits>,
}

impl Extensions {
    /// What `fields` come to for a rule of `route`; fails if the rule must not be served.
    pub(crate) fn resolve(reader: &Reader<'_>, fields: &Fields, route: &ObjectKey) -> Result<Self, Fault> {
        fn open<T>(answer: Answer<T>) -> Result<Option<T>, Fault> {
            match answer {
                Answer::Ask(it) => Ok(Some(it)),
                Answer::GoOn => Ok(None),
                Answer::Closed(fault) => Err(fault),
            }
        }
        let uses = &fields.extensions;
        let mut out = Self::default();
        if let Some(Setting::Enabled(it)) = &uses.authorization {
            out.authorization = open(it.resolve(reader))?;
        }
        if let Some(Setting::Enabled(it)) = &uses.processing {
            out.processing = open(it.resolve(reader))?;
        }
        if let Some(Setting::Enabled(it)) = &uses.limits {
            let kind = route.kind.as_str().to_ascii_lowercase();
            out.limits = open(it.resolve(reader, &format!("{kind}/{}", route.namespaced_name())))?;
        }
        Ok(out)
    }

    /// The clusters of the services.
    pub(crate) fn clusters(&self) -> BTreeSet<ClusterId> {
        let authorization = self.authorization.iter().map(|it| &it.cluster);
        let processing = self.processing.iter().map(|it| &it.cluster);
        let limits = self.limits.iter().map(|it| &it.cluster);
        authorization.chain(processing).chain(limits).cloned().collect()
    }

    /// The clusters of the services, to be changed.
    pub(crate) fn clusters_mut(&mut self) -> impl Iterator<Item = &mut ClusterId> {
        let authorization = self.authorization.iter_mut().map(|it| &mut it.cluster);
        let processing = self.processing.iter_mut().map(|it| &mut it.cluster);
        let limits = self.limits.iter_mut().map(|it| &mut it.cluster);
        authorization.chain(processing).chain(limits)
    }

    /// Puts the services into the slots of a route.
    pub(crate) fn fill(&self, route: &mut Route) {
        if let Some(it) = &self.authorization {
            let filter = slot::filled(authorization::FILTER, it.envoy());
            match it.context() {
                Some(context) if deepen(route, &filter) => {
                    route.typed_per_filter_config.insert(slot::EXT_AUTH.to_owned(), context);
                }
                _ => {
                    route.typed_per_filter_config.insert(slot::EXT_AUTH.to_owned(), filter);
                }
            }
        }
        if let Some(it) = &self.processing {
            let filter = slot::filled(processing::FILTER, it.envoy());
            route.typed_per_filter_config.insert(slot::EXT_PROC.to_owned(), filter);
        }
        if let Some(it) = &self.limits {
            let filter = slot::filled(limits::FILTER, it.envoy());
            route.typed_per_filter_config.insert(slot::RATE_LIMIT.to_owned(), filter);
        }
    }
}

/// Puts the filter of external authorization one level below the route, into its clusters, so that the route itself can say
/// what the service is told: a slot takes its filter from the lowest level, and the filter reads all levels. False where a
/// route has no clusters.
fn deepen(route: &mut Route, filter: &crate::envoy::Any) -> bool {
    let Some(route::Action::Route(action)) = &mut route.action else { return false };
    let configure = |cluster: &mut weighted_cluster::ClusterWeight| {
        cluster.typed_per_filter_config.insert(slot::EXT_AUTH.to_owned(), filter.clone());
    };
    match &mut action.cluster_specifier {
        Some(route_action::ClusterSpecifier::WeightedClusters(clusters)) => {
            clusters.clusters.iter_mut().for_each(configure);
            true
        }
        Some(route_action::ClusterSpecifier::Cluster(name)) => {
            let mut only = weighted_cluster::ClusterWeight {
                name: std::mem::take(name),
                weight: u32_value(1),
                ..weighted_cluster::ClusterWeight::default()
            };
            configure(&mut only);
            action.cluster_specifier =
                Some(route_action::ClusterSpecifier::WeightedClusters(WeightedCluster {
                    clusters: vec![only],
                    ..WeightedCluster::default()
                }));
            true
        }
        _ => false,
    }
}

/// What is wrong where a policy names an extension and switches it off.
fn both() -> Fault {
    Fault::new(
        ".disable",
        "it switches off what the same policy switches on",
        "remove disable, or the reference to the extension",
    )
}

/// What is wrong where a policy neither names an extension nor switches one off.
fn neither() -> Fault {
    Fault::new(".extensionRef", "it is missing", "name a GatewayExtension, or use disable")
}

/// What services must not change in a request: how it is framed, and what only Envoy says. Whom it is for stays as Envoy has
/// it unless `allow_all_routing` is set.
const NOT_FROM_A_SERVICE: &str = "(?i)^(connection|transfer-encoding|te|trailer|upgrade|x-postern-.*)$";

fn mutation_rules() -> HeaderMutationRules {
    HeaderMutationRules {
        disallow_expression: Some(regex_matcher(NOT_FROM_A_SERVICE)),
        ..HeaderMutationRules::default()
    }
}

#[cfg(test)]
mod tests;
