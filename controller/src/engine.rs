//! Files in, configuration out: the part of `postern run` that decides, without a clock, sockets or processes of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_translator::{NamespacedName, ObjectKey, Options, ServingListener, Status, Translator};

use crate::diagnostic::Diagnostic;
use crate::publish::Publisher;
use crate::source::{Refresh, Source};
use crate::translation::{Outcome, Translation};

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
    /// What came of the changes.
    pub outcome: Outcome,
    /// Findings that were not there before.
    pub found: Vec<Diagnostic>,
    /// Findings that are gone.
    pub mended: Vec<Diagnostic>,
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
            && self.outcome.statuses.is_empty()
            && self.found.is_empty()
            && self.mended.is_empty()
            && self.outcome.panicked.is_none()
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

/// Owns the source, the translation and what is known to be wrong.
#[derive(Debug)]
pub struct Engine {
    source: Source,
    translation: Translation,
    diagnostics: BTreeSet<Diagnostic>,
}

impl Engine {
    /// An engine that has read nothing yet.
    pub fn new(source: Source, options: Options, publisher: Publisher) -> Self {
        Self { source, translation: Translation::new(options, publisher), diagnostics: BTreeSet::new() }
    }

    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What was published.
    pub fn publisher(&self) -> &Publisher {
        self.translation.publisher()
    }

    /// What was published, to try blocked listeners again.
    pub fn publisher_mut(&mut self) -> &mut Publisher {
        self.translation.publisher_mut()
    }

    /// The statuses as they are now.
    pub fn statuses(&self) -> &BTreeMap<ObjectKey, Status> {
        self.translation.statuses()
    }

    /// The listeners of a Gateway that its Envoy is to serve.
    pub fn serving(&self, gateway: &NamespacedName) -> impl Iterator<Item = ServingListener> {
        self.translation.translator().serving(gateway)
    }

    /// The Gateways that are served.
    pub fn gateways(&self) -> &BTreeSet<NamespacedName> {
        self.translation.gateways()
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
            step.outcome = self.translation.step(changes);
        }
        step.translating = began.elapsed();
        if !step.files.is_empty() || step.objects > 0 {
            self.compare_diagnostics(&mut step);
        }
        step
    }

    fn compare_diagnostics(&mut self, step: &mut Step) {
        let now = diagnostics(&self.source, self.translation.translator());
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
