//! Statuses of a Gateway and its ListenerSets as far as they follow from the objects alone.

use postern_api::gateway_api::{Condition, ListenerSetStatus, ListenerStatus, condition_type, reason};

use super::addresses::Assignment;
use super::listener_set::ListenerSetDraft;
use super::programmed::Obstacle;
use super::validate::Judged;
use crate::status::{self, condition};

/// The status of a listener, without the count of routes.
pub(super) struct Judgement {
    pub(super) status: ListenerStatus,
    /// Nothing about the listener itself keeps it from being served.
    pub(super) valid: bool,
}

/// Judges a listener of a Gateway or, if `of_set`, of a ListenerSet. `usable` if the Gateway has an address to serve it at.
pub(super) fn listener(
    judged: &mut Judged,
    usable: bool,
    of_set: bool,
    generation: Option<i64>,
) -> Judgement {
    let state = judged.conditions();
    let accepted = match (&state.not_accepted, &state.conflicted) {
        (Some((reason, message)), _) | (None, Some((reason, message))) => {
            condition(condition_type::ACCEPTED, false, reason, message, generation)
        }
        (None, None) => condition(
            condition_type::ACCEPTED,
            true,
            reason::ACCEPTED,
            "the listener is accepted",
            generation,
        ),
    };
    let conflicted = match &state.conflicted {
        Some((reason, message)) => condition(condition_type::CONFLICTED, true, reason, message, generation),
        None => condition(
            condition_type::CONFLICTED,
            false,
            reason::NO_CONFLICTS,
            "no other listener claims the same hosts",
            generation,
        ),
    };
    let resolved = status::resolved(state.unresolved.as_ref(), generation);
    let refused = state.not_accepted.as_ref().or(state.conflicted.as_ref());
    let fault = refused.map(|(_, message)| message).or(state.not_programmed.as_ref()).cloned();
    let valid = fault.is_none();
    let blocked = fault.or_else(|| (!usable).then(|| "the Gateway has no usable address".to_owned()));
    let programmed = match &blocked {
        Some(message) => {
            // The reasons that the specification has for listeners of Gateways and of ListenerSets differ.
            let of_set = refused.filter(|(reason, _)| of_set && EXPLAIN_THEMSELVES.contains(reason));
            let reason = of_set.map_or(reason::INVALID, |(reason, _)| reason);
            condition(condition_type::PROGRAMMED, false, reason, message, generation)
        }
        None => condition(
            condition_type::PROGRAMMED,
            true,
            reason::PROGRAMMED,
            "the listener is sent to Envoy",
            generation,
        ),
    };
    let overlapping = state.overlapping.as_ref().map(|(reason, message)| {
        condition(condition_type::OVERLAPPING_TLS_CONFIG, true, reason, message, generation)
    });
    if let Some(draft) = &mut judged.draft {
        draft.listener.serving = blocked.is_none();
    }
    let status = ListenerStatus {
        name: judged.name.clone(),
        supported_kinds: judged.supported_kinds.clone(),
        attached_routes: 0,
        conditions: [accepted, conflicted, programmed, resolved].into_iter().chain(overlapping).collect(),
    };
    Judgement { status, valid }
}

/// Reasons of `Accepted` that `Programmed` of a listener of a ListenerSet repeats (GEP-1713, and the conformance tests).
const EXPLAIN_THEMSELVES: [&str; 3] =
    [reason::PORT_UNAVAILABLE, reason::HOSTNAME_CONFLICT, reason::PROTOCOL_CONFLICT];

