use super::*;
use crate::dependency::tests::{named, object};

fn slice(name: &str, service: &str) -> Object {
    let text = format!(
        "{{metadata: {{namespace: a, name: '{name}', labels: {{{SERVICE_NAME_LABEL}: '{service}'}}}}, addressType: IPv4, \
         endpoints: []}}"
    );
    Object::deserialize(Kind::EndpointSlice, serde_yaml::Deserializer::from_str(&text)).unwrap()
}

fn owner(service: &str) -> ObjectKey {
    let service = named(service);
    ObjectKey::new(Kind::Service, service.namespace, service.name)
}

fn slices(store: &Store, service: &str) -> Vec<String> {
    store.endpoint_slices(&owner(service)).map(|s| s.metadata.name.clone().unwrap()).collect()
}

fn on(kind: Kind, name: &str, section: Option<&str>) -> Target {
    Target::new(kind, &named(name), section)
}

#[test]
fn an_object_is_there_from_upsert_to_delete() {
    let mut store = Store::default();
    let service = object(Kind::Service, "a/s", "spec: {}");
    let key = service.key();
    assert!(store.apply(Change::Delete(key.clone())).is_empty(), "nothing was there");
    let touched = store.apply(Change::Upsert(service));
    assert_eq!(touched, [Dependency::Object(key.clone()), Dependency::Objects(Kind::Service, "a".into())]);
    assert!(store.object(&key).is_some());
    assert_eq!(store.names(Kind::Service, "a").collect::<Vec<_>>(), [&named("a/s")]);
    assert_eq!(store.apply(Change::Delete(key.clone())).len(), 2);
    assert!(store.object(&key).is_none());
    assert_eq!(store.names(Kind::Service, "a").count(), 0);
}

/// Whoever writes a status hears of it again, and so do all replicas: that must cost nothing.
#[test]
fn a_status_touches_nothing() {
    let kinds: Vec<Kind> =
        Kind::ALL.iter().copied().filter(|kind| kind.group().starts_with("gateway.")).collect();
    assert_eq!(kinds.len(), 21, "a new kind: say whether its status is read");
    for kind in kinds {
        let text = |metadata: &str, spec: &str, status: &str| {
            let spec = match kind {
                Kind::GatewayClass => "controllerName: c/c",
                Kind::Gateway => "gatewayClassName: c",
                Kind::ListenerSet => "listeners: [], parentRef: {name: g}",
                Kind::ReferenceGrant => "from: [], to: []",
                Kind::BackendTlsPolicy => "targetRefs: [], validation: {hostname: h}",
                Kind::XBackend => "type: EndpointSelector, port: {number: 80}",
                Kind::XBackendTrafficPolicy | Kind::XTelemetryPolicy | Kind::HttpListenerPolicy => {
                    "targetRefs: []"
                }
                _ => "",
            }
            .to_owned()
                + spec;
            let text = format!(
                "{{metadata: {{namespace: a, name: x{metadata}}}, spec: {{{spec}}}, status: {status}}}"
            );
            Object::deserialize(kind, serde_yaml::Deserializer::from_str(&text))
                .unwrap_or_else(|error| panic!("{kind}: {error} in {text}"))
        };
        let status = match kind {
            Kind::ReferenceGrant => "~",
            _ if kind.as_str().ends_with("Route") => "{parents: []}",
            _ if kind.as_str().contains("Policy") => "{ancestors: []}",
            _ => "{conditions: [{type: Accepted, status: 'True', reason: R}]}",
        };
        let mut store = Store::default();
        store.apply(Change::Upsert(text(", generation: 1, resourceVersion: '1'", "", "~")));
        let written =
            text(", generation: 1, resourceVersion: '2', managedFields: [{manager: m}]", "", status);
        assert_eq!(store.apply(Change::Upsert(written.clone())), [], "{kind}");
        let version = store.object(&written.key()).and_then(|o| o.metadata().resource_version.clone());
        assert_eq!(version.as_deref(), Some("2"), "{kind}: but it is stored");
        for metadata in [
            ", generation: 2",
            ", generation: 1, uid: other",
            ", generation: 1, labels: {a: b}",
            ", generation: 1, annotations: {a: b}",
            ", generation: 1, deletionTimestamp: '2026-01-01T00:00:00Z'",
            ", generation: 1, creationTimestamp: '2026-01-01T00:00:00Z'",
        ] {
            let mut store = Store::default();
            store.apply(Change::Upsert(text(", generation: 1", "", "~")));
            let touched = store.apply(Change::Upsert(text(metadata, "", status)));
            assert!(!touched.is_empty(), "{kind}: {metadata}");
        }
    }
}

