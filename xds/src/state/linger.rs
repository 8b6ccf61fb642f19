//! Clusters that nothing refers to any more stay with the proxy for a while.
//!
//! A request that began under the old routes goes on under them. Where one of its filters is still talking to a
//! service over gRPC (ext_proc, ext_authz, rate limits), Envoy cuts that call at once when the service's cluster goes.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Clusters on their way out, in two groups, so that one timer is enough: a cluster stays for one to two periods.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// Those that the timer runs for.
    first: BTreeSet<Arc<str>>,
    /// Those that came while it ran.
    later: BTreeSet<Arc<str>>,
    /// The timer has run out.
    due: bool,
    round: u64,
}

impl Linger {
    /// Nothing refers to these any more.
    pub(super) fn add(&mut self, names: BTreeSet<Arc<str>>) {
        if self.first.is_empty() && !names.is_empty() {
            self.start(names);
        } else {
            self.later.extend(names);
        }
    }

    fn start(&mut self, names: BTreeSet<Arc<str>>) {
        self.first = names;
        self.round += 1;
    }

    /// Identifies what the timer runs for.
    pub(super) fn waiting(&self) -> Option<u64> {
        (!self.first.is_empty() && !self.due).then_some(self.round)
    }

    /// The timer has run out.
    pub(super) fn expire(&mut self) {
        self.due = !self.first.is_empty();
    }

    /// Those that have been there for long enough.
    pub(super) fn take_due(&mut self) -> BTreeSet<Arc<str>> {
        if !std::mem::take(&mut self.due) {
            return BTreeSet::new();
        }
        let due = std::mem::take(&mut self.first);
        let later = std::mem::take(&mut self.later);
        self.add(later);
        due
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}
