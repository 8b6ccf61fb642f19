use super::*;
use crate::dependency::tests::object;
use crate::object::Object;

fn read(name: &str, spec: &str) -> Policy {
    match object(Kind::TrafficPolicy, name, &format!("spec: {{{spec}}}")) {
        Object::TrafficPolicy(policy) => Policy::parse(&policy),
        other => panic!("{other:?}"),
    }
}

fn faults(spec: &str) -> Vec<String> {
    read("a/p", spec).faults.into_iter().map(|fault| fault.field).collect()
}

/// The schema of this project on the left, that of kgateway v2.1 on the right.
#[test]
fn both_dialects_meet_in_one_form() {
    for (ours, other) in [
        ("timeout: {request: 3s, idle: 1m}", "timeouts: {request: 3s, streamIdle: 1m}"),
        ("timeout: {request: 1.5s}", "timeouts: {request: 1500ms}"),
        (
            "retries: {attempts: 2, retryOn: 'gateway-error,503', perTryTimeout: 1s}",
            "retry: {attempts: 2, retryOn: [gateway-error], statusCodes: [503], perTryTimeout: 1s}",
        ),
        (
            "requestHeaderModifier: {set: [{name: a, value: b}]}",
            "headerModifiers: {request: {set: [{name: a, value: b}]}}",
        ),
        ("responseHeaderModifier: {remove: [a]}", "headerModifiers: {response: {remove: [a]}}"),
        (
            "cors: {allowOrigins: ['https://a.b'], maxAge: 60s}",
            "cors: {allowOrigins: ['https://a.b'], maxAge: 60}",
        ),
    ] {
        let (ours, other) = (read("a/p", ours), read("a/p", other));
        assert!(ours.is_valid() && other.is_valid(), "{:?} {:?}", ours.faults, other.faults);
        assert_eq!(ours.fields, other.fields);
        assert_ne!(ours.fields, Fields::default());
    }
}

#[test]
fn both_dialects_at_once_are_a_fault() {
    let headers = "{set: [{name: a, value: b}]}";
    for (spec, field) in [
        ("timeout: {request: 3s}, timeouts: {request: 3s}".to_owned(), "spec.timeouts"),
        ("timeout: {request: 3s}, timeouts: {streamIdle: 3s}".to_owned(), "spec.timeouts"),
        ("retries: {attempts: 1}, retry: {retryOn: [5xx]}".to_owned(), "spec.retry"),
        (
            format!("requestHeaderModifier: {headers}, headerModifiers: {{request: {headers}}}"),
            "spec.headerModifiers.request",
        ),
        (
            format!("responseHeaderModifier: {headers}, headerModifiers: {{response: {headers}}}"),
            "spec.headerModifiers.response",
        ),
    ] {
        assert_eq!(faults(&spec), [field], "{spec}");
    }
    let apart = format!("requestHeaderModifier: {headers}, headerModifiers: {{response: {headers}}}");
    assert_eq!(faults(&apart), [""; 0]);
}

