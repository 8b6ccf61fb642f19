//! What the proxies of a Gateway said about the configuration they were sent.

use std::collections::BTreeMap;

use crate::resource::ResourceType;

/// What the connected proxies of one Gateway said about its present configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyReport {
    /// How many proxies are connected.
    pub proxies: usize,
    /// By name of the Envoy listener: how many of them acknowledged its present version.
    pub acknowledged: BTreeMap<String, usize>,
    /// Resources that proxies refused in their present version.
    pub rejections: Vec<Rejection>,
}

/// A resource that proxies refused. They keep its last good version, if they had one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// The type of the resource.
    pub resource_type: ResourceType,
    /// The name of the resource.
    pub name: String,
    /// The proxy's words.
    pub error: String,
    /// How many proxies refused it.
    pub proxies: usize,
}
