//! Transformation of headers and bodies by templates of TrafficPolicies.

#[path = "transformation/expressions.rs"]
mod expressions;
#[path = "transformation/templates.rs"]
mod templates;

use postern_e2e::{
    Backend, Call, Load, Reply, Stream, World, covers, gateway, http_route, raw, traffic_policy,
};
use serde_json::{Value, json};

const HTTP: &str = "  - {name: http, port: ${PORT}, protocol: HTTP}";

const RULES: &str = "
rules:
- name: changed
  matches: [{path: {value: /changed}}]
  backendRefs: [{name: v1, port: 8080}]
- name: other
  matches: [{path: {value: /other}}]
  backendRefs: [{name: v1, port: 8080}]
";

/// A world with a rule that is transformed and one that is not. The end of a path says what the backend answers.
async fn world() -> World {
    let mut world = World::with_backends(&[]).await;
    let backend = Backend::replying("v1", |seen| {
        let mut headers = vec![("content-type", "application/json"), ("x-from", "backend"), ("x-gone", "1")];
        let whole = |body: &[u8]| bytes::Bytes::copy_from_slice(body);
        match seen.path.rsplit('/').next().unwrap_or_default() {
            "mirror" => Reply::Raw(200, headers, whole(seen.body.as_bytes())),
            "binary" => Reply::Raw(200, headers, whole(b"\xff\0\xfe")),
            "204" => Reply::Raw(204, headers, whole(b"")),
            "304" => {
                headers.push(("etag", "\"1\""));
                Reply::Raw(304, headers, whole(b""))
            }
            "503" => Reply::Raw(503, headers, whole(b"out of order")),
            _ => Reply::Headers(vec![("x-from", "backend"), ("x-gone", "1")]),
        }
    });
    world.add_backend(backend.await).await;
    world.apply(&http_route("r", &format!("hostnames: [example.org]{RULES}"))).await;
    for path in ["/changed", "/other"] {
        let call = world.call("example.org", path);
        world.expect_that(call, "it serves", |it| it.status == 200).await;
    }
    world
}

/// A policy on the transformed rule; `transformation` is the field, as JSON.
fn policy(transformation: &Value) -> String {
    let spec = json!({
        "targetRefs": [{"kind": "HTTPRoute", "name": "r", "sectionName": "changed"}],
        "transformation": transformation,
    });
    traffic_policy("t", &serde_yaml::to_string(&spec).unwrap())
}

/// Applies a transformation, and waits until it is there: `round` comes back in a header.
async fn transform(world: &mut World, mut transformation: Value) {
    static ROUND: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let round = ROUND.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    let wanted = json!({"name": "x-round", "value": round});
    let response = &mut transformation["response"];
    if response["add"].is_null() {
        response["add"] = json!([]);
    }
    response["add"].as_array_mut().unwrap().push(wanted);
    world.apply(&policy(&transformation)).await;
    world.assert_status("TrafficPolicy/t", &["Accepted=True *", "Attached=True Attached"]);
    let call = world.call("example.org", "/changed/ready").body("{}").method("POST");
    world
        .expect_that(call, "the new transformation", |it| {
            it.header("x-round").as_ref() == Some(&round) || it.status == 400
        })
        .await;
}

fn post(world: &mut World, path: &str, body: &str) -> Call {
    world.call("example.org", path).method("POST").header("content-type", "application/json").body(body)
}

