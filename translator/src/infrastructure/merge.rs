//! The GatewayParameters of a Gateway laid over those of its class.
//!
//! Objects and maps merge by key; lists and scalars of the Gateway replace those of the class. Where fields are
//! alternatives to each other, the Gateway's choice removes the class's.

use postern_api::kgateway::KubernetesParameters;
use serde_json::Value;

use crate::object::{ReadError, read_value};

/// Fields of which one object gives at most one, by the path of the object.
const ALTERNATIVES: [(&str, &[&str]); 5] = [
    ("podTemplate.startupProbe", &HANDLERS),
    ("podTemplate.readinessProbe", &HANDLERS),
    ("podTemplate.livenessProbe", &HANDLERS),
    ("horizontalPodAutoscaler", &["metrics", "targetCPUUtilizationPercentage"]),
    ("podDisruptionBudget", &["minAvailable", "maxUnavailable"]),
];

const HANDLERS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];

/// Where the Gateway gives the field on the left with this value (or at all), what the class gives on the right is void.
const VOID: [(&str, Option<&str>, &str); 9] = [
    ("deployment.replicas", None, "horizontalPodAutoscaler"),
    ("horizontalPodAutoscaler", None, "deployment.replicas"),
    ("deployment.strategy.type", Some("Recreate"), "deployment.strategy.rollingUpdate"),
    ("service.type", Some("ClusterIP"), "service.externalTrafficPolicy"),
    ("service.type", Some("ClusterIP"), "service.ports"),
    // A digest belongs to one image and would win over a tag.
    ("envoyContainer.image.registry", None, "envoyContainer.image.digest"),
    ("envoyContainer.image.repository", None, "envoyContainer.image.digest"),
    ("envoyContainer.image.tag", None, "envoyContainer.image.digest"),
    ("podTemplate.gracefulShutdown.enabled", Some("false"), "podTemplate.gracefulShutdown.sleepTimeSeconds"),
];

/// Merges; `gateway` wins.
///
/// # Errors
/// When the merge cannot be read again, which would be a defect.
pub(super) fn merge(
    class: &KubernetesParameters,
    gateway: &KubernetesParameters,
) -> Result<KubernetesParameters, ReadError> {
    let mut base = to_value(class)?;
    let mut over = to_value(gateway)?;
    for name in ["horizontalPodAutoscaler", "podDisruptionBudget"] {
        raise(&mut base, name);
        raise(&mut over, name);
    }
    for (given, value, void) in VOID {
        let chosen = at(&over, given).is_some_and(|found| {
            value.is_none_or(|value| *found == value || (value == "false" && *found == false))
        });
        if chosen {
            remove(&mut base, void);
        }
    }
    for (path, fields) in ALTERNATIVES {
        let chosen = at(&over, path).is_some_and(|it| fields.iter().any(|field| it.get(field).is_some()));
        if chosen {
            for field in fields {
                remove(&mut base, &format!("{path}.{field}"));
            }
        }
    }
    lay_over(&mut base, over);
    read_value(&base).result
}

fn to_value(parameters: &KubernetesParameters) -> Result<Value, ReadError> {
    serde_json::to_value(parameters)
        .map_err(|error| ReadError { field: String::new(), message: error.to_string() })
}

/// Puts what `spec` has into the place beside it: the two mean the same.
fn raise(value: &mut Value, name: &str) {
    let Some(fields) = value.get_mut(name).and_then(Value::as_object_mut) else { return };
    if let Some(Value::Object(spec)) = fields.remove("spec") {
        fields.extend(spec);
    }
}

