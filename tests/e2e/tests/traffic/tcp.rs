//! TCPRoutes: who gets a connection, and that those which exist stay.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use postern_e2e::{TcpEcho, Wire, World, gateway, route, service, until};
use tokio::net::TcpStream;

/// A world with a TCP listener and an echo server behind a Service for each name.
async fn world(listeners: &str, names: &[&str]) -> (World, BTreeMap<String, TcpEcho>) {
    let mut world = World::empty().await;
    let mut yaml = gateway(listeners);
    let mut servers = BTreeMap::new();
    for name in names {
        let server = TcpEcho::start(name).await;
        yaml.push_str(&service("default", name, "", &[server.address()]));
        servers.insert((*name).to_owned(), server);
    }
    world.apply(&yaml).await;
    (world, servers)
}

const ONE: &str = "  - {name: tcp, port: ${PORT}, protocol: TCP}";

fn to(backends: &str) -> String {
    format!("rules: [{{backendRefs: [{backends}]}}]")
}

/// Opens connections until one is greeted by `name`.
async fn greeted(port: u16, name: &str) -> Wire {
    until(&format!("{name} at port {port}"), || async move {
        let wire = Wire::open(port).await.map_err(|error| error.to_string())?;
        if wire.greeting() == name { Ok(wire) } else { Err(format!("{} answered", wire.greeting())) }
    })
    .await
}

/// Opens connections until one is closed without a word.
async fn refused(port: u16) {
    until(&format!("port {port} to close connections"), || async move {
        match Wire::open(port).await {
            Ok(wire) => Err(format!("{} answered", wire.greeting())),
            Err(_) => Ok(()),
        }
    })
    .await;
}

/// How many of `number` connections each backend got; under "" those that were closed.
async fn shares(port: u16, number: usize) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for _ in 0..number {
        let name = Wire::open(port).await.map_or_else(|_| String::new(), |wire| wire.greeting().to_owned());
        *out.entry(name).or_default() += 1;
    }
    out
}

/// Five standard deviations: one run in a million is wrong by chance.
fn assert_share(got: usize, of: usize, percent: usize) {
    let wanted = of * percent / 100;
    let deviation = (of * percent * (100 - percent)).isqrt() / 100;
    assert!(got.abs_diff(wanted) <= 5 * deviation.max(1), "{got} of {of} is not {percent} %");
}

#[tokio::test]
async fn weights_hold_and_an_invalid_share_is_closed() {
    let (mut world, servers) = world(ONE, &["a", "b", "never"]).await;
    let split = to("{name: a, port: 8080, weight: 60}, {name: gone, port: 8080, weight: 20}, \
                    {name: b, port: 8080, weight: 20}, {name: never, port: 8080, weight: 0}");
    world.apply(&route("TCPRoute", "split", &split)).await;
    let port = world.port("PORT");
    greeted(port, "a").await;
    let shares = shares(port, 1500).await;
    for (name, percent) in [("a", 60), ("b", 20), ("", 20)] {
        assert_share(shares.get(name).copied().unwrap_or_default(), 1500, percent);
    }
    assert_eq!(servers["never"].accepted(), 0);
    world.assert_status("TCPRoute/split", &["Accepted=True Accepted", "ResolvedRefs=False BackendNotFound"]);
    world.assert_nothing_rejected().await;
}

/// Nobody answers where there is nobody to answer: without a route, with an invalid backend only, without weight, without
/// endpoints. The listener is there all the same.
#[tokio::test]
async fn without_a_backend_connections_are_closed() {
    let (mut world, _servers) = world(ONE, &["a"]).await;
    let port = world.port("PORT");
    for (spec, resolved) in [
        ("", ""),
        ("{name: gone, port: 8080}", "ResolvedRefs=False BackendNotFound"),
        ("{name: a, port: 8080, weight: 0}", "ResolvedRefs=True ResolvedRefs"),
        ("{name: empty, port: 8080}", "ResolvedRefs=True ResolvedRefs"),
    ] {
        if !spec.is_empty() {
            world.apply(&service("default", "empty", "", &[])).await;
            world.apply(&route("TCPRoute", "r", &to(spec))).await;
            world.assert_status("TCPRoute/r", &["Accepted=True Accepted", resolved]);
        }
        refused(port).await;
        world.assert_status("Gateway/gw/tcp", &["Programmed=True Programmed", "Accepted=True Accepted"]);
        world.apply(&route("TCPRoute", "r", &to("{name: a, port: 8080}"))).await;
        greeted(port, "a").await;
    }
    world.assert_nothing_rejected().await;
}

