//! `Programmed` of the listeners, of the Gateway and of its ListenerSets: what was translated, held against what the proxies say.

use postern_api::gateway_api::{
    Condition, ConditionStatus, GatewayStatus, ListenerSetStatus, ListenerStatus, condition_type, reason,
};

use super::{GatewayModel, Listener};
use crate::envoy::listener;
use crate::infrastructure::Port;
use crate::object::NamespacedName;
use crate::observation::{Answer, Observation, words};
use crate::resource::ResourceType;
use crate::status::condition;

/// The most rejected resources that one condition names.
const MOST_NAMED: usize = 3;

/// Why a Gateway is not programmed although its listeners are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The proxies of a Gateway, where their word is waited for.
pub(crate) struct Proxies<'a> {
    pub(crate) observation: &'a Observation,
    /// The present version of an Envoy listener.
    pub(crate) version: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// Completes the status of a Gateway: until now `Programmed` of a listener says that it was translated, and that of the
/// Gateway is missing.
pub(crate) fn complete(
    status: &mut GatewayStatus,
    model: Option<&GatewayModel>,
    obstacle: Option<&Obstacle>,
    proxies: Option<&Proxies<'_>>,
) {
    let generation = status.conditions.first().and_then(|accepted| accepted.observed_generation);
    let Tally { translated, programmed, mut refused, waiting } =
        listeners(&mut status.listeners, None, model, proxies);
    let invalid = obstacle.filter(|obstacle| obstacle.reason == reason::INVALID);
    let no = |reason, message: &str| not_programmed(reason, message, generation);
    let summary = match (invalid, obstacle) {
        (Some(Obstacle { reason, message }), _) => no(reason, message),
        _ if translated == 0 => no(reason::INVALID, "no listener can be served"),
        _ if programmed == 0 && !refused.is_empty() => no(reason::INVALID, &refused.join("; ")),
        (_, Some(Obstacle { reason, message })) => no(reason, message),
        _ if programmed == 0 => no(reason::PENDING, &waiting.join("; ")),
        _ => {
            refused.extend(waiting);
            refused.extend(proxies.and_then(others));
            yes(programmed, status.listeners.len(), &refused, proxies.is_some(), generation)
        }
    };
    status.conditions.push(summary);
}

/// The same for a ListenerSet: its condition speaks of its own listeners, and of its Gateway where that stands in the way
/// (GEP-1713).
pub(crate) fn complete_set(
    status: &mut ListenerSetStatus,
    set: &NamespacedName,
    model: Option<&GatewayModel>,
    obstacle: Option<&Obstacle>,
    proxies: Option<&Proxies<'_>>,
) {
    let generation = status.conditions.first().and_then(|accepted| accepted.observed_generation);
    let Tally { programmed, mut refused, waiting, .. } =
        listeners(&mut status.listeners, Some(set), model, proxies);
    let no = |reason, message: &str| not_programmed(reason, message, generation);
    let summary = match obstacle {
        Some(Obstacle { reason, message }) => no(reason, message),
        None if programmed == 0 && !refused.is_empty() => no(reason::INVALID, &refused.join("; ")),
        None if programmed == 0 => no(reason::PENDING, &waiting.join("; ")),
        None => {
            refused.extend(waiting);
            yes(programmed, status.listeners.len(), &refused, proxies.is_some(), generation)
        }
    };
    status.conditions.push(summary);
}

/// What became of the listeners of one object.
struct Tally {
    translated: usize,
    programmed: usize,
    /// Notes about those that proxies refused, all or some.
    refused: Vec<String>,
    /// Notes about those that no proxy has answered for.
    waiting: Vec<String>,
}

