//! A synthetic world: one Gateway, `n` HTTPRoutes with a host each, `n` Services with one EndpointSlice each.

use postern_translator::{Kind, Object, Options, Translator};

/// Reads one object from YAML.
pub(crate) fn object(kind: Kind, yaml: &str) -> Object {
    Object::deserialize(kind, serde_yaml::Deserializer::from_str(yaml)).expect("well-formed object")
}

/// The HTTPRoute number `i`; `revision` changes a header that it adds.
pub(crate) fn route(i: usize, revision: usize) -> Object {
    object(
        Kind::HttpRoute,
        &format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r{i}, namespace: apps, \
             generation: {revision}}}, spec: {{parentRefs: [{{name: gw}}], hostnames: [h{i}.example.com], rules: \
             [{{matches: [{{path: {{type: PathPrefix, value: /}}}}], filters: [{{type: RequestHeaderModifier, \
             requestHeaderModifier: {{set: [{{name: x-revision, value: '{revision}'}}]}}}}], backendRefs: \
             [{{name: s{i}, port: 80}}]}}]}}}}"
        ),
    )
}

/// The EndpointSlice of Service `i`; `revision` is the last byte of its address.
pub(crate) fn slice(i: usize, revision: usize) -> Object {
    object(
        Kind::EndpointSlice,
        &format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s{i}-x, namespace: apps, labels: \
             {{kubernetes.io/service-name: s{i}}}}}, addressType: IPv4, ports: [{{name: http, port: 8080}}], endpoints: \
             [{{addresses: [10.{}.{}.{}]}}, {{addresses: [10.200.0.1]}}]}}",
            i / 250,
            i % 250,
            if revision == 0 { 1 } else { 2 + revision % 249 }
        ),
    )
}

/// Every object of the world.
pub(crate) fn world(n: usize) -> Vec<Object> {
    let mut objects = vec![
        object(
            Kind::GatewayClass,
            "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: postern}, spec: \
             {controllerName: postern.dev/gateway-controller}}",
        ),
        object(
            Kind::Gateway,
            "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: gw, namespace: apps}, spec: \
             {gatewayClassName: postern, listeners: [{name: http, port: 80, protocol: HTTP}]}}",
        ),
    ];
    for i in 0..n {
        objects.push(object(
            Kind::Service,
            &format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: s{i}, namespace: apps}}, spec: {{ports: [{{name: \
                 http, port: 80, targetPort: 8080}}]}}}}"
            ),
        ));
        objects.push(slice(i, 0));
        objects.push(route(i, 0));
    }
    objects
}

/// A translator that has translated nothing yet.
pub(crate) fn translator() -> Translator {
    Translator::new(Options::default())
}
