//! Kinds that this version reads and does not carry out. Whoever made such an object learns it from its status and from a problem;
//! ignoring the object silently would be worse.

use postern_api::gateway_api::{condition_type, reason};

use crate::dependency::Reader;
use crate::object::{Kind, ObjectKey};
use crate::problem::Problems;
use crate::status::{Conditions, Status, condition};

/// The status of an object of such a kind; `None` if it does not exist.
pub(crate) fn translate(reader: &Reader<'_>, key: &ObjectKey) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(metadata) = reader.metadata(key) else { return (None, problems) };
    let message = format!("this version of Postern does not carry out {}", key.kind);
    problems.error(key, "kind", &message, "remove the object, or use another version");
    let status = match key.kind {
        Kind::AiBackend => {
            let refused =
                condition(condition_type::ACCEPTED, false, reason::UNSUPPORTED, message, metadata.generation);
            Some(Status::Conditions(Conditions { conditions: vec![refused] }))
        }
        // What these are about cannot be told without carrying them out; routes to their targets say what is missing.
        _ => None,
    };
    (status, problems)
}
