//! TLS to an XBackend. It says all of it itself: a BackendTLSPolicy has no say (GEP-4894, "Explicit BackendTLSPolicy Exclusion").
//!
//! What cannot be carried out closes the backend: clients get 503, as with a BackendTLSPolicy that is not valid.

use postern_api::gateway_api::{XBackend, XBackendTlsMode, reason};

use super::key;
use crate::backend::tls_policy::{self, Reading};
use crate::dependency::Reader;
use crate::gateway::certificates;
use crate::object::NamespacedName;
use crate::problem::Fault;
use crate::tls::options::Parsed;

/// What an XBackend says about TLS.
#[derive(Debug, Default)]
pub(crate) struct XBackendTls {
    /// Without its `tls`, there are no connections.
    pub(crate) reading: Reading,
    /// The Secret with the certificate that is shown.
    pub(crate) identity: Option<NamespacedName>,
}

/// Reads `spec.tls`; `None` if there is no TLS.
pub(crate) fn read(reader: &Reader<'_>, backend: &XBackend) -> Option<XBackendTls> {
    let spec = backend.spec.tls.as_ref().filter(|tls| tls.mode != XBackendTlsMode::None)?;
    let key = key(backend);
    let at = "spec.tls.validation";
    let mut out = XBackendTls::default();
    match &spec.validation {
        Some(validation) => {
            out.reading = tls_policy::read_validation(reader, &key, validation, at, Parsed::default());
        }
        None => refuse(
            &mut out.reading,
            backend,
            Fault::new(
                at,
                "it is not said whose certificates are trusted",
                "add hostname and caCertificateRefs",
            ),
        ),
    }
    match (&spec.mode, &spec.client_certificate_ref) {
        (XBackendTlsMode::ClientAndServer, Some(reference)) => {
            match certificates::certificate(reader, &key, reference) {
                Ok(_) => {
                    let namespace = reference.namespace.as_deref().unwrap_or(&key.namespace);
                    out.identity = Some(NamespacedName::new(namespace, &reference.name));
                }
                Err(refusal) => {
                    let reason = match refusal.reason {
                        reason::REF_NOT_PERMITTED => reason::REF_NOT_PERMITTED,
                        _ => reason::INVALID_CLIENT_CERTIFICATE_REF,
                    };
                    out.reading.tls = None;
                    out.reading.unresolved.get_or_insert_with(|| (reason, refusal.message.clone()));
                    let (object, field) = match refusal.object {
                        Some(object) => (object, refusal.field),
                        None => (key, "spec.tls.clientCertificateRef"),
                    };
                    out.reading.errors.push((object, Fault::new(field, refusal.message, refusal.remedy)));
                }
            }
        }
        (XBackendTlsMode::ClientAndServer, None) => refuse(
            &mut out.reading,
            backend,
            Fault::new(
                "spec.tls.clientCertificateRef",
                "mode ClientAndServer needs a certificate to show",
                "name a Secret of type kubernetes.io/tls, or use mode ServerOnly",
            ),
        ),
        (XBackendTlsMode::Unknown(other), _) => {
            let message = format!("mode {other:?} is unknown");
            let fault = Fault::new("spec.tls.mode", message, "use None, ServerOnly or ClientAndServer");
            refuse(&mut out.reading, backend, fault);
        }
        (_, Some(_)) => refuse(
            &mut out.reading,
            backend,
            Fault::new(
                "spec.tls.clientCertificateRef",
                "with mode ServerOnly nothing is shown",
                "remove it, or use mode ClientAndServer",
            ),
        ),
        (_, None) => {}
    }
    Some(out)
}

fn refuse(reading: &mut Reading, backend: &XBackend, fault: Fault) {
    reading.tls = None;
    let message = format!("{}: {}", fault.field, fault.message);
    reading.not_accepted.get_or_insert((reason::INVALID, message));
    reading.errors.push((key(backend), fault));
}
