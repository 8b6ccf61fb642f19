//! `Backend` of type DynamicForwardProxy: requests go to the host that they name, and not to where no client may get.

use std::net::Ipv4Addr;

use postern_e2e::{
    Authority, Backend, Load, Reply, Stream, Want, World, covers, gateway, http_route, route, service,
    static_backend, traffic_policy,
};

const LISTENERS: &str = "  - {name: http, port: ${PORT}, protocol: HTTP}";
/// In the tests no request may get to this address, as in a cluster none may get to a proxy itself.
const HIDDEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn proxy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.kgateway.dev/v1alpha1\nkind: Backend\nmetadata: {{name: {name}, namespace: default, generation: 1}}\n\
         spec: {{type: DynamicForwardProxy, dynamicForwardProxy: {{{spec}}}}}\n---\n"
    )
}

fn to(backend: &str) -> String {
    format!("{{group: gateway.kgateway.dev, kind: Backend, name: {backend}}}")
}

fn everything_to(backend: &str) -> String {
    http_route("r", &format!("rules: [{{backendRefs: [{}]}}]", to(backend)))
}

async fn world() -> World {
    let mut world =
        World::with_options(|options| options.forward_proxy_denied = vec!["127.0.0.2/32".parse().unwrap()])
            .await;
    let objects =
        [gateway(LISTENERS), proxy("any", ""), proxy("secure", "enableTls: true"), everything_to("any")];
    world.apply(&objects.concat()).await;
    world.assert_status("Backend/any", &["Accepted=True Accepted"]);
    world
}

