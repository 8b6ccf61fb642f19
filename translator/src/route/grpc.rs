//! `GRPCRouteMatch` to Envoy's `RouteMatch`: a gRPC method is a path, `/<service>/<method>` (gRPC over HTTP2).

use std::cmp::Reverse;

use envoy_types::pb::envoy::config::route::v3::{RouteMatch, route_match};
use postern_api::gateway_api::{GrpcMethodMatch, GrpcRouteMatch, HeaderMatchType};

use super::matches::{Match, header_matchers};
use super::order::{MatchRank, PathRank};
use super::re2::regex;
use crate::envoy::regex_matcher;
use crate::problem::Fault;

/// Any service, or any method.
const ANY: &str = "[^/]+";

/// Translates the matches of a rule; none means every request.
pub(super) fn matches(specs: &[GrpcRouteMatch]) -> Vec<Result<Match, Fault>> {
    if specs.is_empty() {
        return vec![translate(&GrpcRouteMatch::default())];
    }
    specs.iter().map(translate).collect()
}

fn translate(spec: &GrpcRouteMatch) -> Result<Match, Fault> {
    let headers = header_matchers(&spec.headers)?;
    let (path_specifier, path) = match &spec.method {
        Some(method) => path(method).map_err(|fault| fault.within(".method"))?,
        None => (route_match::PathSpecifier::Prefix("/".to_owned()), rank(0, 0)),
    };
    Ok(Match {
        rank: MatchRank {
            path,
            any_method: true,
            headers: Reverse(headers.len()),
            query_parameters: Reverse(0),
        },
        envoy: RouteMatch {
            path_specifier: Some(path_specifier),
            headers,
            grpc: Some(route_match::GrpcRouteMatchOptions::default()),
            ..RouteMatch::default()
        },
        path_prefix: None,
        method: None,
    })
}

fn rank(service: usize, method: usize) -> PathRank {
    PathRank::Grpc { service: Reverse(service), method: Reverse(method) }
}

fn path(spec: &GrpcMethodMatch) -> Result<(route_match::PathSpecifier, PathRank), Fault> {
    let given = |part: &Option<String>| part.clone().filter(|part| !part.is_empty());
    let (service, method) = (given(&spec.service), given(&spec.method));
    let length = |part: &Option<String>| part.as_ref().map_or(0, |part| part.chars().count());
    let rank = rank(length(&service), length(&method));
    let by_regex = |service: &str, method: &str| {
        route_match::PathSpecifier::SafeRegex(regex_matcher(&format!("/{service}/{method}")))
    };
    let specifier = match spec.match_type() {
        HeaderMatchType::Exact => {
            for (field, part) in [(".service", &service), (".method", &method)] {
                if part.as_ref().is_some_and(|part| !is_name(part)) {
                    let part = part.as_deref().unwrap_or_default();
                    return Err(Fault::new(
                        field,
                        format!("{part:?} is not a name in gRPC"),
                        "use letters, digits, _ and, in a service, dots; or the type RegularExpression",
                    ));
                }
            }
            match (&service, &method) {
                (Some(service), Some(method)) => {
                    route_match::PathSpecifier::Path(format!("/{service}/{method}"))
                }
                (Some(service), None) => route_match::PathSpecifier::Prefix(format!("/{service}/")),
                (None, Some(method)) => by_regex(ANY, &regex::escape(method)),
                (None, None) => route_match::PathSpecifier::Prefix("/".to_owned()),
            }
        }
        HeaderMatchType::RegularExpression => {
            let part = |field, part: Option<&String>| match part {
                Some(part) => regex(part)
                    .map(|checked| format!("(?:{checked})"))
                    .map_err(|fault| Fault::new(field, fault.message, fault.remedy)),
                None => Ok(ANY.to_owned()),
            };
            if service.is_none() && method.is_none() {
                route_match::PathSpecifier::Prefix("/".to_owned())
            } else {
                by_regex(&part(".service", service.as_ref())?, &part(".method", method.as_ref())?)
            }
        }
        HeaderMatchType::Unknown(other) => {
            return Err(Fault::new(
                ".type",
                format!("{other:?} is unknown"),
                "use Exact or RegularExpression",
            ));
        }
    };
    Ok((specifier, rank))
}

/// The API's own pattern for services and methods of type `Exact`.
fn is_name(part: &str) -> bool {
    part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}
