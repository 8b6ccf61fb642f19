//! Watches: from the API server to changes for the translator.
//!
//! ```text
//! discovery ─► which kinds are served, in which version
//! feed      ─► list and watch of one collection, over every kind of failure
//! objects   ─► one kind: what is known of it, so that a list after a lost watch becomes a difference
//! references─► Secrets and ConfigMaps: metadata of all, content of those that are referred to
//! batch     ─► one bounded channel of WatchEvents
//! ```
//!
//! # What is promised
//!
//! - [`WatchEvent::Synced`] comes once, after every object of every kind that is served. Until then nothing may be published.
//! - An API server that is away, restarts, answers with errors or forgets for a moment which kinds it serves changes nothing:
//!   an object is deleted when a watch says so, when a complete list lacks it, or when its kind is not served any more, which
//!   discovery has to say for [`Timing::absence`] without a gap and the collection has to confirm with 404.
//! - An object that cannot be read is reported ([`WatchEvent::Invalid`]); the last good version of it stays, and so do all others.
//! - A list after a lost watch brings only what has changed, judged by uid and resourceVersion.
//! - Pods are watched from when the API server serves XBackends, and of each only the little is kept that makes an endpoint.
//! - Changes that arrive together go out together, the first one at once; a slow receiver slows the watches down.
//!
//! # What it is allowed to do (RBAC)
//!
//! [`rules`] lists it: `list` and `watch` on every kind of [`Kind::ALL`], `get` on Secrets and ConfigMaps, and `list` and `watch` on the one
//! CustomResourceDefinition that tells the version of the Gateway API. With [`Scope::Namespaces`], Roles in those namespaces are
//! enough; cluster-scoped kinds are not asked for. Discovery and `/readyz` are open to every ServiceAccount by the cluster's
//! own roles `system:discovery` and `system:public-info-viewer`.

mod batch;
mod bundle;
mod context;
mod decode;
mod discovery;
mod failure;
mod feed;
mod filter;
mod health;
mod keys;
mod objects;
mod presence;
mod references;
mod resource;
mod rules;
mod synthetic;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::core::Selector;
use postern_translator::{CONTROLLER_NAME, Change, Kind, ObjectKey};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use self::batch::{Batches, Closed};
use self::context::Context;
use self::filter::Filter;
use self::health::Health;
pub use self::health::{FeedReport, Phase};
use self::objects::Objects;
use self::presence::Presence;
use self::references::{References, Requested};
use self::resource::Served;
pub use self::rules::{Rules, rules};
use crate::telemetry::Metrics;

/// How many events may wait for the receiver. Few: what waits longer goes out in larger batches.
const EVENTS: usize = 4;

/// Which objects are watched.
#[derive(Clone, Debug, Default)]
pub enum Scope {
    /// Those of all namespaces.
    #[default]
    All,
    /// Those of namespaces whose labels match, and cluster-scoped ones. Namespaces that start or stop to match add and remove
    /// their objects.
    Selector(Selector),
    /// Those of these namespaces. Nothing is asked for that needs a ClusterRole: Namespaces and GatewayClasses are made up
    /// (they have neither uid nor resourceVersion), the latter from [`WatchOptions::gateway_classes`].
    Namespaces(BTreeSet<String>),
}

/// What to watch, and how.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Which objects are watched.
    pub scope: Scope,
    /// The GatewayClasses that are ours where they cannot be read, which is with [`Scope::Namespaces`].
    pub gateway_classes: BTreeSet<String>,
    /// The `controllerName` of those.
    pub controller_name: String,
    /// How many objects one answer to a list may hold.
    pub page_size: u32,
    /// How long things take.
    pub timing: Timing,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            scope: Scope::All,
            gateway_classes: BTreeSet::new(),
            controller_name: CONTROLLER_NAME.to_owned(),
            page_size: 500,
            timing: Timing::default(),
        }
    }
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often it is asked which kinds are served. This is also how soon it is noticed that the API server is back.
    pub discovery: Duration,
    /// How long discovery has to say that a kind is not served before its objects are deleted.
    pub absence: Duration,
    /// The first wait after a failure; doubled with each further one, and up to doubled at random.
    pub first_wait: Duration,
    /// The longest wait after a failure, without the random part.
    pub longest_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            discovery: Duration::from_secs(5),
            absence: Duration::from_secs(30),
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(5),
        }
    }
}

