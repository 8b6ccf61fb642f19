use postern_api::kgateway::HttpListenerPolicySpec;

use super::*;
use crate::dependency::tests::{World, yaml};
use crate::object::Kind;

fn read(spec: &str) -> Result<(Option<Vec<AccessLog>>, Vec<Missing>), Fault> {
    let world = World::new(&[(Kind::Service, "a/logs", "spec: {ports: [{port: 9000}]}")]);
    let policy = ObjectKey::new(Kind::HttpListenerPolicy, "a", "p");
    let mut missing = Vec::new();
    let spec: HttpListenerPolicySpec = yaml(&format!("{{{spec}}}"));
    Ok((parse(&world.reader(), &policy, &spec, &mut missing, &mut Vec::new())?, missing))
}

fn fault(spec: &str) -> Fault {
    read(spec).map(|_| ()).expect_err(spec)
}

const FILE: &str = "fileSink: {path: /dev/stdout, stringFormat: x}";

/// The free form of the contract and the list of kgateway come to the same.
#[test]
fn three_spellings() {
    let listed = read(&format!("accessLog: [{{{FILE}}}]")).unwrap();
    for spelling in [format!("accessLogging: {{{FILE}}}"), format!("accessLogging: [{{{FILE}}}]")] {
        assert_eq!(read(&spelling).unwrap().0, listed.0, "{spelling}");
    }
    assert_eq!(read("").unwrap().0, None);
    assert_eq!(read("accessLogging: []").unwrap().0, Some(vec![]), "no log at all, whatever the Gateway has");
}

#[test]
fn what_is_wrong_names_its_field() {
    for (spec, field) in [
        (format!("accessLogging: {{{FILE}}}, accessLog: [{{{FILE}}}]"), "spec.accessLog"),
        ("accessLogging: 3".to_owned(), "spec.accessLogging"),
        (format!("accessLogging: {{{FILE}, level: debug}}"), "spec.accessLogging.level"),
        (
            "accessLogging: [{fileSink: {path: /x, text: x}}]".to_owned(),
            "spec.accessLogging[0].fileSink.text",
        ),
        ("accessLog: [{}]".to_owned(), "spec.accessLog[0]"),
        ("accessLog: [{fileSink: {path: x, stringFormat: x}}]".to_owned(), "spec.accessLog[0].fileSink.path"),
        (
            "accessLog: [{fileSink: {path: /x, stringFormat: '%NO%'}}]".to_owned(),
            "spec.accessLog[0].fileSink.stringFormat",
        ),
        (
            "accessLog: [{fileSink: {path: /x, jsonFormat: {a: {b: ['', '%NO%']}}}}]".to_owned(),
            "spec.accessLog[0].fileSink.jsonFormat.a.b[1]",
        ),
        ("accessLog: [{fileSink: {path: /x}}]".to_owned(), "spec.accessLog[0].fileSink"),
        (format!("accessLog: [{{{FILE}, filter: {{}}}}]"), "spec.accessLog[0].filter"),
        (
            format!("accessLog: [{{{FILE}, filter: {{traceableFilter: true}}}}]"),
            "spec.accessLog[0].filter.traceableFilter",
        ),
        (
            format!("accessLog: [{{{FILE}, filter: {{andFilter: [{{notHealthCheckFilter: true}}]}}}}]"),
            "spec.accessLog[0].filter.andFilter",
        ),
        (
            format!("accessLog: [{{{FILE}, filter: {{responseFlagFilter: {{flags: [UF, XX]}}}}}}]"),
            "spec.accessLog[0].filter.responseFlagFilter.flags[1]",
        ),
        (
            format!(
                "accessLog: [{{{FILE}, filter: {{orFilter: [{{notHealthCheckFilter: true}}, {{celFilter: {{match: '1 +'}}}}]}}}}]"
            ),
            "spec.accessLog[0].filter.orFilter[1].celFilter.match",
        ),
        (
            format!(
                "accessLog: [{{{FILE}, filter: {{headerFilter: {{header: {{name: 'a b', value: x}}}}}}}}]"
            ),
            "spec.accessLog[0].filter.headerFilter.header.name",
        ),
        (
            "accessLog: [{grpcService: {backendRef: {name: logs, port: 9000}, logName: x, timeout: soon}}]"
                .to_owned(),
            "spec.accessLog[0].grpcService.timeout",
        ),
        (
            "accessLog: [{grpcService: {backendRef: {name: logs, port: 9000}, logName: x, timeout: 100us}}]"
                .to_owned(),
            "spec.accessLog[0].grpcService.timeout",
        ),
        (
            "accessLog: [{grpcService: {backendRef: {name: logs, port: 9000}, logName: x, \
             initialMetadata: [{key: X-Envoy-Upstream-Rq-Timeout-Ms, value: '5'}]}}]"
                .to_owned(),
            "spec.accessLog[0].grpcService.initialMetadata[0].key",
        ),
        (
            "accessLog: [{openTelemetry: {grpcService: {backendRef: {name: logs, port: 9000}, logName: x}, \
             attributes: {values: [{key: a, value: {}}]}}}]"
                .to_owned(),
            "spec.accessLog[0].openTelemetry.attributes.values[0].value",
        ),
    ] {
        assert_eq!(fault(&spec).field, field, "{spec}");
    }
}

/// A log that nobody can get does not cost the others.
#[test]
fn services_that_cannot_be_had() {
    let (logs, missing) = read(&format!(
        "accessLog: [{{grpcService: {{backendRef: {{name: gone, port: 1}}, logName: x}}}}, {{{FILE}}}]"
    ))
    .unwrap();
    assert_eq!(logs.unwrap().len(), 1);
    assert_eq!(missing[0].0, "spec.accessLog[0].grpcService.backendRef.name");
}
