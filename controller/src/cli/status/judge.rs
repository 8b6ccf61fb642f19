//! From what the cluster says to what a person wants to know: pure.

use std::collections::{BTreeMap, BTreeSet};

use postern_api::gateway_api::{self as gw, Condition, reason};
use postern_translator::Kind;

use super::model::{Controller, Gateway, Listener, Overview, Policy, Problem, Route, Severity};
use super::proxies::{judge_proxies, proxies};
use super::world::{Belongs, Entry, Known, Said, World, refers_to};
use crate::terminal::count;
use crate::verdict::is_fine;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question {
    /// Only in this namespace.
    pub(crate) namespace: Option<String>,
    /// Only this Gateway.
    pub(crate) gateway: Option<String>,
    /// Statuses of this controller count, and Gateways of its classes.
    pub(crate) controller_name: String,
    /// The namespace of the controller, to tell where it was looked for.
    pub(crate) controller_namespace: String,
}

impl Question {
    fn covers(&self, object: &Known) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace())
            && self.gateway.as_deref().is_none_or(|name| name == object.name())
    }
}

const ROUTES: [Kind; 5] = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute, Kind::UdpRoute];
/// The kinds whose status has an entry for each Gateway.
const POLICIES: [Kind; 7] = [
    Kind::TrafficPolicy,
    Kind::HttpListenerPolicy,
    Kind::BackendTlsPolicy,
    Kind::XBackendTrafficPolicy,
    Kind::XTelemetryPolicy,
    Kind::BackendConfigPolicy,
    Kind::XBackend,
];
const OTHERS: [Kind; 5] =
    [Kind::Backend, Kind::DirectResponse, Kind::GatewayExtension, Kind::GatewayParameters, Kind::AiBackend];

/// The kinds that an overview is made of.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    let first = [Kind::GatewayClass, Kind::Gateway, Kind::ListenerSet];
    first.into_iter().chain(ROUTES).chain(POLICIES).chain(OTHERS)
}

/// Answers `question`.
pub(crate) fn overview(world: &World, question: &Question) -> Overview {
    let mut out = Overview { notes: world.notes.clone(), ..Overview::default() };
    controllers(world, question, &mut out);

    let classes: BTreeSet<&str> = of_kinds(world, &[Kind::GatewayClass])
        .filter(|class| class.spec::<gw::GatewayClassSpec>().controller_name == question.controller_name)
        .map(Known::name)
        .collect();
    let all: Vec<(&Known, gw::GatewaySpec)> =
        of_kinds(world, &[Kind::Gateway]).map(|object| (object, object.spec())).collect();
    let ours =
        |spec: &gw::GatewaySpec| !world.classes_known || classes.contains(spec.gateway_class_name.as_str());
    let mut found = 0;
    for (object, spec) in all.iter().filter(|(object, _)| question.covers(object)) {
        if ours(spec) {
            gateway(world, question, object, spec, &mut out);
            found += 1;
        } else if question.gateway.is_some() {
            let words = format!("its class {} is not one of Postern's", spec.gateway_class_name);
            out.notes.push(format!("{}: {words}", object.title()));
            found += 1;
        }
    }
    if found == 0 {
        out.notes.push(nothing(question, all.iter().filter(|(_, spec)| ours(spec)).count()));
    }
    if question.gateway.is_none() {
        the_rest(world, question, &classes, &mut out);
    }
    out.problems.sort();
    out.problems.dedup();
    out
}

fn nothing(question: &Question, elsewhere: usize) -> String {
    let place = question.namespace.as_deref().map(|namespace| format!(" in the namespace {namespace}"));
    let what = match &question.gateway {
        Some(name) => format!("There is no Gateway {name}"),
        None => "There are no Gateways of Postern".to_owned(),
    };
    let hint = match elsewhere {
        0 => String::new(),
        number if question.namespace.is_some() => {
            format!("; {} elsewhere: try -A", count(number, "Gateway"))
        }
        _ => String::new(),
    };
    format!("{what}{}{hint}.", place.unwrap_or_default())
}

