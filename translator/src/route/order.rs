//! The order of routes on one host: weights, then Gateway API precedence (`HTTPRouteRule.matches`, `GRPCRouteRule.matches`), total and
//! stable.

use std::cmp::Reverse;

use crate::hostname::Hostname;
use crate::object::{Age, Kind, ObjectKey};

/// How specific the path of a match is. Regular expressions, whose place the specification leaves open, stand
/// between exact paths and prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathRank {
    /// A gRPC method, by the number of characters that the match gives of each.
    Grpc {
        service: Reverse<usize>,
        method: Reverse<usize>,
    },
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
    /// `kgateway.dev/route-weight`: the heavier comes first, whatever it matches.
    pub(crate) weight: Reverse<i32>,
    /// The hostname as the route gives it, before it was narrowed to the listener.
    pub(crate) hostname: Hostname,
    pub(crate) rank: MatchRank,
    /// What a rule that delegates keeps comes after what its children match alike.
    pub(crate) leftover: bool,
    pub(crate) age: Age,
    pub(crate) kind: Kind,
    pub(crate) rule: usize,
    pub(crate) matching: usize,
    /// On which way the route is reached: 0 where it is attached itself, then those on which others delegate to it.
    pub(crate) way: u32,
    /// Several Envoy routes may serve one match, such as the shares of a split.
    pub(crate) part: usize,
}

impl RouteOrder {
    /// The route object.
    pub(crate) fn object(&self) -> ObjectKey {
        self.age.key(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    fn age(created: Option<&str>, name: &str) -> Age {
        let created = created.map_or_else(String::new, |at| format!(", creationTimestamp: '{at}'"));
        Age::of(&yaml(&format!("{{namespace: a, name: {name}{created}}}")))
    }

    fn order(hostname: &str, path: PathRank) -> RouteOrder {
        RouteOrder {
            weight: Reverse(0),
            hostname: Hostname::parse_optional(Some(hostname)).unwrap(),
            rank: MatchRank { path, any_method: true, headers: Reverse(0), query_parameters: Reverse(0) },
            leftover: false,
            age: age(None, "m"),
            kind: Kind::HttpRoute,
            rule: 0,
            matching: 0,
            way: 0,
            part: 0,
        }
    }

    #[test]
    fn the_first_difference_decides() {
        const OLD: Option<&str> = Some("2026-01-01T00:00:00Z");
        const YOUNG: Option<&str> = Some("2026-01-02T00:00:00Z");
        let short = || order("*", PathRank::Prefix(Reverse(1)));
        let grpc = |service, method| PathRank::Grpc { service: Reverse(service), method: Reverse(method) };
        let ordered = [
            RouteOrder { weight: Reverse(9), ..short() },
            order("a.example.com", PathRank::Prefix(Reverse(1))),
            // An HTTPRoute may have the same hostname: what is gRPC is asked first.
            order("*.example.com", grpc(9, 0)),
            order("*.example.com", grpc(1, 5)),
            order("*.example.com", grpc(0, 0)),
            order("*.example.com", PathRank::Exact),
            order("*.com", PathRank::Exact),
            order("*", PathRank::Exact),
            order("*", PathRank::RegularExpression(Reverse(9))),
            order("*", PathRank::RegularExpression(Reverse(1))),
            order("*", PathRank::Prefix(Reverse(9))),
            RouteOrder { rank: MatchRank { any_method: false, ..short().rank }, ..short() },
            RouteOrder { rank: MatchRank { headers: Reverse(2), ..short().rank }, ..short() },
            RouteOrder { rank: MatchRank { query_parameters: Reverse(2), ..short().rank }, ..short() },
            RouteOrder { age: age(OLD, "z"), rule: 5, ..short() },
            RouteOrder { age: age(YOUNG, "a"), ..short() },
            RouteOrder { age: age(YOUNG, "b"), ..short() },
            RouteOrder { age: age(YOUNG, "b"), matching: 1, ..short() },
            RouteOrder { age: age(YOUNG, "b"), matching: 1, part: 1, ..short() },
            RouteOrder { age: age(YOUNG, "b"), rule: 1, ..short() },
            RouteOrder { age: age(YOUNG, "b"), kind: Kind::GrpcRoute, ..short() },
            RouteOrder { age: age(OLD, "a"), leftover: true, ..short() },
            RouteOrder { weight: Reverse(-1), ..order("a.example.com", PathRank::Exact) },
        ];
        for (index, first) in ordered.iter().enumerate() {
            for second in &ordered[index + 1..] {
                assert!(first < second, "{first:?} comes before {second:?}");
            }
        }
    }

    /// Objects from files have no creation time; among themselves they are ordered by name.
    #[test]
    fn objects_without_a_creation_time_are_ordered_by_name() {
        assert!(age(None, "a") < age(None, "b"));
        assert_ne!(age(None, "b"), age(Some("2026-01-01T00:00:00Z"), "b"));
    }
}
