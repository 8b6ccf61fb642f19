//! One kind: follows where the API server serves it, and tells of its objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postern_translator::Kind;
use tokio::sync::watch;

use super::batch::{Closed, Outlet};
use super::context::Context;
use super::decode::Head;
use super::failure::Failure;
use super::feed::{Feed, Signal, Source};
use super::filter::{Admitted, Filter, Moved};
use super::health::Monitor;
use super::keys::KeySet;
use super::presence::Presence;
use super::resource::{Served, is_optional, plural};
use super::{WatchEvent, tell};

/// Follows one kind, in one namespace or in all.
pub(super) struct Objects {
    context: Context,
    kind: Kind,
    namespace: Option<String>,
    presence: watch::Receiver<Presence>,
    filter: Filter,
    /// For Namespaces that are selected by label: where to say which ones match.
    matching: Option<(watch::Sender<Admitted>, String)>,
    monitor: Monitor,
    outlet: Outlet,
    keys: KeySet,
    settled: bool,
    /// It was told that there can be no objects of the kind.
    absent: bool,
    /// Namespaces that count now and whose objects have been skipped until now.
    joined: BTreeSet<String>,
    /// Namespaces that were listed beside the watch, with the version of the list: the watch may still bring what is older.
    floors: BTreeMap<String, u64>,
}

/// Why a version of a kind is not followed any more.
enum Turn {
    /// Another one is served.
    Switch,
    /// The kind is gone.
    Gone,
}

impl Objects {
    /// Follows `kind` in `namespace`, or in all namespaces that pass `filter`.
    pub(super) fn new(
        context: &Context,
        outlet: &Outlet,
        kind: Kind,
        namespace: Option<String>,
        presence: watch::Receiver<Presence>,
        filter: Filter,
    ) -> Self {
        Self {
            context: context.clone(),
            kind,
            monitor: context.health.monitor(kind.as_str(), &plural(kind), namespace.clone()),
            namespace,
            presence,
            filter,
            matching: None,
            outlet: outlet.clone(),
            keys: KeySet::default(),
            settled: false,
            absent: false,
            joined: BTreeSet::new(),
            floors: BTreeMap::new(),
        }
    }

    /// Follows only objects with these labels, and says who they are.
    pub(super) fn selected(mut self, matching: watch::Sender<Admitted>, labels: String) -> Self {
        self.matching = Some((matching, labels));
        self
    }

    /// Runs until nobody listens any more.
    pub(super) async fn run(mut self) -> Result<(), Closed> {
        self.filter.ready().await?;
        let mut last: Option<Served> = None;
        loop {
            let presence = self.presence.borrow_and_update().clone();
            match presence {
                Presence::Served(served) => {
                    if last.as_ref().is_some_and(|last| *last != served) {
                        self.keys.forget_versions();
                    }
                    let turn = self.follow(&served).await?;
                    last = Some(served);
                    if matches!(turn, Turn::Switch) {
                        continue;
                    }
                    tell::gone(self.kind, self.keys.clear(), &self.outlet).await?;
                    self.not_served().await?;
                }
                Presence::Absent => self.not_served().await?,
                Presence::Unknown => {}
            }
            self.presence.changed().await.map_err(|_| Closed)?;
        }
    }

    async fn not_served(&mut self) -> Result<(), Closed> {
        self.monitor.counted(&self.keys);
        if let Some(event) = self.monitor.not_served() {
            self.outlet.event(event).await?;
        }
        self.served(false).await?;
        self.settle().await
    }

