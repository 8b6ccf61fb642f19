//! Routes as those see them who delegate to them, and what was handed to them.

use postern_api::gateway_api::{HttpRoute, HttpRouteMatch};

use super::{Dependency, Reader};
use crate::object::{Kind, NamespacedName, ObjectKey, Stored};
use crate::route::annotations;
use crate::route::delegation::{self, Handed, matching};

/// What a delegating route can see of another: whether it takes what is delegated. Where that sends its requests is its own affair,
/// and changes nothing for the other.
#[derive(Clone, Copy)]
pub(crate) struct Child<'a>(&'a HttpRoute);

/// Whom a route takes requests from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It has no parentRefs: from everybody.
    Anybody,
    /// It names the parent.
    Named,
    /// Only from others.
    Others,
}

impl Child<'_> {
    /// Whether the route lets `parent` delegate to it.
    pub(crate) fn relation(self, parent: &ObjectKey) -> Relation {
        let namespace = self.0.metadata.namespace.as_deref().unwrap_or_default();
        let references = &self.0.spec.parent_refs;
        if references.is_empty() {
            Relation::Anybody
        } else if references.iter().any(|reference| delegation::names(reference, namespace, parent)) {
            Relation::Named
        } else {
            Relation::Others
        }
    }

    /// True if the route takes something of what `outer` matches.
    pub(crate) fn takes(self, outer: &HttpRouteMatch) -> bool {
        let inherits = matching::inherits(&self.0.metadata).unwrap_or_default();
        let everything = [HttpRouteMatch::default()];
        let takes = |own: &HttpRouteMatch| matching::within(outer, own, inherits).is_ok();
        self.0.spec.hostnames.is_empty()
            && self.0.spec.rules.iter().any(|rule| {
                if rule.matches.is_empty() { &everything } else { &rule.matches[..] }.iter().any(takes)
            })
    }

    /// Its `kgateway.dev/route-weight`.
    pub(crate) fn weight(self) -> i32 {
        annotations::weight(&self.0.metadata).unwrap_or_default()
    }

    fn is_same(self, other: Self) -> bool {
        let matches = |route: Self| route.0.spec.rules.iter().map(|rule| &rule.matches);
        let (a, b) = (&self.0.spec, &other.0.spec);
        a.parent_refs == b.parent_refs
            && a.hostnames.is_empty() == b.hostnames.is_empty()
            && self.weight() == other.weight()
            && matching::inherits(&self.0.metadata) == matching::inherits(&other.0.metadata)
            && matches(self).eq(matches(other))
    }
}

/// True if nobody who delegates could tell the two apart.
pub(crate) fn is_same_child(old: Option<&HttpRoute>, new: Option<&HttpRoute>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Child(old).is_same(Child(new)),
        (old, new) => old.is_none() && new.is_none(),
    }
}

impl<'a> Reader<'a> {
    /// A route to delegate to; `None` if it does not exist.
    pub(crate) fn child(&self, key: &ObjectKey) -> Option<Child<'a>> {
        self.note(&Dependency::Child(key.clone()));
        self.store.object(key).and_then(HttpRoute::of).map(|route| Child(route))
    }

    /// The HTTPRoutes with a value of the label for delegation, in all namespaces.
    pub(crate) fn labelled_routes(&self, value: &str) -> Vec<NamespacedName> {
        self.note(&Dependency::DelegationLabel(value.to_owned()));
        self.store.labelled_routes(value).cloned().collect()
    }

    /// What other routes delegate to an HTTPRoute, ordered by who does.
    pub(crate) fn handed(&self, route: &ObjectKey) -> impl Iterator<Item = &'a Handed> + use<'a> {
        let found = (route.kind == Kind::HttpRoute).then(|| {
            self.note(&Dependency::Handed(route.clone()));
            self.results.handed.get(route)
        });
        found.flatten().into_iter().flat_map(|givers| givers.values()).flatten()
    }
}
