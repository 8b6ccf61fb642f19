//! The translator and the publisher as one: changes in; snapshots on their way to the proxies, everything else returned.
//!
//! Nothing here knows where changes come from: files ([`crate::engine`]) and a cluster ([`crate::controller`]) share it.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use postern_translator::{
    Change, Infrastructure, NamespacedName, ObjectKey, Options, ProxyReport, ResourceType, Status,
    Translator, Update,
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
    pub removed: Vec<NamespacedName>,
    /// The Secrets and ConfigMaps that are referred to changed.
    pub references_changed: bool,
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
    /// False until the first configuration may go out.
    published: bool,
    /// What the translator remembers cannot be trusted: a panic left it half done.
    broken: bool,
}

impl Translation {
    /// A translation of nothing yet, which publishes from the start.
    pub fn new(options: Options, publisher: Publisher) -> Self {
        Self {
            translator: Translator::new(options),
            publisher,
            statuses: BTreeMap::new(),
            gateways: BTreeSet::new(),
            published: true,
            broken: false,
        }
    }

    /// Holds everything back until [`publish`](Self::publish): a proxy that is told of half a world would drop the other half.
    #[must_use]
    pub fn held_back(mut self) -> Self {
        self.published = false;
        self
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

    /// Takes in what the proxies of a Gateway said; it takes effect with the next [`step`](Self::step).
    pub fn observe(&mut self, gateway: &NamespacedName, report: ProxyReport) {
        self.translator.observe(gateway, report);
    }

    /// Translates `changes` and publishes the difference.
    ///
    /// A panic is a bug of ours. After one nothing that the translator remembers can be trusted: everything is
    /// translated anew from the stored objects, and the last good configuration stays if that fails too.
    pub fn step(&mut self, changes: Vec<Change>) -> Outcome {
        let mut outcome = Outcome::default();
        let translator = &mut self.translator;
        let broken = self.broken;
        let update = catch_unwind(AssertUnwindSafe(|| {
            for change in changes {
                translator.apply(change);
            }
            (!broken).then(|| translator.translate())
        }));
        match update {
            Ok(Some(update)) => self.take(update, &mut outcome),
            Ok(None) => self.start_over(&mut outcome),
            Err(panic) => {
                outcome.panicked = Some(words(panic.as_ref()));
                self.start_over(&mut outcome);
            }
        }
        outcome
    }

    /// Lets everything out that was held back.
    pub fn publish(&mut self) {
        if self.published {
            return;
        }
        self.published = true;
        for gateway in &self.gateways {
            self.publisher.set(gateway, self.translator.resources(gateway));
        }
    }

    fn start_over(&mut self, outcome: &mut Outcome) {
        let translator = &mut self.translator;
        // Until it succeeds, each step tries again.
        self.broken = true;
        if let Ok(update) = catch_unwind(AssertUnwindSafe(|| translator.rebuild())) {
            self.broken = false;
            if self.published {
                for (gateway, update) in &update.gateways {
                    self.publisher.replace(gateway, &update.changes);
                }
            }
            self.take(update, outcome);
        }
    }

    fn take(&mut self, update: Update, outcome: &mut Outcome) {
        for (gateway, update) in update.gateways {
            for change in &update.changes {
                *outcome.resources.entry(change.resource_type).or_default() += 1;
            }
            if self.published {
                self.publisher.apply(&gateway, &update.changes);
            }
            self.gateways.insert(gateway.clone());
            outcome.gateways.insert(gateway);
        }
        for gateway in update.removed_gateways {
            self.publisher.remove(&gateway);
            self.gateways.remove(&gateway);
            outcome.removed.push(gateway);
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
        outcome.references_changed = update.references_changed;
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}
