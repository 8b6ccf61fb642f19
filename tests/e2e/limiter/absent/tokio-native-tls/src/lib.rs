//! The part of tokio-native-tls that the Redis client names. There is no TLS: making a connector fails.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use native_tls::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What begins connections; the one below cannot exist.
#[derive(Clone, Debug)]
pub struct TlsConnector(native_tls::TlsConnector);

impl From<native_tls::TlsConnector> for TlsConnector {
    fn from(none: native_tls::TlsConnector) -> Self {
        Self(none)
    }
}

impl TlsConnector {
    /// Begins a connection.
    ///
    /// # Errors
    ///
    /// Always.
    #[allow(clippy::unused_async)]
    pub async fn connect<S>(&self, name: &str, stream: S) -> Result<TlsStream<S>, Error> {
        self.0.connect(name, stream).and(Err(Error))
    }
}

/// A connection, of which there is none.
#[derive(Debug)]
pub struct TlsStream<S> {
    none: Infallible,
    stream: PhantomData<S>,
}

impl<S: Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.none {}
    }
}

impl<S: Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match self.none {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.none {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.none {}
    }
}
