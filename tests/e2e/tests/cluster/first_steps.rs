//! The first minutes of an operator: the overlay for trying out, `examples/cluster`, `postern status`.

use postern_e2e::{Cluster, EchoReply, repository};

#[tokio::test]
async fn the_example_answers_through_its_address_and_status_shows_it() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("first").await;
    space.echo("echo", 1).await;
    let example = std::fs::read_to_string(repository().join("examples/cluster/gateway.yaml")).unwrap();
    space.apply(&example).await;
    let call = space.get("web", 80, "shop.example.com", "/api/items").await;
    let answer = space
        .answers(&call, |answer| match answer.header("x-shop").as_deref() {
            Some("open") => Ok(()),
            other => Err(format!("status {}, x-shop {other:?}", answer.status)),
        })
        .await;
    let reply = EchoReply::of(&answer).unwrap();
    assert_eq!((reply.namespace.as_str(), reply.path.as_str()), (space.name(), "/api/items"));

    let status = cluster.postern(&["status", "web", "--namespace", space.name()]).await;
    assert!(status.status.success(), "{status:?}");
    for word in ["web", "http", "HTTPRoute", "shop", "TrafficPolicy", "Programmed", "80"] {
        assert!(status.stdout.contains(word), "{word} is missing in:\n{}\n{}", status.stdout, status.stderr);
    }
    let all = cluster.postern(&["status", "--namespace", space.name()]).await;
    assert!(all.stdout.contains("web") && all.stdout.contains("postern"), "{all:?}");

    let gateway = format!("{}/web", space.name());
    let same = cluster.postern(&["proxy", "config", &gateway, "diff"]).await;
    assert!(same.status.success(), "the proxy has what it should have: {same:?}");
    let routes = cluster.postern(&["proxy", "config", &gateway, "routes"]).await;
    assert!(routes.stdout.contains("shop.example.com"), "{routes:?}");
}
