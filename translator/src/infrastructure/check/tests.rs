//! What the golden `infrastructure-invalid` does not show: where the borders are.

use postern_api::kgateway::GatewayParametersSpec;

use super::*;

/// Fields with a fault: of the object on its own, and of it as the whole.
fn faults(kube: &str) -> (Vec<String>, Vec<String>) {
    let spec: GatewayParametersSpec = serde_yaml::from_str(&format!("kube: {kube}")).unwrap();
    let fields = |faults: Vec<Fault>| faults.into_iter().map(|fault| fault.field).collect::<Vec<_>>();
    let mut checks = Checks::default();
    whole(spec.kube.as_ref().unwrap(), &mut checks);
    (fields(object(&spec)), fields(checks.into_faults()))
}

#[track_caller]
fn fine(specs: &[&str]) {
    for spec in specs {
        assert_eq!(faults(spec), (vec![], vec![]), "{spec}");
    }
}

/// Each spec has this fault on its own, and whatever as the whole.
#[track_caller]
fn wrong(field: &str, specs: &[&str]) {
    for spec in specs {
        assert_eq!(faults(spec).0, [field], "{spec}");
    }
}

/// Each spec is right on its own, and has this fault as the whole.
#[track_caller]
fn incomplete(field: &str, specs: &[&str]) {
    for spec in specs {
        assert_eq!(faults(spec), (vec![], vec![field.to_owned()]), "{spec}");
    }
}

#[test]
fn images_have_parts() {
    let image = |part: &str, text: &str| format!("{{envoyContainer: {{image: {{{part}: '{text}'}}}}}}");
    let sha = format!("sha256:{}", "0a".repeat(32));
    let fine_parts = [
        ("registry", "docker.io"),
        ("registry", "localhost:5000"),
        ("registry", "registry.example.com:443/mirror/docker"),
        ("registry", "[2001:db8::1]:5000"),
        ("repository", "envoyproxy/envoy"),
        ("repository", "a_b/c.d/e-f"),
        ("tag", "v1.40.0"),
        ("tag", "_distroless-Dev.1"),
        ("digest", sha.as_str()),
        ("digest", "sha512:0123456789abcdef0123456789abcdef"),
    ];
    for (part, text) in fine_parts {
        fine(&[&image(part, text)]);
    }
    let long = "a".repeat(129);
    for (part, text) in [
        ("registry", "https://docker.io"),
        ("registry", "docker.io/"),
        ("registry", "docker.io:port"),
        ("repository", "/envoy"),
        ("repository", "envoy:v1"),
        ("tag", ".a"),
        ("tag", &long),
        ("digest", "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"),
        ("digest", "sha256:0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A"),
    ] {
        wrong(&format!("kube.envoyContainer.image.{part}"), &[&image(part, text)]);
    }
}

#[test]
fn components_are_those_of_the_default_image() {
    fine(&[
        "{envoyContainer: {bootstrap: {logLevel: debug, componentLogLevels: {upstream: trace, ext_authz: 'off'}}}}",
        "{envoyContainer: {bootstrap: {componentLogLevels: {brand_new: trace}}, image: {tag: v9}}}",
    ]);
    incomplete(
        "kube.envoyContainer.bootstrap.componentLogLevels[brand_new]",
        &[
            "{envoyContainer: {bootstrap: {componentLogLevels: {brand_new: trace}}}}",
            "{envoyContainer: {bootstrap: {componentLogLevels: {brand_new: trace}}, image: {pullPolicy: Never}}}",
        ],
    );
}

#[test]
fn mounts_hide_nothing() {
    let mount = |path: &str| {
        format!(
            "{{podTemplate: {{extraVolumes: [{{name: a, emptyDir: {{}}}}]}}, \
             envoyContainer: {{extraVolumeMounts: [{{name: a, mountPath: {path}}}]}}}}"
        )
    };
    for path in ["/a", "/etc/postern-more", "/etc/ssl/certs", "/run/x", "/var/run/secrets/example.com"] {
        fine(&[&mount(path)]);
    }
    for path in
        ["/", "/etc", "/run/postern", "/run/postern/x", "/var/run/secrets", "/etc/postern/", "a", "/a:b"]
    {
        wrong("kube.envoyContainer.extraVolumeMounts[0].mountPath", &[&mount(path)]);
    }
}

