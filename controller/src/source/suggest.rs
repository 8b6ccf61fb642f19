//! Says what was probably meant.

use postern_translator::{Kind, UnknownField};

use crate::diagnostic::Level;

/// What to say of a document of a kind that is not read.
pub(crate) struct Verdict {
    pub(crate) level: Level,
    pub(crate) field: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

const GATEWAY_GROUPS: [&str; 3] =
    ["gateway.networking.k8s.io", "gateway.networking.x-k8s.io", "gateway.kgateway.dev"];

/// Judges a document whose apiVersion and kind are not known: a slip of the pen is an error, a kind that is none of
/// Postern's business is a note.
pub(crate) fn unknown_kind(api_version: &str, kind: &str) -> Verdict {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some(known) = Kind::from_group_kind(group, kind) {
        return Verdict {
            level: Level::Error,
            field: "apiVersion",
            message: format!("version {version} of {kind} is not known"),
            remedy: format!("use `apiVersion: {}`", known.api_version()),
        };
    }
    if GATEWAY_GROUPS.contains(&group) {
        let same_kind = Kind::ALL.iter().find(|k| k.as_str() == kind);
        let near = same_kind.copied().or_else(|| nearest_kind(kind));
        return Verdict {
            level: Level::Error,
            field: if same_kind.is_some() { "apiVersion" } else { "kind" },
            message: format!("group {group} has no kind {kind}"),
            remedy: near.map_or_else(String::new, |k| {
                format!("did you mean `kind: {k}` with `apiVersion: {}`?", k.api_version())
            }),
        };
    }
    if let Some(near) = nearest(group, GATEWAY_GROUPS.iter().copied()) {
        let remedy = Kind::from_group_kind(near, kind).map_or_else(
            || format!("did you mean the group {near}?"),
            |k| format!("did you mean `apiVersion: {}`?", k.api_version()),
        );
        return Verdict {
            level: Level::Error,
            field: "apiVersion",
            message: format!("group {group} is not known"),
            remedy,
        };
    }
    if let Some(near) =
        nearest_kind(kind).filter(|k| k.group() == group || GATEWAY_GROUPS.contains(&k.group()))
        && near.as_str() != kind
    {
        return Verdict {
            level: Level::Warning,
            field: "kind",
            message: format!("{kind} of {api_version} is not known"),
            remedy: format!("did you mean `kind: {near}` with `apiVersion: {}`?", near.api_version()),
        };
    }
    Verdict {
        level: Level::Note,
        field: "kind",
        message: format!("{kind} of {api_version} is not used and was left out"),
        remedy: String::new(),
    }
}

/// Message and remedy for a field that a type does not have.
pub(crate) fn unknown_field(UnknownField { field, known }: &UnknownField) -> (String, String) {
    let name = field.rsplit('.').next().unwrap_or(field);
    let remedy = nearest(name, known.iter().copied()).map_or_else(
        || "remove it; the API server would drop or refuse it".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    (format!("unknown field `{name}`"), remedy)
}

fn nearest_kind(kind: &str) -> Option<Kind> {
    let near = nearest(kind, Kind::ALL.iter().map(|k| k.as_str()))?;
    Kind::ALL.iter().copied().find(|k| k.as_str() == near)
}

/// The candidate most like `word`, if one is alike enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + word.len().min(candidate.len()) / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_slips_from_foreign_kinds() {
        let level = |api_version, kind| unknown_kind(api_version, kind).level;
        assert_eq!(level("gateway.networking.k8s.io/v2", "HTTPRoute"), Level::Error);
        assert_eq!(level("gateway.networking.k8s.io/v1", "HttpRoutes"), Level::Error);
        assert_eq!(level("gateway.network.k8s.io/v1", "HTTPRoute"), Level::Error);
        assert_eq!(level("v1", "Servise"), Level::Warning);
        assert_eq!(level("apps/v1", "Deployment"), Level::Note);
        assert_eq!(level("serving.knative.dev/v1", "Service"), Level::Note);
    }

    #[test]
    fn names_what_was_meant() {
        let remedy = |api_version, kind| unknown_kind(api_version, kind).remedy;
        assert!(remedy("gateway.networking.k8s.io/v1", "Gatway").contains("`kind: Gateway`"));
        assert!(
            remedy("gateway.networking.k8s.io/v1", "TrafficPolicy").contains("gateway.kgateway.dev/v1alpha1")
        );
        assert!(
            remedy("gateway.networking.k8s.io/v1alpha9", "HTTPRoute")
                .contains("gateway.networking.k8s.io/v1`")
        );
    }
}
