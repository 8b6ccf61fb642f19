//! TLS of a BackendConfigPolicy: what is asked for, and which certificates that needs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use postern_api::gateway_api::SecretObjectReference;
use postern_api::kgateway::{BackendTlsSettings, TlsVersion, WellKnownAuthorities};

use crate::backend::tls_policy::{BackendTls, Trust};
use crate::dependency::Reader;
use crate::envoy::cluster::Identity;
use crate::gateway::certificates;
use crate::hostname::Hostname;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Fault;
use crate::tls::authorities::{self, CaReference};
use crate::tls::names::SubjectName;
use crate::tls::options::{self, Place, TlsOptions};
use crate::tls::secret::SecretId;

/// TLS as a policy asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TlsSettings {
    source: Source,
    sni: Option<String>,
    names: Vec<SubjectName>,
    options: TlsOptions,
    renegotiation: bool,
    /// Nothing is shown.
    simple: bool,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// A Secret of the policy's namespace.
    Secret(String),
    Files {
        authorities: Option<String>,
        certificate: Option<(String, String)>,
    },
    /// The authorities of the system.
    System,
    /// Any certificate will do.
    Any,
}

/// Reads `spec.tls`; `None` if something is wrong with it.
pub(super) fn parse(
    given: &BackendTlsSettings,
    at: &str,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Fault>,
) -> Option<TlsSettings> {
    let before = faults.len();
    let source = source(given).map_err(|fault| faults.push(fault.within(at))).ok();
    let sni = given.sni.as_deref().map(|text| match Hostname::parse(text) {
        Ok(Hostname::Exact(name)) => name,
        _ => {
            let message = format!("{text:?} is not a precise host name");
            faults.push(Fault::new(format!("{at}.sni"), message, "give a DNS name, without wildcard"));
            String::new()
        }
    });
    let mut names = Vec::new();
    for (index, text) in given.verify_subject_alt_names.iter().enumerate() {
        match SubjectName::any(text) {
            Some(name) => names.push(name),
            None => faults.push(Fault::new(
                format!("{at}.verifySubjectAltNames[{index}]"),
                format!("{text:?} is neither a host name, nor an IP address, nor a URI"),
                "give a name as it stands in the certificate of the backend",
            )),
        }
    }
    if source == Some(Source::Any) && !names.is_empty() {
        faults.push(Fault::new(
            format!("{at}.verifySubjectAltNames"),
            "names in a certificate that nobody vouches for prove nothing",
            "remove insecureSkipVerify, or these names",
        ));
    }
    let options = parameters(given, at, faults, warnings);
    (faults.len() == before).then_some(TlsSettings {
        source: source?,
        sni,
        names,
        options,
        renegotiation: given.allow_renegotiation.unwrap_or_default(),
        simple: given.simple_tls.unwrap_or_default(),
    })
}

fn source(given: &BackendTlsSettings) -> Result<Source, Fault> {
    match (&given.secret_ref, &given.files, &given.well_known_ca_certificates, given.insecure_skip_verify) {
        (Some(secret), None, None, None) => Ok(Source::Secret(secret.name.clone())),
        (None, Some(files), None, None) => {
            let certificate = match (&files.tls_certificate, &files.tls_key) {
                (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
                (None, None) => None,
                _ => {
                    let message = "a certificate can be shown only with its key";
                    return Err(Fault::new(
                        ".files",
                        message,
                        "give both of tlsCertificate and tlsKey, or neither",
                    ));
                }
            };
            if certificate.is_none() && files.root_ca.is_none() {
                return Err(Fault::new(
                    ".files",
                    "there is no file",
                    "give rootCA, or tlsCertificate and tlsKey",
                ));
            }
            Ok(Source::Files { authorities: files.root_ca.clone(), certificate })
        }
        // `false` says in so many words that certificates are checked.
        (None, None, Some(WellKnownAuthorities::System), None) | (None, None, None, Some(false)) => {
            Ok(Source::System)
        }
        (None, None, Some(other), None) => {
            let message = format!("{:?} is not known", other.as_str());
            Err(Fault::new(".wellKnownCACertificates", message, "use System"))
        }
        (None, None, None, Some(true)) => Ok(Source::Any),
        _ => Err(Fault::new(
            "",
            "it has to be said in exactly one way whose certificates are trusted",
            "give one of secretRef, files, wellKnownCACertificates and insecureSkipVerify",
        )),
    }
}

/// Versions, algorithms and protocols are read as the options of a BackendTLSPolicy are: what Envoy would refuse is known there.
fn parameters(
    given: &BackendTlsSettings,
    at: &str,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Fault>,
) -> TlsOptions {
    const FIELDS: [(&str, &str); 5] = [
        ("postern.dev/minimum-tls-version", ".parameters.minVersion"),
        ("postern.dev/maximum-tls-version", ".parameters.maxVersion"),
        ("postern.dev/cipher-suites", ".parameters.cipherSuites"),
        ("postern.dev/ecdh-curves", ".parameters.ecdhCurves"),
        ("postern.dev/alpn-protocols", ".alpnProtocols"),
    ];
    let parameters = given.parameters.clone().unwrap_or_default();
    let version = |version: Option<&TlsVersion>| version.map(|it| it.as_str().to_owned());
    let list = |list: &[String]| (!list.is_empty()).then(|| list.join(","));
    let values = [
        version(parameters.min_version.as_ref()),
        version(parameters.max_version.as_ref()),
        list(&parameters.cipher_suites),
        list(&parameters.ecdh_curves),
        list(&given.alpn_protocols),
    ];
    let options: BTreeMap<String, String> =
        FIELDS.iter().zip(values).filter_map(|((key, _), value)| Some(((*key).to_owned(), value?))).collect();
    let parsed = options::parse(&options, Place::Backend);
    let placed = |mut fault: Fault| {
        if let Some((_, field)) = FIELDS.iter().find(|(key, _)| fault.field == format!("[{key}]")) {
            (*field).clone_into(&mut fault.field);
        }
        fault.within(at)
    };
    faults.extend(parsed.errors.into_iter().map(placed));
    warnings.extend(parsed.warnings.into_iter().map(placed));
    parsed.options
}

/// What TLS needs, found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) tls: BackendTls,
    /// What is shown; `None`: what the Gateway shows.
    pub(crate) identity: Option<Identity>,
    pub(crate) secrets: Vec<SecretId>,
}

