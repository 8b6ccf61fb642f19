//! One listener of a Gateway on its own: protocol, hostname, route kinds, namespaces, TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postern_api::gateway_api::{AllowedRoutes, Listener as ListenerSpec, RouteGroupKind, reason};

use super::{
    Draft, Listener, ListenerConditions, ListenerId, ListenerTls, Namespaces, Protocol, certificates,
    filters, options,
};
use crate::Options;
use crate::dependency::Reader;
use crate::hostname::Hostname;
use crate::infrastructure::PortProtocol;
use crate::listener_policy::HostSettings;
use crate::object::{Kind, ObjectKey};
use crate::problem::Problems;
use crate::resource::Resource;

/// A listener after validation. Those with an unknown protocol or a broken hostname have no draft: nothing can
/// attach to them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) name: String,
    pub(crate) supported_kinds: Vec<RouteGroupKind>,
    pub(crate) draft: Option<Draft>,
    refused: ListenerConditions,
}

impl Judged {
    pub(crate) fn conditions(&self) -> &ListenerConditions {
        self.draft.as_ref().map_or(&self.refused, |draft| &draft.conditions)
    }
}

/// Judges one listener of `owner`, a Gateway or a ListenerSet; certificates that resolve are added to `secrets`.
pub(crate) fn listener(
    reader: &Reader<'_>,
    owner: &ObjectKey,
    field: &str,
    spec: &ListenerSpec,
    options: &Options,
    secrets: &mut BTreeMap<String, Arc<Resource>>,
    problems: &mut Problems,
) -> Judged {
    let refuse = |reason, message: String| Judged {
        name: spec.name.clone(),
        supported_kinds: Vec::new(),
        draft: None,
        refused: ListenerConditions {
            not_accepted: Some((reason, message)),
            ..ListenerConditions::default()
        },
    };
    let protocol = match spec.protocol.as_ref() {
        "HTTP" => Protocol::Http,
        "HTTPS" => Protocol::Https,
        "TLS" => match tls_mode(spec) {
            "Terminate" => Protocol::TlsTerminate,
            "Passthrough" => Protocol::TlsPassthrough,
            other => {
                let message = format!("tls.mode {other:?} is unknown");
                problems.error(owner, format!("{field}.tls.mode"), &message, "use Terminate or Passthrough");
                return refuse(reason::UNSUPPORTED_VALUE, message);
            }
        },
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        other => {
            let message = format!("protocol {other:?} is not supported");
            problems.error(owner, format!("{field}.protocol"), &message, "use HTTP, HTTPS, TLS, TCP or UDP");
            return refuse(reason::UNSUPPORTED_PROTOCOL, message);
        }
    };
    if spec.port == 0 {
        let message = "port 0 cannot be served".to_owned();
        problems.error(owner, format!("{field}.port"), &message, "use a port from 1 to 65535");
        return refuse(reason::PORT_UNAVAILABLE, message);
    }
    // What the proxies need for themselves are TCP ports.
    if protocol.transport() == PortProtocol::Tcp && options.reserved_ports.contains(&spec.port) {
        let message = format!("the proxies need port {} for themselves", spec.port);
        let reserved: Vec<String> = options.reserved_ports.iter().map(ToString::to_string).collect();
        let remedy = format!("use another port; reserved are {}", reserved.join(", "));
        problems.error(owner, format!("{field}.port"), &message, remedy);
        return refuse(reason::PORT_UNAVAILABLE, message);
    }
    let given = spec.hostname.as_deref().filter(|_| protocol.has_hostname());
    let hostname = match Hostname::parse_optional(given) {
        Ok(hostname) => hostname,
        Err(error) => {
            problems.error(
                owner,
                format!("{field}.hostname"),
                error.to_string(),
                "use a DNS name, perhaps with *. in front",
            );
            return refuse(reason::UNSUPPORTED_VALUE, error.to_string());
        }
    };
    let mut conditions = ListenerConditions::default();
    let filters = filters::resolve(reader, owner, field, spec, protocol, &mut conditions, problems);
    let allowed = spec.allowed_routes.as_ref();
    let (kinds, supported_kinds) = route_kinds(owner, field, protocol, allowed, &mut conditions, problems);
    let mut tls = ListenerTls::default();
    if protocol.terminates_tls() {
        tls.options = options::resolve(owner, field, spec, protocol, &mut conditions, problems);
        tls.certificates =
            certificates::resolve(reader, owner, field, spec, secrets, &mut conditions, problems);
    }
    ignored(owner, field, spec, protocol, problems);
    let listener = Listener {
        id: ListenerId {
            set: (owner.kind == Kind::ListenerSet).then(|| owner.namespaced_name()),
            name: spec.name.clone(),
        },
        namespace: owner.namespace.clone(),
        port: spec.port,
        protocol,
        hostname,
        kinds,
        namespaces: namespaces(owner, field, allowed, problems),
        filters,
        policy: HostSettings::default(),
        serving: true,
    };
    Judged {
        name: spec.name.clone(),
        supported_kinds,
        draft: Some(Draft { listener, conditions, tls }),
        refused: ListenerConditions::default(),
    }
}

