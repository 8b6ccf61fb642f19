//! Free ports, TCP and UDP, that no other test takes, neither in this process nor in another one.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Below the range from which Linux takes the ports of outgoing connections.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// One reserved port: free at the time of the reservation, and nobody else's until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port. Envoy must be able to bind it, so it cannot be held by a socket: a lock on a
    /// file in the temporary directory keeps other test processes away.
    pub fn reserve() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let directory = std::env::temp_dir().join("postern-e2e-ports");
        std::fs::create_dir_all(&directory).expect("create the directory of port locks");
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.subsec_nanos());
        // Only the first caller sets the start; a lost race costs nothing.
        let _ = NEXT.compare_exchange(
            0,
            (nanos ^ (std::process::id() << 7)) % COUNT + 1,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        for _ in 0..COUNT {
            let number = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = u16::try_from(number).expect("the range is below 65536");
            let path = directory.join(number.to_string());
            let Ok(lock) = OpenOptions::new().create(true).truncate(false).write(true).open(&path) else {
                continue;
            };
            if lock.try_lock().is_err() {
                continue;
            }
            let free = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST].iter().all(|address| {
                TcpListener::bind((*address, number)).is_ok() && UdpSocket::bind((*address, number)).is_ok()
            });
            if free {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// The port number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
