//! Listeners against each other: those of one port must speak one family of protocols and differ in hostname.
//!
//! The Gateway comes first, then its ListenerSets from the oldest to the youngest (GEP-1713): what one of them claims is
//! taken for those that follow. Of the listeners of one object none is picked as the winner (Gateway API, "Handling indistinct
//! Listeners"); what they quarrel about stays empty, so that nobody inherits the hosts of a Gateway through a mistake in it.

use std::collections::{BTreeMap, BTreeSet};

use postern_api::gateway_api::reason;

use super::protocol::Family;
use super::{Draft, Level, Listener, ListenerId, Protocol};
use crate::hostname::Hostname;
use crate::infrastructure::Port;
use crate::object::{Kind, ObjectKey};
use crate::problem::Problems;

/// Marks conflicts and overlapping TLS hostnames; `levels` are in order of precedence.
pub(super) fn mark(levels: &mut [Level], problems: &mut Problems) {
    let mut taken = Claims::default();
    for level in &mut *levels {
        mark_each(level, problems, |_, listener| taken.conflict(listener));
        let claims = Claims::of(level);
        mark_each(level, problems, |index, listener| claims.quarrel(index, listener));
        taken.add(claims);
    }
    mark_overlaps(levels);
}

/// Marks the listeners of `level` for which there is a `conflict`, as far as they have none yet.
fn mark_each(
    level: &mut Level,
    problems: &mut Problems,
    conflict: impl Fn(usize, &Listener) -> Option<Conflict>,
) {
    for (index, (field, judged)) in level.listeners.iter_mut().enumerate() {
        let Some(draft) = judged.draft.as_mut().filter(|draft| draft.conditions.conflicted.is_none()) else {
            continue;
        };
        let listener = &draft.listener;
        let Some(Conflict { reason, at, with, remedy }) = conflict(index, listener) else { continue };
        let message = match with {
            With::Protocol => format!("listeners of different protocols share port {}", listener.port),
            With::Listener(other) => {
                let port = format!("{} has the same port {}", called(&other, &level.key), listener.port);
                match at {
                    "hostname" => format!("{port} and the same hostname {}", listener.hostname),
                    _ => port,
                }
            }
        };
        problems.error(&level.key, format!("{field}.{at}"), &message, remedy);
        draft.conditions.conflicted = Some((reason, message));
    }
}

/// What listeners ask for that conflict with nobody before them.
#[derive(Default)]
struct Claims {
    families: BTreeMap<Port, BTreeSet<Family>>,
    /// The listeners that ask for a hostname of a port, each with its index.
    hosts: BTreeMap<(Port, Hostname), Vec<(usize, ListenerId)>>,
}

struct Conflict {
    reason: &'static str,
    /// The field that would have to be another.
    at: &'static str,
    with: With,
    remedy: &'static str,
}

enum With {
    /// Others of the port speak another family of protocols.
    Protocol,
    Listener(ListenerId),
}

impl Claims {
    fn of(level: &Level) -> Self {
        let mut out = Self::default();
        for (index, (_, judged)) in level.listeners.iter().enumerate() {
            let free = judged.draft.as_ref().filter(|draft| draft.conditions.conflicted.is_none());
            let Some(Draft { listener, .. }) = free else { continue };
            let socket = listener.socket();
            out.families.entry(socket).or_default().insert(listener.protocol.family());
            let host = (socket, listener.hostname.clone());
            out.hosts.entry(host).or_default().push((index, listener.id.clone()));
        }
        out
    }

    /// What keeps `listener` from having what others have claimed before it.
    fn conflict(&self, listener: &Listener) -> Option<Conflict> {
        let socket = listener.socket();
        let family = listener.protocol.family();
        if self.families.get(&socket)?.iter().any(|other| *other != family) {
            return Some(Conflict::of_protocols());
        }
        let (_, other) = self.hosts.get(&(socket, listener.hostname.clone()))?.first()?;
        Some(Conflict::between(family, other))
    }

    /// What keeps one of these listeners from having what it claims together with others of them.
    fn quarrel(&self, index: usize, listener: &Listener) -> Option<Conflict> {
        let socket = listener.socket();
        if self.families.get(&socket)?.len() > 1 {
            return Some(Conflict::of_protocols());
        }
        let mut same = self.hosts.get(&(socket, listener.hostname.clone()))?.iter();
        let (_, other) = same.find(|(other, _)| *other != index)?;
        Some(Conflict::between(listener.protocol.family(), other))
    }

