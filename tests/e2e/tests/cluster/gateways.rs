//! The life of a Gateway: made, edited, deleted, made again.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use postern_api::gateway_api::Gateway;
use postern_e2e::{Answer, CLUSTER_PATIENCE, Call, Cluster, Namespace, until_within};

const ROUTE: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
";

fn gateway(ports: &[u16], parameters: Option<&str>) -> String {
    let listeners: Vec<_> =
        ports.iter().map(|port| format!("{{name: p{port}, port: {port}, protocol: HTTP}}")).collect();
    let infrastructure = parameters.map_or_else(String::new, |name| {
        format!(
            "\n  infrastructure:\n    labels: {{team: edge}}\n    parametersRef: {{group: gateway.kgateway.dev, kind: GatewayParameters, name: {name}}}"
        )
    });
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  gatewayClassName: postern\n  \
         listeners: [{}]{infrastructure}\n",
        listeners.join(", ")
    )
}

async fn proxies(space: &Namespace<'_>) -> Vec<Pod> {
    let selected = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=edge");
    let pods = space.api::<Pod>().list(&selected).await.unwrap().items;
    pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
}

/// Everything in the namespace that was made for the Gateway.
async fn belongings(space: &Namespace<'_>) -> Vec<String> {
    let selected = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=edge");
    let mut found = Vec::new();
    macro_rules! look {
        ($($kind:ty),+) => {$(
            let listed = space.api::<$kind>().list(&selected).await.unwrap().items;
            found.extend(listed.into_iter().map(|it| format!("{} {:?}", stringify!($kind), it.metadata.name)));
        )+};
    }
    look!(Deployment, Service, ServiceAccount, ConfigMap, Pod, HorizontalPodAutoscaler, PodDisruptionBudget);
    found
}

