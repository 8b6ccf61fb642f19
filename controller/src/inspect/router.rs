//! From the hub to documents, and these over HTTP.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use postern_xds::{Connection, ResourceType, Snapshot};

use super::document::{Config, Failure, Gateway, Gateways, Listener, Proxy, Rejection, Replica, Resource};
use super::{Inspector, digest};
use crate::config::{self, ConfigError};

/// `/debug/replica`, `/debug/gateways` and `/debug/gateways/{namespace}/{name}/config`.
pub fn router(inspector: Inspector) -> Router {
    Router::new()
        .route("/debug/replica", get(async |State(i): State<Inspector>| Json(i.replica())))
        .route("/debug/gateways", get(async |State(i): State<Inspector>| Json(i.gateways())))
        .route("/debug/gateways/{namespace}/{name}/config", get(config))
        .with_state(inspector)
}

async fn config(
    State(inspector): State<Inspector>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let gateway = format!("{namespace}/{name}");
    match inspector.config(&gateway) {
        Some(Ok(config)) => Json(config).into_response(),
        Some(Err(error)) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        None => failure(StatusCode::NOT_FOUND, format!("the Gateway {gateway} is not served here")),
    }
}

fn failure(status: StatusCode, error: String) -> Response {
    (status, Json(Failure { error })).into_response()
}

impl Inspector {
    /// This replica.
    pub fn replica(&self) -> Replica {
        self.with_replica(|replica| replica.clone())
    }

    /// Every Gateway that is published or that a proxy asks for.
    pub fn gateways(&self) -> Gateways {
        let mut out = Gateways::default();
        let mut connections: BTreeMap<_, Vec<Connection>> = BTreeMap::new();
        for connection in self.hub.connections() {
            connections.entry(connection.node.clone()).or_default().push(connection);
        }
        for (node, snapshot) in self.hub.snapshots() {
            let connections = connections.remove(&node).unwrap_or_default();
            out.gateways.insert(node.to_string(), gateway(Some(&snapshot), &connections));
        }
        for (node, connections) in connections {
            out.gateways.insert(node.to_string(), gateway(None, &connections));
        }
        out
    }

    /// What the proxies of `gateway` (`namespace/name`) should have; `None` if that is not published.
    pub fn config(&self, gateway: &str) -> Option<Result<Config, ConfigError>> {
        let snapshot = self.hub.snapshot(gateway)?;
        Some(resources(&snapshot).map(|resources| Config { digest: digest(&snapshot), resources }))
    }
}

fn resources(snapshot: &Snapshot) -> Result<BTreeMap<String, BTreeMap<String, Resource>>, ConfigError> {
    let mut out: BTreeMap<String, BTreeMap<String, Resource>> = BTreeMap::new();
    for resource in ResourceType::ALL.into_iter().flat_map(|t| snapshot.iter(t)) {
        let content = config::published_to_json(resource)?;
        let version = resource.version().to_owned();
        out.entry(resource.resource_type().to_string())
            .or_default()
            .insert(resource.name().to_owned(), Resource { version, content });
    }
    Ok(out)
}

fn gateway(snapshot: Option<&Snapshot>, connections: &[Connection]) -> Gateway {
    let wanted = snapshot.cloned().unwrap_or_default();
    let listener = |listener: &std::sync::Arc<postern_xds::Resource>| Listener {
        name: listener.name().to_owned(),
        version: listener.version().to_owned(),
        acknowledged: connections
            .iter()
            .filter(|c| c.held.get(ResourceType::Listener, listener.name()) == Some(listener))
            .count(),
    };
    Gateway {
        digest: snapshot.map(digest),
        listeners: wanted.iter(ResourceType::Listener).map(listener).collect(),
        resources: ResourceType::ALL
            .into_iter()
            .filter(|t| wanted.len(*t) > 0)
            .map(|t| {
                let versions = wanted.iter(t).map(|r| (r.name().to_owned(), r.version().to_owned()));
                (t.to_string(), versions.collect())
            })
            .collect(),
        proxies: connections.iter().map(|connection| proxy(&wanted, connection)).collect(),
    }
}

fn proxy(wanted: &Snapshot, connection: &Connection) -> Proxy {
    let mut acknowledged = BTreeMap::new();
    let mut pending: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource_type in ResourceType::ALL {
        for resource in wanted.iter(resource_type) {
            if connection.held.get(resource_type, resource.name()) == Some(resource) {
                *acknowledged.entry(resource_type.to_string()).or_default() += 1;
            } else {
                pending.entry(resource_type.to_string()).or_default().push(resource.name().to_owned());
            }
        }
    }
    Proxy {
        stream: connection.stream,
        peer: connection.peer.address.map(|address| address.to_string()),
        in_sync: connection.in_sync,
        bytes_sent: connection.bytes_sent,
        acknowledged,
        pending,
        rejections: connection
            .rejections
            .iter()
            .map(|rejection| Rejection {
                resource_type: rejection.resource_type.to_string(),
                name: rejection.name.to_string(),
                error: rejection.error.to_string(),
            })
            .collect(),
    }
}