/// `Accepted` of the Gateway.
pub(super) fn of_gateway(
    listeners: &[ListenerStatus],
    refused: Option<(&'static str, String)>,
    generation: Option<i64>,
) -> Condition {
    let is_accepted = |listener: &ListenerStatus| {
        listener.conditions.iter().any(|c| c.type_ == condition_type::ACCEPTED && c.is_true())
    };
    let rejected: Vec<&str> = listeners.iter().filter(|l| !is_accepted(l)).map(|l| l.name.as_str()).collect();
    let (holds, reason, message) = match refused {
        Some((reason, message)) => (false, reason, message),
        None if !listeners.is_empty() && rejected.len() == listeners.len() => {
            (false, reason::LISTENERS_NOT_VALID, "no listener is valid".to_owned())
        }
        None if !rejected.is_empty() => {
            (true, reason::LISTENERS_NOT_VALID, format!("not valid: listener {}", rejected.join(", ")))
        }
        None => (true, reason::ACCEPTED, "the Gateway is accepted".to_owned()),
    };
    condition(condition_type::ACCEPTED, holds, reason, message, generation)
}

/// `ResolvedRefs` of the Gateway: its own references, and in sum those of its listeners.
pub(super) fn resolved(
    listeners: &[ListenerStatus],
    unresolved: Option<(&'static str, String)>,
    generation: Option<i64>,
) -> Condition {
    let is_unresolved = |listener: &&ListenerStatus| {
        listener.conditions.iter().any(|c| c.type_ == condition_type::RESOLVED_REFS && !c.is_true())
    };
    let names: Vec<&str> = listeners.iter().filter(is_unresolved).map(|l| l.name.as_str()).collect();
    let of_listeners = || {
        (reason::LISTENERS_NOT_RESOLVED, format!("references do not resolve: listener {}", names.join(", ")))
    };
    let unresolved = unresolved.or_else(|| (!names.is_empty()).then(of_listeners));
    status::resolved(unresolved.as_ref(), generation)
}

/// `AddressesAssigned` (GEP-5093).
pub(super) fn addresses_assigned(assignment: &Assignment, generation: Option<i64>) -> Condition {
    let (holds, reason, message) = match assignment {
        Assignment::All => (true, reason::ADDRESSES_ASSIGNED, "the Gateway has its addresses"),
        Assignment::Some(message) => (false, reason::PARTIALLY_ASSIGNED, message.as_str()),
        Assignment::None(message) => (false, reason::NOT_ASSIGNED, message.as_str()),
    };
    condition(condition_type::ADDRESSES_ASSIGNED, holds, reason, message, generation)
}

/// `DefaultGateway`, which only default Gateways have (GEP-3793).
pub(super) fn default_gateway(generation: Option<i64>) -> Condition {
    let message = "routes that ask for default Gateways attach: the scope is All";
    condition(condition_type::DEFAULT_GATEWAY, true, reason::DEFAULT_GATEWAY, message, generation)
}

/// Of a ListenerSet: its status without `Programmed` and without the counts of routes, and what keeps it from being programmed
/// besides what the proxies say. `parent_refused` is why its Gateway is not accepted for a reason that is not about listeners:
/// a listener of the Gateway that is not valid costs no ListenerSet anything.
pub(super) fn of_set(
    set: &ListenerSetDraft,
    judgements: Vec<Judgement>,
    parent_refused: Option<&str>,
    parent_obstacle: Option<&Obstacle>,
) -> (ListenerSetStatus, Option<Obstacle>) {
    let obstacle = |reason, message: String| Some(Obstacle { reason, message });
    let invalid: Vec<&str> = judgements.iter().filter(|j| !j.valid).map(|j| j.status.name.as_str()).collect();
    let (holds, reason, message, obstacle) = if let Some(message) = &set.refused {
        (false, reason::NOT_ALLOWED, message.clone(), obstacle(reason::NOT_ALLOWED, message.clone()))
    } else if let Some(why) = parent_refused {
        let message = format!("Gateway {} is not accepted: {why}", set.gateway);
        let obstacle = obstacle(reason::PARENT_NOT_PROGRAMMED, message.clone());
        (false, reason::PARENT_NOT_ACCEPTED, message, obstacle)
    } else if invalid.len() == judgements.len() {
        let message = "no listener is valid".to_owned();
        let obstacle = obstacle(reason::LISTENERS_NOT_VALID, message.clone());
        (false, reason::LISTENERS_NOT_VALID, message, obstacle)
    } else {
        let (reason, message) = if invalid.is_empty() {
            (reason::ACCEPTED, "the ListenerSet is accepted".to_owned())
        } else {
            (reason::LISTENERS_NOT_VALID, format!("not valid: listener {}", invalid.join(", ")))
        };
        let of_parent = parent_obstacle.map(|it| Obstacle {
            reason: reason::PARENT_NOT_PROGRAMMED,
            message: format!("Gateway {} is not programmed: {}", set.gateway, it.message),
        });
        (true, reason, message, of_parent)
    };
    let accepted = condition(condition_type::ACCEPTED, holds, reason, message, set.generation);
    let listeners = judgements.into_iter().map(|judgement| judgement.status).collect();
    (ListenerSetStatus { conditions: vec![accepted], listeners }, obstacle)
}
