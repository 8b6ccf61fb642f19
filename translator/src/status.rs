//! Desired statuses. They carry no times: whoever writes them sets `lastTransitionTime` where a condition changes.

use postern_api::gateway_api::{
    Condition, ConditionStatus, GatewayClassStatus, GatewayStatus, ListenerSetStatus, ParentReference,
    PolicyAncestorStatus, PolicyStatus, RouteStatus, condition_type, reason,
};
use serde::Serialize;

use crate::Options;
use crate::object::{Kind, NamespacedName};

/// The condition of a parent of a route that is set, to `False`, while proxies refuse a host of the route: everything
/// else about the route is right, and what they served before stays.
pub const ROUTE_PROGRAMMED: &str = "postern.dev/Programmed";

/// The status that an object should have.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// Of a GatewayClass.
    GatewayClass(GatewayClassStatus),
    /// Of a Gateway.
    Gateway(GatewayStatus),
    /// Of a ListenerSet.
    ListenerSet(ListenerSetStatus),
    /// Of any route: only the parents that are ours.
    Route(RouteStatus),
    /// Of a policy: only the ancestors that are ours.
    Policy(PolicyStatus),
    /// Of a kind whose status is a list of conditions.
    Conditions(Conditions),
}

/// A status with nothing but conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Conditions {
    /// At most one condition of each type.
    pub conditions: Vec<Condition>,
}

impl Status {
    /// Every condition in the status, wherever it stands.
    pub fn conditions(&self) -> Vec<&Condition> {
        match self {
            Self::GatewayClass(status) => status.conditions.iter().collect(),
            Self::Gateway(status) => {
                let listeners = status.listeners.iter().flat_map(|l| &l.conditions);
                status.conditions.iter().chain(listeners).collect()
            }
            Self::ListenerSet(status) => {
                let listeners = status.listeners.iter().flat_map(|l| &l.conditions);
                status.conditions.iter().chain(listeners).collect()
            }
            Self::Route(status) => status.parents.iter().flat_map(|p| &p.conditions).collect(),
            Self::Policy(status) => status.ancestors.iter().flat_map(|a| &a.conditions).collect(),
            Self::Conditions(status) => status.conditions.iter().collect(),
        }
    }
}

/// A condition as the translator makes it.
pub(crate) fn condition(
    kind: &str,
    holds: bool,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
) -> Condition {
    let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
    Condition::new(kind, status, reason, message).observed(generation)
}

/// `ResolvedRefs`: `False` with this reason and message, or `True` if there are none.
pub(crate) fn resolved(unresolved: Option<&(&'static str, String)>, generation: Option<i64>) -> Condition {
    let (holds, reason, message) = match unresolved {
        Some((reason, message)) => (false, *reason, message.as_str()),
        None => (true, reason::RESOLVED_REFS, "all references resolve"),
    };
    condition(condition_type::RESOLVED_REFS, holds, reason, message, generation)
}

/// How statuses name a Gateway that the object itself does not name.
pub(crate) fn reference_to(gateway: &NamespacedName) -> ParentReference {
    ParentReference {
        group: Some(Kind::Gateway.group().to_owned()),
        kind: Some(Kind::Gateway.as_str().to_owned()),
        namespace: Some(gateway.namespace.clone()),
        name: gateway.name.clone(),
        ..ParentReference::default()
    }
}

/// What a policy on a backend says about one of the Gateways that use the backend.
pub(crate) fn ancestor(
    gateway: &NamespacedName,
    conditions: Vec<Condition>,
    options: &Options,
) -> PolicyAncestorStatus {
    PolicyAncestorStatus {
        ancestor_ref: reference_to(gateway),
        controller_name: options.controller_name.clone(),
        conditions,
    }
}
