use super::*;

fn message(text: &str) -> String {
    parse(text).unwrap_err().message
}

#[test]
fn what_envoy_can_evaluate() {
    for text in [
        "request.headers['x-role'] == 'admin' && request.path.startsWith('/p')",
        "has(request.headers.referer) || 'x-role' in request.headers",
        "request.method in ['GET', 'HEAD']",
        "source.address.matches('^10[.]') ? true : connection.mtls",
        "metadata.filter_metadata['envoy.filters.http.jwt_authn'].payload.sub == 'me'",
        "timestamp('2030-01-01T00:00:00Z') > request.time && request.time.getHours('Europe/Berlin') < 20",
        "size(request.path) > 3u && request.size < 1000 && -1.5 < 0.0 && null == null",
        "type(request.port) == int || {'a': 1}['a'] == 1",
    ] {
        // request.port is not an attribute; the rest is.
        let outcome = parse(text);
        assert_eq!(outcome.is_ok(), !text.contains("request.port"), "{text}: {outcome:?}");
    }
}

#[test]
fn what_it_cannot() {
    for (text, expected) in [
        ("", "the expression is empty"),
        ("   ", "the expression is empty"),
        ("requst.path == '/'", "requst is unknown"),
        ("request.pth == '/'", "request.pth is unknown"),
        ("launch(request.path)", "the function launch is unknown"),
        ("request.path.reverse() == ''", "the function reverse is unknown"),
        ("request.path.startsWith()", "startsWith does not take 1 arguments"),
        ("[1].exists(x, x == 1)", "Envoy cannot evaluate the macros all, exists, exists_one, filter and map"),
        ("Message{a: 1}", "Envoy cannot evaluate the message Message"),
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
    for text in ["request.path ==", "'open", "a and b", "1 == 1)", "()"] {
        assert!(message(text).starts_with("it is not CEL: column "), "{text}: {}", message(text));
    }
}

#[test]
fn size_and_depth_are_bounded() {
    assert!(message(&format!("'{}' == ''", "a".repeat(MAX_BYTES))).contains("4104 bytes"));
    let deep = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    assert!(parse(&deep(5)).is_ok());
    assert!(message(&deep(1000)).starts_with("it is not CEL"));
    for bomb in ["[", "{1:", "!", "-", "a(", "true ? 1 : ", "request.headers['", "(((((("] {
        assert!(!message(&bomb.repeat(4096 / bomb.len())).is_empty(), "{bomb}");
    }
    let long = vec!["true"; 500].join(" && ");
    assert!(parse(&long).is_ok(), "{:?}", parse(&long).err());
    let chain = format!("metadata{} == 1", ".a".repeat(2000));
    assert_eq!(message(&chain), "the expression is nested too deeply");
    let sum = format!("{} == 1", vec!["1"; 1000].join("+"));
    assert_eq!(message(&sum), "the expression is nested too deeply");
}

/// The ids of all parts differ: Envoy keeps intermediate values by them.
#[test]
fn ids_are_unique() {
    let expression = parse("[1, 2 + 3][0] > 1 && request.headers['a'] == 'b'").unwrap();
    let text = format!("{expression:?}");
    let mut ids: Vec<&str> =
        text.split("Expr { id: ").skip(1).filter_map(|rest| rest.split(',').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), count > 10), (count, true), "{text}");
}
