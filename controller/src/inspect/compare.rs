//! What a proxy has, against what it should have.

use std::collections::BTreeMap;
use std::fmt;

use postern_xds::ResourceType;
use serde::Serialize;
use serde_json::Value;

use super::document::Config;
use super::dump::{Dump, Held, Stage, label};

/// The types that are compared: those whose resources Envoy tells.
pub const TYPES: [ResourceType; 7] = [
    ResourceType::Listener,
    ResourceType::ExtensionConfig,
    ResourceType::ScopedRouteConfiguration,
    ResourceType::RouteConfiguration,
    ResourceType::Cluster,
    ResourceType::ClusterLoadAssignment,
    ResourceType::Secret,
];

/// What is not as it should be about one resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The type, such as `LDS`.
    #[serde(rename = "type")]
    pub resource_type: &'static str,
    /// The name.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
    /// The version that the proxy should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// The version that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// The values that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueDifference>,
}

/// The ways to be different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum What {
    /// The proxy does not have it.
    Missing,
    /// The proxy has it, and should not.
    Unexpected,
    /// The proxy has another version, or other content.
    Differs,
    /// The proxy has received it and does not use it yet.
    Warming,
    /// The proxy refused it.
    Refused {
        /// Envoy's words.
        reason: String,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Unexpected => "unexpected",
            Self::Differs => "differs",
            Self::Warming => "warming",
            Self::Refused { .. } => "refused",
        })
    }
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueDifference {
    /// Where it is, such as `filterChains[0].filters[1].name`.
    pub path: String,
    /// What it should be; absent if it should not be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Value>,
    /// What it is; absent if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Value>,
}

/// What is different, by type in the order of [`TYPES`], then by name.
pub fn compare(wanted: &Config, actual: &Dump) -> Vec<Difference> {
    let mut out = Vec::new();
    for resource_type in TYPES {
        let empty = BTreeMap::new();
        let wanted = wanted.resources.get(label(resource_type)).unwrap_or(&empty);
        for (name, resource) in wanted {
            let difference = |what, actual: Option<&Held>, values| Difference {
                resource_type: label(resource_type),
                name: name.clone(),
                what,
                wanted: Some(resource.version.clone()),
                actual: actual.and_then(|held| held.version.clone()),
                values,
            };
            let Some(held) = actual.get(resource_type, name) else {
                out.push(difference(What::Missing, None, Vec::new()));
                continue;
            };
            if let Some(reason) = held.refused.clone() {
                out.push(difference(What::Refused { reason }, Some(held), Vec::new()));
            } else if held.version.as_ref().is_some_and(|version| *version == resource.version) {
                if held.stage == Stage::Warming {
                    out.push(difference(What::Warming, Some(held), Vec::new()));
                }
            } else {
                let values = values_of(resource_type, &resource.content, &held.content);
                // Where Envoy tells no version, the content decides.
                if held.version.is_some() || !values.is_empty() {
                    out.push(difference(What::Differs, Some(held), values));
                }
            }
        }
        for (name, held) in actual.of_type(resource_type) {
            // Clusters with fixed endpoints have assignments that nobody sent, and a listener that drains is on its way.
            let implied = resource_type == ResourceType::ClusterLoadAssignment;
            if !wanted.contains_key(name) && !implied && held.stage != Stage::Draining {
                out.push(Difference {
                    resource_type: label(resource_type),
                    name: name.to_owned(),
                    what: What::Unexpected,
                    wanted: None,
                    actual: held.version.clone(),
                    values: Vec::new(),
                });
            }
        }
    }
    out
}

fn values_of(resource_type: ResourceType, wanted: &Value, actual: &Value) -> Vec<ValueDifference> {
    let mut out = Vec::new();
    if resource_type == ResourceType::ClusterLoadAssignment {
        // Envoy tells what its hosts are, not what it was sent.
        walk(&endpoints(wanted), &endpoints(actual), "", &mut out);
    } else {
        walk(wanted, actual, "", &mut out);
    }
    out
}

