//! A Gateway: which of its listeners are served, what they admit, and the Envoy listeners and secrets they need.

mod addresses;
mod certificates;
pub(crate) mod class;
pub(crate) mod client_certificate;
mod conflicts;
mod filters;
pub(crate) mod programmed;
mod protection;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_api::gateway_api::{
    Condition, Gateway, GatewayClass, GatewayStatus, ListenerStatus, condition_type, reason,
};

use self::client_certificate::ClientCertificate;
use self::programmed::Obstacle;
pub(crate) use self::protocol::Protocol;
use crate::Options;
use crate::backend::ClusterId;
use crate::dependency::Reader;
use crate::external_auth::ExternalAuth;
use crate::hostname::Hostname;
use crate::infrastructure::{self, Port, ProxyParameters};
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Problems;
use crate::resource::Resource;
use crate::status::condition;
use crate::telemetry::{self, Tracing};
use crate::tls::authorities::BundleId;

mod protocol;

/// From which namespaces routes may attach (`allowedRoutes.namespaces`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Namespaces {
    Same,
    All,
    Selected(LabelSelector),
    None,
}

/// The identity of a listener among those of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListenerId {
    /// The ListenerSet that has it; `None` if the Gateway itself has it.
    pub(crate) set: Option<NamespacedName>,
    pub(crate) name: String,
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.set {
            None => f.write_str(&self.name),
            Some(set) => write!(f, "{} of ListenerSet {set}", self.name),
        }
    }
}

/// A listener as routes see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    /// The namespace of the object that has it, which `from: Same` means.
    pub(crate) namespace: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) hostname: Hostname,
    pub(crate) kinds: BTreeSet<Kind>,
    pub(crate) namespaces: Namespaces,
    /// Whom every request has to pass before its route is chosen (GEP-5224), in order.
    pub(crate) filters: Vec<ExternalAuth>,
    /// False if the listener has a condition that keeps Envoy from serving it.
    pub(crate) serving: bool,
}

impl Listener {
    /// The port with its transport protocol.
    pub(crate) fn socket(&self) -> Port {
        Port { port: self.port, protocol: self.protocol.transport() }
    }

    /// The name by which filter chains and route matches know the listener: its hostname, which is unique on a port.
    pub(crate) fn owner_id(&self) -> String {
        self.hostname.domain()
    }
}

/// A Gateway as routes see it. Routes run again only when this changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayModel {
    pub(crate) name: NamespacedName,
    /// Every listener with a supported protocol and a readable hostname, in order of the spec.
    pub(crate) listeners: Vec<Listener>,
    /// What it shows to backends that speak TLS; `None` if nobody asked for that.
    pub(crate) client_certificate: Option<ClientCertificate>,
}

impl GatewayModel {
    /// The serving listener that answers for `host` on a TCP port: the most specific one that covers it (GEP-3567).
    pub(crate) fn owner(&self, port: u16, host: &Hostname) -> Option<&Listener> {
        self.serving()
            .filter(|l| l.socket() == Port::tcp(port) && l.hostname.covers(host))
            .min_by(|a, b| a.hostname.cmp(&b.hostname))
    }

    /// The listeners that Envoy is to serve.
    pub(crate) fn serving(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|l| l.serving)
    }

    /// The ports that have at least one serving listener.
    pub(crate) fn ports(&self) -> BTreeSet<Port> {
        self.serving().map(Listener::socket).collect()
    }

    /// How requests come in at a TCP port, if any listener there takes HTTP: listeners of one port agree on it.
    pub(crate) fn http(&self, port: u16) -> Option<Protocol> {
        self.serving().filter(|l| l.port == port).map(|l| l.protocol).find(|p| p.takes_http())
    }
}

/// Everything that follows from a Gateway alone.
#[derive(Clone, Debug)]
pub(crate) struct GatewayOutput {
    pub(crate) uid: Option<String>,
    pub(crate) model: Arc<GatewayModel>,
    /// What the Envoy listeners are built of, beside routes.
    pub(crate) plan: ListenerPlan,
    pub(crate) secrets: Vec<Arc<Resource>>,
    /// The clusters that the listeners themselves need.
    pub(crate) clusters: BTreeSet<ClusterId>,
    /// The certificates of authorities that listeners trust.
    pub(crate) bundles: BTreeSet<BundleId>,
    /// Without the counts of routes and without `Programmed` of the Gateway.
    pub(crate) status: GatewayStatus,
    /// What keeps the Gateway from being programmed, besides its listeners.
    pub(crate) obstacle: Option<Obstacle>,
    pub(crate) problems: Problems,
}

