//! `docs/reference/field-coverage.md`: which test proves which field of the extension kinds.
//!
//! The fields come from the CRDs, the tests from their sources, where they say so with `covers!` and `covers_leaves!`. After a change, write the page anew with
//! `INSTA_UPDATE=always cargo test -p postern-e2e --test field_coverage`.

#![allow(clippy::unwrap_used)] // a test fails where it is surprised

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use postern_api::crds::extension_crds;
use postern_e2e::repository;
use serde::Deserialize as _;
use serde_json::Value;
use syn::parse::Parser as _;
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{ItemFn, LitStr, Macro, Token};

/// The schema of every `Kind.spec`.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let schema = |crd: CustomResourceDefinition| {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        let spec = serde_json::to_value(schema).unwrap()["properties"]["spec"].take();
        (format!("{}.spec", crd.spec.names.kind), spec)
    };
    extension_crds().into_iter().map(schema).collect()
});

/// Every leaf field, as `Kind.spec.path.to.field`.
fn fields() -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for (path, spec) in &*SCHEMAS {
        leaves(spec, path, &mut fields);
    }
    fields
}

fn leaves(schema: &Value, path: &str, fields: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty());
    if let Some(properties) = properties {
        for (name, property) in properties {
            leaves(property, &format!("{path}.{name}"), fields);
        }
    } else if schema["items"].is_object() {
        leaves(&schema["items"], &format!("{path}[]"), fields);
    } else if schema["additionalProperties"].is_object() {
        leaves(&schema["additionalProperties"], &format!("{path}.*"), fields);
    } else {
        fields.insert(path.to_owned());
    }
}

/// The leaf fields that `value` gives.
fn given(schema: &Value, value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty());
    if let Some(properties) = properties {
        for (name, value) in value.as_object().unwrap_or_else(|| panic!("{path}: {value} is no object")) {
            let property = properties.get(name).unwrap_or_else(|| panic!("{path} has no {name}"));
            given(property, value, &format!("{path}.{name}"), fields);
        }
    } else if schema["items"].is_object() {
        for value in value.as_array().unwrap_or_else(|| panic!("{path}: {value} is no list")) {
            given(&schema["items"], value, &format!("{path}[]"), fields);
        }
    } else if schema["additionalProperties"].is_object() {
        for value in value.as_object().unwrap_or_else(|| panic!("{path}: {value} is no map")).values() {
            given(&schema["additionalProperties"], value, &format!("{path}.*"), fields);
        }
    } else {
        fields.insert(path.to_owned());
    }
}

/// The leaf fields that the documents of a file give, each of which has the schema at this path, or is an object whose `spec` has it.
fn given_in(file: &str, path: &str) -> BTreeSet<String> {
    let schema = SCHEMAS.get(path).unwrap_or_else(|| panic!("{path} is no schema"));
    let file = repository().join("tests/e2e").join(file);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut fields = BTreeSet::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let document = Value::deserialize(document).unwrap();
        if !document.is_null() {
            let value = if document["kind"].is_string() { &document["spec"] } else { &document };
            given(schema, value, path, &mut fields);
        }
    }
    fields
}

/// Tests by field, as `file::function`.
type Tests = BTreeMap<String, BTreeSet<String>>;

/// What the sources of the tests claim.
#[derive(Default)]
struct Claims {
    file: String,
    /// The test that is being read.
    function: Option<String>,
    carried_out: Tests,
    refused: Tests,
}

impl Visit<'_> for Claims {
    fn visit_item_fn(&mut self, function: &ItemFn) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().segments.last().is_some_and(|it| it.ident == "test")
        };
        let name = function.attrs.iter().any(is_test).then(|| function.sig.ident.to_string());
        let outer = std::mem::replace(&mut self.function, name);
        syn::visit::visit_item_fn(self, function);
        self.function = outer;
    }

    fn visit_macro(&mut self, call: &Macro) {
        let name = call.path.segments.last().map(|it| it.ident.to_string()).unwrap_or_default();
        let tests = match name.as_str() {
            "covers" | "covers_leaves" => &mut self.carried_out,
            "refuses" | "refuses_leaves" => &mut self.refused,
            _ => return,
        };
        let test = self.function.as_ref();
        let test = test.unwrap_or_else(|| panic!("{}: {name}! belongs into a test", self.file));
        let parser = Punctuated::<LitStr, Token![,]>::parse_terminated;
        let given: Vec<_> = parser.parse2(call.tokens.clone()).unwrap().iter().map(LitStr::value).collect();
        let fields = match given.as_slice() {
            [schema, file] if name.ends_with("_leaves") => given_in(file, schema),
            _ => given.into_iter().collect(),
        };
        for field in fields {
            let claim = format!("{}::{test}", self.file);
            tests.entry(field).or_default().insert(claim);
        }
    }
}

