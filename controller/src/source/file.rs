//! One file: what it held when it was last read, and what of that is in force.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use postern_translator::ObjectKey;

use super::parse::{self, Held, Parsed};
use super::position::{FieldIndex, Position};
use super::{SETTLE, fields, text, tree};
use crate::diagnostic::{Diagnostic, Level, Location};

/// A file and its documents.
#[derive(Debug, Default)]
pub(crate) struct File {
    fingerprint: Option<Fingerprint>,
    documents: Vec<Document>,
    /// The objects in force: those of the sound documents, and those kept from before.
    objects: BTreeMap<ObjectKey, Held>,
    /// Those of `objects` that no longer stand in the file.
    kept: BTreeSet<ObjectKey>,
    /// Why the file could not be read.
    unreadable: Option<String>,
    /// The state of the file that looks wrong and is not believed yet, and since when.
    doubted: Option<(Option<Fingerprint>, Instant)>,
    gone: bool,
}

/// What one look at a file brought.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) changed: bool,
    /// The objects that came, changed or went.
    pub(crate) touched: Vec<ObjectKey>,
    pub(crate) again_after: Option<Duration>,
}

#[derive(Debug)]
struct Document {
    line: usize,
    text: Arc<str>,
    parsed: Arc<Parsed>,
}

/// The text says it all.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line && self.text == other.text
    }
}

impl Document {
    fn position(&self, field: &str) -> Position {
        self.absolute(FieldIndex::of(&self.text).find(field))
    }

    fn absolute(&self, (line, column): Position) -> Position {
        (self.line + line.max(1) - 1, column)
    }

    fn is_sound(&self) -> bool {
        !self.parsed.unknown && self.parsed.broken.is_empty()
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint {
    modified: Option<SystemTime>,
    length: u64,
    identity: (u64, u64, i64, i64),
}

impl Fingerprint {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let identity = (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
        Self { modified: metadata.modified().ok(), length: metadata.len(), identity }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        Self { modified: metadata.modified().ok(), length: metadata.len(), identity: (0, 0, 0, 0) }
    }
}

enum Reading {
    Unchanged,
    Gone,
    Failed(Option<Fingerprint>, String),
    Text(Option<Fingerprint>, String),
}

impl File {
    /// The objects in force.
    pub(crate) fn objects(&self) -> &BTreeMap<ObjectKey, Held> {
        &self.objects
    }

    /// True once the file no longer exists and that is believed.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Looks at the file at `path`. If `patient`, what takes something away must last for [`SETTLE`] to be believed.
    pub(crate) fn refresh(&mut self, path: &Path, now: Instant, patient: bool) -> Outcome {
        let (fingerprint, reading) = match self.read(path) {
            Reading::Unchanged => {
                self.doubted = None;
                return Outcome::default();
            }
            Reading::Gone => (None, Ok(None)),
            Reading::Failed(fingerprint, error) => (fingerprint, Err(error)),
            Reading::Text(fingerprint, text) => (fingerprint, Ok(Some(self.parse(&text)))),
        };
        let doubtful = match &reading {
            Ok(Some(documents)) => documents.is_empty() || !documents.iter().all(Document::is_sound),
            Ok(None) | Err(_) => true,
        };
        if patient && doubtful && !self.objects.is_empty() {
            let since = match &self.doubted {
                Some((state, since)) if *state == fingerprint => *since,
                _ => now,
            };
            self.doubted = Some((fingerprint.clone(), since));
            let waited = now.saturating_duration_since(since);
            if waited < SETTLE {
                return Outcome { again_after: Some(SETTLE.saturating_sub(waited)), ..Outcome::default() };
            }
        }
        let before = self.objects.clone();
        self.doubted = None;
        self.fingerprint = fingerprint;
        let was_readable = self.unreadable.take().is_none();
        match reading {
            Ok(Some(documents)) if was_readable && documents == self.documents => return Outcome::default(),
            Ok(Some(documents)) => self.take(documents),
            Ok(None) => *self = Self { gone: true, ..Self::default() },
            Err(error) => {
                self.kept = self.objects.keys().cloned().collect();
                self.unreadable = Some(error);
            }
        }
        let now = &self.objects;
        let touched =
            now.iter().filter(|(key, held)| before.get(key) != Some(held)).map(|(key, _)| key.clone());
        let gone = before.keys().filter(|key| !now.contains_key(*key)).cloned();
        Outcome { changed: true, touched: touched.chain(gone).collect(), again_after: None }
    }

    fn read(&self, path: &Path) -> Reading {
        if path == Path::new(tree::STDIN) {
            return if self.fingerprint.is_none() && self.documents.is_empty() && !self.gone {
                let mut text = String::new();
                match io::stdin().lock().read_to_string(&mut text) {
                    Ok(_) => Reading::Text(None, text),
                    Err(error) => Reading::Failed(None, error.to_string()),
                }
            } else {
                Reading::Unchanged
            };
        }
        let fingerprint = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Fingerprint::of(&metadata),
            Ok(_) => return Reading::Gone,
            Err(error) if is_absent(&error) => return Reading::Gone,
            Err(error) => return Reading::Failed(None, error.to_string()),
        };
        if self.fingerprint.as_ref() == Some(&fingerprint) {
            return Reading::Unchanged;
        }
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => Reading::Text(Some(fingerprint), text),
            Ok(Err(_)) => Reading::Failed(Some(fingerprint), "the file is not UTF-8 text".to_owned()),
            Err(error) if is_absent(&error) => Reading::Gone,
            Err(error) => Reading::Failed(Some(fingerprint), error.to_string()),
        }
    }

