//! Asks the cluster.

use std::collections::BTreeMap;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, discovery};
use postern_translator::Kind;

use super::judge::{Question, kinds};
use super::world::{Known, PodInfo, ReplicaInfo, World};
use crate::cli::cluster::{explain, is_forbidden};
use crate::inspect::document::{Gateways, Replica};
use crate::kubernetes::forward::{self, ForwardError};

/// The port of the debug documents in the pods of the controller.
pub(crate) const DEBUG_PORT: u16 = 8081;
/// Finds the pods of the controller in its namespace.
const CONTROLLER_LABELS: &str = "app.kubernetes.io/name=postern,app.kubernetes.io/component=controller";
/// Finds the pods of proxies.
const PROXY_LABELS: &str = "app.kubernetes.io/managed-by=postern,app.kubernetes.io/component=proxy";
/// The label of proxies that names their Gateway.
pub(crate) const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// How many objects one answer may hold.
const PAGE: u32 = 500;
/// How many questions are open at a time.
const CONCURRENCY: usize = 6;

/// Reads everything that an answer to `question` may need.
///
/// # Errors
///
/// Fails if the API server does not answer, or if the Gateway API is not installed. What the user may not read is left out, with a note.
pub(crate) async fn collect(client: &Client, question: &Question) -> anyhow::Result<World> {
    let mut world = World::default();
    let served = served(client).await?;
    if !served.contains_key(&Kind::Gateway) {
        anyhow::bail!("the Gateway API is not installed in this cluster: there is no kind Gateway");
    }
    let wanted: Vec<(Kind, ApiResource)> = served.into_iter().collect();
    let lists = stream::iter(wanted)
        .map(|(kind, resource)| async move { (kind, list(client, kind, &resource, question).await) })
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<_>>();
    let (lists, pods, replicas) =
        futures::join!(lists, proxies(client, question), replicas(client, question));
    for (kind, listed) in lists {
        match listed {
            Ok((objects, note)) => {
                world.classes_known |= kind == Kind::GatewayClass;
                world.objects.extend(objects);
                world.notes.extend(note);
            }
            Err(error) if is_forbidden(&error) && kind == Kind::Gateway => {
                anyhow::bail!("you may not list Gateways: {}", explain(&error))
            }
            Err(error) if is_forbidden(&error) => {
                world.notes.push(format!("You may not list objects of kind {kind}: they are left out."));
            }
            Err(error) => anyhow::bail!("cannot list objects of kind {kind}: {}", explain(&error)),
        }
    }
    match pods {
        Ok(pods) => world.pods = Some(pods),
        Err(error) => world.notes.push(format!("The pods of proxies are not known: {}.", explain(&error))),
    }
    match replicas {
        Ok((replicas, notes)) => {
            world.replicas = replicas;
            world.notes.extend(notes);
        }
        Err(error) => world.notes.push(format!("The controller is not known: {}.", explain(&error))),
    }
    world.notes.sort();
    Ok(world)
}

/// The kinds that are served, each in the first version that both sides understand.
async fn served(client: &Client) -> anyhow::Result<BTreeMap<Kind, ApiResource>> {
    let mut groups: Vec<&str> = kinds().map(Kind::group).collect();
    groups.sort_unstable();
    groups.dedup();
    let found = discovery::Discovery::new(client.clone()).filter(&groups).run().await;
    let found = found.map_err(|error| anyhow::anyhow!("{}", explain(&error)))?;
    let mut out = BTreeMap::new();
    for kind in kinds() {
        let Some(group) = found.get(kind.group()) else { continue };
        let resource = kind.versions().iter().find_map(|version| {
            let mut resources = group.versioned_resources(version).into_iter();
            resources.find(|(resource, _)| resource.kind == kind.as_str()).map(|(resource, _)| resource)
        });
        out.extend(resource.map(|resource| (kind, resource)));
    }
    Ok(out)
}

type Listed = (Vec<Known>, Option<String>);

