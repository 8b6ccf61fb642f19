//! Where the API server keeps the objects of a kind.

use postern_translator::Kind;

/// One served version of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) kind: Kind,
    pub(super) version: String,
    pub(super) plural: String,
}

impl Served {
    /// A kind that every API server serves.
    pub(super) fn built_in(kind: Kind) -> Option<Self> {
        matches!(kind.group(), "" | "discovery.k8s.io").then(|| Self {
            kind,
            version: kind.versions()[0].to_owned(),
            plural: plural(kind),
        })
    }

    /// The path of all objects, or of those in `namespace`.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let base = group_version_path(self.kind.group(), &self.version);
        match namespace {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{}", self.plural),
            None => format!("{base}/{}", self.plural),
        }
    }
}

/// True if there are good clusters without the kind, or where it may not be read: neither is waited for. ClusterTrustBundles are served
/// since Kubernetes 1.33, behind a feature gate at first, and their owner may hide them. ServiceImports are there where several
/// clusters share services, and Pods are read for XBackends alone.
pub(super) const fn is_optional(kind: Kind) -> bool {
    matches!(kind, Kind::ClusterTrustBundle | Kind::ServiceImport | Kind::Pod)
}

/// The path of what a version of a group serves.
pub(super) fn group_version_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// The name of the kind in paths and in RBAC rules.
pub(super) fn plural(kind: Kind) -> String {
    let name = kind.as_str().to_ascii_lowercase();
    if kind == Kind::GatewayParameters {
        name
    } else if let Some(stem) = name.strip_suffix("cy") {
        format!("{stem}cies")
    } else if name.ends_with('s') {
        format!("{name}es")
    } else {
        format!("{name}s")
    }
}

/// True if an object can have this name, or a namespace: a DNS subdomain (RFC 1123). What users write as a name need not be one, and
/// must not get into a path: `../../other/secrets/key` would lead to the Secret of somebody else.
pub(super) fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api_server() {
        let secrets = Served::built_in(Kind::Secret).unwrap();
        assert_eq!(secrets.path(None), "/api/v1/secrets");
        assert_eq!(secrets.path(Some("a")), "/api/v1/namespaces/a/secrets");
        let slices = Served::built_in(Kind::EndpointSlice).unwrap();
        assert_eq!(slices.path(Some("a")), "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices");
        assert_eq!(Served::built_in(Kind::Gateway), None);
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        for name in ["a", "a.b-c.d9", &"a".repeat(253)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a..b",
            "../secrets/b",
            "a/b",
            "a?watch=1",
            "a%2fb",
            "A",
            "-a",
            "a-",
            "a b",
            "ä",
            &"a".repeat(254),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn plurals_are_those_of_the_definitions() {
        let plurals: Vec<_> = Kind::ALL.iter().map(|kind| plural(*kind)).collect();
        assert_eq!(
            plurals.join(" "),
            "namespaces services secrets configmaps endpointslices pods clustertrustbundles gatewayclasses gateways listenersets \
             httproutes grpcroutes tlsroutes tcproutes udproutes referencegrants backendtlspolicies xbackends \
             xbackendtrafficpolicies xtelemetrypolicies serviceimports trafficpolicies backends backendconfigpolicies directresponses \
             gatewayextensions gatewayparameters httplistenerpolicies aibackends"
        );
    }
}
