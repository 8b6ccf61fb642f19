//! Route delegation, as kgateway v2.1 knows it: a rule of an HTTPRoute leaves its requests to other HTTPRoutes, its children, instead of
//! sending them to backends.
//!
//! The route that is attached to Gateways (the root) hands to each child what the child has to know: where the root is attached, and
//! the rules on the way. Each child is a unit of its own that serves what it was handed, so that a change of one child costs one child.
//! The delegating route reads of its children only their [`Child`], what decides whether they take what it has to give.

pub(super) mod child;
pub(crate) mod matching;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use postern_api::gateway_api::{
    GATEWAY_GROUP, HttpBackendRef, HttpRouteMatch, HttpRouteRule, ParentReference, reason,
};

use super::rule::ParsedRule;
use crate::dependency::Reader;
use crate::dependency::delegation::Relation;
use crate::hostname::Hostname;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::{Fault, Problems};

/// The label by which a backendRef selects children.
pub(crate) const LABEL: &str = "delegation.kgateway.dev/label";
/// Group and kind of a backendRef that selects children by [`LABEL`]: together they are the label.
const LABEL_GROUP: &str = "delegation.kgateway.dev";
const LABEL_KIND: &str = "label";
/// The namespace of such a backendRef that stands for all namespaces.
const ALL_NAMESPACES: &str = "all";
/// The longest chain of delegating routes.
const MAX_DEPTH: usize = 16;
/// The number of ways on which a route can be reached, beyond which the others are left out.
const MAX_WAYS: usize = 1024;

/// What a delegating route hands to one of its children: one way from a Gateway to the child.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Handed {
    pub(crate) root: Arc<Root>,
    /// The delegating rules on the way, the nearest first; at least one.
    pub(crate) links: Vec<Arc<Link>>,
    /// A backendRef names the child, or the child names its parent: what does not fit then is a mistake.
    pub(crate) named: bool,
}

impl Handed {
    /// The rule that delegates to the child.
    pub(crate) fn nearest(&self) -> &Link {
        &self.links[0]
    }
}

/// The route at the beginning of a delegation, which is attached to Gateways for all that follow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Root {
    pub(crate) key: ObjectKey,
    /// Where it is attached, as its status has it.
    pub(crate) parents: Vec<ParentReference>,
    pub(crate) hostnames: Vec<Hostname>,
}

/// A rule that delegates, by one of its matches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) route: ObjectKey,
    /// The index of the rule.
    pub(crate) rule: usize,
    /// What requests that come here have matched.
    pub(crate) matching: HttpRouteMatch,
    /// The rule without its matches and backends: what it says of requests holds for children.
    pub(crate) spec: Arc<HttpRouteRule>,
}

/// What routes hand to their children, by child.
pub(crate) type Hands = BTreeMap<ObjectKey, Vec<Handed>>;

/// A child that takes something of a rule, before it is known where the route itself is attached.
pub(super) struct Given {
    child: ObjectKey,
    named: bool,
    link: Arc<Link>,
}

/// Completes what a route gives with where it comes from: `root`, over `links`.
pub(super) fn hands(given: &[Given], root: &Arc<Root>, links: &[Arc<Link>], hands: &mut Hands) {
    for Given { child, named, link } in given {
        let links = std::iter::once(link).chain(links).cloned().collect();
        let to_child = hands.entry(child.clone()).or_default();
        if to_child.len() < MAX_WAYS {
            to_child.push(Handed { root: Arc::clone(root), links, named: *named });
        }
    }
}

/// Which routes a backendRef delegates to.
pub(super) enum Selection<'a> {
    Name(NamespacedName),
    Namespace(&'a str),
    /// By label, in one namespace or in all.
    Label(&'a str, Option<&'a str>),
}

impl<'a> Selection<'a> {
    /// What a backendRef of a route in `namespace` selects; `None` if it is an ordinary backend.
    pub(super) fn of(reference: &'a HttpBackendRef, namespace: &'a str) -> Option<Self> {
        let namespace = reference.namespace.as_deref().unwrap_or(namespace);
        match (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref()?) {
            (LABEL_GROUP, LABEL_KIND) => {
                Some(Self::Label(&reference.name, (namespace != ALL_NAMESPACES).then_some(namespace)))
            }
            (GATEWAY_GROUP, kind) if kind == Kind::HttpRoute.as_str() => {
                Some(if reference.name.is_empty() || reference.name == "*" {
                    Self::Namespace(namespace)
                } else {
                    Self::Name(NamespacedName::new(namespace, &reference.name))
                })
            }
            _ => None,
        }
    }

