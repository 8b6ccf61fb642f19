//! Certificates of authorities (CA): from `caCertificateRefs` to what Envoy trusts.
//!
//! The certificates that a place refers to are one [`Bundle`], which Envoy gets as one secret. Its name says where they stand and
//! nothing about who trusts them, so everybody who refers to the same objects shares it, and rotating it changes nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use rustls::pki_types::pem::{PemObject, SectionKind};

use crate::dependency::Reader;
use crate::envoy::tls;
use crate::grants::{self, Reference};
use crate::object::{Kind, Object, ObjectKey};
use crate::problem::Fault;
use crate::resource::Resource;

/// The key under which ConfigMaps and Secrets hold certificates of authorities.
const CA_CERT: &str = "ca.crt";
/// How names of secrets with certificates of authorities begin.
pub(crate) const PREFIX: &str = "ca/";

/// The identity of a set of certificates of authorities: the objects that hold them, in the order of their paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BundleId(Vec<ObjectKey>);

impl BundleId {
    /// The xDS name of the secret: `ca/<kind>/<namespace>/<name>`, several of them joined by commas.
    pub(crate) fn name(&self) -> String {
        self.to_string()
    }

    /// The object that the name of a secret leads back to, the first of several.
    pub(crate) fn object(name: &str) -> Option<ObjectKey> {
        let first = name.strip_prefix(PREFIX)?.split(',').next()?;
        let (kind, name) = first.split_once('/')?;
        let kind = KINDS.into_iter().find(|known| word(*known) == kind)?;
        if !kind.is_namespaced() {
            return Some(ObjectKey::new(kind, "", name));
        }
        let (namespace, name) = name.split_once('/')?;
        Some(ObjectKey::new(kind, namespace, name))
    }

    /// The objects that hold the certificates.
    pub(crate) fn sources(&self) -> &[ObjectKey] {
        &self.0
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for (index, source) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", path(source))?;
        }
        Ok(())
    }
}

/// The kinds that can hold certificates of authorities.
const KINDS: [Kind; 3] = [Kind::ConfigMap, Kind::Secret, Kind::ClusterTrustBundle];

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "secret",
        Kind::ClusterTrustBundle => "clustertrustbundle",
        _ => "configmap",
    }
}

/// The part of a name that stands for one object.
fn path(source: &ObjectKey) -> String {
    format!("{}/{}", word(source.kind), source.namespaced_name())
}

/// A reference to certificates of authorities.
pub(crate) struct CaReference<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
    /// The field that it stands in.
    pub(crate) field: String,
}

/// What kind of mistake a reference is; the kinds of the API have different words for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Objects of this kind hold no certificates of authorities, or the cluster does not know the kind.
    Kind,
    /// The object does not exist, or holds no readable certificate.
    Content,
    /// No ReferenceGrant allows it.
    NotPermitted,
}

/// Why a reference leads to no certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) mistake: Mistake,
    /// The object to mend.
    pub(crate) object: ObjectKey,
    pub(crate) fault: Fault,
}

/// What became of some references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// `None` if none of them leads to certificates.
    pub(crate) bundle: Option<BundleId>,
    pub(crate) refusals: Vec<Refusal>,
}

/// Follows the references of the object `from`.
pub(crate) fn resolve<'a>(
    reader: &Reader<'_>,
    from: &ObjectKey,
    references: impl IntoIterator<Item = CaReference<'a>>,
) -> Resolved {
    let mut out = Resolved::default();
    let mut sources = BTreeMap::new();
    let mut usable = false;
    for reference in references {
        match source(reader, from, &reference) {
            Ok(source) => {
                match content(reader, &source, &reference.field, from) {
                    Ok(()) => usable = true,
                    Err(refusal) => out.refusals.push(*refusal),
                }
                // What it holds does not matter to the name, so that mending it renames nothing.
                sources.insert(path(&source), source);
            }
            Err(refusal) => out.refusals.push(*refusal),
        }
    }
    out.bundle = usable.then(|| BundleId(sources.into_values().collect()));
    out
}

/// The object that a reference means, if it may be one.
fn source(
    reader: &Reader<'_>,
    from: &ObjectKey,
    reference: &CaReference<'_>,
) -> Result<ObjectKey, Box<Refusal>> {
    let CaReference { group, kind, namespace, name, field } = reference;
    let refuse = |mistake, field: String, message: String, remedy: String| {
        let fault = Fault::new(field, message, remedy);
        Err(Box::new(Refusal { mistake, object: from.clone(), fault }))
    };
    let known = Kind::from_group_kind(group, kind).filter(|kind| KINDS.contains(kind));
    let Some(known) = known else {
        return refuse(
            Mistake::Kind,
            format!("{field}.kind"),
            format!("{kind} {name} (group {group:?}) cannot hold certificates of authorities"),
            "refer to a ConfigMap or a Secret of the core group, or to a ClusterTrustBundle of group certificates.k8s.io"
                .to_owned(),
        );
    };
    if known == Kind::ClusterTrustBundle {
        if !reader.is_served(known) {
            return refuse(
                Mistake::Kind,
                format!("{field}.kind"),
                format!("ClusterTrustBundle {name} cannot be read: this cluster does not serve the kind"),
                "use a cluster that serves certificates.k8s.io/v1 or v1beta1, or refer to a ConfigMap"
                    .to_owned(),
            );
        }
        if namespace.is_some_and(|namespace| !namespace.is_empty()) {
            return refuse(
                Mistake::Content,
                format!("{field}.namespace"),
                format!("ClusterTrustBundle {name} is in no namespace"),
                "remove the namespace from the reference".to_owned(),
            );
        }
        return Ok(ObjectKey::new(known, "", *name));
    }
    let namespace = namespace.filter(|namespace| !namespace.is_empty()).unwrap_or(&from.namespace);
    let asked = Reference {
        from_group: from.kind.group(),
        from_kind: from.kind.as_str(),
        from_namespace: &from.namespace,
        to_group: group,
        to_kind: kind,
        to_namespace: namespace,
        to_name: name,
    };
    if !grants::permitted(reader, asked) {
        return refuse(
            Mistake::NotPermitted,
            format!("{field}.namespace"),
            format!("{kind} {namespace}/{name} is in another namespace and no ReferenceGrant allows it"),
            grants::remedy(asked),
        );
    }
    Ok(ObjectKey::new(known, namespace, *name))
}

