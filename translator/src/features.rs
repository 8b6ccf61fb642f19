//! The features of the conformance suite of Gateway API v1.7 that Postern supports, in one table. A GatewayClass of ours
//! publishes them (`status.supportedFeatures`, GEP-2162), and the suite takes them from there.

/// A feature of the conformance suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The name that the suite gives it.
    pub name: &'static str,
    /// Whether this version carries it out, all of it.
    pub supported: bool,
}

/// Supported only where the cluster serves the kind.
pub(crate) const CLUSTER_TRUST_BUNDLE: &str = "ClusterTrustBundle";

/// Every feature of the suite that is not about meshes, ordered by name.
pub const FEATURES: [Feature; 54] = [
    yes("BackendTLSPolicy"),
    yes("BackendTLSPolicySANValidation"),
    yes(CLUSTER_TRUST_BUNDLE),
    yes("GRPCRoute"),
    yes("GRPCRouteNamedRouteRule"),
    yes("GRPCRouteRequestHeaderModifier"),
    yes("Gateway"),
    yes("GatewayAddressEmpty"),
    no("GatewayAddressRoutability"),
    no("GatewayAddressRoutabilityCluster"),
    yes("GatewayBackendClientCertificate"),
    yes("GatewayFrontendClientCertificateValidation"),
    yes("GatewayFrontendClientCertificateValidationInsecureFallback"),
    yes("GatewayHTTPListenerIsolation"),
    yes("GatewayHTTPSListenerDetectMisdirectedRequests"),
    yes("GatewayInfrastructure"),
    yes("GatewayListenerFilters"),
    yes("GatewayPort8080"),
    yes("GatewayRouteHostnameIntersectionPrecedence"),
    yes("GatewayStaticAddresses"),
    yes("HTTPRoute"),
    yes("HTTPRoute303RedirectStatusCode"),
    yes("HTTPRoute307RedirectStatusCode"),
    yes("HTTPRoute308RedirectStatusCode"),
    yes("HTTPRouteBackendProtocolH2C"),
    yes("HTTPRouteBackendProtocolWebSocket"),
    yes("HTTPRouteBackendRequestHeaderModification"),
    yes("HTTPRouteBackendTimeout"),
    yes("HTTPRouteBackendURLRewrite"),
    yes("HTTPRouteCORS"),
    yes("HTTPRouteDestinationPortMatching"),
    yes("HTTPRouteHostRewrite"),
    yes("HTTPRouteMethodMatching"),
    yes("HTTPRouteNamedRouteRule"),
    yes("HTTPRouteParentRefPort"),
    yes("HTTPRoutePathRedirect"),
    yes("HTTPRoutePathRewrite"),
    yes("HTTPRoutePortRedirect"),
    yes("HTTPRouteQueryParamMatching"),
    yes("HTTPRouteRequestMirror"),
    yes("HTTPRouteRequestMultipleMirrors"),
    yes("HTTPRouteRequestPercentageMirror"),
    yes("HTTPRouteRequestTimeout"),
    yes("HTTPRouteResponseHeaderModification"),
    yes("HTTPRouteRetryCodes"),
    yes("HTTPRouteRetryConnectionError"),
    yes("HTTPRouteSchemeRedirect"),
    yes("ListenerSet"),
    yes("ReferenceGrant"),
    yes("TCPRoute"),
    yes("TLSRoute"),
    yes("TLSRouteModeMixed"),
    yes("TLSRouteModeTerminate"),
    yes("UDPRoute"),
];

/// The names of the supported features, ordered.
pub fn supported() -> impl Iterator<Item = &'static str> {
    FEATURES.iter().filter(|feature| feature.supported).map(|feature| feature.name)
}

const fn yes(name: &'static str) -> Feature {
    Feature { name, supported: true }
}

const fn no(name: &'static str) -> Feature {
    Feature { name, supported: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gateway API: the list is sorted and has at most 64 entries.
    #[test]
    fn the_list_is_as_the_status_wants_it() {
        assert!(FEATURES.is_sorted_by(|a, b| a.name < b.name));
        const { assert!(FEATURES.len() <= 64) }
    }

    /// An extended feature without the core of its resource would be a lie.
    #[test]
    fn nothing_is_claimed_without_its_resource() {
        for resource in
            ["GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "BackendTLSPolicy", "HTTPRoute", "Gateway"]
        {
            if !supported().any(|name| name == resource) {
                assert!(!supported().any(|name| name.starts_with(resource)), "{resource}");
            }
        }
    }
}
