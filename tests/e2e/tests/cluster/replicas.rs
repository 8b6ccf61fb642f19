//! Several replicas: all serve, one writes, and none is missed.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use postern_api::gateway_api::HttpRoute;
use postern_e2e::{
    Answer, CLUSTER_PATIENCE, CONTROLLER_DEPLOYMENT, CONTROLLER_NAMESPACE, Call, Cluster, Load, Namespace,
    Node, Stream, until_within,
};

/// "Within seconds": a Lease that nobody empties runs out after five.
const SECONDS: Duration = Duration::from_secs(15);

pub(crate) const GATEWAY: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: postern
  listeners: [{name: http, port: 80, protocol: HTTP}]
";

pub(crate) fn route(name: &str) -> String {
    format!(
        r"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{name}.example]
  rules: [{{backendRefs: [{{name: echo, port: 80}}]}}]
"
    )
}

/// Requests of all kinds, which go on while things happen.
pub(crate) async fn traffic(space: &Namespace<'_>) -> Load {
    let call = space.get("edge", 80, "steady.example", "/").await;
    space.answers(&call, Answer::ok).await;
    Load::start(vec![
        Stream::kept("HTTP/1.1, kept", call.clone(), 50),
        Stream::fresh("HTTP/1.1, new", call.clone(), 50),
        Stream::kept("HTTP/2", call.h2(), 50),
    ])
}

/// Applies a new route; answers how long it took until a request passed, and until its status said so.
pub(crate) async fn new_route(space: &Namespace<'_>, name: &str) -> (Duration, Duration) {
    let call: Call = space.get("edge", 80, &format!("{name}.example"), "/").await;
    let begin = Instant::now();
    space.apply(&route(name)).await;
    until_within(SECONDS, &format!("answer of the new route {name}"), || async {
        match call.send().await {
            Ok(answer) => answer.ok(),
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await;
    let served = begin.elapsed();
    until_within(SECONDS, &format!("status of the new route {name}"), || async {
        let route = space.api::<HttpRoute>().get(name).await.map_err(|error| error.to_string())?;
        let parents = route.status.map(|status| status.parents).unwrap_or_default();
        let accepted = parents
            .iter()
            .flat_map(|parent| &parent.conditions)
            .any(|c| c.type_ == "Accepted" && c.is_true());
        if accepted { Ok(()) } else { Err(format!("{parents:?}")) }
    })
    .await;
    (served, begin.elapsed())
}

/// The pod that leads, and the identity of its process in the Lease.
async fn leader(cluster: &Cluster) -> (String, String) {
    let leases: Api<Lease> = Api::namespaced(cluster.client(), CONTROLLER_NAMESPACE);
    until_within(CLUSTER_PATIENCE, "leader among the present pods", || async {
        let lease = leases.get("postern-leader").await.map_err(|error| error.to_string())?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let pods = cluster.controller_pods().await;
        let mut names = pods.iter().filter_map(|pod| pod.metadata.name.as_deref());
        let pod = names.find(|name| holder.starts_with(&format!("{name}_"))).map(str::to_owned);
        pod.map(|pod| (pod, holder.clone())).ok_or(holder)
    })
    .await
}

/// How a leader ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Its pod is deleted without grace.
    Deleted,
    /// Its process dies of SIGKILL, and says nothing to anybody.
    Killed,
}

impl End {
    async fn of(self, cluster: &Cluster, pod: &str) {
        let delete = [
            "--namespace",
            CONTROLLER_NAMESPACE,
            "delete",
            "pod",
            pod,
            "--grace-period=0",
            "--force",
            "--wait=false",
        ];
        match self {
            Self::Deleted => drop(cluster.kubectl().run(&delete).await),
            Self::Killed => Node::own().kill_pod(CONTROLLER_NAMESPACE, pod).await,
        }
    }
}

async fn scale_controller(cluster: &Cluster, replicas: u32) {
    let namespace = ["--namespace", CONTROLLER_NAMESPACE];
    let deployment = format!("deployment/{CONTROLLER_DEPLOYMENT}");
    let scale = ["scale", &deployment, &format!("--replicas={replicas}")];
    cluster.kubectl().run(&[&namespace[..], &scale].concat()).await;
    let wait = ["rollout", "status", &deployment, "--timeout=90s"];
    cluster.kubectl().run(&[&namespace[..], &wait].concat()).await;
}

/// The digest of the configuration of a Gateway, as each replica has it.
async fn digests(cluster: &Cluster, gateway: &str) -> Vec<String> {
    let mut found = Vec::new();
    for pod in cluster.controller_pods().await {
        let name = pod.metadata.name.unwrap_or_default();
        let path = format!("/api/v1/namespaces/{CONTROLLER_NAMESPACE}/pods/{name}:8080/proxy/metrics");
        let text = cluster.kubectl().run(&["get", "--raw", &path]).await;
        let wanted = format!("gateway=\"{gateway}\"");
        let line =
            text.lines().find(|line| line.starts_with("postern_config_digest") && line.contains(&wanted));
        found.push(line.unwrap_or("none").to_owned());
    }
    found
}

#[tokio::test]
async fn killing_one_replica_after_the_other_costs_no_request() {
    let cluster = Cluster::alone().await;
    scale_controller(&cluster, 2).await;
    let space = cluster.namespace("replicas").await;
    space.echo("echo", 2).await;
    space.apply(GATEWAY).await;
    space.apply(&route("steady")).await;
    let load = traffic(&space).await;
    new_route(&space, "before").await;
    let gateway = format!("{}/edge", space.name());
    until_within(CLUSTER_PATIENCE, "same versions on both replicas", || async {
        let found = digests(&cluster, &gateway).await;
        let same = found.len() == 2 && found[0] == found[1] && found[0] != "none";
        if same { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;

    let mut times = Vec::new();
    for (round, end) in [("first", End::Deleted), ("second", End::Deleted), ("third", End::Killed)] {
        let (pod, holder) = leader(&cluster).await;
        end.of(&cluster, &pod).await;
        let (served, told) = new_route(&space, round).await;
        times.push(format!("{round} leader {end:?}: served after {served:?}, status after {told:?}"));
        // The next one is ended while its successor is new, too.
        assert_ne!(leader(&cluster).await.1, holder);
        until_within(CLUSTER_PATIENCE, "two replicas", || async {
            let ready = cluster.controller_pods().await.iter().filter(|pod| is_ready(pod)).count();
            if ready == 2 { Ok(()) } else { Err(format!("{ready} are ready")) }
        })
        .await;
    }
    new_route(&space, "after").await;
    let report = load.stop().await;
    eprintln!("{}; {} requests, slowest {:?}", times.join("; "), report.succeeded, report.slowest);
    report.assert_clean(500);
    scale_controller(&cluster, 1).await;
}

fn is_ready(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}
