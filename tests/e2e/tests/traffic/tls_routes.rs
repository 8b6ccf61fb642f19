//! TLSRoutes, and TCPRoutes behind TLS: the server name chooses, TLS ends here or at the backend, and what has nothing to do
//! with a connection does not end it.

use std::collections::BTreeMap;
use std::time::Duration;

use postern_e2e::{
    Authority, Backend, ClientTls, TcpEcho, Want, Wire, World, gateway, http_route, route, service,
    tls_secret, until,
};

/// A world with servers behind Services: those in `tls` end TLS themselves, with a certificate for any name.
async fn world(listeners: &str, tls: &[&str], plain: &[&str]) -> (World, BTreeMap<String, TcpEcho>) {
    let mut world = World::empty().await;
    let authority = Authority::new("of backends");
    let mut yaml = gateway(listeners);
    let mut servers = BTreeMap::new();
    for name in tls.iter().chain(plain) {
        let server = if tls.contains(name) {
            TcpEcho::tls(name, &authority.issue(&["backend.example"])).await
        } else {
            TcpEcho::start(name).await
        };
        yaml.push_str(&service("default", name, "", &[server.address()]));
        servers.insert((*name).to_owned(), server);
    }
    world.apply(&yaml).await;
    (world, servers)
}

fn tls_route(name: &str, parent: &str, hostnames: &str, backends: &str) -> String {
    let parents = if parent.is_empty() { "{name: gw}".to_owned() } else { format!("{{name: gw, {parent}}}") };
    route(
        "TLSRoute",
        name,
        &format!("parentRefs: [{parents}]\nhostnames: {hostnames}\nrules: [{{backendRefs: [{backends}]}}]"),
    )
}

fn backend(name: &str) -> String {
    format!("{{name: {name}, port: 8080}}")
}

async fn greeted(port: u16, sni: &str, greeting: &str) -> Wire {
    until(&format!("{greeting:?} for {sni}"), || async move {
        let wire = Wire::open_tls(port, &ClientTls::any(sni)).await.map_err(|error| error.to_string())?;
        if wire.greeting() == greeting { Ok(wire) } else { Err(format!("{:?}", wire.greeting())) }
    })
    .await
}

async fn refused(port: u16, tls: ClientTls) {
    until(&format!("refusal of {tls:?}"), || {
        let tls = tls.clone();
        async move {
            match Wire::open_tls(port, &tls).await {
                Ok(wire) => Err(format!("{} answered", wire.greeting())),
                Err(_) => Ok(()),
            }
        }
    })
    .await;
}

const PASSTHROUGH: &str = "
  - {name: exact, port: ${PORT}, protocol: TLS, hostname: abc.example.com, tls: {mode: Passthrough}}
  - {name: wild, port: ${PORT}, protocol: TLS, hostname: '*.example.com', tls: {mode: Passthrough}}
  - {name: rest, port: ${PORT}, protocol: TLS, tls: {mode: Passthrough}}
";

/// The most specific listener has a server name, and of its routes the one with the most specific hostname.
#[tokio::test]
async fn the_server_name_chooses_listener_and_route() {
    let (mut world, _servers) = world(PASSTHROUGH, &["one", "two", "three"], &[]).await;
    world
        .apply(
            &[
                tls_route("one", "", "['*.example.com']", &backend("one")),
                tls_route(
                    "two",
                    "sectionName: wild",
                    "[shop.example.com, '*.deep.example.com']",
                    &backend("two"),
                ),
                tls_route(
                    "three",
                    "sectionName: rest",
                    "['*.com', any.example.com, example.org]",
                    &backend("three"),
                ),
            ]
            .concat(),
        )
        .await;
    let port = world.port("PORT");
    for (sni, greeting) in [
        ("abc.example.com", "one abc.example.com"),
        ("ABC.Example.com", "one abc.example.com"),
        ("other.example.com", "one other.example.com"),
        ("shop.example.com", "two shop.example.com"),
        ("a.b.deep.example.com", "two a.b.deep.example.com"),
        ("deep.example.com", "one deep.example.com"),
        // Of these the listener `wild` has the first, so the route of `rest` does not get it.
        ("any.example.com", "one any.example.com"),
        ("example.com", "three example.com"),
        ("example.org", "three example.org"),
    ] {
        greeted(port, sni, greeting).await;
    }
    refused(port, ClientTls::any("example.net")).await;
    refused(port, ClientTls::any("sub.example.org")).await;
    refused(port, ClientTls::without_sni()).await;
    // No TLS at all.
    assert!(Wire::open(port).await.is_err());
    world.delete("TLSRoute", "one").await;
    // Nobody has this name now, and it does not go to a less specific listener.
    refused(port, ClientTls::any("other.example.com")).await;
    greeted(port, "shop.example.com", "two shop.example.com").await;
    assert_eq!(world.attached_routes("gw", "exact"), 0);
    assert_eq!(world.attached_routes("gw", "wild"), 1);
    assert_eq!(world.attached_routes("gw", "rest"), 1);
    world.assert_nothing_rejected().await;
}

