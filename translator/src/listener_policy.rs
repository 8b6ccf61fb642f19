//! HTTPListenerPolicy: settings of the listeners of a Gateway that take requests.
//!
//! What protects, buffers or times out requests travels with their hosts, so that no listener changes. What only the HTTP
//! connection manager can do changes filter chains, which Envoy replaces in place.
//!
//! More specific wins field by field (listener, ListenerSet, Gateway); on one level the older wins. A policy that is not valid is
//! not applied; if it protects something, the hosts of its listeners answer 500 until it is mended.

pub(crate) mod access_log;
pub(crate) mod basic_auth;
pub(crate) mod cel_rules;
mod commands;
mod format;
mod grpc;
mod parse;
mod status;
pub(crate) mod tracing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use postern_api::kgateway::HttpListenerPolicy;

use self::access_log::AccessLog;
use self::basic_auth::Users;
use self::cel_rules::CelRules;
pub(crate) use self::parse::targets;
pub(crate) use self::status::translate as status;
use self::tracing::Tracing;
use crate::backend::ClusterId;
use crate::backend::resolve::Unresolved;
use crate::dependency::Reader;
use crate::gateway::ListenerId;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::Target;
use crate::policy::fields::FieldName;
use crate::problem::Fault;
use crate::telemetry;

const DURATION_REMEDY: &str = "use a duration such as 500ms, 10s or 1m30s";

/// What travels with the hosts of a listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HostSettings {
    pub(crate) basic_auth: Option<Users>,
    pub(crate) cel: Option<CelRules>,
    /// The longest body of a request.
    pub(crate) buffer: Option<u32>,
    pub(crate) stream_idle_timeout: Option<Duration>,
    /// A policy that protects the listener is not valid, and why: no request may pass.
    pub(crate) closed: Option<String>,
}

/// What stands in the connection manager of a listener; listeners of one port without TLS share one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ConnectionSettings {
    pub(crate) access_logs: Option<Vec<AccessLog>>,
    pub(crate) tracing: Option<TracingSetting>,
    pub(crate) upgrades: Option<Vec<String>>,
    pub(crate) use_remote_address: Option<bool>,
    pub(crate) xff_num_trusted_hops: Option<u32>,
    pub(crate) server_header: Option<ServerHeader>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) health_check: Option<String>,
    pub(crate) preserve_header_case: Option<bool>,
    pub(crate) accept_http10: Option<bool>,
    pub(crate) default_host_for_http10: Option<String>,
}

/// Tracing in a policy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TracingSetting {
    /// The collector cannot be had.
    Waiting,
    On(Box<Tracing>),
}

/// What becomes of the header `server` of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerHeader {
    Overwrite,
    AppendIfAbsent,
    PassThrough,
}

fn take<T: Clone>(field: &mut Option<T>, lower: Option<&T>) {
    if field.is_none() {
        *field = lower.cloned();
    }
}

impl HostSettings {
    fn fill(&mut self, lower: &Self) {
        take(&mut self.basic_auth, lower.basic_auth.as_ref());
        take(&mut self.cel, lower.cel.as_ref());
        take(&mut self.buffer, lower.buffer.as_ref());
        take(&mut self.stream_idle_timeout, lower.stream_idle_timeout.as_ref());
    }

    fn names(&self) -> Vec<FieldName> {
        named([
            ("basicAuth", self.basic_auth.is_some()),
            ("celValidation", self.cel.is_some()),
            ("buffer", self.buffer.is_some()),
            ("streamIdleTimeout", self.stream_idle_timeout.is_some()),
        ])
    }
}

impl ConnectionSettings {
    fn fill(&mut self, lower: &Self) {
        take(&mut self.access_logs, lower.access_logs.as_ref());
        take(&mut self.tracing, lower.tracing.as_ref());
        take(&mut self.upgrades, lower.upgrades.as_ref());
        take(&mut self.use_remote_address, lower.use_remote_address.as_ref());
        take(&mut self.xff_num_trusted_hops, lower.xff_num_trusted_hops.as_ref());
        take(&mut self.server_header, lower.server_header.as_ref());
        take(&mut self.idle_timeout, lower.idle_timeout.as_ref());
        take(&mut self.health_check, lower.health_check.as_ref());
        take(&mut self.preserve_header_case, lower.preserve_header_case.as_ref());
        take(&mut self.accept_http10, lower.accept_http10.as_ref());
        take(&mut self.default_host_for_http10, lower.default_host_for_http10.as_ref());
    }

    fn names(&self) -> Vec<FieldName> {
        named([
            ("accessLog", self.access_logs.is_some()),
            ("tracing", self.tracing.is_some()),
            ("upgradeConfig", self.upgrades.is_some()),
            ("useRemoteAddress", self.use_remote_address.is_some()),
            ("xffNumTrustedHops", self.xff_num_trusted_hops.is_some()),
            ("serverHeaderTransformation", self.server_header.is_some()),
            ("idleTimeout", self.idle_timeout.is_some()),
            ("healthCheck", self.health_check.is_some()),
            ("preserveHttp1HeaderCase", self.preserve_header_case.is_some()),
            ("acceptHttp10", self.accept_http10.is_some()),
            ("defaultHostForHttp10", self.default_host_for_http10.is_some()),
        ])
    }

