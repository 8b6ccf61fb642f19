//! XBackendTrafficPolicy (GEP-3388, GEP-4894): what holds for requests to a backend, whatever route they come from.
//!
//! One policy counts for a backend, the oldest one.

pub(crate) mod status;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postern_api::duration;
use postern_api::gateway_api::{RetryConstraint, XBackendTrafficPolicy};

use crate::dependency::Reader;
use crate::object::{Age, Kind, ObjectKey};
use crate::problem::Fault;
use crate::session::{self, Session};

/// The defaults of the API: at most 20 percent of the active requests are retries, but 10 in a second are always possible.
const PERCENT: u32 = 20;
const MIN_RETRIES: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);
const DURATION_REMEDY: &str = "use a Gateway API duration such as 500ms, 10s or 1m30s (GEP-2257)";

/// How many retries a backend is asked to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryBudget {
    /// Of the requests that are active at a time, 0 to 100.
    pub(crate) percent: u32,
    /// So many at a time are always possible. The API speaks of a rate, which Envoy does not count: a retry is taken to last a
    /// second.
    pub(crate) at_least: u32,
}

/// What a policy says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BackendTraffic {
    pub(crate) retry_budget: Option<RetryBudget>,
    pub(crate) session: Option<Session>,
}

/// What the policy that counts says of `backend`; nothing, if there is none or if it is not valid.
pub(crate) fn on(reader: &Reader<'_>, backend: &ObjectKey) -> BackendTraffic {
    let policy = policies(reader, backend).into_iter().next();
    policy.and_then(|policy| read(policy, backend).ok()).map(|(traffic, _)| traffic).unwrap_or_default()
}

/// The backends that a policy names. Policies are on objects of their own namespace.
pub(crate) fn targets(policy: &XBackendTrafficPolicy) -> BTreeSet<ObjectKey> {
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    let targets = policy.spec.target_refs.iter().filter_map(|target| {
        Some(ObjectKey::new(target_kind(&target.group, &target.kind)?, namespace, &target.name))
    });
    targets.collect()
}

fn target_kind(group: &str, kind: &str) -> Option<Kind> {
    Kind::from_group_kind(group, kind)
        .filter(|kind| matches!(kind, Kind::Service | Kind::ServiceImport | Kind::Backend | Kind::XBackend))
}

/// The policies on `backend`, the oldest first.
fn policies<'a>(reader: &Reader<'a>, backend: &ObjectKey) -> Vec<&'a Arc<XBackendTrafficPolicy>> {
    let names = reader.traffic_policies_on(backend);
    let mut found: Vec<_> =
        names.filter_map(|name| reader.get::<XBackendTrafficPolicy>(&name.namespace, &name.name)).collect();
    found.sort_by_cached_key(|policy| Age::of(&policy.metadata));
    found
}

/// Reads a policy for one of its targets. What Envoy cannot do but can do without comes as a second value.
fn read(
    policy: &XBackendTrafficPolicy,
    backend: &ObjectKey,
) -> Result<(BackendTraffic, Option<Fault>), Fault> {
    let retry_budget = policy.spec.retry_constraint.as_ref().map(retry_budget).transpose();
    let retry_budget = retry_budget.map_err(|fault| fault.within("spec.retryConstraint"))?;
    let session = policy.spec.session_persistence.as_ref();
    let session = session.map(|spec| session::parse(spec, &backend.to_string())).transpose();
    let at = |fault: Fault| fault.within("spec.sessionPersistence");
    let (session, unheeded) = session.map_err(at)?.unzip();
    Ok((BackendTraffic { retry_budget, session }, unheeded.flatten().map(at)))
}

fn retry_budget(spec: &RetryConstraint) -> Result<RetryBudget, Fault> {
    let budget = spec.budget.clone().unwrap_or_default();
    let percent = budget.percent.unwrap_or(PERCENT);
    if percent > 100 {
        return Err(Fault::new(".budget.percent", format!("{percent} is not a percentage"), "use 0 to 100"));
    }
    if let Some(interval) = &budget.interval {
        positive(interval, ".budget.interval")?;
    }
    let rate = spec.min_retry_rate.clone().unwrap_or_default();
    let interval = rate.interval.as_deref().map(|it| positive(it, ".minRetryRate.interval")).transpose()?;
    let count = rate.count.unwrap_or(MIN_RETRIES);
    let a_second = f64::from(count) / interval.unwrap_or(SECOND).as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    let at_least = a_second.ceil() as u32;
    Ok(RetryBudget { percent, at_least })
}

fn positive(text: &str, field: &str) -> Result<Duration, Fault> {
    match duration::parse(text) {
        Ok(interval) if !interval.is_zero() => Ok(interval),
        Ok(_) => Err(Fault::new(field, "it is zero", DURATION_REMEDY)),
        Err(error) => Err(Fault::new(field, error.to_string(), DURATION_REMEDY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    fn read_spec(spec: &str) -> Result<BackendTraffic, String> {
        let text = format!("{{metadata: {{namespace: a, name: p}}, spec: {{targetRefs: [], {spec}}}}}");
        let backend = ObjectKey::new(Kind::Service, "a", "s");
        read(&yaml(&text), &backend).map(|(traffic, _)| traffic).map_err(|fault| fault.field)
    }

    #[test]
    fn retry_budgets() {
        for (spec, percent, at_least) in [
            ("{}", 20, 10),
            ("{budget: {percent: 0}}", 0, 10),
            ("{budget: {percent: 50, interval: 10s}, minRetryRate: {count: 3, interval: 1s}}", 50, 3),
            ("{minRetryRate: {count: 1, interval: 10s}}", 20, 1),
            ("{minRetryRate: {count: 5, interval: 100ms}}", 20, 50),
        ] {
            let read = read_spec(&format!("retryConstraint: {spec}")).unwrap().retry_budget;
            assert_eq!(read, Some(RetryBudget { percent, at_least }), "{spec}");
        }
        assert_eq!(read_spec("").unwrap(), BackendTraffic::default());
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (spec, field) in [
            ("retryConstraint: {budget: {percent: 101}}", "spec.retryConstraint.budget.percent"),
            ("retryConstraint: {budget: {interval: soon}}", "spec.retryConstraint.budget.interval"),
            ("retryConstraint: {minRetryRate: {interval: 0s}}", "spec.retryConstraint.minRetryRate.interval"),
            ("sessionPersistence: {type: Header}", "spec.sessionPersistence.header.name"),
        ] {
            assert_eq!(read_spec(spec).unwrap_err(), field, "{spec}");
        }
    }
}
