//! Objects with every field of the extension kinds, in both dialects, pass through our types unchanged, and each
//! field that they have is in the CRD.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::time::Duration;

use postern_api::crds::extension_crds;
use postern_api::kgateway::{
    AiBackendSpec, BackendConfigPolicySpec, BackendSpec, BackendType, BodyMode, CorsMaxAge, CorsOrigin,
    CorsOriginMatchType, DirectResponseSpec, Disable, GatewayExtensionSpec, GatewayParametersSpec,
    HttpListenerPolicySpec, RateLimitHeaders, ServiceType, TrafficPolicySpec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Passes the spec, in YAML, through its type.
#[track_caller]
fn pass<T: DeserializeOwned + Serialize>(kind: &str, spec: &str) -> T {
    let spec: Value = serde_yaml::from_str(spec).unwrap();
    let mut unknown = Vec::new();
    let read: T = serde_ignored::deserialize(&spec, |path| unknown.push(path.to_string())).unwrap();
    assert!(unknown.is_empty(), "{kind} has no {unknown:?}");
    assert_eq!(serde_json::to_value(&read).unwrap(), spec, "{kind}");

    let crd = extension_crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    conforms(&spec, &serde_json::to_value(schema).unwrap()["properties"]["spec"], "spec");
    read
}

/// The value has the types, enum values and bounds of the schema, and no other fields.
#[track_caller]
fn conforms(value: &Value, schema: &Value, path: &str) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true || schema["x-kubernetes-int-or-string"] == true
    {
        return;
    }
    match (schema["type"].as_str().unwrap(), value) {
        ("object", Value::Object(fields)) => {
            for (name, field) in fields {
                let property = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                assert!(property.is_object(), "the CRD has no {path}.{name}");
                conforms(field, property, &format!("{path}.{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{path} lacks {name}");
            }
        }
        ("array", Value::Array(items)) => {
            for item in items {
                conforms(item, &schema["items"], &format!("{path}[]"));
            }
            // Lists in Kubernetes' own types have no bounds.
            let most = schema["maxItems"].as_u64().map_or(usize::MAX, |most| most.try_into().unwrap());
            assert!(items.len() <= most, "{path}");
        }
        ("string", Value::String(text)) => {
            assert!(
                !schema["enum"].is_array() || schema["enum"].as_array().unwrap().contains(value),
                "{path}: {text}"
            );
        }
        ("integer", Value::Number(number)) => {
            let number = number.as_f64().unwrap();
            assert!(schema["minimum"].as_f64().is_none_or(|minimum| number >= minimum), "{path}: {number}");
            assert!(schema["maximum"].as_f64().is_none_or(|maximum| number <= maximum), "{path}: {number}");
        }
        ("boolean", Value::Bool(_)) => {}
        (expected, value) => panic!("{path} should be of type {expected}: {value}"),
    }
}

#[test]
fn traffic_policy() {
    let spec: TrafficPolicySpec = pass(
        "TrafficPolicy",
        "
        targetRefs:
        - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop, namespace: web, sectionName: checkout}
        cors:
          allowOrigins:
          - {type: Exact, value: 'https://example.com'}
          - {type: Prefix, value: 'https://'}
          - {type: Regex, value: 'https://.*[.]example[.]com'}
          allowMethods: [GET, POST]
          allowHeaders: [x-token]
          exposeHeaders: [x-id]
          maxAge: 24h
          allowCredentials: true
        extAuth: {extensionRef: {name: opa, namespace: auth}, disable: false}
        extProc: {extensionRef: {name: changer, namespace: proc}, disable: true}
        rateLimit: {extensionRef: {name: limiter, namespace: limits}, disable: false}
        timeout: {request: 30s, idle: 5m}
        retries:
          attempts: 3
          perTryTimeout: 2s
          backOff: {baseInterval: 25ms, maxInterval: 1s}
          retryOn: connect-failure,refused-stream,5xx
        requestHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [e]}
        responseHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [e]}
        ",
    );
    let cors = spec.cors.unwrap();
    assert!(
        matches!(&cors.allow_origins[2], CorsOrigin::Match(origin) if origin.type_ == Some(CorsOriginMatchType::Regex))
    );
    assert_eq!(cors.max_age.unwrap().duration(), Ok(Duration::from_hours(24)));
    assert!(!spec.ext_auth.unwrap().disable.unwrap().is_set());
    assert!(spec.ext_proc.unwrap().disable.unwrap().is_set());
}

