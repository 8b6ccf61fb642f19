//! Fields of TrafficPolicy that change headers and bodies by templates.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kgateway::schema::exactly_one_of;

/// Transformation of requests and responses by templates, as in kgateway v2.1. An empty object switches off that of policies with
/// less specific targets.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransformationPolicy {
    /// What happens to requests before they go to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Transform>,
    /// What happens to responses before they go to the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Transform>,
}

/// What happens to a message: set, then remove, then add. All of them see the body as it came.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transform {
    /// Headers that get a value in place of those they have. What is empty removes the header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub set: Vec<HeaderTransformation>,
    /// Headers that get one more value. What is empty adds nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add: Vec<HeaderTransformation>,
    /// Names of headers that are removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
    /// What happens to the body. With it the message is held back until all of it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyTransformation>,
}

/// The value of one header: a template, or an expression.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one_of(&["value", "expression"]))]
pub struct HeaderTransformation {
    /// The name of the header: also :path, :method and :authority of requests, and :status of responses.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^:?[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"))]
    pub name: String,
    /// The template of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub value: Option<String>,
    /// The value as an expression in CEL over Envoy's attributes, such as `request.headers['x-role'] + '!'`. It sees the message as it
    /// came, before templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
}

/// What happens to a body.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BodyTransformation {
    /// How templates see the body: AsString, which is the default, gives body() only; AsJson gives the fields too, and refuses what is
    /// not JSON with 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parse_as: Option<BodyParseBehavior>,
    /// The template of the body. Without it the body stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub value: Option<String>,
}

open_enum! {
    /// How templates see a body.
    pub enum BodyParseBehavior, default AsString {
        /// As text.
        AsString,
        /// As a value in JSON.
        AsJson,
    }
}