/// All objects of a kind, or, for who may not see all, those of the namespace that was asked for.
async fn list(
    client: &Client,
    kind: Kind,
    resource: &ApiResource,
    question: &Question,
) -> Result<Listed, kube::Error> {
    let known = |objects: Vec<DynamicObject>| {
        let known = |object: DynamicObject| Known { kind, metadata: object.metadata, data: object.data };
        objects.into_iter().map(known).collect()
    };
    let all = Api::<DynamicObject>::all_with(client.clone(), resource);
    match pages(&all).await {
        Err(error) if is_forbidden(&error) && kind.is_namespaced() => {
            let Some(namespace) = &question.namespace else { return Err(error) };
            let some = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, resource);
            let note = (kind != Kind::Gateway).then(|| {
                format!("You may list objects of kind {kind} in {namespace} only: others are left out.")
            });
            pages(&some).await.map(|objects| (known(objects), note))
        }
        listed => listed.map(|objects| (known(objects), None)),
    }
}

/// All objects that `api` has, page by page.
pub(crate) async fn pages(api: &Api<DynamicObject>) -> Result<Vec<DynamicObject>, kube::Error> {
    let mut out = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        let more = page.metadata.continue_.filter(|token| !token.is_empty());
        out.extend(page.items);
        match more {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(out),
        }
    }
}

async fn proxies(client: &Client, question: &Question) -> Result<Vec<PodInfo>, kube::Error> {
    let params = ListParams::default().labels(PROXY_LABELS);
    let pods = match Api::<Pod>::all(client.clone()).list(&params).await {
        Err(error) if is_forbidden(&error) => {
            let Some(namespace) = &question.namespace else { return Err(error) };
            Api::<Pod>::namespaced(client.clone(), namespace).list(&params).await?
        }
        listed => listed?,
    };
    Ok(pods.items.iter().map(pod_info).collect())
}

fn pod_info(pod: &Pod) -> PodInfo {
    let metadata = &pod.metadata;
    PodInfo {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        gateway: metadata.labels.as_ref().and_then(|l| l.get(GATEWAY_LABEL)).cloned().unwrap_or_default(),
        ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default(),
        ready: is_ready(pod),
        ending: metadata.deletion_timestamp.is_some(),
    }
}

/// True if the pod is ready and stays.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The pods of the controller that run.
pub(crate) async fn controller_pods(
    client: &Client,
    namespace: &str,
) -> Result<(Api<Pod>, Vec<Pod>), kube::Error> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut pods = api.list(&ListParams::default().labels(CONTROLLER_LABELS)).await?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok((api, pods))
}

async fn replicas(
    client: &Client,
    question: &Question,
) -> Result<(Vec<ReplicaInfo>, Vec<String>), kube::Error> {
    let (api, pods) = controller_pods(client, &question.controller_namespace).await?;
    let ask = async |pod: &Pod| {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let said = ask(&api, &name).await;
        (ReplicaInfo { pod: name, ready: is_ready(pod), said: None }, said)
    };
    let mut out = Vec::new();
    let mut notes = Vec::new();
    for (mut replica, said) in join_all(pods.iter().map(ask)).await {
        match said {
            Ok(said) => replica.said = Some(said),
            Err(ForwardError::Forbidden) => {
                let note = "What proxies have acknowledged is not known: ".to_owned();
                notes.push(format!(
                    "{note}{} in {}.",
                    ForwardError::Forbidden,
                    question.controller_namespace
                ));
            }
            Err(error) => notes.push(format!("The controller {} could not be asked: {error}.", replica.pod)),
        }
        out.push(replica);
    }
    notes.sort();
    notes.dedup();
    out.sort_by(|a, b| a.pod.cmp(&b.pod));
    Ok((out, notes))
}

async fn ask(pods: &Api<Pod>, pod: &str) -> Result<(Replica, Gateways), ForwardError> {
    let (replica, gateways) =
        futures::try_join!(document(pods, pod, "/debug/replica"), document(pods, pod, "/debug/gateways"))?;
    Ok((replica, gateways))
}

/// A debug document of the controller in `pod`.
pub(crate) async fn document<T: serde::de::DeserializeOwned>(
    pods: &Api<Pod>,
    pod: &str,
    path: &str,
) -> Result<T, ForwardError> {
    let body = forward::get(pods, pod, DEBUG_PORT, path).await?;
    serde_json::from_slice(&body).map_err(|error| ForwardError::Refused {
        port: DEBUG_PORT,
        words: format!("{path} is not the expected document ({error}); is it of another version?"),
    })
}
