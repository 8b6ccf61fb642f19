//! Protection that somebody asked for and that this version cannot give. Serving without it would open what was
//! meant to be closed, so the listeners are not served.

use postern_api::kgateway::HttpListenerPolicy;

use crate::dependency::Reader;
use crate::object::{Kind, ObjectKey};

/// Why the listeners of the Gateway `key` are not served.
pub(crate) fn missing(reader: &Reader<'_>, key: &ObjectKey) -> Option<String> {
    for policy in reader.all_in::<HttpListenerPolicy>(&key.namespace) {
        let targets = policy.spec.target_refs.iter().any(|target| {
            target.group() == Kind::Gateway.group()
                && target.kind == Kind::Gateway.as_str()
                && target.name == key.name
                && target.namespace.as_deref().is_none_or(|namespace| namespace == key.namespace)
        });
        if targets && (policy.spec.basic_auth.is_some() || policy.spec.cel_validation.is_some()) {
            let name = policy.metadata.name.clone().unwrap_or_default();
            return Some(format!(
                "HTTPListenerPolicy {}/{name} protects it, which this version cannot do",
                key.namespace
            ));
        }
    }
    None
}
