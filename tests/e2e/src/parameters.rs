//! What GatewayParameters say, leaf by leaf, against what there is for the proxies of a Gateway.
//!
//! [`places`] says of every field where its effect is seen. A test hands [`gaps`] what it wrote and what it found, rendered or
//! read from an API server; a field that nobody knows a place for is a gap too.

mod deployed;
mod places;

use std::collections::BTreeMap;

use postern::kubernetes::infrastructure::ObjectKind;
use serde::Deserialize as _;
use serde_json::{Value, json};

pub use self::deployed::Deployed;
use self::places::{PLACES, Place};
use crate::postern::repository;

/// The objects of one Gateway.
pub type Manifests = BTreeMap<ObjectKind, Value>;

/// What `spec` of GatewayParameters says and `there` does not show.
pub fn gaps(spec: &Value, there: &Manifests) -> Vec<String> {
    let mut left = spec.clone();
    let mut gaps = Vec::new();
    for (path, place) in &PLACES {
        let Some(given) = take(&mut left, path) else { continue };
        match place {
            Place::At(kind, pointer) => {
                let found = there.get(kind).and_then(|it| it.pointer(pointer));
                missing(&given, found.unwrap_or(&Value::Null), path, &mut gaps);
            }
            Place::Effect(holds) if holds(&given, there) => {}
            Place::Effect(_) => gaps.push(format!("{path}: {given} has no effect")),
        }
    }
    let lost = without_each_leaf(&left).into_keys();
    gaps.extend(lost.map(|path| format!("{path}: nobody knows where it takes effect")));
    gaps
}

fn take(value: &mut Value, path: &str) -> Option<Value> {
    let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut parents = parents.split('.').filter(|it| !it.is_empty());
    parents.try_fold(value, |value, name| value.get_mut(name))?.as_object_mut()?.remove(name)
}

/// Objects may have more keys than are given and lists more items, in any order.
fn missing(given: &Value, found: &Value, path: &str, gaps: &mut Vec<String>) {
    match given {
        Value::Object(fields) => {
            for (name, given) in fields {
                missing(given, &found[name], &format!("{path}.{name}"), gaps);
            }
        }
        Value::Array(items) => {
            for (index, given) in items.iter().enumerate() {
                let is_there = found.as_array().into_iter().flatten().any(|found| {
                    let mut gaps = Vec::new();
                    missing(given, found, path, &mut gaps);
                    gaps.is_empty()
                });
                if !is_there {
                    gaps.push(format!("{path}[{index}]: {given} is not in {found}"));
                }
            }
        }
        _ if given == found => {}
        _ => gaps.push(format!("{path}: {given} is wanted, {found} is there")),
    }
}

/// `value` without one of its leaves at a time, by the path of the leaf. Items of lists are `[]`: of several leaves of one path,
/// one does.
pub fn without_each_leaf(value: &Value) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let under = |name: &str, rest: &str| match rest {
        "" => name.to_owned(),
        _ if rest.starts_with('[') => format!("{name}{rest}"),
        _ => format!("{name}.{rest}"),
    };
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if !field.is_object() && !field.is_array() {
                    let mut without = fields.clone();
                    without.remove(name);
                    all.insert(name.clone(), Value::Object(without));
                }
                for (rest, changed) in without_each_leaf(field) {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), changed);
                    all.insert(under(name, &rest), Value::Object(fields));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if !item.is_object() && !item.is_array() {
                    let mut without = items.clone();
                    without.remove(index);
                    all.insert("[]".to_owned(), Value::Array(without));
                }
                for (rest, changed) in without_each_leaf(item) {
                    let mut items = items.clone();
                    items[index] = changed;
                    all.insert(under("[]", &rest), Value::Array(items));
                }
            }
        }
        _ => {}
    }
    all
}

/// The documents of a file in `tests/e2e/tests/cluster/gateway_parameters`: each is the `spec` of GatewayParameters.
pub fn parameters_in(file: &str) -> Vec<Value> {
    let path = repository().join("tests/e2e/tests/cluster/gateway_parameters").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::Deserializer::from_str(&text).map(|it| Value::deserialize(it).unwrap()).collect()
}

/// GatewayParameters `name` with this `spec`.
pub fn gateway_parameters(name: &str, spec: &Value) -> Value {
    let kind = "GatewayParameters";
    json!({"apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}
