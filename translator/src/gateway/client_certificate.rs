//! The certificate with which a Gateway identifies itself to backends (GEP-3155).

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_api::gateway_api::{Gateway, reason};

use super::certificates;
use crate::dependency::Reader;
use crate::object::ObjectKey;
use crate::problem::Problems;
use crate::resource::Resource;

/// The client certificate of a Gateway. It is shown to every backend that is spoken to with TLS.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClientCertificate {
    /// Its SDS name; `None` if the reference to it leads to none. Then nothing is shown: a backend that asks for a certificate
    /// refuses, and the others are none the worse for it.
    pub(crate) secret: Option<String>,
}

/// Follows `spec.tls.backend.clientCertificateRef`; returns why it leads to no certificate, if it does not.
pub(super) fn resolve(
    reader: &Reader<'_>,
    key: &ObjectKey,
    gateway: &Gateway,
    secrets: &mut BTreeMap<String, Arc<Resource>>,
    problems: &mut Problems,
) -> (Option<ClientCertificate>, Option<(&'static str, String)>) {
    let backend = gateway.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
    let Some(reference) = backend.and_then(|backend| backend.client_certificate_ref.as_ref()) else {
        return (None, None);
    };
    match certificates::certificate(reader, key, reference) {
        Ok((name, resource)) => {
            secrets.insert(name.clone(), resource);
            (Some(ClientCertificate { secret: Some(name) }), None)
        }
        Err(refusal) => {
            let object = refusal.object.as_ref().unwrap_or(key);
            let field = match &refusal.object {
                Some(_) => refusal.field,
                None => "spec.tls.backend.clientCertificateRef",
            };
            problems.error(object, field, &refusal.message, refusal.remedy);
            let reason = match refusal.reason {
                reason::REF_NOT_PERMITTED => reason::REF_NOT_PERMITTED,
                _ => reason::INVALID_CLIENT_CERTIFICATE_REF,
            };
            (Some(ClientCertificate::default()), Some((reason, refusal.message)))
        }
    }
}
