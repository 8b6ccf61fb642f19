//! A real rate-limit service: limitador, with its counters in a real Redis, each in processes of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::extension::ExtensionServer;
use crate::ports::Port;
use crate::wait::until;

/// A Redis at a port of its own, of the loopback interface, that keeps nothing on disk; it ends when dropped.
pub struct Redis {
    process: Option<Child>,
    port: Port,
    directory: TempDir,
}

impl Redis {
    /// Starts one, and returns when it answers.
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("postern-redis-").tempdir().expect("a directory");
        let mut redis = Self { process: None, port: Port::reserve(), directory };
        redis.resume().await;
        redis
    }

    /// Starts it again at the same port, without what it knew.
    pub async fn resume(&mut self) {
        self.kill();
        let log = self.directory.path().join("log");
        let output = std::fs::File::create(&log).expect("create the log of Redis");
        let child = Command::new(redis_server())
            .args(["--bind", "127.0.0.1", "--port", &self.port.number().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(self.directory.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("share the log of Redis"))
            .stderr(output)
            .spawn()
            .expect("start Redis");
        let child = self.process.insert(child);
        let address = SocketAddr::from(([127, 0, 0, 1], self.port.number()));
        until("answer of Redis", || {
            let exited = child.try_wait().ok().flatten();
            let log = log.clone();
            async move {
                if let Some(status) = exited {
                    panic!(
                        "Redis ended with {status}:\n{}",
                        std::fs::read_to_string(log).unwrap_or_default()
                    );
                }
                ping(address).await.map_err(|error| error.to_string())
            }
        })
        .await;
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn ping(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    if &answer == b"+PONG\r\n" { Ok(()) } else { Err(std::io::Error::other("not PONG")) }
}

/// Redis: `POSTERN_REDIS`, else what `tests/setup/redis.sh` finds or fetches.
fn redis_server() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        crate::programs::find("POSTERN_REDIS", "tests/setup/redis.sh")
            .expect("a redis-server (set POSTERN_REDIS to one)")
    })
}

/// A process of `tests/e2e/limiter`; it ends when dropped.
pub struct RateLimiter {
    server: ExtensionServer,
    _limits: TempDir,
}

impl RateLimiter {
    /// Starts one that counts in `redis` up to `limits`, which are YAML as limitador reads it, at a port that is free.
    pub fn start(redis: &Redis, limits: &str) -> Self {
        Self::at(redis, limits, 0)
    }

    /// The same at a port.
    pub fn at(redis: &Redis, limits: &str, port: u16) -> Self {
        let directory = tempfile::Builder::new().prefix("postern-limits-").tempdir().expect("a directory");
        let file = directory.path().join("limits.yaml");
        std::fs::write(&file, limits).expect("write the limits");
        let mut command = Command::new(limiter());
        command.arg(format!("redis://127.0.0.1:{}", redis.port.number())).arg(file).arg(port.to_string());
        Self { server: ExtensionServer::run(command), _limits: directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// The program: `POSTERN_LIMITER`, else what `tests/setup/limiter.sh` builds.
fn limiter() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        crate::programs::find("POSTERN_LIMITER", "tests/setup/limiter.sh")
            .expect("the rate-limit service (set POSTERN_LIMITER to one)")
    })
}
