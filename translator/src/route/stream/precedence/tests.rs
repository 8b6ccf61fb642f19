use std::sync::Arc;

use super::*;
use crate::dependency::tests::yaml;
use crate::infrastructure::Port;

fn host(text: &str) -> Hostname {
    Hostname::parse_optional(Some(text)).unwrap()
}

/// A share of the route `name`, made on this day of a month, at the listener `l`; `hosts` are pairs of what the listener leaves
/// and what the route says.
fn share(kind: Kind, name: &str, day: u32, hosts: &[(&str, &str)]) -> StreamShare {
    let age = format!("{{namespace: a, name: {name}, creationTimestamp: '2026-01-{day:02}T00:00:00Z'}}");
    StreamShare {
        port: if kind == Kind::UdpRoute { Port::udp(443) } else { Port::tcp(443) },
        listener: ListenerId { set: None, name: "l".to_owned() },
        kind,
        age: Age::of(&yaml(&age)),
        hosts: hosts.iter().map(|(narrowed, own)| (host(narrowed), host(own))).collect(),
        targets: Arc::new([]),
    }
}

/// `host: route` for everything that somebody gets at the listener `l`.
fn winners(shares: &[StreamShare]) -> Vec<String> {
    let precedence = Precedence::of(shares);
    let listener = ListenerId { set: None, name: "l".to_owned() };
    let all = precedence.of_listener(&listener);
    let all: Vec<String> = all.map(|(host, share)| format!("{host}: {}", share.route())).collect();
    // Whoever came first to the table, the result is the same.
    let reversed = Precedence::of(shares.iter().rev());
    let others = reversed.of_listener(&listener).map(|(host, share)| format!("{host}: {}", share.route()));
    assert_eq!(others.collect::<Vec<_>>(), all);
    all
}

fn warnings(shares: &[StreamShare]) -> Vec<String> {
    let problems = Precedence::of(shares).problems("infra/gw");
    problems.iter().map(|it| format!("{} {}: {}", it.object, it.field, it.message)).collect()
}

#[test]
fn the_oldest_has_it_and_the_others_are_told() {
    let shares = [
        share(Kind::TcpRoute, "young", 2, &[("*", "*")]),
        share(Kind::TcpRoute, "b", 1, &[("*", "*")]),
        share(Kind::TcpRoute, "a", 1, &[("*", "*")]),
    ];
    assert_eq!(winners(&shares), ["*: TCPRoute a/a"]);
    let lost = |route: &str| {
        format!(
            "TCPRoute a/{route} spec.parentRefs: the connections to listener l of Gateway infra/gw go to TCPRoute a/a, which takes precedence"
        )
    };
    assert_eq!(warnings(&shares), [lost("b"), lost("young")]);
    assert_eq!(winners(&shares[..2]), ["*: TCPRoute a/b"], "without the first, the next of the same age");
    assert_eq!(warnings(&shares[..1]), [""; 0]);
    let both = [share(Kind::UdpRoute, "a", 1, &[("*", "*")]), share(Kind::UdpRoute, "b", 1, &[("*", "*")])];
    assert!(warnings(&both)[0].contains("the datagrams to listener l"), "{:?}", warnings(&both));
}

#[test]
fn each_host_has_a_winner_of_its_own() {
    let shares = [
        share(Kind::TlsRoute, "old", 1, &[("a.x.org", "a.x.org"), ("b.x.org", "b.x.org")]),
        share(Kind::TlsRoute, "new", 2, &[("a.x.org", "a.x.org"), ("c.x.org", "c.x.org")]),
    ];
    let all = ["a.x.org: TLSRoute a/old", "b.x.org: TLSRoute a/old", "c.x.org: TLSRoute a/new"];
    assert_eq!(winners(&shares), all);
    let message = "TLSRoute a/new spec.hostnames: the connections for a.x.org to listener l of Gateway infra/gw go to \
                   TLSRoute a/old, which takes precedence";
    assert_eq!(warnings(&shares), [message]);
    let routes: Vec<String> = Precedence::of(&shares).routes().iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["TLSRoute a/new", "TLSRoute a/old"]);
}

/// What the routes say decides before their age does (`GatewayRouteHostnameIntersectionPrecedence`), also where the listener
/// leaves the same host of both.
#[test]
fn the_original_hostname_goes_before_age() {
    let shares = [
        share(Kind::TlsRoute, "wide", 1, &[("a.x.org", "*.org")]),
        share(Kind::TlsRoute, "narrow", 2, &[("a.x.org", "*.x.org")]),
        share(Kind::TlsRoute, "exact", 3, &[("a.x.org", "a.x.org")]),
    ];
    assert_eq!(winners(&shares), ["a.x.org: TLSRoute a/exact"]);
    assert_eq!(winners(&shares[..2]), ["a.x.org: TLSRoute a/narrow"]);
}

#[test]
fn many_lost_hosts_are_one_warning() {
    let hosts = [("a.x.org", "a.x.org"), ("b.x.org", "b.x.org"), ("c.x.org", "c.x.org")];
    let lost = |count| {
        let shares =
            [share(Kind::TlsRoute, "old", 1, &hosts), share(Kind::TlsRoute, "new", 2, &hosts[..count])];
        warnings(&shares)
    };
    assert!(lost(2)[0].contains("for a.x.org and one more host to"), "{:?}", lost(2));
    assert!(lost(3)[0].contains("for a.x.org and 2 more hosts to"), "{:?}", lost(3));
    assert_eq!(lost(3).len(), 1);
}

#[test]
fn listeners_have_nothing_to_do_with_each_other() {
    let other = StreamShare {
        listener: ListenerId { set: None, name: "other".to_owned() },
        ..share(Kind::TlsRoute, "other", 1, &[("a.x.org", "a.x.org")])
    };
    let shares = [share(Kind::TlsRoute, "mine", 2, &[("a.x.org", "a.x.org")]), other];
    assert_eq!(winners(&shares), ["a.x.org: TLSRoute a/mine"]);
    assert_eq!(warnings(&shares), [""; 0]);
}
