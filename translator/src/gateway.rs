//! A Gateway: which of its listeners are served, what they admit, and the Envoy listeners and secrets they need. Listeners of
//! ListenerSets are listeners of their Gateway (GEP-1713).

mod addresses;
mod buffers;
pub(crate) mod certificates;
pub(crate) mod class;
pub(crate) mod client_certificate;
mod conflicts;
mod filters;
pub(crate) mod frontend;
pub(crate) mod listener_set;
pub(crate) mod model;
mod namespaces;
mod options;
pub(crate) mod programmed;
mod protocol;
mod status;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use postern_api::gateway_api::{
    Gateway, GatewayClass, GatewayStatus, ListenerSetStatus, condition_type, reason,
};

use self::frontend::ClientValidation;
pub(crate) use self::listener_set::ListenerSetDraft;
pub(crate) use self::model::{GatewayModel, Listener, ListenerId};
pub(crate) use self::namespaces::Namespaces;
use self::programmed::Obstacle;
pub(crate) use self::protocol::Protocol;
use self::status::Judgement;
use self::validate::Judged;
use crate::Options;
use crate::backend::ClusterId;
use crate::dependency::Reader;
use crate::infrastructure::{self, Port, ProxyParameters};
use crate::listener_policy::{ConnectionSettings, OfListener, Policies};
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::policy::merge;
use crate::problem::Problems;
use crate::resource::Resource;
use crate::telemetry::{self, Tracing};
use crate::tls::options::TlsOptions;
use crate::tls::secret::SecretId;

/// Everything that follows from a Gateway and its ListenerSets.
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
    pub(crate) shared_secrets: BTreeSet<SecretId>,
    /// Without the counts of routes and without `Programmed` of the Gateway.
    pub(crate) status: GatewayStatus,
    /// What keeps the Gateway from being programmed, besides its listeners.
    pub(crate) obstacle: Option<Obstacle>,
    /// Every ListenerSet that names the Gateway, allowed or not.
    pub(crate) sets: BTreeMap<NamespacedName, ListenerSetOutput>,
    pub(crate) problems: Problems,
}

/// What follows for a ListenerSet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerSetOutput {
    /// Without the counts of routes and without `Programmed` of the set.
    pub(crate) status: ListenerSetStatus,
    /// What keeps the set from being programmed, besides what the proxies say.
    pub(crate) obstacle: Option<Obstacle>,
}

/// What Envoy needs to know of the listeners of a Gateway, beside what routes add.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListenerPlan {
    /// The addresses to bind to; at least one.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) tracing: Option<Tracing>,
    /// How much of a connection is buffered at most; `None` leaves it to us.
    pub(crate) buffer_bytes: Option<u32>,
    /// The listeners to serve.
    pub(crate) serving: Vec<ServedListener>,
}

impl ListenerPlan {
    /// The ports whose Envoy listener differs from that of `other`.
    pub(crate) fn changed_ports(&self, other: &Self) -> BTreeSet<Port> {
        let (own, others) = (self.by_port(), other.by_port());
        let all: BTreeSet<Port> = own.keys().chain(others.keys()).copied().collect();
        // Taken apart, so that what is added has to be thought of here.
        let Self { addresses, tracing, buffer_bytes, serving: _ } = self;
        let every =
            *addresses != other.addresses || *tracing != other.tracing || *buffer_bytes != other.buffer_bytes;
        all.into_iter().filter(|port| every || own.get(port) != others.get(port)).collect()
    }

    fn by_port(&self) -> BTreeMap<Port, Vec<&ServedListener>> {
        let mut out: BTreeMap<Port, Vec<&ServedListener>> = BTreeMap::new();
        for served in &self.serving {
            out.entry(served.listener.socket()).or_default().push(served);
        }
        out
    }
}

/// A listener that Envoy is to serve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServedListener {
    pub(crate) listener: Listener,
    pub(crate) tls: ListenerTls,
    /// What HTTPListenerPolicies say of its connections; the same for all listeners of a port that share them.
    pub(crate) connection: Arc<ConnectionSettings>,
}

