//! A small backend for examples and tests: an HTTP/1.1 and HTTP/2 (h2c) server that answers what it was asked.
//!
//! The query of a request can ask for more than an echo:
//!
//! | query | effect |
//! |---|---|
//! | `status=503` | the status of the answer |
//! | `delay=200ms` | waits first (`ms`, `s`) |
//! | `fail=2` | 503 for the first two attempts of this request, told apart by `x-request-id` |
//! | `body=text` | answers this text instead of JSON |
//!
//! and a request header `x-echo-set-header: name: value` adds a header to the answer. A datagram to the UDP port of the same
//! number is answered with one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde::Serialize;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// The request header that sets headers of the answer.
const SET_HEADER: &str = "x-echo-set-header";

/// Bodies up to this size are read and echoed, in bytes.
const MAX_BODY: usize = 1 << 20;

/// The largest datagram there is, in bytes.
const MAX_DATAGRAM: usize = 1 << 16;

/// How many requests that are to fail are remembered at once.
const MAX_REMEMBERED: usize = 10_000;

/// An echo server to start: a name, and where it listens. Written `NAME=ADDR:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoSpec {
    /// The name that the server answers with.
    pub name: String,
    /// Where it listens; port 0 picks a free one.
    pub address: SocketAddr,
}

/// Text that is not `NAME=ADDR:PORT`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected NAME=ADDR:PORT, such as red=127.0.0.1:3001")]
pub struct InvalidEchoSpec;

impl FromStr for EchoSpec {
    type Err = InvalidEchoSpec;

    fn from_str(text: &str) -> Result<Self, InvalidEchoSpec> {
        let (name, address) = text.split_once('=').ok_or(InvalidEchoSpec)?;
        let address = address.parse().map_err(|_| InvalidEchoSpec)?;
        if name.is_empty() { Err(InvalidEchoSpec) } else { Ok(Self { name: name.to_owned(), address }) }
    }
}

/// A running echo server. It ends when this is dropped.
#[derive(Debug)]
pub struct Echo {
    name: String,
    address: SocketAddr,
    state: Arc<State>,
    _connections: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    name: String,
    count: AtomicU64,
    attempts: Mutex<BTreeMap<String, u64>>,
}

/// What the server answers to a datagram.
#[derive(Serialize)]
struct DatagramAnswer<'a> {
    name: &'a str,
    count: u64,
    body: &'a str,
}

/// What the server answers.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    /// The number of this request, counted from 1 since the server started, datagrams included.
    count: u64,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    host: &'a str,
    protocol: &'static str,
    /// Values of one name are joined by `, `.
    headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
}

