//! An object as it is, as far as its status goes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use kube::api::DynamicObject;
use postern_api::kgateway::ObjectStatus;
use postern_translator::{Conditions, Object, Status};
use serde_json::Value;

/// An object with its status; cheap to clone where it comes from the watch.
#[derive(Clone, Debug)]
pub(super) enum Present {
    /// From the watch: shared with the translator, and without fields that our types do not know.
    Watched(Object),
    /// As the API server answered, complete.
    Read(Box<DynamicObject>),
}

impl Present {
    pub(super) fn watched(object: Object) -> Self {
        Self::Watched(object)
    }

    pub(super) fn read(object: Box<DynamicObject>) -> Self {
        Self::Read(object)
    }

    /// Whether nothing was lost of what others wrote.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Read(_))
    }

    pub(super) fn uid(&self) -> Option<&str> {
        self.metadata().uid.as_deref()
    }

    pub(super) fn resource_version(&self) -> Option<&str> {
        self.metadata().resource_version.as_deref()
    }

    pub(super) fn generation(&self) -> Option<i64> {
        self.metadata().generation
    }

    /// The status; null if there is none.
    pub(super) fn status(&self) -> Value {
        match self {
            Self::Watched(object) => status(object),
            Self::Read(object) => object.data["status"].clone(),
        }
    }

    /// Whether the two are the same version of the same object.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.uid() == other.uid()
            && self.resource_version().is_some()
            && self.resource_version() == other.resource_version()
    }

    /// Whether this is a later version of the same object. Versions are compared as numbers, which Kubernetes permits
    /// since 1.35 and every API server has always borne out; if they are none, neither counts as newer, and the
    /// API server refuses a write that is based on an old one.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        let version =
            |present: &Self| present.resource_version().and_then(|version| version.parse::<u64>().ok());
        self.uid() == other.uid() && version(self).zip(version(other)).is_some_and(|(this, that)| this > that)
    }

    fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Watched(object) => object.metadata(),
            Self::Read(object) => object.meta(),
        }
    }
}

fn status(object: &Object) -> Value {
    let json = match object {
        Object::GatewayClass(o) => serde_json::to_value(&o.status),
        Object::Gateway(o) => serde_json::to_value(&o.status),
        Object::ListenerSet(o) => serde_json::to_value(&o.status),
        Object::HttpRoute(o) => serde_json::to_value(&o.status),
        Object::GrpcRoute(o) => serde_json::to_value(&o.status),
        Object::TlsRoute(o) => serde_json::to_value(&o.status),
        Object::TcpRoute(o) => serde_json::to_value(&o.status),
        Object::UdpRoute(o) => serde_json::to_value(&o.status),
        Object::BackendTlsPolicy(o) => serde_json::to_value(&o.status),
        Object::XBackend(o) => serde_json::to_value(&o.status),
        Object::XBackendTrafficPolicy(o) => serde_json::to_value(&o.status),
        Object::XTelemetryPolicy(o) => serde_json::to_value(&o.status),
        Object::TrafficPolicy(o) => serde_json::to_value(&o.status),
        Object::BackendConfigPolicy(o) => serde_json::to_value(&o.status),
        Object::Backend(o) => serde_json::to_value(&o.status),
        Object::DirectResponse(o) => serde_json::to_value(&o.status),
        Object::GatewayExtension(o) => serde_json::to_value(&o.status),
        Object::GatewayParameters(o) => serde_json::to_value(&o.status),
        Object::HttpListenerPolicy(o) => serde_json::to_value(&o.status),
        Object::AiBackend(o) => serde_json::to_value(&o.status),
        Object::Namespace(_)
        | Object::Service(_)
        | Object::Secret(_)
        | Object::ConfigMap(_)
        | Object::EndpointSlice(_)
        | Object::Pod(_)
        | Object::ServiceImport(_)
        | Object::ClusterTrustBundle(_)
        | Object::ReferenceGrant(_) => return Value::Null,
    };
    // Statuses are maps with string keys; there is nothing in them that JSON cannot say.
    json.unwrap_or_default()
}

/// The typed form of a status, of the kind that `like` is for; `None` if there is none that can be read.
pub(super) fn typed(like: &Status, status: Value) -> Option<Status> {
    match like {
        Status::GatewayClass(_) => serde_json::from_value(status).map(Status::GatewayClass),
        Status::Gateway(_) => serde_json::from_value(status).map(Status::Gateway),
        Status::ListenerSet(_) => serde_json::from_value(status).map(Status::ListenerSet),
        Status::Route(_) => serde_json::from_value(status).map(Status::Route),
        Status::Policy(_) => serde_json::from_value(status).map(Status::Policy),
        Status::Conditions(_) => serde_json::from_value(status)
            .map(|ObjectStatus { conditions }| Status::Conditions(Conditions { conditions })),
    }
    .ok()
}
