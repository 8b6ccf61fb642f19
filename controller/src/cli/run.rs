//! `postern run`.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::RunArgs;
use crate::envoy::{self, Launch, Timing};
use crate::run::{self, Envoys, Printer, RunOptions};
use crate::terminal::Format;

/// Where xDS is served with `--no-envoy` unless said otherwise.
const XDS_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 18000);

pub(super) fn run(args: RunArgs, format: Format) -> anyhow::Result<ExitCode> {
    let envoys = if args.no_envoy {
        None
    } else {
        let binary = envoy::find(args.envoy.as_deref())?;
        let launch = Launch {
            envoy: binary.path,
            guard: guard(),
            concurrency: args.concurrency,
            log_level: args.envoy_log_level,
            timing: Timing { drain: Duration::from_secs(args.drain_time), ..Timing::default() },
        };
        Some(Envoys { launch, version: binary.version, admin: args.admin })
    };
    let options = RunOptions {
        paths: args.paths,
        xds_address: args.xds_address.or(args.no_envoy.then_some(XDS_ADDRESS)),
        envoys,
        listen_address: args.listen_address,
        echo: args.echo,
    };
    let runtime = super::commands::runtime()?;
    runtime.block_on(async {
        let stop = stop_signals().context("cannot listen for signals")?;
        run::run(options, Arc::new(Printer::stdout(format)), stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// This executable, by way of which Envoys are started.
fn guard() -> Option<PathBuf> {
    if cfg!(target_os = "linux") { env::current_exe().ok() } else { None }
}

fn stop_signals() -> std::io::Result<mpsc::Receiver<()>> {
    let (stop, receiver) = mpsc::channel(4);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // Full or closed: it is stopping already.
                let _ = stop.try_send(());
            }
        });
    }
    Ok(receiver)
}
