use super::*;
use crate::dependency::PANICS;
use postern_api::gateway_api::HttpRoute;

use crate::object::{Object, Stored};
use crate::observation::ProxyReport;
use crate::status::ROUTE_PROGRAMMED;

fn apply(translator: &mut Translator, kind: Kind, json: serde_json::Value) {
    translator.apply(Change::Upsert(Object::deserialize(kind, json).unwrap()));
}

fn route(translator: &mut Translator, name: &str, backend: &str) {
    let json = serde_json::json!({
        "metadata": { "name": name, "namespace": "a" },
        "spec": {
            "parentRefs": [{ "name": "g" }],
            "hostnames": [format!("{name}.example.com")],
            "rules": [{ "backendRefs": [{ "name": backend, "port": 80 }] }],
        },
    });
    apply(translator, Kind::HttpRoute, json);
}

#[test]
fn a_panic_in_one_unit_costs_only_its_own_news() {
    let mut translator = ours();
    let gateway = serde_json::json!({
        "metadata": { "name": "g", "namespace": "a" },
        "spec": { "gatewayClassName": "c", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    });
    apply(&mut translator, Kind::Gateway, gateway);
    route(&mut translator, "one", "service");
    route(&mut translator, "two", "service");
    translator.translate();
    let scope = |translator: &Translator, name: &str| {
        let gateway = NamespacedName::new("a", "g");
        translator.resources(&gateway).find(|r| r.name == name).map(|r| r.version.clone())
    };
    let before = scope(&translator, "80/one.example.com");
    assert!(before.is_some());

    route(&mut translator, "one", PANICS);
    route(&mut translator, "three", "service");
    translator.translate();
    assert_eq!(scope(&translator, "80/one.example.com"), before, "the last good output stays");
    assert!(scope(&translator, "80/three.example.com").is_some(), "the rest goes on");
    let defects = translator.problems().iter().filter(|p| p.message.contains("defect")).count();
    assert_eq!(defects, 1);

    route(&mut translator, "one", "other");
    translator.translate();
    assert!(translator.problems().iter().all(|p| !p.message.contains("defect")), "the next change heals it");
}

fn gateway(translator: &mut Translator, certificate: &str) {
    let json = serde_json::json!({
        "metadata": { "name": "g", "namespace": "a" },
        "spec": { "gatewayClassName": "c", "listeners": [
            { "name": "https", "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": [{ "name": certificate }] } },
        ] },
    });
    apply(translator, Kind::Gateway, json);
}

fn ours() -> Translator {
    ours_with(Options::default())
}

fn ours_with(options: Options) -> Translator {
    let mut translator = Translator::new(options);
    let class = serde_json::json!({ "metadata": { "name": "c" }, "spec": { "controllerName": crate::CONTROLLER_NAME } });
    apply(&mut translator, Kind::GatewayClass, class);
    translator
}

/// A watcher keeps only the Secrets that it is told of, so it must be told of those that it has not delivered yet.
#[test]
fn secrets_are_referred_to_before_they_exist() {
    let mut translator = ours();
    gateway(&mut translator, "one");
    let update = translator.translate();
    let one = ObjectKey::new(Kind::Secret, "a", "one");
    assert!(update.references_changed);
    assert_eq!(translator.references().iter().collect::<Vec<_>>(), [&one]);
    apply(
        &mut translator,
        Kind::Secret,
        serde_json::json!({ "metadata": { "name": "one", "namespace": "a" } }),
    );
    assert!(!translator.translate().references_changed, "that it exists changes nothing");
    gateway(&mut translator, "two");
    assert!(translator.translate().references_changed);
    assert_eq!(
        translator.references().iter().collect::<Vec<_>>(),
        [&ObjectKey::new(Kind::Secret, "a", "two")]
    );
    translator.apply(Change::Delete(ObjectKey::new(Kind::Gateway, "a", "g")));
    assert!(translator.translate().references_changed);
    assert!(translator.references().is_empty());
}

#[test]
fn a_status_that_comes_back_runs_nothing() {
    let mut translator = ours();
    route(&mut translator, "one", "service");
    translator.translate();
    let before = translator.units_run();
    let mut written = HttpRoute::of(translator.object(&ObjectKey::new(Kind::HttpRoute, "a", "one")).unwrap())
        .unwrap()
        .as_ref()
        .clone();
    written.metadata.resource_version = Some("7".to_owned());
    written.status = Some(postern_api::gateway_api::RouteStatus::default());
    translator.apply(Change::Upsert(Object::from(written)));
    assert_eq!(translator.translate(), Update::default());
    assert_eq!(translator.units_run(), before);
    let stored = translator.objects().find(|object| object.kind() == Kind::HttpRoute).unwrap();
    assert_eq!(stored.metadata().resource_version.as_deref(), Some("7"));
}

