//! What a proxy has, as tables.

use jiff::Timestamp;
use postern_xds::ResourceType;
use serde_json::Value;

use super::What;
use crate::cli::status::age;
use crate::cli::table::{Styled, Table, or_none};
use crate::inspect::compare::{address, list};
use crate::inspect::dump::{Dump, Held, Stage};
use crate::terminal::{Paint, Style};

/// So much of a version tells it from others.
const VERSION: usize = 12;

/// The key under which the HTTP options of a cluster stand.
const HTTP_OPTIONS: &str =
    "/typedExtensionProtocolOptions/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// How to print.
/// Makes one table; answers its number of rows, too.
type Render = fn(&Dump, Look) -> (usize, Table);

#[derive(Clone, Copy)]
struct Look {
    wide: bool,
    paint: Paint,
    now: Timestamp,
}

/// The tables that `what` names.
pub(super) fn render(dump: &Dump, what: What, wide: bool, paint: Paint, now: Timestamp) -> String {
    let look = Look { wide, paint, now };
    let tables: [(What, Render); 5] = [
        (What::Listeners, listeners),
        (What::Routes, routes),
        (What::Clusters, clusters),
        (What::Endpoints, endpoints),
        (What::Secrets, secrets),
    ];
    let mut out = Vec::new();
    for (of, table) in tables {
        if what == of || what == What::All {
            let (rows, table) = table(dump, look);
            // Of several tables those that are empty say nothing.
            if rows > 0 || what == of {
                out.push(table.render(0));
            }
        }
    }
    out.join("\n")
}

fn listeners(dump: &Dump, look: Look) -> (usize, Table) {
    let mut headers = vec!["LISTENER", "ADDRESS", "CHAINS", "STAGE", "VERSION", "AGE"];
    if dump.of_type(ResourceType::Listener).any(|(_, held)| held.refused.is_some()) {
        headers.push("REFUSED");
    }
    let mut table = Table::new(look.paint, &headers);
    let mut rows = 0;
    for (name, held) in dump.of_type(ResourceType::Listener) {
        rows += 1;
        let content = &held.content;
        let more = list(content, "additionalAddresses").filter_map(|more| more.get("address"));
        let addresses: Vec<String> =
            content.get("address").into_iter().chain(more).map(|a| address(Some(a))).collect();
        let mut row = vec![
            name.into(),
            or_none(addresses.join(",")),
            list(content, "filterChains").count().to_string().into(),
            stage(held),
            version(held, look),
            when(held, look),
        ];
        row.extend(held.refused.as_deref().map(|reason| Styled::new(Style::Bad, reason)));
        table.row(row);
    }
    (rows, table)
}

fn routes(dump: &Dump, look: Look) -> (usize, Table) {
    let mut table = Table::new(look.paint, &["SCOPE", "HOST", "MATCH", "TO", "ROUTE"]);
    let scopes = dump.of_type(ResourceType::ScopedRouteConfiguration);
    let scopes = scopes.map(|(name, held)| (name, held.content.get("routeConfiguration")));
    let plain =
        dump.of_type(ResourceType::RouteConfiguration).map(|(name, held)| (name, Some(&held.content)));
    let mut rows = 0;
    for (scope, configuration) in scopes.chain(plain) {
        for host in configuration.into_iter().flat_map(|configuration| list(configuration, "virtualHosts")) {
            let name = host.get("name").and_then(Value::as_str).unwrap_or_default();
            for route in list(host, "routes") {
                rows += 1;
                let of = route.get("name").and_then(Value::as_str).unwrap_or_default();
                table.row(vec![
                    scope.into(),
                    or_none(name),
                    condition(route.get("match").unwrap_or(&Value::Null)).into(),
                    destination(route),
                    or_none(of),
                ]);
            }
        }
    }
    (rows, table)
}

fn clusters(dump: &Dump, look: Look) -> (usize, Table) {
    let headers = ["CLUSTER", "TYPE", "PROTOCOL", "TLS", "ENDPOINTS", "STAGE", "VERSION", "AGE"];
    let mut table = Table::new(look.paint, &headers);
    let mut rows = 0;
    for (name, held) in dump.of_type(ResourceType::Cluster) {
        rows += 1;
        let content = &held.content;
        let service = content.pointer("/edsClusterConfig/serviceName").and_then(Value::as_str);
        let assignment = dump.get(ResourceType::ClusterLoadAssignment, service.unwrap_or(name));
        let number = assignment.map(|held| hosts(&held.content).count());
        table.row(vec![
            name.into(),
            content.get("type").and_then(Value::as_str).unwrap_or("STATIC").into(),
            protocol(content).into(),
            if content.get("transportSocket").is_some() { "yes" } else { "no" }.into(),
            match number {
                Some(0) => Styled::new(Style::Bad, "0"),
                Some(number) => number.to_string().into(),
                None => or_none(""),
            },
            stage(held),
            version(held, look),
            when(held, look),
        ]);
    }
    (rows, table)
}

