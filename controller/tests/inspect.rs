//! The debug documents of a controller, and what a real Envoy said that it has, side by side.
//!
//! `tests/data/proxy/input.yaml` says how the dumps were captured.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use postern::bootstrap::{Address, Bootstrap};
use postern::engine;
use postern::envoy::{Admin, Instance, Launch, Supervisor, Timing, find};
use postern::inspect::compare::{What, compare};
use postern::inspect::document::{Config, Gateways};
use postern::inspect::dump::{Dump, PATH, Stage};
use postern::inspect::{Inspector, router};
use postern::publish::Publisher;
use postern::source::Source;
use postern::spawner::Spawner;
use postern::telemetry::server::{bind_loopback, serve};
use postern_translator::Translator;
use postern_xds::{Hub, ResourceType, Server};

const INPUT: &str = include_str!("data/proxy/input.yaml");
const WANTED: &[u8] = include_bytes!("data/proxy/wanted.json");
const DUMP: &[u8] = include_bytes!("data/proxy/config_dump.json");
const REFUSED: &[u8] = include_bytes!("data/proxy/config_dump_refused.json");

/// A controller that publishes what `text` says.
fn inspector(text: &str) -> (Inspector, Hub) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("input.yaml"), text).expect("write a file");
    let (_, changes) = Source::read(vec![directory.path().into()]).expect("the input");
    let mut translator = Translator::new(engine::options([127, 0, 0, 1].into()));
    for change in changes {
        translator.apply(change);
    }
    let hub = Hub::new();
    let mut publisher = Publisher::new(hub.clone(), false);
    for (gateway, update) in translator.translate().gateways {
        publisher.apply(&gateway, &update.changes);
    }
    (Inspector::new(hub.clone(), "postern-0"), hub)
}

/// What the controller wanted when the dumps were captured.
fn wanted() -> Config {
    serde_json::from_slice(WANTED).expect("a document")
}

fn dump(text: &[u8]) -> Dump {
    Dump::parse(text).expect("a dump")
}

#[test]
fn an_envoy_that_has_everything_does_not_differ() {
    assert_eq!(compare(&wanted(), &dump(DUMP)), []);
}

#[test]
fn a_dump_tells_names_versions_and_stages() {
    let dump = dump(DUMP);
    let mut out = Vec::new();
    for resource_type in ResourceType::ALL {
        for (name, held) in dump.of_type(resource_type) {
            let version = held.version.as_deref().unwrap_or("-");
            out.push(format!("{resource_type} {name} {} {version}", held.stage));
        }
    }
    insta::assert_snapshot!(out.join("\n"));
}

#[test]
fn private_keys_are_in_no_document() {
    let documents =
        [serde_json::to_string(&wanted()).expect("JSON"), serde_json::to_string(&dump(DUMP)).expect("JSON")];
    for text in documents {
        assert!(text.contains("[redacted]") && text.contains("certificateChain"), "{text}");
    }
}

#[test]
fn a_refused_listener_is_told_with_the_reason() {
    let dump = dump(REFUSED);
    let found = compare(&wanted(), &dump);
    let listeners: Vec<_> = found.iter().filter(|d| d.resource_type == "LDS").collect();
    assert_eq!(listeners.len(), 1, "{listeners:?}");
    assert_eq!(listeners[0].name, "18443/tcp");
    let reason = "cannot bind '127.0.0.1:18443': Address already in use".to_owned();
    assert_eq!(listeners[0].what, What::Refused { reason });
    assert_eq!(dump.get(ResourceType::Listener, "18080/tcp").map(|held| held.stage), Some(Stage::Active));
}

#[test]
fn every_kind_of_difference_is_found() {
    let mut wanted = wanted();
    let change = |config: &mut Config, t: &str, name: &str, path: &str, value: serde_json::Value| {
        let resource = config.resources.get_mut(t).and_then(|r| r.get_mut(name)).expect("it is there");
        "0123456789".clone_into(&mut resource.version);
        *resource.content.pointer_mut(path).expect("the value") = value;
    };
    change(&mut wanted, "CDS", "default/app:80", "/connectTimeout", "7s".into());
    change(
        &mut wanted,
        "SRDS",
        "18080/www.example.com",
        "/routeConfiguration/virtualHosts/0/routes/0/route/timeout",
        "20s".into(),
    );
    change(
        &mut wanted,
        "EDS",
        "default/app:80",
        "/endpoints/0/lbEndpoints/0/endpoint/address/socketAddress/address",
        "10.0.0.9".into(),
    );
    let secrets = wanted.resources.remove("SDS").expect("a secret");
    let other = secrets["default/web"].clone();
    wanted.resources.insert("SDS".to_owned(), BTreeMap::from([("default/other".to_owned(), other)]));
    insta::assert_yaml_snapshot!(compare(&wanted, &dump(DUMP)));
}

