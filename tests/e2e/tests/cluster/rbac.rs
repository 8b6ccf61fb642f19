//! Permissions: those that are shipped are enough, and without any ClusterRole it works in a namespace.

use postern_e2e::{
    CLUSTER_PATIENCE, CONTROLLER_DEPLOYMENT, CONTROLLER_NAMESPACE, Cluster, EchoReply, repository,
    until_within,
};

use crate::replicas::{GATEWAY, new_route, route};

fn assert_nothing_forbidden(log: &str) {
    let forbidden: Vec<_> = log.lines().filter(|line| line.to_lowercase().contains("forbidden")).collect();
    assert!(forbidden.is_empty(), "{}", forbidden.join("\n"));
}

/// Everything that Postern makes, from a fresh start (an API server that was just started refuses for a moment what it
/// allows, and another test stops it).
#[tokio::test]
async fn the_shipped_role_is_enough() {
    let cluster = Cluster::alone().await;
    let namespace = ["--namespace", CONTROLLER_NAMESPACE];
    let deployment = format!("deployment/{CONTROLLER_DEPLOYMENT}");
    for order in [["rollout", "restart", &deployment], ["rollout", "status", &deployment]] {
        cluster.kubectl().run(&[&namespace[..], &order].concat()).await;
    }
    until_within(CLUSTER_PATIENCE, "end of the old replica", || async {
        let pods = cluster.controller_pods().await.len();
        if pods == 1 { Ok(()) } else { Err(format!("{pods} pods")) }
    })
    .await;
    let space = cluster.namespace("role").await;
    space.echo("echo", 1).await;
    space
        .apply(
            r"
apiVersion: gateway.kgateway.dev/v1alpha1
kind: GatewayParameters
metadata: {name: all}
spec:
  kube:
    podDisruptionBudget: {spec: {minAvailable: 1}}
    horizontalPodAutoscaler:
      spec: {minReplicas: 1, maxReplicas: 2, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}
",
        )
        .await;
    let parameters =
        "infrastructure: {parametersRef: {group: gateway.kgateway.dev, kind: GatewayParameters, name: all}}";
    space.apply(&GATEWAY.replace("spec:\n", &format!("spec:\n  {parameters}\n"))).await;
    new_route(&space, "role").await;
    let made = space.kubectl(&["get", "hpa,pdb,deploy,svc,sa,cm", "-o", "name"]).await;
    for kind in [
        "horizontalpodautoscaler",
        "poddisruptionbudget",
        "deployment",
        "service/edge",
        "serviceaccount/edge",
        "configmap/edge",
    ] {
        assert!(made.contains(kind), "{kind} is missing in {made}");
    }
    space.delete(&["gateway", "edge"]).await;

    let log: Vec<_> = cluster.controller_log().await.into_iter().map(|(_, line)| line).collect();
    assert!(log.iter().any(|line| line.contains("all watches are in sync")), "{log:#?}");
    assert_nothing_forbidden(&log.join("\n"));
    for pod in cluster.controller_pods().await {
        let name = pod.metadata.name.unwrap_or_default();
        let path = format!("/api/v1/namespaces/{CONTROLLER_NAMESPACE}/pods/{name}:8080/proxy/metrics");
        let metrics = cluster.kubectl().run(&["get", "--raw", &path]).await;
        assert!(metrics.contains("postern_leader"), "{metrics}");
        let refused: Vec<_> =
            metrics.lines().filter(|line| line.starts_with("postern_forbidden_calls_total{")).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[tokio::test]
async fn a_namespace_is_served_without_any_cluster_role() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("namespaced").await;
    let directory = tempfile::tempdir().unwrap();
    // As docs/install.md says, with a class of its own beside that of the Postern that serves the whole cluster.
    let overlay = directory.path().join("overlay");
    std::fs::create_dir(&overlay).unwrap();
    let deploy = directory.path().join("deploy");
    let copy = std::process::Command::new("cp")
        .arg("-r")
        .arg(repository().join("deploy"))
        .arg(&deploy)
        .status()
        .unwrap();
    assert!(copy.success());
    std::fs::write(
        overlay.join("kustomization.yaml"),
        format!(
            r"
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {}
resources: [../deploy/overlays/namespaced]
replicas: [{{name: postern, count: 1}}]
patches:
  - target: {{kind: Deployment, name: postern}}
    patch: |
      - op: replace
        path: /spec/template/spec/containers/0/args
        value: [controller, --watch-namespace=$(POSTERN_NAMESPACE), --gateway-class=private]
",
            space.name()
        ),
    )
    .unwrap();
    cluster.kubectl().run(&["apply", "--server-side", "-k", overlay.to_str().unwrap()]).await;
    if let Ok(image) = std::env::var("POSTERN_IMAGE") {
        space.kubectl(&["set", "image", "deployment/postern", &format!("postern={image}")]).await;
        space.kubectl(&["set", "env", "deployment/postern", &format!("POSTERN_IMAGE={image}")]).await;
    }
    space.rolled_out("postern").await;
    let bindings = cluster.kubectl().run(&["get", "clusterrolebindings", "-o", "json"]).await;
    assert!(!bindings.contains(&format!("\"namespace\": \"{}\"", space.name())), "no ClusterRole is bound");

    space.echo("echo", 1).await;
    space
        .apply(
            r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: private
  listeners: [{name: http, port: 80, protocol: HTTP}]
",
        )
        .await;
    space.apply(&route("inside")).await;
    let call = space.get("edge", 80, "inside.example", "/").await;
    let answer = space.answers(&call, |answer| EchoReply::of(answer).map(drop)).await;
    assert_eq!(EchoReply::of(&answer).unwrap().namespace, space.name());
    let log = space.kubectl(&["logs", "deployment/postern"]).await;
    assert!(log.contains("all watches are in sync"), "{log}");
    assert_nothing_forbidden(&log);
}
