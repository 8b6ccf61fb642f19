//! Carrying out what has to be done for one Gateway.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::{DynamicResourceScope, PartialObjectMeta};
use kube::{Client, Resource};
use postern_api::gateway_api::Gateway;
use postern_translator::infrastructure::{ProxyParameters, infrastructure_name};
use postern_translator::{Infrastructure, NamespacedName};
use serde_json::{Value, json};

use super::error::ProvisionError;
use super::labels::MANAGER;
use super::objects::ObjectKind;
use super::options::RenderOptions;
use super::plan::{self, Owner, Record, Step, owner};
use super::render::{RenderError, render};
use crate::bootstrap::CA_FILE;

/// The field manager that keeps `replicas` when Postern no longer says how many there are.
const REPLICAS_MANAGER: &str = "postern-replicas";

/// What became of one attempt.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What is applied now.
    pub(super) records: BTreeMap<ObjectKind, Record>,
    /// What was made, changed or deleted: verb and kind.
    pub(super) changes: Vec<(&'static str, ObjectKind)>,
    /// Whether changes of somebody else were undone.
    pub(super) repaired: bool,
    /// What failed. The rest was done.
    pub(super) errors: Vec<ProvisionError>,
}

/// The objects of one Gateway at the API server.
pub(super) struct Applier {
    client: Client,
    gateway: NamespacedName,
    object: NamespacedName,
}

impl Applier {
    pub(super) fn new(client: Client, gateway: NamespacedName) -> Self {
        let object = NamespacedName::new(&gateway.namespace, infrastructure_name(&gateway.name));
        Self { client, gateway, object }
    }

    /// Makes the objects of the Gateway what they shall be.
    pub(super) async fn provision(
        &self,
        infrastructure: &Infrastructure,
        options: &RenderOptions,
        ca_bundle: &str,
        records: BTreeMap<ObjectKind, Record>,
    ) -> Outcome {
        let mut outcome = Outcome { records, ..Outcome::default() };
        let result = match infrastructure.parameters {
            ProxyParameters::Invalid => self.renew_ca(infrastructure, ca_bundle, &mut outcome).await,
            _ => self.carry_out(infrastructure, options, ca_bundle, &mut outcome).await,
        };
        outcome.errors.extend(result.err());
        outcome
    }

    async fn carry_out(
        &self,
        infrastructure: &Infrastructure,
        options: &RenderOptions,
        ca_bundle: &str,
        outcome: &mut Outcome,
    ) -> Result<(), ProvisionError> {
        let objects = render(infrastructure, options, ca_bundle)?;
        let wanted = objects.manifests().map_err(RenderError::from)?;
        let existing = self.existing().await?;
        let uid = &infrastructure.uid;
        let plan =
            plan::plan(&self.gateway, uid, &options.controller_name, &wanted, &existing, &outcome.records);
        let object = || self.object.clone();
        if !plan.taken.is_empty() {
            let errors = plan.taken.into_iter().map(|kind| ProvisionError::Taken { kind, object: object() });
            outcome.errors.extend(errors);
            return Ok(());
        }
        // Objects that vanish may be the first sign of a Gateway that was deleted: what is made anew for it would be orphaned.
        // And who owned the leftovers is gone only if the Gateway of that name is the one that we know.
        let news = !plan.leftovers.is_empty() || plan.steps.iter().any(|it| matches!(it.1, Step::Create(_)));
        if news && self.uid().await?.as_ref() != Some(uid) {
            return Err(ProvisionError::Outdated { object: self.gateway.clone() });
        }
        for (kind, uid) in &plan.leftovers {
            self.delete(*kind, uid).await?;
        }
        let ending = plan.ending.into_iter().chain(plan.leftovers.into_iter().map(|it| it.0));
        outcome.errors.extend(ending.map(|kind| ProvisionError::Ending { kind, object: object() }));
        for (kind, step) in plan.steps {
            if kind > ObjectKind::ConfigMap && outcome.errors.iter().any(ProvisionError::bars_pods) {
                break;
            }
            if let Err(error) = self.step(kind, step, outcome).await {
                outcome.errors.push(error);
            }
        }
        Ok(())
    }

    async fn step(&self, kind: ObjectKind, step: Step, outcome: &mut Outcome) -> Result<(), ProvisionError> {
        match step {
            Step::Create(manifest) => {
                // Without force: should somebody else be quicker, it is theirs.
                let metadata = self.apply(kind, &manifest, &PatchParams::apply(MANAGER)).await?;
                outcome.changes.push(("created", kind));
                outcome.records.insert(kind, Record::new(&manifest, &metadata));
            }
            Step::Update { manifest, uid, resource_version, repair, keep_replicas } => {
                if keep_replicas {
                    self.keep_replicas(&uid).await?;
                }
                let mut meant = manifest.clone();
                meant["metadata"]["uid"] = uid.into();
                let metadata = self.apply(kind, &meant, &PatchParams::apply(MANAGER).force()).await?;
                if metadata.resource_version != resource_version {
                    outcome.changes.push((if repair { "restored" } else { "updated" }, kind));
                    outcome.repaired |= repair;
                }
                outcome.records.insert(kind, Record::new(&manifest, &metadata));
            }
            Step::Delete { uid } => {
                self.delete(kind, &uid).await?;
                outcome.records.remove(&kind);
                outcome.changes.push(("deleted", kind));
            }
        }
        Ok(())
    }