/// TLS of a listener, as far as it ends here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListenerTls {
    /// SDS names of the certificates, most specific reference first.
    pub(crate) certificates: Vec<String>,
    pub(crate) options: TlsOptions,
    /// `None`: clients are not asked for a certificate.
    pub(crate) clients: Option<ClientValidation>,
}

/// The listeners of one object: of the Gateway itself, or of a ListenerSet.
struct Level {
    key: ObjectKey,
    generation: Option<i64>,
    /// Each with its field.
    listeners: Vec<(String, Judged)>,
}

/// A listener while it is being judged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) listener: Listener,
    pub(crate) conditions: ListenerConditions,
    pub(crate) tls: ListenerTls,
}

/// The conditions of one listener; a `None` is fine.
#[derive(Clone, Debug, Default, PartialEq)]
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
    let generation = gateway.metadata.generation;
    let mut problems = Problems::default();
    let mut secrets = BTreeMap::new();
    let mut drafts = Vec::new();
    for (index, spec) in gateway.spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        let judged = validate::listener(reader, &key, &field, spec, options, &mut secrets, &mut problems);
        drafts.push((field, judged));
    }
    let (client_certificate, unresolved) =
        client_certificate::resolve(reader, &key, gateway, &mut secrets, &mut problems);
    if let Err(fault) = listener_set::allowed(gateway) {
        let field = format!("spec.allowedListeners.namespaces{}", fault.field);
        problems.error(&key, field, fault.message, fault.remedy);
    }
    let is_default = is_default(&key, gateway, &mut problems);
    merge::check(&key, &gateway.metadata, &mut problems);
    let buffer_bytes = buffers::limit(&key, &gateway.metadata, &mut problems);
    let sets = reader.listener_sets(&name);
    let own = Level { key: key.clone(), generation, listeners: drafts };
    let admitted = sets.iter().filter(|set| set.refused.is_none()).map(|set| {
        secrets.extend(set.secrets.clone());
        let key = ObjectKey::new(Kind::ListenerSet, &set.name.namespace, &set.name.name);
        Level { key, generation: set.generation, listeners: set.listeners.clone() }
    });
    let mut levels: Vec<Level> = std::iter::once(own).chain(admitted).collect();
    conflicts::mark(&mut levels, &mut problems);
    frontend::apply(reader, &key, gateway, &mut levels, &mut problems);
    let mut policies = Policies::new(reader, &name);
    let mut said: BTreeMap<ListenerId, OfListener> = BTreeMap::new();
    let drafts = levels.iter_mut().flat_map(|level| &mut level.listeners);
    for draft in drafts.filter_map(|(_, judged)| judged.draft.as_mut()) {
        if draft.listener.protocol.takes_http() {
            let of_listener = policies.of_listener(&draft.listener.id);
            draft.listener.policy = of_listener.host.clone();
            said.insert(draft.listener.id.clone(), of_listener);
        }
    }
    let parameters = infrastructure::of_gateway(reader, gateway, &mut problems);
    let addresses = if options.provision {
        let self_managed = parameters == Ok(ProxyParameters::SelfManaged);
        addresses::provisioned(reader, &key, gateway, self_managed, options, &mut problems)
    } else {
        addresses::local(&key, gateway, options, &mut problems)
    };

    let mut judgements: BTreeMap<ObjectKey, Vec<Judgement>> = BTreeMap::new();
    let mut listeners = Vec::new();
    let mut serving = Vec::new();
    for Level { key: of, generation, listeners: judged } in levels {
        let judgements = judgements.entry(of.clone()).or_default();
        for (_, mut judged) in judged {
            let usable = !addresses.bind.is_empty();
            let of_set = of.kind == Kind::ListenerSet;
            judgements.push(status::listener(&mut judged, usable, of_set, generation));
            if let Some(draft) = judged.draft {
                if draft.listener.serving {
                    serving.push(ServedListener {
                        listener: draft.listener.clone(),
                        tls: draft.tls,
                        connection: Arc::default(),
                    });
                }
                listeners.push(draft.listener);
            }
        }
    }
    connect(&mut serving, &said, &policies, client_certificate.is_some());
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
    let model = Arc::new(GatewayModel::new(name, listeners, client_certificate, is_default));
    let asked = model.serving().flat_map(|l| &l.filters).map(|auth| &auth.cluster);
    let logged = serving.iter().flat_map(|it| it.connection.clusters());
    let clusters = asked.chain(tracing.iter().map(|it| &it.cluster)).cloned().chain(logged).collect();
    let parameters = parameters.err().map(|message| (reason::INVALID_PARAMETERS, message));
    let refused = parameters.or(addresses.refused);
    let assignment = addresses.assignment.filter(|_| options.experimental);
    let why = refused.as_ref().map(|(_, message)| message.as_str());
    let sets: BTreeMap<NamespacedName, ListenerSetOutput> = sets
        .into_iter()
        .map(|set| {
            let key = ObjectKey::new(Kind::ListenerSet, &set.name.namespace, &set.name.name);
            let judgements = judgements.remove(&key).unwrap_or_default();
            let (status, obstacle) = status::of_set(set, judgements, why, addresses.obstacle.as_ref());
            (set.name.clone(), ListenerSetOutput { status, obstacle })
        })
        .collect();
    let own = judgements.remove(&key).unwrap_or_default();
    let own: Vec<_> = own.into_iter().map(|judgement| judgement.status).collect();
    let trusted = serving.iter().filter_map(|it| Some(it.tls.clients.as_ref()?.bundle.clone()));
    let shared_secrets = trusted.map(SecretId::Authorities).collect();
    let status = GatewayStatus {
        addresses: addresses.assigned,
        conditions: [
            status::of_gateway(&own, refused, generation),
            status::resolved(&own, unresolved, generation),
        ]
        .into_iter()
        .chain(frontend::insecure(gateway))
        .chain(is_default.then(|| status::default_gateway(generation)))
        .chain(assignment.map(|assignment| status::addresses_assigned(&assignment, generation)))
        .collect(),
        listeners: own,
        attached_listener_sets: attached(&sets),
    };
    GatewayOutput {
        uid: gateway.metadata.uid.clone(),
        model,
        plan: ListenerPlan { addresses: addresses.bind, tracing, buffer_bytes, serving },
        secrets,
        clusters,
        shared_secrets,
        status,
        obstacle: addresses.obstacle,
        sets,
        problems,
    }
}

