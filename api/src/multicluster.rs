//! Kinds of the Multi-Cluster Services API (KEP-1645): services that several clusters have together.

use k8s_openapi::api::core::v1::{ServicePort, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
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
    /// The families of those addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_families: Vec<String>,
    /// How clients stay with an endpoint that go to the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<String>,
    /// Details of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// Whether the address leads to endpoints of the same node only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_traffic_policy: Option<String>,
    /// Which endpoints the address prefers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<String>,
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
    /// The clusters that export the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ExportingCluster>,
    /// How the import fares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A cluster that exports a service.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportingCluster {
    /// Its name.
    pub cluster: String,
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
