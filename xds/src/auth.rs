//! Who may read which snapshot.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
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

/// Decides which snapshot a stream may read. Asked once per stream, with the first request.
#[tonic::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Answers the key of the snapshot (see [`Hub::publish`](crate::Hub::publish)) that this peer may read, or the
    /// status with which the stream ends. `node_id` is what the proxy claims to be, never empty; `metadata` are the
    /// headers of the stream (for example `authorization`).
    async fn authenticate(
        &self,
        peer: &Peer,
        metadata: &MetadataMap,
        node_id: &str,
    ) -> Result<String, Status>;
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
    ) -> Result<String, Status> {
        Ok(node_id.to_owned())
    }
}
