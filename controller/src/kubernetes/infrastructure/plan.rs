//! What to do about the objects of one Gateway, by what is wanted, what is there, and what was done last. Pure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_translator::NamespacedName;
use serde_json::Value;

use super::labels::{CONTROLLER_NAME, GATEWAY_CLASS_NAME, MANAGED_BY, MANAGER};
use super::objects::{ObjectKind, Wanted};

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The Gateway in question.
    Gateway,
    /// An earlier Gateway of the same name. Postern made it, and the garbage collector is about to take it.
    Predecessor,
    /// Somebody else, or nobody.
    Other,
}

/// Whose the object with this metadata is, seen from the Gateway `name` with `uid`.
pub(super) fn owner(metadata: &ObjectMeta, name: &str, uid: &str) -> Owner {
    match gateway_of(metadata) {
        Some((_, found)) if found == uid => Owner::Gateway,
        Some((found, _)) if found == name && is_labelled(metadata) => Owner::Predecessor,
        _ => Owner::Other,
    }
}

/// Name and uid of the Gateway that owns an object.
pub(super) fn gateway_of(metadata: &ObjectMeta) -> Option<(&str, &str)> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .find(|it| it.kind == "Gateway" && it.api_version.starts_with("gateway.networking.k8s.io/"))
        .map(|it| (it.name.as_str(), it.uid.as_str()))
}

fn value<'a>(map: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    map?.get(key).map(String::as_str)
}

fn is_labelled(metadata: &ObjectMeta) -> bool {
    value(metadata.labels.as_ref(), MANAGED_BY) == Some(MANAGER)
}

/// Whether the controller `controller_name` made an object. Only such are ever deleted.
pub(super) fn is_made_by(metadata: &ObjectMeta, controller_name: &str) -> bool {
    is_labelled(metadata) && value(metadata.annotations.as_ref(), CONTROLLER_NAME) == Some(controller_name)
}

/// Whether an object was made for a Gateway of another class. (While the class only lacks, as when it is deleted and made anew,
/// the proxies stay.)
pub(super) fn is_of_other_class(metadata: &ObjectMeta, class: &str) -> bool {
    let class = postern_translator::infrastructure::label_value(class);
    value(metadata.labels.as_ref(), GATEWAY_CLASS_NAME) != Some(class.as_str())
}

/// An object as it was when Postern had applied it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    digest: u64,
    uid: Option<String>,
    generation: Option<i64>,
    resource_version: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Record {
    /// That `manifest` was applied, and the object is now as `metadata` says.
    pub(super) fn new(manifest: &Value, metadata: &ObjectMeta) -> Self {
        let own = |field: &str| {
            let map = manifest["metadata"][field].as_object().into_iter().flatten();
            map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        Self {
            digest: digest(manifest),
            uid: metadata.uid.clone(),
            generation: metadata.generation,
            resource_version: metadata.resource_version.clone(),
            labels: own("labels"),
            annotations: own("annotations"),
        }
    }

    /// Whether the object is still as it was applied, as far as can be told. Kinds with a generation say so exactly; of
    /// others every change counts, as a needless apply changes nothing and is recorded.
    pub(super) fn still_holds(&self, metadata: &ObjectMeta) -> bool {
        let unchanged = match (self.generation, metadata.generation) {
            (Some(before), Some(now)) => before == now,
            _ => self.resource_version == metadata.resource_version,
        };
        let has = |own: &BTreeMap<String, String>, there: Option<&BTreeMap<String, String>>| {
            own.iter().all(|(key, value)| there.and_then(|it| it.get(key)) == Some(value))
        };
        unchanged
            && self.uid == metadata.uid
            && metadata.deletion_timestamp.is_none()
            && gateway_of(metadata).is_some()
            && has(&self.labels, metadata.labels.as_ref())
            && has(&self.annotations, metadata.annotations.as_ref())
    }
}

fn digest(manifest: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    manifest.to_string().hash(&mut hasher);
    hasher.finish()
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Make the object.
    Create(Value),
    /// Make the object with this uid what it shall be.
    Update {
        /// What it shall be.
        manifest: Value,
        /// Which object is meant: another one of the same name is not touched.
        uid: String,
        /// What it was, to see afterwards whether anything changed.
        resource_version: Option<String>,
        /// It was so already when it was applied last: somebody changed it.
        repair: bool,
        /// First give the field `replicas` to a field manager of its own, so that the number stays when it is no longer applied.
        keep_replicas: bool,
    },
    /// Delete the object with this uid.
    Delete {
        /// Its uid.
        uid: String,
    },
}

/// All that there is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// In order.
    pub(super) steps: Vec<(ObjectKind, Step)>,
    /// Objects that are in the way and not ours. If there is one, nothing is done.
    pub(super) taken: Vec<ObjectKind>,
    /// Objects of an earlier Gateway of the same name, with their uids.
    pub(super) leftovers: Vec<(ObjectKind, String)>,
    /// Objects that are being deleted and have to be gone first.
    pub(super) ending: Vec<ObjectKind>,
}

