//! GRPCRoute. The backends speak HTTP/2 and do not look into messages, which is all that routing is about.

use postern_e2e::{Call, Want, World, http_route};

fn grpc_route(name: &str, spec: &str) -> String {
    let head = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  parentRefs: [{{name: gw}}]\n"
    );
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("---\n{head}{spec}")
}

fn method(world: &mut World, path: &str) -> Call {
    let call = world.call("example.org", path).h2().method("POST");
    call.header("content-type", "application/grpc").header("te", "trailers").body("\0\0\0\0\0")
}

/// The backend that a method leads to, or the gRPC status that Envoy answers itself.
async fn leads(world: &mut World, path: &str, header: Option<(&str, &str)>) -> String {
    let call = method(world, path);
    let call = header.map_or(call.clone(), |(name, value)| call.header(name, value));
    let answer = call.send().await.unwrap();
    answer.header("grpc-status").map_or_else(|| answer.backend(), |status| format!("grpc-status {status}"))
}

#[tokio::test]
async fn methods_and_metadata() {
    let mut world = World::with_backends(&["add", "cart", "check", "listing", "v2", "rest"]).await;
    let rules = "rules:
- matches: [{method: {service: shop.Cart, method: Add}}]
  backendRefs: [{name: add, port: 8080}]
- matches: [{method: {service: shop.Cart}}]
  backendRefs: [{name: cart, port: 8080}]
- matches: [{method: {method: Check}}]
  backendRefs: [{name: check, port: 8080}]
- matches: [{method: {type: RegularExpression, service: 'stock\\.[A-Z]\\w+', method: 'List.*'}}]
  backendRefs: [{name: listing, port: 8080}]
- matches: [{headers: [{name: x-version, value: '2'}]}]
  backendRefs: [{name: v2, port: 8080}]
- matches: [{method: {service: other.Service}}]
  backendRefs: [{name: rest, port: 8080}]
";
    world.apply(&grpc_route("r", rules)).await;
    let call = method(&mut world, "/shop.Cart/Add");
    world.expect_that(call, "the route is there", |answer| answer.backend() == "add").await;
    for (path, header, expected) in [
        ("/shop.Cart/Add", None, "add"),
        ("/shop.Cart/Remove", None, "cart"),
        // More characters of the service win, then more of the method.
        ("/shop.Cart/Check", None, "cart"),
        ("/any.Other/Check", None, "check"),
        ("/stock.Items/ListAll", None, "listing"),
        ("/stock.items/ListAll", None, "grpc-status 12"),
        ("/any.Other/Get", Some(("x-version", "2")), "v2"),
        ("/any.Other/Get", Some(("x-version", "3")), "grpc-status 12"),
        ("/other.Service/Get", Some(("x-version", "2")), "rest"),
    ] {
        assert_eq!(leads(&mut world, path, header).await, expected, "{path} {header:?}");
    }
    let seen = world.backend("add").seen().pop().unwrap();
    assert_eq!((seen.version.as_str(), seen.header("te").as_deref()), ("HTTP/2.0", Some("trailers")));
    let plain = world.call("example.org", "/shop.Cart/Add").h2().method("POST").send().await.unwrap();
    assert_eq!(plain.status, 404, "what is not gRPC does not match");
}

#[tokio::test]
async fn filters_weights_and_missing_backends() {
    let mut world = World::with_backends(&["a", "b"]).await;
    let rules = "rules:
- matches: [{method: {service: filtered.Service}}]
  filters:
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: set}], remove: [x-gone]}}
  - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-answer, value: added}]}}
  backendRefs: [{name: a, port: 8080}]
- matches: [{method: {service: weighted.Service}}]
  backendRefs: [{name: a, port: 8080, weight: 3}, {name: b, port: 8080, weight: 1}]
- matches: [{method: {service: nobody.Service}}]
- matches: [{method: {service: half.Service}}]
  backendRefs: [{name: a, port: 8080}, {name: gone, port: 8080}]
";
    world.apply(&grpc_route("r", rules)).await;
    let call = method(&mut world, "/filtered.Service/M").header("x-gone", "1");
    let answer =
        world.expect_that(call, "the header", |it| it.header("x-answer").as_deref() == Some("added")).await;
    let seen = answer.seen().unwrap();
    assert_eq!((seen.header("x-set").as_deref(), seen.header("x-gone")), (Some("set"), None));
    assert_eq!(leads(&mut world, "/nobody.Service/M", None).await, "grpc-status 14", "UNAVAILABLE");
    let mut to_a = 0;
    let mut unavailable = 0;
    for _ in 0..400 {
        to_a += usize::from(leads(&mut world, "/weighted.Service/M", None).await == "a");
        unavailable += usize::from(leads(&mut world, "/half.Service/M", None).await == "grpc-status 14");
    }
    assert!((260..=340).contains(&to_a), "{to_a} of 400, expected about 300");
    assert!((150..=250).contains(&unavailable), "{unavailable} of 400, expected about 200");
    world.assert_status("GRPCRoute/r", &["Accepted=True Accepted", "ResolvedRefs=False BackendNotFound"]);
}

/// The Gateway API leaves it open whether an HTTPRoute and a GRPCRoute may share a hostname; here they may, so that a site and
/// its gRPC services live under one name. What is gRPC is for the GRPCRoute, whatever the HTTPRoute matches, and the other way round
/// what it does not match is for the HTTPRoute.
#[tokio::test]
async fn an_http_route_and_a_grpc_route_share_a_hostname() {
    let mut world = World::with_backends(&["site", "cart"]).await;
    let rules = "
hostnames: [example.org]
rules:
- matches: [{path: {type: Exact, value: /shop.Cart/Add}}, {path: {value: /}}]
  backendRefs: [{name: site, port: 8080}]
";
    world.apply(&http_route("site", rules)).await;
    let call = method(&mut world, "/shop.Cart/Add");
    world.expect(call, Want::Backend("site")).await;
    let rules = "hostnames: [example.org]
rules:
- matches: [{method: {service: shop.Cart}}]
  backendRefs: [{name: cart, port: 8080}]
";
    world.apply(&grpc_route("cart", rules)).await;
    for route in ["HTTPRoute/site", "GRPCRoute/cart"] {
        world.assert_status(route, &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]);
    }
    assert_eq!(world.attached_routes("gw", "http"), 2);
    let call = method(&mut world, "/shop.Cart/Add");
    world.expect(call, Want::Backend("cart")).await;
    assert_eq!(leads(&mut world, "/shop.Stock/List", None).await, "site", "no GRPCRoute has the service");
    let page = world.call("example.org", "/shop.Cart/Add").h2().method("POST");
    assert_eq!(page.send().await.unwrap().backend(), "site", "a request that is not gRPC");
    world.delete("GRPCRoute", "cart").await;
    let call = method(&mut world, "/shop.Cart/Add");
    world.expect(call, Want::Backend("site")).await;
}
