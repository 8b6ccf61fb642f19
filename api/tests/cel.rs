//! The CEL rules of the extension kinds admit what they should, and refuse the rest with a remedy.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::Validator;
use postern_api::crds::extension_crds;
use serde_json::{Value, json};

/// What the rules of the kind say about an object with this spec, in YAML, without and with the defaults of the CRD.
#[track_caller]
fn refusals(kind: &str, spec: &str) -> Vec<String> {
    static CRDS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(extension_crds);
    let crd = CRDS.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let schema = serde_json::to_value(schema).unwrap();
    let spec: Value = serde_yaml::from_str(spec).unwrap();
    let object = json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": "name" },
        "spec": spec,
    });
    let messages = |result: Result<(), kube::core::cel::ValidationErrors>| -> Vec<String> {
        result.err().into_iter().flatten().map(|error| error.message).collect()
    };
    let refusals = messages(Validator::new().validate(&schema, &object, None));
    assert_eq!(
        refusals,
        messages(Validator::new().validate_with_defaults(&schema, &object, None)),
        "with defaults"
    );
    refusals
}

#[track_caller]
fn admits(kind: &str, specs: &[&str]) {
    for spec in specs {
        assert_eq!(refusals(kind, spec), [""; 0], "{kind}: {spec}");
    }
}

#[track_caller]
fn refuses(kind: &str, message: &str, specs: &[&str]) {
    for spec in specs {
        assert_eq!(refusals(kind, spec), [message], "{kind}: {spec}");
    }
}

#[test]
fn targets_have_the_group_of_their_kind() {
    admits(
        "TrafficPolicy",
        &[
            "{}",
            "targetRefs: [{kind: Gateway, name: a}]",
            "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a, sectionName: rule}]",
            "targetRefs: [{group: gateway.networking.x-k8s.io, kind: XListenerSet, name: a, namespace: b}]",
            "targetSelectors: [{kind: GRPCRoute, matchLabels: {a: b}}]",
        ],
    );
    refuses(
        "TrafficPolicy",
        "set group to gateway.networking.x-k8s.io for the kind XListenerSet; for the other kinds set it to \
         gateway.networking.k8s.io or leave it out",
        &[
            "targetRefs: [{kind: XListenerSet, name: a}]",
            "targetRefs: [{group: gateway.networking.x-k8s.io, kind: Gateway, name: a}]",
            "targetSelectors: [{group: gateway.networking.k8s.io, kind: XListenerSet, matchLabels: {a: b}}]",
        ],
    );
}

#[test]
fn each_thing_is_given_under_one_name() {
    for (one, other, spec) in [
        ("timeout", "timeouts", "{timeout: {request: 1s}, timeouts: {request: 1s}}"),
        ("retries", "retry", "{retries: {attempts: 1}, retry: {retryOn: [5xx]}}"),
        (
            "requestHeaderModifier",
            "headerModifiers.request",
            "{requestHeaderModifier: {remove: [a]}, headerModifiers: {request: {remove: [a]}}}",
        ),
        (
            "responseHeaderModifier",
            "headerModifiers.response",
            "{responseHeaderModifier: {remove: [a]}, headerModifiers: {response: {remove: [a]}}}",
        ),
    ] {
        refuses("TrafficPolicy", &format!("{one} and {other} mean the same: remove one of them"), &[spec]);
    }
    admits(
        "TrafficPolicy",
        &[
            "{timeout: {request: 1s}, retry: {retryOn: [5xx]}}",
            "{requestHeaderModifier: {remove: [a]}, headerModifiers: {response: {remove: [a]}}}",
        ],
    );

    refuses(
        "TrafficPolicy",
        "autoHostRewrite is possible on HTTPRoutes only: let a policy of its own target HTTPRoutes",
        &[
            "{autoHostRewrite: true, targetRefs: [{kind: Gateway, name: a}]}",
            "{autoHostRewrite: true, targetSelectors: [{kind: GRPCRoute, matchLabels: {}}]}",
        ],
    );
    admits(
        "TrafficPolicy",
        &["autoHostRewrite: true", "{autoHostRewrite: true, targetRefs: [{kind: HTTPRoute, name: a}]}"],
    );

    admits("DirectResponse", &["statusCode: 404", "{status: 503, body: later}"]);
    refuses(
        "DirectResponse",
        "give exactly one of statusCode and status; both mean the status code of the response",
        &["body: none", "{statusCode: 404, status: 404}"],
    );
}

