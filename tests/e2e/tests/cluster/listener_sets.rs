//! A ListenerSet of another namespace: it comes, serves at a port that was not there, and goes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use postern_api::gateway_api::{Condition, Gateway, HttpRoute, ListenerSet};
use postern_e2e::{CLUSTER_PATIENCE, Cluster, EchoReply, Namespace, until_within};

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: postern
  allowedListeners: {namespaces: {from: FROM}}
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: own.example.com}]
";

const SET: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: team}
spec:
  parentRef: {name: edge, namespace: INFRA}
  listeners:
  - {name: shared, port: 80, protocol: HTTP, hostname: team.example.com}
  - {name: new, port: 8090, protocol: HTTP}
  - {name: taken, port: 80, protocol: HTTP, hostname: own.example.com}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: team}
spec:
  parentRefs: [{kind: ListenerSet, name: team}]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
";

fn reason(conditions: &[Condition], kind: &str) -> String {
    let found = conditions.iter().find(|condition| condition.type_ == kind);
    found.map_or(String::new(), |condition| format!("{} {}", condition.status, condition.reason))
}

/// Waits until the set says `accepted` and `programmed`, each as status and reason.
async fn says(space: &Namespace<'_>, accepted: &str, programmed: &str) -> ListenerSet {
    space
        .until("team", &format!("{accepted}, {programmed}"), |set: &ListenerSet| {
            let status = set.status.clone().unwrap_or_default();
            let said = (reason(&status.conditions, "Accepted"), reason(&status.conditions, "Programmed"));
            let wanted = (accepted.to_owned(), programmed.to_owned());
            if said == wanted { Ok(set.clone()) } else { Err(format!("{said:?}")) }
        })
        .await
}

async fn proxies(space: &Namespace<'_>) -> BTreeSet<Option<String>> {
    let selected = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=edge");
    let pods = space.api::<Pod>().list(&selected).await.unwrap().items;
    pods.into_iter().map(|pod| pod.metadata.uid).collect()
}

async fn ports(space: &Namespace<'_>, wanted: &[i32]) {
    space
        .until("edge", &format!("ports {wanted:?}"), |service: &Service| {
            let ports = service.spec.clone().and_then(|spec| spec.ports).unwrap_or_default();
            let ports: Vec<i32> = ports.iter().map(|port| port.port).collect();
            if ports == wanted { Ok(()) } else { Err(format!("{ports:?}")) }
        })
        .await;
}

async fn attached(space: &Namespace<'_>, wanted: Option<u32>) {
    space
        .until("edge", &format!("{wanted:?} attached sets"), |gateway: &Gateway| {
            let have = gateway.status.as_ref().and_then(|status| status.attached_listener_sets);
            if have == wanted { Ok(()) } else { Err(format!("{have:?}")) }
        })
        .await;
}

#[tokio::test]
async fn a_set_of_another_namespace_comes_and_goes() {
    let cluster = Cluster::shared().await;
    let infra = cluster.namespace("sets-infra").await;
    let team = cluster.namespace("sets-team").await;
    team.echo("echo", 1).await;
    infra.apply(&GATEWAY.replace("FROM", "None")).await;
    infra.gateway_address("edge").await;
    infra.rolled_out("edge").await;
    let before = proxies(&infra).await;

    // Nobody may attach yet.
    team.apply(&SET.replace("INFRA", infra.name())).await;
    let refused = says(&team, "False NotAllowed", "False NotAllowed").await;
    assert!(
        refused.status.unwrap().listeners.is_empty(),
        "listeners of a set that may not attach are not judged"
    );
    attached(&infra, Some(0)).await;

    // Everybody may: the set serves at the port of the Gateway and at one of its own.
    infra.apply(&GATEWAY.replace("FROM", "All")).await;
    let set = says(&team, "True ListenersNotValid", "True Programmed").await;
    let status = set.status.unwrap();
    let generation = set.metadata.generation;
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == generation));
    let listeners: Vec<_> = status.listeners.iter().map(|l| (l.name.as_str(), l.attached_routes)).collect();
    assert_eq!(listeners, [("shared", 1), ("new", 1), ("taken", 1)]);
    for kind in ["Accepted", "Programmed"] {
        assert_eq!(reason(&status.listeners[2].conditions, kind), "False HostnameConflict");
    }
    assert_eq!(reason(&status.listeners[2].conditions, "Conflicted"), "True HostnameConflict");
    attached(&infra, Some(1)).await;
    ports(&infra, &[80, 8090]).await;
    let echo = |answer: &postern_e2e::Answer| {
        EchoReply::of(answer)
            .and_then(|reply| if reply.namespace == team.name() { Ok(()) } else { Err(reply.namespace) })
    };
    let shared = infra.get("edge", 80, "team.example.com", "/").await;
    let new = infra.get("edge", 8090, "any.example.com", "/").await;
    infra.answers(&shared, echo).await;
    infra.answers(&new, echo).await;
    let own = infra.get("edge", 80, "own.example.com", "/").await;
    infra
        .answers(&own, |answer| if answer.status == 404 { Ok(()) } else { Err(answer.status.to_string()) })
        .await;
    assert_eq!(proxies(&infra).await, before, "a new port restarts nothing");

    // It goes, and everything of it: the port, the count, what its route said.
    team.delete(&["listenerset", "team"]).await;
    ports(&infra, &[80]).await;
    attached(&infra, None).await;
    until_within(CLUSTER_PATIENCE, "end of port 8090", || async {
        match new.connect().await {
            Ok(_) => Err("port 8090 still accepts".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
    team.until("team", "a route without a parent", |route: &HttpRoute| {
        let parents = route.status.clone().map(|status| status.parents).unwrap_or_default();
        if parents.is_empty() { Ok(()) } else { Err(format!("{parents:?}")) }
    })
    .await;
    assert_eq!(proxies(&infra).await, before, "nothing was restarted");
}
