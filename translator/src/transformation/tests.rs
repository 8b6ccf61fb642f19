use super::*;
use crate::dependency::tests::yaml;

fn parse(spec: &Value) -> Result<Transformation, Fault> {
    Transformation::parse(&serde_json::from_value(spec.clone()).unwrap())
}

/// What becomes of a template of a body.
fn body(template: &str) -> Result<Value, Fault> {
    let parsed = parse(&json!({"request": {"body": {"value": template}}}))?;
    Ok(parsed.request[0].program["body"].clone())
}

fn fault(template: &str) -> String {
    body(template).map_or_else(|fault| fault.message, |read| panic!("{template}: {read}"))
}

#[test]
fn text_stays_as_it_is() {
    for text in ["plain", "{ } # } %} }}", "a # b", "]] \" ' \\ \u{1f600}", "x ## no statement"] {
        assert_eq!(body(text).unwrap(), json!([text]), "{text}");
    }
    assert_eq!(body("").unwrap(), json!([]));
    assert_eq!(body("a{# b #}c").unwrap(), json!(["a", "c"]));
}

#[test]
fn white_space_is_trimmed_where_it_is_asked_for() {
    let at = "line 1, column 4";
    assert_eq!(body("a \n  {{- x -}}  \n b").unwrap()[0], "a \n");
    assert_eq!(body("a \n  {{- x -}}  \n b").unwrap()[2], "b");
    assert_eq!(body("a {{- x }} b").unwrap()[0], "a ", "only what is alone on its line");
    assert_eq!(body("a\n {#- b -#} \n c").unwrap(), json!(["a\n", " c"]));
    assert_eq!(body("{{x-}} y").unwrap()[0][1][2], "x");
    assert_eq!(body("{{ x}}").unwrap(), json!([["p", ["v", at, "x", ["x"]]]]));
}

#[test]
fn operators_bind_as_in_inja() {
    /// Brackets around everything.
    fn show(it: &Value) -> String {
        match it[0].as_str().unwrap() {
            "l" => it[1].to_string(),
            "v" => it[2].as_str().unwrap().to_owned(),
            _ if it[4].is_null() => format!("({}{})", it[2].as_str().unwrap(), show(&it[3])),
            _ => format!("({}{}{})", show(&it[3]), it[2].as_str().unwrap(), show(&it[4])),
        }
    }
    for (text, expected) in [
        ("1 + 2 * 3", "(1+(2*3))"),
        ("1 - 2 - 3", "((1-2)-3)"),
        ("2 ^ 3 ^ 2", "(2^(3^2))"),
        ("a or b and c", "((aorb)andc)"),
        ("not a == b", "((nota)==b)"),
        ("not (a == b)", "(not(a==b))"),
        ("a in b + c", "(ain(b+c))"),
        ("a - -1", "(a--1)"),
        ("a-b - 1", "(a-b-1)"),
        ("1-1", "(1-1)"),
        ("a >= 1", "(a>=1)"),
        ("inner", "inner"),
        ("a % 2 == 0 and b", "(((a%2)==0)andb)"),
    ] {
        assert_eq!(show(&body(&format!("{{{{ {text} }}}}")).unwrap()[0][1]), expected, "{text}");
    }
}

#[test]
fn statements_nest() {
    let read = body("{% if a %}1{% else if b %}2{% else %}3{% endif %}4").unwrap();
    assert_eq!((&read[0][0], &read[0][2], &read[1]), (&json!("i"), &json!(["1"]), &json!("4")));
    assert_eq!((&read[0][3][0][2], &read[0][3][0][3]), (&json!(["2"]), &json!(["3"])));
    let read = body("{% for k, v in o %}{% for x in v %}{{ x }}{% endfor %}{% endfor %}").unwrap();
    assert_eq!(
        (&read[0][0], &read[0][2], &read[0][3], &read[0][5][0][0]),
        (&json!("o"), &json!("k"), &json!("v"), &json!("a"))
    );
    assert_eq!(body("{% set a.b = 1 %}").unwrap(), json!([["s", ["a", "b"], ["l", 1]]]));
    let read = body("x\n## for i in l\n{{ i }}\n## endfor\ny").unwrap();
    assert_eq!((&read[0], &read[1][0], &read[2]), (&json!("x\n"), &json!("a"), &json!("y")));
}

