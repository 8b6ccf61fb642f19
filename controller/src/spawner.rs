//! Starts child processes from one thread that lives as long as the program.
//!
//! The kernel ends a guarded child (see [`crate::envoy`]) when the *thread* that started it ends, and threads of the async runtime
//! may come and go.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;

type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// A handle to the thread; cheap to clone. The thread ends with the last handle.
#[derive(Clone, Debug)]
pub struct Spawner(mpsc::Sender<Job>);

impl Spawner {
    /// Starts the thread. To be called within a tokio runtime, which then watches the children.
    pub fn new() -> io::Result<Self> {
        let (jobs, receiver) = mpsc::channel::<Job>();
        let runtime = Handle::current();
        thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            let _entered = runtime.enter();
            for (mut command, answer) in receiver {
                // Whoever asked may have been cancelled; then the child is killed as it is dropped.
                let _ = answer.send(command.spawn());
            }
        })?;
        Ok(Self(jobs))
    }

    /// Starts `command`.
    pub fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, result) = mpsc::sync_channel(1);
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.0.send((command, answer)).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?
    }
}
