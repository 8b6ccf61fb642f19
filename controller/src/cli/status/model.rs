//! What `postern status` tells, as `-o json` and `-o yaml` print it.

use std::collections::BTreeMap;

use postern_api::gateway_api::{Condition, GatewayStatusAddress};
use serde::Serialize;

use crate::inspect::document::{Rejection, Replica};

/// Everything that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Overview {
    /// The replicas of the controller.
    pub(crate) controllers: Vec<Controller>,
    /// The Gateways, by namespace and name.
    pub(crate) gateways: Vec<Gateway>,
    /// What is not well.
    pub(crate) problems: Vec<Problem>,
    /// What could not be found out, and what else there is to know.
    pub(crate) notes: Vec<String>,
}

/// A replica of the controller.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Controller {
    /// The name of the pod.
    pub(crate) pod: String,
    /// Whether the pod is ready.
    pub(crate) ready: bool,
    /// What it says of itself, if it could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replica: Option<Replica>,
}

/// A Gateway of ours.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gateway {
    /// The namespace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
    /// The GatewayClass.
    pub(crate) class: String,
    /// When it was made, as the API server writes it.
    pub(crate) created: String,
    /// Where it can be reached.
    pub(crate) addresses: Vec<GatewayStatusAddress>,
    /// What the controller says about it.
    pub(crate) conditions: Vec<Condition>,
    /// Its listeners, those of ListenerSets included.
    pub(crate) listeners: Vec<Listener>,
    /// The routes that ask for it.
    pub(crate) routes: Vec<Route>,
    /// The policies that concern it.
    pub(crate) policies: Vec<Policy>,
    /// Its proxies. Absent if nobody could be asked and nothing be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxies: Option<Vec<Proxy>>,
}

/// A listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listener {
    /// The ListenerSet that it belongs to, as `namespace/name`; empty for the Gateway's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) listener_set: String,
    /// The name.
    pub(crate) name: String,
    /// The port.
    pub(crate) port: u16,
    /// The protocol.
    pub(crate) protocol: String,
    /// The host names that it serves; empty for all.
    pub(crate) hostname: String,
    /// How many routes are attached.
    pub(crate) attached_routes: u32,
    /// What the controller says about it.
    pub(crate) conditions: Vec<Condition>,
}

/// A route, with respect to one parent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Route {
    /// The kind.
    pub(crate) kind: String,
    /// The namespace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
    /// The parent: `listener`, `:port` or both of the Gateway, or a ListenerSet; empty for all of the Gateway.
    pub(crate) parent: String,
    /// The host names; empty for those of the listener.
    pub(crate) hostnames: Vec<String>,
    /// What the controller says about it.
    pub(crate) conditions: Vec<Condition>,
}

/// A policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Policy {
    /// The kind.
    pub(crate) kind: String,
    /// The namespace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
    /// What it names as targets, such as `HTTPRoute web`.
    pub(crate) targets: Vec<String>,
    /// What the controller says about it.
    pub(crate) conditions: Vec<Condition>,
}

/// A proxy: a pod of the Gateway, a connection to a controller, or, mostly, both.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proxy {
    /// The pod; absent for a proxy that runs elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<String>,
    /// Whether the pod is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ready: Option<bool>,
    /// Its address.
    pub(crate) address: String,
    /// The replica of the controller that it is connected to; absent if it is not, or if nobody could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) controller: Option<String>,
    /// Whether it acknowledged everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_sync: Option<bool>,
    /// How many resources it has in the right version, of how many, by type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) acknowledged: BTreeMap<String, Share>,
    /// What it rejected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rejections: Vec<Rejection>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Share {
    /// How many there are.
    pub(crate) have: usize,
    /// How many there should be.
    pub(crate) want: usize,
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.have, self.want)
    }
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Something that was asked for does not happen.
    Error,
    /// All happens, but perhaps not as it was meant.
    Warning,
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What it is about, such as `HTTPRoute shop/api (Gateway shop/web)`.
    pub(crate) object: String,
    /// What it is: a condition, such as `ResolvedRefs=False BackendNotFound`, or a few words.
    pub(crate) what: String,
    /// More about it; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
}
