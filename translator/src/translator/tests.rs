use super::*;
use crate::dependency::PANICS;
use crate::object::Object;

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
    let mut translator = Translator::new(Options::default());
    let class = serde_json::json!({ "metadata": { "name": "c" }, "spec": { "controllerName": crate::CONTROLLER_NAME } });
    apply(&mut translator, Kind::GatewayClass, class);
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
