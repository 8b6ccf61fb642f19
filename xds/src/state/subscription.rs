//! What a proxy asks for within one type.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::resource::ResourceType;

/// The name that stands for everything.
const WILDCARD: &str = "*";

/// The subscription of one type on one stream.
///
/// The wildcard is state, not "the set is empty": an empty first request of a wildcard type subscribes to
/// everything (the protocol's legacy wildcard), names that come later are beside it, and only unsubscribing from
/// `*` ends it.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    started: bool,
    wildcard: bool,
    names: BTreeSet<Arc<str>>,
}

/// What one request changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SubscriptionChange {
    /// The request was the first of its type on the stream.
    pub(super) first: bool,
    /// It asked for everything, perhaps again.
    pub(super) wildcard: bool,
    /// It ended the wildcard.
    pub(super) wildcard_ended: bool,
    /// Names that it asked for, perhaps again.
    pub(super) subscribed: Vec<Arc<str>>,
    /// Names that it no longer wants, and that it did ask for or may hold through the wildcard.
    pub(super) unsubscribed: Vec<Arc<str>>,
}

impl Subscription {
    /// Whether there was a request of this type.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// Whether everything is subscribed.
    pub(super) fn wildcard(&self) -> bool {
        self.wildcard
    }

    /// Whether anything is subscribed.
    pub(super) fn is_active(&self) -> bool {
        self.wildcard || !self.names.is_empty()
    }

    /// Whether this name is subscribed.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Takes over a request. `held` are its `initial_resource_versions`.
    pub(super) fn change(
        &mut self,
        resource_type: ResourceType,
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        held: &HashMap<String, String>,
    ) -> SubscriptionChange {
        let mut change = SubscriptionChange { first: !self.started, ..SubscriptionChange::default() };
        self.started = true;
        if change.first && resource_type.is_wildcard() {
            // Some Envoys list what they hold through the wildcard as names when they reconnect (envoy#16063,
            // consul#12174). Taking that for names would cut them off from everything new.
            let echoed = !held.is_empty() && subscribe.iter().all(|name| held.contains_key(name));
            if subscribe.is_empty() || echoed {
                self.wildcard = true;
                change.wildcard = true;
                return change;
            }
        }
        for name in subscribe {
            if name == WILDCARD {
                self.wildcard = true;
                change.wildcard = true;
            } else {
                let name: Arc<str> = name.into();
                self.names.insert(Arc::clone(&name));
                change.subscribed.push(name);
            }
        }
        for name in unsubscribe {
            if name == WILDCARD {
                change.wildcard_ended |= std::mem::take(&mut self.wildcard);
            } else if let Some(name) = self.names.take(name.as_str()) {
                change.unsubscribed.push(name);
            } else if self.wildcard {
                change.unsubscribed.push(name.into());
            }
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(s: &mut Subscription, subscribe: &[&str], unsubscribe: &[&str]) -> SubscriptionChange {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        s.change(ResourceType::Cluster, owned(subscribe), owned(unsubscribe), &HashMap::new())
    }

    #[test]
    fn t4_legacy_wildcard_in_the_four_steps_of_the_specification() {
        let mut s = Subscription::default();
        assert!(change(&mut s, &[], &[]).wildcard, "an empty first request is a subscription to *");
        change(&mut s, &["A"], &[]);
        assert!(s.wildcard() && s.covers("A") && s.covers("B"), "A is beside *, not instead of it");
        assert!(change(&mut s, &[], &["*"]).wildcard_ended);
        assert!(!s.wildcard() && s.covers("A") && !s.covers("B"));
        change(&mut s, &[], &["A"]);
        assert!(!s.is_active(), "an empty set is nothing, it does not revert to the wildcard");
        change(&mut s, &[], &[]);
        assert!(!s.is_active());
    }

    #[test]
    fn a_first_request_with_names_is_no_wildcard() {
        let mut s = Subscription::default();
        let c = change(&mut s, &["A"], &[]);
        assert!(c.first && !s.wildcard() && s.covers("A") && !s.covers("B"));
    }

    #[test]
    fn t11_names_echoed_on_reconnect_stay_wildcard() {
        let mut s = Subscription::default();
        let held = HashMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "1".to_owned())]);
        s.change(ResourceType::Cluster, vec!["A".to_owned(), "B".to_owned()], vec![], &held);
        assert!(s.wildcard());
    }

    #[test]
    fn names_that_are_not_held_are_names() {
        let mut s = Subscription::default();
        let held = HashMap::from([("A".to_owned(), "1".to_owned())]);
        s.change(ResourceType::Cluster, vec!["A".to_owned(), "C".to_owned()], vec![], &held);
        assert!(!s.wildcard() && s.covers("C"));
    }

    #[test]
    fn an_empty_request_for_endpoints_is_nothing() {
        let mut s = Subscription::default();
        s.change(ResourceType::ClusterLoadAssignment, vec![], vec![], &HashMap::new());
        assert!(s.started() && !s.is_active());
    }

    #[test]
    fn t7_unsubscribing_an_unknown_name_changes_nothing() {
        let mut s = Subscription::default();
        change(&mut s, &["A"], &[]);
        assert_eq!(change(&mut s, &[], &["B"]), SubscriptionChange::default());
    }
}
