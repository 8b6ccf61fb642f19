//! Values in access logs: JSON, and what OpenTelemetry calls "any value".

use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as PbValue, value::Kind};
use envoy_types::pb::opentelemetry::proto::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value as Otel,
};
use postern_api::kgateway::{AnyValue as Spec, KeyAnyValueList};
use serde_json::{Map, Value};

use super::super::format;
use crate::problem::Fault;

/// Envoy reads no message with more than a hundred messages inside of each other; a level of an object is three of them.
const MAX_DEPTH: usize = 24;

/// Checks the command operators in all strings; the field of the fault leads to the string.
pub(super) fn check(value: &Value) -> Result<(), Fault> {
    check_below(value, 0)
}

fn check_below(value: &Value, depth: usize) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::new("", "it is nested too deeply", format!("use at most {MAX_DEPTH} levels")));
    }
    match value {
        Value::String(text) => format::check(text),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            check_below(item, depth + 1).map_err(|fault| fault.within(&format!("[{index}]")))
        }),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            check_below(field, depth + 1).map_err(|fault| fault.within(&format!(".{name}")))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The same object as a protobuf message.
pub(super) fn structure(fields: &Map<String, Value>) -> Struct {
    Struct { fields: fields.iter().map(|(name, field)| (name.clone(), message(field))).collect() }
}

fn message(value: &Value) -> PbValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(message).collect() }),
        Value::Object(fields) => Kind::StructValue(structure(fields)),
    };
    PbValue { kind: Some(kind) }
}

/// A text.
pub(super) fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Otel::StringValue(text.to_owned())) }
}

/// Values with names; fields of faults are relative to the list. `commands`: strings have command operators.
pub(super) fn key_values(list: &KeyAnyValueList, commands: bool) -> Result<KeyValueList, Fault> {
    below(list, commands, 0)
}

fn below(list: &KeyAnyValueList, commands: bool, depth: usize) -> Result<KeyValueList, Fault> {
    let value = |(index, entry): (usize, &postern_api::kgateway::KeyAnyValue)| {
        let at = format!(".values[{index}]");
        if entry.key.is_empty() {
            return Err(Fault::new(".key", "it is empty", "name the attribute").within(&at));
        }
        let value =
            any(&entry.value, commands, depth + 1).map_err(|fault| fault.within(&format!("{at}.value")))?;
        Ok(KeyValue { key: entry.key.clone(), value: Some(value), ..KeyValue::default() })
    };
    Ok(KeyValueList { values: list.values.iter().enumerate().map(value).collect::<Result<_, _>>()? })
}

fn any(value: &Spec, commands: bool, depth: usize) -> Result<AnyValue, Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::new("", "it is nested too deeply", format!("use at most {MAX_DEPTH} levels")));
    }
    let value = match (&value.string_value, &value.array_value, &value.kv_list_value) {
        (Some(text), None, None) => {
            if commands {
                format::check(text).map_err(|fault| fault.within(".stringValue"))?;
            }
            Otel::StringValue(text.clone())
        }
        (None, Some(items), None) => {
            let item = |(index, item): (usize, &Spec)| {
                any(item, commands, depth + 1).map_err(|fault| fault.within(&format!(".arrayValue[{index}]")))
            };
            let values = items.iter().enumerate().map(item).collect::<Result<_, _>>()?;
            Otel::ArrayValue(ArrayValue { values })
        }
        (None, None, Some(list)) => {
            Otel::KvlistValue(below(list, commands, depth + 1).map_err(|fault| fault.within(".kvListValue"))?)
        }
        _ => {
            return Err(Fault::new(
                "",
                "it must have one value",
                "give exactly one of stringValue, arrayValue and kvListValue",
            ));
        }
    };
    Ok(AnyValue { value: Some(value) })
}
