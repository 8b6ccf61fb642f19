//! How the API server calls a kind.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kube::Client;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use postern_translator::Kind;

/// The served version and the plural name of each kind, asked for once.
#[derive(Debug, Default)]
pub(super) struct Resources(Mutex<BTreeMap<Kind, ApiResource>>);

impl Resources {
    /// The resource of `kind`, in the first version that is both understood and served.
    pub(super) async fn get(&self, client: &Client, kind: Kind) -> Result<ApiResource, kube::Error> {
        if let Some(known) = self.lock().get(&kind) {
            return Ok(known.clone());
        }
        let mut missing = None;
        for version in kind.versions() {
            let gvk = GroupVersionKind::gvk(kind.group(), version, kind.as_str());
            match kube::discovery::pinned_kind(client, &gvk).await {
                Ok((resource, _)) => {
                    self.lock().insert(kind, resource.clone());
                    return Ok(resource);
                }
                Err(error) if is_missing(&error) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(missing
            .unwrap_or(kube::Error::Discovery(kube::error::DiscoveryError::MissingKind(kind.to_string()))))
    }

    /// The plural name of `kind`, as far as it was asked for; else the kind.
    pub(super) fn plural(&self, kind: Kind) -> String {
        self.lock().get(&kind).map_or_else(|| kind.to_string(), |resource| resource.plural.clone())
    }

    /// Asks again next time: the version is not served any more, or the CRD is gone.
    pub(super) fn forget(&self, kind: Kind) {
        self.lock().remove(&kind);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Kind, ApiResource>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_missing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.is_not_found(),
        kube::Error::Discovery(_) => true,
        _ => false,
    }
}
