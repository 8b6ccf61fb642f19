//! Pieces of CRD schemas that a derive cannot say.

use kube::core::{Message, Rule};
use schemars::{Schema, SchemaGenerator, json_schema};

/// What [`crate::duration::parse_lenient`] reads, but for negative durations and the Greek letter in `µs`.
const GO_DURATION: &str = r"^[+]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(h|m|s|ms|us|ns))+)$";

const GO_DURATION_REMEDY: &str =
    "write a duration as numbers with units h, m, s, ms, us or ns, for example 30s, 1m30s or 1.5s";

/// A quantity of Kubernetes.
const QUANTITY: &str = r"^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// Kinds that a policy can have as its target.
const POLICY_TARGET_KINDS: [&str; 5] = ["Gateway", "ListenerSet", "XListenerSet", "HTTPRoute", "GRPCRoute"];

/// Retry conditions of Envoy, for HTTP and for gRPC.
const RETRY_CONDITIONS: [&str; 15] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// A Go duration.
pub(super) fn go_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 64,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('{GO_DURATION}')"),
            "message": GO_DURATION_REMEDY,
        }],
    })
}

/// A Go duration, or a number of seconds, as an integer or as digits.
pub(super) fn go_duration_or_seconds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "x-kubernetes-validations": [{
            // The cost of the rule is estimated for the longest request: the expression must be short.
            "rule": "string(self).matches('^([0-9]+|([0-9.]+(h|m|s|ms|us|ns))+)$')",
            "message": "write a duration such as 24h, or a whole number of seconds that is not negative",
        }],
    })
}

/// Any value; what it may be is checked when it is read. A structural schema cannot say "string or object".
pub(super) fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// The API group of a policy's target.
pub(super) fn policy_target_group(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "default": "gateway.networking.k8s.io",
        "enum": ["gateway.networking.k8s.io", "gateway.networking.x-k8s.io"],
    })
}

/// The kind of a policy's target.
pub(super) fn policy_target_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": POLICY_TARGET_KINDS })
}

/// The API group of a backend that a policy is on.
pub(super) fn backend_target_group(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "enum": ["", "gateway.kgateway.dev", "networking.istio.io"],
    })
}

/// The kind of a backend that a policy is on.
pub(super) fn backend_target_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["Service", "Backend", "Hostname"] })
}

/// A quantity of Kubernetes, as text or as a number.
pub(super) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-int-or-string": true, "pattern": QUANTITY })
}

/// Names of retry conditions.
pub(super) fn retry_conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "items": { "type": "string", "enum": RETRY_CONDITIONS },
    })
}

/// An object with any fields; what they may be is checked when it is read.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Objects with any fields.
pub(super) fn any_objects(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 256, "items": any_object(generator) })
}

/// Quantities of resources by name, as in `cpu: 500m` or `memory: 1Gi`.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "x-kubernetes-int-or-string": true, "pattern": QUANTITY },
    })
}

/// The group of a target must be the one that has its kind.
pub(super) fn group_has_kind() -> Rule {
    Rule::new(
        "self.kind == 'XListenerSet' ? (has(self.group) && self.group == 'gateway.networking.x-k8s.io') : \
         (!has(self.group) || self.group == 'gateway.networking.k8s.io')",
    )
    .message(
        "set group to gateway.networking.x-k8s.io for the kind XListenerSet; for the other kinds set it to \
         gateway.networking.k8s.io or leave it out",
    )
}

/// The group of a backend must be the one that has its kind.
pub(super) fn group_has_backend_kind() -> Rule {
    Rule::new(
        "(has(self.group) ? self.group : '') == \
         (self.kind == 'Backend' ? 'gateway.kgateway.dev' : self.kind == 'Hostname' ? 'networking.istio.io' : '')",
    )
    .message("set group to gateway.kgateway.dev for the kind Backend; for Service leave it empty or out")
}

/// Each of a list of objects has a name of its own.
pub(super) fn names_are_unique(list: &str) -> Rule {
    rule(
        format!("self.{list}.all(one, self.{list}.exists_one(other, other.name == one.name))"),
        format!("give each of {list} a name of its own"),
    )
}

/// Two fields that need each other.
pub(super) fn both_or_neither(one: &str, other: &str) -> Rule {
    rule(
        format!("has(self.{one}) == has(self.{other})"),
        format!("give both of {one} and {other}, or neither"),
    )
}

/// Only one of two fields that mean the same.
pub(super) fn either(seed: &str, peer: &str) -> Rule {
    let given = |path: &str| match path.split_once('.') {
        Some((parent, _)) => format!("has(self.{parent}) && has(self.{path})"),
        None => format!("has(self.{path})"),
    };
    rule(
        format!("!({} && {})", given(seed), given(peer)),
        format!("{seed} and {peer} mean the same: remove one of them"),
    )
}

