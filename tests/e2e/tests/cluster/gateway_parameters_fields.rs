//! GatewayParameters, field by field: what a user applies is what the API server has of the proxies.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use postern::kubernetes::infrastructure::ObjectKind;
use postern_api::kgateway::GatewayParameters;
use postern_e2e::{
    Answer, CLUSTER_PATIENCE, Call, Cluster, Deployed, Manifests, Namespace, covers, covers_leaves, gaps,
    gateway_parameters, parameters_in, until_within,
};

use super::provisioner::{Fixture, gateway};

/// What the API server has for the Gateway `name`.
async fn found(cluster: &Cluster, space: &Namespace<'_>, name: &str) -> Manifests {
    let mut all = Manifests::new();
    for kind in ObjectKind::ALL {
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), space.name(), &kind.resource());
        if let Some(object) = api.get_opt(name).await.unwrap() {
            all.insert(kind, serde_json::to_value(object).unwrap());
        }
    }
    all
}

/// Every document of the file is kept as it is by the CRD, and all of it is found in what is provisioned.
async fn is_carried_out(file: &str) {
    let cluster = Cluster::shared().await;
    for (index, spec) in parameters_in(file).iter().enumerate() {
        let space = cluster.namespace("fields").await;
        let name = format!("edge{index}");
        space.apply(&gateway_parameters(&name, spec).to_string()).await;
        let kept = space.api::<GatewayParameters>().get(&name).await.unwrap();
        assert_eq!(
            serde_json::to_value(kept.spec).unwrap(),
            *spec,
            "{file}: the API server keeps every field"
        );

        let mut infrastructure = Deployed::of(spec).unwrap().infrastructure;
        let real = gateway(&space, &name, "fields-test").await;
        infrastructure.gateway = real.gateway;
        infrastructure.uid = real.uid;
        infrastructure.class = real.class;
        infrastructure.name = real.name;
        let mut provisioner = Fixture::start(&cluster, &space, true);
        provisioner.provision(&infrastructure).await;
        let gaps = gaps(spec, &found(&cluster, &space, &name).await);
        assert!(gaps.is_empty(), "{file}, document {index}: {gaps:#?}");
        provisioner.end().await;
    }
}

#[tokio::test]
async fn deployments_and_pods() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/pods.yaml");
    is_carried_out("pods.yaml").await;
}

#[tokio::test]
async fn probes_in_all_ways() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/probes.yaml");
    is_carried_out("probes.yaml").await;
}

#[tokio::test]
async fn volumes_from_all_sources() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/volumes.yaml");
    is_carried_out("volumes.yaml").await;
}

/// Other API servers than that of the project's own node drop these, with or without Postern.
#[tokio::test]
async fn volumes_behind_feature_gates() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/gated.yaml");
    if std::env::var_os("POSTERN_E2E_CLUSTER").is_some() {
        is_carried_out("gated.yaml").await;
    }
}

#[tokio::test]
async fn containers() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/containers.yaml");
    is_carried_out("containers.yaml").await;
}

#[tokio::test]
async fn settings_of_windows() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/windows.yaml");
    is_carried_out("windows.yaml").await;
}

#[tokio::test]
async fn autoscalers_and_disruption_budgets() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/scaling.yaml");
    is_carried_out("scaling.yaml").await;
}

#[tokio::test]
async fn services() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/services.yaml");
    is_carried_out("services.yaml").await;
}

#[tokio::test]
async fn switches() {
    covers_leaves!("GatewayParameters.spec", "tests/cluster/gateway_parameters/switches.yaml");
    is_carried_out("switches.yaml").await;
}

/// What an Envoy is told by its parameters is seen by who asks it and who reads its log.
#[tokio::test]
async fn a_running_proxy_does_as_its_parameters_say() {
    covers!(
        "GatewayParameters.spec.kube.envoyContainer.bootstrap.componentLogLevels.*",
        "GatewayParameters.spec.kube.envoyContainer.bootstrap.logLevel",
        "GatewayParameters.spec.kube.envoyContainer.env[].name",
        "GatewayParameters.spec.kube.envoyContainer.env[].value",
        "GatewayParameters.spec.kube.stats.enableStatsRoute",
        "GatewayParameters.spec.kube.stats.routePrefixRewrite",
        "GatewayParameters.spec.kube.stats.statsRoutePrefixRewrite",
    );
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("shown").await;
    space.echo("echo", 1).await;
    space
        .apply(
            r#"
apiVersion: gateway.kgateway.dev/v1alpha1
kind: GatewayParameters
metadata: {name: shown}
spec:
  kube:
    envoyContainer:
      bootstrap: {logLevel: info, componentLogLevels: {router: debug}}
      env: [{name: REGION, value: north}]
    stats: {routePrefixRewrite: '/stats?format=json', enableStatsRoute: true, statsRoutePrefixRewrite: '/stats?filter=server.live'}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: postern
  infrastructure: {parametersRef: {group: gateway.kgateway.dev, kind: GatewayParameters, name: shown}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
---
apiVersion: gateway.kgateway.dev/v1alpha1
kind: HTTPListenerPolicy
metadata: {name: log}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]
  accessLog: [{fileSink: {path: /dev/stdout, stringFormat: "%PATH% in %ENVIRONMENT(REGION)%\n"}}]
"#,
        )
        .await;
    let call = space.get("edge", 80, "any.example", "/somewhere").await;
    space.answers(&call, Answer::ok).await;

    let selected = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=edge");
    let pods = space.api::<Pod>().list(&selected).await.unwrap().items;
    let ip: IpAddr = pods[0].status.as_ref().unwrap().pod_ip.as_ref().unwrap().parse().unwrap();
    let ask = async |path: &str| {
        let call = Call::get(19001, "metrics", path).at(SocketAddr::new(ip, 19001));
        call.send().await.unwrap().text()
    };
    let metrics = ask("/metrics").await;
    assert!(serde_json::from_str::<serde_json::Value>(&metrics).unwrap()["stats"].is_array(), "{metrics}");
    assert_eq!(ask("/stats").await.trim(), "server.live: 1");

    until_within(CLUSTER_PATIENCE, "log of the proxy", || async {
        space.answers(&call, Answer::ok).await;
        let log = space.kubectl(&["logs", "deployment/edge", "--container", "envoy"]).await;
        let all = ["/somewhere in north", "[info]", "[debug][router]"];
        if all.iter().all(|it| log.contains(it)) { Ok(()) } else { Err(log) }
    })
    .await;
}
