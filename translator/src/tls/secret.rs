//! Secrets that clusters and listeners share: certificates of authorities, and certificates that are shown to backends.

use std::sync::Arc;

use super::authorities::{self, BundleId};
use crate::dependency::Reader;
use crate::gateway::certificates;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::resource::Resource;

/// What the SDS names of certificates begin with that a backend asks for. Those of Gateways are named like their Secrets.
const CLIENT: &str = "client/";

/// The identity of a shared secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SecretId {
    /// Certificates of authorities.
    Authorities(BundleId),
    /// The certificate, with its key, that is shown to a backend which says so itself.
    Client(NamespacedName),
}

impl SecretId {
    /// The SDS name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Authorities(bundle) => bundle.name(),
            Self::Client(secret) => format!("{CLIENT}{secret}"),
        }
    }

    /// The object that it is made of, the first of several.
    pub(crate) fn object(&self) -> ObjectKey {
        match self {
            Self::Authorities(bundle) => bundle.sources()[0].clone(),
            Self::Client(secret) => ObjectKey::new(Kind::Secret, &secret.namespace, &secret.name),
        }
    }

    /// The object that an SDS name leads back to; `None` if it is not the name of a shared secret.
    pub(crate) fn object_of(name: &str) -> Option<ObjectKey> {
        let client = |name: &str| {
            let (namespace, name) = name.strip_prefix(CLIENT)?.split_once('/')?;
            Some(ObjectKey::new(Kind::Secret, namespace, name))
        };
        BundleId::object(name).or_else(|| client(name))
    }
}

/// The secret; `None` if its objects hold nothing that can be used.
pub(crate) fn resource(reader: &Reader<'_>, id: &SecretId) -> Option<Arc<Resource>> {
    match id {
        SecretId::Authorities(bundle) => authorities::resource(reader, bundle),
        SecretId::Client(secret) => certificates::of_secret(reader, secret, &id.name()),
    }
}
