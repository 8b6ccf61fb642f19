//! The status of an XBackend: for each Gateway that sends there, whether it can.

use std::collections::BTreeSet;

use postern_api::gateway_api::{
    Condition, PolicyAncestorStatus, PolicyStatus, XBackend, condition_type, reason,
};

use super::{parse, tls};
use crate::Options;
use crate::backend::tls_policy::Reading;
use crate::dependency::Reader;
use crate::object::ObjectKey;
use crate::problem::Problems;
use crate::status::{self, Status, condition};

/// As many entries the API server admits (`BackendStatus.ancestors`).
const MAX_ANCESTORS: usize = 32;

/// The status of the XBackend `key`; `None` if it does not exist or no Gateway of ours sends there. One that is not valid is sent
/// nothing: the routes that name it say so.
pub(crate) fn translate(
    reader: &Reader<'_>,
    key: &ObjectKey,
    options: &Options,
) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(backend) = reader.get::<XBackend>(&key.namespace, &key.name) else { return (None, problems) };
    match parse(backend) {
        Ok(parsed) => {
            if let Some(fault) = parsed.unheeded {
                problems.warning(key, fault.field, fault.message, fault.remedy);
            }
        }
        Err(fault) => {
            problems.error(key, fault.field, fault.message, fault.remedy);
            return (None, problems);
        }
    }
    let reading = tls::read(reader, backend).unwrap_or_default().reading;
    for (object, fault) in &reading.errors {
        problems.error(object, &fault.field, &fault.message, &fault.remedy);
    }
    let users: BTreeSet<_> = reader.clusters_of(key).flat_map(|(_, users)| users.gateways()).collect();
    let ancestors: Vec<PolicyAncestorStatus> = users
        .into_iter()
        .take(MAX_ANCESTORS)
        .map(|gateway| status::ancestor(gateway, conditions(&reading, backend.metadata.generation), options))
        .collect();
    ((!ancestors.is_empty()).then_some(Status::Policy(PolicyStatus { ancestors })), problems)
}

fn conditions(reading: &Reading, generation: Option<i64>) -> Vec<Condition> {
    let (holds, (reason, message)) = match &reading.not_accepted {
        Some((reason, message)) => (false, (*reason, message.as_str())),
        None => (true, (reason::ACCEPTED, "the XBackend is accepted")),
    };
    let accepted = condition(condition_type::ACCEPTED, holds, reason, message, generation);
    vec![accepted, status::resolved(reading.unresolved.as_ref(), generation)]
}
