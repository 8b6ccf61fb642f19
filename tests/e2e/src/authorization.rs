//! An authorization service that speaks Envoy's `ext_authz` protocol.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer as Service,
};
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What the service was asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body, as far as it was sent.
    pub body: Vec<u8>,
}

/// What the service answers.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The request passes, with these headers set.
    Allow(Vec<(&'static str, &'static str)>),
    /// It does not, and this is the answer to the client.
    Deny(u16, &'static str),
}

type Decide = dyn Fn(&Asked) -> Decision + Send + Sync;

struct Inner {
    decide: Box<Decide>,
    log: Arc<Mutex<Vec<Asked>>>,
}

/// A running service on loopback; it stops when dropped.
pub struct AuthorizationServer {
    log: Arc<Mutex<Vec<Asked>>>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl AuthorizationServer {
    /// A service that decides by `decide`.
    pub async fn start(decide: impl Fn(&Asked) -> Decision + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind an authorization service");
        let address = listener.local_addr().expect("address of an authorization service");
        let log = Arc::default();
        let inner = Inner { decide: Box::new(decide), log: Arc::clone(&log) };
        let server = tonic::transport::Server::builder().add_service(Service::new(inner));
        let task = tokio::spawn(async move {
            let _ = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        Self { log, address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tonic::async_trait]
impl Authorization for Inner {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let http = request.into_inner().attributes.and_then(|it| it.request).and_then(|it| it.http);
        let http = http.unwrap_or_default();
        let body = if http.raw_body.is_empty() { http.body.into_bytes() } else { http.raw_body };
        let asked = Asked { path: http.path, headers: http.headers.into_iter().collect(), body };
        let decision = (self.decide)(&asked);
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        Ok(Response::new(answer(decision)))
    }
}

fn answer(decision: Decision) -> CheckResponse {
    let header = |(key, value): (&str, &str)| HeaderValueOption {
        header: Some(HeaderValue { key: key.to_owned(), value: value.to_owned(), ..HeaderValue::default() }),
        ..HeaderValueOption::default()
    };
    let (code, response) = match decision {
        Decision::Allow(headers) => (
            tonic::Code::Ok,
            check_response::HttpResponse::OkResponse(OkHttpResponse {
                headers: headers.into_iter().map(header).collect(),
                ..OkHttpResponse::default()
            }),
        ),
        Decision::Deny(status, body) => (
            tonic::Code::PermissionDenied,
            check_response::HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus { code: i32::from(status) }),
                body: body.to_owned(),
                ..DeniedHttpResponse::default()
            }),
        ),
    };
    CheckResponse {
        status: Some(rpc::Status { code: code.into(), ..rpc::Status::default() }),
        http_response: Some(response),
        ..CheckResponse::default()
    }
}
