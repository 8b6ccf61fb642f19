//! UDPRoutes: who gets a datagram, and that sessions stay.

use std::collections::BTreeMap;

use postern_e2e::{
    Datagrams, Echoed, TcpEcho, UdpEcho, Wire, World, gateway, route, service, udp_service, until,
};

const ONE: &str = "  - {name: udp, port: ${PORT}, protocol: UDP}";

/// A world with a UDP echo server behind a Service for each name.
async fn world(listeners: &str, names: &[&str]) -> (World, BTreeMap<String, UdpEcho>) {
    let mut world = World::empty().await;
    let mut yaml = gateway(listeners);
    let mut servers = BTreeMap::new();
    for name in names {
        let server = UdpEcho::start(name).await;
        yaml.push_str(&udp_service("default", name, &[server.address()]));
        servers.insert((*name).to_owned(), server);
    }
    world.apply(&yaml).await;
    (world, servers)
}

fn to(backends: &str) -> String {
    format!("rules: [{{backendRefs: [{backends}]}}]")
}

/// Opens sessions until one is answered by `name`.
async fn answered(port: u16, name: &str) -> (Datagrams, Echoed) {
    until(&format!("{name} at port {port}"), || async move {
        let session = Datagrams::to(port).await;
        let echoed = session.ask(b"hello").await.ok_or("no answer")?;
        if echoed.name == name { Ok((session, echoed)) } else { Err(format!("{} answered", echoed.name)) }
    })
    .await
}

/// Opens sessions until one gets no answer.
async fn silent(port: u16) {
    until(&format!("silence at port {port}"), || async move {
        match Datagrams::to(port).await.ask(b"hello").await {
            Some(echoed) => Err(format!("{} answered", echoed.name)),
            None => Ok(()),
        }
    })
    .await;
}

/// How many of `number` new sessions each backend got; under "" those without an answer. Many at once, because silence
/// takes its time.
async fn shares(port: u16, number: usize) -> BTreeMap<String, usize> {
    let sessions = futures::future::join_all((0..number).map(|_| Datagrams::to(port))).await;
    let mut out = BTreeMap::new();
    for some in sessions.chunks(50) {
        for echoed in futures::future::join_all(some.iter().map(|session| session.ask(b"hello"))).await {
            *out.entry(echoed.map_or_else(String::new, |echoed| echoed.name)).or_default() += 1;
        }
    }
    out
}

/// Envoy deals the sessions of a worker in turn, so the shares are nearly exact.
fn assert_share(shares: &BTreeMap<String, usize>, name: &str, wanted: usize) {
    let got = shares.get(name).copied().unwrap_or_default();
    assert!(got.abs_diff(wanted) <= 12, "{got} instead of {wanted} for {name:?}: {shares:?}");
}

#[tokio::test]
async fn weights_hold_and_an_invalid_share_is_dropped() {
    let (mut world, servers) = world(ONE, &["a", "b", "never"]).await;
    let more = UdpEcho::start("b").await;
    let b = [servers["b"].address(), more.address()];
    world.apply(&udp_service("default", "b", &b)).await;
    let split = to("{name: a, port: 5353, weight: 60}, {name: gone, port: 5353, weight: 15}, \
                    {name: b, port: 5353, weight: 20}, {name: empty, port: 5353, weight: 5}, \
                    {name: never, port: 5353, weight: 0}");
    world.apply(&udp_service("default", "empty", &[])).await;
    world.apply(&route("UDPRoute", "split", &split)).await;
    let port = world.port("PORT");
    answered(port, "a").await;
    let shares = shares(port, 600).await;
    for (name, wanted) in [("a", 360), ("b", 120), ("", 120)] {
        assert_share(&shares, name, wanted);
    }
    assert_eq!(shares.get("never"), None);
    world.assert_status("UDPRoute/split", &["Accepted=True Accepted", "ResolvedRefs=False BackendNotFound"]);
    world.assert_nothing_rejected().await;
}

