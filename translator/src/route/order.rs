//! The order of routes on one host: Gateway API precedence (`HTTPRouteRule.matches`), total and stable.

use std::cmp::Reverse;

use crate::hostname::Hostname;
use crate::object::Age;

/// How specific the path of a match is. Regular expressions, whose place the specification leaves open, stand
/// between exact paths and prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathRank {
    Exact,
    RegularExpression(Reverse<usize>),
    Prefix(Reverse<usize>),
}

/// How specific a match is; the smaller, the earlier it is tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MatchRank {
    pub(crate) path: PathRank,
    /// False (a method is given) comes first.
    pub(crate) any_method: bool,
    pub(crate) headers: Reverse<usize>,
    pub(crate) query_parameters: Reverse<usize>,
}

/// The place of one Envoy route on its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteOrder {
    /// The hostname as the route gives it, before it was narrowed to the listener.
    pub(crate) hostname: Hostname,
    pub(crate) rank: MatchRank,
    pub(crate) age: Age,
    pub(crate) rule: usize,
    pub(crate) matching: usize,
    /// Several Envoy routes may serve one match, such as the shares of a split.
    pub(crate) part: usize,
}
