//! What a golden says of the cluster around it, in `options.yaml` beside `input.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postern_translator::{NamespacedName, Options, ProxyReport, ResourceType, Translator};
use serde::Deserialize;

/// The version of Envoy listeners that a proxy holds although there is a newer one.
const EARLIER: &str = "earlier";

/// `options.yaml`; without it, objects come from files.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Cluster {
    await_proxies: bool,
    provision: bool,
    reserved_ports: BTreeSet<u16>,
    bundle_version: Option<String>,
    experimental: bool,
    /// The connected proxies of each Gateway (`namespace/name`).
    proxies: BTreeMap<String, Vec<Proxy>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Proxy {
    /// Envoy listeners that it holds in their present version.
    holds: BTreeSet<String>,
    /// Envoy listeners that it holds in an earlier version.
    holds_earlier: BTreeSet<String>,
    refuses: Vec<Refusal>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refusal {
    #[serde(rename = "type")]
    type_: String,
    name: String,
    error: String,
}

impl Cluster {
    /// Reads `options.yaml` in `folder`, if it is there.
    pub(crate) fn load(folder: &Path) -> Self {
        match std::fs::read_to_string(folder.join("options.yaml")) {
            Ok(text) => serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", folder.display())),
            Err(_) => Self::default(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            await_proxies: self.await_proxies,
            provision: self.provision,
            reserved_ports: self.reserved_ports.clone(),
            bundle_version: self.bundle_version.clone(),
            experimental: self.experimental,
            ..Options::default()
        }
    }

    /// Lets the proxies answer what `translator` made.
    pub(crate) fn observe(&self, translator: &mut Translator) {
        for (gateway, proxies) in &self.proxies {
            let (namespace, name) = gateway.split_once('/').expect("namespace/name");
            let gateway = NamespacedName::new(namespace, name);
            let listeners =
                translator.resources(&gateway).filter(|r| r.resource_type == ResourceType::Listener);
            let versions: BTreeMap<String, String> =
                listeners.map(|r| (r.name.clone(), r.version.clone())).collect();
            let mut report = ProxyReport::default();
            for proxy in proxies {
                let present = proxy.holds.iter().map(|name| {
                    let version =
                        versions.get(name).unwrap_or_else(|| panic!("{gateway}: no listener {name}"));
                    (name.as_str(), version.as_str())
                });
                let earlier = proxy.holds_earlier.iter().map(|name| (name.as_str(), EARLIER));
                let refused = proxy.refuses.iter().map(|refusal| {
                    let found = ResourceType::ALL.into_iter().find(|t| t.short_name() == refusal.type_);
                    (found.expect("a resource type"), refusal.name.as_str(), refusal.error.as_str())
                });
                report.add(present.chain(earlier), refused);
            }
            translator.observe(&gateway, report);
        }
        translator.translate();
    }
}
