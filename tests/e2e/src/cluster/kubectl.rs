//! `kubectl`, as a user runs it.

use std::ffi::OsString;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::postern::repository;

/// `POSTERN_KUBECTL`, else `kubectl` on `PATH`; run in the root of the repository.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: OsString,
}

impl Kubectl {
    pub(super) fn find() -> Self {
        Self { program: std::env::var_os("POSTERN_KUBECTL").unwrap_or_else(|| "kubectl".into()) }
    }

    /// What `kubectl arguments` prints; fails the test when it fails.
    pub async fn run(&self, arguments: &[&str]) -> String {
        self.attempt(arguments, "").await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What `kubectl arguments` prints, or what it complains about.
    pub async fn attempt(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .current_dir(repository())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        let mut stdin = child.stdin.take().expect("a pipe");
        let write = async move {
            // A kubectl that fails early reads nothing; what it says counts.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        judge(arguments, &output.map_err(|error| error.to_string())?)
    }

    /// Applies YAML server-side in `namespace`, and says what the API server refuses.
    pub async fn try_apply(&self, namespace: &str, yaml: &str) -> Result<String, String> {
        self.attempt(
            &["apply", "--server-side", "--force-conflicts", "--namespace", namespace, "-f", "-"],
            yaml,
        )
        .await
    }

    /// The same for the end of a test, where nothing can be awaited any more.
    pub(super) fn blocking(&self, arguments: &[&str]) -> Result<String, String> {
        let output = std::process::Command::new(&self.program)
            .args(arguments)
            .current_dir(repository())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        judge(arguments, &output)
    }
}

fn judge(arguments: &[&str], output: &Output) -> Result<String, String> {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("kubectl {} failed: {printed}{complaint}", arguments.join(" ")))
}
