//! Small work on the fields of an untyped object.

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

/// What YAML says in the words of JSON, which is what the API server gets from `kubectl`: keys become text.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => value.into(),
            (_, Some(value)) => value.into(),
            // JSON has neither an infinity nor a "not a number": they become text, which no number may be.
            _ => number
                .as_f64()
                .and_then(serde_json::Number::from_f64)
                .map_or_else(|| number.to_string().into(), Json::Number),
        },
        Value::String(text) => text.as_str().into(),
        Value::Sequence(items) => items.iter().map(to_json).collect(),
        Value::Mapping(members) => members.iter().map(|(key, value)| (to_key(key), to_json(value))).collect(),
        Value::Tagged(tagged) => to_json(&tagged.value),
    }
}

fn to_key(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other).unwrap_or_default().trim_end().to_owned(),
    }
}

/// `field` of the object at `place` of its document.
pub(crate) fn join(place: &str, field: &str) -> String {
    match (place.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (false, true) => place.to_owned(),
        (false, false) => format!("{place}.{field}"),
    }
}

/// Does what the API server does on writing a Secret: `stringData` overrides `data`.
pub(crate) fn merge_string_data(secret: &mut Mapping) {
    let Some(Value::Mapping(plain)) = secret.remove("stringData") else { return };
    let data = secret.entry("data".into()).or_insert_with(|| Value::Mapping(Mapping::new()));
    if data.is_null() {
        *data = Value::Mapping(Mapping::new());
    }
    let Value::Mapping(data) = data else { return };
    for (key, value) in plain {
        // What is not text is left as it is, and reported by the typed reading.
        let value = match value {
            Value::String(text) => Value::String(base64(text.as_bytes())),
            other => other,
        };
        data.insert(key, value);
    }
}

/// Standard base64 with padding (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for position in 0..4 {
            if position <= group.len() {
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * position)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_becomes_json() {
        let yaml = serde_yaml::from_str("{1: a, true: -2, n: [~, 1.5, .inf, !x {k: 18446744073709551615}]}")
            .expect("valid YAML");
        let json = serde_json::json!({"1": "a", "true": -2, "n": [null, 1.5, ".inf", {"k": u64::MAX}]});
        assert_eq!(to_json(&yaml), json);
    }

    #[test]
    fn encodes_like_the_rfc() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn string_data_overrides_data() {
        let mut secret: Mapping =
            serde_yaml::from_str("data: {a: b2xk, b: b2xk}\nstringData: {a: new}").expect("valid YAML");
        merge_string_data(&mut secret);
        let wanted: Mapping = serde_yaml::from_str("data: {a: bmV3, b: b2xk}").expect("valid YAML");
        assert_eq!(secret, wanted);
    }
}