/// What the watches say, in order.
#[derive(Debug)]
pub enum WatchEvent {
    /// Objects have changed.
    Changes(Vec<Change>),
    /// Every object of every kind that is served has been told; comes once.
    Synced,
    /// Everything that the call of [`WatchHandle::set_references`] with this answer asked for has been told, or does not exist.
    /// It covers all calls before it, too; a call that a later one has overtaken gets no event of its own.
    ReferencesReady {
        /// What the call has returned.
        generation: u64,
    },
    /// This version of the object cannot be read. The last good one stays in force.
    Invalid {
        /// The object.
        key: ObjectKey,
        /// Its uid.
        uid: String,
        /// Its generation, for kinds that have one.
        generation: Option<i64>,
        /// The field and what is wrong with it.
        error: String,
    },
    /// An object that was invalid can be read again, or is gone.
    Recovered {
        /// The object.
        key: ObjectKey,
    },
    /// A watch has failed, and not just been renewed. What is known stays. It has been logged and counted already.
    Lost {
        /// The kind, such as `HTTPRoute`.
        kind: &'static str,
        /// The namespace, where each is watched by itself.
        namespace: Option<String>,
        /// Why.
        error: String,
    },
    /// A watch that was lost is there again, or its kind is not served any more.
    Regained {
        /// The kind, such as `HTTPRoute`.
        kind: &'static str,
        /// The namespace, where each is watched by itself.
        namespace: Option<String>,
    },
    /// Whether there can be objects of a kind: not if the API server does not serve it, or if it cannot be read with this scope. It
    /// is assumed that there can; what is otherwise comes before [`WatchEvent::Synced`], and when it changes.
    Served {
        /// The kind.
        kind: Kind,
        /// Whether there can be objects of it.
        served: bool,
    },
    /// The version of the Gateway API that is installed, as its CustomResourceDefinitions say; `None` if they do not. Comes
    /// before [`WatchEvent::Synced`] and when it changes, but not with [`Scope::Namespaces`].
    BundleVersion {
        /// Such as `v1.7.0`.
        version: Option<String>,
        /// `standard` or `experimental`.
        channel: Option<String>,
    },
}

/// The way to ask the watches for something; cheap to clone.
#[derive(Clone)]
pub struct WatchHandle {
    requested: Arc<watch::Sender<Requested>>,
    health: Health,
}

impl WatchHandle {
    /// Says which Secrets and ConfigMaps are referred to, instead of those of the call before. Their content follows as changes, and
    /// then [`WatchEvent::ReferencesReady`] with the number that is returned here, also if nothing was missing. Those that are
    /// not referred to any more follow as deletions. Never waits.
    pub fn set_references(&self, keys: BTreeSet<ObjectKey>) -> u64 {
        let mut generation = 0;
        self.requested.send_modify(|requested| {
            requested.generation += 1;
            requested.keys = Arc::new(keys);
            generation = requested.generation;
        });
        generation
    }

    /// How each watch fares, by kind and namespace. `discovery` among them stands for the questions what is served.
    pub fn reports(&self) -> Vec<FeedReport> {
        self.health.reports()
    }
}

/// The watches of everything that the translator reads.
#[derive(Debug)]
pub struct Watch;

impl Watch {
    /// Starts to watch. To be called within a tokio runtime. `client` should not retry by itself (`Config::default_retry`), which
    /// would only make failures take longer.
    ///
    /// Everything ends when the receiver is dropped. The receiver ends only after a defect in here (a panic, which is logged): then
    /// nothing is watched any more, and the program should end, too.
    pub fn start(
        client: Client,
        options: WatchOptions,
        metrics: Metrics,
    ) -> (WatchHandle, mpsc::Receiver<WatchEvent>) {
        let health = Health::new(metrics);
        let (requested, requests) = watch::channel(Requested::default());
        let (events, receiver) = mpsc::channel(EVENTS);
        let handle = WatchHandle { requested: Arc::new(requested), health: health.clone() };
        // The request for references must not end with the last handle.
        let kept = handle.clone();
        let tasks = tasks(client, options, health, requests, events.clone());
        tokio::spawn(async move {
            supervise(tasks, events).await;
            drop(kept);
        });
        (handle, receiver)
    }
}

