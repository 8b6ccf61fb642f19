use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;

const CONTROLLER: &str = "postern.dev/gateway-controller";

fn metadata(value: Value) -> ObjectMeta {
    serde_json::from_value(value).unwrap()
}

fn ours(uid: &str, generation: Option<i64>) -> ObjectMeta {
    metadata(json!({
        "name": "web", "uid": uid, "generation": generation, "resourceVersion": "7",
        "labels": {MANAGED_BY: MANAGER, GATEWAY_CLASS_NAME: "postern"},
        "annotations": {CONTROLLER_NAME: CONTROLLER, "deployment.kubernetes.io/revision": "1"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "web", "uid": "other"},
            {"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "Gateway", "name": "web", "uid": "gateway-1"},
        ],
    }))
}

fn manifest() -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {MANAGED_BY: MANAGER}, "annotations": {CONTROLLER_NAME: CONTROLLER}},
        "spec": {},
    })
}

fn compare(
    kind: ObjectKind,
    wanted: Wanted<Value>,
    existing: Option<ObjectMeta>,
    record: Option<Record>,
) -> Plan {
    plan(
        &NamespacedName::new("shop", "web"),
        "gateway-1",
        CONTROLLER,
        &[(kind, wanted)],
        &existing.map(|it| (kind, it)).into_iter().collect(),
        &record.map(|it| (kind, it)).into_iter().collect(),
    )
}

fn deployment(existing: Option<ObjectMeta>, record: Option<Record>) -> Plan {
    compare(ObjectKind::Deployment, manifest().into(), existing, record)
}

#[test]
fn makes_what_is_missing() {
    let plan = deployment(None, None);
    assert_eq!(plan.steps, [(ObjectKind::Deployment, Step::Create(manifest()))]);
}

#[test]
fn applies_once_what_is_there() {
    let plan = deployment(Some(ours("a", Some(1))), None);
    let [(_, Step::Update { uid, repair: false, keep_replicas: false, .. })] = &plan.steps[..] else {
        panic!("{plan:?}")
    };
    assert_eq!(uid, "a");
    let record = Record::new(&manifest(), &ours("a", Some(1)));
    assert_eq!(deployment(Some(ours("a", Some(1))), Some(record)), Plan::default());
}

#[test]
fn undoes_what_others_change() {
    let record = || Record::new(&manifest(), &ours("a", Some(1)));
    let mut unlabelled = ours("a", Some(1));
    unlabelled.labels.as_mut().unwrap().remove(MANAGED_BY);
    let mut annotated = ours("a", Some(1));
    annotated.annotations.as_mut().unwrap().insert(CONTROLLER_NAME.to_owned(), "other".to_owned());
    for changed in [ours("a", Some(2)), ours("b", Some(1)), unlabelled, annotated] {
        let plan = deployment(Some(changed), Some(record()));
        assert!(matches!(&plan.steps[..], [(_, Step::Update { repair: true, .. })]), "{plan:?}");
    }
    let other = Record::new(&json!({"other": "manifest"}), &ours("a", Some(1)));
    let plan = deployment(Some(ours("a", Some(1))), Some(other));
    assert!(matches!(&plan.steps[..], [(_, Step::Update { repair: false, .. })]), "{plan:?}");
}

#[test]
fn does_not_mind_statuses_and_other_peoples_annotations() {
    let record = Record::new(&manifest(), &ours("a", Some(1)));
    let mut busy = ours("a", Some(1));
    busy.resource_version = Some("8".to_owned());
    busy.annotations.as_mut().unwrap().insert("deployment.kubernetes.io/revision".to_owned(), "2".to_owned());
    assert!(record.still_holds(&busy));
    // Where there is no generation, nobody can tell.
    let record = Record::new(&manifest(), &ours("a", None));
    let mut changed = ours("a", None);
    assert!(record.still_holds(&changed));
    changed.resource_version = Some("8".to_owned());
    assert!(!record.still_holds(&changed));
}

#[test]
fn never_touches_what_is_not_ours() {
    let mut unowned = ours("a", Some(1));
    unowned.owner_references = None;
    let mut of_another = ours("a", Some(1));
    of_another.owner_references.as_mut().unwrap()[1].uid = "gateway-2".to_owned();
    of_another.owner_references.as_mut().unwrap()[1].name = "another".to_owned();
    let mut not_labelled = ours("a", Some(1));
    not_labelled.owner_references.as_mut().unwrap()[1].uid = "gateway-0".to_owned();
    not_labelled.labels = None;
    for foreign in [unowned, of_another, not_labelled] {
        let plan = deployment(Some(foreign.clone()), None);
        assert_eq!(plan, Plan { taken: vec![ObjectKind::Deployment], ..Plan::default() });
        let plan = compare(ObjectKind::Deployment, Wanted::Nothing, Some(foreign), None);
        assert_eq!(plan, Plan::default());
    }
}

#[test]
fn waits_for_the_end_of_what_was() {
    let mut former = ours("a", Some(1));
    former.owner_references.as_mut().unwrap()[1].uid = "gateway-0".to_owned();
    let plan = deployment(Some(former), None);
    assert_eq!(plan.leftovers, [(ObjectKind::Deployment, "a".to_owned())]);
    assert!(plan.steps.is_empty() && plan.taken.is_empty());

    let mut ending = ours("a", Some(1));
    ending.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    let plan = deployment(Some(ending), None);
    assert_eq!(plan, Plan { ending: vec![ObjectKind::Deployment], ..Plan::default() });
}

#[test]
fn deletes_only_what_it_made() {
    let delete = |existing| compare(ObjectKind::Service, Wanted::Nothing, Some(existing), None).steps;
    assert_eq!(delete(ours("a", None)), [(ObjectKind::Service, Step::Delete { uid: "a".to_owned() })]);
    let mut of_other_controller = ours("a", None);
    of_other_controller.annotations.as_mut().unwrap().insert(CONTROLLER_NAME.to_owned(), "other".to_owned());
    assert_eq!(delete(of_other_controller), []);
    let mut unlabelled = ours("a", None);
    unlabelled.labels = None;
    assert_eq!(delete(unlabelled), []);
}

#[test]
fn leaves_alone_what_it_cannot_judge() {
    assert_eq!(compare(ObjectKind::Service, Wanted::Unknown, Some(ours("a", None)), None), Plan::default());
    assert_eq!(compare(ObjectKind::Service, Wanted::Unknown, None, None), Plan::default());
}

#[test]
fn hands_the_replicas_over_before_it_lets_go() {
    let applied_by = |manager: &str, operation: &str| {
        let mut metadata = ours("a", Some(1));
        metadata.managed_fields = serde_json::from_value(json!([{
            "manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }]))
        .unwrap();
        metadata
    };
    let keeps = |existing, manifest: Value| match &compare(
        ObjectKind::Deployment,
        manifest.into(),
        Some(existing),
        None,
    )
    .steps[..]
    {
        [(_, Step::Update { keep_replicas, .. })] => *keep_replicas,
        other => panic!("{other:?}"),
    };
    let mut fixed = manifest();
    fixed["spec"]["replicas"] = json!(2);
    assert!(keeps(applied_by("postern", "Apply"), manifest()));
    assert!(!keeps(applied_by("postern", "Apply"), fixed));
    assert!(!keeps(applied_by("kubectl", "Update"), manifest()));
    assert!(!keeps(applied_by("postern", "Update"), manifest()));
}

#[test]
fn knows_the_class_of_an_object() {
    assert!(!is_of_other_class(&ours("a", None), "postern"));
    assert!(is_of_other_class(&ours("a", None), "istio"));
}
