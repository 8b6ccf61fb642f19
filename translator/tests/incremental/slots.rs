//! The objects of the random worlds.

use postern_translator::Kind;

use crate::CERTIFICATES;

/// What each slot can hold: a slot is one object name, a variant one content of it.
pub(crate) const SLOTS: &[(Kind, &str, &str, &[&str])] = &[
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