/// A client that always uses the same port must not always meet the same backend because of that: what is chosen is chosen
/// for a session.
#[tokio::test]
async fn the_port_of_a_client_does_not_decide() {
    let (mut world, _servers) = world(ONE, &["a", "b"]).await;
    world.apply(&route("UDPRoute", "r", &to("{name: a, port: 5353}, {name: b, port: 5353}"))).await;
    let port = world.port("PORT");
    let (session, first) = answered(port, "a").await;
    // Its backend goes and comes back, so the next session of the same socket begins.
    world.apply(&route("UDPRoute", "r", &to("{name: b, port: 5353}"))).await;
    until("the other backend", || async {
        let echoed = session.ask(b"x").await.ok_or("no answer")?;
        if echoed.name == "b" && echoed.from != first.from { Ok(()) } else { Err(format!("{echoed:?}")) }
    })
    .await;
}

/// A session stays where it is while its backend is there, whatever else changes.
#[tokio::test]
async fn sessions_outlive_changes() {
    let (mut world, servers) = world(ONE, &["a", "b"]).await;
    world.apply(&route("UDPRoute", "first", &to("{name: a, port: 5353}"))).await;
    let port = world.port("PORT");
    let (session, first) = answered(port, "a").await;
    world
        .apply(&route("UDPRoute", "first", &to("{name: a, port: 5353}, {name: b, port: 5353, weight: 9}")))
        .await;
    answered(port, "b").await;
    let more = UdpEcho::start("a").await;
    world.apply(&udp_service("default", "a", &[servers["a"].address(), more.address()])).await;
    world.apply(&route("UDPRoute", "second", &to("{name: b, port: 5353}"))).await;
    assert_eq!(session.ask(b"hello").await, Some(first.clone()), "the same session at the same backend");
    // The route moves to another object: still the same backend.
    world.apply(&route("UDPRoute", "second", &to("{name: a, port: 5353}, {name: b, port: 5353}"))).await;
    world.delete("UDPRoute", "first").await;
    assert_eq!(session.ask(b"hello").await, Some(first));
    let stats = world.envoy("gw").stats("listener_(modified|in_place_updated)$").await;
    assert!(stats.values().all(|count| *count == 0), "{stats:?}");
    // Without its backend it begins anew elsewhere.
    world.apply(&route("UDPRoute", "second", &to("{name: b, port: 5353}"))).await;
    until("b", || async {
        let echoed = session.ask(b"x").await.ok_or("no answer")?;
        if echoed.name == "b" { Ok(()) } else { Err(echoed.name) }
    })
    .await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn without_a_backend_datagrams_are_dropped() {
    let (mut world, _servers) = world(ONE, &["a"]).await;
    let port = world.port("PORT");
    world.apply(&udp_service("default", "empty", &[])).await;
    for (spec, resolved) in [
        ("", ""),
        ("{name: gone, port: 5353}", "ResolvedRefs=False BackendNotFound"),
        ("{name: a, port: 5353, weight: 0}", "ResolvedRefs=True ResolvedRefs"),
        ("{name: empty, port: 5353}", "ResolvedRefs=True ResolvedRefs"),
    ] {
        if !spec.is_empty() {
            world.apply(&route("UDPRoute", "r", &to(spec))).await;
            world.assert_status("UDPRoute/r", &["Accepted=True Accepted", resolved]);
        }
        silent(port).await;
        world.assert_status("Gateway/gw/udp", &["Programmed=True Programmed", "Accepted=True Accepted"]);
        world.apply(&route("UDPRoute", "r", &to("{name: a, port: 5353}"))).await;
        answered(port, "a").await;
    }
    // Endpoints that come later are found.
    world.apply(&route("UDPRoute", "r", &to("{name: empty, port: 5353}"))).await;
    silent(port).await;
    let server = UdpEcho::start("late").await;
    world.apply(&udp_service("default", "empty", &[server.address()])).await;
    answered(port, "late").await;
    world.assert_nothing_rejected().await;
}

/// The oldest route serves; a TCP listener may have the same number; a Service may have both ports of a number.
#[tokio::test]
async fn listeners_of_one_number_and_the_oldest_route() {
    let listeners = "
  - {name: udp, port: ${PORT}, protocol: UDP}
  - {name: tcp, port: ${PORT}, protocol: TCP}
";
    let (mut world, _servers) = world(listeners, &["old", "young"]).await;
    let tcp = TcpEcho::start("over-tcp").await;
    world.apply(&service("default", "over-tcp", "", &[tcp.address()])).await;
    world.apply(&route("TCPRoute", "r", &to("{name: over-tcp, port: 8080}"))).await;
    let aged = |name: &str, day: u8| {
        route("UDPRoute", name, &to(&format!("{{name: {name}, port: 5353}}"))).replace(
            "generation: 1",
            &format!("generation: 1, creationTimestamp: '2026-01-0{day}T00:00:00Z'"),
        )
    };
    let port = world.port("PORT");
    world.apply(&aged("young", 2)).await;
    answered(port, "young").await;
    world.apply(&aged("old", 1)).await;
    answered(port, "old").await;
    assert_eq!(shares(port, 30).await, BTreeMap::from([("old".to_owned(), 30)]));
    for name in ["old", "young"] {
        world.assert_status(&format!("UDPRoute/{name}"), &["Accepted=True Accepted"]);
    }
    assert_eq!(world.attached_routes("gw", "udp"), 2);
    assert_eq!(world.attached_routes("gw", "tcp"), 1);
    assert_eq!(Wire::open(port).await.unwrap().greeting(), "over-tcp");
    let nowhere = format!("parentRefs: [{{name: gw, sectionName: tcp}}]\n{}", to("{name: old, port: 5353}"));
    world.apply(&route("UDPRoute", "nowhere", &nowhere)).await;
    world.assert_status("UDPRoute/nowhere", &["Accepted=False NotAllowedByListeners"]);
    world.delete("UDPRoute", "old").await;
    answered(port, "young").await;
    world.assert_nothing_rejected().await;
}

/// Every size of a datagram passes, both ways.
#[tokio::test]
async fn datagrams_of_every_size_pass() {
    let (mut world, _servers) = world(ONE, &["a"]).await;
    world.apply(&route("UDPRoute", "r", &to("{name: a, port: 5353}"))).await;
    let (session, _) = answered(world.port("PORT"), "a").await;
    for size in [1, 1400, 1501, 4096, 9000, 60_000] {
        let payload = vec![b'x'; size];
        let echoed = session.ask(&payload).await.unwrap_or_else(|| panic!("{size} bytes"));
        assert_eq!(echoed.payload.len(), size);
    }
}

#[tokio::test]
async fn references_across_namespaces_need_a_grant_for_the_kind() {
    let (mut world, _servers) = world(ONE, &[]).await;
    let server = UdpEcho::start("far").await;
    world.apply(&udp_service("elsewhere", "far", &[server.address()])).await;
    world.apply(&route("UDPRoute", "r", &to("{name: far, namespace: elsewhere, port: 5353}"))).await;
    let port = world.port("PORT");
    silent(port).await;
    world.assert_status("UDPRoute/r", &["Accepted=True Accepted", "ResolvedRefs=False RefNotPermitted"]);
    world
        .apply(
            "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: grant, namespace: elsewhere}
spec:
  from: [{group: gateway.networking.k8s.io, kind: UDPRoute, namespace: default}]
  to: [{group: '', kind: Service}]
",
        )
        .await;
    answered(port, "far").await;
    world.delete_in("ReferenceGrant", "elsewhere", "grant").await;
    silent(port).await;
    world.assert_status("UDPRoute/r", &["ResolvedRefs=False RefNotPermitted"]);
}
