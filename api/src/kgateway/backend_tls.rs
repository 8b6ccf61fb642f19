//! The part of BackendConfigPolicy about TLS.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalReference;
use super::schema::exactly_one;

const TRUST: &[(&str, &str)] =
    &[("secretRef", ""), ("files", ""), ("insecureSkipVerify", ""), ("wellKnownCACertificates", "")];

/// TLS to a backend. One of secretRef, files, wellKnownCACertificates and insecureSkipVerify says whose certificates are trusted.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one(TRUST))]
pub struct BackendTlsSettings {
    /// Secret with ca.crt, whose authorities are trusted, and with tls.crt and tls.key, which are shown to the backend. Without
    /// ca.crt, the authorities of the system are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// The same from files of the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<TlsFiles>,
    /// Authorities that are known without naming them: System is those of the system of the proxy.
    #[serde(rename = "wellKnownCACertificates", default, skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownAuthorities>,
    /// Whether any certificate will do. Whoever can answer for the backend can then read and change all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    /// Server name that is sent, and that the certificate must be for unless verifySubjectAltNames says otherwise. Defaults to the
    /// host name, where the backend has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub sni: Option<String>,
    /// The certificate must be for one of these DNS names, IP addresses or URIs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub verify_subject_alt_names: Vec<String>,
    /// Versions and algorithms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<TlsParameters>,
    /// Application protocols that are offered, the preferred one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 255)))]
    pub alpn_protocols: Vec<String>,
    /// Whether the backend may renegotiate (TLS 1.2 and below).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_renegotiation: Option<bool>,
    /// Whether nothing is shown to the backend even if there is a certificate.
    #[serde(rename = "simpleTLS", default, skip_serializing_if = "Option::is_none")]
    pub simple_tls: Option<bool>,
}

open_enum! {
    /// Authorities that are known without naming them.
    pub enum WellKnownAuthorities {
        /// Those of the system of the proxy.
        System,
    }
}

/// Files of the proxy, in PEM.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct TlsFiles {
    /// Certificate that is shown, with its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub tls_certificate: Option<String>,
    /// Key of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub tls_key: Option<String>,
    /// Authorities that are trusted. Without them, those of the system are.
    #[serde(rename = "rootCA", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub root_ca: Option<String>,
}

/// Versions and algorithms of TLS.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsParameters {
    /// Lowest version; AUTO is 1.2. Defaults to AUTO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Highest version; AUTO is 1.3. Defaults to AUTO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Cipher suites of TLS 1.2 and below, by their names in the IANA registry or in OpenSSL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    pub cipher_suites: Vec<String>,
    /// Groups for the exchange of keys, such as X25519 and P-256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub ecdh_curves: Vec<String>,
}

open_enum! {
    /// A version of TLS.
    pub enum TlsVersion, default Auto {
        /// The proxy's choice.
        Auto = "AUTO",
        /// TLS 1.0.
        V1_0 = "1.0",
        /// TLS 1.1.
        V1_1 = "1.1",
        /// TLS 1.2.
        V1_2 = "1.2",
        /// TLS 1.3.
        V1_3 = "1.3",
    }
}
