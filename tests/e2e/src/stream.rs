//! Connections and datagrams that are no HTTP: echo servers that say who they are, and clients of them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::tls::{Certificate, ClientTls};

/// What takes longer than this does not come any more.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Datagrams are lost in silence; on loopback an answer takes much less than this.
const DATAGRAM_TIMEOUT: Duration = Duration::from_millis(400);

/// A TCP server on loopback that speaks first: it greets with its name and, over TLS, the server name that it was called by;
/// then it echoes each line with its name in front. It stops when dropped.
pub struct TcpEcho {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl TcpEcho {
    /// A server named `name`.
    pub async fn start(name: &str) -> Self {
        Self::launch(name, None).await
    }

    /// A server that ends TLS with `certificate`.
    pub async fn tls(name: &str, certificate: &Certificate) -> Self {
        Self::launch(name, Some(TlsAcceptor::from(Arc::new(certificate.server_config(None))))).await
    }

    async fn launch(name: &str, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind an echo server");
        let address = listener.local_addr().expect("address of an echo server");
        let accepted = Arc::new(AtomicUsize::new(0));
        let (name, counter) = (name.to_owned(), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            // Connections end with the task: dropping the set aborts them.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = connections.join_next(), if !connections.is_empty() => {}
                    stream = listener.accept() => {
                        let Ok((stream, _)) = stream else { continue };
                        counter.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(greet(stream, name.clone(), acceptor.clone()));
                    }
                }
            }
        });
        Self { address, accepted, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it was opened so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for TcpEcho {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn greet(stream: TcpStream, name: String, acceptor: Option<TlsAcceptor>) {
    let _ = stream.set_nodelay(true);
    if let Some(acceptor) = acceptor {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let host = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
        let _ = echo(stream, &name, &format!("{name} {host}\n")).await;
    } else {
        let _ = echo(stream, &name, &format!("{name}\n")).await;
    }
}

async fn echo(stream: impl AsyncRead + AsyncWrite, name: &str, greeting: &str) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    writer.write_all(greeting.as_bytes()).await?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        writer.write_all(format!("{name} {line}\n").as_bytes()).await?;
    }
    Ok(())
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A client's connection to a [`TcpEcho`], through whatever is in between.
pub struct Wire {
    stream: BufReader<Box<dyn Duplex>>,
    greeting: String,
    peer_certificate: Option<Vec<u8>>,
}

impl Wire {
    /// Connects to `port` on loopback and waits for the greeting. A connection that is closed before is an error.
    pub async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Self::greeted(Box::new(stream), None).await
    }

    /// The same over TLS, without offering an application protocol.
    pub async fn open_tls(port: u16, tls: &ClientTls) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(tls.config_without_alpn()));
        let stream = in_time(connector.connect(tls.name(), stream)).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let leaf = chain.and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
        Self::greeted(Box::new(stream), leaf).await
    }

    async fn greeted(stream: Box<dyn Duplex>, peer_certificate: Option<Vec<u8>>) -> io::Result<Self> {
        let mut wire = Self { stream: BufReader::new(stream), greeting: String::new(), peer_certificate };
        wire.greeting = wire.line().await?;
        Ok(wire)
    }

    /// The name of the server, and the server name that it saw if it ended TLS.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The leaf certificate of whoever ended TLS, in DER.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.peer_certificate.as_deref()
    }

    /// Sends a line and returns the answer.
    pub async fn ask(&mut self, line: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).await?;
        self.line().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let read = in_time(self.stream.read_line(&mut line)).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Whether the connection ends within `patience` although nobody says anything.
    pub async fn ends_within(&mut self, patience: Duration) -> bool {
        // Nothing is said unasked, so whatever comes is an end.
        tokio::time::timeout(patience, self.stream.read(&mut [0])).await.is_ok()
    }
}

async fn in_time<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(TIMEOUT, what).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A UDP server on loopback: it answers each datagram with `name port payload`, where the port is that of whoever sent it.
/// It stops when dropped.
pub struct UdpEcho {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl UdpEcho {
    /// A server named `name`.
    pub async fn start(name: &str) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind an echo server");
        let address = socket.local_addr().expect("address of an echo server");
        let name = name.to_owned();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok((read, from)) = socket.recv_from(&mut buffer).await {
                let mut answer = format!("{name} {} ", from.port()).into_bytes();
                answer.extend_from_slice(&buffer[..read]);
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client's socket, and so one session.
pub struct Datagrams {
    socket: UdpSocket,
}

/// The answer of a [`UdpEcho`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Echoed {
    /// The name of the server.
    pub name: String,
    /// The port from which it got the datagram: another one means another session.
    pub from: u16,
    /// What it got.
    pub payload: Vec<u8>,
}

impl Datagrams {
    /// A socket that sends to `port` on loopback.
    pub async fn to(port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a client");
        socket.connect((Ipv4Addr::LOCALHOST, port)).await.expect("a port to send to");
        Self { socket }
    }

    /// Sends a datagram and waits for the answer; `None` if there is none.
    pub async fn ask(&self, payload: &[u8]) -> Option<Echoed> {
        // What ICMP said of an earlier datagram comes out here.
        let _ = self.socket.send(payload).await;
        let mut buffer = vec![0; 65_536];
        let read = tokio::time::timeout(DATAGRAM_TIMEOUT, self.socket.recv(&mut buffer)).await.ok()?.ok()?;
        let mut parts = buffer[..read].splitn(3, |byte| *byte == b' ');
        let mut text = || parts.next().map(|part| String::from_utf8_lossy(part).into_owned());
        let (name, from) = (text()?, text()?.parse().ok()?);
        Some(Echoed { name, from, payload: parts.next()?.to_vec() })
    }
}