fn lay_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                match base.get_mut(&name) {
                    Some(old) => lay_over(old, value),
                    None => {
                        base.insert(name, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

fn remove(value: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut names = parent.split('.').filter(|name| !name.is_empty());
    let parent = names.try_fold(value, |value, name| value.get_mut(name)).and_then(Value::as_object_mut);
    if let Some(parent) = parent {
        parent.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> KubernetesParameters {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[track_caller]
    fn merges(class: &str, gateway: &str, expected: &str) {
        assert_eq!(merge(&read(class), &read(gateway)).unwrap(), read(expected), "{class} + {gateway}");
    }

    #[test]
    fn fields_merge_one_by_one() {
        merges(
            "{deployment: {replicas: 2}, podTemplate: {nodeSelector: {a: '1', b: '2'}}, service: {type: NodePort}}",
            "{podTemplate: {nodeSelector: {b: '3', c: '4'}, terminationGracePeriodSeconds: 5}, floatingUserId: true}",
            "{deployment: {replicas: 2}, service: {type: NodePort}, floatingUserId: true,
              podTemplate: {nodeSelector: {a: '1', b: '3', c: '4'}, terminationGracePeriodSeconds: 5}}",
        );
        merges("{floatingUserId: true}", "{floatingUserId: false}", "{floatingUserId: false}");
        merges(
            "{podTemplate: {securityContext: {runAsUser: 1, seccompProfile: {type: RuntimeDefault}}}}",
            "{podTemplate: {securityContext: {runAsUser: 2, fsGroup: 3}}}",
            "{podTemplate: {securityContext: {runAsUser: 2, fsGroup: 3, seccompProfile: {type: RuntimeDefault}}}}",
        );
    }

    #[test]
    fn lists_are_replaced() {
        merges(
            "{envoyContainer: {env: [{name: a, value: '1'}, {name: b}]}, podTemplate: {tolerations: [{key: a}]}}",
            "{envoyContainer: {env: [{name: a, value: '2'}]}}",
            "{envoyContainer: {env: [{name: a, value: '2'}]}, podTemplate: {tolerations: [{key: a}]}}",
        );
    }

    #[test]
    fn a_choice_removes_the_other() {
        let autoscaler = "horizontalPodAutoscaler: {maxReplicas: 3}";
        merges("deployment: {replicas: 2}", autoscaler, &format!("{{{autoscaler}, deployment: {{}}}}"));
        merges(autoscaler, "deployment: {replicas: 2}", "deployment: {replicas: 2}");
        merges(
            "horizontalPodAutoscaler: {maxReplicas: 3, targetCPUUtilizationPercentage: 50}",
            "horizontalPodAutoscaler: {maxReplicas: 4, metrics: [{type: Resource}]}",
            "horizontalPodAutoscaler: {maxReplicas: 4, metrics: [{type: Resource}]}",
        );
        merges(
            "podDisruptionBudget: {minAvailable: 1, unhealthyPodEvictionPolicy: AlwaysAllow}",
            "podDisruptionBudget: {maxUnavailable: 50%}",
            "podDisruptionBudget: {maxUnavailable: 50%, unhealthyPodEvictionPolicy: AlwaysAllow}",
        );
        merges(
            "podTemplate: {readinessProbe: {httpGet: {path: /a, port: 1}, periodSeconds: 3}}",
            "podTemplate: {readinessProbe: {tcpSocket: {port: 2}}}",
            "podTemplate: {readinessProbe: {tcpSocket: {port: 2}, periodSeconds: 3}}",
        );
        merges(
            "podTemplate: {readinessProbe: {httpGet: {path: /a, port: 1}}}",
            "podTemplate: {readinessProbe: {periodSeconds: 3}}",
            "podTemplate: {readinessProbe: {httpGet: {path: /a, port: 1}, periodSeconds: 3}}",
        );
        merges(
            "deployment: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1}}}",
            "deployment: {strategy: {type: Recreate}}",
            "deployment: {strategy: {type: Recreate}}",
        );
        merges(
            "service: {externalTrafficPolicy: Local, ports: [{port: 1, nodePort: 2}], clusterIP: 10.0.0.1}",
            "service: {type: ClusterIP}",
            "service: {type: ClusterIP, clusterIP: 10.0.0.1}",
        );
        merges(
            "envoyContainer: {image: {repository: a, tag: b, digest: 'sha256:c'}}",
            "envoyContainer: {image: {tag: d}}",
            "envoyContainer: {image: {repository: a, tag: d}}",
        );
        merges(
            "podTemplate: {gracefulShutdown: {sleepTimeSeconds: 90}, terminationGracePeriodSeconds: 100}",
            "podTemplate: {gracefulShutdown: {enabled: false}, terminationGracePeriodSeconds: 5}",
            "podTemplate: {gracefulShutdown: {enabled: false}, terminationGracePeriodSeconds: 5}",
        );
    }

    #[test]
    fn a_spec_means_what_stands_beside_it() {
        merges(
            "{horizontalPodAutoscaler: {metadata: {labels: {a: b}}, spec: {minReplicas: 2, maxReplicas: 3}},
              podDisruptionBudget: {minAvailable: 1}}",
            "{horizontalPodAutoscaler: {maxReplicas: 5}, podDisruptionBudget: {spec: {maxUnavailable: 2}}}",
            "{horizontalPodAutoscaler: {metadata: {labels: {a: b}}, minReplicas: 2, maxReplicas: 5},
              podDisruptionBudget: {maxUnavailable: 2}}",
        );
    }

    #[test]
    fn nothing_over_something_changes_nothing() {
        let all =
            "{deployment: {replicas: 2}, podTemplate: {tolerations: [{key: a}]}, service: {type: NodePort}}";
        merges(all, "{}", all);
        merges("{}", all, all);
    }
}
