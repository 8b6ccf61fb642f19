//! Merges the status that an object should have into the one that it has. Pure.
//!
//! The status is read and written as JSON, so that what others put there survives even where Postern's types do not
//! know it. The rules (GEP-1364 and the API conventions of Kubernetes):
//!
//! - a condition is ours by its type, an entry of a list by its `controllerName`; all others stay, where they are;
//! - what is ours and no longer wanted goes;
//! - `lastTransitionTime` changes only together with the `status` of the condition;
//! - a condition that was decided for a newer generation of the object stays;
//! - lists do not grow beyond what the API server admits: then it is ours that is left out.

mod conditions;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use postern_api::gateway_api::GATEWAY_GROUP;
use serde_json::{Map, Value, json};

use self::conditions::Conditions;
use super::layout::{Entries, Layout};

/// Something to write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Merged {
    /// The fields of the status that change, as a JSON merge patch.
    pub(super) patch: Map<String, Value>,
    /// Whether a list in the patch repeats something that others wrote: then it has to be copied from the object as
    /// the API server has it, not from what our types kept of it.
    pub(super) foreign: bool,
    /// How much of ours found no place, because others have filled the list.
    pub(super) left_out: usize,
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) controller_name: &'a str,
    pub(super) now: Timestamp,
}

/// What has to be written so that `present`, the status of an object at `generation`, says what is `desired`;
/// `None` if it does already. Without a desired status only entries of ours are removed.
pub(super) fn merge(
    layout: &Layout,
    present: &Value,
    generation: Option<i64>,
    desired: Option<&Value>,
    writer: Writer<'_>,
) -> Option<Merged> {
    let mut merge = Merge { generation, writer, foreign: false, left_out: 0 };
    let mut patch = Map::new();
    if let Some(desired) = desired {
        for field in layout.fields {
            let (present, desired) = (&present[*field], &desired[*field]);
            if is_empty(desired) && !is_empty(present) {
                patch.insert((*field).to_owned(), Value::Null);
            } else if !is_empty(desired) && !equal(desired, present) {
                patch.insert((*field).to_owned(), desired.clone());
            }
        }
        if let Some(types) = layout.conditions {
            let list = merge.conditions(types, list(present, "conditions"), list(desired, "conditions"));
            merge.put(&mut patch, "conditions", list, present);
        }
        if let Some(types) = layout.listeners {
            let list = merge.listeners(types, list(present, "listeners"), list(desired, "listeners"));
            merge.put(&mut patch, "listeners", list, present);
        }
    }
    if let Some(entries) = &layout.entries {
        let wanted = desired.map_or(&[][..], |desired| list(desired, entries.list));
        let merged = merge.entries(entries, list(present, entries.list), wanted);
        merge.put(&mut patch, entries.list, merged, present);
    }
    let Merge { foreign, left_out, .. } = merge;
    (!patch.is_empty()).then_some(Merged { patch, foreign, left_out })
}

struct Merge<'a> {
    generation: Option<i64>,
    writer: Writer<'a>,
    foreign: bool,
    left_out: usize,
}

/// A merged list, and whether something of others is in it.
struct Merging {
    list: Vec<Value>,
    foreign: bool,
}

