//! Who may read which snapshot.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// What the transport knows about the other end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The remote address; `None` on Unix sockets and in-memory connections.
    pub address: Option<SocketAddr>,
    /// The certificate chain that the peer presented and that the client CA verified, end entity first; empty
    /// without TLS, and without a client certificate.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// What an authenticated stream may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The key of the snapshot that it may read (see [`Hub::publish`](crate::Hub::publish)).
    pub node: String,
    /// Which of the proxies of that node this is, as far as the authenticator knows; for people.
    pub name: Option<String>,
    /// When the stream ends, without an error, so that the proxy has to be authenticated again. It loses
    /// nothing by that: the next stream goes on with what the proxy holds.
    pub until: Option<Instant>,
}

impl Admission {
    /// Admits to the snapshot `node` for as long as the stream lasts.
    pub fn to(node: impl Into<String>) -> Self {
        Self { node: node.into(), name: None, until: None }
    }
}

/// Decides which snapshot a stream may read. Asked once per stream, with the first request.
#[tonic::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Answers what this peer may read and for how long, or the status with which the stream ends. `node_id` is what the
    /// proxy claims to be, never empty; `metadata` are the headers of the stream (for example `authorization`). Refused
    /// streams are counted; whoever refuses one says why in the log.
    async fn authenticate(
        &self,
        peer: &Peer,
        metadata: &MetadataMap,
        node_id: &str,
    ) -> Result<Admission, Status>;
}

/// Believes every peer what it claims. For loopback and for Unix sockets, whose reach is the authentication.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

#[tonic::async_trait]
impl Authenticator for AllowAll {
    async fn authenticate(
        &self,
        _peer: &Peer,
        _metadata: &MetadataMap,
        node_id: &str,
    ) -> Result<Admission, Status> {
        Ok(Admission::to(node_id))
    }
}