#[test]
fn traffic_policy_of_kgateway_2_1() {
    let spec: TrafficPolicySpec = pass(
        "TrafficPolicy",
        "
        targetRefs:
        - {group: gateway.networking.x-k8s.io, kind: XListenerSet, name: more}
        targetSelectors:
        - {group: gateway.networking.k8s.io, kind: Gateway, matchLabels: {tier: public}, sectionName: https}
        cors:
          allowOrigins: ['https://*.example.com', '*']
          maxAge: 3600
          disable: {}
        extAuth:
          extensionRef: {name: opa}
          withRequestBody: {maxRequestBytes: 10, allowPartialMessage: false, packAsBytes: false}
          contextExtensions: {shop: main}
          disable: false
        extProc:
          extensionRef: {name: changer}
          processingMode: {requestBodyMode: BUFFERED, responseBodyMode: BUFFERED_PARTIAL, requestTrailerMode: SKIP}
        rateLimit:
          global:
            extensionRef: {name: limiter, namespace: limits}
            descriptors:
            - entries:
              - {type: Generic, generic: {key: plan, value: free}}
              - {type: Header, header: x-user}
            - entries: [{type: RemoteAddress}, {type: Path}]
        timeouts: {request: 30s, streamIdle: 5m}
        retry:
          retryOn: [5xx, reset, unavailable]
          attempts: 2
          perTryTimeout: 500ms
          statusCodes: [429, 503]
          backoffBaseInterval: 50ms
        headerModifiers:
          request: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [e]}
          response: {remove: [f]}
        autoHostRewrite: true
        csrf:
          percentageEnabled: 10
          percentageShadowed: 20
          additionalOrigins:
          - {exact: a, ignoreCase: true}
          - {prefix: a}
          - {suffix: a}
          - {contains: a}
          - {safeRegex: a}
        rbac: {action: Deny, policy: {matchExpressions: ['true']}}
        buffer: {maxRequestSize: 64Ki, disable: {}}
        rateLimit: {local: {tokenBucket: {maxTokens: 3, tokensPerFill: 2, fillInterval: 1s}}}
        ",
    );
    let cors = spec.cors.unwrap();
    assert_eq!(cors.allow_origins[1], CorsOrigin::Origin("*".to_owned()));
    assert_eq!(cors.max_age, Some(CorsMaxAge::Seconds(3600)));
    assert_eq!(cors.disable, Some(Disable::Object));
    assert!(!spec.ext_auth.unwrap().disable.unwrap().is_set());
}

#[test]
fn values_of_two_forms_say_what_they_may_be() {
    let error = |spec: &str| serde_yaml::from_str::<TrafficPolicySpec>(spec).unwrap_err().to_string();
    assert!(
        error("cors: {allowOrigins: [1]}")
            .contains("expected an origin such as https://example.com, or an object")
    );
    assert!(error("cors: {allowOrigins: [{type: Exact}]}").contains("missing field `value`"));
    assert!(
        error("cors: {maxAge: -1}").contains("expected a duration such as 24h, or a whole number of seconds")
    );
    assert!(error("extAuth: {disable: no way}").contains("expected true, false or an empty object"));

    let mut unknown = Vec::new();
    let spec = serde_yaml::Deserializer::from_str("cors: {allowOrigins: [{typ: Exact, value: a}]}");
    let _: TrafficPolicySpec =
        serde_ignored::deserialize(spec, |path| unknown.push(path.to_string())).unwrap();
    assert_eq!(unknown, ["cors.?.allowOrigins.0.typ"]);

    assert_eq!(CorsMaxAge::Duration("60".into()).duration(), Ok(Duration::from_mins(1)));
    assert!(CorsMaxAge::Duration("+60".into()).duration().is_err());
}

