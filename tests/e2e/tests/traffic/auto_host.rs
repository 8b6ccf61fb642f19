//! `autoHostRewrite` of a TrafficPolicy: each backend sees its own name.

use std::net::Ipv4Addr;

use postern_e2e::{Backend, Want, World, covers, http_route, static_backend, traffic_policy, until};

#[tokio::test]
async fn the_host_is_that_of_the_backend() {
    covers!("TrafficPolicy.spec.autoHostRewrite");
    let mut world = World::with_backends(&["one", "two"]).await;
    let (named, outside, address) =
        (Backend::start("named").await, Backend::start("outside").await, Backend::start("address").await);
    for name in ["named", "outside"] {
        world.names().set(&format!("{name}.outside.test"), &[Ipv4Addr::LOCALHOST]);
    }
    let external = "apiVersion: v1
kind: Service
metadata: {name: outside, namespace: default}
spec: {type: ExternalName, externalName: outside.outside.test}
---
";
    let backend = |name: &str| format!("{{group: gateway.kgateway.dev, kind: Backend, name: {name}}}");
    let rule = |name: &str, backends: &str, more: &str| {
        format!("- {{matches: [{{path: {{value: /{name}}}}}], backendRefs: [{backends}]{more}}}\n")
    };
    let rules = [
        rule("one", "{name: one, port: 8080}", ""),
        rule("both", "{name: one, port: 8080}, {name: two, port: 8080}", ""),
        rule("named", &backend("named"), ""),
        rule("address", &backend("address"), ""),
        rule("outside", &format!("{{name: outside, port: {}}}", outside.address().port()), ""),
        rule(
            "own",
            "{name: one, port: 8080}",
            ", filters: [{type: URLRewrite, urlRewrite: {hostname: of.the.rule}}]",
        ),
    ];
    world
        .apply(
            &[
                external.to_owned(),
                static_backend(
                    "named",
                    &format!("[{{host: named.outside.test, port: {}}}]", named.address().port()),
                ),
                static_backend(
                    "address",
                    &format!("[{{host: 127.0.0.1, port: {}}}]", address.address().port()),
                ),
                http_route("r", &format!("rules:\n{}", rules.concat())),
            ]
            .concat(),
        )
        .await;
    let ask = |world: &mut World, name: &str| world.call("example.org", &format!("/{name}"));
    let call = ask(&mut world, "one");
    let seen = world.expect(call, Want::Backend("one")).await.seen().unwrap();
    assert_eq!(seen.host, "example.org", "without a policy the client's");
    let policy = |value: bool| {
        traffic_policy(
            "p",
            &format!("targetRefs: [{{kind: HTTPRoute, name: r}}]\nautoHostRewrite: {value}\n"),
        )
    };
    world.apply(&policy(true)).await;
    for (name, host) in [
        ("one", "one.default.svc.cluster.local"),
        ("named", "named.outside.test"),
        ("outside", "outside.outside.test"),
        ("address", "example.org"),
        ("own", "of.the.rule"),
    ] {
        let call = ask(&mut world, name);
        let holds = |it: &postern_e2e::Answer| it.seen().is_some_and(|seen| seen.host == host);
        world.expect_that(call, &format!("{name} as {host}"), holds).await;
    }
    let call = ask(&mut world, "both");
    until("each sees its own", async || {
        let mut hosts = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let seen = call.send().await.unwrap().seen().ok_or("no answer")?;
            assert_eq!(seen.host, format!("{}.default.svc.cluster.local", seen.backend));
            hosts.insert(seen.host);
        }
        if hosts.len() == 2 { Ok(()) } else { Err(format!("{hosts:?}")) }
    })
    .await;
    world.apply(&policy(false)).await;
    let call = ask(&mut world, "one");
    world
        .expect_that(call, "the client's", |it| it.seen().is_some_and(|seen| seen.host == "example.org"))
        .await;
    world
        .apply(&traffic_policy("p", "targetRefs: [{kind: Gateway, name: gw}]\nautoHostRewrite: true\n"))
        .await;
    world.assert_status("TrafficPolicy/p", &["Accepted=False Invalid"]);
    world.assert_nothing_rejected().await;
}
