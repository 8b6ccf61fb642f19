//! Keeps one Envoy running.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Admin, Backoff, LogLevel, LogLine};
use crate::bootstrap::Bootstrap;
use crate::spawner::Spawner;

/// How many of the last lines of its log are told when an Envoy dies.
const LAST_LINES: usize = 5;

/// How to start the Envoys of this process.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The Envoy executable.
    pub envoy: PathBuf,
    /// The `postern` executable by way of which Envoy is started, so that it cannot outlive this process; without it
    /// it can, if this process is killed.
    pub guard: Option<PathBuf>,
    /// Worker threads per Envoy.
    pub concurrency: u32,
    /// Envoy's `--log-level`.
    pub log_level: String,
    /// The waiting times.
    pub timing: Timing,
}

/// The waiting times of a [`Supervisor`].
#[derive(Clone, Debug)]
pub struct Timing {
    /// Before the first restart; doubles each time.
    pub first_restart: Duration,
    /// The longest wait before a restart.
    pub longest_restart: Duration,
    /// An Envoy that ran this long is restarted as if it had never died.
    pub ran_well: Duration,
    /// How long requests in flight may take to end when stopping.
    pub drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first_restart: Duration::from_millis(200),
            longest_restart: Duration::from_secs(30),
            ran_well: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

/// One Envoy to run.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Whose it is, for messages and events: `namespace/name` of the Gateway.
    pub name: String,
    /// A directory of its own, for its bootstrap file and sockets.
    pub directory: PathBuf,
    /// Its bootstrap configuration.
    pub bootstrap: Bootstrap,
}

/// How an Envoy ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// How it ended; `None` if it did not even start.
    pub status: Option<ExitStatus>,
    /// The last lines that it wrote, or why it did not start.
    pub last_lines: Vec<String>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status}"),
            None => f.write_str("it did not start"),
        }
    }
}

/// What happens to an Envoy.
#[derive(Clone, Debug)]
pub enum SupervisorEvent {
    /// The process runs.
    Started {
        /// The instance.
        name: String,
        /// The process id.
        pid: u32,
    },
    /// It has its configuration and serves.
    Ready {
        /// The instance.
        name: String,
    },
    /// It wrote a line at `warning` or above.
    Log {
        /// The instance.
        name: String,
        /// The line.
        line: LogLine,
    },
    /// It ended without being asked to, and will be started again.
    Died {
        /// The instance.
        name: String,
        /// How.
        exit: Exit,
        /// When it is started again.
        restart_in: Duration,
    },
    /// It was stopped as asked.
    Stopped {
        /// The instance.
        name: String,
    },
}

/// Runs one Envoy until told to stop. Dropping it kills the Envoy at once.
#[derive(Debug)]
pub struct Supervisor {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts `instance`, and tells `events` of it.
    pub fn start(
        launch: Launch,
        instance: Instance,
        spawner: Spawner,
        events: mpsc::UnboundedSender<SupervisorEvent>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let backoff =
            Backoff::new(launch.timing.first_restart, launch.timing.longest_restart, launch.timing.ran_well);
        let runner = Runner { launch, instance, spawner, events, backoff };
        let task = tokio::spawn(runner.run(stopped));
        Self { stop: Some(stop), task }
    }

    /// Drains the Envoy and ends it: no new connections, then wait for the requests in flight, then the end.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // If it is gone, so much the better.
            let _ = stop.send(());
        }
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!(%error, "the supervisor of an Envoy failed");
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Runner {
    launch: Launch,
    instance: Instance,
    spawner: Spawner,
    events: mpsc::UnboundedSender<SupervisorEvent>,
    backoff: Backoff,
}

enum Ended {
    Asked,
    Alone(Exit),
}

