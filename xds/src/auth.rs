//! Who may read which snapshot.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

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

/// The reason to refuse a stream that says not who it is.
pub(crate) const NO_NODE: &str = "no_node";
/// The reason to refuse a stream of a node that has as many as it may.
pub(crate) const TOO_MANY_STREAMS: &str = "too_many_streams";

/// Why a stream is refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The reason in snake case, one of few, for the metrics.
    pub reason: &'static str,
    /// The status with which the stream ends.
    pub status: Status,
}

impl Refusal {
    /// Refuses with `code` for `reason`; the proxy is told `message`.
    pub fn new(reason: &'static str, code: Code, message: impl Into<String>) -> Self {
        Self { reason, status: Status::new(code, message) }
    }
}

/// Decides which snapshot a stream may read. Asked once per stream, with the first request.
#[tonic::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Answers what this peer may read and for how long, or why the stream is refused. `node_id` is what the
    /// proxy claims to be, never empty; `metadata` are the headers of the stream (for example `authorization`). Refused
    /// streams are counted; whoever refuses one says why in the log.
    async fn authenticate(
        &self,
        peer: &Peer,
        metadata: &MetadataMap,
        node_id: &str,
    ) -> Result<Admission, Refusal>;

    /// The reasons for which this one refuses streams, so that the metrics show them from the beginning.
    fn reasons(&self) -> &'static [&'static str] {
        &[]
    }
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
    ) -> Result<Admission, Refusal> {
        Ok(Admission::to(node_id))
    }
}
