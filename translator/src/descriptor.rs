//! The descriptors of the whole Envoy API, for canonical encoding and for printing resources as JSON.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::resource::Resource;

/// The `FileDescriptorSet` that `envoy-types` was generated from, without comments. A test compares it
/// with the copy inside the crate.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("descriptor.bin");

/// All Envoy message types, decoded at first use.
///
/// # Panics
///
/// Never: a test decodes the committed set.
pub fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the committed descriptor set is well formed")
    })
}

/// A resource as canonical proto JSON, with nested `Any` messages expanded and the names of the proto fields.
/// Private keys are left out: what is printed ends up in tickets and logs.
pub fn to_json(resource: &Resource) -> Result<serde_json::Value, ToJsonError> {
    let name = resource.resource_type.message_name();
    let descriptor = pool().get_message_by_name(name).ok_or_else(|| ToJsonError::Unknown(name.to_owned()))?;
    let message = DynamicMessage::decode(descriptor, resource.body.clone())?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    let mut json = message.serialize_with_options(serde_json::value::Serializer, &options)?;
    if let Some(key) = json.pointer_mut("/tls_certificate/private_key") {
        *key = serde_json::json!({ "inline_string": "[redacted]" });
    }
    Ok(json)
}

/// Why a resource cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ToJsonError {
    /// The descriptors do not know the message.
    #[error("unknown message {0}")]
    Unknown(String),
    /// The body is not an encoding of the message.
    #[error("the body cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The message holds something that has no JSON form, such as an `Any` of an unknown type.
    #[error("the message has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
}
