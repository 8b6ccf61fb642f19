//! Which parts of a status are ours, by kind.

use postern_api::gateway_api::condition_type as types;
use postern_translator::Kind;

/// The parts of a kind's status that Postern writes. Everything else in it belongs to others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Condition types of `status.conditions` that are ours; `None` if Postern writes no conditions there.
    pub(super) conditions: Option<&'static [&'static str]>,
    /// Condition types of `status.listeners[].conditions` that are ours; `None` if the kind has no listeners.
    pub(super) listeners: Option<&'static [&'static str]>,
    /// The list with one entry per controller and object, if the kind has one.
    pub(super) entries: Option<Entries>,
    /// Fields that are ours as a whole.
    pub(super) fields: &'static [&'static str],
}

/// A list of a status whose entries each belong to one controller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entries {
    /// Name of the list in the status.
    pub(super) list: &'static str,
    /// Name of the field of an entry that says what the entry is about.
    pub(super) reference: &'static str,
    /// How many entries of all controllers the API server admits.
    pub(super) most: usize,
    /// Condition types of our entries that are ours.
    pub(super) types: &'static [&'static str],
}

/// The API server admits this many conditions in every list of them.
pub(super) const MAX_CONDITIONS: usize = 8;

const CLASS: Layout = Layout {
    conditions: Some(&[types::ACCEPTED, types::SUPPORTED_VERSION]),
    listeners: None,
    entries: None,
    fields: &["supportedFeatures"],
};

const GATEWAY: Layout = Layout {
    conditions: Some(&[
        types::ACCEPTED,
        types::PROGRAMMED,
        types::RESOLVED_REFS,
        types::ADDRESSES_ASSIGNED,
        types::DEFAULT_GATEWAY,
        types::INSECURE_FRONTEND_VALIDATION_MODE,
    ]),
    listeners: Some(LISTENER),
    entries: None,
    fields: &["addresses", "attachedListenerSets"],
};

const LISTENER_SET: Layout = Layout {
    conditions: Some(&[types::ACCEPTED, types::PROGRAMMED, types::RESOLVED_REFS]),
    listeners: Some(LISTENER),
    entries: None,
    fields: &[],
};

const LISTENER: &[&str] = &[
    types::ACCEPTED,
    types::CONFLICTED,
    types::RESOLVED_REFS,
    types::PROGRAMMED,
    types::OVERLAPPING_TLS_CONFIG,
];

const ROUTE: Layout = Layout {
    conditions: None,
    listeners: None,
    entries: Some(Entries {
        list: "parents",
        reference: "parentRef",
        most: 32,
        types: &[types::ACCEPTED, types::RESOLVED_REFS, types::PARTIALLY_INVALID],
    }),
    fields: &[],
};

const POLICY: Layout = Layout {
    conditions: None,
    listeners: None,
    entries: Some(Entries {
        list: "ancestors",
        reference: "ancestorRef",
        most: 16,
        types: &[types::ACCEPTED, types::ATTACHED, types::RESOLVED_REFS],
    }),
    fields: &[],
};

const X_BACKEND: Layout = Layout {
    conditions: None,
    listeners: None,
    entries: Some(Entries {
        list: "ancestors",
        reference: "ancestorRef",
        most: 32,
        types: &[types::ACCEPTED, types::RESOLVED_REFS],
    }),
    fields: &[],
};

const CONDITIONS: Layout = Layout {
    conditions: Some(&[types::ACCEPTED, types::RESOLVED_REFS]),
    listeners: None,
    entries: None,
    fields: &[],
};

/// What Postern writes into the status of objects of `kind`; `None` if it writes none.
pub(super) fn layout(kind: Kind) -> Option<&'static Layout> {
    match kind {
        Kind::Namespace
        | Kind::Service
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::EndpointSlice
        | Kind::Pod
        | Kind::ServiceImport
        | Kind::ClusterTrustBundle
        | Kind::ReferenceGrant => None,
        Kind::GatewayClass => Some(&CLASS),
        Kind::Gateway => Some(&GATEWAY),
        Kind::ListenerSet => Some(&LISTENER_SET),
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => Some(&ROUTE),
        Kind::XBackend => Some(&X_BACKEND),
        Kind::BackendTlsPolicy
        | Kind::XBackendTrafficPolicy
        | Kind::XTelemetryPolicy
        | Kind::TrafficPolicy
        | Kind::BackendConfigPolicy
        | Kind::HttpListenerPolicy => Some(&POLICY),
        Kind::Backend
        | Kind::DirectResponse
        | Kind::GatewayExtension
        | Kind::GatewayParameters
        | Kind::AiBackend => Some(&CONDITIONS),
    }
}
