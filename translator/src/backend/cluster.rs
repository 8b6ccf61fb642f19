//! A cluster as a unit: from its identity to the Envoy cluster and what that needs beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use postern_api::gateway_api::XBackend;
use postern_api::kgateway::Backend;
use postern_api::multicluster::ServiceImport;

use super::config::{self, Tls};
use super::tls_policy::{self, Reading, Trust};
use super::traffic_policy;
use super::x_backend::{self, Destination};
use super::{BackendObject, ClusterId, Security, external, forward_proxy, service, static_backend};
use crate::Options;
use crate::dependency::Reader;
use crate::envoy::cluster::forward_proxy::forward_proxy_cluster;
use crate::envoy::cluster::{self, Identity, Protection, Settings};
use crate::resource::Resource;
use crate::tls::secret::SecretId;

/// An Envoy cluster.
pub(crate) struct ClusterOutput {
    pub(crate) resource: Arc<Resource>,
    /// The secrets that the cluster names and that are not a Gateway's own.
    pub(crate) secrets: BTreeSet<SecretId>,
}

/// Translates a cluster; `None` if there is no such backend.
pub(crate) fn translate(reader: &Reader<'_>, id: &ClusterId, options: &Options) -> Option<ClusterOutput> {
    if id.backend == BackendObject::ForwardProxy {
        let denied = forward_proxy::denied(options.provision, &options.forward_proxy_denied);
        let identity = identity(reader, &id.security);
        let resource = forward_proxy_cluster(id, &identity, &denied, &options.system_ca_file);
        return Some(ClusterOutput { resource, secrets: BTreeSet::new() });
    }
    let key = id.backend.key();
    let config::Effective { fields, tls } = config::on(reader, &key);
    let settings = Settings { budget: traffic_policy::on(reader, &key).retry_budget, config: fields };
    match &id.backend {
        BackendObject::Service(_, number) => {
            let object = reader.get::<Service>(&key.namespace, &key.name)?;
            let ports = object.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
            let port = ports.iter().find(|port| service::serves(port, *number, id.transport()));
            let (protection, secrets) = protection(
                reader,
                id,
                port.and_then(|port| port.name.as_deref()),
                &tls,
                external::is_external_name(object),
            );
            let ca = &options.system_ca_file;
            let resource = if external::is_external_name(object) {
                let host = external::name_of(object).ok()?;
                let host = external::endpoint(host, *number, id.security != Security::Cleartext);
                cluster::hosts_cluster(id, &[host], &protection, &settings, options)
            } else {
                cluster::eds_cluster(id, &protection, &settings, ca)
            };
            Some(ClusterOutput { resource, secrets })
        }
        BackendObject::Import(_, number) => {
            let object = reader.get::<ServiceImport>(&key.namespace, &key.name)?;
            let port = object.spec.ports.iter().find(|port| service::serves(port, *number, id.transport()));
            let (protection, secrets) =
                protection(reader, id, port.and_then(|port| port.name.as_deref()), &tls, false);
            let resource = cluster::eds_cluster(id, &protection, &settings, &options.system_ca_file);
            Some(ClusterOutput { resource, secrets })
        }
        BackendObject::Static(_) => {
            let object = reader.get::<Backend>(&key.namespace, &key.name)?;
            let backend = static_backend::parse(object, options.provision).ok()?;
            let (protection, secrets) = protection(reader, id, None, &tls, true);
            let resource = cluster::hosts_cluster(id, &backend.hosts, &protection, &settings, options);
            Some(ClusterOutput { resource, secrets })
        }
        BackendObject::XBackend(_) => {
            let object = reader.get::<XBackend>(&key.namespace, &key.name)?;
            let parsed = x_backend::parse(object).ok()?;
            let (protection, secrets) = own_protection(reader, id, object);
            let ca = &options.system_ca_file;
            let resource = match parsed.destination {
                Destination::Pods(_) => cluster::eds_cluster(id, &protection, &settings, ca),
                Destination::Host(name) => {
                    let host = external::endpoint(name, parsed.port, false);
                    cluster::hosts_cluster(id, &[host], &protection, &settings, options)
                }
            };
            Some(ClusterOutput { resource, secrets })
        }
        BackendObject::ForwardProxy => None,
    }
}

/// How the connections of a cluster are protected, and the certificates of authorities for it.
fn protection(
    reader: &Reader<'_>,
    id: &ClusterId,
    port: Option<&str>,
    config: &Tls,
    hosts_have_names: bool,
) -> (Protection, BTreeSet<SecretId>) {
    if id.security == Security::Cleartext {
        return (Protection::None, BTreeSet::new());
    }
    let identity = identity(reader, &id.security);
    let Some((_, policy)) = tls_policy::on(reader, &id.backend.key(), port).into_iter().next() else {
        return match config {
            Tls::Unsaid => (Protection::Unspecified { identity }, BTreeSet::new()),
            Tls::Refused => (Protection::Refused, BTreeSet::new()),
            Tls::Wanted(policy, settings) => {
                match config::tls::read(reader, policy, settings, hosts_have_names) {
                    Ok(found) => {
                        let identity = found.identity.unwrap_or(identity);
                        let protection = Protection::Policy { tls: Box::new(found.tls), identity };
                        (protection, found.secrets.into_iter().collect())
                    }
                    Err(_) => (Protection::Refused, BTreeSet::new()),
                }
            }
        };
    };
    as_read(tls_policy::read(reader, policy), identity)
}

/// The same of an XBackend, whose own certificate comes before that of a Gateway.
fn own_protection(
    reader: &Reader<'_>,
    id: &ClusterId,
    backend: &XBackend,
) -> (Protection, BTreeSet<SecretId>) {
    let Some(own) = x_backend::tls::read(reader, backend).filter(|_| id.security != Security::Cleartext)
    else {
        return (Protection::None, BTreeSet::new());
    };
    let Some(secret) = own.identity.map(SecretId::Client) else {
        return as_read(own.reading, identity(reader, &id.security));
    };
    let (protection, mut secrets) = as_read(own.reading, Identity::Secret(secret.name()));
    if protection != Protection::Refused {
        secrets.insert(secret);
    }
    (protection, secrets)
}

fn as_read(reading: Reading, identity: Identity) -> (Protection, BTreeSet<SecretId>) {
    let Some(tls) = reading.tls else { return (Protection::Refused, BTreeSet::new()) };
    let secrets = match &tls.trust {
        Trust::System | Trust::File(_) | Trust::Anybody => BTreeSet::new(),
        Trust::Bundle(bundle) => [SecretId::Authorities(bundle.clone())].into(),
    };
    (Protection::Policy { tls: Box::new(tls), identity }, secrets)
}

/// The certificate that the Gateway shows, if it has one.
fn identity(reader: &Reader<'_>, security: &Security) -> Identity {
    let Security::Mutual(gateway) = security else { return Identity::None };
    let shown = reader.client_certificate(gateway).and_then(|it| it.secret.clone());
    shown.map_or(Identity::None, Identity::Secret)
}