/// Follows the references of the policy `key`; a fault if they lead to nothing that can be used. Hosts of the backend may have names, by
/// which their certificates are checked if the policy has none.
pub(crate) fn read(
    reader: &Reader<'_>,
    key: &ObjectKey,
    settings: &TlsSettings,
    hosts_have_names: bool,
) -> Result<Found, Fault> {
    let mut secrets = Vec::new();
    let mut identity = settings.simple.then_some(Identity::None);
    let trust = match &settings.source {
        Source::System => Trust::System,
        Source::Any => Trust::Anybody,
        Source::Files { authorities, certificate } => {
            if let (Some((certificate, key)), None) = (certificate, &identity) {
                let (certificate, key) = (certificate.clone(), key.clone());
                identity = Some(Identity::Files { certificate, key });
            }
            authorities.clone().map_or(Trust::System, Trust::File)
        }
        Source::Secret(name) => {
            let at = "spec.tls.secretRef";
            let Some(secret) = reader.get::<Secret>(&key.namespace, name) else {
                let message = format!("Secret {}/{name} does not exist", key.namespace);
                return Err(Fault::new(at, message, "create the Secret, or mend the name"));
            };
            let has = |entry: &str| {
                secret.data.iter().any(|data| data.contains_key(entry))
                    || secret.string_data.iter().any(|data| data.contains_key(entry))
            };
            let (shows, trusts) = (has("tls.crt") || has("tls.key"), has("ca.crt"));
            if !shows && !trusts {
                let message = format!("Secret {}/{name} has neither ca.crt nor tls.crt", key.namespace);
                return Err(Fault::new(at, message, "add ca.crt, or tls.crt and tls.key"));
            }
            if shows && identity.is_none() {
                let reference =
                    SecretObjectReference { name: name.clone(), ..SecretObjectReference::default() };
                certificates::certificate(reader, key, &reference)
                    .map_err(|refusal| Fault::new(at, refusal.message, refusal.remedy))?;
                let id = SecretId::Client(NamespacedName::new(&key.namespace, name));
                identity = Some(Identity::Secret(id.name()));
                secrets.push(id);
            }
            if trusts { own_authorities(reader, key, name, &mut secrets)? } else { Trust::System }
        }
    };
    let names = match (&settings.sni, settings.names.as_slice()) {
        (Some(sni), []) => vec![SubjectName::Dns(sni.clone())],
        (_, names) => names.to_vec(),
    };
    if names.is_empty() && trust == Trust::System && !hosts_have_names {
        return Err(Fault::new(
            "spec.tls.sni",
            "which name the certificate has to have is not known, and the authorities of the system vouch for any",
            "set sni, or verifySubjectAltNames",
        ));
    }
    let names = if trust == Trust::Anybody { Vec::new() } else { names };
    let tls = BackendTls {
        server_name: settings.sni.clone(),
        names,
        trust,
        options: settings.options.clone(),
        renegotiation: settings.renegotiation,
    };
    Ok(Found { tls, identity, secrets })
}

fn own_authorities(
    reader: &Reader<'_>,
    key: &ObjectKey,
    name: &str,
    secrets: &mut Vec<SecretId>,
) -> Result<Trust, Fault> {
    let field = "spec.tls.secretRef".to_owned();
    let reference = CaReference { group: "", kind: Kind::Secret.as_str(), namespace: None, name, field };
    let resolved = authorities::resolve(reader, key, [reference]);
    match (resolved.bundle, resolved.refusals.into_iter().next()) {
        (Some(bundle), _) => {
            secrets.push(SecretId::Authorities(bundle.clone()));
            Ok(Trust::Bundle(bundle))
        }
        (None, Some(refusal)) => Err(Fault { field: "spec.tls.secretRef".to_owned(), ..refusal.fault }),
        (None, None) => Err(Fault::new("spec.tls.secretRef", "it has no authorities", "add ca.crt")),
    }
}
