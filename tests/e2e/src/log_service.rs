//! A service that takes access logs by Envoy's protocol.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::{
    AccessLogService, AccessLogServiceServer,
};
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use envoy_types::pb::envoy::service::accesslog::v3::{StreamAccessLogsMessage, StreamAccessLogsResponse};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// An entry of a log.
#[derive(Clone, Debug, Default)]
pub struct LogEntry {
    /// Name of the log.
    pub log: String,
    /// Metadata of the call that brought it, by name.
    pub metadata: BTreeMap<String, String>,
    /// Path and query of the request.
    pub path: String,
    /// Status code of the response.
    pub status: u32,
    /// Request headers that were asked for.
    pub request_headers: BTreeMap<String, String>,
    /// Response headers that were asked for.
    pub response_headers: BTreeMap<String, String>,
    /// Response trailers that were asked for.
    pub response_trailers: BTreeMap<String, String>,
}

type Log = Arc<Mutex<Vec<LogEntry>>>;

/// A running service on loopback; it stops when dropped.
pub struct LogService {
    log: Log,
    address: SocketAddr,
    task: JoinHandle<()>,
}

struct Inner(Log);

impl LogService {
    /// A service that keeps what it gets.
    pub async fn start() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// The same at an address.
    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("bind a log service");
        let address = listener.local_addr().expect("address of a log service");
        let log = Log::default();
        let service = AccessLogServiceServer::new(Inner(Arc::clone(&log)));
        let server = tonic::transport::Server::builder().add_service(service);
        let task = tokio::spawn(async move {
            let _ = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        Self { log, address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it got so far, oldest first.
    pub fn entries(&self) -> Vec<LogEntry> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for LogService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tonic::async_trait]
impl AccessLogService for Inner {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let text = |name: &str, value: &tonic::metadata::MetadataValue<tonic::metadata::Ascii>| {
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        };
        let metadata: BTreeMap<String, String> = request
            .metadata()
            .iter()
            .filter_map(|entry| match entry {
                tonic::metadata::KeyAndValueRef::Ascii(key, value) => text(key.as_str(), value),
                tonic::metadata::KeyAndValueRef::Binary(..) => None,
            })
            .collect();
        let mut stream = request.into_inner();
        let mut name = String::new();
        while let Some(message) = stream.next().await {
            let message = message?;
            if let Some(identifier) = message.identifier {
                name = identifier.log_name;
            }
            let Some(LogEntries::HttpLogs(logs)) = message.log_entries else { continue };
            for entry in logs.log_entry {
                let (request, response) =
                    (entry.request.unwrap_or_default(), entry.response.unwrap_or_default());
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push(LogEntry {
                    log: name.clone(),
                    metadata: metadata.clone(),
                    path: request.path,
                    status: response.response_code.map_or(0, |code| code.value),
                    request_headers: request.request_headers.into_iter().collect(),
                    response_headers: response.response_headers.into_iter().collect(),
                    response_trailers: response.response_trailers.into_iter().collect(),
                });
            }
        }
        Ok(Response::new(StreamAccessLogsResponse::default()))
    }
}
