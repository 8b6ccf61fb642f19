//! From the references to GatewayParameters to the parameters of a Gateway.

use std::sync::Arc;

use postern_api::gateway_api::{Gateway, GatewayClass, condition_type, reason};
use postern_api::kgateway::{GatewayParameters, KubernetesParameters};

use super::check::{self, Checks};
use super::{ProxyParameters, build, merge, not_carried_out};
use crate::Options;
use crate::dependency::Reader;
use crate::gateway::is_ours;
use crate::object::{Kind, ObjectKey, Stored};
use crate::problem::{Fault, Problems};
use crate::status::{Conditions, Status, condition};

/// The parameters of a Gateway of ours, those of its class included.
///
/// # Errors
/// What is wrong, for the condition `Accepted=False`, reason `InvalidParameters`. The Gateway's proxies then stay as they
/// are.
pub(crate) fn of_gateway(
    reader: &Reader<'_>,
    gateway: &Gateway,
    problems: &mut Problems,
) -> Result<ProxyParameters, String> {
    let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let key = ObjectKey::new(Kind::Gateway, namespace, gateway.metadata.name.as_deref().unwrap_or_default());
    let class_name = &gateway.spec.gateway_class_name;
    let mut refuse = |field: &str, message: String, remedy: &str| {
        problems.error(&key, field, &message, remedy);
        Err(message)
    };
    let class = match reader.get::<GatewayClass>("", class_name).map(|class| class_reference(reader, class)) {
        None | Some(Ok(None)) => None,
        Some(Ok(Some(parameters))) => Some(parameters),
        Some(Err(fault)) => {
            let message = format!("GatewayClass {class_name}: {}", fault.message);
            return refuse("spec.gatewayClassName", message, &fault.remedy);
        }
    };
    let reference = gateway.spec.infrastructure.as_ref().and_then(|it| it.parameters_ref.as_ref());
    let field = "spec.infrastructure.parametersRef";
    let own = match reference.map(|it| look_up(reader, &it.group, &it.kind, namespace, &it.name)).transpose()
    {
        Ok(own) => own,
        Err(fault) => return refuse(&format!("{field}{}", fault.field), fault.message, &fault.remedy),
    };
    let field = if own.is_some() { field } else { "spec.gatewayClassName" };
    match together(class.map(AsRef::as_ref), own.map(AsRef::as_ref)) {
        Ok(parameters) => Ok(parameters),
        Err(faults) => {
            let message = format!("the GatewayParameters are not valid as merged: {}", summary(&faults));
            let remedy = faults.first().map(|fault| fault.remedy.clone()).unwrap_or_default();
            refuse(field, message, &remedy)
        }
    }
}

/// Judges the parameters of a GatewayClass of ours.
///
/// # Errors
/// What is wrong, for the condition `Accepted=False`, reason `InvalidParameters`.
pub(crate) fn of_class(
    reader: &Reader<'_>,
    class: &GatewayClass,
    problems: &mut Problems,
) -> Result<(), String> {
    class_reference(reader, class).map(|_| ()).map_err(|fault| {
        let key = ObjectKey::new(Kind::GatewayClass, "", class.metadata.name.as_deref().unwrap_or_default());
        problems.error(&key, format!("spec.parametersRef{}", fault.field), &fault.message, &fault.remedy);
        fault.message
    })
}

fn class_reference<'a>(
    reader: &Reader<'a>,
    class: &GatewayClass,
) -> Result<Option<&'a Arc<GatewayParameters>>, Fault> {
    let Some(it) = &class.spec.parameters_ref else { return Ok(None) };
    look_up(reader, &it.group, &it.kind, it.namespace.as_deref().unwrap_or_default(), &it.name).map(Some)
}

/// The object that a reference names. The fault's field is relative to the reference.
fn look_up<'a>(
    reader: &Reader<'a>,
    group: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<&'a Arc<GatewayParameters>, Fault> {
    let expected = GatewayParameters::KIND;
    if (group, kind) != (expected.group(), expected.as_str()) {
        let shown = if group.is_empty() { kind.to_owned() } else { format!("{kind} of the group {group}") };
        return Err(Fault::new(
            ".kind",
            format!("parameters of the kind {shown} are not supported"),
            format!("refer to a {expected} of the group {}", expected.group()),
        ));
    }
    if namespace.is_empty() {
        return Err(Fault::new(
            ".namespace",
            format!("{expected} live in namespaces, and the reference names none"),
            "set namespace",
        ));
    }
    let key = ObjectKey::new(expected, namespace, name);
    let Some(found) = reader.get::<GatewayParameters>(namespace, name) else {
        return Err(Fault::new("", format!("{key} does not exist"), "create it, or mend the reference"));
    };
    let faults = check::object(&found.spec);
    if faults.is_empty() {
        return Ok(found);
    }
    Err(Fault::new("", format!("{key} is not valid: {}", summary(&faults)), format!("mend {key}")))
}

