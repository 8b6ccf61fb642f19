//! Envoy configuration as JSON or YAML, as Envoy itself would read it.

use std::collections::BTreeMap;

use bytes::Bytes;
use postern_translator::{NamespacedName, Resource, ResourceType, Translator, descriptor};
use prost_reflect::{DeserializeOptions, DynamicMessage, SerializeOptions};
use serde::Serialize;
use serde_json::Value;

/// Why a resource cannot be shown. Does not happen to what the translator makes.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The type is not in the descriptor set.
    #[error("the message type {0} is not known")]
    UnknownType(String),
    /// The bytes are not of the type.
    #[error("{name} cannot be decoded: {source}")]
    Decode {
        /// The resource.
        name: String,
        /// Why.
        source: prost::DecodeError,
    },
    /// It has no JSON form, for example because of an `Any` of unknown type.
    #[error("{name} has no JSON form: {source}")]
    Json {
        /// The resource.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// The configuration of one Gateway: resources by kind, each list ordered by name.
#[derive(Debug, Default, Serialize)]
pub struct GatewayConfig {
    /// CDS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clusters: Vec<Value>,
    /// EDS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<Value>,
    /// LDS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    listeners: Vec<Value>,
    /// RDS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Value>,
    /// SRDS.
    #[serde(rename = "scopedRoutes", skip_serializing_if = "Vec::is_empty")]
    scoped_routes: Vec<Value>,
    /// SDS, with private keys and the like replaced by a digest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Value>,
    /// ECDS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<Value>,
}

impl GatewayConfig {
    /// The configuration of `gateway`.
    pub fn of(translator: &Translator, gateway: &NamespacedName) -> Result<Self, ConfigError> {
        let mut sorted = BTreeMap::new();
        for resource in translator.resources(gateway) {
            sorted.insert((resource.resource_type, resource.name.clone()), to_json(resource)?);
        }
        let mut out = Self::default();
        for ((resource_type, _), value) in sorted {
            let list = match resource_type {
                ResourceType::Cluster => &mut out.clusters,
                ResourceType::ClusterLoadAssignment => &mut out.endpoints,
                ResourceType::Listener => &mut out.listeners,
                ResourceType::RouteConfiguration => &mut out.routes,
                ResourceType::ScopedRouteConfiguration => &mut out.scoped_routes,
                ResourceType::Secret => &mut out.secrets,
                ResourceType::ExtensionConfig => &mut out.extensions,
            };
            list.push(value);
        }
        Ok(out)
    }
}

/// `resource` as canonical proto JSON, with nested `Any` messages expanded and members in alphabetical order. Private keys
/// and other secret values are replaced.
pub fn to_json(resource: &Resource) -> Result<Value, ConfigError> {
    message_to_json(resource.resource_type.message_name(), &resource.name, resource.body.clone())
}

/// [`to_json`] for a resource that is published already.
pub fn published_to_json(resource: &postern_xds::Resource) -> Result<Value, ConfigError> {
    message_to_json(message_name(resource.resource_type()), resource.name(), resource.body().clone())
}

fn message_to_json(message: &str, name: &str, body: Bytes) -> Result<Value, ConfigError> {
    let descriptor = descriptor::pool()
        .get_message_by_name(message)
        .ok_or_else(|| ConfigError::UnknownType(message.to_owned()))?;
    let decoded = DynamicMessage::decode(descriptor, body)
        .map_err(|source| ConfigError::Decode { name: name.to_owned(), source })?;
    canonical(message, name, &decoded)
}

/// The JSON that an Envoy printed of a resource, in the form of [`to_json`]: equal content gives equal values.
pub fn of_envoy(
    resource_type: postern_xds::ResourceType,
    name: &str,
    value: Value,
) -> Result<Value, ConfigError> {
    let message = message_name(resource_type);
    let descriptor = descriptor::pool()
        .get_message_by_name(message)
        .ok_or_else(|| ConfigError::UnknownType(message.to_owned()))?;
    let mut value = value;
    if let Some(members) = value.as_object_mut() {
        // It came out of an `Any`.
        members.remove("@type");
    }
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let decoded = DynamicMessage::deserialize_with_options(descriptor, value, &options)
        .map_err(|source| ConfigError::Json { name: name.to_owned(), source })?;
    canonical(message, name, &decoded)
}

fn message_name(resource_type: postern_xds::ResourceType) -> &'static str {
    let url = resource_type.type_url();
    url.rsplit_once('/').map_or(url, |(_, message)| message)
}

fn canonical(message: &str, name: &str, decoded: &DynamicMessage) -> Result<Value, ConfigError> {
    let options = SerializeOptions::new().skip_default_fields(true).stringify_64_bit_integers(true);
    let mut value = decoded
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|source| ConfigError::Json { name: name.to_owned(), source })?;
    if message == ResourceType::Secret.message_name() {
        redact(&mut value);
    }
    Ok(value)
}

/// Replaces what must not be printed: private keys, passwords, session ticket keys, generic secrets.
fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if matches!(
                    name.as_str(),
                    "privateKey" | "password" | "sessionTicketKeys" | "genericSecret" | "pkcs12"
                ) {
                    *value = Value::String("[redacted]".to_owned());
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}
