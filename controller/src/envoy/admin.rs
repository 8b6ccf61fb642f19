//! The admin interface of an Envoy.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::bootstrap::Address;

/// How long a question to the admin interface may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A client of one Envoy's admin interface.
#[derive(Clone, Debug)]
pub struct Admin {
    address: Address,
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody listens.
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    /// The conversation broke.
    #[error("no answer: {0}")]
    Http(#[source] hyper::Error),
    /// It took too long.
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
}

impl Admin {
    /// A client of the admin interface at `address`.
    pub fn new(address: Address) -> Self {
        Self { address }
    }

    /// Where the admin interface listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// True if Envoy says that it is ready to serve.
    pub async fn is_ready(&self) -> bool {
        matches!(self.call(Method::GET, "/ready").await, Ok((StatusCode::OK, _)))
    }

    /// Fetches `path`.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        self.call(Method::GET, path).await
    }

    /// Posts to `path`.
    pub async fn post(&self, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        self.call(Method::POST, path).await
    }

    /// How many requests are being served now; `None` if Envoy does not say.
    pub async fn active_requests(&self) -> Option<u64> {
        let (_, body) = self.get("/stats?filter=downstream_rq_active").await.ok()?;
        let text = String::from_utf8_lossy(&body);
        let lines = text.lines().filter(|line| !line.starts_with("http.admin."));
        Some(lines.filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok()).sum())
    }

    async fn call(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        let call = async {
            match &self.address {
                Address::Tcp(host, port) => {
                    let stream =
                        TcpStream::connect((host.as_str(), *port)).await.map_err(AdminError::Connect)?;
                    exchange(stream, method, path).await
                }
                Address::Unix(socket) => {
                    let stream = UnixStream::connect(socket).await.map_err(AdminError::Connect)?;
                    exchange(stream, method, path).await
                }
            }
        };
        tokio::time::timeout(TIMEOUT, call).await.map_err(|_| AdminError::Timeout)?
    }
}

/// Sends one request over `stream`, and reads the answer.
pub(crate) async fn exchange<S>(
    stream: S,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), AdminError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(AdminError::Http)?;
    let request = async {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        // The paths are constants of this crate and of its tests.
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("admin"));
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    };
    tokio::pin!(request, connection);
    tokio::select! {
        answer = &mut request => answer,
        ended = &mut connection => match ended {
            Ok(()) => request.await,
            Err(error) => Err(error),
        },
    }
    .map_err(AdminError::Http)
}
