//! The services that extensions ask, in a process of their own: `extension-server KIND [PORT]`.
//!
//! What a service does is in the headers of the requests that it is asked about, and what it saw is in the headers that it
//! adds; so nobody has to talk to it but Envoy. It prints its address and ends when its standard input does.

mod authorization;
mod broken;
mod limits;
mod processing;

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use http::HeaderValue as Value;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tonic::codegen::Service as _;
use tonic::service::Routes;

/// The request header under which services learn the `:authority` that they were asked by.
const AUTHORITY: &str = "x-asked-as";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_default();
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let orphaned = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        result = serve(&kind, listener) => result,
        result = orphaned => result?.map(drop).map_err(Into::into),
    }
}

async fn serve(kind: &str, listener: TcpListener) -> anyhow::Result<()> {
    match kind {
        "services" => services(listener).await,
        "silent" => broken::silent(listener).await,
        "http" => broken::http(listener).await,
        "nonsense" => broken::nonsense(listener).await,
        other => anyhow::bail!("unknown kind {other:?}: use services, silent, http or nonsense"),
    }
}

/// The three services as they should be.
async fn services(listener: TcpListener) -> anyhow::Result<()> {
    let routes = Routes::new(AuthorizationServer::new(authorization::Authorizer))
        .add_service(ExternalProcessorServer::new(processing::Processor))
        .add_service(RateLimitServiceServer::new(limits::Limiter::default()))
        .prepare();
    loop {
        let (stream, _) = listener.accept().await?;
        let routes = routes.clone();
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let mut routes = routes.clone();
            let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            if let Ok(value) = Value::from_str(&authority) {
                request.headers_mut().insert(AUTHORITY, value);
            }
            async move {
                let answered = routes.call(request.map(tonic::body::Body::new)).await;
                Ok::<_, Infallible>(answered.unwrap_or_else(|never| match never {}))
            }
        });
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http2.serve_connection(TokioIo::new(stream), service));
    }
}

/// The `:authority` that a service was asked by.
fn authority<T>(request: &tonic::Request<T>) -> String {
    let value = request.metadata().get(AUTHORITY).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Sets a header, with the value in the place where each of the protocols expects it.
fn set(name: &str, value: &str, raw: bool) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: if raw { String::new() } else { value.to_owned() },
            raw_value: if raw { value.as_bytes().to_vec() } else { Vec::new() },
        }),
        append_action: header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}
