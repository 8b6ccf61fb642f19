//! A rate-limit service for tests: `postern-limiter REDIS LIMITS [PORT]`.
//!
//! Limits come from the YAML file LIMITS, as limitador reads them, and are counted in the Redis at the URL REDIS. Conditions and
//! variables see what limitador's own server shows them: `descriptors`, the list of descriptors, each a map of its entries.
//! It prints its address, on the loopback interface, and ends when its standard input does.

mod service;

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use limitador::AsyncRateLimiter;
use limitador::limit::Limit;
use limitador::storage::redis::AsyncRedisStorage;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// How long Redis may take to accept a connection or to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, file, port) = match arguments.as_slice() {
        [url, file] => (url, file, 0),
        [url, file, port] => (url, file, port.parse().with_context(|| format!("the port {port}"))?),
        _ => anyhow::bail!("usage: postern-limiter REDIS LIMITS [PORT]"),
    };
    let limits = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let limits: Vec<Limit> = serde_yaml::from_str(&limits).with_context(|| format!("limits of {file}"))?;
    let storage = connect(url).await.with_context(|| format!("connect to Redis at {url}"))?;
    let limiter = AsyncRateLimiter::new_with_storage(Box::new(storage));
    for limit in limits {
        limiter.add_limit(limit);
    }

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("listen")?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Server::builder()
        .add_service(RateLimitServiceServer::new(service::Limiter::new(limiter)))
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
        .context("serve")
}

/// Connects to Redis. When the connection breaks, requests fail at once until there is a new one: as limitador sets its client
/// up by itself, they would wait for one for up to minutes, and whoever asks could not tell a Redis that is gone from a slow one.
async fn connect(url: &str) -> anyhow::Result<AsyncRedisStorage> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(PATIENCE)
        .set_response_timeout(PATIENCE);
    let manager = ConnectionManager::new_with_config(redis::Client::open(url)?, config).await?;
    Ok(AsyncRedisStorage::new_with_conn_manager(manager).await?)
}
