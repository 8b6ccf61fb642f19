//! BackendTLSPolicy (GEP-1897): whom it is about, which one of several counts, and what it says.
//!
//! A policy that is not valid still counts: its backends get no connection, and clients 503, because without TLS, or with less of it,
//! requests would go where nobody meant them to go.

pub(crate) mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_api::gateway_api::{
    BackendTlsPolicy, BackendTlsPolicyValidation, SubjectAltName, SubjectAltNameType,
    WellKnownCaCertificates, reason,
};

use crate::dependency::Reader;
use crate::hostname::Hostname;
use crate::object::{Age, Kind, NamespacedName, ObjectKey};
use crate::problem::Fault;
use crate::tls::authorities::{self, BundleId, CaReference, Mistake, Refusal};
use crate::tls::names::SubjectName;
use crate::tls::options::{self, Place, TlsOptions};

/// A backend that a policy is on: an object, and the name of one of its ports.
pub(crate) type TlsTarget = (ObjectKey, Option<String>);

/// The backends that a policy names. Policies are on objects of their own namespace.
pub(crate) fn targets(policy: &BackendTlsPolicy) -> BTreeSet<TlsTarget> {
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    let targets = policy.spec.target_refs.iter().filter_map(|target| {
        let kind = target_kind(&target.group, &target.kind)?;
        let section = target.section_name.clone().filter(|section| !section.is_empty());
        Some((ObjectKey::new(kind, namespace, &target.name), section))
    });
    targets.collect()
}

/// The kinds that a policy can be on: Services, imported ones too, and what kgateway calls a `Backend`.
pub(crate) fn target_kind(group: &str, kind: &str) -> Option<Kind> {
    Kind::from_group_kind(group, kind)
        .filter(|kind| matches!(kind, Kind::Service | Kind::ServiceImport | Kind::Backend))
}

/// True if some policy asks for TLS to the port of this name of `backend`.
pub(crate) fn asks_for_tls(reader: &Reader<'_>, backend: &ObjectKey, port: Option<&str>) -> bool {
    reader.tls_policies_on(backend).any(|(section, _)| section.is_none() || section.as_deref() == port)
}

/// The policies on a port of `backend`, the one that counts first: one that names the port comes before one that does not, then
/// the oldest.
pub(crate) fn on<'a>(
    reader: &Reader<'a>,
    backend: &ObjectKey,
    port: Option<&str>,
) -> Vec<(Option<&'a str>, &'a Arc<BackendTlsPolicy>)> {
    let mut found: Vec<_> = reader
        .tls_policies_on(backend)
        .filter(|(section, _)| section.is_none() || section.as_deref() == port)
        .filter_map(|(section, name)| {
            let policy = reader.get::<BackendTlsPolicy>(&name.namespace, &name.name)?;
            Some((section.as_deref(), policy))
        })
        .collect();
    found.sort_by_cached_key(|(section, policy)| (section.is_none(), Age::of(&policy.metadata)));
    found
}

/// TLS to a backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BackendTls {
    /// The server name that is sent; `None`: that of each host, as far as hosts have names.
    pub(crate) server_name: Option<String>,
    /// The certificate has to have one of these names; without any, that of the host.
    pub(crate) names: Vec<SubjectName>,
    pub(crate) trust: Trust,
    pub(crate) options: TlsOptions,
    /// Whether the backend may renegotiate.
    pub(crate) renegotiation: bool,
}

impl BackendTls {
    /// The same for one host of several, which has this name or address.
    pub(crate) fn of_host(&self, host: &str) -> Self {
        let own = SubjectName::any(host);
        let mut tls = self.clone();
        // An address is no server name (RFC 6066, section 3).
        tls.server_name = (!matches!(own, Some(SubjectName::Ip(_)))).then(|| host.to_owned());
        if tls.names.is_empty() && tls.trust != Trust::Anybody {
            tls.names.extend(own);
        }
        tls
    }
}

/// Whose signature on a certificate counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trust {
    /// That of the authorities that the system of the proxy trusts.
    System,
    /// That of these authorities.
    Bundle(BundleId),
    /// That of the authorities in this file of the proxy.
    File(String),
    /// None is needed: certificates are not checked.
    Anybody,
}

