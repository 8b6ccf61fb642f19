//! Incremental translation against translation from scratch, byte for byte, for random sequences of changes.

#[path = "support/objects.rs"]
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use postern_translator::{
    Change, Infrastructure, Kind, NamespacedName, Object, ObjectKey, Options, Resource, Translator, Update,
};
use proptest::prelude::*;

/// What each slot can hold: a slot is one object name, a variant one content of it.
const SLOTS: &[(Kind, &str, &str, &[&str])] = &[
    (
        Kind::GatewayClass,
        "",
        "postern",
        &[
            "spec: {controllerName: postern.dev/gateway-controller, parametersRef: {group: gateway.kgateway.dev, kind: GatewayParameters, name: of-class, namespace: b}}",
            "spec: {controllerName: example.com/other}",
        ],
    ),
    (Kind::Namespace, "", "a", &["{}", "labels: {team: blue}"]),
    (
        Kind::Gateway,
        "a",
        "one",
        &[
            "spec: {gatewayClassName: postern, allowedListeners: {namespaces: {from: All}}, listeners: [{name: http, port: 80, protocol: HTTP}]}",
            "spec: {gatewayClassName: postern, listeners: [{name: http, port: 80, protocol: HTTP, filters: {requests: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: s1, port: 80}}}]}}]}",
            "spec: {gatewayClassName: postern, defaultScope: All, allowedListeners: {namespaces: {from: Same}}, infrastructure: {labels: {team: edge}, parametersRef: {group: gateway.kgateway.dev, kind: GatewayParameters, name: own}}, listeners: [{name: http, port: 80, protocol: HTTP, hostname: '*.x.org', allowedRoutes: {namespaces: {from: All}}}, {name: exact, port: 80, protocol: HTTP, hostname: a.x.org}]}",
            "spec: {gatewayClassName: postern, allowedListeners: {namespaces: {from: Selector, selector: {matchLabels: {team: blue}}}}, listeners: [{name: http, port: 80, protocol: HTTP}, {name: http2, port: 80, protocol: HTTP}, {name: alt, port: 81, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: blue}}}}}]}",
            "spec: {gatewayClassName: postern, allowedListeners: {namespaces: {from: All}}, listeners: [{name: http, port: 443, protocol: HTTPS, hostname: '*.x.org', tls: {certificateRefs: [{name: cert}]}}, {name: b, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: b}]}}]}",
            "spec: {gatewayClassName: postern, tls: {backend: {clientCertificateRef: {name: cert}}}, listeners: [{name: http, port: 80, protocol: HTTP}]}",
            "spec: {gatewayClassName: postern, tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}, perPort: [{port: 444, tls: {validation: {mode: AllowInsecureFallback, caCertificateRefs: [{group: certificates.k8s.io, kind: ClusterTrustBundle, name: all}, {group: '', kind: Secret, name: cert, namespace: b}]}}}]}}, listeners: [{name: http, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}], options: {postern.dev/minimum-tls-version: '1.3'}}}, {name: b, port: 444, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]}",
            // Connections and datagrams: chosen by the port, the same number for both; by the server name, beside HTTPS on one port.
            "spec: {gatewayClassName: postern, allowedListeners: {namespaces: {from: All}}, listeners: [{name: tcp, port: 53, protocol: TCP}, {name: udp, port: 53, protocol: UDP, allowedRoutes: {namespaces: {from: All}}}, {name: http, port: 443, protocol: HTTPS, hostname: b.x.org, tls: {certificateRefs: [{name: cert}]}}, {name: exact, port: 443, protocol: TLS, hostname: '*.x.org', tls: {mode: Passthrough}, allowedRoutes: {namespaces: {from: All}}}, {name: ends, port: 443, protocol: TLS, hostname: a.x.org, tls: {mode: Terminate, certificateRefs: [{name: cert}]}}]}",
            "spec: {gatewayClassName: postern, defaultScope: All, tls: {backend: {clientCertificateRef: {name: cert}}}, listeners: [{name: tcp, port: 53, protocol: TCP, allowedRoutes: {namespaces: {from: All}}}, {name: udp, port: 54, protocol: UDP}, {name: exact, port: 443, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: cert}]}, allowedRoutes: {namespaces: {from: All}}}]}",
        ],
    ),
    (
        Kind::Gateway,
        "b",
        "two",
        &[
            "spec: {gatewayClassName: postern, allowedListeners: {namespaces: {from: All}}, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}",
            "spec: {gatewayClassName: other, listeners: [{name: http, port: 80, protocol: HTTP}]}",
            "meta: annotations: {kgateway.dev/per-connection-buffer-limit: 64Ki}; spec: {gatewayClassName: postern, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}",
            "spec: {gatewayClassName: postern, defaultScope: All, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}",
        ],
    ),
    (
        Kind::HttpRoute,
        "a",
        "r1",
        &[
            "spec: {parentRefs: [{name: one}], hostnames: [a.x.org], rules: [{name: n, backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}, {name: two, namespace: b}], hostnames: [a.x.org, '*.x.org'], rules: [{matches: [{path: {value: /p}}], backendRefs: [{name: s1, port: 80, weight: 3}, {name: s2, namespace: b, port: 80}]}]}",
            "spec: {parentRefs: [{name: one, sectionName: exact}], rules: [{filters: [{type: ExtensionRef, extensionRef: {group: gateway.kgateway.dev, kind: DirectResponse, name: dr}}]}]}",
            "spec: {parentRefs: [{name: more, kind: ListenerSet}, {name: other, namespace: b, kind: ListenerSet}], hostnames: [a.x.org, s.x.org, '*.x.org'], rules: [{backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {useDefaultGateways: All, parentRefs: [{name: more, kind: ListenerSet, sectionName: http}, {name: one}], rules: [{backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}], rules: [{filters: [{type: Unheard}], backendRefs: [{name: s1, port: 80}]}, {matches: [{path: {type: RegularExpression, value: '('}}]}]}",
        ],
    ),
    (
        Kind::HttpRoute,
        "b",
        "r2",
        &[
            "spec: {parentRefs: [{name: two}], rules: [{backendRefs: [{name: s2, port: 80}]}]}",
            "spec: {useDefaultGateways: All, rules: [{backendRefs: [{name: s2, port: 80}]}]}",
            "spec: {parentRefs: [{name: other, kind: ListenerSet, port: 80}, {name: more, namespace: a, kind: ListenerSet}], hostnames: [b.x.org], rules: [{backendRefs: [{name: s2, port: 80}]}]}",
            "spec: {parentRefs: [{name: one, namespace: a}, {name: two}], hostnames: [b.x.org, a.x.org], rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: s1, namespace: a, port: 80}}}], backendRefs: [{group: gateway.kgateway.dev, kind: Backend, name: st}]}]}",
        ],
    ),
    // Delegation: by name, by namespace and by label, over several levels, in circles, and to whom does not want it.
    (
        Kind::HttpRoute,
        "a",
        "parent",
        &[
            "spec: {parentRefs: [{name: one}], hostnames: [a.x.org, d.x.org], rules: [{name: n, matches: [{path: {value: /d}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}], timeouts: {request: 9s}, backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: child}]}, {matches: [{path: {value: /e}, headers: [{name: h, value: v}]}], backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: '*', namespace: b}]}]}",
            "meta: annotations: {kgateway.dev/inherited-policy-priority: ShallowMergePreferParent, kgateway.dev/route-weight: '3'}; spec: {parentRefs: [{name: one}, {name: two, namespace: b}], rules: [{matches: [{path: {value: /}}, {path: {type: Exact, value: /d/x}}], backendRefs: [{group: delegation.kgateway.dev, kind: label, name: x, namespace: all}, {name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}], rules: [{matches: [{path: {value: /d}}], filters: [{type: ExtensionRef, extensionRef: {group: gateway.kgateway.dev, kind: TrafficPolicy, name: p}}], backendRefs: [{group: delegation.kgateway.dev, kind: label, name: x}, {group: gateway.networking.k8s.io, kind: HTTPRoute, name: gone}, {group: gateway.networking.k8s.io, kind: HTTPRoute, name: parent}]}]}",
            "spec: {rules: [{matches: [{path: {value: /d}}], backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: grandchild, namespace: b}]}]}",
            "spec: {parentRefs: [{name: more, kind: ListenerSet}, {name: child, kind: HTTPRoute}], rules: [{matches: [{path: {value: /d}}], filters: [{type: Unheard}], backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: child}]}, {backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: '*'}]}]}",
        ],
    ),
    (
        Kind::HttpRoute,
        "a",
        "child",
        &[
            "spec: {rules: [{name: n, matches: [{path: {value: /d/x}}, {path: {value: /other}}], backendRefs: [{name: s1, port: 80}]}, {matches: [{path: {type: RegularExpression, value: '/d/[0-9]+'}}], backendRefs: [{name: s2, namespace: b, port: 80}]}]}",
            "meta: labels: {delegation.kgateway.dev/label: x}, annotations: {delegation.kgateway.dev/inherit-parent-matcher: 'true', kgateway.dev/route-weight: '-1'}; spec: {rules: [{matches: [{path: {value: /sub}}], backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: grandchild, namespace: b}]}, {filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301}}]}]}",
            "meta: labels: {delegation.kgateway.dev/label: x}; spec: {parentRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: parent}, {name: two, namespace: b}], rules: [{matches: [{path: {value: /d/x}}], backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {rules: [{matches: [{path: {value: /d}}], backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: parent}, {group: gateway.networking.k8s.io, kind: HTTPRoute, name: grandchild, namespace: b}]}]}",
            "meta: labels: {delegation.kgateway.dev/label: x}; spec: {parentRefs: [{name: one}, {kind: HTTPRoute, name: parent}], hostnames: [d.x.org], rules: [{matches: [{path: {value: /d/x}}], backendRefs: [{name: gone, port: 80}]}]}",
        ],
    ),
    (
        Kind::HttpRoute,
        "b",
        "grandchild",
        &[
            "spec: {rules: [{matches: [{path: {value: /d/x/y}}, {path: {value: /d/sub}}, {path: {value: /e}, headers: [{name: H, value: v}]}], backendRefs: [{name: s2, port: 80}]}]}",
            "meta: labels: {delegation.kgateway.dev/label: x}, annotations: {delegation.kgateway.dev/inherit-parent-matcher: 'yes'}; spec: {rules: [{timeouts: {request: 1s}, backendRefs: [{name: s2, port: 80}]}]}",
            "spec: {parentRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: child, namespace: a}], rules: [{matches: [{path: {value: /d/sub}}, {path: {value: /d}}], backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: child, namespace: a}]}]}",
        ],
    ),
    (
        Kind::TrafficPolicy,
        "a",
        "delegated",
        &[
            "spec: {targetRefs: [{kind: HTTPRoute, name: child}], timeouts: {request: 5s}, csrf: {}}",
            "spec: {targetRefs: [{kind: HTTPRoute, name: parent}], timeouts: {request: 6s}, csrf: {percentageEnabled: 50}}",
            "spec: {targetRefs: [{kind: HTTPRoute, name: parent, sectionName: n}], rbac: {policy: {matchExpressions: ['(']}}}",
        ],
    ),
    (
        Kind::GrpcRoute,
        "a",
        "r1",
        &[
            "spec: {parentRefs: [{name: one}], hostnames: [a.x.org], rules: [{name: n, matches: [{method: {service: s}}], backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}, {name: two, namespace: b}], rules: [{matches: [{method: {method: M}, headers: [{name: h, value: v}]}], sessionPersistence: {cookie: {}}, backendRefs: [{name: s1, port: 80}, {name: s2, namespace: b, port: 80, weight: 0}]}]}",
        ],
    ),
    (
        Kind::TlsRoute,
        "a",
        "names",
        &[
            "spec: {parentRefs: [{name: one}], hostnames: [a.x.org, b.x.org, c.x.org], rules: [{backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}], hostnames: ['*.x.org'], rules: [{backendRefs: [{name: s1, port: 80, weight: 3}, {name: s2, namespace: b, port: 80}]}]}",
            "spec: {parentRefs: [{name: one, sectionName: exact}, {name: more, kind: ListenerSet}], hostnames: [a.x.org, t.x.org], rules: [{backendRefs: [{name: s1, port: 80, weight: 0}]}, {backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}], hostnames: [a.x.org, a.y.org], rules: [{backendRefs: [{name: s1, port: 80, weight: 2000000}]}]}",
        ],
    ),
    (
        Kind::TlsRoute,
        "b",
        "others",
        &[
            "spec: {parentRefs: [{name: one, namespace: a, port: 443}], hostnames: [c.x.org, '*.x.org'], rules: [{backendRefs: [{group: gateway.kgateway.dev, kind: Backend, name: st}]}]}",
            "spec: {useDefaultGateways: All, hostnames: [a.x.org], rules: [{backendRefs: [{name: s1, namespace: a, port: 80}, {name: s2, port: 80}]}]}",
            "spec: {parentRefs: [{name: more, namespace: a, kind: ListenerSet}], hostnames: [a.x.org], rules: [{backendRefs: [{name: s2, port: 80}]}]}",
        ],
    ),
    (
        Kind::TcpRoute,
        "a",
        "connections",
        &[
            "spec: {parentRefs: [{name: one, sectionName: tcp}], rules: [{backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}], rules: [{backendRefs: [{name: s1, port: 80, weight: 9}, {name: s2, namespace: b, port: 80}, {name: gone, port: 80}]}]}",
            "spec: {useDefaultGateways: All, parentRefs: [{name: more, kind: ListenerSet, port: 53}], rules: []}",
        ],
    ),
    (
        Kind::TcpRoute,
        "b",
        "connections",
        &[
            "spec: {parentRefs: [{name: one, namespace: a}], rules: [{backendRefs: [{name: s2, port: 80}]}]}",
            "spec: {parentRefs: [{name: one, namespace: a, sectionName: udp}, {name: other, kind: ListenerSet}], rules: [{backendRefs: [{group: gateway.kgateway.dev, kind: Backend, name: st}]}]}",
        ],
    ),
    (
        Kind::UdpRoute,
        "a",
        "datagrams",
        &[
            "spec: {parentRefs: [{name: one}], rules: [{backendRefs: [{name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one, sectionName: udp}, {name: more, kind: ListenerSet}], rules: [{backendRefs: [{name: s1, port: 53, weight: 2}, {name: s2, namespace: b, port: 80}]}]}",
            "spec: {useDefaultGateways: All, rules: [{backendRefs: [{name: s1, port: 53}]}, {backendRefs: [{name: s1, port: 80}]}]}",
        ],
    ),
    (
        Kind::UdpRoute,
        "b",
        "datagrams",
        &[
            "spec: {parentRefs: [{name: one, namespace: a}], rules: [{backendRefs: [{group: gateway.kgateway.dev, kind: Backend, name: st}, {name: s1, namespace: a, port: 53}]}]}",
            "spec: {parentRefs: [{name: one, namespace: a, port: 53}], rules: [{backendRefs: [{name: s2, port: 80, weight: 0}]}]}",
        ],
    ),
    (
        Kind::HttpRoute,
        "a",
        "guarded",
        &[
            "spec: {parentRefs: [{name: one}], hostnames: [c.x.org], rules: [{filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: s1, port: 80}}}], sessionPersistence: {cookie: {name: c}}, backendRefs: [{name: s1, port: 80}, {name: s2, namespace: b, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}], hostnames: [c.x.org], rules: [{filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: s2, namespace: b, port: 80}}}], backendRefs: [{name: s1, port: 80}]}]}",
        ],
    ),
    (
        Kind::XBackendTrafficPolicy,
        "a",
        "budget",
        &[
            "spec: {targetRefs: [{group: '', kind: Service, name: s1}], retryConstraint: {}}",
            "spec: {targetRefs: [{group: '', kind: Service, name: s1}], retryConstraint: {budget: {percent: 5}}, sessionPersistence: {cookie: {}}}",
        ],
    ),
    (
        Kind::BackendConfigPolicy,
        "a",
        "connections",
        &[
            "spec: {targetRefs: [{kind: Service, name: s1}], connectTimeout: 1s, loadBalancer: {ringHash: {useHostnameForHashing: true, hashPolicies: [{header: {name: x-user}}]}}}",
            "spec: {targetSelectors: [{kind: Service, matchLabels: {app: x}}], connectTimeout: 2s, http2ProtocolOptions: {maxConcurrentStreams: 3}, healthCheck: {timeout: 1s, interval: 1s, unhealthyThreshold: 1, healthyThreshold: 1, grpc: {}}}",
            "spec: {targetRefs: [{kind: Service, name: s1}], tls: {secretRef: {name: cert}, sni: s1.example.org}}",
            "spec: {targetRefs: [{kind: Service, name: s1}, {kind: Service, name: gone}], tls: {wellKnownCACertificates: System}}",
            "spec: {targetRefs: [{kind: Hostname, group: networking.istio.io, name: s1}]}",
        ],
    ),
    (
        Kind::BackendConfigPolicy,
        "a",
        "younger",
        &[
            "spec: {targetRefs: [{kind: Service, name: s1}], connectTimeout: 3s, outlierDetection: {}, tls: {insecureSkipVerify: true}}",
            "spec: {targetRefs: [{kind: Service, name: s1}], tls: {wellKnownCACertificates: Nobody}}",
            "spec: {targetRefs: [{kind: Service, name: s1}], perConnectionBufferLimitBytes: 5, loadBalancer: {random: {}, localityType: WeightedLb}}",
        ],
    ),
    (
        Kind::BackendConfigPolicy,
        "b",
        "static",
        &[
            "spec: {targetRefs: [{group: gateway.kgateway.dev, kind: Backend, name: st}], tls: {insecureSkipVerify: true}, loadBalancer: {maglev: {hashPolicies: [{sourceIP: {}}]}}}",
            "spec: {targetSelectors: [{group: gateway.kgateway.dev, kind: Backend, matchLabels: {}}], http1ProtocolOptions: {preserveHttp1HeaderCase: true}}",
        ],
    ),
    (
        Kind::XBackend,
        "a",
        "own",
        &[
            "spec: {type: EndpointSelector, endpointSelector: {matchLabels: {app: x}}, port: {number: 80}}",
            "spec: {type: ExternalHostname, externalHostname: {hostname: own.example.org}, port: {number: 443}, tls: {mode: ServerOnly, validation: {hostname: own.example.org, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}",
            "spec: {type: EndpointSelector, endpointSelector: {matchLabels: {app: y}}, port: {number: 81}, protocol: HTTP2, sessionPersistence: {cookie: {}}, tls: {mode: ClientAndServer, clientCertificateRef: {name: cert, namespace: b}, validation: {hostname: own.example.org, wellKnownCACertificates: System}}}",
            "spec: {type: EndpointSelector, endpointSelector: {matchLabels: {app: x}}, port: {number: 80}, tls: {mode: ClientAndServer, clientCertificateRef: {name: cert}, validation: {hostname: own.example.org, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}",
            "spec: {type: ExternalHostname, externalHostname: {hostname: localhost}, port: {number: 80}}",
        ],
    ),
    (
        Kind::ServiceImport,
        "a",
        "s1",
        &[
            "spec: {type: ClusterSetIP, ips: [10.42.0.1], ports: [{name: http, port: 80}]}",
            "spec: {type: ClusterSetIP, ips: [10.42.0.2], ports: [{name: http, port: 80}]}, status: {endpointSliceObjects: Absent}",
            "spec: {type: Headless, ports: [{name: http, port: 80, appProtocol: kubernetes.io/h2c}]}",
            "spec: {type: ClusterSetIP, ips: [10.42.0.1], ports: [{port: 81}]}",
        ],
    ),
    (
        Kind::HttpRoute,
        "a",
        "owned",
        &[
            "spec: {parentRefs: [{name: one}], hostnames: [o.x.org], rules: [{backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: s1}, {name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}], hostnames: [o.x.org], rules: [{backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: own}, {name: s1, port: 80}]}]}",
            "spec: {parentRefs: [{name: one}, {name: two, namespace: b}], hostnames: [o.x.org], rules: [{backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: own}]}]}",
        ],
    ),
    (
        Kind::Pod,
        "a",
        "pod",
        &[
            "labels: {app: x}; status: {podIP: 10.0.1.1, conditions: [{type: Ready, status: 'True'}]}",
            "labels: {app: y}; status: {podIP: 10.0.1.1, conditions: [{type: Ready, status: 'True'}]}",
            "labels: {app: x}; status: {podIP: 10.0.1.2, conditions: [{type: Ready, status: 'False'}]}",
        ],
    ),
    (
        Kind::XTelemetryPolicy,
        "a",
        "traces",
        &[
            "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: one}], tracing: {mode: Enabled, provider: {backendRef: {name: s1, port: 80}}}}",
            "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: one}], tracing: {mode: Enabled, provider: {backendRef: {name: s2, namespace: b, port: 80}}}}",
        ],
    ),
    (
        Kind::Service,
        "a",
        "s1",
        &[
            "spec: {ports: [{port: 80, name: http}, {port: 53, name: dns, protocol: UDP}]}",
            "spec: {ports: [{port: 80, name: http, appProtocol: kubernetes.io/h2c}]}",
            "spec: {ports: [{port: 81}, {port: 80, name: dns, protocol: UDP}]}",
        ],
    ),
    (
        Kind::Service,
        "b",
        "s2",
        &[
            "spec: {ports: [{port: 80, name: http}, {port: 80, name: dns, protocol: UDP}]}",
            "spec: {type: ExternalName, externalName: s2.example.org}",
            "spec: {type: ExternalName, externalName: localhost}",
        ],
    ),
    (
        Kind::BackendTlsPolicy,
        "a",
        "tls1",
        &[
            "spec: {targetRefs: [{group: '', kind: Service, name: s1}], validation: {hostname: s1.org, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}",
            "spec: {targetRefs: [{group: '', kind: Service, name: s1, sectionName: http}], validation: {hostname: s1.org, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}, {group: certificates.k8s.io, kind: ClusterTrustBundle, name: all}]}}",
            "spec: {targetRefs: [{group: '', kind: Service, name: s1}], validation: {hostname: other.org, wellKnownCACertificates: System}, options: {postern.dev/minimum-tls-version: '1.3'}}",
            "spec: {targetRefs: [{group: '', kind: Service, name: gone}], validation: {hostname: '', wellKnownCACertificates: System}}",
        ],
    ),
    (
        Kind::BackendTlsPolicy,
        "a",
        "tls2",
        &[
            "spec: {targetRefs: [{group: '', kind: Service, name: s1}], validation: {hostname: young.org, caCertificateRefs: [{group: certificates.k8s.io, kind: ClusterTrustBundle, name: all}]}}",
            "spec: {targetRefs: [{group: '', kind: Service, name: s1, sectionName: nope}], validation: {hostname: young.org, wellKnownCACertificates: System}}",
            "spec: {targetRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: s1}], validation: {hostname: young.org, wellKnownCACertificates: System}}",
        ],
    ),
    (
        Kind::BackendTlsPolicy,
        "b",
        "tls3",
        &[
            "spec: {targetRefs: [{group: gateway.kgateway.dev, kind: Backend, name: st}, {group: '', kind: Service, name: s2}], validation: {hostname: b.org, caCertificateRefs: [{group: '', kind: Secret, name: cert}, {group: certificates.k8s.io, kind: ClusterTrustBundle, name: all}]}}",
            "spec: {targetRefs: [{group: gateway.kgateway.dev, kind: Backend, name: st}], validation: {hostname: b.org, wellKnownCACertificates: Own}}",
        ],
    ),
    (
        Kind::ConfigMap,
        "a",
        "ca",
        &[
            "data: {ca.crt: ${one}}",
            "data: {ca.crt: ${two}}",
            "data: {ca.crt: ''}",
            "data: {ca.crt: ${one}, other: x}",
        ],
    ),
    (
        Kind::ClusterTrustBundle,
        "",
        "all",
        &["spec: {trustBundle: ${two}}", "spec: {trustBundle: nothing}", "spec: {trustBundle: ${one}}"],
    ),
    (
        Kind::EndpointSlice,
        "a",
        "s1-x",
        &[
            "labels: {kubernetes.io/service-name: s1}; addressType: IPv4, ports: [{name: http, port: 8080}, {name: dns, port: 5353, protocol: UDP}], endpoints: [{addresses: [10.0.0.1]}]",
            "labels: {kubernetes.io/service-name: s1}; addressType: IPv4, ports: [{name: http, port: 8080}, {name: dns, port: 5353, protocol: UDP}], endpoints: [{addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}, {addresses: [10.0.0.3]}]",
            "labels: {kubernetes.io/service-name: other}; addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: []",
            "labels: {kubernetes.io/service-name: s1, multicluster.kubernetes.io/service-name: s1}; addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.0.0.4]}]",
        ],
    ),
    (
        Kind::EndpointSlice,
        "b",
        "s2-x",
        &[
            "labels: {kubernetes.io/service-name: s2}; addressType: IPv4, ports: [{name: http, port: 8080}, {name: dns, port: 5353, protocol: UDP}], endpoints: [{addresses: [10.0.1.1]}, {addresses: [10.0.1.2]}]",
            "labels: {kubernetes.io/service-name: s2}; addressType: IPv4, ports: [{name: dns, port: 5354, protocol: UDP}], endpoints: [{addresses: [10.0.1.1]}]",
        ],
    ),
    (
        Kind::ReferenceGrant,
        "b",
        "g",
        &[
            "spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: a}], to: [{group: '', kind: Service}]}",
            "spec: {from: [{group: gateway.networking.k8s.io, kind: TLSRoute, namespace: a}, {group: gateway.networking.k8s.io, kind: TCPRoute, namespace: a}, {group: gateway.networking.k8s.io, kind: UDPRoute, namespace: a}], to: [{group: '', kind: Service}]}",
            "spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: a}], to: [{group: '', kind: Secret}]}",
            "spec: {from: [{group: gateway.networking.k8s.io, kind: ListenerSet, namespace: a}], to: [{group: '', kind: Secret}]}",
            "spec: {from: [{group: gateway.kgateway.dev, kind: TrafficPolicy, namespace: a}, {group: gateway.kgateway.dev, kind: GatewayExtension, namespace: a}], to: [{group: gateway.kgateway.dev, kind: GatewayExtension}, {group: '', kind: Service}]}",
            "spec: {from: [{group: gateway.networking.x-k8s.io, kind: XBackend, namespace: a}], to: [{group: '', kind: Secret}]}",
        ],
    ),
    (
        Kind::TrafficPolicy,
        "a",
        "p1",
        &[
            "spec: {targetRefs: [{kind: HTTPRoute, name: r1}], timeout: {request: 3s}}",
            "spec: {targetRefs: [{kind: Gateway, name: one, sectionName: http}, {kind: HTTPRoute, name: r1, sectionName: n}], retries: {attempts: 2, retryOn: 5xx}}",
            "spec: {targetSelectors: [{kind: HTTPRoute, matchLabels: {app: x}}], timeouts: {request: 9s}}",
            "spec: {targetRefs: [{kind: HTTPRoute, name: r1}], extAuth: {extensionRef: {name: gone}}}",
            "spec: {targetRefs: [{kind: HTTPRoute, name: r1}, {kind: Gateway, name: one}], extAuth: {extensionRef: {name: ext}, contextExtensions: {a: b}}, rateLimit: {extensionRef: {name: ext, namespace: b}}}",
            "spec: {targetRefs: [{kind: Gateway, name: one}], extProc: {extensionRef: {name: ext, namespace: b}}}",
            "spec: {targetSelectors: [{kind: HTTPRoute, matchLabels: {app: x}, sectionName: n}], rbac: {policy: {matchExpressions: ['true']}}}",
            "spec: {targetRefs: [{kind: HTTPRoute, name: r1}], transformation: {request: {set: [{name: x, value: '{{ length(body()) }}'}]}}}",
            "spec: {targetRefs: [{kind: HTTPRoute, name: r1}], transformation: {response: {set: [{name: x, value: '{{ oops'}]}}}",
        ],
    ),
    (
        Kind::TrafficPolicy,
        "a",
        "p2",
        &[
            "spec: {targetRefs: [{kind: HTTPRoute, name: r1}, {kind: Gateway, name: one}], timeout: {request: 5s, idle: 1s}, cors: {allowOrigins: ['*']}}",
            "spec: {targetRefs: [{kind: HTTPRoute, name: nowhere}], timeout: {request: oops}}",
            "spec: {targetRefs: [{kind: ListenerSet, name: more}], timeout: {request: 7s}}",
            "spec: {targetRefs: [{kind: HTTPRoute, name: r1}], extAuth: {disable: {}}, extProc: {extensionRef: {name: ext}}}",
            "spec: {targetRefs: [{kind: Gateway, name: one}], rbac: {policy: {matchExpressions: ['false']}}}",
            "spec: {targetRefs: [{kind: ListenerSet, name: more, sectionName: http}, {kind: ListenerSet, name: gone}], retries: {attempts: 3, retryOn: 5xx}}",
        ],
    ),
    (
        Kind::GatewayExtension,
        "a",
        "ext",
        &[
            "spec: {extAuth: {grpcService: {backendRef: {name: s1, port: 80}}}}",
            "spec: {extAuth: {failOpen: true, grpcService: {backendRef: {name: s2, namespace: b, port: 80}}}}",
            "spec: {extProc: {grpcService: {backendRef: {name: s1, port: 80}}}}",
            "spec: {extProc: {}}",
        ],
    ),
    (
        Kind::GatewayExtension,
        "b",
        "ext",
        &[
            "spec: {rateLimit: {failOpen: false, grpcService: {backendRef: {name: s2, port: 80}}}}",
            "spec: {extProc: {failOpen: false, grpcService: {backendRef: {group: gateway.kgateway.dev, kind: Backend, name: st}}}}",
        ],
    ),
    (
        Kind::Backend,
        "b",
        "st",
        &[
            "spec: {type: Static, static: {hosts: [{host: example.com, port: 443, tls: {sni: example.com}}]}}",
            "spec: {type: Static, static: {hosts: [{host: 10.0.0.9, port: 80}]}}",
            "spec: {type: Static, static: {hosts: []}}",
            "spec: {type: DynamicForwardProxy, dynamicForwardProxy: {}}",
            "spec: {type: DynamicForwardProxy, dynamicForwardProxy: {enableTls: true}}",
        ],
    ),
    (Kind::DirectResponse, "a", "dr", &["spec: {statusCode: 418, body: tea}", "spec: {statusCode: 99}"]),
    (
        Kind::GrpcRoute,
        "a",
        "grpc",
        &[
            "spec: {parentRefs: [{name: one}, {name: two, namespace: b}, {kind: ListenerSet, name: more}], rules: []}",
            "spec: {parentRefs: [{name: two, namespace: b}], rules: []}",
        ],
    ),
    (
        Kind::HttpListenerPolicy,
        "a",
        "password",
        &[
            "spec: {targetRefs: [{kind: Gateway, name: one, namespace: b}], basicAuth: {credentialsSecretRef: {name: x}}}",
            "spec: {targetRefs: [{kind: Gateway, name: one}], buffer: {maxRequestBytes: 9}, streamIdleTimeout: 9s, healthCheck: {path: /up}}",
            "spec: {targetRefs: [{kind: Gateway, name: one, sectionName: http}], basicAuth: {credentialsSecretRef: {name: cert}}, idleTimeout: 1s}",
            "spec: {targetRefs: [{kind: ListenerSet, name: more}], celValidation: {rules: [{expression: 'true'}]}, accessLog: [{grpcService: {backendRef: {name: s1, port: 80}, logName: x}}]}",
            "spec: {targetSelectors: [{kind: Gateway, matchLabels: {app: x}}], accessLogging: {fileSink: {path: /dev/stdout, stringFormat: x}}}",
        ],
    ),
    (
        Kind::HttpListenerPolicy,
        "a",
        "older",
        &[
            "spec: {targetRefs: [{kind: Gateway, name: one}], tracing: {provider: {openTelemetry: {grpcService: {backendRef: {name: s1, port: 80}}}}}, idleTimeout: 2s}",
            "spec: {targetRefs: [{kind: ListenerSet, name: more, sectionName: http}, {kind: ListenerSet, name: gone}], upgradeConfig: {enabledUpgrades: [websocket]}, buffer: {maxRequestBytes: 7}}",
        ],
    ),
    (
        Kind::ListenerSet,
        "a",
        "more",
        &[
            "spec: {parentRef: {name: one}, listeners: [{name: http, port: 80, protocol: HTTP, hostname: s.x.org}, {name: alt, port: 82, protocol: HTTP}]}",
            "spec: {parentRef: {name: two, namespace: b}, listeners: [{name: http, port: 80, protocol: HTTP, hostname: s.x.org, allowedRoutes: {namespaces: {from: All}}}]}",
            "spec: {parentRef: {name: one}, listeners: [{name: http, port: 443, protocol: HTTPS, hostname: a.x.org, tls: {certificateRefs: [{name: cert}]}}, {name: b, port: 443, protocol: HTTPS, hostname: '*.x.org', tls: {certificateRefs: [{name: cert, namespace: b}]}}]}",
            "spec: {parentRef: {name: one}, listeners: [{name: http, port: 80, protocol: HTTP, hostname: '*.x.org'}, {name: again, port: 80, protocol: HTTP, hostname: '*.x.org'}]}",
            "spec: {parentRef: {name: one}, listeners: [{name: tcp, port: 53, protocol: TCP}, {name: udp, port: 55, protocol: UDP}, {name: tls, port: 443, protocol: TLS, hostname: t.x.org, tls: {mode: Passthrough}, allowedRoutes: {namespaces: {from: All}}}]}",
        ],
    ),
    (
        Kind::ListenerSet,
        "b",
        "other",
        &[
            "spec: {parentRef: {name: two}, listeners: [{name: http, port: 80, protocol: HTTP, hostname: b.x.org}]}",
            "spec: {parentRef: {name: one, namespace: a}, listeners: [{name: http, port: 80, protocol: HTTP, hostname: a.x.org, allowedRoutes: {namespaces: {from: All}}}]}",
            "spec: {parentRef: {name: one, namespace: a}, listeners: [{name: http, port: 443, protocol: HTTPS, hostname: b.x.org, tls: {certificateRefs: [{name: cert, namespace: a}]}}, {name: alt, port: 82, protocol: HTTP, hostname: b.x.org}]}",
            "spec: {parentRef: {name: one, namespace: a}, listeners: [{name: udp, port: 53, protocol: UDP}, {name: tls, port: 443, protocol: TLS, hostname: a.x.org, tls: {mode: Passthrough}}]}",
        ],
    ),
    (
        Kind::GatewayParameters,
        "b",
        "of-class",
        &[
            "spec: {kube: {deployment: {replicas: 2}, service: {extraLabels: {team: a, tier: b}}}}",
            "spec: {kube: {podTemplate: {gracefulShutdown: {sleepTimeSeconds: 30}}}}",
            "spec: {kube: {service: {type: ExternalName}}}",
        ],
    ),
    (
        Kind::GatewayParameters,
        "a",
        "own",
        &[
            "spec: {kube: {podTemplate: {terminationGracePeriodSeconds: 20}}}",
            "spec: {selfManaged: {}}",
            "spec: {kube: {horizontalPodAutoscaler: {spec: {maxReplicas: 3}}}}",
        ],
    ),
    (Kind::Secret, "b", "cert", &["{}", "type: kubernetes.io/tls"]),
    (Kind::Secret, "a", "cert", &[CERTIFICATES, "{}"]),
];

