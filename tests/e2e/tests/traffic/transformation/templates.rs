//! What templates print, and messages and templates of which nothing can be printed.

use postern_e2e::covers;
use serde_json::{Value, json};

use super::{policy, post, transform, world};

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
