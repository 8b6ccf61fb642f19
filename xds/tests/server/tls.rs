//! TLS: certificates of both sides, and their replacement.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use postern_xds::{Admission, Authenticator, Peer, Refusal, ResourceType, Tls, TlsError, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Uri};

use crate::client::*;
use crate::resources::*;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    fn files(&self) -> TlsFiles {
        let server = self.issue("localhost");
        TlsFiles { certificates: server.certificate.into(), private_key: server.key.into(), client_ca: None }
    }
}

async fn tls_channel(
    address: SocketAddr,
    trusted: &Authority,
    identity: Option<&Identity>,
) -> Result<Channel, tonic::transport::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let connector = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    soon("the connection", endpoint().connect_with_connector(connector)).await
}

#[tokio::test]
async fn certificates_are_replaced_without_dropping_streams() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = Tls::new(&old.files()).unwrap();
    let server = TestServer::start(|s| s.with_tls(tls.clone())).await;
    server.hub.publish(NODE, snapshot([static_cluster("c", 0)]));
    let mut before = Envoy::open(tls_channel(server.address, &old, None).await.unwrap(), &[]).await;
    before.subscribe(ResourceType::Cluster, &[]).await;
    before.take().await;

    tls.reload(&new.files()).unwrap();
    assert!(
        tls_channel(server.address, &old, None).await.is_err(),
        "new connections see the new certificate"
    );
    let mut after = Envoy::open(tls_channel(server.address, &new, None).await.unwrap(), &[]).await;
    after.subscribe(ResourceType::Cluster, &[]).await;
    after.take().await;

    server.hub.publish(NODE, snapshot([static_cluster("c", 1)]));
    assert_eq!(names(&before.take().await), ["c"], "the old stream lives on");
    assert_eq!(names(&after.take().await), ["c"]);
}

#[tokio::test]
async fn broken_certificates_change_nothing() {
    let ca = Authority::new();
    let tls = Tls::new(&ca.files()).unwrap();
    let server = TestServer::start(|s| s.with_tls(tls.clone())).await;
    let other = ca.files();
    let broken = |change: fn(&mut TlsFiles)| {
        let mut files = other.clone();
        change(&mut files);
        tls.reload(&files)
    };
    assert!(matches!(broken(|f| f.certificates = b"nothing".to_vec()), Err(TlsError::Certificates(_))));
    assert!(matches!(broken(|f| f.private_key.clear()), Err(TlsError::PrivateKey(_))));
    assert!(matches!(broken(|f| f.client_ca = Some(vec![])), Err(TlsError::ClientCa(_))));
    let foreign = Authority::new().files().private_key;
    let mismatched = TlsFiles { private_key: foreign, ..other };
    assert!(matches!(tls.reload(&mismatched), Err(TlsError::Config(_))));
    tls_channel(server.address, &ca, None).await.unwrap();
}

/// Admits whoever has a certificate.
struct Certified;

#[tonic::async_trait]
impl Authenticator for Certified {
    async fn authenticate(&self, peer: &Peer, _: &MetadataMap, node_id: &str) -> Result<Admission, Refusal> {
        assert!(peer.tls && peer.certificates.len() == 1);
        Ok(Admission::to(node_id))
    }
}

#[tokio::test]
async fn t22_a_client_ca_admits_its_clients_only() {
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let files = TlsFiles { client_ca: Some(clients.pem.clone().into()), ..servers.files() };
    let tls = Tls::new(&files).unwrap();
    let server = TestServer::start(|s| s.with_tls(tls).with_authenticator(Arc::new(Certified))).await;
    server.hub.publish(NODE, snapshot([static_cluster("c", 0)]));

    let client = clients.issue("client");
    let mut envoy =
        Envoy::open(tls_channel(server.address, &servers, Some(&client)).await.unwrap(), &[]).await;
    envoy.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(names(&envoy.take().await), ["c"]);

    for identity in [None, Some(strangers.issue("client"))] {
        // With TLS 1.3 the client learns of its refusal with the first answer, not in the handshake.
        if let Ok(channel) = tls_channel(server.address, &servers, identity.as_ref()).await {
            use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
            let mut stub = AggregatedDiscoveryServiceClient::new(channel);
            let refused = soon("the refusal", stub.delta_aggregated_resources(tokio_stream::pending())).await;
            assert!(refused.is_err());
        }
    }
    assert_eq!(server.hub.metrics().streams_opened, 1);
}