/// Stands for the data of a Secret of the golden `gateway-https`; the variant says which.
const CERTIFICATES: &str = "certificates";

fn certificate(variant: usize) -> &'static str {
    static DATA: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let all = DATA.get_or_init(|| {
        let golden = include_str!("golden/gateway-https/input.yaml");
        let secrets = objects::load(golden).into_iter().filter_map(|object| match object {
            Object::Secret(secret) => secret.data.clone(),
            _ => None,
        });
        secrets
            .map(|data| {
                let text = |name: &str| String::from_utf8(data[name].0.clone()).expect("PEM is text");
                format!("stringData: {{tls.crt: {:?}, tls.key: {:?}}}", text("tls.crt"), text("tls.key"))
            })
            .collect()
    });
    &all[variant % all.len()]
}

/// Puts the certificates of the authorities of the golden `backend-tls` in the place of their names.
fn with_authorities(content: &str) -> String {
    static DATA: std::sync::OnceLock<Vec<(String, String)>> = std::sync::OnceLock::new();
    let all = DATA.get_or_init(|| {
        let golden = objects::load(include_str!("golden/backend-tls/input.yaml"));
        let maps = golden.into_iter().filter_map(|object| match object {
            Object::ConfigMap(map) => {
                Some((map.metadata.name.clone()?, map.data.as_ref()?.get("ca.crt")?.clone()))
            }
            _ => None,
        });
        maps.collect()
    });
    all.iter().fold(content.to_owned(), |content, (name, pem)| {
        content.replace(&format!("${{{name}}}"), &format!("{pem:?}"))
    })
}

