//! Hears of changes to files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::tree;

/// How often everything is looked at where the system cannot tell of changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a file that is being written must be quiet. Only where the end of writing is not announced; on Linux it is.
const QUIET: Duration = Duration::from_millis(50);

/// Something changed.
#[derive(Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// These files, as far as is known.
    Files(BTreeSet<PathBuf>),
    /// Something about directories or links: look at everything.
    Anything,
}

/// Watches what a set of paths stands for.
///
/// Directories are watched, never files: a file that an editor replaces is a new file, and would be lost.
#[derive(Debug)]
pub struct Watcher {
    notify: Option<RecommendedWatcher>,
    events: mpsc::UnboundedReceiver<notify::Result<notify::Event>>,
    roots: Vec<PathBuf>,
    /// The watched directories and the roots, from the absolute path that the system reports to the path as given.
    given: BTreeMap<PathBuf, PathBuf>,
    watched: BTreeSet<PathBuf>,
}

/// What has been heard and not yet been told.
#[derive(Default)]
struct Heard {
    files: BTreeSet<PathBuf>,
    anything: bool,
    writing: bool,
}

impl Watcher {
    /// Watches `roots`.
    ///
    /// If the system cannot watch (too many watches, for example), the paths are looked at every second, and the log
    /// says so.
    pub fn new(roots: &[PathBuf]) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let notify = notify::recommended_watcher(move |event| {
            // Nobody listens any more at the end of the program.
            let _ = sender.send(event);
        });
        let notify = notify.map_err(|error| poll_instead(&error)).ok();
        let mut out =
            Self { notify, events, roots: roots.to_vec(), given: BTreeMap::new(), watched: BTreeSet::new() };
        out.update();
        out
    }

    /// Follows directories and links that came, went or point elsewhere. To be called after [`WatchEvent::Anything`].
    pub fn update(&mut self) {
        let Some(notify) = &mut self.notify else { return };
        let wanted: BTreeSet<PathBuf> = self.roots.iter().flat_map(|root| tree::watched(root)).collect();
        for gone in self.watched.difference(&wanted) {
            // A directory that was removed is no longer watched anyway.
            let _ = notify.unwatch(gone);
        }
        let mut failed = None;
        for directory in &wanted {
            // Again even if watched: another directory may have taken the name.
            if let Err(error) = notify.watch(directory, RecursiveMode::NonRecursive)
                && directory.exists()
            {
                failed = Some(error);
            }
        }
        self.given = wanted.iter().chain(&self.roots).map(|path| (absolute(path), path.clone())).collect();
        self.watched = wanted;
        if let Some(error) = failed {
            poll_instead(&error);
            self.notify = None;
        }
    }

    /// Waits for the next change. Everything that is already known to have changed comes at once.
    pub async fn next(&mut self) -> WatchEvent {
        if self.notify.is_none() {
            tokio::time::sleep(POLL_INTERVAL).await;
            return WatchEvent::Anything;
        }
        let mut heard = Heard::default();
        loop {
            let event = match self.events.try_recv() {
                Ok(event) => Some(event),
                Err(_) if heard.anything => return WatchEvent::Anything,
                Err(_) if heard.writing => match tokio::time::timeout(QUIET, self.events.recv()).await {
                    Ok(event) => event,
                    Err(_) => return WatchEvent::Files(heard.files),
                },
                Err(_) if !heard.files.is_empty() => return WatchEvent::Files(heard.files),
                Err(_) => self.events.recv().await,
            };
            match event {
                Some(Ok(event)) => self.hear(&event, &mut heard),
                Some(Err(error)) => {
                    tracing::debug!(%error, "watching");
                    heard.anything = true;
                }
                None => return WatchEvent::Anything,
            }
        }
    }

    fn hear(&self, event: &notify::Event, heard: &mut Heard) {
        let Some(news) = News::of(event) else { return };
        heard.anything |= event.need_rescan() || event.paths.is_empty();
        for path in &event.paths {
            let file = self
                .as_given(path)
                .filter(|p| (tree::is_manifest(p) || self.roots.contains(p)) && !p.is_symlink());
            match file {
                Some(file) if !file.is_dir() => {
                    heard.writing |= news == News::Writing;
                    heard.files.insert(file);
                }
                // A link or directory that is there, or one that is gone. Other names are none of our business:
                // editors make and remove a few for every save.
                _ => {
                    let gone = self.given.contains_key(path) && !path.exists();
                    heard.anything |= news == News::Entry && (path.is_symlink() || path.is_dir() || gone);
                }
            }
        }
    }

    fn as_given(&self, path: &Path) -> Option<PathBuf> {
        self.given
            .get(path)
            .cloned()
            .or_else(|| Some(self.given.get(path.parent()?)?.join(path.file_name()?)))
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn poll_instead(error: &notify::Error) {
    tracing::warn!(
        %error,
        "cannot watch the files, so they are looked at every second (on Linux: raise fs.inotify.max_user_watches)"
    );
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// Somebody is writing.
    Writing,
    /// A file has its new content.
    Written,
    /// An entry of a directory came, went or was renamed.
    Entry,
}

impl News {
    fn of(event: &notify::Event) -> Option<Self> {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Metadata(_)) => Some(Self::Written),
            EventKind::Access(_) => None,
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => {
                Some(Self::Entry)
            }
            // Linux says when the writing has ended.
            _ if cfg!(target_os = "linux") && !event.need_rescan() => None,
            _ => Some(Self::Writing),
        }
    }
}