/// `GatewayRouteHostnameIntersectionPrecedence`: what the routes say decides, not what is left of it at the listener; then
/// age.
#[tokio::test]
async fn of_equal_intersections_the_more_specific_route_wins() {
    let (mut world, _servers) = world(PASSTHROUGH, &["wide", "narrow", "old", "young"], &[]).await;
    let aged = |yaml: String, day: u8| {
        yaml.replace(
            "generation: 1",
            &format!("generation: 1, creationTimestamp: '2026-01-0{day}T00:00:00Z'"),
        )
    };
    let port = world.port("PORT");
    world
        .apply(&aged(tls_route("wide", "sectionName: exact", "['*.example.com']", &backend("wide")), 1))
        .await;
    greeted(port, "abc.example.com", "wide abc.example.com").await;
    world
        .apply(&aged(tls_route("narrow", "sectionName: exact", "[abc.example.com]", &backend("narrow")), 2))
        .await;
    greeted(port, "abc.example.com", "narrow abc.example.com").await;
    world.apply(&aged(tls_route("young", "sectionName: rest", "[example.org]", &backend("young")), 4)).await;
    world.apply(&aged(tls_route("old", "sectionName: rest", "[example.org]", &backend("old")), 3)).await;
    greeted(port, "example.org", "old example.org").await;
    for name in ["wide", "narrow", "old", "young"] {
        world.assert_status(&format!("TLSRoute/{name}"), &["Accepted=True Accepted"]);
    }
    assert_eq!(world.attached_routes("gw", "exact"), 2);
    let problems = world.problems();
    for part in [
        "TLSRoute default/wide spec.hostnames: the connections for abc.example.com to listener exact",
        "TLSRoute default/young spec.hostnames: the connections for example.org to listener rest",
    ] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
    world.delete("TLSRoute", "narrow").await;
    greeted(port, "abc.example.com", "wide abc.example.com").await;
}

/// One port: requests, TLS that ends here around something else, and TLS that ends at the backend.
#[tokio::test]
async fn three_kinds_of_tls_on_one_port() {
    let listeners = "
  - {name: web, port: ${PORT}, protocol: HTTPS, hostname: www.example.com, tls: {certificateRefs: [{name: web}]}}
  - {name: here, port: ${PORT}, protocol: TLS, hostname: mqtt.example.com, tls: {mode: Terminate, certificateRefs: [{name: here}]}}
  - {name: there, port: ${PORT}, protocol: TLS, hostname: '*.example.com', tls: {mode: Passthrough}}
  - {name: rest, port: ${PORT}, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}
";
    let (mut world, _servers) = world(listeners, &["far"], &["plain"]).await;
    world.add_backend(Backend::start("v1").await).await;
    let web = world.certificate("web", &["www.example.com"]).await;
    let here = world.certificate("here", &["mqtt.example.com"]).await;
    world
        .apply(
            &[
                http_route("web", "rules: [{backendRefs: [{name: v1, port: 8080}]}]"),
                tls_route("plain", "sectionName: here", "[mqtt.example.com]", &backend("plain")),
                tls_route("far", "sectionName: there", "[far.example.com]", &backend("far")),
            ]
            .concat(),
        )
        .await;
    for listener in ["web", "here", "there", "rest"] {
        world.assert_status(
            &format!("Gateway/gw/{listener}"),
            &["Accepted=True Accepted", "Programmed=True Programmed", "Conflicted=False NoConflicts"],
        );
    }
    let port = world.port("PORT");
    // TLS ended here: the backend saw none.
    let wire = greeted(port, "mqtt.example.com", "plain").await;
    assert_eq!(wire.peer_certificate(), Some(here.der.as_slice()));
    greeted(port, "far.example.com", "far far.example.com").await;
    for (sni, host, want) in [
        (Some("www.example.com"), "www.example.com", Want::Backend("v1")),
        (Some("other.org"), "other.org", Want::Backend("v1")),
        (None, "other.org", Want::Backend("v1")),
        // These connections were not made for those hosts (GEP-3567).
        (Some("www.example.com"), "other.org", Want::Status(421)),
        (Some("www.example.com"), "mqtt.example.com", Want::Status(421)),
        (Some("other.org"), "far.example.com", Want::Status(421)),
    ] {
        let tls = sni.map_or_else(ClientTls::without_sni, ClientTls::any);
        for call in [world.call(host, "/").tls(tls.clone()), world.call(host, "/").tls(tls).h2()] {
            let answer = world.expect(call, want).await;
            assert_eq!(answer.peer_certificate.as_deref(), Some(web.der.as_slice()));
        }
    }
    refused(port, ClientTls::any("nobody.example.com")).await;
    // A listener for anything agrees on no application protocol.
    let call = world.call("mqtt.example.com", "/").tls(ClientTls::any("mqtt.example.com"));
    assert!(call.h2().send().await.is_err());
    world.assert_nothing_rejected().await;
}