/// The timeout of one attempt must not be longer than that of the request. A request timeout of zero is none.
pub(super) fn attempt_within_request(retries: &str, timeouts: &str) -> Rule {
    let (attempt, request) = (format!("{retries}.perTryTimeout"), format!("{timeouts}.request"));
    rule(
        format!(
            "!has(self.{retries}) || !has(self.{attempt}) || !has(self.{timeouts}) || !has(self.{request}) || \
             duration(self.{request}) == duration('0s') || duration(self.{attempt}) <= duration(self.{request})"
        ),
        format!("{attempt} must not be longer than {request}: shorten it, or lengthen {request}"),
    )
}

/// The Host header has a meaning where HTTPRoutes send requests.
pub(super) fn auto_host_rewrite_of_routes() -> Rule {
    Rule::new(
        "!has(self.autoHostRewrite) || \
         ((!has(self.targetRefs) || self.targetRefs.all(it, it.kind == 'HTTPRoute')) && \
         (!has(self.targetSelectors) || self.targetSelectors.all(it, it.kind == 'HTTPRoute')))",
    )
    .message("autoHostRewrite is possible on HTTPRoutes only: let a policy of its own target HTTPRoutes")
}

/// Exactly one of the fields that belong to a type.
pub(super) fn exactly_one(types: &[(&str, &str)]) -> Rule {
    let given = join(types, ", ", |(field, _)| format!("has(self.{field})"));
    let fields = join(types, ", ", |(field, _)| (*field).to_owned());
    rule(format!("[{given}].filter(x, x).size() == 1"), format!("give exactly one of {fields}"))
}

/// Exactly one of some fields.
pub(super) fn exactly_one_of(fields: &[&str]) -> Rule {
    let given = join(fields, ", ", |field| format!("has(self.{field})"));
    rule(format!("[{given}].filter(x, x).size() == 1"), format!("give exactly one of {}", fields.join(", ")))
}

/// At most one of two fields.
pub(super) fn at_most_one(one: &str, other: &str) -> Rule {
    rule(format!("!(has(self.{one}) && has(self.{other}))"), format!("give {one} or {other}, not both"))
}

/// One field in place of all the others.
pub(super) fn without(one: &str, others: &[&str]) -> Rule {
    let given = join(others, " || ", |field| format!("has(self.{field})"));
    rule(
        format!("!has(self.{one}) || !({given})"),
        format!("give {} in {one} or beside it, not both", others.join(", ")),
    )
}

/// One number of proxies, or an autoscaler.
pub(super) fn fixed_or_autoscaled() -> Rule {
    rule(
        "!(has(self.horizontalPodAutoscaler) && has(self.deployment) && has(self.deployment.replicas))".to_owned(),
        "give deployment.replicas or horizontalPodAutoscaler, not both: the autoscaler sets the number of proxies"
            .to_owned(),
    )
}

/// The bounds of an autoscaler.
pub(super) fn min_within_max() -> Rule {
    rule(
        "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas".to_owned(),
        "minReplicas must not be more than maxReplicas: lower it, or raise maxReplicas".to_owned(),
    )
}

/// Time to sleep that is over before the proxy is killed. Where one of the two is given, the other may be the class's.
pub(super) fn sleep_within_grace_period() -> Rule {
    rule(
        "!has(self.gracefulShutdown) || !has(self.gracefulShutdown.sleepTimeSeconds) || \
         (has(self.gracefulShutdown.enabled) && !self.gracefulShutdown.enabled) || \
         !has(self.terminationGracePeriodSeconds) || \
         self.gracefulShutdown.sleepTimeSeconds < self.terminationGracePeriodSeconds"
            .to_owned(),
        "gracefulShutdown.sleepTimeSeconds must be less than terminationGracePeriodSeconds: shorten it, or lengthen \
         that"
            .to_owned(),
    )
}

/// The type must be the one that the given field belongs to. Each of `types` is a field and its type.
pub(super) fn type_of_field(types: &[(&str, &str)]) -> Rule {
    let cases = join(types, " || ", |(field, name)| format!("(self.type == '{name}' && has(self.{field}))"));
    let remedies = join(types, ", ", |(field, name)| format!("{name} for {field}"));
    rule(
        format!("!has(self.type) || {cases}"),
        format!("type must fit the field that is given: {remedies}; or leave type out"),
    )
}

/// Only the field that bears the name of the type may be given.
pub(super) fn settings_of_type(fields: &[&str]) -> Rule {
    let cases = join(fields, " && ", |field| format!("(!has(self.{field}) || self.type == '{field}')"));
    rule(
        format!("!has(self.type) || ({cases})"),
        format!(
            "remove the settings of other providers: of {}, only the one named by type may be given",
            fields.join(", ")
        ),
    )
}

/// An entry of a descriptor has the settings of its type and no others.
pub(in crate::kgateway) fn descriptor_entry_of_type() -> Rule {
    rule(
        "(self.type == 'Generic') == has(self.generic) && (self.type == 'Header') == has(self.header)"
            .to_owned(),
        "give generic for type Generic, header for type Header, and neither for the other types".to_owned(),
    )
}

fn rule(rule: String, message: String) -> Rule {
    Rule { message: Some(Message::Message(message)), ..Rule::new(rule) }
}

fn join<T>(items: &[T], separator: &str, write: impl Fn(&T) -> String) -> String {
    items.iter().map(write).collect::<Vec<_>>().join(separator)
}
