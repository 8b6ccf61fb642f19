//! Our types have every property and every enum value of the upstream CRDs.
//!
//! For each version of each CRD of both channels, objects are made from its schema: one with every property at its
//! greatest value, one with every property at its least, one with the required properties only, and one for each
//! further value of each enum. Each must pass through our type unchanged.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

#[path = "support/upstream.rs"]
mod upstream;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value, json};

/// Kinds for service meshes, which Postern is not.
const LEFT_OUT: &[&str] = &["XMesh"];

#[derive(Clone, Copy, PartialEq)]
enum Size {
    Greatest,
    Least,
    Required,
}

/// One version of a CRD.
struct Crd {
    file: String,
    group: String,
    kind: String,
    version: String,
    schema: Value,
    served: bool,
}

fn crds() -> Vec<Crd> {
    let mut crds = Vec::new();
    for channel in ["standard", "experimental"] {
        for path in upstream::yaml_files(&upstream::gateway_api().join("config/crd").join(channel)) {
            let text = fs::read_to_string(&path).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let crd: Value = serde::Deserialize::deserialize(document).unwrap();
                if crd["kind"] != "CustomResourceDefinition" {
                    continue;
                }
                let spec = &crd["spec"];
                for version in spec["versions"].as_array().unwrap() {
                    crds.push(Crd {
                        file: format!("{channel}/{}", path.file_name().unwrap().to_str().unwrap()),
                        group: spec["group"].as_str().unwrap().to_owned(),
                        kind: spec["names"]["kind"].as_str().unwrap().to_owned(),
                        version: version["name"].as_str().unwrap().to_owned(),
                        schema: version["schema"]["openAPIV3Schema"].clone(),
                        served: version["served"] == true,
                    });
                }
            }
        }
    }
    crds
}

/// A value for the schema. `chosen` replaces the value at that path, which has `[]` for items and `{}` for values
/// of maps. Counts the properties that it sees.
fn value(
    schema: &Value,
    size: Size,
    path: &str,
    chosen: Option<(&str, &Value)>,
    properties: &mut usize,
) -> Value {
    if let Some((at, value)) = chosen
        && at == path
    {
        return value.clone();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[0].clone();
    }
    match schema["type"].as_str().unwrap_or_else(|| panic!("{path} has no type: {schema}")) {
        "object" => {
            let mut fields = Map::new();
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let required =
                    schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
                if size != Size::Required || required {
                    *properties += 1;
                    let path = format!("{path}.{name}");
                    fields.insert(name.clone(), value(property, size, &path, chosen, properties));
                }
            }
            if schema["additionalProperties"].is_object() {
                let path = format!("{path}{{}}");
                fields.insert(
                    "key".into(),
                    value(&schema["additionalProperties"], size, &path, chosen, properties),
                );
            }
            fields.into()
        }
        "array" => vec![value(&schema["items"], size, &format!("{path}[]"), chosen, properties)].into(),
        "integer" => {
            let format = if schema["format"] == "int64" { i64::MAX } else { i32::MAX.into() };
            let (bound, otherwise) =
                if size == Size::Greatest { ("maximum", format) } else { ("minimum", 0) };
            json!(schema[bound].as_i64().unwrap_or(otherwise))
        }
        "boolean" => json!(size == Size::Greatest),
        "string" if schema["format"] == "date-time" => json!("2026-01-02T03:04:05Z"),
        "string" => json!("text"),
        other => panic!("{path} has the unexpected type {other}"),
    }
}

