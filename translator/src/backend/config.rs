//! BackendConfigPolicy (kgateway v2.1): how proxies talk to a backend, whatever route requests come from.
//!
//! Several policies on one backend are merged: the older one wins, field by field. A policy that is not valid is not applied; if it asks
//! for TLS, its backends get no connection, because without TLS requests would go where nobody meant them to go.

pub(crate) mod balancing;
pub(crate) mod connection;
pub(crate) mod status;
pub(crate) mod tls;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use postern_api::duration;
use postern_api::kgateway::{BackendConfigPolicy, BackendConfigPolicySpec};

use self::balancing::{HashBy, HealthCheck, LoadBalancer, OutlierDetection};
use self::connection::{Http1, Http2, HttpOptions, Keepalive};
use self::tls::TlsSettings;
use crate::dependency::Reader;
use crate::object::{Age, Kind, ObjectKey};
use crate::problem::Fault;

const DURATION_REMEDY: &str = "use a duration such as 500ms, 10s or 1m30s";

/// The fields that a policy can set; `None` leaves the field to others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields {
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) buffer_bytes: Option<u32>,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) http: Option<HttpOptions>,
    pub(crate) http1: Option<Http1>,
    pub(crate) http2: Option<Http2>,
    pub(crate) tls: Option<Arc<TlsSettings>>,
    pub(crate) load_balancer: Option<Arc<LoadBalancer>>,
    pub(crate) health_check: Option<Arc<HealthCheck>>,
    pub(crate) outlier_detection: Option<OutlierDetection>,
}

impl Fields {
    /// Takes every field that is still open from `younger`.
    fn fill(&mut self, younger: &Self) {
        fn take<T: Clone>(field: &mut Option<T>, younger: Option<&T>) {
            if field.is_none() {
                *field = younger.cloned();
            }
        }
        take(&mut self.connect_timeout, younger.connect_timeout.as_ref());
        take(&mut self.buffer_bytes, younger.buffer_bytes.as_ref());
        take(&mut self.keepalive, younger.keepalive.as_ref());
        take(&mut self.http, younger.http.as_ref());
        take(&mut self.http1, younger.http1.as_ref());
        take(&mut self.http2, younger.http2.as_ref());
        take(&mut self.load_balancer, younger.load_balancer.as_ref());
        take(&mut self.health_check, younger.health_check.as_ref());
        take(&mut self.outlier_detection, younger.outlier_detection.as_ref());
    }

    /// The fields that are set, but for `tls`.
    fn names(&self) -> Vec<&'static str> {
        [
            ("connectTimeout", self.connect_timeout.is_some()),
            ("perConnectionBufferLimitBytes", self.buffer_bytes.is_some()),
            ("tcpKeepalive", self.keepalive.is_some()),
            ("commonHttpProtocolOptions", self.http.is_some()),
            ("http1ProtocolOptions", self.http1.is_some()),
            ("http2ProtocolOptions", self.http2.is_some()),
            ("loadBalancer", self.load_balancer.is_some()),
            ("healthCheck", self.health_check.is_some()),
            ("outlierDetection", self.outlier_detection.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }
}

/// One entry of `targetRefs`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConfigTarget {
    pub(crate) backend: ObjectKey,
    pub(crate) field: String,
}

/// One entry of `targetSelectors`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConfigSelector {
    pub(crate) kind: Kind,
    labels: BTreeMap<String, String>,
}

/// A BackendConfigPolicy, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConfigPolicy {
    pub(crate) key: ObjectKey,
    pub(crate) age: Age,
    generation: Option<i64>,
    pub(crate) targets: Vec<ConfigTarget>,
    pub(crate) selectors: Vec<ConfigSelector>,
    fields: Fields,
    /// What is wrong; a policy with faults is not applied at all.
    faults: Vec<Fault>,
    /// What has no effect.
    warnings: Vec<Fault>,
    /// It asks for TLS, valid or not.
    wants_tls: bool,
}