/// Field and message of the first fault, and how many more there are.
fn summary(faults: &[Fault]) -> String {
    let Some(first) = faults.first() else { return String::new() };
    let more = match faults.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!("{}: {}{more}", field(first), first.message)
}

fn field(fault: &Fault) -> String {
    if fault.field.is_empty() { "spec".to_owned() } else { format!("spec.{}", fault.field) }
}

fn together(
    class: Option<&GatewayParameters>,
    own: Option<&GatewayParameters>,
) -> Result<ProxyParameters, Vec<Fault>> {
    let self_managed = |it: &GatewayParameters| it.spec.self_managed.is_some();
    if own.map_or_else(|| class.is_some_and(self_managed), self_managed) {
        return Ok(ProxyParameters::SelfManaged);
    }
    let kube = |it: Option<&GatewayParameters>| it.and_then(|it| it.spec.kube.clone());
    let merged = match (kube(class), kube(own)) {
        (None, None) => KubernetesParameters::default(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(class), Some(own)) => {
            merge::merge(&class, &own).map_err(|error| vec![Fault::new("kube", error.to_string(), "")])?
        }
    };
    let mut checks = Checks::default();
    check::whole(&merged, &mut checks);
    let faults = checks.into_faults();
    if faults.is_empty() {
        Ok(ProxyParameters::Kubernetes(Box::new(build::build(merged))))
    } else {
        Err(faults)
    }
}

/// The status of a GatewayParameters; `None` if it does not exist or only others refer to it.
pub(crate) fn status(reader: &Reader<'_>, key: &ObjectKey, options: &Options) -> (Option<Status>, Problems) {
    let mut problems = Problems::default();
    let Some(object) = reader.get::<GatewayParameters>(&key.namespace, &key.name) else {
        return (None, problems);
    };
    if is_of_others(reader, key, options) {
        return (None, problems);
    }
    let faults = check::object(&object.spec);
    for fault in &faults {
        problems.error(key, field(fault), &fault.message, &fault.remedy);
    }
    let ignored = not_carried_out::not_carried_out(&object.spec);
    for fault in &ignored {
        problems.error(key, field(fault), &fault.message, &fault.remedy);
    }
    let generation = object.metadata.generation;
    let accepted = if faults.is_empty() {
        let mut message = "the GatewayParameters are valid".to_owned();
        if !ignored.is_empty() {
            let fields: Vec<_> = ignored.iter().map(field).collect();
            message = format!("{message}; not carried out: {}", fields.join(", "));
        }
        condition(condition_type::ACCEPTED, true, reason::ACCEPTED, message, generation)
    } else {
        condition(condition_type::ACCEPTED, false, reason::INVALID, summary(&faults), generation)
    };
    (Some(Status::Conditions(Conditions { conditions: vec![accepted] })), problems)
}

/// True if there are GatewayClasses or Gateways that refer to the object, and none of them is ours.
fn is_of_others(reader: &Reader<'_>, key: &ObjectKey, options: &Options) -> bool {
    let is_it = |group: &str, kind: &str, namespace: &str, name: &str| {
        (group, kind) == (key.kind.group(), key.kind.as_str())
            && (namespace, name) == (key.namespace.as_str(), key.name.as_str())
    };
    let classes = reader.all_in::<GatewayClass>("").into_iter().filter_map(|class| {
        let it = class.spec.parameters_ref.as_ref()?;
        let named = is_it(&it.group, &it.kind, it.namespace.as_deref().unwrap_or_default(), &it.name);
        named.then(|| class.spec.controller_name == options.controller_name)
    });
    let gateways = reader.all_in::<Gateway>(&key.namespace).into_iter().filter_map(|gateway| {
        let it = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
        is_it(&it.group, &it.kind, &key.namespace, &it.name).then(|| is_ours(reader, gateway, options))
    });
    let mut referrers = classes.chain(gateways).peekable();
    referrers.peek().is_some() && !referrers.any(|ours| ours)
}
