//! From untyped JSON to a typed object, with what is wrong with it.
//!
//! There is one deserializer, over a [`Value`], for everything that comes from outside: each further one would be another copy of
//! the code that reads all types, some megabytes of the program. It knows where it is, so that an error names the
//! field, and it hears which fields nobody asks for.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

type Fields = &'static [&'static str];

/// What reading gave.
#[derive(Debug)]
pub struct Read<T> {
    /// The object, if it has the form of its type.
    pub result: Result<T, ReadError>,
    /// The fields that the type does not have.
    pub unknown: Vec<UnknownField>,
}

impl<T> Read<T> {
    /// Makes something else of what was read.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Read<U> {
        Read { result: self.result.map(change), unknown: self.unknown }
    }
}

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ReadError {
    /// The field, as in `spec.rules[0].name`; empty for the whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// A field that is given and that the type does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Where it is, as in `spec.rules[0].nam`.
    pub field: String,
    /// The names that the type knows there.
    pub known: Fields,
}

/// Reads a value of any type.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Read<T> {
    let notes = RefCell::default();
    let result = T::deserialize(Node { value, place: Place::Root, beside: &[], notes: &notes });
    let Notes { failed, unknown } = notes.into_inner();
    let result =
        result.map_err(|error| ReadError { field: failed.unwrap_or_default(), message: error.to_string() });
    Read { result, unknown }
}

#[derive(Default)]
struct Notes {
    /// The innermost place of the first error.
    failed: Option<String>,
    unknown: Vec<UnknownField>,
}

/// Where a value is. Written out only where somebody asks.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Member(Place::Root, name) => f.write_str(name),
            Place::Member(parent, name) => write!(f, "{parent}.{name}"),
            Place::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value to be read.
#[derive(Clone, Copy)]
struct Node<'a> {
    value: &'a Value,
    place: Place<'a>,
    /// What the type that holds it knows.
    beside: Fields,
    notes: &'a RefCell<Notes>,
}

impl Node<'_> {
    fn noted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.notes.borrow_mut().failed.get_or_insert_with(|| self.place.to_string());
        }
        result
    }

    fn visit<'de, V: Visitor<'de>>(self, known: Fields, visitor: V) -> Result<V::Value, Error> {
        let result = match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (_, Some(value)) => visitor.visit_i64(value),
                _ => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(Items { of: &self, items, next: 0 }),
            Value::Object(members) => {
                visitor.visit_map(Members { of: &self, known, members: members.iter(), current: None })
            }
        };
        self.noted(result)
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(&[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.visit(fields, visitor)
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
        _: &'static str,
        _: Fields,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = visitor.visit_enum(Variant { of: &self });
        self.noted(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let field = self.place.to_string();
        self.notes.borrow_mut().unknown.push(UnknownField { field, known: self.beside });
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

struct Items<'a> {
    of: &'a Node<'a>,
    items: &'a [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(value) = self.items.get(self.next) else { return Ok(None) };
        let place = Place::Item(&self.of.place, self.next);
        self.next += 1;
        seed.deserialize(Node { value, place, beside: &[], notes: self.of.notes }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Members<'a> {
    of: &'a Node<'a>,
    known: Fields,
    members: <&'a Map<String, Value> as IntoIterator>::IntoIter,
    current: Option<(&'a String, &'a Value)>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.members.next();
        let Some((name, _)) = self.current else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((name, value)) = self.current.take() else {
            return Err(Error::custom("a value was asked for before its key"));
        };
        let place = Place::Member(&self.of.place, name);
        seed.deserialize(Node { value, place, beside: self.known, notes: self.of.notes })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.len())
    }
}

/// A name among several, which is all that the variants of Kubernetes' enumerations are.
struct Variant<'a> {
    of: &'a Node<'a>,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Unit;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Unit), Error> {
        match self.of.value {
            Value::String(name) => {
                let name: StrDeserializer<'_, Error> = name.as_str().into_deserializer();
                seed.deserialize(name).map(|variant| (variant, Unit))
            }
            other => Err(Error::invalid_type(unexpected(other), &"a string")),
        }
    }
}

struct Unit;

impl<'de> VariantAccess<'de> for Unit {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(Error::invalid_type(Unexpected::UnitVariant, &"a newtype variant"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::invalid_type(Unexpected::UnitVariant, &"a tuple variant"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: Fields, _: V) -> Result<V::Value, Error> {
        Err(Error::invalid_type(Unexpected::UnitVariant, &"a struct variant"))
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Unexpected::Unsigned(value),
            (_, Some(value)) => Unexpected::Signed(value),
            _ => Unexpected::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        #[serde(default)]
        rules: Vec<Inner>,
        level: Option<Level>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        name: Option<String>,
        ports: Option<Vec<u16>>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Level {
        Low,
    }

    fn error(value: &Value) -> String {
        read::<Outer>(value).result.unwrap_err().to_string()
    }

    #[test]
    fn reads_what_has_the_form_of_the_type() {
        let given = json!({"rules": [{"name": "a", "ports": [1, 2]}, {"name": null}], "level": "Low"});
        let Read { result, unknown } = read::<Outer>(&given);
        let rules = vec![
            Inner { name: Some("a".into()), ports: Some(vec![1, 2]) },
            Inner { name: None, ports: None },
        ];
        assert_eq!(result, Ok(Outer { rules, level: Some(Level::Low) }));
        assert_eq!(unknown, []);
    }

    #[test]
    fn an_error_names_the_innermost_field() {
        let wrong = json!({"rules": [{}, {"ports": [80, "http"]}]});
        assert_eq!(error(&wrong), "rules[1].ports[1]: invalid type: string \"http\", expected u16");
        assert_eq!(error(&json!({"rules": 7})), "rules: invalid type: integer `7`, expected a sequence");
        assert_eq!(error(&json!({"level": "High"})), "level: unknown variant `High`, expected `Low`");
        assert_eq!(error(&json!({"level": {}})), "level: invalid type: map, expected a string");
        assert_eq!(error(&json!([1])), "[0]: invalid type: integer `1`, expected a sequence");
        assert_eq!(error(&json!("x")), "invalid type: string \"x\", expected struct Outer");
    }

    #[test]
    fn unknown_fields_come_with_the_known_ones() {
        let unknown =
            read::<Outer>(&json!({"rules": [{"name": "a"}, {"nam": {"a": 1}}], "rulez": 1})).unknown;
        let told: Vec<_> = unknown.iter().map(|it| (it.field.as_str(), it.known)).collect();
        let expected: [(&str, Fields); 2] =
            [("rules[1].nam", &["name", "ports"]), ("rulez", &["rules", "level"])];
        assert_eq!(told, expected);
    }
}
