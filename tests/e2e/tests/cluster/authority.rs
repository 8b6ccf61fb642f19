//! The certificate authority of the xDS server: one for all replicas, in a Secret.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use postern::bootstrap::XdsService;
use postern::kubernetes::identity::authority::{AUTHORITY_SECRET, Lifetimes};
use postern::kubernetes::identity::{Authority, AuthorityError, AuthorityOptions, Clock};
use postern::telemetry::Metrics;
use postern_e2e::{Cluster, Namespace, until};
use postern_xds::{Hub, Server};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

const DAY: Duration = Duration::from_hours(24);

/// A clock that runs with that of the machine, ahead of it by what the test says. Clients have it, too.
#[derive(Clone, Debug, Default)]
struct Ahead(Arc<AtomicI64>);

impl TimeProvider for Ahead {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.now().try_into().unwrap())))
    }
}

impl Ahead {
    fn now(&self) -> i64 {
        Timestamp::now().as_second() + self.0.load(Ordering::Relaxed)
    }

    fn clock(&self) -> Clock {
        let ahead = self.clone();
        Clock::new(move || Timestamp::from_second(ahead.now()).unwrap())
    }

    fn go(&self, by: Duration) {
        self.0.fetch_add(by.as_secs().try_into().unwrap(), Ordering::Relaxed);
    }
}

/// A replica of Postern, as far as this is concerned.
struct Replica {
    authority: Authority,
    address: SocketAddr,
    ahead: Ahead,
    _tasks: JoinSet<()>,
}

fn options(space: &Namespace<'_>, ahead: &Ahead) -> AuthorityOptions {
    let service = XdsService { namespace: space.name().to_owned(), name: "postern".to_owned(), port: 18000 };
    AuthorityOptions { clock: ahead.clock(), ..AuthorityOptions::new(&service) }
}

impl Replica {
    async fn start(cluster: &Cluster, space: &Namespace<'_>, ahead: &Ahead) -> Result<Self, AuthorityError> {
        let (client, options) = (cluster.client(), options(space, ahead));
        let authority = Authority::establish(client, options, Metrics::new()).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let running = authority.clone();
        tasks.spawn(async move { running.run().await });
        let server = Server::new(Hub::new()).with_tls(authority.tls());
        tasks.spawn(async move { server.serve_tcp(listener, std::future::pending()).await.unwrap() });
        Ok(Self { authority, address, ahead: ahead.clone(), _tasks: tasks })
    }

    fn bundle(&self) -> String {
        self.authority.ca_bundle().borrow().clone()
    }

    /// How many authorities proxies are told to trust.
    fn trusted(&self) -> usize {
        self.bundle().matches("BEGIN CERTIFICATE").count()
    }