#[test]
fn durations_are_go_durations() {
    for duration in ["30s", "1m30s", "1.5s", ".5s", "1.s", "500ms", "+1h", "0", "0s", "100us", "7ns"] {
        admits("TrafficPolicy", &[&format!("timeout: {{request: '{duration}', idle: '{duration}'}}")]);
        assert!(postern_api::duration::parse_lenient(duration).is_ok(), "{duration}");
    }
    for duration in ["30", "30 s", "-1s", "1d", "1s2", "s", ".s", "", "+", "1h-30m", "soon"] {
        refuses(
            "TrafficPolicy",
            "write a duration as numbers with units h, m, s, ms, us or ns, for example 30s, 1m30s or 1.5s",
            &[
                &format!("timeouts: {{streamIdle: '{duration}'}}"),
                &format!("retries: {{perTryTimeout: '{duration}'}}"),
                &format!("retry: {{retryOn: [reset], backoffBaseInterval: '{duration}'}}"),
            ],
        );
        assert!(postern_api::duration::parse_lenient(duration).is_err(), "{duration}");
    }
}

#[test]
fn attempts_fit_into_requests() {
    for (retries, timeouts) in
        [("retries", "timeout"), ("retries", "timeouts"), ("retry", "timeout"), ("retry", "timeouts")]
    {
        let spec = |attempt: &str, request: &str| {
            format!(
                "{{{retries}: {{retryOn: [reset], perTryTimeout: {attempt}}}, {timeouts}: {{request: {request}}}}}"
            )
        };
        admits("TrafficPolicy", &[&spec("1s", "2s"), &spec("1500ms", "1.5s"), &spec("1h", "0s")]);
        let message = format!(
            "{retries}.perTryTimeout must not be longer than {timeouts}.request: shorten it, or lengthen {timeouts}.request"
        );
        refuses("TrafficPolicy", &message, &[&spec("3s", "2s"), &spec("2m", "119s")]);
    }

    admits("TrafficPolicy", &["retries: {backOff: {baseInterval: 1s, maxInterval: 1s}}"]);
    refuses(
        "TrafficPolicy",
        "baseInterval must not be longer than maxInterval: shorten it, or lengthen maxInterval",
        &["retries: {backOff: {baseInterval: 2s, maxInterval: 1s}}"],
    );
}

#[test]
fn a_retry_says_what_is_retried() {
    admits("TrafficPolicy", &["retry: {statusCodes: [503]}", "retry: {retryOn: [5xx], attempts: 3}"]);
    refuses(
        "TrafficPolicy",
        "give retryOn or statusCodes, so that something is retried",
        &["retry: {attempts: 3}", "retry: {}"],
    );
}

#[test]
fn the_age_of_a_preflight_answer_has_two_forms() {
    for age in ["24h", "86400", "'86400'", "0", "1.5h"] {
        admits("TrafficPolicy", &[&format!("cors: {{allowOrigins: ['*'], maxAge: {age}}}")]);
    }
    for age in ["-1", "'-1s'", "forever", "''", "1d"] {
        refuses(
            "TrafficPolicy",
            "write a duration such as 24h, or a whole number of seconds that is not negative",
            &[&format!("cors: {{maxAge: {age}}}")],
        );
    }
}

