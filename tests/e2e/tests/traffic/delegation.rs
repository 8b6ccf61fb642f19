//! Route delegation: HTTPRoutes that leave their requests to other HTTPRoutes; and annotations of kgateway.

use postern_e2e::{
    Answer, Backend, Call, Load, Reply, Seen, Stream, Want, World, gateway, http_route, service, until,
};

const HTTP: &str = "  - {name: http, port: ${PORT}, protocol: HTTP}";
/// How often a child comes, changes and goes under load, and how many requests have to be answered between two changes.
const ROUNDS: u64 = 8;
const BETWEEN: u64 = 4;

/// A world with the backend `v1` in namespace `team1` and `v2` in `team2`. The listener admits routes of `default` only.
async fn world() -> World {
    let mut world = World::with_backends(&["v1", "v2"]).await;
    let namespaces = ["team1", "team2"].map(|name| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{kubernetes.io/metadata.name: {name}}}}}\n---\n")
    });
    let services = [("team1", "v1"), ("team2", "v2")]
        .map(|(namespace, name)| service(namespace, name, "", &[world.backend(name).address()]));
    world.apply(&[gateway(HTTP), namespaces.concat(), services.concat()].concat()).await;
    world
}

/// A route of a team; `metadata` are more of its metadata, `spec` is its specification, both in flow style.
fn child(namespace: &str, name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}, generation: 1, {metadata}}}
spec: {{{spec}}}
---
"
    )
}

/// A backendRef to routes.
fn to(name: &str, namespace: &str) -> String {
    format!("{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: '{name}', namespace: {namespace}}}")
}

fn to_label(value: &str, namespace: &str) -> String {
    format!("{{group: delegation.kgateway.dev, kind: label, name: {value}, namespace: {namespace}}}")
}

/// A rule that delegates everything under `prefix`; `more` is the rest of the rule, in flow style.
fn rule(prefix: &str, backend: &str, more: &str) -> String {
    format!(
        "- {{matches: [{{path: {{type: PathPrefix, value: {prefix}}}}}], backendRefs: [{backend}]{more}}}\n"
    )
}

fn parent(rules: &[String]) -> String {
    http_route("parent", &format!("hostnames: [example.org, '*.example.com']\nrules:\n{}", rules.concat()))
}

const OF_PARENT: &str =
    "parentRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: parent, namespace: default}]";

/// Expects the same on a host that has a scope of its own and on one that has not.
async fn everywhere(world: &mut World, path: &str, change: impl Fn(Call) -> Call, want: Want) {
    for host in ["example.org", "EXAMPLE.org", "a.example.com"] {
        let call = change(world.call(host, path));
        world.expect(call, want).await;
    }
}

fn prefixes(list: &[&str]) -> String {
    let all: Vec<String> =
        list.iter().map(|it| format!("{{path: {{type: PathPrefix, value: {it}}}}}")).collect();
    format!("matches: [{}]", all.join(", "))
}

