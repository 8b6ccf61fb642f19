use super::*;
use crate::dependency::tests::{World, object};
use crate::object::Object;

fn parse(spec: &str) -> ConfigPolicy {
    let Object::BackendConfigPolicy(policy) =
        object(Kind::BackendConfigPolicy, "a/p", &format!("spec: {{{spec}}}"))
    else {
        panic!("a BackendConfigPolicy")
    };
    ConfigPolicy::parse(&policy)
}

fn fields_of(spec: &str) -> Vec<String> {
    parse(spec).faults.into_iter().map(|fault| fault.field).collect()
}

#[test]
fn what_is_wrong_names_its_field() {
    for (spec, field) in [
        ("connectTimeout: 0s", "spec.connectTimeout"),
        ("connectTimeout: soon", "spec.connectTimeout"),
        ("tcpKeepalive: {keepAliveTime: 100ms}", "spec.tcpKeepalive.keepAliveTime"),
        ("tcpKeepalive: {keepAliveInterval: 10h}", "spec.tcpKeepalive.keepAliveInterval"),
        ("tcpKeepalive: {keepAliveProbes: 200}", "spec.tcpKeepalive.keepAliveProbes"),
        ("commonHttpProtocolOptions: {idleTimeout: x}", "spec.commonHttpProtocolOptions.idleTimeout"),
        ("commonHttpProtocolOptions: {maxHeadersCount: 0}", "spec.commonHttpProtocolOptions.maxHeadersCount"),
        ("http1ProtocolOptions: {}, http2ProtocolOptions: {}", "spec.http2ProtocolOptions"),
        (
            "http2ProtocolOptions: {initialStreamWindowSize: 64000}",
            "spec.http2ProtocolOptions.initialStreamWindowSize",
        ),
        (
            "http2ProtocolOptions: {initialConnectionWindowSize: 3Gi}",
            "spec.http2ProtocolOptions.initialConnectionWindowSize",
        ),
        ("http2ProtocolOptions: {maxConcurrentStreams: 0}", "spec.http2ProtocolOptions.maxConcurrentStreams"),
        ("loadBalancer: {}", "spec.loadBalancer"),
        ("loadBalancer: {random: {}, maglev: {}}", "spec.loadBalancer"),
        ("loadBalancer: {random: {}, localityType: Near}", "spec.loadBalancer.localityType"),
        ("loadBalancer: {leastRequest: {choiceCount: 1}}", "spec.loadBalancer.leastRequest.choiceCount"),
        (
            "loadBalancer: {roundRobin: {slowStart: {aggression: '0'}}}",
            "spec.loadBalancer.roundRobin.slowStart.aggression",
        ),
        (
            "loadBalancer: {roundRobin: {slowStart: {window: 0s}}}",
            "spec.loadBalancer.roundRobin.slowStart.window",
        ),
        (
            "loadBalancer: {ringHash: {minimumRingSize: 9, maximumRingSize: 8}}",
            "spec.loadBalancer.ringHash.minimumRingSize",
        ),
        (
            "loadBalancer: {ringHash: {maximumRingSize: 9000000}}",
            "spec.loadBalancer.ringHash.maximumRingSize",
        ),
        (
            "loadBalancer: {ringHash: {hashPolicies: [{header: {name: 'a b'}}]}}",
            "spec.loadBalancer.ringHash.hashPolicies[0].header.name",
        ),
        (
            "loadBalancer: {maglev: {hashPolicies: [{cookie: {name: 'a;b'}}]}}",
            "spec.loadBalancer.maglev.hashPolicies[0].cookie.name",
        ),
        (
            "loadBalancer: {maglev: {hashPolicies: [{cookie: {name: a, sameSite: Some}}]}}",
            "spec.loadBalancer.maglev.hashPolicies[0].cookie.sameSite",
        ),
        (
            "loadBalancer: {maglev: {hashPolicies: [{terminal: true}]}}",
            "spec.loadBalancer.maglev.hashPolicies[0]",
        ),
        (
            "healthCheck: {timeout: 1s, interval: 1s, unhealthyThreshold: 1, healthyThreshold: 1}",
            "spec.healthCheck",
        ),
        (
            "healthCheck: {timeout: 0s, interval: 1s, unhealthyThreshold: 1, healthyThreshold: 1, grpc: {}}",
            "spec.healthCheck.timeout",
        ),
        (
            "healthCheck: {timeout: 1s, interval: 1s, unhealthyThreshold: 1, healthyThreshold: 1, http: {path: well}}",
            "spec.healthCheck.http.path",
        ),
        (
            "healthCheck: {timeout: 1s, interval: 1s, unhealthyThreshold: 1, healthyThreshold: 1, http: {path: /, method: CONNECT}}",
            "spec.healthCheck.http.method",
        ),
        ("outlierDetection: {interval: 0s}", "spec.outlierDetection.interval"),
        ("outlierDetection: {maxEjectionPercent: 101}", "spec.outlierDetection.maxEjectionPercent"),
        ("tls: {}", "spec.tls"),
        ("tls: {secretRef: {name: a}, insecureSkipVerify: true}", "spec.tls"),
        ("tls: {wellKnownCACertificates: Mozilla}", "spec.tls.wellKnownCACertificates"),
        ("tls: {files: {tlsKey: /k}}", "spec.tls.files"),
        ("tls: {insecureSkipVerify: true, sni: '*.x.y'}", "spec.tls.sni"),
        ("tls: {insecureSkipVerify: true, verifySubjectAltNames: [x.y]}", "spec.tls.verifySubjectAltNames"),
        (
            "tls: {wellKnownCACertificates: System, verifySubjectAltNames: ['a b']}",
            "spec.tls.verifySubjectAltNames[0]",
        ),
        (
            "tls: {wellKnownCACertificates: System, parameters: {cipherSuites: [ROT13]}}",
            "spec.tls.parameters.cipherSuites",
        ),
        (
            "tls: {wellKnownCACertificates: System, parameters: {ecdhCurves: [round]}}",
            "spec.tls.parameters.ecdhCurves",
        ),
        (
            "tls: {wellKnownCACertificates: System, parameters: {minVersion: '1.3', maxVersion: '1.2'}}",
            "spec.tls.parameters.maxVersion",
        ),
        ("targetRefs: [{group: networking.istio.io, kind: Hostname, name: x}]", "spec.targetRefs[0].kind"),
        ("targetSelectors: [{kind: Pod, matchLabels: {}}]", "spec.targetSelectors[0].kind"),
    ] {
        assert_eq!(fields_of(spec), [field], "{spec}");
    }
}