/// What Envoy needs to know of the listeners of a Gateway, beside what routes add.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListenerPlan {
    /// The addresses to bind to; at least one.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) tracing: Option<Tracing>,
    /// The listeners to serve.
    pub(crate) serving: Vec<ServedListener>,
}

impl ListenerPlan {
    /// The ports that are served, some of them more than once.
    pub(crate) fn ports(&self) -> impl Iterator<Item = Port> {
        self.serving.iter().map(|it| it.listener.socket())
    }
}

/// A listener that Envoy is to serve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServedListener {
    pub(crate) listener: Listener,
    pub(crate) tls: ListenerTls,
}

/// TLS of a listener, as far as it ends here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListenerTls {
    /// SDS names of the certificates, most specific reference first.
    pub(crate) certificates: Vec<String>,
}

/// A listener while it is being judged.
pub(crate) struct Draft {
    pub(crate) listener: Listener,
    pub(crate) conditions: ListenerConditions,
    pub(crate) tls: ListenerTls,
}

/// The conditions of one listener; a `None` is fine.
#[derive(Default)]
pub(crate) struct ListenerConditions {
    pub(crate) not_accepted: Option<(&'static str, String)>,
    pub(crate) conflicted: Option<(&'static str, String)>,
    pub(crate) unresolved: Option<(&'static str, String)>,
    pub(crate) not_programmed: Option<String>,
    pub(crate) overlapping: Option<(&'static str, String)>,
}

/// True if the class of `gateway` exists and belongs to this controller.
pub(crate) fn is_ours(reader: &Reader<'_>, gateway: &Gateway, options: &Options) -> bool {
    reader
        .get::<GatewayClass>("", &gateway.spec.gateway_class_name)
        .is_some_and(|class| class.spec.controller_name == options.controller_name)
}

/// Translates a Gateway of ours.
pub(crate) fn translate(reader: &Reader<'_>, gateway: &Gateway, options: &Options) -> GatewayOutput {
    let name = NamespacedName::new(
        gateway.metadata.namespace.clone().unwrap_or_default(),
        gateway.metadata.name.clone().unwrap_or_default(),
    );
    let key = ObjectKey::new(Kind::Gateway, &name.namespace, &name.name);
    let mut problems = Problems::default();
    let mut secrets = BTreeMap::new();
    let mut statuses = Vec::new();
    let mut drafts = Vec::new();
    for (index, spec) in gateway.spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        let judged = validate::listener(reader, &key, &field, spec, options, &mut secrets, &mut problems);
        drafts.push((field, judged));
    }
    let (client_certificate, unresolved) =
        client_certificate::resolve(reader, &key, gateway, &mut secrets, &mut problems);
    if client_certificate.is_some() {
        let drafts = drafts.iter_mut().filter_map(|(_, judged)| judged.draft.as_mut());
        for auth in drafts.flat_map(|draft| &mut draft.listener.filters) {
            auth.cluster = auth.cluster.shown_by(&name);
        }
    }
    conflicts::mark(&key, &mut drafts, &mut problems);
    for (protocol, why) in protection::missing(reader, &key, gateway, &mut problems) {
        for draft in drafts.iter_mut().filter_map(|(_, judged)| judged.draft.as_mut()) {
            if protocol.is_none_or(|p| p == draft.listener.protocol) {
                draft.conditions.not_programmed.get_or_insert_with(|| why.clone());
            }
        }
    }
    let parameters = infrastructure::of_gateway(reader, gateway, &mut problems);
    let addresses = if options.provision {
        let self_managed = parameters == Ok(ProxyParameters::SelfManaged);
        addresses::provisioned(reader, &key, gateway, self_managed, options, &mut problems)
    } else {
        addresses::local(&key, gateway, options, &mut problems)
    };

    let generation = gateway.metadata.generation;
    let mut listeners = Vec::new();
    let mut serving = Vec::new();
    for (_, judged) in drafts {
        let mut judged = judged;
        let usable = !addresses.bind.is_empty();
        statuses.push(listener_status(&mut judged, usable, generation));
        if let Some(draft) = judged.draft {
            if draft.listener.serving {
                serving.push(ServedListener { listener: draft.listener.clone(), tls: draft.tls });
            }
            listeners.push(draft.listener);
        }
    }
    let used: BTreeSet<&String> = serving
        .iter()
        .flat_map(|it| &it.tls.certificates)
        .chain(client_certificate.iter().filter_map(|it| it.secret.as_ref()))
        .collect();
    let secrets =
        secrets.into_iter().filter(|(name, _)| used.contains(name)).map(|(_, secret)| secret).collect();
    let mut tracing = telemetry::tracing(reader, &name);
    if client_certificate.is_some() {
        let asked = listeners.iter_mut().flat_map(|l| &mut l.filters).map(|auth| &mut auth.cluster);
        for cluster in asked.chain(tracing.as_mut().map(|it| &mut it.cluster)) {
            *cluster = cluster.shown_by(&name);
        }
    }
    let model = Arc::new(GatewayModel { name, listeners, client_certificate });
    let asked = model.serving().flat_map(|l| &l.filters).map(|auth| &auth.cluster);
    let clusters = asked.chain(tracing.iter().map(|it| &it.cluster)).cloned().collect();
    let parameters = parameters.err().map(|message| (reason::INVALID_PARAMETERS, message));
    let accepted = accepted(&statuses, parameters.or(addresses.refused), generation);
    let resolved = resolved(&statuses, unresolved, generation);
    let status = GatewayStatus {
        addresses: addresses.assigned,
        conditions: vec![accepted, resolved],
        listeners: statuses,
        ..GatewayStatus::default()
    };
    GatewayOutput {
        uid: gateway.metadata.uid.clone(),
        model,
        plan: ListenerPlan { addresses: addresses.bind, tracing, serving },
        secrets,
        clusters,
        bundles: BTreeSet::new(),
        status,
        obstacle: addresses.obstacle,
        problems,
    }
}

fn listener_status(judged: &mut validate::Judged, usable: bool, generation: Option<i64>) -> ListenerStatus {
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
    let resolved = match &state.unresolved {
        Some((reason, message)) => {
            condition(condition_type::RESOLVED_REFS, false, reason, message, generation)
        }
        None => condition(
            condition_type::RESOLVED_REFS,
            true,
            reason::RESOLVED_REFS,
            "all references resolve",
            generation,
        ),
    };
    let blocked = [
        state.not_accepted.as_ref().map(|(_, m)| m.clone()),
        state.conflicted.as_ref().map(|(_, m)| m.clone()),
        state.not_programmed.clone(),
        (!usable).then(|| "the Gateway has no usable address".to_owned()),
    ];
    let blocked = blocked.into_iter().flatten().next();
    let programmed = match &blocked {
        Some(message) => condition(condition_type::PROGRAMMED, false, reason::INVALID, message, generation),
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
    ListenerStatus {
        name: judged.name.clone(),
        supported_kinds: judged.supported_kinds.clone(),
        attached_routes: 0,
        conditions: [accepted, conflicted, programmed, resolved].into_iter().chain(overlapping).collect(),
    }
}

/// `Accepted` of the Gateway.
fn accepted(
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
fn resolved(
    listeners: &[ListenerStatus],
    unresolved: Option<(&'static str, String)>,
    generation: Option<i64>,
) -> Condition {
    let is_unresolved = |listener: &&ListenerStatus| {
        listener.conditions.iter().any(|c| c.type_ == condition_type::RESOLVED_REFS && !c.is_true())
    };
    let names: Vec<&str> = listeners.iter().filter(is_unresolved).map(|l| l.name.as_str()).collect();
    let (holds, reason, message) = match unresolved {
        Some((reason, message)) => (false, reason, message),
        None if !names.is_empty() => {
            let message = format!("references do not resolve: listener {}", names.join(", "));
            (false, reason::LISTENERS_NOT_RESOLVED, message)
        }
        None => (true, reason::RESOLVED_REFS, "all references resolve".to_owned()),
    };
    condition(condition_type::RESOLVED_REFS, holds, reason, message, generation)
}
