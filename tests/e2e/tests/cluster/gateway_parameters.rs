//! GatewayParameters: what their CRD takes, what the API server takes of what they lead to, and what becomes of proxies
//! whose parameters break.

use k8s_openapi::api::apps::v1::Deployment;
use postern_api::gateway_api::{ConditionStatus, Gateway};
use postern_api::kgateway::GatewayParameters;
use postern_e2e::{Cluster, gateway_parameters, repository};
use postern_translator::infrastructure::ProxyParameters;
use postern_translator::{Change, Infrastructure, Kind, Object, Options, Translator};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::provisioner::{Fixture, gateway};

const KGATEWAY: &str = include_str!("../../../../api/tests/data/gateway-parameters-kgateway-2.1.yaml");

fn parameters(name: &str, spec: &Value) -> String {
    gateway_parameters(name, spec).to_string()
}

#[tokio::test]
async fn parameters_of_kgateway_apply_unchanged() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("parameters").await;
    let spec: Value = serde_yaml::from_str(KGATEWAY).unwrap();
    space.apply(&parameters("all", &spec)).await;
    let kept = space.api::<GatewayParameters>().get("all").await.unwrap();
    assert_eq!(serde_json::to_value(kept.spec).unwrap(), spec, "the API server keeps every field");

    for (spec, refusal) in [
        ("{}", "give exactly one of kube, selfManaged"),
        ("{kube: {}, selfManaged: {}}", "give exactly one of kube, selfManaged"),
        ("{kube: {service: {type: Elsewhere}}}", "spec.kube.service.type"),
        ("{kube: {podTemplate: {extraVolumes: [{nmae: a}]}}}", "nmae"),
        (
            "{kube: {envoyContainer: {resources: {limits: {cpu: much}}}}}",
            "spec.kube.envoyContainer.resources.limits.cpu",
        ),
        ("{kube: {deployment: {replicas: 2}, horizontalPodAutoscaler: {maxReplicas: 3}}}", "not both"),
        ("{kube: {podDisruptionBudget: {minAvailable: 1, spec: {}}}}", "in spec or beside it"),
    ] {
        let yaml = parameters("wrong", &serde_yaml::from_str(spec).unwrap());
        let said = space.try_apply(&yaml).await.expect_err(spec);
        assert!(said.contains(refusal), "{spec}: {said}");
    }
}

/// What the Gateways of a golden need.
fn wanted(name: &str) -> Vec<Infrastructure> {
    let mut translator = Translator::new(Options { provision: true, ..Options::default() });
    let path = repository().join("translator/tests/golden").join(name).join("input.yaml");
    let input = std::fs::read_to_string(path).unwrap();
    for document in serde_yaml::Deserializer::from_str(&input) {
        let value = Value::deserialize(document).unwrap();
        let kind =
            Kind::from_gvk(value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap()).unwrap();
        translator.apply(Change::Upsert(Object::deserialize(kind, value).unwrap()));
    }
    let update = translator.translate();
    update.infrastructure.into_values().flatten().map(|it| (*it).clone()).collect()
}

/// What is checked without a cluster is enough for the API server.
#[tokio::test]
async fn the_api_server_takes_what_valid_parameters_lead_to() {
    let cluster = Cluster::shared().await;
    for capability in ["plain", "seed", "kgateway", "merged", "scaling", "self-managed", "long-names"] {
        let space = cluster.namespace("parameters").await;
        let mut provisioner = Fixture::start(&cluster, &space, true);
        let all = wanted(&format!("infrastructure-{capability}"));
        assert!(!all.is_empty(), "{capability}");
        for mut infrastructure in all {
            let name = infrastructure.gateway.name.clone();
            let real = gateway(&space, &name, "parameters-test").await;
            infrastructure.gateway = real.gateway;
            infrastructure.uid = real.uid;
            infrastructure.class = real.class;
            if let ProxyParameters::Kubernetes(parameters) = &mut infrastructure.parameters {
                // Of a range that this cluster may not have.
                parameters.service.cluster_ip = None;
                parameters.service.node_ports.clear();
            }
            let changes = provisioner.provision(&infrastructure).await;
            assert!(!changes.is_empty(), "{capability}: {name}");
        }
        provisioner.end().await;
    }
}

fn accepted(gateway: &Gateway) -> Option<(ConditionStatus, String)> {
    let conditions = &gateway.status.as_ref()?.conditions;
    let found = conditions.iter().find(|it| it.type_ == "Accepted")?;
    (found.observed_generation == gateway.metadata.generation).then(|| (found.status, found.reason.clone()))
}

#[tokio::test]
async fn broken_parameters_take_nothing_away() {
    let cluster = Cluster::shared().await;
    let space = cluster.namespace("parameters").await;
    let own = |spec: Value| parameters("own", &spec);
    let replicas = |replicas: i32| own(json!({"kube": {"deployment": {"replicas": replicas}}}));
    let edge = |listeners: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: edge}}, spec: {{gatewayClassName: \
             postern, infrastructure: {{parametersRef: {{group: gateway.kgateway.dev, kind: GatewayParameters, name: \
             own}}}}, listeners: [{listeners}]}}}}"
        )
    };
    space.apply(&edge("{name: http, port: 80, protocol: HTTP}")).await;
    let is = |status: ConditionStatus, reason: &'static str| {
        move |it: &Gateway| match accepted(it) {
            Some((found, why)) if found == status && why == reason => Ok(()),
            other => Err(format!("Accepted {other:?}")),
        }
    };
    let refused = || is(ConditionStatus::False, "InvalidParameters");
    space.until("edge", "refusal of parameters that do not exist", refused()).await;
    let deployments = space.api::<Deployment>();
    assert!(deployments.get_opt("edge").await.unwrap().is_none(), "nobody knows how to deploy it");

    space.apply(&replicas(1)).await;
    space.until("edge", "acceptance", is(ConditionStatus::True, "Accepted")).await;
    let generation = space.until("edge", "Deployment", |it: &Deployment| Ok(it.metadata.generation)).await;

    space.apply(&own(json!({"kube": {"service": {"type": "ExternalName"}}}))).await;
    space.until("edge", "refusal of parameters that are not valid", refused()).await;
    space
        .until("own", "refusal of the parameters themselves", |it: &GatewayParameters| {
            let conditions =
                it.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            match conditions {
                [one]
                    if one.status == ConditionStatus::False && one.message.contains("kube.service.type") =>
                {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    space.delete(&["gatewayparameters", "own"]).await;
    space
        .apply(&edge("{name: http, port: 80, protocol: HTTP}, {name: alt, port: 8080, protocol: HTTP}"))
        .await;
    space.until("edge", "refusal once more", refused()).await;
    let now = deployments.get("edge").await.unwrap().metadata.generation;
    assert_eq!(now, generation, "the proxies stay as they are");

    space.apply(&replicas(2)).await;
    space.until("edge", "acceptance", is(ConditionStatus::True, "Accepted")).await;
    space
        .until("edge", "two replicas", |it: &Deployment| {
            match it.spec.as_ref().and_then(|spec| spec.replicas) {
                Some(2) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
}
