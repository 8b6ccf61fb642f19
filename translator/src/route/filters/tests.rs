use super::*;
use crate::dependency::tests::{World, object, yaml};
use crate::object::Object;

fn world() -> World {
    World::new(&[
        (Kind::Service, "a/s", "spec: {ports: [{port: 80}]}"),
        (Kind::Service, "b/s", "spec: {ports: [{port: 80}]}"),
        (Kind::DirectResponse, "a/tea", "spec: {statusCode: 418, body: teapot}"),
        (Kind::DirectResponse, "a/broken", "spec: {statusCode: 99}"),
        (Kind::TrafficPolicy, "a/p", "spec: {timeout: {request: 3s}}"),
    ])
}

fn read(filters: &str, prefix_only: bool) -> Result<Filters, FilterError> {
    let world = world();
    let reader = world.reader();
    super::parse(&reader, &ObjectKey::new(Kind::HttpRoute, "a", "r"), &yaml::<Vec<_>>(filters), prefix_only)
}

fn good(filters: &str) -> Filters {
    read(filters, true).unwrap_or_else(|error| panic!("{filters}: {error:?}"))
}

fn refused(filters: &str) -> (&'static str, String) {
    let error = read(filters, true).expect_err(filters);
    (error.reason, error.fault.field)
}

const HEADERS: &str = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}";
const REDIRECT: &str = "{type: RequestRedirect, requestRedirect: {}}";
const REWRITE: &str = "{type: URLRewrite, urlRewrite: {hostname: x.y}}";

#[test]
fn filters_that_exclude_each_other() {
    let incompatible = reason::INCOMPATIBLE_FILTERS;
    for (filters, field) in [
        (format!("[{HEADERS}, {HEADERS}]"), ".filters[1].type"),
        (format!("[{REWRITE}, {HEADERS}, {REWRITE}]"), ".filters[2].type"),
        (format!("[{REDIRECT}, {REWRITE}]"), ".filters"),
        (format!("[{REWRITE}, {REDIRECT}]"), ".filters"),
    ] {
        assert_eq!(refused(&filters), (incompatible, field.to_owned()), "{filters}");
    }
    good(&format!("[{HEADERS}, {REDIRECT}]"));
    good(&format!("[{HEADERS}, {REWRITE}]"));
}

fn mirror(rest: &str) -> String {
    format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: s, port: 80}}{rest}}}}}")
}

#[test]
fn fractions_of_mirrors() {
    for (rest, millionths) in [
        ("", 1_000_000),
        (", percent: 100", 1_000_000),
        (", percent: 42", 420_000),
        (", fraction: {numerator: 1}", 10_000),
        (", fraction: {numerator: 1, denominator: 3}", 333_333),
        (", fraction: {numerator: 5, denominator: 1000}", 5_000),
        (", fraction: {numerator: 2147483647, denominator: 2147483647}", 1_000_000),
    ] {
        let mirrors = good(&format!("[{}]", mirror(rest))).mirrors;
        assert_eq!(mirrors.iter().map(|m| m.millionths).collect::<Vec<_>>(), [millionths], "{rest}");
    }
    for rest in [", percent: 0", ", fraction: {numerator: 0, denominator: 7}"] {
        assert_eq!(good(&format!("[{}]", mirror(rest))).mirrors, [], "{rest}");
    }
    for (rest, field) in [
        (", percent: 101", ".filters[0].requestMirror.percent"),
        (", fraction: {numerator: 101}", ".filters[0].requestMirror.fraction"),
        (", fraction: {numerator: 0, denominator: 0}", ".filters[0].requestMirror.fraction"),
        (", percent: 1, fraction: {numerator: 1}", ".filters[0].requestMirror"),
    ] {
        assert_eq!(refused(&format!("[{}]", mirror(rest))).1, field, "{rest}");
    }
}

/// Mirrors may be many; one that leads nowhere costs the requests nothing.
#[test]
fn several_mirrors_and_one_that_does_not_resolve() {
    let nowhere = "{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}";
    let foreign = "{type: RequestMirror, requestMirror: {backendRef: {name: s, namespace: b, port: 80}}}";
    let filters = good(&format!("[{}, {nowhere}, {}, {foreign}]", mirror(""), mirror(", percent: 5")));
    assert_eq!(filters.mirrors.len(), 2);
    let unresolved: Vec<_> = filters.unresolved.iter().map(|(at, why)| (at.as_str(), why.reason)).collect();
    assert_eq!(
        unresolved,
        [
            (".filters[1].requestMirror.backendRef.name", reason::BACKEND_NOT_FOUND),
            (".filters[3].requestMirror.backendRef.namespace", reason::REF_NOT_PERMITTED),
        ]
    );
}