#[tokio::test]
async fn headers_are_set_added_and_removed() {
    covers!(
        "TrafficPolicy.spec.transformation.request.set[].name",
        "TrafficPolicy.spec.transformation.request.set[].value",
        "TrafficPolicy.spec.transformation.request.add[].name",
        "TrafficPolicy.spec.transformation.request.add[].value",
        "TrafficPolicy.spec.transformation.request.remove[]",
        "TrafficPolicy.spec.transformation.response.set[].name",
        "TrafficPolicy.spec.transformation.response.set[].value",
        "TrafficPolicy.spec.transformation.response.add[].name",
        "TrafficPolicy.spec.transformation.response.add[].value",
        "TrafficPolicy.spec.transformation.response.remove[]",
    );
    let mut world = world().await;
    transform(
        &mut world,
        json!({
            "request": {
                "set": [
                    {"name": "X-Static", "value": "100% {static}"},
                    {"name": "x-user", "value": "{{ header(\"X-Id\") }}-{{ upper(header(\"x-id\")) }}"},
                    {"name": "x-empty", "value": "{{ header(\"x-nothing\") }}"},
                    {"name": ":path", "value": "{{ header(\":path\") }}/more"},
                    {"name": "Host", "value": "inner.example"},
                ],
                "add": [{"name": "x-id", "value": "b"}],
                "remove": ["X-Gone"],
            },
            "response": {
                "set": [
                    {"name": ":status", "value": "{% if request_header(\"x-id\") == \"a\" %}201{% else %}200{% endif %}"},
                    {"name": "x-from", "value": "{{ header(\"x-from\") }} {{ request_header(\"x-user\") }}"},
                ],
                "add": [{"name": "x-from", "value": "gateway"}],
                "remove": ["x-gone"],
            },
        }),
    )
    .await;
    let call = world
        .call("example.org", "/changed")
        .header("x-id", "a")
        .header("x-gone", "1")
        .header("x-empty", "1");
    let answer = call.send().await.unwrap();
    let seen = answer.seen().unwrap();
    assert_eq!(seen.header("x-static").as_deref(), Some("100% {static}"));
    assert_eq!(seen.header("x-user").as_deref(), Some("a-A"));
    assert_eq!(seen.header("x-empty"), None);
    assert_eq!(seen.header("x-gone"), None);
    assert_eq!(seen.headers["x-id"], ["a", "b"]);
    assert_eq!((seen.path.as_str(), seen.host.as_str()), ("/changed/more", "inner.example"));
    assert_eq!(seen.header("transfer-encoding"), None, "no body came of it");
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("x-from").as_deref(), Some("backend a-A,gateway"));
    assert_eq!(answer.header("x-gone"), None);
    let other = world.call("example.org", "/other").header("x-gone", "1").send().await.unwrap();
    assert_eq!(other.header("x-gone").as_deref(), Some("1"));
    assert_eq!(other.seen().unwrap().header("x-gone").as_deref(), Some("1"));
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn bodies_of_requests() {
    let mut world = world().await;
    let text = json!({"request": {"body": {"parseAs": "AsString", "value": "<{{ upper(body()) }}>"}}});
    transform(&mut world, text).await;
    let seen = post(&mut world, "/changed", "{no json").send().await.unwrap().seen().unwrap();
    assert_eq!((seen.body.as_str(), seen.header("content-length").as_deref()), ("<{NO JSON>", Some("10")));
    // Without a body there is one now.
    let seen = world.call("example.org", "/changed").send().await.unwrap().seen().unwrap();
    assert_eq!((seen.body.as_str(), seen.header("content-length").as_deref()), ("<>", Some("2")));
    let seen = post(&mut world, "/changed", "two").h2().send().await.unwrap().seen().unwrap();
    assert_eq!(seen.body, "<TWO>");
    // In pieces, without a length.
    let port = world.port("PORT");
    let pieces = "POST /changed HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    let answer = raw(port, pieces.as_bytes(), |_| false).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.contains("\"body\":\"<ABC>\"") && !answer.contains("transfer-encoding\":[\"chunked"),
        "{answer}"
    );

    // AsString is the default, headers see the body too, and a body that is empty has no type.
    let value = "{% if body() != \"drop\" %}{{ body() }}{% endif %}";
    let length = json!([{"name": "x-length", "value": "{{ length(body()) }}"}]);
    transform(&mut world, json!({"request": {"set": length, "body": {"value": value}}})).await;
    let seen = post(&mut world, "/changed", "keep").send().await.unwrap().seen().unwrap();
    assert_eq!((seen.body.as_str(), seen.header("x-length").as_deref()), ("keep", Some("4")));
    assert_eq!(seen.header("content-type").as_deref(), Some("application/json"));
    let seen = post(&mut world, "/changed", "drop").send().await.unwrap().seen().unwrap();
    assert_eq!((seen.body.as_str(), seen.header("x-length").as_deref()), ("", Some("4")));
    assert_eq!(seen.header("content-type"), None);
    world.assert_nothing_rejected().await;
}

