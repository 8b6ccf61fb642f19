use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use k8s_openapi::api::apps::v1::DeploymentStrategy;
use k8s_openapi::api::core::v1::{
    Capabilities, EnvVar, PodSecurityContext, Probe, ResourceRequirements, SecurityContext, Sysctl,
    Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_translator::NamespacedName;
use postern_translator::infrastructure::{
    Autoscaler, DisruptionBudget, Disruptions, Drain, EnvoyParameters, Image, ObjectParameters,
    PodParameters, Port, PortProtocol, RequestedAddress, ServiceParameters, ServiceType, Stats,
    infrastructure_name,
};
use serde_json::{Value, json};

use super::*;
use crate::bootstrap::XdsService;
use crate::kubernetes::infrastructure::objects::ObjectKind;

fn options() -> RenderOptions {
    RenderOptions {
        controller_name: "postern.dev/gateway-controller".to_owned(),
        controller_image: "postern.dev/postern:v1".to_owned(),
        envoy_image: "docker.io/envoyproxy/envoy:distroless-v1.40.0".to_owned(),
        xds: XdsService { namespace: "postern-system".to_owned(), name: "postern".to_owned(), port: 18000 },
    }
}

fn port(port: u16, protocol: PortProtocol) -> Port {
    Port { port, protocol }
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn own(name: &str) -> ObjectParameters {
    ObjectParameters { labels: strings([(name, "label")]), annotations: strings([(name, "annotation")]) }
}

fn infrastructure(name: &str, parameters: ProxyParameters) -> Infrastructure {
    Infrastructure {
        gateway: NamespacedName::new("shop", name),
        uid: "uid-1".to_owned(),
        class: "postern".to_owned(),
        name: infrastructure_name(name),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        ports: BTreeSet::from([port(80, PortProtocol::Tcp), port(443, PortProtocol::Tcp)]),
        addresses: Vec::new(),
        cluster_ip: None,
        internal: false,
        parameters,
    }
}

fn provisioned(parameters: KubernetesParameters) -> Infrastructure {
    infrastructure("web", ProxyParameters::Kubernetes(Box::new(parameters)))
}

fn objects(infrastructure: &Infrastructure) -> Objects {
    render(infrastructure, &options(), "CERTIFICATES\n").expect("objects")
}

/// All objects, without the bootstrap, which has tests of its own.
fn yaml(objects: &Objects) -> String {
    let mut text = String::new();
    for (kind, wanted) in objects.manifests().expect("manifests") {
        let body = match wanted {
            Wanted::Object(mut manifest) => {
                if let Some(data) = manifest.get_mut("data").and_then(Value::as_object_mut) {
                    data.retain(|_, value| value == "CERTIFICATES\n");
                    data.insert("…".to_owned(), json!("bootstrap"));
                }
                serde_yaml::to_string(&manifest).expect("YAML")
            }
            Wanted::Nothing => "(none)\n".to_owned(),
            Wanted::Unknown => "(stays as it is)\n".to_owned(),
        };
        write!(text, "--- {kind}\n{body}").expect("text");
    }
    text
}

fn manifest(objects: &Objects, kind: ObjectKind) -> Value {
    let all = objects.manifests().expect("manifests");
    match &all.iter().find(|it| it.0 == kind).expect("every kind").1 {
        Wanted::Object(it) => (**it).clone(),
        other => panic!("{kind}: {other:?}"),
    }
}

fn everything() -> KubernetesParameters {
    let quantity = |text: &str| Quantity(text.to_owned());
    KubernetesParameters {
        replicas: Replicas::Automatic(Box::new(Autoscaler {
            object: own("hpa"),
            min_replicas: Some(2),
            max_replicas: 7,
            metrics: serde_json::from_value(json!([{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }]))
            .expect("a metric"),
            behavior: serde_json::from_value(json!({"scaleDown": {"stabilizationWindowSeconds": 60}})).ok(),
        })),
        strategy: Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
        pod: PodParameters {
            object: own("pod"),
            node_selector: strings([("disk", "fast")]),
            tolerations: vec![Toleration { key: Some("edge".to_owned()), ..Toleration::default() }],
            affinity: serde_json::from_value(json!({"nodeAffinity": {}})).ok(),
            topology_spread_constraints: vec![TopologySpreadConstraint {
                max_skew: 2,
                topology_key: "rack".to_owned(),
                when_unsatisfiable: "DoNotSchedule".to_owned(),
                ..TopologySpreadConstraint::default()
            }],
            security_context: Some(PodSecurityContext {
                run_as_user: Some(1000),
                sysctls: Some(vec![Sysctl {
                    name: "net.core.somaxconn".to_owned(),
                    value: "4096".to_owned(),
                }]),
                ..PodSecurityContext::default()
            }),
            image_pull_secrets: vec!["registry".to_owned()],
            volumes: vec![Volume { name: "extra".to_owned(), ..Volume::default() }],
            startup_probe: Some(Probe { period_seconds: Some(3), ..Probe::default() }),
            readiness_probe: Some(Probe { period_seconds: Some(4), ..Probe::default() }),
            liveness_probe: Some(Probe { period_seconds: Some(5), ..Probe::default() }),
            drain: Some(Drain { min_seconds: 20 }),
            termination_grace_period_seconds: 120,
        },
        envoy: EnvoyParameters {
            image: Image { tag: Some("v1.40.9".to_owned()), ..Image::default() },
            image_pull_policy: Some("Always".to_owned()),
            log_level: Some("warning".to_owned()),
            component_log_levels: strings([("http", "debug"), ("upstream", "trace")]),
            env: vec![
                EnvVar { name: "MINE".to_owned(), value: Some("1".to_owned()), value_from: None },
                EnvVar { name: "NODE_NAME".to_owned(), value: Some("none".to_owned()), value_from: None },
            ],
            security_context: Some(SecurityContext {
                capabilities: Some(Capabilities { add: Some(vec!["NET_ADMIN".to_owned()]), drop: None }),
                ..SecurityContext::default()
            }),
            resources: Some(ResourceRequirements {
                requests: Some([("cpu".to_owned(), quantity("2"))].into()),
                limits: Some([("memory".to_owned(), quantity("1Gi"))].into()),
                claims: None,
            }),
            volume_mounts: vec![VolumeMount {
                name: "extra".to_owned(),
                mount_path: "/extra".to_owned(),
                ..VolumeMount::default()
            }],
        },
        service: ServiceParameters {
            object: own("service"),
            type_: ServiceType::LoadBalancer,
            cluster_ip: Some("10.0.0.9".to_owned()),
            node_ports: BTreeMap::from([(443, 30443), (9999, 30999)]),
            external_traffic_policy: Some("Local".to_owned()),
        },
        service_account: own("account"),
        stats: Some(Stats {
            metrics: "/stats/prometheus?usedonly".to_owned(),
            stats: Some("/stats".to_owned()),
        }),
        floating_user_id: true,
        omit_default_security_context: false,
        disruption_budget: Some(DisruptionBudget {
            object: own("pdb"),
            disruptions: Disruptions::MaxUnavailable(IntOrString::String("25%".to_owned())),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
    }
}

#[test]
fn a_gateway_without_parameters() {
    insta::assert_snapshot!(yaml(&objects(&provisioned(KubernetesParameters::default()))));
}

#[test]
fn every_parameter_takes_effect() {
    let mut infrastructure = provisioned(everything());
    infrastructure.labels =
        strings([("team", "shop"), ("pod", "of the Gateway"), ("service", "of the Gateway")]);
    infrastructure.annotations = strings([("cost", "1"), ("hpa", "of the Gateway")]);
    infrastructure.ports.insert(port(443, PortProtocol::Udp));
    infrastructure.addresses = vec![
        RequestedAddress::Hostname("web.example".to_owned()),
        RequestedAddress::Ip([192, 0, 2, 7].into()),
        RequestedAddress::Ip([192, 0, 2, 8].into()),
    ];
    insta::assert_snapshot!(yaml(&objects(&infrastructure)));
}

#[test]
fn self_managed_proxies_get_what_they_start_from() {
    insta::assert_snapshot!(yaml(&objects(&infrastructure("web", ProxyParameters::SelfManaged))));
}

#[test]
fn while_parameters_are_invalid_all_stays() {
    let objects = objects(&infrastructure("web", ProxyParameters::Invalid));
    for (kind, wanted) in objects.manifests().expect("manifests") {
        assert_eq!(wanted, Wanted::Unknown, "{kind}");
    }
}

#[test]
fn a_gateway_without_ports_keeps_its_address() {
    let mut infrastructure = provisioned(KubernetesParameters::default());
    infrastructure.ports.clear();
    let objects = objects(&infrastructure);
    assert_eq!(objects.service, Wanted::Unknown);
    assert!(matches!(objects.deployment, Wanted::Object(_)));
}

#[test]
fn users_cannot_take_the_labels_that_hold_all_together() {
    let mut infrastructure = provisioned(KubernetesParameters::default());
    let stolen =
        strings([("app.kubernetes.io/managed-by", "me"), ("gateway.networking.k8s.io/gateway-name", "x")]);
    infrastructure.labels = stolen;
    let deployment = manifest(&objects(&infrastructure), ObjectKind::Deployment);
    for labels in [&deployment["metadata"]["labels"], &deployment["spec"]["template"]["metadata"]["labels"]] {
        assert_eq!(labels["app.kubernetes.io/managed-by"], "postern");
        assert_eq!(labels["gateway.networking.k8s.io/gateway-name"], "web");
    }
}

#[test]
fn long_names_make_valid_objects() {
    let name = format!("{}.example", "x".repeat(245));
    let objects = objects(&infrastructure(&name, ProxyParameters::Kubernetes(Box::default())));
    for kind in
        [ObjectKind::Deployment, ObjectKind::Service, ObjectKind::ConfigMap, ObjectKind::ServiceAccount]
    {
        let manifest = manifest(&objects, kind);
        assert!(manifest["metadata"]["name"].as_str().is_some_and(|it| it.len() <= 63), "{manifest}");
        assert_eq!(manifest["metadata"]["ownerReferences"][0]["name"], name.as_str());
        for value in manifest["metadata"]["labels"].as_object().expect("labels").values() {
            assert!(value.as_str().is_some_and(|it| it.len() <= 63), "{value}");
        }
    }
}

#[test]
fn replicas_are_said_by_whom_they_belong_to() {
    let replicas = |replicas| {
        let parameters = KubernetesParameters { replicas, ..KubernetesParameters::default() };
        manifest(&objects(&provisioned(parameters)), ObjectKind::Deployment)["spec"].get("replicas").cloned()
    };
    assert_eq!(replicas(Replicas::Fixed(3)), Some(json!(3)));
    assert_eq!(replicas(Replicas::Fixed(0)), Some(json!(0)));
    assert_eq!(replicas(Replicas::Unmanaged), None);
    assert_eq!(replicas(everything().replicas), None);
}

#[test]
fn only_what_envoy_does_not_read_again_starts_it_anew() {
    let template = |ca: &str, options: &RenderOptions, parameters: KubernetesParameters| {
        let objects = render(&provisioned(parameters), options, ca).expect("objects");
        manifest(&objects, ObjectKind::Deployment)["spec"]["template"].clone()
    };
    let usual = template("A", &options(), KubernetesParameters::default());
    assert_eq!(usual, template("B", &options(), KubernetesParameters::default()));
    let moved = RenderOptions { xds: XdsService { port: 1, ..options().xds }, ..options() };
    let digest =
        |template: &Value| template["metadata"]["annotations"]["postern.dev/bootstrap-digest"].clone();
    assert_ne!(digest(&usual), digest(&template("A", &moved, KubernetesParameters::default())));
    let no_stats = KubernetesParameters { stats: None, ..KubernetesParameters::default() };
    assert_ne!(digest(&usual), digest(&template("A", &options(), no_stats)));
}

#[test]
fn a_proxy_that_is_not_drained_needs_no_program() {
    let mut parameters = KubernetesParameters::default();
    parameters.pod.drain = None;
    let pod =
        manifest(&objects(&provisioned(parameters)), ObjectKind::Deployment)["spec"]["template"]["spec"]
            .clone();
    assert!(pod.get("initContainers").is_none() && pod["containers"][0].get("lifecycle").is_none(), "{pod}");
    assert_eq!(pod["volumes"].as_array().map(Vec::len), Some(2));
}

#[test]
fn no_security_context_where_none_is_wanted() {
    let mut parameters =
        KubernetesParameters { omit_default_security_context: true, ..KubernetesParameters::default() };
    let pod = |parameters: &KubernetesParameters| {
        let objects = objects(&provisioned(parameters.clone()));
        manifest(&objects, ObjectKind::Deployment)["spec"]["template"]["spec"].clone()
    };
    let bare = pod(&parameters);
    assert!(bare.get("securityContext").is_none(), "{bare}");
    for containers in ["containers", "initContainers"] {
        assert!(bare[containers][0].get("securityContext").is_none(), "{bare}");
    }
    parameters.pod.security_context = serde_json::from_value(json!({"runAsUser": 5})).ok();
    assert_eq!(pod(&parameters)["securityContext"], json!({"runAsUser": 5}));
}

/// What Kubernetes would refuse beside it is no default.
#[test]
fn defaults_of_rights_give_way_to_what_is_asked_for() {
    let contexts = |pod: Value, container: Value| {
        let mut parameters = KubernetesParameters::default();
        parameters.pod.security_context = serde_json::from_value(pod).expect("a security context");
        parameters.envoy.security_context = serde_json::from_value(container).expect("a security context");
        let deployment = manifest(&objects(&provisioned(parameters)), ObjectKind::Deployment);
        let pod = &deployment["spec"]["template"]["spec"];
        [
            &pod["securityContext"],
            &pod["initContainers"][0]["securityContext"],
            &pod["containers"][0]["securityContext"],
        ]
        .map(Clone::clone)
    };
    let non_root = |all: [Value; 3]| all.map(|it| it["runAsNonRoot"].as_bool().expect("a choice"));
    assert_eq!(non_root(contexts(json!({}), json!({}))), [true, true, true]);
    assert_eq!(non_root(contexts(json!({"runAsUser": 0}), json!({}))), [false, false, false]);
    assert_eq!(non_root(contexts(json!({}), json!({"runAsUser": 0}))), [true, true, false]);
    assert_eq!(non_root(contexts(json!({"runAsUser": 0}), json!({"runAsUser": 5}))), [false, false, true]);
    assert_eq!(
        non_root(contexts(json!({"runAsUser": 0}), json!({"runAsNonRoot": true}))),
        [false, false, true],
        "what is given wins"
    );
    let escalation =
        |container: Value| contexts(json!({}), container)[2].get("allowPrivilegeEscalation").cloned();
    assert_eq!(escalation(json!({})), Some(json!(false)));
    assert_eq!(escalation(json!({"privileged": true})), None);
    assert_eq!(escalation(json!({"capabilities": {"add": ["SYS_ADMIN"]}})), None);
    assert_eq!(escalation(json!({"capabilities": {"add": ["NET_ADMIN"]}})), Some(json!(false)));
}

#[test]
fn a_service_says_only_what_its_type_knows() {
    let spec = |type_, address: Option<[u8; 4]>| {
        let service = ServiceParameters {
            type_,
            node_ports: BTreeMap::from([(80, 30080)]),
            external_traffic_policy: Some("Local".to_owned()),
            ..ServiceParameters::default()
        };
        let mut infrastructure =
            provisioned(KubernetesParameters { service, ..KubernetesParameters::default() });
        infrastructure.addresses = address.map(|it| RequestedAddress::Ip(it.into())).into_iter().collect();
        manifest(&objects(&infrastructure), ObjectKind::Service)["spec"].clone()
    };
    let inside = spec(ServiceType::ClusterIp, Some([10, 0, 0, 5]));
    assert_eq!(inside["clusterIP"], "10.0.0.5");
    for field in ["loadBalancerIP", "externalTrafficPolicy"] {
        assert!(inside.get(field).is_none(), "{inside}");
    }
    assert!(inside["ports"][0].get("nodePort").is_none(), "{inside}");
    let node = spec(ServiceType::NodePort, Some([10, 0, 0, 5]));
    assert!(node.get("clusterIP").is_none() && node.get("loadBalancerIP").is_none(), "{node}");
    assert_eq!(node["ports"][0]["nodePort"], 30080);
    let outside = spec(ServiceType::LoadBalancer, Some([192, 0, 2, 1]));
    assert_eq!(
        (&outside["loadBalancerIP"], &outside["externalTrafficPolicy"]),
        (&json!("192.0.2.1"), &json!("Local"))
    );
}

/// GEP-5093: who asks for addresses inside of the cluster must not be found outside, whatever the parameters say.
#[test]
fn a_gateway_that_asks_for_the_cluster_gets_no_load_balancer() {
    let service = ServiceParameters {
        type_: ServiceType::LoadBalancer,
        cluster_ip: Some("10.0.0.9".to_owned()),
        node_ports: BTreeMap::from([(80, 30080)]),
        external_traffic_policy: Some("Local".to_owned()),
        ..ServiceParameters::default()
    };
    let mut infrastructure = provisioned(KubernetesParameters { service, ..KubernetesParameters::default() });
    let spec = |infrastructure: &Infrastructure| {
        manifest(&objects(infrastructure), ObjectKind::Service)["spec"].clone()
    };
    infrastructure.cluster_ip = Some([10, 0, 0, 5].into());
    let both = spec(&infrastructure);
    assert_eq!((&both["type"], &both["clusterIP"]), (&json!("LoadBalancer"), &json!("10.0.0.5")));
    infrastructure.internal = true;
    let inside = spec(&infrastructure);
    assert_eq!((&inside["type"], &inside["clusterIP"]), (&json!("ClusterIP"), &json!("10.0.0.5")));
    for field in ["loadBalancerIP", "externalTrafficPolicy"] {
        assert!(inside.get(field).is_none(), "{inside}");
    }
    assert!(inside["ports"][0].get("nodePort").is_none(), "{inside}");
}

#[test]
fn the_drain_ends_before_the_grace_period() {
    let command = |min_seconds, grace| {
        let mut parameters = KubernetesParameters::default();
        parameters.pod.drain = Some(Drain { min_seconds });
        parameters.pod.termination_grace_period_seconds = grace;
        let deployment = manifest(&objects(&provisioned(parameters)), ObjectKind::Deployment);
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let command = container["lifecycle"]["preStop"]["exec"]["command"].clone();
        (command[4].clone(), command[6].clone())
    };
    assert_eq!(command(10, 60), (json!("10"), json!("55")));
    // Not less than was asked for, even if the time is short.
    assert_eq!(command(29, 30), (json!("29"), json!("29")));
}