#[tokio::test]
async fn children_are_found_by_name_by_namespace_and_by_label() {
    let mut world = world().await;
    let rules = [
        rule("/name", &to("one", "team1"), ""),
        rule("/namespace", &to("*", "team2"), ""),
        rule("/label", &to_label("x", "team1"), ""),
        rule("/all", &to_label("x", "all"), ""),
    ];
    let one = prefixes(&["/name/app", "/label/app", "/all/one"]);
    let two = prefixes(&["/namespace/app", "/label/theirs", "/all/two"]);
    let labelled = "labels: {delegation.kgateway.dev/label: x}";
    world
        .apply(
            &[
                parent(&rules),
                child(
                    "team1",
                    "one",
                    labelled,
                    &format!("rules: [{{{one}, backendRefs: [{{name: v1, port: 8080}}]}}]"),
                ),
                child(
                    "team2",
                    "two",
                    labelled,
                    &format!("rules: [{{{two}, backendRefs: [{{name: v2, port: 8080}}]}}]"),
                ),
            ]
            .concat(),
        )
        .await;
    for (path, want) in [
        ("/name/app/x", Want::Backend("v1")),
        ("/name", Want::Status(404)),
        ("/namespace/app", Want::Backend("v2")),
        ("/label/app", Want::Backend("v1")),
        ("/label/theirs", Want::Status(404)),
        ("/all/one", Want::Backend("v1")),
        ("/all/two", Want::Backend("v2")),
        ("/elsewhere", Want::Status(404)),
    ] {
        everywhere(&mut world, path, |call| call, want).await;
    }
    assert_eq!(world.attached_routes("gw", "http"), 1, "children are not attached to the listener");
    world.assert_status("HTTPRoute/parent", &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]);
    world.assert_status_in(
        "HTTPRoute",
        "team1",
        "one",
        &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"],
    );
    let status = world.status("HTTPRoute", "team1", "one");
    let reference = &status["parents"][0]["parentRef"];
    assert_eq!(
        (&reference["kind"], &reference["name"], &reference["namespace"]),
        (&"HTTPRoute".into(), &"parent".into(), &"default".into())
    );
    // A label that goes takes the route with it.
    let unlabelled =
        child("team1", "one", "", &format!("rules: [{{{one}, backendRefs: [{{name: v1, port: 8080}}]}}]"));
    world.apply(&unlabelled).await;
    everywhere(&mut world, "/label/app", |call| call, Want::Status(500)).await;
    everywhere(&mut world, "/all/one", |call| call, Want::Status(404)).await;
    everywhere(&mut world, "/name/app", |call| call, Want::Backend("v1")).await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn what_a_child_matches_stays_within_what_is_delegated() {
    let mut world = world().await;
    let conditions =
        "headers: [{name: x-tenant, value: blue}], queryParams: [{name: q, value: r}], method: PUT";
    let strict = |backend: &str, prefix: &str| {
        format!("- {{matches: [{{path: {{value: {prefix}}}, {conditions}}}], backendRefs: [{backend}]}}\n")
    };
    world
        .apply(
            &[
                parent(&[
                    rule("/one", &to("within", "team1"), ""),
                    strict(&to("within", "team1"), "/strict"),
                    strict(&to("behind", "team2"), "/behind"),
                ]),
                child(
                    "team1",
                    "within",
                    "",
                    &format!(
                        "rules: [{{matches: [{{path: {{type: Exact, value: /one}}}}, {{path: {{type: RegularExpression, value: '/one/[0-9]+|/two|/one.*'}}}}, \
                         {{path: {{value: /onetwo}}}}, {{path: {{value: /strict/loose}}}}, {{path: {{value: /strict/own}}, {conditions}}}], \
                         backendRefs: [{{name: v1, port: 8080}}]}}]"
                    ),
                ),
                child(
                    "team2",
                    "behind",
                    "annotations: {delegation.kgateway.dev/inherit-parent-matcher: 'true'}",
                    "rules: [{matches: [{path: {type: Exact, value: /exact}}, {path: {type: RegularExpression, value: '/[0-9]+|/strict.*'}}, \
                     {path: {value: /prefix}, headers: [{name: x-more, value: '1'}]}], backendRefs: [{name: v2, port: 8080}]}]",
                ),
            ]
            .concat(),
        )
        .await;
    let blue = |call: Call| call.method("PUT").header("x-tenant", "blue");
    for (path, plain, conditioned) in [
        ("/one", Want::Backend("v1"), Want::Backend("v1")),
        ("/one/7", Want::Backend("v1"), Want::Backend("v1")),
        ("/one/7?x=y", Want::Backend("v1"), Want::Backend("v1")),
        ("/one/letters", Want::Backend("v1"), Want::Backend("v1")),
        // A regular expression that would lead out of what is delegated does not.
        ("/two", Want::Status(404), Want::Status(404)),
        ("/onetwo", Want::Status(404), Want::Status(404)),
        ("/strict/loose?q=r", Want::Status(404), Want::Status(404)),
        ("/strict/own?q=r", Want::Status(404), Want::Backend("v1")),
        ("/strict/own", Want::Status(404), Want::Status(404)),
        ("/behind/exact?q=r", Want::Status(404), Want::Backend("v2")),
        ("/behind/exact/more?q=r", Want::Status(404), Want::Status(404)),
        ("/behind/12?q=r", Want::Status(404), Want::Backend("v2")),
        ("/behind/12", Want::Status(404), Want::Status(404)),
        ("/behind/prefix/x?q=r", Want::Status(404), Want::Status(404)),
        ("/exact?q=r", Want::Status(404), Want::Status(404)),
    ] {
        everywhere(&mut world, path, |call| call, plain).await;
        everywhere(&mut world, path, blue, conditioned).await;
    }
    let more = |call| blue(call).header("x-more", "1");
    everywhere(&mut world, "/behind/prefix/x?q=r", more, Want::Backend("v2")).await;
    world.assert_status_in(
        "HTTPRoute",
        "team1",
        "within",
        &[
            "Accepted=True Accepted",
            "PartiallyInvalid=True UnsupportedValue",
            "ResolvedRefs=True ResolvedRefs",
        ],
    );
    world.assert_status_in(
        "HTTPRoute",
        "team2",
        "behind",
        &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"],
    );
    let problems = world.problems();
    for said in ["its path /onetwo is not under /one", "its method is not PUT"] {
        assert!(problems.contains(said), "{problems}");
    }
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn levels_circles_and_missing_children() {
    let mut world = world().await;
    let middle = |leaf: &str| {
        child(
            "team1",
            "middle",
            "",
            &format!(
                "{OF_PARENT}, rules: [{{{}, backendRefs: [{}]}}]",
                prefixes(&["/a/b"]),
                to(leaf, "team2")
            ),
        )
    };
    world
        .apply(
            &[
                parent(&[
                    rule("/a", &to("middle", "team1"), ""),
                    rule("/gone", &to("gone", "team1"), ""),
                    rule("/self", &to("parent", "default"), ""),
                    rule("/theirs", &to("of-another", "team2"), ""),
                    rule("/mixed", &format!("{}, {{name: v1, port: 8080}}", to("leaf", "team2")), ""),
                ]),
                middle("leaf"),
                child("team2", "leaf", "", &format!("rules: [{{{}, backendRefs: [{{name: v2, port: 8080}}]}}]", prefixes(&["/a/b/c", "/mixed/leaf"]))),
                child(
                    "team2",
                    "of-another",
                    "",
                    "parentRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: other, namespace: default}], \
                     rules: [{matches: [{path: {value: /theirs}}], backendRefs: [{name: v2, port: 8080}]}]",
                ),
                child("team2", "round", "", &format!("rules: [{{{}, backendRefs: [{}]}}]", prefixes(&["/a/b/round"]), to("middle", "team1"))),
            ]
            .concat(),
        )
        .await;
    for (path, want) in [
        ("/a/b/c/d", Want::Backend("v2")),
        ("/a/b", Want::Status(404)),
        ("/gone/x", Want::Status(500)),
        ("/self", Want::Status(500)),
        ("/theirs", Want::Status(500)),
        // What no child takes goes to the rule's own backends.
        ("/mixed/leaf", Want::Backend("v2")),
        ("/mixed/else", Want::Backend("v1")),
    ] {
        everywhere(&mut world, path, |call| call, want).await;
    }
    world
        .assert_status("HTTPRoute/parent", &["Accepted=True Accepted", "ResolvedRefs=False BackendNotFound"]);
    world.apply(&middle("round")).await;
    everywhere(&mut world, "/a/b/round", |call| call, Want::Status(500)).await;
    world.assert_status_in(
        "HTTPRoute",
        "team2",
        "round",
        &["Accepted=True Accepted", "ResolvedRefs=False RefNotPermitted"],
    );
    assert!(world.problems().contains("so it would never end"), "{}", world.problems());
    everywhere(&mut world, "/mixed/leaf", |call| call, Want::Backend("v2")).await;
    world
        .apply(&child(
            "team1",
            "gone",
            "",
            "rules: [{matches: [{path: {value: /gone}}], backendRefs: [{name: v1, port: 8080}]}]",
        ))
        .await;
    everywhere(&mut world, "/gone/x", |call| call, Want::Backend("v1")).await;
    world.assert_nothing_rejected().await;
}

fn policy(namespace: &str, route: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.kgateway.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: on-{route}, namespace: {namespace}, generation: 1}}
spec: {{targetRefs: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: {route}}}], {spec}}}
---
"
    )
}

