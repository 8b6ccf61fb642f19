//! A cluster as a unit: from its identity to the Envoy cluster and what that needs beside it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use postern_api::kgateway::Backend;

use super::tls_policy::{self, Trust};
use super::traffic_policy;
use super::{BackendObject, ClusterId, Security, external, service, static_backend};
use crate::Options;
use crate::dependency::Reader;
use crate::envoy::cluster::{self, Identity, Protection};
use crate::resource::Resource;
use crate::tls::authorities::BundleId;

/// An Envoy cluster.
pub(crate) struct ClusterOutput {
    pub(crate) resource: Arc<Resource>,
    /// The certificates of authorities that the cluster trusts, if they come as a secret.
    pub(crate) bundle: Option<BundleId>,
}

/// Translates a cluster; `None` if there is no such backend.
pub(crate) fn translate(reader: &Reader<'_>, id: &ClusterId, options: &Options) -> Option<ClusterOutput> {
    let key = id.backend.key();
    let budget = traffic_policy::on(reader, &key).retry_budget;
    match &id.backend {
        BackendObject::Service(_, number) => {
            let object = reader.get::<Service>(&key.namespace, &key.name)?;
            let ports = object.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
            let port = ports.iter().find(|port| service::serves(port, *number, id.transport()));
            let (protection, bundle) = protection(reader, id, port.and_then(|port| port.name.as_deref()));
            let ca = &options.system_ca_file;
            let resource = if external::is_external_name(object) {
                let host = external::name_of(object).ok()?;
                let host = external::endpoint(host, *number, id.security != Security::Cleartext);
                cluster::hosts_cluster(id, &[host], &protection, budget, ca)
            } else {
                cluster::service_cluster(id, &protection, budget, ca)
            };
            Some(ClusterOutput { resource, bundle })
        }
        BackendObject::Static(_) => {
            let object = reader.get::<Backend>(&key.namespace, &key.name)?;
            let backend = static_backend::parse(object).ok()?;
            let (protection, bundle) = protection(reader, id, None);
            let resource =
                cluster::hosts_cluster(id, &backend.hosts, &protection, budget, &options.system_ca_file);
            Some(ClusterOutput { resource, bundle })
        }
    }
}

/// How the connections of a cluster are protected, and the certificates of authorities for it.
fn protection(reader: &Reader<'_>, id: &ClusterId, port: Option<&str>) -> (Protection, Option<BundleId>) {
    if id.security == Security::Cleartext {
        return (Protection::None, None);
    }
    let identity = identity(reader, &id.security);
    let Some((_, policy)) = tls_policy::on(reader, &id.backend.key(), port).into_iter().next() else {
        return (Protection::Unspecified { identity }, None);
    };
    let Some(tls) = tls_policy::read(reader, policy).tls else { return (Protection::Refused, None) };
    let bundle = match &tls.trust {
        Trust::System => None,
        Trust::Bundle(bundle) => Some(bundle.clone()),
    };
    (Protection::Policy { tls: Box::new(tls), identity }, bundle)
}

/// The certificate that the Gateway shows, if it has one.
fn identity(reader: &Reader<'_>, security: &Security) -> Identity {
    let Security::Mutual(gateway) = security else { return None };
    reader.client_certificate(gateway)?.secret.clone()
}
