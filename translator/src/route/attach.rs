//! Attachment: which listeners of a parent take a route, and for which hosts.

use postern_api::gateway_api::{ParentReference, reason};

use crate::dependency::Reader;
use crate::gateway::{GatewayModel, Listener, Namespaces};
use crate::hostname::Hostname;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::selector;

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

/// The name of the Gateway that a parentRef of a route in `namespace` means; `None` if it means something else.
pub(crate) fn gateway_name(parent: &ParentReference, namespace: &str) -> Option<NamespacedName> {
    (parent.group() == Kind::Gateway.group() && parent.kind() == Kind::Gateway.as_str())
        .then(|| NamespacedName::new(parent.namespace.as_deref().unwrap_or(namespace), &parent.name))
}

/// Attaches a route to the listeners that `parent` means.
pub(crate) fn attach<'a>(
    reader: &Reader<'_>,
    route: &ObjectKey,
    hostnames: &[Hostname],
    parent: &ParentReference,
    gateway: &'a GatewayModel,
) -> Result<Vec<Attachment<'a>>, Refusal> {
    let section = parent.section_name.as_deref().filter(|s| !s.is_empty());
    let named: Vec<&Listener> = gateway
        .listeners
        .iter()
        .filter(|l| section.is_none_or(|s| s == l.id.name) && parent.port.is_none_or(|p| p == l.port))
        .collect();
    if named.is_empty() {
        let known: Vec<String> = gateway.listeners.iter().map(|l| format!("{} ({})", l.id, l.port)).collect();
        return Err(Refusal {
            reason: reason::NO_MATCHING_PARENT,
            field: if section.is_some() { ".sectionName" } else { ".port" },
            message: format!("Gateway {} has no such listener", gateway.name),
            remedy: format!("use one of its listeners: {}", known.join(", ")),
        });
    }
    let admitted: Vec<&Listener> =
        named.iter().copied().filter(|l| l.kinds.contains(&route.kind) && admits(reader, l, route)).collect();
    if admitted.is_empty() {
        return Err(Refusal {
            reason: reason::NOT_ALLOWED_BY_LISTENERS,
            field: "",
            message: format!(
                "no listener of Gateway {} allows routes of kind {} from namespace {}",
                gateway.name, route.kind, route.namespace
            ),
            remedy: "widen allowedRoutes of the listener, or use another Gateway".to_owned(),
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
    match &listener.namespaces {
        Namespaces::All => true,
        Namespaces::Same => route.namespace == listener.namespace,
        Namespaces::None => false,
        Namespaces::Selected(selector) => {
            let labels = reader.labels(&ObjectKey::new(Kind::Namespace, "", &route.namespace));
            let mut labels = labels.unwrap_or_default();
            // The API server sets this label on every namespace; files may leave it out.
            labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| route.namespace.clone());
            selector::matches(selector, &labels)
        }
    }
}
