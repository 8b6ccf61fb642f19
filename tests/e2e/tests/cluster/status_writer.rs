//! The status writer.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, Config};
use postern::kubernetes::events::EventPublisher;
use postern::kubernetes::status::StatusWriter;
use postern::telemetry::Metrics;
use postern_api::gateway_api::{
    Condition, ConditionStatus, Gateway, GatewayStatus, HttpRoute, ListenerStatus, ParentReference,
    RouteParentStatus, RouteStatus,
};
use postern_e2e::{CLUSTER_PATIENCE, Cluster, Namespace, until_within};
use postern_translator::{Kind, Object, ObjectKey, Status};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::relay::Relay;

/// Not that of a Postern in the cluster, so that it leaves alone what these tests write.
const OURS: &str = "postern.dev/status-writer-test";
const THEIRS: &str = "example.com/another-controller";
const FOREIGN: &str = "example.com/StaleCondition";

/// A status writer with the watches that feed it, of one namespace.
struct Rig {
    writer: StatusWriter,
    metrics: Metrics,
    leader: watch::Sender<bool>,
    namespace: String,
    _tasks: JoinSet<()>,
}

impl Rig {
    fn start(client: &Client, space: &Namespace<'_>, leads: bool) -> Self {
        let metrics = Metrics::new();
        let (leader, leading) = watch::channel(leads);
        let mut tasks = JoinSet::new();
        let (events, publisher) = EventPublisher::new(client.clone(), OURS, "postern-0", metrics.clone());
        tasks.spawn(publisher.run(leading.clone()));
        let (writer, writing) = StatusWriter::new(client.clone(), OURS, metrics.clone(), Some(events));
        tasks.spawn(writing.run(leading));
        tasks.spawn(feed::<HttpRoute>(client.clone(), space.name().to_owned(), writer.clone()));
        tasks.spawn(feed::<Gateway>(client.clone(), space.name().to_owned(), writer.clone()));
        Self { writer, metrics, leader, namespace: space.name().to_owned(), _tasks: tasks }
    }

    fn route(&self, name: &str, status: Status) {
        self.writer.desired(&ObjectKey::new(Kind::HttpRoute, &self.namespace, name), Some(status));
    }

    fn gateway(&self, name: &str, status: Status) {
        self.writer.desired(&ObjectKey::new(Kind::Gateway, &self.namespace, name), Some(status));
    }

    fn count(&self, kind: &str, result: &str) -> usize {
        let sample = format!("postern_status_writes_total{{kind=\"{kind}\",result=\"{result}\"}}");
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = self.metrics.value(&sample).unwrap_or_default() as usize;
        count
    }

    /// Waits until the watch has told everything that happened before, which its order proves: a route that is created
    /// now has its status last.
    /// Waits until exactly `wanted` writes have been counted.
    async fn has_counted(&self, kind: &str, result: &str, wanted: usize) {
        eventually("count", || async {
            let count = self.count(kind, result);
            (count == wanted).then_some(()).ok_or_else(|| format!("{count} {kind} {result}, not {wanted}"))
        })
        .await;
    }

    async fn caught_up(&self, space: &Namespace<'_>, marker: &str) {
        create_route(space, marker).await;
        self.route(marker, route_status("web", 1, "marker"));
        parents(space, marker, |parents| parents.len() == 1).await;
        eventually("rest", || async {
            let pending = self.metrics.value("postern_status_pending").unwrap_or_default();
            (pending == 0.0).then_some(()).ok_or_else(|| format!("{pending} pending"))
        })
        .await;
    }
}

async fn feed<K>(client: Client, namespace: String, writer: StatusWriter)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
    Object: From<K>,
{
    let stream = watcher(Api::<K>::namespaced(client, &namespace), watcher::Config::default());
    let mut stream = std::pin::pin!(kube::runtime::WatchStreamExt::default_backoff(stream));
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                writer.observed(Object::from(object));
            }
            Ok(watcher::Event::Delete(object)) => writer.gone(&Object::from(object).key()),
            _ => {}
        }
    }
}

