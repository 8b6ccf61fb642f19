//! The provisioner against the API server: what it makes, keeps, undoes, leaves alone and deletes.
//!
//! Its Gateways are of a class that no controller serves, so that only the provisioner of the test looks after them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use postern::bootstrap::XdsService;
use postern::kubernetes::infrastructure::{ProvisionOptions, ProvisionReport, Provisioner, RenderOptions};
use postern_api::gateway_api::Gateway;
use postern_e2e::{CLUSTER_PATIENCE, Cluster, Namespace, until_within};
use postern_translator::NamespacedName;
use postern_translator::infrastructure::{
    Autoscaler, DisruptionBudget, Disruptions, Infrastructure, KubernetesParameters, ObjectParameters, Port,
    PortProtocol, ProxyParameters, Replicas, infrastructure_name,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const CLASS: &str = "provisioner-test";

/// A provisioner of the test's own.
pub(super) struct Fixture {
    provisioner: Provisioner,
    reports: mpsc::UnboundedReceiver<ProvisionReport>,
    ca: watch::Sender<String>,
    leader: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Fixture {
    pub(super) fn start(cluster: &Cluster, namespace: &Namespace<'_>, leads: bool) -> Self {
        let options = ProvisionOptions {
            render: RenderOptions {
                // Its own, so that nobody else's sweep takes its objects.
                controller_name: format!("postern.dev/{}", namespace.name()),
                controller_image: "postern.dev/postern:test".to_owned(),
                envoy_image: "docker.io/envoyproxy/envoy:distroless-v1.40.0".to_owned(),
                xds: XdsService { namespace: "none".to_owned(), name: "postern".to_owned(), port: 18000 },
            },
            namespaces: vec![namespace.name().to_owned()],
            concurrency: 4,
        };
        let (ca, ca_bundle) = watch::channel("first".to_owned());
        let (leader, leads) = watch::channel(leads);
        let (provisioner, task, reports) = Provisioner::new(cluster.client(), options, ca_bundle, leads);
        Self { provisioner, reports, ca, leader, task: tokio::spawn(task.run()) }
    }

    /// Sets what is wanted and waits until it is there.
    pub(super) async fn provision(&mut self, infrastructure: &Infrastructure) -> Vec<String> {
        self.provisioner.set(infrastructure.gateway.clone(), Some(Arc::new(infrastructure.clone())));
        match self.report().await {
            ProvisionReport::Provisioned { changes, .. } => changes,
            failed @ ProvisionReport::Failed { .. } => panic!("{failed:?}"),
        }
    }

    async fn report(&mut self) -> ProvisionReport {
        tokio::time::timeout(CLUSTER_PATIENCE, self.reports.recv())
            .await
            .expect("a report in time")
            .expect("a task")
    }

    /// Ends it, as when the controller ends.
    pub(super) async fn end(self) {
        drop(self.provisioner);
        self.task.await.expect("the task ends by itself");
    }
}

/// A Gateway, and what it needs.
pub(super) async fn gateway(namespace: &Namespace<'_>, name: &str, class: &str) -> Infrastructure {
    namespace
        .apply(&format!(
            r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  gatewayClassName: {class}
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
"
        ))
        .await;
    let gateway = namespace.api::<Gateway>().get(name).await.unwrap();
    Infrastructure {
        gateway: NamespacedName::new(namespace.name(), name),
        uid: gateway.uid().unwrap(),
        class: class.to_owned(),
        name: infrastructure_name(name),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        ports: BTreeSet::from([tcp(80)]),
        addresses: Vec::new(),
        cluster_ip: None,
        internal: false,
        parameters: ProxyParameters::Kubernetes(Box::default()),
    }
}

fn tcp(port: u16) -> Port {
    Port { port, protocol: PortProtocol::Tcp }
}

fn with(infrastructure: &Infrastructure, change: impl FnOnce(&mut KubernetesParameters)) -> Infrastructure {
    let mut parameters = KubernetesParameters::default();
    change(&mut parameters);
    Infrastructure { parameters: ProxyParameters::Kubernetes(Box::new(parameters)), ..infrastructure.clone() }
}

async fn gone<K>(namespace: &Namespace<'_>, name: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    until_within(CLUSTER_PATIENCE, "end of an object", || async {
        match namespace.api::<K>().get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(it)) => Err(format!("{} {name} is there: {:?}", K::kind(&()), it.meta())),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

async fn patch<K>(namespace: &Namespace<'_>, name: &str, patch: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let parameters = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    namespace.api::<K>().patch(name, &parameters, &Patch::Merge(patch)).await.unwrap();
}

async fn scale(namespace: &Namespace<'_>, name: &str, replicas: i32) {
    let patch = json!({"spec": {"replicas": replicas}});
    namespace
        .api::<Deployment>()
        .patch_scale(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

async fn replicas(namespace: &Namespace<'_>, name: &str) -> Option<i32> {
    namespace.api::<Deployment>().get(name).await.unwrap().spec.unwrap().replicas
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn makes_what_a_gateway_needs_and_only_changes_what_changed() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("provision").await;
    let mut fixture = Fixture::start(&cluster, &namespace, true);
    let first = gateway(&namespace, "web", CLASS).await;
    let changes = fixture.provision(&first).await;
    assert_eq!(
        changes,
        ["created ServiceAccount", "created ConfigMap", "created Deployment", "created Service"]
    );

    let deployment = namespace.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(deployment.owner_references()[0].uid, first.uid);
    assert_eq!(deployment.labels()["gateway.networking.k8s.io/gateway-name"], "web");

    // A listener: the pods know of it by xDS.
    let mut more = first.clone();
    more.ports.insert(tcp(8443));
    assert_eq!(fixture.provision(&more).await, ["updated Service"]);
    let ports = namespace.api::<Service>().get("web").await.unwrap().spec.unwrap().ports.unwrap();
    assert_eq!(ports.iter().map(|it| it.port).collect::<Vec<_>>(), [80, 8443]);

    // No listener: the Service keeps its address.
    let before = namespace.api::<Service>().get("web").await.unwrap();
    let mut none = first.clone();
    none.ports.clear();
    fixture.provisioner.set(none.gateway.clone(), Some(Arc::new(none)));
    assert_eq!(fixture.provision(&first).await, ["updated Service"]);
    assert_eq!(namespace.api::<Service>().get("web").await.unwrap().uid(), before.uid());

    // Certificates: Envoy reads them again.
    fixture.ca.send_replace("second".to_owned());
    assert!(
        matches!(fixture.report().await, ProvisionReport::Provisioned { changes, .. } if changes == ["updated ConfigMap"])
    );
    let data = namespace.api::<ConfigMap>().get("web").await.unwrap().data.unwrap();
    assert_eq!(data["ca.crt"], "second");
    let now = namespace.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(now.metadata.generation, deployment.metadata.generation);
    fixture.end().await;

    // A new leader applies all of it, and that changes nothing.
    let mut successor = Fixture::start(&cluster, &namespace, true);
    successor.ca.send_replace("second".to_owned());
    assert_eq!(successor.provision(&first).await, <[&str; 0]>::default());
    successor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_back_what_is_no_longer_wanted() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("provision").await;
    let mut fixture = Fixture::start(&cluster, &namespace, true);
    let plain = gateway(&namespace, "web", CLASS).await;
    let rich = with(&plain, |it| {
        it.replicas = Replicas::Automatic(Box::new(Autoscaler {
            object: ObjectParameters::default(),
            min_replicas: Some(1),
            max_replicas: 3,
            metrics: serde_json::from_value(json!([{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }]))
            .unwrap(),
            behavior: None,
        }));
        it.disruption_budget = Some(DisruptionBudget {
            object: ObjectParameters::default(),
            disruptions: Disruptions::MaxUnavailable(IntOrString::Int(1)),
            unhealthy_pod_eviction_policy: None,
        });
    });
    let made = fixture.provision(&rich).await;
    assert!(made.contains(&"created HorizontalPodAutoscaler".to_owned()), "{made:?}");
    assert!(made.contains(&"created PodDisruptionBudget".to_owned()), "{made:?}");
    let changes = fixture.provision(&plain).await;
    assert_eq!(changes, ["deleted HorizontalPodAutoscaler", "deleted PodDisruptionBudget"]);
    gone::<HorizontalPodAutoscaler>(&namespace, "web").await;
    gone::<PodDisruptionBudget>(&namespace, "web").await;

    let self_managed = Infrastructure { parameters: ProxyParameters::SelfManaged, ..plain.clone() };
    fixture.provision(&self_managed).await;
    gone::<Deployment>(&namespace, "web").await;
    gone::<Service>(&namespace, "web").await;
    namespace.api::<ServiceAccount>().get("web").await.unwrap();
    let data = namespace.api::<ConfigMap>().get("web").await.unwrap().data.unwrap();
    assert!(data.contains_key("envoy.yaml"), "{:?}", data.keys());

    // Parameters that nobody understands change nothing, but the certificates stay true.
    fixture.provision(&plain).await;
    let before = namespace.api::<Deployment>().get("web").await.unwrap();
    let invalid = Infrastructure { parameters: ProxyParameters::Invalid, ..plain.clone() };
    fixture.provisioner.set(invalid.gateway.clone(), Some(Arc::new(invalid)));
    fixture.ca.send_replace("second".to_owned());
    namespace
        .until("web", "certificates", |it: &ConfigMap| {
            let ca = it.data.as_ref().and_then(|it| it.get("ca.crt"));
            if ca.is_some_and(|it| it == "second") { Ok(()) } else { Err(format!("{ca:?}")) }
        })
        .await;
    let now = namespace.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(now.metadata.generation, before.metadata.generation);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_how_many_proxies_there_are_only_when_asked() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("provision").await;
    let mut fixture = Fixture::start(&cluster, &namespace, true);
    let plain = gateway(&namespace, "web", CLASS).await;
    let fixed = with(&plain, |it| it.replicas = Replicas::Fixed(3));
    fixture.provision(&fixed).await;
    assert_eq!(replicas(&namespace, "web").await, Some(3));

    // Asked for: whoever scales it is overruled.
    scale(&namespace, "web", 1).await;
    assert!(
        matches!(fixture.report().await, ProvisionReport::Provisioned { changes, .. } if changes == ["restored Deployment"])
    );
    assert_eq!(replicas(&namespace, "web").await, Some(3));

    // No longer asked for: what is, stays.
    fixture.provision(&plain).await;
    assert_eq!(replicas(&namespace, "web").await, Some(3));

    // Whoever scales it now is right.
    scale(&namespace, "web", 5).await;
    let other = with(&plain, |it| it.envoy.log_level = Some("debug".to_owned()));
    let changes = fixture.provision(&other).await;
    assert!(changes.iter().all(|it| it.ends_with("Deployment")), "{changes:?}");
    assert_eq!(replicas(&namespace, "web").await, Some(5));

    // Asked for again.
    fixture.provision(&with(&plain, |it| it.replicas = Replicas::Fixed(2))).await;
    assert_eq!(replicas(&namespace, "web").await, Some(2));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoes_what_others_do_to_its_objects() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("provision").await;
    let mut fixture = Fixture::start(&cluster, &namespace, true);
    let wanted = gateway(&namespace, "web", CLASS).await;
    fixture.provision(&wanted).await;
    let restored = |report: ProvisionReport, expected: &str| {
        let ProvisionReport::Provisioned { changes, .. } = report else { panic!("{report:?}") };
        assert_eq!(changes, [expected]);
    };

    namespace.api::<Service>().delete("web", &DeleteParams::default()).await.unwrap();
    restored(fixture.report().await, "created Service");

    patch::<ConfigMap>(&namespace, "web", json!({"data": {"envoy.yaml": "broken"}})).await;
    restored(fixture.report().await, "restored ConfigMap");
    let data = namespace.api::<ConfigMap>().get("web").await.unwrap().data.unwrap();
    assert_ne!(data["envoy.yaml"], "broken");

    // A label without which it would not be seen any more.
    let unlabel = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    patch::<Deployment>(&namespace, "web", unlabel).await;
    restored(fixture.report().await, "restored Deployment");

    // What others add is theirs.
    patch::<Deployment>(&namespace, "web", json!({"metadata": {"annotations": {"somebody": "else"}}})).await;
    let other = with(&wanted, |it| it.envoy.log_level = Some("debug".to_owned()));
    assert_eq!(fixture.provision(&other).await, ["updated Deployment"]);
    let annotations = namespace.api::<Deployment>().get("web").await.unwrap().annotations().clone();
    assert_eq!(annotations["somebody"], "else");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_touches_what_it_did_not_make() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("provision").await;
    let mut fixture = Fixture::start(&cluster, &namespace, true);
    let service = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 7}]}
";
    namespace.apply(service).await;
    let before = namespace.api::<Service>().get("web").await.unwrap();
    let wanted = gateway(&namespace, "web", CLASS).await;
    fixture.provisioner.set(wanted.gateway.clone(), Some(Arc::new(wanted.clone())));
    let report = fixture.report().await;
    let ProvisionReport::Failed { message, uid, .. } = report else { panic!("{report:?}") };
    assert_eq!(uid, wanted.uid);
    assert!(message.contains(&format!("Service {}/web exists already", namespace.name())), "{message}");
    assert!(namespace.api::<Deployment>().get_opt("web").await.unwrap().is_none());
    assert_eq!(
        namespace.api::<Service>().get("web").await.unwrap().resource_version(),
        before.resource_version()
    );

    namespace.delete(&["service", "web"]).await;
    assert!(matches!(fixture.report().await, ProvisionReport::Provisioned { .. }));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_writes() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("provision").await;
    let mut fixture = Fixture::start(&cluster, &namespace, false);
    let mut leader = Fixture::start(&cluster, &namespace, true);
    let wanted = gateway(&namespace, "web", CLASS).await;
    fixture.provisioner.set(wanted.gateway.clone(), Some(Arc::new(wanted.clone())));
    leader.provision(&wanted).await;
    leader.end().await;
    assert!(fixture.reports.try_recv().is_err());
    // Nobody leads: a deleted object stays deleted.
    namespace.delete(&["service", "web"]).await;
    assert!(namespace.api::<Service>().get_opt("web").await.unwrap().is_none());
    fixture.leader.send_replace(true);
    assert!(
        matches!(fixture.report().await, ProvisionReport::Provisioned { changes, .. } if changes == ["created Service"])
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("provision").await;
    let mut fixture = Fixture::start(&cluster, &namespace, true);

    // Deleted and made again under the same name at once.
    let first = gateway(&namespace, "web", CLASS).await;
    fixture.provision(&first).await;
    namespace.delete(&["gateway", "web"]).await;
    let second = gateway(&namespace, "web", CLASS).await;
    assert_ne!(first.uid, second.uid);
    fixture.provision(&second).await;
    let deployment = namespace.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(deployment.owner_references()[0].uid, second.uid);

    // Deleted for good.
    namespace.delete(&["gateway", "web"]).await;
    fixture.provisioner.set(second.gateway.clone(), None);
    gone::<Deployment>(&namespace, "web").await;
    gone::<Service>(&namespace, "web").await;
    gone::<ConfigMap>(&namespace, "web").await;
    gone::<ServiceAccount>(&namespace, "web").await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_goes_to_another_class_is_let_go() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("provision").await;
    let mut fixture = Fixture::start(&cluster, &namespace, true);
    let watched = gateway(&namespace, "watched", CLASS).await;
    let missed = gateway(&namespace, "missed", CLASS).await;
    let classless = gateway(&namespace, "classless", CLASS).await;
    for wanted in [&watched, &missed, &classless] {
        fixture.provision(wanted).await;
    }
    gateway(&namespace, "watched", "of-another").await;
    fixture.provisioner.set(watched.gateway.clone(), None);
    gone::<Deployment>(&namespace, "watched").await;
    gone::<ServiceAccount>(&namespace, "watched").await;

    // A class that vanishes does not take the proxies along: it may come back.
    fixture.provisioner.set(classless.gateway.clone(), None);
    fixture.end().await;

    // Nobody saw it; the next leader does, once it knows what is there.
    gateway(&namespace, "missed", "of-another").await;
    let successor = Fixture::start(&cluster, &namespace, true);
    successor.provisioner.complete();
    gone::<Deployment>(&namespace, "missed").await;
    gone::<ServiceAccount>(&namespace, "missed").await;
    namespace.api::<Deployment>().get("classless").await.unwrap();
    successor.end().await;
}
