//! Who may read what: tokens of a real API server, presented to the real authenticator, at last by a real Envoy.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener as FreePort};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Client, Config};
use postern::bootstrap::{Address, Bootstrap, CA_FILE, TOKEN_AUDIENCE, TOKEN_FILE, XdsService};
use postern::kubernetes::identity::{
    Authority, AuthorityOptions, Clock, TokenAuthenticator, TokenOptions, Verification,
};
use postern::telemetry::Metrics;
use postern_e2e::{Cluster, Envoy, Namespace, until};
use postern_xds::{Admission, Authenticator as _, Hub, Peer, Refusal, Server, Snapshot};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::metadata::MetadataMap;

use super::relay::Relay;

async fn service_account(space: &Namespace<'_>, name: &str) {
    space.kubectl(&["create", "serviceaccount", name]).await;
}

/// A token as the kubelet gets it for a Pod.
async fn token(space: &Namespace<'_>, account: &str, audience: &str) -> String {
    let spec = TokenRequestSpec {
        audiences: vec![audience.to_owned()],
        expiration_seconds: Some(600),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let made = space
        .api::<ServiceAccount>()
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .unwrap();
    made.status.unwrap().token
}

/// An authenticator with a clock that the test puts forward.
struct World {
    authenticator: TokenAuthenticator,
    metrics: Metrics,
    ahead: Arc<AtomicI64>,
}

impl World {
    fn new(client: Client, verification: Verification) -> Self {
        let ahead = Arc::new(AtomicI64::new(0));
        let by = Arc::clone(&ahead);
        let clock = Clock::new(move || {
            Timestamp::from_second(Timestamp::now().as_second() + by.load(Ordering::Relaxed)).unwrap()
        });
        let options = TokenOptions { verification, clock, ..TokenOptions::default() };
        let metrics = Metrics::new();
        let authenticator = TokenAuthenticator::new(client, options, metrics.clone());
        Self { authenticator, metrics, ahead }
    }

    fn wait(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn open(&self, token: &str, node: &str) -> Result<Admission, Refusal> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
        self.authenticator.authenticate(&Peer::default(), &metadata, node).await
    }

    async fn refused(&self, token: &str, node: &str) -> (&'static str, Code) {
        let refusal = self.open(token, node).await.unwrap_err();
        (refusal.reason, refusal.status.code())
    }
}

/// The same token with another signature.
fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    format!("{message}.{reversed}")
}

/// What holds however tokens are verified.
async fn tokens_are_told_apart(space: &Namespace<'_>, world: &World) {
    for account in ["web", "other"] {
        service_account(space, account).await;
    }
    let own = format!("{}/web", space.name());
    let good = token(space, "web", TOKEN_AUDIENCE).await;
    let admission = world.open(&good, &own).await.unwrap();
    assert_eq!((admission.node, admission.name), (own.clone(), None));
    assert!(admission.until.is_some());

    let denied = ("wrong_gateway", Code::PermissionDenied);
    assert_eq!(world.refused(&good, &format!("{}/other", space.name())).await, denied);
    assert_eq!(world.refused(&good, "default/web").await, denied);
    let other = token(space, "other", TOKEN_AUDIENCE).await;
    assert_eq!(world.refused(&other, &own).await, denied);

    let audience = token(space, "web", "https://elsewhere.example").await;
    assert_eq!(world.refused(&audience, &own).await, ("wrong_audience", Code::Unauthenticated));
    assert_eq!(world.refused(&forged(&good), &own).await, ("invalid_token", Code::Unauthenticated));
    world.wait(601);
    assert_eq!(world.refused(&good, &own).await, ("expired", Code::Unauthenticated));
    world.wait(-601);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_told_apart_by_review() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("tokens").await;
    let world = World::new(cluster.client(), Verification::Review);
    tokens_are_told_apart(&space, &world).await;

    // A ServiceAccount that is gone has no rights any more, a minute later at the latest.
    let node = format!("{}/web", space.name());
    let good = token(&space, "web", TOKEN_AUDIENCE).await;
    world.open(&good, &node).await.unwrap();
    space.delete(&["serviceaccount", "web"]).await;
    // The API server may have it in a cache of its own for some seconds. This authenticator has it for a minute.
    until("refusal of a deleted ServiceAccount", || async {
        match World::new(cluster.client(), Verification::Review).open(&good, &node).await {
            Ok(_) => Err("still let in".to_owned()),
            Err(refusal) => {
                assert_eq!(refusal.reason, "invalid_token");
                Ok(())
            }
        }
    })
    .await;
    world.open(&good, &node).await.unwrap();
    world.wait(61);
    assert_eq!(world.refused(&good, &node).await.0, "invalid_token");
}