#[test]
fn backends_have_the_settings_of_their_type() {
    admits(
        "Backend",
        &[
            "{type: Static, static: {hosts: [{host: a, port: 1}]}}",
            "static: {hosts: [{host: a, port: 1}]}",
            "{type: AWS, aws: {region: a}}",
            "{type: AI, ai: {provider: {type: openai, openai: {}}}}",
            "{type: DynamicForwardProxy, dynamicForwardProxy: {}}",
            "mcp: {targets: [{name: a, static: {host: a, port: 1}}, {name: b, selector: {service: {}}}]}",
            "ai: {priorityGroups: [{providers: [{name: a, openai: {authToken: {kind: Passthrough}}}]}]}",
        ],
    );
    refuses(
        "Backend",
        "give exactly one of static, aws, ai, dynamicForwardProxy, mcp",
        &["{}", "{aws: {region: a}, static: {hosts: [{host: a, port: 1}]}}"],
    );
    refuses(
        "Backend",
        "type must fit the field that is given: Static for static, AWS for aws, AI for ai, DynamicForwardProxy for \
         dynamicForwardProxy, MCP for mcp; or leave type out",
        &["{type: AI, static: {hosts: [{host: a, port: 1}]}}"],
    );
    refuses("Backend", "give exactly one of provider, llm, priorityGroups", &["ai: {}"]);
    refuses(
        "Backend",
        "give both of host and port, or neither",
        &["ai: {llm: {openai: {authToken: {kind: Passthrough}}, host: a}}"],
    );
    refuses(
        "Backend",
        "give exactly one of openai, azureopenai, anthropic, gemini, vertexai, bedrock",
        &["ai: {llm: {}}"],
    );
    refuses(
        "Backend",
        "lambdaFunctionName and lambda mean the same: remove one of them",
        &["aws: {lambdaFunctionName: a, lambda: {functionName: a}}"],
    );
    refuses(
        "Backend",
        "type Secret needs secretRef: name the Secret with the keys",
        &["aws: {auth: {type: Secret}}"],
    );
    refuses("Backend", "give exactly one of selector, static", &["mcp: {targets: [{name: a}]}"]);
    refuses(
        "Backend",
        "give each of targets a name of its own",
        &["mcp: {targets: [{name: a, static: {host: a, port: 1}}, {name: a, static: {host: b, port: 1}}]}"],
    );
    refuses(
        "Backend",
        "remove the settings of other providers: of openai, azure, gemini, only the one named by type may be given",
        &["ai: {provider: {type: gemini, openai: {}}}", "ai: {provider: {type: mistral, azure: {}}}"],
    );
}

#[test]
fn extensions_have_the_settings_of_their_type() {
    let service = "{grpcService: {backendRef: {name: a, port: 1}}}";
    admits(
        "GatewayExtension",
        &[&format!("{{type: ExtAuth, extAuth: {service}}}"), &format!("rateLimit: {service}")],
    );
    refuses(
        "GatewayExtension",
        "give exactly one of extAuth, extProc, rateLimit",
        &["{}", &format!("{{extAuth: {service}, extProc: {service}}}")],
    );
    refuses(
        "GatewayExtension",
        "type must fit the field that is given: ExtAuth for extAuth, ExtProc for extProc, RateLimit for rateLimit; or \
         leave type out",
        &[&format!("{{type: ExtProc, extAuth: {service}}}")],
    );
}

#[test]
fn limits_of_a_service_are_said_once() {
    let reference = "extensionRef: {name: a}";
    let entries =
        "[{type: Generic, generic: {key: a, value: b}}, {type: Header, header: x-user}, {type: Path}]";
    let global = format!("global: {{{reference}, descriptors: [{{entries: {entries}}}]}}");
    admits(
        "TrafficPolicy",
        &[
            &format!("extAuth: {{{reference}, disable: false}}"),
            "{extAuth: {disable: {}}, extProc: {disable: true}}",
            &format!("rateLimit: {{{global}}}"),
            &format!("rateLimit: {{{reference}}}"),
        ],
    );
    refuses(
        "TrafficPolicy",
        "extensionRef and global mean the same: remove one of them",
        &[&format!("rateLimit: {{{reference}, {global}}}")],
    );
    let entry = |entry: &str| {
        format!("rateLimit: {{global: {{{reference}, descriptors: [{{entries: [{entry}]}}]}}}}")
    };
    refuses(
        "TrafficPolicy",
        "give generic for type Generic, header for type Header, and neither for the other types",
        &[
            &entry("{type: Generic}"),
            &entry("{type: Header, generic: {key: a, value: b}}"),
            &entry("{type: Path, header: x}"),
        ],
    );
}

