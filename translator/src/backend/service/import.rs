//! ServiceImport (GEP-1748, KEP-1645): a service that several clusters have together. It is a Service whose endpoints are elsewhere,
//! too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use postern_api::multicluster::{EndpointSliceObjects, ServiceImport, ServiceImportType};

use super::{Found, State, of_slices, port_name, resource};
use crate::backend::ClusterId;
use crate::dependency::Reader;
use crate::object::{Kind, NamespacedName, ObjectKey};
use crate::problem::Problems;
use crate::resource::Resource;

/// The ClusterLoadAssignment of a port of a ServiceImport: its EndpointSlices, or the addresses of the service where its provider makes
/// none, which is allowed.
pub(crate) fn endpoints(
    reader: &Reader<'_>,
    cluster: &ClusterId,
    name: &NamespacedName,
    port: u16,
) -> (Arc<Resource>, Problems) {
    let mut problems = Problems::default();
    let key = ObjectKey::new(Kind::ServiceImport, &name.namespace, &name.name);
    let mut found = Found::new();
    if let Some(import) = reader.get::<ServiceImport>(&name.namespace, &name.name)
        && let Some(port_name) = port_name(&import.spec.ports, port, cluster.transport())
    {
        let said = import.status.as_ref().and_then(|status| status.endpoint_slice_objects.as_ref());
        let (slices, endpoints) = of_slices(reader, &key, &port_name, port, &mut problems);
        found = match said {
            Some(EndpointSliceObjects::Absent) => addresses(import, port),
            Some(EndpointSliceObjects::Present) => endpoints,
            _ if slices == 0 => addresses(import, port),
            _ => endpoints,
        };
        if slices == 0 && found.is_empty() {
            problems.warning(
                &key,
                "spec.ips",
                "there is neither an EndpointSlice of this ServiceImport nor an address, so there is no endpoint",
                "look whether another cluster exports the service, and what its provider says",
            );
        }
    }
    (resource(cluster, found), problems)
}

/// The service as one endpoint, which leads on to all clusters; of two families the first one.
fn addresses(import: &ServiceImport, port: u16) -> Found {
    if import.spec.type_ == ServiceImportType::Headless {
        return BTreeMap::new();
    }
    let mut ips = import.spec.ips.iter().filter(|ip| ip.parse::<IpAddr>().is_ok());
    ips.next().map(|ip| ((ip.clone(), port), (State::Ready, String::new()))).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use prost::Message;

    use super::*;
    use crate::backend::service::endpoint_address;
    use crate::backend::{BackendObject, Security, Upstream};
    use crate::dependency::tests::{World, named};
    use crate::object::Object;
    use crate::store::Change;

    const PORTS: &str = "ports: [{name: http, port: 80}]";

    /// The endpoints of the import `a/s`, and how many problems there are.
    fn of(import: &str, slice: Option<&str>) -> (Vec<String>, usize) {
        let mut world = World::new(&[(Kind::ServiceImport, "a/s", import)]);
        if let Some(rest) = slice {
            let text = format!("{{metadata: {{namespace: a, name: x, {rest}}}");
            let read = Object::deserialize(Kind::EndpointSlice, serde_yaml::Deserializer::from_str(&text));
            world.store.apply(Change::Upsert(read.unwrap()));
        }
        let backend = BackendObject::Import(named("a/s"), 80);
        let cluster = ClusterId { backend, upstream: Upstream::Http1, security: Security::Cleartext };
        let (resource, problems) = endpoints(&world.reader(), &cluster, &named("a/s"), 80);
        let message = ClusterLoadAssignment::decode(resource.body.clone()).unwrap();
        assert_eq!(message.cluster_name, "import/a/s:80");
        let endpoints = message.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
        (endpoints.map(|it| endpoint_address(it).unwrap().to_string()).collect(), problems.iter().count())
    }

    /// Slices come first; where there are none, or the provider says that it makes none, the address of the service counts.
    #[test]
    fn slices_or_the_address_of_the_service() {
        let slice = "labels: {multicluster.kubernetes.io/service-name: s}}, addressType: IPv4, \
                     ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.9.0.1]}]";
        let local = slice.replace("multicluster.kubernetes.io", "kubernetes.io");
        let ips = format!("spec: {{type: ClusterSetIP, ips: [10.42.0.1, 'fd00::1'], {PORTS}}}");
        let headless = format!("spec: {{type: Headless, ips: [10.42.0.1], {PORTS}}}");
        let said = |word: &str| format!("{ips}, status: {{endpointSliceObjects: {word}}}");
        for (import, slice, endpoints, problems) in [
            (&ips, Some(slice), vec!["10.9.0.1:8080"], 0),
            (&ips, None, vec!["10.42.0.1:80"], 0),
            (&ips, Some(local.as_str()), vec!["10.42.0.1:80"], 0),
            (&said("Absent"), Some(slice), vec!["10.42.0.1:80"], 0),
            (&said("Present"), Some(slice), vec!["10.9.0.1:8080"], 0),
            (&said("Present"), None, vec![], 1),
            (&headless, Some(slice), vec!["10.9.0.1:8080"], 0),
            (&headless, None, vec![], 1),
            (&format!("spec: {{{PORTS}}}"), None, vec![], 1),
            (&"spec: {ports: [{port: 81}], ips: [10.42.0.1]}".to_owned(), None, vec![], 0),
        ] {
            let expected = endpoints.into_iter().map(ToOwned::to_owned).collect();
            assert_eq!(of(import, slice), (expected, problems), "{import} with {slice:?}");
        }
    }
}
