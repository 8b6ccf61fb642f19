//! The translator and the publisher as one: changes in; snapshots on their way to the proxies, everything else returned.
//!
//! Nothing here knows where changes come from: files ([`crate::engine`]) and a cluster ([`crate::controller`]) share it.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use postern_translator::{
    Change, Infrastructure, Kind, NamespacedName, ObjectKey, Options, ProxyReport, ResourceChange,
    ResourceType, Status, Translator, Update,
};

use crate::publish::Publisher;

/// What came of some changes.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many Envoy resources changed, by type, over all Gateways.
    pub resources: BTreeMap<ResourceType, usize>,
    /// New and changed statuses; `None` where an object lost its status.
    pub statuses: BTreeMap<ObjectKey, Option<Status>>,
    /// What has to exist in the cluster for a Gateway, where that changed.
    pub infrastructure: BTreeMap<NamespacedName, Option<Arc<Infrastructure>>>,
    /// Gateways that are new, or whose configuration changed.
    pub gateways: BTreeSet<NamespacedName>,
    /// Gateways that are gone.
    pub removed: BTreeSet<NamespacedName>,
    /// A bug: the translation panicked, with these words.
    pub panicked: Option<String>,
}

/// Owns the translator and what was published.
#[derive(Debug)]
pub struct Translation {
    translator: Translator,
    publisher: Publisher,
    statuses: BTreeMap<ObjectKey, Status>,
    gateways: BTreeSet<NamespacedName>,
    held: Option<Held>,
    /// What the translator remembers cannot be trusted: a panic left it half done.
    broken: bool,
}

/// What was translated, and not yet published.
#[derive(Debug, Default)]
pub struct Translated {
    update: Update,
    complete: bool,
    panicked: Option<String>,
}

impl Translated {
    /// The Secrets and ConfigMaps that are referred to changed.
    pub fn references_changed(&self) -> bool {
        self.update.references_changed
    }

    /// A bug: the translation panicked, with these words.
    pub fn panicked(&self) -> Option<&str> {
        self.panicked.as_deref()
    }
}

/// What waits for [`Translation::release`].
#[derive(Debug, Default)]
struct Held {
    changes: BTreeMap<NamespacedName, Publication>,
    removed: BTreeSet<NamespacedName>,
    outcome: Outcome,
}

/// What goes to the proxies of one Gateway.
#[derive(Debug)]
enum Publication {
    /// These changes.
    Changes(Vec<ResourceChange>),
    /// These resources and no others.
    Everything(Vec<ResourceChange>),
}

impl Translation {
    /// A translation of nothing yet.
    pub fn new(options: Options, publisher: Publisher) -> Self {
        Self {
            translator: Translator::new(options),
            publisher,
            statuses: BTreeMap::new(),
            gateways: BTreeSet::new(),
            held: None,
            broken: false,
        }
    }

    /// Holds everything back until [`release`](Self::release), because something that it depends on is still on its
    /// way: a proxy that is told of half a world drops the other half.
    pub fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// True between [`hold`](Self::hold) and [`release`](Self::release).
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Publishes what was held back, and answers what came of it.
    pub fn release(&mut self) -> Outcome {
        let Some(held) = self.held.take() else { return Outcome::default() };
        for gateway in &held.removed {
            self.publisher.remove(gateway);
        }
        for (gateway, publication) in held.changes {
            match publication {
                Publication::Changes(changes) => self.publisher.apply(&gateway, &changes),
                Publication::Everything(changes) => self.publisher.replace(&gateway, &changes),
            }
        }
        held.outcome
    }

