//! One stream: the shell that feeds a protocol state machine and carries out what it says.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};
use tracing::{debug, warn};

use crate::auth::{Authenticator, NO_NODE, Peer, Refusal, TOO_MANY_STREAMS};
use crate::hub::{Attachment, Hub, count};
use crate::resource::ResourceType;
use crate::server::ServerOptions;
use crate::snapshot::Snapshot;
use crate::state::{Outcome, RequestError};

/// A protocol over the state machine: delta, or state of the world.
pub(crate) trait Protocol: Send + 'static {
    /// What the proxy sends.
    type Request: Send + 'static;
    /// What it is answered.
    type Reply: Reply;

    fn node(request: &Self::Request) -> Option<&Node>;
    fn on_request(
        &mut self,
        request: Self::Request,
        snapshot: &Snapshot,
    ) -> Result<Vec<Self::Reply>, RequestError>;
    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Self::Reply>;
    fn on_wait_expired(&mut self, snapshot: &Snapshot) -> Vec<Self::Reply>;
    fn waiting(&self) -> Option<u64>;
    fn on_linger_expired(&mut self, snapshot: &Snapshot) -> Vec<Self::Reply>;
    fn lingering(&self) -> Option<u64>;
    fn in_sync(&self) -> bool;
    fn held(&self) -> Snapshot;
    fn take_outcomes(&mut self) -> Vec<Outcome>;
}

/// An answer on its way to the transport.
pub(crate) trait Reply: Send + 'static {
    /// The type of the resources, if it is one that this server knows.
    fn resource_type(&self) -> Option<ResourceType>;
    /// How many resources it carries.
    fn resources(&self) -> usize;
    /// Its size in bytes on the wire, without frames.
    fn bytes(&self) -> usize;
}

/// What a stream needs besides its two directions.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) hub: Hub,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) options: ServerOptions,
    pub(crate) drain: watch::Receiver<bool>,
}

/// How long a stream may stay silent before its first request.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a stream to its end. The end is reported to the proxy as a status where there is one.
pub(crate) async fn run<P: Protocol>(
    protocol: P,
    requests: Streaming<P::Request>,
    replies: mpsc::Sender<Result<P::Reply, Status>>,
    peer: Peer,
    metadata: MetadataMap,
    context: Context,
) {
    let mut drain = context.drain.clone();
    let ended = tokio::select! {
        ended = serve(protocol, requests, &replies, peer, metadata, &context) => ended,
        () = replies.closed() => Ok(()),
        // Ending the stream makes the proxy reconnect, to another replica because of the GOAWAY before.
        _ = drain.wait_for(|draining| *draining) => Err(Status::unavailable("the server is shutting down")),
    };
    if let Err(status) = ended {
        // The proxy may be gone, or not reading: it is not worth waiting for.
        let _ = timeout(context.options.stall_timeout, replies.send(Err(status))).await;
    }
}

async fn serve<P: Protocol>(
    protocol: P,
    mut requests: Streaming<P::Request>,
    replies: &mpsc::Sender<Result<P::Reply, Status>>,
    peer: Peer,
    metadata: MetadataMap,
    context: &Context,
) -> Result<(), Status> {
    let counters = context.hub.counters();
    let first = timeout(FIRST_REQUEST_TIMEOUT, requests.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no request"))??;
    let Some(first) = first else { return Ok(()) };
    let node_id = P::node(&first).map_or("", |node| node.id.as_str());
    if node_id.is_empty() {
        warn!(peer = ?peer.address, "stream refused: the first request carries no node.id");
        counters.refused(NO_NODE);
        return Err(Status::invalid_argument("the first request must carry node.id"));
    }
    let admission = match context.authenticator.authenticate(&peer, &metadata, node_id).await {
        Ok(admission) => admission,
        Err(Refusal { reason, status }) => {
            counters.refused(reason);
            debug!(node = node_id, peer = ?peer.address, reason, code = ?status.code(), "stream refused");
            return Err(status);
        }
    };
    let until = admission.until;
    let limit = context.options.max_streams_per_node;
    let Some(attachment) = context.hub.attach(admission, peer.clone(), limit) else {
        warn!(node = node_id, peer = ?peer.address, limit, "stream refused: too many streams for this node");
        counters.refused(TOO_MANY_STREAMS);
        return Err(Status::resource_exhausted("too many streams for this node"));
    };
    let session = Session {
        protocol,
        replies,
        attachment,
        options: &context.options,
        hub: &context.hub,
        wait: Timer::new(context.options.wait_timeout),
        linger: Timer::new(context.options.cluster_linger),
    };
    let running = session.run(first, requests);
    match until {
        None => running.await,
        Some(until) => timeout_at(until, running).await.unwrap_or_else(|_| {
            count(&counters.streams_expired, 1);
            Ok(())
        }),
    }
}

struct Session<'a, P: Protocol> {
    protocol: P,
    replies: &'a mpsc::Sender<Result<P::Reply, Status>>,
    attachment: Attachment,
    options: &'a ServerOptions,
    hub: &'a Hub,
    wait: Timer,
    linger: Timer,
}

