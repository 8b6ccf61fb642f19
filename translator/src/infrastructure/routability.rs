//! From where an address of a Gateway is to be reachable (`routability`, GEP-5093).

use postern_api::gateway_api::GatewaySpecAddress;

/// What the conformance suite asks for to see that the value is reported; it promises nothing.
const SENTINEL: &str = "testing.x-k8s.io/sentinel";
/// The address is one that Kubernetes gives Services inside of the cluster.
const CLUSTER: &str = "Cluster";

/// A requested routability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routability {
    /// None: whatever the Service of the Gateway is given.
    Default,
    /// A cluster IP.
    Cluster,
    /// As `Default`, under the name that the suite gives it.
    Sentinel,
    /// Of others: nothing satisfies it.
    Unknown,
}

impl Routability {
    /// What an address of `spec.addresses` asks for.
    pub(crate) fn of(address: &GatewaySpecAddress) -> Self {
        match address.routability.as_deref().unwrap_or_default() {
            "" => Self::Default,
            CLUSTER => Self::Cluster,
            SENTINEL => Self::Sentinel,
            _ => Self::Unknown,
        }
    }

    /// What the status says of an address that was given for such a request.
    pub(crate) const fn reported(self, is_cluster_ip: bool) -> &'static str {
        match (self, is_cluster_ip) {
            (Self::Sentinel, _) => SENTINEL,
            (_, true) => CLUSTER,
            (_, false) => "",
        }
    }
}