#[test]
fn redirects_and_rewrites() {
    let redirect =
        |spec: &str| good(&format!("[{{type: RequestRedirect, requestRedirect: {spec}}}]")).redirect.unwrap();
    assert_eq!(redirect("{}"), Redirect { status: 302, ..Redirect::default() });
    assert_eq!(
        redirect("{scheme: https, hostname: X.Example.com, port: 8443, statusCode: 308}"),
        Redirect {
            scheme: Some("https".into()),
            host: Some("x.example.com".into()),
            port: Some(8443),
            path: None,
            status: 308
        }
    );
    let path = |spec: &str| redirect(&format!("{{path: {spec}}}")).path.unwrap();
    for (spec, expected) in [
        ("{type: ReplaceFullPath, replaceFullPath: /x/}", PathChange::Full("/x/".into())),
        ("{type: ReplaceFullPath, replaceFullPath: x}", PathChange::Full("/x".into())),
        ("{type: ReplaceFullPath, replaceFullPath: ''}", PathChange::Full("/".into())),
        ("{type: ReplacePrefixMatch, replacePrefixMatch: /x/}", PathChange::Prefix("/x".into())),
        ("{type: ReplacePrefixMatch, replacePrefixMatch: x}", PathChange::Prefix("/x".into())),
        ("{type: ReplacePrefixMatch, replacePrefixMatch: /}", PathChange::Prefix(String::new())),
        ("{type: ReplacePrefixMatch, replacePrefixMatch: ''}", PathChange::Prefix(String::new())),
    ] {
        assert_eq!(path(spec), expected, "{spec}");
    }
}

#[test]
fn what_cannot_be_carried_out_names_its_field() {
    let redirect = |spec: &str| format!("[{{type: RequestRedirect, requestRedirect: {spec}}}]");
    let rewrite = |spec: &str| format!("[{{type: URLRewrite, urlRewrite: {spec}}}]");
    for (filters, field) in [
        ("[{type: RequestRedirect}]".to_owned(), "requestRedirect"),
        ("[{type: CORS}]".to_owned(), "cors"),
        ("[{type: RequestMirror}]".to_owned(), "requestMirror"),
        ("[{type: Unheard}]".to_owned(), "type"),
        ("[{type: ExternalAuth}]".to_owned(), "externalAuth"),
        (redirect("{scheme: ftp}"), "requestRedirect.scheme"),
        (redirect("{statusCode: 200}"), "requestRedirect.statusCode"),
        (redirect("{hostname: '*.x.y'}"), "requestRedirect.hostname"),
        (redirect("{hostname: 'x.y:80'}"), "requestRedirect.hostname"),
        (redirect("{path: {type: Near}}"), "requestRedirect.path.type"),
        (redirect("{path: {type: ReplaceFullPath}}"), "requestRedirect.path.replaceFullPath"),
        (
            rewrite("{path: {type: ReplaceFullPath, replaceFullPath: '/a?b'}}"),
            "urlRewrite.path.replaceFullPath",
        ),
        (
            rewrite("{path: {type: ReplacePrefixMatch, replacePrefixMatch: '/a b'}}"),
            "urlRewrite.path.replacePrefixMatch",
        ),
        (rewrite("{hostname: 10.0.0.1}"), "urlRewrite.hostname"),
    ] {
        let expected = (reason::UNSUPPORTED_VALUE, format!(".filters[0].{field}"));
        assert_eq!(refused(&filters), expected, "{filters}");
    }
}

#[test]
fn a_prefix_can_be_replaced_only_where_every_match_is_one() {
    let filters =
        "[{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}]";
    assert_eq!(read(filters, false).unwrap_err().fault.field, ".filters[0].urlRewrite.path.type");
    assert_eq!(read(filters, true).unwrap().path_rewrite, Some(PathChange::Prefix("/x".into())));
}

#[test]
fn extensions() {
    let extension = |kind: &str, name: &str| {
        format!(
            "[{{type: ExtensionRef, extensionRef: {{group: gateway.kgateway.dev, kind: {kind}, name: {name}}}}}]"
        )
    };
    let answer = good(&extension("DirectResponse", "tea")).answer;
    assert_eq!(answer, Some(Answer { status: 418, body: Some("teapot".into()) }));
    assert_eq!(good(&extension("TrafficPolicy", "p")).policies.len(), 1);
    for (filters, field) in [
        (extension("DirectResponse", "gone"), "name"),
        (extension("DirectResponse", "broken"), "name"),
        (extension("TrafficPolicy", "gone"), "name"),
        (extension("Backend", "p"), "kind"),
        ("[{type: ExtensionRef, extensionRef: {group: '', kind: Service, name: s}}]".to_owned(), "kind"),
    ] {
        assert_eq!(refused(&filters).1, format!(".filters[0].extensionRef.{field}"), "{filters}");
    }
}

#[test]
fn direct_responses_in_both_dialects() {
    let read = |spec: &str| {
        let Object::DirectResponse(object) =
            object(Kind::DirectResponse, "a/d", &format!("spec: {{{spec}}}"))
        else {
            panic!("a DirectResponse")
        };
        answer(&object)
    };
    let tea = |body: Option<&str>| Answer { status: 418, body: body.map(str::to_owned) };
    assert_eq!(read("statusCode: 418"), Ok(tea(None)));
    assert_eq!(read("status: 418, body: x"), Ok(tea(Some("x"))));
    assert_eq!(read("status: 418, body: ''"), Ok(tea(None)));
    let long = "x".repeat(MAX_BODY_BYTES + 1);
    assert!(read(&format!("status: 200, body: {}", &long[1..])).is_ok());
    for (spec, field) in [
        ("body: x", "spec.statusCode"),
        ("statusCode: 418, status: 418", "spec.status"),
        ("statusCode: 199", "spec.statusCode"),
        ("status: 600", "spec.status"),
        (&format!("status: 200, body: {long}"), "spec.body"),
    ] {
        assert_eq!(read(spec).unwrap_err().field, field, "{spec}");
    }
}
