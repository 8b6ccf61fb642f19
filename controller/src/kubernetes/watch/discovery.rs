//! Asks the API server what it serves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use postern_translator::Kind;
use tokio::sync::watch;

use super::batch::Closed;
use super::context::Context;
use super::failure::{Failure, Verb};
use super::presence::{Look, Presence, Presences};
use super::resource::{Served, group_version_path};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How much less often it is asked when every kind is served.
const CALM: u32 = 6;

/// Asks for as long as anybody wants to know, and tells those who follow the kinds. Says in `back` that the API server is there
/// again after it was not.
pub(super) async fn run(
    context: Context,
    kinds: BTreeMap<Kind, watch::Sender<Presence>>,
    back: watch::Sender<u64>,
) -> Result<(), Closed> {
    let monitor = context.health.monitor("discovery", "discovery", None);
    let asked: Vec<_> = kinds.keys().copied().filter(|kind| Served::built_in(*kind).is_none()).collect();
    let mut presences = Presences::new(asked.iter().copied(), context.timing.absence);
    let mut away = false;
    let mut beginning = true;
    loop {
        match look(&context.client, &asked).await {
            Ok(look) => {
                for (kind, presence) in presences.observe(look, Instant::now()) {
                    report(kind, &presence, beginning);
                    if let Some(sender) = kinds.get(&kind) {
                        sender.send_replace(presence);
                    }
                }
                beginning = false;
                // Watches tell of theirs; discovery is no kind.
                let _ = monitor.watching();
                monitor.settled();
                if std::mem::take(&mut away) {
                    back.send_modify(|times| *times += 1);
                }
            }
            Err(failure) => {
                presences.unknown();
                let _ = monitor.failed(&failure);
                away |= !failure.is_answer();
            }
        }
        let calm = presences.is_complete() && !away;
        let pause = context.timing.discovery * if calm { CALM } else { 1 };
        let soon = tokio::time::sleep(context.timing.first_wait);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = async { tokio::join!(context.nudge.notified(), soon); } => {}
        }
        if kinds.values().all(watch::Sender::is_closed) {
            return Err(Closed);
        }
    }
}

fn report(kind: Kind, presence: &Presence, beginning: bool) {
    let kind = kind.as_str();
    match presence {
        Presence::Served(served) if beginning => tracing::debug!(kind, version = served.version, "is served"),
        Presence::Served(served) => tracing::info!(kind, version = served.version, "is served from now on"),
        Presence::Absent if beginning => tracing::info!(kind, "is not served"),
        Presence::Absent => tracing::warn!(kind, "is not served any more; its objects count as deleted"),
        Presence::Unknown => {}
    }
}

/// One look at the API server. Fails unless every question was answered, with "there is none" at least.
async fn look(client: &Client, kinds: &[Kind]) -> Result<Look, Failure> {
    // Before the kinds: if it was ready then, it knew all of them.
    let ready = is_ready(client).await?;
    let mut documents = BTreeMap::new();
    let mut served = BTreeMap::new();
    for kind in kinds.iter().copied() {
        for version in kind.versions() {
            let path = group_version_path(kind.group(), version);
            if !documents.contains_key(&path) {
                documents.insert(path.clone(), resources(client, &path).await?);
            }
            if let Some(found) = documents.get(&path).and_then(|list| find(kind, version, list.as_ref()?)) {
                served.insert(kind, found);
                break;
            }
        }
    }
    Ok(Look { served, ready })
}

fn find(kind: Kind, version: &str, list: &APIResourceList) -> Option<Served> {
    let resource = list.resources.iter().find(|resource| {
        let can = |verb: &str| resource.verbs.iter().any(|v| v == verb);
        resource.kind == kind.as_str() && !resource.name.contains('/') && can("list") && can("watch")
    })?;
    Some(Served { kind, version: version.to_owned(), plural: resource.name.clone() })
}

/// What a version of a group serves; `None` if there is no such thing.
async fn resources(client: &Client, path: &str) -> Result<Option<APIResourceList>, Failure> {
    match get(client, path).await {
        Ok(text) => {
            let list = serde_json::from_str(&text);
            list.map(Some)
                .map_err(|error| Failure::Unreadable { verb: Verb::Get, message: format!("{path}: {error}") })
        }
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// False also where nobody is allowed to ask.
async fn is_ready(client: &Client) -> Result<bool, Failure> {
    match get(client, "/readyz").await {
        Ok(_) => Ok(true),
        Err(failure) if failure.is_answer() => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn get(client: &Client, path: &str) -> Result<String, Failure> {
    let verb = Verb::Get;
    let request = Request::get(path).body(Vec::new());
    let request = request.map_err(|error| Failure::Unreachable { verb, message: error.to_string() })?;
    match tokio::time::timeout(ANSWER, client.request_text(request)).await {
        Ok(answer) => answer.map_err(|error| Failure::of(verb, &error)),
        Err(_) => Err(Failure::TimedOut { verb, after: ANSWER }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(resources: &str) -> APIResourceList {
        serde_json::from_str(&format!(
            r#"{{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "g/v1", "resources": [{resources}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn finds_kinds_that_can_be_watched() {
        let resource = |name: &str, kind: &str, verbs: &str| {
            format!(
                r#"{{"name": "{name}", "singularName": "", "namespaced": true, "kind": "{kind}", "verbs": [{verbs}]}}"#
            )
        };
        let all = r#""get", "list", "watch""#;
        let status = resource("gateways/status", "Gateway", all);
        let gateways = resource("gateways", "Gateway", all);
        let found = find(Kind::Gateway, "v1", &list(&format!("{status}, {gateways}"))).unwrap();
        assert_eq!((found.plural.as_str(), found.version.as_str()), ("gateways", "v1"));
        assert_eq!(find(Kind::Gateway, "v1", &list(&status)), None);
        assert_eq!(find(Kind::Gateway, "v1", &list(&resource("gateways", "Gateway", r#""get""#))), None);
        assert_eq!(find(Kind::TcpRoute, "v1", &list(&gateways)), None);
    }
}