/// Rewrites `Programmed` of the translated listeners of a Gateway (`set` is `None`) or of a ListenerSet.
fn listeners(
    statuses: &mut [ListenerStatus],
    set: Option<&NamespacedName>,
    model: Option<&GatewayModel>,
    proxies: Option<&Proxies<'_>>,
) -> Tally {
    let programmed = |statuses: &[ListenerStatus]| {
        statuses.iter().filter_map(|l| find(&l.conditions)).filter(|c| c.is_true()).count()
    };
    let translated = programmed(statuses);
    let (mut refused, mut waiting) = (Vec::new(), Vec::new());
    if let (Some(proxies), Some(model)) = (proxies, model) {
        for listener in &mut *statuses {
            let mut own = model.listeners_of(set).iter();
            let Some(socket) = own.find(|l| l.id.name == listener.name).map(Listener::socket) else {
                continue;
            };
            let Some(condition) = listener.conditions.iter_mut().find(|c| is_programmed(c) && c.is_true())
            else {
                continue;
            };
            let verdict = judge(condition, proxies, socket);
            let note = format!("listener {}: {}", listener.name, condition.message);
            match verdict {
                Verdict::Fine => {}
                Verdict::Divided | Verdict::Refused => refused.push(note),
                Verdict::Waiting => waiting.push(note),
            }
        }
    }
    Tally { translated, programmed: programmed(statuses), refused, waiting }
}

fn not_programmed(reason: &str, message: &str, generation: Option<i64>) -> Condition {
    condition(condition_type::PROGRAMMED, false, reason, message, generation)
}

fn yes(
    programmed: usize,
    all: usize,
    notes: &[String],
    acknowledged: bool,
    generation: Option<i64>,
) -> Condition {
    let how = if acknowledged { "programmed" } else { "sent to Envoy" };
    let mut message = format!("{programmed} of {all} listeners are {how}");
    for note in notes {
        message.push_str("; ");
        message.push_str(note);
    }
    condition(condition_type::PROGRAMMED, true, reason::PROGRAMMED, message, generation)
}

/// What the proxies say of a listener.
enum Verdict {
    Fine,
    /// Some have acknowledged it, others have refused it.
    Divided,
    Refused,
    Waiting,
}

/// Rewrites `Programmed` of a translated listener to what the proxies say of it.
fn judge(condition: &mut Condition, proxies: &Proxies<'_>, socket: Port) -> Verdict {
    let name = listener::name(socket);
    let version = (proxies.version)(&name).unwrap_or_default();
    let (verdict, reason, message) = match proxies.observation.answer(&name, version) {
        Answer::Acknowledged { but: None } => {
            "the proxies have acknowledged the listener".clone_into(&mut condition.message);
            return Verdict::Fine;
        }
        Answer::Acknowledged { but: Some(rejection) } => {
            condition.message =
                format!("some proxies refused Envoy listener {name}: {}", words(&rejection.error));
            return Verdict::Divided;
        }
        Answer::Refused { by, earlier } => {
            let rest = if earlier { "its last good version stays" } else { "it is not served" };
            (
                Verdict::Refused,
                reason::INVALID,
                format!("the proxies refused Envoy listener {name}, {rest}: {}", words(&by.error)),
            )
        }
        Answer::Waiting { proxies: 0 } => {
            (Verdict::Waiting, reason::PENDING, "no proxy of the Gateway has connected yet".to_owned())
        }
        Answer::Waiting { proxies } => {
            let message = format!("{} acknowledged Envoy listener {name} yet", none_of(proxies));
            (Verdict::Waiting, reason::PENDING, message)
        }
    };
    condition.status = ConditionStatus::False;
    reason.clone_into(&mut condition.reason);
    condition.message = message;
    verdict
}

fn none_of(proxies: usize) -> String {
    if proxies == 1 { "the proxy has not".to_owned() } else { format!("none of {proxies} proxies has") }
}

/// What the proxies refused besides listeners.
fn others(proxies: &Proxies<'_>) -> Option<String> {
    let mut rejections =
        proxies.observation.rejections().iter().filter(|r| r.resource_type != ResourceType::Listener);
    let named: Vec<String> = rejections
        .by_ref()
        .take(MOST_NAMED)
        .map(|r| format!("{} {} ({})", r.resource_type.short_name(), r.name, words(&r.error)))
        .collect();
    if named.is_empty() {
        return None;
    }
    let more = match rejections.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("refused by proxies, which keep the last good version: {}{more}", named.join(", ")))
}

fn is_programmed(condition: &Condition) -> bool {
    condition.type_ == condition_type::PROGRAMMED
}

fn find(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| is_programmed(condition))
}
