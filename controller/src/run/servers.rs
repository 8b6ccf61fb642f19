//! The sockets on which xDS is served.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use postern_xds::{Hub, Server};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long Envoys may take to leave at the end.
const FAREWELL: Duration = Duration::from_secs(3);

pub(super) struct XdsServers {
    addresses: Vec<String>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl XdsServers {
    /// Serves `hub` on the Unix socket and on the TCP address, as far as given.
    pub(super) fn start(hub: &Hub, unix: Option<PathBuf>, tcp: Option<SocketAddr>) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut servers = Self { addresses: Vec::new(), stop, tasks: JoinSet::new() };
        let server = Server::new(hub.clone());
        if let Some(path) = unix {
            let listener =
                bind_private(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
            servers.addresses.push(format!("unix:{}", path.display()));
            let (server, stopped) = (server.clone(), stopped.clone());
            servers.tasks.spawn(async move { ended(server.serve_unix(listener, wait(stopped)).await) });
        }
        if let Some(address) = tcp {
            let listener = std::net::TcpListener::bind(address)
                .and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    tokio::net::TcpListener::from_std(listener)
                })
                .with_context(|| {
                    format!("cannot serve xDS on {address}; choose another with --xds-address")
                })?;
            let address = listener.local_addr()?;
            if !address.ip().is_loopback() {
                tracing::warn!(%address, "xDS is served without encryption or authentication to whoever reaches this address");
            }
            servers.addresses.push(address.to_string());
            servers.tasks.spawn(async move { ended(server.serve_tcp(listener, wait(stopped)).await) });
        }
        Ok(servers)
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    /// Sends the Envoys away and ends.
    pub(super) async fn stop(mut self) {
        // Servers that ended already do not mind.
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::debug!("Envoys did not leave in time");
        }
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // The sender is gone only when everything is.
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn ended(result: Result<(), postern_xds::ServerError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the xDS server ended");
    }
}

#[cfg(unix)]
fn bind_private(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    // The directory is private, so nobody comes between these two lines.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
