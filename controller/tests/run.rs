//! `postern run` in this process: real files, real Envoys, real requests.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use postern::echo::{Echo, EchoSpec};
use postern::envoy::{Launch, Timing, find};
use postern::run::{Envoys, Report, RunEvent, RunOptions, run};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Collected(Mutex<Vec<String>>);

impl Report for Collected {
    fn report(&self, event: &RunEvent) {
        let text = serde_json::to_string(event).expect("events are JSON");
        self.0.lock().expect("no panic").push(text);
    }
}

struct Running {
    directory: TempDir,
    events: Arc<Collected>,
    stop: mpsc::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("all.yaml"), text).expect("write a file");
        let wanted = std::env::var_os("POSTERN_ENVOY").map(PathBuf::from);
        let envoy = find(wanted.as_deref()).expect("these tests need an Envoy: run hack/envoy.sh");
        let options = RunOptions {
            paths: vec![directory.path().to_owned()],
            envoys: Some(Envoys {
                launch: Launch {
                    envoy: envoy.path,
                    guard: None,
                    concurrency: 1,
                    log_level: "warning".to_owned(),
                    timing: Timing { drain: PATIENCE, ..Timing::default() },
                },
                version: envoy.version,
                admin: None,
            }),
            xds_address: None,
            listen_address: Ipv4Addr::LOCALHOST.into(),
            echo: Vec::new(),
        };
        let events = Arc::new(Collected::default());
        let (stop, stopped) = mpsc::channel(2);
        let task = tokio::spawn(run(options, events.clone(), stopped));
        Self { directory, events, stop, task }
    }

    fn write(&self, text: &str) {
        std::fs::write(self.directory.path().join("all.yaml"), text).expect("write a file");
    }

    /// Waits for the `number`th event that holds all of `words`.
    async fn tells(&self, words: &[&str], number: usize) {
        let begin = Instant::now();
        loop {
            let events = self.events.0.lock().expect("no panic").clone();
            if events.iter().filter(|event| words.iter().all(|word| event.contains(word))).count() >= number {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "no event with {words:?} in:\n{}", events.join("\n"));
            assert!(!self.task.is_finished(), "it ended:\n{}", events.join("\n"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) {
        self.stop.send(()).await.expect("it still runs");
        self.task.await.expect("no panic").expect("a good end");
    }
}

/// A port that nobody uses now.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

fn world(gateways: &[(&str, &[u16])], backend: SocketAddr) -> String {
    let mut documents = vec![
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: postern}\n\
         spec: {controllerName: postern.dev/gateway-controller}\n"
            .to_owned(),
    ];
    for (name, ports) in gateways {
        let listeners: Vec<String> =
            ports.iter().map(|port| format!("{{name: p{port}, port: {port}, protocol: HTTP}}")).collect();
        documents.push(format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\n\
             spec: {{gatewayClassName: postern, listeners: [{}]}}\n",
            listeners.join(", ")
        ));
        documents.push(format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\n\
             spec: {{parentRefs: [{{name: {name}}}], rules: [{{backendRefs: [{{name: app, port: 80}}]}}]}}\n"
        ));
    }
    documents.push(
        "apiVersion: v1\nkind: Service\nmetadata: {name: app}\nspec: {ports: [{port: 80}]}\n".to_owned(),
    );
    documents.push(format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: app, labels: {{kubernetes.io/service-name: app}}}}\naddressType: IPv4\n\
         ports: [{{port: {}}}]\nendpoints: [{{addresses: [127.0.0.1]}}]\n",
        backend.port()
    ));
    documents.join("---\n")
}

async fn backend() -> Echo {
    let spec = EchoSpec { name: "app".to_owned(), address: (Ipv4Addr::LOCALHOST, 0).into() };
    Echo::start(&spec).await.expect("an echo server")
}

async fn get(port: u16, path: &str) -> Result<(StatusCode, Bytes), String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request =
        Request::get(format!("http://127.0.0.1:{port}{path}")).body(Empty::new()).expect("a request");
    let answer = client.request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    Ok((status, answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_changes_and_drains() {
    let echo = backend().await;
    let port = free_port();
    let running = Running::start(&world(&[("web", &[port])], echo.address()));
    let url = format!("http://127.0.0.1:{port}");
    running.tells(&["serving", &url], 1).await;
    let (status, body) = get(port, "/hello").await.expect("an answer");
    assert_eq!(status, StatusCode::OK);
    assert!(String::from_utf8_lossy(&body).contains("\"path\": \"/hello\""));

    // A listener more, then one less, in the same Envoy.
    let second = free_port();
    running.write(&world(&[("web", &[port, second])], echo.address()));
    running.tells(&["serving", &format!("http://127.0.0.1:{second}")], 1).await;
    assert_eq!(get(second, "/").await.expect("an answer").0, StatusCode::OK);

    // What is in flight when it stops gets its answer.
    let before = echo.count();
    let slow = tokio::spawn(async move { get(port, "/?delay=700ms").await });
    while echo.count() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stop().await;
    assert_eq!(slow.await.expect("no panic").expect("an answer").0, StatusCode::OK);
    assert!(get(port, "/").await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_holds_back_one_listener() {
    let echo = backend().await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let busy = taken.local_addr().expect("its address").port();
    let free = free_port();
    let running = Running::start(&world(&[("web", &[busy, free])], echo.address()));
    running.tells(&["port_in_use", "default/web", &busy.to_string(), "another process", "ss -ltnp"], 1).await;
    running.tells(&["serving", &format!("127.0.0.1:{free}")], 1).await;
    assert_eq!(get(free, "/").await.expect("an answer").0, StatusCode::OK);
    drop(taken);
    running.tells(&["serving", &format!("127.0.0.1:{busy}")], 1).await;
    assert_eq!(get(busy, "/").await.expect("an answer").0, StatusCode::OK);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_do_not_share_a_port() {
    let echo = backend().await;
    let (shared, own) = (free_port(), free_port());
    let running = Running::start(&world(&[("a", &[shared]), ("b", &[shared, own])], echo.address()));
    running.tells(&["port_in_use", "default/b", "\"by\":{\"gateway\":\"default/a\"}"], 1).await;
    running.tells(&["serving", "default/a", &shared.to_string()], 1).await;
    running.tells(&["serving", "default/b", &own.to_string()], 1).await;

    // Once the first Gateway is gone, the second one gets the port.
    running.write(&world(&[("b", &[shared, own])], echo.address()));
    running.tells(&["gateway_removed", "default/a"], 1).await;
    running.tells(&["serving", "default/b", &shared.to_string()], 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_is_killed_serves_again() {
    let echo = backend().await;
    let port = free_port();
    let running = Running::start(&world(&[("web", &[port])], echo.address()));
    running.tells(&["serving"], 1).await;
    let started =
        running.events.0.lock().expect("no panic").iter().find(|e| e.contains("envoy_started")).cloned();
    let started: serde_json::Value = serde_json::from_str(&started.expect("it was told")).expect("JSON");
    let killed = std::process::Command::new("kill").args(["-KILL", &started["pid"].to_string()]).status();
    assert!(killed.expect("run kill").success());
    running.tells(&["envoy_died", "default/web", "SIGKILL", "restart_in_ms"], 1).await;
    running.tells(&["serving"], 2).await;
    assert_eq!(get(port, "/").await.expect("an answer").0, StatusCode::OK);
    running.stop().await;
}
