//! What runs inside of the pod of a proxy: `postern proxy drain` and `postern proxy install-binary`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueHint};

use crate::bootstrap::Address;
use crate::drain::{self, DrainOptions};

/// Options of `proxy drain`.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Envoy's admin interface: ADDR:PORT or unix:PATH.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:19000")]
    admin: Address,

    /// So long the proxy serves on in any case, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    min_seconds: u64,

    /// So long it may take in all, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    max_seconds: u64,

    /// The file that makes Envoy end idle connections, if its bootstrap watches one.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    idle_signal: Option<PathBuf>,

    /// Write what happens to this file too. What a preStop hook prints is lost; /proc/1/fd/2 is the log of the container.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    log_file: Option<PathBuf>,
}

/// Options of `proxy install-binary`.
#[derive(Debug, Args)]
pub(super) struct InstallBinaryArgs {
    /// The directory that gets the program.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

/// Whatever happens, the proxy is stopped afterwards: there is nobody who could act on a failure.
pub(super) fn drain(args: DrainArgs) -> anyhow::Result<ExitCode> {
    let mut log = args.log_file.and_then(|path| OpenOptions::new().append(true).open(path).ok());
    let options = DrainOptions {
        admin: args.admin,
        min: Duration::from_secs(args.min_seconds),
        max: Duration::from_secs(args.max_seconds),
        idle_signal: args.idle_signal,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(drain::drain(&options, &mut |text| say(text, log.as_mut())));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn install_binary(args: &InstallBinaryArgs) -> anyhow::Result<ExitCode> {
    let path = drain::install(&args.directory)?;
    eprintln!("installed {}", path.display());
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str, log: Option<&mut File>) {
    eprintln!("{text}");
    if let Some(log) = log {
        // One write, so that it stays one line between those of others.
        let _ = log.write_all(format!("postern: {text}\n").as_bytes());
    }
}