impl Merge<'_> {
    /// Puts a merged list into the patch if it differs from the present one.
    fn put(&mut self, patch: &mut Map<String, Value>, field: &str, merged: Merging, present: &Value) {
        if merged.list != list(present, field) {
            self.foreign |= merged.foreign;
            patch.insert(field.to_owned(), Value::Array(merged.list));
        }
    }

    fn conditions(&mut self, types: &[&str], present: &[Value], desired: &[Value]) -> Merging {
        let merged =
            Conditions { types, generation: self.generation, now: self.writer.now }.merge(present, desired);
        self.left_out += merged.left_out;
        Merging { list: merged.list, foreign: merged.foreign }
    }

    /// Listeners are ours, one for each in the spec, but others may add conditions to them.
    fn listeners(&mut self, types: &[&str], present: &[Value], desired: &[Value]) -> Merging {
        let mut foreign = false;
        let listeners = desired.iter().map(|wanted| {
            let found = present.iter().find(|listener| listener["name"] == wanted["name"]);
            let (listener, others) = self.with_conditions(types, found, wanted);
            foreign |= others;
            listener
        });
        let list = listeners.collect();
        Merging { list, foreign }
    }

    fn entries(&mut self, entries: &Entries, present: &[Value], desired: &[Value]) -> Merging {
        let controller_name = self.writer.controller_name;
        let is_ours = |entry: &Value| entry["controllerName"] == controller_name;
        let others = present.iter().filter(|entry| !is_ours(entry)).count();
        let room = entries.most.saturating_sub(others);
        self.left_out += desired.len().saturating_sub(room);
        let mut wanted: Vec<Option<&Value>> = desired.iter().take(room).map(Some).collect();
        let mut list = Vec::with_capacity(others + wanted.len());
        let mut foreign = others > 0;
        for entry in present {
            if !is_ours(entry) {
                list.push(entry.clone());
                continue;
            }
            // Each wanted entry is taken once, so a second one about the same object goes.
            let about = |wanted: &Value| equal(&wanted[entries.reference], &entry[entries.reference]);
            if let Some(wanted) = wanted.iter_mut().find(|w| w.is_some_and(about)).and_then(Option::take) {
                let (entry, others) = self.with_conditions(entries.types, Some(entry), wanted);
                foreign |= others;
                list.push(entry);
            }
        }
        for wanted in wanted.into_iter().flatten() {
            list.push(self.with_conditions(entries.types, None, wanted).0);
        }
        Merging { list, foreign }
    }

    /// `wanted`, with the conditions merged into those of `present`, and whether others have a part in it. Fields that
    /// the API server completed or that Postern does not know stay as they are.
    fn with_conditions(&mut self, types: &[&str], present: Option<&Value>, wanted: &Value) -> (Value, bool) {
        let empty = Value::Null;
        let present = present.unwrap_or(&empty);
        let merged = self.conditions(types, list(present, "conditions"), list(wanted, "conditions"));
        let mut out = present.as_object().cloned().unwrap_or_default();
        for optional in OPTIONAL {
            out.remove(*optional);
        }
        for (name, value) in wanted.as_object().into_iter().flatten() {
            let there = &present[name.as_str()];
            out.insert(name.clone(), if equal(value, there) { there.clone() } else { value.clone() });
        }
        out.insert("conditions".to_owned(), Value::Array(merged.list));
        (Value::Object(out), merged.foreign)
    }
}

/// Fields of listeners and entries that Postern leaves out where they are empty.
const OPTIONAL: &[&str] = &["supportedKinds"];

/// The list in `field`; empty if there is none.
fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// Absent and empty say the same.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// Whether `desired` and `present` say the same once the API server has completed `desired`: the schemas have defaults
/// for the group and kind of references, for the group of kinds, and for the type of addresses.
fn equal(desired: &Value, present: &Value) -> bool {
    match (desired, present) {
        (Value::Object(desired), Value::Object(present)) => {
            let default = |name: &str| match name {
                "group" => json!(GATEWAY_GROUP),
                "kind" => json!("Gateway"),
                "type" => json!("IPAddress"),
                _ => Value::Null,
            };
            desired.iter().all(|(name, value)| match present.get(name) {
                Some(there) => equal(value, there),
                None => *value == default(name),
            }) && present.iter().all(|(name, there)| desired.contains_key(name) || *there == default(name))
        }
        (Value::Array(desired), Value::Array(present)) => {
            desired.len() == present.len() && desired.iter().zip(present).all(|(d, p)| equal(d, p))
        }
        _ => desired == present,
    }
}
