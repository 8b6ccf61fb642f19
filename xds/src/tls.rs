//! TLS with certificates that can be replaced while serving.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Why certificates were refused. The ones in use stay in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM of the certificate chain cannot be read, or holds no certificate.
    #[error("cannot read the certificate chain")]
    Certificates(#[source] pem::Error),
    /// The PEM of the private key cannot be read, or holds no key.
    #[error("cannot read the private key")]
    PrivateKey(#[source] pem::Error),
    /// The PEM of the client CA cannot be read, or holds no certificate.
    #[error("cannot read the client CA")]
    ClientCa(#[source] pem::Error),
    /// The client CA is not usable as a trust anchor.
    #[error("cannot trust the client CA")]
    ClientTrust(#[source] rustls::server::VerifierBuilderError),
    /// The certificate and the key do not fit together, or a certificate is invalid.
    #[error("certificate and key cannot be used")]
    Config(#[source] rustls::Error),
}

/// PEM material for one configuration of the server's TLS.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// The server's certificate chain, end entity first.
    pub certificates: Vec<u8>,
    /// The private key of the first certificate.
    pub private_key: Vec<u8>,
    /// If given, clients must present a certificate that this CA (or these CAs) issued.
    pub client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles").field("client_ca", &self.client_ca.is_some()).finish_non_exhaustive()
    }
}

/// The server's TLS. Clones share one configuration: [`Tls::reload`] on any of them changes what new connections
/// see, and leaves the established ones alone.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Builds the configuration (TLS 1.2 and 1.3, ALPN `h2`).
    pub fn new(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { config: Arc::new(RwLock::new(Arc::new(server_config(files)?))) })
    }

    /// Uses other certificates, and another client CA, for connections from now on. On an error nothing changes.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let config = Arc::new(server_config(files)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The configuration for a connection that begins now.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&files.certificates).map_err(TlsError::Certificates)?;
    let key = PrivateKeyDer::from_pem_slice(&files.private_key).map_err(TlsError::PrivateKey)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem).map_err(TlsError::ClientCa)? {
                roots.add(certificate).map_err(TlsError::Config)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(TlsError::ClientTrust)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Config)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}