#[test]
fn quantities_and_numbers_are_windows() {
    for (size, expected) in [("65535", 65_535), ("64Ki", 65_536), ("'100000'", 100_000), ("1M", 1_000_000)] {
        let policy = parse(&format!("http2ProtocolOptions: {{initialStreamWindowSize: {size}}}"));
        assert_eq!(policy.fields.http2.unwrap().stream_window, Some(expected), "{size}");
    }
}

const ON: &str = "targetRefs: [{kind: Service, name: s}]";

fn effective(policies: &[(&str, String)]) -> Effective {
    let specs: Vec<(String, String)> =
        policies.iter().map(|(name, spec)| (format!("a/{name}"), format!("spec: {{{spec}}}"))).collect();
    let mut objects = vec![(Kind::Service, "a/s", "spec: {ports: [{port: 80}]}")];
    objects
        .extend(specs.iter().map(|(name, spec)| (Kind::BackendConfigPolicy, name.as_str(), spec.as_str())));
    on(&World::new(&objects).reader(), &ObjectKey::new(Kind::Service, "a", "s"))
}

#[test]
fn the_older_one_wins_field_by_field() {
    let merged = effective(&[
        ("1", format!("{ON}, connectTimeout: 1s")),
        ("2", format!("{ON}, connectTimeout: 2s, perConnectionBufferLimitBytes: 5")),
        (
            "3",
            format!("{ON}, connectTimeout: never, perConnectionBufferLimitBytes: 6, outlierDetection: {{}}"),
        ),
    ]);
    assert_eq!(merged.fields.connect_timeout, Some(Duration::from_secs(1)));
    assert_eq!(merged.fields.buffer_bytes, Some(5));
    assert_eq!(merged.fields.outlier_detection, None, "one that is not valid says nothing");
}

#[test]
fn tls_that_is_not_valid_closes_its_backends() {
    let good = || format!("{ON}, tls: {{wellKnownCACertificates: System, sni: x.y}}");
    let bad = || format!("{ON}, tls: {{wellKnownCACertificates: Mozilla}}");
    assert!(matches!(effective(&[("1", good()), ("2", bad())]).tls, Tls::Wanted(..)));
    assert_eq!(effective(&[("1", bad()), ("2", good())]).tls, Tls::Refused);
    let elsewhere = format!("{}, connectTimeout: soon", good());
    assert_eq!(effective(&[("1", elsewhere)]).tls, Tls::Refused, "whatever is wrong with it");
    assert_eq!(effective(&[("1", format!("{ON}, connectTimeout: 1s"))]).tls, Tls::Unsaid);
}
