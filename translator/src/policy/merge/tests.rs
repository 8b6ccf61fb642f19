use std::time::Duration;

use super::*;
use crate::dependency::tests::yaml;

fn policy(name: &str, spec: &str) -> Arc<Policy> {
    let (namespace, name) = name.split_once('/').unwrap();
    let text = format!("{{metadata: {{namespace: {namespace}, name: {name}}}, spec: {{{spec}}}}}");
    Arc::new(Policy::parse(&yaml(&text)))
}

/// Merges one policy on each level, the most specific first, each with the annotation of its object.
fn merged(levels: &[(&Arc<Policy>, Option<&str>)]) -> Effective {
    merge(levels.iter().map(|(policy, annotation)| Level {
        policies: vec![policy],
        priority: annotation.map(|value| Priority::parse(value).unwrap()),
        parts: vec![],
    }))
}

/// The first policy that sets a field wins it; the others keep theirs.
#[test]
fn fields_are_merged_one_by_one() {
    let rule = policy("a/rule", "timeout: {request: 1s}, cors: {disable: {}}");
    let broken = policy("a/broken", "timeout: {idle: soon}, retries: {attempts: 9}");
    let route = policy("a/route", "timeout: {request: 2s, idle: 2s}");
    let gateway =
        policy("a/gateway", "timeout: {idle: 3s}, retries: {attempts: 3}, cors: {allowOrigins: ['*']}");
    let levels = [&rule, &broken, &route, &gateway].map(|policy| (policy, None));
    let effective = merged(&levels);
    let fields = effective.fields;
    assert_eq!(fields.request_timeout, Some(Duration::from_secs(1)));
    assert_eq!(fields.idle_timeout, Some(Duration::from_secs(2)));
    assert_eq!(fields.retry, gateway.fields.retry);
    assert_eq!(fields.cors, rule.fields.cors, "switched off for the rule");
    assert_ne!(fields.cors, None);
    assert_eq!(effective.blocked, None, "a broken timeout opens nothing");
    assert_eq!(merged(&[]), Effective::default());
}

/// A policy that protects and is not valid closes what it protects, on whichever level it stands.
#[test]
fn a_protecting_policy_that_is_not_valid_blocks() {
    let timeout = policy("a/1", "timeout: {request: 1s}");
    for spec in [
        "extAuth: {extensionRef: {name: }}",
        "rbac: {policy: {matchExpressions: ['(']}}",
        "csrf: {percentageEnabled: 101}",
    ] {
        let broken = policy("a/2", &format!("{spec}, timeout: {{request: 2s}}, retries: {{retryOn: '?'}}"));
        assert!(broken.protects && !broken.is_valid(), "{spec}");
        for order in [[&timeout, &broken], [&broken, &timeout]] {
            let effective = merged(&order.map(|policy| (policy, None)));
            assert_eq!(effective.fields.request_timeout, Some(Duration::from_secs(1)));
            assert!(effective.blocked.unwrap().contains("a/2"));
        }
    }
    assert!(!policy("a/3", "extAuth: {disable: {}}").protects);
}

#[test]
fn the_annotation_says_who_wins() {
    let child =
        policy("a/child", "timeout: {request: 1s}, responseHeaderModifier: {set: [{name: a, value: child}]}");
    let parent = policy(
        "a/parent",
        "timeout: {request: 2s, idle: 3s}, responseHeaderModifier: {set: [{name: a, value: parent}, {name: b, value: parent}]}",
    );
    let set = |fields: &Fields| -> Vec<String> {
        let headers = fields.response_headers.as_ref().unwrap().mutations();
        headers.into_iter().filter_map(|it| it.header).map(|it| format!("{}={}", it.key, it.value)).collect()
    };
    for (annotation, seconds, headers) in [
        (None, 1, vec!["a=child"]),
        (Some("ShallowMergePreferChild"), 1, vec!["a=child"]),
        (Some("ShallowMergePreferParent"), 2, vec!["a=parent", "b=parent"]),
        (Some("DeepMergePreferChild"), 1, vec!["a=parent", "b=parent", "a=child"]),
        (Some("DeepMergePreferParent"), 2, vec!["a=child", "a=parent", "b=parent"]),
    ] {
        let fields = merged(&[(&child, None), (&parent, annotation)]).fields;
        assert_eq!(fields.request_timeout, Some(Duration::from_secs(seconds)), "{annotation:?}");
        assert_eq!(fields.idle_timeout, Some(Duration::from_secs(3)), "{annotation:?}");
        assert_eq!(set(&fields), headers, "{annotation:?}");
        // The object's own annotation speaks of what is below it, not above.
        let fields = merged(&[(&child, annotation), (&parent, None)]).fields;
        assert_eq!(fields.request_timeout, Some(Duration::from_secs(1)), "{annotation:?}");
    }
    assert_eq!(Priority::parse("PreferChild"), None);
}

/// Who owns a Gateway keeps what protects it, whatever others write for their routes, until it is allowed.
#[test]
fn protections_stay_in_force() {
    let rules = |expression: &str| {
        format!("rbac: {{policy: {{matchExpressions: [\"{expression}\"]}}}}, timeout: {{request: 9s}}")
    };
    let parent = policy("infra/parent", &rules("request.method == 'GET'"));
    for (namespace, annotation, parent_wins) in [
        ("app", None, true),
        ("infra", None, false),
        ("app", Some("ShallowMergePreferChild"), false),
        ("app", Some("ShallowMergePreferParent"), true),
    ] {
        let child = policy(&format!("{namespace}/child"), &rules("true").replace("9s", "1s"));
        let fields = merged(&[(&child, None), (&parent, annotation)]).fields;
        let winner = if parent_wins { &parent } else { &child };
        assert_eq!(fields.rbac, winner.fields.rbac, "{namespace} {annotation:?}");
        let timeout = if annotation == Some("ShallowMergePreferParent") { 9 } else { 1 };
        assert_eq!(fields.request_timeout, Some(Duration::from_secs(timeout)), "{namespace} {annotation:?}");
    }
}
