//! Extension resources that others refer to: is the object itself valid? And kinds that are read but not carried
//! out: they are reported, since ignoring them silently would be worse.

use postern_api::gateway_api::{condition_type, reason};
use postern_api::kgateway::{Backend, DirectResponse};

use crate::backend::static_backend;
use crate::dependency::Reader;
use crate::object::{Kind, ObjectKey};
use crate::problem::{Fault, Problems};
use crate::route::filters;
use crate::status::{Conditions, Status, condition};

/// The status of a Backend or a DirectResponse; `None` if it does not exist.
pub(crate) fn translate(reader: &Reader<'_>, key: &ObjectKey) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let (generation, fault) = match key.kind {
        Kind::Backend => {
            let Some(object) = reader.get::<Backend>(&key.namespace, &key.name) else {
                return (None, problems);
            };
            (object.metadata.generation, static_backend::parse(object).err())
        }
        Kind::DirectResponse => {
            let Some(object) = reader.get::<DirectResponse>(&key.namespace, &key.name) else {
                return (None, problems);
            };
            (object.metadata.generation, filters::answer(object).err())
        }
        kind => {
            if reader.labels(key).is_some() {
                problems.error(
                    key,
                    "kind",
                    format!("this version of Postern does not carry out {kind}"),
                    "remove the object, or use another version",
                );
            }
            return (None, problems);
        }
    };
    let accepted = match &fault {
        None => condition(
            condition_type::ACCEPTED,
            true,
            reason::ACCEPTED,
            format!("the {} is valid", key.kind),
            generation,
        ),
        Some(Fault { field, message, .. }) => condition(
            condition_type::ACCEPTED,
            false,
            reason::INVALID,
            format!("{field}: {message}"),
            generation,
        ),
    };
    if let Some(Fault { field, message, remedy }) = fault {
        problems.error(key, field, message, remedy);
    }
    (Some(Status::Conditions(Conditions { conditions: vec![accepted] })), problems)
}
