//! The shipped binary.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::envoy::find_envoy;
use crate::wait::until;

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root exists")
}

/// The binary `postern`: `POSTERN_BIN`, else what `cargo build -p postern` makes in the profile of
/// the running test.
pub fn postern_binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            if let Some(path) = std::env::var_os("POSTERN_BIN") {
                return PathBuf::from(path);
            }
            let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command
                .args(["build", "--quiet", "--package", "postern", "--bin", "postern"])
                .current_dir(repository());
            // `<target>/<profile>/deps/<test>`
            let test = std::env::current_exe().expect("the path of the test");
            let profile = test.ancestors().nth(2).expect("a test lies in the target directory");
            if profile.ends_with("release") {
                // The profile of benchmarks: what the benchmark itself has compiled is used again.
                command.args(["--profile", "bench"]);
            }
            let output = command.output().expect("run cargo");
            assert!(
                output.status.success(),
                "cargo build -p postern failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let binary = profile.join("postern");
            assert!(binary.is_file(), "cargo build -p postern left no {}", binary.display());
            binary
        })
        .clone()
}

/// What a command that ended left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Both outputs, for messages and searches.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// A running `postern`; killed when dropped, with the Envoys that it supervises.
pub struct Postern {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Postern {
    /// Runs `postern` with `arguments` in `directory` to its end.
    pub fn finish(directory: &Path, arguments: &[&str]) -> Finished {
        let output = command(directory, arguments).output().expect("run postern");
        Finished {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts `postern` with `arguments` in `directory`.
    pub fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = command(directory, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start postern");
        let output = Arc::new(Mutex::new(String::new()));
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, Arc::clone(&output));
        }
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, Arc::clone(&output));
        }
        Self { child, output }
    }

    /// Everything printed so far, both outputs mixed as the lines came.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the output contains `text`.
    pub async fn prints(&mut self, text: &str) {
        let exited = self.child.try_wait();
        until(&format!("line with {text:?} of postern"), || {
            let output = self.output();
            async move { if output.contains(text) { Ok(()) } else { Err(output) } }
        })
        .await;
        drop(exited);
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits for it.
    pub async fn terminate(&mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        until("end of postern after SIGTERM", || {
            let status = self.child.try_wait();
            let output = self.output();
            async move { status.map_err(|error| error.to_string())?.ok_or(output) }
        })
        .await
    }
}

impl Drop for Postern {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the output of postern:\n{}", self.output());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            // SIGKILL would leave the Envoys that it started: give it the chance to end them.
            signal(self.child.id(), "TERM");
            let begin = std::time::Instant::now();
            while matches!(self.child.try_wait(), Ok(None))
                && begin.elapsed() < std::time::Duration::from_secs(5)
            {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        self.kill();
    }
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(postern_binary());
    command
        .args(arguments)
        .current_dir(directory)
        .env_remove("POSTERN_ENVOY")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    if !arguments.contains(&"--no-envoy") && !arguments.contains(&"--envoy") {
        command.env("POSTERN_ENVOY", find_envoy());
    }
    if let Some(directory) = find_envoy().parent() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(directory.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(all).expect("PATH stays valid"));
    }
    command
}

fn collect(from: impl std::io::Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = String::new();
        while matches!(reader.read_line(&mut line), Ok(1..)) {
            into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
            line.clear();
        }
        let _ = reader.read_to_string(&mut line);
    });
}

fn signal(id: u32, name: &str) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status();
}