/// Says what the connections of each listener are like. Without TLS, those of a port belong to all its listeners.
fn connect(
    serving: &mut [ServedListener],
    said: &BTreeMap<ListenerId, OfListener>,
    policies: &Policies<'_, '_>,
    shows_certificate: bool,
) {
    let mut shared: BTreeMap<Port, Vec<&OfListener>> = BTreeMap::new();
    for served in serving.iter().filter(|served| served.listener.protocol == Protocol::Http) {
        shared.entry(served.listener.socket()).or_default().extend(said.get(&served.listener.id));
    }
    let shared: BTreeMap<Port, Arc<ConnectionSettings>> = shared
        .into_iter()
        .map(|(port, listeners)| (port, policies.connection(&listeners, shows_certificate)))
        .collect();
    for served in serving {
        match (shared.get(&served.listener.socket()), said.get(&served.listener.id)) {
            (Some(connection), _) => served.connection = Arc::clone(connection),
            (None, Some(own)) => served.connection = policies.connection(&[own], shows_certificate),
            (None, None) => {}
        }
    }
}

/// True if routes that ask for default Gateways attach (`spec.defaultScope`, GEP-3793).
fn is_default(key: &ObjectKey, gateway: &Gateway, problems: &mut Problems) -> bool {
    match gateway.spec.default_scope.as_ref().map_or("", AsRef::as_ref) {
        "" | "None" => false,
        "All" => true,
        other => {
            problems.error(
                key,
                "spec.defaultScope",
                format!("{other:?} is not a scope of default Gateways"),
                "use All or None",
            );
            false
        }
    }
}

/// How many ListenerSets are accepted; `None` if none asks.
fn attached(sets: &BTreeMap<NamespacedName, ListenerSetOutput>) -> Option<u32> {
    let is_accepted = |set: &&ListenerSetOutput| {
        set.status.conditions.iter().any(|c| c.type_ == condition_type::ACCEPTED && c.is_true())
    };
    let accepted = u32::try_from(sets.values().filter(is_accepted).count()).unwrap_or(u32::MAX);
    (!sets.is_empty()).then_some(accepted)
}
