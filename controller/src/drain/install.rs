//! Putting this program into a volume of a pod, for a container whose image does not have it, and what the two need there.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::bootstrap::IDLE_SIGNAL_FILE;

/// The name of the program in the volume.
pub const BINARY: &str = "postern";

/// Why the program was not put there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It cannot be read.
    #[error("cannot read the program of this process: {0}")]
    Read(#[source] io::Error),
    /// The volume does not take it.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Copies the program that runs now to `directory`/[`BINARY`], whole or not at all: a container that was killed half-way starts
/// again and finds what is left. Beside it, no pressure to end idle connections: Envoy looks for a file that is not there
/// once a second, and logs it.
pub fn install(directory: &Path) -> Result<PathBuf, InstallError> {
    let mut source = std::env::current_exe().and_then(File::open).map_err(InstallError::Read)?;
    let target = directory.join(BINARY);
    let new = directory.join(format!(".{BINARY}.new"));
    let mut copy = || -> io::Result<()> {
        // What an earlier run left may not be writable any more.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create(&new)?;
        io::copy(&mut source, &mut file)?;
        file.set_permissions(Permissions::from_mode(0o555))?;
        drop(file);
        fs::rename(&new, &target)
    };
    copy().map_err(|source| InstallError::Write { path: target.clone(), source })?;
    let signal = directory.join(IDLE_SIGNAL_FILE);
    fs::write(&signal, "0").map_err(|source| InstallError::Write { path: signal, source })?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_whole_and_runs_again() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".postern.new"), "half").unwrap();
        fs::set_permissions(directory.path().join(".postern.new"), Permissions::from_mode(0o555)).unwrap();
        for _ in 0..2 {
            let path = install(directory.path()).unwrap();
            assert_eq!(path, directory.path().join("postern"));
            let (copy, own) = (fs::read(&path).unwrap(), fs::read(std::env::current_exe().unwrap()).unwrap());
            assert!(copy == own, "{} bytes of {}", copy.len(), own.len());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o555);
        }
        assert_eq!(fs::read_to_string(directory.path().join(IDLE_SIGNAL_FILE)).unwrap(), "0");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn says_what_it_cannot_write() {
        let error = install(Path::new("/does/not/exist")).unwrap_err();
        assert!(error.to_string().contains("/does/not/exist/postern"), "{error}");
    }
}
