//! External authorization, of rules (GEP-1494) and of listeners before the route is chosen (GEP-5224).

use postern_e2e::{
    Asked, AuthorizationServer, Backend, Call, Decision, Reply, Want, World, gateway, http_route, service,
};

/// Lets pass whoever shows the password, tells the backend who it is, and tries what a service must not do.
fn by_password(asked: &Asked) -> Decision {
    if asked.headers.get("x-password").is_some_and(|password| password == "sesame") {
        Decision::Allow(vec![
            ("x-user", "ali"),
            (":path", "/elsewhere"),
            ("host", "evil.example"),
            ("content-length", "3"),
            ("x-postern-scope", "1:evil.example"),
        ])
    } else {
        Decision::Deny(401, "say the word")
    }
}

const GRPC: &str =
    "{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: auth, port: 8080}}}";

fn rule(filter: &str) -> String {
    format!(
        "rules:\n- filters: [{filter}]\n  matches: [{{path: {{value: /guarded}}}}]\n  backendRefs: [{{name: v1, port: 8080}}]\n\
         - matches: [{{path: {{value: /open}}}}]\n  backendRefs: [{{name: v1, port: 8080}}]\n"
    )
}

async fn with_service(decide: fn(&Asked) -> Decision) -> (World, AuthorizationServer) {
    let mut world = World::with_backends(&["v1"]).await;
    let auth = AuthorizationServer::start(decide).await;
    world.apply(&service("default", "auth", "", &[auth.address()])).await;
    (world, auth)
}

#[tokio::test]
async fn a_grpc_service_decides_for_one_rule() {
    let (mut world, auth) = with_service(by_password).await;
    world.apply(&http_route("r", &rule(GRPC))).await;
    let open = world.call("example.org", "/open");
    world.expect(open, Want::Backend("v1")).await;
    assert_eq!(auth.asked().len(), 0, "nobody is asked where nothing is guarded");

    let denied = world.call("example.org", "/guarded").send().await.unwrap();
    assert_eq!((denied.status, denied.text().as_str()), (401, "say the word"));
    assert_eq!(world.backend("v1").count("/guarded"), 0);

    let body = "x".repeat(50);
    let call = world.call("example.org", "/guarded?a=b").method("POST").body(&body);
    let passed = call.header("x-password", "sesame").header("x-user", "somebody else").send().await.unwrap();
    let seen = passed.seen().unwrap();
    assert_eq!(seen.header("x-user").as_deref(), Some("ali"), "the service has the last word");
    assert_eq!((seen.path.as_str(), seen.host.as_str()), ("/guarded?a=b", "example.org"), "but not on these");
    assert_eq!(seen.body, body);
    let asked = auth.asked().pop().unwrap();
    assert_eq!(asked.path, "/guarded?a=b");
    assert!(asked.body.is_empty(), "bodies are not sent unless asked for");
    assert!(asked.headers.contains_key("x-user"), "without a list the service gets all headers");
}