#[test]
fn a_specification_that_changed_without_its_generation_counts() {
    let mut store = Store::default();
    let route = |host: &str| {
        let json = serde_json::json!({
            "metadata": { "namespace": "a", "name": "r", "generation": 1 },
            "spec": { "hostnames": [host] },
        });
        Change::Upsert(Object::deserialize(Kind::HttpRoute, json).unwrap())
    };
    store.apply(route("a.example"));
    assert!(store.apply(route("a.example")).is_empty());
    assert!(!store.apply(route("b.example")).is_empty(), "a file that was edited");
}

#[test]
fn statuses_that_are_read_count() {
    let mut store = Store::default();
    let service = |ip: &str| {
        let rest = format!("spec: {{}}, status: {{loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}");
        Change::Upsert(object(Kind::Service, "a/s", &rest))
    };
    store.apply(service("10.0.0.1"));
    assert!(!store.apply(service("10.0.0.2")).is_empty());
}

#[test]
fn names_are_kept_apart_by_kind_and_ordered() {
    let mut store = Store::default();
    for name in ["b/x", "a/z", "a/x"] {
        store.apply(Change::Upsert(object(Kind::Service, name, "spec: {}")));
        store.apply(Change::Upsert(object(Kind::Secret, name, "data: {}")));
    }
    store.apply(Change::Delete(ObjectKey::new(Kind::Secret, "a", "x")));
    let names = |kind| store.names(kind, "a").map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(Kind::Service), ["a/x", "a/z"]);
    assert_eq!(names(Kind::Secret), ["a/z"]);
}

#[test]
fn a_slice_that_moves_touches_both_services() {
    let mut store = Store::default();
    store.apply(Change::Upsert(slice("2", "one")));
    store.apply(Change::Upsert(slice("1", "one")));
    assert_eq!(slices(&store, "a/one"), ["1", "2"]);
    let touched = store.apply(Change::Upsert(slice("2", "two")));
    for service in ["a/one", "a/two"] {
        assert!(touched.contains(&Dependency::EndpointSlices(owner(service))), "{service}: {touched:?}");
    }
    assert_eq!(slices(&store, "a/one"), ["1"]);
    assert_eq!(slices(&store, "a/two"), ["2"]);
    let touched = store.apply(Change::Delete(slice("2", "").key()));
    assert!(touched.contains(&Dependency::EndpointSlices(owner("a/two"))));
    assert_eq!(slices(&store, "a/two"), [""; 0]);
}

#[test]
fn a_slice_without_a_service_is_nobodys() {
    let mut store = Store::default();
    let touched =
        store.apply(Change::Upsert(object(Kind::EndpointSlice, "a/s-1", "addressType: IPv4, endpoints: []")));
    assert!(!touched.iter().any(|d| matches!(d, Dependency::EndpointSlices(_))), "{touched:?}");
}

#[test]
fn a_policy_that_moves_touches_old_and_new_targets() {
    let mut store = Store::default();
    let policy =
        |rest: &str| Change::Upsert(object(Kind::TrafficPolicy, "a/p", &format!("spec: {{{rest}}}")));
    store.apply(policy("targetRefs: [{kind: HTTPRoute, name: r, sectionName: n}]"));
    let rule = on(Kind::HttpRoute, "a/r", Some("n"));
    assert_eq!(store.policies_on(&rule).count(), 1);
    assert_eq!(store.policies_on(&on(Kind::HttpRoute, "a/r", None)).count(), 0);
    let touched = store.apply(policy("targetSelectors: [{kind: Gateway, matchLabels: {app: x}}]"));
    let selectors = Dependency::Selectors(Kind::Gateway, "a".into());
    assert!(touched.contains(&Dependency::PoliciesOn(rule.clone())) && touched.contains(&selectors));
    assert_eq!(store.policies_on(&rule).count(), 0);
    assert_eq!(store.policies_selecting(Kind::Gateway, "a").count(), 1);
    assert_eq!(store.policies_selecting(Kind::Gateway, "b").count(), 0);
    let touched = store.apply(Change::Delete(ObjectKey::new(Kind::TrafficPolicy, "a", "p")));
    assert!(touched.contains(&selectors));
    assert_eq!(store.policies_selecting(Kind::Gateway, "a").count(), 0);
    assert!(store.policy(&named("a/p")).is_none());
}

#[test]
fn grants_are_found_by_the_namespace_they_are_in() {
    let mut store = Store::default();
    let grant = |name: &str| object(Kind::ReferenceGrant, name, "spec: {from: [], to: []}");
    for name in ["b/2", "b/1", "c/3"] {
        let touched = store.apply(Change::Upsert(grant(name)));
        assert!(touched.contains(&Dependency::Grants(named(name).namespace)));
    }
    store.apply(Change::Delete(grant("b/2").key()));
    let found: Vec<_> = store.grants("b").map(|g| g.metadata.name.clone().unwrap()).collect();
    assert_eq!(found, ["1"]);
}