#[test]
fn backend() {
    let spec: BackendSpec = pass(
        "Backend",
        "
        type: Static
        static:
          hosts:
          - {host: example.com, port: 443, tls: {sni: www.example.com}}
          - {host: 192.0.2.1, port: 65535}
          appProtocol: kubernetes.io/h2c
        ",
    );
    assert_eq!(spec.backend_type(), Some(BackendType::Static));
    let spec: BackendSpec = pass(
        "Backend",
        "aws: {region: eu-west-1, lambdaFunctionName: f, accountId: '123456789012', roleArn: 'arn:aws:iam::1:role/r'}",
    );
    assert_eq!(spec.backend_type(), Some(BackendType::Aws));
    for provider in [
        "{type: openai, openai: {authToken: {secretRef: {name: key, namespace: ai}}}}",
        "{type: azure, azure: {endpoint: e, deploymentName: d, apiVersion: v, authToken: {secretRef: {name: key}}}}",
        "{type: gemini, gemini: {authToken: {secretRef: {name: key, namespace: ai}}}}",
        "{type: mistral}",
    ] {
        let spec: BackendSpec = pass("Backend", &format!("{{type: AI, ai: {{provider: {provider}}}}}"));
        assert_eq!(spec.backend_type(), Some(BackendType::Ai));
    }
}

/// What kgateway v2.1 has beside.
#[test]
fn backend_of_kgateway_2_1() {
    let spec: BackendSpec = pass(
        "Backend",
        "
        type: AWS
        aws:
          region: eu-west-1
          accountId: '123456789012'
          auth: {type: Secret, secretRef: {name: keys}}
          lambda:
            endpointURL: https://lambda.example.com:9000/x
            functionName: f-1
            invocationMode: Async
            qualifier: $LATEST
            payloadTransformMode: None
        ",
    );
    assert_eq!(spec.backend_type(), Some(BackendType::Aws));
    let token = "authToken: {kind: SecretRef, secretRef: {name: key}}";
    for provider in [
        format!("openai: {{{token}, model: m}}"),
        format!("azureopenai: {{{token}, endpoint: e.example.com, deploymentName: d, apiVersion: v}}"),
        format!("anthropic: {{{token}, apiVersion: v, model: m}}"),
        format!("gemini: {{{token}, model: m, apiVersion: v}}"),
        format!(
            "vertexai: {{{token}, model: m, apiVersion: v, projectId: p, location: l, modelPath: mp, publisher: GOOGLE}}"
        ),
        "bedrock: {auth: {type: Secret, secretRef: {name: k}}, model: m, region: us-east-1, guardrail: {identifier: i, version: v}}".to_owned(),
        "openai: {authToken: {kind: Inline, inline: key}}, host: h.example.com, port: 443, path: {full: /v1}, authHeader: {prefix: Bearer, headerName: x-key}".to_owned(),
    ] {
        let spec: BackendSpec = pass("Backend", &format!("{{type: AI, ai: {{llm: {{{provider}}}}}}}"));
        assert_eq!(spec.backend_type(), Some(BackendType::Ai));
        let groups = format!("{{ai: {{priorityGroups: [{{providers: [{{name: one, {provider}}}]}}]}}}}");
        let _: BackendSpec = pass("Backend", &groups);
    }
    let spec: BackendSpec =
        pass("Backend", "{type: DynamicForwardProxy, dynamicForwardProxy: {enableTls: true}}");
    assert_eq!(spec.backend_type(), Some(BackendType::DynamicForwardProxy));
    let _: BackendSpec = pass("Backend", "dynamicForwardProxy: {}");
    let spec: BackendSpec = pass(
        "Backend",
        "
        type: MCP
        mcp:
          targets:
          - name: one
            static: {host: mcp.example.com, port: 8080, path: /mcp, protocol: SSE}
          - name: some
            selector:
              namespace: {matchLabels: {team: a}}
              service: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}
        ",
    );
    assert_eq!(spec.backend_type(), Some(BackendType::Mcp));
}

