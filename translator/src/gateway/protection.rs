//! Protection that somebody asked for and that this version cannot give. Serving without it would open what was
//! meant to be closed, so the listeners that it was meant for are not served.

use postern_api::gateway_api::Gateway;
use postern_api::kgateway::HttpListenerPolicy;

use super::Protocol;
use crate::dependency::Reader;
use crate::object::{Kind, ObjectKey};
use crate::problem::Problems;

/// Why listeners are not served: those of one protocol, or all of them.
pub(crate) fn missing(
    reader: &Reader<'_>,
    key: &ObjectKey,
    gateway: &Gateway,
    problems: &mut Problems,
) -> Vec<(Option<Protocol>, String)> {
    let mut out = Vec::new();
    let tls = gateway.spec.tls.as_ref();
    if tls.is_some_and(|tls| tls.frontend.is_some()) {
        let message = "this version cannot validate client certificates (spec.tls.frontend)".to_owned();
        let remedy = "remove spec.tls.frontend; until then no HTTPS listener is served";
        problems.error(key, "spec.tls.frontend", &message, remedy);
        out.push((Some(Protocol::Https), message));
    }
    for policy in reader.all_in::<HttpListenerPolicy>(&key.namespace) {
        let targets = policy.spec.target_refs.iter().any(|target| {
            target.group() == Kind::Gateway.group()
                && target.kind == Kind::Gateway.as_str()
                && target.name == key.name
                && target.namespace.as_deref().is_none_or(|namespace| namespace == key.namespace)
        });
        if targets && (policy.spec.basic_auth.is_some() || policy.spec.cel_validation.is_some()) {
            let name = policy.metadata.name.clone().unwrap_or_default();
            out.push((
                None,
                format!(
                    "HTTPListenerPolicy {}/{name} protects it, which this version cannot do",
                    key.namespace
                ),
            ));
        }
    }
    out
}
