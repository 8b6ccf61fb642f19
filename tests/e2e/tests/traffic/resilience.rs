//! Timeouts and retries of HTTPRoute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postern_e2e::{Backend, Port, Reply, Seen, Want, World, http_route, service};

/// A delay in milliseconds for which no client waits: what answers in its stead was faster.
const NEVER: u32 = 3_600_000;

/// A backend that fails the first `fail` requests of each query `id` with `status` (0: reset),
/// after `delay` milliseconds when the query says so: `?id=a&fail=2&status=503&delay=100`.
async fn flaky(name: &str) -> Backend {
    let attempts = std::sync::Mutex::new(std::collections::BTreeMap::<String, u32>::new());
    Backend::replying(name, move |seen: &Seen| {
        let number =
            |key: &str| -> u32 { query(seen, key).and_then(|it| it.parse().ok()).unwrap_or_default() };
        let id = query(seen, "id").unwrap_or_default();
        let mut attempts = attempts.lock().unwrap();
        let attempt = attempts.entry(id).or_default();
        *attempt += 1;
        if *attempt > number("fail") {
            return Reply::Echo;
        }
        match (number("delay"), number("status")) {
            (0, 0) => Reply::Reset,
            (0, status) => Reply::Status(u16::try_from(status).unwrap()),
            (delay, _) => Reply::After(Duration::from_millis(delay.into())),
        }
    })
    .await
}

