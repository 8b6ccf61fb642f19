//! From what a Gateway needs to the objects that give it. Pure: equal input gives equal objects.

mod config_map;
mod container;
mod pod;
mod scaling;
mod service;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_translator::Infrastructure;
use postern_translator::infrastructure::{KubernetesParameters, ObjectParameters, ProxyParameters, Replicas};

use self::config_map::Configuration;
use super::labels::{label_selector, metadata};
use super::objects::{Objects, Wanted};
use super::options::RenderOptions;

/// Why there are no objects.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The bootstrap of Envoy cannot be written down.
    #[error("cannot write the bootstrap of Envoy: {0}")]
    Bootstrap(#[from] serde_yaml::Error),
    /// An object cannot be written down.
    #[error("cannot write an object: {0}")]
    Object(#[from] serde_json::Error),
}

/// The objects of one Gateway. `ca_bundle` are the certificates (PEM) by which its proxies know the control plane.
pub fn render(
    infrastructure: &Infrastructure,
    options: &RenderOptions,
    ca_bundle: &str,
) -> Result<Objects, RenderError> {
    let parameters = match &infrastructure.parameters {
        ProxyParameters::Kubernetes(parameters) => Some(&**parameters),
        ProxyParameters::SelfManaged => None,
        ProxyParameters::Invalid => return Ok(Objects::unknown()),
    };
    let configuration = Configuration::new(infrastructure, options, parameters)?;
    let account = parameters.map(|it| it.service_account.clone()).unwrap_or_default();
    let mut objects = Objects {
        service_account: service_account(infrastructure, options, &account).into(),
        config_map: configuration.config_map(infrastructure, options, ca_bundle).into(),
        deployment: Wanted::Nothing,
        autoscaler: Wanted::Nothing,
        disruption_budget: Wanted::Nothing,
        service: Wanted::Nothing,
    };
    if let Some(parameters) = parameters {
        objects.deployment = deployment(infrastructure, options, parameters, &configuration).into();
        objects.service = service::service(infrastructure, options, &parameters.service);
        if let Replicas::Automatic(autoscaler) = &parameters.replicas {
            objects.autoscaler = scaling::autoscaler(infrastructure, options, autoscaler).into();
        }
        if let Some(budget) = &parameters.disruption_budget {
            objects.disruption_budget = scaling::disruption_budget(infrastructure, options, budget).into();
        }
    }
    Ok(objects)
}

impl Objects {
    /// What is there stays as it is.
    fn unknown() -> Self {
        Self {
            service_account: Wanted::Unknown,
            config_map: Wanted::Unknown,
            deployment: Wanted::Unknown,
            autoscaler: Wanted::Unknown,
            disruption_budget: Wanted::Unknown,
            service: Wanted::Unknown,
        }
    }
}

fn service_account(
    infrastructure: &Infrastructure,
    options: &RenderOptions,
    own: &ObjectParameters,
) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(infrastructure, &options.controller_name, own),
        // Proxies have no business with the API server.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

fn deployment(
    infrastructure: &Infrastructure,
    options: &RenderOptions,
    parameters: &KubernetesParameters,
    configuration: &Configuration,
) -> Deployment {
    // A new proxy serves before an old one goes.
    let strategy = || DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::String("25%".to_owned())),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    };
    Deployment {
        metadata: metadata(infrastructure, &options.controller_name, &ObjectParameters::default()),
        spec: Some(DeploymentSpec {
            replicas: match parameters.replicas {
                Replicas::Fixed(replicas) => Some(replicas),
                Replicas::Unmanaged | Replicas::Automatic(_) => None,
            },
            selector: label_selector(infrastructure),
            strategy: Some(parameters.strategy.clone().unwrap_or_else(strategy)),
            template: pod::template(infrastructure, options, parameters, configuration),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests;
