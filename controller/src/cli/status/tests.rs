use std::collections::BTreeMap;

use kube::core::ObjectMeta;
use postern_translator::Kind;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::judge::overview;
use super::world::{Known, PodInfo, ReplicaInfo, World};
use super::*;
use crate::inspect::document::{self, Gateways, Rejection, Replica};

const CLUSTER: &str = include_str!("testdata/cluster.yaml");

fn objects() -> Vec<Known> {
    let read = |document| {
        let mut data = Value::deserialize(document).expect("YAML");
        let text = |name: &str| data[name].as_str().expect("text").to_owned();
        let kind = Kind::from_gvk(&text("apiVersion"), &text("kind")).expect("a known kind");
        let metadata: ObjectMeta = serde_json::from_value(data["metadata"].take()).expect("metadata");
        Known { kind, metadata, data }
    };
    serde_yaml::Deserializer::from_str(CLUSTER).map(read).collect()
}

fn pod(name: &str, ip: &str, ready: bool) -> PodInfo {
    PodInfo {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        gateway: "web".to_owned(),
        ip: ip.to_owned(),
        ready,
        ending: false,
    }
}

fn proxy(peer: &str, in_sync: bool, listeners: usize) -> document::Proxy {
    document::Proxy {
        stream: 1,
        peer: Some(peer.to_owned()),
        in_sync,
        bytes_sent: 1000,
        acknowledged: [("CDS", 4), ("LDS", listeners)].map(|(t, n)| (t.to_owned(), n)).into(),
        pending: BTreeMap::new(),
        rejections: Vec::new(),
    }
}

fn replica(identity: &str, leader: bool, digest: &str, proxies: Vec<document::Proxy>) -> ReplicaInfo {
    let versions = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), "1".to_owned())).collect();
    let gateway = document::Gateway {
        digest: Some(digest.to_owned()),
        resources: BTreeMap::from([
            ("CDS".to_owned(), versions(&["a", "b", "c", "d"])),
            ("LDS".to_owned(), versions(&["80/tcp", "443/tcp"])),
        ]),
        proxies,
        ..document::Gateway::default()
    };
    let said = Replica { identity: identity.to_owned(), version: "0.1.0".to_owned(), leader, synced: true };
    let gateways = Gateways { gateways: BTreeMap::from([("shop/web".to_owned(), gateway)]) };
    ReplicaInfo { pod: identity.to_owned(), ready: true, said: Some((said, gateways)) }
}

/// Two Gateways with most things that can be wrong with them.
fn world() -> World {
    let mut refusing = proxy("10.0.0.2:40002", true, 1);
    refusing.rejections.push(Rejection {
        resource_type: "LDS".to_owned(),
        name: "443/tcp".to_owned(),
        error: "cannot bind '0.0.0.0:443'".to_owned(),
    });
    World {
        objects: objects(),
        classes_known: true,
        pods: Some(vec![
            pod("web-a", "10.0.0.1", true),
            pod("web-b", "10.0.0.2", true),
            pod("web-c", "10.0.0.3", false),
        ]),
        replicas: vec![
            replica("postern-0", true, "aaaa", vec![proxy("10.0.0.1:40001", true, 2)]),
            replica("postern-1", false, "bbbb", vec![refusing, proxy("[fd00::9]:40009", false, 1)]),
        ],
        notes: vec!["You may not list objects of kind UDPRoute: they are left out.".to_owned()],
    }
}

fn question(namespace: Option<&str>, gateway: Option<&str>) -> Question {
    Question {
        namespace: namespace.map(str::to_owned),
        gateway: gateway.map(str::to_owned),
        controller_name: CONTROLLER_NAME.to_owned(),
        controller_namespace: "postern-system".to_owned(),
    }
}

fn look(wide: bool, detail: bool) -> Look {
    let now = "2026-03-10T12:00:00Z".parse().expect("a time");
    Look { paint: Paint::plain(), wide, detail, now }
}

fn text(world: &World, question: &Question, wide: bool) -> String {
    let overview = overview(world, question);
    print::text(&overview, look(wide, question.gateway.is_some()))
}

#[test]
fn all_gateways() {
    insta::assert_snapshot!(text(&world(), &question(None, None), false));
}

#[test]
fn children_of_routes_belong_to_the_gateway() {
    let child = |name: &str, (namespace, parent): (&str, &str)| {
        let reference = json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": namespace, "name": parent});
        let entry = json!({"parentRef": reference, "controllerName": CONTROLLER_NAME, "conditions": []});
        Known {
            kind: Kind::HttpRoute,
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("team".to_owned()),
                ..ObjectMeta::default()
            },
            data: json!({"spec": {}, "status": {"parents": [entry]}}),
        }
    };
    let mut world = world();
    // The one below comes first, and a circle is none of the Gateway's.
    world.objects.extend([
        child("low", ("team", "middle")),
        child("middle", ("shop", "cart")),
        child("circle", ("team", "circle")),
    ]);
    let overview = overview(&world, &question(Some("shop"), Some("web")));
    let children: Vec<_> = overview.gateways[0]
        .routes
        .iter()
        .filter(|route| route.namespace == "team")
        .map(|route| (route.name.as_str(), route.parent.as_str()))
        .collect();
    assert_eq!(children, [("middle", "HTTPRoute shop/cart"), ("low", "HTTPRoute team/middle")]);
}

