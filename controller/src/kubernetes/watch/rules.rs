//! What the watches must be allowed to do.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;
use postern_translator::Kind;

use super::{bundle, references, resource};

/// What has to be allowed, by rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// For a ClusterRole, or for a Role in each namespace that is watched.
    pub namespaced: Vec<PolicyRule>,
    /// For a ClusterRole; not needed with [`Scope::Namespaces`](super::Scope::Namespaces).
    pub cluster: Vec<PolicyRule>,
}

/// What the watches must be allowed to do: what `deploy/` has to grant.
pub fn rules() -> Rules {
    let of = |namespaced: bool, kept: bool| {
        let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for kind in Kind::ALL {
            if kind.is_namespaced() == namespaced && references::KINDS.contains(kind) != kept {
                groups.entry(kind.group()).or_default().insert(resource::plural(*kind));
            }
        }
        let verbs: &[&str] = if kept { &["list", "watch"] } else { &["get", "list", "watch"] };
        let rule = |(group, resources): (&str, BTreeSet<String>)| rule(group, resources, verbs);
        groups.into_iter().map(rule).collect::<Vec<_>>()
    };
    let definition = PolicyRule {
        resource_names: Some(vec![bundle::DEFINITION.to_owned()]),
        ..rule("apiextensions.k8s.io", ["customresourcedefinitions".to_owned()], &["list", "watch"])
    };
    let mut rules = Rules { namespaced: of(true, true), cluster: of(false, true) };
    rules.namespaced.extend(of(true, false));
    rules.cluster.push(definition);
    rules
}

fn rule(group: &str, resources: impl IntoIterator<Item = String>, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources.into_iter().collect()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_no_more_than_is_watched() {
        let rules = rules();
        let words = |rules: &[PolicyRule]| {
            let word = |rule: &PolicyRule| {
                format!(
                    "{} {} {}",
                    rule.verbs.join(","),
                    rule.api_groups.clone().unwrap_or_default().join(","),
                    rule.resources.clone().unwrap_or_default().join(",")
                )
            };
            rules.iter().map(word).collect::<Vec<_>>()
        };
        assert_eq!(
            words(&rules.cluster),
            [
                "list,watch  namespaces",
                "list,watch certificates.k8s.io clustertrustbundles",
                "list,watch gateway.networking.k8s.io gatewayclasses",
                "list,watch apiextensions.k8s.io customresourcedefinitions"
            ]
        );
        let namespaced = words(&rules.namespaced);
        assert_eq!(namespaced[0], "list,watch  pods,services");
        assert!(namespaced.contains(&"get,list,watch  configmaps,secrets".to_owned()), "{namespaced:?}");
        let all =
            rules.namespaced.iter().chain(&rules.cluster).flat_map(|rule| rule.resources.iter().flatten());
        assert_eq!(all.count(), Kind::ALL.len() + 1);
    }
}