#[test]
fn policies_on_backends() {
    admits(
        "BackendConfigPolicy",
        &[
            "targetRefs: [{kind: Service, name: a}, {group: gateway.kgateway.dev, kind: Backend, name: b}]",
            "targetRefs: [{group: networking.istio.io, kind: Hostname, name: a}]",
            "tls: {insecureSkipVerify: false}",
            "loadBalancer: {random: {}}",
        ],
    );
    for (message, spec) in [
        (
            "set group to gateway.kgateway.dev for the kind Backend; for Service leave it empty or out",
            "targetRefs: [{kind: Backend, name: a}]",
        ),
        (
            "give http1ProtocolOptions or http2ProtocolOptions, not both",
            "{http1ProtocolOptions: {}, http2ProtocolOptions: {}}",
        ),
        (
            "give exactly one of secretRef, files, insecureSkipVerify, wellKnownCACertificates",
            "tls: {insecureSkipVerify: true, secretRef: {name: a}}",
        ),
        (
            "give exactly one of leastRequest, roundRobin, ringHash, maglev, random",
            "loadBalancer: {random: {}, maglev: {}}",
        ),
        (
            "minimumRingSize must not be more than maximumRingSize: lower it, or raise maximumRingSize",
            "loadBalancer: {ringHash: {minimumRingSize: 2, maximumRingSize: 1}}",
        ),
        (
            "give exactly one of header, cookie, sourceIP",
            "loadBalancer: {maglev: {hashPolicies: [{terminal: true}]}}",
        ),
        (
            "give exactly one of http, grpc",
            "healthCheck: {timeout: 1s, interval: 1s, unhealthyThreshold: 1, healthyThreshold: 1}",
        ),
    ] {
        refuses("BackendConfigPolicy", message, &[spec]);
    }
}

#[test]
fn ai_backends_have_a_provider_or_groups() {
    admits("AIBackend", &["provider: {type: mistral}", "groups: [{backends: [{backendRef: {name: a}}]}]"]);
    refuses("AIBackend", "give provider or groups", &["{}"]);
}

#[test]
fn listener_policies_apply_to_listeners() {
    admits(
        "HTTPListenerPolicy",
        &["targetRefs: [{kind: Gateway, name: a, sectionName: b}, {kind: ListenerSet, name: a}]"],
    );
    refuses(
        "HTTPListenerPolicy",
        "an HTTPListenerPolicy applies to listeners: let targetRefs name Gateways, ListenerSets or XListenerSets only",
        &["targetRefs: [{kind: HTTPRoute, name: a}]"],
    );
    refuses(
        "HTTPListenerPolicy",
        "give targetRefs or targetSelectors: without them the policy applies to nothing",
        &["{}"],
    );
    refuses(
        "HTTPListenerPolicy",
        "an HTTPListenerPolicy applies to listeners: let targetSelectors select Gateways, ListenerSets or XListenerSets only",
        &["targetSelectors: [{kind: HTTPRoute, matchLabels: {a: b}}]"],
    );
}