fn object(slot: usize, variant: usize) -> Object {
    let (kind, namespace, name, variants) = SLOTS[slot];
    let content = match variants[variant % variants.len()] {
        CERTIFICATES => certificate(variant / variants.len()),
        content => content,
    };
    let content = &with_authorities(content);
    let (metadata, body) =
        match content.strip_prefix("labels: ").map(|rest| rest.split_once("; ").unwrap_or((rest, ""))) {
            Some((labels, body)) => (format!(", labels: {labels}"), body),
            None => (String::new(), content.trim_matches(['{', '}'].as_slice()).trim()),
        };
    let body = if content.starts_with("labels: ") || content.starts_with("meta: ") {
        body
    } else if content == "{}" {
        ""
    } else {
        content
    };
    let (metadata, body) = match content.strip_prefix("meta: ").and_then(|rest| rest.split_once("; ")) {
        Some((given, body)) => (format!(", {given}"), body),
        None => (metadata, body),
    };
    // Routes of some variants carry the label that the selecting policy asks for.
    let metadata = if kind == Kind::HttpRoute && metadata.is_empty() && variant.is_multiple_of(2) {
        ", labels: {app: x}".to_owned()
    } else {
        metadata
    };
    let mut yaml = format!("{{apiVersion: {}, kind: {kind}, metadata: {{name: {name}", kind.api_version());
    if !namespace.is_empty() {
        let _ = write!(yaml, ", namespace: {namespace}");
    }
    let _ = write!(yaml, ", generation: {variant}{metadata}}}");
    if !body.is_empty() {
        let _ = write!(yaml, ", {body}");
    }
    yaml.push('}');
    objects::load(&yaml).remove(0)
}

