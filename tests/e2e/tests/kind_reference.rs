//! `docs/reference/kinds/`: a page for each extension kind, made from its CRD, with an example for every field.
//!
//! The examples are those that the tests use, so that they are known to be taken. After a change, write the pages anew with
//! `INSTA_UPDATE=always cargo test -p postern-e2e --test kind_reference`.

#![allow(clippy::unwrap_used)] // a test fails where it is surprised

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use postern_api::crds::extension_crds;
use postern_e2e::repository;
use serde::Deserialize as _;
use serde_json::Value;

/// Where objects are found, the best examples first. A document without a kind is the `spec` of the kind in the path of its file.
const EXAMPLES: [&str; 6] = [
    "tests/e2e/tests/cluster/kgateway",
    "examples",
    "tests/e2e/tests/kind_reference",
    "translator/tests/golden",
    "tests/e2e/tests/cluster/gateway_parameters",
    "api/tests/data",
];
/// Longer examples are cut.
const EXAMPLE_LENGTH: usize = 80;

/// The schema of a CRD.
struct Kind {
    name: String,
    description: String,
    spec: Value,
}

fn kinds() -> Vec<Kind> {
    let kind = |crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        let schema = serde_json::to_value(schema).unwrap();
        let description = schema["description"].as_str().unwrap_or_default().to_owned();
        Kind { name: crd.spec.names.kind, description, spec: schema["properties"]["spec"].clone() }
    };
    extension_crds().into_iter().map(kind).collect()
}

/// What stands below a field: its name as written in paths, and the schema.
fn below(schema: &Value) -> Vec<(String, &Value)> {
    let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty());
    if let Some(properties) = properties {
        properties.iter().map(|(name, schema)| (format!(".{name}"), schema)).collect()
    } else if schema["items"].is_object() {
        vec![("[]".to_owned(), &schema["items"])]
    } else if schema["additionalProperties"].is_object() {
        vec![(".*".to_owned(), &schema["additionalProperties"])]
    } else {
        Vec::new()
    }
}

/// Example values by the path of the leaf field, the first one found.
#[derive(Default)]
struct Examples(BTreeMap<String, Value>);

impl Examples {
    fn of(kinds: &[Kind]) -> Self {
        let mut out = Self::default();
        for file in EXAMPLES.iter().flat_map(|directory| files(&repository().join(directory))) {
            let text = fs::read_to_string(&file).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                // Some inputs of tests are broken on purpose.
                let Ok(object) = Value::deserialize(document) else { break };
                let of_file =
                    |kind: &&Kind| file.to_string_lossy().replace('_', "-").contains(&dashed(&kind.name));
                let found = match object["kind"].as_str() {
                    Some(name) => {
                        kinds.iter().find(|kind| kind.name == name).map(|kind| (kind, &object["spec"]))
                    }
                    None => kinds.iter().find(of_file).map(|kind| (kind, &object)),
                };
                if let Some((kind, spec)) = found {
                    out.walk(&kind.spec, spec, format!("{}.spec", kind.name));
                }
            }
        }
        out
    }

    fn walk(&mut self, schema: &Value, value: &Value, path: String) {
        if value.is_null() {
            return;
        }
        let below = below(schema);
        if below.is_empty() {
            self.0.entry(path).or_insert_with(|| value.clone());
            return;
        }
        for (step, schema) in below {
            let path = format!("{path}{step}");
            match (step.as_str(), value) {
                ("[]", Value::Array(items)) => {
                    for item in items {
                        self.walk(schema, item, path.clone());
                    }
                }
                (".*", Value::Object(members)) => {
                    for member in members.values() {
                        self.walk(schema, member, path.clone());
                    }
                }
                (name, Value::Object(members)) => {
                    if let Some(member) = members.get(&name[1..]) {
                        self.walk(schema, member, path);
                    }
                }
                _ => {}
            }
        }
    }
}

/// `GatewayParameters` as in the names of files: `gateway-parameters`.
fn dashed(kind: &str) -> String {
    let mut out = String::new();
    for letter in kind.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let inner = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    paths.into_iter().flat_map(inner).filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect()
}

