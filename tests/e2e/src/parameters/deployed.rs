//! What Postern makes of GatewayParameters.

use postern::bootstrap::XdsService;
use postern::kubernetes::infrastructure::{RenderOptions, Wanted, render};
use postern_api::gateway_api::ConditionStatus;
use postern_translator::{Change, Infrastructure, Kind, NamespacedName, Object, Options, Translator};
use serde_json::{Value, json};

use super::{Manifests, gateway_parameters};

/// What becomes of GatewayParameters that a Gateway with the ports 80 and 443 has.
#[derive(Debug, PartialEq)]
pub struct Deployed {
    /// What the Gateway needs.
    pub infrastructure: Infrastructure,
    /// The message of the condition `Accepted`, and whether it is true.
    pub accepted: (bool, String),
    /// Field and message of every problem.
    pub problems: Vec<(String, String)>,
}

impl Deployed {
    /// Translates.
    ///
    /// # Errors
    /// When the parameters cannot even be read.
    pub fn of(spec: &Value) -> Result<Self, String> {
        let class = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "postern"},
            "spec": {"controllerName": "postern.dev/gateway-controller"},
        });
        let group = "gateway.kgateway.dev";
        let listeners =
            [80, 443].map(|port| json!({"name": format!("p{port}"), "port": port, "protocol": "HTTP"}));
        let gateway = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": "default", "uid": "00000000-0000-0000-0000-000000000001"},
            "spec": {
                "gatewayClassName": "postern", "listeners": listeners,
                "infrastructure": {"parametersRef": {"group": group, "kind": "GatewayParameters", "name": "own"}},
            },
        });
        let mut parameters = gateway_parameters("own", spec);
        parameters["metadata"]["namespace"] = json!("default");
        let mut translator = Translator::new(Options { provision: true, ..Options::default() });
        for (kind, value) in
            [(Kind::GatewayClass, class), (Kind::Gateway, gateway), (Kind::GatewayParameters, parameters)]
        {
            let object = Object::deserialize(kind, value).map_err(|error| error.to_string())?;
            translator.apply(Change::Upsert(object));
        }
        let mut update = translator.translate();
        let infrastructure = update.infrastructure.remove(&NamespacedName::new("default", "edge")).flatten();
        let status = update.statuses.into_iter().find(|(key, _)| key.kind == Kind::GatewayParameters);
        let status = status.and_then(|(_, status)| status).expect("a status");
        let condition = status.conditions()[0];
        let is_true = condition.status == ConditionStatus::True;
        let problems = translator.problems().into_iter().map(|it| (it.field.clone(), it.message.clone()));
        Ok(Self {
            infrastructure: (*infrastructure.expect("infrastructure")).clone(),
            accepted: (is_true, condition.message.clone()),
            problems: problems.collect(),
        })
    }

    /// The objects that Postern applies.
    pub fn manifests(&self) -> Manifests {
        let options = RenderOptions {
            controller_name: "postern.dev/gateway-controller".to_owned(),
            controller_image: "postern.dev/postern:test".to_owned(),
            envoy_image: "docker.io/envoyproxy/envoy:distroless-v1.40.0".to_owned(),
            xds: XdsService { namespace: "none".to_owned(), name: "postern".to_owned(), port: 18000 },
        };
        let objects = render(&self.infrastructure, &options, "CERTIFICATES").expect("objects");
        let all = objects.manifests().expect("manifests").into_iter();
        all.filter_map(|(kind, wanted)| match wanted {
            Wanted::Object(manifest) => Some((kind, *manifest)),
            Wanted::Nothing | Wanted::Unknown => None,
        })
        .collect()
    }
}
