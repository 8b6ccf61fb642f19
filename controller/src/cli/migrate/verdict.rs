//! What becomes of each object.
//!
//! Everything is translated as if Postern were the controller of kgateway's classes; what the translator says of an object
//! is the verdict on it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_api::gateway_api::{GatewayClass, GatewayClassSpec};
use postern_translator::{CONTROLLER_NAME, Change, Kind, Object, Options, Translator};
use serde::Serialize;

use super::input::{self, Input};
use crate::diagnostic::{Diagnostic, Level};

/// The groups of kinds that kgateway v2.1 answers for and Postern may not have: its own, and the experiments of the Gateway API.
pub(super) const GROUPS: [&str; 3] =
    ["gateway.kgateway.dev", "agentgateway.dev", "gateway.networking.x-k8s.io"];
/// What has become of an experiment.
const LISTENER_SET: (&str, &str) = (
    "the experimental XListenerSet has become the ListenerSet of the Gateway API",
    "write apiVersion: gateway.networking.k8s.io/v1 and kind: ListenerSet",
);
/// The controller that Postern takes the place of.
const KGATEWAY: &str = "kgateway.dev/kgateway";
/// What kgateway's other controllers begin with: they run other proxies than Envoy gateways.
const OTHER_CONTROLLERS: &str = "kgateway.dev/";
/// Classes that kgateway makes for those.
const OTHER_CLASSES: [&str; 3] = ["agentgateway", "kgateway-agentgateway", "kgateway-waypoint"];
/// The class that `postern install` makes.
const CLASS: &str = "postern";
/// Annotations of kgateway that change nothing here.
const WITHOUT_EFFECT: [(&str, &str); 1] = [(
    "kgateway.dev/disable-istio-auto-mtls",
    "connections to backends never become Istio's mTLS by themselves",
)];

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    /// It applies as it is and does the same.
    Unchanged,
    /// Something has to be changed, or some of it does nothing.
    Changes,
    /// Postern cannot do what it asks for.
    NoEquivalent,
}

/// An object and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    /// The object, such as `HTTPRoute shop/web`.
    pub(super) object: String,
    pub(super) verdict: Verdict,
    /// Why it is not unchanged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reasons: Vec<Reason>,
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Reason {
    /// The field; empty for the whole object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) field: String,
    pub(super) message: String,
    /// What to do; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) remedy: String,
}

/// The answer.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// By object.
    pub(super) entries: Vec<Entry>,
    /// References to objects that were not read, as `object: message`.
    pub(super) not_read: BTreeSet<String>,
    /// What else limits the answer.
    pub(super) notes: BTreeSet<String>,
}

pub(super) fn judge(input: Input) -> Report {
    let mut found = Found::default();
    let classes = Classes::of(&input);
    for (name, object) in input::names(&input) {
        if is_judged(object.kind()) {
            found.entries.entry(name.clone()).or_default();
        }
        found.class(&name, object, &classes);
        for annotation in input::annotations(object) {
            if let Some((_, why)) = WITHOUT_EFFECT.iter().find(|(known, _)| *known == annotation) {
                let field = format!("metadata.annotations[{annotation}]");
                found.add(
                    &name,
                    Verdict::Changes,
                    field,
                    format!("the annotation does nothing: {why}"),
                    "remove it",
                );
            }
        }
    }
    let mut translator = Translator::new(Options { provision: true, ..Options::default() });
    for change in input.changes {
        translator.apply(ours(change));
    }
    for name in classes.missing {
        translator.apply(Change::Upsert(class(name).into()));
    }
    translator.translate();
    let problems = translator.problems();
    let translated = problems.iter().map(|problem| Diagnostic::of_problem(problem, None));
    input.findings.into_iter().chain(translated).for_each(|finding| found.finding(finding));
    found.report(input.notes)
}

/// Kinds that an implementation of the Gateway API answers for.
fn is_judged(kind: Kind) -> bool {
    kind.group().starts_with("gateway.")
}

/// The GatewayClasses, as far as they are known.
struct Classes {
    /// By name, the controller.
    controllers: BTreeMap<String, String>,
    /// Those that Gateways name and that were not read.
    missing: BTreeSet<String>,
}