#[test]
fn claims_of_pods_have_labels_and_annotations_only() {
    let claim = |metadata: &str| {
        format!(
            "{{podTemplate: {{extraVolumes: [{{name: a, ephemeral: {{volumeClaimTemplate: {{metadata: {{{metadata}}}, spec: {{}}}}}}}}]}}}}"
        )
    };
    fine(&[&claim(""), &claim("labels: {a: b}, annotations: {c: d}")]);
    for (field, metadata) in [
        ("name", "name: a"),
        ("namespace", "namespace: a, labels: {a: b}"),
        ("ownerReferences", "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b}]"),
    ] {
        let field =
            format!("kube.podTemplate.extraVolumes[0].ephemeral.volumeClaimTemplate.metadata.{field}");
        wrong(&field, &[&claim(metadata)]);
    }
}

#[test]
fn only_what_ends_a_proxy_has_a_time_to_end_in() {
    let probe = |name: &str| {
        format!("{{podTemplate: {{{name}: {{tcpSocket: {{port: 1}}, terminationGracePeriodSeconds: 3}}}}}}")
    };
    fine(&[&probe("startupProbe"), &probe("livenessProbe")]);
    let field = "kube.podTemplate.readinessProbe.terminationGracePeriodSeconds";
    wrong(field, &[&probe("readinessProbe")]);
}

#[test]
fn only_statistics_are_served() {
    let stats = |path: &str| format!("{{stats: {{routePrefixRewrite: '{path}'}}}}");
    for path in
        ["/stats", "/stats/prometheus", "/stats?filter=http", "/stats/prometheus?usedonly&text_readouts"]
    {
        fine(&[&stats(path)]);
    }
    for path in [
        "",
        "/",
        "/config_dump",
        "/statsx",
        "/stats/../quitquitquit",
        "/stats//x",
        "/stats/%2e%2e/x",
        "stats",
        "/stats x",
    ] {
        wrong("kube.stats.routePrefixRewrite", &[&stats(path)]);
    }
}

#[test]
fn a_part_may_wait_for_the_class() {
    // With the class's grace period of 120 seconds this is right.
    let sleep = "kube.podTemplate.gracefulShutdown.sleepTimeSeconds";
    incomplete(sleep, &["{podTemplate: {gracefulShutdown: {sleepTimeSeconds: 60}}}"]);
    fine(&[
        "{podTemplate: {gracefulShutdown: {sleepTimeSeconds: 59}}}",
        "{podTemplate: {gracefulShutdown: {enabled: false, sleepTimeSeconds: 60}}}",
        "{podTemplate: {terminationGracePeriodSeconds: 0}}",
        "{podTemplate: {terminationGracePeriodSeconds: 5}}",
    ]);
    incomplete("kube.podTemplate.readinessProbe", &["{podTemplate: {readinessProbe: {periodSeconds: 1}}}"]);
    incomplete(
        "kube.envoyContainer.extraVolumeMounts[0].name",
        &["{envoyContainer: {extraVolumeMounts: [{name: a, mountPath: /a}]}}"],
    );
}

#[test]
fn a_service_suits_its_type() {
    fine(&[
        "{service: {type: ClusterIP, clusterIP: None}}",
        "{service: {clusterIP: 10.96.0.1, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]}}",
        "{service: {type: NodePort, clusterIP: '', ports: [{port: 80}, {port: 443, nodePort: 30443}]}}",
        "{service: {type: ClusterIP, ports: [{port: 80}]}}",
        "{service: {clusterIP: 'fd00::1'}}",
    ]);
    incomplete(
        "kube.service.clusterIP",
        &["{service: {clusterIP: None}}", "{service: {type: NodePort, clusterIP: None}}"],
    );
    incomplete(
        "kube.service.externalTrafficPolicy",
        &["{service: {type: ClusterIP, externalTrafficPolicy: Local}}"],
    );
    incomplete(
        "kube.service.ports[0].nodePort",
        &["{service: {type: ClusterIP, ports: [{port: 80, nodePort: 30080}]}}"],
    );
}