/// `tls.mode`, which is `Terminate` where nothing is said.
fn tls_mode(spec: &ListenerSpec) -> &str {
    spec.tls.as_ref().and_then(|tls| tls.mode.as_ref()).map_or("Terminate", AsRef::as_ref)
}

/// Warns of fields that mean nothing to the protocol.
fn ignored(
    gateway: &ObjectKey,
    field: &str,
    spec: &ListenerSpec,
    protocol: Protocol,
    problems: &mut Problems,
) {
    if !protocol.has_hostname() && spec.hostname.as_ref().is_some_and(|hostname| !hostname.is_empty()) {
        problems.warning(
            gateway,
            format!("{field}.hostname"),
            format!("hostname is ignored on a listener of protocol {}", spec.protocol.as_ref()),
            "remove it, or use protocol TLS",
        );
    }
    let Some(tls) = &spec.tls else { return };
    match protocol {
        Protocol::Https | Protocol::TlsTerminate => {}
        Protocol::TlsPassthrough => {
            if !tls.certificate_refs.is_empty() || !tls.options.is_empty() {
                problems.warning(
                    gateway,
                    format!("{field}.tls"),
                    "certificateRefs and options are ignored where TLS is passed through to the backend",
                    "remove them, or use mode Terminate",
                );
            }
        }
        Protocol::Http | Protocol::Tcp | Protocol::Udp => problems.warning(
            gateway,
            format!("{field}.tls"),
            format!("tls is ignored on a listener of protocol {}", spec.protocol.as_ref()),
            match protocol {
                Protocol::Http => "use protocol HTTPS, or remove tls",
                _ => "use protocol TLS, or remove tls",
            },
        ),
    }
}

fn route_kinds(
    owner: &ObjectKey,
    field: &str,
    protocol: Protocol,
    allowed: Option<&AllowedRoutes>,
    conditions: &mut ListenerConditions,
    problems: &mut Problems,
) -> (BTreeSet<Kind>, Vec<RouteGroupKind>) {
    let asked = allowed.map(|a| a.kinds.as_slice()).unwrap_or_default();
    let mut kinds = BTreeSet::new();
    if asked.is_empty() {
        kinds.extend(protocol.kinds());
    }
    for (index, kind) in asked.iter().enumerate() {
        let group = kind.group.as_deref().unwrap_or(Kind::HttpRoute.group());
        match Kind::from_group_kind(group, &kind.kind).filter(|k| protocol.kinds().contains(k)) {
            Some(kind) => {
                kinds.insert(kind);
            }
            None => {
                let message =
                    format!("routes of kind {} (group {group:?}) cannot attach to this listener", kind.kind);
                problems.error(
                    owner,
                    format!("{field}.allowedRoutes.kinds[{index}]"),
                    &message,
                    format!("use {}, or another protocol for the listener", words(protocol.kinds())),
                );
                conditions.unresolved.get_or_insert((reason::INVALID_ROUTE_KINDS, message));
            }
        }
    }
    if kinds.is_empty() {
        conditions.not_programmed = Some("no route kind that the listener allows can be served".to_owned());
    }
    let supported = kinds
        .iter()
        .map(|kind| RouteGroupKind { group: Some(kind.group().to_owned()), kind: kind.as_str().to_owned() })
        .collect();
    (kinds, supported)
}

fn words(kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    names.join(" or ")
}

fn namespaces(
    owner: &ObjectKey,
    field: &str,
    allowed: Option<&AllowedRoutes>,
    problems: &mut Problems,
) -> Namespaces {
    let Some(asked) = allowed.and_then(|a| a.namespaces.as_ref()) else { return Namespaces::Same };
    match Namespaces::parse(asked.from.as_ref(), asked.selector.as_ref()) {
        Ok(namespaces) => namespaces.unwrap_or(Namespaces::Same),
        Err(fault) => {
            let field = format!("{field}.allowedRoutes.namespaces{}", fault.field);
            problems.error(owner, field, fault.message, fault.remedy);
            Namespaces::None
        }
    }
}
