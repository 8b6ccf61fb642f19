//! A proxy is ended under load, as a pod is: taken out of service, drained by `postern proxy drain`, killed. No request
//! fails, whatever kept connections its clients have.

#![allow(clippy::unwrap_used)] // a test fails where it is surprised

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use postern::bootstrap::{Address, Bootstrap};
use postern_e2e::{
    Backend, Call, Connection, Envoy, Load, Port, Postern, Reply, Stream, Want, expect, gateway, http_route,
    service, until,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// How long the drain goes on at least, in seconds: until the world has noticed.
const MIN: u64 = 3;
/// How long the world takes to notice.
const NOTICE: Duration = Duration::from_secs(1);
/// How long a request takes that is under way when the drain begins: longer than the minimum.
const LONG: Duration = Duration::from_secs(5);

/// What a Service is to connections: each goes to where the Service points when it is opened.
struct Switch {
    address: SocketAddr,
    target: Arc<AtomicU16>,
    task: AbortHandle,
}

impl Switch {
    async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(AtomicU16::new(target));
        let current = Arc::clone(&target);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let port = current.load(Ordering::SeqCst);
                connections.spawn(async move {
                    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
                        return;
                    };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, target, task: task.abort_handle() }
    }

    fn point_to(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The control plane, and two proxies that serve the same route on different ports.
struct Pair {
    directory: tempfile::TempDir,
    ports: [Port; 2],
    proxies: [Envoy; 2],
    admin: Port,
    _postern: Postern,
    _backend: Backend,
}

impl Pair {
    fn idle_signal(directory: &Path) -> String {
        directory.join("end-idle-connections").display().to_string()
    }

    async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("postern-e2e-").tempdir().unwrap();
        let site = directory.path().join("site");
        std::fs::create_dir(&site).unwrap();
        let backend =
            Backend::replying(
                "v1",
                |seen| {
                    if seen.path == "/long" { Reply::After(LONG) } else { Reply::Echo }
                },
            )
            .await;
        let ports = [Port::reserve(), Port::reserve()];
        let names = ["old", "new"];
        let mut yaml = String::new();
        let mut parents = Vec::new();
        for (name, port) in names.iter().zip(&ports) {
            let listeners = format!("  - {{name: http, port: {}, protocol: HTTP}}", port.number());
            let all = gateway(&listeners).replace("name: gw,", &format!("name: {name},"));
            // The class and the namespace only once.
            yaml += if yaml.is_empty() { &all } else { all.splitn(3, "---\n").nth(2).unwrap() };
            parents.push(format!("{{name: {name}}}"));
        }
        yaml +=
            &http_route("route", "rules: [{backendRefs: [{name: v1, port: 8080}], timeouts: {request: 0s}}]")
                .replace("{name: gw}", &parents.join(", "));
        yaml += &service("default", "v1", "", &[backend.address()]);
        std::fs::write(site.join("all.yaml"), yaml).unwrap();

        let xds = Port::reserve();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, xds.number()));
        let arguments = ["run", "--no-envoy", "--xds-address", &address.to_string(), "site"];
        let postern = Postern::start(directory.path(), &arguments);
        let admin = Port::reserve();
        let mut proxies = Vec::new();
        for (name, admin) in names.iter().zip([admin.number(), 0]) {
            let admin = Address::Tcp("127.0.0.1".to_owned(), admin);
            let mut bootstrap = Bootstrap::new("default", name, address.into(), admin);
            bootstrap.idle_signal = Some(Self::idle_signal(directory.path())).filter(|_| *name == "old");
            let home = directory.path().join(name);
            proxies.push(Envoy::start_with(&home, &bootstrap.to_yaml().unwrap()).await);
        }
        for port in &ports {
            expect(&Call::get(port.number(), "example.org", "/"), Want::Backend("v1")).await;
        }
        let proxies = proxies.try_into().unwrap();
        Self { directory, ports, proxies, admin, _postern: postern, _backend: backend }
    }

    fn drain(&self, max: u64) -> Postern {
        let admin = format!("127.0.0.1:{}", self.admin.number());
        let (min, max) = (MIN.to_string(), max.to_string());
        let signal = Self::idle_signal(self.directory.path());
        let arguments = [
            "proxy",
            "drain",
            "--admin",
            &admin,
            "--min-seconds",
            &min,
            "--max-seconds",
            &max,
            "--idle-signal",
            &signal,
        ];
        Postern::start(self.directory.path(), &arguments)
    }
}