fn claims() -> Claims {
    let root = repository().join("tests/e2e/tests");
    let mut claims = Claims::default();
    for file in sources(&root) {
        claims.file = file.strip_prefix(&root).unwrap().with_extension("").display().to_string();
        claims.visit_file(&syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap());
    }
    claims
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let inner = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    paths.into_iter().flat_map(inner).filter(|path| path.extension().is_some_and(|it| it == "rs")).collect()
}

fn page(fields: &BTreeSet<String>, claims: &Claims) -> String {
    let kind = |field: &str| field.split('.').next().unwrap().to_owned();
    let mut by_kind: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for field in fields {
        by_kind.entry(kind(field)).or_default().push(field);
    }
    let mut page = "# Fields and the tests that prove them

Every field of the extension kinds, in both dialects, as their CRDs have it, and the test in `tests/e2e/tests` that shows its effect: with requests
through a real Envoy, or, where a field says how proxies are deployed (GatewayParameters), in the objects that a real API server has of them. Items of lists are written `[]`, free keys of maps `.*`. `refused by` names the test that shows that Postern does not
carry out the field and that the status of the object says so.

| kind | fields | proven | refused |
|---|---|---|---|
"
    .to_owned();
    for (kind, fields) in &by_kind {
        let all = fields.len();
        let proven = fields.iter().filter(|field| claims.carried_out.contains_key(**field)).count();
        let is_refused =
            |field: &str| !claims.carried_out.contains_key(field) && claims.refused.contains_key(field);
        let refused = fields.iter().filter(|field| is_refused(field)).count();
        writeln!(page, "| [{kind}](#{}) | {all} | {proven} | {refused} |", kind.to_lowercase()).unwrap();
    }
    for (kind, fields) in &by_kind {
        write!(page, "\n## {kind}\n\n| field | test |\n|---|---|\n").unwrap();
        for field in fields {
            let names = |tests: &BTreeSet<String>| {
                tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ")
            };
            let tests = match (claims.carried_out.get(*field), claims.refused.get(*field)) {
                (Some(tests), _) => names(tests),
                (None, Some(tests)) => format!("refused by {}", names(tests)),
                (None, None) => "not yet".to_owned(),
            };
            writeln!(page, "| `{field}` | {tests} |").unwrap();
        }
    }
    page
}

#[test]
fn tests_claim_fields_that_exist() {
    let fields = fields();
    let claims = claims();
    let all = claims.carried_out.iter().chain(&claims.refused);
    let unknown: Vec<_> = all.filter(|(field, _)| !fields.contains(*field)).collect();
    assert!(unknown.is_empty(), "no CRD has these leaf fields: {unknown:#?}");
    assert!(
        claims.carried_out.len() > 10 && fields.len() > 200,
        "{} {}",
        claims.carried_out.len(),
        fields.len()
    );
}

#[test]
fn every_field_has_a_test() {
    let claims = claims();
    let is_open =
        |field: &&String| !claims.carried_out.contains_key(*field) && !claims.refused.contains_key(*field);
    let fields = fields();
    let open: Vec<_> = fields.iter().filter(is_open).collect();
    assert!(open.is_empty(), "no test shows what these fields do, or that they are refused: {open:#?}");
}

#[test]
fn the_page_is_up_to_date() {
    let path = repository().join("docs/reference/field-coverage.md");
    let expected = page(&fields(), &claims());
    if std::env::var("INSTA_UPDATE").is_ok_and(|mode| mode == "always") {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/reference/field-coverage.md is out of date: see the head of this test");
}