#[test]
fn listener_policies_say_things_once() {
    let on = |fields: &str| format!("{{targetRefs: [{{kind: Gateway, name: a}}], {fields}}}");
    let file = "fileSink: {path: /dev/stdout, stringFormat: x}";
    admits(
        "HTTPListenerPolicy",
        &[
            &on(&format!("accessLog: [{{{file}}}]")),
            &on(&format!("accessLogging: {{{file}}}")),
            &on("acceptHttp10: true, defaultHostForHttp10: a"),
        ],
    );
    for (message, fields) in [
        ("defaultHostForHttp10 is for HTTP/1.0: set acceptHttp10 to true, or remove it", "defaultHostForHttp10: a".into()),
        (
            "give exactly one of fileSink, grpcService, openTelemetry",
            format!("accessLog: [{{{file}, grpcService: {{backendRef: {{name: a}}, logName: b}}}}]"),
        ),
        (
            "give exactly one of stringFormat, jsonFormat",
            "accessLog: [{fileSink: {path: /dev/stdout, stringFormat: x, jsonFormat: {}}}]".into(),
        ),
        (
            "baseInterval must not be longer than maxInterval: shorten it, or lengthen maxInterval",
            "accessLog: [{grpcService: {backendRef: {name: a}, logName: b, retryPolicy: {retryBackOff: {baseInterval: 2s, maxInterval: 1s}}}}]".into(),
        ),
        (
            "give exactly one of literal, environment, requestHeader, metadata",
            "tracing: {provider: {openTelemetry: {grpcService: {backendRef: {name: a}}}}, attributes: [{name: a}]}".into(),
        ),
    ] {
        refuses("HTTPListenerPolicy", message, &[&on(&fields)]);
    }
}

#[test]
fn parameters_have_one_who_deploys() {
    admits("GatewayParameters", &["kube: {}", "selfManaged: {}", "selfManaged: {anything: goes}"]);
    refuses(
        "GatewayParameters",
        "give exactly one of kube, selfManaged",
        &["{}", "{kube: {}, selfManaged: {}}"],
    );
}

#[test]
fn parameters_have_one_number_of_proxies() {
    let autoscaler = "horizontalPodAutoscaler: {spec: {maxReplicas: 3}}";
    admits(
        "GatewayParameters",
        &[
            "kube: {deployment: {replicas: 0}}",
            &format!("kube: {{{autoscaler}}}"),
            &format!("kube: {{deployment: {{strategy: {{type: Recreate}}}}, {autoscaler}}}"),
        ],
    );
    refuses(
        "GatewayParameters",
        "give deployment.replicas or horizontalPodAutoscaler, not both: the autoscaler sets the number of proxies",
        &[&format!("kube: {{deployment: {{replicas: 2}}, {autoscaler}}}")],
    );
    let beside = |fields: &str| format!("kube: {{horizontalPodAutoscaler: {{{fields}}}}}");
    let inside = |fields: &str| beside(&format!("spec: {{{fields}}}"));
    for given in [&beside as &dyn Fn(&str) -> String, &inside] {
        admits(
            "GatewayParameters",
            &[
                &given("minReplicas: 3, maxReplicas: 3, targetCPUUtilizationPercentage: 50"),
                &given("maxReplicas: 1, metrics: [{type: Resource}]"),
                // The class may say the rest.
                &given("minReplicas: 5"),
            ],
        );
        refuses(
            "GatewayParameters",
            "minReplicas must not be more than maxReplicas: lower it, or raise maxReplicas",
            &[&given("minReplicas: 4, maxReplicas: 3")],
        );
        refuses(
            "GatewayParameters",
            "give metrics or targetCPUUtilizationPercentage, not both",
            &[&given("maxReplicas: 3, targetCPUUtilizationPercentage: 50, metrics: [{type: Resource}]")],
        );
    }
    refuses(
        "GatewayParameters",
        "give minReplicas, maxReplicas, metrics, targetCPUUtilizationPercentage, behavior in spec or beside it, not both",
        &[&beside("minReplicas: 1, spec: {maxReplicas: 3}")],
    );
    refuses(
        "GatewayParameters",
        "give minAvailable or maxUnavailable, not both",
        &[
            "kube: {podDisruptionBudget: {minAvailable: 1, maxUnavailable: 50%}}",
            "kube: {podDisruptionBudget: {spec: {minAvailable: 1, maxUnavailable: 50%}}}",
        ],
    );
    refuses(
        "GatewayParameters",
        "give minAvailable, maxUnavailable, unhealthyPodEvictionPolicy in spec or beside it, not both",
        &["kube: {podDisruptionBudget: {minAvailable: 1, spec: {}}}"],
    );
}

