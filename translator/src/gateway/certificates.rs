//! Certificates of listeners where TLS ends: from `certificateRefs` to SDS secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    Secret as EnvoySecret, TlsCertificate, secret,
};
use k8s_openapi::api::core::v1::Secret;
use postern_api::gateway_api::{Listener as ListenerSpec, SecretObjectReference, reason};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::sign::CertifiedKey;

use super::ListenerConditions;
use crate::dependency::Reader;
use crate::grants::{self, Reference};
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Problems;
use crate::resource::{Resource, ResourceType};

const TLS_CERT: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";

/// Resolves the certificates of one listener. References that fail are reported; the listener is served with
/// those that are left, and not at all if none is.
pub(crate) fn resolve(
    reader: &Reader<'_>,
    owner: &ObjectKey,
    field: &str,
    spec: &ListenerSpec,
    secrets: &mut BTreeMap<String, Arc<Resource>>,
    conditions: &mut ListenerConditions,
    problems: &mut Problems,
) -> Vec<String> {
    let tls = spec.tls.as_ref();
    let mode = tls.and_then(|t| t.mode.as_ref()).map_or("Terminate", AsRef::as_ref);
    if mode != "Terminate" {
        let message = format!("tls.mode {mode} is not possible on a listener of protocol HTTPS");
        problems.error(owner, format!("{field}.tls.mode"), &message, "use Terminate, or protocol TLS");
        conditions.not_accepted = Some((reason::UNSUPPORTED_VALUE, message));
        return Vec::new();
    }
    let references = tls.map(|t| t.certificate_refs.as_slice()).unwrap_or_default();
    let mut names = Vec::new();
    if references.is_empty() {
        let which = match spec.protocol.as_ref() {
            "HTTPS" => "an HTTPS listener",
            _ => "a TLS listener of mode Terminate",
        };
        let message = format!("{which} needs a certificate");
        problems.error(
            owner,
            format!("{field}.tls.certificateRefs"),
            &message,
            "name a Secret of type kubernetes.io/tls",
        );
        conditions.unresolved.get_or_insert((reason::INVALID_CERTIFICATE_REF, message));
    }
    for (index, reference) in references.iter().enumerate() {
        let field = format!("{field}.tls.certificateRefs[{index}]");
        match certificate(reader, owner, reference) {
            Ok((name, resource)) => {
                secrets.insert(name.clone(), resource);
                names.push(name);
            }
            Err(refusal) => {
                let object = refusal.object.as_ref().unwrap_or(owner);
                let at = if refusal.object.is_some() { refusal.field.to_owned() } else { field };
                problems.error(object, at, &refusal.message, refusal.remedy);
                conditions.unresolved.get_or_insert((refusal.reason, refusal.message));
            }
        }
    }
    if names.is_empty() {
        let why = conditions.unresolved.as_ref().map(|(_, m)| m.clone()).unwrap_or_default();
        conditions.not_programmed.get_or_insert(format!("no certificate can be served: {why}"));
    }
    names
}

/// Why a reference leads to no certificate.
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: String,
    /// The object to mend, if it is not the one that refers.
    pub(crate) object: Option<ObjectKey>,
    /// The field of that object.
    pub(crate) field: &'static str,
}