#[test]
fn backend_config_policy() {
    let _: BackendConfigPolicySpec = pass(
        "BackendConfigPolicy",
        "
        targetRefs:
        - {group: '', kind: Service, name: a}
        - {kind: Service, name: b}
        - {group: gateway.kgateway.dev, kind: Backend, name: c}
        - {group: networking.istio.io, kind: Hostname, name: d.example.com}
        targetSelectors:
        - {group: gateway.kgateway.dev, kind: Backend, matchLabels: {a: b}}
        connectTimeout: 3s
        perConnectionBufferLimitBytes: 65536
        tcpKeepalive: {keepAliveProbes: 3, keepAliveTime: 30s, keepAliveInterval: 5s}
        commonHttpProtocolOptions: {idleTimeout: 10m, maxHeadersCount: 50, maxStreamDuration: 1h, maxRequestsPerConnection: 100}
        http1ProtocolOptions: {enableTrailers: true, preserveHttp1HeaderCase: true, overrideStreamErrorOnInvalidHttpMessage: true}
        tls:
          secretRef: {name: s}
          sni: a.example.com
          verifySubjectAltNames: [a.example.com, 'spiffe://a/b']
          parameters: {minVersion: '1.2', maxVersion: AUTO, cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256], ecdhCurves: [X25519]}
          alpnProtocols: [h2]
          allowRenegotiation: true
          simpleTLS: true
        loadBalancer:
          healthyPanicThreshold: 50
          updateMergeWindow: 5s
          ringHash:
            minimumRingSize: 64
            maximumRingSize: 1024
            useHostnameForHashing: true
            hashPolicies:
            - {header: {name: x-user}, terminal: true}
            - {cookie: {name: c, path: /, ttl: 1h, secure: true, httpOnly: true, sameSite: Lax}}
            - {sourceIP: {}}
          localityType: WeightedLb
          closeConnectionsOnHostSetChange: true
        healthCheck: {timeout: 1s, interval: 5s, unhealthyThreshold: 3, healthyThreshold: 2, http: {host: h, path: /well, method: HEAD}}
        outlierDetection: {consecutive5xx: 3, interval: 1s, baseEjectionTime: 10s, maxEjectionPercent: 50}
        ",
    );
    for spec in [
        "http2ProtocolOptions: {initialStreamWindowSize: 64Ki, initialConnectionWindowSize: 1Mi, maxConcurrentStreams: 10, overrideStreamErrorOnInvalidHttpMessage: true}",
        "http2ProtocolOptions: {initialStreamWindowSize: 65536}",
        "tls: {files: {tlsCertificate: /c, tlsKey: /k, rootCA: /r}}",
        "tls: {wellKnownCACertificates: System}",
        "tls: {insecureSkipVerify: true}",
        "loadBalancer: {leastRequest: {choiceCount: 3, slowStart: {window: 10s, aggression: '1.5', minWeightPercent: 20}}}",
        "loadBalancer: {roundRobin: {slowStart: {window: 10s, aggression: '1.5', minWeightPercent: 20}}}",
        "loadBalancer: {maglev: {useHostnameForHashing: true, hashPolicies: [{sourceIP: {}}]}}",
        "loadBalancer: {random: {}}",
        "healthCheck: {timeout: 1s, interval: 5s, unhealthyThreshold: 3, healthyThreshold: 2, grpc: {serviceName: s, authority: a}}",
    ] {
        let _: BackendConfigPolicySpec = pass("BackendConfigPolicy", spec);
    }
}

#[test]
fn ai_backend() {
    let _: AiBackendSpec = pass(
        "AIBackend",
        "
        provider: {type: openai, openai: {model: m, authToken: {secretRef: {name: key, namespace: ai}}}}
        groups:
        - priority: 0
          backends: [{backendRef: {name: a, namespace: b}, weight: 3}]
        ",
    );
    let _: AiBackendSpec =
        pass("AIBackend", "provider: {type: gemini, gemini: {model: m, authToken: {secretRef: {name: k}}}}");
}

#[test]
fn direct_response() {
    let spec: DirectResponseSpec = pass("DirectResponse", "{statusCode: 404, body: not here}");
    assert_eq!(spec.code(), Some(404));
    let spec: DirectResponseSpec = pass("DirectResponse", "status: 599");
    assert_eq!(spec.code(), Some(599));
    assert_eq!(DirectResponseSpec::default().code(), None);
}

#[test]
fn gateway_extension() {
    for (type_, field) in [("ExtAuth", "extAuth"), ("ExtProc", "extProc"), ("RateLimit", "rateLimit")] {
        let spec = format!(
            "{{type: {type_}, {field}: {{grpcService: {{backendRef: {{name: a, namespace: b, port: 9001}}}}}}}}"
        );
        let _: GatewayExtensionSpec = pass("GatewayExtension", &spec);
    }
}