#[test]
fn what_is_wrong_has_a_place() {
    let (mut said, mut expected) = (Vec::new(), Vec::new());
    for (template, message) in [
        ("{{ a", "line 1, column 5: }} is missing"),
        ("{{ a b }}", "line 1, column 6: }} is missing"),
        ("{{ }}", "line 1, column 4: an expression is missing"),
        ("{{ 1 + }}", "line 1, column 8: an expression is missing"),
        ("{{ 'a' }}", "line 1, column 4: no expression begins like this"),
        ("{{ \"a }}", "line 1, column 4: it is no value in JSON"),
        ("{{ 1.2.3 }}", "line 1, column 4: it is no value in JSON"),
        ("{{ a. }}", "line 1, column 4: a. has a part without a name"),
        ("a\nb {{ f(1) }}", "line 2, column 6: the function f is unknown"),
        ("{{ upper() }}", "line 1, column 4: the function upper has 0 arguments"),
        ("{{ upper(a }}", "line 1, column 12: ) is missing"),
        ("{{ a | launch }}", "line 1, column 8: the function launch is unknown"),
        ("{{ or a }}", "line 1, column 4: or has nothing before it"),
        ("{% if a %}", "line 1, column 11: endif is missing"),
        ("{% for a in b %}", "line 1, column 17: endfor is missing"),
        ("{% for a b %}", "line 1, column 10: for has no in"),
        ("{% endif %}", "line 1, column 4: endif has no beginning"),
        ("{% if a %}{% endfor %}{% endif %}", "line 1, column 14: endfor has no beginning"),
        ("{% include \"x\" %}", "line 1, column 4: include is not possible: there are no other templates"),
        ("{% launch %}", "line 1, column 4: \"launch\" is no statement"),
        ("{% set 1 = 2 %}", "line 1, column 8: a name is missing"),
        ("{% set a 2 %}", "line 1, column 10: = is missing"),
        ("{# a", "line 1, column 3: #} is missing"),
        ("## if a b", "line 1, column 9: the line does not end here"),
        (
            "{{ extraction(\"a\") }}",
            "line 1, column 4: the function extraction is not possible: a TrafficPolicy has no extractors",
        ),
    ] {
        said.push((template, fault(template)));
        expected.push((template, message.to_owned()));
    }
    assert_eq!(said, expected);
}

#[test]
fn the_environment_is_closed() {
    assert!(body("{{ env(\"POD_NAME\") }}{{ \"NODE_NAME\" | env }}").is_ok());
    for variable in ["\"PASSWORD\"", "name", "\"POD\" + \"_NAME\"", "1"] {
        assert!(
            fault(&format!("{{{{ env({variable}) }}}}")).contains("may not read this variable"),
            "{variable}"
        );
    }
}

/// What is deep or long is refused before it can do harm here or in the proxy.
#[test]
fn depth_and_length_are_limited() {
    let nested = |n: usize| format!("{{{{ {}1{} }}}}", "(".repeat(n), ")".repeat(n));
    assert!(body(&nested(20)).is_ok());
    assert!(fault(&nested(30_000)).contains("nested more than 24 deep"));
    assert!(fault(&format!("{{{{ {}1 }}}}", "not ".repeat(10_000))).contains("nested more than 24 deep"));
    assert!(fault(&format!("{{{{ 1{} }}}}", " + 1".repeat(10_000))).contains("more than 24 operators"));
    assert!(fault(&format!("{{{{ a{} }}}}", " | upper".repeat(5000))).contains("more than 24 operators"));
    assert!(fault(&"{% if a %}".repeat(5000)).contains("nested more than 40 deep"));
    assert!(
        fault(&format!("{{% if a %}}{}", "{% else if a %}".repeat(4000)))
            .contains("nested more than 40 deep")
    );
    assert!(fault(&format!("{{{{ {} }}}}", "[".repeat(30_000))).contains("no value in JSON"));
    assert!(fault(&"x".repeat(70_000)).contains("it has 70000 bytes"));
}

