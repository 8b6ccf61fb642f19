//! Access logs of an HTTPListenerPolicy: where they go, and what their lines say.

use std::path::Path;
use std::time::Duration;

use postern_e2e::{Backend, Reply, Want, World, covers, gateway, http_route, until};
use serde_json::Value;

use super::listener_policies::policy;

const ROUTE: &str = "rules: [{backendRefs: [{name: v1, port: 8080}]}]\n";
pub(crate) const TO_GATEWAY: &str = "targetRefs: [{kind: Gateway, name: gw}]";

/// A world with one listener for `a.example.org`, whose backend does what paths say.
pub(crate) async fn world() -> World {
    let mut world = World::empty().await;
    let backend = Backend::replying("v1", |seen| match seen.path.as_str() {
        "/teapot" => Reply::Status(418),
        "/broken" => Reply::Status(503),
        "/slow" => Reply::After(Duration::from_millis(700)),
        "/grpc-unavailable" => {
            Reply::Headers(vec![("content-type", "application/grpc"), ("grpc-status", "14")])
        }
        "/grpc-ok" => Reply::Headers(vec![("content-type", "application/grpc"), ("grpc-status", "0")]),
        "/cut" => Reply::Reset,
        _ => Reply::Headers(vec![("x-answer", "yes")]),
    });
    world.add_backend(backend.await).await;
    let listeners = "  - {name: http, port: ${PORT}, protocol: HTTP, hostname: a.example.org}";
    world.apply(&[gateway(listeners), http_route("r", ROUTE)].concat()).await;
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Status(200)).await;
    world
}

/// The lines of a log once there is one with `mark`; Envoy writes after ten seconds at most.
pub(crate) async fn lines(path: &Path, mark: &str) -> Vec<String> {
    until(&format!("{mark} in {}", path.display()), || async {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if text.contains(mark) { Ok(lines) } else { Err(text) }
    })
    .await
}

#[tokio::test]
async fn files_in_text_and_in_json() {
    covers!(
        "HTTPListenerPolicy.spec.accessLogging",
        "HTTPListenerPolicy.spec.accessLog[].fileSink.path",
        "HTTPListenerPolicy.spec.accessLog[].fileSink.stringFormat",
        "HTTPListenerPolicy.spec.accessLog[].fileSink.jsonFormat",
    );
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut world = world().await;
    let text = format!(
        "{{fileSink: {{path: {}, stringFormat: \"%REQ(:METHOD)% %REQ_WITHOUT_QUERY(:PATH)% %RESPONSE_CODE% 100%%\\n\"}}}}",
        at("text").display()
    );
    let json = format!(
        "{{fileSink: {{path: {}, jsonFormat: {{code: '%RESPONSE_CODE%', nested: {{list: ['%REQ(:PATH)%', plain, 3, true]}}}}}}}}",
        at("json").display()
    );
    world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLog: [{text}, {json}]"))).await;
    for path in ["/one?x=y", "/teapot"] {
        world.call("a.example.org", path).send().await.unwrap();
    }
    let found = lines(&at("text"), "/teapot").await;
    assert_eq!(found, ["GET /one 200 100%", "GET /teapot 418 100%"]);
    let found = lines(&at("json"), "/teapot").await;
    let first: Value = serde_json::from_str(&found[0]).unwrap();
    assert_eq!(first, serde_json::json!({"code": 200, "nested": {"list": ["/one?x=y", "plain", 3, true]}}));
    // The free form of the contract: one object, or a list.
    for (name, spec) in [
        (
            "object",
            format!("{{fileSink: {{path: {}, stringFormat: \"%PROTOCOL%\\n\"}}}}", at("object").display()),
        ),
        (
            "list",
            format!("[{{fileSink: {{path: {}, stringFormat: \"%PROTOCOL%\\n\"}}}}]", at("list").display()),
        ),
    ] {
        world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLogging: {spec}"))).await;
        world.call("a.example.org", "/").send().await.unwrap();
        assert_eq!(lines(&at(name), "HTTP/1.1").await[0], "HTTP/1.1", "{name}");
    }
    // What Envoy would refuse stays here, and the log as it was.
    world
        .apply(&policy(
            "p",
            &format!("{TO_GATEWAY}, accessLogging: {{fileSink: {{path: /dev/null, stringFormat: '%NO%'}}}}"),
        ))
        .await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=False Invalid"]);
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
    world.assert_nothing_rejected().await;
}
