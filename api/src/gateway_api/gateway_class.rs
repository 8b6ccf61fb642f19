//! GatewayClass: which controller takes care of a Gateway.

use serde::{Deserialize, Serialize};

use super::{Condition, ParametersReference};

api_kind! {
    /// A class of Gateways, taken care of by the controller that `spec.controllerName` names.
    pub struct GatewayClass { spec: GatewayClassSpec, status: GatewayClassStatus }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1", "v1beta1"],
    kind: "GatewayClass", plural: "gatewayclasses", scope: Cluster
}

/// Desired state of a GatewayClass.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// Name of the controller, `domain/path`.
    pub controller_name: String,
    /// Parameters for all Gateways of this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<ParametersReference>,
    /// Description for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What the controller says about a GatewayClass.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassStatus {
    /// `Accepted` and `SupportedVersion`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Features of the conformance suite that the class supports, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<SupportedFeature>,
}

/// A feature of the conformance suite.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SupportedFeature {
    /// Name of the feature.
    pub name: String,
}
