//! Objects into the cluster, by server-side apply.

use std::collections::HashMap;

use anyhow::anyhow;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope};
use kube::{Client, runtime};
use serde_json::Value;
use tokio::time::{Duration, timeout};

use super::manifests::title;
use crate::cli::cluster::explain;

/// Whose fields they are.
const MANAGER: &str = "postern-install";

/// How long the API server may take to serve a new kind.
const ESTABLISHED: Duration = Duration::from_secs(30);

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is new.
    Created,
    /// It was changed.
    Configured,
    /// It was so already.
    Unchanged,
}

impl Outcome {
    /// The word of `kubectl`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Applies objects.
pub(super) struct Applier {
    client: Client,
    force: bool,
    resources: HashMap<GroupVersionKind, (ApiResource, bool)>,
}

impl Applier {
    /// With `force`, takes fields that others manage.
    pub(super) fn new(client: Client, force: bool) -> Self {
        Self { client, force, resources: HashMap::new() }
    }

    /// Applies `object`.
    pub(super) async fn apply(&mut self, object: &Value) -> anyhow::Result<Outcome> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let api = self.api(object).await?;
        let before = api.get_metadata_opt(name).await.map_err(|error| self.failure(object, &error))?;
        let mut params = PatchParams::apply(MANAGER);
        params.force = self.force;
        let after = api.patch(name, &params, &Patch::Apply(object)).await;
        let after = after.map_err(|error| self.failure(object, &error))?;
        Ok(match before {
            None => Outcome::Created,
            Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
                Outcome::Unchanged
            }
            Some(_) => Outcome::Configured,
        })
    }

    /// Waits until the API server serves the kind of a CustomResourceDefinition.
    pub(super) async fn established(&self, crd: &Value) -> anyhow::Result<()> {
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        let condition = runtime::conditions::is_crd_established();
        let wait = timeout(ESTABLISHED, runtime::wait::await_condition(api, name, condition));
        match wait.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(anyhow!("{}: {error}", title(crd))),
            Err(_) => Err(anyhow!(
                "{} is not served after {} s: `kubectl describe` says why",
                title(crd),
                ESTABLISHED.as_secs()
            )),
        }
    }

    async fn api(&mut self, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
        let text = |member: &str| object.get(member).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("apiVersion").rsplit_once('/').unwrap_or(("", text("apiVersion")));
        let kind = GroupVersionKind::gvk(group, version, text("kind"));
        let (resource, namespaced) = if let Some(known) = self.resources.get(&kind) {
            known.clone()
        } else {
            let found = discovery::pinned_kind(&self.client, &kind).await;
            let (resource, capabilities) = found.map_err(|error| {
                anyhow!(
                    "{}: the cluster does not serve {}: {}",
                    title(object),
                    text("apiVersion"),
                    explain(&error)
                )
            })?;
            let found = (resource, capabilities.scope == Scope::Namespaced);
            self.resources.insert(kind, found.clone());
            found
        };
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        Ok(match namespace {
            Some(namespace) if namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
            _ => Api::all_with(self.client.clone(), &resource),
        })
    }

    fn failure(&self, object: &Value, error: &kube::Error) -> anyhow::Error {
        let words = explain(error);
        let hint = match error {
            kube::Error::Api(status) if status.code == 409 && !self.force => {
                "\n  somebody else manages these fields (`kubectl apply`, another tool): --force-conflicts takes them over"
            }
            kube::Error::Api(status) if status.code == 403 => {
                "\n  installing needs the rights of a cluster administrator; --overlay namespaced needs fewer"
            }
            _ => "",
        };
        anyhow!("{}: {words}{hint}", title(object))
    }
}
