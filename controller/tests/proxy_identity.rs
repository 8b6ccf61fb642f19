//! How a real Envoy with the bootstrap of the cluster proves who it is, and believes who we are: with the files of a volume that the
//! kubelet would mount, and with their rotation as the kubelet does it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postern::bootstrap::{Address, BOOTSTRAP_FILE, Bootstrap, CA_FILE, TOKEN_FILE, XdsService};
use postern::envoy::find;
use postern_xds::{Admission, Authenticator, Hub, Peer, Refusal, Server, Snapshot, Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataMap;

const PATIENCE: Duration = Duration::from_secs(30);

fn envoy() -> PathBuf {
    let wanted = std::env::var_os("POSTERN_ENVOY").map(PathBuf::from);
    find(wanted.as_deref()).expect("these tests need an Envoy: run hack/envoy.sh").path
}

/// A directory that changes as the kubelet changes its volumes: files are links into `..data`, which is a link that is replaced
/// by a rename.
struct Volume {
    path: PathBuf,
    generation: u32,
}

impl Volume {
    fn new(path: PathBuf, files: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let mut volume = Self { path, generation: 0 };
        volume.write(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), volume.path.join(name)).unwrap();
        }
        volume
    }

    /// Replaces all files at once.
    fn write(&mut self, files: &[(&str, &str)]) {
        let old = format!("..generation-{}", self.generation);
        self.generation += 1;
        let new = format!("..generation-{}", self.generation);
        std::fs::create_dir(self.path.join(&new)).unwrap();
        for (name, content) in files {
            std::fs::write(self.path.join(&new).join(name), content).unwrap();
        }
        symlink(&new, self.path.join("..data_tmp")).unwrap();
        std::fs::rename(self.path.join("..data_tmp"), self.path.join("..data")).unwrap();
        let _ = std::fs::remove_dir_all(self.path.join(old));
    }
}

/// Writes down what every stream presents, and lets it in.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

#[tonic::async_trait]
impl Authenticator for Recorder {
    async fn authenticate(
        &self,
        peer: &Peer,
        metadata: &MetadataMap,
        node: &str,
    ) -> Result<Admission, Refusal> {
        assert!(peer.tls);
        let presented: Vec<_> =
            metadata.get_all("authorization").iter().map(|it| it.to_str().unwrap()).collect();
        self.0.lock().unwrap().push(presented.join(" and "));
        // Streams end soon, so that what the next one presents is seen soon.
        Ok(Admission {
            until: Some(tokio::time::Instant::now() + Duration::from_millis(100)),
            ..Admission::to(node)
        })
    }
}