/// A variant of any slot: beyond its last one they begin anew.
fn variant() -> std::ops::Range<usize> {
    0..2 * SLOTS.iter().map(|slot| slot.3.len()).max().unwrap_or_default()
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, usize),
    Delete(usize),
    /// The cluster serves ClusterTrustBundles, or does not.
    Serve(bool),
    Translate,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..SLOTS.len(), variant()).prop_map(|(slot, variant)| Step::Set(slot, variant)),
        2 => (0..SLOTS.len()).prop_map(Step::Delete),
        1 => any::<bool>().prop_map(Step::Serve),
        3 => Just(Step::Translate),
    ]
}

/// What a receiver of updates would hold.
#[derive(Debug, Default, PartialEq)]
struct Mirror {
    resources: BTreeMap<NamespacedName, BTreeMap<String, Vec<u8>>>,
    statuses: BTreeMap<ObjectKey, String>,
    infrastructure: BTreeMap<NamespacedName, Infrastructure>,
}

impl Mirror {
    fn take(&mut self, update: Update) {
        for name in update.removed_gateways {
            self.resources.remove(&name);
        }
        for (name, gateway) in update.gateways {
            let resources = self.resources.entry(name).or_default();
            for change in gateway.changes {
                let at = format!("{:?}/{}", change.resource_type, change.name);
                match change.resource {
                    Some(resource) => resources.insert(at, resource.body.to_vec()),
                    None => resources.remove(&at),
                };
            }
        }
        for (name, wanted) in update.infrastructure {
            let before = self.infrastructure.get(&name);
            assert_ne!(before, wanted.as_deref(), "{name}: nothing changed");
            match wanted {
                Some(wanted) => self.infrastructure.insert(name, (*wanted).clone()),
                None => self.infrastructure.remove(&name),
            };
        }
        for (key, status) in update.statuses {
            match status {
                Some(status) => self.statuses.insert(key, format!("{status:?}")),
                None => self.statuses.remove(&key),
            };
        }
    }

