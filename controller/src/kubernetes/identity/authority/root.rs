//! A certificate authority: one self-signed certificate and its key.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use time::OffsetDateTime;
use x509_parser::pem::Pem;

use super::super::{after, before};

/// Certificates are valid from this long before they were made: clocks differ.
pub(super) const BACKDATED: Duration = Duration::from_mins(10);

/// Why a certificate or a key of a stored authority cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not one certificate in PEM.
    #[error("{0}")]
    Certificate(String),
    /// Not a private key (PKCS #8) in PEM.
    #[error("the private key cannot be read: {0}")]
    Key(String),
    /// The key is not that of the certificate.
    #[error("the private key is not that of the certificate")]
    Mismatch,
}

/// The certificate of an authority, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// The certificate in PEM, ending with a newline.
    pub(super) pem: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// An authority that can sign.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) anchor: Anchor,
    /// The private key in PEM.
    pub(super) key: String,
}

/// A server certificate, with its key.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) not_after: Timestamp,
}

impl Anchor {
    /// Reads one certificate of an authority.
    pub(super) fn parse(pem: &str) -> Result<Self, RootError> {
        Ok(Self::parse_with_key(pem)?.0)
    }

    /// Reads one certificate of an authority; answers its public key (SubjectPublicKeyInfo), too.
    fn parse_with_key(pem: &str) -> Result<(Self, Vec<u8>), RootError> {
        let unreadable =
            |why: String| RootError::Certificate(format!("the certificate cannot be read: {why}"));
        let blocks: Vec<Pem> = Pem::iter_from_buffer(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(error.to_string()))?;
        let [block] = blocks.as_slice() else {
            return Err(RootError::Certificate(format!("one certificate is expected, not {}", blocks.len())));
        };
        let certificate = block.parse_x509().map_err(|error| unreadable(error.to_string()))?;
        if !certificate.is_ca() {
            return Err(RootError::Certificate("the certificate is not that of an authority".to_owned()));
        }
        let time = |at: x509_parser::time::ASN1Time| {
            Timestamp::from_second(at.timestamp()).map_err(|error| unreadable(error.to_string()))
        };
        let validity = certificate.validity();
        let anchor = Self {
            pem: format!("{}\n", pem.trim_end()),
            not_before: time(validity.not_before)?,
            not_after: time(validity.not_after)?,
        };
        Ok((anchor, certificate.public_key().raw.to_vec()))
    }

    /// When it was made.
    pub(super) fn made(&self) -> Timestamp {
        after(self.not_before, BACKDATED)
    }
}

impl Root {
    /// Makes a new authority that is valid for `validity` from `now` on.
    pub(super) fn generate(now: Timestamp, validity: Duration) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // A name of its own: a verifier looks for the issuer by its name first.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("postern xDS {}", now.as_second()));
        params.not_before = to_time(before(now, BACKDATED));
        params.not_after = to_time(after(now, validity));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        let anchor = Anchor {
            pem: format!("{}\n", pem.replace("\r\n", "\n").trim_end()),
            not_before: from_time(params.not_before),
            not_after: from_time(params.not_after),
        };
        Ok(Self { anchor, key: key.serialize_pem() })
    }

    /// Reads a certificate and its key.
    pub(super) fn parse(certificate: &str, key: &str) -> Result<Self, RootError> {
        let (anchor, public_key) = Anchor::parse_with_key(certificate)?;
        let pair = KeyPair::from_pem(key).map_err(|error| RootError::Key(error.to_string()))?;
        if pair.subject_public_key_info() != public_key {
            return Err(RootError::Mismatch);
        }
        Ok(Self { anchor, key: key.to_owned() })
    }

    /// Issues a server certificate for `names`, valid for `validity` but not longer than the authority itself.
    pub(super) fn issue(
        &self,
        names: &[String],
        now: Timestamp,
        validity: Duration,
    ) -> Result<Issued, rcgen::Error> {
        let issuer = Issuer::from_ca_cert_pem(&self.anchor.pem, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "postern xDS server");
        params.not_before = to_time(before(now, BACKDATED));
        params.not_after = to_time(after(now, validity).min(self.anchor.not_after));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem(), not_after: from_time(params.not_after) })
    }
}

/// Whole seconds, as certificates have them.
fn to_time(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn from_time(at: OffsetDateTime) -> Timestamp {
    Timestamp::from_second(at.unix_timestamp()).unwrap_or(Timestamp::UNIX_EPOCH)
}
