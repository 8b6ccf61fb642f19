//! Secrets and ConfigMaps: the metadata of all is watched and forgotten at once, the content of those that are referred to is
//! fetched and kept.
//!
//! An object is fetched when it is referred to for the first time and whenever the watch says something of it, so that what the
//! answer says (content, or that there is none) is never older than the event. Nothing is concluded from the events themselves.

mod tracker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use postern_translator::{Kind, ObjectKey};
use tokio::sync::{Semaphore, watch};

use self::tracker::{Fetch, Outcome, Said, Tracker};
use super::WatchEvent;
use super::batch::{Closed, Outlet};
use super::context::Context;
use super::decode::Item;
use super::failure::Failure;
use super::feed::{self, Feed, Signal, Source};
use super::filter::Filter;
use super::health::Monitor;
use super::keys::KeySet;
use super::resource::{Served, is_name, plural};
use super::tell;

/// The kinds of which only those objects are kept that are referred to.
pub(super) const KINDS: [Kind; 2] = [Kind::Secret, Kind::ConfigMap];

/// Secrets that nobody refers to, and that are many in some clusters.
const NOT_WATCHED: &str = "type!=helm.sh/release.v1";

/// How many objects are fetched at the same time.
const CONCURRENT: usize = 16;

/// What is referred to, and the number of the call that said so.
#[derive(Debug, Default)]
pub(super) struct Requested {
    pub(super) generation: u64,
    pub(super) keys: Arc<BTreeSet<ObjectKey>>,
}

/// Watches and fetches what is referred to.
pub(super) struct References {
    context: Context,
    outlet: Outlet,
    filter: Filter,
    requested: watch::Receiver<Requested>,
    tracker: Tracker,
    served: BTreeMap<Kind, Served>,
    collections: Vec<Collection>,
    permits: Arc<Semaphore>,
}

/// The Secrets or the ConfigMaps, of one namespace or of all.
struct Collection {
    kind: Kind,
    namespace: Option<String>,
    monitor: Monitor,
    settled: bool,
    /// What has been told.
    keys: KeySet,
    /// What the list in progress has mentioned of what is kept.
    mentioned: BTreeSet<ObjectKey>,
}

type Done = (Fetch, Result<Item, Failure>);

impl References {
    /// For all namespaces that pass `filter`, by one watch for each of `namespaces` (`None`: one for all).
    pub(super) fn new(
        context: &Context,
        outlet: &Outlet,
        filter: Filter,
        namespaces: &[Option<String>],
        requested: watch::Receiver<Requested>,
    ) -> Self {
        let collections = KINDS.iter().flat_map(|kind| {
            namespaces.iter().map(|namespace| Collection {
                kind: *kind,
                namespace: namespace.clone(),
                monitor: context.health.monitor(kind.as_str(), &plural(*kind), namespace.clone()),
                settled: false,
                keys: KeySet::default(),
                mentioned: BTreeSet::new(),
            })
        });
        Self {
            context: context.clone(),
            outlet: outlet.clone(),
            filter,
            requested,
            tracker: Tracker::default(),
            served: KINDS.iter().filter_map(|kind| Some((*kind, Served::built_in(*kind)?))).collect(),
            collections: collections.collect(),
            permits: Arc::new(Semaphore::new(CONCURRENT)),
        }
    }

    /// Runs until nobody listens any more.
    pub(super) async fn run(mut self) -> Result<(), Closed> {
        self.filter.ready().await?;
        let mut feeds: SelectAll<BoxStream<'static, (usize, Signal)>> = SelectAll::new();
        for (index, collection) in self.collections.iter().enumerate() {
            if let Some(served) = self.served.get(&collection.kind) {
                let source = Source {
                    metadata: true,
                    fields: (collection.kind == Kind::Secret).then(|| NOT_WATCHED.to_owned()),
                    ..self.context.source(served.path(collection.namespace.as_deref()))
                };
                feeds.push(signals(index, self.context.feed(source)));
            }
        }
        let mut fetches: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
        loop {
            let started = tokio::select! {
                requested = self.requested.changed() => {
                    requested.map_err(|_| Closed)?;
                    self.want().await?
                }
                moved = self.filter.moved() => {
                    moved?;
                    self.want().await?
                }
                Some((index, signal)) = feeds.next() => self.take(index, signal).await?,
                Some((fetch, result)) = fetches.next() => self.fetched(&fetch, result).await?.into_iter().collect(),
            };
            fetches.extend(started.into_iter().map(|fetch| self.fetch(fetch)));
            if let Some(generation) = self.tracker.ready() {
                self.outlet.event(WatchEvent::ReferencesReady { generation }).await?;
            }
        }
    }

    /// Takes over what is referred to, as far as it is in namespaces that count and can exist at all.
    async fn want(&mut self) -> Result<Vec<Fetch>, Closed> {
        let (generation, keys) = {
            let requested = self.requested.borrow_and_update();
            (requested.generation, requested.keys.clone())
        };
        let counts = |key: &&ObjectKey| {
            KINDS.contains(&key.kind)
                && is_name(&key.namespace)
                && is_name(&key.name)
                && self.filter.admits(&key.namespace)
        };
        let wanted = self.tracker.want(generation, keys.iter().filter(counts).cloned().collect());
        for key in wanted.dropped {
            if let Some(collection) = self.collections.iter_mut().find(|collection| collection.holds(&key)) {
                collection.gone(&key, &self.outlet).await?;
            }
        }
        Ok(wanted.fetch)
    }

