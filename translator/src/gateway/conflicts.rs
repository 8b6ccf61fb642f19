//! Listeners against each other: those of one port must speak one protocol and differ in hostname. All that
//! conflict are refused; none is picked as the winner (Gateway API, "Handling indistinct Listeners").

use std::collections::BTreeMap;

use postern_api::gateway_api::reason;

use super::validate::Judged;
use super::{Draft, Protocol};
use crate::hostname::Hostname;
use crate::object::ObjectKey;
use crate::problem::Problems;

/// Marks conflicts and overlapping TLS hostnames.
pub(crate) fn mark(gateway: &ObjectKey, listeners: &mut [(String, Judged)], problems: &mut Problems) {
    let mut protocols: BTreeMap<u16, Vec<Protocol>> = BTreeMap::new();
    let mut hosts: BTreeMap<(u16, Hostname), Vec<String>> = BTreeMap::new();
    let mut tls: BTreeMap<u16, Vec<(String, Hostname)>> = BTreeMap::new();
    for (_, judged) in listeners.iter() {
        let Some(Draft { listener, .. }) = &judged.draft else { continue };
        protocols.entry(listener.port).or_default().push(listener.protocol);
        hosts.entry((listener.port, listener.hostname.clone())).or_default().push(listener.name.clone());
        if listener.protocol == Protocol::Https {
            tls.entry(listener.port).or_default().push((listener.name.clone(), listener.hostname.clone()));
        }
    }
    for (field, judged) in listeners {
        let Some(draft) = &mut judged.draft else { continue };
        let listener = &draft.listener;
        let mixed =
            protocols.get(&listener.port).is_some_and(|p| p.iter().any(|other| *other != listener.protocol));
        if mixed {
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
        let same: Vec<&String> = hosts
            .get(&(listener.port, listener.hostname.clone()))
            .into_iter()
            .flatten()
            .filter(|name| **name != listener.name)
            .collect();
        if let Some(other) = same.first() {
            let message = format!(
                "listener {other} has the same port {} and the same hostname {}",
                listener.port, listener.hostname
            );
            problems.error(
                gateway,
                format!("{field}.hostname"),
                &message,
                "give each listener of a port its own hostname",
            );
            draft.conditions.conflicted = Some((reason::HOSTNAME_CONFLICT, message));
            continue;
        }
        let overlaps = tls.get(&listener.port).into_iter().flatten().find(|(name, hostname)| {
            *name != listener.name && hostname.intersection(&listener.hostname).is_some()
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