#[test]
fn gateway_extension_of_kgateway_2_1() {
    let service = "grpcService: {backendRef: {group: gateway.kgateway.dev, kind: Backend, name: a, port: 9001, weight: 1}, \
                   authority: auth.example.com, requestTimeout: 2s}";
    let authorizer = "failOpen: true, clearRouteCache: true, statusOnError: 503, statPrefix: auth, \
                      withRequestBody: {maxRequestBytes: 1024, allowPartialMessage: true, packAsBytes: true}";
    let spec: GatewayExtensionSpec =
        pass("GatewayExtension", &format!("{{type: ExtAuth, extAuth: {{{service}, {authorizer}}}}}"));
    assert_eq!(spec.ext_auth.unwrap().with_request_body.unwrap().max_request_bytes, 1024);
    let processor = "failOpen: false, messageTimeout: 1s, maxMessageTimeout: 5s, statPrefix: proc, \
                     routeCacheAction: Clear, metadataOptions: {forwarding: {typed: [a], untyped: [b]}}, \
                     processingMode: {requestHeaderMode: SEND, responseHeaderMode: SKIP, requestBodyMode: STREAMED, \
                     responseBodyMode: FULL_DUPLEX_STREAMED, requestTrailerMode: DEFAULT, responseTrailerMode: SEND}";
    let spec: GatewayExtensionSpec =
        pass("GatewayExtension", &format!("{{type: ExtProc, extProc: {{{service}, {processor}}}}}"));
    let mode = spec.ext_proc.unwrap().processing_mode.unwrap();
    assert_eq!(mode.response_body_mode, Some(BodyMode::FullDuplexStreamed));
    let limiter = "domain: shop, failOpen: false, timeout: 50ms, xRateLimitHeaders: DraftVersion03";
    let spec: GatewayExtensionSpec =
        pass("GatewayExtension", &format!("{{type: RateLimit, rateLimit: {{{service}, {limiter}}}}}"));
    assert_eq!(spec.rate_limit.unwrap().x_rate_limit_headers, Some(RateLimitHeaders::DraftVersion03));
}

#[test]
fn gateway_parameters() {
    let _: GatewayParametersSpec = pass(
        "GatewayParameters",
        "
        kube:
          deployment: {replicas: 3}
          podTemplate:
            extraLabels: {a: b}
            extraAnnotations: {c: d}
            nodeSelector: {e: f}
            tolerations: [{key: k, operator: Equal, value: v, effect: NoSchedule}]
          envoyContainer:
            resources:
              requests: {cpu: 500m, memory: 128Mi}
              limits: {cpu: '2', memory: 1Gi}
            image: {registry: registry.example.com, repository: envoy/envoy, tag: v1.40.0}
          service: {type: LoadBalancer, extraAnnotations: {g: h}}
        ",
    );
    // A number is a quantity too.
    let spec = "kube: {envoyContainer: {resources: {limits: {cpu: 2}}}}";
    assert!(serde_yaml::from_str::<GatewayParametersSpec>(spec).is_ok());
}

#[test]
fn gateway_parameters_of_kgateway_2_1() {
    let spec: GatewayParametersSpec =
        pass("GatewayParameters", include_str!("data/gateway-parameters-kgateway-2.1.yaml"));
    let kube = spec.kube.unwrap();
    assert_eq!(kube.service.unwrap().type_, Some(ServiceType::NodePort));
    assert_eq!(kube.pod_template.unwrap().extra_volumes.len(), 6);
    let spec: GatewayParametersSpec = pass("GatewayParameters", "{selfManaged: {}}");
    assert!(spec.self_managed.is_some_and(|fields| fields.is_empty()));
    // The schema of kgateway v2.1 lets anything through here.
    let _: GatewayParametersSpec = pass("GatewayParameters", "{selfManaged: {note: {by: hand}}}");
}