/// The type of a field with what its schema says of its values.
fn type_of(schema: &Value) -> String {
    let name = if schema["x-kubernetes-int-or-string"] == true {
        "number or string".to_owned()
    } else if schema["items"].is_object() {
        "list".to_owned()
    } else if schema["additionalProperties"].is_object() {
        "map".to_owned()
    } else {
        match schema["type"].as_str() {
            Some("object") if below(schema).is_empty() => "free form".to_owned(),
            Some(name) => name.to_owned(),
            None => "free form".to_owned(),
        }
    };
    let mut words = vec![name];
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> =
            values.iter().filter(|it| !it.is_null()).map(|it| format!("`{}`", plain(it))).collect();
        words.push(values.join(", "));
    }
    let limits = [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "length at least"),
        ("maxLength", "length at most"),
        ("minItems", "items at least"),
        ("maxItems", "items at most"),
        ("default", "default"),
    ];
    for (key, word) in limits {
        if !schema[key].is_null() {
            words.push(format!("{word} {}", plain(&schema[key])));
        }
    }
    words.join("; ")
}

/// A value as in YAML's flow style, short enough for a table.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        // The limits of a schema are written with a fraction.
        Value::Number(number) if number.as_f64().is_some_and(|it| it.fract() == 0.0 && it.abs() < 1e15) => {
            format!("{:.0}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    };
    let text = text.trim_end().replace('\n', "⏎").replace('|', "\\|");
    match text.char_indices().nth(EXAMPLE_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn rows(schema: &Value, path: &str, examples: &Examples, kind: &str, out: &mut String) {
    for (step, schema) in below(schema) {
        let path = format!("{path}{step}");
        let shown = path.trim_start_matches('.');
        let description = schema["description"].as_str().unwrap_or_default().replace(['\n', '|'], " ");
        let example = match examples.0.get(&format!("{kind}.spec{path}")) {
            // A backtick inside of a code span needs two around it.
            Some(value) if plain(value).contains('`') => format!("`` {} ``", plain(value)),
            Some(value) => format!("`{}`", plain(value)),
            None => String::new(),
        };
        // What an item of a list is, the list says.
        if step.starts_with('.') && step != ".*" || below(schema).is_empty() {
            writeln!(out, "| `{shown}` | {} | {description} | {example} |", type_of(schema)).unwrap();
        }
        rules(schema, out, shown);
        rows(schema, &path, examples, kind, out);
    }
}

fn rules(schema: &Value, out: &mut String, path: &str) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default().replace('|', "\\|");
        writeln!(out, "| `{path}` | rule | {message} | |").unwrap();
    }
}

fn page(kind: &Kind, examples: &Examples) -> String {
    let mut out = format!(
        "# {}\n\n{}\n\n`apiVersion: gateway.kgateway.dev/v1alpha1`. Fields below `spec`; items of lists are written `[]`, free keys of maps `.*`. \
         Where the API server refuses what breaks a rule, the rule has a line of its own. [Which test proves which field](../field-coverage.md#{})\n\n\
         | field | type | meaning | example |\n|---|---|---|---|\n",
        kind.name,
        kind.description,
        kind.name.to_lowercase()
    );
    rules(&kind.spec, &mut out, "spec");
    rows(&kind.spec, "", examples, &kind.name, &mut out);
    out
}

fn leaves(schema: &Value, path: &str, out: &mut Vec<String>) {
    let below = below(schema);
    if below.is_empty() {
        out.push(path.to_owned());
    }
    for (step, schema) in below {
        leaves(schema, &format!("{path}{step}"), out);
    }
}

/// Fields of Kubernetes' own types that it refuses where they stand here.
fn is_refused_by_kubernetes(path: &str) -> bool {
    path.contains(".ephemeral.volumeClaimTemplate.metadata.")
        || path.ends_with(".readinessProbe.terminationGracePeriodSeconds")
}

#[test]
fn every_field_has_an_example() {
    let kinds = kinds();
    let examples = Examples::of(&kinds);
    let mut all = Vec::new();
    for kind in &kinds {
        leaves(&kind.spec, &format!("{}.spec", kind.name), &mut all);
    }
    assert!(all.len() > 500, "{}", all.len());
    let missing: Vec<_> = all
        .iter()
        .filter(|path| !examples.0.contains_key(*path) && !is_refused_by_kubernetes(path))
        .collect();
    assert!(missing.is_empty(), "{} fields have no example: {missing:#?}", missing.len());
}

#[test]
fn the_pages_are_up_to_date() {
    let kinds = kinds();
    let examples = Examples::of(&kinds);
    let directory = repository().join("docs/reference/kinds");
    let mut stale = Vec::new();
    for kind in &kinds {
        let path = directory.join(format!("{}.md", kind.name.to_lowercase()));
        let expected = page(kind, &examples);
        if std::env::var("INSTA_UPDATE").is_ok_and(|mode| mode == "always") {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&path, &expected).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != expected {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "out of date, see the head of this test: {stale:?}");
}
