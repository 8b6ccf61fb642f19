//! A DNS server with a few names, for Envoys that resolve.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The length of a DNS header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// The type of IPv4 addresses.
const A: u16 = 1;
const NO_SUCH_NAME: u8 = 3;

#[derive(Default)]
struct Zone {
    names: BTreeMap<String, Vec<Ipv4Addr>>,
    asked: Vec<String>,
}

/// A DNS server on loopback that knows what it was told and nothing else. It stops when dropped.
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

impl NameServer {
    /// A server without names.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a DNS server");
        let address = socket.local_addr().expect("address of a DNS server");
        let zone = Arc::new(Mutex::new(Zone::default()));
        let shared = Arc::clone(&zone);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok((read, from)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = answer(&shared, &buffer[..read]) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { address, zone, task }
    }

    /// Where it listens, by UDP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a name these addresses, for a second each time that somebody asks.
    pub fn set(&self, name: &str, addresses: &[Ipv4Addr]) {
        let mut zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        zone.names.insert(name.to_owned(), addresses.to_vec());
    }

    /// Every name that somebody asked for, once for each question.
    pub fn asked(&self) -> Vec<String> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(zone: &Mutex<Zone>, query: &[u8]) -> Option<Vec<u8>> {
    let (name, kind, end) = question(query)?;
    let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
    let found = zone.names.get(&name).cloned();
    zone.asked.push(name);
    let code = if found.is_some() { 0 } else { NO_SUCH_NAME };
    let addresses: Vec<Ipv4Addr> = found.into_iter().flatten().filter(|_| kind == A).collect();
    let mut out = query[..2].to_vec();
    // An answer, recursion available; one question, so many answers, nothing else.
    out.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(addresses.len()).ok()?, 0, 0, 0, 0]);
    out.extend(&query[HEADER..end]);
    for address in addresses {
        // The name of the question; A, IN, one second, four bytes.
        out.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        out.extend(address.octets());
    }
    Some(out)
}

/// Name and type of the first question, and where it ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    (query.len() >= at + 4).then(|| (labels.join("."), kind, at + 4))
}
