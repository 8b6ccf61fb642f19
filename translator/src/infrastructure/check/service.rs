//! `kube.service` and `kube.stats`.

use std::net::IpAddr;

use postern_api::kgateway::{ServiceParameters, ServiceType, StatsParameters};

use super::super::metadata;
use super::Checks;

const FIELD: &str = "kube.service";

pub(super) fn service(service: &ServiceParameters, checks: &mut Checks) {
    metadata::labels(&service.extra_labels, &format!("{FIELD}.extraLabels"), checks);
    metadata::annotations(&service.extra_annotations, &format!("{FIELD}.extraAnnotations"), checks);
    match &service.type_ {
        Some(ServiceType::ExternalName) => checks.fault(
            format!("{FIELD}.type"),
            "a Service of type ExternalName is a DNS alias and cannot lead to proxies",
            "use ClusterIP, NodePort or LoadBalancer",
        ),
        type_ => checks.one_of(
            format!("{FIELD}.type"),
            type_.as_ref().map(ServiceType::as_str),
            &["ClusterIP", "NodePort", "LoadBalancer"],
        ),
    }
    let address = service.cluster_ip.as_deref().filter(|text| !text.is_empty() && *text != "None");
    if let Some(address) = address.filter(|text| text.parse::<IpAddr>().is_err()) {
        checks.fault(
            format!("{FIELD}.clusterIP"),
            format!("{address:?} is not an IP address"),
            "write an address of the cluster's Service range, or None for a headless Service",
        );
    }
    for (index, port) in service.ports.iter().enumerate() {
        checks.within(format!("{FIELD}.ports[{index}].port"), Some(i64::from(port.port)), 1, 65535);
        let node_port = port.node_port.map(i64::from);
        checks.within(format!("{FIELD}.ports[{index}].nodePort"), node_port, 1, 65535);
    }
    checks.unique(&format!("{FIELD}.ports"), "port", service.ports.iter().map(|port| port.port));
    let mut node_ports: Vec<u16> = service.ports.iter().filter_map(|port| port.node_port).collect();
    node_ports.sort_unstable();
    let twice = node_ports.iter().zip(node_ports.iter().skip(1)).find(|(one, next)| one == next);
    if let Some((port, _)) = twice {
        checks.fault(
            format!("{FIELD}.ports"),
            format!("two ports want the node port {port}"),
            "give each port a node port of its own",
        );
    }
    checks.one_of(
        format!("{FIELD}.externalTrafficPolicy"),
        service.external_traffic_policy.as_deref(),
        &["Cluster", "Local"],
    );
}

/// The admin interface has more than metrics, and can end the proxy: only `/stats` and what is below it may be served.
pub(super) fn stats(stats: &StatsParameters, checks: &mut Checks) {
    for (name, path) in [
        ("routePrefixRewrite", &stats.route_prefix_rewrite),
        ("statsRoutePrefixRewrite", &stats.stats_route_prefix_rewrite),
    ] {
        let Some(path) = path else { continue };
        let rest = path.strip_prefix("/stats");
        let below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        let plain = path.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '%' | '#' | '\\'));
        if !below || !plain || path.contains("..") || path.contains("//") {
            checks.fault(
                format!("kube.stats.{name}"),
                format!("{path:?} is not a path of statistics"),
                "use /stats, or a path below it such as /stats/prometheus?usedonly",
            );
        }
    }
}