/// Up to 1 MiB if nothing else is said; `buffer` says something else.
#[tokio::test]
async fn large_bodies() {
    let mut world = world().await;
    let value = "{{ body() }}.";
    let both = json!({"request": {"body": {"value": value}}, "response": {"body": {"value": value}}});
    transform(&mut world, both.clone()).await;
    for size in [20_000, 100_000, 900_000] {
        let answer = post(&mut world, "/changed/mirror", &"x".repeat(size)).send().await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, size + 2));
    }
    let answer = post(&mut world, "/changed/mirror", &"x".repeat(1_100_000)).send().await.unwrap();
    assert_eq!(answer.status, 413);
    let spec = json!({
        "targetRefs": [{"kind": "HTTPRoute", "name": "r", "sectionName": "changed"}],
        "transformation": both,
        "buffer": {"maxRequestSize": "2Mi"},
    });
    world.apply(&traffic_policy("t", &serde_yaml::to_string(&spec).unwrap())).await;
    let large = post(&mut world, "/changed/mirror", &"x".repeat(1_500_000));
    let answer = world.expect_that(large, "200", |it| it.status == 200).await;
    assert_eq!(answer.body.len(), 1_500_002);
}

#[tokio::test]
async fn responses() {
    covers!(
        "TrafficPolicy.spec.transformation.response.body.parseAs",
        "TrafficPolicy.spec.transformation.response.body.value",
    );
    let mut world = world().await;
    let value = "{\"who\": \"{{ user.name }}\", \"path\": \"{{ request_header(\":path\") }}\"}";
    let set = json!([{"name": "x-age", "value": "{{ default(user.age, \"none\") }}"}]);
    let body = json!({"parseAs": "AsJson", "value": value});
    transform(&mut world, json!({"response": {"set": set, "body": body}})).await;
    let call = post(&mut world, "/changed/mirror", "{\"user\": {\"name\": \"Zo\u{eb}\", \"age\": 7}}");
    for call in [call.clone(), call.clone().h2()] {
        let answer = call.send().await.unwrap();
        assert_eq!(answer.text(), "{\"who\": \"Zo\u{eb}\", \"path\": \"/changed/mirror\"}");
        assert_eq!(answer.header("x-age").as_deref(), Some("7"));
    }
    // What is not JSON is refused; an error stays one.
    let answer = post(&mut world, "/changed/mirror", "no json").send().await.unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), "bad request: transformation: the body is not JSON: no value at byte 1");
    assert_eq!(answer.header("content-type").as_deref(), Some("text/plain"));
    let answer = world.call("example.org", "/changed/503").send().await.unwrap();
    assert_eq!(answer.status, 503);
    assert!(!answer.text().contains("out of order"), "{}", answer.text());

    // What has no body gets none.
    let plain = json!({"response": {"body": {"value": "<{{ body() }}>"}}});
    transform(&mut world, plain).await;
    for (method, path, status, body) in [
        ("HEAD", "/changed/mirror", 200, ""),
        ("GET", "/changed/204", 204, ""),
        ("GET", "/changed/304", 304, ""),
        ("GET", "/changed/mirror", 200, "<>"),
    ] {
        for call in [world.call("example.org", path), world.call("example.org", path).h2()] {
            let mut connection = call.connect().await.unwrap();
            for _ in 0..2 {
                let answer = connection.send(&call.clone().method(method)).await.unwrap();
                assert_eq!((answer.status, answer.text().as_str()), (status, body), "{method} {path}");
                assert!(answer.header("x-round").is_some(), "headers are transformed");
            }
        }
    }
    let answer = world.call("example.org", "/changed/binary").send().await.unwrap();
    assert_eq!(&answer.body[..], b"<\xff\0\xfe>");
    world.assert_nothing_rejected().await;
}

/// What is not a whole is let through as it is; its headers are transformed.
#[tokio::test]
async fn streams_are_not_held_back() {
    let mut world = world().await;
    let body = json!({"value": "<{{ body() }}>"});
    let set = json!([{"name": "x-set", "value": "1"}]);
    let both = json!({"request": {"set": set, "body": body}, "response": {"body": body}});
    transform(&mut world, both).await;
    let call = world.call("example.org", "/changed/Method").h2().method("POST");
    let call = call.header("content-type", "application/grpc").header("te", "trailers").body("\0\0\0\0\0");
    let seen = call.send().await.unwrap().seen().unwrap();
    assert_eq!((seen.body.as_str(), seen.header("x-set").as_deref()), ("\0\0\0\0\0", Some("1")));
    let port = world.port("PORT");
    let upgrade = "GET /changed HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nover the upgrade";
    let answer = raw(port, upgrade.as_bytes(), |all| all.ends_with(b"over the upgrade")).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101") && answer.ends_with("\r\n\r\nover the upgrade"), "{answer}");
}