    fn of(translator: &Translator) -> Self {
        let body =
            |r: &std::sync::Arc<Resource>| (format!("{:?}/{}", r.resource_type, r.name), r.body.to_vec());
        Self {
            resources: translator
                .gateways()
                .map(|name| (name.clone(), translator.resources(name).map(body).collect()))
                .collect(),
            statuses: translator.statuses().iter().map(|(k, s)| (k.clone(), format!("{s:?}"))).collect(),
            infrastructure: translator
                .gateways()
                .map(|name| (name.clone(), (**translator.infrastructure(name).expect("ours")).clone()))
                .collect(),
        }
    }
}

/// The names of what two mirrors do not hold alike: their bytes would tell a reader nothing.
fn differing(one: &Mirror, other: &Mirror) -> Vec<String> {
    fn names<K: Ord + std::fmt::Display, V: PartialEq>(
        one: &BTreeMap<K, V>,
        other: &BTreeMap<K, V>,
    ) -> Vec<String> {
        let keys: BTreeSet<&K> = one.keys().chain(other.keys()).collect();
        keys.into_iter().filter(|key| one.get(key) != other.get(key)).map(ToString::to_string).collect()
    }
    let flat = |mirror: &Mirror| -> BTreeMap<String, Vec<u8>> {
        let of = |(gateway, resources): (&NamespacedName, &BTreeMap<String, Vec<u8>>)| {
            let named = |(at, body): (&String, &Vec<u8>)| (format!("{gateway}: {at}"), body.clone());
            // A Gateway without resources is one, too.
            resources.iter().map(named).chain([(gateway.to_string(), Vec::new())]).collect::<Vec<_>>()
        };
        mirror.resources.iter().flat_map(of).collect()
    };
    let mut out = names(&flat(one), &flat(other));
    out.extend(names(&one.statuses, &other.statuses));
    out.extend(names(&one.infrastructure, &other.infrastructure));
    out
}

