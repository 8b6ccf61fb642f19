//! `postern migrate`: what becomes of the resources of another implementation.

mod input;
mod print;
mod verdict;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueHint};

use self::verdict::Verdict;
use super::cluster::ClusterArgs;
use super::commands::runtime;
use crate::terminal::{Format, Paint};

/// The implementations that Postern can follow.
#[derive(Debug, Subcommand)]
pub(super) enum MigrateCommand {
    /// Say what of kgateway v2.1 applies unchanged, what changes, and what has no equivalent.
    ///
    /// Reads files, or, without a path, the cluster. Nothing is changed anywhere. The exit code is 1 if something has no
    /// equivalent, and 2 if it could not be found out.
    Kgateway(KgatewayArgs),
}

/// Options of `migrate kgateway`.
#[derive(Debug, Args)]
pub(super) struct KgatewayArgs {
    /// Files and directories with Kubernetes objects; `-` is the standard input. Default: the cluster.
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) fn kgateway(args: KgatewayArgs, format: Format) -> anyhow::Result<ExitCode> {
    let input = if args.paths.is_empty() {
        runtime()?.block_on(async {
            let cluster = args.cluster.connect().await?;
            input::of_cluster(&cluster.client).await
        })?
    } else {
        input::of_files(args.paths)?
    };
    let report = verdict::judge(input);
    let mut out = io::stdout().lock();
    match format {
        Format::Human => out.write_all(print::text(&report, Paint::stdout()).as_bytes())?,
        Format::Json => {
            for entry in &report.entries {
                writeln!(out, "{}", serde_json::to_string(entry)?)?;
            }
        }
    }
    let lost = report.entries.iter().any(|entry| entry.verdict == Verdict::NoEquivalent);
    Ok(if lost { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
