//! The objects of one Gateway.

use std::fmt;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ApiResource;
use serde::Serialize;
use serde_json::Value;

/// A kind of generated objects, in the order in which they are applied: pods need the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Who the proxies are.
    ServiceAccount,
    /// How the proxies start, and whom they trust.
    ConfigMap,
    /// The proxies.
    Deployment,
    /// How many proxies there are.
    HorizontalPodAutoscaler,
    /// How many proxies may be away.
    PodDisruptionBudget,
    /// How the proxies are reached.
    Service,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
        Self::PodDisruptionBudget,
        Self::Service,
    ];

    /// How the API server knows it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is wanted of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted<T> {
    /// This object.
    Object(Box<T>),
    /// No object; one of ours is deleted.
    Nothing,
    /// Whatever is there now: what is wanted cannot be said, and what serves shall go on serving.
    Unknown,
}

impl<T: Serialize> Wanted<T> {
    fn manifest(&self) -> Result<Wanted<Value>, serde_json::Error> {
        Ok(match self {
            Self::Object(object) => Wanted::Object(Box::new(serde_json::to_value(object)?)),
            Self::Nothing => Wanted::Nothing,
            Self::Unknown => Wanted::Unknown,
        })
    }
}

impl<T> From<T> for Wanted<T> {
    fn from(object: T) -> Self {
        Self::Object(Box::new(object))
    }
}

/// The objects of one Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// Who the proxies are.
    pub service_account: Wanted<ServiceAccount>,
    /// The bootstrap of the Envoys, and the certificates that they trust.
    pub config_map: Wanted<ConfigMap>,
    /// The proxies.
    pub deployment: Wanted<Deployment>,
    /// How many proxies there are.
    pub autoscaler: Wanted<HorizontalPodAutoscaler>,
    /// How many proxies may be away.
    pub disruption_budget: Wanted<PodDisruptionBudget>,
    /// How the proxies are reached.
    pub service: Wanted<Service>,
}

impl Objects {
    /// All objects as the API server takes them, in the order in which they are applied.
    pub fn manifests(&self) -> Result<[(ObjectKind, Wanted<Value>); 6], serde_json::Error> {
        Ok([
            (ObjectKind::ServiceAccount, self.service_account.manifest()?),
            (ObjectKind::ConfigMap, self.config_map.manifest()?),
            (ObjectKind::Deployment, self.deployment.manifest()?),
            (ObjectKind::HorizontalPodAutoscaler, self.autoscaler.manifest()?),
            (ObjectKind::PodDisruptionBudget, self.disruption_budget.manifest()?),
            (ObjectKind::Service, self.service.manifest()?),
        ])
    }
}