fn options() -> Options {
    Options { provision: true, ..Options::default() }
}

/// Applies `steps` to `world` (the variant that each slot holds) and compares after each translation.
fn check(mut world: BTreeMap<usize, usize>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut incremental = Translator::new(options());
    for (slot, variant) in &world {
        incremental.apply(Change::Upsert(object(*slot, *variant)));
    }
    let mut mirror = Mirror::default();
    let mut references = BTreeSet::new();
    let mut served = true;
    for step in steps {
        match step {
            Step::Serve(now) => {
                served = now;
                incremental.set_served(Kind::ClusterTrustBundle, now);
                continue;
            }
            Step::Set(slot, variant) => {
                world.insert(slot, variant);
                incremental.apply(Change::Upsert(object(slot, variant)));
                continue;
            }
            Step::Delete(slot) => {
                world.remove(&slot);
                let (kind, namespace, name, _) = SLOTS[slot];
                incremental.apply(Change::Delete(ObjectKey::new(kind, namespace, name)));
                continue;
            }
            Step::Translate => {
                let update = incremental.translate();
                if update.references_changed {
                    prop_assert_ne!(&references, incremental.references(), "nothing changed");
                    references.clone_from(incremental.references());
                }
                mirror.take(update);
            }
        }
        let mut scratch = Translator::new(options());
        scratch.set_served(Kind::ClusterTrustBundle, served);
        for (slot, variant) in &world {
            scratch.apply(Change::Upsert(object(*slot, *variant)));
        }
        scratch.translate();
        let wanted = Mirror::of(&scratch);
        prop_assert_eq!(differing(&Mirror::of(&incremental), &wanted), Vec::<String>::new());
        prop_assert_eq!(incremental.references(), scratch.references());
        prop_assert_eq!(&references, scratch.references(), "a change of references was not told");
        prop_assert_eq!(differing(&mirror, &wanted), Vec::<String>::new(), "a change was not told");
        prop_assert_eq!(incremental.problems(), scratch.problems());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(steps in prop::collection::vec(step(), 1..60)) {
        check(BTreeMap::new(), steps)?;
    }

    /// The same from a world in which most things exist and each single change is translated: what a unit forgets
    /// to note shows only where it has something to say, and nothing else makes it run.
    #[test]
    fn incremental_equals_from_scratch_one_by_one(
        variants in prop::collection::vec(variant(), SLOTS.len()),
        changes in prop::collection::vec((0..SLOTS.len(), prop::option::weighted(0.8, variant())), 1..12),
    ) {
        // Without the GatewayClass nothing would be served.
        let world = variants.into_iter().enumerate().map(|(slot, variant)| match SLOTS[slot].0 {
            Kind::GatewayClass => (slot, 0),
            _ => (slot, variant),
        });
        let steps = changes.into_iter().flat_map(|(slot, variant)| {
            let change = match variant {
                Some(variant) => Step::Set(slot, variant),
                None => Step::Delete(slot),
            };
            [change, Step::Translate]
        });
        check(world.collect(), [Step::Translate].into_iter().chain(steps).collect())?;
    }
}

fn slot(kind: Kind, name: &str) -> usize {
    SLOTS.iter().position(|slot| (slot.0, slot.2) == (kind, name)).expect("a slot")
}

/// Without its certificate the HTTPS listener of a port is not served, so no requests come there any more; the hosts that belong
/// to TLS listeners of the same port have no scope then, though those listeners stay as they are.
#[test]
fn scopes_go_when_a_port_takes_requests_no_more() {
    let world = [
        (slot(Kind::GatewayClass, "postern"), 0),
        (slot(Kind::Gateway, "one"), 7),
        (slot(Kind::ListenerSet, "more"), 4),
        (slot(Kind::Secret, "cert") + 1, 0),
    ];
    let certificate = world[3].0;
    assert_eq!(SLOTS[certificate].1, "a");
    let steps = [
        Step::Translate,
        Step::Delete(certificate),
        Step::Translate,
        Step::Set(certificate, 0),
        Step::Translate,
    ];
    check(world.into(), steps.into()).expect("the same");
}

#[test]
fn one_endpoint_change_runs_one_unit_for_each_cluster() {
    let mut translator = objects::translated_with(options(), (0..SLOTS.len()).map(|slot| object(slot, 0)));
    let before = translator.units_run();
    let slot = SLOTS.iter().position(|s| s.0 == Kind::EndpointSlice).expect("a slot");
    translator.apply(Change::Upsert(object(slot, 1)));
    let update = translator.translate();
    let changes: Vec<&str> =
        update.gateways.values().flat_map(|g| &g.changes).map(|c| c.name.as_str()).collect();
    assert_eq!(changes, ["a/s1:80~h2~tls", "a/s1:80~tls"]);
    assert_eq!(translator.units_run() - before, 2);
}

/// Sets one slot in a world in which all slots have their first variant; returns the names of what changed and how many units ran.
fn after(slot: (Kind, &str), variant: usize) -> (Vec<String>, u64) {
    let mut translator = objects::translated_with(options(), (0..SLOTS.len()).map(|slot| object(slot, 0)));
    let before = translator.units_run();
    let slot = SLOTS.iter().position(|s| (s.0, s.2) == slot).expect("a slot");
    translator.apply(Change::Upsert(object(slot, variant)));
    let update = translator.translate();
    let changes: BTreeSet<String> =
        update.gateways.values().flat_map(|g| &g.changes).map(|c| c.name.clone()).collect();
    (changes.into_iter().collect(), translator.units_run() - before)
}

/// Rotating an authority changes its secret and no cluster; what a policy says changes its cluster and no route.
#[test]
fn tls_to_backends_changes_what_it_is_about() {
    // The secret, the two clusters that trust it and the status of its policy run.
    assert_eq!(after((Kind::ConfigMap, "ca"), 1), (vec!["ca/configmap/a/ca".to_owned()], 4));
    let (changes, _) = after((Kind::BackendTlsPolicy, "tls1"), 2);
    assert_eq!(changes, ["a/s1:80~h2~tls", "a/s1:80~tls", "ca/configmap/a/ca"]);
}

/// Two routes change places between two backends: for a moment nobody names either cluster, but nothing comes of it.
#[test]
fn what_comes_back_in_the_same_batch_has_not_changed() {
    let service = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: a}}, spec: {{ports: [{{port: 80}}]}}}}"
        )
    };
    let route = |name: &str, service: &str| {
        let yaml = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, namespace: a}}, spec: \
             {{parentRefs: [{{name: one}}], hostnames: [{name}.x.org], rules: [{{backendRefs: [{{name: {service}, port: \
             80}}]}}]}}}}"
        );
        objects::load(&yaml).remove(0)
    };
    let mut world = vec![object(0, 0), object(2, 0), route("r1", "s1"), route("r2", "s2")];
    world.extend(["s1", "s2"].map(|name| objects::load(&service(name)).remove(0)));
    let mut translator = objects::translated_with(options(), world);
    translator.apply(Change::Upsert(route("r1", "s2")));
    translator.apply(Change::Upsert(route("r2", "s1")));
    let update = translator.translate();
    let changes: Vec<&str> =
        update.gateways.values().flat_map(|g| &g.changes).map(|c| c.name.as_str()).collect();
    assert_eq!(changes, ["80/r1.x.org", "80/r2.x.org"]);
}

