//! Certificates and TLS clients of the tests.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use sha2::{Digest as _, Sha256};

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate authority made for one test.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A server certificate with its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate chain.
    pub pem: String,
    /// The private key (PKCS #8).
    pub key_pem: String,
    /// The leaf as it travels in a handshake.
    pub der: Vec<u8>,
}

impl Authority {
    /// A new self-signed authority.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// The authority's own certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        roots
    }

    /// A fresh certificate for `names` (wildcards and URIs allowed), signed by this authority.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        let (uris, hosts): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        let uris = uris.into_iter().map(|uri| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let name = names.first().copied().unwrap_or_default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate { pem: certificate.pem(), key_pem: key.serialize_pem(), der: certificate.der().to_vec() }
    }
}

impl Certificate {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.pem.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap()
    }

    /// The SHA-256 digest in hexadecimal, with colons.
    pub fn fingerprint(&self) -> String {
        let pairs: Vec<String> = Sha256::digest(&self.der).iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    /// A server that shows this certificate, and asks clients for one of `clients` if that is said.
    pub(crate) fn server_config(&self, clients: Option<&Authority>) -> ServerConfig {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(self.chain(), self.key()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

/// How a client opens TLS.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    sni: Option<String>,
    roots: Option<Arc<RootCertStore>>,
    certificate: Option<Certificate>,
    version: Option<&'static str>,
    resuming: Option<Arc<ClientConfig>>,
}

impl ClientTls {
    /// Sends `sni` and accepts whatever certificate comes: for tests of routing.
    pub fn any(sni: &str) -> Self {
        Self { sni: Some(sni.to_owned()), ..Self::default() }
    }

    /// Sends no server name.
    pub fn without_sni() -> Self {
        Self::default()
    }

    /// Sends `sni` and accepts only a certificate for it that `authority` signed.
    pub fn trusting(sni: &str, authority: &Authority) -> Self {
        Self { sni: Some(sni.to_owned()), roots: Some(Arc::new(authority.roots())), ..Self::default() }
    }

    /// Shows this certificate to servers that ask for one.
    #[must_use]
    pub fn showing(mut self, certificate: &Certificate) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    /// Speaks only this version of TLS, `1.2` or `1.3`.
    #[must_use]
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = Some(version);
        self
    }

    /// Offers the sessions of earlier connections, for HTTP/1.1. To be said last.
    #[must_use]
    pub fn resuming(mut self) -> Self {
        let mut config = self.config(b"http/1.1");
        config.resumption = rustls::client::Resumption::default();
        self.resuming = Some(Arc::new(config));
        self
    }

    /// The configuration of a connection with this application protocol.
    pub(crate) fn shared_config(&self, alpn: &[u8]) -> Arc<ClientConfig> {
        self.resuming.clone().unwrap_or_else(|| Arc::new(self.config(alpn)))
    }

    pub(crate) fn name(&self) -> ServerName<'static> {
        ServerName::try_from(self.sni.clone().unwrap_or_else(|| "no-sni.invalid".to_owned())).unwrap()
    }

    pub(crate) fn config(&self, alpn: &[u8]) -> ClientConfig {
        let mut config = self.config_without_alpn();
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }

    pub(crate) fn config_without_alpn(&self) -> ClientConfig {
        let versions = match self.version {
            Some("1.2") => &[&rustls::version::TLS12][..],
            Some("1.3") => &[&rustls::version::TLS13],
            _ => rustls::DEFAULT_VERSIONS,
        };
        let builder =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let builder = match &self.roots {
            Some(roots) => builder.with_root_certificates(Arc::clone(roots)),
            None => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
            }
        };
        let mut config = match &self.certificate {
            Some(own) => builder.with_client_auth_cert(own.chain(), own.key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = self.sni.is_some();
        // Every handshake in full: tests look at the certificate that is served now.
        config.resumption = rustls::client::Resumption::disabled();
        config
    }
}

/// Takes any certificate, but still checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