    /// Takes in what comes after these and does not conflict with them.
    fn add(&mut self, later: Self) {
        for (socket, families) in later.families {
            self.families.entry(socket).or_default().extend(families);
        }
        self.hosts.extend(later.hosts);
    }
}

impl Conflict {
    const fn of_protocols() -> Self {
        Self {
            reason: reason::PROTOCOL_CONFLICT,
            at: "port",
            with: With::Protocol,
            remedy: "give each protocol a port of its own",
        }
    }

    fn between(family: Family, other: &ListenerId) -> Self {
        let (reason, at, remedy) = match family {
            Family::Http | Family::Tls => {
                (reason::HOSTNAME_CONFLICT, "hostname", "give each listener of a port its own hostname")
            }
            Family::Tcp | Family::Udp => {
                (reason::PROTOCOL_CONFLICT, "port", "give each TCP and each UDP listener a port of its own")
            }
        };
        Self { reason, at, with: With::Listener(other.clone()), remedy }
    }
}

/// How a listener is called towards those who can read `own`: what other namespaces have is none of their business.
fn called(other: &ListenerId, own: &ObjectKey) -> String {
    let name = &other.name;
    match &other.set {
        None if own.kind == Kind::Gateway => format!("listener {name}"),
        None => format!("listener {name} of the Gateway"),
        Some(set) if own.kind == Kind::ListenerSet && *set == own.namespaced_name() => {
            format!("listener {name}")
        }
        Some(set) if own.kind == Kind::Gateway || set.namespace == own.namespace => {
            format!("listener {name} of ListenerSet {set}")
        }
        Some(_) => "a listener of a ListenerSet in another namespace".to_owned(),
    }
}

/// Marks HTTPS listeners of one port whose hostnames overlap (GEP-3567).
fn mark_overlaps(levels: &mut [Level]) {
    let mut owners: BTreeMap<(Port, Hostname), ListenerId> = BTreeMap::new();
    for draft in levels.iter().flat_map(|level| &level.listeners).filter_map(|(_, it)| it.draft.as_ref()) {
        if is_served_with_tls(draft) {
            let at = (draft.listener.socket(), draft.listener.hostname.clone());
            owners.entry(at).or_insert_with(|| draft.listener.id.clone());
        }
    }
    // For each hostname that covers others, the first of these.
    let mut narrower: BTreeMap<(Port, Hostname), (Port, Hostname)> = BTreeMap::new();
    let wider = |(port, hostname): &(Port, Hostname)| {
        let wider = hostname.and_wider().skip(1).map(|wider| (*port, wider));
        wider.filter(|at| owners.contains_key(at)).collect::<Vec<_>>()
    };
    for at in owners.keys() {
        for wider in wider(at) {
            narrower.entry(wider).or_insert_with(|| at.clone());
        }
    }
    for level in levels {
        for draft in level.listeners.iter_mut().filter_map(|(_, judged)| judged.draft.as_mut()) {
            let at = (draft.listener.socket(), draft.listener.hostname.clone());
            if !is_served_with_tls(draft) {
                continue;
            }
            let Some(with) = wider(&at).into_iter().next().or_else(|| narrower.get(&at).cloned()) else {
                continue;
            };
            let other = called(&owners[&with], &level.key);
            let message = format!(
                "hostname {} overlaps with {} of {other}; requests on a connection made for the other are answered 421",
                at.1, with.1
            );
            draft.conditions.overlapping = Some((reason::OVERLAPPING_HOSTNAMES, message));
        }
    }
}

