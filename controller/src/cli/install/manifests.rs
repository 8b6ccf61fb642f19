//! The manifests that this program was built with.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Deserialize as _;
use serde_json::Value;

/// Ways to install, each as in `deploy/overlays`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Overlay {
    /// Two replicas for a whole cluster.
    Default,
    /// One replica.
    SingleReplica,
    /// Three replicas, spread over nodes and zones.
    Ha,
    /// One namespace, and not one object outside of it.
    Namespaced,
    /// For clusters that assign user ids, such as OpenShift.
    Restricted,
}

/// The namespace that the manifests are written for.
pub(super) const NAMESPACE: &str = "postern-system";

/// The repository of the image in the manifests.
const REPOSITORY: &str = "postern.dev/postern:";

/// What is to be different from the manifests.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Another namespace.
    pub(super) namespace: Option<String>,
    /// Another image.
    pub(super) image: Option<String>,
}

impl Overlay {
    /// The result of kustomize. A test in `tests/` fails where it is out of date.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Default => include_str!("../../../../deploy/rendered/base.yaml"),
            Self::SingleReplica => include_str!("../../../../deploy/rendered/single-replica.yaml"),
            Self::Ha => include_str!("../../../../deploy/rendered/ha.yaml"),
            Self::Namespaced => include_str!("../../../../deploy/rendered/namespaced.yaml"),
            Self::Restricted => include_str!("../../../../deploy/rendered/restricted.yaml"),
        }
    }

    /// The objects, with `changes`, in the order in which they can be made.
    pub(super) fn objects(self, changes: &Changes) -> anyhow::Result<Vec<Value>> {
        let read = serde_yaml::Deserializer::from_str(self.text())
            .map(Value::deserialize)
            .collect::<Result<Vec<Value>, _>>()
            .context("the manifests in this program are broken")?;
        let mut objects: Vec<Value> = read.into_iter().filter(|object| !object.is_null()).collect();
        for object in &mut objects {
            change(object, changes);
        }
        Ok(objects)
    }
}

/// The CustomResourceDefinitions of the extension kinds.
pub(super) fn crds() -> anyhow::Result<Vec<Value>> {
    let crds = postern_api::crds::extension_crds();
    crds.iter().map(|crd| serde_json::to_value(crd).context("a CustomResourceDefinition is broken")).collect()
}

/// The text of objects, one document each.
pub(super) fn to_yaml(objects: &[Value]) -> anyhow::Result<String> {
    let mut out = String::new();
    for object in objects {
        out.push_str("---\n");
        out.push_str(&serde_yaml::to_string(object)?);
    }
    Ok(out)
}

/// Everything that names the namespace or the image names another.
fn change(object: &mut Value, changes: &Changes) {
    if let Some(namespace) = &changes.namespace {
        let is_namespace = object.get("kind").and_then(Value::as_str) == Some("Namespace");
        let path = if is_namespace { "/metadata/name" } else { "/metadata/namespace" };
        replace(object.pointer_mut(path), NAMESPACE, namespace);
        replace(object.pointer_mut("/spec/parametersRef/namespace"), NAMESPACE, namespace);
        let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
        for subject in subjects.into_iter().flatten() {
            replace(subject.get_mut("namespace"), NAMESPACE, namespace);
        }
    }
    if let Some(image) = &changes.image {
        images(object, image);
    }
}

fn replace(value: Option<&mut Value>, from: &str, to: &str) {
    if let Some(value) = value
        && value.as_str() == Some(from)
    {
        *value = to.into();
    }
}

/// The image stands in containers, and in the variable that proxies take theirs from.
fn images(value: &mut Value, image: &str) {
    match value {
        Value::String(text) if text.starts_with(REPOSITORY) => image.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| images(item, image)),
        Value::Object(members) => members.values_mut().for_each(|member| images(member, image)),
        _ => {}
    }
}

/// `Deployment postern-system/postern`, as a person would say it.
pub(super) fn title(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let namespace = text("/metadata/namespace");
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("{} {namespace}{slash}{}", text("/kind"), text("/metadata/name"))
}

/// How many objects of each kind there are.
pub(super) fn summary(objects: &[Value]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for object in objects {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        *out.entry(kind.to_owned()).or_default() += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(overlay: Overlay, changes: &Changes) -> Vec<Value> {
        overlay.objects(changes).expect("the manifests are read")
    }

    #[test]
    fn nothing_stays_in_the_old_namespace() {
        let changes = Changes { namespace: Some("edge".to_owned()), image: None };
        for overlay in Overlay::value_variants() {
            let text = to_yaml(&objects(*overlay, &changes)).expect("YAML");
            assert!(!text.contains(NAMESPACE), "{overlay:?}");
            assert!(text.contains("namespace: edge"), "{overlay:?}");
        }
    }

    #[test]
    fn another_image_is_another_image_everywhere() {
        let changes = Changes { namespace: None, image: Some("registry.example/gate:7".to_owned()) };
        for overlay in Overlay::value_variants() {
            let text = to_yaml(&objects(*overlay, &changes)).expect("YAML");
            assert!(!text.contains(REPOSITORY), "{overlay:?}");
            // The container, and what it tells its proxies.
            assert_eq!(text.matches("registry.example/gate:7").count(), 2, "{overlay:?}");
        }
    }

    #[test]
    fn without_changes_the_objects_are_those_of_kustomize() {
        for overlay in Overlay::value_variants() {
            let read: Vec<Value> = serde_yaml::Deserializer::from_str(overlay.text())
                .map(|document| Value::deserialize(document).expect("YAML"))
                .collect();
            assert_eq!(objects(*overlay, &Changes::default()), read, "{overlay:?}");
        }
        assert_eq!(summary(&objects(Overlay::Namespaced, &Changes::default())).get("ClusterRole"), None);
        assert_eq!(summary(&objects(Overlay::Default, &Changes::default()))["ClusterRole"], 1);
    }

    #[test]
    fn titles_are_readable() {
        let object = serde_json::json!({"kind": "Service", "metadata": {"name": "a", "namespace": "b"}});
        assert_eq!(title(&object), "Service b/a");
        assert_eq!(
            title(&serde_json::json!({"kind": "ClusterRole", "metadata": {"name": "a"}})),
            "ClusterRole a"
        );
    }
}