/// Compares. `existing` are the objects of these names that there are, `records` what was applied last.
pub(super) fn plan(
    gateway: &NamespacedName,
    uid: &str,
    controller_name: &str,
    wanted: &[(ObjectKind, Wanted<Value>)],
    existing: &BTreeMap<ObjectKind, ObjectMeta>,
    records: &BTreeMap<ObjectKind, Record>,
) -> Plan {
    let mut plan = Plan::default();
    for (kind, wanted) in wanted {
        let kind = *kind;
        let found = existing.get(&kind).map(|metadata| (metadata, owner(metadata, &gateway.name, uid)));
        match (wanted, found) {
            (Wanted::Unknown, _) | (Wanted::Nothing, None | Some((_, Owner::Other | Owner::Predecessor))) => {
            }
            (Wanted::Nothing, Some((metadata, Owner::Gateway))) => {
                if is_made_by(metadata, controller_name) && metadata.deletion_timestamp.is_none() {
                    let uid = metadata.uid.clone().unwrap_or_default();
                    plan.steps.push((kind, Step::Delete { uid }));
                }
            }
            (Wanted::Object(manifest), None) => {
                plan.steps.push((kind, Step::Create((**manifest).clone())));
            }
            (Wanted::Object(_), Some((_, Owner::Other))) => plan.taken.push(kind),
            (Wanted::Object(_), Some((metadata, Owner::Predecessor))) => {
                plan.leftovers.push((kind, metadata.uid.clone().unwrap_or_default()));
            }
            (Wanted::Object(_), Some((metadata, Owner::Gateway)))
                if metadata.deletion_timestamp.is_some() =>
            {
                plan.ending.push(kind);
            }
            (Wanted::Object(manifest), Some((metadata, Owner::Gateway))) => {
                let record = records.get(&kind);
                let same = record.is_some_and(|it| it.digest == digest(manifest));
                if same && record.is_some_and(|it| it.still_holds(metadata)) {
                    continue;
                }
                let step = Step::Update {
                    manifest: (**manifest).clone(),
                    uid: metadata.uid.clone().unwrap_or_default(),
                    resource_version: metadata.resource_version.clone(),
                    repair: same,
                    keep_replicas: kind == ObjectKind::Deployment
                        && manifest["spec"]["replicas"].is_null()
                        && applies_replicas(metadata),
                };
                plan.steps.push((kind, step));
            }
        }
    }
    plan
}

/// Whether Postern is the one who says how many replicas there are. A field that a manager stops applying, and that nobody else
/// has applied, falls back to its default.
fn applies_replicas(metadata: &ObjectMeta) -> bool {
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    entries.iter().any(|it| {
        it.manager.as_deref() == Some(MANAGER)
            && it.operation.as_deref() == Some("Apply")
            && it.fields_v1.as_ref().is_some_and(|it| !it.0["f:spec"]["f:replicas"].is_null())
    })
}

#[cfg(test)]
mod tests;
