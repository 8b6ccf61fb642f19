//! Echo backends: they tell what they received, and keep it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::tls::{Authority, Certificate};

/// One request as a backend saw it; the body of an echo answer is this in JSON.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Seen {
    /// The name of the backend.
    pub backend: String,
    /// The request method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The authority (HTTP/2) or the Host header (HTTP/1.1).
    pub host: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Values by lower-case name, in the order of arrival.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The request body, when it is UTF-8.
    pub body: String,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// The application protocol that the TLS handshake agreed on.
    pub alpn: Option<String>,
    /// The version of TLS, such as `TLSv1_3`.
    pub tls_version: Option<String>,
    /// The certificate that the client showed, in DER.
    pub client_certificate: Option<Vec<u8>>,
}

impl Seen {
    /// All values of a header joined by `,`, or `None` when it is absent.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|values| values.join(","))
    }
}

/// What a backend does with a request.
#[derive(Clone, Debug, Default)]
pub enum Reply {
    /// 200 with the request in JSON.
    #[default]
    Echo,
    /// The request in JSON with another status.
    Status(u16),
    /// 200 with the request in JSON and these headers.
    Headers(Vec<(&'static str, &'static str)>),
    /// A status, headers and a body.
    Raw(u16, Vec<(&'static str, &'static str)>, Bytes),
    /// An echo after a delay.
    After(Duration),
    /// Closes the connection after the request was read, without an answer.
    Reset,
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

struct Inner {
    name: String,
    handler: Box<Handler>,
    log: Mutex<Vec<Seen>>,
}

/// A running echo server on loopback. It speaks HTTP/1.1, HTTP/2 with prior knowledge and upgraded
/// protocols (which it echoes byte by byte), and stops when dropped.
pub struct Backend {
    inner: Arc<Inner>,
    address: SocketAddr,
    acceptor: Arc<Mutex<Option<TlsAcceptor>>>,
    task: JoinHandle<()>,
}

/// Any port of loopback.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Backend {
    /// An echo server named `name`.
    pub async fn start(name: &str) -> Self {
        Self::replying(name, |_| Reply::Echo).await
    }

    /// A server whose `handler` decides on each request.
    pub async fn replying(name: &str, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(name, LOOPBACK, Box::new(handler), None).await
    }

    /// An echo server at an address of its own, such as 127.0.0.2.
    pub async fn at(name: &str, address: SocketAddr) -> Self {
        Self::launch(name, address, Box::new(|_| Reply::Echo), None).await
    }

    /// An echo server that terminates TLS with `certificate`.
    pub async fn tls(name: &str, certificate: &Certificate) -> Self {
        Self::launch(name, LOOPBACK, Box::new(|_| Reply::Echo), Some(acceptor(certificate, None))).await
    }

    /// An echo server that terminates TLS with `certificate` and refuses clients without a certificate of `clients`.
    pub async fn mutual_tls(name: &str, certificate: &Certificate, clients: &Authority) -> Self {
        Self::launch(name, LOOPBACK, Box::new(|_| Reply::Echo), Some(acceptor(certificate, Some(clients))))
            .await
    }

    /// Shows another certificate in handshakes to come.
    pub fn renew(&self, certificate: &Certificate, clients: Option<&Authority>) {
        *self.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor(certificate, clients));
    }

    async fn launch(
        name: &str,
        address: SocketAddr,
        handler: Box<Handler>,
        acceptor: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("bind a backend");
        let address = listener.local_addr().expect("address of a backend");
        let inner = Arc::new(Inner { name: name.to_owned(), handler, log: Mutex::default() });
        let acceptor = Arc::new(Mutex::new(acceptor));
        let task = tokio::spawn(accept(listener, Arc::clone(&inner), Arc::clone(&acceptor)));
        Self { inner, address, acceptor, task }
    }

    /// The name that its answers carry.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests received so far, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of requests whose path and query contain `part`.
    pub fn count(&self, part: &str) -> usize {
        self.inner
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|it| it.path.contains(part))
            .count()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(certificate: &Certificate, clients: Option<&Authority>) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(certificate.server_config(clients)))
}

async fn accept(listener: TcpListener, inner: Arc<Inner>, acceptor: Arc<Mutex<Option<TlsAcceptor>>>) {
    // Connections end with the task: dropping the set aborts them.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let acceptor = acceptor.lock().unwrap_or_else(PoisonError::into_inner).clone();
                connections.spawn(serve(stream, Arc::clone(&inner), acceptor));
            }
        }
    }
}

async fn serve(stream: TcpStream, inner: Arc<Inner>, acceptor: Option<TlsAcceptor>) {
    let _ = stream.set_nodelay(true);
    let server = auto::Builder::new(TokioExecutor::new());
    if let Some(acceptor) = acceptor {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let state = stream.get_ref().1;
        let seen = Seen {
            sni: state.server_name().map(ToOwned::to_owned),
            alpn: state.alpn_protocol().map(|it| String::from_utf8_lossy(it).into_owned()),
            tls_version: state.protocol_version().map(|it| format!("{it:?}")),
            client_certificate: state.peer_certificates().and_then(|it| it.first()).map(|it| it.to_vec()),
            ..Seen::default()
        };
        let service = service_fn(move |request| answer(request, Arc::clone(&inner), seen.clone()));
        let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    } else {
        let service = service_fn(move |request| answer(request, Arc::clone(&inner), Seen::default()));
        let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    }
}

async fn answer(
    mut request: Request<Incoming>,
    inner: Arc<Inner>,
    handshake: Seen,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let mut seen = Seen {
        backend: inner.name.clone(),
        method: request.method().to_string(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        host: match request.uri().authority() {
            Some(authority) => authority.to_string(),
            None => text(request.headers().get(header::HOST)),
        },
        version: format!("{:?}", request.version()),
        ..handshake
    };
    for (name, value) in request.headers() {
        seen.headers.entry(name.to_string()).or_default().push(text(Some(value)));
    }
    if upgrade.is_none() {
        let body = request.body_mut().collect().await.map_err(std::io::Error::other)?.to_bytes();
        seen.body = String::from_utf8_lossy(&body).into_owned();
    }
    inner.log.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());

    if let Some(protocol) = upgrade {
        tokio::spawn(async move {
            let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(header::UPGRADE, protocol);
        return Ok(response);
    }

    let mut status = StatusCode::OK;
    let mut extra = Vec::new();
    let mut raw = None;
    match (inner.handler)(&seen) {
        Reply::Echo => {}
        Reply::Status(code) => status = StatusCode::from_u16(code).unwrap(),
        Reply::Headers(headers) => extra = headers,
        Reply::Raw(code, headers, body) => {
            (status, extra, raw) = (StatusCode::from_u16(code).unwrap(), headers, Some(body));
        }
        Reply::After(delay) => tokio::time::sleep(delay).await,
        Reply::Reset => return Err(std::io::Error::other("the test asked for a reset")),
    }
    let echo = raw.is_none();
    let body = raw.unwrap_or_else(|| serde_json::to_vec(&seen).unwrap_or_default().into());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    if echo {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in extra {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    Ok::<_, Infallible>(response).map_err(|never| match never {})
}

fn text(value: Option<&HeaderValue>) -> String {
    value.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()).unwrap_or_default()
}