/// The endpoints of an assignment by address, with what decides about traffic to them.
fn endpoints(assignment: &Value) -> Value {
    let mut out = serde_json::Map::new();
    for group in list(assignment, "endpoints") {
        for endpoint in list(group, "lbEndpoints") {
            let mut about = serde_json::Map::new();
            let mut note = |name: &str, value: Option<&Value>, default: u64| {
                if let Some(value) = value.filter(|value| value.as_u64() != Some(default)) {
                    about.insert(name.to_owned(), value.clone());
                }
            };
            note("priority", group.get("priority"), 0);
            note("zone", group.pointer("/locality/zone"), 0);
            note("region", group.pointer("/locality/region"), 0);
            note("weight", endpoint.get("loadBalancingWeight"), 1);
            out.insert(address(endpoint.pointer("/endpoint/address")), Value::Object(about));
        }
    }
    Value::Object(out)
}

/// `10.0.0.1:8080`, `[::1]:80`, or the path of a socket.
pub fn address(address: Option<&Value>) -> String {
    let Some(address) = address else { return String::new() };
    if let Some(socket) = address.get("socketAddress") {
        let host = socket.get("address").and_then(Value::as_str).unwrap_or_default();
        let port = socket.get("portValue").and_then(Value::as_u64).unwrap_or_default();
        return if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    }
    address.pointer("/pipe/path").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The items of the array `member` of `value`; none if there is no such array.
pub fn list<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn walk(wanted: &Value, actual: &Value, path: &str, out: &mut Vec<ValueDifference>) {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => {
            let mut names: Vec<&String> = wanted.keys().chain(actual.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let path = member_path(path, name);
                pair(wanted.get(name), actual.get(name), &path, out);
            }
        }
        (Value::Array(wanted), Value::Array(actual)) => {
            for index in 0..wanted.len().max(actual.len()) {
                pair(wanted.get(index), actual.get(index), &format!("{path}[{index}]"), out);
            }
        }
        _ if wanted == actual => {}
        _ => out.push(ValueDifference {
            path: path.to_owned(),
            wanted: Some(wanted.clone()),
            actual: Some(actual.clone()),
        }),
    }
}

fn pair(wanted: Option<&Value>, actual: Option<&Value>, path: &str, out: &mut Vec<ValueDifference>) {
    match (wanted, actual) {
        (Some(wanted), Some(actual)) => walk(wanted, actual, path, out),
        _ => out.push(ValueDifference {
            path: path.to_owned(),
            wanted: wanted.cloned(),
            actual: actual.cloned(),
        }),
    }
}

/// Names that would be mistaken for a path stand in brackets.
fn member_path(path: &str, name: &str) -> String {
    if name.contains(['.', '[', '/', ':']) {
        format!("{path}[{name}]")
    } else if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(wanted: &Value, actual: &Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        let mut out = Vec::new();
        walk(wanted, actual, "", &mut out);
        out.into_iter().map(|d| (d.path, d.wanted, d.actual)).collect()
    }

    #[test]
    fn names_the_values_that_differ() {
        let wanted = json!({"a": {"b": [1, 2]}, "c": true, "x.y": 1});
        let actual = json!({"a": {"b": [1, 3, 4]}, "d": null, "x.y": 2});
        assert_eq!(
            differences(&wanted, &actual),
            [
                ("a.b[1]".to_owned(), Some(json!(2)), Some(json!(3))),
                ("a.b[2]".to_owned(), None, Some(json!(4))),
                ("c".to_owned(), Some(json!(true)), None),
                ("d".to_owned(), None, Some(json!(null))),
                ("[x.y]".to_owned(), Some(json!(1)), Some(json!(2))),
            ]
        );
        assert_eq!(differences(&wanted, &wanted), []);
    }

    #[test]
    fn endpoints_are_those_that_traffic_goes_to() {
        let at = |address: &str, weight: u64| {
            json!({
                "endpoint": {"address": {"socketAddress": {"address": address, "portValue": 80}}},
                "loadBalancingWeight": weight,
            })
        };
        let sent = json!({"endpoints": [
            {"locality": {"zone": "a"}, "lbEndpoints": [at("10.0.0.1", 1)], "loadBalancingWeight": 1},
        ]});
        let told = json!({"endpoints": [
            {"locality": {"zone": "a"}, "lbEndpoints": [{
                "endpoint": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}},
                "healthStatus": "HEALTHY",
            }]},
            {"lbEndpoints": [at("fd00::1", 3)]},
        ]});
        let mut out = Vec::new();
        walk(&endpoints(&sent), &endpoints(&told), "", &mut out);
        let found: Vec<_> = out.iter().map(|d| (d.path.as_str(), d.actual.clone())).collect();
        assert_eq!(found, [("[[fd00::1]:80]", Some(json!({"weight": 3})))]);
    }
}
