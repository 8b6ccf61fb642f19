//! `postern status`.

mod collect;
mod judge;
mod model;
mod print;
mod proxies;
#[cfg(test)]
mod tests;
mod world;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use postern_translator::CONTROLLER_NAME;

pub(super) use self::collect::{GATEWAY_LABEL, controller_pods, document, is_ready, pages};
use self::judge::Question;
use self::model::{Overview, Severity};
use self::print::Look;
pub(super) use self::print::age;
use super::cluster::{ClusterArgs, View};
use super::commands::runtime;
use crate::terminal::{Format, Paint};

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only this Gateway, with its listeners, routes, policies and proxies.
    #[arg(value_name = "[NAMESPACE/]GATEWAY")]
    gateway: Option<String>,

    /// The namespace of the Gateways. Default: that of the context.
    #[arg(short = 'n', long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,

    /// Gateways of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// The form of the output.
    #[arg(short = 'o', long = "format", value_name = "FORM", default_value = "table")]
    view: View,

    /// The controllerName of the GatewayClasses.
    #[arg(long, value_name = "NAME", default_value = CONTROLLER_NAME)]
    controller_name: String,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Well.
const HEALTHY: u8 = 0;
/// Something is not well.
const UNHEALTHY: u8 = 1;

pub(super) fn status(args: StatusArgs, format: Format) -> anyhow::Result<ExitCode> {
    let view = if format == Format::Json { View::Json } else { args.view };
    let detail = args.gateway.is_some();
    let overview = runtime()?.block_on(async {
        let cluster = args.cluster.connect().await?;
        let (namespace, gateway) = match args.gateway.as_deref().map(|name| name.split_once('/')) {
            Some(Some((namespace, name))) => (Some(namespace.to_owned()), Some(name.to_owned())),
            _ => (args.namespace, args.gateway),
        };
        let question = Question {
            namespace: if args.all_namespaces && !detail {
                None
            } else {
                Some(namespace.unwrap_or(cluster.namespace))
            },
            gateway,
            controller_name: args.controller_name,
            controller_namespace: args.cluster.controller_namespace,
        };
        let world = collect::collect(&cluster.client, &question).await?;
        anyhow::Ok(judge::overview(&world, &question))
    })?;
    let look = Look { paint: Paint::stdout(), wide: view == View::Wide, detail, now: Timestamp::now() };
    io::stdout().write_all(render(&overview, view, look)?.as_bytes())?;
    Ok(ExitCode::from(verdict(&overview, detail)))
}

fn render(overview: &Overview, view: View, look: Look) -> anyhow::Result<String> {
    Ok(match view {
        View::Table | View::Wide => print::text(overview, look),
        View::Json => serde_json::to_string_pretty(overview)? + "\n",
        View::Yaml => serde_yaml::to_string(overview)?,
        View::Name => print::names(overview),
    })
}

/// A Gateway that was asked for by name and is not there is not well either.
fn verdict(overview: &Overview, detail: bool) -> u8 {
    let problem = overview.problems.iter().any(|problem| problem.severity == Severity::Error);
    if problem || (detail && overview.gateways.is_empty()) { UNHEALTHY } else { HEALTHY }
}