fn tasks(
    client: Client,
    options: WatchOptions,
    health: Health,
    requests: watch::Receiver<Requested>,
    events: mpsc::Sender<WatchEvent>,
) -> JoinSet<Result<(), Closed>> {
    let WatchOptions { scope, gateway_classes, controller_name, page_size, timing } = options;
    let (back_sender, back) = watch::channel(0);
    let context = Context { client, page_size, timing, back, nudge: Arc::new(Notify::new()), health };
    let (namespaces, cluster) = match &scope {
        Scope::All | Scope::Selector(_) => (vec![None], true),
        Scope::Namespaces(names) => (names.iter().cloned().map(Some).collect(), false),
    };
    let (matching_sender, matching) = watch::channel(None);
    let filter = match &scope {
        Scope::All => Filter::Everything,
        Scope::Selector(_) => Filter::Selected { matching, current: Arc::default() },
        Scope::Namespaces(names) => Filter::Fixed(Arc::new(names.clone())),
    };
    let selected = if let Scope::Selector(selector) = &scope { Some(selector.to_string()) } else { None };

    let mut presences = BTreeMap::new();
    let mut followed = Vec::new();
    let mut companions = Vec::new();
    for kind in Kind::ALL.iter().copied().filter(|kind| !references::KINDS.contains(kind)) {
        let known = Served::built_in(kind).filter(|_| companion_of(kind).is_none());
        let (sender, presence) = watch::channel(known.map_or(Presence::Unknown, Presence::Served));
        let places: &[Option<String>] = match (kind.is_namespaced(), cluster) {
            (true, _) => &namespaces,
            (false, true) => &[None],
            (false, false) => continue,
        };
        followed.extend(places.iter().map(|place| (kind, place.clone(), presence.clone())));
        match companion_of(kind) {
            Some(other) => companions.push((kind, other, sender)),
            None => drop(presences.insert(kind, sender)),
        }
    }
    let references = |outlet| References::new(&context, outlet, filter.clone(), &namespaces, requests);
    let feeds = followed.len() + references::KINDS.len() * namespaces.len() + 1;
    let (outlet, batches) = Batches::new(events, feeds);

    let mut tasks = JoinSet::new();
    for (kind, other, sender) in companions {
        if let Some(other) = presences.get(&other) {
            tasks.spawn(presence::follow(kind, other.subscribe(), sender));
        }
    }
    tasks.spawn(batches.run());
    tasks.spawn(references(&outlet).run());
    for (kind, namespace, presence) in followed {
        let filter = if kind.is_namespaced() { filter.clone() } else { Filter::Everything };
        let mut objects = Objects::new(&context, &outlet, kind, namespace, presence, filter);
        if let (Kind::Namespace, Some(labels)) = (kind, &selected) {
            objects = objects.selected(matching_sender.clone(), labels.clone());
        }
        tasks.spawn(objects.run());
    }
    if cluster {
        tasks.spawn(bundle::run(context.clone(), outlet));
    } else if let Scope::Namespaces(names) = scope {
        tasks.spawn(async move {
            let hidden = |kind: &Kind| resource::is_optional(*kind) && !kind.is_namespaced();
            for kind in Kind::ALL.iter().copied().filter(hidden) {
                outlet.event(WatchEvent::Served { kind, served: false }).await?;
            }
            for change in synthetic::changes(&names, &gateway_classes, &controller_name) {
                outlet.change(change).await?;
            }
            outlet.settled().await
        });
    }
    tasks.spawn(discovery::run(context, presences, back_sender));
    tasks
}

/// The kind for whose sake a built-in one is watched. There may be very many Pods, and only an XBackend selects them.
const fn companion_of(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Pod => Some(Kind::XBackend),
        _ => None,
    }
}

/// Ends everything with the receiver, or with the first task that panics.
async fn supervise(mut tasks: JoinSet<Result<(), Closed>>, events: mpsc::Sender<WatchEvent>) {
    loop {
        tokio::select! {
            () = events.closed() => return,
            ended = tasks.join_next() => match ended {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::error!(%error, "a watch has ended by a defect of Postern; nothing is watched any more");
                    return;
                }
                None => return,
            },
        }
    }
}