    /// Tells whether there can be objects of the kind, where that is news.
    async fn served(&mut self, served: bool) -> Result<(), Closed> {
        if std::mem::replace(&mut self.absent, !served) == served {
            self.outlet.event(WatchEvent::Served { kind: self.kind, served }).await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Closed> {
        if !std::mem::replace(&mut self.settled, true) {
            self.monitor.settled();
            self.outlet.settled().await?;
        }
        Ok(())
    }

    async fn follow(&mut self, served: &Served) -> Result<Turn, Closed> {
        let path = served.path(self.namespace.as_deref());
        let labels = self.matching.as_ref().map(|(_, labels)| labels.clone());
        let source = Source { labels, ..self.context.source(path) };
        let mut feed = self.context.feed(source);
        let mut absent = false;
        loop {
            tokio::select! {
                changed = self.presence.changed() => {
                    changed.map_err(|_| Closed)?;
                    let presence = self.presence.borrow_and_update().clone();
                    absent = presence == Presence::Absent;
                    match presence {
                        Presence::Served(other) if other != *served => return Ok(Turn::Switch),
                        // Discovery says that the kind is gone: so should the collection.
                        Presence::Absent => feed.start_over(),
                        _ => {}
                    }
                }
                moved = self.filter.moved() => self.moved(moved?).await?,
                signal = feed.next() => match signal {
                    Signal::Failed(failure) if failure.is_not_found() && absent => return Ok(Turn::Gone),
                    signal => self.take(signal).await?,
                },
            }
            if feed.is_watching() && !self.joined.is_empty() {
                self.join(served, &mut feed).await?;
            }
        }
    }

    async fn take(&mut self, signal: Signal) -> Result<(), Closed> {
        match signal {
            Signal::Listing => {
                self.monitor.listing();
                self.keys.begin();
                // This list covers them.
                self.joined.clear();
                self.floors.clear();
            }
            Signal::Listed(item) => {
                self.monitor.heard();
                if self.filter.admits(&item.head.name.namespace) {
                    tell::exists(self.kind, &mut self.keys, &item, &self.outlet).await?;
                }
            }
            Signal::Complete => {
                self.served(true).await?;
                let gone = self.keys.complete();
                tell::gone(self.kind, gone, &self.outlet).await?;
                self.monitor.counted(&self.keys);
                self.publish();
                self.settle().await?;
            }
            Signal::Changed(item) => {
                self.watching().await?;
                if self.counts(&item.head) {
                    tell::exists(self.kind, &mut self.keys, &item, &self.outlet).await?;
                    self.monitor.counted(&self.keys);
                    self.publish();
                }
            }
            Signal::Deleted(item) => {
                self.watching().await?;
                if self.counts(&item.head) {
                    let gone = self.keys.remove(&item.head.name);
                    tell::gone(self.kind, gone, &self.outlet).await?;
                    self.monitor.counted(&self.keys);
                    self.publish();
                }
            }
            Signal::Heard => self.watching().await?,
            Signal::Failed(failure) => self.failed(&failure).await?,
        }
        Ok(())
    }

    async fn watching(&self) -> Result<(), Closed> {
        match self.monitor.watching() {
            Some(event) => self.outlet.event(event).await,
            None => Ok(()),
        }
    }

    async fn failed(&mut self, failure: &Failure) -> Result<(), Closed> {
        if failure.is_not_found() {
            self.context.nudge.notify_one();
        }
        if let Some(event) = self.monitor.failed(failure) {
            self.outlet.event(event).await?;
        }
        if failure.forbidden().is_some() && is_optional(self.kind) && !self.settled {
            self.served(false).await?;
            self.settle().await?;
        }
        Ok(())
    }

    /// True if the event is of a namespace that counts, and not older than what a list beside the watch has told.
    fn counts(&self, head: &Head) -> bool {
        let namespace = &head.name.namespace;
        self.filter.admits(namespace) && !is_older(&head.version, self.floors.get(namespace))
    }

    async fn moved(&mut self, moved: Moved) -> Result<(), Closed> {
        for namespace in moved.left {
            self.joined.remove(&namespace);
            self.floors.remove(&namespace);
            tell::gone(self.kind, self.keys.leave(&namespace), &self.outlet).await?;
        }
        self.monitor.counted(&self.keys);
        self.joined.extend(moved.joined);
        Ok(())
    }

    /// Lists namespaces whose objects have been skipped until now.
    async fn join(&mut self, served: &Served, feed: &mut Feed) -> Result<(), Closed> {
        while let Some(namespace) = self.joined.pop_first() {
            match feed.list_namespace(&served.path(Some(&namespace))).await {
                Ok((items, version)) => {
                    for item in &items {
                        tell::exists(self.kind, &mut self.keys, item, &self.outlet).await?;
                    }
                    if let Ok(version) = version.parse() {
                        self.floors.insert(namespace, version);
                    }
                }
                Err(failure) => {
                    self.failed(&failure).await?;
                    feed.start_over();
                    break;
                }
            }
        }
        self.monitor.counted(&self.keys);
        Ok(())
    }

    /// Says which namespaces match, once all are known.
    fn publish(&self) {
        if let Some((matching, _)) = &self.matching {
            let names: BTreeSet<_> = self.keys.names().map(|name| name.name.clone()).collect();
            matching.send_if_modified(|old| {
                let changed = old.as_deref() != Some(&names);
                if changed {
                    *old = Some(Arc::new(names));
                }
                changed
            });
        }
    }
}

/// Versions are numbers wherever the API server stores in etcd; others are not compared.
fn is_older(version: &str, floor: Option<&u64>) -> bool {
    floor.is_some_and(|floor| version.parse::<u64>().is_ok_and(|version| version <= *floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_has_told_is_not_taken_back_by_older_events() {
        assert!(is_older("7", Some(&7)));
        assert!(!is_older("8", Some(&7)));
        assert!(!is_older("7", None));
        assert!(!is_older("opaque", Some(&7)));
    }
}
