//! Annotations of kgateway v2.1 by which an HTTPRoute says more than its specification can.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::object::ObjectKey;
use crate::problem::{Fault, Problems};

/// The annotation of an HTTPRoute whose routes come before those of lighter ones.
const WEIGHT: &str = "kgateway.dev/route-weight";
/// The annotation of an HTTPRoute that says which status its redirects have.
const REDIRECT_STATUS: &str = "kgateway.dev/http-redirect-status-code";
/// The statuses of redirects.
pub(super) const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

fn value<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn fault(name: &str, message: String, remedy: &str) -> Fault {
    Fault::new(format!("metadata.annotations[{name}]"), message, remedy)
}

/// The weight of a route among those of a host; 0 unless it says another.
pub(crate) fn weight(metadata: &ObjectMeta) -> Result<i32, Fault> {
    let Some(value) = value(metadata, WEIGHT) else { return Ok(0) };
    value.trim().parse().map_err(|_| {
        fault(
            WEIGHT,
            format!("{value:?} is not a whole number of 32 bits, so the weight is 0"),
            "use a number such as 10 or -1; routes with a higher one are asked first",
        )
    })
}

/// The same, with a warning where it cannot be read.
pub(super) fn weight_or_warn(key: &ObjectKey, metadata: &ObjectMeta, problems: &mut Problems) -> i32 {
    weight(metadata).unwrap_or_else(|fault| {
        problems.warning(key, fault.field, fault.message, fault.remedy);
        0
    })
}

/// The statuses of the redirects of a route, where the annotation has a say in them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RedirectStatuses<'a> {
    all: Option<u16>,
    /// By name of the rule.
    by_rule: BTreeMap<&'a str, u16>,
}

impl<'a> RedirectStatuses<'a> {
    /// Reads the annotation: one status for all rules, or `rule=status` separated by commas.
    pub(super) fn read(
        key: &ObjectKey,
        metadata: &'a ObjectMeta,
        rules: &[&str],
        problems: &mut Problems,
    ) -> Self {
        let mut out = Self::default();
        let Some(value) = value(metadata, REDIRECT_STATUS) else { return out };
        let mut warn = |message: String| {
            let remedy =
                "use 301, 302, 303, 307 or 308 for all rules, or rule-name=status, separated by commas";
            let fault = fault(REDIRECT_STATUS, message, remedy);
            problems.warning(key, fault.field, fault.message, fault.remedy);
        };
        let mut status = |text: &str| {
            let status = text.trim().parse().ok().filter(|status| REDIRECTS.contains(status));
            if status.is_none() {
                warn(format!("{:?} is not the status of a redirect, so the filter decides", text.trim()));
            }
            status
        };
        if !value.contains('=') {
            out.all = status(value);
            return out;
        }
        let mut unknown = Vec::new();
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (rule, text) = part.split_once('=').unwrap_or((part, ""));
            let Some(status) = status(text) else { continue };
            if rules.contains(&rule.trim()) {
                out.by_rule.insert(rule.trim(), status);
            } else {
                unknown.push(rule.trim());
            }
        }
        for rule in unknown {
            warn(format!("no rule is named {rule:?}"));
        }
        out
    }

    /// The status of the redirects of a rule, if the annotation says one.
    pub(super) fn of(&self, rule: Option<&str>) -> Option<u16> {
        self.all.or_else(|| self.by_rule.get(rule?).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;
    use crate::object::Kind;

    fn annotated(name: &str, value: &str) -> ObjectMeta {
        yaml(&format!("{{annotations: {{{name}: '{value}'}}}}"))
    }

    #[test]
    fn weights_are_whole_numbers() {
        assert_eq!(weight(&ObjectMeta::default()), Ok(0));
        for (value, expected) in [("7", 7), ("-3", -3), (" 5 ", 5), ("2147483647", i32::MAX)] {
            assert_eq!(weight(&annotated(WEIGHT, value)), Ok(expected));
        }
        for value in ["", "high", "1.5", "2147483648"] {
            let fault = weight(&annotated(WEIGHT, value)).unwrap_err();
            assert_eq!(fault.field, "metadata.annotations[kgateway.dev/route-weight]");
        }
    }

    #[test]
    fn redirects_have_one_status_or_one_for_each_rule() {
        let key = ObjectKey::new(Kind::HttpRoute, "a", "r");
        for (value, of_a, of_b, of_none, warnings) in [
            ("307", Some(307), Some(307), Some(307), 0),
            ("a=307", Some(307), None, None, 0),
            ("a=307, b=303,", Some(307), Some(303), None, 0),
            ("200", None, None, None, 1),
            ("soon", None, None, None, 1),
            ("a=200,b=308", None, Some(308), None, 1),
            ("a=301,c=308,308", Some(301), None, None, 2),
        ] {
            let mut problems = Problems::default();
            let metadata = annotated(REDIRECT_STATUS, value);
            let read = RedirectStatuses::read(&key, &metadata, &["a", "b"], &mut problems);
            assert_eq!(
                (read.of(Some("a")), read.of(Some("b")), read.of(None)),
                (of_a, of_b, of_none),
                "{value}"
            );
            assert_eq!(problems.iter().count(), warnings, "{value}");
        }
    }
}
