//! How long a change takes until a real Envoy answers by it, among thousands of routes.
//!
//! Two tables: from the changed object reaching the translator, in process, and from saving a file
//! that the shipped binary watches. One client asks again and again on a kept connection until the
//! answer has changed. Run it with `cargo bench -p postern-e2e --bench local`; without `--bench` (as
//! `cargo test` runs it) it does nothing.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::path::Path;
use std::time::{Duration, Instant};

use postern_e2e::{
    Backend, Call, Connection, Port, Postern, Want, World, expect, gateway, postern_binary, service,
};
use serde_json::Value;

const SIZES: [usize; 2] = [3_000, 10_000];
const SERVICES: usize = 100;
const CHANGES: usize = 200;
/// Between two requests of the client: short against what is measured, long enough to leave the
/// machine to Envoy.
const PAUSE: Duration = Duration::from_micros(200);

/// The route for host number `host`; its answers carry the number of the `edition`.
fn route(host: usize, edition: usize) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route-{host:05}, namespace: default}}
spec:
  parentRefs: [{{name: gw}}]
  hostnames: [host-{host:05}.example.org]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /}}}}]
    filters:
    - {{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-edition, value: '{edition}'}}]}}}}
    backendRefs: [{{name: service-{service:03}, port: 8080}}]
",
        service = host % SERVICES
    )
}

fn services(backend: &Backend) -> String {
    (0..SERVICES)
        .map(|it| service("default", &format!("service-{it:03}"), "", &[backend.address()]))
        .collect()
}

/// Which host is changed as number `change`: spread over all of them.
fn host(change: usize, size: usize) -> usize {
    change * 7919 % size
}

/// Asks until the answer carries `edition`; returns how long that took since `begin`.
async fn until_changed(connection: &mut Connection, call: &Call, edition: usize, begin: Instant) -> Duration {
    let edition = edition.to_string();
    loop {
        let answer = connection.send(call).await.unwrap();
        let elapsed = begin.elapsed();
        assert_eq!(answer.status, 200, "a request failed during a change");
        if answer.header("x-edition").as_deref() == Some(&edition) {
            return elapsed;
        }
        assert!(elapsed < Duration::from_secs(30), "the change did not arrive");
        // A sleep of the runtime would round up to a millisecond.
        std::thread::sleep(PAUSE);
    }
}

struct Row {
    routes: usize,
    start: Duration,
    times: Vec<Duration>,
    note: String,
}

impl Row {
    fn print(&self) {
        let mut times: Vec<f64> = self.times.iter().map(|it| it.as_secs_f64() * 1000.0).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
        println!(
            "| {} | {:.0} | {} | {:.1} | {:.1} | {:.1} | {} |",
            self.routes,
            self.start.as_secs_f64() * 1000.0,
            times.len(),
            at(50),
            at(99),
            times[times.len() - 1],
            self.note
        );
    }
}

async fn in_process(size: usize) -> Row {
    let backend = Backend::start("bench").await;
    let mut world = World::empty().await;
    let begin = Instant::now();
    let listeners = gateway("  - {name: http, port: ${PORT}, protocol: HTTP}");
    let routes: Vec<_> = (0..size).map(|it| route(it, 0)).collect();
    world.apply(&[listeners, services(&backend), routes.join("---\n")].concat()).await;
    let last = world.call(&format!("host-{:05}.example.org", size - 1), "/");
    world.expect(last, Want::Status(200)).await;
    let start = begin.elapsed();

    let mut times = Vec::new();
    let mut translating = Duration::ZERO;
    for change in 0..CHANGES {
        let host = host(change, size);
        let call = world.call(&format!("host-{host:05}.example.org"), "/");
        let mut connection = call.connect().await.unwrap();
        connection.send(&call).await.unwrap();
        let object = postern_e2e::read_object(&route(host, change + 1));
        let begin = Instant::now();
        world.apply_object(object);
        translating += begin.elapsed();
        times.push(until_changed(&mut connection, &call, change + 1, begin).await);
    }
    let mean = translating.as_secs_f64() * 1e6 / CHANGES as f64;
    Row {
        routes: size,
        start,
        times,
        note: format!("of it, translation and publishing: {mean:.0} µs on average"),
    }
}

async fn from_files(size: usize) -> Row {
    let backend = Backend::start("bench").await;
    let port = Port::reserve();
    let directory = tempfile::Builder::new().prefix("postern-bench-").tempdir().unwrap();
    let path = |host: usize| directory.path().join(format!("route-{host:05}.yaml"));
    let save = |path: &Path, text: &str| {
        // As editors save: the new content appears all at once.
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, path).unwrap();
    };
    let listeners = gateway(&format!("  - {{name: http, port: {}, protocol: HTTP}}", port.number()));
    std::fs::write(directory.path().join("gateway.yaml"), listeners).unwrap();
    std::fs::write(directory.path().join("services.yaml"), services(&backend)).unwrap();
    for host in 0..size {
        std::fs::write(path(host), route(host, 0)).unwrap();
    }
    let begin = Instant::now();
    let postern = Postern::start(directory.path(), &["run", ".", "--drain-time", "1", "--output", "json"]);
    let call = Call::get(port.number(), &format!("host-{:05}.example.org", size - 1), "/");
    expect(&call, Want::Status(200)).await;
    let start = begin.elapsed();

    let mut times = Vec::new();
    for change in 0..CHANGES {
        let host = host(change, size);
        let call = Call::get(port.number(), &format!("host-{host:05}.example.org"), "/");
        let mut connection = call.connect().await.unwrap();
        connection.send(&call).await.unwrap();
        let text = route(host, change + 1);
        let begin = Instant::now();
        save(&path(host), &text);
        times.push(until_changed(&mut connection, &call, change + 1, begin).await);
    }
    // The binary says how long its own parts took.
    let output = postern.output();
    let changed: Vec<Value> = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|event: &Value| event["event"] == "changed")
        .collect();
    let median = |field: &str| {
        let mut times: Vec<f64> = changed.iter().filter_map(|event| event[field].as_f64()).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let note = format!(
        "of it, reading and parsing {:.2} ms, translation and publishing {:.2} ms (medians of {} events)",
        median("read_ms"),
        median("translate_ms"),
        changed.len()
    );
    Row { routes: size, start, times, note }
}

const HEAD: &str =
    "| routes | start ms | changes | p50 ms | p99 ms | max ms | |\n|---|---|---|---|---|---|---|";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if !std::env::args().any(|it| it == "--bench") {
        return;
    }
    postern_binary();
    let profile = if cfg!(debug_assertions) { "debug" } else { "optimised" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{profile} build, {cores} cores shared with Envoy, the backend and the client; {SERVICES} Services\n"
    );
    println!("From the changed object to the first changed answer (in process)\n\n{HEAD}");
    for size in SIZES {
        in_process(size).await.print();
    }
    println!("\nFrom saving the file to the first changed answer (`postern run`)\n\n{HEAD}");
    for size in SIZES {
        from_files(size).await.print();
    }
}