impl ConfigPolicy {
    /// Reads a policy; never fails, what is wrong is in `faults`.
    pub(crate) fn parse(policy: &BackendConfigPolicy) -> Self {
        let namespace = policy.metadata.namespace.clone().unwrap_or_default();
        let name = policy.metadata.name.clone().unwrap_or_default();
        let mut faults = Vec::new();
        let mut warnings = Vec::new();
        let (targets, selectors) = targets(&policy.spec, &namespace, &mut faults);
        // A panic is a bug of ours: it costs this policy, not the caller.
        let read = catch_unwind(AssertUnwindSafe(|| fields(&policy.spec, &mut faults, &mut warnings)));
        let fields = read.unwrap_or_else(|_| {
            faults.push(Fault::new(
                "spec",
                "reading it failed by a defect of Postern",
                "report it with the object",
            ));
            Fields::default()
        });
        Self {
            key: ObjectKey::new(Kind::BackendConfigPolicy, namespace, name),
            age: Age::of(&policy.metadata),
            generation: policy.metadata.generation,
            targets,
            selectors,
            fields,
            faults,
            warnings,
            wants_tls: policy.spec.tls.is_some(),
        }
    }

    /// True if one of the selectors selects an object of `kind` with these labels.
    pub(crate) fn selects(&self, kind: Kind, labels: &BTreeMap<String, String>) -> bool {
        let mut selectors = self.selectors.iter();
        selectors.any(|it| it.kind == kind && it.labels.iter().all(|(k, v)| labels.get(k) == Some(v)))
    }

    fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    /// All fields that are set.
    fn names(&self) -> Vec<&'static str> {
        let mut names = self.fields.names();
        if self.wants_tls {
            names.push(TLS);
        }
        names
    }
}

const TLS: &str = "tls";

/// What all policies on one backend say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Effective {
    /// Without `tls`.
    pub(crate) fields: Fields,
    pub(crate) tls: Tls,
}

/// What policies say about TLS.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Tls {
    /// Nothing.
    #[default]
    Unsaid,
    /// This, by the policy of that name.
    Wanted(ObjectKey, Arc<TlsSettings>),
    /// The policy that decides is not valid.
    Refused,
}

/// What the policies on `backend` say.
pub(crate) fn on(reader: &Reader<'_>, backend: &ObjectKey) -> Effective {
    let mut effective = Effective::default();
    for policy in reader.configs_on(backend) {
        if policy.is_valid() {
            effective.fields.fill(&policy.fields);
        }
        if policy.wants_tls && effective.tls == Tls::Unsaid {
            effective.tls = match &policy.fields.tls {
                Some(tls) if policy.is_valid() => Tls::Wanted(policy.key.clone(), Arc::clone(tls)),
                _ => Tls::Refused,
            };
        }
    }
    effective
}

/// True if some policy asks for TLS to `backend`.
pub(crate) fn asks_for_tls(reader: &Reader<'_>, backend: &ObjectKey) -> bool {
    reader.configs_on(backend).iter().any(|policy| policy.wants_tls)
}

/// What of a request decides which endpoint of `backend` gets it.
pub(crate) fn hashed(reader: &Reader<'_>, backend: &ObjectKey) -> Vec<HashBy> {
    balancer(reader, backend).map(|it| it.hashed().to_vec()).unwrap_or_default()
}

/// How requests to `backend` are spread, if a policy says it.
pub(crate) fn balancer(reader: &Reader<'_>, backend: &ObjectKey) -> Option<Arc<LoadBalancer>> {
    on(reader, backend).fields.load_balancer
}

/// The kinds that a policy can be on.
fn target_kind(group: Option<&str>, kind: &str) -> Result<Kind, Fault> {
    let group = group.unwrap_or_default();
    match Kind::from_group_kind(group, kind) {
        Some(known @ (Kind::Service | Kind::Backend)) => Ok(known),
        _ if kind == "Hostname" => Err(Fault::new(
            ".kind",
            "Hostname is a kind of Istio, which this version does not read",
            "target the Service, or a Backend of type Static with the host",
        )),
        _ => Err(Fault::new(
            ".kind",
            format!("{kind} (group {group:?}) cannot be a target"),
            "target a Service (group \"\"), or a Backend of group gateway.kgateway.dev",
        )),
    }
}