impl Recorder {
    fn seen(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn serving(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> TlsFiles {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    TlsFiles {
        certificates: certificate.pem().into(),
        private_key: key.serialize_pem().into(),
        client_ca: None,
    }
}

/// The xDS server, for as long as the value lives.
struct Plane {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Plane {
    async fn start(address: SocketAddr, tls: Tls, recorder: &Recorder) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hub = Hub::new();
        hub.publish("default/web", Snapshot::default());
        let server = Server::new(hub).with_tls(tls).with_authenticator(Arc::new(recorder.clone()));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            server.serve_tcp(listener, async { stopped.await.unwrap_or_default() }).await.unwrap();
        });
        Self { address, stop, task }
    }

    /// Ends the server and every stream.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

struct Proxy {
    child: Child,
    config: Volume,
    token: Volume,
    bootstrap: Bootstrap,
    probe: SocketAddr,
    root: TempDir,
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

const SERVICE: &str = "postern.postern-system.svc";

fn bootstrap(root: &Path, xds: SocketAddr, probe: SocketAddr) -> Bootstrap {
    let service = XdsService { namespace: "postern-system".into(), name: "postern".into(), port: xds.port() };
    let mut bootstrap = Bootstrap::in_cluster("default", "web", &service);
    bootstrap.xds = xds.into();
    bootstrap.admin = Address::Tcp("127.0.0.1".into(), free_port().port());
    let it = bootstrap.in_cluster.as_mut().unwrap();
    assert_eq!(it.server_name, SERVICE);
    it.config_directory = root.join("config").display().to_string();
    it.token_directory = root.join("token").display().to_string();
    it.probe = probe.into();
    bootstrap
}

fn config_files(bootstrap: &Bootstrap, ca: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = bootstrap.files().unwrap().into_iter().collect();
    files.push((CA_FILE.to_owned(), ca.to_owned()));
    files
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

impl Proxy {
    fn start(xds: SocketAddr, ca: &str, token: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let probe = free_port();
        let bootstrap = bootstrap(root.path(), xds, probe);
        let config = Volume::new(root.path().join("config"), &borrowed(&config_files(&bootstrap, ca)));
        let token = Volume::new(root.path().join("token"), &[(TOKEN_FILE, token)]);
        let log = std::fs::File::create(root.path().join("envoy.log")).unwrap();
        let child = Command::new(envoy())
            .args(bootstrap.arguments())
            .args(["--concurrency", "1", "--log-level", "warning"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, config, token, bootstrap, probe, root }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.root.path().join("envoy.log")).unwrap()
    }

    /// Mounts another CA bundle.
    fn trust(&mut self, ca: &str) {
        self.config.write(&borrowed(&config_files(&self.bootstrap, ca)));
    }

    /// The status and the whole answer to a request to the probe port.
    fn probe(&self, method: &str, path: &str) -> Result<(u16, String), String> {
        request(self.probe, method, path)
    }

    async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "no {what}; Envoy said:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The statistics of the connection to the control plane that are not zero.
    fn statistics(&self) -> BTreeMap<String, u64> {
        let (_, text) = self.probe("GET", "/stats/prometheus").unwrap();
        let line = |line: &str| {
            let (name, rest) = line.split_once("{envoy_cluster_name=\"postern_xds\"}")?;
            Some((name.to_owned(), rest.trim().parse().ok()?))
        };
        text.lines().filter_map(line).filter(|(_, value)| *value > 0).collect()
    }
}

fn request(address: SocketAddr, method: &str, path: &str) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )
    .map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or_else(|| answer.clone())?;
    Ok((status, answer))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_files_of_a_proxy() {
    let service = XdsService { namespace: "postern-system".into(), name: "postern".into(), port: 18000 };
    let bootstrap = Bootstrap::in_cluster("default", "web", &service);
    let mut text = String::new();
    for (name, content) in bootstrap.files().unwrap() {
        writeln!(text, "--- {name}\n{content}").unwrap();
    }
    writeln!(text, "--- arguments\n{:#?}", bootstrap.arguments()).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn envoy_accepts_the_files() {
    let root = tempfile::tempdir().unwrap();
    let bootstrap = bootstrap(root.path(), ([127, 0, 0, 1], 18000).into(), ([127, 0, 0, 1], 19001).into());
    Volume::new(
        root.path().join("config"),
        &borrowed(&config_files(&bootstrap, &authority("postern").pem())),
    );
    Volume::new(root.path().join("token"), &[(TOKEN_FILE, "token")]);
    let output = Command::new(envoy())
        .args(bootstrap.arguments())
        .args(["--mode", "validate", "--log-level", "warning"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.to_lowercase().contains("deprecated"), "{said}");
    assert!(root.path().join("config").join(BOOTSTRAP_FILE).is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_is_on_the_next_stream() {
    let authority = authority("postern");
    let tls = Tls::new(&serving(&authority, SERVICE)).unwrap();
    let recorder = Recorder::default();
    let plane = Plane::start("127.0.0.1:0".parse().unwrap(), tls.clone(), &recorder).await;
    let mut proxy = Proxy::start(plane.address, &authority.pem(), "first");
    proxy.until("first stream", || !recorder.seen().is_empty()).await;
    assert_eq!(recorder.seen()[0], "Bearer first");

    for token in ["second", "third\n"] {
        proxy.token.write(&[(TOKEN_FILE, token)]);
        let expected = format!("Bearer {}", token.trim());
        proxy.until("stream with the rotated token", || recorder.seen().last() == Some(&expected)).await;
    }
    assert_eq!(proxy.log(), "", "a stream that ends to be opened again is nothing to warn of");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_authority_is_believed() {
    let (old, new) = (authority("old"), authority("new"));
    let tls = Tls::new(&serving(&old, SERVICE)).unwrap();
    let recorder = Recorder::default();
    let mut plane = Plane::start("127.0.0.1:0".parse().unwrap(), tls.clone(), &recorder).await;
    let address = plane.address;
    let mut proxy = Proxy::start(address, &old.pem(), "token");
    proxy.until("first stream", || !recorder.seen().is_empty()).await;

    // Too early: a certificate of an authority that proxies do not know yet.
    plane.stop().await;
    tls.reload(&serving(&new, SERVICE)).unwrap();
    let seen = recorder.seen().len();
    plane = Plane::start(address, tls.clone(), &recorder).await;
    let refused = "envoy_cluster_ssl_fail_verify_error";
    proxy.until("refused certificate", || proxy.statistics().contains_key(refused)).await;
    assert_eq!(recorder.seen().len(), seen);

    proxy.trust(&(old.pem() + &new.pem()));
    proxy.until("stream to the new certificate", || recorder.seen().len() > seen).await;

    // And a certificate of the right authority for another name is nothing worth.
    plane.stop().await;
    tls.reload(&serving(&new, "postern.elsewhere.svc")).unwrap();
    let seen = recorder.seen().len();
    plane = Plane::start(address, tls, &recorder).await;
    let refused = "envoy_cluster_ssl_fail_verify_san";
    proxy.until("refused name", || proxy.statistics().contains_key(refused)).await;
    assert_eq!(recorder.seen().len(), seen);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_port_shows_readiness_and_metrics_only() {
    let authority = authority("postern");
    let recorder = Recorder::default();
    let tls = Tls::new(&serving(&authority, SERVICE)).unwrap();
    let plane = Plane::start("127.0.0.1:0".parse().unwrap(), tls, &recorder).await;
    let address = plane.address;
    plane.stop().await;
    let proxy = Proxy::start(address, &authority.pem(), "token");
    let Address::Tcp(host, port) = &proxy.bootstrap.admin else { panic!("an address") };
    let admin = SocketAddr::new(host.parse().unwrap(), *port);
    proxy.until("admin interface", || request(admin, "GET", "/ready").is_ok_and(|it| it.0 == 503)).await;
    // Envoy serves no listener before it has heard from the control plane, not even this one.
    assert!(proxy.probe("GET", "/ready").is_err());

    let tls = Tls::new(&serving(&authority, SERVICE)).unwrap();
    let plane = Plane::start(address, tls, &recorder).await;
    proxy.until("readiness", || proxy.probe("GET", "/ready").is_ok_and(|it| it.0 == 200)).await;
    let (status, metrics) = proxy.probe("GET", "/stats/prometheus?usedonly").unwrap();
    assert_eq!(status, 200);
    assert!(metrics.contains("envoy_server_live{} 1"), "{metrics}");
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/ready/"),
        ("GET", "/ready/../config_dump"),
        ("GET", "/config_dump"),
        ("GET", "/stats"),
        ("GET", "/stats/prometheus/"),
        ("POST", "/ready"),
        ("POST", "/stats/prometheus"),
        ("POST", "/quitquitquit"),
        ("POST", "/healthcheck/fail"),
    ] {
        assert_eq!(proxy.probe(method, path).unwrap().0, 404, "{method} {path}");
    }
    let (_, dump) = request(admin, "GET", "/config_dump").unwrap();
    assert!(dump.contains("\"pod\": \"$(POD_NAME)\""), "the metadata of the arguments: {dump}");
    assert!(dump.contains("\"id\": \"default/web\""), "beside the identity of the file");

    // Failing the health check, as a drain does, ends readiness and not the metrics.
    assert_eq!(request(admin, "POST", "/healthcheck/fail").unwrap().0, 200);
    assert_eq!(proxy.probe("GET", "/ready").unwrap().0, 503);
    assert_eq!(proxy.probe("GET", "/stats/prometheus").unwrap().0, 200);
    plane.stop().await;
}