#[test]
fn something_else_is_no_dump() {
    for (text, message) in [
        ("<html>", "the answer is no JSON"),
        ("{}", "the answer is no configuration dump: it has no member `configs`"),
    ] {
        let error = Dump::parse(text.as_bytes()).expect_err(text).to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn the_gateways_document_tells_what_is_published() {
    let (inspector, _) = inspector(INPUT);
    let config = inspector.config("default/web").expect("it is published").expect("it has a JSON form");
    let gateways = inspector.gateways().gateways;
    let gateway = &gateways["default/web"];
    assert_eq!(gateway.digest.as_deref(), Some(config.digest.as_str()), "one digest everywhere");
    let listeners: Vec<_> = gateway.listeners.iter().map(|l| (l.name.as_str(), l.acknowledged)).collect();
    assert_eq!(listeners, [("18080/tcp", 0), ("18443/tcp", 0)]);
    assert_eq!(gateway.resources["LDS"]["18080/tcp"], config.resources["LDS"]["18080/tcp"].version);
    assert!(gateway.proxies.is_empty());
    assert!(inspector.config("default/nope").is_none());
}

/// A port that nobody has.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

async fn eventually<T>(what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = find().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), search).await.unwrap_or_else(|_| panic!("never: {what}"))
}

#[tokio::test]
async fn a_real_envoy_has_what_the_debug_documents_say() {
    let ports = [("18080", free_port().to_string()), ("18443", free_port().to_string())];
    let text = ports.iter().fold(INPUT.to_owned(), |text, (from, to)| text.replace(from, to));
    // Where its connections go is a resource of its own.
    let tcp = format!("  - {{name: tcp, port: {}, protocol: TCP}}\n  - {{name: https,", free_port());
    let (inspector, hub) = inspector(&text.replacen("  - {name: https,", &tcp, 1));
    let root = tempfile::tempdir().expect("a directory");
    let socket = root.path().join("xds.sock");
    let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
    tokio::spawn(Server::new(hub).serve_unix(listener, std::future::pending()));
    let listener = bind_loopback(([127, 0, 0, 1], 0).into()).await.expect("a port");
    let debug = Admin::new(listener.local_addr().expect("an address").into());
    tokio::spawn(serve(listener, router(inspector), std::future::pending()));

    let path = std::env::var_os("POSTERN_ENVOY").map(PathBuf::from);
    let envoy = find(path.as_deref()).expect("this test needs an Envoy: run hack/envoy.sh");
    let directory = root.path().join("envoy");
    let admin = Address::Unix(directory.join("admin.sock"));
    let bootstrap = Bootstrap::new("default", "web", Address::Unix(socket), admin.clone());
    let launch = Launch {
        envoy: envoy.path,
        guard: None,
        concurrency: 1,
        log_level: "error".to_owned(),
        timing: Timing::default(),
    };
    let (events, _events) = tokio::sync::mpsc::unbounded_channel();
    let instance = Instance { name: "default/web".to_owned(), directory, bootstrap };
    let supervisor = Supervisor::start(launch, instance, Spawner::new().expect("a thread"), events);

    let read = async |path: &str| debug.get(path).await.expect("an answer").1;
    let proxy = eventually("the proxy is in sync", async || {
        let gateways: Gateways = serde_json::from_slice(&read("/debug/gateways").await).expect("a document");
        gateways.gateways["default/web"].proxies.first().filter(|proxy| proxy.in_sync).cloned()
    })
    .await;
    assert!(proxy.pending.is_empty() && proxy.rejections.is_empty(), "{proxy:?}");
    let acknowledged = ["LDS", "ECDS", "SRDS"].map(|kind| proxy.acknowledged[kind]);
    assert_eq!(acknowledged, [3, 1, 3]);

    let config = read("/debug/gateways/default/web/config").await;
    let config: Config = serde_json::from_slice(&config).expect("a document");
    // An acknowledged listener may still be warming.
    let differences = eventually("nothing is warming", async || {
        let (_, dump) = Admin::new(admin.clone()).get(PATH).await.expect("an answer");
        let found = compare(&config, &Dump::parse(&dump).expect("a dump"));
        (!found.iter().any(|difference| difference.what == What::Warming)).then_some(found)
    })
    .await;
    assert_eq!(differences, []);
    let (status, _) = debug.get("/debug/gateways/default/nope/config").await.expect("an answer");
    assert_eq!(status.as_u16(), 404);
    supervisor.stop().await;
}