#[tokio::test]
async fn children_inherit_and_override() {
    let mut world = world().await;
    let filters = ", filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}, \
                   {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-by, value: parent}]}}]";
    let rules = [rule("/one", &to("one", "team1"), filters)];
    let own = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-by, value: child}]}}";
    let one = child(
        "team1",
        "one",
        "",
        &format!(
            "rules: [{{{}, backendRefs: [{{name: v1, port: 8080}}]}}, {{{}, filters: [{own}], backendRefs: [{{name: v1, port: 8080}}]}}]",
            prefixes(&["/one/plain"]),
            prefixes(&["/one/own"])
        ),
    );
    let header =
        |value: &str| format!("responseHeaderModifier: {{set: [{{name: x-policy, value: {value}}}]}}");
    let forbid =
        |method: &str| format!("rbac: {{policy: {{matchExpressions: [\"request.method == '{method}'\"]}}}}");
    world
        .apply(
            &[
                parent(&rules),
                one,
                policy("default", "parent", &format!("{}, {}", header("parent"), forbid("GET"))),
            ]
            .concat(),
        )
        .await;
    let is = |path: &'static str, by: &'static str, policy: &'static str| {
        move |answer: &Answer| {
            answer.status == 200
                && answer
                    .seen()
                    .is_some_and(|seen| seen.path == path && seen.header("x-by").as_deref() == Some(by))
                && answer.header("x-policy").as_deref() == Some(policy)
        }
    };
    let call = world.call("example.org", "/one/plain/x");
    world.expect_that(call, "all of the parent", is("/plain/x", "parent", "parent")).await;
    let call = world.call("example.org", "/one/own");
    world.expect_that(call, "the header of the child", is("/own", "child", "parent")).await;
    everywhere(&mut world, "/one/own", |call| call.method("PUT"), Want::Status(403)).await;
    // A policy of the child wins, but not over what keeps requests out.
    world.apply(&policy("team1", "one", &format!("{}, {}", header("child"), forbid("PUT")))).await;
    let call = world.call("example.org", "/one/own");
    world.expect_that(call, "the policy of the child", is("/own", "child", "child")).await;
    everywhere(&mut world, "/one/own", |call| call.method("PUT"), Want::Status(403)).await;
    let annotated = |value: &str| {
        let annotations =
            format!("generation: 1, annotations: {{kgateway.dev/inherited-policy-priority: {value}}}");
        parent(&rules).replace("generation: 1", &annotations)
    };
    world.apply(&annotated("ShallowMergePreferParent")).await;
    let call = world.call("example.org", "/one/own");
    world.expect_that(call, "the parent wins everywhere", is("/own", "parent", "parent")).await;
    world.apply(&annotated("ShallowMergePreferChild")).await;
    let call = world.call("example.org", "/one/own").method("PUT");
    world.expect_that(call, "the parent allows it", is("/own", "child", "child")).await;
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn weights_come_before_everything_else() {
    let mut world = world().await;
    let route = |name: &str, annotations: &str, spec: &str| {
        http_route(name, spec)
            .replace("generation: 1", &format!("generation: 1, annotations: {{{annotations}}}"))
    };
    let broad = "hostnames: [example.org]\nrules: [{backendRefs: [{name: v1, port: 8080}]}]";
    let exact = "hostnames: [example.org]\nrules: [{matches: [{path: {type: Exact, value: /x}}], backendRefs: [{name: v2, port: 8080}]}]";
    for (weight_of_broad, weight_of_exact, want) in [
        ("'0'", "'0'", "v2"),
        ("'10'", "'1'", "v1"),
        ("'10'", "'11'", "v2"),
        ("'0'", "'-1'", "v1"),
        ("much", "'0'", "v2"),
    ] {
        let weight = |weight: &str| format!("kgateway.dev/route-weight: {weight}");
        world
            .apply(
                &[
                    route("broad", &weight(weight_of_broad), broad),
                    route("exact", &weight(weight_of_exact), exact),
                ]
                .concat(),
            )
            .await;
        let call = world.call("example.org", "/x");
        world.expect(call, Want::Backend(want)).await;
    }
    assert!(
        world.problems().contains("metadata.annotations[kgateway.dev/route-weight]"),
        "{}",
        world.problems()
    );
    let redirect = "hostnames: [example.org]\nrules: [{name: a, matches: [{path: {value: /r}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: example.com, statusCode: 301}}]}]";
    for (annotation, status) in [("'307'", 307), ("a=308", 308), ("b=308", 301), ("'200'", 301)] {
        let annotation = format!("kgateway.dev/http-redirect-status-code: {annotation}");
        world.apply(&route("redirect", &annotation, redirect)).await;
        let call = world.call("example.org", "/r");
        world.expect(call, Want::Status(status)).await;
    }
    world.assert_nothing_rejected().await;
}

