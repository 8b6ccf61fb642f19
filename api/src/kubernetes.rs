//! Kinds of Kubernetes itself that a cluster serves in one of several versions, which are the same.

use serde::{Deserialize, Serialize};

api_kind! {
    /// Certificates of authorities that everything in the cluster may read.
    pub struct ClusterTrustBundle { spec: ClusterTrustBundleSpec }
    group: "certificates.k8s.io", version: "v1", served_versions: ["v1", "v1beta1"],
    kind: "ClusterTrustBundle", plural: "clustertrustbundles", scope: Cluster
}

/// What a ClusterTrustBundle holds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTrustBundleSpec {
    /// The signer whose authorities these are; absent where nobody in particular signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_name: Option<String>,
    /// The certificates in PEM.
    #[serde(default)]
    pub trust_bundle: String,
}
