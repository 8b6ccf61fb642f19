//! One document becomes objects and findings.

use std::hash::{DefaultHasher, Hash, Hasher};

use postern_translator::{Kind, Object, ObjectKey, Read};
use serde_yaml::{Mapping, Value};

use super::fields;
use super::position::{FieldIndex, Position};
use super::suggest;
use crate::diagnostic::Level;

/// An object, and what tells one content from another. Objects themselves cannot be compared, and parsing again gives new ones.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) object: Object,
    digest: u64,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// What one document holds.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The objects that are sound enough to use, with the path of each within the document (empty, or `items[3]`).
    pub(crate) objects: Vec<(String, Held)>,
    /// Objects that are meant, but not understood: what was read before stays in force.
    pub(crate) broken: Vec<ObjectKey>,
    /// True if it could not be found out which objects are meant.
    pub(crate) unknown: bool,
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
}

/// Something wrong within a document. Positions are relative to the document.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) position: Position,
    pub(crate) object: Option<String>,
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

/// Reads the document `text`.
pub(crate) fn document(text: &str) -> Parsed {
    let mut reader = Reader { text, index: None, out: Parsed::default() };
    let value = serde_yaml::from_str::<Value>(text).and_then(|mut value| {
        value.apply_merge()?;
        Ok(value)
    });
    match value {
        Ok(value) => reader.value(value, String::new()),
        Err(error) => reader.syntax(&error),
    }
    reader.out
}

struct Reader<'a> {
    text: &'a str,
    index: Option<FieldIndex>,
    out: Parsed,
}

/// What is known of the object being read.
struct Subject {
    path: String,
    name: Option<String>,
}