/// What a policy says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// `None` if the policy is not valid.
    pub(crate) tls: Option<BackendTls>,
    /// Reason and message if the policy is not accepted.
    pub(crate) not_accepted: Option<(&'static str, String)>,
    /// Reason and message of the first reference that leads to no certificates.
    pub(crate) unresolved: Option<(&'static str, String)>,
    /// What is wrong, with the object to mend.
    pub(crate) errors: Vec<(ObjectKey, Fault)>,
    pub(crate) warnings: Vec<Fault>,
}

/// Reads a policy.
pub(crate) fn read(reader: &Reader<'_>, policy: &BackendTlsPolicy) -> Reading {
    let name = NamespacedName::new(
        policy.metadata.namespace.clone().unwrap_or_default(),
        policy.metadata.name.clone().unwrap_or_default(),
    );
    let key = ObjectKey::new(Kind::BackendTlsPolicy, &name.namespace, &name.name);
    let options = options::parse(&policy.spec.options, Place::Backend);
    read_validation(reader, &key, &policy.spec.validation, "spec.validation", options)
}

/// Reads how the object `key` wants its backends validated, which it says in the field `at`.
pub(crate) fn read_validation(
    reader: &Reader<'_>,
    key: &ObjectKey,
    validation: &BackendTlsPolicyValidation,
    at: &str,
    options: options::Parsed,
) -> Reading {
    let mut out = Reading::default();
    let mut faults = Vec::new();
    let server_name = server_name(validation).map_err(|fault| faults.push(fault.within(at))).ok();
    let names = names(validation, server_name.as_deref(), at, &mut faults);
    faults.extend(options.errors.into_iter().map(|fault| fault.within("spec.options")));
    out.warnings.extend(options.warnings.into_iter().map(|fault| fault.within("spec.options")));
    let trust = trust(reader, key, validation, at, &mut faults, &mut out);
    if let Some(fault) = faults.first() {
        out.not_accepted = Some((reason::INVALID, format!("{}: {}", fault.field, fault.message)));
    }
    out.errors.extend(faults.into_iter().map(|fault| (key.clone(), fault)));
    if out.not_accepted.is_none()
        && let (Some(server_name), Some(trust)) = (server_name, trust)
    {
        let (server_name, options) = (Some(server_name), options.options);
        out.tls = Some(BackendTls { server_name, names, trust, options, renegotiation: false });
    }
    out
}

fn server_name(validation: &BackendTlsPolicyValidation) -> Result<String, Fault> {
    match Hostname::parse(&validation.hostname) {
        Ok(Hostname::Exact(name)) => Ok(name),
        _ => Err(Fault::new(
            ".hostname",
            format!("{:?} is not a precise host name", validation.hostname),
            "give the DNS name of the backend, without wildcard",
        )),
    }
}

/// The names that count; without any, the server name does.
fn names(
    validation: &BackendTlsPolicyValidation,
    server_name: Option<&str>,
    at: &str,
    faults: &mut Vec<Fault>,
) -> Vec<SubjectName> {
    let mut names = Vec::new();
    for (index, given) in validation.subject_alt_names.iter().enumerate() {
        match subject_name(given) {
            Ok(name) => names.push(name),
            Err(fault) => faults.push(fault.within(&format!("{at}.subjectAltNames[{index}]"))),
        }
    }
    if validation.subject_alt_names.is_empty() {
        names.extend(server_name.map(|name| SubjectName::Dns(name.to_owned())));
    }
    names
}

fn subject_name(given: &SubjectAltName) -> Result<SubjectName, Fault> {
    match &given.type_ {
        SubjectAltNameType::Hostname => {
            let text = given.hostname.as_deref().unwrap_or_default();
            SubjectName::host(text).ok_or_else(|| {
                Fault::new(
                    ".hostname",
                    format!("{text:?} is not a host name"),
                    "give a DNS name, perhaps with *. in front",
                )
            })
        }
        SubjectAltNameType::Uri => {
            let text = given.uri.as_deref().unwrap_or_default();
            SubjectName::uri(text).ok_or_else(|| {
                Fault::new(
                    ".uri",
                    format!("{text:?} is not a URI"),
                    "give a URI with its scheme, such as spiffe://example.com/service",
                )
            })
        }
        SubjectAltNameType::Unknown(other) => {
            Err(Fault::new(".type", format!("type {other:?} is not known"), "use Hostname or URI"))
        }
    }
}

fn trust(
    reader: &Reader<'_>,
    key: &ObjectKey,
    validation: &BackendTlsPolicyValidation,
    at: &str,
    faults: &mut Vec<Fault>,
    out: &mut Reading,
) -> Option<Trust> {
    let references = &validation.ca_certificate_refs;
    match &validation.well_known_ca_certificates {
        Some(_) if !references.is_empty() => {
            faults.push(Fault::new(
                format!("{at}.wellKnownCACertificates"),
                "caCertificateRefs and wellKnownCACertificates exclude each other",
                "keep one of them",
            ));
            None
        }
        Some(WellKnownCaCertificates::System) => Some(Trust::System),
        Some(other) => {
            faults.push(Fault::new(
                format!("{at}.wellKnownCACertificates"),
                format!("{:?} is not known", other.as_str()),
                "use System, or name the authorities in caCertificateRefs",
            ));
            None
        }
        None if references.is_empty() => {
            faults.push(Fault::new(
                at,
                "it is not said whose certificates are trusted",
                "set caCertificateRefs, or wellKnownCACertificates: System",
            ));
            None
        }
        None => {
            let references = references.iter().enumerate().map(|(index, reference)| CaReference {
                group: &reference.group,
                kind: &reference.kind,
                namespace: None,
                name: &reference.name,
                field: format!("{at}.caCertificateRefs[{index}]"),
            });
            let resolved = authorities::resolve(reader, key, references);
            unresolved(resolved.refusals, resolved.bundle.is_some(), out);
            resolved.bundle.map(Trust::Bundle)
        }
    }
}

fn unresolved(refusals: Vec<Refusal>, usable: bool, out: &mut Reading) {
    for Refusal { mistake, object, fault } in refusals {
        let reason = match mistake {
            Mistake::Kind => reason::INVALID_KIND,
            Mistake::Content | Mistake::NotPermitted => reason::INVALID_CA_CERTIFICATE_REF,
        };
        out.unresolved.get_or_insert_with(|| (reason, fault.message.clone()));
        if !usable {
            let message = format!("no certificate authority is left: {}", fault.message);
            out.not_accepted.get_or_insert((reason::NO_VALID_CA_CERTIFICATE, message));
        }
        out.errors.push((object, fault));
    }
}

#[cfg(test)]
mod tests;
