//! What an Envoy says that it has: its answer to `/config_dump?include_eds`.

use std::collections::BTreeMap;
use std::fmt;

use postern_xds::ResourceType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bootstrap::{CA_SECRET, TOKEN_SECRET};
use crate::config;

/// The path of the admin interface that is read.
pub const PATH: &str = "/config_dump?include_eds";

/// Where a resource stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// In use.
    Active,
    /// Received, and waiting for something (endpoints, certificates) before it is used.
    Warming,
    /// On its way out: connections that it has may end.
    Draining,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Warming => "warming",
            Self::Draining => "draining",
        })
    }
}

/// A resource that an Envoy has.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Where it stands.
    pub stage: Stage,
    /// Its version. Envoy does not tell those of scoped routes and endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it came, as Envoy writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// Why Envoy refused the last version of it, which is not the one described here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The message as proto JSON, without secret values; null if there is none, because it was refused when it was new.
    pub content: Value,
}

/// Everything that an Envoy got over xDS, by type and name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Dump {
    resources: BTreeMap<&'static str, BTreeMap<String, Held>>,
}

/// What cannot be understood of a dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// Not JSON.
    #[error("the answer is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No list of sections.
    #[error("the answer is no configuration dump: it has no member `configs`")]
    NoConfigs,
}

impl Dump {
    /// Reads what Envoy answered.
    ///
    /// # Errors
    ///
    /// Fails if it is no dump. Resources that are not understood (of a newer Envoy, say) are kept as they are.
    pub fn parse(text: &[u8]) -> Result<Self, DumpError> {
        let read: Value = serde_json::from_slice(text)?;
        let sections = read.get("configs").and_then(Value::as_array).ok_or(DumpError::NoConfigs)?;
        let mut out = Self::default();
        for section in sections {
            let kind = section["@type"].as_str().and_then(|url| url.rsplit('.').next()).unwrap_or_default();
            match kind {
                "ClustersConfigDump" => out.clusters(section),
                "EndpointsConfigDump" => out.endpoints(section),
                "ListenersConfigDump" => out.listeners(section),
                "ScopedRoutesConfigDump" => out.scopes(section),
                "RoutesConfigDump" => out.routes(section),
                "SecretsConfigDump" => out.secrets(section),
                "EcdsConfigDump" => out.extensions(section),
                _ => {}
            }
        }
        Ok(out)
    }

    /// The resources of a type, by name.
    pub fn of_type(&self, resource_type: ResourceType) -> impl Iterator<Item = (&str, &Held)> {
        let resources = self.resources.get(label(resource_type)).into_iter().flatten();
        resources.map(|(name, held)| (name.as_str(), held))
    }

    /// The resource of a type and a name.
    pub fn get(&self, resource_type: ResourceType, name: &str) -> Option<&Held> {
        self.resources.get(label(resource_type))?.get(name)
    }

    fn clusters(&mut self, section: &Value) {
        let stages =
            [("dynamic_active_clusters", Stage::Active), ("dynamic_warming_clusters", Stage::Warming)];
        for (member, stage) in stages {
            for entry in items(section, member) {
                self.add(ResourceType::Cluster, "cluster", stage, entry);
            }
        }
    }

    fn endpoints(&mut self, section: &Value) {
        for entry in items(section, "dynamic_endpoint_configs") {
            self.add(ResourceType::ClusterLoadAssignment, "endpoint_config", Stage::Active, entry);
        }
    }

