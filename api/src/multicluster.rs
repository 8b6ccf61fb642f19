//! Kinds of the Multi-Cluster Services API (KEP-1645): services that several clusters have together.

use k8s_openapi::api::core::v1::ServicePort;
use serde::{Deserialize, Serialize};

api_kind! {
    /// A service that was imported from the clusters of a set. Its EndpointSlices carry its name in the label
    /// [`SERVICE_NAME_LABEL`].
    pub struct ServiceImport { spec: ServiceImportSpec, status: ServiceImportStatus }
    group: "multicluster.x-k8s.io", version: "v1beta1", served_versions: ["v1beta1", "v1alpha1"],
    kind: "ServiceImport", plural: "serviceimports", scope: Namespace
}

/// The label by which an EndpointSlice names its ServiceImport.
pub const SERVICE_NAME_LABEL: &str = "multicluster.kubernetes.io/service-name";

/// What is known of an imported service.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceImportSpec {
    /// Whether the service has an address for the whole set of clusters.
    #[serde(rename = "type", default)]
    pub type_: ServiceImportType,
    /// The ports that clients use.
    #[serde(default)]
    pub ports: Vec<ServicePort>,
    /// The addresses of the service, for the type `ClusterSetIP`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
}

open_enum! {
    /// Whether an imported service has an address of its own.
    pub enum ServiceImportType, default ClusterSetIp {
        /// It has.
        ClusterSetIp = "ClusterSetIP",
        /// It has not: clients go to its endpoints.
        Headless,
    }
}

/// What whoever imports the service says about it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceImportStatus {
    /// Whether there are EndpointSlices of the imported service; not said before `v1beta1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_slice_objects: Option<EndpointSliceObjects>,
}

open_enum! {
    /// Whether there are EndpointSlices of an imported service.
    pub enum EndpointSliceObjects {
        /// There are.
        Present,
        /// The provider does not make any.
        Absent,
    }
}
