//! ServiceImports as their providers write them.

use postern_api::multicluster::{EndpointSliceObjects, ServiceImport, ServiceImportType};

/// Nothing that the versions of the API have is lost or reported as unknown.
#[test]
fn every_field_is_known() {
    let text = "
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceImport
metadata: {name: s, namespace: a}
spec:
  type: ClusterSetIP
  ips: [10.42.0.1]
  ipFamilies: [IPv4]
  ports: [{name: http, port: 80, protocol: TCP, appProtocol: kubernetes.io/h2c}]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 30}}
  internalTrafficPolicy: Cluster
  trafficDistribution: PreferClose
status:
  endpointSliceObjects: Present
  clusters: [{cluster: east}]
  conditions: [{type: Ready, status: 'True', reason: Ready, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]
";
    let given: serde_json::Value = serde_yaml::from_str(text).expect("YAML");
    let mut unknown = Vec::new();
    let read: ServiceImport =
        serde_ignored::deserialize(&given, |path| unknown.push(path.to_string())).expect("a ServiceImport");
    unknown.retain(|field| field != "apiVersion" && field != "kind");
    assert_eq!(unknown, [""; 0]);
    assert_eq!(serde_json::to_value(&read).expect("JSON"), given);
    assert_eq!(read.spec.type_, ServiceImportType::ClusterSetIp);
    let said = read.status.and_then(|status| status.endpoint_slice_objects);
    assert_eq!(said, Some(EndpointSliceObjects::Present));
}

/// What `v1alpha1` says is less.
#[test]
fn the_least_is_enough() {
    let text = "{metadata: {name: s}, spec: {type: Headless, ports: [{port: 80}]}}";
    let read: ServiceImport = serde_yaml::from_str(text).expect("a ServiceImport");
    assert_eq!(read.spec.type_, ServiceImportType::Headless);
    assert!(read.spec.ips.is_empty() && read.status.is_none());
}