    fn listeners(&mut self, section: &Value) {
        let stages = [
            ("active_state", Stage::Active),
            ("warming_state", Stage::Warming),
            ("draining_state", Stage::Draining),
        ];
        for entry in items(section, "dynamic_listeners") {
            // A listener that was refused when it was new has no name of its own.
            let name = text(entry, "name")
                .or_else(|| text_at(entry, "/error_state/failed_configuration/name"))
                .unwrap_or_default();
            let refused = entry.get("error_state").and_then(|state| text(state, "details"));
            for (member, stage) in stages {
                if let Some(state) = entry.get(member) {
                    self.add(ResourceType::Listener, "listener", stage, state);
                }
            }
            if refused.is_some() {
                let listeners = self.resources.entry(label(ResourceType::Listener)).or_default();
                let none = || Held {
                    stage: Stage::Warming,
                    version: None,
                    updated: entry.pointer("/error_state/last_update_attempt").and_then(string),
                    refused: None,
                    content: Value::Null,
                };
                listeners.entry(name).or_insert_with(none).refused = refused;
            }
        }
    }

    fn scopes(&mut self, section: &Value) {
        for set in items(section, "dynamic_scoped_route_configs") {
            for scope in items(set, "scoped_route_configs") {
                let held = Held {
                    stage: Stage::Active,
                    version: text(set, "version_info"),
                    updated: text(set, "last_updated"),
                    refused: text_at(set, "/error_state/details"),
                    content: scope.clone(),
                };
                self.insert(ResourceType::ScopedRouteConfiguration, held);
            }
        }
    }

    fn routes(&mut self, section: &Value) {
        for entry in items(section, "dynamic_route_configs") {
            self.add(ResourceType::RouteConfiguration, "route_config", Stage::Active, entry);
        }
    }

    fn secrets(&mut self, section: &Value) {
        let stages = [("dynamic_active_secrets", Stage::Active), ("dynamic_warming_secrets", Stage::Warming)];
        for (member, stage) in stages {
            // Those of the bootstrap come from files beside the proxy, not from Postern.
            let own = |entry: &&Value| {
                let name = entry["name"].as_str();
                name != Some(CA_SECRET) && name != Some(TOKEN_SECRET)
            };
            for entry in items(section, member).filter(own) {
                self.add(ResourceType::Secret, "secret", stage, entry);
            }
        }
    }

    fn extensions(&mut self, section: &Value) {
        for entry in items(section, "ecds_filters") {
            self.add(ResourceType::ExtensionConfig, "ecds_filter", Stage::Active, entry);
        }
    }

    /// Adds the message that is the member `member` of `entry`.
    fn add(&mut self, resource_type: ResourceType, member: &str, stage: Stage, entry: &Value) {
        let held = Held {
            stage,
            version: text(entry, "version_info"),
            updated: text(entry, "last_updated"),
            refused: text_at(entry, "/error_state/details"),
            content: entry.get(member).cloned().unwrap_or_default(),
        };
        self.insert(resource_type, held);
    }

    /// What is in use comes first where a name is there in several stages.
    fn insert(&mut self, resource_type: ResourceType, mut held: Held) {
        let member = match resource_type {
            ResourceType::ClusterLoadAssignment => "cluster_name",
            _ => "name",
        };
        let Some(name) = text(&held.content, member) else { return };
        if let Ok(content) = config::of_envoy(resource_type, &name, held.content.clone()) {
            held.content = content;
        }
        let resources = self.resources.entry(label(resource_type)).or_default();
        if resources.get(&name).is_none_or(|other| held.stage < other.stage) {
            resources.insert(name, held);
        }
    }
}

/// The name of a type in documents and tables.
pub const fn label(resource_type: ResourceType) -> &'static str {
    match resource_type {
        ResourceType::Cluster => "CDS",
        ResourceType::ClusterLoadAssignment => "EDS",
        ResourceType::Secret => "SDS",
        ResourceType::Listener => "LDS",
        ResourceType::RouteConfiguration => "RDS",
        ResourceType::ScopedRouteConfiguration => "SRDS",
        ResourceType::VirtualHost => "VHDS",
        ResourceType::ExtensionConfig => "ECDS",
    }
}

fn items<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, member: &str) -> Option<String> {
    value.get(member).and_then(string)
}

fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(string)
}

fn string(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
