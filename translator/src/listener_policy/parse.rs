//! From the object to what it says.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use postern_api::kgateway::{HttpListenerPolicy, HttpListenerPolicySpec, ServerHeaderTransformation};

use super::{ConnectionSettings, HostSettings, Policy, ServerHeader, TracingSetting};
use super::{access_log, basic_auth, cel_rules, grpc, tracing};
use crate::dependency::Reader;
use crate::hostname::Hostname;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::{self, PolicyTarget, Selector};
use crate::problem::Fault;

/// What a policy is on; faults say what cannot be a target.
pub(crate) fn targets(
    policy: &HttpListenerPolicy,
    faults: &mut Vec<Fault>,
) -> (Vec<PolicyTarget>, Vec<Selector>) {
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    let spec = &policy.spec;
    let kinds = [Kind::Gateway, Kind::ListenerSet];
    let found = policy::targets(&spec.target_refs, &spec.target_selectors, &kinds, namespace, faults);
    if spec.target_refs.is_empty() && spec.target_selectors.is_empty() {
        faults.push(Fault::new(
            "spec.targetRefs",
            "the policy is on nothing",
            "target a Gateway or a ListenerSet",
        ));
    }
    found
}

/// Reads a policy; never fails, what is wrong is in it.
pub(super) fn policy(reader: &Reader<'_>, policy: &HttpListenerPolicy) -> Policy {
    let NamespacedName { namespace, name } = NamespacedName::new(
        policy.metadata.namespace.clone().unwrap_or_default(),
        policy.metadata.name.clone().unwrap_or_default(),
    );
    let spec = &policy.spec;
    let mut out = Policy {
        key: ObjectKey::new(Kind::HttpListenerPolicy, namespace, name),
        host: HostSettings::default(),
        connection: ConnectionSettings::default(),
        faults: Vec::new(),
        warnings: Vec::new(),
        unresolved: Vec::new(),
        protects: spec.basic_auth.is_some() || spec.cel_validation.is_some(),
    };
    targets(policy, &mut out.faults);
    // A panic is a bug of ours: it costs this policy, not the Gateway.
    if catch_unwind(AssertUnwindSafe(|| read(reader, spec, &mut out))).is_err() {
        out.faults.push(Fault::new(
            "spec",
            "reading it failed by a defect of Postern",
            "report it with the object",
        ));
    }
    out
}

fn read(reader: &Reader<'_>, spec: &HttpListenerPolicySpec, out: &mut Policy) {
    if let Some(auth) = &spec.basic_auth {
        match basic_auth::parse(reader, &out.key, auth) {
            Ok((users, warnings)) => {
                out.host.basic_auth = Some(users);
                out.warnings.extend(warnings.into_iter().map(|fault| fault.within("spec.basicAuth")));
            }
            Err(fault) => out.faults.push(fault.within("spec.basicAuth")),
        }
    }
    if let Some(rules) = &spec.cel_validation {
        match cel_rules::parse(rules) {
            Ok(rules) => out.host.cel = Some(rules),
            Err(fault) => out.faults.push(fault.within("spec.celValidation")),
        }
    }
    if let Some(buffer) = &spec.buffer {
        match buffer.max_request_bytes.map(u32::try_from) {
            None => out.faults.push(Fault::new(
                "spec.buffer.maxRequestBytes",
                "it is missing",
                "say how long a body may be, in bytes",
            )),
            Some(Ok(bytes)) if bytes > 0 => out.host.buffer = Some(bytes),
            Some(_) => out.faults.push(Fault::new(
                "spec.buffer.maxRequestBytes",
                "it is not from 1 to 4294967295",
                "use a number of bytes in these bounds",
            )),
        }
    }
    let mut time = |text: Option<&String>, field: &str| {
        grpc::time(text?, field).map_err(|fault| out.faults.push(fault)).ok()
    };
    out.host.stream_idle_timeout = time(spec.stream_idle_timeout.as_ref(), "spec.streamIdleTimeout");
    out.connection.idle_timeout = time(spec.idle_timeout.as_ref(), "spec.idleTimeout");
    match access_log::parse(reader, &out.key, spec, &mut out.unresolved, &mut out.warnings) {
        Ok(logs) => out.connection.access_logs = logs,
        Err(fault) => out.faults.push(fault),
    }
    if let Some(spec) = &spec.tracing {
        let mut warnings = Vec::new();
        let tracing = tracing::parse(reader, &out.key, spec, &mut out.unresolved, &mut warnings);
        out.warnings.extend(warnings.into_iter().map(|fault| fault.within("spec.tracing")));
        match tracing {
            Ok(tracing) => {
                let tracing = tracing.map_or(TracingSetting::Waiting, |it| TracingSetting::On(Box::new(it)));
                out.connection.tracing = Some(tracing);
            }
            Err(fault) => out.faults.push(fault.within("spec.tracing")),
        }
    }
    connection(spec, out);
}

