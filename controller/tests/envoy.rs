//! Envoy as a child process: the bootstrap that it accepts, its restarts, its end.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use postern::bootstrap::{Address, Bootstrap};
use postern::envoy::{Binary, Instance, Launch, Supervisor, SupervisorEvent, Timing, find};
use postern::spawner::Spawner;
use tempfile::TempDir;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

fn envoy() -> Binary {
    let wanted = std::env::var_os("POSTERN_ENVOY").map(PathBuf::from);
    find(wanted.as_deref()).expect("these tests need an Envoy: run hack/envoy.sh")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn envoy_accepts_every_bootstrap() {
    let root = directory();
    let envoy = envoy();
    for (index, xds) in
        ["127.0.0.1:18000", "[::1]:18000", "xds.example:18000", "unix:/run/xds.sock"].iter().enumerate()
    {
        let xds = xds.parse().expect("an address");
        let admin = Address::Unix(root.path().join("admin.sock"));
        let bootstrap = Bootstrap::new("default", "web", xds, admin);
        for (form, text) in
            [("json", bootstrap.to_json().to_string()), ("yaml", bootstrap.to_yaml().expect("YAML"))]
        {
            let file = root.path().join(format!("{index}.{form}"));
            std::fs::write(&file, text).expect("write a file");
            let output = Command::new(&envoy.path)
                .args(["--mode", "validate", "--log-level", "warning", "--config-path"])
                .arg(&file)
                .output()
                .expect("run Envoy");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{form} of {}: {said}", bootstrap.xds);
            assert!(!said.to_lowercase().contains("deprecated"), "{said}");
        }
    }
}

struct Run {
    supervisor: Supervisor,
    events: mpsc::UnboundedReceiver<SupervisorEvent>,
    _directory: TempDir,
}

/// Supervises `envoy` with short waiting times.
fn supervise(envoy: &Path, guard: Option<PathBuf>) -> Run {
    let root = directory();
    let instance_directory = root.path().join("instance");
    let xds = Address::Unix(root.path().join("xds.sock"));
    let admin = Address::Unix(instance_directory.join("admin.sock"));
    let bootstrap = Bootstrap::new("default", "web", xds, admin);
    let launch = Launch {
        envoy: envoy.to_owned(),
        guard,
        concurrency: 1,
        log_level: "warning".to_owned(),
        timing: Timing {
            first_restart: Duration::from_millis(20),
            longest_restart: Duration::from_millis(80),
            ..Timing::default()
        },
    };
    let instance = Instance { name: "default/web".to_owned(), directory: instance_directory, bootstrap };
    let (sender, events) = mpsc::unbounded_channel();
    let spawner = Spawner::new().expect("a thread");
    let supervisor = Supervisor::start(launch, instance, spawner, sender);
    Run { supervisor, events, _directory: root }
}

impl Run {
    async fn next(&mut self) -> SupervisorEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("something happens").expect("the supervisor lives")
    }

    async fn pid(&mut self) -> u32 {
        loop {
            if let SupervisorEvent::Started { pid, .. } = self.next().await {
                return pid;
            }
        }
    }
}

fn is_alive(pid: u32) -> bool {
    // A zombie has ended.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

async fn ended(pid: u32) {
    let begin = Instant::now();
    while is_alive(pid) {
        assert!(begin.elapsed() < PATIENCE, "process {pid} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn tells_why_it_died_and_waits_longer_each_time() {
    let root = directory();
    let fake = root.path().join("envoy");
    std::fs::write(
        &fake,
        "#!/bin/sh\necho '[critical][main] no luck today' >&2\necho plain words >&2\nexit 3\n",
    )
    .expect("write a script");
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).expect("set permissions");
    let mut run = supervise(&fake, None);
    let mut waits = Vec::new();
    while waits.len() < 4 {
        if let SupervisorEvent::Died { name, exit, restart_in } = run.next().await {
            assert_eq!(name, "default/web");
            assert_eq!(exit.status.and_then(|status| status.code()), Some(3));
            assert_eq!(exit.last_lines, ["no luck today", "plain words"]);
            waits.push(restart_in.as_millis());
        }
    }
    assert_eq!(waits, [20, 40, 80, 80]);
    run.supervisor.stop().await;
}

#[tokio::test]
async fn an_envoy_that_does_not_start_is_told_too() {
    let mut run = supervise(Path::new("/nowhere/envoy"), None);
    let SupervisorEvent::Died { exit, .. } = run.next().await else { panic!("it cannot start") };
    assert!(exit.status.is_none() && exit.last_lines[0].contains("No such file"), "{exit:?}");
    run.supervisor.stop().await;
}

#[tokio::test]
async fn starts_a_killed_envoy_again_and_ends_it_when_asked() {
    let guard = PathBuf::from(env!("CARGO_BIN_EXE_postern"));
    let mut run = supervise(&envoy().path, Some(guard));
    let first = run.pid().await;
    let killed = Command::new("kill").args(["-KILL", &first.to_string()]).status().expect("run kill");
    assert!(killed.success());
    let second = run.pid().await;
    assert_ne!(first, second);
    run.supervisor.stop().await;
    assert!(!is_alive(second), "it was waited for");
}

#[tokio::test]
async fn envoy_dies_with_a_postern_that_is_killed() {
    let root = directory();
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: postern}\n\
        spec: {controllerName: postern.dev/gateway-controller}\n---\n\
        apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: web}\n\
        spec: {gatewayClassName: postern, listeners: []}\n";
    std::fs::write(root.path().join("gateway.yaml"), gateway).expect("write a file");
    let mut postern = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["run", "--output", "json", "--envoy"])
        .arg(envoy().path)
        .arg(root.path())
        .env("TMPDIR", root.path())
        .env_remove("XDG_RUNTIME_DIR")
        .stdout(Stdio::piped())
        .spawn()
        .expect("run postern");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(postern.stdout.take().expect("its output")));
    let started = lines
        .map(|line| line.expect("text"))
        .find(|line| line.contains("\"envoy_started\""))
        .expect("an Envoy is started");
    let started: serde_json::Value = serde_json::from_str(&started).expect("JSON");
    let pid = u32::try_from(started["pid"].as_u64().expect("a number")).expect("a process id");
    assert!(is_alive(pid));
    postern.kill().expect("kill postern");
    postern.wait().expect("wait for postern");
    ended(pid).await;
}
