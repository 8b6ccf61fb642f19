//! Which endpoint gets a request: load balancing, health checks, outlier detection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postern_e2e::{Backend, Call, Reply, Want, World, covers, service, until};
use serde_json::json;

use super::{cluster, policy, to_shop};

async fn shop(world: &mut World, backends: &[&Backend]) -> Call {
    let addresses: Vec<_> = backends.iter().map(|it| it.address()).collect();
    world.apply(&[service("default", "shop", "", &addresses), to_shop()].concat()).await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(200)).await;
    call
}

/// The backends of so many requests, in their order.
async fn order(call: &Call, count: usize) -> Vec<String> {
    let mut connection = call.connect().await.unwrap();
    let mut out = Vec::new();
    for _ in 0..count {
        let answer = connection.send(call).await.unwrap();
        out.push(if answer.status == 200 { answer.backend() } else { answer.status.to_string() });
    }
    out
}

#[tokio::test]
async fn one_after_the_other() {
    let mut world = World::with_backends(&[]).await;
    let (one, two, three) =
        (Backend::start("one").await, Backend::start("two").await, Backend::start("three").await);
    let call = shop(&mut world, &[&one, &two, &three]).await;
    world.apply(&policy("p", "loadBalancer: {roundRobin: {}}")).await;
    let strict = |order: &[String]| order.windows(3).all(|it| it.iter().collect::<BTreeSet<_>>().len() == 3);
    until("requests go round", async || {
        let order = order(&call, 24).await;
        if strict(&order) { Ok(()) } else { Err(format!("{order:?}")) }
    })
    .await;
    world.assert_nothing_rejected().await;
}

/// One of two endpoints has a request that does not end. By least requests, it gets a quarter of the others; by chance, half.
#[tokio::test]
async fn by_chance() {
    covers!("BackendConfigPolicy.spec.loadBalancer.random");
    let mut world = World::with_backends(&[]).await;
    let backend = |name| {
        Backend::replying(name, |seen| match seen.path.as_str() {
            "/held" => Reply::After(Duration::from_hours(1)),
            _ => Reply::Echo,
        })
    };
    let (one, two) = (backend("one").await, backend("two").await);
    let call = shop(&mut world, &[&one, &two]).await;
    let held = world.call("example.org", "/held");
    let held = tokio::spawn(async move { held.send().await.map(drop) });
    until("the held request", async || {
        match one.count("/held") + two.count("/held") {
            0 => Err("it is nowhere"),
            _ => Ok(()),
        }
        .map_err(str::to_owned)
    })
    .await;
    let busy = if one.count("/held") > 0 { "one" } else { "two" };
    let share = async || order(&call, 400).await.iter().filter(|name| *name == busy).count();
    // Both are five standard deviations away from 150.
    let least = share().await;
    assert!(least < 150, "by least requests: {least} of 400");
    world.apply(&policy("p", "loadBalancer: {random: {}}")).await;
    until("the policy", async || {
        let name = cluster(&world).await["lb_policy"].as_str().unwrap_or_default().to_owned();
        if name == "RANDOM" { Ok(()) } else { Err(name) }
    })
    .await;
    let random = share().await;
    assert!((150..=250).contains(&random), "by chance: {random} of 400");
    held.abort();
    world.assert_nothing_rejected().await;
}

/// Where each of some users gets to; fails where one gets to two backends.
async fn homes(call: &Call, by: impl Fn(&Call, &str) -> Call) -> Result<BTreeMap<String, String>, String> {
    let mut homes = BTreeMap::new();
    for user in 0..12 {
        let user = user.to_string();
        let call = by(call, &user);
        let seen: BTreeSet<String> = order(&call, 4).await.into_iter().collect();
        if seen.len() != 1 {
            return Err(format!("user {user} got to {seen:?}"));
        }
        homes.insert(user, seen.into_iter().next().unwrap());
    }
    let different: BTreeSet<_> = homes.values().collect();
    if different.len() < 2 { Err(format!("all got to {different:?}")) } else { Ok(homes) }
}