impl Runner {
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let began = Instant::now();
            let exit = match self.start() {
                Ok(child) => match self.watch(child, &mut stop).await {
                    Ended::Asked => break,
                    Ended::Alone(exit) => exit,
                },
                Err(error) => Exit { status: None, last_lines: vec![error.to_string()] },
            };
            let restart_in = self.backoff.after(began.elapsed());
            self.tell(SupervisorEvent::Died { name: self.name(), exit, restart_in });
            tokio::select! {
                () = tokio::time::sleep(restart_in) => {}
                _ = &mut stop => break,
            }
        }
        self.tell(SupervisorEvent::Stopped { name: self.name() });
    }

    fn name(&self) -> String {
        self.instance.name.clone()
    }

    fn tell(&self, event: SupervisorEvent) {
        // At the end of the program nobody listens any more.
        let _ = self.events.send(event);
    }

    fn start(&self) -> io::Result<Child> {
        let directory = &self.instance.directory;
        private_directory(directory)?;
        let config = directory.join("bootstrap.json");
        std::fs::write(&config, serde_json::to_vec_pretty(&self.instance.bootstrap.to_json())?)?;
        let mut command = match &self.launch.guard {
            Some(guard) => {
                let mut command = Command::new(guard);
                command
                    .arg(super::GUARD_COMMAND)
                    .arg(std::process::id().to_string())
                    .arg("--")
                    .arg(&self.launch.envoy);
                command
            }
            None => Command::new(&self.launch.envoy),
        };
        command
            .arg("--config-path")
            .arg(&config)
            .args(["--disable-hot-restart", "--log-format", LogLine::FORMAT])
            .args(["--log-level", &self.launch.log_level])
            .args(["--concurrency", &self.launch.concurrency.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C goes to Postern alone, which then drains Envoy in order.
        #[cfg(unix)]
        command.process_group(0);
        let child = self.spawner.spawn(command)?;
        if let Some(pid) = child.id() {
            self.tell(SupervisorEvent::Started { name: self.name(), pid });
        }
        Ok(child)
    }

    async fn watch(&self, mut child: Child, stop: &mut oneshot::Receiver<()>) -> Ended {
        let mut lines = child.stderr.take().map(|stderr| BufReader::new(stderr).lines());
        let mut last: VecDeque<String> = VecDeque::new();
        let admin = Admin::new(self.instance.bootstrap.admin.clone());
        let mut ready = false;
        let mut poll = tokio::time::interval(Duration::from_millis(25));
        loop {
            tokio::select! {
                line = next_line(&mut lines) => match line {
                    Some(line) => self.log(&line, &mut last),
                    None => lines = None,
                },
                status = child.wait() => {
                    while let Some(line) = next_line_now(&mut lines).await {
                        self.log(&line, &mut last);
                    }
                    return Ended::Alone(Exit { status: status.ok(), last_lines: last.into() });
                }
                _ = &mut *stop => {
                    self.end(&mut child, &admin).await;
                    return Ended::Asked;
                }
                _ = poll.tick(), if !ready => if admin.is_ready().await {
                    ready = true;
                    self.tell(SupervisorEvent::Ready { name: self.name() });
                },
            }
        }
    }

    fn log(&self, line: &str, last: &mut VecDeque<String>) {
        let line = LogLine::parse(line);
        if line.text.is_empty() {
            return;
        }
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line.text.clone());
        if line.level >= LogLevel::Warning {
            self.tell(SupervisorEvent::Log { name: self.name(), line });
        }
    }

    /// Closes the listeners, waits for the requests in flight, asks Envoy to end, and insists.
    async fn end(&self, child: &mut Child, admin: &Admin) {
        if admin.post("/drain_listeners").await.is_ok() {
            let deadline = Instant::now() + self.launch.timing.drain;
            while Instant::now() < deadline && admin.active_requests().await.is_some_and(|active| active > 0)
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        if terminate(child).is_ok()
            && tokio::time::timeout(Duration::from_secs(3), child.wait()).await.is_ok()
        {
            return;
        }
        if let Err(error) = child.kill().await {
            tracing::warn!(gateway = %self.instance.name, %error, "cannot end Envoy");
        }
    }
}

type Lines = tokio::io::Lines<BufReader<tokio::process::ChildStderr>>;

/// The next line; never, once there are no more.
async fn next_line(lines: &mut Option<Lines>) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// The next line of a process that has ended.
async fn next_line_now(lines: &mut Option<Lines>) -> Option<String> {
    let lines = lines.as_mut()?;
    // A child of the child may hold the pipe open.
    tokio::time::timeout(Duration::from_millis(200), lines.next_line()).await.ok()?.ok().flatten()
}

#[cfg(unix)]
fn terminate(child: &Child) -> io::Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the process has ended"))?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
}

#[cfg(unix)]
fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
