//! The committed CRDs are those of the types, and the API server takes their schemas.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use postern_api::crds::{extension_crds, file_name, to_yaml};
use serde_json::{Value, json};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds")
}

#[test]
fn committed_files_are_those_of_the_types() {
    let crds = extension_crds();
    for crd in &crds {
        let path = directory().join(file_name(crd));
        let committed =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let generated = to_yaml(crd).unwrap();
        assert!(
            committed == generated,
            "{} differs: cargo run -p postern-api --example generate-crds",
            path.display()
        );
        let read: CustomResourceDefinition = serde_yaml::from_str(&committed).unwrap();
        assert_eq!(&read, crd);
    }

    let expected: BTreeSet<_> = crds.iter().map(file_name).chain(["kustomization.yaml".to_owned()]).collect();
    let present: BTreeSet<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(present, expected);

    let text = fs::read_to_string(directory().join("kustomization.yaml")).unwrap();
    let kustomization: Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(kustomization["resources"], json!(crds.iter().map(file_name).collect::<Vec<_>>()));
}

/// Calls `visit` with each schema below `schema` and its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), visit);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}{suffix}"), visit);
        }
    }
}

#[test]
fn schemas_are_what_the_api_server_takes() {
    let mut fields = 0;
    for crd in extension_crds() {
        let kind = &crd.spec.names.kind;
        assert!(
            crd.spec.names.short_names.as_ref().is_some_and(|names| !names.is_empty()),
            "{kind} has no short name"
        );
        assert!(
            crd.spec.names.categories.as_ref().is_some_and(|names| names.contains(&"postern".to_owned())),
            "{kind}"
        );
        let version = &crd.spec.versions[0];
        assert!(
            version.additional_printer_columns.as_ref().is_some_and(|columns| columns.len() >= 2),
            "{kind}"
        );
        assert!(version.subresources.as_ref().is_some_and(|resources| resources.status.is_some()), "{kind}");

        let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        walk(&serde_json::to_value(schema).unwrap(), kind, &mut |path, schema| {
            fields += 1;
            assert!(schema.get("nullable").is_none(), "{path} is nullable");
            assert!(
                !schema["enum"].as_array().is_some_and(|values| values.contains(&Value::Null)),
                "{path} has null"
            );
            assert!(
                matches!(schema["format"].as_str(), None | Some("int32" | "int64" | "date-time")),
                "{path} has the format {}",
                schema["format"]
            );
            // An API server refuses every value of a field whose limits do not fit its format.
            let fits = |limit: &Value| limit.as_f64().is_none_or(|limit| limit.abs() <= f64::from(i32::MAX));
            let limits = ["minimum", "maximum"];
            assert!(
                schema["format"] != "int32" || limits.iter().all(|it| fits(&schema[*it])),
                "{path}: limits beyond int32"
            );
            for forbidden in ["oneOf", "anyOf", "allOf", "not", "$ref"] {
                assert!(schema.get(forbidden).is_none(), "{path} has {forbidden}");
            }
            let typed = schema["type"].is_string()
                || schema["x-kubernetes-int-or-string"] == true
                || schema["x-kubernetes-preserve-unknown-fields"] == true;
            assert!(typed, "{path} has no type");
            if !path.ends_with("[]") && !path.ends_with("{}") {
                assert!(
                    schema["description"].as_str().is_some_and(|text| text.len() > 3),
                    "{path}: no description"
                );
            }
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                assert!(
                    rule["message"].as_str().is_some_and(|message| message.len() < 200),
                    "{path}: {rule}"
                );
            }
        });
    }
    assert!(fields > 250, "{fields}");
}

#[test]
fn every_parameter_is_explained() {
    /// Fields that are listed as not carried out, and Kubernetes' own types, are explained by their names alone.
    const LEAVES: [&str; 14] = [
        "sdsContainer",
        "istio",
        "aiExtension",
        "agentgateway",
        "strategy",
        "securityContext",
        "affinity",
        "claims",
        "startupProbe",
        "readinessProbe",
        "livenessProbe",
        "behavior",
        "spec",
        "metadata",
    ];
    fn names(schema: &Value, found: &mut BTreeSet<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            found.insert(name.clone());
            if !LEAVES.contains(&name.as_str()) {
                names(property, found);
            }
        }
        if schema["items"]["properties"]["nodePort"].is_object() {
            names(&schema["items"], found);
        }
    }
    let crds = extension_crds();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == "GatewayParameters").unwrap();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let mut found = BTreeSet::new();
    names(&serde_json::to_value(schema).unwrap()["properties"]["spec"], &mut found);
    assert!(found.len() > 60, "{found:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/gateway-parameters.md");
    let text = fs::read_to_string(path).unwrap();
    let is_explained =
        |name: &String| text.contains(&format!("{name}`")) || text.contains(&format!("`{name}"));
    let missing: Vec<_> = found.iter().filter(|name| !is_explained(name)).collect();
    assert!(missing.is_empty(), "docs/reference/gateway-parameters.md does not explain {missing:?}");
}
