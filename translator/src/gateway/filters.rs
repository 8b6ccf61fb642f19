//! Filters of a listener: whom every request has to pass before its route is chosen (GEP-5224).
//!
//! A listener with a filter that cannot be carried out is not served: a request must never get around one.

use postern_api::gateway_api::{HttpRouteFilter, HttpRouteFilterType, Listener as ListenerSpec, reason};

use super::{ListenerConditions, Protocol};
use crate::dependency::Reader;
use crate::envoy::slot::BEFORE_ROUTING;
use crate::external_auth::{self, Error, ExternalAuth};
use crate::object::ObjectKey;
use crate::problem::{Fault, Problems};

/// Reads the filters of one listener, in their order.
pub(super) fn resolve(
    reader: &Reader<'_>,
    object: &ObjectKey,
    field: &str,
    spec: &ListenerSpec,
    protocol: Protocol,
    conditions: &mut ListenerConditions,
    problems: &mut Problems,
) -> Vec<ExternalAuth> {
    let Some(filters) = &spec.filters else { return Vec::new() };
    let field = format!("{field}.filters");
    let refuse = |conditions: &mut ListenerConditions, problems: &mut Problems, fault: Fault| {
        let fault = fault.within(&field);
        problems.error(object, fault.field, &fault.message, fault.remedy);
        conditions.not_accepted.get_or_insert((reason::UNSUPPORTED_VALUE, fault.message));
    };
    if !protocol.takes_http() {
        let fault =
            Fault::new("", "only requests have filters", "remove them, or use protocol HTTP or HTTPS");
        refuse(conditions, problems, fault);
        return Vec::new();
    }
    let most = BEFORE_ROUTING.len();
    if filters.requests.len() > most {
        let message = format!("there are {} filters", filters.requests.len());
        refuse(conditions, problems, Fault::new(".requests", message, format!("use at most {most}")));
        return Vec::new();
    }
    let mut out = Vec::new();
    for (index, filter) in filters.requests.iter().enumerate() {
        let at = format!(".requests[{index}]");
        match one(reader, object, filter) {
            Ok(auth) => out.push(auth),
            Err(Error::Invalid(fault)) => refuse(conditions, problems, fault.within(&at)),
            Err(Error::Unresolved(why)) => {
                let at = format!("{field}{at}.externalAuth.backendRef{}", why.field);
                problems.error(object, at, &why.message, why.remedy);
                let message = format!("it has to ask for authorization, but {}", why.message);
                conditions.not_programmed.get_or_insert(message);
                conditions.unresolved.get_or_insert((why.reason, why.message));
            }
        }
    }
    out
}

fn one(reader: &Reader<'_>, object: &ObjectKey, filter: &HttpRouteFilter) -> Result<ExternalAuth, Error> {
    match (&filter.type_, &filter.external_auth) {
        (HttpRouteFilterType::ExternalAuth, Some(spec)) => external_auth::parse(reader, object, spec)
            .map_err(|error| match error {
                Error::Invalid(fault) => Error::Invalid(fault.within(".externalAuth")),
                unresolved @ Error::Unresolved(_) => unresolved,
            }),
        (HttpRouteFilterType::ExternalAuth, None) => Err(Error::Invalid(Fault::new(
            ".externalAuth",
            "a filter of type ExternalAuth needs externalAuth",
            "add externalAuth",
        ))),
        (other, _) => Err(Error::Invalid(Fault::new(
            ".type",
            format!("filters of type {other} are not supported on a listener"),
            "use ExternalAuth; other filters belong to routes",
        ))),
    }
}