#[tokio::test]
async fn requests_go_to_the_host_that_they_name() {
    covers!("Backend.spec.type");
    let mut world = world().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    for name in ["one.test", "two.test"] {
        world.names().set(name, &[Ipv4Addr::LOCALHOST]);
    }
    for _ in 0..3 {
        for (name, backend, want) in
            [("one.test", &one, "one"), ("two.test", &two, "two"), ("127.0.0.1", &two, "two")]
        {
            let host = format!("{name}:{}", backend.address().port());
            let call = world.call(&host, "/");
            let answer = world.expect(call.clone(), Want::Backend(want)).await;
            assert_eq!(answer.seen().unwrap().host, host);
            let answer = call.h2().send().await.unwrap();
            assert_eq!(
                (answer.backend().as_str(), answer.seen().unwrap().version.as_str()),
                (want, "HTTP/1.1")
            );
        }
    }
    // The name is unknown, or nobody is there.
    for host in ["unknown.test", "127.0.0.1:1", "127.1:80"] {
        assert_eq!(world.call(host, "/").send().await.unwrap().status, 503, "{host}");
    }
    // A second Backend of the type has the same hosts from the first request on.
    let route = http_route(
        "s",
        &format!("rules: [{{matches: [{{path: {{value: /s}}}}], backendRefs: [{}]}}]", to("second")),
    );
    world.apply(&[proxy("second", "enableTls: false"), route].concat()).await;
    let call = world.call(&format!("one.test:{}", one.address().port()), "/s");
    assert_eq!(call.send().await.unwrap().backend(), "one");
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn hosts_prove_their_names() {
    covers!("Backend.spec.dynamicForwardProxy.enableTls");
    let mut world = world().await;
    world.apply(&everything_to("secure")).await;
    let one = Backend::tls("one", &world.authority().issue(&["one.test", "127.0.0.1"])).await;
    let stranger = Backend::tls("stranger", &Authority::new("unknown").issue(&["stranger.test"])).await;
    let plain = Backend::start("plain").await;
    for name in ["one.test", "other.test", "stranger.test", "plain.test"] {
        world.names().set(name, &[Ipv4Addr::LOCALHOST]);
    }
    let port = one.address().port();
    let call = world.call(&format!("one.test:{port}"), "/");
    let seen = world.expect(call, Want::Backend("one")).await.seen().unwrap();
    assert_eq!((seen.sni.as_deref(), seen.version.as_str()), (Some("one.test"), "HTTP/2.0"));
    let call = world.call(&format!("127.0.0.1:{port}"), "/");
    world.expect(call, Want::Backend("one")).await;
    for (name, backend) in [("other.test", &one), ("stranger.test", &stranger), ("plain.test", &plain)] {
        let call = world.call(&format!("{name}:{}", backend.address().port()), "/");
        assert_eq!(call.send().await.unwrap().status, 503, "{name}");
    }
    // The same host without TLS, by another Backend, changes nothing for this one.
    let route = http_route(
        "p",
        &format!("rules: [{{matches: [{{path: {{value: /plain}}}}], backendRefs: [{}]}}]", to("any")),
    );
    world.apply(&route).await;
    let call = world.call(&format!("one.test:{port}"), "/plain");
    world.expect(call, Want::Status(502)).await;
    let call = world.call(&format!("plain.test:{}", plain.address().port()), "/plain");
    world.expect(call, Want::Backend("plain")).await;
    let call = world.call(&format!("one.test:{port}"), "/");
    assert_eq!(call.send().await.unwrap().backend(), "one");
    world.assert_nothing_rejected().await;
}

/// By address, by name, by one name among several addresses, whatever their order: the DNS is that of an attacker.
#[tokio::test]
async fn addresses_that_nobody_gets_to() {
    let mut world = world().await;
    let hidden = Backend::at("hidden", (HIDDEN, 0).into()).await;
    let port = hidden.address().port();
    let names = world.names();
    names.set("hidden.test", &[HIDDEN]);
    names.set("first.test", &[HIDDEN, Ipv4Addr::LOCALHOST]);
    names.set("second.test", &[Ipv4Addr::LOCALHOST, HIDDEN]);
    names.set("third.test", &[Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 3), HIDDEN]);
    for host in ["127.0.0.2", "hidden.test", "[::ffff:127.0.0.2]"] {
        let answer = world.call(&format!("{host}:{port}"), "/").send().await.unwrap();
        assert_eq!(answer.status, 403, "{host}");
    }
    for host in ["169.254.169.254", "[fe80::1]", "0.0.0.0", "[::]", "[64:ff9b::a9fe:a9fe]", "224.0.0.1"] {
        assert_eq!(world.call(host, "/").send().await.unwrap().status, 403, "{host}");
    }
    let retries =
        "targetRefs: [{kind: HTTPRoute, name: r}]\nretry: {attempts: 3, retryOn: [connect-failure, 5xx]}\n";
    world.apply(&traffic_policy("p", retries)).await;
    for backend in ["any", "secure"] {
        world.apply(&everything_to(backend)).await;
        for host in ["first.test", "second.test", "third.test"] {
            for _ in 0..20 {
                let answer = world.call(&format!("{host}:{port}"), "/").send().await.unwrap();
                assert!([403, 503].contains(&answer.status), "{host} by {backend}: {}", answer.status);
            }
        }
    }
    assert_eq!(hidden.count(""), 0);
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn one_of_several_backends_and_behind_policies() {
    let mut world = world().await;
    let named = Backend::start("named").await;
    world.add_backend(Backend::start("v1").await).await;
    let host = format!("127.0.0.1:{}", named.address().port());
    let rules = format!("rules: [{{backendRefs: [{}, {{name: v1, port: 8080}}]}}]", to("any"));
    let rbac = "targetRefs: [{kind: HTTPRoute, name: r}]\nrbac: {policy: {matchExpressions: ['request.path != \"/no\"']}}\nautoHostRewrite: true\n";
    world.apply(&[http_route("r", &rules), traffic_policy("p", rbac)].concat()).await;
    let no = world.call(&host, "/no");
    world.expect(no, Want::Status(403)).await;
    let (mut by_name, mut to_service) = (0, 0);
    for _ in 0..60 {
        let answer = world.call(&host, "/").send().await.unwrap();
        match answer.backend().as_str() {
            "named" => by_name += 1,
            "v1" => to_service += 1,
            other => panic!("{other}: {}", answer.status),
        }
        let kept = answer.seen().unwrap().host;
        assert_eq!(kept == host, answer.backend() == "named", "{kept}");
    }
    assert!(by_name >= 10 && to_service >= 10, "{by_name} and {to_service}");
}

/// What needs to know the host before there is a request says so.
#[tokio::test]
async fn what_does_not_go_with_it() {
    let mut world = world().await;
    world.add_backend(Backend::replying("v1", |_| Reply::Echo).await).await;
    let call = world.call("127.0.0.1:1", "/");
    let rule = |text: &str| http_route("r", &format!("rules: [{{backendRefs: [{}], {text}}}]", to("any")));
    for (text, field) in [
        ("filters: [{type: URLRewrite, urlRewrite: {hostname: a.test}}]", "spec.rules[0].filters"),
        ("sessionPersistence: {sessionName: s}", "spec.rules[0].sessionPersistence"),
    ] {
        world.apply(&rule(text)).await;
        assert!(world.problems().contains(field), "{}", world.problems());
        world.expect(call.clone(), Want::Status(500)).await;
    }
    let mirror = format!(
        "rules: [{{filters: [{{type: RequestMirror, requestMirror: {{backendRef: {}}}}}], backendRefs: [{{name: v1, port: 8080}}]}}]",
        to("any")
    );
    world.apply(&http_route("r", &mirror)).await;
    world.expect(call.clone(), Want::Backend("v1")).await;
    assert!(world.problems().contains("leads where requests of clients say"), "{}", world.problems());
    // gRPC needs HTTP/2, which only TLS can ask for.
    let grpc =
        |backend: &str| route("GRPCRoute", "g", &format!("rules: [{{backendRefs: [{}]}}]", to(backend)));
    world.apply(&grpc("any")).await;
    assert!(world.problems().contains("enableTls"), "{}", world.problems());
    world.apply(&grpc("secure")).await;
    assert!(!world.problems().contains("enableTls"), "{}", world.problems());
    let policy = "apiVersion: gateway.kgateway.dev/v1alpha1\nkind: BackendConfigPolicy\nmetadata: {name: c, namespace: default, generation: 1}\n\
                  spec: {targetRefs: [{group: gateway.kgateway.dev, kind: Backend, name: any}], connectTimeout: 1s}\n---\n";
    world.apply(policy).await;
    assert!(world.problems().contains("is of type DynamicForwardProxy"), "{}", world.problems());
    world.assert_nothing_rejected().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_and_goes_under_load() {
    let mut world = world().await;
    let named = Backend::start("named").await;
    world.apply(&service("default", "named", "", &[named.address()])).await;
    let call = world.call(&format!("127.0.0.1:{}", named.address().port()), "/");
    world.expect(call.clone(), Want::Backend("named")).await;
    let listeners = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    let load = Load::start(vec![Stream::kept("kept", call.clone(), 100), Stream::fresh("new", call, 60)]);
    for _ in 0..5 {
        world.apply(&http_route("r", "rules: [{backendRefs: [{name: named, port: 8080}]}]")).await;
        load.goes_on(30).await;
        world.apply(&everything_to("any")).await;
        load.goes_on(30).await;
    }
    load.stop().await.assert_clean(300);
    let after = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    assert_eq!(listeners, after, "the listener is the same");
}

/// Where proxies run in pods, what a Backend names by the DNS is not the proxy itself either, whatever the DNS says.
#[tokio::test]
async fn names_of_static_backends_lead_to_no_proxy() {
    for (in_cluster, want) in [(false, Want::Backend("own")), (true, Want::Status(403))] {
        let mut world = World::with_options(|options| options.provision = in_cluster).await;
        let own = Backend::start("own").await;
        world.names().set("own.test", &[Ipv4Addr::LOCALHOST]);
        let hosts = format!("[{{host: own.test, port: {}}}]", own.address().port());
        let backend = static_backend("own", &hosts);
        world.apply(&[gateway(LISTENERS), backend, everything_to("own")].concat()).await;
        let call = world.call("example.org", "/");
        world.expect(call, want).await;
        world.assert_nothing_rejected().await;
    }
}