/// Gateway API, conflicts: the oldest route serves. The others are accepted, counted, and next in line.
#[tokio::test]
async fn the_oldest_route_has_the_listener() {
    let (mut world, servers) = world(ONE, &["old", "young"]).await;
    let aged = |name: &str, day: u8| {
        route("TCPRoute", name, &to(&format!("{{name: {name}, port: 8080}}"))).replace(
            "generation: 1",
            &format!("generation: 1, creationTimestamp: '2026-01-0{day}T00:00:00Z'"),
        )
    };
    world.apply(&aged("young", 2)).await;
    let port = world.port("PORT");
    greeted(port, "young").await;
    world.apply(&aged("old", 1)).await;
    greeted(port, "old").await;
    let before = servers["young"].accepted();
    assert_eq!(shares(port, 50).await, BTreeMap::from([("old".to_owned(), 50)]));
    assert_eq!(servers["young"].accepted(), before);
    for name in ["old", "young"] {
        world.assert_status(&format!("TCPRoute/{name}"), &["Accepted=True Accepted"]);
    }
    assert_eq!(world.attached_routes("gw", "tcp"), 2);
    let problems = world.problems();
    assert!(
        problems.contains("TCPRoute default/young spec.parentRefs: the connections to listener tcp"),
        "{problems}"
    );
    world.delete("TCPRoute", "old").await;
    greeted(port, "young").await;
    assert_eq!(world.problems(), "");
}

/// What a route says changes no filter chain, so connections live on: through other weights, another backend, and the end
/// of the route. The backend that nobody names any more is let go, and even that costs them nothing.
#[tokio::test]
async fn connections_outlive_what_made_them() {
    let (mut world, _servers) = world(ONE, &["a", "b"]).await;
    let port = world.port("PORT");
    world.apply(&route("TCPRoute", "r", &to("{name: a, port: 8080}"))).await;
    let mut first = greeted(port, "a").await;
    world
        .apply(&route("TCPRoute", "r", &to("{name: a, port: 8080, weight: 9}, {name: b, port: 8080}")))
        .await;
    let mut second = greeted(port, "b").await;
    world.apply(&route("TCPRoute", "r", &to("{name: b, port: 8080}"))).await;
    until("the cluster of a to go", || async {
        let clusters = world.envoy("gw").admin("/clusters").await.map_err(|error| error.to_string())?;
        if clusters.contains("default/a:8080") { Err("it is still there".to_owned()) } else { Ok(()) }
    })
    .await;
    world.delete("TCPRoute", "r").await;
    refused(port).await;
    let stats = world.envoy("gw").stats("listener_(modified|in_place_updated)$").await;
    assert!(stats.values().all(|count| *count == 0), "{stats:?}");
    for (wire, name) in [(&mut first, "a"), (&mut second, "b")] {
        assert_eq!(wire.ask("still there?").await.unwrap(), format!("{name} still there?"));
    }
    // What ends connections is the listener.
    world.apply(&gateway("  - {name: other, port: ${PORT_B}, protocol: TCP}")).await;
    refused(port).await;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err(), "nobody listens there");
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn parents_by_name_by_port_and_as_a_whole() {
    let listeners = "
  - {name: one, port: ${PORT_1}, protocol: TCP}
  - {name: two, port: ${PORT_2}, protocol: TCP}
  - {name: three, port: ${PORT_3}, protocol: TCP}
  - {name: web, port: ${PORT_4}, protocol: HTTP}
";
    let (mut world, _servers) = world(listeners, &["all", "named", "numbered", "both"]).await;
    let ports = [1, 2, 3].map(|number| world.port(&format!("PORT_{number}")));
    world.apply(&route("TCPRoute", "all", &to("{name: all, port: 8080}"))).await;
    for port in ports {
        greeted(port, "all").await;
    }
    world.delete("TCPRoute", "all").await;
    for (name, parent) in [
        ("named", "sectionName: one"),
        ("numbered", "port: ${PORT_2}"),
        ("both", "sectionName: three, port: ${PORT_3}"),
    ] {
        let spec =
            format!("parentRefs: [{{name: gw, {parent}}}]\n{}", to(&format!("{{name: {name}, port: 8080}}")));
        world.apply(&route("TCPRoute", name, &spec)).await;
    }
    for (port, name) in ports.into_iter().zip(["named", "numbered", "both"]) {
        greeted(port, name).await;
    }
    for (parent, reason) in [
        ("sectionName: gone", "NoMatchingParent"),
        ("sectionName: one, port: ${PORT_2}", "NoMatchingParent"),
        ("sectionName: web", "NotAllowedByListeners"),
    ] {
        let spec = format!("parentRefs: [{{name: gw, {parent}}}]\n{}", to("{name: all, port: 8080}"));
        world.apply(&route("TCPRoute", "nowhere", &spec)).await;
        world.assert_status("TCPRoute/nowhere", &[&format!("Accepted=False {reason}")]);
    }
    for listener in ["one", "two", "three"] {
        assert_eq!(world.attached_routes("gw", listener), 1);
    }
    assert_eq!(world.attached_routes("gw", "web"), 0);
}