fn controllers(world: &World, question: &Question, out: &mut Overview) {
    let error = |object: String, what: &str| Problem {
        severity: Severity::Error,
        object,
        what: what.to_owned(),
        message: String::new(),
    };
    for replica in &world.replicas {
        let said = replica.said.as_ref().map(|(replica, _)| replica.clone());
        if !replica.ready {
            out.problems.push(error(format!("Controller {}", replica.pod), "not ready"));
        } else if said.as_ref().is_some_and(|said| !said.synced) {
            out.problems.push(error(format!("Controller {}", replica.pod), "has not read everything yet"));
        }
        out.controllers.push(Controller { pod: replica.pod.clone(), ready: replica.ready, replica: said });
    }
    let leaders = out.controllers.iter().filter_map(|c| c.replica.as_ref()).filter(|r| r.leader).count();
    let asked = out.controllers.iter().filter(|c| c.replica.is_some()).count();
    if asked > 0 && asked == out.controllers.len() && leaders == 0 {
        out.problems
            .push(error("Controller".to_owned(), "no replica leads: statuses and proxies stay as they are"));
    }
    if out.controllers.is_empty() {
        out.notes.push(format!(
            "No controller was found in the namespace {}: --controller-namespace says where it is.",
            question.controller_namespace
        ));
    }
}

fn gateway(world: &World, question: &Question, object: &Known, spec: &gw::GatewaySpec, out: &mut Overview) {
    let status: gw::GatewayStatus = object.status();
    let (namespace, name) = (object.namespace(), object.name());
    let title = object.title();
    let mut gateway = Gateway {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        class: spec.gateway_class_name.clone(),
        created: object.metadata.creation_timestamp.as_ref().map(|t| t.0.to_string()).unwrap_or_default(),
        addresses: status.addresses,
        conditions: status.conditions,
        ..Gateway::default()
    };
    said(out, &title, "", object, &gateway.conditions);
    gateway.listeners.extend(listeners("", &spec.listeners, &status.listeners));

    let sets: Vec<&Known> = of_kinds(world, &[Kind::ListenerSet])
        .filter(|set| {
            let spec: gw::ListenerSetSpec = set.spec();
            spec.parent_ref.name == name
                && spec.parent_ref.namespace.as_deref().unwrap_or(set.namespace()) == namespace
        })
        .collect();
    for set in &sets {
        let (spec, status): (gw::ListenerSetSpec, gw::ListenerSetStatus) = (set.spec(), set.status());
        said(out, &set.title(), "", set, &status.conditions);
        if status.conditions.iter().any(|condition| condition.reason == reason::NOT_ALLOWED) {
            continue;
        }
        let full = format!("{}/{}", set.namespace(), set.name());
        gateway.listeners.extend(listeners(&full, &spec.listeners, &status.listeners));
    }
    for listener in &gateway.listeners {
        let place = match listener.listener_set.as_str() {
            "" => format!("{title}, listener {}", listener.name),
            set => format!("ListenerSet {set}, listener {}", listener.name),
        };
        troubles(out, &place, &listener.conditions);
    }

    let mut attached: BTreeSet<(Kind, &str, &str)> = BTreeSet::new();
    for route in of_kinds(world, &ROUTES) {
        if routes(question, object, &sets, route, &mut gateway, out) {
            attached.insert((route.kind, route.namespace(), route.name()));
        }
    }
    // Routes below routes, level by level.
    loop {
        let found: Vec<_> = of_kinds(world, &[Kind::HttpRoute])
            .filter(|route| !attached.contains(&(route.kind, route.namespace(), route.name())))
            .filter(|route| delegated(question, object, &attached, route, &mut gateway, out))
            .map(|route| (route.kind, route.namespace(), route.name()))
            .collect();
        if found.is_empty() {
            break;
        }
        attached.extend(found);
    }
    for policy in of_kinds(world, &POLICIES) {
        policies(question, object, &sets, &attached, policy, &mut gateway, out);
    }
    gateway.proxies = proxies(world, namespace, name);
    judge_proxies(world, &gateway, out);
    out.gateways.push(gateway);
}

fn listeners<'a>(
    set: &'a str,
    wanted: &'a [gw::Listener],
    said: &'a [gw::ListenerStatus],
) -> impl Iterator<Item = Listener> + 'a {
    wanted.iter().map(move |listener| {
        let status = said.iter().find(|status| status.name == listener.name);
        Listener {
            listener_set: set.to_owned(),
            name: listener.name.clone(),
            port: listener.port,
            protocol: listener.protocol.to_string(),
            hostname: listener.hostname.clone().unwrap_or_default(),
            attached_routes: status.map(|status| status.attached_routes).unwrap_or_default(),
            conditions: status.map(|status| status.conditions.clone()).unwrap_or_default(),
        }
    })
}