#[tokio::test]
async fn edits_take_effect_live_and_nothing_is_left_behind() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("edits").await;
    space.echo("echo", 1).await;
    space.apply(&gateway(&[80], None)).await;
    space.apply(ROUTE).await;
    let first = space.get("edge", 80, "any.example", "/").await;
    space.answers(&first, Answer::ok).await;
    let before = proxies(&space).await;

    // A new listener port: the Service follows, the proxy takes it without a restart.
    space.apply(&gateway(&[80, 8443], None)).await;
    let second = space.get("edge", 8443, "any.example", "/").await;
    space.answers(&second, Answer::ok).await;
    let names = |pods: &[Pod]| pods.iter().filter_map(|p| p.metadata.name.clone()).collect::<BTreeSet<_>>();
    assert_eq!(names(&proxies(&space).await), names(&before), "a new port restarts nothing");

    // Other parameters: two proxies with a label, an autoscaler's bounds and a budget.
    space
        .apply(
            r"
apiVersion: gateway.kgateway.dev/v1alpha1
kind: GatewayParameters
metadata: {name: two}
spec:
  kube:
    deployment: {replicas: 2}
    podTemplate: {extraLabels: {tier: front}}
    podDisruptionBudget: {spec: {minAvailable: 1}}
",
        )
        .await;
    space.apply(&gateway(&[80, 8443], Some("two"))).await;
    until_within(CLUSTER_PATIENCE, "two labelled proxies", || async {
        let pods = proxies(&space).await;
        let label = |pod: &Pod, key: &str| pod.metadata.labels.clone().unwrap_or_default().get(key).cloned();
        let right = pods.iter().filter(|pod| {
            label(pod, "tier").as_deref() == Some("front") && label(pod, "team").as_deref() == Some("edge")
        });
        if pods.len() == 2 && right.count() == 2 { Ok(()) } else { Err(format!("{:?}", names(&pods))) }
    })
    .await;
    space.rolled_out("edge").await;
    assert!(belongings(&space).await.iter().any(|it| it.contains("PodDisruptionBudget")));
    space.answers(&second, Answer::ok).await;

    // A port that goes is closed, the other stays.
    space.apply(&gateway(&[8443], Some("two"))).await;
    until_within(CLUSTER_PATIENCE, "end of port 80", || async {
        match first.connect().await {
            Ok(_) => Err("port 80 still accepts".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
    space.answers(&second, Answer::ok).await;

    // Deleted: nothing is left. Made again: it works again.
    space.delete(&["gateway", "edge"]).await;
    until_within(CLUSTER_PATIENCE, "empty namespace", || async {
        let left = belongings(&space).await;
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    })
    .await;
    space.apply(&gateway(&[80], None)).await;
    let again: Call = space.get("edge", 80, "any.example", "/").await;
    space.answers(&again, Answer::ok).await;
}

#[tokio::test]
async fn an_object_that_is_in_the_way_is_not_touched() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("foreign").await;
    space
        .apply(
            r"
apiVersion: v1
kind: Service
metadata: {name: edge, labels: {mine: 'yes'}}
spec: {selector: {app: somebody-else}, ports: [{port: 9999}]}
",
        )
        .await;
    space.apply(&gateway(&[80], None)).await;
    let message = space
        .until("edge", "refusal", |it: &Gateway| {
            let status = it.status.clone().unwrap_or_default();
            let programmed = status.conditions.into_iter().find(|c| c.type_ == "Programmed");
            match programmed {
                Some(it) if !it.is_true() && it.message.contains("Service") => Ok(it.message),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    assert!(message.contains("edge"), "{message}");
    let service = space.api::<Service>().get("edge").await.unwrap();
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    assert_eq!(ports.first().map(|port| port.port), Some(9999), "somebody else's Service stays as it was");
    assert!(service.metadata.owner_references.is_none());
}

#[tokio::test]
async fn a_static_address_is_given_or_reported() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("static").await;
    space.apply(&gateway(&[80], None)).await;
    let given = space.gateway_address("edge").await;
    space.delete(&["gateway", "edge"]).await;
    until_within(CLUSTER_PATIENCE, "free address", || async {
        let left = belongings(&space).await;
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    })
    .await;
    let asking = |address: &str| {
        gateway(&[80], None)
            .replace("spec:\n", &format!("spec:\n  addresses: [{{type: IPAddress, value: {address}}}]\n"))
    };
    // Of a documentation range: nobody gives it.
    space.apply(&asking("192.0.2.7")).await;
    space
        .until("edge", "AddressNotUsable", |it: &Gateway| {
            let conditions = it.status.clone().unwrap_or_default().conditions;
            let reason = |kind: &str| conditions.iter().find(|c| c.type_ == kind).map(|c| c.reason.clone());
            match (reason("Accepted").as_deref(), reason("Programmed").as_deref()) {
                (Some("Accepted"), Some("AddressNotUsable")) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    space.apply(&asking(&given.to_string())).await;
    assert_eq!(space.gateway_address("edge").await, given);
}

/// GEP-5093: a Gateway for the cluster alone has a cluster IP, which answers there, and nothing outside.
#[tokio::test]
async fn a_gateway_for_the_cluster_is_not_found_outside() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("inside").await;
    space.echo("echo", 1).await;
    space.apply(&gateway(&[80], None)).await;
    space.apply(&ROUTE.replace("{name: edge}", "{name: inner}")).await;
    let inner = gateway(&[80], None).replace("{name: edge}", "{name: inner}");
    space.apply(&inner.replace("spec:\n", "spec:\n  addresses: [{routability: Cluster}]\n")).await;
    let address = space.gateway_address("inner").await.to_string();
    space
        .until("inner", "the address of the cluster", |it: &Gateway| {
            let status = it.status.clone().unwrap_or_default();
            let assigned = status.conditions.iter().any(|c| c.type_ == "AddressesAssigned" && c.is_true());
            let reach: Vec<_> =
                status.addresses.iter().map(|it| it.routability.as_deref().unwrap_or("none")).collect();
            if assigned && reach == ["Cluster"] { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    let service = space.api::<Service>().get("inner").await.unwrap().spec.unwrap();
    assert_eq!((service.type_.as_deref(), &service.cluster_ip), (Some("ClusterIP"), &Some(address.clone())));
    assert!(service.ports.iter().flatten().all(|port| port.node_port.is_none()));

    // From outside only through a Gateway that is there.
    space
        .apply(&format!(
            r"
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {{name: inner}}
spec: {{type: Static, static: {{hosts: [{{host: {address}, port: 80}}]}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: outer}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{backendRefs: [{{group: gateway.kgateway.dev, kind: Backend, name: inner}}]}}]
"
        ))
        .await;
    let call = space.get("edge", 80, "any.example", "/").await;
    space.answers(&call, Answer::ok).await;
}
