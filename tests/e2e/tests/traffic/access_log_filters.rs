//! Access logs of an HTTPListenerPolicy: which requests are logged.

use postern_e2e::{LogService, Want, covers, refuses, service, until};

use super::access_logs::{TO_GATEWAY, lines, world};
use super::listener_policies::policy;

#[tokio::test]
async fn filters_say_which_requests_are_logged() {
    covers!(
        "HTTPListenerPolicy.spec.accessLog[].filter.statusCodeFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.statusCodeFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.durationFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.durationFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.notHealthCheckFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.headerFilter.header.name",
        "HTTPListenerPolicy.spec.accessLog[].filter.headerFilter.header.type",
        "HTTPListenerPolicy.spec.accessLog[].filter.headerFilter.header.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.responseFlagFilter.flags[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.grpcStatusFilter.statuses[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.grpcStatusFilter.exclude",
        "HTTPListenerPolicy.spec.accessLog[].filter.celFilter.match",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].statusCodeFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].statusCodeFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].headerFilter.header.name",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].headerFilter.header.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].statusCodeFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].statusCodeFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].celFilter.match",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].durationFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].durationFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].notHealthCheckFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].headerFilter.header.type",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].responseFlagFilter.flags[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].grpcStatusFilter.statuses[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].grpcStatusFilter.exclude",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].celFilter.match",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].durationFilter.op",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].durationFilter.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].notHealthCheckFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].headerFilter.header.name",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].headerFilter.header.type",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].headerFilter.header.value",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].responseFlagFilter.flags[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].grpcStatusFilter.statuses[]",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].grpcStatusFilter.exclude",
    );
    let directory = tempfile::tempdir().unwrap();
    let mut world = world().await;
    let collector = LogService::start().await;
    world.apply(&service("default", "otel", "", &[collector.address()])).await;
    // Each filter, and the paths that it lets through.
    let all = [
        "/",
        "/teapot",
        "/broken",
        "/slow",
        "/up",
        "/team",
        "/team-b",
        "/nobody",
        "/grpc-unavailable",
        "/grpc-ok",
        "/cut",
        "/end",
    ];
    let but = |gone: &[&str]| all.iter().copied().filter(|path| !gone.contains(path)).collect::<Vec<_>>();
    let cases: Vec<(&str, &str, Vec<&str>)> = vec![
        ("eq", "statusCodeFilter: {op: EQ, value: 418}", vec!["/teapot"]),
        ("ge", "statusCodeFilter: {op: GE, value: 418}", vec!["/teapot", "/broken", "/cut"]),
        ("le", "statusCodeFilter: {op: LE, value: 417}", but(&["/teapot", "/broken", "/cut"])),
        ("duration", "durationFilter: {op: GE, value: 600}", vec!["/slow"]),
        ("no-checks", "notHealthCheckFilter: true", but(&["/up"])),
        ("header", "headerFilter: {header: {name: X-Team, value: a}}", vec!["/team"]),
        (
            "regex",
            "headerFilter: {header: {type: RegularExpression, name: X-Team, value: '[ab]'}}",
            vec!["/team", "/team-b"],
        ),
        ("flag", "responseFlagFilter: {flags: [URX, UC]}", vec!["/cut"]),
        ("no-flag", "responseFlagFilter: {flags: [UF, NC]}", vec![]),
        ("grpc", "grpcStatusFilter: {statuses: [UNAVAILABLE]}", vec!["/grpc-unavailable", "/broken", "/cut"]),
        (
            "cel",
            "celFilter: {match: \"request.path == '/teapot' || response.code == 503\"}",
            vec!["/teapot", "/broken", "/cut"],
        ),
        (
            "and",
            "andFilter: [{statusCodeFilter: {op: EQ, value: 200}}, {headerFilter: {header: {name: X-Team, value: b}}}]",
            vec!["/team-b"],
        ),
        (
            "or",
            "orFilter: [{statusCodeFilter: {op: EQ, value: 418}}, {celFilter: {match: \"request.path == '/slow'\"}}]",
            vec!["/teapot", "/slow"],
        ),
        (
            "exclude",
            "grpcStatusFilter: {statuses: [OK, UNKNOWN, UNIMPLEMENTED], exclude: true}",
            vec!["/broken", "/grpc-unavailable", "/cut"],
        ),
        // The last log of all: what it has, the others have been told.
        ("every", "statusCodeFilter: {op: GE, value: 0}", all.to_vec()),
    ];
    // Joined with what holds for none, or for all, a condition says the same.
    let joined = cases.iter().filter(|(_, filter, _)| !filter.contains("Filter: [")).flat_map(
        |(name, filter, paths)| {
            let none = "headerFilter: {header: {name: X-Never, value: a}}";
            let every = "statusCodeFilter: {op: GE, value: 0}";
            [
                (format!("or-{name}"), format!("orFilter: [{{{none}}}, {{{filter}}}]"), paths.clone()),
                (format!("and-{name}"), format!("andFilter: [{{{every}}}, {{{filter}}}]"), paths.clone()),
            ]
        },
    );
    let single =
        cases.iter().map(|(name, filter, paths)| ((*name).to_owned(), (*filter).to_owned(), paths.clone()));
    let cases: Vec<(String, String, Vec<&str>)> = joined.chain(single).collect();
    let logs: Vec<String> = cases
        .iter()
        .map(|(name, filter, _)| {
            let path = directory.path().join(name);
            format!(
                "{{fileSink: {{path: {}, stringFormat: \"%REQ(:PATH)%\\n\"}}, filter: {{{filter}}}}}",
                path.display()
            )
        })
        .collect();
    let tracing = "tracing: {provider: {openTelemetry: {grpcService: {backendRef: {name: otel, port: 8080}}}}, randomSampling: 0}, healthCheck: {path: /up}";
    world.apply(&policy("p", &format!("{TO_GATEWAY}, {tracing}, accessLog: [{}]", logs.join(", ")))).await;
    world.assert_status("HTTPListenerPolicy/p", &["Accepted=True *", "Attached=True Attached"]);
    for path in all {
        let mut call = world.call("a.example.org", path);
        match path {
            "/team" => call = call.header("x-team", "a"),
            "/team-b" => call = call.header("x-team", "b"),
            _ => {}
        }
        call.send().await.unwrap();
    }
    lines(&directory.path().join("every"), "/end").await;
    until("files with all of it", || async {
        let waiting = world.envoy("gw").stats("^filesystem.write_total_buffered$").await;
        if waiting.values().eq([&0]) { Ok(()) } else { Err(format!("{waiting:?}")) }
    })
    .await;
    for (name, filter, expected) in cases {
        let text = std::fs::read_to_string(directory.path().join(&name)).unwrap_or_default();
        let found: Vec<&str> = text.lines().collect();
        let mut expected = expected;
        expected.sort_unstable_by_key(|path| all.iter().position(|it| it == path));
        assert_eq!(found, expected, "{name}: {filter}");
    }
    world.assert_nothing_rejected().await;
}

