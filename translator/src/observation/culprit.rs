//! From the name of a refused resource to the object that it was made of.

use crate::envoy::listener;
use crate::envoy::scope::ScopeId;
use crate::infrastructure::Port;
use crate::object::{Kind, ObjectKey};
use crate::resource::ResourceType;
use crate::tls::secret::SecretId;

/// What a resource was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Culprit {
    /// One object.
    Object(ObjectKey),
    /// The routes of a host.
    Routes(ScopeId),
    /// A route of connections.
    Route(ObjectKey),
    /// The route that has a port.
    Winner(Port),
    /// The Gateway itself.
    Gateway,
}

/// What the resource with this name was made of.
pub(crate) fn culprit(resource_type: ResourceType, name: &str) -> Culprit {
    let found = match resource_type {
        ResourceType::Cluster | ResourceType::ClusterLoadAssignment => {
            match listener::stream::port_of(name) {
                Some(port) => Some(Culprit::Winner(port)),
                None => cluster(name).map(Culprit::Object),
            }
        }
        ResourceType::ExtensionConfig => {
            let made_of = |(port, route): (_, Option<_>)| route.map_or(Culprit::Winner(port), Culprit::Route);
            listener::stream::made_of(name).map(made_of)
        }
        ResourceType::Secret => {
            SecretId::object_of(name).or_else(|| object(Kind::Secret, name)).map(Culprit::Object)
        }
        ResourceType::ScopedRouteConfiguration | ResourceType::RouteConfiguration => {
            ScopeId::parse(name).map(Culprit::Routes)
        }
        ResourceType::Listener => None,
    };
    found.unwrap_or(Culprit::Gateway)
}

fn cluster(name: &str) -> Option<ObjectKey> {
    let name = name.split_once('~').map_or(name, |(name, _)| name);
    if let Some(backend) = name.strip_prefix("backend/").filter(|rest| rest.contains('/')) {
        return object(Kind::Backend, backend);
    }
    if let Some(backend) = name.strip_prefix("xbackend/").filter(|rest| rest.contains('/')) {
        return object(Kind::XBackend, backend);
    }
    let name = name.rsplit_once(':')?.0;
    if let Some(import) = name.strip_prefix("import/").filter(|rest| rest.contains('/')) {
        return object(Kind::ServiceImport, import);
    }
    object(Kind::Service, name)
}

fn object(kind: Kind, name: &str) -> Option<ObjectKey> {
    let (namespace, name) = name.split_once('/')?;
    Some(ObjectKey::new(kind, namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{BackendObject, ClusterId, Security, Upstream};
    use crate::object::NamespacedName;

    #[test]
    fn names_lead_back_to_objects() {
        let name = |name| NamespacedName::new("backend", name);
        let mutual = Security::Mutual(Box::new(name("g")));
        for (upstream, security) in [
            (Upstream::Http1, Security::Cleartext),
            (Upstream::Http2, Security::Tls),
            (Upstream::Http1, mutual),
        ] {
            let backend = BackendObject::Service(name("s"), 80);
            let service = ClusterId { backend, upstream, security: security.clone() };
            let found = culprit(ResourceType::ClusterLoadAssignment, &service.name());
            assert_eq!(found, Culprit::Object(ObjectKey::new(Kind::Service, "backend", "s")));
            let backend = BackendObject::Import(name("i"), 80);
            let import = ClusterId { backend, upstream, security: security.clone() };
            let found = culprit(ResourceType::Cluster, &import.name());
            assert_eq!(found, Culprit::Object(ObjectKey::new(Kind::ServiceImport, "backend", "i")));
            let backend = BackendObject::XBackend(name("x"));
            let own = ClusterId { backend, upstream, security: security.clone() };
            let found = culprit(ResourceType::Cluster, &own.name());
            assert_eq!(found, Culprit::Object(ObjectKey::new(Kind::XBackend, "backend", "x")));
            let backend = ClusterId { backend: BackendObject::Static(name("b")), upstream, security };
            let found = culprit(ResourceType::Cluster, &backend.name());
            assert_eq!(found, Culprit::Object(ObjectKey::new(Kind::Backend, "backend", "b")));
        }
        assert_eq!(
            culprit(ResourceType::Secret, "a/cert"),
            Culprit::Object(ObjectKey::new(Kind::Secret, "a", "cert"))
        );
        assert_eq!(
            culprit(ResourceType::Secret, "ca/configmap/a/root,secret/b/other"),
            Culprit::Object(ObjectKey::new(Kind::ConfigMap, "a", "root"))
        );
        assert_eq!(
            culprit(ResourceType::Secret, "client/a/cert"),
            Culprit::Object(ObjectKey::new(Kind::Secret, "a", "cert"))
        );
        assert_eq!(
            culprit(ResourceType::Secret, "ca/cert"),
            Culprit::Object(ObjectKey::new(Kind::Secret, "ca", "cert")),
            "a Secret in a namespace of that name"
        );
        for scope in [ScopeId::Host(80, "a.example".to_owned()), ScopeId::Wildcards(443)] {
            let found = culprit(ResourceType::ScopedRouteConfiguration, &scope.name());
            assert_eq!(found, Culprit::Routes(scope));
        }
        assert_eq!(culprit(ResourceType::Listener, "80/tcp"), Culprit::Gateway);
        for resource_type in [ResourceType::Cluster, ResourceType::ClusterLoadAssignment] {
            assert_eq!(culprit(resource_type, "53/udp"), Culprit::Winner(Port::udp(53)));
        }
        let config = |name| culprit(ResourceType::ExtensionConfig, name);
        assert_eq!(config("9300/tcp"), Culprit::Winner(Port::tcp(9300)));
        assert_eq!(
            config("443/tls/*.example.com/tlsroute/shop/a"),
            Culprit::Route(ObjectKey::new(Kind::TlsRoute, "shop", "a"))
        );
        assert_eq!(
            config("443/tls/*/tcproute/shop/a"),
            Culprit::Route(ObjectKey::new(Kind::TcpRoute, "shop", "a"))
        );
        assert_eq!(config("443/tls/*"), Culprit::Gateway);
        assert_eq!(culprit(ResourceType::Cluster, "what is this"), Culprit::Gateway);
    }
}