#[test]
fn all_gateways_wide() {
    insta::assert_snapshot!(text(&world(), &question(None, None), true));
}

#[test]
fn one_gateway() {
    insta::assert_snapshot!(text(&world(), &question(Some("shop"), Some("web")), false));
}

#[test]
fn one_gateway_as_yaml() {
    let overview = overview(&world(), &question(Some("shop"), Some("web")));
    insta::assert_snapshot!(render(&overview, View::Yaml, look(false, true)).expect("YAML"));
}

#[test]
fn names_for_kubectl() {
    let overview = overview(&world(), &question(None, None));
    assert_eq!(
        print::names(&overview),
        "gateway.gateway.networking.k8s.io/internal\ngateway.gateway.networking.k8s.io/web\n"
    );
}

#[test]
fn what_is_well_is_short() {
    let mut world = world();
    world.objects.retain(|object| {
        matches!(
            (object.kind, object.metadata.name.as_deref()),
            (Kind::GatewayClass, _) | (Kind::Gateway, Some("web"))
        )
    });
    for object in &mut world.objects {
        let text = object.data.to_string().replace("\"False\"", "\"True\"").replace("NoConflicts", "-");
        object.data = serde_json::from_str(&text).expect("JSON");
        if let Some(listeners) = object.data.pointer_mut("/status/listeners") {
            for listener in listeners.as_array_mut().expect("a list") {
                let conditions = listener["conditions"].as_array_mut().expect("a list");
                conditions.retain(|condition| condition["type"] != "Conflicted");
            }
        }
    }
    world.pods = Some(vec![pod("web-a", "10.0.0.1", true)]);
    world.replicas = vec![replica("postern-0", true, "aaaa", vec![proxy("10.0.0.1:40001", true, 2)])];
    world.notes.clear();
    let question = question(Some("shop"), None);
    let overview = overview(&world, &question);
    assert_eq!(verdict(&overview, false), HEALTHY, "{:?}", overview.problems);
    insta::assert_snapshot!(print::text(&overview, look(false, false)));
}

/// Which default Gateways a route has, only its status says (GEP-3793).
#[test]
fn routes_that_ask_for_default_gateways() {
    let route = |name: &str, scope: &str| {
        let parent = serde_json::json!({"name": "web", "namespace": "shop"});
        let accepted = serde_json::json!([{"type": "Accepted", "status": "True", "reason": "Accepted"}]);
        let entry = |controller: &str| serde_json::json!({"parentRef": parent, "controllerName": controller, "conditions": accepted});
        Known {
            kind: Kind::HttpRoute,
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("ops".to_owned()),
                ..ObjectMeta::default()
            },
            data: serde_json::json!({
                "spec": {"useDefaultGateways": scope},
                "status": {"parents": [entry("example.com/other"), entry("postern.dev/gateway-controller")]},
            }),
        }
    };
    let mut world = world();
    world.objects.extend([route("defaulted", "All"), route("left-over", "None")]);
    let overview = overview(&world, &question(Some("shop"), Some("web")));
    let of_ops = overview.gateways[0].routes.iter().filter(|route| route.namespace == "ops");
    let names: Vec<_> = of_ops.map(|route| (route.name.as_str(), route.conditions.len())).collect();
    assert_eq!(names, [("defaulted", 1)]);
}

#[test]
fn nobody_could_be_asked() {
    let mut world = world();
    world.pods = None;
    for replica in &mut world.replicas {
        replica.said = None;
    }
    let overview = overview(&world, &question(Some("shop"), Some("web")));
    assert_eq!(overview.gateways[0].proxies, None);
    assert!(!overview.problems.iter().any(|problem| problem.object.contains("proxy")));
}

#[test]
fn where_to_look_if_there_is_nothing() {
    let world = world();
    let said = |namespace, gateway| overview(&world, &question(namespace, gateway)).notes.join("\n");
    assert!(
        said(Some("default"), None)
            .contains("no Gateways of Postern in the namespace default; 2 Gateways elsewhere: try -A")
    );
    assert!(said(Some("default"), Some("web")).contains("There is no Gateway web in the namespace default"));
    assert!(said(Some("shop"), Some("theirs")).contains("its class other is not one of Postern's"));
    let overview = overview(&world, &question(Some("default"), Some("web")));
    assert_eq!(
        verdict(&overview, true),
        UNHEALTHY,
        "who asks for a Gateway that is not there is told by the exit code"
    );
}

#[test]
fn without_the_right_to_see_classes_every_gateway_counts() {
    let mut world = world();
    world.classes_known = false;
    world.objects.retain(|object| object.kind != Kind::GatewayClass);
    assert_eq!(overview(&world, &question(Some("shop"), None)).gateways.len(), 2);
}