    fn names(&self, reader: &Reader<'_>) -> Vec<NamespacedName> {
        match self {
            Self::Name(name) => vec![name.clone()],
            Self::Namespace(namespace) => {
                reader.objects_in(Kind::HttpRoute, namespace).into_iter().map(|(name, _)| name).collect()
            }
            Self::Label(value, namespace) => {
                let mut names = reader.labelled_routes(value);
                names.retain(|name| namespace.is_none_or(|namespace| namespace == name.namespace));
                names
            }
        }
    }
}

impl fmt::Display for Selection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "HTTPRoute {name}"),
            Self::Namespace(namespace) => write!(f, "HTTPRoutes in namespace {namespace}"),
            Self::Label(value, Some(namespace)) => {
                write!(f, "HTTPRoutes in namespace {namespace} with the label {LABEL}: {value}")
            }
            Self::Label(value, None) => write!(f, "HTTPRoutes with the label {LABEL}: {value}"),
        }
    }
}

/// What a backendRef that delegates cannot have.
pub(super) fn fault(reference: &HttpBackendRef) -> Option<Fault> {
    (!reference.filters.is_empty()).then(|| {
        Fault::new(
            ".filters",
            "a backendRef that delegates has no requests of its own to filter",
            "put the filters into the rule, which hands them to the children, or into the children",
        )
    })
}

/// A route that may delegate, on one way from a Gateway.
pub(super) struct Giver<'a> {
    pub(super) key: &'a ObjectKey,
    /// The rules by which requests come to it; none if it is attached itself.
    pub(super) links: &'a [Arc<Link>],
    /// Its `kgateway.dev/route-weight`.
    pub(super) weight: i32,
}

/// Why a backendRef delegates to nobody, or not to all that it means.
struct Unresolved {
    reason: &'static str,
    fault: Fault,
}

