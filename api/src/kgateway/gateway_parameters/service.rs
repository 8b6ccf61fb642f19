//! The Service, the ServiceAccount and the metrics of the proxies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service in front of the proxies.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceParameters {
    /// Type of the Service: ClusterIP, NodePort or LoadBalancer. Defaults to LoadBalancer.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<ServiceType>,
    /// IP address inside of the cluster; None makes the Service headless. Defaults to one that Kubernetes chooses.
    #[serde(rename = "clusterIP", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cluster_ip: Option<String>,
    /// Labels added to the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub extra_labels: BTreeMap<String, String>,
    /// Annotations added to the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_annotations: BTreeMap<String, String>,
    /// Settings of single ports. Which ports there are is said by the listeners of the Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub ports: Vec<ServicePortParameters>,
    /// Where connections from outside may go: Cluster (all proxies) or Local (those of the node, which see the client's
    /// address). Only for NodePort and LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub external_traffic_policy: Option<String>,
}

/// Settings of a port of the Service.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortParameters {
    /// Port of a listener.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Port of the nodes, for NodePort and LoadBalancer. Defaults to one that Kubernetes chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<u16>,
}

open_enum! {
    /// Type of a Service.
    pub enum ServiceType, default LoadBalancer {
        /// Reachable inside of the cluster.
        ClusterIp = "ClusterIP",
        /// Reachable at a port of every node.
        NodePort,
        /// Reachable at an address of a load balancer.
        LoadBalancer,
        /// A DNS alias; no proxy can be behind it, so it is not accepted.
        ExternalName,
    }
}

/// The ServiceAccount of the proxies.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountParameters {
    /// Labels added to the ServiceAccount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub extra_labels: BTreeMap<String, String>,
    /// Annotations added to the ServiceAccount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_annotations: BTreeMap<String, String>,
}

/// What the metrics port of the proxies serves.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsParameters {
    /// Whether there are metrics. Defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What /metrics answers: a path of Envoy's admin interface below /stats. Defaults to /stats/prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub route_prefix_rewrite: Option<String>,
    /// Whether there is /stats too. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_stats_route: Option<bool>,
    /// What /stats answers: a path of Envoy's admin interface below /stats. Defaults to /stats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub stats_route_prefix_rewrite: Option<String>,
}