fn endpoints(dump: &Dump, look: Look) -> (usize, Table) {
    let mut table = Table::new(look.paint, &["CLUSTER", "ENDPOINT", "HEALTH", "WEIGHT", "ZONE", "PRIORITY"]);
    let mut rows = 0;
    for (name, held) in dump.of_type(ResourceType::ClusterLoadAssignment) {
        for (group, host) in hosts(&held.content) {
            rows += 1;
            let health = host.get("healthStatus").and_then(Value::as_str).unwrap_or("UNKNOWN");
            let style = if matches!(health, "HEALTHY" | "UNKNOWN") { Style::Good } else { Style::Bad };
            let number = |value: Option<&Value>, default: u64| {
                value.and_then(Value::as_u64).unwrap_or(default).to_string()
            };
            table.row(vec![
                name.into(),
                address(host.pointer("/endpoint/address")).into(),
                Styled::new(style, health.to_lowercase()),
                number(host.get("loadBalancingWeight"), 1).into(),
                or_none(group.pointer("/locality/zone").and_then(Value::as_str).unwrap_or_default()),
                number(group.get("priority"), 0).into(),
            ]);
        }
    }
    (rows, table)
}

fn secrets(dump: &Dump, look: Look) -> (usize, Table) {
    let mut table = Table::new(look.paint, &["SECRET", "KIND", "STAGE", "VERSION", "AGE"]);
    let mut rows = 0;
    for (name, held) in dump.of_type(ResourceType::Secret) {
        rows += 1;
        let kinds = [
            ("tlsCertificate", "certificate"),
            ("validationContext", "authorities"),
            ("sessionTicketKeys", "session ticket keys"),
            ("genericSecret", "generic"),
        ];
        let kind = kinds.iter().find(|(member, _)| held.content.get(member).is_some());
        table.row(vec![
            name.into(),
            or_none(kind.map(|(_, kind)| *kind).unwrap_or_default()),
            stage(held),
            version(held, look),
            when(held, look),
        ]);
    }
    (rows, table)
}

/// The endpoints of an assignment, each with its group.
fn hosts(assignment: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    list(assignment, "endpoints").flat_map(|group| list(group, "lbEndpoints").map(move |host| (group, host)))
}

fn stage(held: &Held) -> Styled {
    let style = match held.stage {
        _ if held.refused.is_some() => Style::Bad,
        Stage::Active => Style::Good,
        Stage::Warming | Stage::Draining => Style::Warn,
    };
    let word = if held.content.is_null() { "refused".to_owned() } else { held.stage.to_string() };
    Styled::new(style, word)
}

fn version(held: &Held, look: Look) -> Styled {
    match &held.version {
        Some(version) if look.wide => version.as_str().into(),
        Some(version) => version.chars().take(VERSION).collect::<String>().into(),
        None => or_none(""),
    }
}

fn when(held: &Held, look: Look) -> Styled {
    held.updated.as_deref().map_or_else(|| or_none(""), |at| age(at, look.now).into())
}

fn protocol(cluster: &Value) -> &'static str {
    let Some(options) = cluster.pointer(HTTP_OPTIONS).or_else(|| http_options(cluster)) else { return "tcp" };
    if options.get("autoConfig").is_some() {
        "auto"
    } else if options.get("useDownstreamProtocolConfig").is_some() {
        "as client"
    } else if options.pointer("/explicitHttpConfig/http2ProtocolOptions").is_some() {
        "h2"
    } else {
        "http/1.1"
    }
}

/// The name of the extension has dots, which JSON pointers take as they are; Envoy may write another name.
fn http_options(cluster: &Value) -> Option<&Value> {
    let options = cluster.get("typedExtensionProtocolOptions")?.as_object()?;
    options.values().find(|value| {
        value.get("@type").and_then(Value::as_str).is_some_and(|url| url.ends_with(".HttpProtocolOptions"))
    })
}

/// What a route matches: the path, and how much else.
fn condition(of: &Value) -> String {
    let text = |pointer: &str| of.pointer(pointer).and_then(Value::as_str);
    let path = text("/path")
        .map(|path| format!("= {path}"))
        .or_else(|| text("/pathSeparatedPrefix").map(|path| format!("{path}[/*]")))
        .or_else(|| text("/prefix").map(|path| format!("{path}*")))
        .or_else(|| text("/safeRegex/regex").map(|path| format!("~ {path}")))
        .unwrap_or_else(|| "*".to_owned());
    let others = [("headers", "header"), ("queryParameters", "query parameter")];
    let mut out = path;
    for (member, noun) in others {
        let number = list(of, member).count();
        if number > 0 {
            out = format!("{out} + {}", crate::terminal::count(number, noun));
        }
    }
    out
}

/// Where a route leads.
fn destination(route: &Value) -> Styled {
    if let Some(cluster) = route.pointer("/route/cluster").and_then(Value::as_str) {
        return cluster.into();
    }
    if let Some(weighted) = route.pointer("/route/weightedClusters") {
        let parts: Vec<String> = list(weighted, "clusters")
            .map(|cluster| {
                let name = cluster.get("name").and_then(Value::as_str).unwrap_or_default();
                let weight = cluster.get("weight").and_then(Value::as_u64).unwrap_or_default();
                format!("{name} ({weight})")
            })
            .collect();
        return parts.join(", ").into();
    }
    if let Some(status) = route.pointer("/directResponse/status").and_then(Value::as_u64) {
        return Styled::new(Style::Dim, format!("answer {status}"));
    }
    if let Some(redirect) = route.get("redirect") {
        let part = |name: &str| redirect.get(name).and_then(Value::as_str).unwrap_or_default();
        let scheme = part("schemeRedirect");
        let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
        return format!("redirect to {scheme}{}{}", part("hostRedirect"), part("pathRedirect")).into();
    }
    or_none("")
}
