//! Objects that cannot be read.

use postern::kubernetes::watch::Scope;
use postern_translator::{Kind, Object};

use crate::server::ApiServer;
use crate::watched::{Seen, Watched, key, options};

/// A definition that lets everything pass, as an older or a forked one may have done.
const LOOSE: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tcproutes.gateway.networking.k8s.io, annotations: {api-approved.kubernetes.io: unapproved}}
spec:
  group: gateway.networking.k8s.io
  names: {kind: TCPRoute, plural: tcproutes, singular: tcproute, listKind: TCPRouteList}
  scope: Namespaced
  versions:
  - name: v1alpha2
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

fn route(name: &str, port: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {{namespace: default, name: {name}}}\nspec:\n  \
         rules: [{{backendRefs: [{{name: echo, port: {port}}}]}}]\n"
    )
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_harms_nothing_else() {
    let server = ApiServer::alone().await;
    server.apply(LOOSE);
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    let name = |name: &str| key(Kind::TcpRoute, "default", name);
    for (route_name, port) in [("bad", "http"), ("good", "80"), ("other", "80")] {
        server.apply(&route(route_name, port));
    }

    let mut watched = Watched::synced(server.client().await, options(Scope::All)).await;
    let invalid = |seen: &[Seen], name: &str| {
        seen.iter().any(|seen| matches!(seen, Seen::Invalid(key, error) if key.name == name && error.contains("spec.rules[0].backendRefs[0].port")))
    };
    assert!(invalid(&watched.seen, "bad"), "{:?}", watched.seen);
    assert!(watched.objects.contains_key(&name("good")) && !watched.objects.contains_key(&name("bad")));
    assert_eq!(watched.report("TCPRoute").invalid, 1);

    // A good object that becomes bad keeps its good version.
    server.apply(&route("good", "http"));
    watched.until("report", |seen| invalid(seen, "good")).await;
    assert!(watched.objects.contains_key(&name("good")), "the last good version stays");
    server.apply(&route("other", "81"));
    watched
        .until("other", |seen| seen.iter().filter(|seen| **seen == Seen::Upsert(name("other"))).count() == 2)
        .await;

    // Both are mended.
    for mended in ["bad", "good"] {
        watched.forget();
        server.apply(&route(mended, "82"));
        watched.until("recovery", |seen| seen.contains(&Seen::Recovered(name(mended)))).await;
        watched.upserted(&name(mended)).await;
        let Some(Object::TcpRoute(object)) = watched.objects.get(&name(mended)) else {
            panic!("no {mended}")
        };
        assert_eq!(object.spec.rules[0].backend_refs[0].port, Some(82));
    }

    // A bad one that goes is not bad any more.
    server.apply(&route("brief", "http"));
    watched.until("report", |seen| invalid(seen, "brief")).await;
    server.kubectl(&["delete", "tcproute", "brief"]);
    watched.deleted(&name("brief")).await;
    assert!(watched.seen.contains(&Seen::Recovered(name("brief"))));
    assert_eq!(watched.report("TCPRoute").invalid, 0);
}
