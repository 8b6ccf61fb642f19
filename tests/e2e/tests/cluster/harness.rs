//! The harness itself: what it promises to all other tests.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Service;
use postern_e2e::{Call, Cluster, EchoReply};

#[tokio::test]
async fn a_namespace_serves_an_echo_and_goes_with_the_test() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("harness").await;
    namespace.echo("echo", 1).await;
    namespace
        .apply(
            r"
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: LoadBalancer, selector: {app: echo}, ports: [{port: 80, targetPort: 3000}]}
",
        )
        .await;
    let address = SocketAddr::new(namespace.service_address("outside").await, 80);
    let call = Call::get(80, "any.example", "/hello?x=1").at(address);
    let answer = namespace.answers(&call, |answer| EchoReply::of(answer).map(drop)).await;
    let reply = EchoReply::of(&answer).unwrap();
    assert_eq!(reply.path, "/hello?x=1");
    assert_eq!(reply.host, "any.example");
    assert_eq!(reply.service, "echo");
    assert_eq!(reply.namespace, namespace.name());
    if std::env::var_os("KEEP").is_some_and(|it| !it.is_empty()) {
        return;
    }
    let name = namespace.name().to_owned();
    drop(namespace);
    let gone = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(cluster.client());
    let state = gone.get_opt(&name).await.unwrap();
    assert!(state.is_none_or(|it| it.metadata.deletion_timestamp.is_some()), "{name} was not deleted");
}

#[tokio::test]
async fn refused_yaml_is_told_with_its_reason() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("harness").await;
    let yaml = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: none}
spec: {gatewayClassName: postern, listeners: [{name: a, port: 0, protocol: HTTP}]}
";
    let refusal = namespace.try_apply(yaml).await.unwrap_err();
    assert!(refusal.contains("spec.listeners[0].port"), "{refusal}");
    assert!(namespace.api::<Service>().list(&Default::default()).await.unwrap().items.is_empty());
}
