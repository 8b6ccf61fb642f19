//! Extensions and their uses, without a route.

use super::*;
use crate::dependency::tests::{World, yaml};
use crate::policy::Policy;

const SERVICE: (Kind, &str, &str) = (Kind::Service, "a/ext", "spec: {ports: [{port: 9000}]}");
const BACKEND: &str = "grpcService: {backendRef: {name: ext, port: 9000}}";

fn policy(spec: &str) -> Policy {
    Policy::parse(&yaml(&format!("{{metadata: {{name: p, namespace: a}}, spec: {{{spec}}}}}")))
}

/// The fields of the faults of a policy in namespace `a` with the extension `a/x`.
fn faults_of(policy_spec: &str, extension: &str) -> Vec<String> {
    let spec = format!("spec: {{{extension}}}");
    let world = World::new(&[SERVICE, (Kind::GatewayExtension, "a/x", &spec)]);
    let policy = policy(policy_spec);
    assert!(policy.is_valid(), "{:?}", policy.faults);
    faults(&world.reader(), &policy).into_iter().map(|fault| fault.field).collect()
}

/// The field that is wrong with an extension, if one is.
fn fault_of(extension: &str) -> Option<String> {
    Provider::parse(&yaml(&format!("{{metadata: {{name: x}}, spec: {{{extension}}}}}")))
        .err()
        .map(|fault| fault.field)
}

#[test]
fn what_is_wrong_with_an_extension_names_its_field() {
    for (spec, field) in [
        (format!("extAuth: {{{BACKEND}}}"), None),
        (format!("type: ExtAuth, extAuth: {{{BACKEND}, statusOnError: 503}}"), None),
        (String::new(), Some("spec")),
        (format!("extAuth: {{{BACKEND}}}, extProc: {{{BACKEND}}}"), Some("spec")),
        (format!("type: ExtProc, extAuth: {{{BACKEND}}}"), Some("spec.type")),
        ("extAuth: {}".to_owned(), Some("spec.extAuth.grpcService")),
        ("extProc: {grpcService: {}}".to_owned(), Some("spec.extProc.grpcService.backendRef")),
        (format!("extAuth: {{{BACKEND}, statusOnError: 418}}"), Some("spec.extAuth.statusOnError")),
        (format!("extAuth: {{{BACKEND}, statusOnError: 100}}"), Some("spec.extAuth.statusOnError")),
        (
            format!("extAuth: {{{BACKEND}, withRequestBody: {{maxRequestBytes: 0}}}}"),
            Some("spec.extAuth.withRequestBody.maxRequestBytes"),
        ),
        (format!("extProc: {{{BACKEND}, messageTimeout: 2h}}"), Some("spec.extProc.messageTimeout")),
        (format!("extProc: {{{BACKEND}, maxMessageTimeout: 0s}}"), Some("spec.extProc.maxMessageTimeout")),
        (format!("extProc: {{{BACKEND}, routeCacheAction: Keep}}"), Some("spec.extProc.routeCacheAction")),
        (
            format!("extProc: {{{BACKEND}, processingMode: {{responseBodyMode: FULL_DUPLEX_STREAMED}}}}"),
            Some("spec.extProc.processingMode.responseTrailerMode"),
        ),
        (
            format!("extProc: {{{BACKEND}, processingMode: {{requestBodyMode: GRPC}}}}"),
            Some("spec.extProc.processingMode.requestBodyMode"),
        ),
        (format!("rateLimit: {{{BACKEND}, domain: ''}}"), Some("spec.rateLimit.domain")),
        (format!("rateLimit: {{{BACKEND}, timeout: soon}}"), Some("spec.rateLimit.timeout")),
        (
            format!("rateLimit: {{{BACKEND}, xRateLimitHeaders: All}}"),
            Some("spec.rateLimit.xRateLimitHeaders"),
        ),
        (
            "rateLimit: {grpcService: {backendRef: {name: ext, port: 1}, authority: 'a b'}}".to_owned(),
            Some("spec.rateLimit.grpcService.authority"),
        ),
        (
            "rateLimit: {grpcService: {backendRef: {name: ext, port: 1, weight: 0}}}".to_owned(),
            Some("spec.rateLimit.grpcService.backendRef.weight"),
        ),
    ] {
        assert_eq!(fault_of(&spec).as_deref(), field, "{spec}");
    }
}

