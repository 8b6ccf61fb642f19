//! How much Envoy buffers of each connection of a Gateway (kgateway v2.1).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::infrastructure::quantity;
use crate::object::ObjectKey;
use crate::problem::Problems;

/// The annotation of a Gateway that says how much of a connection is buffered at most.
const ANNOTATION: &str = "kgateway.dev/per-connection-buffer-limit";

/// The limit of the connections of all listeners, in bytes; `None` if the Gateway says nothing that can be read.
pub(super) fn limit(key: &ObjectKey, metadata: &ObjectMeta, problems: &mut Problems) -> Option<u32> {
    let value = metadata.annotations.as_ref()?.get(ANNOTATION)?;
    let bytes = quantity::bytes(value);
    if bytes.is_none() {
        problems.warning(
            key,
            format!("metadata.annotations[{ANNOTATION}]"),
            format!("{value:?} is not a quantity of bytes between 1 and 4Gi, so the limit stays as it is"),
            "use a quantity such as 32Ki",
        );
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;
    use crate::object::Kind;

    #[test]
    fn the_annotation_is_a_quantity() {
        let key = ObjectKey::new(Kind::Gateway, "a", "g");
        for (value, expected) in
            [("32Ki", Some(32768)), ("1000", Some(1000)), ("much", None), ("0", None), ("4Gi", None)]
        {
            let mut problems = Problems::default();
            let metadata = yaml(&format!("{{annotations: {{{ANNOTATION}: '{value}'}}}}"));
            assert_eq!(limit(&key, &metadata, &mut problems), expected, "{value}");
            assert_eq!(problems.is_empty(), expected.is_some(), "{value}");
        }
        let mut problems = Problems::default();
        assert_eq!(limit(&key, &ObjectMeta::default(), &mut problems), None);
        assert!(problems.is_empty());
    }
}
