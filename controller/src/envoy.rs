//! Real Envoys as child processes: found, started, watched, restarted, drained and ended.

mod admin;
mod backoff;
mod binary;
mod guard;
mod log;
mod supervisor;

pub(crate) use self::admin::exchange;
pub use self::admin::{Admin, AdminError};
pub use self::backoff::Backoff;
pub use self::binary::{Binary, BinaryError, VERSION, find};
pub use self::guard::{COMMAND as GUARD_COMMAND, GuardError, exec as guard_exec};
pub use self::log::{LogLevel, LogLine};
pub use self::supervisor::{Exit, Instance, Launch, Supervisor, SupervisorEvent, Timing};