/// No text, whatever is in it, makes the reader fail otherwise than with a fault.
#[test]
fn no_text_is_a_defect() {
    let parts = [
        "{{", "}}", "{%", "%}", "{#", "#}", "-", "##", "\n", "if", "for", "in", "a", ".", "|", "(", ")",
        "\"", "1", "é", " ",
    ];
    let mut seed: usize = 7;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..10 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(parts[(seed >> 33) % parts.len()]);
        }
        let _ = body(&text);
    }
}

#[test]
fn names_of_headers() {
    let request = |list: &str, name: &str| parse(&json!({"request": {list: [{"name": name, "value": "x"}]}}));
    let response =
        |list: &str, name: &str| parse(&json!({"response": {list: [{"name": name, "value": "x"}]}}));
    for name in ["X-A", ":path", ":method", ":authority", "host"] {
        assert!(request("set", name).is_ok(), "{name}");
    }
    assert_eq!(request("set", "Host").unwrap().request[0].program["set"][0][0], ":authority");
    assert!(response("set", ":status").is_ok());
    for (list, name) in [
        ("set", "content-length"),
        ("set", "Transfer-Encoding"),
        ("set", ":status"),
        ("set", "a b"),
        ("add", ":path"),
        ("add", "host"),
    ] {
        assert_eq!(request(list, name).unwrap_err().field, format!(".request.{list}[0].name"), "{name}");
    }
    assert!(response("set", ":path").is_err() && response("add", ":status").is_err());
    for name in [":path", "Host", "content-length", "a b"] {
        let fault = parse(&json!({"request": {"remove": ["x", name]}})).unwrap_err();
        assert_eq!(fault.field, ".request.remove[1]", "{name}");
    }
    let twice = parse(&json!({"request": {"add": [{"name": "a", "value": ""}, {"name": "A", "value": ""}]}}));
    assert_eq!(twice.unwrap_err().field, ".request.add[1].name");
    let unknown: Result<_, Fault> = Transformation::parse(&yaml("{response: {body: {parseAs: Xml}}}"));
    assert_eq!(unknown.unwrap_err().field, ".response.body.parseAs");
}

#[test]
fn bodies_are_held_back_only_where_they_are_needed() {
    let buffers = |spec: Value| parse(&spec).unwrap().buffers();
    let set = |value: &str| json!({"request": {"set": [{"name": "a", "value": value}]}});
    assert!(!buffers(set("body {{ header(\"body\") }}")));
    assert!(buffers(set("{{ length(body()) }}")));
    assert!(buffers(set("{% if 1 %}{{ body | upper }}{% endif %}")));
    assert!(buffers(json!({"response": {"body": {"value": ""}}})));
    assert!(parse(&json!({})).unwrap().envoy().is_none());
    assert!(parse(&json!({"request": {"body": {"parseAs": "AsJson"}}})).unwrap().envoy().is_none());
}

#[test]
fn expressions_stand_beside_templates() {
    let set = |entry: Value| parse(&json!({"request": {"set": [entry]}}));
    assert!(set(json!({"name": "a", "expression": "request.path"})).unwrap().envoy().is_some());
    for (entry, field) in [
        (json!({"name": "a"}), ""),
        (json!({"name": "a", "value": "", "expression": "request.path"}), ""),
        (json!({"name": "a", "expression": "requst.path"}), ".expression"),
        (json!({"name": ":path", "expression": "request.path"}), ".expression"),
        (json!({"name": "host", "expression": "request.path"}), ".expression"),
        (json!({"name": "a b", "expression": "request.path"}), ".name"),
    ] {
        assert_eq!(set(entry.clone()).unwrap_err().field, format!(".request.set[0]{field}"), "{entry}");
    }
}

/// The script is one for all, so that one interpreter serves them all, and a template is never part of it.
#[test]
fn templates_are_data() {
    let filter = |value: &str| {
        let spec = json!({"request": {"set": [{"name": "a", "value": value}]}});
        parse(&spec).unwrap().envoy().unwrap().value
    };
    let (a, b) = (filter("]] os.exit() --[["), filter("other"));
    let script = SCRIPT.as_bytes();
    for encoded in [&a, &b] {
        assert!(encoded.windows(script.len()).any(|part| part == script));
    }
    assert!(SCRIPT.len() < 30_000, "every route that transforms has a copy: {}", SCRIPT.len());
}
