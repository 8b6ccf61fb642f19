//! The status of a GatewayClass of ours.

use postern_api::gateway_api::{GatewayClass, GatewayClassStatus, SupportedFeature, condition_type, reason};

use crate::Options;
use crate::dependency::Reader;
use crate::features;
use crate::infrastructure;
use crate::object::{Kind, ObjectKey};
use crate::problem::Problems;
use crate::status::condition;

/// The minor version of the Gateway API that this version of Postern is made for.
const API_VERSION: &str = "v1.7";

/// Judges a GatewayClass of ours.
pub(crate) fn translate(
    reader: &Reader<'_>,
    class: &GatewayClass,
    options: &Options,
) -> (GatewayClassStatus, Problems) {
    let mut problems = Problems::default();
    let key = ObjectKey::new(Kind::GatewayClass, "", class.metadata.name.as_deref().unwrap_or_default());
    let generation = class.metadata.generation;
    let (holds, reason, message) = match infrastructure::of_class(reader, class, &mut problems) {
        Ok(()) => (true, reason::ACCEPTED, "the GatewayClass belongs to this controller".to_owned()),
        Err(message) => (false, reason::INVALID_PARAMETERS, message),
    };
    let mut conditions = vec![condition(condition_type::ACCEPTED, holds, reason, message, generation)];
    // An old or new version of the CRDs serves most Gateways well, so the class is accepted all the same.
    conditions.extend(options.bundle_version.as_deref().map(|version| {
        if is_supported(version) {
            let message = format!("version {version} of the Gateway API is supported");
            return condition(
                condition_type::SUPPORTED_VERSION,
                true,
                reason::SUPPORTED_VERSION,
                message,
                generation,
            );
        }
        let message = format!(
            "the CRDs of the Gateway API in the cluster have version {version}; this version of Postern is made for {API_VERSION}"
        );
        let remedy = format!("install the CRDs of Gateway API {API_VERSION}, or another version of Postern");
        problems.warning(&key, "", &message, remedy);
        condition(condition_type::SUPPORTED_VERSION, false, reason::UNSUPPORTED_VERSION, message, generation)
    }));
    // GEP-5075: what the cluster does not serve is not supported.
    let served =
        |name: &&&str| **name != features::CLUSTER_TRUST_BUNDLE || reader.is_served(Kind::ClusterTrustBundle);
    let supported_features =
        features::FEATURES.iter().filter(served).map(|name| SupportedFeature { name: (*name).to_owned() });
    (GatewayClassStatus { conditions, supported_features: supported_features.collect() }, problems)
}

/// True for every patch version of [`API_VERSION`].
fn is_supported(version: &str) -> bool {
    version.strip_prefix(API_VERSION).is_some_and(|patch| patch.is_empty() || patch.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_versions_do_not_matter() {
        for (version, supported) in [
            ("v1.7.0", true),
            ("v1.7.12", true),
            ("v1.7", true),
            ("v1.7.0-rc.1", true),
            ("v1.70.0", false),
            ("v1.6.3", false),
            ("v2.0.0", false),
            ("1.7.0", false),
            ("", false),
        ] {
            assert_eq!(is_supported(version), supported, "{version}");
        }
    }
}