/// The route of a host in upper case or of a wildcard is found late; the guard must stand there too.
#[tokio::test]
async fn nobody_gets_around_it() {
    let (mut world, _auth) = with_service(by_password).await;
    let listeners = "  - {name: exact, port: ${PORT}, protocol: HTTP, hostname: a.example.org}\n  - {name: wild, port: ${PORT}, protocol: HTTP, hostname: '*.example.org'}\n  - {name: any, port: ${PORT}, protocol: HTTP}";
    world.apply(&[gateway(listeners), http_route("r", &rule(GRPC))].concat()).await;
    let call = world.call("a.example.org", "/open");
    world.expect(call, Want::Backend("v1")).await;
    for host in
        ["a.example.org", "A.EXAMPLE.ORG", "b.example.org", "B.Example.org", "other.test", "a.example.org:99"]
    {
        let call = world.call(host, "/guarded");
        assert_eq!(call.send().await.unwrap().status, 401, "{host}");
        assert_eq!(call.clone().h2().send().await.unwrap().status, 401, "{host}, HTTP/2");
        assert_eq!(call.header("x-password", "sesame").send().await.unwrap().status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_asked_closes_the_rule() {
    let (mut world, auth) = with_service(by_password).await;
    world.apply(&http_route("r", &rule(GRPC))).await;
    let good = world.call("example.org", "/guarded").header("x-password", "sesame");
    world.expect(good.clone(), Want::Backend("v1")).await;

    drop(auth);
    world.expect(good.clone(), Want::Status(403)).await;
    world.delete("Service", "auth").await;
    world.expect(good, Want::Status(500)).await;
    let open = world.call("example.org", "/open");
    world.expect(open, Want::Backend("v1")).await;
    world.assert_status("HTTPRoute/r", &["Accepted=True Accepted", "ResolvedRefs=False BackendNotFound"]);
    assert!(
        world.problems().contains("spec.rules[0].filters[0].externalAuth.backendRef.name"),
        "{}",
        world.problems()
    );
}

#[tokio::test]
async fn bodies_and_headers_that_a_grpc_service_gets() {
    let (mut world, auth) = with_service(|_| Decision::Allow(vec![])).await;
    let filter = "{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: auth, port: 8080}, \
                  grpc: {allowedHeaders: [X-Wanted]}, forwardBody: {maxSize: 10}}}";
    world.apply(&http_route("r", &rule(filter))).await;
    let call =
        world.call("example.org", "/guarded").method("POST").header("x-wanted", "1").header("x-other", "2");
    world.expect(call.clone().body("short"), Want::Backend("v1")).await;
    let asked = auth.asked().pop().unwrap();
    assert_eq!(asked.body, b"short");
    assert!(asked.headers.contains_key("x-wanted") && !asked.headers.contains_key("x-other"), "{asked:?}");
    let long = call.body("longer than that").send().await.unwrap();
    assert_eq!(long.status, 413);
    assert_eq!(world.backend("v1").seen().iter().filter(|it| it.body.len() > 10).count(), 0);
}

#[tokio::test]
async fn an_http_service_decides() {
    let mut world = World::with_backends(&["v1"]).await;
    let auth = Backend::replying("auth", |seen| {
        if seen.header("authorization").as_deref() == Some("Bearer good") {
            Reply::Headers(vec![("x-user", "ali"), ("x-internal", "1"), ("content-type", "text/made-up")])
        } else {
            Reply::Status(418)
        }
    });
    world.add_backend(auth.await).await;
    let filter = |http: &str| {
        format!(
            "{{type: ExternalAuth, externalAuth: {{protocol: HTTP, backendRef: {{name: auth, port: 8080}}, http: {http}}}}}"
        )
    };
    world.apply(&http_route("r", &rule(&filter("{path: /check}")))).await;
    let call =
        world.call("example.org", "/guarded/x?q=1").method("POST").body("hello").header("x-secret", "1");
    world.expect(call.clone(), Want::Status(418)).await;
    let asked = world.backend("auth").seen().pop().unwrap();
    assert_eq!(asked.path, "/check/guarded/x?q=1");
    assert_eq!((asked.method.as_str(), asked.host.as_str()), ("POST", "example.org"));
    assert_eq!((asked.body.as_str(), asked.header("content-length").as_deref()), ("", Some("0")));
    assert_eq!(asked.header("x-secret"), None, "only what is always sent");

    let good = call.header("authorization", "Bearer good");
    let seen = world.expect(good.clone(), Want::Backend("v1")).await.seen().unwrap();
    assert_eq!(seen.header("x-user").as_deref(), Some("ali"), "without a list the backend gets all headers");
    assert_eq!(seen.header("x-internal").as_deref(), Some("1"));
    assert_eq!((seen.body.as_str(), seen.host.as_str()), ("hello", "example.org"));

    let narrow = "{allowedHeaders: [x-secret], allowedResponseHeaders: [X-User]}";
    world.apply(&http_route("r", &rule(&filter(narrow)))).await;
    let narrowed = world
        .expect_that(good, "no x-internal", |answer| {
            answer.seen().is_some_and(|seen| seen.backend == "v1" && seen.header("x-internal").is_none())
        })
        .await;
    assert_eq!(narrowed.seen().unwrap().header("x-user").as_deref(), Some("ali"));
    let asked = world.backend("auth").seen().pop().unwrap();
    assert_eq!((asked.path.as_str(), asked.header("x-secret").as_deref()), ("/guarded/x?q=1", Some("1")));
}

/// Decides who somebody is; routes are chosen by that.
fn identity(asked: &Asked) -> Decision {
    match asked.headers.get("x-token").map(String::as_str) {
        Some("gold") => Decision::Allow(vec![("x-tier", "gold"), (":authority", "evil.example")]),
        Some("move") => Decision::Allow(vec![(":path", "/moved")]),
        Some(_) => Decision::Allow(vec![]),
        None => Decision::Deny(401, "who are you"),
    }
}

#[tokio::test]
async fn a_filter_of_a_listener_comes_before_the_route() {
    let (mut world, auth) = with_service(identity).await;
    world.add_backend(Backend::start("gold").await).await;
    world.add_backend(Backend::start("moved").await).await;
    let filters = format!("filters: {{requests: [{GRPC}]}}");
    let listeners = format!(
        "  - {{name: guarded, port: ${{PORT}}, protocol: HTTP, hostname: guarded.test, {filters}}}\n  \
         - {{name: wild, port: ${{PORT}}, protocol: HTTP, hostname: '*.guarded.test', {filters}}}\n  \
         - {{name: open, port: ${{PORT}}, protocol: HTTP}}"
    );
    let rules = "rules:
- matches: [{path: {value: /only}, headers: [{name: x-tier, value: gold}]}]
  backendRefs: [{name: gold, port: 8080}]
- matches: [{path: {value: /moved}}]
  backendRefs: [{name: moved, port: 8080}]
- matches: [{path: {value: /v1}}]
  backendRefs: [{name: v1, port: 8080}]
";
    world.apply(&[gateway(&listeners), http_route("r", rules)].concat()).await;
    let port = world.port("PORT");
    for host in ["guarded.test", "GUARDED.test", "a.guarded.test", "A.Guarded.test"] {
        let call = |path: &str, token: Option<&str>| {
            let call = Call::get(port, host, path);
            token.map_or(call.clone(), |token| call.header("x-token", token))
        };
        world.expect(call("/v1", None), Want::Status(401)).await;
        world.expect(call("/nowhere", None), Want::Status(401)).await;
        world.expect(call("/v1", Some("any")), Want::Backend("v1")).await;
        world.expect(call("/only", Some("any")), Want::Status(404)).await;
        let gold = world.expect(call("/only", Some("gold")), Want::Backend("gold")).await;
        assert_eq!(gold.seen().unwrap().host.to_lowercase(), host.to_lowercase(), "the host is the client's");
        world.expect(call("/v1", Some("move")), Want::Backend("moved")).await;
        // What the client says itself counts for nothing where the service speaks.
        let liar = call("/only", None).header("x-tier", "gold");
        world.expect(liar, Want::Status(401)).await;
    }
    let before = auth.asked().len();
    let open = world.call("open.test", "/v1");
    world.expect(open, Want::Backend("v1")).await;
    assert_eq!(auth.asked().len(), before, "the other listener asks nobody");
}

#[tokio::test]
async fn a_listener_whose_filter_cannot_be_carried_out_is_closed() {
    let (mut world, _auth) = with_service(identity).await;
    let listeners = |filter: &str| {
        gateway(&format!(
            "  - {{name: guarded, port: ${{PORT}}, protocol: HTTP, hostname: guarded.test, filters: {{requests: [{filter}]}}}}\n  \
             - {{name: open, port: ${{PORT}}, protocol: HTTP, hostname: open.test}}"
        ))
    };
    let rules = "rules: [{backendRefs: [{name: v1, port: 8080}]}]\n";
    world.apply(&[listeners(GRPC), http_route("r", rules)].concat()).await;
    let (guarded, open) = (world.call("guarded.test", "/"), world.call("open.test", "/"));
    world.expect(guarded.clone().header("x-token", "any"), Want::Backend("v1")).await;
    for (filter, conditions) in [
        (
            GRPC.replace("name: auth", "name: gone"),
            ["ResolvedRefs=False BackendNotFound", "Programmed=False Invalid"],
        ),
        (
            "{type: URLRewrite, urlRewrite: {hostname: a.b}}".to_owned(),
            ["Accepted=False UnsupportedValue", "Programmed=False Invalid"],
        ),
    ] {
        world.apply(&listeners(&filter)).await;
        world.expect(guarded.clone().header("x-token", "any"), Want::Status(404)).await;
        world.expect(open.clone(), Want::Backend("v1")).await;
        world.assert_status("Gateway/gw/guarded", &conditions);
        world.assert_status("Gateway/gw/open", &["Programmed=True *"]);
    }
}
