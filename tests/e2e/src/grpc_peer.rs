//! A gRPC service that knows no protocol: it notes who called it and how that ended, and answers as badly as it is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Before each message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What a peer does with a call once it has the first message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GrpcReply {
    /// Ends the call with this status, and sends nothing else.
    Status(u16),
    /// Sends an empty message, then the status OK.
    Done,
    /// Sends a message of so many bytes, and leaves the call open.
    Message(usize),
    /// Sends nothing, and leaves the call open.
    Silence,
    /// Refuses the call, as a server does that has not begun with it (`REFUSED_STREAM`, RFC 9113 section 8.7).
    Refusal,
}

/// A call that a peer got.
#[derive(Clone, Debug)]
pub struct GrpcCall {
    /// Service and method, with slashes.
    pub path: String,
    /// The `:authority`.
    pub authority: String,
    /// Headers by name.
    pub metadata: BTreeMap<String, String>,
    /// The first message.
    pub message: Bytes,
    /// How long it took from the first message until the caller gave up the call, if it did.
    pub given_up_after: Option<Duration>,
}

type Handler = dyn Fn(&GrpcCall) -> GrpcReply + Send + Sync;
type Log = Arc<Mutex<Vec<GrpcCall>>>;

/// A running service on loopback; it stops when dropped.
pub struct GrpcPeer {
    log: Log,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl GrpcPeer {
    /// A service whose `handler` decides on each call.
    pub async fn start(handler: impl Fn(&GrpcCall) -> GrpcReply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a gRPC service");
        let address = listener.local_addr().expect("address of a gRPC service");
        let log = Log::default();
        let task = tokio::spawn(accept(listener, Arc::new(handler), Arc::clone(&log)));
        Self { log, address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The calls that it got so far, oldest first.
    pub fn calls(&self) -> Vec<GrpcCall> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The calls for an authority.
    pub fn calls_for(&self, authority: &str) -> Vec<GrpcCall> {
        self.calls().into_iter().filter(|call| call.authority == authority).collect()
    }
}

impl Drop for GrpcPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, handler: Arc<Handler>, log: Log) {
    // Connections end with the task: dropping the set aborts them.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(serve(stream, Arc::clone(&handler), Arc::clone(&log)));
            }
        }
    }
}

async fn serve(stream: TcpStream, handler: Arc<Handler>, log: Log) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&handler), Arc::clone(&log)));
    let server = auto::Builder::new(TokioExecutor::new()).http2_only();
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    handler: Arc<Handler>,
    log: Log,
) -> Result<Response<Answer>, h2::Error> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = request.headers().iter();
    let mut call = GrpcCall {
        path: request.uri().path().to_owned(),
        authority: request.uri().authority().map(ToString::to_string).unwrap_or_default(),
        metadata: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
        message: Bytes::new(),
        given_up_after: None,
    };
    let mut body = request.into_body();
    call.message = first_message(&mut body).await;
    let reply = handler(&call);
    let index = {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(call);
        log.len() - 1
    };
    if reply == GrpcReply::Refusal {
        return Err(h2::Reason::REFUSED_STREAM.into());
    }
    let open = Open { log, index, since: Instant::now(), ended: false };
    let mut answer = Answer { message: None, end: None, open, _request: body };
    let mut status = None;
    match reply {
        GrpcReply::Status(code) => status = Some(HeaderValue::from(code)),
        GrpcReply::Done => {
            answer.message = Some(framed(0));
            answer.end = Some(HeaderValue::from(0));
        }
        GrpcReply::Message(length) => answer.message = Some(framed(length)),
        GrpcReply::Silence | GrpcReply::Refusal => std::future::pending().await,
    }
    answer.open.ended = status.is_some();
    let mut response = Response::new(answer);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(status) = status {
        response.headers_mut().insert("grpc-status", status);
    }
    Ok(response)
}

/// Reads until a message is there, or the call ends.
async fn first_message(body: &mut Incoming) -> Bytes {
    let mut read = BytesMut::new();
    loop {
        if let Some(prefix) = read.first_chunk::<PREFIX>() {
            let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
            if read.len() >= PREFIX + length {
                return read.split_off(PREFIX).split_to(length).freeze();
            }
        }
        match body.frame().await {
            Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(_)) | None => return Bytes::new(),
        }
    }
}

/// A message of `length` bytes that any reader of protocol buffers takes: one field that nobody knows.
fn framed(length: usize) -> Bytes {
    /// Number 1000, with a length (wire type 2).
    const KEY: [u8; 2] = [0xc2, 0x3e];
    let mut message = BytesMut::new();
    if length > 0 {
        // The length of the field in three bytes, whatever it is.
        let rest = length.checked_sub(KEY.len() + 3).expect("a message of five bytes or more");
        let septet = |shift: u32, more: u8| u8::try_from((rest >> shift) & 0x7f).unwrap() | more;
        message.put_slice(&KEY);
        message.put_slice(&[septet(0, 0x80), septet(7, 0x80), septet(14, 0)]);
        message.put_bytes(b'x', rest);
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put(message);
    framed.freeze()
}

/// The answer to a call.
struct Answer {
    message: Option<Bytes>,
    /// The status to end with; without it, and without a status in the headers, the call stays open.
    end: Option<HeaderValue>,
    open: Open,
    /// Dropping it would tell the caller to stop.
    _request: Incoming,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if let Some(status) = self.end.take() {
            self.open.ended = true;
            let trailers = HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), status)]);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if self.open.ended { Poll::Ready(None) } else { Poll::Pending }
    }

    fn is_end_stream(&self) -> bool {
        self.open.ended && self.message.is_none()
    }
}

/// A call that the service has not ended: dropped, the caller has given it up.
struct Open {
    log: Log,
    index: usize,
    since: Instant,
    ended: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log[self.index].given_up_after = Some(self.since.elapsed());
        }
    }
}