#[test]
fn requests_are_within_limits() {
    let resources = |requests: &str, limits: &str| {
        format!("{{envoyContainer: {{resources: {{requests: {{{requests}}}, limits: {{{limits}}}}}}}}}")
    };
    fine(&[
        &resources("cpu: 1000m", "cpu: 1"),
        &resources("memory: 1Gi", "memory: 1024Mi"),
        &resources("cpu: 3", "memory: 1"),
        &resources("example.com/gpu: 1, ephemeral-storage: 1G, hugepages-2Mi: 2Mi", ""),
    ]);
    incomplete(
        "kube.envoyContainer.resources.requests[memory]",
        &[&resources("memory: 1G", "memory: 999M"), &resources("memory: 1Gi", "memory: 1G")],
    );
}

#[test]
fn percentages_need_a_request() {
    let autoscaler = |spec: &str, resources: &str| {
        format!(
            "{{horizontalPodAutoscaler: {{spec: {{maxReplicas: 3{spec}}}}}, \
             envoyContainer: {{resources: {{{resources}}}}}}}"
        )
    };
    let metric = ", metrics: [{type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 50}}}]";
    let value = ", metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Gi}}}]";
    fine(&[
        "{horizontalPodAutoscaler: {spec: {maxReplicas: 3}}}",
        &autoscaler("", "requests: {cpu: 1}"),
        &autoscaler(", targetCPUUtilizationPercentage: 50", "limits: {cpu: 1}"),
        &autoscaler(metric, "requests: {memory: 1Gi}"),
        &autoscaler(value, "requests: {cpu: 1}"),
    ]);
    incomplete(
        "kube.envoyContainer.resources.requests",
        &[
            &autoscaler("", "requests: {memory: 1Gi}"),
            &autoscaler(", targetCPUUtilizationPercentage: 50", "limits: {memory: 1Gi}"),
            &autoscaler(metric, "requests: {cpu: 1}"),
        ],
    );
}

#[test]
fn an_autoscaler_has_bounds() {
    fine(&[
        "{horizontalPodAutoscaler: {maxReplicas: 3}}",
        "{horizontalPodAutoscaler: {metadata: {labels: {a: b}}, minReplicas: 3, maxReplicas: 3}}",
        "{horizontalPodAutoscaler: {metadata: {labels: {a: b}}, spec: {minReplicas: 3, maxReplicas: 3}}}",
    ]);
    incomplete("kube.horizontalPodAutoscaler.maxReplicas", &["{horizontalPodAutoscaler: {minReplicas: 3}}"]);
    wrong(
        "kube.horizontalPodAutoscaler.spec",
        &["{horizontalPodAutoscaler: {minReplicas: 1, spec: {maxReplicas: 2}}}"],
    );
    wrong(
        "kube.horizontalPodAutoscaler.minReplicas",
        &["{horizontalPodAutoscaler: {minReplicas: 3, maxReplicas: 2}}"],
    );
    wrong("kube.podDisruptionBudget.spec", &["{podDisruptionBudget: {minAvailable: 1, spec: {}}}"]);
}

#[test]
fn shares_are_numbers_or_percentages() {
    for share in ["0", "3", "25%", "150%"] {
        fine(&[&format!(
            "{{deployment: {{strategy: {{rollingUpdate: {{maxSurge: {share}, maxUnavailable: 1}}}}}}}}"
        )]);
    }
    for share in ["-1", "'3'", "'%'", "'+5%'", "half"] {
        let spec = format!("{{podDisruptionBudget: {{minAvailable: {share}}}}}");
        wrong("kube.podDisruptionBudget.minAvailable", &[&spec]);
    }
}
