//! Conditions, and the types and reasons that the Gateway API defines.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One condition of a status.
///
/// Like `metav1.Condition`, with an optional `lastTransitionTime`: what decides a condition has no clock, what
/// writes it has one. The API server wants `reason` and `lastTransitionTime` in the kinds of the Gateway API.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "One condition of a status.")]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition in CamelCase.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,
    /// Whether the condition holds.
    pub status: ConditionStatus,
    /// Generation of the object that the condition was decided for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Machine-readable reason in CamelCase.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// What a person should know about it; may be empty.
    #[serde(default)]
    #[schemars(length(max = 32768))]
    pub message: String,
}

impl Condition {
    /// A condition without observed generation and transition time.
    pub fn new(type_: &str, status: ConditionStatus, reason: &str, message: impl Into<String>) -> Self {
        Self {
            type_: type_.to_owned(),
            status,
            observed_generation: None,
            last_transition_time: None,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// The same condition, observed at `generation`.
    #[must_use]
    pub fn observed(mut self, generation: Option<i64>) -> Self {
        self.observed_generation = generation;
        self
    }

    /// Whether the status is `True`.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// Whether a condition holds. The API server admits no other value, so this enum is closed.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not decided.
    #[default]
    Unknown,
}

impl ConditionStatus {
    /// The value as it is written: `True`, `False` or `Unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl std::fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Condition types. Those of the Gateway API are its v1.7.0 constants; deprecated ones are left out.
pub mod condition_type {
    /// The object is valid and a controller takes care of it (all kinds).
    pub const ACCEPTED: &str = "Accepted";
    /// Gateway: all addresses of the spec are assigned.
    pub const ADDRESSES_ASSIGNED: &str = "AddressesAssigned";
    /// Extension policies: the policy takes effect on its target.
    pub const ATTACHED: &str = "Attached";
    /// Listener: it conflicts with another listener.
    pub const CONFLICTED: &str = "Conflicted";
    /// Gateway: routes that ask for default Gateways attach (GEP-3793); present only when true.
    pub const DEFAULT_GATEWAY: &str = "DefaultGateway";
    /// Gateway: clients without a valid certificate are accepted; present only when true.
    pub const INSECURE_FRONTEND_VALIDATION_MODE: &str = "InsecureFrontendValidationMode";
    /// Listener: host names or certificates overlap with another listener; present only when true.
    pub const OVERLAPPING_TLS_CONFIG: &str = "OverlappingTLSConfig";
    /// Route: some rules are invalid and others serve; present only when true.
    pub const PARTIALLY_INVALID: &str = "PartiallyInvalid";
    /// Gateway, ListenerSet and listener: the data plane has the configuration.
    pub const PROGRAMMED: &str = "Programmed";
    /// Reserved by the Gateway API.
    pub const READY: &str = "Ready";
    /// All references of the object resolve (Gateway, listener, route, policy).
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// GatewayClass: the installed CRDs have a supported version.
    pub const SUPPORTED_VERSION: &str = "SupportedVersion";
}

/// Condition reasons. Those of the Gateway API are its v1.7.0 constants; deprecated ones are left out.
pub mod reason {
    /// Accepted, when true.
    pub const ACCEPTED: &str = "Accepted";
    /// Gateway not programmed: no address yet.
    pub const ADDRESS_NOT_ASSIGNED: &str = "AddressNotAssigned";
    /// Gateway not programmed: a requested address cannot be used.
    pub const ADDRESS_NOT_USABLE: &str = "AddressNotUsable";
    /// Gateway: all addresses are assigned.
    pub const ADDRESSES_ASSIGNED: &str = "AddressesAssigned";
    /// Extension policy: in effect on its target.
    pub const ATTACHED: &str = "Attached";
    /// Route, not resolved: a backend does not exist.
    pub const BACKEND_NOT_FOUND: &str = "BackendNotFound";
    /// Gateway: the insecure validation mode was chosen.
    pub const CONFIGURATION_CHANGED: &str = "ConfigurationChanged";
    /// Policy not accepted: another policy has the same target.
    pub const CONFLICTED: &str = "Conflicted";
    /// Gateway: it is a default Gateway.
    pub const DEFAULT_GATEWAY: &str = "DefaultGateway";
    /// Listener in conflict: same port, protocol and host name as another one.
    pub const HOSTNAME_CONFLICT: &str = "HostnameConflict";
    /// Route not accepted: filters of one rule exclude each other.
    pub const INCOMPATIBLE_FILTERS: &str = "IncompatibleFilters";
    /// Not valid; the message says why.
    pub const INVALID: &str = "Invalid";
    /// Not resolved: a CA certificate reference has a kind that is not supported.
    pub const INVALID_CA_CERTIFICATE_KIND: &str = "InvalidCACertificateKind";
    /// Not resolved: a CA certificate does not exist or is malformed.
    pub const INVALID_CA_CERTIFICATE_REF: &str = "InvalidCACertificateRef";
    /// Listener, not resolved: a certificate does not exist or is malformed.
    pub const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
    /// Gateway, not resolved: the client certificate does not exist or is malformed.
    pub const INVALID_CLIENT_CERTIFICATE_REF: &str = "InvalidClientCertificateRef";
    /// Not resolved: a reference has a kind that is not supported.
    pub const INVALID_KIND: &str = "InvalidKind";
    /// Not accepted: `parametersRef` does not exist or is not valid.
    pub const INVALID_PARAMETERS: &str = "InvalidParameters";
    /// Listener, not resolved: `allowedRoutes.kinds` names a kind that is not supported.
    pub const INVALID_ROUTE_KINDS: &str = "InvalidRouteKinds";
    /// Listener of a ListenerSet in conflict with one of the Gateway or of an older ListenerSet.
    pub const LISTENER_CONFLICT: &str = "ListenerConflict";
    /// Reserved by the Gateway API.
    pub const LISTENERS_NOT_READY: &str = "ListenersNotReady";
    /// Gateway, not resolved: a listener has unresolved references.
    pub const LISTENERS_NOT_RESOLVED: &str = "ListenersNotResolved";
    /// Gateway or ListenerSet: at least one listener is not valid.
    pub const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
    /// Extension policy: in effect together with fields of other policies.
    pub const MERGED: &str = "Merged";
    /// Listener: no conflict.
    pub const NO_CONFLICTS: &str = "NoConflicts";
    /// Route not accepted: no host name in common with a listener.
    pub const NO_MATCHING_LISTENER_HOSTNAME: &str = "NoMatchingListenerHostname";
    /// Route not accepted: no listener of the parent has the given section name and port.
    pub const NO_MATCHING_PARENT: &str = "NoMatchingParent";
    /// Gateway not programmed: the infrastructure lacks resources.
    pub const NO_RESOURCES: &str = "NoResources";
    /// ListenerSet not accepted: the Gateway does not allow it.
    pub const NOT_ALLOWED: &str = "NotAllowed";
    /// Route not accepted: no listener allows this kind of route from this namespace.
    pub const NOT_ALLOWED_BY_LISTENERS: &str = "NotAllowedByListeners";
    /// Gateway: no address is assigned.
    pub const NOT_ASSIGNED: &str = "NotAssigned";
    /// Not accepted: none of the CA certificates is valid.
    pub const NO_VALID_CA_CERTIFICATE: &str = "NoValidCACertificate";
    /// Listener: its certificate covers host names of another listener.
    pub const OVERLAPPING_CERTIFICATES: &str = "OverlappingCertificates";
    /// Listener: its host name overlaps with that of another listener.
    pub const OVERLAPPING_HOSTNAMES: &str = "OverlappingHostnames";
    /// Extension policy: other policies set all its fields.
    pub const OVERRIDDEN: &str = "Overridden";
    /// ListenerSet not accepted: its Gateway is not accepted.
    pub const PARENT_NOT_ACCEPTED: &str = "ParentNotAccepted";
    /// ListenerSet not programmed: its Gateway is not programmed.
    pub const PARENT_NOT_PROGRAMMED: &str = "ParentNotProgrammed";
    /// Gateway: some addresses are assigned.
    pub const PARTIALLY_ASSIGNED: &str = "PartiallyAssigned";
    /// No controller has decided yet.
    pub const PENDING: &str = "Pending";
    /// Listener not accepted: the port cannot be used.
    pub const PORT_UNAVAILABLE: &str = "PortUnavailable";
    /// Programmed, when true.
    pub const PROGRAMMED: &str = "Programmed";
    /// Listener in conflict: same port as a listener of an incompatible protocol.
    pub const PROTOCOL_CONFLICT: &str = "ProtocolConflict";
    /// Reserved by the Gateway API.
    pub const READY: &str = "Ready";
    /// Not resolved: a reference to another namespace lacks a ReferenceGrant.
    pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    /// Resolved, when true.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// GatewayClass: the version of the CRDs is supported.
    pub const SUPPORTED_VERSION: &str = "SupportedVersion";
    /// Policy not accepted: the target does not exist.
    pub const TARGET_NOT_FOUND: &str = "TargetNotFound";
    /// Listener not accepted: the Gateway has too many listeners.
    pub const TOO_MANY_LISTENERS: &str = "TooManyListeners";
    /// Not accepted: this controller does not support it.
    pub const UNSUPPORTED: &str = "Unsupported";
    /// Gateway not accepted: an address type is not supported.
    pub const UNSUPPORTED_ADDRESS: &str = "UnsupportedAddress";
    /// Listener not accepted, or route not resolved: the protocol is not supported.
    pub const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
    /// Not accepted: a field has a value that is not supported.
    pub const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
    /// GatewayClass: the version of the CRDs is not supported.
    pub const UNSUPPORTED_VERSION: &str = "UnsupportedVersion";
    /// Extension policy: valid, when true.
    pub const VALID: &str = "Valid";
}
