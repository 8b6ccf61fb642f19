//! TrafficPolicy: one normalised form for both dialects, and the merge of several.
//!
//! More specific wins field by field (rule, route, listener, ListenerSet, Gateway), see [`merge`]; on one level the heavier wins, then
//! the older. A policy that is not valid is not applied; if it protects something, the routes it targets answer 500 until it is mended.

mod buffer;
mod csrf;
pub(crate) mod fields;
mod local_rate_limit;
pub(crate) mod merge;
mod rbac;
pub(crate) mod setting;
pub(crate) mod status;

pub(crate) use self::fields::Fields;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_api::duration;
use postern_api::kgateway::{PolicyTargetRef, PolicyTargetSelector, TrafficPolicy, TrafficPolicySpec};

use self::buffer::Buffer;
use self::csrf::Csrf;
use self::local_rate_limit::LocalRateLimit;
use self::rbac::Rbac;
use self::setting::Setting;
use crate::gateway::ListenerId;
use crate::gateway_extension::Uses;
use crate::object::{Age, Kind, NamespacedName, ObjectKey};
use crate::problem::Fault;
use crate::route::cors::Cors;
use crate::route::headers::HeaderModifier;
use crate::route::retry::Retry;
use crate::transformation::Transformation;

/// An object, or a named part of it, that a policy can be on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) name: NamespacedName,
    /// A listener of a Gateway or ListenerSet, or a named rule of a route.
    pub(crate) section: Option<String>,
}

impl Target {
    pub(crate) fn new(kind: Kind, name: &NamespacedName, section: Option<&str>) -> Self {
        Self { kind, name: name.clone(), section: section.map(str::to_owned) }
    }

    pub(crate) fn key(&self) -> ObjectKey {
        ObjectKey::new(self.kind, &self.name.namespace, &self.name.name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        self.section.as_ref().map_or(Ok(()), |section| write!(f, " section {section}"))
    }
}

/// What a policy on a listener can be on, the most specific first. The Gateway of a ListenerSet has the last word (GEP-1713).
pub(crate) fn listener_targets(gateway: &NamespacedName, listener: &ListenerId) -> Vec<Target> {
    let section = Some(listener.name.as_str());
    let whole = Target::new(Kind::Gateway, gateway, None);
    match &listener.set {
        None => vec![Target::new(Kind::Gateway, gateway, section), whole],
        Some(set) => {
            let of_set = |section| Target::new(Kind::ListenerSet, set, section);
            vec![of_set(section), of_set(None), whole]
        }
    }
}

/// One entry of `targetRefs` that can be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PolicyTarget {
    pub(crate) object: Target,
    pub(crate) field: String,
}

/// One entry of `targetSelectors`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selector {
    pub(crate) kind: Kind,
    labels: BTreeMap<String, String>,
    pub(crate) section: Option<String>,
}

impl Selector {
    /// True if it selects the section of an object of `kind` with these labels, or all of it (`None`).
    pub(crate) fn selects(
        &self,
        kind: Kind,
        section: Option<&str>,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        self.kind == kind && self.section.as_deref() == section && self.matches(labels)
    }

    /// True if an object with these labels is selected.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// A TrafficPolicy, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) key: ObjectKey,
    pub(crate) age: Age,
    /// Among policies on one target the heavier wins (`kgateway.dev/policy-weight`).
    weight: i32,
    pub(crate) generation: Option<i64>,
    pub(crate) targets: Vec<PolicyTarget>,
    pub(crate) selectors: Vec<Selector>,
    pub(crate) fields: Fields,
    /// What is wrong; a policy with faults is not applied at all.
    pub(crate) faults: Vec<Fault>,
    /// Not applying it would open what it protects.
    pub(crate) protects: bool,
}

const DURATION_REMEDY: &str = "use a duration such as 500ms, 10s or 1m30s";

impl Policy {
    /// Reads a policy; never fails, what is wrong is in `faults`.
    pub(crate) fn parse(policy: &TrafficPolicy) -> Self {
        let namespace = policy.metadata.namespace.clone().unwrap_or_default();
        let key =
            ObjectKey::new(Kind::TrafficPolicy, &namespace, policy.metadata.name.clone().unwrap_or_default());
        let mut faults = Vec::new();
        let (targets, selectors) = targets(
            // Without any, a policy is used through an ExtensionRef filter.
            &policy.spec.target_refs,
            &policy.spec.target_selectors,
            &TARGET_KINDS,
            &namespace,
            &mut faults,
        );
        // A panic is a bug of ours: it costs this policy, not the caller.
        let fields = catch_unwind(AssertUnwindSafe(|| fields(&key, &policy.spec, &mut faults)))
            .unwrap_or_else(|_| {
                faults.push(Fault::new(
                    "spec",
                    "reading it failed by a defect of Postern",
                    "report it with the object",
                ));
                Fields::default()
            });
        faults.extend(auto_host_elsewhere(&policy.spec));
        Self {
            key,
            age: Age::of(&policy.metadata),
            weight: weight(&policy.metadata, &mut faults),
            generation: policy.metadata.generation,
            targets,
            selectors,
            fields,
            faults,
            protects: protects(&policy.spec),
        }
    }

