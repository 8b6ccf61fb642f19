//! ServiceImports (GEP-1748): services that several clusters have together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_e2e::{Authority, Backend, Want, World, authorities, http_route, service};

const REFERENCE: &str = "group: multicluster.x-k8s.io, kind: ServiceImport, name: store";

fn import(spec: &str, status: &str) -> String {
    format!(
        "apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceImport
metadata: {{name: store, namespace: default}}
spec: {{{spec}}}
status: {{{status}}}
---
"
    )
}

fn slice(cluster: &str, endpoint: SocketAddr) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: store-{cluster}
  namespace: default
  labels: {{multicluster.kubernetes.io/service-name: store, multicluster.kubernetes.io/source-cluster: {cluster}}}
addressType: IPv4
ports: [{{name: main, port: {}}}]
endpoints: [{{addresses: [{}]}}]
---
",
        endpoint.port(),
        endpoint.ip()
    )
}

/// A Service means the endpoints of this cluster, a ServiceImport of the same name those of all.
#[tokio::test]
async fn endpoints_of_all_clusters() {
    let mut world = World::with_backends(&[]).await;
    let (local, east, west) =
        (Backend::start("local").await, Backend::start("east").await, Backend::start("west").await);
    world
        .apply(
            &[
                service("default", "store", "", &[local.address()]),
                import("type: ClusterSetIP, ips: [127.0.0.77], ports: [{name: main, port: 8080}]", ""),
                slice("here", local.address()),
                slice("east", east.address()),
                slice("west", west.address()),
                http_route(
                    "r",
                    &format!(
                        "
rules:
- matches: [{{path: {{value: /cluster}}}}]
  backendRefs: [{{name: store, port: 8080}}]
- matches: [{{path: {{value: /set}}}}]
  backendRefs: [{{{REFERENCE}, port: 8080}}]
"
                    ),
                ),
            ]
            .concat(),
        )
        .await;
    let (cluster, set) = (world.call("example.org", "/cluster"), world.call("example.org", "/set"));
    world.expect(set.clone(), Want::Status(200)).await;
    let mut tally: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..60 {
        *tally.entry(set.send().await.unwrap().backend()).or_default() += 1;
        assert_eq!(cluster.send().await.unwrap().backend(), "local");
    }
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["east", "local", "west"], "{tally:?}");

    // A cluster leaves the set.
    world.delete("EndpointSlice", "store-east").await;
    world.delete("EndpointSlice", "store-here").await;
    for _ in 0..20 {
        world.expect(set.clone(), Want::Backend("west")).await;
    }
    world.assert_nothing_rejected().await;
}

/// A provider need not make EndpointSlices: then the service has an address that leads to all clusters.
#[tokio::test]
async fn the_address_of_the_service_where_there_are_no_slices() {
    let mut world = World::with_backends(&[]).await;
    let authority = Authority::new("set");
    let behind = Backend::tls("behind", &authority.issue(&["store.test"])).await;
    let port = behind.address().port();
    let spec = |kind: &str| format!("type: {kind}, ips: [127.0.0.1], ports: [{{name: main, port: {port}}}]");
    world
        .apply(
            &[
                import(&spec("ClusterSetIP"), ""),
                authorities("ca", &[&authority]),
                "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: p, namespace: default, generation: 1}
spec:
  targetRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: store, sectionName: main}]
  validation: {hostname: store.test, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}
---
"
                .to_owned(),
                // The only port is meant.
                http_route("r", &format!("rules: [{{backendRefs: [{{{REFERENCE}}}]}}]")),
            ]
            .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    let seen = world.expect(call.clone(), Want::Backend("behind")).await.seen().unwrap();
    assert_eq!(seen.sni.as_deref(), Some("store.test"));
    world.assert_status("BackendTLSPolicy/p", &["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]);

    // Headless ones have no address, and what says that it has slices is believed.
    world.apply(&import(&spec("Headless"), "")).await;
    world.expect(call.clone(), Want::Status(503)).await;
    assert!(world.problems().contains("there is neither an EndpointSlice"), "{}", world.problems());
    world.apply(&import(&spec("ClusterSetIP"), "endpointSliceObjects: Present")).await;
    world.expect(call.clone(), Want::Status(503)).await;
    world.apply(&import(&spec("ClusterSetIP"), "endpointSliceObjects: Absent")).await;
    world.expect(call.clone(), Want::Backend("behind")).await;

    world.delete("ServiceImport", "store").await;
    world.expect(call, Want::Status(500)).await;
    world.assert_status("HTTPRoute/r", &["ResolvedRefs=False BackendNotFound"]);
    world.assert_nothing_rejected().await;
}