/// Runs out when the same thing was waited for during `period`.
struct Timer {
    period: Duration,
    running: Option<(u64, Instant)>,
}

impl Timer {
    fn new(period: Duration) -> Self {
        Self { period, running: None }
    }

    /// The clock starts anew when what is waited for changes, and goes on when it does not.
    fn wait_for(&mut self, what: Option<u64>) {
        self.running = match (what, self.running) {
            (None, _) => None,
            (Some(wait), Some((current, at))) if wait == current => Some((current, at)),
            (Some(wait), _) => Some((wait, Instant::now() + self.period)),
        };
    }

    fn expired(&self) -> impl Future<Output = ()> + use<> {
        let at = self.running.map(|(_, at)| at);
        async move {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl<P: Protocol> Session<'_, P> {
    async fn run(mut self, first: P::Request, mut requests: Streaming<P::Request>) -> Result<(), Status> {
        debug!(node = self.attachment.node(), stream = self.attachment.stream(), "stream opened");
        // Until the node is published nothing is answered: an empty answer would delete what the proxy serves. Its
        // further requests wait in the connection's flow-control window.
        let mut snapshots = self.attachment.snapshot.clone();
        let Ok(mut snapshot) =
            snapshots.wait_for(Option::is_some).await.map(|s| s.clone().unwrap_or_default())
        else {
            return Ok(());
        };
        self.request(first, &snapshot).await?;
        loop {
            let (wait, linger) = (pin!(self.wait.expired()), pin!(self.linger.expired()));
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    // A node that was removed keeps what it has.
                    let latest = snapshots.borrow_and_update().clone();
                    if let Some(latest) = latest {
                        snapshot = latest;
                        let replies = self.protocol.on_snapshot(&snapshot);
                        self.carry_out(replies).await?;
                    }
                }
                request = requests.message() => match request? {
                    Some(request) => self.request(request, &snapshot).await?,
                    None => return Ok(()),
                },
                () = wait => {
                    count(&self.hub.counters().waits_expired, 1);
                    warn!(
                        node = self.attachment.node(),
                        stream = self.attachment.stream(),
                        timeout = ?self.options.wait_timeout,
                        "gave up waiting for the proxy to take clusters, endpoints or listeners; going on without",
                    );
                    let replies = self.protocol.on_wait_expired(&snapshot);
                    self.carry_out(replies).await?;
                }
                () = linger => {
                    let replies = self.protocol.on_linger_expired(&snapshot);
                    self.carry_out(replies).await?;
                }
            }
        }
    }

    async fn request(&mut self, request: P::Request, snapshot: &Snapshot) -> Result<(), Status> {
        count(&self.hub.counters().requests, 1);
        let replies = self
            .protocol
            .on_request(request, snapshot)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.carry_out(replies).await
    }

    async fn carry_out(&mut self, replies: Vec<P::Reply>) -> Result<(), Status> {
        let outcomes = self.protocol.take_outcomes();
        for outcome in &outcomes {
            if let Outcome::Nacked { resource_type, names, error } = outcome {
                warn!(
                    node = self.attachment.node(),
                    stream = self.attachment.stream(),
                    %resource_type,
                    ?names,
                    error,
                    "proxy rejected resources",
                );
            }
        }
        self.attachment.outcomes(outcomes, self.protocol.in_sync(), self.protocol.held());
        for reply in replies {
            self.attachment.sent(reply.resource_type(), reply.resources(), reply.bytes());
            // Back-pressure of one proxy stops here: one stream waits, and the newest snapshot waits with it.
            match timeout(self.options.stall_timeout, self.replies.send(Ok(reply))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    count(&self.hub.counters().streams_stalled, 1);
                    return Err(Status::unavailable("the proxy does not read"));
                }
            }
        }
        self.wait.wait_for(self.protocol.waiting());
        self.linger.wait_for(self.protocol.lingering());
        Ok(())
    }
}
