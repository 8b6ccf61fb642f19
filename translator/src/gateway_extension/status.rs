//! The status of a GatewayExtension: whether it can be read, and whether its service can be found.

use postern_api::gateway_api::{condition_type, reason};
use postern_api::kgateway::GatewayExtension;

use super::Provider;
use crate::dependency::Reader;
use crate::object::ObjectKey;
use crate::problem::Problems;
use crate::status::{Conditions, Status, condition, resolved};

/// The status of the extension `key`; `None` if it does not exist.
pub(crate) fn translate(reader: &Reader<'_>, key: &ObjectKey) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(object) = reader.get::<GatewayExtension>(&key.namespace, &key.name) else {
        return (None, problems);
    };
    let generation = object.metadata.generation;
    let conditions = match Provider::parse(object) {
        Err(fault) => {
            let message = format!("{}: {}", fault.field, fault.message);
            problems.error(key, fault.field, fault.message, fault.remedy);
            vec![condition(condition_type::ACCEPTED, false, reason::INVALID, message, generation)]
        }
        Ok(provider) => {
            let message = format!("the {} is valid", key.kind);
            let accepted = condition(condition_type::ACCEPTED, true, reason::ACCEPTED, message, generation);
            let unresolved = provider.service().cluster(reader, key).err().map(|why| {
                let field = provider.service().field(why.field);
                problems.error(key, field, &why.message, &why.remedy);
                (why.reason, why.message)
            });
            vec![accepted, resolved(unresolved.as_ref(), generation)]
        }
    };
    (Some(Status::Conditions(Conditions { conditions })), problems)
}
