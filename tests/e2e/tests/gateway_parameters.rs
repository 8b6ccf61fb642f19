//! GatewayParameters, field by field, as far as no API server is needed: what Postern applies, what it refuses and what it says it
//! does not carry out. `cluster/gateway_parameters_fields.rs` has what an API server makes of the same documents.

#![allow(clippy::unwrap_used)] // a test fails where it is surprised

use std::collections::BTreeSet;

use postern_e2e::{Deployed, covers, covers_leaves, gaps, parameters_in, repository, without_each_leaf};
use serde_json::{Value, json};

const NOT_CARRIED_OUT: &str = "not-carried-out.yaml";

/// The files whose fields take effect.
fn carried_out() -> Vec<String> {
    let directory = repository().join("tests/e2e/tests/cluster/gateway_parameters");
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != NOT_CARRIED_OUT).collect()
}

#[test]
fn all_that_is_said_is_applied() {
    for file in carried_out() {
        for spec in parameters_in(&file) {
            let deployed = Deployed::of(&spec).unwrap();
            assert_eq!((deployed.accepted.0, &deployed.problems), (true, &vec![]), "{file}: {deployed:#?}");
            let gaps = gaps(&spec, &deployed.manifests());
            assert!(gaps.is_empty(), "{file}: {gaps:#?}");
        }
    }
}

/// Were a field ignored, or its value what is there anyway, nothing would change without it.
#[test]
fn no_field_can_be_left_out_unnoticed() {
    let mut all = BTreeSet::new();
    let mut noticed = BTreeSet::new();
    for file in carried_out() {
        for spec in parameters_in(&file) {
            let whole = Deployed::of(&spec).unwrap().manifests();
            for (field, without) in without_each_leaf(&spec) {
                if Deployed::of(&without).map_or(true, |it| !it.accepted.0 || it.manifests() != whole) {
                    noticed.insert(field.clone());
                }
                all.insert(field);
            }
        }
    }
    let unnoticed: Vec<_> = all.difference(&noticed).collect();
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
    assert!(all.len() > 450, "{}", all.len());
}

/// Each document shows all of what it says, and none of what another one says: the comparison can fail.
#[test]
fn a_comparison_finds_what_is_missing() {
    let plain = Deployed::of(&json!({"kube": {}})).unwrap().manifests();
    for file in carried_out() {
        for spec in parameters_in(&file) {
            assert!(!gaps(&spec, &plain).is_empty(), "{file}");
        }
    }
    let lost = gaps(&json!({"kube": {"envoyContainer": {"unheard": [{"of": 1}]}}}), &plain);
    assert_eq!(lost, ["kube.envoyContainer.unheard[].of: nobody knows where it takes effect"]);
    let less = gaps(&json!({"kube": {"podTemplate": {"nodeSelector": {"a": "b"}}}}), &plain);
    assert_eq!(less.len(), 1, "{less:?}");
}

#[test]
fn what_is_not_carried_out_is_named_and_changes_nothing() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/not-carried-out.yaml");
    let plain = Deployed::of(&json!({"kube": {}})).unwrap();
    let resources = json!({"kube": {"envoyContainer": {"resources": {}}}});
    let resources = Deployed::of(&resources).unwrap().infrastructure;
    let spec = &parameters_in(NOT_CARRIED_OUT)[0];
    let names = ["envoyContainer", "sdsContainer", "istio", "aiExtension", "agentgateway"];
    assert!(spec["kube"].as_object().unwrap().keys().all(|it| names.contains(&it.as_str())), "{spec}");
    for name in names {
        let part = json!({"kube": {name: spec["kube"][name]}});
        let field = match name {
            "envoyContainer" => "spec.kube.envoyContainer.resources.claims".to_owned(),
            _ => format!("spec.kube.{name}"),
        };
        let is_named = |part: &Value| {
            let deployed = Deployed::of(part).unwrap();
            let (accepted, message) = &deployed.accepted;
            assert!(
                *accepted && message.ends_with(&format!("not carried out: {field}")),
                "{part}: {message}"
            );
            assert_eq!(deployed.problems.len(), 1, "{part}");
            assert_eq!(deployed.problems[0].0, field, "{part}");
            let expected = if name == "envoyContainer" { &resources } else { &plain.infrastructure };
            assert_eq!(deployed.infrastructure, *expected, "{part}");
        };
        is_named(&part);
        // Each field of it alone asks for something; where there is a switch, it is what asks.
        let fields = spec["kube"][name].as_object().unwrap();
        if name != "envoyContainer" {
            for (field, value) in fields.iter().filter(|_| !fields.contains_key("enabled")) {
                is_named(&json!({"kube": {name: {field: value}}}));
            }
        }
        if fields.contains_key("enabled") {
            let mut off = part.clone();
            off["kube"][name]["enabled"] = json!(false);
            let off = Deployed::of(&off).unwrap();
            assert_eq!(off.accepted.1, "the GatewayParameters are valid", "switched off, nothing is missing");
            assert_eq!(off.infrastructure, plain.infrastructure);
        }
    }
}

