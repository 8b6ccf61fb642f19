//! Kubernetes Events.

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use postern::kubernetes::events::{EventNote, EventPublisher, Events};
use postern::telemetry::Metrics;
use postern_e2e::Cluster;
use postern_translator::{Kind, ObjectKey};
use tokio::sync::watch;

/// Not that of a Postern in the cluster.
const CONTROLLER: &str = "postern.dev/events-test";

/// Publishes what `say` says, all of it.
async fn publish(cluster: &Cluster, leads: bool, say: impl FnOnce(&Events)) {
    let (events, publisher) = EventPublisher::new(cluster.client(), CONTROLLER, "postern-0", Metrics::new());
    let (_leader, leading) = watch::channel(leads);
    say(&events);
    drop(events);
    publisher.run(leading).await;
}

/// The events about an object of this name, oldest first.
async fn about(api: &Api<Event>, name: &str) -> Vec<Event> {
    let list = api.list(&ListParams::default()).await.unwrap();
    let named =
        |event: &Event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name));
    let mut events: Vec<Event> = list.items.into_iter().filter(named).collect();
    events.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
    events
}

#[tokio::test]
async fn an_event_is_about_its_object_and_repetitions_are_counted() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("events").await;
    let key = ObjectKey::new(Kind::Gateway, space.name(), "web");
    publish(&cluster, true, |events| {
        let refused =
            EventNote::warning("NotProgrammed", "Program", "the proxy refuses 443/tcp: no such cipher");
        for _ in 0..3 {
            events.publish(&key, Some("5a5e"), refused.clone());
        }
        let long = "the proxy refuses 80/tcp: ".to_owned() + &"x".repeat(2000);
        events.publish(&key, Some("5a5e"), EventNote::warning("NotProgrammed", "Program", long));
    })
    .await;
    let found = about(&space.api(), "web").await;
    let [first, second] = &found[..] else { panic!("{found:#?}") };
    let regarding = first.regarding.clone().unwrap();
    assert_eq!(regarding.api_version.as_deref(), Some("gateway.networking.k8s.io/v1"));
    assert_eq!((regarding.kind.as_deref(), regarding.uid.as_deref()), (Some("Gateway"), Some("5a5e")));
    assert_eq!(first.note.as_deref(), Some("the proxy refuses 443/tcp: no such cipher"));
    assert_eq!((first.type_.as_deref(), first.action.as_deref()), (Some("Warning"), Some("Program")));
    assert_eq!(first.series.as_ref().map(|series| series.count), Some(3));
    assert_eq!(first.reporting_controller.as_deref(), Some(CONTROLLER));
    assert_eq!(
        second.note.as_deref().map(str::len),
        Some(1024),
        "other words are another event, cut to size"
    );
}

#[tokio::test]
async fn events_of_cluster_scoped_objects_are_in_the_default_namespace() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("events").await;
    let class = format!("class-of-{}", space.name());
    let key = ObjectKey::new(Kind::GatewayClass, "", &class);
    publish(&cluster, true, |events| {
        events.publish(
            &key,
            None,
            EventNote::warning("UnsupportedVersion", "Accept", "the CRDs are too old"),
        );
    })
    .await;
    let api = Api::namespaced(cluster.client(), "default");
    assert_eq!(about(&api, &class).await.len(), 1);
}

#[tokio::test]
async fn only_the_leader_publishes_and_not_without_end() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("events").await;
    let key = |name: &str| ObjectKey::new(Kind::HttpRoute, space.name(), name);
    let note = |n: usize| EventNote::warning("NotAccepted", "Accept", format!("reason {n}"));
    publish(&cluster, false, |events| events.publish(&key("early"), None, note(0))).await;
    publish(&cluster, true, |events| {
        for n in 0..50 {
            events.publish(&key("noisy"), None, note(n));
        }
        events.publish(&key("last"), None, note(0));
    })
    .await;
    let api = space.api();
    assert_eq!(about(&api, "early").await.len(), 0);
    assert_eq!(about(&api, "noisy").await.len(), 10, "a burst, and the rest is left out");
    assert_eq!(about(&api, "last").await.len(), 1);
}