/// The more specific level wins whole; an empty one switches off; a deep merge does one after the other.
#[tokio::test]
async fn levels() {
    let mut world = world().await;
    let on_gateway = |value: &str| {
        let transformation = format!(
            "transformation: {{request: {{set: [{{name: x-gateway, value: '{value}'}}], body: {{value: 'g({{{{ body() }}}})'}}}}}}"
        );
        traffic_policy("gw", &format!("targetRefs: [{{kind: Gateway, name: gw}}]\n{transformation}"))
    };
    let on_rule =
        json!({"request": {"set": [{"name": "x-rule", "value": "1"}], "body": {"value": "r({{ body() }})"}}});
    world.apply(&[on_gateway("1"), policy(&on_rule)].concat()).await;
    let call = post(&mut world, "/changed", "b");
    let is = |it: &postern_e2e::Answer, body: &str, gateway: bool, rule: bool| {
        it.seen().is_some_and(|it| {
            it.body == body
                && it.header("x-gateway").is_some() == gateway
                && it.header("x-rule").is_some() == rule
        })
    };
    world.expect_that(call.clone(), "the rule wins", |it| is(it, "r(b)", false, true)).await;
    let other = post(&mut world, "/other", "b");
    world.expect_that(other, "the Gateway", |it| is(it, "g(b)", true, false)).await;
    world.apply(&policy(&json!({}))).await;
    world.expect_that(call.clone(), "switched off", |it| is(it, "b", false, false)).await;
    world.apply(&policy(&on_rule)).await;
    let annotated = |way: &str| {
        let annotation = format!("annotations: {{kgateway.dev/inherited-policy-priority: {way}}}, name: gw,");
        gateway(HTTP).replacen("name: gw,", &annotation, 1)
    };
    world.apply(&annotated("DeepMergePreferChild")).await;
    world.expect_that(call.clone(), "both", |it| is(it, "r(g(b))", true, true)).await;
    world.apply(&annotated("DeepMergePreferParent")).await;
    world.expect_that(call.clone(), "both, the other way", |it| is(it, "g(r(b))", true, true)).await;
    world.apply(&annotated("ShallowMergePreferParent")).await;
    world.expect_that(call, "the Gateway wins", |it| is(it, "g(b)", true, false)).await;
    world.assert_nothing_rejected().await;
}

/// Transformations come, change and go under load without a failed request, and the listener stays as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transformations_come_and_go_under_load() {
    const BETWEEN: u64 = 4;
    const ROUNDS: u64 = 12;
    let mut world = world().await;
    let call = post(&mut world, "/changed/mirror", "{\"user\": \"Ann\"}");
    let listeners = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    let load =
        Load::start(vec![Stream::kept("kept", call.clone(), 100), Stream::fresh("new", call.clone(), 60)]);
    for round in 0..ROUNDS {
        for way in ["request", "response"] {
            let body = json!({"parseAs": "AsJson", "value": format!("{{\"user\": \"{{{{ user }}}}\", \"{way}\": {round}}}")});
            let set = json!([{"name": "x-user", "value": "{{ user }}"}]);
            world.apply(&policy(&json!({way: {"set": set, "body": body}}))).await;
            let wanted = format!("\"{way}\": {round}");
            world.expect_that(call.clone(), &wanted, |it| it.text().contains(&wanted)).await;
            load.goes_on(BETWEEN).await;
        }
        world.delete("TrafficPolicy", "t").await;
        world.expect_that(call.clone(), "no policy", |it| it.text() == "{\"user\": \"Ann\"}").await;
        load.goes_on(BETWEEN).await;
    }
    load.stop().await.assert_clean(ROUNDS * 3 * BETWEEN);
    let after = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    assert_eq!(listeners, after, "the listener is the same");
}
