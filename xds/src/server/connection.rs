//! Accepted connections, plain or encrypted, behind one type.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::auth::Peer;
use crate::tls::Tls;

/// How many TLS handshakes run at the same time.
const CONCURRENT_HANDSHAKES: usize = 256;

/// The pause after a failed accept (out of file descriptors, usually), so that the loop does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection, ready for HTTP/2.
pub(super) struct Connection {
    transport: Box<dyn Transport>,
    peer: Peer,
}

impl Connection {
    pub(super) fn new(transport: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer) -> Self {
        Self { transport: Box::new(transport), peer }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}

/// Accepts TCP connections, and makes their TLS handshakes beside each other: a slow one delays nobody. The
/// listener closes when the stream is dropped.
pub(super) fn accept_tcp(
    listener: TcpListener,
    tls: Option<Tls>,
    handshake_timeout: Duration,
) -> impl Stream<Item = io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(1);
    let handshakes = Arc::new(Semaphore::new(CONCURRENT_HANDSHAKES));
    tokio::spawn(async move {
        loop {
            let incoming = tokio::select! {
                incoming = listener.accept() => incoming,
                () = accepted.closed() => return,
            };
            let (stream, address) = match incoming {
                Ok(incoming) => incoming,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let peer = Peer { address: Some(address), ..Peer::default() };
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%error, %address, "cannot set TCP_NODELAY");
            }
            let Some(tls) = &tls else {
                if accepted.send(Ok(Connection::new(stream, peer))).await.is_err() {
                    return;
                }
                continue;
            };
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let acceptor = TlsAcceptor::from(tls.current());
            let accepted = accepted.clone();
            tokio::spawn(async move {
                match timeout(handshake_timeout, handshake(acceptor, stream, peer)).await {
                    Ok(Ok(connection)) => {
                        let _ = accepted.send(Ok(connection)).await;
                    }
                    Ok(Err(error)) => debug!(%error, %address, "TLS handshake failed"),
                    Err(_) => debug!(%address, "TLS handshake timed out"),
                }
                drop(permit);
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, peer: Peer) -> io::Result<Connection> {
    let stream = acceptor.accept(stream).await?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().into();
    Ok(Connection::new(stream, Peer { certificates, tls: true, ..peer }))
}

/// Accepts connections on a Unix socket. The listener closes when the stream is dropped.
pub(super) fn accept_unix(listener: UnixListener) -> impl Stream<Item = io::Result<Connection>> {
    futures::stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((Ok(Connection::new(stream, Peer::default())), listener)),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    })
}