/// Children are attached, changed and removed while requests come for others. None of those fails, and the listener stays as it is.
#[tokio::test]
async fn children_come_and_go_under_load() {
    let mut world = world().await;
    let steady = "rules: [{matches: [{path: {value: /team/steady}}], backendRefs: [{name: v1, port: 8080}]}]";
    world
        .apply(
            &[parent(&[rule("/team", &to("*", "team1"), "")]), child("team1", "steady", "", steady)].concat(),
        )
        .await;
    let call = world.call("example.org", "/team/steady");
    world.expect(call.clone(), Want::Backend("v1")).await;
    let listeners = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    let load =
        Load::start(vec![Stream::kept("kept", call.clone(), 100), Stream::fresh("new", call.clone(), 60)]);
    let other = |path: &str, round: u64| {
        let modifier = format!(
            "{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-round, value: '{round}'}}]}}}}"
        );
        child(
            "team1",
            "other",
            "",
            &format!(
                "rules: [{{matches: [{{path: {{value: {path}}}}}], filters: [{modifier}], backendRefs: [{{name: v1, port: 8080}}]}}]"
            ),
        )
    };
    let is = |round: u64| move |answer: &Answer| answer.header("x-round") == Some(round.to_string());
    for round in 0..ROUNDS {
        let at = world.call("example.org", "/team/other");
        world.apply(&other("/team/other", round)).await;
        world.expect_that(at.clone(), "the child is attached", is(round)).await;
        load.goes_on(BETWEEN).await;
        let moved = world.call("example.org", "/team/moved");
        world.apply(&other("/team/moved", round)).await;
        world.expect_that(moved.clone(), "the child is changed", is(round)).await;
        world.expect(at, Want::Status(404)).await;
        load.goes_on(BETWEEN).await;
        world.delete_in("HTTPRoute", "team1", "other").await;
        world.expect(moved, Want::Status(404)).await;
        load.goes_on(BETWEEN).await;
    }
    load.stop().await.assert_clean(ROUNDS * 3 * BETWEEN);
    let after = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
    assert_eq!(listeners, after, "the listener is the same");
    world.assert_nothing_rejected().await;
}