#[test]
fn proxies_wake_before_they_are_killed() {
    let pod = |pod: &str| format!("kube: {{podTemplate: {{{pod}}}}}");
    admits(
        "GatewayParameters",
        &[
            &pod("gracefulShutdown: {}"),
            &pod("gracefulShutdown: {sleepTimeSeconds: 600}"),
            &pod(
                "gracefulShutdown: {enabled: false, sleepTimeSeconds: 600}, terminationGracePeriodSeconds: 5",
            ),
            &pod("terminationGracePeriodSeconds: 0"),
            &pod(
                "gracefulShutdown: {enabled: true, sleepTimeSeconds: 300}, terminationGracePeriodSeconds: 301",
            ),
        ],
    );
    refuses(
        "GatewayParameters",
        "gracefulShutdown.sleepTimeSeconds must be less than terminationGracePeriodSeconds: shorten it, or lengthen \
         that",
        &[
            &pod("gracefulShutdown: {sleepTimeSeconds: 60}, terminationGracePeriodSeconds: 59"),
            &pod(
                "gracefulShutdown: {enabled: true, sleepTimeSeconds: 10}, terminationGracePeriodSeconds: 10",
            ),
        ],
    );
}

/// The API server refuses a definition whose expressions name a field of no type, such as one that may be a flag or an object.
#[test]
fn expressions_name_fields_that_have_a_type() {
    fn walk(schema: &Value, path: &str, wrong: &mut Vec<String>) {
        for validation in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let rule = validation["rule"].as_str().unwrap();
            for field in rule.split("self.").skip(1).filter(|_| schema["properties"].is_object()) {
                let mut at = schema;
                let end = field.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(field.len());
                for name in field[..end].split('.') {
                    if !at["properties"].is_object() {
                        // The rest are functions of the value.
                        break;
                    }
                    at = &at["properties"][name];
                    if at["type"].is_null() && at["x-kubernetes-int-or-string"] != true {
                        wrong.push(format!("{path}: {field:?} in {rule:?}"));
                        break;
                    }
                }
            }
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(property, &format!("{path}.{name}"), wrong);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                walk(&schema[inner], &format!("{path}[]"), wrong);
            }
        }
    }
    let mut wrong = Vec::new();
    for crd in extension_crds() {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        walk(&serde_json::to_value(schema).unwrap(), &crd.spec.names.kind, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn guards_of_traffic_policies_are_whole() {
    admits(
        "TrafficPolicy",
        &[
            "csrf: {}",
            "csrf: {percentageShadowed: 3, additionalOrigins: [{exact: a}, {safeRegex: b, ignoreCase: true}]}",
            "rbac: {policy: {matchExpressions: ['true']}}",
            "buffer: {maxRequestSize: 64Ki}",
            "buffer: {disable: {}}",
            "rateLimit: {local: {tokenBucket: {maxTokens: 1, fillInterval: 50ms}}}",
        ],
    );
    refuses(
        "TrafficPolicy",
        "give percentageEnabled or percentageShadowed, not both",
        &["csrf: {percentageEnabled: 1, percentageShadowed: 1}"],
    );
    refuses(
        "TrafficPolicy",
        "give exactly one of exact, prefix, suffix, contains, safeRegex",
        &[
            "csrf: {additionalOrigins: [{exact: a, prefix: b}]}",
            "csrf: {additionalOrigins: [{ignoreCase: true}]}",
        ],
    );
}

#[test]
fn values_of_headers_are_templates_or_expressions() {
    let set = |entry: &str| {
        format!("transformation: {{request: {{set: [{entry}]}}, response: {{add: [{entry}]}}}}")
    };
    for entry in
        ["{name: a, value: ''}", "{name: ':path', value: '{{ x }}'}", "{name: a, expression: request.path}"]
    {
        admits("TrafficPolicy", &[&set(entry)]);
    }
    for entry in ["{name: a}", "{name: a, value: b, expression: c}"] {
        let both = ["give exactly one of value, expression"; 2];
        assert_eq!(refusals("TrafficPolicy", &set(entry)), both, "{entry}");
    }
}
