//! DirectResponse: a response without a backend.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::ObjectStatus;

/// Desired state of a DirectResponse.
#[derive(
    Clone,
    CustomResource,
    Debug,
    Default,
    Deserialize,
    Eq,
    Hash,
    KubeSchema,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "DirectResponse",
    plural = "directresponses",
    namespaced
)]
#[kube(
    doc = "A response with a fixed status code and body, which route rules give through an ExtensionRef filter in place of a backend."
)]
#[kube(status = "ObjectStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "dr", category = "postern", category = "kgateway")]
#[kube(printcolumn(name = "Code", type_ = "integer", json_path = ".spec.statusCode"))]
#[kube(printcolumn(
    name = "Accepted",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.statusCode) != has(self.status)").message("give exactly one of statusCode and status; both mean the status code of the response"))]
pub struct DirectResponseSpec {
    /// Status code of the response. In kgateway v2.1 this field is called status; give exactly one of the
    /// two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599))]
    pub status_code: Option<u16>,
    /// Status code of the response, as in kgateway v2.1. The same as statusCode; give exactly one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// Body of the response. Defaults to an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl DirectResponseSpec {
    /// The status code, under either name. `None` when it is missing, or given under both names.
    pub fn code(&self) -> Option<u16> {
        match (self.status_code, self.status) {
            (Some(code), None) | (None, Some(code)) => Some(code),
            _ => None,
        }
    }
}