    /// Every cluster that gets logs or spans.
    pub(crate) fn clusters(&self) -> BTreeSet<ClusterId> {
        let logs = self.access_logs.iter().flatten().filter_map(AccessLog::cluster);
        let spans = match &self.tracing {
            Some(TracingSetting::On(tracing)) => Some(&tracing.service.cluster),
            Some(TracingSetting::Waiting) | None => None,
        };
        logs.chain(spans).cloned().collect()
    }

    /// Completes what depends on the Gateway. `shows_certificate`: it shows one to backends.
    fn of(&mut self, gateway: &NamespacedName, shows_certificate: bool) {
        if let Some(TracingSetting::On(tracing)) = &mut self.tracing {
            tracing.of(gateway);
        }
        if !shows_certificate {
            return;
        }
        let logs = self.access_logs.iter_mut().flatten().filter_map(AccessLog::cluster_mut);
        let spans = match &mut self.tracing {
            Some(TracingSetting::On(tracing)) => Some(&mut tracing.service.cluster),
            Some(TracingSetting::Waiting) | None => None,
        };
        for cluster in logs.chain(spans) {
            *cluster = cluster.shown_by(gateway);
        }
    }
}

fn named<const N: usize>(fields: [(&'static str, bool); N]) -> Vec<FieldName> {
    fields.into_iter().filter_map(|(name, set)| set.then_some(name)).collect()
}

/// A policy, read.
#[derive(Clone, Debug)]
struct Policy {
    key: ObjectKey,
    host: HostSettings,
    connection: ConnectionSettings,
    /// What is wrong; a policy with faults is not applied at all.
    faults: Vec<Fault>,
    /// What is wrong and costs only itself.
    warnings: Vec<Fault>,
    /// Services that cannot be had, and the fields that name them. What they were to get, nobody gets.
    unresolved: Vec<(String, Unresolved)>,
    /// Not applying it would open what it protects.
    protects: bool,
}

impl Policy {
    fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    fn names(&self) -> Vec<FieldName> {
        let mut names = self.host.names();
        names.extend(self.connection.names());
        names
    }
}

/// What the policies of a Gateway say of its listeners; each policy is read once.
pub(crate) struct Policies<'r, 'a> {
    reader: &'r Reader<'a>,
    gateway: NamespacedName,
    /// An XTelemetryPolicy decides about tracing.
    others_trace: bool,
    read: BTreeMap<NamespacedName, Arc<Policy>>,
}

/// What policies say of one listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfListener {
    pub(crate) host: HostSettings,
    /// Of the policies on the listener itself, on its ListenerSet, and on the Gateway.
    levels: [ConnectionSettings; 3],
}

impl<'r, 'a> Policies<'r, 'a> {
    pub(crate) fn new(reader: &'r Reader<'a>, gateway: &NamespacedName) -> Self {
        let others_trace = telemetry::decider(reader, gateway).is_some();
        Self { reader, gateway: gateway.clone(), others_trace, read: BTreeMap::new() }
    }

    fn on(&mut self, target: &Target) -> Vec<Arc<Policy>> {
        let found = self.reader.listener_policies_on(target);
        found.into_iter().map(|policy| self.read(policy)).collect()
    }

    fn read(&mut self, policy: &HttpListenerPolicy) -> Arc<Policy> {
        let name = NamespacedName::new(
            policy.metadata.namespace.clone().unwrap_or_default(),
            policy.metadata.name.clone().unwrap_or_default(),
        );
        let reader = self.reader;
        Arc::clone(self.read.entry(name).or_insert_with(|| Arc::new(parse::policy(reader, policy))))
    }

    /// What policies say of a listener that takes requests.
    pub(crate) fn of_listener(&mut self, listener: &ListenerId) -> OfListener {
        let mut out = OfListener::default();
        for (level, target) in levels(&self.gateway, listener) {
            for policy in self.on(&target) {
                if policy.is_valid() {
                    out.host.fill(&policy.host);
                    out.levels[level].fill(&policy.connection);
                } else if policy.protects {
                    out.host
                        .closed
                        .get_or_insert_with(|| format!("{} protects it and is not valid", policy.key));
                }
            }
        }
        out
    }

    /// What the connection manager gets that `listeners` share, those that come first having the say within a level.
    pub(crate) fn connection(
        &self,
        listeners: &[&OfListener],
        shows_certificate: bool,
    ) -> Arc<ConnectionSettings> {
        let mut out = ConnectionSettings::default();
        for level in 0..3 {
            for listener in listeners {
                out.fill(&listener.levels[level]);
            }
        }
        if self.others_trace {
            out.tracing = None;
        }
        out.of(&self.gateway, shows_certificate);
        Arc::new(out)
    }
}

/// What a policy on a listener can be on, the most specific first, each with its level.
fn levels(gateway: &NamespacedName, listener: &ListenerId) -> Vec<(usize, Target)> {
    let section = Some(listener.name.as_str());
    let whole = (2, Target::new(Kind::Gateway, gateway, None));
    match &listener.set {
        None => vec![(0, Target::new(Kind::Gateway, gateway, section)), whole],
        Some(set) => vec![
            (0, Target::new(Kind::ListenerSet, set, section)),
            (1, Target::new(Kind::ListenerSet, set, None)),
            whole,
        ],
    }
}
