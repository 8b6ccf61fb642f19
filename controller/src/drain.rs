//! Ending a proxy without losing a request ([ADR 7](../../docs/adr/0007-ending-a-proxy.md)).
//!
//! Envoy ends its connections at once when it is told to end. So a proxy is taken out of service first: it reports itself as
//! failing and goes on to serve, asking each client that it answers to go elsewhere; when the world has had time to notice, it
//! ends the connections that nobody uses; and when none is left, or time is up, it may be stopped.

mod connections;
mod install;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

pub use self::install::{BINARY, InstallError, install};
use crate::bootstrap::Address;
use crate::envoy::Admin;

/// How often Envoy is asked whether connections are left.
const POLL: Duration = Duration::from_millis(250);

/// How often it is said that connections are left.
const REPORT: Duration = Duration::from_secs(10);

/// How often in a row Envoy's admin interface has to be silent before Envoy counts as gone.
const SILENT: u32 = 8;

/// How a proxy is ended.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// The admin interface of the Envoy.
    pub admin: Address,
    /// So long the proxy serves on in any case: what sends it connections needs time to notice.
    pub min: Duration,
    /// So long it may take in all.
    pub max: Duration,
    /// The file that makes Envoy end idle connections ([`IDLE_SIGNAL_FILE`](crate::bootstrap::IDLE_SIGNAL_FILE)); `None` if its bootstrap does not watch one.
    pub idle_signal: Option<PathBuf>,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// No connection is left.
    Clean,
    /// Time was up with so many connections left.
    TimeUp {
        /// The connections that will be cut.
        connections: u64,
    },
    /// Envoy was not there, or went away.
    Gone,
}

/// Takes the proxy out of service, and returns when it may be stopped. `say` gets what happens, for people.
pub async fn drain(options: &DrainOptions, say: &mut dyn FnMut(&str)) -> Drained {
    let begin = Instant::now();
    let (min, max) = (begin + options.min.min(options.max), begin + options.max);
    let admin = Admin::new(options.admin.clone());

    while let Err(reason) = fail(&admin).await {
        if Instant::now() + POLL >= min {
            say(&format!("the proxy was not told that it ends: {reason}"));
            sleep_until(min).await;
            return Drained::Gone;
        }
        sleep(POLL).await;
    }
    let open = connections::active(&admin).await.unwrap_or_default();
    say(&format!("draining: clients are asked to go elsewhere; {}", count(open)));
    sleep_until(min).await;

    if let Some(path) = &options.idle_signal
        && let Err(error) = raise(path)
    {
        say(&format!("idle connections stay open: cannot write {}: {error}", path.display()));
    }
    let outcome = wait(&admin, max, say).await;
    let after = begin.elapsed().as_secs_f64();
    match outcome {
        Drained::Clean => say(&format!("drained after {after:.1} s")),
        Drained::Gone => say(&format!("the proxy is gone after {after:.1} s")),
        Drained::TimeUp { connections } => {
            say(&format!("time is up after {after:.1} s; {}", count(connections)));
        }
    }
    outcome
}

async fn wait(admin: &Admin, max: Instant, say: &mut dyn FnMut(&str)) -> Drained {
    let mut silent = 0;
    let mut last = 0;
    let mut next_report = Instant::now();
    loop {
        match connections::active(admin).await {
            Some(0) => return Drained::Clean,
            Some(open) => {
                (silent, last) = (0, open);
                if Instant::now() >= next_report {
                    say(&format!("waiting: {}", count(open)));
                    next_report += REPORT;
                }
            }
            None => silent += 1,
        }
        if silent == SILENT {
            return Drained::Gone;
        }
        if Instant::now() + POLL > max {
            return Drained::TimeUp { connections: last };
        }
        sleep(POLL).await;
    }
}

/// Makes Envoy fail its health checks. It then answers with `Connection: close`, or with GOAWAY in HTTP/2.
async fn fail(admin: &Admin) -> Result<(), String> {
    match admin.post("/healthcheck/fail").await {
        Ok((status, _)) if status.is_success() => Ok(()),
        Ok((status, _)) => Err(format!("the admin interface answered {status}")),
        Err(error) => Err(format!("admin interface at {}: {error}", admin.address())),
    }
}

/// Sets the pressure to 1. Envoy watches for a file that is moved into place.
fn raise(path: &Path) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::File::create(&new)?.write_all(b"1.0")?;
    fs::rename(&new, path)
}

fn count(connections: u64) -> String {
    match connections {
        0 => "no connection is open".to_owned(),
        1 => "1 connection is open".to_owned(),
        many => format!("{many} connections are open"),
    }
}
