//! The HTTP servers of a running controller.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::health::Report;
use super::{Health, Metrics};

/// The media type of [`Metrics::registry_text`].
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else has the address, or this machine does not.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The address can be reached from elsewhere.
    #[error("{0} is no loopback address: what is served there is for those only who may enter the pod")]
    NotLoopback(SocketAddr),
}

/// `/healthz`, `/readyz` (both with `?verbose`) and `/metrics`.
pub fn health_router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(|State((health, _)): Shared, RawQuery(query)| async move {
                answer(&health.live(), query.as_deref())
            }),
        )
        .route(
            "/readyz",
            get(|State((health, _)): Shared, RawQuery(query)| async move {
                answer(&health.ready(), query.as_deref())
            }),
        )
        .route(
            "/metrics",
            get(|State((_, metrics)): Shared| async move {
                ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.registry_text())
            }),
        )
        .with_state((health, metrics))
}

type Shared = State<(Health, Metrics)>;

/// What is wrong is always said; what is well, on demand.
fn answer(report: &Report, query: Option<&str>) -> Response {
    let verbose = query.unwrap_or_default().split('&').any(|name| name.split('=').next() == Some("verbose"));
    match (report.is_ok(), verbose) {
        (true, false) => "ok\n".into_response(),
        (true, true) => report.to_string().into_response(),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, report.to_string()).into_response(),
    }
}

/// Listens on `address`.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

/// Listens on `address`, which must be a loopback address.
pub async fn bind_loopback(address: SocketAddr) -> Result<TcpListener, ServeError> {
    if address.ip().is_loopback() { bind(address).await } else { Err(ServeError::NotLoopback(address)) }
}

/// Serves `router` until `shutdown`; requests in flight are answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::Address;
    use crate::envoy::Admin;

    #[tokio::test]
    async fn shows_health_and_metrics() {
        let health = Health::new();
        let metrics = Metrics::new();
        let listener = bind_loopback(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = health_router(health.clone(), metrics.clone());
        let server = tokio::spawn(serve(listener, router, async {
            let _ = stopped.await;
        }));

        let client = Admin::new(Address::from(address));
        let get = async |path: &str| {
            let (status, body) = client.get(path).await.expect("an answer");
            (status.as_u16(), String::from_utf8(body.to_vec()).expect("text"))
        };
        assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
        let xds = health.condition("xds", "not listening");
        assert_eq!(get("/readyz").await, (503, "[-]xds failed: not listening\nfailed\n".to_owned()));
        xds.ready();
        assert_eq!(get("/readyz").await, (200, "ok\n".to_owned()));
        assert_eq!(get("/readyz?verbose").await, (200, "[+]xds ok\nok\n".to_owned()));
        metrics.set_leader(true);
        let (status, text) = get("/metrics").await;
        let read = crate::telemetry::text::parse(&text).expect("the text form");
        assert_eq!((status, read.value("postern_leader")), (200, Some(1.0)));

        stop.send(()).expect("it runs");
        server.await.expect("no panic").expect("an orderly end");
    }

    #[tokio::test]
    async fn debug_documents_stay_on_this_machine() {
        let error = bind_loopback(([0, 0, 0, 0], 0).into()).await.expect_err("not loopback");
        assert!(error.to_string().contains("0.0.0.0:0 is no loopback address"), "{error}");
    }
}