#[tokio::test]
async fn references_across_namespaces_need_a_grant_for_the_kind() {
    let (mut world, _servers) = world(ONE, &[]).await;
    let server = TcpEcho::start("far").await;
    world.apply(&service("elsewhere", "far", "", &[server.address()])).await;
    world.apply(&route("TCPRoute", "r", &to("{name: far, namespace: elsewhere, port: 8080}"))).await;
    let port = world.port("PORT");
    let grant = |kind: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{name: grant, namespace: elsewhere}}
spec:
  from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: default}}]
  to: [{{group: '', kind: Service, name: far}}]
---
"
        )
    };
    refused(port).await;
    for kind in ["HTTPRoute", "UDPRoute"] {
        world.apply(&grant(kind)).await;
        world.assert_status("TCPRoute/r", &["Accepted=True Accepted", "ResolvedRefs=False RefNotPermitted"]);
    }
    world.apply(&grant("TCPRoute")).await;
    greeted(port, "far").await;
    world.assert_status("TCPRoute/r", &["ResolvedRefs=True ResolvedRefs"]);
    world.delete_in("ReferenceGrant", "elsewhere", "grant").await;
    refused(port).await;
    world.assert_status("TCPRoute/r", &["ResolvedRefs=False RefNotPermitted"]);
}

/// An endpoint that does not take the connection has seen nothing of it: another one is tried.
#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over() {
    let (mut world, servers) = world(ONE, &["a"]).await;
    let dead: Vec<SocketAddr> = {
        let server = TcpEcho::start("dead").await;
        vec![server.address(), servers["a"].address()]
    };
    world.apply(&service("default", "half", "", &dead)).await;
    world.apply(&route("TCPRoute", "r", &to("{name: half, port: 8080}"))).await;
    let port = world.port("PORT");
    greeted(port, "a").await;
    // With one attempt more than half of them fail: the endpoint that takes none has the fewest.
    let shares = shares(port, 200).await;
    assert!(shares["a"] > 130, "{shares:?}");
}

/// Nothing in between ends a connection on which nothing is said for a while.
#[tokio::test]
async fn a_quiet_connection_stays() {
    let (mut world, _servers) = world(ONE, &["a"]).await;
    world.apply(&route("TCPRoute", "r", &to("{name: a, port: 8080}"))).await;
    let mut wire = greeted(world.port("PORT"), "a").await;
    assert!(!wire.ends_within(Duration::from_secs(2)).await);
    assert_eq!(wire.ask("x").await.unwrap(), "a x");
}
