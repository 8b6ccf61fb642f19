//! Backends: Deployments of the echo server.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Namespace;
use crate::client::Answer;

/// What the echo server of the conformance suite says about a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EchoReply {
    /// Path with query.
    pub path: String,
    /// Host header.
    pub host: String,
    /// Method.
    pub method: String,
    /// Protocol, such as `HTTP/1.1`.
    pub proto: String,
    /// Headers, with all their values.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Namespace of the pod that answered.
    pub namespace: String,
    /// The Service that the Deployment was made for.
    pub service: String,
    /// Pod that answered.
    pub pod: String,
}

impl EchoReply {
    /// Reads the body of an answer.
    pub fn of(answer: &Answer) -> Result<Self, String> {
        if answer.status != 200 {
            return Err(format!("status {}, body {:?}", answer.status, answer.text()));
        }
        serde_json::from_str(&answer.text()).map_err(|error| format!("{error} in {:?}", answer.text()))
    }
}

/// The image of the echo server: `ECHO_IMAGE`, else the one of the conformance suite.
pub(super) fn image() -> String {
    std::env::var("ECHO_IMAGE")
        .unwrap_or_else(|_| "registry.k8s.io/gateway-api/conformance/echo-basic:v0.2.0".to_owned())
}

impl Namespace<'_> {
    /// A Deployment of echo servers and a Service `name` with port 80 (HTTP) and 81 (HTTP/2 without TLS) before it;
    /// returns when they are ready.
    pub async fn echo(&self, name: &str, replicas: u32) {
        let image = image();
        self.apply(&format!(
            r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: echo
        image: {image}
        env:
        - {{name: SERVICE_NAME, value: {name}}}
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        resources: {{requests: {{cpu: 5m, memory: 16Mi}}}}
        readinessProbe: {{tcpSocket: {{port: 3000}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports:
  - {{name: http, port: 80, targetPort: 3000}}
  - {{name: h2c, port: 81, targetPort: 3001, appProtocol: kubernetes.io/h2c}}
"
        ))
        .await;
        self.rolled_out(name).await;
    }

    /// A Deployment of one echo server of datagrams and a Service `name` with UDP port 53 before it; returns when it is ready.
    pub async fn datagram_echo(&self, name: &str) {
        let image = image();
        self.apply(&format!(
            r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: echo
        image: {image}
        env:
        - {{name: UDP_ECHO_SERVER, value: '1'}}
        - {{name: SERVICE_NAME, value: {name}}}
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        resources: {{requests: {{cpu: 5m, memory: 16Mi}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports:
  - {{name: echo, protocol: UDP, port: 53, targetPort: 8080}}
"
        ))
        .await;
        self.rolled_out(name).await;
    }
}
