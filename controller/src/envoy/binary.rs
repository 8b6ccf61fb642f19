//! Finds the Envoy to run.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Envoy version that Postern is tested with.
pub const VERSION: &str = "1.40.0";

/// An Envoy that runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The executable.
    pub path: PathBuf,
    /// Its version, such as `1.40.0`.
    pub version: String,
}

/// Why there is no Envoy.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// The one that was asked for is not there.
    #[error("{} is not an executable file; check the path given with --envoy", .0.display())]
    NotExecutable(PathBuf),
    /// None was found.
    #[error(
        "no Envoy was found: there is none on PATH and none in {}\n\
         install one with `hack/envoy.sh`, name one with `--envoy PATH`, or serve only xDS with `--no-envoy`",
        .0.display()
    )]
    NotFound(PathBuf),
    /// It does not run.
    #[error("{} does not run: {reason}", path.display())]
    Broken {
        /// The executable.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// The Envoy at `wanted`; else the `envoy` on `PATH`; else the one that `hack/envoy.sh` put into the user's cache.
pub fn find(wanted: Option<&Path>) -> Result<Binary, BinaryError> {
    let path = match wanted {
        Some(path) if is_executable(path) => path.to_owned(),
        Some(path) => match on_path(path.as_os_str()) {
            Some(found) if path.components().count() == 1 => found,
            _ => return Err(BinaryError::NotExecutable(path.to_owned())),
        },
        None => {
            let cached = cached();
            match on_path(OsStr::new("envoy")) {
                Some(found) => found,
                None if is_executable(&cached) => cached,
                None => return Err(BinaryError::NotFound(cached)),
            }
        }
    };
    let version = version_of(&path)?;
    Ok(Binary { path, version })
}

fn cached() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(|| PathBuf::from(".cache"));
    cache.join("postern").join(format!("envoy-{VERSION}")).join("envoy")
}

fn on_path(name: &OsStr) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Asks the executable for its version: `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn version_of(path: &Path) -> Result<String, BinaryError> {
    let broken = |reason: String| BinaryError::Broken { path: path.to_owned(), reason };
    let output = Command::new(path).arg("--version").output().map_err(|e| broken(e.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_once("version: ").and_then(|(_, rest)| rest.split('/').nth(1)).map(str::to_owned).ok_or_else(
        || {
            let complaint = String::from_utf8_lossy(&output.stderr);
            let complaint = complaint.lines().next().unwrap_or("it does not name its version as Envoy does");
            broken(complaint.to_owned())
        },
    )
}
