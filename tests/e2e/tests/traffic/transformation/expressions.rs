//! Header values by expressions in CEL.

use postern_e2e::covers;
use serde_json::{Value, json};

use super::{policy, transform, world};

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
