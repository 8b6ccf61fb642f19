//! The tonic shell: connections, TLS, the two methods of the service, and an orderly end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use futures::Stream;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use crate::auth::{AllowAll, Authenticator, Peer};
use crate::hub::Hub;
use crate::session::{self, Context, Protocol};
use crate::sotw;
use crate::state;
use crate::tls::Tls;
use crate::wire::{PushCodec, SotwCodec};

mod connection;

use connection::Connection;

/// Why serving ended before it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve xDS")]
pub struct ServerError(#[source] tonic::transport::Error);

/// The server's limits and intervals.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// How long routes and listeners wait for a proxy to take the clusters and endpoints that they need. Envoy
    /// itself gives up on an answer that does not come after 15 s.
    pub wait_timeout: Duration,
    /// How long a cluster that nothing refers to any more stays with the proxy at least, for the requests that began when something
    /// did; twice that at most. Envoy's own limit of a request is 15 s (`RouteAction.timeout`).
    pub cluster_linger: Duration,
    /// How long a proxy may leave the connection unread while there is something to send, before its stream ends.
    pub stall_timeout: Duration,
    /// The size, in bytes, above which a response is split into several.
    pub max_response_bytes: usize,
    /// The largest request, in bytes. A reconnecting proxy lists everything that it holds.
    pub max_request_bytes: usize,
    /// How many streams one node may have (replicas of one proxy share a node).
    pub max_streams_per_node: usize,
    /// HTTP/2 pings on a connection without traffic.
    pub keepalive_interval: Duration,
    /// How long the answer to a ping may take.
    pub keepalive_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// At shutdown: the time from GOAWAY to the end of the streams.
    pub drain_delay: Duration,
    /// At shutdown: how long to wait for the connections to close after that.
    pub drain_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            wait_timeout: Duration::from_secs(5),
            cluster_linger: Duration::from_secs(15),
            stall_timeout: Duration::from_mins(1),
            max_response_bytes: state::DEFAULT_MAX_RESPONSE_BYTES,
            max_request_bytes: 64 << 20,
            max_streams_per_node: 4096,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            drain_delay: Duration::from_millis(100),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves what a [`Hub`] holds as `envoy.service.discovery.v3.AggregatedDiscoveryService`: delta, and state of the
/// world for clients that know nothing else. A clone serves the same hub on another listener.
#[derive(Clone)]
pub struct Server {
    hub: Hub,
    authenticator: Arc<dyn Authenticator>,
    options: ServerOptions,
    tls: Option<Tls>,
}

impl Server {
    /// A server without TLS that believes its peers ([`AllowAll`]).
    pub fn new(hub: Hub) -> Self {
        Self { hub, authenticator: Arc::new(AllowAll), options: ServerOptions::default(), tls: None }
    }

    /// Asks this authenticator about every stream.
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.hub.announce(authenticator.reasons());
        self.authenticator = authenticator;
        self
    }

    /// Encrypts TCP connections. Keep a clone of `tls` to reload the certificates.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Uses other limits and intervals.
    #[must_use]
    pub fn with_options(mut self, options: ServerOptions) -> Self {
        self.options = options;
        self
    }

    /// Serves a TCP listener until `shutdown` completes and the connections are drained: no new connections, GOAWAY,
    /// then the streams end, so that proxies reconnect to another replica.
    pub async fn serve_tcp(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        if let Ok(address) = listener.local_addr() {
            info!(%address, tls = self.tls.is_some(), "serving xDS");
        }
        let connections = connection::accept_tcp(listener, self.tls.clone(), self.options.handshake_timeout);
        self.serve_connections(connections, shutdown).await
    }

    /// Serves a Unix socket, like [`Server::serve_tcp`] but never with TLS.
    pub async fn serve_unix(
        self,
        listener: UnixListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        self.serve_connections(connection::accept_unix(listener), shutdown).await
    }

    /// Serves connections that something else accepted (and encrypted, and authenticated).
    pub async fn serve_with_incoming<T>(
        self,
        incoming: impl Stream<Item = io::Result<(T, Peer)>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        use futures::TryStreamExt;
        let connections = incoming.map_ok(|(transport, peer)| Connection::new(transport, peer));
        self.serve_connections(connections, shutdown).await
    }

    async fn serve_connections(
        self,
        connections: impl Stream<Item = io::Result<Connection>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let (end_streams, drain) = watch::channel(false);
        let (go_away, signal) = oneshot::channel::<()>();
        let options = self.options.clone();
        let service = Service {
            context: Context {
                hub: self.hub,
                authenticator: self.authenticator,
                options: self.options,
                drain,
            },
        };
        let mut serving = pin!(
            tonic::transport::Server::builder()
                .http2_keepalive_interval(Some(options.keepalive_interval))
                .http2_keepalive_timeout(Some(options.keepalive_timeout))
                .serve_with_incoming_shutdown(service, connections, async {
                    let _ = signal.await;
                })
        );
        tokio::select! {
            ended = &mut serving => return ended.map_err(ServerError),
            () = shutdown => {}
        }
        debug!("draining");
        let _ = go_away.send(());
        if let Ok(ended) = timeout(options.drain_delay, &mut serving).await {
            return ended.map_err(ServerError);
        }
        let _ = end_streams.send(true);
        timeout(options.drain_timeout, serving)
            .await
            .unwrap_or_else(|_| {
                warn!(timeout = ?options.drain_timeout, "connections are still open; leaving them");
                Ok(())
            })
            .map_err(ServerError)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("hub", &self.hub)
            .field("options", &self.options)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// The gRPC service, written out (rather than generated) for its codec: responses are encoded straight from the
/// shared resources into the connection's buffer.
#[derive(Clone)]
struct Service {
    context: Context,
}

impl NamedService for Service {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const STATE_OF_THE_WORLD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let context = self.context.clone();
        Box::pin(async move {
            let max = Some(context.options.max_request_bytes);
            Ok(match request.uri().path() {
                DELTA => {
                    let mut grpc = Grpc::new(PushCodec).apply_max_message_size_config(max, None);
                    grpc.streaming(Delta(context), request).await
                }
                STATE_OF_THE_WORLD => {
                    let mut grpc = Grpc::new(SotwCodec).apply_max_message_size_config(max, None);
                    grpc.streaming(StateOfTheWorld(context), request).await
                }
                _ => Status::unimplemented("unknown method").into_http(),
            })
        })
    }
}

struct Delta(Context);

impl StreamingService<DeltaDiscoveryRequest> for Delta {
    type Response = state::Push;
    type ResponseStream = Replies<state::Push>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let stream =
            state::Stream::new(state::Options { max_response_bytes: self.0.options.max_response_bytes });
        std::future::ready(Ok(open(stream, request, self.0.clone())))
    }
}

struct StateOfTheWorld(Context);

impl StreamingService<DiscoveryRequest> for StateOfTheWorld {
    type Response = sotw::Reply;
    type ResponseStream = Replies<sotw::Reply>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        std::future::ready(Ok(open(sotw::Stream::new(), request, self.0.clone())))
    }
}

/// Few, so that a proxy that does not read holds up its own stream and nothing else.
const REPLY_QUEUE: usize = 2;

fn open<P: Protocol>(
    protocol: P,
    request: Request<Streaming<P::Request>>,
    context: Context,
) -> Response<Replies<P::Reply>> {
    let (replies, stream) = mpsc::channel(REPLY_QUEUE);
    let (metadata, extensions, requests) = request.into_parts();
    let peer = extensions.get::<Peer>().cloned().unwrap_or_default();
    tokio::spawn(session::run(protocol, requests, replies, peer, metadata, context));
    Response::new(Replies(ReceiverStream::new(stream)))
}

/// The answers of one stream.
struct Replies<T>(ReceiverStream<Result<T, Status>>);

impl<T> Stream for Replies<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}