    /// The order of precedence among policies on one target.
    pub(crate) fn precedence(&self) -> (Reverse<i32>, &Age) {
        (Reverse(self.weight), &self.age)
    }

    /// True if one of the selectors selects the section of an object of `kind` with these labels, or all of it (`None`).
    pub(crate) fn selects(
        &self,
        kind: Kind,
        section: Option<&str>,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        self.selectors.iter().any(|selector| selector.selects(kind, section, labels))
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }
}

/// The annotation that weighs a policy against others on the same target (kgateway v2.1).
const WEIGHT_ANNOTATION: &str = "kgateway.dev/policy-weight";

fn weight(metadata: &ObjectMeta, faults: &mut Vec<Fault>) -> i32 {
    let value = metadata.annotations.as_ref().and_then(|annotations| annotations.get(WEIGHT_ANNOTATION));
    let Some(value) = value else { return 0 };
    value.parse().unwrap_or_else(|_| {
        faults.push(Fault::new(
            format!("metadata.annotations[{WEIGHT_ANNOTATION}]"),
            format!("{value:?} is not a whole number"),
            "use a number such as 10; the heavier policy wins, and 0 is the weight of all others",
        ));
        0
    })
}

/// True if something would be open that the policy is to close, if it were not applied.
fn protects(spec: &TrafficPolicySpec) -> bool {
    Uses::wanted_by(spec) || spec.rbac.is_some() || spec.csrf.is_some()
}

/// Kinds that a TrafficPolicy can be on.
const TARGET_KINDS: [Kind; 4] = [Kind::Gateway, Kind::ListenerSet, Kind::HttpRoute, Kind::GrpcRoute];

/// What a policy in `namespace` is on, as far as it can be read; `kinds` are those that it can be on.
pub(crate) fn targets(
    references: &[PolicyTargetRef],
    selectors_given: &[PolicyTargetSelector],
    kinds: &[Kind],
    namespace: &str,
    faults: &mut Vec<Fault>,
) -> (Vec<PolicyTarget>, Vec<Selector>) {
    let target_kind =
        |group: &str, kind: &str| Kind::from_group_kind(group, kind).filter(|kind| kinds.contains(kind));
    let names: Vec<String> = kinds.iter().map(|kind| format!("{kind}s")).collect();
    let mut targets = Vec::new();
    for (index, reference) in references.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        let Some(kind) = target_kind(reference.group(), &reference.kind) else {
            faults.push(Fault::new(
                format!("{field}.kind"),
                format!("{} (group {:?}) cannot be a target", reference.kind, reference.group()),
                format!("target {}", names.join(" or ")),
            ));
            continue;
        };
        let name = NamespacedName::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
        targets.push(PolicyTarget {
            object: Target { kind, name, section: reference.section_name.clone() },
            field,
        });
    }
    let mut selectors = Vec::new();
    for (index, selector) in selectors_given.iter().enumerate() {
        let field = format!("spec.targetSelectors[{index}]");
        match target_kind(selector.group(), &selector.kind) {
            Some(kind) => {
                let (labels, section) = (selector.match_labels.clone(), selector.section_name.clone());
                selectors.push(Selector { kind, labels, section });
            }
            None => faults.push(Fault::new(
                format!("{field}.kind"),
                format!("{} (group {:?}) cannot be a target", selector.kind, selector.group()),
                format!("select {}", names.join(" or ")),
            )),
        }
    }
    (targets, selectors)
}

