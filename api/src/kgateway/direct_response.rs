//! DirectResponse: an answer without a backend.

use kube::CustomResource;
use schemars::JsonSchema;
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
    JsonSchema,
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
#[kube(status = "ObjectStatus", derive = "PartialEq", derive = "Default")]
#[kube(shortname = "dr", category = "postern", category = "kgateway")]
#[serde(rename_all = "camelCase")]
pub struct DirectResponseSpec {
    /// Status code of the answer. In kgateway v2.1 this field is called status; give exactly one of the
    /// two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// Status code of the answer, as in kgateway v2.1. The same as statusCode; give exactly one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Body of the answer. Defaults to an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}