async fn ends(drain: &mut Postern) {
    until("end of the drain", || {
        let alive = drain.is_alive();
        let output = drain.output();
        async move { if alive { Err(output) } else { Ok(()) } }
    })
    .await;
}

async fn used(call: &Call) -> Connection {
    let mut connection = call.connect().await.unwrap();
    assert_eq!(connection.send(call).await.unwrap().status, 200);
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_ends_fails_no_request() {
    let mut pair = Pair::start().await;
    let switch = Switch::start(pair.ports[0].number()).await;
    let call = |path: &str| Call::get(switch.address.port(), "example.org", path);
    let load = Load::start(vec![
        Stream::kept("kept HTTP/1.1", call("/"), 100),
        Stream::kept("seldom used HTTP/1.1", call("/"), 1),
        Stream::kept("kept HTTP/2", call("/").h2(), 100),
        Stream::kept("seldom used HTTP/2", call("/").h2(), 1),
        Stream::fresh("new HTTP/1.1", call("/"), 50),
        Stream::fresh("new HTTP/2", call("/").h2(), 50),
    ]);
    let idle = [used(&call("/")).await, used(&call("/").h2()).await];
    until("requests before", || {
        let report = load.report();
        async move { if report.succeeded > 200 { Ok(()) } else { Err(format!("{report:?}")) } }
    })
    .await;
    let long = [call("/long"), call("/long").h2()].map(|it| tokio::spawn(async move { it.send().await }));

    let begin = Instant::now();
    let mut drain = pair.drain(60);
    tokio::time::sleep(NOTICE).await;
    switch.point_to(pair.ports[1].number());
    ends(&mut drain).await;
    let took = begin.elapsed();
    pair.proxies[0].kill();

    for request in long {
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.status, 200, "a request that was under way");
    }
    // Whoever said nothing was told too, and in time.
    assert!(idle.iter().all(Connection::is_closed), "an idle connection was cut");
    assert!(drain.output().contains("drained after"), "{}", drain.output());
    assert!(took > Duration::from_secs(MIN) && took < Duration::from_secs(20), "the drain took {took:?}");
    let then = load.report().succeeded;
    until("requests after", || {
        let now = load.report().succeeded;
        async move { if now > then + 200 { Ok(()) } else { Err(format!("{now}")) } }
    })
    .await;
    load.stop().await.assert_clean(1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_when_its_time_is_up() {
    let pair = Pair::start().await;
    let call = Call::get(pair.ports[0].number(), "example.org", "/long");
    let long = tokio::spawn(async move { call.send().await });
    // In a box: the probe is larger than clippy likes to see on a stack.
    Box::pin(until("the long request", || {
        let active = pair.proxies[0].stats(r"^http\..*downstream_rq_active$");
        async move {
            let active = active.await;
            if active.iter().any(|it| !it.0.contains("admin") && *it.1 > 0) {
                Ok(())
            } else {
                Err(format!("{active:?}"))
            }
        }
    }))
    .await;
    let mut drain = pair.drain(MIN + 1);
    ends(&mut drain).await;
    assert!(drain.output().contains("time is up after"), "{}", drain.output());
    assert!(drain.output().contains("1 connection is open"), "{}", drain.output());
    assert_eq!(long.await.unwrap().unwrap().status, 200, "nothing ends the proxy but the kubelet");
}

#[test]
fn a_drain_without_a_proxy_ends_well() {
    let port = Port::reserve();
    let admin = format!("127.0.0.1:{}", port.number());
    let arguments = ["proxy", "drain", "--admin", &admin, "--min-seconds", "1"];
    let finished = Postern::finish(Path::new("."), &arguments);
    assert!(
        finished.status.success() && finished.stderr.contains("was not told that it ends"),
        "{}",
        finished.all()
    );
}
