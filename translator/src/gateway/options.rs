//! `tls.options` of a listener.

use postern_api::gateway_api::{Listener as ListenerSpec, reason};

use super::{ListenerConditions, Protocol};
use crate::object::ObjectKey;
use crate::problem::Problems;
use crate::tls::options::{self, Place, TlsOptions};

/// Reads the options of a listener where TLS ends. One that cannot be carried out refuses the listener.
pub(super) fn resolve(
    object: &ObjectKey,
    field: &str,
    spec: &ListenerSpec,
    protocol: Protocol,
    conditions: &mut ListenerConditions,
    problems: &mut Problems,
) -> TlsOptions {
    let Some(tls) = &spec.tls else { return TlsOptions::default() };
    let place = if protocol.takes_http() { Place::Requests } else { Place::Connections };
    let parsed = options::parse(&tls.options, place);
    let field = format!("{field}.tls.options");
    for fault in parsed.warnings {
        let fault = fault.within(&field);
        problems.warning(object, fault.field, fault.message, fault.remedy);
    }
    for fault in parsed.errors {
        let fault = fault.within(&field);
        problems.error(object, fault.field, &fault.message, fault.remedy);
        conditions.not_accepted.get_or_insert((reason::UNSUPPORTED_VALUE, fault.message));
    }
    parsed.options
}
