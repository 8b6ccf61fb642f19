//! Asks a type which fields it has at one place: reads an object with a deserializer that listens for the field names
//! that serde's derived code announces there.

use std::cell::Cell;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_yaml::{Error, Mapping, Value};

type Fields = &'static [&'static str];

/// The names of all fields that stand beside `field`, if `read` gets that far in `object`.
pub(crate) fn fields_beside(object: &Value, field: &str, read: impl FnOnce(Probe<'_>) -> bool) -> Fields {
    let target = field.rfind('.').map_or("", |dot| &field[..dot]);
    let found = Cell::new(&[] as Fields);
    // Whether the rest of the object can be read does not matter here.
    let _ = read(Probe { value: object, path: String::new(), target, found: &found });
    found.get()
}

/// A deserializer over a part of an object.
#[derive(Clone)]
pub(crate) struct Probe<'a> {
    value: &'a Value,
    path: String,
    target: &'a str,
    found: &'a Cell<Fields>,
}

impl<'a> Probe<'a> {
    fn inside(&self, value: &'a Value, path: String) -> Self {
        Self { value, path, target: self.target, found: self.found }
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null | Value::Tagged(_) => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (_, Some(value)) => visitor.visit_i64(value),
                _ => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Sequence(items) => visitor.visit_seq(Items { probe: &self, items, next: 0 }),
            Value::Mapping(members) => {
                visitor.visit_map(Members { probe: &self, members: members.iter(), value: None })
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.path == self.target {
            self.found.set(fields);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: Fields,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::String(text) => {
                let text: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
                visitor.visit_enum(text)
            }
            other => other.clone().deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'a, 'p> {
    probe: &'p Probe<'a>,
    items: &'a [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let path = format!("{}[{}]", self.probe.path, self.next);
        self.next += 1;
        seed.deserialize(self.probe.inside(item, path)).map(Some)
    }
}

struct Members<'a, 'p> {
    probe: &'p Probe<'a>,
    members: <&'a Mapping as IntoIterator>::IntoIter,
    value: Option<(String, &'a Value)>,
}

impl<'de> MapAccess<'de> for Members<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.members.next() else { return Ok(None) };
        let name = key.as_str().unwrap_or_default();
        let path = &self.probe.path;
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        self.value = Some((path, value));
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.value.take() {
            Some((path, value)) => seed.deserialize(self.probe.inside(value, path)),
            None => Err(serde::de::Error::custom("a value was asked for before its key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only the names of the fields are asked for")]
    struct Outer {
        #[serde(default)]
        rules: Vec<Inner>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only the names of the fields are asked for")]
    struct Inner {
        name: Option<String>,
        matches: Option<Vec<u32>>,
    }

    #[test]
    fn names_the_fields_at_the_place() {
        let object: Value = serde_yaml::from_str("rules: [{name: a}, {matchs: [1]}]").expect("valid YAML");
        let ask = |field| fields_beside(&object, field, |probe| Outer::deserialize(probe).is_ok());
        assert_eq!(ask("rules[1].matchs"), ["name", "matches"]);
        assert_eq!(ask("rulez"), ["rules"]);
        assert!(ask("rules[7].x").is_empty());
    }
}
