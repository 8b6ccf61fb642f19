//! The descriptors of the whole Envoy API, for canonical encoding and for printing resources as JSON.

use std::sync::OnceLock;

use prost_reflect::DescriptorPool;

/// The `FileDescriptorSet` that `envoy-types` was generated from, without comments. A test compares it
/// with the copy inside the crate.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("descriptor.bin");

/// All Envoy message types, decoded at first use.
pub fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the committed descriptor set is well formed")
    })
}
