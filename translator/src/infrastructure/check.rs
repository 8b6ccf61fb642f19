//! What is wrong with GatewayParameters.
//!
//! [`object`] judges one object on its own, [`whole`] what only the merge of those of the class and of the Gateway can say.
//! Checked is what can be known without a cluster; the rest is said by the API server when the objects are applied.

mod container;
mod pod;
mod scaling;
mod service;
mod whole;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_api::kgateway::{
    DeploymentParameters, GatewayParametersSpec, KubernetesParameters, MetadataParameters,
};

pub(super) use self::whole::whole;
use super::metadata;
use crate::problem::Fault;

/// Collects faults; fields are relative to `spec`.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Fault>);

impl Checks {
    pub(super) fn fault(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Fault::new(field, message, remedy));
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.0
    }

    /// A value of a list.
    fn one_of(&mut self, field: impl Into<String>, value: Option<&str>, known: &[&str]) {
        if let Some(value) = value.filter(|value| !known.contains(value)) {
            self.fault(field, format!("{value:?} is not a value"), format!("use {}", listed(known)));
        }
    }

    fn within(&mut self, field: impl Into<String>, value: Option<i64>, least: i64, most: i64) {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            let remedy = match most {
                _ if most == least => format!("use {least}"),
                _ if most >= i64::from(i32::MAX) => format!("use {least} or more"),
                _ => format!("use a number from {least} to {most}"),
            };
            self.fault(field, format!("{value} is out of range"), remedy);
        }
    }

    /// A whole number that is not negative, or a percentage.
    fn share(&mut self, field: impl Into<String>, value: Option<&IntOrString>) {
        let fine = match value {
            None => true,
            Some(IntOrString::Int(number)) => *number >= 0,
            Some(IntOrString::String(text)) => percent(text).is_some(),
        };
        if !fine {
            let text = match value {
                Some(IntOrString::Int(number)) => number.to_string(),
                Some(IntOrString::String(text)) => format!("{text:?}"),
                None => String::new(),
            };
            self.fault(
                field,
                format!("{text} is neither a number of pods nor a percentage"),
                "write a number such as 1, or a percentage such as 25%",
            );
        }
    }

    /// No two values of a list are the same.
    fn unique<'a, T: Ord + std::fmt::Display>(
        &mut self,
        field: &str,
        name: &str,
        values: impl IntoIterator<Item = T> + 'a,
    ) {
        let mut seen = std::collections::BTreeSet::new();
        for (index, value) in values.into_iter().enumerate() {
            let message = format!("{value} is given twice");
            if !seen.insert(value) {
                self.fault(format!("{field}[{index}].{name}"), message, "remove one of the two");
            }
        }
    }
}

/// `a, b or c`.
fn listed(values: &[&str]) -> String {
    match values {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}

/// The number of a percentage.
fn percent(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%')?;
    let fine = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    digits.parse().ok().filter(|_| fine)
}

/// Judges one object on its own. Fields are those below `spec`.
pub(super) fn object(spec: &GatewayParametersSpec) -> Vec<Fault> {
    let mut checks = Checks::default();
    if spec.kube.is_some() == spec.self_managed.is_some() {
        checks.fault("", "it has to say who deploys the proxies", "give exactly one of kube and selfManaged");
    }
    if let Some(kube) = &spec.kube {
        kubernetes(kube, &mut checks);
    }
    checks.into_faults()
}

fn kubernetes(kube: &KubernetesParameters, checks: &mut Checks) {
    if let Some(it) = &kube.deployment {
        deployment(it, checks);
    }
    if let Some(it) = &kube.pod_template {
        pod::pod(it, checks);
    }
    if let Some(it) = &kube.envoy_container {
        container::container(it, checks);
    }
    if let Some(it) = &kube.service {
        service::service(it, checks);
    }
    if let Some(it) = &kube.service_account {
        metadata::labels(&it.extra_labels, "kube.serviceAccount.extraLabels", checks);
        metadata::annotations(&it.extra_annotations, "kube.serviceAccount.extraAnnotations", checks);
    }
    if let Some(it) = &kube.stats {
        service::stats(it, checks);
    }
    if let Some(it) = &kube.horizontal_pod_autoscaler {
        scaling::autoscaler(it, checks);
        if kube.deployment.as_ref().is_some_and(|deployment| deployment.replicas.is_some()) {
            checks.fault(
                "kube.deployment.replicas",
                "the autoscaler sets the number of proxies",
                "give deployment.replicas or horizontalPodAutoscaler, not both",
            );
        }
    }
    if let Some(it) = &kube.pod_disruption_budget {
        scaling::disruption_budget(it, checks);
    }
}

fn deployment(deployment: &DeploymentParameters, checks: &mut Checks) {
    checks.within("kube.deployment.replicas", deployment.replicas.map(i64::from), 0, i64::from(i32::MAX));
    let Some(strategy) = &deployment.strategy else { return };
    let field = "kube.deployment.strategy";
    checks.one_of(format!("{field}.type"), strategy.type_.as_deref(), &["RollingUpdate", "Recreate"]);
    if let Some(rolling) = &strategy.rolling_update {
        checks.share(format!("{field}.rollingUpdate.maxSurge"), rolling.max_surge.as_ref());
        checks.share(format!("{field}.rollingUpdate.maxUnavailable"), rolling.max_unavailable.as_ref());
    }
}

fn metadata(it: Option<&MetadataParameters>, field: &str, checks: &mut Checks) {
    if let Some(it) = it {
        metadata::labels(&it.labels, &format!("{field}.labels"), checks);
        metadata::annotations(&it.annotations, &format!("{field}.annotations"), checks);
    }
}

#[cfg(test)]
mod tests;