/// Adds the rows of `route`; true if it asks for the Gateway.
fn routes(
    question: &Question,
    of: &Known,
    sets: &[&Known],
    route: &Known,
    gateway: &mut Gateway,
    out: &mut Overview,
) -> bool {
    let belongs: Belongs = route.spec();
    let status: Said = route.status();
    let mut any = false;
    let ours = status.parents.iter().filter(|entry| entry.controller_name == question.controller_name);
    // Which default Gateways a route has is said by its status only.
    let asks = belongs.use_default_gateways.as_deref().is_some_and(|scope| !matches!(scope, "" | "None"));
    let defaults = ours
        .clone()
        .map(|entry| &entry.parent_ref)
        .filter(|reference| asks && !belongs.parent_refs.contains(reference));
    for reference in belongs.parent_refs.iter().chain(defaults) {
        let to_gateway = refers_to(reference, route.namespace(), Kind::Gateway, (of.namespace(), of.name()));
        let to_set = sets.iter().find(|set| {
            refers_to(reference, route.namespace(), Kind::ListenerSet, (set.namespace(), set.name()))
        });
        if !to_gateway && to_set.is_none() {
            continue;
        }
        any = true;
        let entry = ours.clone().find(|entry| entry.parent_ref == *reference);
        let conditions = entry.map(|entry| entry.conditions.clone()).unwrap_or_default();
        let mut parent = to_set.map(|set| format!("{}/{}", set.namespace(), set.name())).unwrap_or_default();
        if let Some(section) = &reference.section_name {
            let slash = if parent.is_empty() { "" } else { "#" };
            parent = format!("{parent}{slash}{section}");
        }
        if let Some(port) = reference.port {
            parent = format!("{parent}:{port}");
        }
        let place = if parent.is_empty() { String::new() } else { format!(" {parent}") };
        said(out, &route.title(), &format!("{}{place}", of.title()), route, &conditions);
        gateway.routes.push(Route {
            kind: route.kind.as_str().to_owned(),
            namespace: route.namespace().to_owned(),
            name: route.name().to_owned(),
            parent,
            hostnames: belongs.hostnames.clone(),
            conditions,
        });
    }
    any
}

/// Adds the rows of `route` as a child of HTTPRoutes that are attached; true if it is one.
fn delegated(
    question: &Question,
    of: &Known,
    attached: &BTreeSet<(Kind, &str, &str)>,
    route: &Known,
    gateway: &mut Gateway,
    out: &mut Overview,
) -> bool {
    let (belongs, status): (Belongs, Said) = (route.spec(), route.status());
    let mut any = false;
    for entry in status.parents.iter().filter(|entry| entry.controller_name == question.controller_name) {
        let parent = attached.iter().find(|(kind, namespace, name)| {
            refers_to(&entry.parent_ref, route.namespace(), *kind, (namespace, name))
        });
        let Some((kind, namespace, name)) = parent else { continue };
        any = true;
        let parent = format!("{kind} {namespace}/{name}");
        said(out, &route.title(), &format!("{} {parent}", of.title()), route, &entry.conditions);
        gateway.routes.push(Route {
            kind: route.kind.as_str().to_owned(),
            namespace: route.namespace().to_owned(),
            name: route.name().to_owned(),
            parent,
            hostnames: belongs.hostnames.clone(),
            conditions: entry.conditions.clone(),
        });
    }
    any
}

