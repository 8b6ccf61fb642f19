//! A way to the API server that can be cut for one client alone.

use std::net::SocketAddr;

use kube::{Client, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections to the API server. While it is frozen, nothing gets through and nothing is refused, as with a
/// network that drops packets.
pub(crate) struct Relay {
    frozen: watch::Sender<bool>,
    config: Config,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// A relay in front of the API server of `config`.
    pub(crate) async fn start(mut config: Config) -> Self {
        let url = config.cluster_url.clone();
        let host = url.host().unwrap().to_owned();
        let target = format!("{host}:{}", url.port_u16().unwrap_or(443));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (frozen, thawed) = watch::channel(false);
        config.tls_server_name = Some(config.tls_server_name.unwrap_or(host));
        config.cluster_url = format!("https://{address}").parse().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, target.clone(), thawed.clone()));
            }
        });
        Self { frozen, config, _tasks: tasks }
    }

    /// A client that goes through here.
    pub(crate) fn client(&self) -> Client {
        Client::try_from(self.config.clone()).unwrap()
    }

    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    pub(crate) fn thaw(&self) {
        self.frozen.send_replace(false);
    }
}

async fn forward(client: TcpStream, target: String, thawed: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let pump = async |from: &mut tokio::net::tcp::OwnedReadHalf, to: &mut tokio::net::tcp::OwnedWriteHalf| {
        let mut thawed = thawed.clone();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let _ = thawed.wait_for(|frozen| !frozen).await;
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pump(&mut from_client, &mut to_server) => {}
        () = pump(&mut from_server, &mut to_client) => {}
    }
}