#[test]
fn what_is_wrong_names_its_field() {
    for (spec, fields) in [
        ("timeout: {request: soon, idle: later}", vec!["spec.timeout.request", "spec.timeout.idle"]),
        ("timeouts: {streamIdle: -1s}", vec!["spec.timeouts.streamIdle"]),
        ("retries: {retryOn: sometimes}", vec!["spec.retries.retryOn"]),
        ("retry: {statusCodes: [200]}", vec!["spec.retry.statusCodes[0]"]),
        ("requestHeaderModifier: {remove: ['a b']}", vec!["spec.requestHeaderModifier.remove[0]"]),
        ("headerModifiers: {response: {remove: ['a b']}}", vec!["spec.headerModifiers.response.remove[0]"]),
        ("cors: {allowOrigins: [x]}", vec!["spec.cors.allowOrigins[0]"]),
        ("timeout: {request: 1s}, retries: {perTryTimeout: 1s}", vec!["spec.retries.perTryTimeout"]),
        ("timeout: {request: 0s}, retries: {perTryTimeout: 1s}", vec![]),
        ("targetRefs: [{kind: Service, name: s, group: ''}]", vec!["spec.targetRefs[0].kind"]),
        (
            "targetSelectors: [{kind: Pod, group: '', matchLabels: {a: b}}]",
            vec!["spec.targetSelectors[0].kind"],
        ),
        ("extAuth: {contextExtensions: {a: b}}", vec!["spec.extAuth.extensionRef"]),
        ("extProc: {extensionRef: {name: x}, disable: {}}", vec!["spec.extProc.disable"]),
        (
            "extProc: {extensionRef: {name: x}, processingMode: {requestBodyMode: FULL_DUPLEX_STREAMED}}",
            vec!["spec.extProc.processingMode.requestTrailerMode"],
        ),
        ("extProc: {extensionRef: {name: x}}, rateLimit: {extensionRef: {name: x}}", vec![]),
        (
            "rateLimit: {extensionRef: {name: x}, global: {extensionRef: {name: x}, descriptors: []}}",
            vec!["spec.rateLimit.global"],
        ),
        (
            "rateLimit: {global: {extensionRef: {name: x}, descriptors: [{entries: [{type: Path}, {type: Header}]}]}}",
            vec!["spec.rateLimit.global.descriptors[0].entries[1].header"],
        ),
        ("autoHostRewrite: true", vec![]),
        ("targetRefs: [{kind: HTTPRoute, name: r}], autoHostRewrite: true", vec![]),
        ("targetRefs: [{kind: GRPCRoute, name: r}], autoHostRewrite: true", vec!["spec.autoHostRewrite"]),
        (
            "targetSelectors: [{kind: Gateway, matchLabels: {a: b}}], autoHostRewrite: false",
            vec!["spec.autoHostRewrite"],
        ),
        (
            "rateLimit: {local: {tokenBucket: {maxTokens: 0, fillInterval: 1s}}}",
            vec!["spec.rateLimit.local.tokenBucket.maxTokens"],
        ),
        ("", vec![]),
    ] {
        assert_eq!(faults(spec), fields, "{spec}");
    }
}

#[test]
fn targets_are_in_the_namespace_of_the_policy_unless_they_say_otherwise() {
    let policy = read(
        "a/p",
        "targetRefs: [{kind: HTTPRoute, name: r, sectionName: n}, {kind: Gateway, name: g, namespace: b, group: \
         gateway.networking.k8s.io}]",
    );
    let targets: Vec<String> = policy.targets.iter().map(|t| t.object.to_string()).collect();
    assert_eq!(targets, ["HTTPRoute a/r section n", "Gateway b/g"]);
}

#[test]
fn selectors_select_by_all_their_labels() {
    let policy = read("a/p", "targetSelectors: [{kind: HTTPRoute, matchLabels: {app: x, tier: y}}]");
    let labels = |labels: &[(&str, &str)]| -> BTreeMap<String, String> {
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    assert!(policy.selects(Kind::HttpRoute, None, &labels(&[("app", "x"), ("tier", "y"), ("more", "z")])));
    assert!(!policy.selects(Kind::HttpRoute, None, &labels(&[("app", "x")])));
    assert!(!policy.selects(Kind::HttpRoute, None, &labels(&[("app", "x"), ("tier", "z")])));
    assert!(!policy.selects(Kind::Gateway, None, &labels(&[("app", "x"), ("tier", "y")])));
    assert!(!policy.selects(Kind::HttpRoute, Some("n"), &labels(&[("app", "x"), ("tier", "y")])));
}

#[test]
fn a_panic_costs_the_policy_and_keeps_what_it_protects_closed() {
    let targets = "targetRefs: [{kind: HTTPRoute, name: r}]";
    let panics = crate::dependency::PANICS;
    let policy = read(
        "a/p",
        &format!("{targets}, timeout: {{request: {panics}}}, extAuth: {{extensionRef: {{name: e}}}}"),
    );
    assert!(!policy.is_valid());
    assert!(policy.faults[0].message.contains("defect"), "{:?}", policy.faults);
    assert_eq!(policy.targets.len(), 1);
    assert!(policy.protects);
}