impl Classes {
    fn of(input: &Input) -> Self {
        let mut controllers = BTreeMap::new();
        let mut named = BTreeSet::new();
        for (_, object) in input::names(input) {
            match object {
                Object::GatewayClass(class) => {
                    let name = class.metadata.name.clone().unwrap_or_default();
                    controllers.insert(name, class.spec.controller_name.clone());
                }
                Object::Gateway(gateway) => {
                    named.insert(gateway.spec.gateway_class_name.clone());
                }
                _ => {}
            }
        }
        let read = |name: &String| controllers.contains_key(name) || OTHER_CLASSES.contains(&name.as_str());
        named.retain(|name| !read(name));
        Self { controllers, missing: named }
    }

    /// The controller of a class. Where only a Gateway is known, its class is taken for kgateway's.
    fn controller(&self, class: &str) -> &str {
        match self.controllers.get(class) {
            Some(controller) => controller,
            None if class == CLASS => CONTROLLER_NAME,
            None if OTHER_CLASSES.contains(&class) => OTHER_CONTROLLERS,
            None => KGATEWAY,
        }
    }
}

/// Kgateway's class, as if it were ours.
fn ours(change: Change) -> Change {
    match change {
        Change::Upsert(Object::GatewayClass(class)) if class.spec.controller_name == KGATEWAY => {
            let mut class = (*class).clone();
            CONTROLLER_NAME.clone_into(&mut class.spec.controller_name);
            Change::Upsert(class.into())
        }
        other => other,
    }
}

fn class(name: String) -> GatewayClass {
    GatewayClass {
        metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
        spec: GatewayClassSpec { controller_name: CONTROLLER_NAME.to_owned(), ..GatewayClassSpec::default() },
        status: None,
    }
}

#[derive(Default)]
struct Found {
    entries: BTreeMap<String, Vec<(Verdict, Reason)>>,
    not_read: BTreeSet<String>,
}

impl Found {
    fn add(
        &mut self,
        object: &str,
        verdict: Verdict,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let reason = Reason { field: field.into(), message: message.into(), remedy: remedy.into() };
        self.entries.entry(object.to_owned()).or_default().push((verdict, reason));
    }