/// What a receiver has after a rebuild is what it would have from scratch, whatever it had before.
#[test]
fn rebuilding_says_everything() {
    let mut translator = ours();
    gateway(&mut translator, "one");
    route(&mut translator, "one", "service");
    route(&mut translator, "two", "service");
    let first = translator.translate();
    assert_eq!(first.statuses.len(), 4);
    // A run that was interrupted: its changes are not delivered.
    translator.apply(Change::Delete(ObjectKey::new(Kind::HttpRoute, "a", "two")));
    let _lost = translator.dirty.pop_first();
    translator.statuses.remove(&ObjectKey::new(Kind::HttpRoute, "a", "two"));
    translator.changed.statuses.insert(ObjectKey::new(Kind::HttpRoute, "a", "two"));
    let update = translator.rebuild();
    assert!(update.references_changed);
    assert_eq!(update.statuses.get(&ObjectKey::new(Kind::HttpRoute, "a", "two")), Some(&None));
    assert!(update.statuses[&ObjectKey::new(Kind::HttpRoute, "a", "one")].is_some());
    let name = NamespacedName::new("a", "g");
    let all: Vec<_> = translator.resources(&name).cloned().collect();
    let listed: Vec<_> = update.gateways[&name].changes.iter().filter_map(|c| c.resource.clone()).collect();
    assert_eq!(listed, all);
    assert_eq!(translator.translate(), Update::default(), "and nothing is left to say");

    translator.apply(Change::Delete(ObjectKey::new(Kind::Gateway, "a", "g")));
    let update = translator.rebuild();
    assert_eq!(update.removed_gateways, [name]);
    assert!(update.gateways.is_empty());
}

fn http(translator: &mut Translator, port: u16, uid: &str) {
    let json = serde_json::json!({
        "metadata": { "name": "g", "namespace": "a", "uid": uid },
        "spec": { "gatewayClassName": "c", "listeners": [{ "name": "http", "port": port, "protocol": "HTTP" }] },
    });
    apply(translator, Kind::Gateway, json);
}

/// The reason of `Programmed` of the Gateway in an update; empty if the update does not speak of it.
fn programmed(update: &Update) -> String {
    match update.statuses.get(&ObjectKey::new(Kind::Gateway, "a", "g")) {
        Some(Some(Status::Gateway(status))) => {
            let condition = status.conditions.iter().find(|c| c.type_ == "Programmed").unwrap();
            format!("{} {}", condition.status.as_str(), condition.reason)
        }
        _ => String::new(),
    }
}

#[test]
fn a_gateway_is_programmed_when_a_proxy_says_so() {
    let options = Options { await_proxies: true, ..Options::default() };
    let mut translator = ours_with(options);
    let name = NamespacedName::new("a", "g");
    http(&mut translator, 80, "1");
    assert_eq!(programmed(&translator.translate()), "False Pending");
    let held = |translator: &Translator| {
        let listener =
            translator.resources(&name).find(|r| r.resource_type == ResourceType::Listener).unwrap();
        let mut report = ProxyReport::default();
        report.add([(listener.name.as_str(), listener.version.as_str())], []);
        report
    };
    let before = translator.units_run();
    let report = held(&translator);
    translator.observe(&name, report.clone());
    assert_eq!(programmed(&translator.translate()), "True Programmed");
    translator.observe(&name, report.clone());
    assert_eq!(translator.translate(), Update::default(), "the same again is no news");
    translator.observe(&name, ProxyReport::default());
    assert_eq!(translator.translate(), Update::default(), "a restart of the proxies");
    assert_eq!(translator.units_run(), before, "nothing is translated for it");

    // Another port is another listener; a report of the old one says nothing about it.
    http(&mut translator, 81, "1");
    translator.observe(&name, report);
    assert_eq!(programmed(&translator.translate()), "False Pending");
    let report = held(&translator);
    translator.observe(&name, report);
    assert_eq!(programmed(&translator.translate()), "True Programmed");
    let update = translator.rebuild();
    assert_eq!(programmed(&update), "True Programmed", "what was heard survives a rebuild");

    // Deleted and created again: nobody has heard of the new one.
    http(&mut translator, 81, "2");
    assert_eq!(programmed(&translator.translate()), "False Pending");
    translator.apply(Change::Delete(ObjectKey::new(Kind::Gateway, "a", "g")));
    let update = translator.translate();
    assert_eq!(update.statuses[&ObjectKey::new(Kind::Gateway, "a", "g")], None);
}

#[test]
fn a_refused_host_is_told_where_it_comes_from() {
    let mut translator = ours();
    let name = NamespacedName::new("a", "g");
    http(&mut translator, 80, "1");
    route(&mut translator, "one", "service");
    route(&mut translator, "two", "service");
    translator.translate();
    let key = |name: &str| ObjectKey::new(Kind::HttpRoute, "a", name);
    let refused = |translator: &Translator, name: &str| {
        translator.statuses()[&key(name)]
            .conditions()
            .iter()
            .any(|c| c.type_ == ROUTE_PROGRAMMED && !c.is_true())
    };
    let mut report = ProxyReport::default();
    report.add([], [(ResourceType::ScopedRouteConfiguration, "80/one.example.com", "no")]);
    translator.observe(&name, report);
    let update = translator.translate();
    assert!(refused(&translator, "one") && !refused(&translator, "two"));
    assert!(update.statuses.contains_key(&key("one")) && !update.statuses.contains_key(&key("two")));
    let about = |translator: &Translator| {
        translator
            .problems()
            .iter()
            .filter(|p| p.message.contains("refused"))
            .map(|p| p.object.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(about(&translator), [key("one")]);
    route(&mut translator, "one", "other");
    translator.translate();
    assert!(refused(&translator, "one"), "until the proxies take it");
    translator.observe(&name, ProxyReport::default());
    let update = translator.translate();
    assert!(!refused(&translator, "one"));
    assert!(update.statuses.contains_key(&key("one")));
    assert_eq!(about(&translator), []);
}
