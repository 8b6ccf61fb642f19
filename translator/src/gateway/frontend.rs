//! Certificates of clients (GEP-91): which listeners ask for them, and whose signature counts.
//!
//! The settings are those of a port, because connections are shared by the HTTPS listeners of a port, or the default. A
//! listener whose settings lead to no authority is not served: without it, everybody would be let in.

use std::collections::BTreeMap;

use postern_api::gateway_api::{
    Condition, FrontendTlsConfig, FrontendTlsSettings, FrontendTlsValidation, FrontendValidationMode,
    Gateway, condition_type, reason,
};

use super::{Draft, Level, Protocol};
use crate::dependency::Reader;
use crate::object::ObjectKey;
use crate::problem::Problems;
use crate::status::condition;
use crate::tls::authorities::{self, BundleId, CaReference, Mistake};

/// How the clients of a listener are validated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClientValidation {
    /// The authorities whose certificates count.
    pub(crate) bundle: BundleId,
    pub(crate) mode: Mode,
}

/// What happens to clients without a valid certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They are refused.
    ValidOnly,
    /// They are let in.
    InsecureFallback,
}

/// What became of the settings of one port.
#[derive(Clone)]
struct Resolved {
    validation: Option<ClientValidation>,
    not_accepted: Option<(&'static str, String)>,
    unresolved: Option<(&'static str, String)>,
}

/// Gives each HTTPS listener, also those of ListenerSets, the settings of its port, and refuses those that ask for more than what these give.
pub(super) fn apply(
    reader: &Reader<'_>,
    key: &ObjectKey,
    gateway: &Gateway,
    levels: &mut [Level],
    problems: &mut Problems,
) {
    let config = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    let mut resolved: BTreeMap<Option<usize>, Option<Resolved>> = BTreeMap::new();
    let all = levels.iter_mut().flat_map(|level| &mut level.listeners);
    for draft in all.filter_map(|(_, judged)| judged.draft.as_mut()) {
        if draft.listener.protocol != Protocol::Https {
            continue;
        }
        let Some(config) = config else { continue };
        let port = config.per_port.iter().position(|entry| entry.port == draft.listener.port);
        let settings = resolved.entry(port).or_insert_with(|| {
            let (field, settings) = settings(config, port);
            let validation = settings.validation.as_ref()?;
            Some(resolve(reader, key, &format!("{field}.validation"), validation, problems))
        });
        if let Some(settings) = settings {
            take(draft, settings.clone());
        }
    }
    for level in levels {
        for (field, judged) in &mut level.listeners {
            if let Some(draft) = &mut judged.draft {
                check_options(&level.key, field, draft, problems);
            }
        }
    }
    for (index, entry) in config.iter().flat_map(|config| config.per_port.iter().enumerate()) {
        if entry.tls.validation.is_some() && !resolved.contains_key(&Some(index)) {
            problems.warning(
                key,
                format!("spec.tls.frontend.perPort[{index}].port"),
                format!(
                    "no HTTPS listener is at port {}, so nobody is asked for a certificate there",
                    entry.port
                ),
                "mend the port, or remove the entry",
            );
        }
    }
}

/// The settings of an entry of `perPort`, or the default, and where they stand.
fn settings(config: &FrontendTlsConfig, port: Option<usize>) -> (String, &FrontendTlsSettings) {
    match port.and_then(|index| Some((index, config.per_port.get(index)?))) {
        Some((index, entry)) => (format!("spec.tls.frontend.perPort[{index}].tls"), &entry.tls),
        None => ("spec.tls.frontend.default".to_owned(), &config.default),
    }
}

fn take(draft: &mut Draft, settings: Resolved) {
    let Resolved { validation, not_accepted, unresolved } = settings;
    draft.tls.clients = validation;
    let conditions = &mut draft.conditions;
    conditions.not_accepted = conditions.not_accepted.take().or(not_accepted);
    conditions.unresolved = conditions.unresolved.take().or(unresolved);
}

fn resolve(
    reader: &Reader<'_>,
    key: &ObjectKey,
    field: &str,
    spec: &FrontendTlsValidation,
    problems: &mut Problems,
) -> Resolved {
    let mut out = Resolved { validation: None, not_accepted: None, unresolved: None };
    let references = spec.ca_certificate_refs.iter().enumerate().map(|(index, reference)| CaReference {
        group: &reference.group,
        kind: &reference.kind,
        namespace: reference.namespace.as_deref(),
        name: &reference.name,
        field: format!("{field}.caCertificateRefs[{index}]"),
    });
    let found = authorities::resolve(reader, key, references);
    for refusal in found.refusals {
        let reason = match refusal.mistake {
            Mistake::Kind => reason::INVALID_CA_CERTIFICATE_KIND,
            Mistake::Content => reason::INVALID_CA_CERTIFICATE_REF,
            Mistake::NotPermitted => reason::REF_NOT_PERMITTED,
        };
        let fault = refusal.fault;
        problems.error(&refusal.object, fault.field, &fault.message, fault.remedy);
        out.unresolved.get_or_insert((reason, fault.message));
    }
    if spec.ca_certificate_refs.is_empty() {
        let message = "it is not said whose certificates are valid".to_owned();
        let remedy = "name the certificate authorities of the clients";
        problems.error(key, format!("{field}.caCertificateRefs"), &message, remedy);
        out.unresolved.get_or_insert((reason::INVALID_CA_CERTIFICATE_REF, message));
    }
    let mode = match spec.mode.clone().unwrap_or_default() {
        FrontendValidationMode::AllowValidOnly => Mode::ValidOnly,
        FrontendValidationMode::AllowInsecureFallback => Mode::InsecureFallback,
        FrontendValidationMode::Unknown(mode) => {
            let message = format!("mode {mode:?} is not known");
            let remedy =
                "use AllowValidOnly or AllowInsecureFallback; until then no listener of the port is served";
            problems.error(key, format!("{field}.mode"), &message, remedy);
            out.not_accepted = Some((reason::UNSUPPORTED_VALUE, message));
            return out;
        }
    };
    match found.bundle {
        Some(bundle) => out.validation = Some(ClientValidation { bundle, mode }),
        None => {
            let why = out.unresolved.as_ref().map(|(_, message)| message.as_str()).unwrap_or_default();
            let message = format!("no certificate authority of clients is left: {why}");
            out.not_accepted = Some((reason::NO_VALID_CA_CERTIFICATE, message));
        }
    }
    out
}

/// Options that narrow whose certificates are valid need somebody to ask for certificates.
fn check_options(key: &ObjectKey, field: &str, draft: &mut Draft, problems: &mut Problems) {
    let asks = draft.tls.clients.as_ref().is_some_and(|clients| clients.mode == Mode::ValidOnly);
    if asks || !draft.tls.options.asks_for_certificates() || draft.conditions.not_accepted.is_some() {
        return;
    }
    let message = "an option verifies certificates of clients, but nothing asks clients for valid ones";
    let remedy = "set spec.tls.frontend of the Gateway with mode AllowValidOnly for an HTTPS listener, or remove the option";
    problems.error(key, format!("{field}.tls.options"), message, remedy);
    draft.conditions.not_accepted = Some((reason::UNSUPPORTED_VALUE, message.to_owned()));
}

/// The condition that says where clients are let in without a valid certificate; there is none if nowhere.
pub(super) fn insecure(gateway: &Gateway) -> Option<Condition> {
    let config = gateway.spec.tls.as_ref()?.frontend.as_ref()?;
    let is_insecure = |settings: &FrontendTlsSettings| {
        let mode = settings.validation.as_ref().and_then(|validation| validation.mode.as_ref());
        mode == Some(&FrontendValidationMode::AllowInsecureFallback)
    };
    let default = is_insecure(&config.default).then(|| "ports without settings of their own".to_owned());
    let ports = config.per_port.iter().filter(|entry| is_insecure(&entry.tls));
    let places: Vec<String> =
        default.into_iter().chain(ports.map(|it| format!("port {}", it.port))).collect();
    (!places.is_empty()).then(|| {
        let message = format!(
            "clients without a valid certificate are accepted (AllowInsecureFallback): {}",
            places.join(", ")
        );
        let kind = condition_type::INSECURE_FRONTEND_VALIDATION_MODE;
        condition(kind, true, reason::CONFIGURATION_CHANGED, message, gateway.metadata.generation)
    })
}

#[cfg(test)]
mod tests;