/// Waits until `probe` says `Ok`.
async fn eventually<T, Fut: Future<Output = Result<T, String>>>(what: &str, probe: impl FnMut() -> Fut) -> T {
    until_within(CLUSTER_PATIENCE, what, probe).await
}

fn condition(kind: &str, holds: bool, generation: i64, message: &str) -> Condition {
    Condition::new(kind, ConditionStatus::from(holds), kind, message).observed(Some(generation))
}

fn route_status(parent: &str, generation: i64, message: &str) -> Status {
    let parent = RouteParentStatus {
        parent_ref: ParentReference { name: parent.to_owned(), ..ParentReference::default() },
        controller_name: OURS.to_owned(),
        conditions: vec![condition("Accepted", true, generation, message)],
    };
    Status::Route(RouteStatus { parents: vec![parent] })
}

fn gateway_status(attached: u32, message: &str) -> Status {
    let listener = ListenerStatus {
        name: "http".to_owned(),
        attached_routes: attached,
        conditions: vec![condition("Accepted", true, 1, message)],
        ..ListenerStatus::default()
    };
    Status::Gateway(GatewayStatus {
        conditions: vec![condition("Accepted", true, 1, message), condition("Programmed", true, 1, message)],
        listeners: vec![listener],
        ..GatewayStatus::default()
    })
}

async fn create_route(space: &Namespace<'_>, name: &str) {
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": name }, "spec": { "parentRefs": [{ "name": "web" }] },
    });
    let route: HttpRoute = serde_json::from_value(route).unwrap();
    routes(space).create(&PostParams::default(), &route).await.unwrap();
}

async fn create_gateway(space: &Namespace<'_>, name: &str) {
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": name },
        "spec": { "gatewayClassName": "status-writer-test", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    });
    let gateway: Gateway = serde_json::from_value(gateway).unwrap();
    gateways(space).create(&PostParams::default(), &gateway).await.unwrap();
}

fn routes(space: &Namespace<'_>) -> Api<HttpRoute> {
    space.api()
}

fn gateways(space: &Namespace<'_>) -> Api<Gateway> {
    space.api()
}

/// The status of a route, once it is as it should be.
async fn parents(
    space: &Namespace<'_>,
    name: &str,
    good: impl Fn(&[RouteParentStatus]) -> bool,
) -> Vec<RouteParentStatus> {
    eventually(&format!("status of {name}"), || async {
        let route = routes(space).get(name).await.map_err(|error| error.to_string())?;
        let parents = route.status.unwrap_or_default().parents;
        if good(&parents) { Ok(parents) } else { Err(format!("{parents:#?}")) }
    })
    .await
}

fn messages(parents: &[RouteParentStatus]) -> Vec<(&str, &str)> {
    parents.iter().map(|p| (p.controller_name.as_str(), p.conditions[0].message.as_str())).collect()
}

/// An entry as another controller writes it.
fn foreign(parent: &str, message: &str) -> Value {
    json!({
        "controllerName": THEIRS, "parentRef": { "name": parent, "namespace": "elsewhere" },
        "conditions": [{ "type": "Accepted", "status": "False", "reason": "NotOurs", "message": message,
            "lastTransitionTime": "2020-01-02T03:04:05Z" }],
    })
}