fn fields(key: &ObjectKey, spec: &TrafficPolicySpec, faults: &mut Vec<Fault>) -> Fields {
    #[cfg(test)]
    assert!(
        spec.timeout.as_ref().and_then(|t| t.request.as_deref()) != Some(crate::dependency::PANICS),
        "a defect, for a test"
    );
    let mut both = |a: (&'static str, bool), b: (&'static str, bool)| {
        if a.1 && b.1 {
            faults.push(Fault::new(
                format!("spec.{}", b.0),
                format!("{} and {} say the same thing", a.0, b.0),
                format!("remove one of them ({} is the spelling of kgateway v2.1)", b.0),
            ));
        }
    };
    both(("timeout", spec.timeout.is_some()), ("timeouts", spec.timeouts.is_some()));
    both(("retries", spec.retries.is_some()), ("retry", spec.retry.is_some()));
    let modifiers = spec.header_modifiers.as_ref();
    let (request, response) =
        (modifiers.and_then(|m| m.request.as_ref()), modifiers.and_then(|m| m.response.as_ref()));
    both(
        ("requestHeaderModifier", spec.request_header_modifier.is_some()),
        ("headerModifiers.request", request.is_some()),
    );
    both(
        ("responseHeaderModifier", spec.response_header_modifier.is_some()),
        ("headerModifiers.response", response.is_some()),
    );
    let mut out = Fields { auto_host: spec.auto_host_rewrite, ..Fields::default() };
    let mut time = |text: Option<&String>, field: &str| -> Option<Duration> {
        let parsed = duration::parse_lenient(text?);
        parsed.map_err(|e| faults.push(Fault::new(field, e.to_string(), DURATION_REMEDY))).ok()
    };
    if let Some(timeout) = &spec.timeout {
        out.request_timeout = time(timeout.request.as_ref(), "spec.timeout.request");
        out.idle_timeout = time(timeout.idle.as_ref(), "spec.timeout.idle");
    }
    if let Some(timeouts) = &spec.timeouts {
        out.request_timeout = time(timeouts.request.as_ref(), "spec.timeouts.request");
        out.idle_timeout = time(timeouts.stream_idle.as_ref(), "spec.timeouts.streamIdle");
    }
    let mut keep = |fault: Fault, at: &str| faults.push(fault.within(at));
    if let Some(retries) = &spec.retries {
        out.retry = Retry::from_retries(retries).map_err(|f| keep(f, "spec.retries")).ok();
    }
    if let Some(retry) = &spec.retry {
        out.retry = Retry::from_retry(retry).map_err(|f| keep(f, "spec.retry")).ok();
    }
    let requests = [
        (spec.request_header_modifier.as_ref(), "spec.requestHeaderModifier"),
        (request, "spec.headerModifiers.request"),
    ];
    for (filter, at) in requests {
        if let Some(filter) = filter {
            out.request_headers = HeaderModifier::request(filter).map_err(|f| keep(f, at)).ok();
        }
    }
    let responses = [
        (spec.response_header_modifier.as_ref(), "spec.responseHeaderModifier"),
        (response, "spec.headerModifiers.response"),
    ];
    for (filter, at) in responses {
        if let Some(filter) = filter {
            out.response_headers = HeaderModifier::response(filter).map_err(|f| keep(f, at)).ok();
        }
    }
    if let Some(cors) = &spec.cors {
        out.cors = if cors.disable.as_ref().is_some_and(|d| d.is_set()) {
            Some(Setting::Disabled)
        } else {
            Cors::from_policy(cors).map_err(|f| keep(f, "spec.cors")).ok().map(Setting::Enabled)
        };
    }
    if let Some(csrf) = &spec.csrf {
        out.csrf = Csrf::parse(csrf).map_err(|f| keep(f, "spec.csrf")).ok();
    }
    if let Some(rbac) = &spec.rbac {
        out.rbac = Rbac::parse(rbac).map_err(|f| keep(f, "spec.rbac")).ok();
    }
    if let Some(local) = spec.rate_limit.as_ref().and_then(|limit| limit.local.as_ref()) {
        out.local_rate_limit = LocalRateLimit::parse(local).map_err(|f| keep(f, "spec.rateLimit.local")).ok();
    }
    if let Some(buffer) = &spec.buffer {
        out.buffer = Buffer::parse(buffer).map_err(|f| keep(f, "spec.buffer")).ok();
    }
    if let Some(transformation) = &spec.transformation {
        out.transformation =
            Transformation::parse(transformation).map_err(|f| keep(f, "spec.transformation")).ok();
    }
    out.extensions = Uses::parse(key, spec, faults);
    if let (Some(total), Some(Some(per_try))) =
        (out.request_timeout, out.retry.as_ref().map(|r| r.per_try_timeout))
        && !total.is_zero()
        && per_try >= total
    {
        faults.push(Fault::new(
            "spec.retries.perTryTimeout",
            "it is not shorter than the timeout of the whole request, so nothing could be retried",
            "make perTryTimeout shorter than timeout.request",
        ));
    }
    out
}

/// The Host header has a meaning in HTTP requests that routes send to backends (kgateway v2.1).
fn auto_host_elsewhere(spec: &TrafficPolicySpec) -> Option<Fault> {
    spec.auto_host_rewrite?;
    let kinds = spec.target_refs.iter().map(|target| &target.kind);
    let mut kinds = kinds.chain(spec.target_selectors.iter().map(|selector| &selector.kind));
    let other = kinds.find(|kind| *kind != Kind::HttpRoute.as_str())?;
    let message = format!("it is possible on HTTPRoutes only, not on {other}");
    Some(Fault::new("spec.autoHostRewrite", message, "let a policy of its own target HTTPRoutes"))
}

#[cfg(test)]
mod tests;
