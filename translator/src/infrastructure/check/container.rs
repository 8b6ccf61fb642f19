//! `kube.envoyContainer`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use postern_api::kgateway::{ContainerParameters, EnvoyBootstrapParameters, ImageParameters, PullPolicy};

use super::super::metadata::{is_dns_label, is_key};
use super::super::quantity;
use super::Checks;

const FIELD: &str = "kube.envoyContainer";

const LEVELS: [&str; 8] = ["trace", "debug", "info", "warning", "warn", "error", "critical", "off"];

/// Components of Envoy 1.40.0 that have a log level of their own (`GET /logging` of its admin interface).
pub(super) const COMPONENTS: [&str; 73] = [
    "a2a",
    "admin",
    "ai_protocol_manager",
    "alternate_protocols_cache",
    "assert",
    "aws",
    "backtrace",
    "basic_auth",
    "cache_filter",
    "client",
    "compression",
    "config",
    "conn_handler",
    "connection",
    "credential_injector",
    "decompression",
    "dns",
    "dubbo",
    "dynamic_modules",
    "envoy_bug",
    "ext_authz",
    "ext_proc",
    "file",
    "filter",
    "forward_proxy",
    "geolocation",
    "golang",
    "grpc",
    "happy_eyeballs",
    "hc",
    "health_checker",
    "http",
    "http2",
    "hystrix",
    "init",
    "io",
    "ip_tagging",
    "json_rpc",
    "jwt",
    "kafka",
    "key_value_store",
    "local_rate_limit",
    "lua",
    "main",
    "matcher",
    "mcp",
    "misc",
    "mongo",
    "multi_connection",
    "notification",
    "oauth2",
    "pool",
    "quic",
    "quic_stream",
    "rate_limit_quota",
    "rbac",
    "rds",
    "redis",
    "rocketmq",
    "router",
    "runtime",
    "secret",
    "sse",
    "stats",
    "stats_sinks",
    "tap",
    "testing",
    "thrift",
    "tracing",
    "udp",
    "upstream",
    "wasm",
    "websocket",
];

/// Directories that Postern mounts something at.
const OWN_DIRECTORIES: [&str; 3] = ["/etc/postern", "/run/postern", "/var/run/secrets/postern.dev"];

pub(super) fn container(container: &ContainerParameters, checks: &mut Checks) {
    if let Some(it) = &container.bootstrap {
        bootstrap(it, checks);
    }
    if let Some(it) = &container.image {
        image(it, checks);
    }
    if let Some(it) = &container.resources {
        for (name, values) in [("requests", &it.requests), ("limits", &it.limits)] {
            quantities(values, &format!("{FIELD}.resources.{name}"), checks);
        }
    }
    for (index, it) in container.env.iter().enumerate() {
        variable(it, &format!("{FIELD}.env[{index}]"), checks);
    }
    checks.unique(&format!("{FIELD}.env"), "name", container.env.iter().map(|it| &it.name));
    for (index, it) in container.extra_volume_mounts.iter().enumerate() {
        mount(it, &format!("{FIELD}.extraVolumeMounts[{index}]"), checks);
    }
    let paths = container.extra_volume_mounts.iter().map(|it| &it.mount_path);
    checks.unique(&format!("{FIELD}.extraVolumeMounts"), "mountPath", paths);
}

fn bootstrap(it: &EnvoyBootstrapParameters, checks: &mut Checks) {
    checks.one_of(format!("{FIELD}.bootstrap.logLevel"), it.log_level.as_deref(), &LEVELS);
    for (component, level) in &it.component_log_levels {
        let field = format!("{FIELD}.bootstrap.componentLogLevels[{component}]");
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if component.is_empty() || !component.chars().all(fine) {
            checks.fault(
                &field,
                format!("{component:?} is not a component of Envoy"),
                "use lower-case letters, digits and '_'",
            );
        }
        checks.one_of(field, Some(level), &LEVELS);
    }
}

