//! Why the objects of a Gateway are not as they shall be.

use postern_translator::NamespacedName;

use super::objects::ObjectKind;
use super::render::RenderError;

/// Why the objects of a Gateway are not as they shall be.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// There is an object of the name that is somebody else's.
    #[error(
        "{kind} {object} exists already and does not belong to this Gateway: delete or rename it, or give the Gateway another name"
    )]
    Taken {
        /// Its kind.
        kind: ObjectKind,
        /// Its name.
        object: NamespacedName,
    },
    /// An object of the name is on its way out, as that of a deleted Gateway of the same name.
    #[error("{kind} {object} is being deleted and has to be gone first")]
    Ending {
        /// Its kind.
        kind: ObjectKind,
        /// Its name.
        object: NamespacedName,
    },
    /// There is no such Gateway any more; the watch is about to say so.
    #[error("Gateway {object} was deleted")]
    Outdated {
        /// Its name.
        object: NamespacedName,
    },
    /// The API server refused.
    #[error("cannot {verb} {kind} {object}: {}", message(source))]
    Api {
        /// What was tried.
        verb: &'static str,
        /// The kind of the object.
        kind: ObjectKind,
        /// Its name.
        object: NamespacedName,
        /// What the API server says.
        source: kube::Error,
    },
    /// The Gateway cannot be read.
    #[error("cannot read Gateway {object}: {}", message(source))]
    Gateway {
        /// Its name.
        object: NamespacedName,
        /// What the API server says.
        source: kube::Error,
    },
    /// The objects of a kind cannot be listed.
    #[error("cannot list the {kind} objects: {}", message(source))]
    List {
        /// The kind.
        kind: ObjectKind,
        /// What the API server says.
        source: kube::Error,
    },
    /// The objects cannot be written down.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A defect of Postern.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ProvisionError {
    /// Whether it goes by without anybody doing anything.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Ending { .. } | Self::Outdated { .. } => true,
            Self::Api { source: kube::Error::Api(status), .. } => {
                let causes = status.details.as_ref().map(|it| it.causes.as_slice()).unwrap_or_default();
                // The object came or went between the look and the deed; or nothing can be made in a namespace that is being
                // deleted, and all of it goes.
                status.is_conflict() || causes.iter().any(|it| it.reason == "NamespaceTerminating")
            }
            _ => false,
        }
    }

    /// Whether pods would lack what they start from.
    pub(super) fn bars_pods(&self) -> bool {
        match self {
            Self::Taken { kind, .. } | Self::Ending { kind, .. } | Self::Api { kind, .. } => {
                *kind <= ObjectKind::ConfigMap
            }
            _ => true,
        }
    }
}

/// What the API server says, without how the client wraps it.
fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::Status;
    use serde_json::json;

    use super::*;

    fn refused(reason: &str) -> ProvisionError {
        let status: Status = serde_json::from_value(json!({
            "message": "no room", "reason": "Forbidden", "code": 403, "details": {"causes": [{"reason": reason}]},
        }))
        .unwrap();
        ProvisionError::Api {
            verb: "create",
            kind: ObjectKind::Deployment,
            object: NamespacedName::new("default", "web"),
            source: kube::Error::Api(status.boxed()),
        }
    }

    #[test]
    fn says_what_where_and_why() {
        assert_eq!(refused("").to_string(), "cannot create Deployment default/web: no room");
    }

    #[test]
    fn the_end_of_a_namespace_is_nobodys_problem() {
        assert!(refused("NamespaceTerminating").is_passing());
        assert!(!refused("Quota").is_passing());
    }
}