    /// What the change of the controller means to an object.
    fn class(&mut self, name: &str, object: &Object, classes: &Classes) {
        const ENVOY_ONLY: &str =
            "Postern's proxies are Envoys at the edge; kgateway's other data planes have no equivalent";
        match object {
            Object::GatewayClass(class) if class.spec.controller_name == KGATEWAY => {
                let remedy = format!(
                    "use the class `{CLASS}`, or, when kgateway is gone, delete this one and make it anew with controllerName: {CONTROLLER_NAME}"
                );
                self.add(
                    name,
                    Verdict::Changes,
                    "spec.controllerName",
                    "kgateway is the controller of the class, and the field cannot be changed",
                    remedy,
                );
            }
            Object::GatewayClass(class) if class.spec.controller_name.starts_with(OTHER_CONTROLLERS) => {
                self.add(name, Verdict::NoEquivalent, "spec.controllerName", ENVOY_ONLY, "");
            }
            Object::Gateway(gateway) => {
                let class = &gateway.spec.gateway_class_name;
                match classes.controller(class) {
                    KGATEWAY => {
                        let message = format!("the class {class} is kgateway's");
                        self.add(
                            name,
                            Verdict::Changes,
                            "spec.gatewayClassName",
                            message,
                            format!("write gatewayClassName: {CLASS}"),
                        );
                    }
                    other if other.starts_with(OTHER_CONTROLLERS) => {
                        self.add(name, Verdict::NoEquivalent, "spec.gatewayClassName", ENVOY_ONLY, "");
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn finding(&mut self, finding: Diagnostic) {
        let Diagnostic { level, location, object, field, message, remedy } = finding;
        let object = object
            .or_else(|| location.map(|location| location.to_string()))
            .unwrap_or_else(|| "a document".to_owned());
        // Where it was kgateway's, it was missing there, too.
        if message.contains("does not exist") {
            self.not_read.insert(format!("{object}: {message}"));
            return;
        }
        if object.starts_with("XListenerSet ") {
            let (message, remedy) = LISTENER_SET;
            self.add(&object, Verdict::Changes, "kind", message, remedy);
            return;
        }
        let verdict = match level {
            Level::Error => Verdict::NoEquivalent,
            Level::Warning => Verdict::Changes,
            // A document of a kind that is none of Postern's business, unless it was kgateway's.
            Level::Note if GROUPS.iter().any(|group| message.contains(group)) => Verdict::NoEquivalent,
            Level::Note => return,
        };
        self.add(&object, verdict, field, message, remedy);
    }

    fn report(self, notes: BTreeSet<String>) -> Report {
        let entries = self.entries.into_iter().map(|(object, reasons)| {
            let verdict = reasons.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Unchanged);
            let mut reasons: Vec<Reason> = reasons.into_iter().map(|(_, reason)| reason).collect();
            reasons.sort();
            reasons.dedup();
            Entry { object, verdict, reasons }
        });
        Report { entries: entries.collect(), not_read: self.not_read, notes }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(kind: Kind, name: &str, spec: &Value) -> Change {
        let metadata = if kind.is_namespaced() {
            json!({"name": name, "namespace": "shop"})
        } else {
            json!({"name": name})
        };
        Change::Upsert(Object::read(kind, &json!({"metadata": metadata, "spec": spec})).result.unwrap())
    }

    fn gateway(name: &str, class: &str) -> Change {
        let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
        object(Kind::Gateway, name, &json!({"gatewayClassName": class, "listeners": [listener]}))
    }

    fn verdicts(changes: Vec<Change>) -> (BTreeMap<String, Verdict>, Report) {
        let report = judge(Input { changes, ..Input::default() });
        (report.entries.iter().map(|entry| (entry.object.clone(), entry.verdict)).collect(), report)
    }

    #[test]
    fn what_postern_does_as_well_is_unchanged() {
        let route = json!({"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]});
        let policy = json!({"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "web"}],
            "timeouts": {"request": "5s"}});
        let (verdicts, report) = verdicts(vec![
            gateway("edge", "kgateway"),
            object(Kind::HttpRoute, "web", &route),
            object(Kind::TrafficPolicy, "slow", &policy),
        ]);
        let expected = [
            ("Gateway shop/edge", Verdict::Changes),
            ("HTTPRoute shop/web", Verdict::Unchanged),
            ("TrafficPolicy shop/slow", Verdict::Unchanged),
        ];
        assert_eq!(verdicts, expected.map(|(name, verdict)| (name.to_owned(), verdict)).into());
        let not_read: Vec<_> = report.not_read.iter().map(String::as_str).collect();
        assert_eq!(not_read, ["HTTPRoute shop/web: Service shop/web does not exist"]);
    }

    #[test]
    fn classes_decide_about_gateways() {
        let class =
            |name, controller| object(Kind::GatewayClass, name, &json!({"controllerName": controller}));
        let (verdicts, _) = verdicts(vec![
            class("edge", KGATEWAY),
            class("ai", "kgateway.dev/agentgateway"),
            class("other", "example.com/other"),
            gateway("a", "edge"),
            gateway("b", "ai"),
            gateway("c", "kgateway-waypoint"),
            gateway("d", CLASS),
        ]);
        let of = |name: &str| verdicts[name];
        assert_eq!(of("GatewayClass edge"), Verdict::Changes);
        assert_eq!(of("GatewayClass ai"), Verdict::NoEquivalent);
        assert_eq!(of("GatewayClass other"), Verdict::Unchanged);
        assert_eq!(of("Gateway shop/a"), Verdict::Changes);
        assert_eq!(of("Gateway shop/b"), Verdict::NoEquivalent);
        assert_eq!(of("Gateway shop/c"), Verdict::NoEquivalent);
        assert_eq!(of("Gateway shop/d"), Verdict::Unchanged);
    }

    #[test]
    fn what_is_not_carried_out_is_told_with_its_field() {
        let parameters = json!({"kube": {"sdsContainer": {"bootstrap": {"logLevel": "info"}}}});
        let mut edge = gateway("edge", "kgateway");
        if let Change::Upsert(object) = &mut edge {
            let annotation = ("kgateway.dev/disable-istio-auto-mtls".to_owned(), "true".to_owned());
            object.metadata_mut().annotations = Some([annotation].into());
        }
        let (_, report) = verdicts(vec![edge, object(Kind::GatewayParameters, "sized", &parameters)]);
        let reasons = |name: &str| {
            let entry = report.entries.iter().find(|entry| entry.object == name).unwrap();
            entry.reasons.iter().map(|reason| reason.field.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            reasons("Gateway shop/edge"),
            ["metadata.annotations[kgateway.dev/disable-istio-auto-mtls]", "spec.gatewayClassName"]
        );
        assert_eq!(reasons("GatewayParameters shop/sized"), ["spec.kube.sdsContainer"]);
    }
}
