//! Every manifest of the upstream conformance suite and of the upstream examples passes through our types unchanged.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;

/// The value without what has no meaning: nulls, empty lists and empty objects.
fn stripped(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| stripped(item).unwrap_or(Value::Null)).collect();
            (!items.is_empty()).then(|| items.into())
        }
        Value::Object(fields) => {
            let fields: serde_json::Map<_, _> =
                fields.iter().filter_map(|(name, field)| Some((name.clone(), stripped(field)?))).collect();
            (!fields.is_empty()).then(|| fields.into())
        }
        other => Some(other.clone()),
    }
}

/// Passes every object of our kinds below `directory` through its type. Returns how many there were.
fn pass_all(directory: &Path, problems: &mut Vec<String>) -> usize {
    let mut objects = 0;
    for path in upstream::yaml_files(directory) {
        let text = fs::read_to_string(&path).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let place = path.strip_prefix(directory).unwrap().display();
            let mut object = match Value::deserialize(document) {
                Ok(object) => object,
                Err(error) => {
                    problems.push(format!("{place}: {error}"));
                    break;
                }
            };
            let Some((group, _)) = object["apiVersion"].as_str().and_then(|version| version.split_once('/'))
            else {
                continue;
            };
            let Some(kind) = upstream::find(group, object["kind"].as_str().unwrap_or_default()) else {
                continue;
            };
            objects += 1;
            let place = format!("{place}: {} {}", kind.kind, object["metadata"]["name"]);
            match (kind.pass)(&object) {
                Ok(passed) => {
                    object["apiVersion"] = passed.written["apiVersion"].clone();
                    if !passed.unknown_fields.is_empty() {
                        problems.push(format!("{place}: unknown fields {:?}", passed.unknown_fields));
                    }
                    if stripped(&object) != stripped(&passed.written) {
                        problems.push(format!("{place}: read {object}, wrote {}", passed.written));
                    }
                }
                Err(error) => problems.push(format!("{place}: {error}")),
            }
        }
    }
    objects
}

#[test]
fn conformance_manifests_pass_through_unchanged() {
    let mut problems = Vec::new();
    let conformance = upstream::conformance();
    let objects: usize =
        ["base", "mesh", "tests"].iter().map(|part| pass_all(&conformance.join(part), &mut problems)).sum();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(objects > 400, "there are {objects} objects only");
}

#[test]
fn examples_pass_through_unchanged() {
    let mut problems = Vec::new();
    let objects = pass_all(&upstream::gateway_api().join("examples"), &mut problems);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(objects > 100, "there are {objects} objects only");
}

#[test]
fn filters_are_refused_where_a_route_has_none() {
    let route = |kind: &str| {
        serde_json::json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": kind,
            "metadata": { "name": "name" },
            "spec": { "rules": [{ "backendRefs": [{ "name": "name", "filters": [{ "type": "CORS" }] }] }] },
        })
    };
    let pass = |kind: &str| (upstream::find("gateway.networking.k8s.io", kind).unwrap().pass)(&route(kind));
    assert!(pass("HTTPRoute").is_ok());
    for kind in ["TCPRoute", "TLSRoute", "UDPRoute"] {
        let error = pass(kind).err().unwrap().to_string();
        assert!(error.contains("take no filters; remove `filters`"), "{kind}: {error}");
    }
}
