//! Transformation of headers and bodies by templates of TrafficPolicies.

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

/// What templates print, for the body `DATA`.
const DATA: &str = r#"{"user": {"name": "Ann", "age": 42, "tags": ["b", "a", "c"]}, "price": 1.50, "big": 12345678901234567890,
    "yes": true, "no": false, "nil": null, "text": "a\"b\\c\u00e9\ud83d\ude00\n", "empty": [], "none": {}, "n": "7",
    "a-b": 1, "deep": [[1, {"x": [true]}]], "items": [{"id": 2, "p": 0.5}, {"id": 1, "p": 2.0}]}"#;

const RENDERED: &[(&str, &str)] = &[
    ("{{ user.name }}", "Ann"),
    ("{{user.age}}", "42"),
    ("{{ user.tags.1 }}", "a"),
    ("{{ user }}", r#"{"age":42,"name":"Ann","tags":["b","a","c"]}"#),
    ("{{ price }} {{ big }} {{ yes }} {{ nil }}|", "1.50 12345678901234567890 true |"),
    ("{{ empty }}{{ none }}", "[]{}"),
    ("{{ a-b }}", "1"),
    ("{{ deep }}", r#"[[1,{"x":[true]}]]"#),
    ("{{ raw_string(text) }}", r#"a\"b\\cé😀\n"#),
    ("{{ [1, \"a\", null] }}", r#"[1,"a",null]"#),
    ("{{ {\"a\": {\"b\": 1}} }}", r#"{"a":{"b":1}}"#),
    // Operators.
    ("{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 7 - 2 - 1 }}", "7 9 4"),
    ("{{ 7 / 2 }} {{ 4 / 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 2 ^ 3 ^ 2 }}", "3.5 2.0 1 -1 512"),
    ("{{ 1.5 + 1 }} {{ 0.1 + 0.2 }} {{ \"a\" + \"b\" }}", "2.5 0.30000000000000004 ab"),
    ("{{ 1 < 2 and 2 <= 2 and 3 > 2 and 3 >= 3 and 1 == 1.0 and 1 != 2 }}", "true"),
    ("{{ not yes }} {{ not empty }} {{ not 0 }} {{ not \"\" }}", "false true true true"),
    ("{{ \"a\" in user.tags }} {{ \"z\" in user.tags }}", "true false"),
    ("{{ yes or no and no }}", "false"),
    ("{{ \"a\" < \"b\" }} {{ user == user }} {{ user.tags == [\"b\", \"a\", \"c\"] }}", "true true true"),
    // Statements.
    ("{% if user.age >= 18 %}adult{% else if user.age > 12 %}teen{% else %}child{% endif %}", "adult"),
    ("{% if no %}a{% else if yes %}b{% else %}c{% endif %}{% if nil %}d{% endif %}", "b"),
    (
        "{% for t in user.tags %}{{ loop.index }}{{ loop.index1 }}{{ t }}{% if not loop.is_last %},{% endif %}{% endfor %}",
        "01b,12a,23c",
    ),
    ("{% for k, v in user %}{{ k }}={{ v }};{% endfor %}", r#"age=42;name=Ann;tags=["b","a","c"];"#),
    (
        "{% for i in items %}{% for t in user.tags %}{{ loop.parent.index }}{{ loop.index }}{% if loop.is_first %}!{% endif %}{% endfor %}{% endfor %}",
        "00!010210!1112",
    ),
    ("{% set x = user.age + 1 %}{% set y.z = x %}{{ x }}{{ y.z }}{{ y }}", "4343{\"z\":43}"),
    ("a {# comment {{ x }} #}b", "a b"),
    ("{%- if yes -%}  x  {%- endif -%} y", "x  y"),
    ("{{- \"a\" -}}   b", "ab"),
    ("{{ items.0.p }}{{ first(items).id }}{{ last(items).p }}", "0.522.0"),
    // Functions.
    ("{{ upper(user.name) }}{{ lower(user.name) }}{{ capitalize(\"aNN\") }}", "ANNannAnn"),
    ("{{ length(user.tags) }}{{ length(user.name) }}{{ length(user) }}", "333"),
    (
        "{{ default(missing, \"d\") }}{{ default(user.missing.too, 1) }}{{ default(user.name, \"d\") }}",
        "d1Ann",
    ),
    (
        "{{ exists(\"user.name\") }} {{ exists(\"user.x\") }} {{ existsIn(user, \"age\") }} {{ existsIn(user, \"x\") }}",
        "true false true false",
    ),
    ("{{ join(user.tags, \"-\") }} {{ join([1, 2], \",\") }}", "b-a-c 1,2"),
    ("{{ sort(user.tags) }} {{ max([1, 3, 2]) }} {{ min([1.5, 0.5]) }}", r#"["a","b","c"] 3 0.5"#),
    ("{{ first(user.tags) }}{{ last(user.tags) }}{{ at(user.tags, 1) }}{{ at(user, \"name\") }}", "bcaAnn"),
    ("{{ round(3.14159, 2) }} {{ round(2.5, 0) }} {{ round(-2.5, 0) }}", "3.14 3 -3"),
    ("{{ int(n) + 1 }} {{ int(\"-3.9\") }} {{ float(\"2.5\") }} {{ float(\"2\") }}", "8 -3 2.5 2.0"),
    (
        "{{ range(3) }} {{ odd(3) }} {{ even(3) }} {{ divisibleBy(6, 3) }} {{ divisibleBy(6, 0) }}",
        "[0,1,2] true false true false",
    ),
    (
        "{{ isString(n) }}{{ isNumber(price) }}{{ isFloat(price) }}{{ isInteger(user.age) }}{{ isInteger(big) }}",
        "truetruetruetruetrue",
    ),
    ("{{ isArray(empty) }}{{ isObject(none) }}{{ isBoolean(no) }}{{ isString(nil) }}", "truetruetruefalse"),
    ("{{ replace(\"a.b.c\", \".\", \"%1\") }} {{ trim(\"  x \") }}", "a%1b%1c x"),
    (
        "{{ substring(\"abcdef\", 2) }} {{ substring(\"abcdef\", 1, 2) }} {{ substring(\"abc\", 9) }}|{{ substring(\"abc\", 1, 0) }}",
        "cdef bc |bc",
    ),
    (
        "{{ base64_encode(\"hällo?>\") }} {{ base64_decode(\"aGk=\") }} {{ base64_decode(\"?\") }}|",
        "aMOkbGxvPz4= hi |",
    ),
    ("{{ base64url_encode(\"??>>a\") }} {{ base64url_decode(\"Pz8-PmE\") }}", "Pz8-PmE ??>>a"),
    (
        "{{ base64_encode(\"\") }}|{{ base64_encode(\"a\") }}|{{ base64_encode(\"ab\") }}|{{ base64_decode(\"YWI=\") }}",
        "|YQ==|YWI=|ab",
    ),
    ("{{ word_count(\" a b  c \") }} {{ word_count(user) }}", "3 8"),
    ("{{ \"a b\" | upper }} {{ user.tags | join(\"/\") | length }}", "A B 5"),
    ("{{ context().user.name }} {{ length(body()) > 10 }} {{ length(body) > 10 }}", "Ann true true"),
    ("{{ header(\"x-one\") }}{{ request_header(\"X-ONE\") }}{{ header(\"x-none\") }}", "11"),
    ("{{ dynamic_metadata(\"no:such\", \"nowhere\") }}|{{ env(\"POD_NAME\") }}|", "||"),
    ("{{ length(replace_with_random(\"pp\", \"p\")) }}", "44"),
    ("}} %} {", "}} %} {"),
    ("{% set user.name = \"Bob\" %}{{ user.name }} {{ user.age }}", "Bob 42"),
    ("'{{ \"quote's\" }}' ]] ]=] \\n", "'quote's' ]] ]=] \\n"),
];

#[tokio::test]
async fn templates_render() {
    covers!(
        "TrafficPolicy.spec.transformation.request.body.parseAs",
        "TrafficPolicy.spec.transformation.request.body.value",
    );
    let mut world = world().await;
    let separator = "\n----\n";
    let templates: Vec<&str> = RENDERED.iter().map(|(template, _)| *template).collect();
    let body = json!({"parseAs": "AsJson", "value": templates.join(separator)});
    world.apply(&policy(&json!({"request": {"body": body}}))).await;
    world.assert_status("TrafficPolicy/t", &["Accepted=True *", "Attached=True Attached"]);
    let call = post(&mut world, "/changed", DATA).header("x-one", "1");
    let answer =
        world.expect_that(call, "it is rendered", |it| it.seen().is_none_or(|it| it.body != DATA)).await;
    let seen = answer.seen().unwrap_or_else(|| panic!("{}: {}", answer.status, answer.text()));
    let rendered: Vec<&str> = seen.body.split(separator).collect();
    for ((template, expected), rendered) in RENDERED.iter().zip(&rendered) {
        assert_eq!(rendered, expected, "{template}");
    }
    assert_eq!(rendered.len(), RENDERED.len());
    assert_eq!(seen.header("content-length"), Some(seen.body.len().to_string()));
    world.assert_nothing_rejected().await;
}

/// Expressions that are wrong only for some messages refuse these, with 400 and the place; the next one is served.
#[tokio::test]
async fn messages_that_cannot_be_transformed() {
    let mut world = world().await;
    let json_header =
        |value: &str| json!({"set": [{"name": "x-a", "value": value}], "body": {"parseAs": "AsJson"}});
    let json_body = |value: &str| json!({"body": {"parseAs": "AsJson", "value": value}});
    let deep = "[".repeat(129) + &"]".repeat(129);
    let long = format!("{{\"l\": [{}0]}}", "0,".repeat(1000));
    let cases: &[(Value, &[u8], &str)] = &[
        (json_header("{{ a }}"), b"{\"a\": ", "the body is not JSON: no value at byte 7"),
        (
            json_header("{{ a }}"),
            b"{\"a\": 1} x",
            "the body is not JSON: something after the value at byte 10",
        ),
        (json_header("{{ a }}"), b"{\"a\": 01}", "the body is not JSON: no value at byte 7"),
        (json_header("{{ a }}"), b"{\"a\": \"\xff\"}", "the body is not JSON: no UTF-8 at byte 8"),
        (
            json_header("{{ a }}"),
            b"{\"a\": \"\\ud800\"}",
            "the body is not JSON: half of a character at byte 8",
        ),
        (json_header("{{ a }}"), deep.as_bytes(), "the body is not JSON: more than 128 levels at byte 129"),
        (json_header("ab {{ a.b }}"), b"{\"a\": 1}", "header x-a: line 1, column 7: there is no a.b"),
        (json_header("{{ a }}"), b"", "header x-a: line 1, column 4: there is no a"),
        (json_header("{{ a }}"), b"[1]", "header x-a: line 1, column 4: there is no a"),
        (
            json_header("{{ a }}"),
            b"{\"a\": \"b\\r\\nx-evil: 1\"}",
            "header x-a: its value is not legal there",
        ),
        (json_body("x\n{{ 1 / a }}"), b"{\"a\": 0}", "body: line 2, column 6: division by zero"),
        (
            json_body("{{ upper(a) }}"),
            b"{\"a\": 1}",
            "body: line 1, column 4: upper needs a string, not a number",
        ),
        (
            json_body("{% for x in a %}{% endfor %}"),
            b"{\"a\": 1}",
            "body: line 1, column 4: for needs a list, not a number",
        ),
        (
            json_body("{% for x in range(a) %}{% endfor %}"),
            b"{\"a\": 1e9}",
            "range needs a number from 0 to 500000",
        ),
        (
            json_body("{% for x in l %}{% for y in l %}{% endfor %}{% endfor %}"),
            long.as_bytes(),
            "it takes too many steps",
        ),
        (
            json_body("{% for x in l %}{{ body() }}{{ body() }}{{ body() }}{% endfor %}"),
            long.as_bytes(),
            "the result has more than 4194304 bytes",
        ),
        (
            json_body("{% set s = \"ab\" %}{% for x in l %}{% set s = s + s %}{% endfor %}"),
            long.as_bytes(),
            "more than 4194304 bytes",
        ),
        (
            json!({"set": [{"name": ":path", "value": "{{ body() }}"}]}),
            b"no slash",
            "header :path: its value is not legal there",
        ),
        (
            json!({"set": [{"name": ":method", "value": "{{ body() }}"}]}),
            b"CONNECT",
            "header :method: its value is not legal there",
        ),
    ];
    for (request, body, said) in cases {
        world.apply(&policy(&json!({"request": request}))).await;
        let call = world.call("example.org", "/changed").method("POST").bytes(body);
        let answer = world.expect_that(call, said, |it| it.status == 400 && it.text().contains(said)).await;
        assert!(answer.text().starts_with("bad request: transformation: "), "{}", answer.text());
        let other = post(&mut world, "/other", "[").send().await.unwrap();
        assert_eq!(other.seen().unwrap().body, "[");
    }
    world.assert_nothing_rejected().await;
}

/// What the API server cannot judge, a status does.
#[tokio::test]
async fn a_wrong_template_is_not_applied_and_says_where() {
    let mut world = world().await;
    let set = |name: &str, value: &str| json!({"request": {"set": [{"name": name, "value": value}]}});
    for (transformation, said) in [
        (
            set("x-a", "{{ header(x }}"),
            "spec.transformation.request.set[0].value: line 1, column 13: ) is missing",
        ),
        (set("x-a", "{{ launch(1) }}"), "line 1, column 4: the function launch is unknown"),
        (
            set("x-a", "{{ env(\"PASSWORD\") }}"),
            "templates may not read this variable of the proxy's environment",
        ),
        (
            set("content-length", "1"),
            "spec.transformation.request.set[0].name: content-length says where the message ends",
        ),
        (
            json!({"response": {"body": {"value": "{% if 1 %}"}}}),
            "spec.transformation.response.body.value: line 1, column 11: endif is missing",
        ),
    ] {
        world.apply(&policy(&transformation)).await;
        world.assert_status("TrafficPolicy/t", &["Accepted=False Invalid", "Attached=False Invalid"]);
        assert!(world.problems().contains(said), "{said}\n{}", world.problems());
        let answer = world.call("example.org", "/changed").send().await.unwrap();
        assert_eq!(answer.status, 200, "it protects nothing");
    }
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

/// Values that Envoy computes stand beside templates, which see them.
#[tokio::test]
async fn expressions() {
    covers!(
        "TrafficPolicy.spec.transformation.request.set[].expression",
        "TrafficPolicy.spec.transformation.request.add[].expression",
        "TrafficPolicy.spec.transformation.response.set[].expression",
        "TrafficPolicy.spec.transformation.response.add[].expression",
    );
    let mut world = world().await;
    let computed = |name: &str, text: &str| json!({"name": name, "expression": text});
    let body = json!({"value": "<{{ body() }}>"});
    transform(
        &mut world,
        json!({
            "request": {
                "set": [
                    computed("x-role", "request.headers['x-user'].upperAscii() + (request.method == 'POST' ? '-writer' : '-reader')"),
                    computed("x-none", "request.headers['x-missing']"),
                    computed("x-parts", "string(size(request.path.split('/'))) + '%'"),
                    {"name": "x-seen", "value": "{{ header(\"x-role\") }}"},
                ],
                "add": [computed("x-user", "'more'"), computed("x-nothing", "request.headers['x-missing']")],
                "body": body,
            },
            "response": {
                "set": [
                    computed("x-code", "string(response.code) + request.headers['x-role']"),
                    {"name": "x-saw-code", "value": "{{ header(\"x-code\") }}"},
                ],
                "add": [computed("x-from", "'cel'")],
                "body": body,
            },
        }),
    )
    .await;
    for method in ["POST", "PUT"] {
        let call = world.call("example.org", "/changed/mirror").method(method).body("b");
        let call = call.header("x-user", "ann").header("x-none", "forged").header("x-role", "forged");
        let answer = call.send().await.unwrap();
        let role = if method == "POST" { "ANN-writer" } else { "ANN-reader" };
        let seen = world.backend("v1").seen().pop().unwrap();
        assert_eq!(seen.header("x-role").as_deref(), Some(role));
        assert_eq!(seen.header("x-seen").as_deref(), Some(role), "templates come later");
        assert_eq!(
            seen.header("x-none").unwrap_or_default(),
            "",
            "what has no value is not what the client says"
        );
        assert_eq!(seen.header("x-parts").as_deref(), Some("3%"));
        assert_eq!(seen.headers["x-user"], ["ann", "more"]);
        assert_eq!(seen.header("x-nothing"), None);
        assert_eq!(answer.header("x-code"), Some(format!("200{role}")));
        assert_eq!(answer.header("x-saw-code"), Some(format!("200{role}")));
        assert_eq!(answer.header("x-from").as_deref(), Some("backend,cel"));
        assert_eq!(answer.text(), "<<b>>");
    }
    // Alone too, and without anything that holds messages back.
    let alone = json!({"request": {"set": [computed("x-role", "'r'")]}});
    world.apply(&policy(&alone)).await;
    let call = world.call("example.org", "/changed");
    let role =
        |it: &postern_e2e::Answer| it.seen().and_then(|it| it.header("x-role")) == Some("r".to_owned());
    world.expect_that(call, "the expression alone", role).await;
    for (expression, said) in [
        ("requst.path", "requst is unknown"),
        ("size('a')% 2", "a bracket with a percent sign"),
        ("response.code", "there is no response yet"),
    ] {
        world.apply(&policy(&json!({"request": {"set": [computed("x-role", expression)]}}))).await;
        world.assert_status("TrafficPolicy/t", &["Accepted=False Invalid", "Attached=False Invalid"]);
        let problems = world.problems();
        assert!(
            problems.contains("spec.transformation.request.set[0].expression") && problems.contains(said),
            "{problems}"
        );
    }
    world.assert_nothing_rejected().await;
}

/// Every function of the vocabulary is one that this Envoy takes for the value of a header.
#[tokio::test]
async fn envoy_takes_the_vocabulary_for_headers() {
    let mut world = world().await;
    let expressions = [
        ("size('ab') == 2 && 'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')", "true"),
        ("'abc'.matches('a.c') && 'aB'.lowerAscii() == 'ab'", "true"),
        ("'a-b'.replace('-', '+') + 'a,b'.split(',')[1] + ['a', 'b'].join('/') + ' a '.trim()", "a+bba/ba"),
        ("'abc'.substring(1) + string('abc'.indexOf('c')) + string(1.5) + string(true)", "bc21.5true"),
        ("int('1') + 1", "2"),
        (
            "uint(1) == 1u && double(1) == 1.0 && bool('true') && bytes('a') == b'a' && type(1) == int && dyn(1) == 1",
            "true",
        ),
        ("duration('1s') < duration('2s') && request.time.getFullYear('Europe/Berlin') > 2020", "true"),
        ("timestamp('2020-01-02T03:04:05Z').getMinutes()", "4"),
        ("has(request.headers.accept) ? 'a' : request.host + request.scheme", "example.orghttp"),
        ("'changed' in request.path.split('/') ? 7 / 2 * 3 % 4 : 0", "1"),
        ("1.5", "1.5"),
        ("source.address.split(':')[0]", "127.0.0.1"),
        ("request.protocol", "HTTP/1.1"),
    ];
    let set: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(index, (expression, _))| json!({"name": format!("x-{index}"), "expression": expression}))
        .collect();
    world.apply(&policy(&json!({"request": {"set": set}}))).await;
    let call = world.call("example.org", "/changed");
    let there = |it: &postern_e2e::Answer| it.seen().is_some_and(|it| it.header("x-0").is_some());
    let seen = world.expect_that(call, "they are computed", there).await.seen().unwrap();
    for (index, (expression, expected)) in expressions.iter().enumerate() {
        assert_eq!(seen.header(&format!("x-{index}")).as_deref(), Some(*expected), "{expression}");
    }
    world.assert_nothing_rejected().await;
}

/// Random values differ from request to request, and are the same within one.
#[tokio::test]
async fn random_values() {
    let mut world = world().await;
    let set = json!([
        {"name": "x-a", "value": "{{ replace_with_random(\"<id>\", \"id\") }}"},
        {"name": "x-b", "value": "{{ replace_with_random(\"id+id\", \"id\") }}"},
    ]);
    transform(&mut world, json!({"request": {"set": set}})).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let answer = world.call("example.org", "/changed").send().await.unwrap().seen().unwrap();
        let random = answer.header("x-a").unwrap().trim_matches(['<', '>']).to_owned();
        assert_eq!(random.len(), 22);
        assert_eq!(answer.header("x-b"), Some(format!("{random}+{random}")));
        assert!(seen.insert(random));
    }
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