/// A TCPRoute takes what is inside of TLS, whatever the server name is; a TLSRoute beside it takes its own.
#[tokio::test]
async fn a_tcp_route_behind_tls() {
    let listeners = "  - {name: tls, port: ${PORT}, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: cert}]}}";
    let (mut world, _servers) = world(listeners, &[], &["rest", "named"]).await;
    world.certificate("cert", &["a.example.org"]).await;
    world
        .apply(
            &[
                route("TCPRoute", "rest", "rules: [{backendRefs: [{name: rest, port: 8080}]}]"),
                tls_route("named", "", "['*.example.org']", &backend("named")),
            ]
            .concat(),
        )
        .await;
    let port = world.port("PORT");
    greeted(port, "a.example.org", "named").await;
    greeted(port, "example.com", "rest").await;
    let wire = Wire::open_tls(port, &ClientTls::without_sni()).await.unwrap();
    assert_eq!(wire.greeting(), "rest");
    assert_eq!(world.attached_routes("gw", "tls"), 2);
    // Without a certificate there is no listener.
    world.delete("Secret", "cert").await;
    world.assert_status(
        "Gateway/gw/tls",
        &["Programmed=False Invalid", "ResolvedRefs=False InvalidCertificateRef"],
    );
}

/// Invalid shares are refused where TLS ends here and where it does not, and the rest is served.
#[tokio::test]
async fn invalid_shares_and_routes_to_nowhere() {
    let (mut world, _servers) = world(PASSTHROUGH, &["good"], &[]).await;
    let port = world.port("PORT");
    for (backends, reason) in [
        ("{name: gone, port: 8080}", "BackendNotFound"),
        ("{name: good, kind: NonExistent, group: unknownkind.example.com, port: 8080}", "InvalidKind"),
        ("{name: good, namespace: elsewhere, port: 8080}", "RefNotPermitted"),
    ] {
        world.apply(&tls_route("r", "sectionName: rest", "[example.org]", backends)).await;
        world.assert_status(
            "TLSRoute/r",
            &["Accepted=True Accepted", &format!("ResolvedRefs=False {reason}")],
        );
        refused(port, ClientTls::any("example.org")).await;
    }
    let split = "{name: good, port: 8080, weight: 3}, {name: gone, port: 8080, weight: 1}";
    world.apply(&tls_route("r", "sectionName: rest", "[example.org]", split)).await;
    greeted(port, "example.org", "good example.org").await;
    let mut good = 0_usize;
    for _ in 0..400 {
        good += usize::from(Wire::open_tls(port, &ClientTls::any("example.org")).await.is_ok());
    }
    // Five standard deviations of 400 with 75 %.
    assert!(good.abs_diff(300) < 44, "{good} of 400");
    world
        .apply(&tls_route("r", "sectionName: exact", "[example.org, '*.example.net']", &backend("good")))
        .await;
    world.assert_status("TLSRoute/r", &["Accepted=False NoMatchingListenerHostname"]);
    world.apply(&tls_route("r", "sectionName: gone", "[example.org]", &backend("good"))).await;
    world.assert_status("TLSRoute/r", &["Accepted=False NoMatchingParent"]);
    for listener in ["exact", "wild", "rest"] {
        assert_eq!(world.attached_routes("gw", listener), 0);
    }
}

