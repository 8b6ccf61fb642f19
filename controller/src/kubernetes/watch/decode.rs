//! From the JSON of the API server to objects.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use postern_translator::{Kind, NamespacedName, Object};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The annotation in which `kubectl apply` keeps a second copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as it was sent, of which only the identity has been read.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) head: Head,
    pub(super) raw: Box<RawValue>,
}

/// What is needed of every object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: NamespacedName,
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) generation: Option<i64>,
}

impl Item {
    /// Reads the identity. Fails where there is no metadata, which nothing that the API server serves lacks.
    pub(super) fn new(raw: Box<RawValue>) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Envelope {
            metadata: Metadata,
        }

        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Metadata {
            name: String,
            namespace: String,
            uid: String,
            resource_version: String,
            generation: Option<i64>,
        }

        let Envelope { metadata } = serde_json::from_str(raw.get())?;
        let head = Head {
            name: NamespacedName { namespace: metadata.namespace, name: metadata.name },
            uid: metadata.uid,
            version: metadata.resource_version,
            generation: metadata.generation,
        };
        Ok(Self { head, raw })
    }
}

/// Reads an object, without what nobody here looks at and is large. The error names the field.
pub(super) fn object(kind: Kind, raw: &RawValue) -> Result<Object, String> {
    let json = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    let mut object = Object::read(kind, &json).result.map_err(|error| error.to_string())?;
    shrink(&mut object);
    Ok(object)
}

fn shrink(object: &mut Object) {
    let metadata = object.metadata_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.annotations = None;
        }
    }
    if let Object::Pod(pod) = object {
        shrink_pod(Arc::make_mut(pod));
    }
}

/// Keeps of a Pod what makes it an endpoint.
fn shrink_pod(pod: &mut Pod) {
    pod.spec = None;
    pod.metadata.annotations = None;
    pod.metadata.owner_references = None;
    if let Some(PodStatus { phase, pod_ip, conditions, .. }) = pod.status.take() {
        let mut conditions = conditions.unwrap_or_default();
        conditions.retain(|condition| condition.type_ == "Ready");
        conditions.shrink_to_fit();
        pod.status = Some(PodStatus { phase, pod_ip, conditions: Some(conditions), ..PodStatus::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn reads_the_identity_without_the_content() {
        let item = Item::new(raw(
            r#"{"spec": 7, "metadata": {"name": "n", "namespace": "s", "uid": "u", "resourceVersion": "12", "generation": 3,
                "managedFields": [{"manager": "m"}]}}"#,
        ))
        .unwrap();
        assert_eq!(
            item.head,
            Head {
                name: NamespacedName::new("s", "n"),
                uid: "u".into(),
                version: "12".into(),
                generation: Some(3)
            }
        );
        assert!(Item::new(raw("{}")).is_err());
    }

    #[test]
    fn drops_what_is_large_and_unused() {
        let object = object(
            Kind::Service,
            &raw(r#"{"metadata": {"name": "s", "managedFields": [{"manager": "m"}], "annotations":
                {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "me"}}, "spec": {}}"#),
        )
        .unwrap();
        assert_eq!(object.metadata().managed_fields, None);
        let annotations = object.metadata().annotations.clone().unwrap();
        assert_eq!(annotations.keys().collect::<Vec<_>>(), ["keep"]);
    }

    #[test]
    fn keeps_of_a_pod_what_makes_an_endpoint() {
        let pod = |extra: &str, conditions: &str| {
            object(
                Kind::Pod,
                &raw(&format!(
                    r#"{{"metadata": {{"name": "p", "labels": {{"app": "x"}}{extra}}},
                        "status": {{"phase": "Running", "podIP": "10.0.0.1", "conditions": [{conditions}{{"type": "Ready", "status": "True"}}]}}}}"#
                )),
            )
            .unwrap()
        };
        let Object::Pod(least) = pod("", "") else { panic!("a Pod") };
        let Object::Pod(full) = pod(
            r#", "annotations": {"a": "b"}, "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u"}]"#,
            r#"{"type": "Initialized", "status": "True"}, "#,
        ) else {
            panic!("a Pod")
        };
        assert_eq!(full, least);
        assert!(least.status.as_ref().is_some_and(|status| status.pod_ip.is_some()));
    }

    #[test]
    fn an_error_names_the_field() {
        let error = object(
            Kind::HttpRoute,
            &raw(r#"{"metadata": {"name": "r"}, "spec": {"rules": [{"backendRefs": [{"name": "b", "port": "http"}]}]}}"#),
        )
        .unwrap_err();
        assert!(
            error.starts_with("spec.rules[0].backendRefs[0].port: invalid type: string \"http\""),
            "{error}"
        );
        assert!(!error.contains(" at line "), "{error}");
    }
}
