//! Where what came of a translation goes: statuses, infrastructure, events, metrics.

use std::sync::Arc;

use postern_translator::{Change, Kind, NamespacedName, ObjectKey};
use postern_xds::ResourceType;

use crate::inspect::Inspector;
use crate::kubernetes::events::{EventNote, Events};
use crate::kubernetes::infrastructure::{ProvisionReport, Provisioner};
use crate::kubernetes::status::StatusWriter;
use crate::telemetry::Metrics;
use crate::translation::{Outcome, Translation};

/// All of them.
pub(super) struct Sinks {
    pub(super) statuses: StatusWriter,
    pub(super) provisioner: Provisioner,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) inspector: Inspector,
}

impl Sinks {
    /// Passes on what a translation brought.
    pub(super) fn tell(&self, outcome: Outcome) {
        for (key, status) in outcome.statuses {
            self.statuses.desired(&key, status);
        }
        for (gateway, infrastructure) in outcome.infrastructure {
            self.provisioner.set(gateway, infrastructure);
        }
    }

    /// Passes on what the API server has, after [`tell`](Self::tell) for what was made of it.
    pub(super) fn observed(&self, change: Change) {
        match change {
            Change::Upsert(object) if has_status(object.kind()) => self.statuses.observed(object),
            Change::Delete(key) if has_status(key.kind) => self.statuses.gone(&key),
            _ => {}
        }
    }

    /// Everything that exists was translated once.
    pub(super) fn serving(&self) {
        self.statuses.synced();
        self.provisioner.complete();
        self.inspector.set_synced(true);
    }

    /// An object cannot be read.
    pub(super) fn invalid(&self, key: &ObjectKey, uid: &str, generation: Option<i64>, error: &str) {
        tracing::warn!(object = %key, generation, error, "the object cannot be read; its last good version stays");
        let note = format!("cannot be read, the last good version stays: {error}");
        self.events.publish(key, Some(uid), EventNote::warning("Invalid", "Read", note));
    }

    /// The objects of a Gateway were made, or could not be.
    pub(super) fn provisioned(&self, report: &ProvisionReport) {
        let (gateway, uid, note) = match report {
            ProvisionReport::Provisioned { gateway, changes, .. } if changes.is_empty() => {
                tracing::debug!(%gateway, "its objects are as they should be");
                return;
            }
            ProvisionReport::Provisioned { gateway, uid, changes } => {
                tracing::info!(%gateway, changes = changes.join(", "), "provisioned");
                (gateway, uid, EventNote::normal("Provisioned", "Provision", changes.join(", ")))
            }
            ProvisionReport::Failed { gateway, uid, message } => {
                tracing::warn!(%gateway, message, "cannot provision");
                (gateway, uid, EventNote::warning("ProvisioningFailed", "Provision", message.clone()))
            }
        };
        let key = ObjectKey::new(Kind::Gateway, &gateway.namespace, &gateway.name);
        self.events.publish(&key, Some(uid), note);
    }

    /// A proxy of `gateway` rejected these resources.
    pub(super) fn rejected(
        &self,
        translation: &Translation,
        gateway: &NamespacedName,
        resource_type: ResourceType,
        names: &[Arc<str>],
        error: &str,
    ) {
        let names = names.join(", ");
        tracing::warn!(%gateway, %resource_type, names, error, "a proxy rejected resources");
        let key = ObjectKey::new(Kind::Gateway, &gateway.namespace, &gateway.name);
        let uid = translation.translator().object(&key).and_then(|gateway| gateway.metadata().uid.as_deref());
        let note =
            format!("a proxy rejected {resource_type} {names}, and keeps the last good version: {error}");
        self.events.publish(&key, uid, EventNote::warning("Rejected", "Configure", note));
    }
}

/// Whether Postern writes a status for objects of the kind.
const fn has_status(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Namespace
            | Kind::Service
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::EndpointSlice
            | Kind::ClusterTrustBundle
            | Kind::ReferenceGrant
    )
}