    /// The documents of `text`; those that stood in the file before are not parsed again.
    fn parse(&self, text: &str) -> Vec<Document> {
        let known: HashMap<&str, &Document> = self.documents.iter().map(|d| (d.text.as_ref(), d)).collect();
        text::documents(text)
            .into_iter()
            .map(|chunk| match known.get(chunk.text) {
                Some(same) => {
                    Document { line: chunk.line, text: same.text.clone(), parsed: same.parsed.clone() }
                }
                None => Document {
                    line: chunk.line,
                    text: chunk.text.into(),
                    parsed: Arc::new(parse::document(chunk.text)),
                },
            })
            .collect()
    }

    /// Works out which objects are in force now that the file holds `documents`.
    fn take(&mut self, documents: Vec<Document>) {
        self.documents = documents;
        let before = std::mem::take(&mut self.objects);
        self.kept.clear();
        for document in &self.documents {
            for (_, held) in &document.parsed.objects {
                self.objects.entry(held.object.key()).or_insert_with(|| held.clone());
            }
        }
        if self.documents.iter().all(Document::is_sound) {
            return;
        }
        let unknown = self.documents.iter().any(|document| document.parsed.unknown);
        let broken: BTreeSet<&ObjectKey> = self.documents.iter().flat_map(|d| &d.parsed.broken).collect();
        for (key, held) in before {
            if (unknown || broken.contains(&key)) && !self.objects.contains_key(&key) {
                self.kept.insert(key.clone());
                self.objects.insert(key, held);
            }
        }
    }

    /// Line and column of `field` of the object `key` in the file.
    pub(crate) fn locate(&self, key: &ObjectKey, field: &str) -> Option<Position> {
        self.documents.iter().find_map(|document| {
            let (path, _) = document.parsed.objects.iter().find(|(_, held)| held.object.key() == *key)?;
            Some(document.position(&fields::join(path, field)))
        })
    }

    /// Appends what is wrong with the file at `path`.
    pub(crate) fn diagnostics(&self, path: &Arc<PathBuf>, out: &mut Vec<Diagnostic>) {
        let stays = if self.kept.is_empty() { "" } else { "; what was read before stays in force" };
        if let Some(error) = &self.unreadable {
            out.push(Diagnostic {
                level: Level::Error,
                location: Some(Location { file: path.clone(), line: 0, column: 0 }),
                object: None,
                field: String::new(),
                message: format!("cannot be read: {error}{stays}"),
                remedy: "check the file and its permissions".to_owned(),
            });
        }
        let mut seen: BTreeMap<ObjectKey, (&Document, &String)> = BTreeMap::new();
        for document in &self.documents {
            for finding in &document.parsed.findings {
                let (line, column) = document.absolute(finding.position);
                let fatal = finding.level == Level::Error && !document.is_sound();
                out.push(Diagnostic {
                    level: finding.level,
                    location: Some(Location { file: path.clone(), line, column }),
                    object: finding.object.clone(),
                    field: finding.field.clone(),
                    message: format!("{}{}", finding.message, if fatal { stays } else { "" }),
                    remedy: finding.remedy.clone(),
                });
            }
            for (place, held) in &document.parsed.objects {
                match seen.entry(held.object.key()) {
                    Entry::Vacant(entry) => {
                        entry.insert((document, place));
                    }
                    Entry::Occupied(entry) => {
                        let (line, column) = document.position(&fields::join(place, "metadata.name"));
                        let (first, place) = entry.get();
                        let first = first.position(&fields::join(place, "metadata.name")).0;
                        out.push(Diagnostic {
                            level: Level::Error,
                            location: Some(Location { file: path.clone(), line, column }),
                            object: Some(entry.key().to_string()),
                            field: "metadata.name".to_owned(),
                            message: format!("defined a second time; the one on line {first} counts"),
                            remedy: "remove or rename one of the two".to_owned(),
                        });
                    }
                }
            }
        }
    }
}

/// True if `error` says that there is no such file, rather than that it cannot be read.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