/// A route with as many hostnames as anybody could want, some of them wildcards.
#[tokio::test]
async fn thousands_of_hostnames() {
    let (mut world, _servers) = world(PASSTHROUGH, &["many", "one"], &[]).await;
    let hostname = |number: usize| match number % 8 {
        0 => format!("'*.w{number}.example.org'"),
        _ => format!("h{number}.example.org"),
    };
    let hostnames = |count: usize| format!("[{}]", (0..count).map(hostname).collect::<Vec<_>>().join(", "));
    world.apply(&tls_route("many", "sectionName: rest", &hostnames(4096), &backend("many"))).await;
    let port = world.port("PORT");
    let mut wire = greeted(port, "h4095.example.org", "many h4095.example.org").await;
    for host in ["h1.example.org", "x.w0.example.org", "a.b.w4088.example.org"] {
        greeted(port, host, &format!("many {host}")).await;
    }
    // Another route gets one of them, and some go: the connections stay.
    world.apply(&tls_route("a-newer-one", "sectionName: rest", "[new.example.org]", &backend("one"))).await;
    world.apply(&tls_route("many", "sectionName: rest", &hostnames(4000), &backend("many"))).await;
    refused(port, ClientTls::any("h4095.example.org")).await;
    greeted(port, "new.example.org", "one new.example.org").await;
    assert_eq!(wire.ask("x").await.unwrap(), "many x");
    world.assert_nothing_rejected().await;
}

/// Everything that can happen beside a connection happens, and longer than Envoy drains what it drains.
#[tokio::test]
async fn edits_end_no_connection_that_they_are_not_about() {
    let listeners = "
  - {name: here, port: ${PORT}, protocol: TLS, hostname: '*.here.example.com', tls: {mode: Terminate, certificateRefs: [{name: cert}]}}
  - {name: there, port: ${PORT}, protocol: TLS, hostname: '*.there.example.com', tls: {mode: Passthrough}}
";
    let (mut world, _servers) = world(listeners, &["far", "further"], &["near"]).await;
    let authority = Authority::new("test");
    world.apply(&tls_secret("default", "cert", &authority.issue(&["*.here.example.com"]))).await;
    let near = |hostnames: &str| tls_route("near", "sectionName: here", hostnames, &backend("near"));
    let far = |hostnames: &str, name: &str| tls_route("far", "sectionName: there", hostnames, &backend(name));
    world.apply(&[near("[a.here.example.com]"), far("[a.there.example.com]", "far")].concat()).await;
    let port = world.port("PORT");
    let mut kept = vec![
        greeted(port, "a.here.example.com", "near").await,
        greeted(port, "a.there.example.com", "far a.there.example.com").await,
    ];
    for round in 0..4 {
        // Hostnames come and go, also the one that a connection was made for; backends change; routes come and go.
        world.apply(&near("[b.here.example.com, c.here.example.com]")).await;
        refused(port, ClientTls::any("a.here.example.com")).await;
        world.apply(&far("[b.there.example.com, a.there.example.com]", "further")).await;
        greeted(port, "b.there.example.com", "further b.there.example.com").await;
        let other = format!("other-{round}.there.example.com");
        world.apply(&tls_route("other", "sectionName: there", &format!("[{other}]"), &backend("far"))).await;
        greeted(port, &other, &format!("far {other}")).await;
        world.delete("TLSRoute", "other").await;
        refused(port, ClientTls::any(&other)).await;
        world.apply(&tls_secret("default", "cert", &authority.issue(&["*.here.example.com"]))).await;
        world.apply(&[near("[a.here.example.com]"), far("[a.there.example.com]", "far")].concat()).await;
        kept.push(greeted(port, "a.here.example.com", "near").await);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    for (index, wire) in kept.iter_mut().enumerate() {
        let answer = wire.ask("x").await.unwrap_or_else(|error| panic!("connection {index}: {error}"));
        assert!(["near x", "far x"].contains(&answer.as_str()), "connection {index}: {answer}");
    }
    // Envoy replaced filter chains in place, and never the listener.
    let stats = world.envoy("gw").stats("listener_manager.listener_(modified|in_place_updated)$").await;
    let of = |name: &str| stats.iter().find(|it| it.0.ends_with(name)).map_or(0, |it| *it.1);
    assert_eq!(of("listener_modified"), of("listener_in_place_updated"), "{stats:?}");
    assert!(of("listener_in_place_updated") > 4, "{stats:?}");
    world.assert_nothing_rejected().await;
}