    /// Lets the number of replicas stay what it is when Postern stops applying it.
    async fn keep_replicas(&self, uid: &str) -> Result<(), ProvisionError> {
        let kind = ObjectKind::Deployment;
        let api: Api<DynamicObject> = self.api(kind);
        let deployment = api.get(&self.object.name).await.map_err(self.failed("read", kind))?;
        let manifest = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.object.name, "uid": uid},
            "spec": {"replicas": deployment.data["spec"]["replicas"]},
        });
        self.apply(kind, &manifest, &PatchParams::apply(REPLICAS_MANAGER)).await?;
        Ok(())
    }

    /// Nobody knows what the Gateway wants, but its proxies shall not lose the control plane meanwhile.
    async fn renew_ca(
        &self,
        infrastructure: &Infrastructure,
        ca_bundle: &str,
        outcome: &mut Outcome,
    ) -> Result<(), ProvisionError> {
        let kind = ObjectKind::ConfigMap;
        let api: Api<DynamicObject> = self.api(kind);
        let Some(found) = api.get_opt(&self.object.name).await.map_err(self.failed("read", kind))? else {
            return Ok(());
        };
        let ours = owner(&found.metadata, &self.gateway.name, &infrastructure.uid) == Owner::Gateway;
        if !ours || found.data["data"][CA_FILE] == ca_bundle {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": found.metadata.uid}, "data": {CA_FILE: ca_bundle}});
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&self.object.name, &parameters, &Patch::Merge(patch))
            .await
            .map_err(self.failed("update", kind))?;
        outcome.records.remove(&kind);
        outcome.changes.push(("updated", kind));
        Ok(())
    }

    /// Deletes the objects of a Gateway that is not Postern's any more. Those of a deleted Gateway are left to the garbage
    /// collector.
    pub(super) async fn release(&self, controller_name: &str) -> Outcome {
        let mut outcome = Outcome::default();
        let result = self.try_release(controller_name, &mut outcome).await;
        outcome.errors.extend(result.err());
        outcome
    }

    async fn try_release(&self, controller_name: &str, outcome: &mut Outcome) -> Result<(), ProvisionError> {
        let Some(gateway) = self.gateway().await? else { return Ok(()) };
        let uid = gateway.metadata.uid.as_deref().unwrap_or_default();
        for (kind, metadata) in self.existing().await? {
            let ours = owner(&metadata, &self.gateway.name, uid) == Owner::Gateway
                && plan::is_made_by(&metadata, controller_name);
            if ours && plan::is_of_other_class(&metadata, &gateway.spec.gateway_class_name) {
                self.delete(kind, metadata.uid.as_deref().unwrap_or_default()).await?;
                outcome.changes.push(("deleted", kind));
            }
        }
        Ok(())
    }

    async fn existing(&self) -> Result<BTreeMap<ObjectKind, ObjectMeta>, ProvisionError> {
        let found = ObjectKind::ALL.map(|kind| async move {
            let api: Api<PartialObjectMeta<DynamicObject>> = self.api(kind);
            let found = api.get_opt(&self.object.name).await.map_err(self.failed("read", kind))?;
            Ok::<_, ProvisionError>(found.map(|it| (kind, it.metadata)))
        });
        Ok(try_join_all(found).await?.into_iter().flatten().collect())
    }

    async fn gateway(&self) -> Result<Option<Gateway>, ProvisionError> {
        let api: Api<Gateway> = Api::namespaced(self.client.clone(), &self.gateway.namespace);
        let object = self.gateway.clone();
        api.get_opt(&self.gateway.name).await.map_err(|source| ProvisionError::Gateway { object, source })
    }

    async fn uid(&self) -> Result<Option<String>, ProvisionError> {
        Ok(self.gateway().await?.and_then(|it| it.metadata.uid))
    }

    async fn apply(
        &self,
        kind: ObjectKind,
        manifest: &Value,
        parameters: &PatchParams,
    ) -> Result<ObjectMeta, ProvisionError> {
        let api: Api<PartialObjectMeta<DynamicObject>> = self.api(kind);
        let applied = api
            .patch(&self.object.name, parameters, &Patch::Apply(manifest))
            .await
            .map_err(self.failed("apply", kind))?;
        Ok(applied.metadata)
    }

    async fn delete(&self, kind: ObjectKind, uid: &str) -> Result<(), ProvisionError> {
        delete(&self.client, kind, &self.object, uid).await
    }

    fn api<K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>>(
        &self,
        kind: ObjectKind,
    ) -> Api<K> {
        Api::namespaced_with(self.client.clone(), &self.gateway.namespace, &kind.resource())
    }

    fn failed(
        &self,
        verb: &'static str,
        kind: ObjectKind,
    ) -> impl FnOnce(kube::Error) -> ProvisionError + use<> {
        let object = self.object.clone();
        move |source| ProvisionError::Api { verb, kind, object, source }
    }
}

/// Deletes the object with this uid and no other; it is no failure if it is gone already.
pub(super) async fn delete(
    client: &Client,
    kind: ObjectKind,
    object: &NamespacedName,
    uid: &str,
) -> Result<(), ProvisionError> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &object.namespace, &kind.resource());
    match api.delete(&object.name, &DeleteParams::background().preconditions(preconditions)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        result => result.map(drop).map_err(|source| ProvisionError::Api {
            verb: "delete",
            kind,
            object: object.clone(),
            source,
        }),
    }
}
