//! The objects that translation reads, under one roof: [`Object`], [`Kind`], [`ObjectKey`].

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_api::gateway_api::{
    BackendTlsPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant, TcpRoute,
    TlsRoute, UdpRoute, XBackend, XBackendTrafficPolicy, XTelemetryPolicy,
};
use postern_api::kgateway::{
    AiBackend, Backend, BackendConfigPolicy, DirectResponse, GatewayExtension, GatewayParameters,
    HttpListenerPolicy, TrafficPolicy,
};
use postern_api::kubernetes::ClusterTrustBundle;
use postern_api::multicluster::ServiceImport;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

mod read;

pub(crate) use self::read::read as read_value;
pub use self::read::{Read, ReadError, UnknownField};

/// A namespace and a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl NamespacedName {
    /// A new pair.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// The identity of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind, which implies the group.
    pub kind: Kind,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// A new key.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Namespace and name without the kind.
    pub fn namespaced_name(&self) -> NamespacedName {
        NamespacedName::new(&self.namespace, &self.name)
    }
}

/// `HTTPRoute default/web`, as a person would say it.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.namespaced_name())
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("ObjectKey", 3)?;
        out.serialize_field("kind", self.kind.as_str())?;
        if self.namespace.is_empty() {
            out.skip_field("namespace")?;
        } else {
            out.serialize_field("namespace", &self.namespace)?;
        }
        out.serialize_field("name", &self.name)?;
        out.end()
    }
}

/// A Kubernetes type that the translator can hold.
pub trait Stored: Sized {
    /// Its kind.
    const KIND: Kind;
    /// The typed content of `object`, if it is of this kind.
    fn of(object: &Object) -> Option<&Arc<Self>>;
}

macro_rules! kinds {
    ($($kind:ident($ty:ty) = $name:literal in $group:literal [$($version:literal)+] $scope:ident;)+) => {
        /// Every kind that the translator reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "` of group `", $group, "`.")] $kind,)+
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The name of the kind, such as `HTTPRoute`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The API group; empty for the core group.
            pub const fn group(self) -> &'static str {
                match self { $(Self::$kind => $group,)+ }
            }

            /// The served versions that are understood, the preferred one first.
            pub const fn versions(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$($version),+],)+ }
            }

            /// True if objects of the kind live in a namespace.
            pub const fn is_namespaced(self) -> bool {
                match self { $(Self::$kind => kinds!(@scope $scope),)+ }
            }
        }

        /// One object, whatever its kind; cheap to clone.
        #[derive(Clone, Debug)]
        pub enum Object {
            $(#[doc = concat!("A `", $name, "`.")] $kind(Arc<$ty>),)+
        }

        impl Object {
            /// The kind of the object.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)+ }
            }

            /// The metadata of the object.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata,)+ }
            }

            /// The metadata of the object, to be changed; an object that is shared is copied first.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Self::$kind(object) => &mut Arc::make_mut(object).metadata,)+ }
            }

            /// Reads an object of `kind`. Objects are kept for long, so what reading left in spare capacity is
            /// given back by a copy.
            pub fn read(kind: Kind, json: &Value) -> Read<Self> {
                match kind {
                    $(Kind::$kind => read::read::<$ty>(json).map(|read| Self::$kind(Arc::new(read.clone()))),)+
                }
            }
        }

        $(
            impl Stored for $ty {
                const KIND: Kind = Kind::$kind;
                fn of(object: &Object) -> Option<&Arc<Self>> {
                    match object { Object::$kind(inner) => Some(inner), _ => None }
                }
            }

            impl From<$ty> for Object {
                fn from(object: $ty) -> Self {
                    Self::$kind(Arc::new(object))
                }
            }
        )+
    };
    (@scope Cluster) => { false };
    (@scope Namespaced) => { true };
}

impl Object {
    /// Reads an object of `kind` from any format. Unknown fields are ignored; [`Object::read`] tells of them.
    pub fn deserialize<'de, D: Deserializer<'de>>(kind: Kind, from: D) -> Result<Self, D::Error> {
        Self::read(kind, &Value::deserialize(from)?).result.map_err(D::Error::custom)
    }
}

