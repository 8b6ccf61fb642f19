//! What has to exist in a cluster for the proxies of a Gateway.

use crate::object::NamespacedName;

/// Everything that has to exist in the cluster for the proxies of one Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Infrastructure {
    /// The Gateway.
    pub gateway: NamespacedName,
    /// Its UID, for the owner references.
    pub uid: String,
    /// The name of its GatewayClass.
    pub class: String,
}
