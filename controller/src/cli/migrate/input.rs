//! What there is to move: objects out of files, or out of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::anyhow;
use futures::stream::{self, StreamExt as _};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::discovery::{ApiGroup, Discovery, verbs};
use kube::{Client, ResourceExt as _};
use postern_translator::{Change, Kind, Object, Read};

use crate::cli::cluster::{explain, is_forbidden};
use crate::cli::status::pages;
use crate::diagnostic::{Diagnostic, Level};
use crate::source::{Source, unknown_field};

/// How many questions to the API server are open at a time.
const CONCURRENCY: usize = 6;
/// Kinds that only matter where they are referred to, and that nobody has to show for a question like this: a reference to
/// one of them counts as good.
const NOT_ASKED_FOR: [Kind; 5] =
    [Kind::Secret, Kind::ConfigMap, Kind::EndpointSlice, Kind::Pod, Kind::ClusterTrustBundle];

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// The objects, as changes to an empty world.
    pub(super) changes: Vec<Change>,
    /// What is wrong with them before anybody translates them.
    pub(super) findings: Vec<Diagnostic>,
    /// What could not be read.
    pub(super) notes: BTreeSet<String>,
}

pub(super) fn of_files(paths: Vec<PathBuf>) -> anyhow::Result<Input> {
    let (source, changes) = Source::read(paths)?;
    Ok(Input { changes, findings: source.diagnostics(), notes: BTreeSet::new() })
}

/// # Errors
/// If the API server does not answer.
pub(super) async fn of_cluster(client: &Client) -> anyhow::Result<Input> {
    let groups: BTreeSet<&str> =
        Kind::ALL.iter().map(|kind| kind.group()).chain(super::verdict::GROUPS).collect();
    let groups: Vec<&str> = groups.into_iter().collect();
    let found = Discovery::new(client.clone()).filter(&groups).run().await;
    let found = found.map_err(|error| anyhow!("{}", explain(&error)))?;
    let known: Vec<(Kind, ApiResource)> = Kind::ALL
        .iter()
        .filter(|kind| !NOT_ASKED_FOR.contains(kind))
        .filter_map(|kind| resource(&found, *kind))
        .collect();
    let mut input = Input::default();
    let lists = stream::iter(known)
        .map(|(kind, resource)| async move { (kind, pages(&Api::all_with(client.clone(), &resource)).await) })
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<_>>()
        .await;
    for (kind, listed) in lists {
        match listed {
            Ok(objects) => objects.into_iter().for_each(|object| input.add(kind, object)),
            Err(error) if is_forbidden(&error) => {
                input.notes.insert(format!("You may not list objects of kind {kind}: they are left out."));
            }
            Err(error) => return Err(anyhow!("cannot list objects of kind {kind}: {}", explain(&error))),
        }
    }
    for resource in super::verdict::GROUPS.iter().filter_map(|group| found.get(group)).flat_map(foreign) {
        if let Ok(objects) = pages(&Api::all_with(client.clone(), &resource)).await {
            input.findings.extend(objects.iter().map(|object| nobody_knows(&resource, object)));
        }
    }
    Ok(input)
}

/// How objects of `kind` are asked for, in the first version that both sides understand.
fn resource(found: &Discovery, kind: Kind) -> Option<(Kind, ApiResource)> {
    let group = found.get(kind.group())?;
    kind.versions().iter().find_map(|version| {
        let mut resources = group.versioned_resources(version).into_iter();
        let (resource, _) = resources.find(|(resource, _)| resource.kind == kind.as_str())?;
        Some((kind, resource))
    })
}

/// The resources of a group that Postern has no kind for.
fn foreign(group: &ApiGroup) -> Vec<ApiResource> {
    let resources = group.recommended_resources().into_iter();
    resources
        .filter(|(resource, capabilities)| {
            capabilities.supports_operation(verbs::LIST)
                && Kind::from_group_kind(&resource.group, &resource.kind).is_none()
        })
        .map(|(resource, _)| resource)
        .collect()
}

fn nobody_knows(resource: &ApiResource, object: &DynamicObject) -> Diagnostic {
    let name = object.name_any();
    let name = object.namespace().map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
    Diagnostic {
        level: Level::Error,
        location: None,
        object: Some(format!("{} {name}", resource.kind)),
        field: "kind".to_owned(),
        message: format!("Postern has no kind {} of {}", resource.kind, resource.api_version),
        remedy: String::new(),
    }
}

impl Input {
    fn add(&mut self, kind: Kind, object: DynamicObject) {
        let DynamicObject { metadata, mut data, .. } = object;
        if let Some(members) = data.as_object_mut() {
            if !kind.status_is_read() {
                members.remove("status");
            }
            members.insert("metadata".to_owned(), serde_json::to_value(&metadata).unwrap_or_default());
        }
        let name = metadata.name.unwrap_or_default();
        let subject = match metadata.namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        };
        let finding = |field: String, message: String, remedy: String| Diagnostic {
            level: Level::Error,
            location: None,
            object: Some(subject.clone()),
            field,
            message,
            remedy,
        };
        let Read { result, unknown } = Object::read(kind, &data);
        if is_extension(kind) {
            self.findings.extend(unknown.iter().map(|it| {
                let (message, remedy) = unknown_field(it);
                finding(it.field.clone(), message, remedy)
            }));
        }
        match result {
            Ok(object) => self.changes.push(Change::Upsert(object)),
            Err(error) => self.findings.push(finding(error.field, error.message, String::new())),
        }
    }
}

/// Of other kinds the API server has judged what their fields are.
fn is_extension(kind: Kind) -> bool {
    kind.group() == "gateway.kgateway.dev"
}

/// The objects of `input` by the name that findings give them.
pub(super) fn names(input: &Input) -> BTreeMap<String, &Object> {
    let objects = input.changes.iter().filter_map(|change| match change {
        Change::Upsert(object) => Some((object.key().to_string(), object)),
        Change::Delete(_) => None,
    });
    objects.collect()
}

/// The annotations of an object.
pub(super) fn annotations(object: &Object) -> impl Iterator<Item = &str> {
    object.metadata().annotations.iter().flatten().map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_cluster_holds_is_read_without_its_status() {
        let object = |spec: Value| {
            serde_json::from_value::<DynamicObject>(json!({
                "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "DirectResponse",
                "metadata": {"name": "gone", "namespace": "shop"}, "spec": spec, "status": {"unheard": "of"}
            }))
            .unwrap()
        };
        let mut input = Input::default();
        input.add(Kind::DirectResponse, object(json!({"status": 410})));
        assert_eq!(
            (names(&input).into_keys().collect::<Vec<_>>(), input.findings.len()),
            (vec!["DirectResponse shop/gone".to_owned()], 0)
        );
        input.add(Kind::DirectResponse, object(json!({"status": "410"})));
        input.add(Kind::DirectResponse, object(json!({"status": 410, "boddy": "x"})));
        let told: Vec<_> = input.findings.iter().map(|it| (it.field.as_str(), it.message.as_str())).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], ("spec.boddy", "unknown field `boddy`"));
    }
}
