//! The manifests in `deploy/`, as a real API server and a real kustomize see them.

use kube::core::DynamicObject;
use postern_e2e::{CONTROLLER_NAMESPACE, Cluster, repository};
use serde::Deserialize as _;

const OVERLAYS: [(&str, &str); 5] = [
    ("base", "deploy/base"),
    ("ha", "deploy/overlays/ha"),
    ("namespaced", "deploy/overlays/namespaced"),
    ("restricted", "deploy/overlays/restricted"),
    ("single-replica", "deploy/overlays/single-replica"),
];

fn documents(text: &str) -> Vec<DynamicObject> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| DynamicObject::deserialize(document).expect("an object"))
        .collect()
}

#[tokio::test]
async fn what_is_rendered_is_what_kustomize_makes() {
    let cluster = Cluster::shared().await;
    for (name, directory) in OVERLAYS {
        let fresh = documents(&cluster.kubectl().run(&["kustomize", directory]).await);
        let path = repository().join(format!("deploy/rendered/{name}.yaml"));
        let kept = documents(&std::fs::read_to_string(path).unwrap());
        assert!(fresh == kept, "deploy/rendered/{name}.yaml is out of date: run `make manifests`");
    }
}

#[tokio::test]
async fn the_api_server_takes_every_overlay() {
    let cluster = Cluster::shared().await;
    for (name, directory) in OVERLAYS {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", directory];
        let output = cluster.kubectl().run(&arguments).await;
        assert!(output.contains("deployment.apps/postern serverside-applied"), "{name}: {output}");
    }
}

/// A pod that differs from the standard is only warned about when a Deployment makes it: the namespace tells.
#[tokio::test]
async fn pods_are_admitted_where_only_restricted_ones_are() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("deploy").await;
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl().run(&["label", "namespace", namespace.name(), enforce]).await;
    for (name, directory) in OVERLAYS {
        let all = documents(&cluster.kubectl().run(&["kustomize", directory]).await);
        let deployment = all.iter().find(|it| it.types.as_ref().unwrap().kind == "Deployment").unwrap();
        let mut pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
        pod["spec"] = deployment.data["spec"]["template"]["spec"].clone();
        pod["spec"]["serviceAccountName"] = "default".into();
        let arguments = ["create", "--dry-run=server", "--namespace", namespace.name(), "-f", "-"];
        let outcome = cluster.kubectl().attempt(&arguments, &pod.to_string()).await;
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn the_controller_may_do_no_more_than_it_needs() {
    let cluster = Cluster::shared().await;
    let user = format!("--as=system:serviceaccount:{CONTROLLER_NAMESPACE}:postern");
    for (question, expected) in [
        ("list secrets --all-namespaces", "yes"),
        ("patch gateways.gateway.networking.k8s.io --subresource=status -n default", "yes"),
        ("create tokenreviews.authentication.k8s.io", "yes"),
        ("update secrets/postern-ca -n postern-system", "yes"),
        ("update leases.coordination.k8s.io/postern-leader -n postern-system", "yes"),
        ("update secrets/other -n postern-system", "no"),
        ("create secrets -n default", "no"),
        ("patch gateways.gateway.networking.k8s.io -n default", "no"),
        ("patch endpointslices.discovery.k8s.io -n default", "no"),
        ("list pods --all-namespaces", "yes"),
        ("create pods -n default", "no"),
        ("delete pods -n default", "no"),
        ("create pods --subresource=exec -n default", "no"),
        ("create clusterrolebindings.rbac.authorization.k8s.io", "no"),
        ("update leases.coordination.k8s.io/other -n postern-system", "no"),
        ("get nodes", "no"),
    ] {
        let arguments: Vec<&str> =
            ["auth", "can-i", user.as_str()].into_iter().chain(question.split(' ')).collect();
        let answer = match cluster.kubectl().attempt(&arguments, "").await {
            Ok(answer) => answer,
            Err(answer) => answer.split_once("failed: ").map(|(_, said)| said.to_owned()).unwrap_or(answer),
        };
        let said = answer.lines().find(|line| matches!(line.split(' ').next(), Some("yes" | "no")));
        assert!(
            said.is_some_and(|line| line.starts_with(expected)),
            "{question}: {answer}, expected {expected}"
        );
    }
}
