//! Programs that tests run and that are not part of Postern.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Where a program is: what the environment variable `variable` says, else what the script `script` of the repository prints last.
pub(crate) fn find(variable: &str, script: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let script = crate::postern::repository().join(script);
    let output =
        Command::new(&script).output().with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    }
    let printed = String::from_utf8(output.stdout)?;
    let path = PathBuf::from(printed.lines().last().unwrap_or_default().trim());
    if !path.is_file() {
        bail!("{} printed {}, which is no file", script.display(), path.display());
    }
    Ok(path)
}
