//! Kubernetes objects out of files.
//!
//! ```text
//! paths ─► files ─► documents ─► objects ─► the one object of each name ─► Change
//!          tree      text         parse                  Source
//! ```
//!
//! A [`Source`] remembers what it read. A changed file is read alone, and in it only the documents whose text changed
//! are parsed, so an edit gives the [`Change`]s of that edit and nothing else.
//!
//! Nothing that worked is taken away by a mistake: where a document does not parse, the objects that the file had before
//! and that no sound document of it defines stay in force, and [`Source::diagnostics`] says so. A file that is gone, empty or
//! broken is looked at again after [`SETTLE`] before that is believed, because many programs write in two steps.

mod fields;
mod file;
mod parse;
mod position;
mod suggest;
mod text;
mod tree;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use postern_translator::{Change, Kind, Object, ObjectKey};

use self::file::File;
use self::parse::Held;
pub(crate) use self::suggest::unknown_field;
pub use self::tree::PathError;
pub use self::watch::{WatchEvent, Watcher};
use crate::diagnostic::{Diagnostic, Level, Location};

/// The namespace of objects that name none, as with `kubectl`.
pub const DEFAULT_NAMESPACE: &str = "default";

/// How long a file must stay gone, empty or broken until it counts as that.
pub const SETTLE: Duration = Duration::from_millis(150);

/// The label that the API server puts on every Namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What one reading brought.
#[derive(Debug, Default)]
pub struct Refresh {
    /// The changes to the set of objects, in order of their keys.
    pub changes: Vec<Change>,
    /// The files whose content changed.
    pub files: Vec<Arc<PathBuf>>,
    /// When to call [`Source::refresh`] again although nothing was heard, because a file looked half-written.
    pub again_after: Option<Duration>,
}

/// The objects that a set of files and directories holds.
#[derive(Debug)]
pub struct Source {
    roots: Vec<PathBuf>,
    files: BTreeMap<Arc<PathBuf>, File>,
    /// Which files define an object; more than one is a mistake, and the first in order counts.
    definitions: BTreeMap<ObjectKey, BTreeSet<Arc<PathBuf>>>,
    /// The objects in force, without the implied Namespaces.
    objects: BTreeMap<ObjectKey, Held>,
    /// How many objects live in each namespace.
    namespaces: BTreeMap<String, usize>,
    /// What is wrong with each file that has something wrong, so that a change of one file costs one file.
    findings: BTreeMap<Arc<PathBuf>, Vec<Diagnostic>>,
    /// The objects that are defined more than once.
    repeated: BTreeSet<ObjectKey>,
    patient: bool,
}

