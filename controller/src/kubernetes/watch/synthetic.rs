//! Objects that stand for cluster-scoped ones where those may not be read.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_api::gateway_api::{GatewayClass, GatewayClassSpec};
use postern_translator::{Change, Object};

/// The label that the API server gives every Namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The given namespaces and GatewayClasses. They have neither uid nor resourceVersion, so nobody takes them for real.
pub(super) fn changes(
    namespaces: &BTreeSet<String>,
    classes: &BTreeSet<String>,
    controller_name: &str,
) -> Vec<Change> {
    let namespace = |name: &String| {
        let labels = Some(BTreeMap::from([(NAME_LABEL.to_owned(), name.clone())]));
        let metadata = ObjectMeta { name: Some(name.clone()), labels, ..ObjectMeta::default() };
        Object::from(Namespace { metadata, ..Namespace::default() })
    };
    let class = |name: &String| {
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let spec =
            GatewayClassSpec { controller_name: controller_name.to_owned(), ..GatewayClassSpec::default() };
        Object::from(GatewayClass { metadata, spec, status: None })
    };
    let objects = namespaces.iter().map(namespace).chain(classes.iter().map(class));
    objects.map(Change::Upsert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_up_namespaces_and_classes() {
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let changes = changes(&set("a"), &set("postern"), "postern.dev/gateway-controller");
        let [Change::Upsert(Object::Namespace(namespace)), Change::Upsert(Object::GatewayClass(class))] =
            changes.as_slice()
        else {
            panic!("{changes:?}")
        };
        assert_eq!(namespace.metadata.labels.as_ref().unwrap()[NAME_LABEL], "a");
        assert_eq!(class.spec.controller_name, "postern.dev/gateway-controller");
        assert_eq!(class.metadata.uid, None);
    }
}
