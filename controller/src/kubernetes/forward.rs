//! Requests to what listens on the loopback address of a pod, through the API server.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::client::UpgradeConnectionError;

use crate::envoy::exchange;

/// How long an answer may take. The whole configuration of a proxy can be tens of megabytes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a pod did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The user may not.
    #[error("you may not port-forward to pods there (`get` and `create` on `pods/portforward`)")]
    Forbidden,
    /// There is no such pod.
    #[error("there is no such pod")]
    NotFound,
    /// The API server did not make the connection.
    #[error("the API server does not forward to it: {0}")]
    Api(#[source] Box<kube::Error>),
    /// Nothing in the pod listens on the port, or the pod is gone.
    #[error("it does not answer on port {port}: {words}")]
    Refused {
        /// The port.
        port: u16,
        /// The words of the kubelet.
        words: String,
    },
    /// The answer is no success.
    #[error("it answered {status}: {body}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
    /// It took too long.
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

/// Fetches `path` from `port` of the loopback address of `pod`.
pub async fn get(pods: &Api<Pod>, pod: &str, port: u16, path: &str) -> Result<Bytes, ForwardError> {
    let answer = tokio::time::timeout(TIMEOUT, fetch(pods, pod, port, path));
    let (status, body) = answer.await.map_err(|_| ForwardError::Timeout)??;
    if status.is_success() {
        return Ok(body);
    }
    let body = String::from_utf8_lossy(&body).trim().chars().take(300).collect();
    Err(ForwardError::Status { status, body })
}

async fn fetch(
    pods: &Api<Pod>,
    pod: &str,
    port: u16,
    path: &str,
) -> Result<(StatusCode, Bytes), ForwardError> {
    let mut forwarder = pods.portforward(pod, &[port]).await.map_err(classify)?;
    let refused = |words: String| ForwardError::Refused { port, words };
    let (Some(stream), Some(error)) = (forwarder.take_stream(port), forwarder.take_error(port)) else {
        return Err(refused("no stream".to_owned()));
    };
    tokio::pin!(error);
    let answer = tokio::select! {
        answer = exchange(stream, Method::GET, path) => answer,
        Some(words) = &mut error => return Err(refused(words)),
    };
    // What the kubelet says explains more than a broken connection.
    let outcome = match answer {
        Ok(answer) => Ok(answer),
        Err(broken) => match tokio::time::timeout(Duration::from_secs(1), &mut error).await {
            Ok(Some(words)) => Err(refused(words)),
            _ => Err(refused(broken.to_string())),
        },
    };
    forwarder.abort();
    outcome
}

fn classify(error: kube::Error) -> ForwardError {
    let status = match &error {
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
            Some(status.as_u16())
        }
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    };
    match status {
        Some(401 | 403) => ForwardError::Forbidden,
        Some(404) => ForwardError::NotFound,
        _ => ForwardError::Api(Box::new(error)),
    }
}
