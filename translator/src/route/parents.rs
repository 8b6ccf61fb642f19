//! The parents of a route: those that it names, and the default Gateways that it asks for (GEP-3793).

use postern_api::gateway_api::{GatewayDefaultScope, ParentReference};

use crate::dependency::{Parent, ParentName, Reader};
use crate::object::{Kind, ObjectKey};
use crate::problem::Problems;
use crate::status::reference_to;

/// A parent of ours.
pub(super) struct Asked<'r, 'a> {
    /// How the status names it.
    pub(super) reference: ParentReference,
    /// The field of the route that asks for it.
    pub(super) field: String,
    /// The route does not name it: that it does not attach there may be how it is meant.
    pub(super) is_default: bool,
    pub(super) parent: Parent<'r, 'a>,
}

/// The parents of ours that a route asks for. Others may belong to another controller that knows more, so only problems tell of
/// them.
pub(super) fn parents<'r, 'a>(
    reader: &'r Reader<'a>,
    key: &ObjectKey,
    references: &[ParentReference],
    scope: Option<&GatewayDefaultScope>,
    problems: &mut Problems,
) -> Vec<Asked<'r, 'a>> {
    let mut out = Vec::new();
    for (index, reference) in references.iter().enumerate() {
        let field = format!("spec.parentRefs[{index}]");
        match reader.parent(reference, &key.namespace) {
            Some(parent) => {
                out.push(Asked { reference: reference.clone(), field, is_default: false, parent });
            }
            None => warn_if_missing(reader, key, reference, field, problems),
        }
    }
    if asks_for_default(scope, key, problems) {
        let defaults = reader.default_gateways();
        if defaults.is_empty() {
            problems.warning(
                key,
                "spec.useDefaultGateways",
                "there is no default Gateway, so the field has no effect",
                "set spec.defaultScope: All in a Gateway, or name the Gateways in spec.parentRefs",
            );
        }
        for parent in defaults {
            let named = |asked: &Asked<'_, '_>| means_all_of(&asked.reference, &asked.parent, &parent);
            if !out.iter().any(named) {
                let field = "spec.useDefaultGateways".to_owned();
                out.push(Asked {
                    reference: reference_to(parent.gateway()),
                    field,
                    is_default: true,
                    parent,
                });
            }
        }
    }
    out
}

/// True if a route with this `spec.useDefaultGateways` asks for default Gateways.
fn asks_for_default(scope: Option<&GatewayDefaultScope>, key: &ObjectKey, problems: &mut Problems) -> bool {
    match scope.map_or("", AsRef::as_ref) {
        "" | "None" => false,
        "All" => true,
        other => {
            problems.error(
                key,
                "spec.useDefaultGateways",
                format!("{other:?} is not a scope of default Gateways"),
                "use All or None",
            );
            false
        }
    }
}

/// True if a route that asks for all of `other` asks for nothing new.
fn means_all_of(reference: &ParentReference, parent: &Parent<'_, '_>, other: &Parent<'_, '_>) -> bool {
    let all = reference.port.is_none() && reference.section_name.as_deref().is_none_or(str::is_empty);
    all && reference.kind() == Kind::Gateway.as_str() && parent.gateway() == other.gateway()
}

fn warn_if_missing(
    reader: &Reader<'_>,
    key: &ObjectKey,
    reference: &ParentReference,
    field: String,
    problems: &mut Problems,
) {
    let Some(parent) = ParentName::of(reference, &key.namespace).map(|name| name.key()) else { return };
    if reader.metadata(&parent).is_none() {
        problems.warning(
            key,
            field + ".name",
            format!("{parent} does not exist, so nobody serves the route there"),
            format!("create the {}, or mend name and namespace", parent.kind),
        );
    }
}