impl Giver<'_> {
    /// Finds the children of one rule. What it cannot give away it keeps: matches whose children are missing answer 500, and what
    /// no child takes goes to the rule's own backends, if it has some.
    pub(super) fn give(
        &self,
        reader: &Reader<'_>,
        index: usize,
        spec: &HttpRouteRule,
        matches: &[(usize, HttpRouteMatch)],
        rule: &mut ParsedRule,
        problems: &mut Problems,
    ) -> Vec<Given> {
        let at = format!("spec.rules[{index}]");
        let mut given = Vec::new();
        let selections: Vec<_> = spec
            .backend_refs
            .iter()
            .enumerate()
            .filter_map(|(index, reference)| Some((index, Selection::of(reference, &self.key.namespace)?)))
            .collect();
        for (ref_index, _) in &selections {
            if spec.backend_refs[*ref_index].weight() > 1 {
                problems.warning(
                    self.key,
                    format!("{at}.backendRefs[{ref_index}].weight"),
                    "it has no meaning: the matches of the children decide who gets a request",
                    "remove it; 0 switches the delegation off",
                );
            }
        }
        let active: Vec<_> =
            selections.iter().filter(|(index, _)| spec.backend_refs[*index].weight() > 0).collect();
        if active.is_empty() || rule.is_closed() {
            return given;
        }
        let stripped =
            Arc::new(HttpRouteRule { matches: Vec::new(), backend_refs: Vec::new(), ..spec.clone() });
        let mut kept = BTreeSet::new();
        let mut weight = self.weight;
        for (match_index, matching) in matches {
            if matching::prefix(matching).is_none() {
                let field = format!("{at}.matches[{match_index}].path.type");
                let message = "only a match of type PathPrefix can delegate";
                rule.note_refused(reason::UNSUPPORTED_VALUE, format!("{field}: {message}"));
                problems.error(self.key, field, message, "use PathPrefix; until then the match answers 500");
                kept.insert(*match_index);
                continue;
            }
            let link = Arc::new(Link {
                route: self.key.clone(),
                rule: index,
                matching: matching.clone(),
                spec: Arc::clone(&stripped),
            });
            for (ref_index, selection) in &active {
                let (children, error) = self.children(reader, selection, matching);
                for (child, named, child_weight) in children {
                    weight = weight.min(child_weight);
                    given.push(Given { child, named, link: Arc::clone(&link) });
                }
                if let Some(Unresolved { reason, fault }) = error {
                    kept.insert(*match_index);
                    let fault = fault.within(&format!("{at}.backendRefs[{ref_index}]"));
                    rule.unresolved.get_or_insert((reason, fault.message.clone()));
                    problems.error(self.key, fault.field, fault.message, fault.remedy);
                }
            }
        }
        let has_backends = selections.len() < spec.backend_refs.len();
        rule.keep(weight, |index| has_backends || kept.contains(&index));
        given
    }

    /// Those whom a backendRef leaves the requests of one match, each with whether it is meant by name and with its weight.
    fn children(
        &self,
        reader: &Reader<'_>,
        selection: &Selection<'_>,
        matching: &HttpRouteMatch,
    ) -> (Vec<(ObjectKey, bool, i32)>, Option<Unresolved>) {
        let mut children = Vec::new();
        let unresolved = |reason, message: String, remedy: &str| {
            Some(Unresolved { reason, fault: Fault::new(".name", message, remedy) })
        };
        if self.links.len() + 1 >= MAX_DEPTH {
            let message = format!("{MAX_DEPTH} routes delegate one to the other, and that is the limit");
            return (children, unresolved(reason::UNSUPPORTED_VALUE, message, "delegate over fewer routes"));
        }
        let by_name = matches!(selection, Selection::Name(_));
        let mut error = None;
        let mut is_taken = false;
        for name in selection.names(reader) {
            let key = ObjectKey::new(Kind::HttpRoute, &name.namespace, &name.name);
            let Some(child) = reader.child(&key) else {
                error = unresolved(
                    reason::BACKEND_NOT_FOUND,
                    format!("HTTPRoute {name} does not exist"),
                    "create it, or mend name and namespace; until then the match answers 500",
                );
                continue;
            };
            let relation = child.relation(self.key);
            if relation == Relation::Others && !by_name {
                continue;
            }
            if key == *self.key && !by_name {
                continue;
            }
            if key == *self.key || self.links.iter().any(|link| link.route == key) {
                error = unresolved(
                    reason::REF_NOT_PERMITTED,
                    format!("HTTPRoute {name} delegates to {}, so it would never end", self.key),
                    "break the cycle; until then the match answers 500",
                );
                continue;
            }
            if relation == Relation::Others {
                error = unresolved(
                    reason::REF_NOT_PERMITTED,
                    format!("HTTPRoute {name} has spec.parentRefs, and {} is not among them", self.key),
                    "add a parentRef of kind HTTPRoute to the child, or remove its others",
                );
                continue;
            }
            let takes = child.takes(matching);
            let named = by_name || relation == Relation::Named;
            if takes || named {
                children.push((key, named, child.weight()));
            }
            is_taken |= takes;
        }
        if !is_taken && error.is_none() {
            let prefix = matching::prefix(matching).filter(|prefix| !prefix.is_empty()).unwrap_or("/");
            error = unresolved(
                reason::BACKEND_NOT_FOUND,
                format!("no match under {prefix} is taken by {selection}"),
                "let a child match what is delegated, without hostnames of its own; until then the match answers 500",
            );
        }
        (children, error)
    }
}

/// How the status of a child names the route that delegates to it, unless the child itself names it.
fn reference_to(parent: &ObjectKey) -> ParentReference {
    ParentReference {
        group: Some(GATEWAY_GROUP.to_owned()),
        kind: Some(Kind::HttpRoute.as_str().to_owned()),
        namespace: Some(parent.namespace.clone()),
        name: parent.name.clone(),
        ..ParentReference::default()
    }
}

/// True if `reference`, a parentRef of a route in `namespace`, means `parent`.
pub(crate) fn names(reference: &ParentReference, namespace: &str, parent: &ObjectKey) -> bool {
    reference.group() == GATEWAY_GROUP
        && reference.kind() == Kind::HttpRoute.as_str()
        && reference.name == parent.name
        && reference.namespace.as_deref().unwrap_or(namespace) == parent.namespace
}