#[test]
fn gateway_parameters_of_our_own() {
    let spec: GatewayParametersSpec = pass(
        "GatewayParameters",
        "
        kube:
          horizontalPodAutoscaler:
            metadata: {labels: {a: b}, annotations: {c: d}}
            spec:
              minReplicas: 2
              maxReplicas: 10
              metrics:
              - type: Resource
                resource: {name: memory, target: {type: Utilization, averageUtilization: 70}}
              - type: ContainerResource
                containerResource: {name: cpu, container: envoy, target: {type: AverageValue, averageValue: 500m}}
              - type: Pods
                pods: {metric: {name: requests, selector: {matchLabels: {a: b}}}, target: {type: AverageValue, averageValue: '100'}}
              behavior:
                scaleUp: {selectPolicy: Max, policies: [{type: Pods, value: 4, periodSeconds: 15}]}
                scaleDown: {stabilizationWindowSeconds: 300, policies: [{type: Percent, value: 10, periodSeconds: 60}]}
          podDisruptionBudget:
            metadata: {labels: {a: b}, annotations: {c: d}}
            spec: {minAvailable: 50%, unhealthyPodEvictionPolicy: AlwaysAllow}
        ",
    );
    let kube = spec.kube.unwrap();
    assert_eq!(kube.horizontal_pod_autoscaler.unwrap().spec().metrics.len(), 3);
    assert!(kube.pod_disruption_budget.unwrap().spec().min_available.is_some());
    let spec: GatewayParametersSpec = pass(
        "GatewayParameters",
        "
        kube:
          horizontalPodAutoscaler:
            metadata: {labels: {a: b}}
            minReplicas: 2
            maxReplicas: 3
            metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
            behavior: {scaleDown: {stabilizationWindowSeconds: 300}}
          podDisruptionBudget: {metadata: {labels: {a: b}}, maxUnavailable: 1, unhealthyPodEvictionPolicy: IfHealthyBudget}
        ",
    );
    let kube = spec.kube.unwrap();
    assert_eq!(kube.horizontal_pod_autoscaler.unwrap().spec().max_replicas, Some(3));
    assert!(kube.pod_disruption_budget.unwrap().spec().max_unavailable.is_some());
    let _: GatewayParametersSpec = pass(
        "GatewayParameters",
        "kube: {horizontalPodAutoscaler: {maxReplicas: 3, targetCPUUtilizationPercentage: 60}}",
    );
}

#[test]
fn http_listener_policy() {
    let _: HttpListenerPolicySpec = pass(
        "HTTPListenerPolicy",
        "
        targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: a, namespace: b, sectionName: c}]
        accessLogging: {anything: [goes]}
        tracing:
          provider:
            openTelemetry:
              grpcService: {backendRef: {name: c, port: 4317}}
              resourceDetectors: [{environmentResourceDetector: {}}]
              sampler: {alwaysOnConfig: {}}
          clientSampling: 1
          attributes:
          - {name: a, literal: {value: b}}
          - {name: m, metadata: {kind: Host, metadataKey: {key: n, path: [{key: p}]}}}
        upgradeConfig: {enabledUpgrades: [websocket]}
        useRemoteAddress: false
        xffNumTrustedHops: 2
        serverHeaderTransformation: Overwrite
        streamIdleTimeout: 1m30s
        idleTimeout: 0s
        healthCheck: {path: /up}
        preserveHttp1HeaderCase: true
        acceptHttp10: true
        defaultHostForHttp10: example.com
        buffer: {maxRequestBytes: 4294967295}
        celValidation:
          rules:
          - {expression: 'request.path == \"/\"', action: Deny}
          - {expression: 'true', action: Allow}
        basicAuth: {credentialsSecretRef: {name: users, namespace: auth}}
        ",
    );
    let spec: HttpListenerPolicySpec = pass(
        "HTTPListenerPolicy",
        "
        targetSelectors: [{group: gateway.networking.k8s.io, kind: Gateway, matchLabels: {a: b}}]
        accessLog:
        - fileSink: {path: /dev/stdout, jsonFormat: {a: ['%PATH%', {b: 1}]}}
          filter:
            andFilter:
            - {statusCodeFilter: {op: GE, value: 500}}
            - {grpcStatusFilter: {statuses: [UNKNOWN, OK], exclude: true}}
            - {headerFilter: {header: {name: a, value: b}}}
        - grpcService:
            backendRef: {group: gateway.kgateway.dev, kind: Backend, name: logs, namespace: l}
            authority: a
            maxReceiveMessageLength: 1
            skipEnvoyHeaders: true
            timeout: 1s
            initialMetadata: [{key: a, value: b}]
            retryPolicy: {retryBackOff: {baseInterval: 1s, maxInterval: 2s}, numRetries: 1}
            logName: x
            additionalRequestHeadersToLog: [a]
          filter: {celFilter: {match: 'true'}}
        - openTelemetry:
            grpcService: {backendRef: {name: c, port: 4317}, logName: x}
            attributes: {values: [{key: a, value: {arrayValue: [{kvListValue: {values: [{key: b, value: {stringValue: c}}]}}]}}]}
        ",
    );
    assert_eq!(spec.access_log.len(), 3);
}