#[tokio::test]
async fn hashes_keep_users_where_they_are() {
    covers!(
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].header.name",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].cookie.name",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].terminal",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].header.name",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].cookie.name",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].terminal",
    );
    let mut world = World::with_backends(&[]).await;
    let (one, two, three) =
        (Backend::start("one").await, Backend::start("two").await, Backend::start("three").await);
    let call = shop(&mut world, &[&one, &two, &three]).await;
    let by_header = |call: &Call, user: &str| call.clone().header("x-user", user);
    let by_cookie = |call: &Call, user: &str| call.clone().header("cookie", &format!("user={user}"));
    for algorithm in ["ringHash", "maglev"] {
        world
            .apply(&policy(
                "p",
                &format!("loadBalancer: {{{algorithm}: {{hashPolicies: [{{header: {{name: x-user}}}}]}}}}"),
            ))
            .await;
        until("users stay by header", async || homes(&call, by_header).await.map(drop)).await;
        let cookies =
            format!("loadBalancer: {{{algorithm}: {{hashPolicies: [{{cookie: {{name: user}}}}]}}}}");
        world.apply(&policy("p", &cookies)).await;
        until("users stay by cookie", async || homes(&call, by_cookie).await.map(drop)).await;
        // With a terminal header, the cookie has no say any more.
        let terminal = format!(
            "loadBalancer: {{{algorithm}: {{hashPolicies: [{{header: {{name: x-user}}, terminal: true}}, {{cookie: {{name: user}}}}]}}}}"
        );
        world.apply(&policy("p", &terminal)).await;
        until("the header alone decides", async || {
            let mut seen = BTreeSet::new();
            for visit in 0..12 {
                let call = by_cookie(&by_header(&call, "7"), &visit.to_string());
                seen.extend(order(&call, 1).await);
            }
            if seen.len() == 1 { homes(&call, by_cookie).await.map(drop) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn a_cookie_is_given_and_addresses_are_hashed() {
    covers!(
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].cookie.path",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].cookie.ttl",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].cookie.secure",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].cookie.httpOnly",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].cookie.sameSite",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].cookie.path",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].cookie.ttl",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].cookie.secure",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].cookie.httpOnly",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].cookie.sameSite",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.hashPolicies[].sourceIP",
        "BackendConfigPolicy.spec.loadBalancer.maglev.hashPolicies[].sourceIP",
    );
    let mut world = World::with_backends(&[]).await;
    let (one, two, three) =
        (Backend::start("one").await, Backend::start("two").await, Backend::start("three").await);
    let call = shop(&mut world, &[&one, &two, &three]).await;
    for algorithm in ["ringHash", "maglev"] {
        let cookie = "{name: home, path: /shop, ttl: 90s, secure: true, httpOnly: true, sameSite: Strict}";
        world
            .apply(&policy(
                "p",
                &format!("loadBalancer: {{{algorithm}: {{hashPolicies: [{{cookie: {cookie}}}]}}}}"),
            ))
            .await;
        let given = |answer: &postern_e2e::Answer| answer.header("set-cookie").unwrap_or_default();
        let answer = world.expect_that(call.clone(), "a cookie", |it| given(it).starts_with("home=")).await;
        let text = given(&answer).to_ascii_lowercase();
        for part in ["max-age=90", "path=/shop", "secure", "httponly", "samesite=strict"] {
            assert!(text.contains(part), "{algorithm}: no {part} in {text}");
        }
        world
            .apply(&policy(
                "p",
                &format!("loadBalancer: {{{algorithm}: {{hashPolicies: [{{sourceIP: {{}}}}]}}}}"),
            ))
            .await;
        until("one address has one backend", async || {
            let mut seen = BTreeSet::new();
            for _ in 0..4 {
                seen.extend(order(&call, 5).await);
            }
            if seen.len() == 1 { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
    world.assert_nothing_rejected().await;
}

/// A pod of a StatefulSet keeps its users when it moves to another address.
#[tokio::test]
async fn names_of_endpoints_are_hashed() {
    covers!(
        "BackendConfigPolicy.spec.loadBalancer.ringHash.useHostnameForHashing",
        "BackendConfigPolicy.spec.loadBalancer.maglev.useHostnameForHashing",
    );
    let mut world = World::with_backends(&[]).await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let named = |first: &str, second: &str| {
        let text = service("default", "shop", "", &[one.address(), two.address()]);
        let (before, after) = text.split_at(text.rfind("apiVersion").unwrap());
        let name = |text: &str, pod: &str| {
            text.replace("endpoints: [{", &format!("endpoints: [{{targetRef: {{kind: Pod, name: {pod}}}, "))
        };
        name(before, first) + &name(after, second)
    };
    world.apply(&[named("pod-a", "pod-b"), to_shop()].concat()).await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Status(200)).await;
    for algorithm in ["ringHash", "maglev"] {
        world.apply(&named("pod-a", "pod-b")).await;
        world
            .apply(&policy(
                "p",
                &format!(
                    "loadBalancer: {{{algorithm}: {{useHostnameForHashing: true, hashPolicies: [{{header: {{name: x-user}}}}]}}}}"
                ),
            ))
            .await;
        let by = |call: &Call, user: &str| call.clone().header("x-user", user);
        until("users stay", async || homes(&call, by).await.map(drop)).await;
        let before = homes(&call, by).await.unwrap();
        // The pods change places; each user follows.
        world.apply(&named("pod-b", "pod-a")).await;
        until("users follow their pods", async || {
            let after = homes(&call, by).await?;
            if after.iter().all(|(user, home)| before[user] != *home) {
                Ok(())
            } else {
                Err(format!("{before:?} {after:?}"))
            }
        })
        .await;
    }
    world.assert_nothing_rejected().await;
}

fn check(rest: &str) -> String {
    format!(
        "healthCheck: {{timeout: 1s, interval: 100ms, unhealthyThreshold: 2, healthyThreshold: 1, {rest}}}"
    )
}

#[tokio::test]
async fn health_checks_by_http() {
    covers!(
        "BackendConfigPolicy.spec.healthCheck.interval",
        "BackendConfigPolicy.spec.healthCheck.unhealthyThreshold",
        "BackendConfigPolicy.spec.healthCheck.healthyThreshold",
        "BackendConfigPolicy.spec.healthCheck.http.host",
        "BackendConfigPolicy.spec.healthCheck.http.path",
        "BackendConfigPolicy.spec.healthCheck.http.method",
        "BackendConfigPolicy.spec.loadBalancer.healthyPanicThreshold",
    );
    let mut world = World::with_backends(&[]).await;
    let ill = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&ill);
    let sick = Backend::replying("sick", move |seen| match seen.path.as_str() {
        "/well" if state.load(Ordering::SeqCst) => Reply::Status(503),
        _ => Reply::Echo,
    })
    .await;
    let well = Backend::start("well").await;
    let call = shop(&mut world, &[&sick, &well]).await;
    world.apply(&policy("p", &check("http: {host: doctor.example, path: /well, method: POST}"))).await;
    let only = async |expected: &[&str]| {
        let seen: BTreeSet<String> = order(&call, 30).await.into_iter().collect();
        if seen.iter().map(String::as_str).eq(expected.iter().copied()) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    };
    until("the sick one gets nothing", async || only(&["well"]).await).await;
    let asked = sick.seen().into_iter().find(|it| it.path == "/well").unwrap();
    assert_eq!((asked.host.as_str(), asked.method.as_str()), ("doctor.example", "POST"));
    ill.store(false, Ordering::SeqCst);
    until("both get requests again", async || only(&["sick", "well"]).await).await;

    // Nobody is well: nobody gets anything, unless that is better than nothing.
    world.apply(&policy("p", &check("http: {path: /nowhere}").replace("/nowhere", "/well"))).await;
    ill.store(true, Ordering::SeqCst);
    world.apply(&service("default", "shop", "", &[sick.address()])).await;
    world.delete("EndpointSlice", "shop-1").await;
    world.expect(call.clone(), Want::Status(503)).await;
    let panic = format!(
        "loadBalancer: {{healthyPanicThreshold: 50, random: {{}}}}, {}",
        check("http: {path: /well}")
    );
    world.apply(&policy("p", &panic)).await;
    world.expect(call, Want::Backend("sick")).await;
    let asked = sick.seen().into_iter().rfind(|it| it.path == "/well").unwrap();
    assert_eq!((asked.host.as_str(), asked.method.as_str()), ("shop.default.svc:8080", "GET"));
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn a_slow_answer_to_a_check_is_none() {
    covers!("BackendConfigPolicy.spec.healthCheck.timeout");
    let mut world = World::with_backends(&[]).await;
    let slow = Backend::replying("slow", |seen| match seen.path.as_str() {
        "/well" => Reply::After(std::time::Duration::from_millis(600)),
        _ => Reply::Echo,
    })
    .await;
    let call = shop(&mut world, &[&slow]).await;
    world.apply(&policy("p", &check("http: {path: /well}").replace("timeout: 1s", "timeout: 100ms"))).await;
    world.expect(call.clone(), Want::Status(503)).await;
    world.apply(&policy("p", &check("http: {path: /well}").replace("timeout: 1s", "timeout: 5s"))).await;
    world.expect(call, Want::Backend("slow")).await;
}

/// The echo backend is no health service: it keeps what it was asked, and its answer takes it out.
#[tokio::test]
async fn health_checks_by_grpc() {
    covers!(
        "BackendConfigPolicy.spec.healthCheck.grpc.serviceName",
        "BackendConfigPolicy.spec.healthCheck.grpc.authority",
    );
    let mut world = World::with_backends(&[]).await;
    let backend = Backend::start("one").await;
    world
        .apply(
            &[service("default", "shop", "appProtocol: kubernetes.io/h2c", &[backend.address()]), to_shop()]
                .concat(),
        )
        .await;
    let call = world.call("example.org", "/");
    world.expect(call.clone(), Want::Backend("one")).await;
    world.apply(&policy("p", &check("grpc: {serviceName: shop.Cart, authority: doctor.example}"))).await;
    world.expect(call, Want::Status(503)).await;
    let asked = backend.seen().into_iter().find(|it| it.path == "/grpc.health.v1.Health/Check").unwrap();
    assert_eq!(asked.host, "doctor.example");
    assert!(asked.body.contains("shop.Cart"), "{asked:?}");
    world.assert_nothing_rejected().await;
}

#[tokio::test]
async fn outliers_are_left_out() {
    covers!(
        "BackendConfigPolicy.spec.outlierDetection.consecutive5xx",
        "BackendConfigPolicy.spec.outlierDetection.maxEjectionPercent",
        "BackendConfigPolicy.spec.outlierDetection.baseEjectionTime",
        "BackendConfigPolicy.spec.outlierDetection.interval",
    );
    let mut world = World::with_backends(&[]).await;
    let bad = Backend::replying("bad", |_| Reply::Status(503)).await;
    let good = Backend::start("good").await;
    let addresses = [bad.address(), good.address()];
    world.apply(&[service("default", "shop", "", &addresses), to_shop()].concat()).await;
    let call = world.call("example.org", "/");
    let share = async || order(&call, 40).await.iter().filter(|it| *it == "503").count();
    world.expect(call.clone(), Want::Backend("good")).await;
    assert!(share().await > 5, "without a policy it goes on");
    let with = |consecutive: u32, ejection: &str, percent: u32| {
        policy(
            "p",
            &format!(
                "outlierDetection: {{consecutive5xx: {consecutive}, interval: 100ms, baseEjectionTime: {ejection}, maxEjectionPercent: {percent}}}"
            ),
        )
    };
    world.apply(&with(3, "60s", 100)).await;
    until("the bad one is out", async || match share().await {
        0 => Ok(()),
        count => Err(format!("{count} of 40 failed")),
    })
    .await;
    // It comes back after a short time, and the next look is soon.
    world.apply(&with(3, "200ms", 100)).await;
    until("the bad one comes back", async || {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        match share().await {
            0 => Err("nothing failed".to_owned()),
            count if count <= 3 => Ok(()),
            count => Err(format!("{count} of 40 failed, so it is never out")),
        }
    })
    .await;
    // Neither where no number of failures counts, nor where nobody may be out.
    for (consecutive, percent) in [(0, 100), (3, 0)] {
        world.apply(&with(consecutive, "60s", percent)).await;
        until("nobody is out", async || {
            share().await;
            let count = share().await;
            if count > 5 { Ok(()) } else { Err(format!("only {count} of 40 failed")) }
        })
        .await;
    }
    world.assert_nothing_rejected().await;
}

/// What a client cannot see within a reasonable time: Envoy's own word for it.
#[tokio::test]
async fn what_only_envoy_can_tell() {
    covers!(
        "BackendConfigPolicy.spec.loadBalancer.updateMergeWindow",
        "BackendConfigPolicy.spec.loadBalancer.localityType",
        "BackendConfigPolicy.spec.loadBalancer.closeConnectionsOnHostSetChange",
        "BackendConfigPolicy.spec.loadBalancer.leastRequest.choiceCount",
        "BackendConfigPolicy.spec.loadBalancer.leastRequest.slowStart.window",
        "BackendConfigPolicy.spec.loadBalancer.leastRequest.slowStart.aggression",
        "BackendConfigPolicy.spec.loadBalancer.leastRequest.slowStart.minWeightPercent",
        "BackendConfigPolicy.spec.loadBalancer.roundRobin.slowStart.window",
        "BackendConfigPolicy.spec.loadBalancer.roundRobin.slowStart.aggression",
        "BackendConfigPolicy.spec.loadBalancer.roundRobin.slowStart.minWeightPercent",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.minimumRingSize",
        "BackendConfigPolicy.spec.loadBalancer.ringHash.maximumRingSize",
    );
    let mut world = World::with_backends(&[]).await;
    let one = Backend::start("one").await;
    let call = shop(&mut world, &[&one]).await;
    let slow = "slowStart: {window: 20s, aggression: '2.5', minWeightPercent: 30}";
    let slow_start = json!({
        "slow_start_window": "20s",
        "aggression": {"default_value": 2.5, "runtime_key": "postern.slow_start.aggression"},
        "min_weight_percent": {"value": 30},
    });
    for (spec, part, expected) in [
        (
            format!("leastRequest: {{choiceCount: 5, {slow}}}"),
            "least_request_lb_config",
            json!({"choice_count": 5, "slow_start_config": slow_start}),
        ),
        (
            format!("roundRobin: {{{slow}}}"),
            "round_robin_lb_config",
            json!({"slow_start_config": slow_start}),
        ),
        (
            "ringHash: {minimumRingSize: 64, maximumRingSize: 128}".to_owned(),
            "ring_hash_lb_config",
            json!({"minimum_ring_size": "64", "maximum_ring_size": "128"}),
        ),
    ] {
        let rest = "updateMergeWindow: 3s, localityType: WeightedLb, closeConnectionsOnHostSetChange: true";
        world.apply(&policy("p", &format!("loadBalancer: {{{rest}, {spec}}}"))).await;
        world.expect(call.clone(), Want::Backend("one")).await;
        until("Envoy has it", async || {
            let cluster = cluster(&world).await;
            let common = &cluster["common_lb_config"];
            let holds = cluster[part] == expected
                && common["update_merge_window"] == "3s"
                && common["close_connections_on_host_set_change"] == true
                && common["locality_weighted_lb_config"] == json!({});
            if holds { Ok(()) } else { Err(cluster.to_string()) }
        })
        .await;
    }
    world.assert_nothing_rejected().await;
}