impl Reader<'_> {
    fn find(&mut self, subject: &Subject, field: &str) -> Position {
        self.index.get_or_insert_with(|| FieldIndex::of(self.text)).find(&fields::join(&subject.path, field))
    }

    fn report(&mut self, level: Level, subject: &Subject, field: &str, message: String, remedy: String) {
        let position = self.find(subject, field);
        self.out.findings.push(Finding {
            level,
            position,
            object: subject.name.clone(),
            field: field.to_owned(),
            message,
            remedy,
        });
    }

    fn syntax(&mut self, error: &serde_yaml::Error) {
        let position = error.location().map_or((1, 0), |l| (l.line(), l.column()));
        let message = without_places(&error.to_string());
        let line = self.text.lines().nth(position.0.saturating_sub(1)).unwrap_or_default();
        let remedy = if line.trim_start_matches(' ').starts_with('\t') {
            "indent with spaces; YAML does not allow tabs"
        } else if message.starts_with("duplicate entry") {
            "keep one of the two"
        } else {
            "mend the YAML; look at the indentation and the quotes on this line and the one before"
        };
        self.out.unknown = true;
        self.out.findings.push(Finding {
            level: Level::Error,
            position,
            object: None,
            field: String::new(),
            message: format!("not valid YAML: {message}"),
            remedy: remedy.to_owned(),
        });
    }

    fn value(&mut self, value: Value, path: String) {
        let subject = Subject { path: path.clone(), name: None };
        let mut object = match value {
            Value::Mapping(object) => object,
            Value::Null => return,
            _ => {
                let message = "expected an object with apiVersion, kind and metadata".to_owned();
                return self.report(Level::Error, &subject, "", message, String::new());
            }
        };
        let (Some(api_version), Some(kind)) = (text(&object, "apiVersion"), text(&object, "kind")) else {
            let missing = if text(&object, "kind").is_none() { "kind" } else { "apiVersion" };
            self.out.unknown = true;
            let remedy = "every Kubernetes object names its apiVersion and kind".to_owned();
            return self.report(Level::Error, &subject, "", format!("`{missing}` is missing"), remedy);
        };
        if kind == "List"
            || (kind.ends_with("List") && matches!(object.get("items"), Some(Value::Sequence(_))))
        {
            if let Some(Value::Sequence(items)) = object.remove("items") {
                let prefix = if path.is_empty() { "items".to_owned() } else { format!("{path}.items") };
                for (index, item) in items.into_iter().enumerate() {
                    self.value(item, format!("{prefix}[{index}]"));
                }
            }
            return;
        }
        match Kind::from_gvk(&api_version, &kind) {
            Some(known) => self.object(known, object, path),
            None => self.unknown_kind(&api_version, &kind, &object, path),
        }
    }

    fn unknown_kind(&mut self, api_version: &str, kind: &str, object: &Mapping, path: String) {
        let name = metadata_text(object, "name").unwrap_or_default();
        let name = match metadata_text(object, "namespace") {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        };
        let subject = Subject { path, name: Some(name.trim_end().to_owned()) };
        let verdict = suggest::unknown_kind(api_version, kind);
        self.out.unknown |= verdict.level == Level::Error;
        self.report(verdict.level, &subject, verdict.field, verdict.message, verdict.remedy);
    }

    fn object(&mut self, kind: Kind, mut object: Mapping, path: String) {
        let mut subject = Subject { path, name: None };
        let Some(name) = metadata_text(&object, "name").filter(|name| !name.is_empty()) else {
            subject.name = Some(kind.to_string());
            self.out.unknown = true;
            let remedy = "give the object a name".to_owned();
            return self.report(
                Level::Error,
                &subject,
                "metadata.name",
                "`metadata.name` is missing".to_owned(),
                remedy,
            );
        };
        let namespace = if kind.is_namespaced() {
            let namespace =
                metadata_text(&object, "namespace").unwrap_or_else(|| super::DEFAULT_NAMESPACE.to_owned());
            if let Some(Value::Mapping(metadata)) = object.get_mut("metadata") {
                metadata.insert("namespace".into(), namespace.clone().into());
            }
            namespace
        } else {
            String::new()
        };
        let key = ObjectKey { kind, namespace, name };
        subject.name = Some(key.to_string());
        // Written by controllers, and input only where translation asks what they say.
        if !kind.status_is_read() {
            object.remove("status");
        }
        if kind == Kind::Secret {
            fields::merge_string_data(&mut object);
        }

        let value = Value::Mapping(object);
        let Read { result, mut unknown } = Object::read(kind, &fields::to_json(&value));
        // Types without their own members for these two are read by kind, not by what the object says.
        unknown.retain(|it| it.field != "apiVersion" && it.field != "kind");
        // As the API server validates: an object with a field that nobody knows is not what its author thinks it is.
        // Kinds of others may have newer fields than this version has heard of; those do no harm.
        let strict = !matches!(kind.group(), "" | "discovery.k8s.io" | "multicluster.x-k8s.io");
        match result {
            Ok(_) if strict && !unknown.is_empty() => self.out.broken.push(key),
            Ok(object) => {
                let mut hasher = DefaultHasher::new();
                value.hash(&mut hasher);
                self.out.objects.push((subject.path.clone(), Held { object, digest: hasher.finish() }));
            }
            Err(error) => {
                let message = plain_words(&error.message);
                let remedy = if message.starts_with("expected a string, found")
                    && !message.ends_with("an object")
                    && !message.ends_with("a list")
                {
                    "put the value in quotes".to_owned()
                } else {
                    String::new()
                };
                self.report(Level::Error, &subject, &error.field, message, remedy);
                self.out.broken.push(key);
            }
        }
        for it in unknown {
            let (message, remedy) = suggest::unknown_field(&it);
            let level = if strict { Level::Error } else { Level::Warning };
            self.report(level, &subject, &it.field, message, remedy);
        }
    }
}

/// What serde says of a value of the wrong type, in the words of YAML instead of Rust.
fn plain_words(said: &str) -> String {
    let Some((found, expected)) =
        said.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return said.to_owned();
    };
    let found = match found {
        "map" => "an object",
        "sequence" => "a list",
        "unit value" | "null" => "nothing",
        other => other,
    };
    let expected = match expected {
        "u16" => "a number from 0 to 65535",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") || other.starts_with("internally") => "an object",
        other => other,
    };
    format!("expected {expected}, found {found}")
}

/// `said` without the places that the YAML parser weaves in (` at line 3 column 4`), which count from the document.
fn without_places(said: &str) -> String {
    let mut parts = said.split(" at line ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.strip_prefix(" column ").unwrap_or(rest);
        out.push_str(rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

fn text(object: &Mapping, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn metadata_text(object: &Mapping, key: &str) -> Option<String> {
    object.get("metadata").and_then(|m| m.get(key)).and_then(Value::as_str).map(str::to_owned)
}