fn policies(
    question: &Question,
    of: &Known,
    sets: &[&Known],
    attached: &BTreeSet<(Kind, &str, &str)>,
    policy: &Known,
    gateway: &mut Gateway,
    out: &mut Overview,
) {
    let belongs: Belongs = policy.spec();
    let status: Said = policy.status();
    let ours = |entry: &&Entry| {
        entry.controller_name == question.controller_name
            && refers_to(&entry.parent_ref, policy.namespace(), Kind::Gateway, (of.namespace(), of.name()))
    };
    let entry = status.ancestors.iter().find(ours);
    let concerned = belongs.target_refs.iter().any(|target| {
        let namespace = target.namespace.as_deref().unwrap_or(policy.namespace());
        let is = |object: &Known| {
            (object.kind.as_str(), object.namespace(), object.name())
                == (target.kind.as_str(), namespace, target.name.as_str())
        };
        is(of)
            || sets.iter().any(|set| is(set))
            || attached.iter().any(|(kind, of, name)| {
                (kind.as_str(), *of, *name) == (&target.kind, namespace, &target.name)
            })
    });
    if entry.is_none() && !concerned {
        return;
    }
    let conditions = entry.map_or(status.conditions, |entry| entry.conditions.clone());
    said(out, &policy.title(), &of.title(), policy, &conditions);
    // A backend has no targets: only what is wrong with it is told.
    if policy.kind == Kind::XBackend {
        return;
    }
    let named = belongs.target_refs.iter().map(|target| {
        let section = target.section_name.as_ref().map(|name| format!("#{name}")).unwrap_or_default();
        format!("{} {}{section}", target.kind, target.name)
    });
    let selected = belongs.target_selectors.iter().map(|selector| {
        let labels: Vec<String> = selector.match_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("{} with {}", selector.kind, labels.join(","))
    });
    gateway.policies.push(Policy {
        kind: policy.kind.as_str().to_owned(),
        namespace: policy.namespace().to_owned(),
        name: policy.name().to_owned(),
        targets: named.chain(selected).collect(),
        conditions,
    });
}

/// Classes, and objects that belong to no Gateway in particular.
fn the_rest(world: &World, question: &Question, classes: &BTreeSet<&str>, out: &mut Overview) {
    for class in of_kinds(world, &[Kind::GatewayClass]).filter(|class| classes.contains(class.name())) {
        let status: Said = class.status();
        said(out, &class.title(), "", class, &status.conditions);
    }
    // A policy may say for itself what it cannot say of any Gateway, because it has none.
    for object in of_kinds(world, &POLICIES).chain(of_kinds(world, &OTHERS)) {
        let status: Said = object.status();
        if question.covers(object) && status.ancestors.is_empty() {
            troubles(out, &object.title(), &status.conditions);
        }
    }
}

/// Notes what `conditions` of `object`, with respect to `parent`, say; and if they say nothing, or of an older object.
fn said(out: &mut Overview, title: &str, parent: &str, object: &Known, conditions: &[Condition]) {
    let place = if parent.is_empty() { title.to_owned() } else { format!("{title} ({parent})") };
    if conditions.is_empty() {
        out.problems.push(Problem {
            severity: Severity::Error,
            object: place,
            what: "no status".to_owned(),
            message: "The controller has not looked at it yet.".to_owned(),
        });
        return;
    }
    let observed = conditions.iter().filter_map(|condition| condition.observed_generation).max();
    if let (Some(observed), Some(generation)) = (observed, object.metadata.generation)
        && observed < generation
    {
        out.problems.push(Problem {
            severity: Severity::Warning,
            object: place.clone(),
            what: "outdated status".to_owned(),
            message: format!("It is about generation {observed}; the object is at {generation}."),
        });
    }
    troubles(out, &place, conditions);
}

fn troubles(out: &mut Overview, place: &str, conditions: &[Condition]) {
    for condition in conditions.iter().filter(|condition| !is_fine(condition)) {
        out.problems.push(Problem {
            severity: severity(condition),
            object: place.to_owned(),
            what: short(condition),
            message: condition.message.clone(),
        });
    }
}

/// What costs no request is a warning.
fn severity(condition: &Condition) -> Severity {
    match (condition.type_.as_str(), condition.reason.as_str()) {
        ("Attached", "Overridden") | ("SupportedVersion" | "OverlappingTLSConfig", _) => Severity::Warning,
        _ => Severity::Error,
    }
}

/// `ResolvedRefs=False BackendNotFound`.
pub(super) fn short(condition: &Condition) -> String {
    format!("{}={} {}", condition.type_, condition.status, condition.reason).trim_end().to_owned()
}

fn of_kinds<'a>(world: &'a World, kinds: &'a [Kind]) -> impl Iterator<Item = &'a Known> {
    let mut found: BTreeMap<(Kind, &str, &str), &Known> = BTreeMap::new();
    for object in world.objects.iter().filter(|object| kinds.contains(&object.kind)) {
        found.insert((object.kind, object.namespace(), object.name()), object);
    }
    found.into_values()
}
