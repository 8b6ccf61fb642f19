//! CRDs of the extension kinds, generated from their types.
//!
//! What `kube`'s derive generates is made stricter for the API server: fields that are not given are absent and never
//! `null` (CEL's `has` would find a null), formats that Kubernetes does not know go, and so do empty defaults.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

use crate::kgateway::{
    AiBackend, Backend, BackendConfigPolicy, DirectResponse, GatewayExtension, GatewayParameters,
    HttpListenerPolicy, TrafficPolicy,
};

/// The CRDs of the extension kinds, sorted by name.
///
/// # Examples
/// ```
/// let crds = postern_api::crds::extension_crds();
/// assert!(crds.iter().any(|crd| crd.spec.names.kind == "TrafficPolicy"));
/// ```
pub fn extension_crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        AiBackend::crd(),
        Backend::crd(),
        BackendConfigPolicy::crd(),
        DirectResponse::crd(),
        GatewayExtension::crd(),
        GatewayParameters::crd(),
        HttpListenerPolicy::crd(),
        TrafficPolicy::crd(),
    ];
    for crd in &mut crds {
        for version in &mut crd.spec.versions {
            if let Some(schema) =
                version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
            {
                tidy(schema);
            }
        }
    }
    crds.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    crds
}

/// The CRD as YAML, with the keys in a fixed order.
///
/// # Errors
/// When it cannot be written as YAML, which the types rule out.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let mut value = serde_yaml::to_value(crd)?;
    whole_numbers(&mut value);
    serde_yaml::to_string(&value)
}

/// The name of the file that holds the CRD, as in `gateway.kgateway.dev_backends.yaml`.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

/// Makes a schema what the API server should see, and all schemas in it.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if let Some(values) = schema.enum_.as_mut() {
        values.retain(|value| !value.0.is_null());
    }
    // Lines of a doc comment are no lines for `kubectl explain`.
    schema.description = schema.description.take().map(|text| brief(&text));
    match schema.format.as_deref() {
        Some("uint8" | "uint16" | "uint32" | "int8" | "int16") => schema.format = Some("int32".to_owned()),
        Some("uint" | "uint64") => schema.format = Some("int64".to_owned()),
        _ => {}
    }
    if schema.default.as_ref().is_some_and(|default| is_empty(&default.0)) {
        schema.default = None;
    }
    for (name, property) in schema.properties.iter_mut().flatten() {
        tidy(property);
        if name == "conditions" {
            property.x_kubernetes_list_type = Some("map".to_owned());
            property.x_kubernetes_list_map_keys = Some(vec!["type".to_owned()]);
        }
    }
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        tidy(values);
    }
    for alternatives in [&mut schema.all_of, &mut schema.any_of, &mut schema.one_of] {
        alternatives.iter_mut().flatten().for_each(tidy);
    }
}

/// The longest description. Kubernetes' own types have pages of them; a CRD may not be larger than 256 KiB, or
/// `kubectl apply` cannot keep it in an annotation.
const LONGEST_DESCRIPTION: usize = 240;

/// The text on one line; of a long one only the first sentence.
fn brief(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() <= LONGEST_DESCRIPTION {
        return line;
    }
    let mut ends = line.match_indices(". ").map(|(at, _)| at + 1);
    let end = ends.find(|end| !["e.g.", "i.e."].iter().any(|short| line[..*end].ends_with(short)));
    line[..end.unwrap_or(line.len())].to_owned()
}

fn is_empty(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(items) => items.is_empty(),
        serde_json::Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Writes whole numbers without a fraction: the type of a schema's bounds is a float.
fn whole_numbers(value: &mut serde_yaml::Value) {
    match value {
        serde_yaml::Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0)
                && let Ok(whole) = format!("{float:.0}").parse::<i64>()
            {
                *number = whole.into();
            }
        }
        serde_yaml::Value::Sequence(items) => items.iter_mut().for_each(whole_numbers),
        serde_yaml::Value::Mapping(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
