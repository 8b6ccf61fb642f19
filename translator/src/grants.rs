//! ReferenceGrant (GEP-709): references across namespaces need the consent of the namespace they point into.

use crate::dependency::Reader;

/// Who refers, and to what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference<'a> {
    pub(crate) from_group: &'a str,
    pub(crate) from_kind: &'a str,
    pub(crate) from_namespace: &'a str,
    pub(crate) to_group: &'a str,
    pub(crate) to_kind: &'a str,
    pub(crate) to_namespace: &'a str,
    pub(crate) to_name: &'a str,
}

/// True if the reference stays in its namespace or a ReferenceGrant allows it.
pub(crate) fn permitted(reader: &Reader<'_>, reference: Reference<'_>) -> bool {
    if reference.from_namespace == reference.to_namespace {
        return true;
    }
    reader.grants(reference.to_namespace).any(|grant| {
        let from = grant.spec.from.iter().any(|from| {
            from.group == reference.from_group
                && from.kind == reference.from_kind
                && from.namespace == reference.from_namespace
        });
        let to = grant.spec.to.iter().any(|to| {
            to.group == reference.to_group
                && to.kind == reference.to_kind
                && to.name.as_deref().is_none_or(|name| name.is_empty() || name == reference.to_name)
        });
        from && to
    })
}

/// The remedy for a missing grant, ready to be shown.
pub(crate) fn remedy(reference: Reference<'_>) -> String {
    format!(
        "create a ReferenceGrant in namespace {} that lets {} of namespace {} refer to {} {}",
        reference.to_namespace,
        reference.from_kind,
        reference.from_namespace,
        reference.to_kind,
        reference.to_name
    )
}
