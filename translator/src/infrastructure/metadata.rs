//! Labels and annotations: what Kubernetes takes, and which belong to Postern.

use std::collections::BTreeMap;

use super::check::Checks;

/// Labels that Postern sets on every generated object; selectors use them.
const OWN_LABELS: [&str; 5] = [
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    // Of the Deployment's controller.
    "pod-template-hash",
];

/// Domains whose keys Postern or the Gateway API give a meaning to.
const OWN_DOMAINS: [&str; 2] = ["gateway.networking.k8s.io", "postern.dev"];

/// The most that all annotations of an object may be, keys and values, in bytes.
const LARGEST_ANNOTATIONS: usize = 256 * 1024;

/// Checks the labels in `field`; a fault's field ends in the key.
pub(super) fn labels(labels: &BTreeMap<String, String>, field: &str, checks: &mut Checks) {
    for (key, value) in labels {
        let field = format!("{field}[{key}]");
        if !is_key(key) {
            checks.fault(field, format!("{key:?} is not a label key"), KEY_REMEDY);
        } else if is_own_label(key) {
            checks.fault(
                field,
                format!("the label {key} is set by Postern"),
                "remove it, or use another key",
            );
        } else if !is_label_value(value) {
            checks.fault(
                field,
                format!("{value:?} is not a label value"),
                "use at most 63 letters, digits, '-', '_' and '.', with a letter or a digit at both ends",
            );
        }
    }
}

/// Checks the annotations in `field`.
pub(super) fn annotations(annotations: &BTreeMap<String, String>, field: &str, checks: &mut Checks) {
    for key in annotations.keys() {
        let field = format!("{field}[{key}]");
        if !is_key(key) {
            checks.fault(field, format!("{key:?} is not an annotation key"), KEY_REMEDY);
        } else if is_own_domain(key) {
            checks.fault(
                field,
                format!("the annotation {key} is in a domain of Postern's or of the Gateway API"),
                "remove it, or use another domain",
            );
        }
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > LARGEST_ANNOTATIONS {
        checks.fault(
            field,
            format!("the annotations are {size} bytes large"),
            "make them at most 262144 bytes together",
        );
    }
}

/// Checks a selector: keys and values of labels, whoever they belong to.
pub(super) fn selector(labels: &BTreeMap<String, String>, field: &str, checks: &mut Checks) {
    for (key, value) in labels {
        if !is_key(key) || !is_label_value(value) {
            checks.fault(
                format!("{field}[{key}]"),
                format!("\"{key}={value}\" is not a label"),
                "write the key and the value of a label",
            );
        }
    }
}

const KEY_REMEDY: &str = "use at most 63 letters, digits, '-', '_' and '.', with a letter or a digit at both ends, perhaps \
     with a domain and a slash in front";

fn is_own_domain(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    OWN_DOMAINS
        .iter()
        .any(|own| domain.strip_suffix(own).is_some_and(|sub| sub.is_empty() || sub.ends_with('.')))
}

fn is_own_label(key: &str) -> bool {
    OWN_LABELS.contains(&key) || is_own_domain(key)
}

/// Key of a label or an annotation: a name, perhaps with a domain in front.
pub(super) fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_dns_name(domain) && is_name(name),
        None => is_name(key),
    }
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn is_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Name of an object: labels of DNS with dots between (RFC 1123).
pub(super) fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// One label of DNS (RFC 1123).
pub(super) fn is_dns_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: fn(&BTreeMap<String, String>, &str, &mut Checks), key: &str, value: &str) -> Vec<String> {
        let mut checks = Checks::default();
        check(&BTreeMap::from([(key.to_owned(), value.to_owned())]), "labels", &mut checks);
        checks.into_faults().into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn labels_are_those_of_kubernetes() {
        let long = "a".repeat(63);
        for (key, value) in [
            ("a", ""),
            ("A.b_c-1", "Value_1.x"),
            ("example.com/a", "b"),
            ("a.kubernetes.io/a", "b"),
            ("app.kubernetes.io/version", "1"),
            ("notpostern.dev/a", "b"),
            (&long, &long),
        ] {
            assert_eq!(found(labels, key, value), [""; 0], "{key}: {value}");
        }
        let longer = "a".repeat(64);
        for (key, value) in [
            ("", "a"),
            ("-a", "a"),
            ("a/b/c", "a"),
            ("Example.com/a", "a"),
            ("/a", "a"),
            ("a/", "a"),
            (&longer, "a"),
            ("a", &longer),
            ("a", "-a"),
            ("a", "a b"),
            ("a", "ä"),
        ] {
            assert_eq!(found(labels, key, value).len(), 1, "{key}: {value}");
        }
    }

    #[test]
    fn own_labels_stay_our_own() {
        for key in [
            "gateway.networking.k8s.io/gateway-name",
            "app.kubernetes.io/name",
            "postern.dev/x",
            "xds.postern.dev/x",
            "pod-template-hash",
        ] {
            assert_eq!(found(labels, key, "a"), [format!("the label {key} is set by Postern")]);
        }
        assert_eq!(found(annotations, "app.kubernetes.io/name", "any text, of course"), [""; 0]);
        assert_eq!(found(annotations, "postern.dev/x", "a").len(), 1);
    }

    #[test]
    fn annotations_have_a_size() {
        assert_eq!(found(annotations, "a", &"x".repeat(262_143)), [""; 0]);
        assert_eq!(found(annotations, "a", &"x".repeat(262_144)).len(), 1);
    }
}