/// Kubernetes refuses these of every pod: it is said at once, of the field.
#[test]
fn what_kubernetes_never_takes_is_refused() {
    covers!(
        "GatewayParameters.spec.kube.podTemplate.readinessProbe.terminationGracePeriodSeconds",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.creationTimestamp",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.deletionGracePeriodSeconds",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.deletionTimestamp",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.finalizers[]",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.generateName",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.generation",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.managedFields[].apiVersion",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.managedFields[].fieldsType",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.managedFields[].fieldsV1",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.managedFields[].manager",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.managedFields[].operation",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.managedFields[].subresource",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.managedFields[].time",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.name",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.namespace",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.ownerReferences[].apiVersion",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.ownerReferences[].blockOwnerDeletion",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.ownerReferences[].controller",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.ownerReferences[].kind",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.ownerReferences[].name",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.ownerReferences[].uid",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.resourceVersion",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.selfLink",
        "GatewayParameters.spec.kube.podTemplate.extraVolumes[].ephemeral.volumeClaimTemplate.metadata.uid",
    );
    let refused = |pod: &Value, field: &str| {
        let deployed = Deployed::of(&json!({"kube": {"podTemplate": pod}})).unwrap();
        let (accepted, message) = &deployed.accepted;
        assert!(!accepted && message.starts_with(&format!("{field}: ")), "{field}: {message}");
        assert!(deployed.problems.iter().any(|it| it.0 == field), "{:?}", deployed.problems);
        assert!(deployed.manifests().is_empty(), "nothing is made of it");
    };
    refused(
        &json!({"readinessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 3}}),
        "spec.kube.podTemplate.readinessProbe.terminationGracePeriodSeconds",
    );
    let day = "2026-01-01T00:00:00Z";
    let metadata = json!({
        "creationTimestamp": day, "deletionGracePeriodSeconds": 3, "deletionTimestamp": day, "finalizers": ["example.com/a"],
        "generateName": "a-", "generation": 4, "name": "a", "namespace": "b", "resourceVersion": "5", "selfLink": "/c", "uid": "d",
        "managedFields": [{
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}, "manager": "me", "operation": "Apply",
            "subresource": "status", "time": day,
        }],
        "ownerReferences": [{
            "apiVersion": "v1", "blockOwnerDeletion": true, "controller": true, "kind": "Pod", "name": "a", "uid": "b",
        }],
    });
    for (name, value) in metadata.as_object().unwrap() {
        let template = json!({"metadata": {name: value}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        refused(
            &json!({"extraVolumes": [{"name": "own", "ephemeral": {"volumeClaimTemplate": template}}]}),
            &format!("spec.kube.podTemplate.extraVolumes[0].ephemeral.volumeClaimTemplate.metadata.{name}"),
        );
    }
}

#[test]
fn who_runs_proxies_himself_gets_their_bootstrap_and_account() {
    covers!("GatewayParameters.spec.selfManaged");
    let spec = json!({"selfManaged": {}});
    let deployed = Deployed::of(&spec).unwrap();
    assert_eq!(gaps(&spec, &deployed.manifests()), <[&str; 0]>::default());
    assert_eq!((deployed.accepted.0, deployed.problems), (true, vec![]));
    let fields = Deployed::of(&json!({"selfManaged": {"replicas": 3}})).unwrap();
    assert!(fields.accepted.1.ends_with("not carried out: spec.selfManaged"), "{:?}", fields.accepted);
    assert_eq!(fields.manifests(), Deployed::of(&spec).unwrap().manifests());
}