    /// Whether a client that trusts `bundle` believes this replica.
    async fn is_believed_by(&self, bundle: &str, name: &str) -> bool {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(self.ahead.clone()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok()
    }
}

/// Changes the Secret in something that does not matter, so that every replica looks at it, and at its clock.
async fn poke(space: &Namespace<'_>) {
    static NUMBER: AtomicI64 = AtomicI64::new(0);
    let value = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
    let patch = json!({"metadata": {"annotations": {"poked": value}}});
    space
        .api::<Secret>()
        .patch(AUTHORITY_SECRET, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

async fn all(replicas: &[Replica], what: &str, holds: impl Fn(&Replica) -> bool) {
    until(what, || async {
        let missing = replicas.iter().filter(|it| !holds(it)).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} replicas are not there yet")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_share_one_authority() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("authority").await;
    let ahead = Ahead::default();
    let starting = (0..5).map(|_| Replica::start(&cluster, &space, &ahead));
    let replicas: Vec<_> =
        futures::future::join_all(starting).await.into_iter().map(Result::unwrap).collect();
    let bundle = replicas[0].bundle();
    for replica in &replicas {
        assert_eq!(replica.bundle(), bundle);
        for name in ["postern", "postern.NS", "postern.NS.svc", "postern.NS.svc.cluster.local"] {
            let name = name.replace("NS", space.name());
            assert!(replica.is_believed_by(&bundle, &name).await, "{name}");
        }
        assert!(!replica.is_believed_by(&bundle, "postern.elsewhere.svc").await);
    }
    let secret = space.api::<Secret>().get(AUTHORITY_SECRET).await.unwrap();
    let data = secret.data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
    assert_eq!(data["ca.crt"].0, bundle.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_rotated_without_a_moment_of_doubt() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("authority").await;
    let ahead = Ahead::default();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Replica::start(&cluster, &space, &ahead).await.unwrap());
    }
    let old = replicas[0].bundle();
    let lifetimes = Lifetimes::default();

    ahead.go(lifetimes.authority * 2 / 3 + DAY / 24);
    poke(&space).await;
    all(&replicas, "successor in every bundle", |it| it.trusted() == 2).await;
    let both = replicas[0].bundle();
    all(&replicas, "the same bundle", |it| it.bundle() == both).await;
    assert!(both.starts_with(&old));
    let new = &both[old.len()..];
    for replica in &replicas {
        assert!(replica.is_believed_by(&old, "postern").await, "proxies have not read the new one yet");
        assert!(!replica.is_believed_by(new, "postern").await);
    }

    ahead.go(lifetimes.propagation);
    poke(&space).await;
    for replica in &replicas {
        until("new signature", || async {
            let now = replica.is_believed_by(new, "postern").await;
            if now { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        assert!(replica.is_believed_by(&both, "postern").await);
        assert_eq!(replica.trusted(), 2, "certificates of the old one are still in use elsewhere");
    }

    ahead.go(DAY + DAY / 24);
    poke(&space).await;
    all(&replicas, "end of the old authority", |it| it.bundle() == new).await;
    let data = space.api::<Secret>().get(AUTHORITY_SECRET).await.unwrap().data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_authority_is_reported_and_left_alone() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("authority").await;
    let api: Api<Secret> = space.api();
    let ahead = Ahead::default();
    let replica = Replica::start(&cluster, &space, &ahead).await.unwrap();
    let bundle = replica.bundle();
    let good = api.get(AUTHORITY_SECRET).await.unwrap().data.unwrap();

    let patch = json!({"stringData": {"tls.key": "what was I thinking"}});
    api.patch(AUTHORITY_SECRET, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let error = Replica::start(&cluster, &space, &ahead).await.err().unwrap().to_string();
    let expected = format!(
        "Secret {}/postern-ca is damaged: tls.crt and tls.key: the private key cannot be read",
        space.name()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.contains("restore it, or delete it"), "{error}");

    // The replica that has seen better times serves on. Now much is due; nothing is written.
    ahead.go(DAY * 300);
    poke(&space).await;
    let damaged = api.get(AUTHORITY_SECRET).await.unwrap();
    until("renewal of the serving certificate", || async {
        // Issued anew by the authority in memory; the first one has expired.
        if replica.is_believed_by(&bundle, "postern").await { Ok(()) } else { Err("refused".to_owned()) }
    })
    .await;
    assert_eq!(
        api.get(AUTHORITY_SECRET).await.unwrap().metadata.resource_version,
        damaged.metadata.resource_version
    );
    assert_eq!(replica.bundle(), bundle);

    // Restored, it goes on where it was.
    let patch = json!({"data": {"tls.key": good["tls.key"]}});
    api.patch(AUTHORITY_SECRET, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    all(std::slice::from_ref(&replica), "successor", |it| it.trusted() == 2).await;
    assert!(replica.bundle().starts_with(&bundle));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_authority_is_made_anew_once() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("authority").await;
    let ahead = Ahead::default();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Replica::start(&cluster, &space, &ahead).await.unwrap());
    }
    let old = replicas[0].bundle();
    space.delete(&["secret", AUTHORITY_SECRET]).await;
    let new = Mutex::new(String::new());
    until("one new authority on every replica", || async {
        let data = space.api::<Secret>().get(AUTHORITY_SECRET).await.map_err(|error| error.to_string())?.data;
        let bundle = String::from_utf8(data.unwrap()["ca.crt"].0.clone()).unwrap();
        new.lock().unwrap().clone_from(&bundle);
        let behind = replicas.iter().filter(|it| it.bundle() != bundle).count();
        if behind == 0 { Ok(()) } else { Err(format!("{behind} replicas have another one")) }
    })
    .await;
    let new = new.into_inner().unwrap();
    assert_ne!(new, old);
    for replica in &replicas {
        until("certificate of the new authority", || async {
            if replica.is_believed_by(&new, "postern").await { Ok(()) } else { Err("refused".to_owned()) }
        })
        .await;
    }
}
