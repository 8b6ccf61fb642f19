//! Attachment: which listeners of a parent take a route, and for which hosts.

use postern_api::gateway_api::{ParentReference, reason};

use crate::dependency::{Parent, Reader};
use crate::gateway::Listener;
use crate::hostname::Hostname;
use crate::object::ObjectKey;

/// A listener that takes the route, and the hostnames that they share, each with the hostname of the route that
/// it came from.
#[derive(Clone, Debug)]
pub(crate) struct Attachment<'a> {
    pub(crate) listener: &'a Listener,
    pub(crate) hosts: Vec<(Hostname, Hostname)>,
}

/// Why a parent does not take a route.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) field: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

/// Attaches a route to the listeners that `reference` means, which are those of `parent` or some of them.
pub(crate) fn attach<'a>(
    reader: &Reader<'_>,
    route: &ObjectKey,
    hostnames: &[Hostname],
    reference: &ParentReference,
    parent: &Parent<'_, 'a>,
) -> Result<Vec<Attachment<'a>>, Refusal> {
    if let Some(why) = parent.refused() {
        return Err(Refusal {
            reason: reason::NO_MATCHING_PARENT,
            field: "",
            message: format!("{parent} is not attached: {why}"),
            remedy: "let the Gateway allow the ListenerSet, or use another parent".to_owned(),
        });
    }
    let section = reference.section_name.as_deref().filter(|s| !s.is_empty());
    let matches =
        |l: &&Listener| section.is_none_or(|s| s == l.id.name) && reference.port.is_none_or(|p| p == l.port);
    let named: Vec<&Listener> = parent.listeners().iter().filter(matches).collect();
    if named.is_empty() {
        let known: Vec<String> =
            parent.listeners().iter().map(|l| format!("{} ({})", l.id.name, l.port)).collect();
        return Err(Refusal {
            reason: reason::NO_MATCHING_PARENT,
            field: if section.is_some() { ".sectionName" } else { ".port" },
            message: format!("{parent} has no such listener"),
            remedy: format!("use one of its listeners: {}", known.join(", ")),
        });
    }
    let admitted: Vec<&Listener> = named.iter().copied().filter(|l| admits(reader, l, route)).collect();
    if admitted.is_empty() {
        return Err(Refusal {
            reason: reason::NOT_ALLOWED_BY_LISTENERS,
            field: "",
            message: format!(
                "no listener of {parent} allows routes of kind {} from namespace {}",
                route.kind, route.namespace
            ),
            remedy: "widen allowedRoutes of the listener, or use another parent".to_owned(),
        });
    }
    let attachments: Vec<Attachment<'_>> = admitted
        .into_iter()
        .filter_map(|listener| {
            let hosts: Vec<(Hostname, Hostname)> = hostnames
                .iter()
                .filter_map(|own| Some((listener.hostname.intersection(own)?, own.clone())))
                .collect();
            (!hosts.is_empty()).then_some(Attachment { listener, hosts })
        })
        .collect();
    if attachments.is_empty() {
        let own: Vec<String> = hostnames.iter().map(ToString::to_string).collect();
        return Err(Refusal {
            reason: reason::NO_MATCHING_LISTENER_HOSTNAME,
            field: "",
            message: format!("no hostname of the route ({}) is one of the listener's", own.join(", ")),
            remedy: "change spec.hostnames of the route, or the hostname of the listener".to_owned(),
        });
    }
    Ok(attachments)
}

fn admits(reader: &Reader<'_>, listener: &Listener, route: &ObjectKey) -> bool {
    listener.kinds.contains(&route.kind)
        && listener.namespaces.admit(reader, &listener.namespace, &route.namespace)
}