/// Whoever wanted a service to be asked gets nothing through without it, unless the extension says so.
#[test]
fn what_cannot_be_asked_closes_unless_the_extension_is_open() {
    let auth = "extAuth: {extensionRef: {name: x}}";
    let proc = "extProc: {extensionRef: {name: x}}";
    let limit = "rateLimit: {extensionRef: {name: x}}";
    let gone = "grpcService: {backendRef: {name: gone, port: 1}}";
    for (policy, extension, field) in [
        (auth, format!("extAuth: {{{BACKEND}}}"), None),
        (auth, format!("extProc: {{{BACKEND}}}"), Some("spec.extAuth.extensionRef.name")),
        (auth, "extAuth: {}".to_owned(), Some("spec.extAuth.extensionRef.name")),
        (auth, format!("extAuth: {{{gone}}}"), Some("spec.extAuth.extensionRef.name")),
        (auth, format!("extAuth: {{{gone}, failOpen: true}}"), None),
        (proc, format!("extProc: {{{gone}}}"), None),
        (proc, format!("extProc: {{{gone}, failOpen: false}}"), Some("spec.extProc.extensionRef.name")),
        (limit, format!("rateLimit: {{{gone}}}"), None),
        (limit, format!("rateLimit: {{{gone}, failOpen: false}}"), Some("spec.rateLimit.extensionRef.name")),
        ("extAuth: {extensionRef: {name: other}}", String::new(), Some("spec.extAuth.extensionRef.name")),
        (
            "extAuth: {extensionRef: {name: x, namespace: b}}",
            String::new(),
            Some("spec.extAuth.extensionRef.namespace"),
        ),
        ("extAuth: {disable: {}}", String::new(), None),
    ] {
        let expected: Vec<&str> = field.into_iter().collect();
        assert_eq!(faults_of(policy, &extension), expected, "{policy} {extension}");
    }
}

#[test]
fn extensions_of_other_namespaces_need_a_grant() {
    let extension = format!("spec: {{extAuth: {{{BACKEND}}}}}");
    let grant = "spec: {from: [{group: gateway.kgateway.dev, kind: TrafficPolicy, namespace: a}], \
                 to: [{group: gateway.kgateway.dev, kind: GatewayExtension}]}";
    let service = (Kind::Service, "b/ext", "spec: {ports: [{port: 9000}]}");
    let mut objects = vec![service, (Kind::GatewayExtension, "b/x", extension.as_str())];
    let policy = policy("extAuth: {extensionRef: {name: x, namespace: b}}");
    assert_eq!(faults(&World::new(&objects).reader(), &policy).len(), 1);
    objects.push((Kind::ReferenceGrant, "b/g", grant));
    assert_eq!(faults(&World::new(&objects).reader(), &policy), []);
}

#[test]
fn what_a_policy_says_of_the_service_is_preferred() {
    let spec = format!("spec: {{extProc: {{{BACKEND}, processingMode: {{responseBodyMode: BUFFERED}}}}}}");
    let world = World::new(&[SERVICE, (Kind::GatewayExtension, "a/x", &spec)]);
    let mode = |policy_spec: &str| {
        let policy = policy(policy_spec);
        let Some(Setting::Enabled(it)) = &policy.fields.extensions.processing else { panic!("no use") };
        let Answer::Ask(processing) = it.resolve(&world.reader()) else { panic!("nobody to ask") };
        let mode = processing.envoy().processing_mode.unwrap();
        (mode.request_body_mode, mode.response_body_mode)
    };
    assert_eq!(mode("extProc: {extensionRef: {name: x}}"), (0, 2));
    // As a whole: the other fields get their defaults.
    assert_eq!(
        mode("extProc: {extensionRef: {name: x}, processingMode: {requestBodyMode: STREAMED}}"),
        (1, 0)
    );
}

#[test]
fn without_descriptors_routes_and_clients_are_counted() {
    let spec = format!("spec: {{rateLimit: {{{BACKEND}}}}}");
    let world = World::new(&[SERVICE, (Kind::GatewayExtension, "a/x", &spec)]);
    let policy = policy("rateLimit: {extensionRef: {name: x}}");
    let Some(Setting::Enabled(it)) = &policy.fields.extensions.limits else { panic!("no use") };
    let Answer::Ask(limits) = it.resolve(&world.reader(), "httproute/a/r") else { panic!("nobody to ask") };
    let filter = limits.envoy();
    assert_eq!((filter.domain.as_str(), filter.rate_limits.len()), ("a/x", 1));
    assert_eq!(filter.rate_limits[0].actions.len(), 2);
}
