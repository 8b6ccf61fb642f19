//! The proxies of a Gateway: pods, connections, and what these have acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::model::{Gateway, Overview, Problem, Proxy, Severity, Share};
use super::world::World;
use crate::inspect::document;

/// What is known of the proxies of a Gateway; `None` if nothing is.
pub(super) fn proxies(world: &World, namespace: &str, name: &str) -> Option<Vec<Proxy>> {
    let asked = world.replicas.iter().any(|replica| replica.said.is_some());
    if world.pods.is_none() && !asked {
        return None;
    }
    let mut out: Vec<Proxy> = world
        .pods
        .iter()
        .flatten()
        .filter(|pod| pod.namespace == namespace && pod.gateway == name && !pod.ending)
        .map(|pod| Proxy {
            pod: Some(pod.name.clone()),
            ready: Some(pod.ready),
            address: pod.ip.clone(),
            ..Proxy::default()
        })
        .collect();
    let key = format!("{namespace}/{name}");
    for replica in &world.replicas {
        let Some((said, gateways)) = &replica.said else { continue };
        let Some(gateway) = gateways.gateways.get(&key) else { continue };
        for connection in &gateway.proxies {
            let address = address(connection.peer.as_deref());
            // A pod that reconnects may have a connection to two replicas for a moment.
            let known = out
                .iter_mut()
                .find(|proxy| proxy.pod.is_some() && proxy.address == address && proxy.controller.is_none());
            let proxy = match known {
                Some(proxy) => proxy,
                None => {
                    out.push(Proxy { address, ..Proxy::default() });
                    let Some(last) = out.last_mut() else { continue };
                    last
                }
            };
            proxy.controller = Some(said.identity.clone());
            proxy.in_sync = Some(connection.in_sync);
            proxy.acknowledged = shares(gateway, connection);
            proxy.rejections.clone_from(&connection.rejections);
        }
    }
    out.sort_by(|a, b| (&a.pod, &a.address, &a.controller).cmp(&(&b.pod, &b.address, &b.controller)));
    Some(out)
}

fn address(peer: Option<&str>) -> String {
    let Some(peer) = peer else { return "local".to_owned() };
    peer.parse::<SocketAddr>().map_or_else(|_| peer.to_owned(), |peer| peer.ip().to_canonical().to_string())
}

fn shares(gateway: &document::Gateway, connection: &document::Proxy) -> BTreeMap<String, Share> {
    let share = |(kind, resources): (&String, &BTreeMap<String, String>)| {
        let have = connection.acknowledged.get(kind).copied().unwrap_or_default();
        (kind.clone(), Share { have, want: resources.len() })
    };
    gateway.resources.iter().map(share).collect()
}

/// Adds what is not well with the proxies of `gateway`.
pub(super) fn judge_proxies(world: &World, gateway: &Gateway, out: &mut Overview) {
    let title = format!("Gateway {}/{}", gateway.namespace, gateway.name);
    let mut add = |severity, object: String, what: String, message: String| {
        out.problems.push(Problem { severity, object, what, message });
    };
    let all_asked = !world.replicas.is_empty() && world.replicas.iter().all(|r| r.said.is_some());
    let proxies = gateway.proxies.as_deref().unwrap_or_default();
    if all_asked && gateway.proxies.is_some() && !proxies.iter().any(|proxy| proxy.controller.is_some()) {
        let message = match proxies.len() {
            0 => "It has no pods, and no proxy asks for its configuration.".to_owned(),
            _ => "Its pods run, but none of them asks for its configuration.".to_owned(),
        };
        add(Severity::Error, title.clone(), "no proxy is connected".to_owned(), message);
    }
    for proxy in proxies {
        let name = proxy.pod.as_deref().unwrap_or(&proxy.address);
        let place = format!("{title}, proxy {name}");
        if proxy.controller.is_none() && all_asked {
            add(Severity::Error, place.clone(), "not connected to a controller".to_owned(), String::new());
        } else if proxy.ready == Some(false) {
            add(Severity::Error, place.clone(), "not ready".to_owned(), String::new());
        }
        if proxy.in_sync == Some(false) {
            let message = "It has not acknowledged everything yet.".to_owned();
            add(Severity::Warning, place.clone(), "behind".to_owned(), message);
        }
        for rejection in &proxy.rejections {
            let what = format!("refused {} {}", rejection.resource_type, rejection.name);
            add(Severity::Error, place.clone(), what, rejection.error.trim().to_owned());
        }
    }
    let key = format!("{}/{}", gateway.namespace, gateway.name);
    let digests: BTreeSet<&str> = world
        .replicas
        .iter()
        .filter_map(|replica| replica.said.as_ref()?.1.gateways.get(&key)?.digest.as_deref())
        .collect();
    if digests.len() > 1 {
        let message = "It is normal for a moment after a change.".to_owned();
        add(Severity::Warning, title, "the replicas of the controller differ".to_owned(), message);
    }
}
