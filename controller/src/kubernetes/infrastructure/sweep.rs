//! Deleting what is left of Gateways that are gone or not Postern's any more, after nobody was there to see it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ListParams};
use postern_api::gateway_api::Gateway;
use postern_translator::NamespacedName;

use super::apply::delete;
use super::drift;
use super::error::ProvisionError;
use super::objects::ObjectKind;
use super::plan;

/// An object to judge.
struct Candidate {
    kind: ObjectKind,
    object: NamespacedName,
    uid: String,
    metadata: ObjectMeta,
}

/// Deletes the objects that `controller_name` made for Gateways that are not in `known` (by name, with uid). Returns what was
/// deleted.
pub(super) async fn sweep(
    client: &Client,
    namespaces: &[String],
    controller_name: &str,
    known: &BTreeMap<NamespacedName, String>,
) -> Result<Vec<(ObjectKind, NamespacedName)>, ProvisionError> {
    let mut deleted = Vec::new();
    for ((gateway, uid), candidates) in candidates(client, namespaces, controller_name, known).await? {
        let api: Api<Gateway> = Api::namespaced(client.clone(), &gateway.namespace);
        let found = api
            .get_opt(&gateway.name)
            .await
            .map_err(|source| ProvisionError::Gateway { object: gateway.clone(), source })?
            .filter(|it| it.metadata.uid.as_deref() == Some(uid.as_str()));
        for candidate in candidates {
            let keep = found.as_ref().is_some_and(|gateway| {
                !plan::is_of_other_class(&candidate.metadata, &gateway.spec.gateway_class_name)
            });
            if !keep {
                delete(client, candidate.kind, &candidate.object, &candidate.uid).await?;
                deleted.push((candidate.kind, candidate.object));
            }
        }
    }
    Ok(deleted)
}

async fn candidates(
    client: &Client,
    namespaces: &[String],
    controller_name: &str,
    known: &BTreeMap<NamespacedName, String>,
) -> Result<BTreeMap<(NamespacedName, String), Vec<Candidate>>, ProvisionError> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let parameters = ListParams::default().labels(&drift::selector());
    for kind in ObjectKind::ALL {
        for api in drift::apis(client, kind, namespaces) {
            let list = api.list(&parameters).await.map_err(|source| ProvisionError::List { kind, source })?;
            for metadata in list.items.into_iter().map(|it| it.metadata) {
                let Some((gateway, uid)) = plan::gateway_of(&metadata) else { continue };
                let namespace = metadata.namespace.as_deref().unwrap_or_default();
                let gateway = NamespacedName::new(namespace, gateway);
                let ours = plan::is_made_by(&metadata, controller_name);
                if !ours
                    || known.get(&gateway).is_some_and(|it| it == uid)
                    || metadata.deletion_timestamp.is_some()
                {
                    continue;
                }
                let candidate = Candidate {
                    kind,
                    object: NamespacedName::new(namespace, metadata.name.as_deref().unwrap_or_default()),
                    uid: metadata.uid.clone().unwrap_or_default(),
                    metadata: metadata.clone(),
                };
                all.entry((gateway, uid.to_owned())).or_default().push(candidate);
            }
        }
    }
    Ok(all)
}