/// Follows a reference to a certificate with its key: to its SDS name and the secret.
pub(crate) fn certificate(
    reader: &Reader<'_>,
    owner: &ObjectKey,
    reference: &SecretObjectReference,
) -> Result<(String, Arc<Resource>), Box<Refusal>> {
    let refuse =
        |reason, message, remedy| Box::new(Refusal { reason, message, remedy, object: None, field: "" });
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    if group != Kind::Secret.group() || kind != Kind::Secret.as_str() {
        return Err(refuse(
            reason::INVALID_CERTIFICATE_REF,
            format!("certificates cannot come from {kind} (group {group:?})"),
            "refer to a Secret of the core group".to_owned(),
        ));
    }
    let namespace = reference.namespace.as_deref().unwrap_or(&owner.namespace);
    let asked = Reference {
        from_group: owner.kind.group(),
        from_kind: owner.kind.as_str(),
        from_namespace: &owner.namespace,
        to_group: "",
        to_kind: Kind::Secret.as_str(),
        to_namespace: namespace,
        to_name: &reference.name,
    };
    if !grants::permitted(reader, asked) {
        return Err(refuse(
            reason::REF_NOT_PERMITTED,
            format!(
                "Secret {namespace}/{} is in another namespace and no ReferenceGrant allows it",
                reference.name
            ),
            grants::remedy(asked),
        ));
    }
    let name = format!("{namespace}/{}", reference.name);
    let Some(secret) = reader.get::<Secret>(namespace, &reference.name) else {
        return Err(refuse(
            reason::INVALID_CERTIFICATE_REF,
            format!("Secret {name} does not exist"),
            "create the Secret (type kubernetes.io/tls), or mend the reference".to_owned(),
        ));
    };
    match pair(secret) {
        Ok((chain, key)) => Ok((name.clone(), secret_resource(&name, chain, key))),
        Err((field, message, remedy)) => Err(Box::new(Refusal {
            reason: reason::INVALID_CERTIFICATE_REF,
            message: format!("Secret {name}: {message}"),
            remedy: remedy.to_owned(),
            object: Some(ObjectKey::new(Kind::Secret, namespace, &reference.name)),
            field,
        })),
    }
}

/// The certificate and its key in a Secret, under an SDS name; `None` if there is none that can be used.
pub(crate) fn of_secret(reader: &Reader<'_>, secret: &NamespacedName, name: &str) -> Option<Arc<Resource>> {
    let (chain, key) = pair(reader.get::<Secret>(&secret.namespace, &secret.name)?).ok()?;
    Some(secret_resource(name, chain, key))
}

type Fault = (&'static str, String, &'static str);

/// Chain and key as PEM, checked as Envoy will check them: readable, supported, and belonging together.
fn pair(secret: &Secret) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let entry = |name: &'static str, field: &'static str| -> Result<Vec<u8>, Fault> {
        let data = secret.data.as_ref().and_then(|d| d.get(name)).map(|b| b.0.clone());
        let text = secret.string_data.as_ref().and_then(|d| d.get(name)).map(|s| s.clone().into_bytes());
        data.or(text).filter(|pem| !pem.is_empty()).ok_or((
            field,
            format!("it has no {name}"),
            "add tls.crt and tls.key, both PEM",
        ))
    };
    let chain_pem = entry(TLS_CERT, "data[tls.crt]")?;
    let key_pem = entry(TLS_KEY, "data[tls.key]")?;
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&chain_pem).collect();
    let chain = chain.ok().filter(|c| !c.is_empty()).ok_or((
        "data[tls.crt]",
        "tls.crt holds no readable PEM certificate".to_owned(),
        "put the certificate chain there, leaf first, between BEGIN CERTIFICATE lines",
    ))?;
    for certificate in &chain {
        x509_parser::parse_x509_certificate(certificate).map_err(|error| {
            (
                "data[tls.crt]",
                format!("tls.crt is not an X.509 certificate: {error}"),
                "issue the certificate again",
            )
        })?;
    }
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
        (
            "data[tls.key]",
            "tls.key holds no readable PEM private key".to_owned(),
            "put an unencrypted PKCS #8, PKCS #1 or SEC 1 key there",
        )
    })?;
    let key = any_supported_type(&key).map_err(|_| {
        (
            "data[tls.key]",
            "tls.key is of no supported type".to_owned(),
            "use an RSA (2048 bits or more) or ECDSA P-256 key",
        )
    })?;
    CertifiedKey::new(chain, key).keys_match().map_err(|_| {
        (
            "data[tls.key]",
            "tls.key does not belong to the certificate in tls.crt".to_owned(),
            "put the key there that the certificate was issued for",
        )
    })?;
    Ok((chain_pem, key_pem))
}

fn secret_resource(name: &str, chain: Vec<u8>, key: Vec<u8>) -> Arc<Resource> {
    let bytes = |value| DataSource {
        specifier: Some(data_source::Specifier::InlineBytes(value)),
        ..DataSource::default()
    };
    let message = EnvoySecret {
        name: name.to_owned(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(bytes(chain)),
            private_key: Some(bytes(key)),
            ..TlsCertificate::default()
        })),
    };
    Resource::new(ResourceType::Secret, name, &message)
}

#[cfg(test)]
mod tests;
