//! Files in, configuration out: the part of `postern run` that decides, without a clock, sockets or processes of its own.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_translator::{Change, NamespacedName, ObjectKey, Options, Status, Translator, Update};

use crate::diagnostic::Diagnostic;
use crate::publish::Publisher;
use crate::source::{Refresh, Source};

/// Where systems keep the certificate authorities that they trust.
const CA_FILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The translator's options for Envoys of this machine that listen on `address`, where a Gateway names none.
pub fn options(address: IpAddr) -> Options {
    let mut options = Options { listen_address: address, bind_gateway_addresses: true, ..Options::default() };
    if let Some(file) = CA_FILES.iter().find(|file| Path::new(file).is_file()) {
        (*file).clone_into(&mut options.system_ca_file);
    }
    options
}

/// What one step did.
#[derive(Debug, Default)]
pub struct Step {
    /// The files whose content changed.
    pub files: Vec<Arc<PathBuf>>,
    /// How many objects changed.
    pub objects: usize,
    /// How many Envoy resources changed, over all Gateways.
    pub resources: usize,
    /// New and changed statuses; `None` where an object lost its status.
    pub statuses: BTreeMap<ObjectKey, Option<Status>>,
    /// Findings that were not there before.
    pub found: Vec<Diagnostic>,
    /// Findings that are gone.
    pub mended: Vec<Diagnostic>,
    /// Gateways that are new or changed.
    pub gateways: BTreeSet<NamespacedName>,
    /// Gateways that are gone.
    pub removed: Vec<NamespacedName>,
    /// A bug: the translation panicked, with these words.
    pub panicked: Option<String>,
    /// The time for reading and parsing.
    pub reading: Duration,
    /// The time for translating and publishing.
    pub translating: Duration,
    /// When to look again although nothing was heard.
    pub again_after: Option<Duration>,
}

impl Step {
    /// True if there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.objects == 0
            && self.statuses.is_empty()
            && self.found.is_empty()
            && self.mended.is_empty()
            && self.panicked.is_none()
    }
}

/// What to look at.
#[derive(Debug)]
pub enum Look {
    /// Everything.
    Everywhere,
    /// These files.
    At(BTreeSet<PathBuf>),
}

/// Owns the source, the translator and what was published.
#[derive(Debug)]
pub struct Engine {
    source: Source,
    options: Options,
    translator: Translator,
    publisher: Publisher,
    statuses: BTreeMap<ObjectKey, Status>,
    diagnostics: BTreeSet<Diagnostic>,
    gateways: BTreeSet<NamespacedName>,
}

impl Engine {
    /// An engine that has read nothing yet.
    pub fn new(source: Source, options: Options, publisher: Publisher) -> Self {
        Self {
            source,
            translator: Translator::new(options.clone()),
            options,
            publisher,
            statuses: BTreeMap::new(),
            diagnostics: BTreeSet::new(),
            gateways: BTreeSet::new(),
        }
    }

    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What was published.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// What was published, to try blocked listeners again.
    pub fn publisher_mut(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    /// The statuses as they are now.
    pub fn statuses(&self) -> &BTreeMap<ObjectKey, Status> {
        &self.statuses
    }

    /// The Gateways that are served.
    pub fn gateways(&self) -> &BTreeSet<NamespacedName> {
        &self.gateways
    }

    /// Everything that is wrong now.
    pub fn diagnostics(&self) -> &BTreeSet<Diagnostic> {
        &self.diagnostics
    }

    /// Reads what changed, translates it and publishes the difference.
    pub fn step(&mut self, look: &Look) -> Step {
        let began = Instant::now();
        let Refresh { changes, files, again_after } = match look {
            Look::Everywhere => self.source.refresh(began),
            Look::At(paths) => self.source.refresh_files(paths.iter().map(PathBuf::as_path), began),
        };
        let mut step =
            Step { files, objects: changes.len(), again_after, reading: began.elapsed(), ..Step::default() };
        let began = Instant::now();
        if !changes.is_empty() {
            self.translate(changes, &mut step);
        }
        step.translating = began.elapsed();
        if !step.files.is_empty() || step.objects > 0 {
            self.compare_diagnostics(&mut step);
        }
        step
    }

    fn translate(&mut self, changes: Vec<Change>, step: &mut Step) {
        let translator = &mut self.translator;
        let update = catch_unwind(AssertUnwindSafe(|| {
            for change in changes {
                translator.apply(change);
            }
            translator.translate()
        }));
        match update {
            Ok(update) => self.take(update, step),
            Err(panic) => {
                step.panicked = Some(words(panic.as_ref()));
                self.start_over(step);
            }
        }
    }

    /// After a panic nothing that the translator remembers can be trusted: everything is translated anew, and the
    /// last good configuration stays if that fails too.
    fn start_over(&mut self, step: &mut Step) {
        let mut translator = Translator::new(self.options.clone());
        let objects: Vec<_> = self.source.objects().collect();
        let fresh = catch_unwind(AssertUnwindSafe(|| {
            for object in objects {
                translator.apply(Change::Upsert(object));
            }
            let update = translator.translate();
            (translator, update)
        }));
        // Until it succeeds, each step begins with an empty translator, and fails here again.
        self.translator = Translator::new(self.options.clone());
        let Ok((translator, mut update)) = fresh else { return };
        self.translator = translator;
        update.removed_gateways =
            self.gateways.iter().filter(|name| !update.gateways.contains_key(name)).cloned().collect();
        for (gateway, changes) in &update.gateways {
            self.publisher.replace(gateway, &changes.changes);
        }
        for key in self.statuses.keys() {
            update.statuses.entry(key.clone()).or_insert(None);
        }
        self.take(update, step);
    }

    fn take(&mut self, update: Update, step: &mut Step) {
        for (gateway, update) in update.gateways {
            step.resources += update.changes.len();
            self.publisher.apply(&gateway, &update.changes);
            self.gateways.insert(gateway.clone());
            step.gateways.insert(gateway);
        }
        for gateway in update.removed_gateways {
            self.publisher.remove(&gateway);
            self.gateways.remove(&gateway);
            step.removed.push(gateway);
        }
        for (key, status) in update.statuses {
            let old = match &status {
                Some(status) => self.statuses.insert(key.clone(), status.clone()),
                None => self.statuses.remove(&key),
            };
            if old != status {
                step.statuses.insert(key, status);
            }
        }
    }

    fn compare_diagnostics(&mut self, step: &mut Step) {
        let now = diagnostics(&self.source, &self.translator);
        step.found = now.difference(&self.diagnostics).cloned().collect();
        // A finding that only moved to another line is not mended.
        let same = |a: &Diagnostic, b: &Diagnostic| {
            (&a.object, &a.field, &a.message) == (&b.object, &b.field, &b.message)
        };
        step.mended = self.diagnostics.difference(&now).cloned().collect();
        let moved: Vec<_> =
            step.mended.iter().filter(|old| step.found.iter().any(|new| same(old, new))).cloned().collect();
        step.found.retain(|new| !moved.iter().any(|old| same(old, new)));
        step.mended.retain(|old| !moved.contains(old));
        self.diagnostics = now;
    }
}

/// The findings about the files together with those of the translator.
pub fn diagnostics(source: &Source, translator: &Translator) -> BTreeSet<Diagnostic> {
    let problems = translator.problems();
    let problems = problems.iter().map(|p| Diagnostic::of_problem(p, source.locate(&p.object, &p.field)));
    source.diagnostics().into_iter().chain(problems).collect()
}

fn words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}
