//! Ties the life of an Envoy to that of Postern.
//!
//! A child outlives a parent that is killed with SIGKILL, unless the kernel is asked otherwise, and that can be asked only by the
//! child itself. So Envoy is started by way of a hidden subcommand of this same binary, which asks for it and then *becomes*
//! Envoy with `exec`: same process, same pipes, nothing left in between.
//!
//! Linux only. Elsewhere Envoy outlives a Postern that is killed without a chance to clean up.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::process::Command;

/// The name of the hidden subcommand.
pub const COMMAND: &str = "exec-guarded";

/// Why the program was not started.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The parent is gone already.
    #[error("the parent process has ended")]
    Orphaned,
    /// The kernel refused.
    #[error("cannot tie the process to its parent: {0}")]
    DeathSignal(io::Error),
    /// The program does not start.
    #[error("cannot start {}: {source}", program.display())]
    Exec {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
}

/// Becomes `program`, which dies with the parent process `parent`. Returns only on errors.
#[cfg(unix)]
pub fn exec(parent: u32, program: OsString, arguments: &[OsString]) -> Result<Infallible, GuardError> {
    use std::os::unix::process::{CommandExt, parent_id};

    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| GuardError::DeathSignal(error.into()))?;
    // It may have died before the signal was asked for.
    if parent_id() != parent {
        return Err(GuardError::Orphaned);
    }
    let source = Command::new(&program).args(arguments).exec();
    Err(GuardError::Exec { program, source })
}
