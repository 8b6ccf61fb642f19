//! A TCP proxy that counts: independent evidence of what travelled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections to one address and counts the bytes that come back from it.
pub struct CountingProxy {
    address: SocketAddr,
    from_server: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl CountingProxy {
    /// Starts a proxy on a free port in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind the proxy");
        let address = listener.local_addr().expect("address of the proxy");
        let from_server = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(listener, target, Arc::clone(&from_server), Arc::clone(&connections)));
        Self { address, from_server, connections, task }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes that the server has sent to clients so far.
    pub fn from_server(&self) -> u64 {
        self.from_server.load(Ordering::SeqCst)
    }

    /// The connections to the server opened so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    listener: TcpListener,
    target: SocketAddr,
    from_server: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let counter = Arc::clone(&from_server);
                let connections = Arc::clone(&connections);
                tasks.spawn(async move {
                    // A server that is down looks to the client as it would without the proxy.
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    connections.fetch_add(1, Ordering::SeqCst);
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let (client_reader, client_writer) = client.into_split();
                    let (server_reader, server_writer) = server.into_split();
                    tokio::select! {
                        () = pump(client_reader, server_writer, None) => {}
                        () = pump(server_reader, client_writer, Some(&counter)) => {}
                    }
                });
            }
        }
    }
}

async fn pump(mut reader: OwnedReadHalf, mut writer: OwnedWriteHalf, counter: Option<&AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        if let Some(counter) = counter {
            counter.fetch_add(count as u64, Ordering::SeqCst);
        }
        if writer.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::client::Call;

    #[tokio::test]
    async fn a_proxy_counts_what_comes_back() {
        let backend = Backend::start("counted").await;
        let proxy = CountingProxy::start(backend.address()).await;
        let call = Call::get(proxy.address().port(), "example.org", "/");
        let answer = call.send().await.unwrap();
        assert_eq!(answer.backend(), "counted");
        let once = proxy.from_server();
        assert!(once > answer.body.len() as u64);
        call.send().await.unwrap();
        assert_eq!((proxy.from_server(), proxy.connections()), (2 * once, 2));
    }
}
