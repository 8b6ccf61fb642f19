//! The ConfigMap: how the Envoys start, and whom they trust.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use postern_translator::Infrastructure;
use postern_translator::infrastructure::{KubernetesParameters, ObjectParameters};
use sha2::{Digest, Sha256};

use super::super::labels::metadata;
use super::super::options::RenderOptions;
use super::RenderError;
use crate::bootstrap::{BOOTSTRAP_FILE, Bootstrap, CA_FILE, IDLE_SIGNAL_FILE, RUN_DIRECTORY};

/// What the Envoys of one Gateway read and are called with.
pub(super) struct Configuration {
    files: BTreeMap<String, String>,
    pub(super) arguments: Vec<String>,
}

impl Configuration {
    pub(super) fn new(
        infrastructure: &Infrastructure,
        options: &RenderOptions,
        parameters: Option<&KubernetesParameters>,
    ) -> Result<Self, RenderError> {
        let gateway = &infrastructure.gateway;
        let mut bootstrap = Bootstrap::in_cluster(&gateway.namespace, &gateway.name, &options.xds);
        // Whoever runs the proxies themselves gets the defaults, and has no directory of ours.
        if let Some(parameters) = parameters {
            bootstrap.idle_signal =
                parameters.pod.drain.map(|_| format!("{RUN_DIRECTORY}/{IDLE_SIGNAL_FILE}"));
            if let Some(in_cluster) = &mut bootstrap.in_cluster {
                in_cluster.stats.clone_from(&parameters.stats);
            }
        }
        Ok(Self { files: bootstrap.files()?, arguments: bootstrap.arguments() })
    }

    /// Changes when Envoy has to be started anew. What it reads again by itself, as certificates, does not count.
    pub(super) fn digest(&self) -> String {
        let bootstrap = self.files.get(BOOTSTRAP_FILE).map_or("", String::as_str);
        let digest: [u8; 32] = Sha256::digest(bootstrap).into();
        let beginning = digest.first_chunk().copied().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(beginning))
    }

    pub(super) fn config_map(
        &self,
        infrastructure: &Infrastructure,
        options: &RenderOptions,
        ca_bundle: &str,
    ) -> ConfigMap {
        let mut data = self.files.clone();
        data.insert(CA_FILE.to_owned(), ca_bundle.to_owned());
        ConfigMap {
            metadata: metadata(infrastructure, &options.controller_name, &ObjectParameters::default()),
            data: Some(data),
            ..ConfigMap::default()
        }
    }
}
