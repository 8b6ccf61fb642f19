//! The server name of a TLS connection chooses the filter chain.
//!
//! On ports where chains belong to routes, the choice is made by a matcher beside the chains instead of by matches inside
//! of them: what a chain matches may then change without changing the chain, and Envoy drains chains that changed.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::ServerNameInput;
use envoy_types::pb::google::protobuf::StringValue;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, SinglePredicate, single_predicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::{MatchMap, TreeType};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{
    MatcherList, MatcherTree, MatcherType, OnMatch, on_match,
};
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, StringMatcher, string_matcher};
use prost::{Message, Name};

use crate::envoy::any;
use crate::hostname::Hostname;

/// Chooses the chain of the most specific host that a server name belongs to: the exact one, then the longest wildcard, then
/// the chain of any. Connections for others are closed by Envoy itself.
pub(super) fn matcher(chains: &BTreeMap<Hostname, String>) -> Matcher {
    let mut exact = MatchMap::default();
    let mut wildcards = Vec::new();
    let mut any = None;
    // In the order of hostnames, more specific ones come first.
    for (host, chain) in chains {
        match host {
            Hostname::Exact(host) => {
                exact.map.insert(host.clone(), to(chain));
            }
            Hostname::Wildcard(domain) => wildcards.push(below(domain, chain)),
            Hostname::Any => any = Some(Box::new(to(chain))),
        }
    }
    let mut matcher = Matcher { on_no_match: any, matcher_type: None };
    if !wildcards.is_empty() {
        matcher.matcher_type = Some(MatcherType::MatcherList(MatcherList { matchers: wildcards }));
    }
    if exact.map.is_empty() {
        return matcher;
    }
    let rest = match &matcher.matcher_type {
        None => matcher.on_no_match,
        Some(_) => Some(Box::new(OnMatch {
            on_match: Some(on_match::OnMatch::Matcher(Box::new(matcher))),
            ..OnMatch::default()
        })),
    };
    Matcher {
        on_no_match: rest,
        matcher_type: Some(MatcherType::MatcherTree(MatcherTree {
            input: Some(server_name()),
            tree_type: Some(TreeType::ExactMatchMap(exact)),
        })),
    }
}

/// Matches every server name below `domain`; Envoy has them in lower case.
fn below(domain: &str, chain: &str) -> FieldMatcher {
    let suffix = StringMatcher {
        match_pattern: Some(string_matcher::MatchPattern::Suffix(format!(".{domain}"))),
        ..StringMatcher::default()
    };
    FieldMatcher {
        predicate: Some(Predicate {
            match_type: Some(MatchType::SinglePredicate(SinglePredicate {
                input: Some(server_name()),
                matcher: Some(single_predicate::Matcher::ValueMatch(suffix)),
            })),
        }),
        on_match: Some(to(chain)),
    }
}

fn to(chain: &str) -> OnMatch {
    let action = extension(chain, StringValue { value: chain.to_owned() });
    OnMatch { on_match: Some(on_match::OnMatch::Action(action)), ..OnMatch::default() }
}

fn server_name() -> TypedExtensionConfig {
    extension("envoy.matching.inputs.server_name", ServerNameInput {})
}

/// The matchers of xDS have a message of their own for this.
pub(super) fn extension<M: Message + Name>(name: &str, config: M) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(config)) }
}

#[cfg(test)]
mod tests;