    async fn take(&mut self, index: usize, signal: Signal) -> Result<Vec<Fetch>, Closed> {
        let kind = self.collections[index].kind;
        let key = |item: &Item| ObjectKey::new(kind, &item.head.name.namespace, &item.head.name.name);
        match signal {
            Signal::Listing => {
                self.collections[index].monitor.listing();
                self.collections[index].mentioned.clear();
            }
            Signal::Listed(item) => {
                self.collections[index].monitor.heard();
                let key = key(&item);
                if self.tracker.wants(&key) {
                    self.collections[index].mentioned.insert(key.clone());
                    return Ok(self.touched(index, &key, Some(&item)).into_iter().collect());
                }
            }
            Signal::Complete => {
                let collection = &mut self.collections[index];
                let mentioned = std::mem::take(&mut collection.mentioned);
                let told =
                    collection.keys.names().map(|name| ObjectKey::new(kind, &name.namespace, &name.name));
                let missing: Vec<_> = told.filter(|key| !mentioned.contains(key)).collect();
                if !std::mem::replace(&mut collection.settled, true) {
                    collection.monitor.settled();
                    self.outlet.settled().await?;
                }
                return Ok(missing.iter().filter_map(|key| self.touched(index, key, None)).collect());
            }
            Signal::Changed(item) => {
                self.watching(index).await?;
                return Ok(self.touched(index, &key(&item), Some(&item)).into_iter().collect());
            }
            Signal::Deleted(item) => {
                self.watching(index).await?;
                return Ok(self.touched(index, &key(&item), None).into_iter().collect());
            }
            Signal::Heard => self.watching(index).await?,
            Signal::Failed(failure) => {
                if let Some(event) = self.collections[index].monitor.failed(&failure) {
                    self.outlet.event(event).await?;
                }
            }
        }
        Ok(Vec::new())
    }

    async fn watching(&self, index: usize) -> Result<(), Closed> {
        match self.collections[index].monitor.watching() {
            Some(event) => self.outlet.event(event).await,
            None => Ok(()),
        }
    }

    /// The watch has said something of this object: that there is this version of it, or none.
    fn touched(&mut self, index: usize, key: &ObjectKey, item: Option<&Item>) -> Option<Fetch> {
        if item.is_some_and(|item| self.collections[index].keys.is_unchanged(&item.head)) {
            return None;
        }
        let said = item.map_or(Said::Gone, |item| Said::Version(item.head.version.clone()));
        self.tracker.touched(key, said)
    }

    async fn fetched(
        &mut self,
        fetch: &Fetch,
        result: Result<Item, Failure>,
    ) -> Result<Option<Fetch>, Closed> {
        let outcome = match &result {
            Ok(item) => Outcome::Found(item.head.version.clone()),
            Err(failure) if failure.says_absent() => Outcome::Absent,
            Err(failure) if failure.forbidden().is_some() => Outcome::Forbidden,
            Err(_) => Outcome::Failed,
        };
        let verdict = self.tracker.finished(fetch, &outcome);
        let key = &fetch.key;
        if let Some(collection) = self.collections.iter_mut().find(|c| verdict.counts && c.holds(key)) {
            match result {
                Ok(item) => {
                    tell::exists(key.kind, &mut collection.keys, &item, &self.outlet).await?;
                    collection.monitor.counted(&collection.keys);
                }
                Err(failure) if failure.says_absent() => collection.gone(key, &self.outlet).await?,
                Err(failure) => {
                    if !collection.monitor.forbidden(&failure) && verdict.first_failure {
                        tracing::warn!(object = %key, error = %failure, "cannot fetch; tries again");
                    }
                }
            }
        }
        Ok(verdict.fetch)
    }

    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Done> {
        let path = self.served.get(&fetch.key.kind).map(|served| served.path(Some(&fetch.key.namespace)));
        let path = format!("{}/{}", path.unwrap_or_default(), fetch.key.name);
        let (client, permits) = (self.context.client.clone(), self.permits.clone());
        let mut back = self.context.back.clone();
        back.mark_unchanged();
        let wait = self.wait(fetch.failures);
        async move {
            if let Some(wait) = wait {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    Ok(()) = back.changed() => {}
                }
            }
            // The semaphore is never closed.
            let _permit = permits.acquire().await;
            let result = feed::get(&client, &path, &fetch.key.namespaced_name()).await;
            (fetch, result)
        }
        .boxed()
    }

    /// How long to wait after so many failures.
    fn wait(&self, failures: u32) -> Option<Duration> {
        let mut backoff = feed::Backoff::new(self.context.timing);
        (0..failures).map(|_| backoff.next()).last()
    }
}

impl Collection {
    fn holds(&self, key: &ObjectKey) -> bool {
        self.kind == key.kind && self.namespace.as_ref().is_none_or(|own| *own == key.namespace)
    }

    async fn gone(&mut self, key: &ObjectKey, outlet: &Outlet) -> Result<(), Closed> {
        let gone = self.keys.remove(&key.namespaced_name());
        self.monitor.counted(&self.keys);
        tell::gone(self.kind, gone, outlet).await
    }
}

fn signals(index: usize, feed: Feed) -> BoxStream<'static, (usize, Signal)> {
    let step = move |mut feed: Feed| async move {
        let signal = feed.next().await;
        Some(((index, signal), feed))
    };
    futures::stream::unfold(feed, step).boxed()
}
