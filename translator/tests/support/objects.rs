//! Objects from YAML, as the controller's file source reads them.

use postern_translator::{Change, Kind, Object, Options, Translator};
use serde::Deserialize;
use serde_yaml::Value;

/// All objects of a multi-document YAML text. Panics with the text of the document that is wrong.
pub(crate) fn load(yaml: &str) -> Vec<Object> {
    serde_yaml::Deserializer::from_str(yaml)
        .filter_map(|document| {
            let value = Value::deserialize(document).expect("readable YAML");
            if value.is_null() {
                return None;
            }
            let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let kind = Kind::from_gvk(&field("apiVersion"), &field("kind")).expect("a known kind");
            Some(Object::deserialize(kind, value.clone()).unwrap_or_else(|e| panic!("{e} in {value:?}")))
        })
        .collect()
}

/// A translator that has seen these objects, translated.
#[allow(dead_code, reason = "not every test that uses this file does")]
pub(crate) fn translated(objects: impl IntoIterator<Item = Object>) -> Translator {
    translated_with(Options::default(), objects)
}

/// The same with other options.
pub(crate) fn translated_with(options: Options, objects: impl IntoIterator<Item = Object>) -> Translator {
    let mut translator = Translator::new(options);
    for object in objects {
        translator.apply(Change::Upsert(object));
    }
    translator.translate();
    translator
}
