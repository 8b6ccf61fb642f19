//! The small commands.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::Shell;

use super::{BootstrapArgs, EchoArgs, Form};
use crate::bootstrap::Bootstrap;
use crate::echo::{Echo, EchoSpec};
use crate::envoy;
use crate::terminal::Format;

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")
}

pub(super) fn bootstrap(args: BootstrapArgs, format: Format) -> anyhow::Result<ExitCode> {
    let bootstrap = Bootstrap::new(&args.gateway.namespace, &args.gateway.name, args.xds_address, args.admin);
    let text = match (args.form, format) {
        (Form::Yaml, Format::Human) => bootstrap.to_yaml()?,
        _ => serde_json::to_string_pretty(&bootstrap.to_json())? + "\n",
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn crds() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for crd in postern_api::crds::extension_crds() {
        write!(out, "---\n{}", postern_api::crds::to_yaml(&crd)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn echo(args: EchoArgs) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let spec = EchoSpec { name: args.name, address: args.listen };
        let server =
            Echo::start(&spec).await.with_context(|| format!("cannot listen on {}", spec.address))?;
        println!("echo {} on http://{}", server.name(), server.address());
        tokio::signal::ctrl_c().await.context("cannot listen for signals")?;
        println!("answered {} requests", server.count());
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn completions(shell: Shell, command: &mut clap::Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "postern", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn exec_guarded(parent: u32, program: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = program.split_first().context("no program was given")?;
    match envoy::guard_exec(parent, program.clone(), arguments)? {}
}