fn targets(
    spec: &BackendConfigPolicySpec,
    namespace: &str,
    faults: &mut Vec<Fault>,
) -> (Vec<ConfigTarget>, Vec<ConfigSelector>) {
    let mut targets = Vec::new();
    for (index, reference) in spec.target_refs.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        match target_kind(reference.group.as_deref(), &reference.kind) {
            Ok(kind) => {
                targets
                    .push(ConfigTarget { backend: ObjectKey::new(kind, namespace, &reference.name), field });
            }
            Err(fault) => faults.push(fault.within(&field)),
        }
    }
    let mut selectors = Vec::new();
    for (index, selector) in spec.target_selectors.iter().enumerate() {
        match target_kind(selector.group.as_deref(), &selector.kind) {
            Ok(kind) => selectors.push(ConfigSelector { kind, labels: selector.match_labels.clone() }),
            Err(fault) => faults.push(fault.within(&format!("spec.targetSelectors[{index}]"))),
        }
    }
    (targets, selectors)
}

fn fields(spec: &BackendConfigPolicySpec, faults: &mut Vec<Fault>, warnings: &mut Vec<Fault>) -> Fields {
    fn keep<T>(read: Result<T, Fault>, at: &str, faults: &mut Vec<Fault>) -> Option<T> {
        read.map_err(|fault| faults.push(fault.within(at))).ok()
    }
    let mut out = Fields { buffer_bytes: spec.per_connection_buffer_limit_bytes, ..Fields::default() };
    if let Some(text) = &spec.connect_timeout {
        out.connect_timeout = keep(positive(text, ""), "spec.connectTimeout", faults);
    }
    if let Some(given) = &spec.tcp_keepalive {
        out.keepalive = keep(Keepalive::parse(given), "spec.tcpKeepalive", faults);
    }
    if let Some(given) = &spec.common_http_protocol_options {
        out.http = keep(HttpOptions::parse(given), "spec.commonHttpProtocolOptions", faults);
    }
    out.http1 = spec.http1_protocol_options.as_ref().map(Http1::parse);
    if let Some(given) = &spec.http2_protocol_options {
        out.http2 = keep(Http2::parse(given), "spec.http2ProtocolOptions", faults);
    }
    if spec.http1_protocol_options.is_some() && spec.http2_protocol_options.is_some() {
        faults.push(Fault::new(
            "spec.http2ProtocolOptions",
            "http1ProtocolOptions and http2ProtocolOptions exclude each other",
            "remove the one that the backend does not speak",
        ));
    }
    if let Some(given) = &spec.tls {
        out.tls = tls::parse(given, "spec.tls", faults, warnings).map(Arc::new);
    }
    if let Some(given) = &spec.load_balancer {
        out.load_balancer = keep(LoadBalancer::parse(given), "spec.loadBalancer", faults).map(Arc::new);
    }
    if let Some(given) = &spec.health_check {
        out.health_check = keep(HealthCheck::parse(given), "spec.healthCheck", faults).map(Arc::new);
    }
    if let Some(given) = &spec.outlier_detection {
        out.outlier_detection = keep(OutlierDetection::parse(given), "spec.outlierDetection", faults);
    }
    out
}

/// A duration, perhaps zero.
fn time(text: &str, field: &str) -> Result<Duration, Fault> {
    duration::parse_lenient(text).map_err(|error| Fault::new(field, error.to_string(), DURATION_REMEDY))
}

fn positive(text: &str, field: &str) -> Result<Duration, Fault> {
    match time(text, field)? {
        Duration::ZERO => Err(Fault::new(field, "it is zero", DURATION_REMEDY)),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests;
