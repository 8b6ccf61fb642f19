//! The command line.

mod check;
mod cluster;
mod commands;
mod controller;
mod install;
mod migrate;
mod proxy;
mod proxy_drain;
#[cfg(test)]
mod reference;
mod run;
mod status;
mod table;
mod translate;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use postern_translator::NamespacedName;

use self::controller::ControllerArgs;
use self::install::InstallArgs;
use self::migrate::MigrateCommand;
use self::proxy::ProxyCommand;
use self::status::StatusArgs;
use crate::bootstrap::Address;
use crate::echo::EchoSpec;
use crate::envoy;
use crate::telemetry::log::{self, LogFormat};
use crate::terminal::{Format, Paint, Style};

/// A gate for Kubernetes Gateway API resources: turns them into the configuration of real Envoys.
#[derive(Debug, Parser)]
#[command(
    name = "postern",
    version,
    propagate_version = true,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    global: Global,
}

/// What every command understands.
#[derive(Debug, Args)]
struct Global {
    /// Print for people, or one JSON object per line.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human", help_heading = "Output")]
    output: Format,

    /// What to log to standard error, such as `debug` or `postern_xds=debug,warn`. Default: `info` for the controller,
    /// `warn` for everything else.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "RUST_LOG",
        hide_env_values = true,
        help_heading = "Output"
    )]
    log: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Gateways in files with real Envoys on this machine, and follow every change.
    ///
    /// Reads *.yaml, *.yml and *.json files and directories, starts one Envoy for each Gateway, and keeps both in step
    /// while the files change. What was good keeps serving when something new is wrong.
    Run(RunArgs),
    /// Print the Envoy configuration that files lead to.
    Translate(TranslateArgs),
    /// Look for mistakes in files; the exit code is 1 if there is an error.
    Check(CheckArgs),
    /// Serve the Gateways of a Kubernetes cluster: the program that `postern install` runs there.
    ///
    /// Watches the cluster, runs Envoys for its Gateways, gives them their configuration, and writes statuses. Several
    /// replicas share the work: all of them configure proxies, one of them writes.
    Controller(ControllerArgs),
    /// Install Postern into a Kubernetes cluster, or bring it up to date.
    ///
    /// Applies the CustomResourceDefinitions of the extension kinds and the manifests of an overlay, by server-side
    /// apply, and waits until the controller is ready. `--dry-run` prints them, for `kubectl apply --server-side -f -`.
    Install(InstallArgs),
    /// Show the Gateways of a cluster: addresses, listeners, routes, policies, and what the proxies have.
    ///
    /// Problems come last, with the words of the controller. The exit code is 0 if all is well, 1 if something is not,
    /// and 2 if it could not be found out.
    Status(StatusArgs),
    /// Say what becomes of the resources of another implementation.
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Look into the proxies of a Gateway.
    #[command(subcommand)]
    Proxy(ProxyCommand),
    /// Print the bootstrap configuration of an Envoy that you run yourself.
    Bootstrap(BootstrapArgs),
    /// Print the CustomResourceDefinitions of Postern's extension kinds.
    Crds,
    /// Run the echo server of the examples: it answers every request with what it saw.
    Echo(EchoArgs),
    /// Print a script that teaches a shell to complete Postern's commands.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Become PROGRAM, which ends when the parent process does.
    #[command(name = envoy::GUARD_COMMAND, hide = true)]
    ExecGuarded {
        /// The process id of the parent.
        parent: u32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

/// Options of `run`.
#[derive(Debug, Args)]
struct RunArgs {
    /// Files and directories with Kubernetes objects.
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// The Envoy to run. Default: the `envoy` on PATH, else the one that hack/envoy.sh installed.
    #[arg(long, value_name = "PATH", env = "POSTERN_ENVOY", value_hint = ValueHint::ExecutablePath, help_heading = "Envoy")]
    envoy: Option<PathBuf>,

    /// Run no Envoy; serve only xDS, on --xds-address.
    #[arg(long, help_heading = "Envoy")]
    no_envoy: bool,

    /// Worker threads of each Envoy.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Envoy")]
    concurrency: u32,

    /// The admin address of the first Envoy; each further one gets the next port. Default: private Unix sockets.
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Envoy")]
    admin: Option<SocketAddr>,

    /// Envoy's own log level.
    #[arg(long, value_name = "LEVEL", default_value = "warning", value_parser = ["trace", "debug", "info", "warning", "error", "critical", "off"], help_heading = "Envoy")]
    envoy_log_level: String,

    /// How long requests in flight may take to end when stopping, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, help_heading = "Envoy")]
    drain_time: u64,

    /// The address that listeners are bound to, where a Gateway names none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1", help_heading = "Network")]
    listen_address: IpAddr,

    /// Serve xDS on this TCP address too, for Envoys that you run yourself [default with --no-envoy: 127.0.0.1:18000].
    ///
    /// There is no encryption or authentication: whoever reaches the address reads every configuration.
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Network")]
    xds_address: Option<SocketAddr>,

    /// Run an echo server alongside, as a backend to try things out; may be given several times.
    #[arg(long, value_name = "NAME=ADDR:PORT", help_heading = "Network")]
    echo: Vec<EchoSpec>,
}

/// Options of `translate`.
#[derive(Debug, Args)]
struct TranslateArgs {
    /// Files and directories with Kubernetes objects; `-` is the standard input.
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// The form of the output.
    #[arg(short = 'o', long = "format", value_name = "FORM", default_value = "yaml")]
    form: Form,

    /// Only this Gateway.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced_name)]
    gateway: Option<NamespacedName>,

    /// Print the statuses of the objects instead of the Envoy configuration.
    #[arg(long)]
    status: bool,

    /// The address that listeners are bound to, where a Gateway names none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    listen_address: IpAddr,
}

/// The form of structured output.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Yaml,
    Json,
}