    /// The translator.
    pub fn translator(&self) -> &Translator {
        &self.translator
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

    /// Takes in whether the cluster serves a kind at all; it takes effect with the next [`step`](Self::step).
    pub fn set_served(&mut self, kind: Kind, served: bool) {
        self.translator.set_served(kind, served);
    }

    /// Takes in which Gateway API is in the cluster; it takes effect with the next [`step`](Self::step).
    pub fn set_bundle(&mut self, version: Option<String>, experimental: bool) {
        self.translator.set_bundle(version, experimental);
    }

    /// Takes in what the proxies of a Gateway said; it takes effect with the next [`step`](Self::step).
    pub fn observe(&mut self, gateway: &NamespacedName, report: ProxyReport) {
        self.translator.observe(gateway, report);
    }

    /// Translates `changes` and publishes the difference.
    pub fn step(&mut self, changes: Vec<Change>) -> Outcome {
        let translated = self.translate(changes);
        self.take(translated)
    }

    /// Translates `changes`. The result has to be given to [`take`](Self::take).
    ///
    /// A panic is a bug of ours. After one nothing that the translator remembers can be trusted: everything is
    /// translated anew from the stored objects, and the last good configuration stays if that fails too.
    pub fn translate(&mut self, changes: Vec<Change>) -> Translated {
        let translator = &mut self.translator;
        let mut panicked = None;
        // One at a time: the change that panics costs the others nothing.
        for change in changes {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| translator.apply(change))) {
                panicked.get_or_insert_with(|| words(panic.as_ref()));
            }
        }
        if self.broken || panicked.is_some() {
            return self.start_over(panicked);
        }
        match catch_unwind(AssertUnwindSafe(|| translator.translate())) {
            Ok(update) => Translated { update, complete: false, panicked: None },
            Err(panic) => self.start_over(Some(words(panic.as_ref()))),
        }
    }

    fn start_over(&mut self, panicked: Option<String>) -> Translated {
        let translator = &mut self.translator;
        let update = catch_unwind(AssertUnwindSafe(|| translator.rebuild())).ok();
        // Until it succeeds, each step tries again.
        self.broken = update.is_none();
        Translated { complete: update.is_some(), update: update.unwrap_or_default(), panicked }
    }

    /// Publishes what was translated and answers what came of it; nothing while held back.
    pub fn take(&mut self, translated: Translated) -> Outcome {
        let Translated { update, complete, panicked } = translated;
        let mut outcome = Outcome { panicked, ..Outcome::default() };
        self.take_update(update, complete, &mut outcome);
        match &mut self.held {
            None => outcome,
            Some(held) => {
                held.outcome.append(outcome);
                Outcome::default()
            }
        }
    }

    /// `complete` if the changes of each Gateway are everything that it has.
    fn take_update(&mut self, update: Update, complete: bool, outcome: &mut Outcome) {
        // A Gateway that was removed and made again in the meantime starts from nothing.
        for gateway in update.removed_gateways {
            match &mut self.held {
                None => self.publisher.remove(&gateway),
                Some(held) => held.remove(&gateway),
            }
            self.gateways.remove(&gateway);
            outcome.removed.insert(gateway);
        }
        for (gateway, update) in update.gateways {
            for change in &update.changes {
                *outcome.resources.entry(change.resource_type).or_default() += 1;
            }
            match &mut self.held {
                None if complete => self.publisher.replace(&gateway, &update.changes),
                None => self.publisher.apply(&gateway, &update.changes),
                Some(held) => held.apply(&gateway, update.changes, complete),
            }
            self.gateways.insert(gateway.clone());
            outcome.gateways.insert(gateway);
        }
        for (key, status) in update.statuses {
            let old = match &status {
                Some(status) => self.statuses.insert(key.clone(), status.clone()),
                None => self.statuses.remove(&key),
            };
            if old != status {
                outcome.statuses.insert(key, status);
            }
        }
        outcome.infrastructure = update.infrastructure;
    }
}

impl Held {
    fn apply(&mut self, gateway: &NamespacedName, changes: Vec<ResourceChange>, complete: bool) {
        match self.changes.get_mut(gateway) {
            Some(Publication::Changes(all) | Publication::Everything(all)) if !complete => {
                all.extend(changes);
            }
            _ if complete => {
                self.changes.insert(gateway.clone(), Publication::Everything(changes));
            }
            _ => {
                self.changes.insert(gateway.clone(), Publication::Changes(changes));
            }
        }
    }

    fn remove(&mut self, gateway: &NamespacedName) {
        self.changes.remove(gateway);
        self.removed.insert(gateway.clone());
    }
}

impl Outcome {
    /// Takes in what came later.
    fn append(&mut self, later: Self) {
        for (resource_type, number) in later.resources {
            *self.resources.entry(resource_type).or_default() += number;
        }
        self.statuses.extend(later.statuses);
        self.infrastructure.extend(later.infrastructure);
        for gateway in later.removed {
            self.gateways.remove(&gateway);
            self.removed.insert(gateway);
        }
        for gateway in later.gateways {
            self.removed.remove(&gateway);
            self.gateways.insert(gateway);
        }
        self.panicked = later.panicked.or(self.panicked.take());
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}