impl Source {
    /// A source over files and directories (`-` is the standard input), nothing read yet.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            roots: paths.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            files: BTreeMap::new(),
            definitions: BTreeMap::new(),
            objects: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            findings: BTreeMap::new(),
            repeated: BTreeSet::new(),
            patient: false,
        }
    }

    /// Checks that all paths can be read.
    ///
    /// # Errors
    /// [`PathError`] if one of them does not exist or cannot be listed.
    pub fn check(&self) -> Result<(), PathError> {
        self.roots.iter().try_for_each(|root| tree::list(root).map(drop))
    }

    /// Reads everything once, for a command that does not watch.
    ///
    /// # Errors
    /// [`PathError`] if one of the paths does not exist or cannot be listed.
    pub fn read(paths: impl IntoIterator<Item = PathBuf>) -> Result<(Self, Vec<Change>), PathError> {
        let mut source = Self::new(paths);
        source.check()?;
        let changes = source.refresh(Instant::now()).changes;
        Ok((source, changes))
    }

    /// The paths that were given.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The files that are read.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.keys().map(|path| path.as_path())
    }

    /// How many objects are in force.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True if there is no object at all.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The objects in force, with the implied Namespaces.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        let implied =
            self.namespaces.keys().filter(|name| !self.has_namespace(name)).map(|name| namespace(name));
        self.objects.values().map(|held| with_name_label(&held.object)).chain(implied)
    }

    /// The object of this key, if it is in force.
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key).map(|held| &held.object)
    }

    /// Looks at all paths, and reads the files that changed. `now` is the time by which [`SETTLE`] is measured.
    pub fn refresh(&mut self, now: Instant) -> Refresh {
        let mut listed = BTreeSet::new();
        for root in &self.roots {
            match tree::list(root) {
                Ok(files) => listed.extend(files),
                Err(error) => tracing::debug!(path = %root.display(), %error, "cannot list"),
            }
        }
        let paths: BTreeSet<Arc<PathBuf>> =
            self.files.keys().cloned().chain(listed.into_iter().map(Arc::new)).collect();
        self.refresh_paths(&paths, now)
    }

    /// Reads the files at `paths` if they changed; looks at everything if a path is none of this source's.
    pub fn refresh_files<'a>(&mut self, paths: impl IntoIterator<Item = &'a Path>, now: Instant) -> Refresh {
        let paths: BTreeSet<_> = paths.into_iter().map(|path| Arc::new(path.to_path_buf())).collect();
        if paths.iter().all(|path| self.files.contains_key(path) || self.holds(path)) {
            self.refresh_paths(&paths, now)
        } else {
            self.refresh(now)
        }
    }

    fn holds(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path == root || (path.starts_with(root) && root.is_dir()))
    }

    fn refresh_paths(&mut self, paths: &BTreeSet<Arc<PathBuf>>, now: Instant) -> Refresh {
        let mut out = Refresh::default();
        let mut touched = BTreeSet::new();
        for path in paths {
            let file = self.files.entry(path.clone()).or_default();
            let outcome = file.refresh(path, now, self.patient);
            if let Some(wait) = outcome.again_after {
                out.again_after = Some(out.again_after.map_or(wait, |other| other.min(wait)));
            }
            if outcome.changed {
                out.files.push(path.clone());
                for key in &outcome.touched {
                    if file.objects().contains_key(key) {
                        self.definitions.entry(key.clone()).or_default().insert(path.clone());
                    } else if let Some(definitions) = self.definitions.get_mut(key) {
                        definitions.remove(path);
                        if definitions.is_empty() {
                            self.definitions.remove(key);
                        }
                    }
                    if self.definitions.get(key).is_some_and(|paths| paths.len() > 1) {
                        self.repeated.insert(key.clone());
                    } else {
                        self.repeated.remove(key);
                    }
                }
                touched.extend(outcome.touched);
            }
            let mut findings = Vec::new();
            file.diagnostics(path, &mut findings);
            if findings.is_empty() {
                self.findings.remove(path);
            } else {
                self.findings.insert(path.clone(), findings);
            }
            if file.is_gone() {
                self.files.remove(path);
                self.findings.remove(path);
            }
        }
        self.patient = true;
        out.changes = self.settle(touched);
        out
    }

    /// Brings `objects` up to date for `keys`, and says what changed.
    fn settle(&mut self, keys: BTreeSet<ObjectKey>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut used = BTreeSet::new();
        for key in keys {
            let winner = self
                .definitions
                .get(&key)
                .and_then(BTreeSet::first)
                .and_then(|path| self.files.get(path))
                .and_then(|file| file.objects().get(&key))
                .cloned();
            if !key.namespace.is_empty() {
                used.insert(key.namespace.clone());
            }
            let Some(held) = winner else {
                if self.objects.remove(&key).is_some() {
                    changes.push(self.removed(key));
                }
                continue;
            };
            let old = self.objects.insert(key.clone(), held.clone());
            if old.as_ref() == Some(&held) {
                continue;
            }
            if old.is_none() && !key.namespace.is_empty() {
                let count = self.namespaces.entry(key.namespace.clone()).or_default();
                *count += 1;
                if *count == 1 && !self.has_namespace(&key.namespace) {
                    changes.push(Change::Upsert(namespace(&key.namespace)));
                }
            }
            changes.push(Change::Upsert(with_name_label(&held.object)));
        }
        for name in used {
            if self.namespaces.get(&name) == Some(&0) {
                self.namespaces.remove(&name);
                if !self.has_namespace(&name) {
                    changes.push(Change::Delete(namespace_key(&name)));
                }
            }
        }
        changes
    }

    /// The change that `key` is gone. A Namespace that is still used lives on, without what the file said of it.
    fn removed(&mut self, key: ObjectKey) -> Change {
        if key.kind == Kind::Namespace && self.namespaces.contains_key(&key.name) {
            return Change::Upsert(namespace(&key.name));
        }
        if let Some(count) = self.namespaces.get_mut(&key.namespace) {
            *count -= 1;
        }
        Change::Delete(key)
    }

    fn has_namespace(&self, name: &str) -> bool {
        self.objects.contains_key(&namespace_key(name))
    }

    /// Where `field` of the object `key` stands.
    pub fn locate(&self, key: &ObjectKey, field: &str) -> Option<Location> {
        let path = self.definitions.get(key)?.first()?;
        let (line, column) = self.files.get(path)?.locate(key, field)?;
        Some(Location { file: path.clone(), line, column })
    }

    /// Everything that is wrong with the files themselves, by place.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut out: Vec<Diagnostic> = self.findings.values().flatten().cloned().collect();
        for key in &self.repeated {
            let Some(paths) = self.definitions.get(key) else { continue };
            let first = self.locate(key, "metadata.name").map(|l| l.to_string()).unwrap_or_default();
            for path in paths.iter().skip(1) {
                let (line, column) = self
                    .files
                    .get(path)
                    .and_then(|file| file.locate(key, "metadata.name"))
                    .unwrap_or_default();
                out.push(Diagnostic {
                    level: Level::Error,
                    location: Some(Location { file: path.clone(), line, column }),
                    object: Some(key.to_string()),
                    field: "metadata.name".to_owned(),
                    message: format!("defined a second time; the one at {first} counts"),
                    remedy: "remove or rename one of the two".to_owned(),
                });
            }
        }
        out.sort();
        out
    }
}

fn namespace_key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Namespace, "", name)
}

fn namespace(name: &str) -> Object {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    with_name_label(&namespace.into())
}

/// Namespaces carry their name as a label, whether the file says so or not.
fn with_name_label(object: &Object) -> Object {
    let Object::Namespace(namespace) = object else { return object.clone() };
    let mut namespace = namespace.as_ref().clone();
    let name = namespace.metadata.name.clone().unwrap_or_default();
    namespace.metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_owned(), name);
    namespace.into()
}