/// Options of `check`.
#[derive(Debug, Args)]
struct CheckArgs {
    /// Files and directories with Kubernetes objects; `-` is the standard input.
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
}

/// Options of `bootstrap`.
#[derive(Debug, Args)]
struct BootstrapArgs {
    /// The Gateway that the Envoy serves.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = namespaced_name)]
    gateway: NamespacedName,

    /// Where `postern run` serves xDS: ADDR:PORT or unix:PATH.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18000")]
    xds_address: Address,

    /// Where Envoy's admin interface listens: ADDR:PORT (port 0 picks a free one) or unix:PATH.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    admin: Address,

    /// The form of the output.
    #[arg(short = 'o', long = "format", value_name = "FORM", default_value = "yaml")]
    form: Form,
}

/// Options of `echo`.
#[derive(Debug, Args)]
struct EchoArgs {
    /// The address to listen on.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,

    /// The name to answer with.
    #[arg(long, default_value = "echo")]
    name: String,
}

fn namespaced_name(text: &str) -> Result<NamespacedName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(NamespacedName::new(namespace, name))
        }
        _ => Err("expected NAMESPACE/NAME, such as default/web".to_owned()),
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let (filter, format) = match &cli.command {
        // What kube's client says of failed requests, whoever made them says better.
        Command::Controller(args) => ("info,kube_client::client::builder=off", args.log_format),
        _ => ("warn,kube_client::client::builder=off", LogFormat::Brief),
    };
    if let Err(error) = log::start(cli.global.log.as_deref().unwrap_or(filter), format) {
        return fail(&error);
    }
    let result: anyhow::Result<ExitCode> = match cli.command {
        Command::Run(args) => run::run(args, cli.global.output),
        Command::Translate(args) => translate::translate(&args, cli.global.output),
        Command::Check(args) => check::check(args, cli.global.output),
        Command::Controller(args) => controller::controller(args),
        Command::Install(args) => install::install(args),
        Command::Status(args) => status::status(args, cli.global.output).or_else(|error| Ok(unknown(&error))),
        Command::Migrate(MigrateCommand::Kgateway(args)) => {
            migrate::kgateway(args, cli.global.output).or_else(|error| Ok(unknown(&error)))
        }
        Command::Bootstrap(args) => commands::bootstrap(args, cli.global.output),
        Command::Crds => commands::crds(),
        Command::Echo(args) => commands::echo(args),
        Command::Completions { shell } => commands::completions(shell, &mut Cli::command()),
        Command::Proxy(ProxyCommand::Config(args)) => {
            proxy::config(args, cli.global.output).or_else(|error| Ok(unknown(&error)))
        }
        Command::Proxy(ProxyCommand::Drain(args)) => proxy_drain::drain(args),
        Command::Proxy(ProxyCommand::InstallBinary(args)) => proxy_drain::install_binary(&args),
        Command::ExecGuarded { parent, program } => commands::exec_guarded(parent, &program),
    };
    result.unwrap_or_else(|error| fail(&error))
}

/// For commands whose exit code 1 says that something is not as it should be.
fn unknown(error: &anyhow::Error) -> ExitCode {
    fail(error);
    ExitCode::from(2)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("{}: {error:#}", Paint::stderr().paint(Style::Bad, "error"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_gateway_names() {
        assert_eq!(namespaced_name("a/b"), Ok(NamespacedName::new("a", "b")));
        for text in ["a", "/b", "a/", "a/b/c"] {
            assert!(namespaced_name(text).is_err(), "{text}");
        }
    }
}
