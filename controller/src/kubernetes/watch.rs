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
//! - Changes that arrive together go out together, the first one at once; a slow receiver slows the watches down.
//!
//! # What it is allowed to do (RBAC)
//!
//! It needs `list` and `watch` on every kind of `postern_translator::Kind::ALL`, `get` on Secrets and ConfigMaps, and `list` and `watch` on the one
//! CustomResourceDefinition that tells the version of the Gateway API. With [`Scope::Namespaces`], Roles in those namespaces are
//! enough; cluster-scoped kinds are not asked for. Discovery and `/readyz` are open to every ServiceAccount by the cluster's
//! own roles `system:discovery` and `system:public-info-viewer`.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::core::Selector;
use postern_translator::{CONTROLLER_NAME, Change, ObjectKey};

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
    /// Everything that the call of `WatchHandle::set_references` with this answer asked for has been told, or does not exist.
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
    /// A watch has failed, and not just been renewed. What is known stays. For metrics: it has been logged.
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
    /// The version of the Gateway API that is installed, as its CustomResourceDefinitions say; `None` if they do not. Comes
    /// before [`WatchEvent::Synced`] and when it changes, but not with [`Scope::Namespaces`].
    BundleVersion {
        /// Such as `v1.7.0`.
        version: Option<String>,
        /// `standard` or `experimental`.
        channel: Option<String>,
    },
}
