//! Services of type ExternalName: hosts that the DNS knows.

use std::net::Ipv4Addr;

use postern_e2e::{
    Authority, Backend, TcpEcho, Want, Wire, World, authorities, backend_tls_policy, gateway, http_route,
    route, service, until,
};

fn external(name: &str, host: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{type: ExternalName, externalName: {host}}}
---
"
    )
}

fn to(path: &str, name: &str, port: u16) -> String {
    format!("- {{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {name}, port: {port}}}]}}\n")
}

#[tokio::test]
async fn requests_go_where_the_name_leads() {
    let mut world = World::with_backends(&["inside"]).await;
    let authority = Authority::new("outside");
    let plain = Backend::start("plain").await;
    let secure = Backend::tls("secure", &authority.issue(&["eu.secure.test"])).await;
    world.names().set("plain.outside.test", &[Ipv4Addr::LOCALHOST]);
    world.names().set("secure.outside.test", &[Ipv4Addr::LOCALHOST]);
    world
        .apply(
            &[
                external("plain", "Plain.outside.test"),
                external("secure", "secure.outside.test"),
                external("proxy", "localhost"),
                authorities("ca", &[&authority]),
                backend_tls_policy(
                    "p",
                    "secure",
                    "hostname: eu.secure.test, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]",
                ),
                http_route(
                    "r",
                    &[
                        "rules:\n".to_owned(),
                        to("/plain", "plain", plain.address().port()),
                        to("/secure", "secure", secure.address().port()),
                        to("/proxy", "proxy", plain.address().port()),
                        to("/inside", "inside", 8080),
                    ]
                    .concat(),
                ),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/plain");
    let seen = world.expect(call.clone(), Want::Backend("plain")).await.seen().unwrap();
    assert_eq!(seen.host, "example.org", "the host of the request is the client's");
    let secured = world.call("example.org", "/secure");
    let seen = world.expect(secured, Want::Backend("secure")).await.seen().unwrap();
    assert_eq!(seen.sni.as_deref(), Some("eu.secure.test"));
    world.assert_status("BackendTLSPolicy/p", &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]);
    let inside = world.call("example.org", "/inside");
    world.expect(inside, Want::Backend("inside")).await;

    // A name that leads to the proxy itself costs its rule and nothing else.
    let loopback = world.call("example.org", "/proxy");
    world.expect(loopback, Want::Status(500)).await;
    world.assert_status("HTTPRoute/r", &["Accepted=True Accepted", "ResolvedRefs=False UnsupportedValue"]);
    assert!(world.problems().contains("\"localhost\" is the proxy itself"), "{}", world.problems());

    // The name is complete: nobody looks for it below the domains of this machine.
    let asked = world.names().asked();
    assert!(asked.iter().any(|name| name == "plain.outside.test"), "{asked:?}");
    assert!(asked.iter().all(|name| name.ends_with(".outside.test")), "{asked:?}");

    // The same Service with endpoints of its own, and back.
    let own = Backend::start("own").await;
    let port = plain.address().port();
    let with_endpoints =
        service("default", "plain", "", &[own.address()]).replace("port: 8080", &format!("port: {port}"));
    world.apply(&with_endpoints).await;
    world.expect(call.clone(), Want::Backend("own")).await;
    world.apply(&external("plain", "plain.outside.test")).await;
    world.expect(call, Want::Backend("plain")).await;
    world.assert_nothing_rejected().await;
}

/// When the name gets another address, connections go there.
#[tokio::test]
async fn connections_follow_the_name() {
    let mut world = World::empty().await;
    let server = TcpEcho::start("first").await;
    world.names().set("db.outside.test", &[Ipv4Addr::new(127, 0, 0, 99)]);
    world
        .apply(
            &[
                gateway("  - {name: tcp, port: ${PORT}, protocol: TCP}"),
                external("db", "db.outside.test"),
                route(
                    "TCPRoute",
                    "r",
                    &format!("rules: [{{backendRefs: [{{name: db, port: {}}}]}}]", server.address().port()),
                ),
            ]
            .concat(),
        )
        .await;
    let port = world.port("PORT");
    assert!(Wire::open(port).await.is_err(), "nobody listens at 127.0.0.99");
    world.names().set("db.outside.test", &[Ipv4Addr::LOCALHOST]);
    until("the new address", || async move {
        let wire = Wire::open(port).await.map_err(|error| error.to_string())?;
        assert_eq!(wire.greeting(), "first");
        Ok(())
    })
    .await;
}
