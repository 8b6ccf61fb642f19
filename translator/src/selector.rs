//! Label selectors (Kubernetes `metav1.LabelSelector`).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// True if `labels` satisfy every requirement of `selector`; an unknown operator matches nothing.
pub(crate) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed =
                || value.is_some_and(|v| requirement.values.iter().flatten().any(|listed| listed == v));
            match requirement.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    use super::*;

    #[test]
    fn follows_the_operators() {
        let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let expression = |key: &str, operator: &str, values: &[&str]| LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
            }]),
            ..LabelSelector::default()
        };
        assert!(matches(&LabelSelector::default(), &labels));
        assert!(matches(&expression("team", "In", &["red", "blue"]), &labels));
        assert!(!matches(&expression("team", "NotIn", &["blue"]), &labels));
        assert!(matches(&expression("other", "NotIn", &["blue"]), &labels));
        assert!(matches(&expression("team", "Exists", &[]), &labels));
        assert!(!matches(&expression("team", "DoesNotExist", &[]), &labels));
        assert!(!matches(&expression("team", "Near", &["blue"]), &labels));
    }
}
