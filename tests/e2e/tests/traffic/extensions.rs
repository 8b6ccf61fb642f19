//! ExtensionRef filters, and filters that nobody knows.

use postern_e2e::{Want, World, covers, http_route};

fn direct_response(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.kgateway.dev/v1alpha1
kind: DirectResponse
metadata: {{name: {name}, namespace: default}}
spec: {spec}
---
"
    )
}

fn rule(path: &str, filter: &str) -> String {
    format!(
        "- matches: [{{path: {{value: {path}}}}}]\n  filters: [{filter}]\n  backendRefs: [{{name: v1, port: 8080}}]\n"
    )
}

fn extension(name: &str) -> String {
    format!(
        "{{type: ExtensionRef, extensionRef: {{group: gateway.kgateway.dev, kind: DirectResponse, name: {name}}}}}"
    )
}

#[tokio::test]
async fn direct_responses() {
    covers!("DirectResponse.spec.statusCode", "DirectResponse.spec.status", "DirectResponse.spec.body");
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(
            &[
                direct_response("teapot", "{statusCode: 418, body: 'short and % stout'}"),
                // kgateway spells the status differently.
                direct_response("gone", "{status: 410}"),
                http_route(
                    "direct",
                    &[
                        "rules:\n".to_owned(),
                        rule("/teapot", &extension("teapot")),
                        rule("/gone", &extension("gone")),
                        rule("/later", &extension("later")),
                    ]
                    .concat(),
                ),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/teapot");
    world
        .expect_that(call.clone(), "418 with the body", |it| {
            it.status == 418 && it.text() == "short and % stout"
        })
        .await;
    let gone = world.call("example.org", "/gone");
    world.expect(gone, Want::Status(410)).await;
    // An object that does not exist yet fails its own rule, and works as soon as it comes.
    let later = world.call("example.org", "/later");
    world.expect(later.clone(), Want::Status(500)).await;
    world.apply(&direct_response("later", "{statusCode: 202, body: here}")).await;
    world.expect_that(later, "202", |it| it.status == 202 && it.text() == "here").await;
    // A change of the object alone is a change of the answer.
    world.apply(&direct_response("teapot", "{statusCode: 200, body: changed}")).await;
    world.expect_that(call, "200 changed", |it| it.status == 200 && it.text() == "changed").await;
}

#[tokio::test]
async fn unknown_filters_fail_their_own_rule_only() {
    let mut world = World::with_backends(&["v1"]).await;
    world
        .apply(&http_route(
            "unknown",
            &[
                "rules:\n".to_owned(),
                rule("/type", "{type: FromTheFuture}"),
                rule(
                    "/kind",
                    "{type: ExtensionRef, extensionRef: {group: example.com, kind: Unknown, name: x}}",
                ),
                // A catch-all: a broken rule must not fall through to it.
                "- {matches: [{path: {value: /}}], backendRefs: [{name: v1, port: 8080}]}\n".to_owned(),
            ]
            .concat(),
        ))
        .await;
    let call = world.call("example.org", "/fine");
    world.expect(call, Want::Backend("v1")).await;
    for path in ["/type", "/kind/x"] {
        let call = world.call("example.org", path);
        world.expect(call, Want::Status(500)).await;
    }
}
