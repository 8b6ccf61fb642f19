//! BackendTLSPolicy: TLS to a Service (GEP-1897).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LocalObjectReference, LocalPolicyTargetReferenceWithSectionName, PolicyStatus};

api_kind! {
    /// How the Gateway connects to a backend with TLS.
    pub struct BackendTlsPolicy { spec: BackendTlsPolicySpec, status: PolicyStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1", "v1alpha3"],
    kind: "BackendTLSPolicy", plural: "backendtlspolicies", scope: Namespace
}

/// Desired state of a BackendTLSPolicy.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// The Services, or single ports of them, 1 to 16.
    #[serde(default)]
    pub target_refs: Vec<LocalPolicyTargetReferenceWithSectionName>,
    /// How the backend is validated.
    pub validation: BackendTlsPolicyValidation,
    /// Options of the implementation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How the certificate of a backend is validated.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicyValidation {
    /// Certificates of the accepted authorities, usually in ConfigMaps (key `ca.crt`), at most 8. Not
    /// together with `well_known_ca_certificates`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// A known set of authorities. Not together with `ca_certificate_refs`.
    #[serde(rename = "wellKnownCACertificates", default, skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,
    /// Server name that is sent, and that the certificate must have unless `subject_alt_names` are given.
    pub hostname: String,
    /// Names one of which the certificate must have, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

open_enum! {
    /// A known set of authorities. Others are written with a domain, `example.com/name`.
    pub enum WellKnownCaCertificates {
        /// Those of the system of the proxy.
        System,
    }
}

/// A subject alternative name: `type` says which one of the other fields counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubjectAltName {
    /// Type of the name.
    #[serde(rename = "type")]
    pub type_: SubjectAltNameType,
    /// Host name, exact or `*.` wildcard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// URI, as in `spiffe://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

open_enum! {
    /// Type of a subject alternative name.
    pub enum SubjectAltNameType {
        /// Host name.
        Hostname,
        /// URI.
        Uri = "URI",
    }
}