/// What is larger than the buffer of a connection cannot be sent again.
#[tokio::test]
async fn buffers_of_connections_have_a_limit() {
    let mut world = World::with_backends(&[]).await;
    let attempts = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let once = Backend::replying("once", move |seen: &Seen| {
        if attempts.lock().unwrap().insert(seen.path.clone()) { Reply::Status(503) } else { Reply::Echo }
    });
    world.add_backend(once.await).await;
    let spec = "rules: [{retry: {codes: [503], attempts: 2}, backendRefs: [{name: once, port: 8080}]}]";
    let limited = |limit: &str| {
        let annotations =
            format!("generation: 1, annotations: {{kgateway.dev/per-connection-buffer-limit: {limit}}}");
        gateway(HTTP).replace("generation: 1", &annotations)
    };
    let body = "x".repeat(100_000);
    for (number, (limit, small, large)) in
        [("48Ki", 200, 503), ("1Mi", 200, 200), ("much", 200, 503)].into_iter().enumerate()
    {
        world.apply(&[limited(limit), http_route("r", spec)].concat()).await;
        let wanted = match limit {
            "48Ki" => "49152",
            "1Mi" => "1048576",
            _ => "32768",
        };
        until("the listener has the limit", async || {
            let dump = world.envoy("gw").admin("/config_dump?resource=dynamic_listeners").await.unwrap();
            if dump.contains(wanted) { Ok(()) } else { Err(dump) }
        })
        .await;
        for (body, status) in [("x", small), (body.as_str(), large)] {
            let path = format!("/{number}/{}", body.len());
            let call = world.call("example.org", &path).method("POST").body(body);
            let answer = call.send().await.unwrap();
            assert_eq!(answer.status, status, "{} bytes with the limit {limit}", body.len());
        }
    }
    assert!(world.problems().contains("kgateway.dev/per-connection-buffer-limit"), "{}", world.problems());
    world.assert_nothing_rejected().await;
}
