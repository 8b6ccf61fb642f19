//! CustomResourceDefinitions that come and go while the controller runs.

use postern::kubernetes::watch::{Phase, Scope};
use postern_translator::{Kind, Object};

use crate::server::{ApiServer, SERVICE_IMPORTS, gateway_api};
use crate::watched::{Seen, Watched, key, options};

#[tokio::test]
async fn kinds_are_watched_as_soon_as_they_are_served_and_forgotten_when_they_are_not() {
    let server = ApiServer::alone().await;
    let mut watched = Watched::synced(server.client().await, options(Scope::All)).await;
    assert_eq!(watched.phase("HTTPRoute"), Phase::NotServed);
    assert_eq!(watched.phase("Service"), Phase::Watching);
    assert!(watched.seen.contains(&Seen::Bundle(None, None)));
    assert!(watched.seen.contains(&Seen::Served(Kind::HttpRoute, false)));

    server.kubectl(&["apply", "--server-side", "-k", &gateway_api("standard")]);
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    server.apply(&crate::route("default", "r", 80));
    let route = key(Kind::HttpRoute, "default", "r");
    watched.upserted(&route).await;
    watched.until("news of the kind", |seen| seen.contains(&Seen::Served(Kind::HttpRoute, true))).await;
    watched
        .until("bundle", |seen| seen.contains(&Seen::Bundle(Some("v1.7.0".into()), Some("standard".into()))))
        .await;
    let count = watched.seen.iter().filter(|seen| **seen == Seen::Synced).count();
    assert_eq!(count, 1, "Synced comes once");

    // A version that is not served any more, while another one is: the objects stay.
    server.apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: c}\nspec: {controllerName: a.b/c}\n",
    );
    let class = key(Kind::GatewayClass, "", "c");
    watched.upserted(&class).await;
    watched.forget();
    let versions = server.kubectl(&[
        "get",
        "crd",
        "gatewayclasses.gateway.networking.k8s.io",
        "-o",
        "jsonpath={.spec.versions[*].name}",
    ]);
    let old = versions.split(' ').position(|version| version == "v1").expect("v1");
    let patch = format!(r#"[{{"op": "replace", "path": "/spec/versions/{old}/served", "value": false}}]"#);
    server.kubectl(&[
        "patch",
        "crd",
        "gatewayclasses.gateway.networking.k8s.io",
        "--type=json",
        "-p",
        &patch,
    ]);
    watched.upserted(&class).await;
    assert!(!watched.seen.contains(&Seen::Delete(class.clone())), "{:?}", watched.seen);
    assert!(watched.objects.contains_key(&class));

    // The definition goes, and its objects with it.
    watched.forget();
    server.kubectl(&[
        "delete",
        "crd",
        "httproutes.gateway.networking.k8s.io",
        "gateways.gateway.networking.k8s.io",
    ]);
    watched.deleted(&route).await;
    watched.until("end of HTTPRoute", |seen| seen.contains(&Seen::Regained("HTTPRoute"))).await;
    assert_eq!(watched.phase("HTTPRoute"), Phase::NotServed);

    // And back again.
    watched.forget();
    server.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &gateway_api("standard")]);
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    server.apply(&crate::route("default", "r", 80));
    watched.upserted(&route).await;
}

/// There may be very many Pods, and only XBackends select them.
#[tokio::test]
async fn pods_are_watched_once_x_backends_are_served() {
    let server = ApiServer::alone().await;
    let pod = key(Kind::Pod, "default", "p");
    server.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default, labels: {app: x}}\n\
         spec: {automountServiceAccountToken: false, containers: [{name: c, image: i}]}\n",
    );
    let mut watched = Watched::synced(server.client().await, options(Scope::All)).await;
    assert_eq!(watched.phase("Pod"), Phase::NotServed);
    assert!(!watched.objects.contains_key(&pod));

    server.kubectl(&["apply", "--server-side", "-k", &gateway_api("experimental")]);
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    watched.upserted(&pod).await;
    watched.forget();
    server.kubectl(&["label", "pod", "p", "app=y", "--overwrite"]);
    watched.upserted(&pod).await;
    server.kubectl(&["delete", "pod", "p", "--force", "--grace-period=0"]);
    watched.deleted(&pod).await;
}

/// Few clusters have them, so they may come late, and in the version that their provider has.
#[tokio::test]
async fn service_imports_are_found_when_their_provider_comes() {
    let server = ApiServer::alone().await;
    let mut watched = Watched::synced(server.client().await, options(Scope::All)).await;
    assert_eq!(watched.phase("ServiceImport"), Phase::NotServed);

    server.apply(SERVICE_IMPORTS);
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    server.apply(
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {name: s, namespace: default}\n\
         spec: {type: ClusterSetIP, ips: [10.42.0.1], ports: [{port: 80, protocol: TCP}]}\n",
    );
    let import = key(Kind::ServiceImport, "default", "s");
    watched.upserted(&import).await;
    let Some(Object::ServiceImport(read)) = watched.objects.get(&import) else { panic!("a ServiceImport") };
    assert_eq!((read.spec.ips.as_slice(), read.spec.ports[0].port), (&["10.42.0.1".to_owned()][..], 80));

    watched.forget();
    server.kubectl(&["delete", "crd", "serviceimports.multicluster.x-k8s.io"]);
    watched.deleted(&import).await;
    let end = Seen::Served(Kind::ServiceImport, false);
    watched.until("end of ServiceImport", |seen| seen.contains(&end)).await;
    assert_eq!(watched.phase("ServiceImport"), Phase::NotServed);
}
