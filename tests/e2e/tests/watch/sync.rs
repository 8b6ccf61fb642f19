//! The beginning: everything is told once, and only then that all is told.

use std::time::Instant;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use postern::kubernetes::watch::Scope;
use postern_api::gateway_api::HttpRoute;
use postern_translator::{Kind, Object};

use crate::server::ApiServer;
use crate::watched::{Seen, Watched, key, options};

const EACH: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_objects_are_told_once_before_synced() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("many", &[]).await;
    let client = server.client().await;
    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let routes: Api<HttpRoute> = Api::namespaced(client.clone(), &namespace);
    let text = crate::route(&namespace, "template", 80);
    let template: HttpRoute = serde_yaml::from_str(&text).unwrap();
    let made = stream::iter(0..EACH).map(|index| {
        let metadata = ObjectMeta { name: Some(format!("r-{index}")), ..ObjectMeta::default() };
        let service = Service {
            metadata: metadata.clone(),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                ports: Some(vec![ServicePort { port: 80, ..ServicePort::default() }]),
                ..ServiceSpec::default()
            }),
            status: None,
        };
        let route = HttpRoute { metadata, ..template.clone() };
        let (services, routes) = (&services, &routes);
        async move {
            services.create(&PostParams::default(), &service).await.unwrap();
            routes.create(&PostParams::default(), &route).await.unwrap();
        }
    });
    made.buffer_unordered(32).collect::<Vec<()>>().await;

    let (before, began) = (resident(), Instant::now());
    let watched = Watched::synced(client, options(Scope::All)).await;
    eprintln!(
        "{} objects in {:?}, {} KiB more resident",
        watched.objects.len(),
        began.elapsed(),
        resident() - before
    );

    let told = watched.seen_in(&namespace);
    assert_eq!(
        told.len(),
        2 * EACH + usize::from(watched.objects.contains_key(&key(Kind::ConfigMap, "", "")))
    );
    for index in 0..EACH {
        for kind in [Kind::Service, Kind::HttpRoute] {
            let key = key(kind, &namespace, &format!("r-{index}"));
            assert!(watched.objects.contains_key(&key), "{key}");
        }
    }
    assert!(
        watched.seen.contains(&Seen::Bundle(Some("v1.7.0".into()), Some("experimental".into()))),
        "the version is told before Synced"
    );
    let report = watched.report("HTTPRoute");
    assert!(report.settled && report.objects >= EACH && report.silent.is_some(), "{report:?}");
    let metrics = watched.metrics.registry_text();
    assert!(
        metrics.contains(&format!(r#"postern_objects{{kind="HTTPRoute"}} {}"#, report.objects)),
        "{metrics}"
    );
}

#[tokio::test]
async fn changes_arrive_in_order() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace("order", &[]).await;
    let mut watched = Watched::synced(server.client().await, options(Scope::All)).await;
    assert!(watched.objects.contains_key(&key(Kind::Namespace, "", &namespace)));
    let route = key(Kind::HttpRoute, &namespace, "r");
    watched.forget();
    server.apply(&crate::route(&namespace, "r", 80));
    watched.upserted(&route).await;
    watched.forget();
    server.apply(&crate::route(&namespace, "r", 81));
    watched.upserted(&route).await;
    let Some(Object::HttpRoute(object)) = watched.objects.get(&route) else { panic!("no route") };
    assert_eq!(object.spec.rules[0].backend_refs[0].port, Some(81));
    server.kubectl(&["delete", "httproute", "r", "--namespace", &namespace]);
    watched.deleted(&route).await;
    assert_eq!(watched.seen_in(&namespace), [Seen::Upsert(route.clone()), Seen::Delete(route)]);
}

/// Memory of this process, in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
