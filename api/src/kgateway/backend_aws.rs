//! The part of Backend about AWS Lambda functions.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalReference;
use super::schema::either;

/// An AWS Lambda function.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = either("lambdaFunctionName", "lambda"))]
pub struct AwsBackend {
    /// AWS region. Defaults to us-east-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: Option<String>,
    /// Name of the function. In kgateway v2.1 it is lambda.functionName; give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub lambda_function_name: Option<String>,
    /// The function, as in kgateway v2.1. The same as lambdaFunctionName; give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda: Option<AwsLambda>,
    /// Id of the AWS account: twelve digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12), regex(pattern = r"^[0-9]{12}$"))]
    pub account_id: Option<String>,
    /// ARN of the IAM role to assume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub role_arn: Option<String>,
    /// Credentials (kgateway v2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
}

/// An AWS Lambda function, as in kgateway v2.1.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsLambda {
    /// URL of the service, where it is not that of the region.
    #[serde(rename = "endpointURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[-a-zA-Z0-9@:%.+~#?&/=]+$"))]
    pub endpoint_url: Option<String>,
    /// Name of the function.
    #[schemars(length(max = 140), regex(pattern = r"^[A-Za-z0-9-_]{1,140}$"))]
    pub function_name: String,
    /// Whether an invocation waits for the function. Defaults to Sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_mode: Option<AwsInvocationMode>,
    /// Alias or version of the function. Defaults to $LATEST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^(\$LATEST|[0-9]+|[A-Za-z0-9-_]{1,128})$"))]
    pub qualifier: Option<String>,
    /// How a request becomes the payload of the function. Defaults to Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_transform_mode: Option<AwsPayloadTransformMode>,
}

open_enum! {
    /// Whether an invocation waits for the function.
    pub enum AwsInvocationMode, default Sync {
        /// It does.
        Sync,
        /// It does not.
        Async,
    }
}

open_enum! {
    /// How a request becomes the payload of a function.
    pub enum AwsPayloadTransformMode, default Envoy {
        /// As it is.
        None,
        /// As Envoy describes requests in JSON.
        Envoy,
    }
}

/// Credentials for AWS.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type != 'Secret' || has(self.secretRef)").message("type Secret needs secretRef: name the Secret with the keys"))]
pub struct AwsAuth {
    /// Where the credentials come from.
    #[serde(rename = "type")]
    pub type_: AwsAuthType,
    /// Secret with the keys accessKey, secretKey and perhaps sessionToken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
}

open_enum! {
    /// Where credentials for AWS come from.
    pub enum AwsAuthType, default Secret {
        /// A Secret.
        Secret,
    }
}
