//! Which files a path stands for, and which directories must be watched to hear of every change to them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

/// The name of the standard input.
pub(crate) const STDIN: &str = "-";

/// A path that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// There is nothing there.
    #[error("{}: no such file or directory", .0.display())]
    Absent(PathBuf),
    /// It is there, and cannot be looked at.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PathError {
    fn new(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            Self::Absent(path.to_owned())
        } else {
            Self::Unreadable { path: path.to_owned(), source }
        }
    }
}

/// The files that `root` stands for: itself, or what lies below it and is called `*.yaml`, `*.yml` or `*.json`.
/// Symbolic links are followed; names that begin with a dot are left out.
pub(crate) fn list(root: &Path) -> Result<BTreeSet<PathBuf>, PathError> {
    let mut files = BTreeSet::new();
    if root == Path::new(STDIN) || fs::metadata(root).map_err(|e| PathError::new(root, e))?.is_file() {
        files.insert(root.to_owned());
        return Ok(files);
    }
    let mut trail = Vec::new();
    walk(root, &mut trail, &mut |path, is_directory| {
        if !is_directory && is_manifest(path) {
            files.insert(path.to_owned());
        }
    })
    .map_err(|e| PathError::new(root, e))?;
    Ok(files)
}

/// The directories to watch for `root`: each that holds a file or link on the way to something that [`list`] lists.
pub(crate) fn watched(root: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    if root == Path::new(STDIN) {
        return directories;
    }
    resolve(root, &mut directories, 0);
    if fs::metadata(root).is_ok_and(|m| m.is_dir()) {
        directories.insert(root.to_owned());
        // What cannot be listed now is watched once it can be.
        let _ = walk(root, &mut Vec::new(), &mut |path, is_directory| {
            if is_directory {
                directories.insert(path.to_owned());
            }
            if path.is_symlink() && (is_directory || is_manifest(path)) {
                resolve(path, &mut directories, 0);
            }
        });
    }
    directories
}

/// True if the name of `path` says that it holds objects.
pub(crate) fn is_manifest(path: &Path) -> bool {
    !is_hidden(path)
        && path.extension().and_then(OsStr::to_str).is_some_and(|e| matches!(e, "yaml" | "yml" | "json"))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_none_or(|name| name.starts_with('.'))
}

/// Calls `visit` for everything below `directory`; `trail` holds the real paths of the directories around it, so that
/// links that lead back up end.
fn walk(directory: &Path, trail: &mut Vec<PathBuf>, visit: &mut impl FnMut(&Path, bool)) -> io::Result<()> {
    let real = directory.canonicalize()?;
    if trail.contains(&real) {
        return Ok(());
    }
    trail.push(real);
    for entry in fs::read_dir(directory)?.flatten() {
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        // A dangling link, or a file that is just being replaced.
        let Ok(kind) = fs::metadata(&path) else { continue };
        visit(&path, kind.is_dir());
        if kind.is_dir()
            && let Err(error) = walk(&path, trail, visit)
        {
            tracing::debug!(path = %path.display(), %error, "cannot list");
        }
    }
    trail.pop();
    Ok(())
}

/// Collects the directory of `path`, and of every symbolic link that leads to it.
fn resolve(path: &Path, directories: &mut BTreeSet<PathBuf>, depth: usize) {
    const MAX_LINKS: usize = 40; // as the kernel
    if depth > MAX_LINKS {
        return;
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return,
    };
    directories.insert(parent.to_owned());
    let mut walked = PathBuf::new();
    for component in path.components() {
        walked.push(component);
        if !matches!(component, Component::Normal(_)) {
            continue;
        }
        if let Ok(target) = fs::read_link(&walked) {
            let base = walked.parent().unwrap_or_else(|| Path::new("."));
            if walked != path {
                directories.insert(if base.as_os_str().is_empty() { ".".into() } else { base.to_owned() });
            }
            resolve(&base.join(target), directories, depth + 1);
        }
    }
}