fn query(seen: &Seen, key: &str) -> Option<String> {
    let (_, query) = seen.path.split_once('?')?;
    query
        .split('&')
        .filter_map(|it| it.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
}

#[tokio::test]
async fn timeouts() {
    let mut world = World::with_backends(&[]).await;
    let slow = Backend::replying("slow", |seen| {
        let delay = query(seen, "delay").and_then(|it| it.parse().ok()).unwrap_or(0);
        Reply::After(Duration::from_millis(delay))
    })
    .await;
    world.add_backend(slow).await;
    world
        .apply(&http_route(
            "timeouts",
            "
rules:
- {matches: [{path: {value: /request}}], timeouts: {request: 200ms}, backendRefs: [{name: slow, port: 8080}]}
- {matches: [{path: {value: /backend}}], timeouts: {backendRequest: 200ms}, backendRefs: [{name: slow, port: 8080}]}
- {matches: [{path: {value: /both}}], timeouts: {request: 1h, backendRequest: 200ms}, backendRefs: [{name: slow, port: 8080}]}
- {matches: [{path: {value: /off}}], timeouts: {request: 0s}, backendRefs: [{name: slow, port: 8080}]}
- {matches: [{path: {value: /none}}], backendRefs: [{name: slow, port: 8080}]}
",
        ))
        .await;
    for path in ["/request", "/backend", "/both"] {
        let call = world.call("example.org", path);
        world.expect(call, Want::Backend("slow")).await;
        let answer = world.call("example.org", &format!("{path}?delay={NEVER}")).send().await.unwrap();
        assert_eq!(answer.status, 504, "{path}");
    }
    for path in ["/off", "/none"] {
        let answer = world.call("example.org", &format!("{path}?delay=700")).send().await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn retries_by_status() {
    let mut world = World::with_backends(&[]).await;
    let backend = flaky("flaky").await;
    world.add_backend(backend).await;
    world
        .apply(&http_route(
            "retries",
            "
rules:
- {matches: [{path: {value: /three}}], retry: {codes: [500], attempts: 3}, backendRefs: [{name: flaky, port: 8080}]}
- {matches: [{path: {value: /two}}], retry: {codes: [500, 502, 503, 504], attempts: 2}, backendRefs: [{name: flaky, port: 8080}]}
- {matches: [{path: {value: /zero}}], retry: {codes: [500, 502, 503, 504], attempts: 0}, backendRefs: [{name: flaky, port: 8080}]}
- {matches: [{path: {value: /default}}], retry: {codes: [503]}, backendRefs: [{name: flaky, port: 8080}]}
- {matches: [{path: {value: /backoff}}], retry: {codes: [503], attempts: 2, backoff: 300ms}, backendRefs: [{name: flaky, port: 8080}]}
- {matches: [{path: {value: /plain}}], backendRefs: [{name: flaky, port: 8080}]}
",
        ))
        .await;
    let warm = world.call("example.org", "/plain?id=warm");
    world.expect(warm, Want::Backend("flaky")).await;
    for (index, (path, fail, code, status, attempts)) in [
        ("/three", 2, 500, 200, 3),
        ("/three", 4, 500, 500, 4),
        ("/three", 2, 503, 503, 1),
        ("/two", 1, 500, 200, 2),
        ("/two", 1, 502, 200, 2),
        ("/two", 1, 503, 200, 2),
        ("/two", 1, 504, 200, 2),
        ("/two", 3, 502, 502, 3),
        ("/two", 3, 504, 504, 3),
        ("/zero", 1, 500, 500, 1),
        ("/zero", 1, 504, 504, 1),
        ("/default", 1, 503, 200, 2),
        ("/plain", 1, 503, 503, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("id=case{index}&");
        let answer =
            world.call("example.org", &format!("{path}?{id}fail={fail}&status={code}")).send().await.unwrap();
        let seen = world.backend("flaky").count(&id);
        assert_eq!((answer.status, seen), (status, attempts), "{path} with {fail} times {code}");
    }
    let answer = world.call("example.org", "/backoff?id=back&fail=1&status=503").send().await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn retries_of_broken_connections() {
    let mut world = World::with_backends(&[]).await;
    let backend = flaky("flaky").await;
    let dead = Port::reserve();
    let dead = ([127, 0, 0, 1], dead.number()).into();
    let healthy = Backend::start("healthy").await;
    let yaml = service("default", "mixed", "", &[dead, healthy.address()]);
    world.add_backend(backend).await;
    world
        .apply(
            &[
                yaml,
                http_route(
                    "retries",
                    "
rules:
- {matches: [{path: {value: /mixed}}], retry: {attempts: 5}, backendRefs: [{name: mixed, port: 8080}]}
- {matches: [{path: {value: /reset}}], retry: {attempts: 2}, backendRefs: [{name: flaky, port: 8080}]}
- {matches: [{path: {value: /once}}], backendRefs: [{name: flaky, port: 8080}]}
",
                ),
            ]
            .concat(),
        )
        .await;
    let warm = world.call("example.org", "/once?id=warm");
    world.expect(warm, Want::Backend("flaky")).await;
    for (path, status) in
        [("/reset?id=one&fail=2", 200), ("/reset?id=two&fail=3", 503), ("/once?id=three&fail=1", 503)]
    {
        let answer = world.call("example.org", path).send().await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    // Many at once: a breaker that allows only a few concurrent retries would show here.
    let call = world.call("example.org", "/mixed");
    world.expect(call.clone(), Want::Backend("healthy")).await;
    let failed = Arc::new(AtomicUsize::new(0));
    let clients = (0..8).map(|_| {
        let (call, failed) = (call.clone(), Arc::clone(&failed));
        async move {
            for _ in 0..25 {
                if call.send().await.map(|it| it.status).unwrap_or_default() != 200 {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    futures::future::join_all(clients).await;
    assert_eq!(failed.load(Ordering::Relaxed), 0, "requests failed though one endpoint is healthy");
}

#[tokio::test]
async fn retries_within_timeouts() {
    let mut world = World::with_backends(&[]).await;
    let backend = flaky("flaky").await;
    world.add_backend(backend).await;
    world
        .apply(&http_route(
            "both",
            "
rules:
- {matches: [{path: {value: /backend}}], timeouts: {request: 1h, backendRequest: 300ms}, retry: {codes: [504], attempts: 3}, backendRefs: [{name: flaky, port: 8080}]}
- {matches: [{path: {value: /request}}], timeouts: {request: 500ms}, retry: {codes: [500], attempts: 5}, backendRefs: [{name: flaky, port: 8080}]}
",
        ))
        .await;
    let warm = world.call("example.org", "/backend?id=warm");
    world.expect(warm, Want::Backend("flaky")).await;
    for (path, status) in [
        // Two slow attempts, then a quick one.
        (format!("/backend?id=a&fail=2&delay={NEVER}"), 200),
        // All four attempts are slow.
        (format!("/backend?id=b&fail=9&delay={NEVER}"), 504),
        ("/request?id=c&fail=1&status=500".to_owned(), 200),
        // The first attempt alone uses up the whole time.
        (format!("/request?id=d&fail=1&delay={NEVER}"), 504),
    ] {
        let answer = world.call("example.org", &path).send().await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
}

/// XBackendTrafficPolicy (GEP-3388): without a budget every request is retried; with one, the backend gets little more than what
/// clients send.
#[tokio::test]
async fn a_retry_budget_spares_the_backend() {
    let mut world = World::with_backends(&[]).await;
    let failing = Backend::replying("failing", |_| Reply::Status(503)).await;
    world.add_backend(failing).await;
    let route = "rules: [{retry: {codes: [503], attempts: 3, backoff: 1ms}, backendRefs: [{name: failing, port: 8080}]}]\n";
    world.apply(&http_route("r", route)).await;
    let policy = "---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackendTrafficPolicy\n\
                  metadata: {name: budget, namespace: default}\nspec:\n  \
                  targetRefs: [{group: '', kind: Service, name: failing}]\n  \
                  retryConstraint: {budget: {percent: 0}, minRetryRate: {count: 1, interval: 10s}}\n";
    let first = world.call("example.org", "/");
    world.expect(first, Want::Status(503)).await;
    let mut tries = Vec::new();
    for (path, policy) in [("/free", ""), ("/bound", policy)] {
        if !policy.is_empty() {
            world.apply(policy).await;
            world.assert_status("XBackendTrafficPolicy/budget", &["Accepted=True Accepted"]);
        }
        let call = world.call("example.org", path);
        let requests = (0..20).map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    assert_eq!(call.send().await.unwrap().status, 503);
                }
            })
        });
        for request in requests.collect::<Vec<_>>() {
            request.await.unwrap();
        }
        tries.push(world.backend("failing").count(path));
    }
    assert_eq!(tries[0], 800, "three retries for each of 200 requests");
    assert!(
        (200..500).contains(&tries[1]),
        "{} tries of 200 requests, at most one retry at a time",
        tries[1]
    );
}