/// Paths of all enums of strings with their values.
fn enums(schema: &Value, path: &str, found: &mut Vec<(String, Vec<Value>)>) {
    if let Some(values) = schema["enum"].as_array() {
        found.push((path.to_owned(), values.clone()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        enums(property, &format!("{path}.{name}"), found);
    }
    if schema["items"].is_object() {
        enums(&schema["items"], &format!("{path}[]"), found);
    }
}

/// An object of the kind.
fn object(crd: &Crd, size: Size, chosen: Option<(&str, &Value)>, properties: &mut usize) -> Value {
    let mut object = json!({
        "apiVersion": format!("{}/{}", crd.group, crd.version),
        "kind": crd.kind,
        "metadata": { "name": "name" },
    });
    for part in ["spec", "status"] {
        let schema = &crd.schema["properties"][part];
        if schema.is_object() && (size != Size::Required || part == "spec") {
            object[part] = value(schema, size, part, chosen, properties);
        }
    }
    object
}

/// What is lost when the object passes through our type.
fn check(crd: &Crd, size: Size, object: &Value) -> Vec<String> {
    let place = format!("{} {} {}", crd.file, crd.kind, crd.version);
    let Some(kind) = upstream::find(&crd.group, &crd.kind) else {
        return vec![format!("{place}: there is no type for this kind")];
    };
    let passed = match (kind.pass)(object) {
        Ok(passed) => passed,
        Err(error) => return vec![format!("{place}: {error}")],
    };
    let mut problems: Vec<String> =
        passed.unknown_fields.iter().map(|field| format!("{place}: {field} is missing")).collect();
    if size == Size::Required {
        return problems; // Defaults may have been added.
    }
    let mut expected = object.clone();
    expected["apiVersion"] = passed.written["apiVersion"].clone();
    if expected != passed.written {
        problems.push(format!("{place}: read {expected}, wrote {}", passed.written));
    }
    problems
}

#[test]
fn every_property_passes_through() {
    let (mut problems, mut properties) = (Vec::new(), 0);
    for crd in crds().iter().filter(|crd| !LEFT_OUT.contains(&crd.kind.as_str())) {
        for size in [Size::Greatest, Size::Least, Size::Required] {
            let object = object(crd, size, None, &mut properties);
            problems.extend(check(crd, size, &object));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(properties > 4800, "the schemas have {properties} properties only");
}

#[test]
fn every_enum_value_is_known() {
    let (mut problems, mut seen) = (Vec::new(), 0);
    for crd in crds().iter().filter(|crd| !LEFT_OUT.contains(&crd.kind.as_str())) {
        let mut found = Vec::new();
        for part in ["spec", "status"] {
            enums(&crd.schema["properties"][part], part, &mut found);
        }
        for (path, values) in found {
            for value in values {
                seen += 1;
                let object = object(crd, Size::Greatest, Some((&path, &value)), &mut 0);
                problems.extend(check(crd, Size::Greatest, &object));
                if let Some(kind) = upstream::find(&crd.group, &crd.kind)
                    && let Some(text) = value.as_str()
                    && let Ok(passed) = (kind.pass)(&object)
                    && passed.debug.contains(&format!("Unknown({text:?})"))
                {
                    problems
                        .push(format!("{} {}: the value {text} of {path} is not known", crd.file, crd.kind));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(seen > 600, "the schemas have {seen} enum values only");
}

#[test]
fn there_is_a_type_for_every_kind_and_version() {
    let crds = crds();
    let upstream: BTreeSet<_> = crds
        .iter()
        .filter(|crd| !LEFT_OUT.contains(&crd.kind.as_str()))
        .map(|crd| (crd.group.as_str(), crd.kind.as_str()))
        .collect();
    let ours: BTreeSet<_> = upstream::KINDS.iter().map(|known| (known.group, known.kind)).collect();
    assert_eq!(upstream, ours);

    for ours in upstream::KINDS {
        let served = crds.iter().filter(|crd| crd.kind == ours.kind && crd.served);
        let upstream: BTreeSet<_> = served.map(|crd| crd.version.as_str()).collect();
        assert_eq!(upstream, ours.versions.iter().copied().collect(), "{}", ours.kind);
    }
}

/// The one default that a type applies when it is read, because the field is a list.
#[test]
fn rules_of_http_routes_have_the_default_of_the_schema() {
    for crd in crds().iter().filter(|crd| crd.kind == "HTTPRoute") {
        let passed =
            (upstream::find(&crd.group, &crd.kind).unwrap().pass)(&object(crd, Size::Required, None, &mut 0));
        let default = crd.schema.pointer("/properties/spec/properties/rules/default").unwrap();
        assert_eq!(&passed.unwrap().written["spec"]["rules"], default, "{} {}", crd.file, crd.version);
    }
}

/// The check itself can fail.
#[test]
fn a_missing_property_and_a_missing_value_are_noticed() {
    let mut crd = crds().into_iter().find(|crd| crd.kind == "HTTPRoute").unwrap();
    let rule = "/properties/spec/properties/rules/items/properties";
    crd.schema.pointer_mut(rule).unwrap()["surprise"] = json!({ "type": "string" });
    let problems = check(&crd, Size::Greatest, &object(&crd, Size::Greatest, None, &mut 0));
    assert!(problems[0].contains("spec.rules.0.surprise is missing"), "{problems:?}");

    let method = json!("BREW");
    let object = object(&crd, Size::Greatest, Some(("spec.rules[].matches[].method", &method)), &mut 0);
    let passed = (upstream::find(&crd.group, &crd.kind).unwrap().pass)(&object).unwrap();
    assert!(passed.debug.contains("Unknown(\"BREW\")"), "{}", passed.debug);
    assert_eq!(passed.written["spec"]["rules"][0]["matches"][0]["method"], "BREW");
}
