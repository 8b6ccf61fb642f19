use postern_translator::infrastructure::{ProxyParameters, infrastructure_name};
use serde_json::json;

use super::*;

fn name() -> NamespacedName {
    NamespacedName::new("shop", "web")
}

fn infrastructure(class: &str) -> Arc<Infrastructure> {
    Arc::new(Infrastructure {
        gateway: name(),
        uid: "gateway-1".to_owned(),
        class: class.to_owned(),
        name: infrastructure_name("web"),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        ports: std::collections::BTreeSet::new(),
        addresses: Vec::new(),
        cluster_ip: None,
        internal: false,
        parameters: ProxyParameters::SelfManaged,
    })
}

fn metadata(generation: i64) -> ObjectMeta {
    let owner = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "web", "uid": "gateway-1"});
    serde_json::from_value(json!({"uid": "a", "generation": generation, "ownerReferences": [owner]})).unwrap()
}

fn applied() -> Outcome {
    let record = Record::new(&json!({}), &metadata(1));
    Outcome { records: BTreeMap::from([(ObjectKind::Deployment, record)]), ..Outcome::default() }
}

fn taken() -> Outcome {
    let error = ProvisionError::Taken { kind: ObjectKind::Service, object: name() };
    Outcome { errors: vec![error], ..Outcome::default() }
}

fn one() -> Gateways {
    let mut gateways = Gateways::default();
    assert!(gateways.set(name(), Some(infrastructure("a"))));
    gateways
}

#[test]
fn only_what_is_new_is_work() {
    let mut gateways = one();
    assert!(!gateways.set(name(), Some(infrastructure("a"))));
    assert!(gateways.set(name(), Some(infrastructure("b"))));
    assert!(gateways.set(name(), None));
    assert!(gateways.get(&name()).is_none());
    assert!(gateways.set(name(), Some(infrastructure("b"))));
}

#[test]
fn tells_each_thing_once() {
    let mut gateways = one();
    let now = Instant::now();
    let verdict = gateways.finished(&name(), taken(), now);
    assert_eq!(verdict.retry, Some(Duration::from_millis(500)));
    let Some(ProvisionReport::Failed { uid, message, .. }) = verdict.report else { panic!("{verdict:?}") };
    assert_eq!(uid, "gateway-1");
    assert!(message.starts_with("Service shop/web exists already"), "{message}");
    let again = gateways.finished(&name(), taken(), now);
    assert_eq!(again, Verdict { retry: Some(Duration::from_secs(1)), report: None });
    let good = gateways.finished(&name(), applied(), now);
    assert!(
        matches!(good.report, Some(ProvisionReport::Provisioned { .. })) && good.retry.is_none(),
        "{good:?}"
    );
    assert_eq!(gateways.finished(&name(), applied(), now), Verdict::default());
    let changed = Outcome { changes: vec![("updated", ObjectKind::Service)], ..applied() };
    let report = gateways.finished(&name(), changed, now).report;
    assert!(
        matches!(report, Some(ProvisionReport::Provisioned { changes, .. }) if changes == ["updated Service"])
    );
}

#[test]
fn says_nothing_of_what_passes_unless_it_does_not() {
    let mut gateways = one();
    let ending = || Outcome {
        errors: vec![ProvisionError::Ending { kind: ObjectKind::Deployment, object: name() }],
        ..Outcome::default()
    };
    for _ in 0..PATIENCE {
        let verdict = gateways.finished(&name(), ending(), Instant::now());
        assert!(verdict.report.is_none() && verdict.retry.is_some(), "{verdict:?}");
    }
    assert!(gateways.finished(&name(), ending(), Instant::now()).report.is_some());
}

#[test]
fn a_quarrel_gets_slower_and_slower() {
    let mut gateways = one();
    let mut now = Instant::now();
    let seen = |gateways: &Gateways, generation, now| {
        gateways.seen(&name(), ObjectKind::Deployment, &metadata(generation), now)
    };
    gateways.finished(&name(), applied(), now);
    assert_eq!(seen(&gateways, 1, now), None);
    assert_eq!(seen(&gateways, 2, now), Some(Duration::ZERO));
    let mut last = Duration::ZERO;
    for _ in 0..4 {
        gateways.finished(&name(), Outcome { repaired: true, ..applied() }, now);
        let wait = seen(&gateways, 2, now).unwrap();
        assert!(wait > last, "{wait:?}");
        last = wait;
        now += Duration::from_secs(1);
    }
    assert_eq!(gateways.gone(&name(), now), Some(last));
    assert_eq!(seen(&gateways, 2, now + QUARREL), Some(Duration::ZERO));
}

#[test]
fn objects_of_others_are_none_of_its_business() {
    let mut gateways = one();
    let now = Instant::now();
    let other = NamespacedName::new("shop", "other");
    assert_eq!(gateways.gone(&other, now), None);
    assert_eq!(gateways.seen(&other, ObjectKind::Deployment, &metadata(2), now), None);
    // Before the first attempt is over nothing can be told.
    assert_eq!(gateways.seen(&name(), ObjectKind::Deployment, &metadata(2), now), None);
    gateways.finished(&name(), applied(), now);
    gateways.set(name(), None);
    assert_eq!(gateways.seen(&name(), ObjectKind::Deployment, &metadata(2), now), None);
    assert_eq!(gateways.finished(&name(), Outcome::default(), now), Verdict::default());
}