/// Whether an object holds certificates; whoever refers to it has to mend the reference, or its owner the object.
fn content(
    reader: &Reader<'_>,
    source: &ObjectKey,
    field: &str,
    from: &ObjectKey,
) -> Result<(), Box<Refusal>> {
    let Some(anchors) = reader.anchors(source) else {
        let message = format!("{source} does not exist");
        let fault = Fault::new(format!("{field}.name"), message, "create it, or mend the reference");
        return Err(Box::new(Refusal { mistake: Mistake::Content, object: from.clone(), fault }));
    };
    match anchors.as_ref() {
        Ok(_) => Ok(()),
        Err(fault) => {
            let mut fault = fault.clone();
            fault.message = format!("{source}: {}", fault.message);
            Err(Box::new(Refusal { mistake: Mistake::Content, object: source.clone(), fault }))
        }
    }
}

/// The secret of a bundle; `None` if it has no certificate any more.
pub(crate) fn resource(reader: &Reader<'_>, id: &BundleId) -> Option<Arc<Resource>> {
    let mut pem = Vec::new();
    for source in id.sources() {
        if let Some(Ok(anchors)) = reader.anchors(source).as_deref() {
            pem.extend_from_slice(anchors);
        }
    }
    (!pem.is_empty()).then(|| tls::bundle(&id.name(), pem))
}

/// Certificates of authorities as PEM, with nothing else in it that Envoy could stumble over, or why there are none.
pub(crate) type Anchors = Result<Vec<u8>, Fault>;

/// Reads an object that may hold certificates of authorities.
pub(crate) fn anchors(object: &Object) -> Anchors {
    let (field, text) = match object {
        Object::ConfigMap(map) => ("data[ca.crt]", config_map(map)),
        Object::Secret(secret) => ("data[ca.crt]", self::secret(secret)),
        Object::ClusterTrustBundle(bundle) => ("spec.trustBundle", Some(bundle.spec.trust_bundle.as_bytes())),
        _ => ("kind", None),
    };
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| {
        let message = match object {
            Object::ClusterTrustBundle(_) => "spec.trustBundle is empty".to_owned(),
            _ => format!("it has no {CA_CERT}"),
        };
        Fault::new(field, message, "put the certificates of the authorities there, in PEM")
    })?;
    sections(text).map_err(|message| {
        Fault::new(
            field,
            message,
            "put the certificates of the authorities there, between BEGIN CERTIFICATE lines",
        )
    })
}

fn config_map(map: &ConfigMap) -> Option<&[u8]> {
    let text = map.data.as_ref().and_then(|data| data.get(CA_CERT)).map(String::as_bytes);
    let binary = map.binary_data.as_ref().and_then(|data| data.get(CA_CERT));
    text.or(binary.map(|bytes| bytes.0.as_slice()))
}

fn secret(secret: &Secret) -> Option<&[u8]> {
    let data = secret.data.as_ref().and_then(|data| data.get(CA_CERT)).map(|bytes| bytes.0.as_slice());
    data.or(secret.string_data.as_ref().and_then(|data| data.get(CA_CERT)).map(String::as_bytes))
}

/// The sections of a PEM text that say whom to trust: certificates and revocation lists, each of them readable. Keys and comments
/// are left out.
fn sections(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut certificates = 0;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|error| format!("it is not PEM: {error}"))?;
        match kind {
            SectionKind::Certificate => {
                let parsed = x509_parser::parse_x509_certificate(&der);
                parsed.map_err(|error| format!("a certificate in it is not readable: {error}"))?;
                certificates += 1;
                write_section(&mut out, "CERTIFICATE", &der);
            }
            SectionKind::Crl => {
                let parsed = x509_parser::parse_x509_crl(&der);
                parsed.map_err(|error| format!("a revocation list in it is not readable: {error}"))?;
                write_section(&mut out, "X509 CRL", &der);
            }
            _ => {}
        }
    }
    if certificates == 0 {
        return Err("it holds no PEM certificate".to_owned());
    }
    Ok(out)
}

/// Appends one PEM section (RFC 7468).
fn write_section(out: &mut Vec<u8>, label: &str, der: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const LINE_BYTES: usize = 48;
    out.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in der.chunks(LINE_BYTES) {
        for chunk in line.chunks(3) {
            let group = chunk.iter().fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
            let group = group << (8 * (3 - chunk.len()));
            let digits = (0..4).map(|position| ALPHABET[group >> (18 - 6 * position) & 63]);
            out.extend(digits.take(chunk.len() + 1));
            out.extend(std::iter::repeat_n(b'=', 3 - chunk.len()));
        }
        out.push(b'\n');
    }
    out.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
}

#[cfg(test)]
mod tests;
