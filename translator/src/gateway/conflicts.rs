//! Listeners against each other: those of one port must speak one family of protocols and differ in hostname. All that
//! conflict are refused; none is picked as the winner (Gateway API, "Handling indistinct Listeners").

use std::collections::{BTreeMap, BTreeSet};

use postern_api::gateway_api::reason;

use super::protocol::Family;
use super::validate::Judged;
use super::{Draft, Listener, ListenerId, Protocol};
use crate::hostname::Hostname;
use crate::infrastructure::Port;
use crate::object::ObjectKey;
use crate::problem::Problems;

/// Marks conflicts and overlapping TLS hostnames.
pub(crate) fn mark(gateway: &ObjectKey, listeners: &mut [(String, Judged)], problems: &mut Problems) {
    let mut families: BTreeMap<Port, BTreeSet<Family>> = BTreeMap::new();
    let mut hosts: BTreeMap<(Port, Hostname), Vec<(usize, ListenerId)>> = BTreeMap::new();
    let mut https: BTreeMap<Port, Vec<(ListenerId, Hostname)>> = BTreeMap::new();
    for (index, (_, judged)) in listeners.iter().enumerate() {
        let Some(Draft { listener, .. }) = &judged.draft else { continue };
        let Listener { id, hostname, protocol, .. } = listener;
        let socket = listener.socket();
        families.entry(socket).or_default().insert(protocol.family());
        hosts.entry((socket, hostname.clone())).or_default().push((index, id.clone()));
        if *protocol == Protocol::Https {
            https.entry(socket).or_default().push((id.clone(), hostname.clone()));
        }
    }
    for (index, (field, judged)) in listeners.iter_mut().enumerate() {
        let Some(draft) = &mut judged.draft else { continue };
        let listener = &draft.listener;
        let socket = listener.socket();
        if families.get(&socket).is_some_and(|families| families.len() > 1) {
            let message = format!("listeners of different protocols share port {}", listener.port);
            problems.error(
                gateway,
                format!("{field}.port"),
                &message,
                "give each protocol a port of its own",
            );
            draft.conditions.conflicted = Some((reason::PROTOCOL_CONFLICT, message));
            continue;
        }
        let mut same = hosts.get(&(socket, listener.hostname.clone())).into_iter().flatten();
        if let Some((_, other)) = same.find(|(other, _)| *other != index) {
            let (reason, at, message, remedy) = match listener.protocol.family() {
                Family::Http | Family::Tls => (
                    reason::HOSTNAME_CONFLICT,
                    "hostname",
                    format!(
                        "listener {other} has the same port {} and the same hostname {}",
                        listener.port, listener.hostname
                    ),
                    "give each listener of a port its own hostname",
                ),
                Family::Tcp | Family::Udp => (
                    reason::PROTOCOL_CONFLICT,
                    "port",
                    format!("listener {other} has the same port {}", listener.port),
                    "give each TCP and each UDP listener a port of its own",
                ),
            };
            problems.error(gateway, format!("{field}.{at}"), &message, remedy);
            draft.conditions.conflicted = Some((reason, message));
            continue;
        }
        let overlaps =
            https.get(&socket).into_iter().flatten().find(|(id, hostname)| {
                *id != listener.id && hostname.intersection(&listener.hostname).is_some()
            });
        if let (Protocol::Https, Some((other, hostname))) = (listener.protocol, overlaps) {
            let message = format!(
                "hostname {} overlaps with {hostname} of listener {other}; requests on a connection made for the other are answered 421",
                listener.hostname
            );
            draft.conditions.overlapping = Some((reason::OVERLAPPING_HOSTNAMES, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::{World, yaml};
    use crate::gateway::validate;
    use crate::object::Kind;

    /// What became of each listener: the reason of its conflict or of its overlap, or nothing.
    fn marks(listeners: &str) -> Vec<&'static str> {
        let world = World::default();
        let reader = world.reader();
        let gateway = ObjectKey::new(Kind::Gateway, "a", "g");
        let mut problems = Problems::default();
        let mut secrets = BTreeMap::new();
        let mut judged: Vec<(String, Judged)> = yaml::<Vec<postern_api::gateway_api::Listener>>(listeners)
            .iter()
            .enumerate()
            .map(|(index, spec)| {
                let field = format!("spec.listeners[{index}]");
                let listener = validate::listener(
                    &reader,
                    &gateway,
                    &field,
                    spec,
                    &crate::Options::default(),
                    &mut secrets,
                    &mut Problems::default(),
                );
                (field, listener)
            })
            .collect();
        mark(&gateway, &mut judged, &mut problems);
        let marks: Vec<&str> = judged
            .iter()
            .map(|(_, listener)| {
                let conditions = listener.conditions();
                let mark = conditions.conflicted.as_ref().or(conditions.overlapping.as_ref());
                mark.map_or("", |(reason, _)| reason)
            })
            .collect();
        let conflicts = judged.iter().filter(|(_, l)| l.conditions().conflicted.is_some()).count();
        assert_eq!(problems.iter().count(), conflicts, "each conflict is a problem, an overlap is none");
        marks
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
