//! When the infrastructure of a Gateway is said to have changed, and what becomes of it when its parameters break.

#[path = "support/objects.rs"]
mod objects;

use std::sync::Arc;

use postern_translator::infrastructure::{ProxyParameters, Replicas};
use postern_translator::{
    Change, Infrastructure, Kind, NamespacedName, ObjectKey, Options, Translator, Update,
};

const CLASS: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: postern}, \
     spec: {controllerName: postern.dev/gateway-controller}}";
const FOREIGN: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: postern}, \
     spec: {controllerName: example.com/other}}";

fn gateway(more: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: g, namespace: a}}, spec: \
         {{gatewayClassName: postern, infrastructure: {{parametersRef: {{group: gateway.kgateway.dev, kind: \
         GatewayParameters, name: p}}}}, listeners: [{{name: http, port: 80, protocol: HTTP}}{more}]}}}}"
    )
}

fn parameters(spec: &str) -> String {
    format!(
        "{{apiVersion: gateway.kgateway.dev/v1alpha1, kind: GatewayParameters, metadata: {{name: p, namespace: a}}, \
         spec: {spec}}}"
    )
}

fn apply(translator: &mut Translator, yaml: &str) -> Update {
    for object in objects::load(yaml) {
        translator.apply(Change::Upsert(object));
    }
    translator.translate()
}

fn delete(translator: &mut Translator, kind: Kind, namespace: &str, name: &str) -> Update {
    translator.apply(Change::Delete(ObjectKey::new(kind, namespace, name)));
    translator.translate()
}

fn name() -> NamespacedName {
    NamespacedName::new("a", "g")
}

/// What the update says of the Gateway; `None` if it says nothing.
#[expect(clippy::option_option, reason = "it says nothing, or that there is none")]
fn changed(update: &Update) -> Option<Option<Arc<Infrastructure>>> {
    assert!(update.infrastructure.keys().all(|other| *other == name()));
    update.infrastructure.get(&name()).cloned()
}

fn world() -> Translator {
    let yaml = [CLASS.to_owned(), gateway(""), parameters("{kube: {deployment: {replicas: 2}}}")];
    let options = Options { provision: true, ..Options::default() };
    objects::translated_with(options, yaml.iter().flat_map(|yaml| objects::load(yaml)))
}

fn replicas(infrastructure: &Infrastructure) -> Option<i32> {
    match &infrastructure.parameters {
        ProxyParameters::Kubernetes(it) => match it.replicas {
            Replicas::Fixed(replicas) => Some(replicas),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn only_changes_are_told() {
    let mut translator = world();
    let first = translator.infrastructure(&name()).expect("ours").clone();
    assert_eq!(replicas(&first), Some(2));

    let same = apply(&mut translator, &parameters("{kube: {deployment: {replicas: 2}, podTemplate: {}}}"));
    assert_eq!(changed(&same), None);
    let route = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: a}, \
         spec: {parentRefs: [{name: g}]}}";
    assert_eq!(changed(&apply(&mut translator, route)), None, "routes need no other pods");

    let ports = changed(&apply(&mut translator, &gateway(", {name: alt, port: 8080, protocol: HTTP}")))
        .unwrap()
        .unwrap();
    assert_eq!(ports.ports.iter().map(|port| port.port).collect::<Vec<_>>(), [80, 8080]);
    let more = changed(&apply(&mut translator, &parameters("{kube: {deployment: {replicas: 3}}}")))
        .unwrap()
        .unwrap();
    assert_eq!(replicas(&more), Some(3));
    assert_eq!(translator.infrastructure(&name()), Some(&more));
}

#[test]
fn what_comes_back_in_the_same_batch_has_not_changed() {
    let mut translator = world();
    translator.apply(Change::Delete(ObjectKey::new(Kind::Gateway, "a", "g")));
    assert_eq!(changed(&apply(&mut translator, &gateway(""))), None);
    translator.apply(Change::Delete(ObjectKey::new(Kind::GatewayParameters, "a", "p")));
    let update = apply(&mut translator, &parameters("{kube: {deployment: {replicas: 2}}}"));
    assert_eq!(changed(&update), None);
}

#[test]
fn a_gateway_that_goes_is_told() {
    let mut translator = world();
    assert_eq!(changed(&delete(&mut translator, Kind::Gateway, "a", "g")), Some(None));
    assert_eq!(translator.infrastructure(&name()), None);
    assert!(changed(&apply(&mut translator, &gateway(""))).unwrap().is_some());
    assert_eq!(changed(&apply(&mut translator, FOREIGN)), Some(None), "no longer ours");
    assert_eq!(changed(&delete(&mut translator, Kind::Gateway, "a", "g")), None, "already told");
    assert!(translator.problems().is_empty());
}

/// The parameters become invalid, never absent: what runs stays, whether Postern was restarted meanwhile or not.
#[test]
fn broken_parameters_take_nothing_away() {
    let accepted = |translator: &Translator| {
        let status = &translator.statuses()[&ObjectKey::new(Kind::Gateway, "a", "g")];
        let condition = status.conditions().into_iter().find(|it| it.type_ == "Accepted").unwrap();
        (condition.is_true(), condition.reason.clone())
    };
    let refused = (false, "InvalidParameters".to_owned());
    let mut translator = world();
    let resources = translator.resources(&name()).count();
    assert!(resources > 0);
    for update in [
        delete(&mut translator, Kind::GatewayParameters, "a", "p"),
        apply(&mut translator, &parameters("{kube: {service: {type: ExternalName}}}")),
    ] {
        if let Some(told) = changed(&update) {
            assert_eq!(told.unwrap().parameters, ProxyParameters::Invalid);
        }
        assert!(update.gateways.values().all(|gateway| gateway.changes.is_empty()));
        assert_eq!(accepted(&translator), refused);
        assert_eq!(translator.resources(&name()).count(), resources, "what runs is served on");
    }
    // Ports still follow the listeners.
    let ports = changed(&apply(&mut translator, &gateway(", {name: alt, port: 81, protocol: HTTP}")))
        .unwrap()
        .unwrap();
    assert_eq!((ports.parameters.clone(), ports.ports.len()), (ProxyParameters::Invalid, 2));
    // Started anew, the same comes out.
    let objects: Vec<_> = translator.objects().cloned().collect();
    let fresh = objects::translated_with(Options { provision: true, ..Options::default() }, objects);
    assert_eq!(fresh.infrastructure(&name()), Some(&ports));
    let mended = changed(&apply(&mut translator, &parameters("{kube: {deployment: {replicas: 2}}}")))
        .unwrap()
        .unwrap();
    assert_eq!(replicas(&mended), Some(2));
    assert!(accepted(&translator).0);
}

#[test]
fn beside_the_user_there_is_none() {
    let yaml = [CLASS.to_owned(), gateway(""), parameters("{kube: {}}")];
    let mut translator = Translator::new(Options::default());
    for object in yaml.iter().flat_map(|yaml| objects::load(yaml)) {
        translator.apply(Change::Upsert(object));
    }
    assert!(translator.translate().infrastructure.is_empty());
    assert_eq!(translator.infrastructure(&name()), None);
}