/// What Envoy could not carry out is refused wherever it stands, and the log is not written.
#[tokio::test]
async fn a_filter_of_traced_requests_is_refused() {
    refuses!(
        "HTTPListenerPolicy.spec.accessLog[].filter.traceableFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.andFilter[].traceableFilter",
        "HTTPListenerPolicy.spec.accessLog[].filter.orFilter[].traceableFilter",
    );
    let mut world = world().await;
    let traceable = "{traceableFilter: true}";
    for (field, filter) in [
        ("traceableFilter", traceable.to_owned()),
        (
            "andFilter[0].traceableFilter",
            format!("{{andFilter: [{traceable}, {{notHealthCheckFilter: true}}]}}"),
        ),
        (
            "orFilter[1].traceableFilter",
            format!("{{orFilter: [{{notHealthCheckFilter: true}}, {traceable}]}}"),
        ),
    ] {
        let log = "fileSink: {path: /dev/null, stringFormat: '%PROTOCOL%'}";
        world.apply(&policy("p", &format!("{TO_GATEWAY}, accessLog: [{{{log}, filter: {filter}}}]"))).await;
        world.assert_status("HTTPListenerPolicy/p", &["Accepted=False Invalid"]);
        let problems = world.problems();
        let field = format!("spec.accessLog[0].filter.{field}");
        assert!(
            problems.contains(&field) && problems.contains("headerFilter instead"),
            "{field}: {problems}"
        );
    }
    let call = world.call("a.example.org", "/");
    world.expect(call, Want::Backend("v1")).await;
}
