//! Hearing of changes that somebody else makes to the objects.

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use postern_translator::NamespacedName;

use super::labels::{MANAGED_BY, MANAGER};
use super::objects::ObjectKind;
use super::plan::gateway_of;

/// The metadata of the objects of one kind.
pub(super) type Metadata = PartialObjectMeta<DynamicObject>;

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// An object of a Gateway is there, perhaps changed.
    Present(NamespacedName, ObjectKind, Box<ObjectMeta>),
    /// An object of a Gateway is gone.
    Gone(NamespacedName),
    /// Some changes were missed.
    Missed,
}

impl Heard {
    /// The Gateway that it is about, if it is about one.
    pub(super) fn gateway(&self) -> Option<&NamespacedName> {
        match self {
            Self::Present(gateway, ..) | Self::Gone(gateway) => Some(gateway),
            Self::Missed => None,
        }
    }
}

/// The label selector of all objects that some Postern made.
pub(super) fn selector() -> String {
    format!("{MANAGED_BY}={MANAGER}")
}

/// All APIs of a kind: one for the whole cluster, or one for each of `namespaces`.
pub(super) fn apis(client: &Client, kind: ObjectKind, namespaces: &[String]) -> Vec<Api<Metadata>> {
    let resource = kind.resource();
    if namespaces.is_empty() {
        return vec![Api::all_with(client.clone(), &resource)];
    }
    namespaces.iter().map(|it| Api::namespaced_with(client.clone(), it, &resource)).collect()
}

/// Watches all objects that some Postern made. Never ends; what goes wrong is tried again.
pub(super) fn watch(client: &Client, namespaces: &[String]) -> SelectAll<BoxStream<'static, Heard>> {
    let config = watcher::Config::default().labels(&selector());
    let mut all = SelectAll::new();
    for kind in ObjectKind::ALL {
        for api in apis(client, kind, namespaces) {
            let events = watcher(api, config.clone()).default_backoff();
            // The first list is no news: everything is compared at the beginning anyway.
            let mut first = true;
            let heard = events.filter_map(move |event| {
                let heard = match event {
                    Ok(Event::Apply(it) | Event::InitApply(it)) => gateway(&it.metadata)
                        .map(|gateway| Heard::Present(gateway, kind, Box::new(it.metadata))),
                    Ok(Event::Delete(it)) => gateway(&it.metadata).map(Heard::Gone),
                    Ok(Event::InitDone) if !std::mem::take(&mut first) => Some(Heard::Missed),
                    Ok(Event::Init | Event::InitDone) => None,
                    Err(error) => {
                        tracing::warn!(%kind, %error, "cannot watch generated objects");
                        None
                    }
                };
                std::future::ready(heard)
            });
            all.push(heard.boxed());
        }
    }
    all
}

fn gateway(metadata: &ObjectMeta) -> Option<NamespacedName> {
    let (name, _) = gateway_of(metadata)?;
    Some(NamespacedName::new(metadata.namespace.as_deref()?, name))
}