/// The plain settings of connections.
fn connection(spec: &HttpListenerPolicySpec, out: &mut Policy) {
    let mut settings = std::mem::take(&mut out.connection);
    let mut wrong = |fault: Fault| out.faults.push(fault);
    if let Some(config) = &spec.upgrade_config {
        match upgrades(&config.enabled_upgrades) {
            Ok(upgrades) => settings.upgrades = Some(upgrades),
            Err(fault) => wrong(fault),
        }
    }
    settings.use_remote_address = spec.use_remote_address;
    settings.xff_num_trusted_hops = spec.xff_num_trusted_hops;
    settings.server_header = match &spec.server_header_transformation {
        None => None,
        Some(ServerHeaderTransformation::Overwrite) => Some(ServerHeader::Overwrite),
        Some(ServerHeaderTransformation::AppendIfAbsent) => Some(ServerHeader::AppendIfAbsent),
        Some(ServerHeaderTransformation::PassThrough) => Some(ServerHeader::PassThrough),
        Some(ServerHeaderTransformation::Unknown(other)) => {
            wrong(Fault::new(
                "spec.serverHeaderTransformation",
                format!("{other:?} is unknown"),
                "use Overwrite, AppendIfAbsent or PassThrough",
            ));
            None
        }
    };
    if let Some(check) = &spec.health_check {
        let sane = |c: char| c.is_ascii_alphanumeric() || "-@:%.+~#?&/=_".contains(c);
        if check.path.len() > 1 && check.path.starts_with('/') && check.path.chars().all(sane) {
            settings.health_check = Some(check.path.clone());
        } else {
            wrong(Fault::new(
                "spec.healthCheck.path",
                format!("{:?} is not a path", check.path),
                "use a path that begins with a slash and has more than that",
            ));
        }
    }
    settings.preserve_header_case = spec.preserve_http1_header_case;
    settings.accept_http10 = spec.accept_http10;
    if let Some(host) = &spec.default_host_for_http10 {
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok())
            .map_or(host.as_str(), |it| it.0);
        if spec.accept_http10 != Some(true) {
            wrong(Fault::new(
                "spec.defaultHostForHttp10",
                "HTTP/1.0 is not accepted",
                "set acceptHttp10 to true, or remove defaultHostForHttp10",
            ));
        } else if !matches!(Hostname::parse(name), Ok(Hostname::Exact(_))) {
            wrong(Fault::new(
                "spec.defaultHostForHttp10",
                format!("{host:?} is not a host"),
                "use a DNS name",
            ));
        } else {
            settings.default_host_for_http10 = Some(host.clone());
        }
    }
    out.connection = settings;
}

/// Names of upgrades, each once: Envoy refuses to have one twice, and does not tell their case apart.
fn upgrades(given: &[String]) -> Result<Vec<String>, Fault> {
    let at = |index: usize| format!("spec.upgradeConfig.enabledUpgrades[{index}]");
    let mut names = BTreeSet::new();
    for (index, name) in given.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)) {
            return Err(Fault::new(
                at(index),
                format!("{name:?} is not an upgrade"),
                "use a name such as websocket",
            ));
        }
        if name.starts_with("connect") {
            return Err(Fault::new(
                at(index),
                format!("{name} needs routes that make a tunnel, which the Gateway API does not have"),
                "remove it; a TCPRoute or a TLSRoute carries connections",
            ));
        }
        names.insert(name);
    }
    if names.is_empty() {
        return Err(Fault::new(
            "spec.upgradeConfig.enabledUpgrades",
            "it is empty",
            "name an upgrade, or remove upgradeConfig",
        ));
    }
    Ok(names.into_iter().collect())
}
