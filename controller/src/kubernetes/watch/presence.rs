//! When to believe that a kind is served, and when that it is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_translator::Kind;
use tokio::sync::watch;

use super::batch::Closed;
use super::resource::{Served, is_optional};

/// How often discovery has to say that a kind is not served.
const TIMES: u32 = 3;

/// What is known of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nothing yet.
    Unknown,
    /// It is not served.
    Absent,
    /// It is served, like this.
    Served(Served),
}

/// Follows a built-in kind that nobody needs but those who serve another one: it counts as served from when that is.
pub(super) async fn follow(
    kind: Kind,
    mut other: watch::Receiver<Presence>,
    sender: watch::Sender<Presence>,
) -> Result<(), Closed> {
    loop {
        let presence = match *other.borrow_and_update() {
            Presence::Served(_) => Served::built_in(kind).map_or(Presence::Absent, Presence::Served),
            Presence::Absent => Presence::Absent,
            Presence::Unknown => Presence::Unknown,
        };
        sender.send_if_modified(|now| {
            let news = *now != presence && !matches!(now, Presence::Served(_));
            if news {
                *now = presence;
            }
            news
        });
        other.changed().await.map_err(|_| Closed)?;
    }
}

/// What one look at the API server has shown.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// How each kind is served; kinds that are not are missing.
    pub(super) served: BTreeMap<Kind, Served>,
    /// The API server says of itself that it is ready, which includes that it knows of all its CustomResourceDefinitions.
    pub(super) ready: bool,
}

/// Draws conclusions from looks.
#[derive(Debug)]
pub(super) struct Presences {
    absence: Duration,
    states: BTreeMap<Kind, State>,
}

#[derive(Debug)]
struct State {
    presence: Presence,
    /// Since when, and how often, the kind was not there.
    missing: Option<(Instant, u32)>,
}

impl Presences {
    /// Of these kinds; a kind that was served is believed to be gone after `absence`.
    pub(super) fn new(kinds: impl IntoIterator<Item = Kind>, absence: Duration) -> Self {
        let state = |kind| (kind, State { presence: Presence::Unknown, missing: None });
        Self { absence, states: kinds.into_iter().map(state).collect() }
    }

    /// True if every kind is served that a good cluster has.
    pub(super) fn is_complete(&self) -> bool {
        self.states
            .iter()
            .all(|(kind, state)| is_optional(*kind) || matches!(state.presence, Presence::Served(_)))
    }

    /// Takes a look into account; returns what is known now and was not before.
    ///
    /// That a kind is served is believed at once. That it is not is believed at the beginning if the API server is ready, and
    /// else, as of a kind that was served, only when it was said often and for long.
    pub(super) fn observe(&mut self, mut look: Look, now: Instant) -> Vec<(Kind, Presence)> {
        let mut changes = Vec::new();
        for (kind, state) in &mut self.states {
            let presence = if let Some(served) = look.served.remove(kind) {
                state.missing = None;
                Presence::Served(served)
            } else {
                let (since, times) = state.missing.get_or_insert((now, 0));
                *times += 1;
                let confirmed = *times >= TIMES && now.duration_since(*since) >= self.absence;
                let at_once = state.presence == Presence::Unknown && look.ready;
                if !(confirmed || at_once) {
                    continue;
                }
                Presence::Absent
            };
            if state.presence != presence {
                state.presence = presence.clone();
                changes.push((*kind, presence));
            }
        }
        changes
    }

    /// A look that failed says nothing, and what was said before has to be said again.
    pub(super) fn unknown(&mut self) {
        for state in self.states.values_mut() {
            state.missing = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 2] = [Kind::Gateway, Kind::TcpRoute];

    fn look(kinds: &[Kind], ready: bool) -> Look {
        let served =
            |kind: &Kind| (*kind, Served { kind: *kind, version: "v1".into(), plural: String::new() });
        Look { served: kinds.iter().map(served).collect(), ready }
    }

    fn told(changes: &[(Kind, Presence)]) -> String {
        let word = |(kind, presence): &(Kind, Presence)| match presence {
            Presence::Served(served) => format!("{kind} {}", served.version),
            other => format!("{kind} {other:?}"),
        };
        changes.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_ready_server_is_believed_at_the_beginning() {
        let mut presences = Presences::new(KINDS, Duration::from_secs(30));
        let now = Instant::now();
        assert_eq!(
            told(&presences.observe(look(&[Kind::Gateway], true), now)),
            "Gateway v1, TCPRoute Absent"
        );
        assert!(!presences.is_complete());
        assert_eq!(told(&presences.observe(look(&KINDS, true), now)), "TCPRoute v1");
        assert!(presences.is_complete());
        assert!(presences.observe(look(&KINDS, true), now).is_empty());
    }

    #[test]
    fn a_server_that_is_not_ready_has_to_insist() {
        let mut presences = Presences::new(KINDS, Duration::from_secs(30));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told(&presences.observe(look(&[], false), at(0))), "");
        assert_eq!(told(&presences.observe(look(&[Kind::Gateway], false), at(1))), "Gateway v1");
        assert_eq!(told(&presences.observe(look(&[Kind::Gateway], false), at(40))), "TCPRoute Absent");
    }

    #[test]
    fn a_kind_that_was_served_goes_only_when_that_is_said_for_long_and_without_a_gap() {
        let mut presences = Presences::new(KINDS, Duration::from_secs(30));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        presences.observe(look(&KINDS, true), at(0));
        assert_eq!(told(&presences.observe(look(&[], true), at(10))), "");
        assert_eq!(told(&presences.observe(look(&[], true), at(25))), "");
        presences.unknown();
        assert_eq!(told(&presences.observe(look(&[], true), at(45))), "", "the server was away in between");
        assert_eq!(told(&presences.observe(look(&[], true), at(80))), "", "long, but not often");
        assert_eq!(told(&presences.observe(look(&[Kind::Gateway], true), at(81))), "TCPRoute Absent");
        assert_eq!(told(&presences.observe(look(&KINDS, true), at(82))), "TCPRoute v1");
    }

    #[test]
    fn another_version_is_told() {
        let mut presences = Presences::new([Kind::Gateway], Duration::from_secs(30));
        presences.observe(look(&KINDS, true), Instant::now());
        let mut other = look(&[Kind::Gateway], true);
        if let Some(served) = other.served.get_mut(&Kind::Gateway) {
            served.version = "v1beta1".into();
        }
        assert_eq!(told(&presences.observe(other, Instant::now())), "Gateway v1beta1");
    }
}
