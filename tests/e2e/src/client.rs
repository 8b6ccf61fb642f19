//! HTTP clients: one call at a time, and kept connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::backend::Seen;
use crate::tls::ClientTls;

/// A request that takes longer than this has failed.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The HTTP version that a client speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, by ALPN over TLS and with prior knowledge without.
    Http2,
}

/// One request, to a port on loopback if nothing else is said.
#[derive(Clone, Debug)]
pub struct Call {
    address: SocketAddr,
    host: String,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    protocol: Protocol,
    tls: Option<ClientTls>,
}

impl Call {
    /// `GET path` for `host` (the Host header or `:authority`, sent as it is).
    pub fn get(port: u16, host: &str, path: &str) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            host: host.to_owned(),
            method: Method::GET,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            protocol: Protocol::Http1,
            tls: None,
        }
    }

    /// To another address than loopback.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.parse().unwrap();
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: &str) -> Self {
        self.body = Bytes::from(body.to_owned());
        self
    }

    /// With a body that need not be text.
    #[must_use]
    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.body = Bytes::copy_from_slice(body);
        self
    }

    /// Over HTTP/2.
    #[must_use]
    pub fn h2(mut self) -> Self {
        self.protocol = Protocol::Http2;
        self
    }

    /// Over TLS.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Opens a connection for this call and later ones like it.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.address, self.protocol, self.tls.as_ref()).await
    }

    /// Sends the request on a connection of its own.
    pub async fn send(&self) -> anyhow::Result<Answer> {
        let mut connection = self.connect().await?;
        connection.send(self).await
    }

    fn request(&self) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut builder = Request::builder().method(self.method.clone());
        builder = match self.protocol {
            Protocol::Http1 => builder.uri(self.path.parse::<Uri>()?).header(header::HOST, &self.host),
            Protocol::Http2 => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                builder.uri(format!("{scheme}://{}{}", self.host, self.path).parse::<Uri>()?)
            }
        };
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        Ok(builder.body(Full::new(self.body.clone()))?)
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, host, path, address, protocol, headers, tls, .. } = self;
        let scheme = if tls.is_some() { "https" } else { "http" };
        write!(f, "{method} {scheme}://{host}{path} at {address} ({protocol:?}, headers {headers:?})")
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What a TLS handshake says of the server.
#[derive(Default)]
struct Peer {
    certificate: Option<Vec<u8>>,
    resumed: bool,
    version: Option<String>,
    cipher: Option<String>,
}

/// One kept connection.
pub struct Connection {
    sender: Sender,
    peer: Peer,
    driver: tokio::task::JoinHandle<()>,
}

impl Connection {
    async fn open(address: SocketAddr, protocol: Protocol, tls: Option<&ClientTls>) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls else { return Self::handshake(stream, protocol, Peer::default()).await };
        let alpn: &[u8] = match protocol {
            Protocol::Http1 => b"http/1.1",
            Protocol::Http2 => b"h2",
        };
        let connector = TlsConnector::from(tls.shared_config(alpn));
        let stream = tokio::time::timeout(TIMEOUT, connector.connect(tls.name(), stream))
            .await
            .context("the TLS handshake timed out")?
            .context("the TLS handshake failed")?;
        let state = stream.get_ref().1;
        if protocol == Protocol::Http2 && state.alpn_protocol() != Some(b"h2") {
            bail!("the server did not choose h2");
        }
        let peer = Peer {
            certificate: state.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec()),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            version: state.protocol_version().map(|version| format!("{version:?}")),
            cipher: state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
        };
        Self::handshake(stream, protocol, peer).await
    }

    async fn handshake(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
        peer: Peer,
    ) -> anyhow::Result<Self> {
        let io = TokioIo::new(stream);
        let (sender, driver) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                (Sender::Http2(sender), tokio::spawn(async move { drop(connection.await) }))
            }
        };
        Ok(Self { sender, peer, driver })
    }

    /// Sends `call` (its method, host, path, headers and body) on this connection.
    pub async fn send(&mut self, call: &Call) -> anyhow::Result<Answer> {
        let request = call.request()?;
        let exchange = async {
            let response = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            Answer::read(response).await
        };
        let mut answer = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .with_context(|| format!("no answer within {TIMEOUT:?}"))??;
        answer.peer_certificate.clone_from(&self.peer.certificate);
        answer.resumed = self.peer.resumed;
        answer.tls_version.clone_from(&self.peer.version);
        answer.cipher_suite.clone_from(&self.peer.cipher);
        Ok(answer)
    }

    /// Whether the server has closed the connection or is about to.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The leaf certificate of the server, in DER.
    pub peer_certificate: Option<Vec<u8>>,
    /// Whether the TLS handshake resumed an earlier session.
    pub resumed: bool,
    /// The version of TLS, such as `TLSv1_3`.
    pub tls_version: Option<String>,
    /// The cipher suite of TLS.
    pub cipher_suite: Option<String>,
}

impl Answer {
    /// Fails unless the status is 200, with what the answer says instead.
    pub fn ok(&self) -> Result<(), String> {
        match self.status {
            200 => Ok(()),
            status => Err(format!("status {status}: {}", String::from_utf8_lossy(&self.body))),
        }
    }

    async fn read(response: http::Response<Incoming>) -> anyhow::Result<Self> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.context("the body broke off")?.to_bytes();
        Ok(Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            peer_certificate: None,
            resumed: false,
            tls_version: None,
            cipher_suite: None,
        })
    }

    /// The request as the backend saw it, where an echo backend answered.
    pub fn seen(&self) -> Option<Seen> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The name of the backend that answered, or the empty string.
    pub fn backend(&self) -> String {
        self.seen().map(|it| it.backend).unwrap_or_default()
    }

    /// All values of a header joined by `,`, or `None` when it is absent.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
            .collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends `bytes` as they are to a port on loopback, and returns what comes back until `enough` says
/// so or the server closes: for requests that a well-behaved client cannot send.
pub async fn raw(port: u16, bytes: &[u8], enough: impl Fn(&[u8]) -> bool) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(bytes).await?;
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    let read = async {
        while !enough(&all) {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::time::timeout(TIMEOUT, read).await.context("no answer in time")??;
    Ok(all)
}