fn image(it: &ImageParameters, checks: &mut Checks) {
    let field = |name: &str| format!("{FIELD}.image.{name}");
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/');
    let wrong = |part: &Option<String>, fine: &dyn Fn(&str) -> bool| {
        part.as_ref().filter(|text| !fine(text)).map(|text| format!("{text:?} cannot be a part of an image"))
    };
    let edges = |text: &str| !text.is_empty() && !text.starts_with('/') && !text.ends_with('/');
    let registry = |text: &str| {
        let (host, rest) = text.split_once('/').unwrap_or((text, ""));
        let (host, port) = host.rsplit_once(':').unwrap_or((host, "0"));
        let host_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':');
        edges(text) && host.chars().all(host_fine) && port.parse::<u16>().is_ok() && rest.chars().all(name)
    };
    let tag = |text: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
    };
    let digest = |text: &str| {
        text.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty()
                && algorithm.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '_' | '-'))
                && hex.len() >= 32
                && (algorithm != "sha256" || hex.len() == 64)
                && hex.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
        })
    };
    for (part, text, fine, remedy) in [
        ("registry", &it.registry, &registry as &dyn Fn(&str) -> bool, "name a host, as in docker.io"),
        (
            "repository",
            &it.repository,
            &|text: &str| edges(text) && text.chars().all(name),
            "write it as in envoyproxy/envoy, without registry and tag",
        ),
        ("tag", &it.tag, &tag, "write it as in v1.40.0"),
        ("digest", &it.digest, &digest, "write it as sha256: and 64 hexadecimal digits in lower case"),
    ] {
        if let Some(message) = wrong(text, fine) {
            checks.fault(field(part), message, remedy);
        }
    }
    checks.one_of(field("pullPolicy"), it.pull_policy.as_ref().map(PullPolicy::as_str), PullPolicy::KNOWN);
}

fn quantities(values: &BTreeMap<String, Quantity>, field: &str, checks: &mut Checks) {
    for (name, Quantity(text)) in values {
        let field = format!("{field}[{name}]");
        let standard = ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str());
        let extended = is_key(name) && name.contains('/');
        if !standard && !extended && !name.starts_with("hugepages-") {
            checks.fault(
                &field,
                format!("containers have no resource {name:?}"),
                "use cpu, memory, ephemeral-storage, hugepages-…, or a name with a domain",
            );
        }
        match quantity::value(text) {
            None => checks.fault(
                field,
                format!("{text:?} is not a quantity"),
                "write a number, perhaps with a suffix, for example 500m, 2 or 1.5Gi",
            ),
            Some(value) if value < 0.0 => {
                checks.fault(field, format!("{text} is negative"), "use 0 or more");
            }
            Some(_) => {}
        }
    }
}

fn variable(it: &EnvVar, field: &str, checks: &mut Checks) {
    let printable = |c: char| c.is_ascii_graphic() || c == ' ';
    if it.name.is_empty() || it.name.contains('=') || !it.name.chars().all(printable) {
        checks.fault(
            format!("{field}.name"),
            format!("{:?} is not the name of an environment variable", it.name),
            "use printable ASCII without '='",
        );
    }
    let Some(from) = &it.value_from else { return };
    if it.value.as_deref().is_some_and(|value| !value.is_empty()) {
        checks.fault(field, "a variable has one value", "give value or valueFrom, not both");
    }
    let sources = [
        from.field_ref.is_some(),
        from.resource_field_ref.is_some(),
        from.config_map_key_ref.is_some(),
        from.secret_key_ref.is_some(),
    ];
    if sources.into_iter().filter(|given| *given).count() != 1 {
        checks.fault(
            format!("{field}.valueFrom"),
            "a value comes from one place",
            "give one of fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef",
        );
    }
}

fn mount(it: &VolumeMount, field: &str, checks: &mut Checks) {
    if !is_dns_label(&it.name) {
        checks.fault(
            format!("{field}.name"),
            format!("{:?} is not the name of a volume", it.name),
            "name one of podTemplate.extraVolumes",
        );
    }
    let path = it.mount_path.trim_end_matches('/');
    if !it.mount_path.starts_with('/') || it.mount_path.contains(':') {
        checks.fault(
            format!("{field}.mountPath"),
            format!("{:?} is not a path of a directory", it.mount_path),
            "write an absolute path without ':'",
        );
    } else if path.is_empty() || OWN_DIRECTORIES.iter().any(|own| within(own, path) || within(path, own)) {
        checks.fault(
            format!("{field}.mountPath"),
            format!("{} would hide what Postern or Envoy need there", it.mount_path),
            "mount it elsewhere",
        );
    }
}

/// Whether `path` is `directory` or below it.
fn within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
