//! The log, on standard error.

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use crate::terminal::Paint;

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people who just called the command: short, without time.
    #[value(skip)]
    Brief,
    /// Text with time and origin.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts the log with a filter such as `info` or `postern_xds=debug,warn`.
///
/// # Errors
///
/// Fails if the filter cannot be read, or if there is a log already.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| anyhow!("--log {filter:?}: {error}"))?;
    let colours = Paint::stderr() != Paint::plain();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Brief => builder.with_ansi(colours).without_time().with_target(false).compact().try_init(),
        LogFormat::Text => builder.with_ansi(colours).compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    }
    .map_err(|error| anyhow!("cannot start the log: {error}"))
}