kinds! {
    Namespace(Namespace) = "Namespace" in "" ["v1"] Cluster;
    Service(Service) = "Service" in "" ["v1"] Namespaced;
    Secret(Secret) = "Secret" in "" ["v1"] Namespaced;
    ConfigMap(ConfigMap) = "ConfigMap" in "" ["v1"] Namespaced;
    EndpointSlice(EndpointSlice) = "EndpointSlice" in "discovery.k8s.io" ["v1"] Namespaced;
    Pod(Pod) = "Pod" in "" ["v1"] Namespaced;
    ClusterTrustBundle(ClusterTrustBundle) = "ClusterTrustBundle" in "certificates.k8s.io" ["v1" "v1beta1"] Cluster;
    GatewayClass(GatewayClass) = "GatewayClass" in "gateway.networking.k8s.io" ["v1" "v1beta1"] Cluster;
    Gateway(Gateway) = "Gateway" in "gateway.networking.k8s.io" ["v1" "v1beta1"] Namespaced;
    ListenerSet(ListenerSet) = "ListenerSet" in "gateway.networking.k8s.io" ["v1"] Namespaced;
    HttpRoute(HttpRoute) = "HTTPRoute" in "gateway.networking.k8s.io" ["v1" "v1beta1"] Namespaced;
    GrpcRoute(GrpcRoute) = "GRPCRoute" in "gateway.networking.k8s.io" ["v1"] Namespaced;
    TlsRoute(TlsRoute) = "TLSRoute" in "gateway.networking.k8s.io" ["v1" "v1alpha3" "v1alpha2"] Namespaced;
    TcpRoute(TcpRoute) = "TCPRoute" in "gateway.networking.k8s.io" ["v1" "v1alpha2"] Namespaced;
    UdpRoute(UdpRoute) = "UDPRoute" in "gateway.networking.k8s.io" ["v1" "v1alpha2"] Namespaced;
    ReferenceGrant(ReferenceGrant) = "ReferenceGrant" in "gateway.networking.k8s.io" ["v1" "v1beta1"] Namespaced;
    BackendTlsPolicy(BackendTlsPolicy) = "BackendTLSPolicy" in "gateway.networking.k8s.io" ["v1" "v1alpha3"] Namespaced;
    XBackend(XBackend) = "XBackend" in "gateway.networking.x-k8s.io" ["v1alpha1"] Namespaced;
    XBackendTrafficPolicy(XBackendTrafficPolicy) = "XBackendTrafficPolicy" in "gateway.networking.x-k8s.io" ["v1alpha1"] Namespaced;
    XTelemetryPolicy(XTelemetryPolicy) = "XTelemetryPolicy" in "gateway.networking.x-k8s.io" ["v1alpha1"] Namespaced;
    ServiceImport(ServiceImport) = "ServiceImport" in "multicluster.x-k8s.io" ["v1beta1" "v1alpha1"] Namespaced;
    TrafficPolicy(TrafficPolicy) = "TrafficPolicy" in "gateway.kgateway.dev" ["v1alpha1"] Namespaced;
    Backend(Backend) = "Backend" in "gateway.kgateway.dev" ["v1alpha1"] Namespaced;
    BackendConfigPolicy(BackendConfigPolicy) = "BackendConfigPolicy" in "gateway.kgateway.dev" ["v1alpha1"] Namespaced;
    DirectResponse(DirectResponse) = "DirectResponse" in "gateway.kgateway.dev" ["v1alpha1"] Namespaced;
    GatewayExtension(GatewayExtension) = "GatewayExtension" in "gateway.kgateway.dev" ["v1alpha1"] Namespaced;
    GatewayParameters(GatewayParameters) = "GatewayParameters" in "gateway.kgateway.dev" ["v1alpha1"] Namespaced;
    HttpListenerPolicy(HttpListenerPolicy) = "HTTPListenerPolicy" in "gateway.kgateway.dev" ["v1alpha1"] Namespaced;
    AiBackend(AiBackend) = "AIBackend" in "gateway.kgateway.dev" ["v1alpha1"] Namespaced;
}

impl Kind {
    /// The kind that a document with these `apiVersion` and `kind` has; `None` if it is not read.
    pub fn from_gvk(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let found = Self::from_group_kind(group, kind)?;
        found.versions().contains(&version).then_some(found)
    }

    /// The kind of a reference by group and kind, whatever the version.
    pub fn from_group_kind(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.group() == group && k.as_str() == kind)
    }

    /// True if translation reads what other controllers say in the status of such objects.
    pub const fn status_is_read(self) -> bool {
        matches!(self, Self::Pod | Self::ServiceImport)
    }

    /// The preferred `apiVersion`.
    pub fn api_version(self) -> String {
        let version = self.versions()[0];
        if self.group().is_empty() { version.to_owned() } else { format!("{}/{version}", self.group()) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Object {
    /// The identity of the object.
    pub fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        let namespace = if self.kind().is_namespaced() {
            metadata.namespace.clone().unwrap_or_default()
        } else {
            String::new()
        };
        ObjectKey { kind: self.kind(), namespace, name: metadata.name.clone().unwrap_or_default() }
    }
}

/// The kinds whose specification bears `metadata.generation` and whose status is not read: whoever writes statuses
/// hears of each of them again.
macro_rules! same_spec {
    ($a:expr, $b:expr; $($kind:ident)+) => {
        match ($a, $b) {
            $((Object::$kind(a), Object::$kind(b)) => a.spec == b.spec,)+
            // Of a Pod only the status is read; its kubelet writes often, and mostly what nobody here reads.
            (Object::Pod(a), Object::Pod(b)) => a.status == b.status,
            _ => false,
        }
    };
}

impl Object {
    /// True if translation cannot tell the two apart: they differ in status, managed fields and resource version at most.
    /// A recreated object is another one. The specifications are compared as well as their generations, because in a file
    /// somebody may change the one without the other.
    pub(crate) fn is_same_but_status(&self, other: &Self) -> bool {
        let (a, b) = (self.metadata(), other.metadata());
        a.generation == b.generation
            && a.uid == b.uid
            && a.creation_timestamp == b.creation_timestamp
            && a.deletion_timestamp == b.deletion_timestamp
            && a.labels == b.labels
            && a.annotations == b.annotations
            && same_spec!(self, other; GatewayClass Gateway ListenerSet HttpRoute GrpcRoute TlsRoute TcpRoute UdpRoute
                ReferenceGrant BackendTlsPolicy XBackend XBackendTrafficPolicy XTelemetryPolicy TrafficPolicy Backend
                DirectResponse GatewayExtension GatewayParameters HttpListenerPolicy AiBackend BackendConfigPolicy)
    }
}

/// Creation order, then namespace and name: the order in which the Gateway API breaks ties.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Age {
    created: Option<k8s_openapi::jiff::Timestamp>,
    key: NamespacedName,
}

impl Age {
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        Self {
            created: metadata.creation_timestamp.as_ref().map(|t| t.0),
            key: NamespacedName::new(
                metadata.namespace.clone().unwrap_or_default(),
                metadata.name.clone().unwrap_or_default(),
            ),
        }
    }

    /// The object of `kind` whose age this is.
    pub(crate) fn key(&self, kind: Kind) -> ObjectKey {
        ObjectKey::new(kind, &self.key.namespace, &self.key.name)
    }
}