/// A route that delegates hears nothing of what its children do with their requests, and its children nothing of one another.
#[test]
fn a_change_of_a_child_runs_the_child() {
    let child = |name: &str, path: &str, service: &str| {
        let yaml = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, namespace: kids}}, spec: {{rules: \
             [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {service}, port: 80}}]}}]}}}}"
        );
        objects::load(&yaml).remove(0)
    };
    let parent = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: parent, namespace: a}, spec: {parentRefs: \
                  [{name: one}], hostnames: [d.x.org], rules: [{matches: [{path: {value: /d}}], backendRefs: [{group: gateway.networking.k8s.io, \
                  kind: HTTPRoute, name: '*', namespace: kids}]}]}}";
    let mut world = vec![object(0, 0), object(2, 0), objects::load(parent).remove(0)];
    world.extend((0..50).map(|i| child(&format!("c{i}"), &format!("/d/{i}"), "gone")));
    let mut translator = objects::translated_with(options(), world);
    let mut runs = |object: Object| {
        let before = translator.units_run();
        translator.apply(Change::Upsert(object));
        let update = translator.translate();
        let changes: Vec<String> =
            update.gateways.values().flat_map(|g| &g.changes).map(|c| c.name.clone()).collect();
        (changes, translator.units_run() - before)
    };
    let scope = || vec!["80/d.x.org".to_owned()];
    let (changes, units) = runs(child("c7", "/d/7", "other"));
    assert_eq!((changes, units), (vec![], 1), "both answer 500");
    // The parent looks whether it takes something still, and hands it the same.
    assert_eq!(runs(child("c7", "/d/seven", "other")), (scope(), 2));
    // It runs before and after it is handed something.
    let (changes, units) = runs(child("new", "/d/new", "gone"));
    assert_eq!(changes, scope());
    assert!(units <= 3, "{units}");
}