fn is_served_with_tls(draft: &Draft) -> bool {
    draft.listener.protocol == Protocol::Https && draft.conditions.conflicted.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::{World, yaml};
    use crate::gateway::validate;

    fn level(kind: Kind, name: &str, listeners: &str) -> Level {
        let world = World::default();
        let key = ObjectKey::new(kind, "a", name);
        let judge = |(index, spec): (usize, &postern_api::gateway_api::Listener)| {
            let field = format!("spec.listeners[{index}]");
            let (options, mut problems) = (crate::Options::default(), Problems::default());
            let (reader, mut secrets) = (world.reader(), BTreeMap::new());
            let judged =
                validate::listener(&reader, &key, &field, spec, &options, &mut secrets, &mut problems);
            (field, judged)
        };
        let specs = yaml::<Vec<postern_api::gateway_api::Listener>>(listeners);
        Level { key: key.clone(), generation: None, listeners: specs.iter().enumerate().map(judge).collect() }
    }

    /// What became of each listener: reason and message of its conflict or of its overlap, or nothing.
    fn marked(levels: &mut [Level]) -> Vec<Option<(&'static str, String)>> {
        let mut problems = Problems::default();
        mark(levels, &mut problems);
        let all: Vec<_> = levels.iter().flat_map(|l| &l.listeners).map(|(_, l)| l.conditions()).collect();
        let conflicts = all.iter().filter(|conditions| conditions.conflicted.is_some()).count();
        assert_eq!(problems.iter().count(), conflicts, "each conflict is a problem, an overlap is none");
        all.iter().map(|c| c.conflicted.clone().or_else(|| c.overlapping.clone())).collect()
    }

    fn marks(listeners: &str) -> Vec<&'static str> {
        let marks = marked(&mut [level(Kind::Gateway, "g", listeners)]);
        marks.into_iter().map(|mark| mark.map_or("", |(reason, _)| reason)).collect()
    }

    /// GEP-1713: the Gateway goes first, then older sets; the first is served, the others are refused.
    #[test]
    fn earlier_objects_take_precedence() {
        let http = |name: &str, port, hostname: &str| listener(name, port, "HTTP", hostname);
        let (host, protocol) = (reason::HOSTNAME_CONFLICT, reason::PROTOCOL_CONFLICT);
        for (gateway, first, second, expected) in [
            // The place of the Gateway, that of the first set, and one that is free.
            (
                vec![http("g", 80, "x.y")],
                vec![http("a", 80, "x.y"), http("b", 80, "z.y")],
                vec![http("a", 80, "z.y"), http("b", 80, "w.y")],
                vec!["", host, "", host, ""],
            ),
            // The protocol of a port is taken too.
            (
                vec![http("g", 80, "x.y")],
                vec![listener("a", 80, "HTTPS", "z.y"), listener("b", 81, "HTTPS", "z.y")],
                vec![http("a", 81, "z.y"), http("b", 80, "z.y")],
                vec!["", protocol, "", protocol, ""],
            ),
            // What conflicts with the Gateway does not drag others of its set along.
            (
                vec![http("g", 80, "x.y")],
                vec![listener("a", 80, "HTTPS", "z.y"), http("b", 80, "z.y")],
                vec![http("a", 80, "z.y"), http("b", 80, "w.y")],
                vec!["", protocol, "", host, ""],
            ),
            // Those that quarrel among themselves leave their place to nobody.
            (
                vec![http("g", 80, "x.y"), http("h", 80, "x.y")],
                vec![http("a", 80, "x.y"), http("b", 80, "z.y")],
                vec![http("a", 80, "z.y")],
                vec![host, host, host, "", host],
            ),
            (
                vec![http("g", 80, "x.y"), listener("h", 80, "HTTPS", "z.y")],
                vec![http("a", 80, "w.y"), listener("b", 80, "HTTPS", "w.y")],
                vec![],
                vec![protocol; 4],
            ),
            // What is refused claims nothing.
            (
                vec![http("g", 80, "x.y")],
                vec![listener("a", 80, "HTTPS", "z.y"), listener("b", 80, "SMTP", "w.y")],
                vec![http("a", 80, "z.y"), http("b", 80, "w.y")],
                vec!["", protocol, "", "", ""],
            ),
        ] {
            let text = |listeners: &[String]| format!("[{}]", listeners.join(", "));
            let mut levels = [
                level(Kind::Gateway, "g", &text(&gateway)),
                level(Kind::ListenerSet, "first", &text(&first)),
                level(Kind::ListenerSet, "second", &text(&second)),
            ];
            let marks = marked(&mut levels);
            let reasons: Vec<&str> = marks.iter().map(|m| m.as_ref().map_or("", |m| m.0)).collect();
            assert_eq!(reasons, expected, "{gateway:?} {first:?} {second:?}");
        }
    }

    /// Who reads the status of a set learns nothing of other namespaces.
    #[test]
    fn a_set_does_not_hear_of_other_namespaces() {
        let mut levels = [
            level(Kind::Gateway, "g", &format!("[{}]", listener("g", 443, "HTTPS", "*.y"))),
            level(Kind::ListenerSet, "s", &format!("[{}]", listener("l", 443, "HTTPS", "x.y"))),
            level(Kind::ListenerSet, "same", &format!("[{}]", listener("m", 443, "HTTPS", "x.y"))),
            level(Kind::ListenerSet, "other", &format!("[{}]", listener("m", 443, "HTTPS", "x.y"))),
        ];
        levels[3].key.namespace = "b".to_owned();
        let messages: Vec<String> =
            marked(&mut levels).into_iter().map(|mark| mark.map_or(String::new(), |m| m.1)).collect();
        let start =
            |index: usize| messages[index].split_once(';').map_or(messages[index].as_str(), |it| it.0);
        assert_eq!(start(0), "hostname *.y overlaps with x.y of listener l of ListenerSet a/s");
        assert_eq!(start(1), "hostname x.y overlaps with *.y of listener g of the Gateway");
        let same = "has the same port 443 and the same hostname x.y";
        assert_eq!(start(2), format!("listener l of ListenerSet a/s {same}"));
        assert_eq!(start(3), format!("a listener of a ListenerSet in another namespace {same}"));
    }

    fn listener(name: &str, port: u16, protocol: &str, hostname: &str) -> String {
        format!("{{name: {name}, port: {port}, protocol: {protocol}, hostname: '{hostname}'}}")
    }

    #[test]
    fn listeners_of_a_port_differ_in_hostname() {
        let http = |name: &str, port, hostname: &str| listener(name, port, "HTTP", hostname);
        let conflict = reason::HOSTNAME_CONFLICT;
        for (listeners, expected) in [
            (vec![http("a", 80, ""), http("b", 81, "")], vec!["", ""]),
            (vec![http("a", 80, "x.y"), http("b", 80, "*.y"), http("c", 80, "")], vec!["", "", ""]),
            (
                vec![http("a", 80, "x.y"), http("b", 80, "x.y"), http("c", 80, "z.y")],
                vec![conflict, conflict, ""],
            ),
            (vec![http("a", 80, "x.y"), http("b", 80, "X.Y")], vec![conflict, conflict]),
            (vec![http("a", 80, ""), http("b", 80, "*")], vec![conflict, conflict]),
            (vec![http("a", 80, "*.y"), http("b", 80, "*.y"), http("c", 80, "*.y")], vec![conflict; 3]),
        ] {
            assert_eq!(marks(&format!("[{}]", listeners.join(", "))), expected, "{listeners:?}");
        }
    }

    #[test]
    fn listeners_of_a_port_share_the_protocol() {
        let conflict = reason::PROTOCOL_CONFLICT;
        let mixed = [
            listener("a", 80, "HTTP", "x.y"),
            listener("b", 80, "HTTPS", "z.y"),
            listener("c", 81, "HTTPS", "z.y"),
        ];
        assert_eq!(marks(&format!("[{}]", mixed.join(", "))), [conflict, conflict, ""]);
        // A listener that is refused for itself takes nobody's place.
        let refused = [listener("a", 80, "HTTP", "x.y"), listener("b", 80, "SMTP", "x.y")];
        assert_eq!(marks(&format!("[{}]", refused.join(", "))), ["", ""]);
    }

    /// GEP-3567: overlapping TLS hostnames are said aloud, on every listener that has a part in it.
    #[test]
    fn tls_hostnames_that_overlap() {
        let https = |name: &str, port, hostname: &str| listener(name, port, "HTTPS", hostname);
        let overlap = reason::OVERLAPPING_HOSTNAMES;
        for (listeners, expected) in [
            (vec![https("a", 443, "x.y"), https("b", 443, "*.y")], vec![overlap, overlap]),
            (vec![https("a", 443, "x.y"), https("b", 443, "")], vec![overlap, overlap]),
            (vec![https("a", 443, "x.y"), https("b", 443, "z.y")], vec!["", ""]),
            (vec![https("a", 443, "x.y"), https("b", 444, "*.y")], vec!["", ""]),
            (vec![listener("a", 80, "HTTP", "x.y"), listener("b", 80, "HTTP", "*.y")], vec!["", ""]),
        ] {
            assert_eq!(marks(&format!("[{}]", listeners.join(", "))), expected, "{listeners:?}");
        }
    }

    /// Names are unique in a cluster, but not in a file; Envoy refuses two filter chains with one match.
    #[test]
    fn listeners_with_one_name_conflict_too() {
        let twice = [listener("a", 443, "HTTPS", "x.y"), listener("a", 443, "HTTPS", "x.y")];
        assert_eq!(marks(&format!("[{}]", twice.join(", "))), [reason::HOSTNAME_CONFLICT; 2]);
    }
}
