//! Settings of kgateway v2.1 that are read and not carried out.

use postern_api::kgateway::{GatewayParametersSpec, IstioParameters, SdsContainerParameters};

use crate::problem::Fault;

/// What the object asks for in vain. Fields are those below `spec`.
pub(super) fn not_carried_out(spec: &GatewayParametersSpec) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut add = |field: &str, message: &str, remedy: &str| found.push(Fault::new(field, message, remedy));
    if spec.self_managed.as_ref().is_some_and(|fields| !fields.is_empty()) {
        add("selfManaged", "it has no fields; those given mean nothing", "write selfManaged: {}");
    }
    let Some(kube) = &spec.kube else { return found };
    if kube.sds_container.as_ref().is_some_and(|it| *it != SdsContainerParameters::default()) {
        add(
            "kube.sdsContainer",
            "the proxies get their certificates over xDS and have no container for it",
            "remove it",
        );
    }
    if kube.istio.as_ref().is_some_and(|it| *it != IstioParameters::default()) {
        add(
            "kube.istio",
            "the integration of Istio is not carried out",
            "remove it; for sidecars label the pods by podTemplate.extraLabels, so that a webhook adds them",
        );
    }
    if kube.ai_extension.as_ref().is_some_and(|it| it.enabled == Some(true)) {
        add(
            "kube.aiExtension",
            "the extension for AI providers is not carried out",
            "remove it, or set enabled to false",
        );
    }
    if kube.agentgateway.as_ref().is_some_and(|it| it.enabled == Some(true)) {
        add(
            "kube.agentgateway",
            "proxies are Envoys; agentgateway is not carried out",
            "remove it, or set enabled to false",
        );
    }
    let resources = kube.envoy_container.as_ref().and_then(|it| it.resources.as_ref());
    if resources.is_some_and(|it| !it.claims.is_empty()) {
        add(
            "kube.envoyContainer.resources.claims",
            "the pods of proxies declare no claims of dynamic resources",
            "remove it",
        );
    }
    found
}