async fn write_status<K>(api: &Api<K>, name: &str, status: Value)
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = PatchParams { field_manager: Some("another".to_owned()), ..PatchParams::default() };
    api.patch_status(name, &params, &Patch::Merge(json!({ "status": status }))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_others_survive_and_ours_are_repaired() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    create_route(&space, "a").await;
    write_status(&routes(&space), "a", json!({ "parents": [foreign("one", "1"), foreign("two", "2")] }))
        .await;
    let rig = Rig::start(&cluster.client(), &space, true);
    rig.route("a", route_status("web", 1, "ours"));
    let there = parents(&space, "a", |parents| parents.len() == 3).await;
    assert_eq!(messages(&there), [(THEIRS, "1"), (THEIRS, "2"), (OURS, "ours")]);
    let as_written: RouteParentStatus = serde_json::from_value(json!({
        "controllerName": THEIRS,
        "parentRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "one", "namespace": "elsewhere" },
        "conditions": foreign("one", "1")["conditions"],
    }))
    .unwrap();
    assert_eq!(there[0], as_written);

    // Somebody replaces the whole list.
    let overwritten = json!({ "parents": [foreign("three", "3")] });
    write_status(&routes(&space), "a", overwritten).await;
    let there = parents(&space, "a", |parents| parents.len() == 2).await;
    assert_eq!(messages(&there), [(THEIRS, "3"), (OURS, "ours")]);

    // Somebody writes into our entry.
    let mut tampered = serde_json::to_value(&there).unwrap();
    tampered[1]["conditions"][0]["message"] = json!("tampered");
    write_status(&routes(&space), "a", json!({ "parents": tampered })).await;
    parents(&space, "a", |parents| messages(parents) == [(THEIRS, "3"), (OURS, "ours")]).await;

    rig.caught_up(&space, "marker").await;
    assert_eq!(rig.count("HTTPRoute", "written"), 3 + 1, "one write each, and one for the marker");

    rig.writer.desired(&ObjectKey::new(Kind::HttpRoute, space.name(), "a"), None);
    let there = parents(&space, "a", |parents| parents.len() == 1).await;
    assert_eq!(messages(&there), [(THEIRS, "3")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_conditions_of_a_gateway_survive() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    create_gateway(&space, "web").await;
    let stale = json!({ "type": FOREIGN, "status": "True", "reason": "Seeded", "message": "",
        "lastTransitionTime": "2020-01-02T03:04:05Z", "observedGeneration": 1 });
    let overlap = json!({ "type": "OverlappingTLSConfig", "status": "True", "reason": "OverlappingHostnames", "message": "",
        "lastTransitionTime": "2020-01-02T03:04:05Z", "observedGeneration": 1 });
    let seeded = json!({
        "conditions": [stale],
        "addresses": [{ "type": "IPAddress", "value": "192.0.2.9" }],
        "listeners": [{ "name": "http", "attachedRoutes": 7, "conditions": [stale, overlap] }],
    });
    write_status(&gateways(&space), "web", seeded).await;
    let rig = Rig::start(&cluster.client(), &space, true);
    rig.gateway("web", gateway_status(0, "ours"));
    let status = eventually("status of the Gateway", || async {
        let status = gateways(&space).get("web").await.map_err(|e| e.to_string())?.status.unwrap_or_default();
        if status.conditions.len() == 3 { Ok(status) } else { Err(format!("{status:#?}")) }
    })
    .await;
    let types =
        |conditions: &[Condition]| -> Vec<String> { conditions.iter().map(|c| c.type_.clone()).collect() };
    assert_eq!(types(&status.conditions), [FOREIGN, "Accepted", "Programmed"]);
    assert_eq!(types(&status.listeners[0].conditions), [FOREIGN, "Accepted"]);
    assert_eq!((status.addresses, status.listeners[0].attached_routes), (vec![], 0));
    let seeded: Condition = serde_json::from_value(stale).unwrap();
    assert_eq!((&status.conditions[0], &status.listeners[0].conditions[0]), (&seeded, &seeded));

    rig.caught_up(&space, "marker").await;
    assert_eq!(rig.count("Gateway", "written"), 1);

    // The Gateway says when it serves; the event stands beside the status.
    let events: Api<Event> = space.api();
    eventually("an event", || async {
        let found = events.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let programmed = found.iter().any(|event| event.reason.as_deref() == Some("Programmed"));
        programmed.then_some(()).ok_or_else(|| format!("{found:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_at_once_lose_nothing() {
    const TIMES: usize = 100;
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    create_route(&space, "a").await;
    let rig = Rig::start(&cluster.client(), &space, true);
    let api = routes(&space);
    // Another controller that does it right: read, modify, write with the resourceVersion, again after a conflict.
    let other = tokio::spawn(async move {
        for n in 0..TIMES {
            loop {
                let mut route = api.get("a").await.unwrap();
                let mut status = route.status.take().unwrap_or_default();
                status.parents.retain(|entry| entry.controller_name != THEIRS);
                status.parents.push(serde_json::from_value(foreign("one", &n.to_string())).unwrap());
                route.status = Some(status);
                match api.replace_status("a", &PostParams::default(), &route).await {
                    Ok(_) => break,
                    Err(kube::Error::Api(status)) if status.is_conflict() => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let mut n = 0;
    while !other.is_finished() {
        n += 1;
        rig.route("a", route_status("web", 1, &n.to_string()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.await.unwrap();
    let last = (TIMES - 1).to_string();
    let last_of_ours = n.to_string();
    let mut both = [(OURS, last_of_ours.as_str()), (THEIRS, last.as_str())];
    both.sort_unstable();
    parents(&space, "a", |parents| {
        let mut found = messages(parents);
        found.sort_unstable();
        found == both
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_a_thousand_routes_ends_in_few_writes() {
    const ROUTES: u32 = 1000;
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    create_gateway(&space, "web").await;
    let rig = Rig::start(&cluster.client(), &space, true);
    rig.gateway("web", gateway_status(0, "web"));
    let names: Vec<String> = (0..ROUTES).map(|n| format!("route-{n}")).collect();
    futures::stream::iter(names.iter().map(Ok::<_, String>))
        .try_for_each_concurrent(16, async |name| {
            create_route(&space, name).await;
            Ok(())
        })
        .await
        .unwrap();
    // As the translator says it when the routes come one after the other.
    let begun = Instant::now();
    for (n, name) in (1..).zip(&names) {
        rig.gateway("web", gateway_status(n, "web"));
        rig.route(name, route_status("web", 1, "fine"));
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    eventually("all statuses", || async {
        let done = rig.count("HTTPRoute", "written");
        let gateway =
            gateways(&space).get("web").await.map_err(|e| e.to_string())?.status.unwrap_or_default();
        let attached = gateway.listeners.first().map(|l| l.attached_routes);
        let all = done == names.len() && attached == Some(ROUTES);
        all.then_some(()).ok_or_else(|| format!("{done} routes, {attached:?} attached"))
    })
    .await;
    let took = begun.elapsed();
    rig.caught_up(&space, "marker").await;
    assert_eq!(rig.count("HTTPRoute", "written"), names.len() + 1, "one write for each route");
    let listed = routes(&space).list(&ListParams::default()).await.unwrap();
    assert!(listed.items.iter().all(|route| messages(&route.status.clone().unwrap().parents).len() == 1));
    let gateway = rig.count("Gateway", "written");
    println!("{ROUTES} routes: {gateway} writes of the Gateway in {took:?}");
    let at_most = 2 + usize::try_from(took.as_millis() / 100).unwrap();
    assert!(gateway <= at_most, "{gateway} writes in {took:?}");
    assert_eq!(rig.count("HTTPRoute", "conflict") + rig.count("Gateway", "conflict"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lead_passes_from_one_writer_to_the_other() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    create_route(&space, "a").await;
    let (first, second) =
        (Rig::start(&cluster.client(), &space, true), Rig::start(&cluster.client(), &space, false));
    for rig in [&first, &second] {
        rig.route("a", route_status("web", 1, "one"));
    }
    parents(&space, "a", |parents| parents.len() == 1).await;
    first.leader.send_replace(false);
    second.leader.send_replace(true);
    second.caught_up(&space, "marker").await;
    assert_eq!(
        second.count("HTTPRoute", "written"),
        1,
        "what is right is not written again, but for the marker"
    );
    let by_first = first.count("HTTPRoute", "written");
    for rig in [&first, &second] {
        rig.route("a", route_status("web", 1, "two"));
    }
    parents(&space, "a", |parents| messages(parents) == [(OURS, "two")]).await;
    // The API server shows a write before its answer is back at the writer.
    second.has_counted("HTTPRoute", "written", 2).await;
    // Back again, with a change in between that nobody wrote.
    second.leader.send_replace(false);
    for rig in [&first, &second] {
        rig.route("a", route_status("web", 1, "three"));
    }
    first.leader.send_replace(true);
    parents(&space, "a", |parents| messages(parents) == [(OURS, "three")]).await;
    first.has_counted("HTTPRoute", "written", by_first + 1).await;
    assert_eq!(second.count("HTTPRoute", "written"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_from_before_goes_once_all_is_translated() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    create_route(&space, "left").await;
    let mut left = foreign("web", "left");
    left["controllerName"] = json!(OURS);
    write_status(&routes(&space), "left", json!({ "parents": [foreign("one", "1"), left] })).await;
    let rig = Rig::start(&cluster.client(), &space, true);
    rig.caught_up(&space, "marker").await;
    assert_eq!(
        rig.count("HTTPRoute", "written"),
        1,
        "the marker alone: nobody has said that there is nothing to say"
    );
    rig.writer.synced();
    let there = parents(&space, "left", |parents| parents.len() == 1).await;
    assert_eq!(messages(&there), [(THEIRS, "1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_come_and_go_are_told_apart() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    let rig = Rig::start(&cluster.client(), &space, true);
    let mut uids = BTreeSet::new();
    for n in 0..20 {
        create_route(&space, "a").await;
        let message = n.to_string();
        rig.route("a", route_status("web", 1, &message));
        if n % 2 == 0 {
            parents(&space, "a", |parents| messages(parents) == [(OURS, message.as_str())]).await;
        }
        let route = routes(&space).get("a").await.unwrap();
        uids.insert(route.metadata.uid.unwrap());
        routes(&space).delete("a", &DeleteParams::default()).await.unwrap();
    }
    assert_eq!(uids.len(), 20);
    create_route(&space, "a").await;
    rig.route("a", route_status("web", 1, "last"));
    parents(&space, "a", |parents| messages(parents) == [(OURS, "last")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_is_written_once_it_is_allowed() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    create_route(&space, "a").await;
    let user = format!("system:serviceaccount:{}:nobody", space.name());
    let mut config = Config::infer().await.unwrap();
    config.auth_info.impersonate = Some(user.clone());
    let client = Client::try_from(config).unwrap();
    let rig = Rig::start(&client, &space, true);
    // The watches are forbidden too, so the object is handed over here.
    rig.writer.observed(Object::from(routes(&space).get("a").await.unwrap()));
    rig.route("a", route_status("web", 1, "ours"));
    let forbidden = "postern_forbidden_calls_total{verb=\"patch\",resource=\"httproutes/status\"}";
    eventually("a refusal", || async {
        rig.metrics
            .value(forbidden)
            .filter(|count| *count > 0.0)
            .map(drop)
            .ok_or_else(|| rig.metrics.registry_text())
    })
    .await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "status" },
        "rules": [{ "apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes/status"], "verbs": ["patch"] }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "status" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "status" },
        "subjects": [{ "kind": "ServiceAccount", "name": "nobody", "namespace": space.name() }],
    });
    let roles: Api<k8s_openapi::api::rbac::v1::Role> = space.api();
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = space.api();
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    parents(&space, "a", |parents| messages(parents) == [(OURS, "ours")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_written_is_written_when_the_api_server_is_back() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("status").await;
    let names: Vec<String> = (0..50).map(|n| format!("route-{n}")).collect();
    for name in &names {
        create_route(&space, name).await;
    }
    let relay = Relay::start(Config::infer().await.unwrap()).await;
    let rig = Rig::start(&relay.client(), &space, true);
    for name in &names {
        rig.route(name, route_status("web", 1, "before"));
    }
    for name in &names {
        parents(&space, name, |parents| parents.len() == 1).await;
    }
    relay.freeze();
    for name in &names {
        rig.route(name, route_status("web", 1, "after"));
    }
    eventually("a failure", || async {
        (rig.count("HTTPRoute", "error") > 0).then_some(()).ok_or_else(|| rig.metrics.registry_text())
    })
    .await;
    relay.thaw();
    for name in &names {
        parents(&space, name, |parents| messages(parents) == [(OURS, "after")]).await;
    }
}