impl Echo {
    /// Starts the server.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn start(spec: &EchoSpec) -> io::Result<Self> {
        let listener = TcpListener::bind(spec.address).await?;
        let address = listener.local_addr()?;
        let state =
            Arc::new(State { name: spec.name.clone(), count: AtomicU64::new(0), attempts: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, state.clone()));
        match UdpSocket::bind(address).await {
            Ok(socket) => {
                tasks.spawn(answer_datagrams(socket, state.clone()));
            }
            // Another program has the port for UDP; requests are answered all the same.
            Err(error) => tracing::warn!(%address, %error, "the echo server takes no datagrams"),
        }
        Ok(Self { name: spec.name.clone(), address, state, _connections: tasks })
    }

    /// The name that it answers with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests and datagrams it has got.
    pub fn count(&self) -> u64 {
        self.state.count.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, which ends the connections too.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers must not wait for acknowledgements; without it they are only slower.
                    let _ = stream.set_nodelay(true);
                    let state = state.clone();
                    connections.spawn(async move {
                        let service = hyper::service::service_fn(|request| answer(state.clone(), request));
                        let io = TokioIo::new(stream);
                        if let Err(error) = auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await {
                            tracing::debug!(%error, "echo connection");
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: some will come back.
                    tracing::warn!(%error, "echo server cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn answer_datagrams(socket: UdpSocket, state: Arc<State>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let body = std::str::from_utf8(&buffer[..length]).unwrap_or("(not text)");
                let count = state.count.fetch_add(1, Ordering::Relaxed) + 1;
                // Strings and numbers always serialise.
                let mut text = serde_json::to_vec(&DatagramAnswer { name: &state.name, count, body })
                    .unwrap_or_default();
                text.push(b'\n');
                if let Err(error) = socket.send_to(&text, from).await {
                    tracing::debug!(%error, %from, "echo datagram");
                }
            }
            // An earlier answer did not arrive, as the kernel tells some time later.
            Err(error) => tracing::debug!(%error, "echo datagram"),
        }
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let count = state.count.fetch_add(1, Ordering::Relaxed) + 1;
    let (head, body) = request.into_parts();
    let wishes = Wishes::of(&head.uri);
    if let Some(delay) = wishes.delay {
        tokio::time::sleep(delay).await;
    }
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let text = format!("cannot read the request: {error}\n");
            return Ok(respond(StatusCode::BAD_REQUEST, "text/plain", text.into()));
        }
    };

    let mut status = wishes.status;
    if wishes.fail > 0 {
        let id =
            head.headers.get("x-request-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
        if state.attempt(&id.unwrap_or_else(|| head.uri.to_string()), wishes.fail) {
            status = StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    let mut headers: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str())
            .and_modify(|all| *all = format!("{all}, {value}"))
            .or_insert(value.into_owned());
    }
    let host = head.uri.authority().map(hyper::http::uri::Authority::as_str);
    let mut response = if let Some(text) = wishes.body {
        respond(status, "text/plain; charset=utf-8", text.into())
    } else {
        let answer = Answer {
            name: &state.name,
            count,
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query(),
            host: host.or_else(|| headers.get("host").map(String::as_str)).unwrap_or_default(),
            protocol: match head.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            headers: headers
                .iter()
                .filter(|(name, _)| **name != HOST.as_str())
                .map(|(n, v)| (*n, v.clone()))
                .collect(),
            body: std::str::from_utf8(&body).unwrap_or("(not text)"),
        };
        // Strings and numbers always serialise.
        let mut text = serde_json::to_vec_pretty(&answer).unwrap_or_default();
        text.push(b'\n');
        respond(status, "application/json", text.into())
    };
    for wish in head.headers.get_all(SET_HEADER) {
        let Some((name, value)) = wish.to_str().ok().and_then(|text| text.split_once(':')) else { continue };
        if let (Ok(name), Ok(value)) =
            (name.trim().parse::<HeaderName>(), HeaderValue::from_str(value.trim()))
        {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

impl State {
    /// Counts an attempt of the request `id`; true if it is one of the first `fail`.
    fn attempt(&self, id: &str, fail: u64) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if attempts.len() >= MAX_REMEMBERED {
            attempts.clear();
        }
        let count = attempts.entry(id.to_owned()).or_default();
        *count += 1;
        let fails = *count <= fail;
        if !fails {
            attempts.remove(id);
        }
        fails
    }
}

/// What the query of a request asks for.
#[derive(Debug, PartialEq)]
struct Wishes {
    status: StatusCode,
    delay: Option<Duration>,
    fail: u64,
    body: Option<String>,
}

impl Wishes {
    fn of(uri: &Uri) -> Self {
        let mut wishes = Self { status: StatusCode::OK, delay: None, fail: 0, body: None };
        for pair in uri.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "status" => wishes.status = value.parse().unwrap_or(StatusCode::OK),
                "delay" => wishes.delay = duration(value),
                "fail" => wishes.fail = value.parse().unwrap_or(0),
                "body" => wishes.body = Some(percent_decoded(value)),
                _ => {}
            }
        }
        wishes
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

fn percent_decoded(text: &str) -> String {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        rest = after;
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                rest = &after[2..];
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_wishes() {
        let uri = "/x?status=503&delay=200ms&fail=2&body=a%20b+c%2".parse().expect("a valid URI");
        let wanted = Wishes {
            status: StatusCode::SERVICE_UNAVAILABLE,
            delay: Some(Duration::from_millis(200)),
            fail: 2,
            body: Some("a b c%2".to_owned()),
        };
        assert_eq!(Wishes::of(&uri), wanted);
    }

    #[test]
    fn reads_specs() {
        let spec: EchoSpec = "red=127.0.0.1:3001".parse().expect("a valid spec");
        assert_eq!((spec.name.as_str(), spec.address.port()), ("red", 3001));
        for text in ["red", "=127.0.0.1:1", "red=3001", "red=localhost:1"] {
            assert_eq!(text.parse::<EchoSpec>(), Err(InvalidEchoSpec), "{text}");
        }
    }

    #[tokio::test]
    async fn answers_datagrams() {
        let spec = EchoSpec { name: "red".to_owned(), address: ([127, 0, 0, 1], 0).into() };
        let echo = Echo::start(&spec).await.expect("a free port");
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let mut buffer = [0; 100];
        for (body, wanted) in [
            (&b"hello"[..], "{\"name\":\"red\",\"count\":1,\"body\":\"hello\"}\n"),
            (&[0xff], "{\"name\":\"red\",\"count\":2,\"body\":\"(not text)\"}\n"),
        ] {
            socket.send_to(body, echo.address()).await.expect("a datagram");
            let answer = tokio::time::timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await;
            let length = answer.expect("an answer").expect("a datagram");
            assert_eq!(std::str::from_utf8(&buffer[..length]), Ok(wanted));
        }
        assert_eq!(echo.count(), 2);
    }

    #[test]
    fn fails_the_first_attempts_of_each_request() {
        let state = State { name: String::new(), count: AtomicU64::new(0), attempts: Mutex::default() };
        let tries: Vec<_> =
            ["a", "b", "a", "a", "b", "b", "a"].iter().map(|id| state.attempt(id, 2)).collect();
        assert_eq!(tries, [true, true, true, false, true, false, true]);
    }
}