/// A client with the rights of a ServiceAccount that has none.
async fn powerless(space: &Namespace<'_>) -> Client {
    service_account(space, "powerless").await;
    let mut config = Config::infer().await.unwrap();
    let token = space.kubectl(&["create", "token", "powerless"]).await;
    config.auth_info =
        kube::config::AuthInfo { token: Some(token.trim().to_owned().into()), ..Default::default() };
    Client::try_from(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_told_apart_without_any_permission() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("tokens").await;
    let client = powerless(&space).await;
    let world = World::new(client.clone(), Verification::Keys);
    tokens_are_told_apart(&space, &world).await;

    // Who may not ask for a review is told so, and lets nobody in by other means.
    let world = World::new(client, Verification::Review);
    let good = token(&space, "web", TOKEN_AUDIENCE).await;
    let refused = world.refused(&good, &format!("{}/web", space.name())).await;
    assert_eq!(refused, ("unavailable", Code::Unavailable));
    let metrics = world.metrics.registry_text();
    let forbidden = r#"postern_forbidden_calls_total{verb="create",resource="tokenreviews"} 1"#;
    assert!(metrics.contains(forbidden), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_come_back_while_the_api_server_is_away() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("tokens").await;
    for account in ["web", "other"] {
        service_account(&space, account).await;
    }
    let relay = Relay::start(Config::infer().await.unwrap()).await;
    let world = World::new(relay.client(), Verification::Review);
    let node = format!("{}/web", space.name());
    let known = token(&space, "web", TOKEN_AUDIENCE).await;
    let other = token(&space, "other", TOKEN_AUDIENCE).await;

    let never_asked = World::new(relay.client(), Verification::Review);
    world.open(&known, &node).await.unwrap();
    world.authenticator.refresh_keys().await.unwrap();
    relay.freeze();
    world.wait(61);
    let fresh = token(&space, "web", TOKEN_AUDIENCE).await;
    world.open(&known, &node).await.expect("one that was verified before");
    world.open(&fresh, &node).await.expect("one that is new to this replica");
    assert_eq!(world.refused(&other, &node).await.0, "wrong_gateway");
    assert_eq!(world.refused(&forged(&fresh), &node).await.0, "invalid_token");
    assert_eq!(never_asked.refused(&fresh, &node).await.0, "unavailable");
    relay.thaw();
    until("a review again", || async {
        never_asked.wait(61);
        never_asked.open(&fresh, &node).await.map(|_| ()).map_err(|refusal| refusal.reason.to_owned())
    })
    .await;
}

/// Postern's xDS server with everything that guards it.
struct Plane {
    hub: Hub,
    address: SocketAddr,
    ca: String,
    service: XdsService,
    _tasks: JoinSet<()>,
}

impl Plane {
    async fn start(client: Client, space: &Namespace<'_>) -> Self {
        let service =
            XdsService { namespace: space.name().to_owned(), name: "postern".to_owned(), port: 18000 };
        let metrics = Metrics::new();
        let authority =
            Authority::establish(client.clone(), AuthorityOptions::new(&service), metrics.clone())
                .await
                .unwrap();
        let authenticator = Arc::new(TokenAuthenticator::new(client, TokenOptions::default(), metrics));
        let hub = Hub::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            Server::new(hub.clone()).with_tls(authority.tls()).with_authenticator(authenticator.clone());
        let mut tasks = JoinSet::new();
        let ca = authority.ca_bundle().borrow().clone();
        tasks.spawn(async move { authority.run().await });
        tasks.spawn(async move { authenticator.run().await });
        tasks.spawn(async move { server.serve_tcp(listener, std::future::pending()).await.unwrap() });
        Self { hub, address, ca, service, _tasks: tasks }
    }

    fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.hub.refused().into_iter().filter(|(_, number)| *number > 0).collect()
    }
}

/// An Envoy that claims to serve `gateway`, with this token.
async fn proxy(directory: &std::path::Path, plane: &Plane, gateway: &str, token: &str) -> Envoy {
    let mut bootstrap = Bootstrap::in_cluster(&plane.service.namespace, gateway, &plane.service);
    bootstrap.xds = plane.address.into();
    bootstrap.admin = Address::Tcp("127.0.0.1".to_owned(), 0);
    let it = bootstrap.in_cluster.as_mut().unwrap();
    it.config_directory = directory.display().to_string();
    it.token_directory = directory.display().to_string();
    it.probe = FreePort::bind("127.0.0.1:0").unwrap().local_addr().unwrap().into();
    std::fs::create_dir_all(directory).unwrap();
    let mut files = bootstrap.files().unwrap();
    files.insert(CA_FILE.to_owned(), plane.ca.clone());
    files.insert(TOKEN_FILE.to_owned(), token.to_owned());
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
    Envoy::start_with(directory, &bootstrap.to_yaml().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_reads_what_its_token_allows() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("tokens").await;
    for account in ["web", "other"] {
        service_account(&space, account).await;
    }
    let plane = Plane::start(cluster.client(), &space).await;
    for gateway in ["web", "other"] {
        plane.hub.publish(&format!("{}/{gateway}", space.name()), Snapshot::default());
    }
    let root = tempfile::tempdir().unwrap();
    let good = token(&space, "web", TOKEN_AUDIENCE).await;

    for (gateway, token, reason) in [
        ("web", token(&space, "other", TOKEN_AUDIENCE).await, "wrong_gateway"),
        ("other", good.clone(), "wrong_gateway"),
        ("web", forged(&good), "invalid_token"),
        ("web", token(&space, "web", "https://elsewhere.example").await, "wrong_audience"),
    ] {
        let before = plane.refused().get(reason).copied().unwrap_or(0);
        let envoy = proxy(&root.path().join(format!("{gateway}-{reason}")), &plane, gateway, &token).await;
        until(reason, || async {
            // Twice, so that the first one was not the last one.
            let refused = plane.refused();
            if refused.get(reason).is_some_and(|number| *number > before + 1) {
                return Ok(());
            }
            Err(format!("{refused:?}"))
        })
        .await;
        assert!(envoy.admin("/ready").await.is_err(), "it has got nothing");
        drop(envoy);
    }
    assert_eq!(plane.hub.metrics().streams_opened, 0);
    assert!(plane.hub.connections().is_empty());

    let envoy = proxy(&root.path().join("web"), &plane, "web", &good).await;
    until("readiness", || async {
        envoy.admin("/ready").await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
    let connections = plane.hub.connections();
    assert_eq!(connections.len(), 1);
    assert_eq!(*connections[0].node, *format!("{}/web", space.name()));
    assert!(connections[0].peer.tls);
}
