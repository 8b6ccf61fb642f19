//! A server under test and a client that speaks like Envoy.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use hyper_util::rt::TokioIo;
use postern_xds::{Event, EventKind, Hub, Resource, ResourceType, Server, ServerError, Snapshot};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};

pub(crate) const NODE: &str = "default/gateway";

/// Long enough for a busy machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A server on loopback.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) events: broadcast::Receiver<Event>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    pub(crate) async fn start(configure: impl FnOnce(Server) -> Server) -> Self {
        let hub = Hub::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = configure(Server::new(hub.clone()));
        let task = tokio::spawn(server.serve_tcp(listener, async {
            let _ = stopped.await;
        }));
        let events = hub.subscribe_events();
        Self { address, hub, events, stop, task }
    }

    /// The next event of which this holds.
    pub(crate) async fn event(&mut self, what: &str, mut holds: impl FnMut(&Event) -> bool) -> Event {
        soon(what, async {
            loop {
                let event = self.events.recv().await.unwrap();
                if holds(&event) {
                    return event;
                }
            }
        })
        .await
    }

    pub(crate) async fn connected(&mut self) -> Event {
        self.event("a connection", |e| matches!(e.kind, EventKind::Connected)).await
    }

    pub(crate) async fn disconnected(&mut self) -> Event {
        self.event("a disconnection", |e| matches!(e.kind, EventKind::Disconnected)).await
    }

    pub(crate) async fn connect(&self) -> Envoy {
        Envoy::open(channel(self.address).await, &[]).await
    }

    /// Begins the shutdown; the task ends when it is complete.
    pub(crate) fn stop(self) -> JoinHandle<Result<(), ServerError>> {
        self.stop.send(()).unwrap();
        self.task
    }
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint::from_static("http://localhost")
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    let connector = tower::service_fn(move |_: Uri| async move {
        Ok::<_, std::io::Error>(TokioIo::new(TcpStream::connect(address).await?))
    });
    soon("the connection", endpoint().connect_with_connector(connector)).await.unwrap()
}

/// One delta ADS stream, from the proxy's side.
pub(crate) struct Envoy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    first: bool,
    pub(crate) bytes: usize,
}

impl Envoy {
    pub(crate) async fn open(channel: Channel, headers: &[(&'static str, &str)]) -> Self {
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let (requests, outgoing) = mpsc::channel(64);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let responses =
            soon("the stream", client.delta_aggregated_resources(request)).await.unwrap().into_inner();
        Self { requests, responses, first: true, bytes: 0 }
    }

    pub(crate) async fn send(&mut self, mut request: DeltaDiscoveryRequest) {
        if std::mem::take(&mut self.first) && request.node.is_none() {
            request.node = Some(Node { id: NODE.to_owned(), ..Node::default() });
        }
        self.requests.send(request).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, resource_type: ResourceType, names: &[&str]) {
        self.send(DeltaDiscoveryRequest {
            type_url: resource_type.type_url().to_owned(),
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn resume(
        &mut self,
        resource_type: ResourceType,
        held: impl Iterator<Item = (String, String)>,
    ) {
        self.send(DeltaDiscoveryRequest {
            type_url: resource_type.type_url().to_owned(),
            initial_resource_versions: held.collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    pub(crate) async fn result(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        let response = soon("a response", self.responses.message()).await?;
        self.bytes += response.as_ref().map_or(0, Message::encoded_len);
        Ok(response)
    }

    pub(crate) async fn response(&mut self) -> DeltaDiscoveryResponse {
        self.result().await.unwrap().expect("the stream goes on")
    }

    /// The next response, acknowledged.
    pub(crate) async fn take(&mut self) -> DeltaDiscoveryResponse {
        let response = self.response().await;
        self.ack(&response).await;
        response
    }
}

pub(crate) fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|r| r.name.as_str()).collect()
}

pub(crate) fn snapshot(resources: impl IntoIterator<Item = Arc<Resource>>) -> Snapshot {
    resources.into_iter().collect()
}
