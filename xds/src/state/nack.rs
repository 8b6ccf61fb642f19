//! Finding the one resource that made a proxy reject a response.
//!
//! A rejection names a response, not a resource, and depending on the type Envoy has applied the good part of it
//! (clusters, listeners) or nothing (scoped routes). Its resources are therefore sent again in halves until the
//! culprit stands alone: everything else arrives after a number of round trips logarithmic in the size of the response.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::resource::Resource;

/// The search for culprits in one type, and those found.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    suspects: VecDeque<Vec<Arc<str>>>,
    parked: BTreeMap<Arc<str>, Arc<Resource>>,
}

/// What a rejection says.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Several resources are suspect; they go out again in two groups.
    Split,
    /// This one it is. It is parked: not sent again until its content changes.
    Culprit(Arc<Resource>),
}

impl Isolation {
    /// Whether no group of suspects waits to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.suspects.is_empty()
    }

    /// The group to send next.
    pub(super) fn next_group(&mut self) -> Option<Vec<Arc<str>>> {
        self.suspects.pop_front()
    }

    /// Takes over a rejected response. It must hold resources.
    pub(super) fn rejected(&mut self, resources: &[Arc<Resource>]) -> Verdict {
        if let [culprit] = resources {
            self.parked.insert(Arc::clone(culprit.shared_name()), Arc::clone(culprit));
            return Verdict::Culprit(Arc::clone(culprit));
        }
        let (first, second) = resources.split_at(resources.len() / 2);
        for half in [second, first] {
            self.suspects.push_front(half.iter().map(|r| Arc::clone(r.shared_name())).collect());
        }
        Verdict::Split
    }

    /// Whether this content was rejected.
    pub(super) fn is_parked(&self, resource: &Arc<Resource>) -> bool {
        !self.parked.is_empty() && self.parked.get(resource.name()) == Some(resource)
    }

    /// Whether anything is parked.
    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// The names whose content was rejected.
    pub(super) fn parked(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parked.keys()
    }

    /// Forgets that a name was rejected; false if it was not.
    pub(super) fn unpark(&mut self, name: &str) -> bool {
        self.parked.remove(name).is_some()
    }
}
